//! Per-CPU caches of swap slots, clusters, and which leaves of the swap cache's tree exist (mm/swap_slots.c, mm/swapfile.c).
//!
//! A CPU takes slots from a cache of 64, refilled 64 at a time from its current cluster of 256; a wholly free cluster is
//! preferred to a used one while there is any. A large folio's slots are a run of as many, aligned, from the cluster that the CPU
//! takes runs of that order from, or from one that others did, or a wholly free one, and from no other. Freed slots gather in a second cache and are really freed, with what they
//! hold, when there are 64. A slot takes no memory; a leaf of the tree, one per 64 slots, does: it lives while any of its
//! slots is in the swap cache or holds a shadow.
//! Source: observed on 6.12 (docs/kernel-map.md); Documentation/core-api/xarray.rst.

use crate::folio::MAX_FOLIO_ORDER;
use crate::sync::SpinLock;
use crate::units::NIL;
use std::collections::VecDeque;

/// Slots that a cache holds and that are freed together (SWAP_SLOTS_CACHE_SIZE, SWAP_BATCH).
pub const BATCH: usize = 64;
/// Slots of a cluster (SWAPFILE_CLUSTER); with large folios as many as the largest has pages.
pub const CLUSTER: u32 = 256;
/// The same with large folios (CONFIG_THP_SWAP).
const CLUSTER_LARGE: u32 = 1 << MAX_FOLIO_ORDER;

/// One CPU's caches, up to 64 slots each.
#[derive(Debug, Default)]
struct Cpu {
    slots: Vec<u32>,
    returned: Vec<u32>,
}

/// Slots that no CPU holds.
#[derive(Debug)]
struct Clusters {
    /// Slots of each.
    size: u32,
    /// One bit a slot: free.
    free: Box<[u64]>,
    /// Free slots of each cluster.
    counts: Box<[u16]>,
    /// The order of the runs that each cluster gives; 0: single slots, or none yet.
    orders: Box<[u8]>,
    /// Wholly free clusters, the next first.
    whole: VecDeque<u32>,
    /// Where each CPU goes on in its current cluster, or [`NIL`].
    next: Box<[u32]>,
    /// Free slots in all.
    total: u32,
}

impl Clusters {
    fn new(total: u32, cpus: usize, size: u32) -> Self {
        let mut free = vec![0; (total as usize).div_ceil(64)].into_boxed_slice();
        (0..total).for_each(|slot| free[slot as usize / 64] |= 1u64 << (slot % 64));
        let of = |cluster: u32| size.min(total - cluster * size) as u16;
        let counts: Box<[u16]> = (0..total.div_ceil(size)).map(of).collect();
        let whole = (0..total / size).collect();
        let orders = vec![0; counts.len()].into();
        Self { size, free, counts, orders, whole, next: vec![NIL; cpus].into(), total }
    }

    fn take(&mut self, cpu: usize) -> Option<u32> {
        let slot = self.next_in_cluster(self.next[cpu]).or_else(|| {
            let used = || self.counts.iter().position(|&left| left > 0).map(|at| at as u32);
            let cluster = self.whole.pop_front().or_else(used)?;
            self.next_in_cluster(cluster * self.size)
        })?;
        self.mark_taken(slot);
        let next = slot + 1;
        self.next[cpu] = if next.is_multiple_of(self.size) { NIL } else { next };
        Some(slot)
    }

    fn mark_taken(&mut self, slot: u32) {
        self.free[slot as usize / 64] &= !(1 << (slot % 64));
        self.counts[(slot / self.size) as usize] -= 1;
        self.total -= 1;
    }

    /// An aligned run of `2^order` free slots (`cluster_alloc_swap_entry`): out of a cluster that gives such runs, else out of
    /// a wholly free one.
    fn take_run(&mut self, order: u8) -> Option<u32> {
        let of_order = |clusters: &Self| {
            let alike = (0..clusters.orders.len()).filter(|&at| clusters.orders[at] == order);
            alike.filter(|&at| clusters.counts[at] >> order > 0).find_map(|at| clusters.run_in(at as u32, order))
        };
        let first = of_order(self).or_else(|| {
            let cluster = self.whole.pop_front()?;
            self.orders[cluster as usize] = order;
            Some(cluster * self.size)
        })?;
        (first..first + (1 << order)).for_each(|slot| self.mark_taken(slot));
        Some(first)
    }

    fn run_in(&self, cluster: u32, order: u8) -> Option<u32> {
        let is_free = |slot: u32| self.free.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1);
        let mut runs = (cluster * self.size..(cluster + 1) * self.size).step_by(1 << order);
        runs.find(|&first| (first..first + (1 << order)).all(is_free))
    }

    /// The first free slot from `slot` to the end of its cluster.
    fn next_in_cluster(&self, slot: u32) -> Option<u32> {
        let word = *self.free.get(slot as usize / 64)? >> (slot % 64);
        if word != 0 {
            return Some(slot + word.trailing_zeros());
        }
        let rest = (slot / 64 + 1..(slot / self.size + 1) * (self.size / 64))
            .find(|&at| self.free.get(at as usize).is_some_and(|&word| word != 0))?;
        Some(rest * 64 + self.free[rest as usize].trailing_zeros())
    }

    fn give(&mut self, slot: u32) {
        let cluster = slot / self.size;
        self.free[slot as usize / 64] |= 1 << (slot % 64);
        self.counts[cluster as usize] += 1;
        self.total += 1;
        // Only a used cluster gets slots back, so it cannot be among the whole ones yet.
        let size = self.size;
        if u32::from(self.counts[cluster as usize]) == size && self.next.iter().all(|next| next / size != cluster) {
            self.orders[cluster as usize] = 0;
            self.whole.push_back(cluster);
        }
    }
}

/// All caches.
#[derive(Debug)]
pub(super) struct Caches {
    cpus: Box<[SpinLock<Cpu>]>,
    clusters: SpinLock<Clusters>,
    /// One word a leaf, one bit a slot: in the swap cache, or its shadow is.
    leaves: SpinLock<Box<[u64]>>,
}

impl Caches {
    pub fn new(total: u32, cpus: u16, large: bool) -> Self {
        let cpus = usize::from(cpus.max(1));
        let size = if large { CLUSTER_LARGE } else { CLUSTER };
        Self {
            cpus: (0..cpus).map(|_| SpinLock::default()).collect(),
            clusters: SpinLock::new(Clusters::new(total, cpus, size)),
            leaves: SpinLock::new(vec![0; (total as usize).div_ceil(64)].into()),
        }
    }

    pub fn alloc(&self, cpu: u16) -> Option<u32> {
        let cpu = usize::from(cpu) % self.cpus.len();
        let mut cache = self.cpus[cpu].lock();
        if cache.slots.is_empty() {
            let mut clusters = self.clusters.lock_within();
            cache.slots.extend(std::iter::from_fn(|| clusters.take(cpu)).take(BATCH));
            cache.slots.reverse();
        }
        cache.slots.pop()
    }

    /// An aligned run of `2^order` slots, past the CPUs' caches.
    pub fn alloc_run(&self, order: u8) -> Option<u32> {
        self.clusters.lock().take_run(order)
    }

    /// Takes a slot back; the 64th frees them all, each by way of `drop_copy`.
    pub fn free(&self, cpu: u16, slot: u32, mut drop_copy: impl FnMut(u32, bool)) {
        let mut cache = self.cpus[usize::from(cpu) % self.cpus.len()].lock();
        cache.returned.push(slot);
        if cache.returned.len() < BATCH {
            return;
        }
        for slot in cache.returned.drain(..) {
            let last_of_leaf = self.forget(slot);
            drop_copy(slot, last_of_leaf);
            self.clusters.lock_within().give(slot);
        }
    }

    /// `add_to_swap_cache` of `nr` slots: `grow` is asked for each leaf that there is not; false if it refuses. The slots before
    /// are in the tree then, until they are freed.
    pub fn insert(&self, slot: u32, nr: u32, grow: impl Fn() -> bool) -> bool {
        let mut leaves = self.leaves.lock();
        (slot..slot + nr).all(|slot| {
            let leaf = &mut leaves[slot as usize / 64];
            let grown = *leaf != 0 || grow();
            *leaf |= u64::from(grown) << (slot % 64);
            grown
        })
    }

    /// Clears a slot's place in the tree; true if its leaf goes with it.
    fn forget(&self, slot: u32) -> bool {
        let mut leaves = self.leaves.lock_within();
        let leaf = &mut leaves[slot as usize / 64];
        let was_there = *leaf >> (slot % 64) & 1 == 1;
        *leaf &= !(1 << (slot % 64));
        was_there && *leaf == 0
    }

    /// Slots given back and not yet really freed.
    pub fn returned(&self) -> Vec<u32> {
        self.cpus.iter().flat_map(|cpu| cpu.lock().returned.clone()).collect()
    }

    /// Slots that belong to a page: neither free nor in a cache.
    pub fn used(&self, total: u32) -> u32 {
        let cached = |cpu: &SpinLock<Cpu>| {
            let cpu = cpu.lock();
            (cpu.slots.len() + cpu.returned.len()) as u32
        };
        let cached: u32 = self.cpus.iter().map(cached).sum();
        total - self.clusters.lock().total - cached
    }

    /// Slots that are free or in a cache of slots to give out: `get_nr_swap_pages`.
    pub fn free_slots(&self) -> u32 {
        self.clusters.lock_within().total
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_model::Runs;
    use super::*;

    #[test]
    fn slots_go_out_in_order_by_cpu_and_wholly_free_clusters_come_first() {
        let caches = Caches::new(3 * CLUSTER, 2, false);
        let first: Vec<u32> = (0..70).map(|_| caches.alloc(0).unwrap()).collect();
        assert_eq!(first, (0..70).collect::<Vec<_>>());
        assert_eq!(caches.alloc(1), Some(CLUSTER), "another CPU has its own cluster");
        first.iter().for_each(|&slot| caches.free(0, slot, |_, _| {}));
        (70..256).for_each(|slot| assert_eq!(caches.alloc(0), Some(slot)));
        assert_eq!(caches.alloc(0), Some(2 * CLUSTER), "the last wholly free one before the 64 used ones");
    }

    #[test]
    fn sixty_four_freed_slots_go_together_and_take_their_leaf_along() {
        let caches = Caches::new(2 * CLUSTER, 1, false);
        let slots: Vec<u32> = (0..64).map(|_| caches.alloc(0).unwrap()).collect();
        assert!(!caches.insert(slots[0], 1, || false), "no memory for the leaf");
        assert!(caches.insert(slots[0], 1, || true));
        assert!(caches.insert(slots[1], 1, || panic!("the leaf is there")));
        let mut dropped = Vec::new();
        for &slot in &slots {
            assert!(dropped.is_empty());
            caches.free(0, slot, |slot, leaf| dropped.push((slot, leaf)));
        }
        assert_eq!(dropped.len(), 64);
        assert_eq!(dropped.iter().filter(|(_, leaf)| *leaf).collect::<Vec<_>>(), [&(1, true)]);
        assert_eq!(caches.used(2 * CLUSTER), 0);
    }

    #[test]
    fn runs_of_one_order_share_a_cluster() {
        let caches = Caches::new(2 * CLUSTER_LARGE, 1, true);
        let of_orders = |orders: [u8; 4]| orders.map(|order| caches.alloc_run(order));
        assert_eq!(of_orders([4, 4, 2, 4]), [Some(0), Some(16), Some(CLUSTER_LARGE), Some(32)]);
        assert_eq!(caches.alloc_run(3), None, "no cluster is whole");
    }

    #[test]
    fn a_cluster_of_which_all_is_given_back_is_whole_again() {
        let caches = Caches::new(2 * CLUSTER_LARGE, 1, true);
        assert_eq!([9, 9, 9].map(|order| caches.alloc_run(order)), [Some(0), Some(CLUSTER_LARGE), None]);
        (0..CLUSTER_LARGE).for_each(|slot| caches.free(0, slot, |_, _| {}));
        assert_eq!([2, 2, 9].map(|order| caches.alloc_run(order)), [Some(0), Some(4), None], "and of any order");
    }

    proptest::proptest! {
        /// Runs are aligned and whole, no slot is given twice, and a run is refused only where no cluster may give one.
        #[test]
        fn runs_are_aligned_and_nobody_else_s(ops in proptest::collection::vec((0u8..3, 1u8..10, 0usize..4000), 1..400)) {
            const TOTAL: u32 = 6 * CLUSTER_LARGE + 100;
            let caches = Caches::new(TOTAL, 1, true);
            let mut runs = Runs::new(TOTAL);
            for (op, order, at) in ops {
                let taken = match op {
                    0 => caches.alloc_run(order).map(|first| (first, order)),
                    1 => caches.alloc(0).map(|slot| (slot, 0)),
                    _ => None,
                };
                if let Some((first, order)) = taken {
                    runs.taken(first, order)?;
                } else if op == 0 {
                    let clusters = caches.clusters.lock();
                    proptest::prop_assert!(clusters.whole.is_empty());
                    let is_free = |slot: usize| clusters.free[slot / 64] >> (slot % 64) & 1 == 1;
                    let given = |run: usize| (run << order..(run + 1) << order).all(is_free);
                    let of_order = |&run: &usize| clusters.orders[(run << order) / CLUSTER_LARGE as usize] == order;
                    proptest::prop_assert!(!(0..(6 * CLUSTER_LARGE as usize) >> order).filter(of_order).any(given));
                }
                if op == 2 {
                    runs.give_back(at).for_each(|slot| caches.free(0, slot, |_, _| {}));
                }
                proptest::prop_assert_eq!(caches.used(TOTAL), runs.used());
            }
        }
    }
}
