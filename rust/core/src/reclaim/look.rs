//! One look at one isolated folio: the body of `shrink_folio_list`, exits by name.

use crate::lifecycle::{Change, Event, Fire, State, Word, flag, guard};
use crate::stats::Vm;
use crate::swapout::{Progress, Swapout, Written};
use crate::system::{Ctx, Outcome, StepError, Store, System, Work};
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
}

impl Exit {
    /// Whether the look got the page anywhere.
    pub fn moved(self) -> bool {
        self != Self::Kept
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    First,
    Slot,
    Writeout(Swapout),
    Free(State),
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    page: u32,
    pc: Pc,
}

type Step = (Outcome, Option<Exit>);

const RAN: Outcome = Outcome::Ran(Work::Commit);
const SCANNED: Outcome = Outcome::Ran(Work::Scan);
const UNMAPPED: Outcome = Outcome::Ran(Work::Unmap);

impl Look {
    /// A look at `page`, which the caller has isolated.
    pub fn new(page: u32) -> Self {
        Self { page, pc: Pc::First }
    }

    /// One step, and how the look ended if it did.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Step, StepError> {
        match self.pc {
            Pc::First => self.first(sys, ctx),
            Pc::Slot => self.pageout(sys, ctx),
            Pc::Writeout(mut swapout) => {
                let progress = swapout.step(sys, ctx)?;
                self.pc = Pc::Writeout(swapout);
                Ok(match progress {
                    Progress::Step(outcome) => (outcome, None),
                    Progress::Done(written) => self.written(ctx, written),
                })
            }
            Pc::Free(state) => self.free(sys, ctx, state),
        }
    }

    /// trylock, PG_writeback, and what the page's state asks for.
    fn first(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Step, StepError> {
        let word = sys.folio(self.page).word.load();
        if word.has(flag::LOCKED) {
            ctx.stat[Vm::ExitLocked] += 1;
            return Ok((SCANNED, Some(Exit::Kept)));
        }
        if word.has(flag::WRITEBACK) {
            return self.under_writeback(sys, ctx, word);
        }
        match word.state() {
            State::Isolated if sys.folio(self.page).slot() == NIL => self.allocate_slot(sys, ctx),
            State::Isolated | State::Redirtied => self.pageout(sys, ctx),
            State::ResidentSwapcache => self.unmap(sys, ctx),
            state @ (State::Compressed | State::WrittenBack | State::ZeroFilled) => self.free(sys, ctx, state),
            _ => Ok((SCANNED, Some(self.kept(ctx)))),
        }
    }

    fn kept(&self, ctx: &mut Ctx) -> Exit {
        ctx.stat[Vm::ExitKept] += 1;
        Exit::Kept
    }

    /// Global reclaim activates a folio that it meets under writeback; with PG_reclaim already set it was meant to go.
    fn under_writeback(&mut self, sys: &System, ctx: &mut Ctx, word: Word) -> Result<Step, StepError> {
        let change = Change::flags(flag::ACTIVE | flag::RECLAIM, 0).only(flag::WRITEBACK).in_state(word.state());
        if let Fire::Refused(_) = sys.fire(ctx, self.page, Event::Activate, 0, change, 0)? {
            return Ok((RAN, None)); // It ended meanwhile: look again.
        }
        ctx.stat[Vm::ExitWriteback] += 1;
        ctx.stat[Vm::Pgactivate] += 1;
        ctx.stat[Vm::NrVmscanImmediateReclaim] += u64::from(word.has(flag::RECLAIM));
        Ok((SCANNED, Some(Exit::Kept)))
    }

    /// `folio_alloc_swap`; without a slot the page is activated.
    fn allocate_slot(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Step, StepError> {
        if let Some(slot) = sys.slots.alloc() {
            sys.folio(self.page).set_slot(slot);
            self.pc = Pc::Slot;
            return Ok((RAN, None));
        }
        sys.must(ctx, self.page, Event::Activate, 0, Change::flags(flag::ACTIVE, 0), aux::NO_SLOT)?;
        ctx.stat[Vm::Pgactivate] += 1;
        Ok((RAN, Some(Exit::Kept)))
    }

    /// add_to_swap, try_to_unmap, folio_clear_dirty_for_io.
    fn pageout(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Step, StepError> {
        let folio = sys.folio(self.page);
        if folio.extra_refs() > 0 {
            return Ok((SCANNED, Some(self.kept(ctx))));
        }
        let set = flag::LOCKED | flag::RECLAIM | flag::SWAPCACHE;
        let clear = flag::DIRTY | flag::MAPPED | flag::YOUNG | flag::REFERENCED | flag::ACTIVE;
        let state = folio.word.load().state();
        let change = Change::flags(set, clear).unless(flag::LOCKED).in_state(state);
        match sys.fire(ctx, self.page, Event::Pageout, 0, change, u64::from(folio.slot()))? {
            Fire::Done(_) => {
                ctx.stat[Vm::NrVmscanWrite] += 1;
                self.pc = Pc::Writeout(Swapout::writeout(self.page));
                Ok((UNMAPPED, None))
            }
            Fire::Refused(_) => Ok((SCANNED, Some(self.kept(ctx)))), // A fault was faster.
        }
    }

    /// A clean mapped page with a valid copy: nothing to write.
    fn unmap(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Step, StepError> {
        let slot = sys.folio(self.page).slot();
        let in_pool = match &sys.store {
            Store::Zswap(zswap) => zswap.holds(slot),
            Store::Zram(zram) => zram.holds(slot),
        };
        let (guards, state) = match (sys.slots.is_zero(slot), in_pool) {
            (true, _) => (guard::ZERO, State::ZeroFilled),
            (false, true) => (guard::IN_POOL, State::Compressed),
            (false, false) => (0, State::WrittenBack),
        };
        let change = Change::flags(0, flag::MAPPED | flag::YOUNG).in_state(State::ResidentSwapcache);
        match sys.fire(ctx, self.page, Event::Unmap, guards, change, 0)? {
            Fire::Done(_) => self.pc = Pc::Free(state),
            Fire::Refused(_) => return Ok((SCANNED, Some(self.kept(ctx)))),
        }
        Ok((UNMAPPED, None))
    }

    fn written(&mut self, ctx: &mut Ctx, written: Written) -> Step {
        let exit = match written {
            Written::Zero => {
                self.pc = Pc::Free(State::ZeroFilled);
                return (RAN, None);
            }
            Written::Stored => {
                self.pc = Pc::Free(State::Compressed);
                return (RAN, None);
            }
            Written::Queued => {
                ctx.stat[Vm::ExitQueued] += 1;
                Exit::Sent
            }
            Written::Submitted => {
                ctx.stat[Vm::ExitWriteback] += 1;
                Exit::Sent
            }
            Written::Activated => {
                ctx.stat[Vm::Pgactivate] += 1;
                Exit::Sent
            }
            Written::Redirtied => self.kept(ctx),
        };
        (RAN, Some(exit))
    }

    /// `__remove_mapping`: only with the isolator's and the swap cache's references, unlocked and clean.
    fn free(&mut self, sys: &System, ctx: &mut Ctx, state: State) -> Result<Step, StepError> {
        if sys.folio(self.page).extra_refs() > 0 {
            return Ok((SCANNED, Some(self.kept(ctx))));
        }
        let clear = flag::FRAME | flag::SWAPCACHE | flag::RECLAIM | flag::ACTIVE | flag::REFERENCED;
        let change = Change::flags(0, clear).unless(flag::LOCKED | flag::DIRTY).in_state(state);
        match sys.fire(ctx, self.page, Event::Reclaim, 0, change, 0)? {
            Fire::Done(_) => {
                ctx.stat[Vm::PgstealKswapd] += 1;
                ctx.stat[Vm::PgstealAnon] += 1;
                Ok((RAN, Some(Exit::Freed)))
            }
            Fire::Refused(_) => Ok((RAN, Some(self.kept(ctx)))), // A fault was faster.
        }
    }

    /// The way through `swap_writeout` that it is on.
    pub fn swapout(&self) -> Option<&Swapout> {
        match &self.pc {
            Pc::Writeout(swapout) => Some(swapout),
            Pc::First | Pc::Slot | Pc::Free(_) => None,
        }
    }

    /// [`super::Actor::normalise`].
    pub fn normalise(&mut self) {
        if let Pc::Writeout(swapout) = &mut self.pc {
            swapout.normalise();
        }
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self { page, pc } = self;
        f(page);
        if let Pc::Writeout(swapout) = pc {
            swapout.each_page(f);
        }
    }
}
