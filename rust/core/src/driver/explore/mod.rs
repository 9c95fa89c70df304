//! The explore clock: every order in which actors can step, on the real core code, for small systems.
//!
//! [`explore`] walks the graph of states breadth first. A state is the words that decide the future ([`States`]); what only
//! records the past is not in it. It is recognised by a 128-bit hash, so a count can be short by a collision (odds below
//! 2^-80 for 2^24 states). The system goes back in place, from packed words; nothing is cloned.
//!
//! What it checks by itself: no step fails, no actor waits for ever, and where all have finished the accounting adds up
//! ([`System::invariant`], every page in a state at rest). With [`Properties::eventually`] also that from every state such an
//! end can be reached, so that no cycle of states is a trap; that is a property of the graph (AG EF), not of LTL under
//! fairness: it does not say that an end *is* reached however the scheduler behaves.
//!
//! [`replay`] runs one schedule; [`in_turn`] the schedule of one CPU, each actor until it waits; [`Stepper`] is a script's.

mod choice;
mod graph;
mod packed;
pub mod scenario;
mod search;
mod seen;
mod states;
mod stepper;

pub use choice::Choice;
pub use search::fingerprint;
pub use states::{MAX_FOLIOS, States};
pub use stepper::{Refused, Stepper};

use super::{Crew, Status};
use crate::lifecycle::generated::STATE_COPIES;
use crate::lifecycle::{State, guard};
use crate::system::{Outcome, StepError, System};
use crate::trace::Record;
use crate::units::NIL;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What must hold in every state; the error says what does not.
pub type Always<'a> = Box<dyn Fn(&System, &Crew) -> Result<(), String> + 'a>;
/// What must hold of every step that logs something; the error says what does not.
pub type OnStep<'a> = Box<dyn Fn(&System, &[Record]) -> Result<(), String> + 'a>;
/// What must hold in some state, or of the step that first leads to it (where the crew logs).
pub type Sometimes<'a> = Box<dyn Fn(&System, &Crew, &[Record]) -> bool + 'a>;

/// Whether a search goes on: asked every 1024 states.
pub type GoesOn<'a> = Box<dyn Fn() -> bool + 'a>;

/// What to look for, how, and how far.
pub struct Properties<'a> {
    /// Checked in every state.
    pub always: Vec<(&'static str, Always<'a>)>,
    /// Checked of every step, where the crew logs.
    pub on_step: Vec<(&'static str, OnStep<'a>)>,
    /// Checked in every state where all have finished, besides what [`explore`] checks by itself.
    pub at_end: Vec<(&'static str, Always<'a>)>,
    /// Counted: nothing passes vacuously.
    pub sometimes: Vec<(&'static str, Sometimes<'a>)>,
    /// From every state an end can be reached where all that is checked at an end holds.
    pub eventually: bool,
    /// States that differ only in which folio is which are one.
    pub symmetry: bool,
    /// A step that nobody else can see is taken at once, alone, as part of the step before it. Properties must not see it
    /// either: they look at the system, not at the places of actors in their programs.
    pub reduction: bool,
    /// States after which the search stops, incomplete; 0: no bound.
    pub max_states: u64,
    /// Steps from the start beyond which it does not look; 0: no bound.
    pub max_depth: u32,
    /// Bytes of its tables after which it stops; 0: no bound.
    pub max_memory_bytes: u64,
    /// Says no when somebody has had enough; `None`: nobody has.
    pub goes_on: Option<GoesOn<'a>>,
}

impl Default for Properties<'_> {
    /// Nothing to look for, with both reductions, without bounds.
    fn default() -> Self {
        Self {
            always: Vec::new(),
            on_step: Vec::new(),
            at_end: Vec::new(),
            sometimes: Vec::new(),
            eventually: false,
            symmetry: true,
            reduction: true,
            max_states: 0,
            max_depth: 0,
            max_memory_bytes: 0,
            goes_on: None,
        }
    }
}

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties").field("max_states", &self.max_states).finish_non_exhaustive()
    }
}

impl From<Box<StepError>> for Wrong {
    fn from(error: Box<StepError>) -> Self {
        Self::Step(*error)
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A step came upon what the core holds impossible.
    #[error("the core's own assertion: {0}")]
    Panic(String),
    /// Nobody can run and these have not finished.
    #[error("deadlock: actors {0:?} wait for ever")]
    Deadlock(Vec<usize>),
    /// A state from which the run cannot end well any more, though it goes on.
    #[error("from here no end can be reached any more")]
    NoWayToAnEnd,
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
    /// The choices from the start; [`replay`] goes there again.
    pub schedule: Vec<Choice>,
    /// What went wrong.
    pub wrong: Wrong,
}

/// How often a `sometimes` was met.
#[derive(Debug)]
pub struct Met {
    /// Its name.
    pub name: &'static str,
    /// States that it held in.
    pub times: u64,
    /// A shortest way to the first of them.
    pub way: Vec<Choice>,
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
    /// The longest of the shortest ways to the states.
    pub deepest: u32,
    /// How many states each `sometimes` held in.
    pub sometimes: Vec<Met>,
    /// The first failure; the search stops at it.
    pub failure: Option<Failure>,
    /// Whether every reachable state was seen.
    pub complete: bool,
    /// The bound that stopped it, or "interrupted".
    pub stopped_by: Option<&'static str>,
    /// Bytes of its tables at the end.
    pub memory_bytes: u64,
    /// Different actors (places in their programs, with what they carry) met.
    pub actors: u64,
}

/// Searches every state that `crew` can reach from here. The system is left where the search ended.
///
/// A failure's schedule is a shortest one, private steps ([`crate::reclaim::Actor::is_private`]) not counted.
pub fn explore(sys: &System, crew: &mut Crew, properties: &Properties<'_>) -> Report {
    search::Search::new(sys, crew, properties).run()
}

fn holds(properties: &[(&'static str, Always<'_>)], sys: &System, crew: &Crew) -> Result<(), Wrong> {
    for &(name, ref property) in properties {
        property(sys, crew).map_err(|what| Wrong::Property { name, what })?;
    }
    Ok(())
}

/// Whether a system whose actors have all finished accounts for every page: in a state at rest, its copy where the state says,
/// and by the equations of [`System::invariant`].
///
/// # Errors
/// What does not add up.
pub fn nothing_lost(sys: &System) -> Result<(), String> {
    let census = sys.census();
    if let Some(state) = State::ALL.into_iter().find(|&state| !state.rests() && census[state as usize] > 0) {
        return Err(format!("{} pages are {} with nobody to take them on", census[state as usize], state.name()));
    }
    let mut states = (0..).zip(sys.folios.iter().map(|folio| folio.word.load().state()));
    if let Some((page, state)) = states.find(|&(page, state)| is_lost(sys, page, state)) {
        return Err(format!("page {page} is {}, but its copy is not there", state.name()));
    }
    caught(|| sys.invariant())
}

/// Whether the copy of a page in this state is somewhere else, or nowhere.
fn is_lost(sys: &System, page: u32, state: State) -> bool {
    let slot = sys.folio(page).slot();
    let on_device = slot != NIL && !sys.slots.is_zero(slot) && !sys.holds(slot);
    match (state, STATE_COPIES[state as usize]) {
        (State::WrittenBack | State::WrittenBackFreed, _) => !on_device,
        (_, guard::IN_POOL) => slot == NIL || !sys.holds(slot),
        (_, guard::ZERO) => slot == NIL || !sys.slots.is_zero(slot),
        _ => false,
    }
}

/// What `f` returns, or what it panicked with: an assertion that fails ends a search as any other failure, with the way there.
fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| match panic.downcast::<String>() {
        Ok(what) => *what,
        Err(panic) => panic.downcast_ref::<&str>().map_or("it does not say what", |what| what).into(),
    })
}

/// Runs `schedule`; returns the trace, where the crew logs.
///
/// # Errors
/// The failure, with the part of the schedule that led to it.
pub fn replay(sys: &System, crew: &mut Crew, schedule: &[Choice]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for (i, &choice) in schedule.iter().enumerate() {
        let stepped = caught(|| crew.choose(sys, choice)).map_err(Wrong::Panic).and_then(|step| Ok(step?));
        crew.collect(choice.seat(), &mut records);
        let _ = stepped.map_err(|wrong| Failure { schedule: schedule[..=i].to_vec(), wrong })?;
    }
    Ok(records)
}

/// Runs one actor until it waits or ends, then the next that can run in a circle, until all have finished; returns the
/// schedule.
///
/// # Errors
/// The failure, with the schedule that led to it.
pub fn in_turn(sys: &System, crew: &mut Crew) -> Result<Vec<Choice>, Failure> {
    let (mut schedule, mut last) = (Vec::new(), crew.seats.len().saturating_sub(1));
    while let Some(seat) = crew.next_after(sys, last) {
        last = seat;
        loop {
            schedule.push(Choice::step(seat));
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
