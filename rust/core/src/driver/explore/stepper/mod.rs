//! Step by step: the explore clock with a script choosing, page by page.
//!
//! A [`Stepper`] has one system and its actors: a kswapd a node, a kcompressd a queue, and behind zswap the shrink worker
//! and the swap device; one application. A call hands an actor a page, or lets it go on with the page in its hands, and
//! steps that actor alone until what was asked for has come or the actor has nothing left to do; between two calls
//! nobody moves. The actors are those of the other drivers.
//!
//! Who chooses: the script chooses pages for kswapd, the shrink worker and the application. A queue and the device are
//! taken from in order, a kcompressd takes up to a batch at once: a page with others ahead of it is refused with their
//! names ([`Refused::NotAtHead`]).
//!
//! Each call returns the page's state afterwards. [`Stepper::fire`] asks for one event: where the law has no such edge,
//! the state word itself refuses it, and else the actor whose business it is goes on until it has fired it. The trace is
//! totally ordered, its time is the number of steps.

mod calls;
mod knobs;
mod refused;
mod run;

pub use refused::Refused;

use crate::driver::{Seat, Stops, actors};
use crate::lifecycle::{Event, Word, actor};
use crate::reclaim::{Actor, App, Task};
use crate::stats::VmStat;
use crate::system::{Ctx, StepError, System};
use crate::trace::{Log, Record, system as events};

/// An actor, and the page that the script gave it and that it has not finished.
#[derive(Debug)]
struct Hand {
    seat: Seat,
    page: Option<u32>,
}

/// A system driven page by page; see the module.
#[derive(Debug)]
pub struct Stepper {
    sys: System,
    hands: Vec<Hand>,
    /// Knobs, and events that the law forbids.
    script: Ctx,
    records: Vec<Record>,
    errors: Vec<StepError>,
    steps: u64,
    violations: u64,
    /// What the store held when that was last noted.
    pool_bytes: u64,
    /// What the frames held, page by page; empty for a system without bytes.
    original: Vec<Vec<u8>>,
}

impl Stepper {
    /// A stepper over a fresh `sys`.
    pub fn new(sys: System) -> Self {
        let app = (actor::APP, Actor::App(App::new(Task::Touch, [].into())));
        let all = actors(&sys, &Stops::default()).into_iter().chain([app]);
        let hands = all.map(|(id, actor)| Hand { seat: Seat::new(&sys, id, actor, true), page: None }).collect();
        let script = Ctx::new(actor::SCRIPT, sys.config.codec, sys.config.page_size, Log::new(true, 0));
        // SAFETY: no actor has stepped yet.
        let bytes = |page| unsafe { sys.contents.page(page) }.map(<[u8]>::to_vec);
        let original = (0..sys.folios.len() as u32).map_while(bytes);
        let original = original.collect();
        Self {
            hands,
            script,
            records: Vec::new(),
            errors: Vec::new(),
            steps: 0,
            violations: 0,
            pool_bytes: 0,
            original,
            sys,
        }
    }

    /// The system, to look at.
    pub fn system(&self) -> &System {
        &self.sys
    }

    /// Every event so far, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Device and decode failures, each of which is accounted for by its event.
    pub fn errors(&self) -> &[StepError] {
        &self.errors
    }

    /// Events that the law forbade.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// Everybody's counters.
    pub fn stat(&self) -> VmStat {
        let mut sum = VmStat::default();
        self.hands.iter().for_each(|hand| sum.add(&hand.seat.ctx.stat));
        sum
    }

    /// Events fired, by kind.
    pub fn by_event(&self) -> [u64; Event::ALL.len()] {
        std::array::from_fn(|event| self.hands.iter().map(|hand| hand.seat.ctx.by_event[event]).sum())
    }

    /// The page's state word.
    ///
    /// # Errors
    /// [`Refused::NoPage`].
    pub fn word(&self, page: u32) -> Result<Word, Refused> {
        let pages = self.sys.folios.len();
        let folio = self.sys.folios.get(page as usize).ok_or(Refused::NoPage { page, pages })?;
        Ok(folio.word.load())
    }

    /// Pages in line for the kcompressd of `queue`, the head first: those it has taken, then those queued.
    pub fn queue_line(&self, queue: usize) -> Vec<u32> {
        let Some(fifo) = self.sys.queues.get(queue) else { return Vec::new() };
        let taken = self.hands.iter().filter(|hand| hand.seat.ctx.actor == actor::KCOMPRESSD + queue as u16);
        let taken = taken.filter_map(|hand| match &hand.seat.actor {
            Actor::Kcompressd(worker) => Some(worker.in_hand().iter().copied()),
            _ => None,
        });
        taken.flatten().chain(fifo.queued().map(|(_, entry)| self.sys.page_of(entry))).collect()
    }

    /// Pages whose writes the device has still to end, the next first.
    pub fn device_line(&self) -> Vec<u32> {
        let at_it = self.hands.iter().find_map(|hand| match &hand.seat.actor {
            Actor::Device(device) => device.page(),
            _ => None,
        });
        at_it.into_iter().chain(self.sys.device.pending()).collect()
    }

    fn note(&mut self, event: u8, aux: u64) {
        self.steps += 1;
        self.log(event, aux);
    }

    /// Notes how many bytes the store holds, if that has changed.
    fn note_pool(&mut self) {
        let bytes = self.sys.pool_bytes();
        if std::mem::replace(&mut self.pool_bytes, bytes) != bytes {
            self.log(events::POOL, bytes);
        }
    }

    fn log(&mut self, event: u8, aux: u64) {
        self.script.log.now_ns = self.steps;
        self.script.log.system(actor::SCRIPT, event, aux);
        self.records.append(&mut self.script.log.take());
    }

    fn hand(&self, id: u16) -> usize {
        let found = self.hands.iter().position(|hand| hand.seat.ctx.actor == id);
        found.expect("callers ask for actors that the system has")
    }

    fn has(&self, id: u16, page: u32) -> bool {
        self.hands.iter().any(|hand| hand.seat.ctx.actor == id && hand.page == Some(page))
    }

    /// Who was given `page` and has not finished it.
    fn holder(&self, page: u32) -> Option<u16> {
        self.hands.iter().find(|hand| hand.page == Some(page)).map(|hand| hand.seat.ctx.actor)
    }

    fn kswapd_of(&self, page: u32) -> u16 {
        actor::KSWAPD + u16::from(self.sys.folio(page).node)
    }

    /// The kcompressd in whose line the page is.
    fn worker_of(&self, page: u32) -> Option<u16> {
        let queue = (0..self.sys.queues.len()).find(|&queue| self.queue_line(queue).contains(&page))?;
        Some(actor::KCOMPRESSD + queue as u16)
    }

    /// The kcompressd that has finished the page and not rotated it yet.
    fn worker_to_rotate(&self, page: u32) -> Option<u16> {
        let has_finished = |hand: &&Hand| match &hand.seat.actor {
            Actor::Kcompressd(worker) => worker.finished().contains(&page),
            _ => false,
        };
        self.hands.iter().find(has_finished).map(|hand| hand.seat.ctx.actor)
    }

    fn misplaced(&self, page: u32, call: &'static str, needs: &'static str) -> Refused {
        Refused::Misplaced { page, state: self.sys.folio(page).word.load().state(), call, needs }
    }

    fn busy(&self, page: u32, actor: u16, with: u32) -> Refused {
        Refused::Busy { page, state: self.sys.folio(with).word.load().state(), actor, with }
    }
}
