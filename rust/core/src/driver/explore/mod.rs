//! The explore clock: every order in which actors can step, on the real core code, for small systems.
//!
//! [`explore`] walks the graph of states depth first. A state is the words that decide the future ([`Mark::saved`]): the
//! system's and the actors'; counters are not in it. It is recognised by a 128-bit hash, so a count can be short by a
//! collision (odds below 2^-80 for 2^24 states). The system goes back in place; nothing is cloned but the actors.
//!
//! What it checks by itself: no step fails, no actor waits for ever, and where all have finished the accounting adds up
//! ([`System::invariant`], every page in a state at rest). Livelock is not looked for: a cycle of states is no failure.
//!
//! Time is not modelled: a sleep is over at once, and a wait with a time-out may end by it in any state ("who steps next"
//! includes a waiter whose time is out).
//!
//! [`replay`] runs one schedule; [`in_turn`] the schedule of one CPU, each actor until it waits; [`Stepper`] is a script's.

mod stepper;

pub use stepper::{Refused, Stepper};

use super::{Crew, Mark, Status};
use crate::lifecycle::State;
use crate::system::{Outcome, StepError, System};
use crate::trace::Record;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What must hold in every state; the error says what does not.
pub type Always<'a> = Box<dyn Fn(&System, &Crew) -> Result<(), String> + 'a>;
/// What must hold in some state.
pub type Sometimes<'a> = Box<dyn Fn(&System, &Crew) -> bool + 'a>;

/// What to look for, and how far.
#[derive(Default)]
pub struct Properties<'a> {
    /// Checked in every state.
    pub always: Vec<(&'static str, Always<'a>)>,
    /// Checked in every state where all have finished, besides what [`explore`] checks by itself.
    pub at_end: Vec<(&'static str, Always<'a>)>,
    /// Counted: nothing passes vacuously.
    pub sometimes: Vec<(&'static str, Sometimes<'a>)>,
    /// States after which the search stops, incomplete; 0: no bound.
    pub max_states: u64,
}

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties").field("max_states", &self.max_states).finish_non_exhaustive()
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// Nobody can run and these have not finished.
    #[error("deadlock: actors {0:?} wait for ever")]
    Deadlock(Vec<usize>),
    /// A property does not hold.
    #[error("{name}: {what}")]
    Property {
        /// The property's name.
        name: &'static str,
        /// What it said.
        what: String,
    },
}

/// A failure, with the way to it.
#[derive(Debug)]
pub struct Failure {
    /// Seats in the order in which they stepped from the start; [`replay`] goes there again.
    pub schedule: Vec<usize>,
    /// What went wrong.
    pub wrong: Wrong,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Different states met, the first included.
    pub states: u64,
    /// Steps taken from them.
    pub transitions: u64,
    /// States in which every actor had finished.
    pub ends: u64,
    /// The longest schedule walked.
    pub deepest: usize,
    /// How many states each `sometimes` held in.
    pub sometimes: Vec<(&'static str, u64)>,
    /// The first failure; the search stops at it.
    pub failure: Option<Failure>,
    /// Whether every reachable state was seen.
    pub complete: bool,
}

/// The 128-bit name of a state.
pub fn fingerprint(state: &[u64]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(1)) << 64 | u128::from(half(2))
}

struct Frame {
    mark: Mark,
    /// Seats still to try here.
    left: Vec<usize>,
}

struct Search<'a, 'p> {
    sys: &'a System,
    crew: &'a mut Crew,
    properties: &'a Properties<'p>,
    seen: HashSet<u128>,
    stack: Vec<Frame>,
    schedule: Vec<usize>,
    report: Report,
}

/// Searches every state that `crew` can reach from here. The system is left where the search ended.
pub fn explore(sys: &System, crew: &mut Crew, properties: &Properties<'_>) -> Report {
    let sometimes = properties.sometimes.iter().map(|(name, _)| (*name, 0)).collect();
    let report = Report { sometimes, ..Report::default() };
    let (seen, stack, schedule) = (HashSet::new(), Vec::new(), Vec::new());
    let mut search = Search { sys, crew, properties, seen, stack, schedule, report };
    if let Err(wrong) = search.run() {
        let schedule = search.schedule;
        search.report.failure = Some(Failure { schedule, wrong });
    }
    search.report
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<(), Wrong> {
        self.arrive()?;
        while let Some(frame) = self.stack.last_mut() {
            if self.properties.max_states != 0 && self.report.states >= self.properties.max_states {
                return Ok(());
            }
            let Some(seat) = frame.left.pop() else {
                self.stack.pop();
                self.schedule.pop();
                continue;
            };
            self.crew.back_to(self.sys, &frame.mark);
            self.schedule.push(seat);
            self.report.transitions += 1;
            let _ = self.crew.step(self.sys, seat)?;
            if !self.arrive()? {
                self.schedule.pop();
            }
        }
        self.report.complete = true;
        Ok(())
    }

    /// Looks at the state just reached; whether it is new.
    fn arrive(&mut self) -> Result<bool, Wrong> {
        let mark = self.crew.mark(self.sys);
        if !self.seen.insert(fingerprint(&mark.saved().state)) {
            return Ok(false);
        }
        self.report.states += 1;
        self.report.deepest = self.report.deepest.max(self.schedule.len());
        self.check()?;
        let left: Vec<usize> = self.crew.runnable(self.sys).collect();
        if left.is_empty() {
            self.check_end()?;
        }
        self.stack.push(Frame { mark, left });
        Ok(true)
    }

    fn check(&mut self) -> Result<(), Wrong> {
        holds(&self.properties.always, self.sys, self.crew)?;
        for ((_, met), (_, property)) in self.report.sometimes.iter_mut().zip(&self.properties.sometimes) {
            *met += u64::from(property(self.sys, self.crew));
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), Wrong> {
        if !self.crew.is_done() {
            let waits = |&i: &usize| self.crew.seats[i].status != Status::Done;
            return Err(Wrong::Deadlock((0..self.crew.seats.len()).filter(waits).collect()));
        }
        self.report.ends += 1;
        let lost = |what| Wrong::Property { name: "nothing is lost", what };
        nothing_lost(self.sys).map_err(lost)?;
        holds(&self.properties.at_end, self.sys, self.crew)
    }
}

fn holds(properties: &[(&'static str, Always<'_>)], sys: &System, crew: &Crew) -> Result<(), Wrong> {
    for &(name, ref property) in properties {
        property(sys, crew).map_err(|what| Wrong::Property { name, what })?;
    }
    Ok(())
}

/// Whether a system whose actors have all finished accounts for every page: in a state at rest, and by the equations of
/// [`System::invariant`].
///
/// # Errors
/// What does not add up.
pub fn nothing_lost(sys: &System) -> Result<(), String> {
    let census = sys.census();
    if let Some(state) = State::ALL.into_iter().find(|&state| !state.rests() && census[state as usize] > 0) {
        return Err(format!("{} pages are {} with nobody to take them on", census[state as usize], state.name()));
    }
    catch_unwind(AssertUnwindSafe(|| sys.invariant())).map_err(|panic| match panic.downcast::<String>() {
        Ok(what) => *what,
        Err(_) => "System::invariant() does not hold".into(),
    })
}

/// Runs `schedule`; returns the trace, where the crew logs.
///
/// # Errors
/// The failure, with the part of the schedule that led to it.
pub fn replay(sys: &System, crew: &mut Crew, schedule: &[usize]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for (i, &seat) in schedule.iter().enumerate() {
        let stepped = crew.step(sys, seat);
        crew.collect(seat, &mut records);
        let _ = stepped.map_err(|e| Failure { schedule: schedule[..=i].to_vec(), wrong: e.into() })?;
    }
    Ok(records)
}

/// Runs one actor until it waits or ends, then the next that can run in a circle, until all have finished; returns the
/// schedule.
///
/// # Errors
/// The failure, with the schedule that led to it.
pub fn in_turn(sys: &System, crew: &mut Crew) -> Result<Vec<usize>, Failure> {
    let (mut schedule, mut last) = (Vec::new(), crew.seats.len().saturating_sub(1));
    while let Some(seat) = crew.next_after(sys, last) {
        last = seat;
        loop {
            schedule.push(seat);
            match crew.step(sys, seat) {
                Ok(Outcome::Ran(_) | Outcome::Sleep(_)) => {}
                Ok(Outcome::Wait(_) | Outcome::Done) => break,
                Err(e) => return Err(Failure { schedule, wrong: e.into() }),
            }
        }
    }
    if crew.is_done() {
        return Ok(schedule);
    }
    let waits = |&i: &usize| crew.seats[i].status != Status::Done;
    Err(Failure { wrong: Wrong::Deadlock((0..crew.seats.len()).filter(waits).collect()), schedule })
}
