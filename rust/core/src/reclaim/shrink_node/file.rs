//! A pass over the page cache: pages that were read once before the run, then those that applications read.

use super::{ACTIVE_ANON, ACTIVE_FILE, ANON, FILE, Pc, ShrinkNode, Then};
use crate::memcg::ROOT;
use crate::node::Node;
use crate::reclaim::file;
use crate::reclaim::list::{note_scan, note_steal};
use crate::reclaim::scan::{HZ_10_NS, ScanControl};
use crate::reclaim::{RAN, SCANNED};
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, System, mark};

impl ShrinkNode {
    /// Pages that were read once, clean and unmapped all of them, stand at the tail: each look frees one. After them come folios.
    pub(super) fn file(&mut self, sys: &System, ctx: &mut Ctx, node: &Node, sc: &mut ScanControl) -> Outcome {
        let (memcg, scope) = (self.batch.memcg, sc.scope);
        let mut lru = node.lru();
        let pages = self.now.min(lru.of(memcg).read_once);
        lru.of(memcg).read_once -= pages;
        drop(lru);
        if pages == 0 && !sys.filemap.is_empty() {
            self.pc = Pc::Isolated { kind: FILE as u8, stalled: false };
            return RAN;
        }
        note_scan(sys, ctx, scope, Vm::PgscanFile, memcg, pages);
        note_steal(sys, ctx, scope, Vm::PgstealFile, memcg, pages);
        sc.nr_scanned += pages;
        self.reclaimed += pages;
        self.sums.taken += pages;
        self.pc = Pc::FileFree { pages };
        SCANNED
    }

    /// The frames of page-cache pages go back, and the list's turn has ended.
    pub(super) fn file_free(&mut self, sys: &System, ctx: &mut Ctx, pages: u32) -> Outcome {
        if let Some(mm) = &sys.mm {
            mm.give_file_pages(ctx.cpu, pages);
        }
        self.pc = Pc::Generations;
        if !sys.lru_gen() {
            ctx.marks |= mark::COND_RESCHED;
            self.pc = Pc::Round { list: ACTIVE_FILE as u8 };
        }
        RAN
    }

    /// A step of the batch from `inactive_file`.
    pub(super) fn inactive_file(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl) -> Outcome {
        let batch = self.file_batch.get_or_insert_default();
        let outcome = batch.step(sys, ctx, self.batch.memcg, self.now, sc.scope);
        if outcome != Outcome::Done {
            return outcome;
        }
        let tally = batch.take_tally();
        sc.nr_scanned += tally.scanned;
        self.reclaimed += tally.freed;
        self.sums.taken += tally.taken;
        self.pc = Pc::Round { list: ACTIVE_FILE as u8 };
        SCANNED
    }

    pub(super) fn active_file(&mut self, sys: &System, ctx: &mut Ctx) -> Outcome {
        file::shrink_active_list(sys, ctx, self.batch.memcg);
        self.pc = Pc::Round { list: ACTIVE_FILE as u8 + 1 };
        SCANNED
    }

    /// More than an eighth of the inactive pages of a kind in others' hands (under GFP_NOIO: more than are left): a direct reclaimer waits
    /// once, then gives this round up.
    pub(super) fn too_many_isolated(
        &mut self,
        ctx: &Ctx,
        node: &Node,
        sc: &ScanControl,
        (kind, stalled): (u8, bool),
    ) -> Outcome {
        let lru = node.lru();
        let (part, sizes) = (if sc.scope.may_io { 8 } else { 1 }, lru.sizes(ROOT));
        let (isolated, inactive, list, then) = match usize::from(kind) {
            ANON => (lru.isolated, sizes.inactive, ACTIVE_ANON, Then::Inactive),
            _ => (lru.isolated_file, sizes.inactive_file, ACTIVE_FILE, Then::InactiveFile),
        };
        let too_many = !ctx.current_is_kswapd() && isolated > inactive / part;
        drop(lru);
        self.pc = match (too_many, stalled) {
            (true, false) => Pc::Isolated { kind, stalled: true },
            (true, true) => Pc::Round { list: list as u8 },
            (false, _) => Pc::Drain { then },
        };
        // Kernel threads are not throttled: they leave the list alone at once.
        if too_many && !stalled && !ctx.is_kthread() { Outcome::Sleep(u64::from(HZ_10_NS.get()) / 5) } else { RAN }
    }
}
