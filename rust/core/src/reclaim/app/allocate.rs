//! Frames and page tables for a fault, and their charge to the page's group.

use super::exit::out_of_memory;
use super::{App, Pc};
use crate::lifecycle::{Change, Event, Fire, State, flag};
use crate::memcg::{MemcgStat, ROOT};
use crate::reclaim::RAN;
use crate::reclaim::charge::{Charge, HandleOverHigh, TryCharge};
use crate::reclaim::direct::{AllocPages, Allocation, Wanted};
use crate::stats::Mthp;
use crate::system::{Ctx, Outcome, StepResult, System, Work};
use crate::units::NIL;
use crate::workload::Access;
use crate::zone::Mark;
use std::ops::Range;

impl App {
    pub(super) fn begin_allocation(&mut self, wanted: Wanted) -> Outcome {
        self.alloc = Some(AllocPages::new(wanted));
        self.pc = Pc::Allocate;
        Outcome::Ran(Work::Fault)
    }

    /// `alloc_anon_folio`: frames in a row above the min mark, charged to the group, or none; nothing is reclaimed for them.
    pub(super) fn allocate_folio(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Outcome {
        let (Some(mm), folio) = (&sys.mm, sys.folio(page)) else { return Outcome::Done };
        let order = folio.order;
        self.pc = Pc::Look;
        let Some(frame) = mm.take_folio(ctx.cpu, Mark::Min, order) else {
            return self.fall_back(ctx, order);
        };
        if sys.memcgs.try_charge_pages(folio.memcg, 1 << order).is_err() {
            mm.give_folio(ctx.cpu, frame, order);
            ctx.stat.count_mthp(order, Mthp::AnonFaultFallbackCharge);
            return self.fall_back(ctx, order);
        }
        if folio.memcg != ROOT {
            self.charged = self.charged.saturating_add(1 << order.min(7));
        }
        (self.frame, self.frame_order, self.pc) = (frame, order, Pc::ClearFolio { left: 1 << order });
        RAN
    }

    fn fall_back(&mut self, ctx: &mut Ctx, order: u8) -> Outcome {
        self.fell_back = true;
        ctx.stat.count_mthp(order, Mthp::AnonFaultFallback);
        Outcome::Ran(Work::AllocFailed(1))
    }

    /// `folio_zero_user`: a page a step.
    pub(super) fn clear_folio(&mut self, left: u32) -> Outcome {
        self.pc = if left > 1 { Pc::ClearFolio { left: left - 1 } } else { Pc::Look };
        Outcome::Ran(Work::ZeroPage)
    }

    /// The large folio of `pages` is there, all of it young.
    pub(super) fn populate_folio(&mut self, sys: &System, ctx: &mut Ctx, pages: Range<u32>) -> StepResult {
        let (head, folio) = (pages.start, sys.folio(pages.start));
        let set = flag::FRAME | flag::MAPPED | flag::DIRTY | flag::YOUNG | flag::HEAD;
        let change = Change::flags(set, 0).in_state(State::Freed);
        if let Fire::Done(_) = sys.fire(ctx, folio, Event::Populate, 0, change, 0)? {
            sys.fire_tails(ctx, head, pages.len() as u32, Event::Join, 0, Change::NONE)?;
            ctx.stat.count_mthp(folio.order, Mthp::AnonFaultAlloc);
            sys.count(ctx, folio.memcg, MemcgStat::Pgfault, 1);
            for page in pages {
                // SAFETY: this thread populated the page, and puts its folio on its way to the lists in the next step.
                unsafe { sys.contents.fill(page) };
                sys.oom.grow(ctx.actor, folio.memcg);
            }
            self.set_frame(folio);
            (self.frame_order, self.pc) = (0, Pc::AddLru);
        }
        Ok(RAN)
    }

    /// A step of the allocation; a frame is charged to the page's group.
    pub(super) fn allocate(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        if self.is_to_die(sys, ctx) && self.alloc.as_ref().is_some_and(AllocPages::may_stop) {
            return Ok(self.die(sys, ctx));
        }
        let (Some(mm), Some(alloc)) = (&sys.mm, &mut self.alloc) else { return Ok(Outcome::Done) };
        let (outcome, allocation) = alloc.step(sys, ctx, mm)?;
        match allocation {
            Allocation::GoesOn => return Ok(outcome),
            Allocation::OutOfMemory => return Ok(out_of_memory(sys, ctx, ROOT)),
            Allocation::Page(frame) if alloc.wanted() == Wanted::Frame => self.frame = frame,
            Allocation::Page(_) => {}
        }
        self.alloc = None;
        self.pc = Pc::Look;
        let memcg = sys.memcg_of(page);
        if self.frame != NIL && memcg != ROOT {
            self.charged = self.charged.saturating_add(1);
            if let Err(over) = sys.memcgs.try_charge(memcg) {
                (self.charge, self.pc) = (Some(TryCharge::new(memcg, over)), Pc::Charge);
            }
        }
        Ok(outcome)
    }

    /// A step of the charge that met a limit.
    pub(super) fn charge(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        if self.is_to_die(sys, ctx) && self.charge.as_ref().is_some_and(TryCharge::may_stop) {
            return Ok(self.die(sys, ctx));
        }
        let Some(charge) = &mut self.charge else { return Ok(Outcome::Done) };
        let (outcome, how) = charge.step(sys, ctx)?;
        match how {
            Charge::GoesOn => {}
            Charge::OutOfMemory(group) => return Ok(out_of_memory(sys, ctx, group)),
            Charge::Charged => (self.charge, self.pc) = (None, Pc::Look),
        }
        Ok(outcome)
    }

    /// A step on the way back to user mode, above `memory.high`.
    pub(super) fn over_high(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access) -> StepResult {
        if self.is_to_die(sys, ctx) && self.over_high.as_ref().is_none_or(HandleOverHigh::may_stop) {
            return Ok(self.die(sys, ctx));
        }
        let handle = self.over_high.get_or_insert_with(|| HandleOverHigh::new(sys.memcg_of(page)));
        let (outcome, ended) = handle.step(sys, ctx)?;
        if !ended {
            return Ok(outcome);
        }
        self.over_high = None;
        Ok(self.touched(sys, ctx, page, access))
    }
}
