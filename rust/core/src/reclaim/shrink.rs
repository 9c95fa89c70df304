//! zswap's shrink worker: when a store was refused for a full pool, writes entries back, a group at a time round the tree,
//! until the pools are at the accept threshold or 16 attempts failed. For each entry's folio it allocates as anybody does, and if need be
//! reclaims (GFP_KERNEL).

use super::direct::{AllocPages, Allocation, Wanted};
use super::{RAN, Stop};
use crate::swapout::writeback::{Shrinking, Writeback};
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::zswap::Zswap;
use crate::zswap::shrink::{Round, ShrinkMemcg};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Idle,
    Next,
    Shrink(Shrinking),
    /// One entry of a script's choice, and no other.
    Only(Writeback),
    Done,
}

/// The worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShrinkWorker {
    pc: Pc,
    round: Round,
    stop: Stop,
    /// The allocation under way.
    alloc: Option<AllocPages>,
}

impl ShrinkWorker {
    /// The worker; it ends when `stop` is set and no run is queued.
    pub fn new(stop: Stop) -> Self {
        Self { pc: Pc::Idle, round: Round::default(), stop, alloc: None }
    }

    /// The worker writing the entry of `page`, whatever its place on the LRU, and then done: what a script drives.
    pub fn only(page: u32) -> Self {
        Self { pc: Pc::Only(Writeback::new(page)), ..Self::new(Stop::default()) }
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let Some(zswap) = sys.zswap() else { return Ok(Outcome::Done) };
        if let Some(outcome) = self.allocate(sys, ctx)? {
            return Ok(outcome);
        }
        match &mut self.pc {
            Pc::Idle => Ok(self.idle(sys, zswap)),
            Pc::Next => {
                self.next(sys, zswap);
                Ok(RAN)
            }
            Pc::Shrink(shrinking) => {
                let (work, end) = shrinking.step(sys, ctx, zswap)?;
                if let Some(result) = end {
                    let goes_on = self.round.shrunk(zswap, result);
                    self.turn(goes_on);
                }
                Ok(Outcome::Ran(work))
            }
            Pc::Only(writeback) => {
                let (work, end) = writeback.step(sys, ctx, zswap)?;
                if let Some(outcome) = end {
                    zswap.note_writeback(outcome);
                    self.pc = Pc::Done;
                }
                Ok(Outcome::Ran(work))
            }
            Pc::Done => Ok(Outcome::Done),
        }
    }

    /// A step of the allocation of a folio for the entry that is next, if it wants one and has none. What is begun is ended, whatever becomes of
    /// the entry: it may have isolated pages.
    fn allocate(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Option<Outcome>> {
        let (Some(mm), Pc::Shrink(shrinking)) = (&sys.mm, &mut self.pc) else { return Ok(None) };
        let wants = |entry: &&mut Writeback| self.alloc.is_some() || entry.wants_frame(sys);
        let Some(writeback) = shrinking.entry().filter(wants) else { return Ok(None) };
        let alloc = self.alloc.get_or_insert_with(|| AllocPages::new(Wanted::Frame));
        let (outcome, allocation) = alloc.step(sys, ctx, mm)?;
        match allocation {
            Allocation::GoesOn => return Ok(Some(outcome)),
            Allocation::Page(frame) => writeback.set_frame(sys, frame),
            Allocation::OutOfMemory => writeback.set_frame(sys, NIL),
        }
        self.alloc = None;
        Ok(Some(outcome))
    }

    fn idle(&mut self, sys: &System, zswap: &Zswap) -> Outcome {
        let stopped = || self.stop.is_set();
        self.pc = match (zswap.take_shrink_work(), stopped()) {
            (true, _) => {
                self.round = Round::begin(zswap);
                Pc::Next
            }
            (false, true) => Pc::Done,
            (false, false) => {
                return Outcome::wait_unless(&sys.wait, WaitKey::Shrink, || stopped() || zswap.shrink_is_queued());
            }
        };
        RAN
    }

    fn next(&mut self, sys: &System, zswap: &Zswap) {
        match Round::next(zswap, &sys.memcgs) {
            Some(memcg) => self.pc = Pc::Shrink(Shrinking::new(ShrinkMemcg::new(memcg))),
            None => {
                let goes_on = self.round.wrapped(zswap);
                self.turn(goes_on);
            }
        }
    }

    fn turn(&mut self, goes_on: bool) {
        self.pc = if goes_on { Pc::Next } else { Pc::Idle };
        if !goes_on {
            self.round = Round::default();
        }
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        match &mut self.pc {
            Pc::Shrink(shrinking) => shrinking.each_page(f),
            Pc::Only(writeback) => writeback.each_page(f),
            Pc::Idle | Pc::Next | Pc::Done => {}
        }
    }
}
