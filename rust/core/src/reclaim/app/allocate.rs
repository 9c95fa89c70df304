//! Frames and page tables for a fault, and their charge to the page's group.

use super::{App, Pc};
use crate::memcg::ROOT;
use crate::reclaim::charge::{Charge, HandleOverHigh, TryCharge};
use crate::reclaim::direct::{AllocPages, Allocation, Wanted};
use crate::system::{Ctx, Outcome, StepError, System, Work};
use crate::units::NIL;
use crate::workload::Access;

impl App {
    pub(super) fn begin_allocation(&mut self, wanted: Wanted) -> Outcome {
        self.alloc = Some(AllocPages::new(wanted));
        self.pc = Pc::Allocate;
        Outcome::Ran(Work::Fault)
    }

    /// A step of the allocation; a frame is charged to the page's group.
    pub(super) fn allocate(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Result<Outcome, Box<StepError>> {
        if self.is_to_die(sys, ctx) && self.alloc.as_ref().is_some_and(AllocPages::may_stop) {
            return Ok(self.die(sys, ctx));
        }
        let (Some(mm), Some(alloc)) = (&sys.mm, &mut self.alloc) else { return Ok(Outcome::Done) };
        let (outcome, allocation) = alloc.step(sys, ctx, mm)?;
        match allocation {
            Allocation::GoesOn => return Ok(outcome),
            Allocation::OutOfMemory => return Ok(self.out_of_memory(sys, ctx, ROOT)),
            Allocation::Page(frame) if alloc.wanted() == Wanted::Frame => self.frame = frame,
            Allocation::Page(_) => self.has_table = true,
        }
        self.alloc = None;
        self.pc = Pc::Look;
        let memcg = sys.folio(page).memcg;
        if self.frame != NIL && memcg != ROOT {
            self.charged = self.charged.saturating_add(1);
            if let Err(over) = sys.memcgs.try_charge(memcg) {
                (self.charge, self.pc) = (Some(TryCharge::new(memcg, over)), Pc::Charge);
            }
        }
        Ok(outcome)
    }

    /// A step of the charge that met a limit.
    pub(super) fn charge(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Outcome, Box<StepError>> {
        if self.is_to_die(sys, ctx) && self.charge.as_ref().is_some_and(TryCharge::may_stop) {
            return Ok(self.die(sys, ctx));
        }
        let Some(charge) = &mut self.charge else { return Ok(Outcome::Done) };
        let (outcome, how) = charge.step(sys, ctx)?;
        match how {
            Charge::GoesOn => {}
            Charge::OutOfMemory(group) => return Ok(self.out_of_memory(sys, ctx, group)),
            Charge::Charged => (self.charge, self.pc) = (None, Pc::Look),
        }
        Ok(outcome)
    }

    /// A step on the way back to user mode, above `memory.high`.
    pub(super) fn over_high(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        page: u32,
        access: Access,
    ) -> Result<Outcome, Box<StepError>> {
        let handle = self.over_high.get_or_insert_with(|| HandleOverHigh::new(sys.folio(page).memcg));
        let (outcome, ended) = handle.step(sys, ctx)?;
        if ended {
            self.over_high = None;
            return Ok(match outcome {
                Outcome::Ran(_) => self.touched(sys, ctx, page, access),
                sleeps => {
                    self.pc = Pc::Next;
                    sleeps
                }
            });
        }
        Ok(outcome)
    }
}
