//! How much of each list a pass takes: `get_scan_count` and `prepare_scan_control` (mm/vmscan.c).
//!
//! Source: observed on 6.12 (docs/kernel-map.md); Documentation/admin-guide/sysctl/vm.rst (`swappiness`), cgroup-v2.rst (`memory.min`, `memory.low`).

use super::{ANON, FILE, INACTIVE_FILE, Pc, ShrinkNode, Sums};
use crate::memcg::{MemcgEvent, ROOT};
use crate::node::{Lru, MemcgLruOp, Node, Sizes};
use crate::reclaim::RAN;
use crate::reclaim::evict::{EvictFolios, MIN_LRU_BATCH, initial_priority};
use crate::reclaim::scan::{DEF_PRIORITY, ScanControl};
use crate::system::{Ctx, Outcome, System};
use crate::units::SWAP_CLUSTER_MAX;

/// How a group in part is protected: so many of its pages, of how many.
type Protected = (u64, u64);

/// What of `memcg` is not to be reclaimed in this pass; `None`: nothing is (`mem_cgroup_below_min`, `mem_cgroup_below_low`).
fn protection_of(sys: &System, sc: &mut ScanControl, memcg: u16) -> Option<Protected> {
    let top = sc.scope.top();
    if memcg == top || memcg == ROOT || !sys.memcgs.protects() {
        return Some((0, 0));
    }
    let (used, protection) = (sys.memcgs.current_pages(memcg), sys.memcgs.protection(top, memcg));
    if protection.min >= used {
        return None;
    }
    if protection.low >= used {
        if !sc.low_reclaim {
            sc.low_skipped = true;
            return None;
        }
        sys.memcgs.note_event(memcg, MemcgEvent::Low);
    }
    if sc.low_reclaim || protection.low <= protection.min {
        return Some((protection.min, used));
    }
    sc.low_skipped = true;
    Some((protection.low, used))
}

/// How much of a list is scanned: the part of the group that is beyond its protection, but at least 32 pages.
fn beyond(len: u32, (protected, used): Protected) -> u32 {
    if protected == 0 {
        return len;
    }
    let kept = u64::from(len) * protected / (used.max(protected) + 1);
    (len - kept as u32).max(SWAP_CLUSTER_MAX as u32)
}

/// What is left to scan of `targets` when reclaim has what it wants and `nr` were left: the kind that has less left stops there, and each list of
/// the other comes as far as that kind has come, in whole per cent. Where a kind has nothing left all ends.
pub(super) fn in_proportion(nr: [u32; 4], targets: [u32; 4]) -> [u32; 4] {
    let left = [ANON, FILE].map(|kind| nr[2 * kind] + nr[2 * kind + 1]);
    if left.contains(&0) {
        return [0; 4];
    }
    let stops = if left[FILE] > left[ANON] { ANON } else { FILE };
    let target = u64::from(targets[2 * stops] + targets[2 * stops + 1] + 1);
    let percent = 100 - 100 * u64::from(left[stops]) / target;
    std::array::from_fn(|list| match list / 2 == stops {
        true => 0,
        false => ((u64::from(targets[list]) * percent / 100) as u32).saturating_sub(targets[list] - nr[list]),
    })
}

/// The shares of anonymous pages and of page cache, as fractions: less of what reclaiming has cost more, weighed by `swappiness`.
fn by_cost(swappiness: u64, costs: [u64; 2]) -> [(u64, u64); 2] {
    let total: u64 = costs.iter().sum();
    let weights = [swappiness, 200 - swappiness.min(200)];
    let shares = [ANON, FILE].map(|kind| weights[kind] * (3 * total + 1) / (total + costs[kind] + 1));
    shares.map(|share| (share, shares[ANON] + shares[FILE]))
}

impl ShrinkNode {
    /// Begins with the next group, or the first: how much of each of its lists this pass takes.
    pub(super) fn get_scan_count(&mut self, sys: &System, ctx: &Ctx, node: &Node, sc: &mut ScanControl) -> Outcome {
        let mut lru = node.lru();
        let memcg = match self.walk.group() {
            Some(memcg) => memcg,
            None => self.begin(sys, ctx, node, sc, &mut lru),
        };
        let own = lru.of(memcg).sizes();
        drop(lru);
        self.batch.memcg = memcg;
        let before = if ctx.current_is_kswapd() { self.reclaimed_before } else { sc.nr_reclaimed };
        (self.reclaimed, self.evict) = (0, EvictFolios::new(before));
        if sys.lru_gen() && !sc.may_swap {
            self.pc = Pc::End; // Without writing, for a boost's sake, it does not even begin.
            return RAN;
        }
        let protection = match self.walk.is_memcg_lru() {
            true => self.memcg_lru_passes(sys, node, memcg).then_some((0, 0)),
            false => protection_of(sys, sc, memcg),
        };
        let Some(protection) = protection else {
            self.pc = Pc::End; // The group's turn is over.
            return RAN;
        };
        let lists = [own.inactive, own.active, own.inactive_file, own.active_file];
        let lens = lists.map(|len| beyond(len, protection));
        self.nr = std::array::from_fn(|list| {
            let (share, of) = self.shares[usize::from(list >= INACTIVE_FILE)];
            (u64::from(lens[list] >> sc.priority) * share / of.max(1)) as u32
        });
        self.targets = self.nr;
        let direct = !ctx.current_is_kswapd();
        self.proportional = direct && sc.scope.target.is_none() && sc.priority == DEF_PRIORITY;
        self.pc = if sys.lru_gen() { Pc::Generations } else { Pc::Round { list: 0 } };
        RAN
    }

    /// `shrink_one`: whether `memcg`, whose turn it is by the memcg LRU, is reclaimed from. `memory.min` says no; `memory.low` once,
    /// and when the group's turn comes again in the same generation no more.
    fn memcg_lru_passes(&mut self, sys: &System, node: &Node, memcg: u16) -> bool {
        if memcg == ROOT || !sys.memcgs.protects() {
            return true;
        }
        let (used, protection) = (sys.memcgs.current_pages(memcg), sys.memcgs.protection(ROOT, memcg));
        if protection.min >= used {
            self.walk.rotate(MemcgLruOp::Young);
            return false;
        }
        if protection.low >= used {
            if node.with_memcg_lru(|lru| lru.is_at_tail(memcg)) == Some(false) {
                self.walk.rotate(MemcgLruOp::Tail);
                return false;
            }
            sys.memcgs.note_event(memcg, MemcgEvent::Low);
        }
        true
    }

    /// `prepare_scan_control`: what holds for all groups of this pass; returns the first.
    fn begin(&mut self, sys: &System, ctx: &Ctx, node: &Node, sc: &mut ScanControl, lru: &mut Lru) -> u16 {
        let top = sc.scope.top();
        let large = sc.priority == DEF_PRIORITY && sc.nr_to_reclaim >= MIN_LRU_BATCH && sc.scope.is_root_reclaim();
        if large && sys.lru_gen() {
            let Sizes { inactive, inactive_file, .. } = lru.sizes(ROOT);
            let anon = if sc.can_reclaim_anon_pages(sys) { inactive } else { 0 };
            sc.priority = initial_priority(inactive_file + anon, sc.nr_to_reclaim);
        }
        (self.sums, self.reclaimed_before) = (Sums::default(), 0);
        let shared = !ctx.current_is_kswapd() && !sc.full_walk;
        let by_lru = if sc.scope.is_root_reclaim() && sc.may_swap { self.walk.begin_memcg_lru(node) } else { None };
        let first = by_lru.unwrap_or_else(|| self.walk.begin(sys, node, top, shared));
        let sizes = lru.sizes(top);
        self.may_deactivate = [(ANON, sizes.inactive_is_low()), (FILE, sizes.inactive_file_is_low())]
            .map(|(kind, low)| sc.force_deactivate || low || node.has_activations(top, kind == FILE));
        let cache_is_enough = sizes.inactive_file >> sc.priority > 0 && !self.may_deactivate[FILE];
        sc.cache_trim_mode = cache_is_enough && !sc.no_cache_trim_mode && !sys.lru_gen();
        self.shares = self.shares(sys, lru, sc, top);
        first
    }

    fn shares(&self, sys: &System, lru: &mut Lru, sc: &ScanControl, top: u16) -> [(u64, u64); 2] {
        const ALL: (u64, u64) = (1, 1);
        const NONE: (u64, u64) = (0, 1);
        let swappiness = u64::from(sys.config.memory.map_or(0, |memory| memory.swappiness));
        // At 0 a group does not swap, and the node only where there is hardly any page cache.
        if !sc.can_reclaim_anon_pages(sys) || swappiness == 0 && sc.scope.target.is_some() {
            return [NONE, ALL];
        }
        if sc.priority == 0 && swappiness > 0 {
            return [ALL, ALL];
        }
        let zone = sys.mm.as_ref().filter(|_| sc.scope.target.is_none()).map(|mm| &mm.zone);
        let sizes = lru.sizes(top);
        let file_is_tiny = zone.is_some_and(|zone| sizes.file() + zone.free_pages() <= zone.wmark(2))
            && !self.may_deactivate[ANON]
            && sizes.inactive >> sc.priority > 0;
        if file_is_tiny {
            return [ALL, NONE];
        }
        if sc.cache_trim_mode {
            return [NONE, ALL];
        }
        let costs = lru.of(top);
        by_cost(swappiness, [costs.anon_cost, costs.file_cost])
    }
}

#[cfg(test)]
mod tests {
    use super::{by_cost, in_proportion};

    /// Anonymous pages have been scanned to 51 % of the 600 + 400 that were to be.
    #[test]
    fn the_larger_kind_comes_as_far_as_the_smaller_in_whole_per_cent() {
        for kind in [0, 2] {
            let turned = |mut lists: [u32; 4]| {
                lists.rotate_right(kind);
                lists
            };
            let left = |nr, targets| turned(in_proportion(turned(nr), turned(targets)));
            let targets = [600, 400, 1000, 200];
            assert_eq!(left([300, 200, 900, 180], targets), [0, 0, 410, 82], "49 % are left there");
            assert_eq!(left([300, 200, 400, 180], targets), [0, 0, 0, 82], "one list has come further already");
            assert_eq!(left([9, 0, 99, 0], [600, 400, 99, 0]), [0, 0, 99, 0], "less than 1 % is nothing");
            assert_eq!(left([0, 0, 900, 180], targets), [0; 4], "as far as it goes");
        }
        assert_eq!(in_proportion([400, 100, 400, 100], [500; 4]), [155, 0, 0, 0], "of equal ones the file stops");
    }

    #[test]
    fn what_reclaiming_has_cost_weighs_against_a_kind() {
        assert_eq!(by_cost(60, [0, 0]), [(60, 200), (140, 200)]);
        assert_eq!(by_cost(60, [1000, 0]), [(89, 508), (419, 508)]);
        assert_eq!(by_cost(60, [0, 1000]), [(179, 388), (209, 388)]);
        assert_eq!(by_cost(200, [1000, 10]), [(301, 301), (0, 301)]);
    }
}
