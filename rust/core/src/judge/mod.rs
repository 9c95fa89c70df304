//! The judge: replays a trace against the law and names the first record that breaks it.
//!
//! The judge shares the compiled [`Table`] with the core and nothing else: where a page is, its sequence number, its
//! flags and the place of its copy are rebuilt from the records alone. So a core that logs what it did not do, or does
//! what the law forbids, is caught even though both read one table. It keeps 8 bytes a page and 4 for the size of its copy, a window of tickets a
//! queue, and one time an actor; it reads each record once.
//!
//! What holds for every record, in the order in which a breach is named:
//! 1. event, states, guards and flags are ids and bits that exist;
//! 2. the page's records are numbered from 0 without a gap, and each leaves the state that the last one entered;
//! 3. the table has the edge, under exactly the guards of the record; a bit that the row does not read is zero;
//! 4. guards that the past decides agree with it: `mapped` (a flag), `in_pool` and `zero` (where the copy went), and
//!    `writeback_enabled` (the knobs, when [`Config::memcgs`] is given and the order is total);
//! 5. the new state permits the flags, and they changed as the event says ([`Effect`](crate::lifecycle::Effect));
//! 6. time does not run backwards: for the whole trace when the order is total, else for each actor (a live actor reads
//!    the clock once a batch, so two actors' stamps on one page may cross);
//! 7. a page that one actor has (isolated, unmapped, compressing, faulting in) is taken on by that actor alone: nobody
//!    else owns its frame meanwhile;
//! 8. an isolated page is activated only where an allocation was refused or two looks found it referenced (a refused store only where writeback is denied,
//!    which the guard says);
//! 9. tickets: see [`queues`];
//! 10. whenever the store says how many bytes it holds, that is the sum over the pages whose copy it has;
//! 11. the device alone notes I/O errors, and the write that it ends next has failed, as no other has; phases begin in their order, and
//!     between two of them the store says what it holds.
//!
//! After a breach the judge believes the record and goes on, so one altered record of a page counts four times at most, and four more
//! where the bytes in the store are added up, not for ever.

mod breach;
mod law;
mod locator;
mod pages;
pub mod queues;
pub mod replay;
mod source;
mod system;

use crate::lifecycle::{Event, State, Table, guard};
use crate::trace::{Record, SYSTEM, aux, system as events};
pub use breach::{Breach, Reason};
use law::{FLAG_BITS, GUARD_BITS, Law, special};
pub use locator::Locator;
use pages::{Page, Pages, actor_of, owner};
use queues::Queues;
use source::Source;
pub use source::decode;

/// How the records of a trace are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// By the steps themselves (virtual time, exploration).
    Total,
    /// Per page, per actor and per ticket only (live threads).
    #[default]
    PerFolio,
}

/// Memory cgroups, for `writeback_enabled`.
#[derive(Clone, Debug, Default)]
pub struct Memcgs {
    /// The parent of each memcg; its own index at a root.
    pub parents: Vec<u16>,
    /// memory.zswap.writeback of each at the start.
    pub writeback: Vec<bool>,
    /// The memcg of each page.
    pub of_page: Vec<u16>,
}

/// What is known of the run that wrote the trace.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How the records are ordered.
    pub ordering: Ordering,
    /// Whether the run came to its end: nothing may be left half way.
    pub complete: bool,
    /// Depth of each queue at the start, in folios; `None`: unknown, and not checked.
    pub depths: Option<Vec<u32>>,
    /// Folios of one queue that consumers may have taken but not begun: a drain's batch, and a head popped on overflow.
    pub in_hand: u32,
    /// Whether the bytes in the store are added up, to be held against what it says.
    pub pool: bool,
    /// Whether no page is there before its first touch, as in a run with a memory budget; else all are resident.
    pub absent: bool,
    /// log2 of the pages of each folio at the start, where all are resident: what is left at the end are single pages.
    pub folio_order: u8,
    /// Memcgs; `None`: unknown, and `writeback_enabled` is believed.
    pub memcgs: Option<Memcgs>,
}

/// What the judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Records read.
    pub events: u64,
    /// Records of each page event, by id.
    pub by_event: [u64; Event::ALL.len()],
    /// Records of each system event, from 0x80.
    pub by_system: [u64; events::NAMES.len()],
    /// Breaches.
    pub violations: u64,
    /// The first of them.
    pub first: Option<Breach>,
    /// Pages whose last state is not one to rest in.
    pub in_flight: u64,
}

/// Replays records; see the module.
#[derive(Debug)]
pub struct Judge {
    law: Law,
    pages: Pages,
    queues: Queues,
    clock: Box<[u64]>,
    config: Config,
    /// Bytes of the copies in the store.
    pool_bytes: u64,
    /// The device has noted an I/O error.
    io_error: bool,
    /// The first phase that may begin, and whether the store has been asked what it holds before it.
    phase: u64,
    noted: bool,
    /// Guard bits whose change moves bytes, and [`special`] checks that are made.
    watched: u8,
    special: u8,
    events: u64,
    by_event: [u64; 256],
    violations: u64,
    first: Option<Breach>,
}

/// How many records ahead a page is fetched: more than a cache miss takes to judge.
const AHEAD: usize = 24;

impl Judge {
    /// A judge by `table` for a trace over `pages` pages (`None`: as many as the records name).
    pub fn new(table: &Table, pages: Option<usize>, config: Config) -> Self {
        let actors = if config.ordering == Ordering::Total { 1 } else { 1 << 16 };
        Self {
            law: Law::new(table),
            pages: Pages::new(pages, config.absent, config.folio_order),
            queues: Queues::new(&config),
            clock: vec![0; actors].into_boxed_slice(),
            pool_bytes: 0,
            io_error: false,
            phase: 0,
            noted: false,
            watched: if config.pool { guard::IN_POOL } else { 0 },
            special: if config.pool { u8::MAX } else { !special::STORED },
            config,
            events: 0,
            by_event: [0; 256],
            violations: 0,
            first: None,
        }
    }

    /// Judges the next records.
    ///
    /// # Errors
    /// The first breach among them; all of them have been judged all the same.
    pub fn feed(&mut self, records: &[Record]) -> Result<(), Breach> {
        self.feed_any(records)
    }

    /// Judges the next records as they stand in a file.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn feed_bytes(&mut self, records: &[[u8; 32]]) -> Result<(), Breach> {
        self.feed_any(records)
    }

    #[inline(never)] // one loop each for records and bytes, wherever they are fed from
    fn feed_any<R: Source>(&mut self, records: &[R]) -> Result<(), Breach> {
        let mut found = Ok(());
        self.pages.account(self.events + records.len() as u64);
        for (i, source) in records.iter().enumerate() {
            if let Some(ahead) = records.get(i + AHEAD) {
                self.pages.prefetch(ahead.record().folio);
            }
            let record = source.record();
            if let Err(reason) = self.judge(&record) {
                let breach = self.breach(self.events + i as u64, record, reason);
                found = found.and(Err(breach));
            }
        }
        self.events += records.len() as u64;
        found
    }

    #[inline(always)]
    fn judge(&mut self, r: &Record) -> Result<(), Reason> {
        let Some(page) = self.pages.get(r.folio) else { return self.judge_rare(r) };
        let clock = usize::from(r.actor) & (self.clock.len() - 1);
        let step = self.law.step(r.event, r.from, r.guards);
        let lawful = (page.seq == r.seq) & (page.state() == r.from) & (step.to == r.to);
        let owned = step.free | (page.owner == owner(r.actor));
        let honest = ((page.guards() ^ r.guards) & step.derived == 0) & (u32::from(r.guards) >> GUARD_BITS == 0);
        let flags = self.law.permits(r.to, r.flags) & self.law.effect(r.event).holds(page.flags, r.flags);
        if !(lawful & honest & flags & owned & (r.t_ns >= self.clock[clock])) {
            let page = *page;
            return Err(self.reason(r, page));
        }
        self.clock[clock] = r.t_ns;
        self.by_event[usize::from(r.event)] += 1;
        let before = std::mem::replace(page, page.after(r, step.copy));
        let moved = (before.copy() ^ page.copy()) & self.watched;
        let special = step.special & self.special;
        if moved | special == 0 { Ok(()) } else { self.judge_special(r, special, moved != 0) }
    }

    /// A system event, or a page met for the first time, or one that cannot be.
    #[cold]
    fn judge_rare(&mut self, r: &Record) -> Result<(), Reason> {
        if r.folio == SYSTEM {
            return self.judge_system(r);
        }
        self.pages.make(r.folio)?;
        self.judge(r)
    }

    fn judge_special(&mut self, r: &Record, what: u8, moved: bool) -> Result<(), Reason> {
        if moved || what & special::STORED != 0 {
            self.weigh(r, what & special::STORED != 0);
        }
        if what & special::CAUSE != 0 && !(aux::NO_SLOT..=aux::REFERENCED).contains(&r.aux) {
            return Err(Reason::Cause);
        }
        if what & special::WRITTEN != 0 {
            let failed = std::mem::take(&mut self.io_error);
            if failed != (r.event == Event::Redirty as u8) {
                return Err(Reason::Write { failed });
            }
        }
        let denied = r.guards & guard::WRITEBACK_ENABLED == 0;
        if what & special::WRITEBACK != 0 && self.writeback_enabled(r.folio) == Some(denied) {
            return Err(Reason::Guard { guard: guard::WRITEBACK_ENABLED, held: denied });
        }
        match what & special::TICKET {
            special::QUEUE => self.queues.push(r),
            special::DEQUEUE => self.queues.pop(r),
            special::DIRECT if r.aux >> 48 != 0 => Err(Reason::StrayTicket),
            _ => Ok(()),
        }
    }

    /// The size of the page's copy in the store has changed: it is the record's, or none.
    fn weigh(&mut self, r: &Record, stored: bool) {
        let now = if stored { r.aux as u32 } else { 0 };
        let before = std::mem::replace(self.pages.size(r.folio), now);
        self.pool_bytes = self.pool_bytes.wrapping_add(now.into()).wrapping_sub(before.into());
    }

    /// `writeback_enabled` of a page's memcg by the knobs so far; `None` where it cannot be known.
    fn writeback_enabled(&self, folio: u32) -> Option<bool> {
        let memcgs = self.config.memcgs.as_ref().filter(|_| self.config.ordering == Ordering::Total)?;
        let mut memcg = *memcgs.of_page.get(folio as usize)?;
        for _ in 0..memcgs.parents.len() {
            if !*memcgs.writeback.get(usize::from(memcg))? {
                return Some(false);
            }
            memcg = *memcgs.parents.get(usize::from(memcg))?;
        }
        Some(true)
    }

    /// Which check a refused record fails, in the order of the module's list.
    #[cold]
    fn reason(&self, r: &Record, page: Page) -> Reason {
        let range = [(r.event, Event::ALL.len()), (r.from, State::ALL.len()), (r.to, State::ALL.len())];
        if range.iter().any(|&(id, count)| usize::from(id) >= count) || r.flags >> FLAG_BITS != 0 {
            return Reason::Id;
        }
        if page.seq != r.seq {
            return Reason::Sequence { expected: page.seq };
        }
        if page.state() != r.from {
            return Reason::From { expected: State::from_id(page.state()) };
        }
        let step = self.law.step(r.event, r.from, r.guards);
        if u32::from(r.guards) >> GUARD_BITS != 0 || step.to >= State::ALL.len() as u8 {
            return self.law.why_not(r.event, r.from, r.guards);
        }
        if step.to != r.to {
            return Reason::To { expected: State::from_id(step.to) };
        }
        let differ = (page.guards() ^ r.guards) & step.derived;
        if differ != 0 {
            let guard = 1 << differ.trailing_zeros();
            return Reason::Guard { guard, held: page.guards() & guard != 0 };
        }
        if !self.law.permits(r.to, r.flags) {
            return Reason::Flags;
        }
        if !self.law.effect(r.event).holds(page.flags, r.flags) {
            return Reason::Effect { before: page.flags };
        }
        if !step.free && page.owner != owner(r.actor) {
            return Reason::Owner { owner: actor_of(page.owner) };
        }
        Reason::Time { before: self.clock[usize::from(r.actor) & (self.clock.len() - 1)] }
    }

    /// Counts a breach, keeps the first, and believes the record from here on.
    #[cold]
    fn breach(&mut self, index: u64, record: Record, reason: Reason) -> Breach {
        let breach = Breach { index, record, reason };
        self.violations += 1;
        self.first.get_or_insert(breach);
        match reason {
            Reason::Time { .. } => self.clock[usize::from(record.actor) & (self.clock.len() - 1)] = record.t_ns,
            Reason::Pool { said, .. } => self.pool_bytes = said,
            _ => {}
        }
        // A write that it might be about is believed to have ended as it should.
        let ends_write = record.from == State::WritingBack as u8 || record.event == Event::Redirty as u8;
        self.io_error = record.event == events::IO_ERROR || self.io_error && !ends_write;
        let believable = usize::from(record.to) < State::ALL.len() && usize::from(record.event) < Event::ALL.len();
        if let Some(page) = self.pages.get(record.folio).filter(|_| believable) {
            let waited = page.state() == State::Queued as u8 && record.to != page.state();
            let before = std::mem::replace(page, page.after(&record, law::copy_in(record.event, record.to)));
            let moved = (before.copy() ^ page.copy()) & self.watched != 0;
            let stored = record.event == Event::Store as u8 && self.config.pool;
            if moved || stored {
                self.weigh(&record, stored);
            }
            if waited {
                self.queues.forget(record.folio);
            }
        }
        breach
    }

    /// Ends the trace. Of a complete one every page must be at rest and every ticket taken.
    pub fn finish(&mut self) -> Verdict {
        let moving: Vec<(u32, u8)> =
            self.pages.iter().filter(|(_, p)| !State::from_id(p.state()).rests()).map(at).collect();
        if self.config.complete {
            for &(folio, state) in &moving {
                let reason = Reason::Unfinished { state: State::from_id(state) };
                self.breach(self.events, Record { folio, to: u8::MAX, ..Record::default() }, reason);
            }
            if let Some(reason) = self.queues.gap() {
                self.breach(self.events, Record { folio: SYSTEM, ..Record::default() }, reason);
            }
        }
        Verdict {
            events: self.events,
            by_event: std::array::from_fn(|i| self.by_event[i]),
            by_system: std::array::from_fn(|i| self.by_event[0x80 + i]),
            violations: self.violations,
            first: self.first,
            in_flight: moving.len() as u64,
        }
    }

    /// The state of each page so far, by folio number; as many as the trace has, or the highest one named.
    pub fn states(&self) -> Vec<u8> {
        let start = if self.config.absent { State::Freed } else { State::Resident };
        let mut states = vec![start as u8; self.pages.count()];
        for (folio, state) in self.pages.iter().map(at) {
            if let Some(slot) = states.get_mut(folio as usize) {
                *slot = state;
            }
        }
        states
    }
}

fn at((folio, page): (u32, &Page)) -> (u32, u8) {
    (folio, page.state())
}
