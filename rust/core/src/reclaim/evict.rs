//! Eviction and aging under the multi-gen LRU: `try_to_shrink_lruvec`, `get_nr_to_scan`, `try_to_inc_max_seq`, `evict_folios` (mm/vmscan.c).
//!
//! Aging walks the group's page tables, moves pages found young to the youngest generation, and opens a new one. Eviction takes the oldest;
//! a page that is found young after all takes the young ones of its 64 neighbours with it (`lru_gen_look_around`).
//! Source: Documentation/mm/multigen_lru.rst; reclaim.md section 12. Differences: every page table is walked (no Bloom filters), at the cost
//! of a look; pages move at once, so none is sorted away later (`pgrefill`); no tiers, as anonymous pages of the first tier need none; 32
//! pages are isolated at a time, not 64; page-cache pages, which nobody touches again, go first.

use super::list::ShrinkList;
use super::scan::{DEF_PRIORITY, ScanControl};
use crate::lifecycle::flag;
use crate::node::{Lru, Node, Place, Sizes};
use crate::system::{Ctx, Outcome, StepError, System, Work, mark};
use crate::units::SWAP_CLUSTER_MAX;

/// MIN_LRU_BATCH.
pub(super) const MIN_LRU_BATCH: u32 = 64;
/// Pages that one page table maps.
const PTRS_PER_PTE: u32 = 512;

const RAN: Outcome = Outcome::Ran(Work::Commit);
const SCANNED: Outcome = Outcome::Ran(Work::Scan);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Pc {
    #[default]
    Decide,
    Walk {
        at: u32,
    },
    Evict,
}

/// What became of a step.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    /// There is more to do.
    GoesOn,
    /// Page-cache pages to free first.
    File(u32),
    /// The group is done with.
    Done,
}

/// A group's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EvictFolios {
    pc: Pc,
    scanned: u32,
    pub reclaimed: u32,
}

impl EvictFolios {
    /// One step of the turn of `batch`'s group.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn step(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        sc: &mut ScanControl,
        batch: &mut ShrinkList,
    ) -> Result<(Outcome, Evicted), Box<StepError>> {
        let node = &sys.nodes[0];
        match self.pc {
            Pc::Decide => Ok(self.decide(sys, ctx, node, sc, batch.memcg)),
            Pc::Walk { at } => Ok(self.walk(sys, ctx, node, batch.memcg, at)),
            Pc::Evict => {
                let outcome = batch.step(sys, ctx, SWAP_CLUSTER_MAX as u32, None, sc.scope)?;
                if outcome != Outcome::Done {
                    return Ok((outcome, Evicted::GoesOn));
                }
                let tally = batch.take_tally();
                (self.scanned, self.reclaimed) = (self.scanned + tally.taken, self.reclaimed + tally.freed);
                sc.nr_scanned += tally.scanned;
                ctx.marks |= mark::COND_RESCHED;
                self.pc = Pc::Decide;
                Ok((SCANNED, if tally.taken == 0 { Evicted::Done } else { Evicted::GoesOn }))
            }
        }
    }

    /// What comes next: page cache, aging, a batch, or the end of the turn.
    fn decide(&mut self, sys: &System, ctx: &Ctx, node: &Node, sc: &ScanControl, memcg: u16) -> (Outcome, Evicted) {
        if self.scanned > 0 && self.may_abort(sys, ctx, sc) {
            return (RAN, Evicted::Done);
        }
        let mut lru = node.lru();
        let lruvec = lru.of(memcg);
        let total = lruvec.sizes().total();
        let left = ((total + self.scanned) >> sc.priority).saturating_sub(self.scanned);
        if left == 0 {
            return (RAN, Evicted::Done);
        }
        if lruvec.inactive_file > 0 {
            let pages = lruvec.inactive_file.min(left).min(SWAP_CLUSTER_MAX as u32);
            lruvec.inactive_file -= pages;
            (self.scanned, self.reclaimed) = (self.scanned + pages, self.reclaimed + pages);
            return (SCANNED, Evicted::File(pages));
        }
        let anon = sc.can_reclaim_anon_pages(sys);
        let Some(gens) = lruvec.generations.as_mut().filter(|_| anon) else { return (RAN, Evicted::Done) };
        self.pc = if sc.priority < DEF_PRIORITY && gens.should_run_aging() { Pc::Walk { at: 0 } } else { Pc::Evict };
        (RAN, Evicted::GoesOn)
    }

    /// `should_abort_scan`: the node's own reclaim has enough; a group's goes on, for fairness.
    fn may_abort(&self, sys: &System, ctx: &Ctx, sc: &ScanControl) -> bool {
        let balanced = || sys.mm.as_ref().is_some_and(|mm| mm.zone.free_pages() > mm.zone.wmark(2) + MIN_LRU_BATCH);
        let kswapd = ctx.current_is_kswapd();
        sc.scope.target.is_none() && (sc.nr_reclaimed + self.reclaimed >= sc.nr_to_reclaim || kswapd && balanced())
    }

    /// `try_to_inc_max_seq`: one page table a step; after the last a new generation, and the turn has ended.
    fn walk(&mut self, sys: &System, ctx: &mut Ctx, node: &Node, memcg: u16, at: u32) -> (Outcome, Evicted) {
        let end = (at + PTRS_PER_PTE).min(sys.folios.len() as u32);
        let mut lru = node.lru();
        make_young(sys, &mut lru, memcg, at..end);
        ctx.marks |= mark::COND_RESCHED;
        self.pc = Pc::Walk { at: end };
        if end < sys.folios.len() as u32 {
            return (SCANNED, Evicted::GoesOn);
        }
        self.pc = Pc::Decide;
        if let Some(gens) = &mut lru.of(memcg).generations {
            gens.inc_max_seq(&sys.folios);
            node.set_age(memcg, gens.min_seq());
        }
        (SCANNED, Evicted::Done)
    }
}

/// Clears the accessed bits of `memcg`'s pages in `pages`, and moves the listed ones that had it set to the youngest generation.
pub(super) fn make_young(sys: &System, lru: &mut Lru, memcg: u16, pages: std::ops::Range<u32>) {
    for page in pages {
        let folio = sys.folio(page);
        let word = folio.word.load();
        if folio.memcg == memcg
            && word.has(flag::LRU)
            && word.has(flag::YOUNG)
            && folio.word.test_and_clear(flag::YOUNG)
        {
            let lruvec = lru.of(memcg);
            lruvec.del(&sys.folios, page, false);
            lruvec.add(&sys.folios, page, Place::Active);
        }
    }
}

/// Where a page that eviction kept goes: what is in use to the youngest generation, what is on its way out to the one before, what is
/// ready to go to the oldest one's tail.
pub(super) fn place_of(flags: u16) -> Place {
    let on_its_way = flags & flag::RECLAIM != 0 && flags & (flag::DIRTY | flag::WRITEBACK) != 0;
    let in_use = flag::ACTIVE | flag::REFERENCED | flag::MAPPED | flag::LOCKED | flag::DIRTY | flag::WRITEBACK;
    match (on_its_way, flags & in_use != 0) {
        (true, _) => Place::Inactive,
        (false, true) => Place::Active,
        (false, false) => Place::Tail,
    }
}

/// `set_initial_priority`: a large reclaim begins where a pass takes about what is wanted.
pub(super) fn initial_priority(sizes: Sizes, nr_to_reclaim: u32) -> u8 {
    let log2 = |n: u32| n.max(1).ilog2();
    log2(sizes.inactive + sizes.inactive_file)
        .saturating_sub(log2(nr_to_reclaim))
        .clamp(DEF_PRIORITY as u32 / 2, DEF_PRIORITY.into()) as u8
}
