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

    /// `by` pages more of `memcg` have left the lists or become active (`workingset_age_nonresident`).
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
}
