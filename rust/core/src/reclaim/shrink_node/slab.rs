//! `shrink_slab` after a group's lists: zswap's dynamic shrinker, which writes entries of the group back, and zsmalloc's, which compacts
//! (mm/shrinker.c). Source: Documentation/admin-guide/mm/zswap.rst (`shrinker_enabled`); observed on 6.12 (docs/kernel-map.md).

use super::{GOES_ON, Pc, ShrinkNode, Step};
use crate::memcg::ROOT;
use crate::reclaim::RAN;
use crate::reclaim::scan::ScanControl;
use crate::shrinker::DoShrinkSlab;
use crate::stats::Vm;
use crate::swapout::writeback::Shrinking;
use crate::system::{Ctx, Outcome, System, Work};
use crate::zswap::shrink::ShrinkSlab;

/// To ask all shrinkers what they have takes as long as to pass over so many folios (docs/fidelity.md).
const SHRINKERS: u16 = 44;

/// A turn of zsmalloc's shrinker, in pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Compaction {
    turn: DoShrinkSlab,
    /// A class of this batch has given pages up.
    freed: bool,
}

impl ShrinkNode {
    /// All shrinkers are asked, those that have nothing here too; the root's turn is that of all who know no groups.
    pub(super) fn ask_shrinkers(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
        match (self.batch.memcg, self.shrink_slab(sys, sc)) {
            (ROOT, RAN) => Outcome::Ran(Work::PassOver(SHRINKERS)),
            (_, outcome) => outcome,
        }
    }

    /// zswap's shrinker where it is on and has anything to do, then zsmalloc's.
    fn shrink_slab(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
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

    /// zsmalloc's shrinker, which knows no groups: the root's turn is its turn. What earlier passes put off, whoever made them, is due here.
    pub(super) fn zsmalloc(&mut self, sys: &System, sc: &ScanControl) -> Outcome {
        self.pc = Pc::End;
        let pool = sys.current_pool();
        let freeable = if self.batch.memcg == ROOT { pool.compactable_pages() } else { 0 };
        if freeable > 0 {
            let turn = DoShrinkSlab::new(freeable as u64, pool.take_deferred().into(), sc.priority);
            self.compaction = Some(Box::new(Compaction { turn, freed: false }));
            self.next_compaction(sys);
        }
        RAN
    }

    /// Goes through the classes, largest objects first, or puts off what is left.
    fn next_compaction(&mut self, sys: &System) {
        self.pc = Pc::End;
        let Some(compaction) = &mut self.compaction else { return };
        if compaction.turn.batch().is_some() {
            compaction.freed = false;
            self.pc = Pc::Compact { classes: sys.current_pool().table().classes().len() as u16 };
            return;
        }
        sys.current_pool().defer(compaction.turn.deferred() as u32);
        self.compaction = None;
    }

    /// The last of the `classes` that are left; after the first class the batch has ended.
    pub(super) fn compact(&mut self, sys: &System, ctx: &mut Ctx, classes: u16) -> Outcome {
        let class = classes - 1;
        let Some(compaction) = &mut self.compaction else { return RAN };
        compaction.freed |= sys.current_pool().compact_one(class.into(), &sys.budget(ctx)) > 0;
        if class > 0 {
            self.pc = Pc::Compact { classes: class };
            return RAN;
        }
        let before = compaction.turn.scanned();
        compaction.turn.note(compaction.freed);
        ctx.stat[Vm::SlabsScanned] += compaction.turn.scanned() - before;
        self.next_compaction(sys);
        RAN
    }
}
