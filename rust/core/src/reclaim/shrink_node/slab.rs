//! `shrink_slab` after a group's lists: zswap's dynamic shrinker, which writes entries of the group back, and zsmalloc's, which compacts
//! (mm/shrinker.c). Source: Documentation/admin-guide/mm/zswap.rst (`shrinker_enabled`); observed on 6.12 (docs/kernel-map.md).

use super::{GOES_ON, Pc, RAN, ShrinkNode, Step};
use crate::memcg::ROOT;
use crate::reclaim::scan::ScanControl;
use crate::stats::Vm;
use crate::swapout::writeback::Shrinking;
use crate::system::{Ctx, Outcome, System};
use crate::units::SHRINK_BATCH;
use crate::zswap::shrink::ShrinkSlab;

impl ShrinkNode {
    /// zswap's shrinker where it is on and has anything to do, then zsmalloc's.
    pub(super) fn shrink_slab(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
        let begin = |zswap| ShrinkSlab::begin(zswap, &sys.memcgs, self.batch.memcg, 0, sc.priority);
        self.zswap = sys.zswap().filter(|_| sc.scope.may_io).and_then(begin).map(|slab| Box::new(Shrinking::new(slab)));
        if self.zswap.is_some() {
            self.pc = Pc::Zswap;
            return RAN;
        }
        self.zsmalloc(sys, sc)
    }

    /// A step of its turn: a look at an entry, or of one's way to the device.
    pub(super) fn zswap(&mut self, sys: &System, ctx: &mut Ctx) -> Step {
        self.pc = Pc::Zsmalloc;
        let (Some(zswap), Some(shrinking)) = (sys.zswap(), &mut self.zswap) else { return Ok((RAN, GOES_ON)) };
        let (work, end) = shrinking.step(sys, ctx, zswap)?;
        match end {
            Some(scanned) => {
                ctx.stat[Vm::SlabsScanned] += scanned;
                self.zswap = None;
            }
            None => self.pc = Pc::Zswap,
        }
        Ok((Outcome::Ran(work), GOES_ON))
    }

    /// zsmalloc's shrinker: compaction, when what this and earlier passes ask for is a batch of 128 or all there is.
    pub(super) fn zsmalloc(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
        if self.batch.memcg != ROOT {
            self.pc = Pc::End; // The shrinker knows no groups: the root's turn is its turn.
            return RAN;
        }
        let freeable = sys.current_pool().compactable_pages() as u32;
        let asked = self.deferred.saturating_add(2 * (freeable >> sc.priority)).min(2 * freeable);
        let compacts = freeable > 0 && (asked >= SHRINK_BATCH || asked >= freeable);
        self.deferred = if compacts { 0 } else { asked };
        self.pc = if compacts { Pc::Compact { class: 0, batch: asked.min(SHRINK_BATCH) } } else { Pc::End };
        RAN
    }

    /// One class; what frees nothing (`SHRINK_STOP`) is no batch scanned.
    pub(super) fn compact(&mut self, sys: &System, ctx: &mut Ctx, class: u16, batch: u32) -> Outcome {
        let pool = sys.current_pool();
        let counted = if pool.compact_one(usize::from(class), &sys.budget(ctx)) > 0 { batch } else { 0 };
        ctx.stat[Vm::SlabsScanned] += u64::from(counted);
        let (class, batch) = (class + 1, batch - counted);
        self.pc =
            if usize::from(class) < pool.table().classes().len() { Pc::Compact { class, batch } } else { Pc::End };
        RAN
    }
}
