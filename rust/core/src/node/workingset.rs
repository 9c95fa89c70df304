//! What a node's groups remember of pages that have left (mm/workingset.c): ages, which refaults are measured by, and activations.

use super::{Node, ancestry};
use crate::sync::{AtomicU32, Ordering};

/// What a group and its descendants remember of pages that have left.
#[derive(Debug, Default)]
pub(super) struct Workingset {
    /// Evictions and activations so far (`nonresident_age`).
    pub(super) age: AtomicU32,
    /// Refaulted pages activated so far, and as many when reclaim last ended (`refaults`): anonymous ones, and page cache.
    activations: [[AtomicU32; 2]; 2],
    /// With the multi-gen LRU, of anonymous pages and of page cache: what is compared to choose between them.
    control: [Control; 2],
}

impl Node {
    /// `nonresident_age` of a group and its descendants now.
    pub fn age(&self, memcg: u16) -> u32 {
        // ORDERING: Relaxed: a clock of list movements; distances are compared, nothing else hangs on it.
        self.workingsets[usize::from(self.index(memcg))].age.load(Ordering::Relaxed)
    }

    /// Sets the age of one group: with the multi-gen LRU, its oldest generation.
    pub fn set_age(&self, memcg: u16, age: u32) {
        // ORDERING: Relaxed: as above.
        self.workingsets[usize::from(self.index(memcg))].age.store(age, Ordering::Relaxed);
    }

    /// `by` pages more of `memcg` or below have become active or were reclaimed for its sake (`workingset_age_nonresident`).
    pub fn grow_older(&self, memcg: u16, by: u32) {
        for id in ancestry(&self.parents, self.index(memcg)) {
            // ORDERING: Relaxed: as above.
            self.workingsets[usize::from(id)].age.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// A refaulted page of `memcg`, anonymous or of the page cache, was activated.
    pub fn note_activation(&self, memcg: u16, file: bool) {
        for id in ancestry(&self.parents, self.index(memcg)) {
            // ORDERING: Relaxed: a counter.
            self.workingsets[usize::from(id)].activations[usize::from(file)][0].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether such pages of `memcg` or below were activated since [`Node::snapshot_refaults`].
    pub fn has_activations(&self, memcg: u16, file: bool) -> bool {
        let [now, then] = &self.workingsets[usize::from(self.index(memcg))].activations[usize::from(file)];
        // ORDERING: Relaxed (both): counters.
        now.load(Ordering::Relaxed) != then.load(Ordering::Relaxed)
    }

    /// `snapshot_refaults`: reclaim from `memcg` has ended.
    pub fn snapshot_refaults(&self, memcg: u16) {
        for [now, then] in &self.workingsets[usize::from(self.index(memcg))].activations {
            // ORDERING: Relaxed (both): counters.
            then.store(now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// `pages` pages were evicted from the oldest generation (`lru_gen_eviction`).
    pub fn note_evicted(&self, memcg: u16, file: bool, pages: u32) {
        // ORDERING: Relaxed: a counter.
        self.control(memcg, file).evicted.fetch_add(pages, Ordering::Relaxed);
    }

    /// A page came back that was evicted from what is still the oldest generation.
    pub fn note_refaulted(&self, memcg: u16, file: bool) {
        // ORDERING: Relaxed: a counter.
        self.control(memcg, file).refaulted.fetch_add(1, Ordering::Relaxed);
    }

    /// `reset_ctrl_pos`: the oldest generation of a kind is another one now.
    pub fn reset_control(&self, memcg: u16, file: bool) {
        let control = self.control(memcg, file);
        for [now, average] in
            [[&control.refaulted, &control.average_refaulted], [&control.evicted, &control.average_evicted]]
        {
            // ORDERING: Relaxed (both): under the LRU lock.
            average.store((average.load(Ordering::Relaxed) + now.swap(0, Ordering::Relaxed)) / 2, Ordering::Relaxed); // ORDERING: as above.
        }
    }

    /// `get_type_to_scan`: whether page cache is to be evicted and not anonymous pages: fewer of what is evicted of it comes back, weighed by
    /// `swappiness`.
    pub fn prefers_file(&self, memcg: u16, swappiness: u32) -> bool {
        let ([anon, anon_total], [file, file_total]) =
            (self.control(memcg, false).position(), self.control(memcg, true).position());
        let (gain, other) = (u64::from(swappiness), u64::from(200 - swappiness.min(200)));
        file < LEAST_REFAULTED || file * (anon_total + LEAST_REFAULTED) * gain <= (anon + 1) * file_total * other
    }

    fn control(&self, memcg: u16, file: bool) -> &Control {
        &self.workingsets[usize::from(self.index(memcg))].control[usize::from(file)]
    }
}

/// So few refaults say nothing yet (MIN_LRU_BATCH).
const LEAST_REFAULTED: u64 = 64;

/// Evictions from the oldest generation and refaults of them: since it is the oldest, and the average of those before.
#[derive(Debug, Default)]
struct Control {
    refaulted: AtomicU32,
    evicted: AtomicU32,
    average_refaulted: AtomicU32,
    average_evicted: AtomicU32,
}

impl Control {
    /// Refaults and evictions (`read_ctrl_pos` of the first tier).
    fn position(&self) -> [u64; 2] {
        // ORDERING: Relaxed: counters.
        let load = |counter: &AtomicU32| u64::from(counter.load(Ordering::Relaxed));
        [load(&self.average_refaulted) + load(&self.refaulted), load(&self.average_evicted) + load(&self.evicted)]
    }
}

#[cfg(all(test, not(any(kcompressd_loom, kcompressd_shuttle))))]
mod tests {
    use super::*;
    use crate::memcg::{Memcgs, ROOT};

    /// 99 of 1000 anonymous pages came back, 63 or 64 of 1000 of the page cache.
    #[test]
    fn the_kind_of_which_less_comes_back_is_evicted_weighed_by_swappiness() {
        let node = Node::new(&Memcgs::default(), true, true);
        let note = |file, evicted, refaulted| {
            node.note_evicted(ROOT, file, evicted);
            (0..refaulted).for_each(|_| node.note_refaulted(ROOT, file));
        };
        note(false, 1000, 99);
        note(true, 1000, 63);
        assert!(node.prefers_file(ROOT, 200), "so few refaults say nothing");
        note(true, 0, 1);
        // 64 x 1064 of the page cache against 100 x 1000.
        assert_eq!([100, 118, 120].map(|swappiness| node.prefers_file(ROOT, swappiness)), [true, true, false]);
        node.reset_control(ROOT, true);
        assert!(node.prefers_file(ROOT, 200), "half of it is forgotten with the generation");
        (0..32).for_each(|_| node.note_refaulted(ROOT, true));
        assert!(!node.prefers_file(ROOT, 200), "and the other half counts beside what comes after it");
    }
}
