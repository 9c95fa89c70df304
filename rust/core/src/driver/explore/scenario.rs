//! A small system with everything that may happen to it, and the law that every design must keep: what `kcompressd check` runs.

use super::{Choice, Properties, Report, Sometimes, Wrong, explore, replay};
use crate::design::Scripted;
use crate::design::scripted::Script;
use crate::driver::{Crew, Status};
use crate::lifecycle::{Event, State, Table, actor, actor_name, flag};
use crate::memcg::Memcgs;
use crate::reclaim::{Task, Toggle};
use crate::swap::{Backing, Device, IoFaults};
use crate::system::{BuildError, Config, Contents, Sizes, System};
use crate::trace::Record;
use crate::units::NIL;
use crate::wait::WaitKey;
use std::sync::Arc;

/// What is explored.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The system; it has a page for each of `lens`.
    pub config: Config,
    /// The law.
    pub table: Table,
    /// What each page compresses to, bytes; `u32::MAX`: the codec gives up; 0: a page of zeroes.
    pub lens: Vec<u32>,
    /// memory.zswap.writeback of the pages' group.
    pub writeback: bool,
    /// Knobs that are turned once, at any time.
    pub toggles: Vec<Toggle>,
    /// Pages that an application touches, at any time, in order.
    pub touches: Vec<u32>,
    /// Whether an application gives every page up, at any time, in order.
    pub exit: bool,
    /// Whether swapoff is called, at any time.
    pub swapoff: bool,
    /// Reads from the swap device that fail, by number from 0.
    pub read_errors: Vec<u64>,
    /// Steps that may fail.
    pub faults: u8,
    /// What decides in the design's place, if anything does.
    pub script: Option<SharedScript>,
}

/// A script that every system built of a scenario asks.
#[derive(Clone)]
pub struct SharedScript(pub Arc<Script>);

impl std::fmt::Debug for SharedScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedScript")
    }
}

impl SharedScript {
    fn before(&self, sys: System) -> System {
        let (design, script) = (sys.config.design, self.0.clone());
        sys.scripted(Scripted::new(design, Box::new(move |ask, view| script(ask, view))))
    }
}

impl Scenario {
    /// The system and its crew at the start.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(&self, log: bool) -> Result<(System, Crew), BuildError> {
        let mut memcgs = Memcgs::new(self.config.page_size);
        let group = memcgs.add("app", 0).expect("the root exists");
        memcgs.get(group).expect("just added").set_writeback(self.writeback);
        let device = Device::new(Backing::Modelled, self.config.page_size, self.io_faults());
        let sizes = Sizes { len: self.lens.clone(), ..Sizes::uniform(self.lens.len(), 0) };
        let contents = Contents::Sizes(sizes);
        let sys = System::new(self.config.clone(), self.table.clone(), memcgs, |_| group, device, contents)?;
        let sys = match &self.script {
            Some(script) => script.before(sys),
            None => sys,
        };
        let mut crew = Crew::reclaim(&sys, log);
        if !self.touches.is_empty() {
            crew = crew.with_app(&sys, Task::Touch, &self.touches);
        }
        let pages: Vec<u32> = (0..self.lens.len() as u32).collect();
        if self.exit {
            crew = crew.with_app(&sys, Task::Killed, &pages);
        }
        if self.swapoff {
            crew = crew.with_app(&sys, Task::Unuse, &pages);
        }
        for &toggle in &self.toggles {
            crew = crew.with_toggle(&sys, toggle);
        }
        crew.faults_left = self.faults;
        Ok((sys, crew))
    }

    fn io_faults(&self) -> IoFaults {
        IoFaults { reads: self.read_errors.clone(), ..IoFaults::default() }
    }

    /// Searches with the properties of every design in force, `limits` and reductions as given.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn check(&self, limits: Properties<'_>) -> Result<Found, BuildError> {
        let (sys, mut crew) = self.build(true)?;
        let properties = Properties {
            always: vec![("the LRU lists are what PG_lru and PG_active say", Box::new(lists_agree))],
            at_end: vec![
                ("a large folio is stored as a whole or not at all", Box::new(whole_or_not)),
                ("a device that is off has no slot in use", Box::new(off_is_empty)),
            ],
            on_step: vec![("memory.zswap.writeback is respected", Box::new(writeback_is_respected))],
            sometimes: sometimes(),
            ..limits
        };
        let report = explore(&sys, &mut crew, &properties);
        let why = report.failure.as_ref().map(|failure| explain(&failure.wrong, &sys, &crew));
        Ok(Found { report, why, actors: names(&crew) })
    }

    /// Runs a schedule from the start; returns what was logged, and what went wrong at its end.
    ///
    /// # Errors
    /// [`BuildError`]. A schedule that names a seat which does not exist or cannot step ends there, with that said.
    pub fn replay(&self, schedule: &[Choice]) -> Result<Replayed, BuildError> {
        let (sys, mut crew) = self.build(true)?;
        let mut records = Vec::new();
        for (number, &choice) in schedule.iter().enumerate() {
            if !crew.runnable(&sys).any(|seat| seat == choice.seat()) || choice.fails() && crew.faults_left == 0 {
                let why =
                    format!("step {number}: seat {} cannot step here: not a schedule of this scenario", choice.seat());
                return Ok(Replayed { records, why: Some(why), valid: false, actors: names(&crew) });
            }
            match replay(&sys, &mut crew, &[choice]) {
                Ok(logged) => records.extend(logged.into_iter().map(|record| (number, record))),
                Err(failure) => {
                    let why = Some(explain(&failure.wrong, &sys, &crew));
                    return Ok(Replayed { records, why, valid: true, actors: names(&crew) });
                }
            }
        }
        let last: Vec<Record> = records.iter().filter(|(at, _)| at + 1 == schedule.len()).map(|(_, r)| *r).collect();
        let waits =
            || (0..crew.seats.len()).filter(|&seat| crew.seats[seat].status != Status::Done).collect::<Vec<_>>();
        let why = match lists_agree(&sys, &crew).and_then(|()| writeback_is_respected(&sys, &last)) {
            Err(what) => Some(what),
            Ok(()) if crew.runnable(&sys).next().is_none() && !crew.is_done() => {
                Some(explain(&Wrong::Deadlock(waits()), &sys, &crew))
            }
            Ok(()) => None,
        };
        Ok(Replayed { records, why, valid: true, actors: names(&crew) })
    }
}

/// What a search of a scenario came to.
#[derive(Debug)]
pub struct Found {
    /// The search's report.
    pub report: Report,
    /// What went wrong, in words.
    pub why: Option<String>,
    /// The seats' names.
    pub actors: Vec<String>,
}

/// What a replayed schedule came to.
#[derive(Debug)]
pub struct Replayed {
    /// Everything logged, with the number of its step.
    pub records: Vec<(usize, Record)>,
    /// What is wrong at the end, in words.
    pub why: Option<String>,
    /// Whether every step could be taken.
    pub valid: bool,
    /// The seats' names.
    pub actors: Vec<String>,
}

fn names(crew: &Crew) -> Vec<String> {
    crew.seats.iter().map(|seat| actor_name(seat.ctx.actor)).collect()
}

/// A folio on a list has PG_lru, and PG_active exactly on the active one.
fn lists_agree(sys: &System, _: &Crew) -> Result<(), String> {
    for node in &sys.nodes {
        let lru = node.lru();
        let lists = lru.lruvecs().iter().flat_map(|v| [(&v.inactive, false, "inactive"), (&v.active, true, "active")]);
        for (list, active, name) in lists {
            let wrong = |&page: &u32| {
                let word = sys.folio(page).word.load();
                !word.has(flag::LRU) || word.has(flag::ACTIVE) != active
            };
            if let Some(page) = list.from_tail(&sys.folios).find(wrong) {
                let flags = crate::lifecycle::FlagSet(sys.folio(page).word.load().flags());
                return Err(format!("page {page} is on the {name} list with flags {flags}"));
            }
        }
    }
    Ok(())
}

/// The later pages of a large folio have copies in the store where its first page has one.
fn whole_or_not(sys: &System, _: &Crew) -> Result<(), String> {
    let stored = |page: u32| sys.folio(page).slot() != NIL && sys.holds(sys.folio(page).slot());
    match (0..sys.folios.len() as u32).find(|&page| stored(page) != stored(sys.head(page))) {
        None => Ok(()),
        Some(page) => Err(format!("the folio of page {} is stored but in part: not as page {page} is", sys.head(page))),
    }
}

/// After swapoff, unless a page could not be read.
fn off_is_empty(sys: &System, _: &Crew) -> Result<(), String> {
    match sys.slots.used() {
        used if used > 0 && sys.slots.is_off() => Err(format!("swapoff is done, and {used} slots are in use")),
        _ => Ok(()),
    }
}

/// Nobody but zswap's shrinker, which asked before, writes a page to the device whose group denies it.
fn writeback_is_respected(sys: &System, records: &[Record]) -> Result<(), String> {
    let denied = |r: &&Record| {
        r.event == Event::Write as u8
            && r.from == State::Compressing as u8
            && !sys.memcgs.writeback_enabled(sys.folio(r.folio).memcg)
    };
    match records.iter().find(denied) {
        None => Ok(()),
        Some(r) => Err(format!(
            "{} sends page {} to the swap device though memory.zswap.writeback is 0 by now",
            actor_name(r.actor),
            r.folio
        )),
    }
}

/// Each state is met, and the races that are worth a look.
fn sometimes() -> Vec<(&'static str, Sometimes<'static>)> {
    let met = |state: State| -> Sometimes<'static> {
        Box::new(move |sys, _, _| sys.folios.iter().any(|folio| folio.word.load().state() == state))
    };
    let by_worker = |records: &[Record], listed: bool| {
        records.iter().any(|r| {
            r.event == Event::Reject as u8
                && r.to == State::Activated as u8
                && actor::kind(r.actor) == actor::KCOMPRESSD
                && (r.flags & flag::LRU != 0) == listed
        })
    };
    let mut all: Vec<(_, Sometimes<'static>)> =
        State::ALL.into_iter().map(|state| (state.name(), met(state))).collect();
    all.push((
        "activated by a worker when it was back on the inactive list",
        Box::new(move |_, _, records| by_worker(records, true)),
    ));
    all.push((
        "activated by a worker while kswapd still held it isolated",
        Box::new(move |_, _, records| by_worker(records, false)),
    ));
    all
}

/// What went wrong, in the kernel's words.
fn explain(wrong: &Wrong, sys: &System, crew: &Crew) -> String {
    let Wrong::Deadlock(seats) = wrong else { return wrong.to_string() };
    let waits = seats.iter().map(|&seat| {
        let (name, status) = (actor_name(crew.seats[seat].ctx.actor), crew.seats[seat].status);
        let what = if let Status::Waiting(wait) = status { waits_for(wait.key, sys) } else { "is at work".into() };
        format!("{name} {what}")
    });
    format!("nobody can go on: {}", waits.collect::<Vec<_>>().join("; "))
}

fn waits_for(key: WaitKey, sys: &System) -> String {
    match key {
        WaitKey::Queue(queue) if sys.kthread_should_stop(queue) => {
            format!("sleeps in wait_event() on its empty queue {queue} and misses kthread_stop(), which waits for it")
        }
        WaitKey::Queue(queue) => format!("sleeps in wait_event() on its empty queue {queue}"),
        WaitKey::QueueSpace(queue) => format!("waits for room in queue {queue}"),
        WaitKey::Folio(page) => format!("waits in folio_lock() of page {page}"),
        WaitKey::Writeback(page) => format!("waits in folio_wait_writeback() of page {page}"),
        other => format!("waits for {other:?}"),
    }
}
