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

/// A turn of zsmalloc's shrinker (`do_shrink_slab`), in pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Compaction {
    freeable: u32,
    /// Still to be asked for.
    total_scan: u32,
    /// What this pass asks for and what earlier ones put off.
    due: u32,
    scanned: u32,
    /// A class of this batch has given pages up.
    freed: bool,
}

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

    /// zsmalloc's shrinker, which knows no groups: the root's turn is its turn. It compacts when a batch of 128 is due or all there is; of what
    /// earlier passes put off, whoever made them, a share is due that grows as the priority falls (`do_shrink_slab`).
    pub(super) fn zsmalloc(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
        self.pc = Pc::End;
        let pool = sys.current_pool();
        let freeable = if self.batch.memcg == ROOT { pool.compactable_pages() as u32 } else { 0 };
        if freeable > 0 {
            let (deferred, delta) = (pool.take_deferred(), 2 * (freeable >> sc.priority)); // 4 / DEFAULT_SEEKS
            let total_scan = ((deferred >> sc.priority) + delta).min(2 * freeable);
            let due = deferred + delta;
            self.compaction = Some(Box::new(Compaction { freeable, total_scan, due, scanned: 0, freed: false }));
            self.next_compaction(sys);
        }
        RAN
    }

    /// Goes through the classes, largest objects first, or puts off what is left.
    fn next_compaction(&mut self, sys: &System) {
        self.pc = Pc::End;
        let Some(compaction) = &mut self.compaction else { return };
        let Compaction { freeable, total_scan, due, scanned, .. } = **compaction;
        if total_scan >= SHRINK_BATCH || total_scan >= freeable {
            compaction.freed = false;
            self.pc = Pc::Compact { classes: sys.current_pool().table().classes().len() as u16 };
            return;
        }
        sys.current_pool().defer(due.saturating_sub(scanned).min(2 * freeable));
        self.compaction = None;
    }

    /// The last of the `classes` that are left; a batch in which nothing was freed (`SHRINK_STOP`) ends it, and is not counted.
    pub(super) fn compact(&mut self, sys: &System, ctx: &mut Ctx, classes: u16) -> Outcome {
        let class = classes - 1;
        let Some(compaction) = &mut self.compaction else { return RAN };
        compaction.freed |= sys.current_pool().compact_one(class.into(), &sys.budget(ctx)) > 0;
        if class > 0 {
            self.pc = Pc::Compact { classes: class };
            return RAN;
        }
        let batch = compaction.total_scan.min(SHRINK_BATCH);
        if compaction.freed {
            ctx.stat[Vm::SlabsScanned] += u64::from(batch);
            compaction.total_scan -= batch;
            compaction.scanned += batch;
        } else {
            compaction.total_scan = 0;
        }
        self.next_compaction(sys);
        RAN
    }
}
