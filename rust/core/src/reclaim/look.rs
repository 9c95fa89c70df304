//! One look at one isolated folio: the body of `shrink_folio_list`, exits by name.

mod large;

use super::evict;
use super::list::{Scope, note_steal};
use crate::design::Hold;
use crate::lifecycle::{Change, Event, Fire, State, Word, flag, guard};
use crate::memcg::MemcgStat;
use crate::stats::Vm;
use crate::swapout::{Progress, Swapout, Written};
use crate::system::{Ctx, Outcome, StepResult, System, Work};
use crate::trace::aux;
use crate::units::NIL;

/// How a look ends.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The frame is free.
    Freed,
    /// Kept, but on its way: queued or submitted.
    Sent,
    /// Kept as it was, or worse.
    Kept,
    /// Kept: another actor has it locked.
    Locked,
    /// Kept: it is under writeback.
    Writeback,
    /// Kept: it is under writeback, and kswapd should wait for the writes.
    Immediate,
}

impl Exit {
    /// Whether the look got the page anywhere.
    pub fn moved(self) -> bool {
        matches!(self, Self::Freed | Self::Sent)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    First,
    Activate,
    LookAround,
    Insert,
    /// The swap cache had no memory for it: the slot goes back.
    NoLeaf,
    NoSwap,
    Pageout,
    /// The page tables of a large folio's later pages: `left` of them, then what follows.
    Unmap {
        left: u32,
        then: After,
    },
    Writeout(Swapout),
    Free(State),
}

/// What follows when a folio is unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum After {
    Writeout,
    Free(State),
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    page: u32,
    /// Pages of the folio; 1 once it is split.
    nr_pages: u32,
    /// Pages that it had when the look began.
    had_pages: u32,
    pc: Pc,
    scope: Scope,
    /// It got as far as a write.
    has_written: bool,
}

/// What a step of a look came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// The look goes on.
    Goes(Outcome),
    /// It has ended, with this work.
    Ends(Work, Exit),
}

const RAN: Glance = Glance::Goes(super::RAN);
const SCANNED: Glance = Glance::Goes(Outcome::Ran(Work::Scan));
const UNMAPPED: Glance = Glance::Goes(Outcome::Ran(Work::Unmap));

impl Look {
    /// A look at the folio of `page`, which the caller has isolated.
    pub fn new(sys: &System, page: u32, scope: Scope) -> Self {
        let nr_pages = sys.nr_pages(page);
        Self { page, nr_pages, had_pages: nr_pages, pc: Pc::First, scope, has_written: false }
    }

    /// The page that it is about.
    #[inline]
    pub fn page(&self) -> u32 {
        self.page
    }

    /// Whether it got as far as a write.
    pub fn has_written(&self) -> bool {
        self.has_written
    }

    /// One step, or as many as may be taken at once ([`Ctx::goes_on`]), and how the look ended if it did.
    ///
    /// # Errors
    /// See [`StepResult`].
    #[inline(always)]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        loop {
            let glance = self.one_step(sys, ctx)?;
            if !matches!(glance, Glance::Goes(Outcome::Ran(_))) || !ctx.goes_on() {
                return Ok(glance);
            }
        }
    }

    #[inline(always)]
    fn one_step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        match &mut self.pc {
            Pc::First => self.first(sys, ctx),
            Pc::Activate => self.activate(sys, ctx, Vm::ExitReferencedActivated, aux::REFERENCED),
            Pc::LookAround => Ok(self.look_around(sys, ctx)),
            Pc::Insert => Ok(self.insert(sys, ctx)),
            Pc::NoLeaf => Ok(self.give_slot_back(sys, ctx)),
            Pc::NoSwap if self.nr_pages > 1 => self.split(sys, ctx),
            Pc::NoSwap => self.activate(sys, ctx, Vm::ExitAddToSwap, aux::NO_MEMORY),
            Pc::Pageout => self.pageout(sys, ctx),
            &mut Pc::Unmap { left, then } => Ok(self.unmapped(left, then)),
            Pc::Writeout(swapout) => Ok(match swapout.step(sys, ctx)? {
                Progress::Step(outcome) => Glance::Goes(outcome),
                Progress::Stalled { .. } => RAN, // With PF_MEMALLOC nobody stalls.
                Progress::Done(written) => self.written(sys, ctx, written),
            }),
            Pc::Free(state) => {
                let state = *state;
                self.free(sys, ctx, state)
            }
        }
    }

    /// trylock, PG_writeback, and what the page's state asks for.
    fn first(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        let folio = sys.folio(self.page);
        let word = folio.word.load();
        if word.has(flag::LOCKED) {
            ctx.stat[Vm::ExitLocked] += 1;
            return Ok(Glance::Ends(Work::Scan, Exit::Locked));
        }
        if word.has(flag::WRITEBACK) {
            return self.under_writeback(sys, ctx, word);
        }
        if sys.lru_gen() && word.has(flag::MAPPED) && word.has(flag::REFERENCED) {
            // Its neighbour's look found it young already.
            ctx.stat[Vm::ExitReferenced] += 1;
            return Ok(Glance::Ends(Work::Scan, Exit::Kept));
        }
        if sys.mm.is_some() && word.has(flag::MAPPED) && word.has(flag::YOUNG) {
            return Ok(self.referenced(sys, ctx));
        }
        if sys.mm.is_some() {
            folio.word.test_and_clear(flag::REFERENCED); // Not touched since: whatever keeps it now.
        }
        match word.state() {
            State::Isolated | State::Redirtied if !self.scope.may_io => Ok(Glance::Ends(Work::Scan, kept(ctx))),
            State::Isolated if folio.slot() == NIL => self.allocate_slot(sys, ctx),
            State::Isolated | State::Redirtied => self.pageout(sys, ctx),
            State::ResidentSwapcache => self.unmap(sys, ctx),
            state @ (State::Compressed | State::WrittenBack | State::ZeroFilled) => self.free(sys, ctx, state),
            _ => Ok(Glance::Ends(Work::Scan, kept(ctx))),
        }
    }

    fn note_activated(&self, sys: &System, ctx: &mut Ctx) {
        let nr_pages = u64::from(self.nr_pages);
        sys.count(ctx, sys.folio(self.page).memcg, MemcgStat::Pgactivate, nr_pages);
    }

    /// Global reclaim activates a folio that it meets under writeback; with PG_reclaim already set it was meant to go.
    fn under_writeback(&self, sys: &System, ctx: &mut Ctx, word: Word) -> StepResult<Glance> {
        let change = Change::flags(flag::ACTIVE | flag::RECLAIM, 0).only(flag::WRITEBACK).in_state(word.state());
        if let Fire::Refused(_) = sys.fire(ctx, sys.folio(self.page), Event::Activate, 0, change, 0)? {
            return Ok(RAN); // It ended meanwhile: look again.
        }
        ctx.stat[Vm::ExitWriteback] += 1;
        self.note_activated(sys, ctx);
        // Without a budget nobody notes that all is under writeback, and every such page counts.
        let met_again = word.has(flag::RECLAIM) && (sys.mm.is_none() || sys.node(self.page).all_writeback());
        let immediate = met_again && ctx.current_is_kswapd();
        ctx.stat[Vm::NrVmscanImmediateReclaim] += if immediate { self.nr_pages.into() } else { 0 };
        Ok(Glance::Ends(Work::Scan, if immediate { Exit::Immediate } else { Exit::Writeback }))
    }

    /// `folio_check_references`, young: the first look keeps it, the second activates it. Its mark stays for a time after.
    fn referenced(&mut self, sys: &System, ctx: &mut Ctx) -> Glance {
        crate::sync::boundary();
        if sys.lru_gen() {
            sys.folio(self.page).word.check_references();
            self.pc = Pc::LookAround;
            return SCANNED;
        }
        if sys.folio(self.page).word.check_references().has(flag::REFERENCED) {
            self.pc = Pc::Activate;
            return SCANNED;
        }
        ctx.stat[Vm::ExitReferenced] += 1;
        Glance::Ends(Work::Scan, Exit::Kept)
    }

    fn look_around(&self, sys: &System, ctx: &mut Ctx) -> Glance {
        let promoted = evict::look_around(sys, &mut sys.node(self.page).lru(), self.page);
        if !ctx.current_is_kswapd() {
            // Without kswapd's own batch of them they go by way of `folio_activate`, which counts them.
            sys.count(ctx, sys.folio(self.page).memcg, MemcgStat::Pgactivate, promoted.into());
        }
        ctx.stat[Vm::ExitReferenced] += 1;
        Glance::Ends(Work::Scan, Exit::Kept)
    }

    fn activate(&self, sys: &System, ctx: &mut Ctx, why: Vm, cause: u64) -> StepResult<Glance> {
        let change = Change::flags(flag::ACTIVE, 0).unless(flag::LOCKED | flag::ACTIVE);
        let Fire::Done(_) = sys.fire(ctx, sys.folio(self.page), Event::Activate, 0, change, cause)? else {
            return Ok(Glance::Ends(Work::Commit, kept(ctx)));
        };
        self.note_activated(sys, ctx);
        ctx.stat[why] += 1;
        Ok(Glance::Ends(Work::Commit, Exit::Kept))
    }

    /// `folio_alloc_swap`; a large folio without a run of slots is split, and a page without a slot is activated.
    fn allocate_slot(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        if !sys.alloc_slots(ctx, self.page) {
            return match self.nr_pages {
                1 => self.activate(sys, ctx, Vm::ExitAddToSwap, aux::NO_SLOT),
                _ => self.split(sys, ctx),
            };
        }
        self.pc = if sys.mm.is_some() { Pc::Insert } else { Pc::Pageout };
        Ok(RAN)
    }

    /// `add_to_swap_cache`: the slot's leaf may need memory; without any the slot goes back, and the page is activated or the large
    /// folio split.
    fn insert(&mut self, sys: &System, ctx: &Ctx) -> Glance {
        let mark = sys.budget(ctx).mark;
        let grow = || sys.mm.as_ref().is_none_or(|mm| mm.take_leaf(ctx.cpu, mark));
        if sys.slots.insert(sys.folio(self.page).slot(), self.nr_pages, grow) {
            sys.heed_boost();
            self.pc = Pc::Pageout;
            return RAN;
        }
        self.pc = Pc::NoLeaf;
        // Two tries, each for a slab of two pages and then of one.
        Glance::Goes(Outcome::Ran(Work::AllocFailed(4)))
    }

    fn give_slot_back(&mut self, sys: &System, ctx: &mut Ctx) -> Glance {
        sys.free_slots(ctx, self.page);
        self.pc = Pc::NoSwap;
        SCANNED
    }

    /// add_to_swap, try_to_unmap, folio_clear_dirty_for_io.
    fn pageout(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        let folio = sys.folio(self.page);
        let state = folio.word.load().state();
        // One that was written in vain may have been mapped again since the first look.
        if folio.extra_refs() > 0 || !matches!(state, State::Isolated | State::Redirtied) {
            return Ok(Glance::Ends(Work::Scan, kept(ctx)));
        }
        let set = flag::LOCKED | flag::RECLAIM | flag::SWAPCACHE;
        let clear = flag::DIRTY | flag::MAPPED | flag::YOUNG | flag::REFERENCED | flag::ACTIVE;
        let change = Change::flags(set, clear).unless(flag::LOCKED).in_state(state);
        match sys.fire(ctx, folio, Event::Pageout, 0, change, u64::from(folio.slot()))? {
            Fire::Done(_) => Ok(self.unmapped(self.nr_pages, After::Writeout)),
            Fire::Refused(_) => Ok(Glance::Ends(Work::Scan, kept(ctx))), // A fault was faster.
        }
    }

    /// A clean mapped page with a valid copy: nothing to write.
    fn unmap(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        let slot = sys.folio(self.page).slot();
        let (guards, state) = match (sys.slots.is_zero(slot), sys.holds(slot)) {
            (true, _) => (guard::ZERO, State::ZeroFilled),
            (false, true) => (guard::IN_POOL, State::Compressed),
            (false, false) => (0, State::WrittenBack),
        };
        let change = Change::flags(0, flag::MAPPED | flag::YOUNG).in_state(State::ResidentSwapcache);
        match sys.fire(ctx, sys.folio(self.page), Event::Unmap, guards, change, 0)? {
            Fire::Done(_) => Ok(self.unmapped(self.nr_pages, After::Free(state))),
            Fire::Refused(_) => Ok(Glance::Ends(Work::Scan, kept(ctx))),
        }
    }

    /// One of `left` pages is out of its page table: each takes as long.
    fn unmapped(&mut self, left: u32, then: After) -> Glance {
        self.pc = match (left, then) {
            (2.., _) => Pc::Unmap { left: left - 1, then },
            (_, After::Writeout) => Pc::Writeout(Swapout::writeout(self.page, self.nr_pages)),
            (_, After::Free(state)) => Pc::Free(state),
        };
        UNMAPPED
    }

    fn written(&mut self, sys: &System, ctx: &mut Ctx, written: Written) -> Glance {
        // What neither the store nor the device took was no write (PAGE_ACTIVATE).
        self.has_written = written != Written::Activated;
        ctx.stat[Vm::NrVmscanWrite] += if self.has_written { self.nr_pages.into() } else { 0 };
        let exit = match written {
            Written::Zero => {
                self.pc = Pc::Free(State::ZeroFilled);
                return RAN;
            }
            Written::Stored => {
                self.pc = Pc::Free(State::Compressed);
                return RAN;
            }
            Written::Queued if sys.design().hold == Hold::Locked => {
                ctx.stat[Vm::ExitQueued] += 1;
                Exit::Sent
            }
            Written::Queued | Written::Submitted => {
                ctx.stat[Vm::ExitWriteback] += 1;
                Exit::Sent
            }
            Written::Activated => {
                self.note_activated(sys, ctx);
                ctx.stat[Vm::ExitActivated] += 1;
                Exit::Sent
            }
            Written::Redirtied => {
                ctx.stat[Vm::ExitDirty] += 1;
                Exit::Kept
            }
        };
        Glance::Ends(Work::Commit, exit)
    }

    /// `__remove_mapping`: only with the isolator's and the swap cache's references, unlocked and clean.
    fn free(&mut self, sys: &System, ctx: &mut Ctx, state: State) -> StepResult<Glance> {
        let folio = sys.folio(self.page);
        if folio.extra_refs() > 0 {
            ctx.stat[Vm::ExitRefs] += 1;
            return Ok(Glance::Ends(Work::Scan, Exit::Kept));
        }
        let clear = flag::FRAME | flag::SWAPCACHE | flag::RECLAIM | flag::ACTIVE | flag::REFERENCED | flag::HEAD;
        let change = Change::flags(0, clear).unless(flag::LOCKED | flag::DIRTY).in_state(state);
        if sys.mm.is_some() {
            self.leave_shadows(sys); // First: a fault may come as soon as the page is gone.
        }
        match sys.fire(ctx, folio, Event::Reclaim, 0, change, 0)? {
            Fire::Done(_) => {
                let memcg = folio.memcg;
                note_steal(sys, ctx, self.scope, Vm::PgstealAnon, memcg, self.nr_pages);
                self.free_tails(sys, ctx, state)?;
                self.note_evicted(sys, memcg);
                Ok(Glance::Ends(Work::Commit, Exit::Freed))
            }
            Fire::Refused(_) => Ok(Glance::Ends(Work::Commit, kept(ctx))), // A fault was faster.
        }
    }

    /// The way through `swap_writeout` that it is on.
    pub fn swapout(&self) -> Option<&Swapout> {
        if let Pc::Writeout(swapout) = &self.pc { Some(swapout) } else { None }
    }

    /// [`super::Actor::normalise`]: whether it has written is for who counts costs.
    pub fn normalise(&mut self) {
        self.has_written = false;
        if let Pc::Writeout(swapout) = &mut self.pc {
            swapout.normalise();
        }
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self { page, pc, .. } = self;
        f(page);
        if let Pc::Writeout(swapout) = pc {
            swapout.each_page(f);
        }
    }
}

fn kept(ctx: &mut Ctx) -> Exit {
    ctx.stat[Vm::ExitKept] += 1;
    Exit::Kept
}
