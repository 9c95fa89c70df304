//! Per-CPU caches of swap slots, clusters, and which leaves of the swap cache's tree exist (mm/swap_slots.c, mm/swapfile.c).
//!
//! A CPU takes slots from a cache of 64, refilled 64 at a time from its current cluster of 256; a wholly free cluster is
//! preferred to a used one while there is any. Freed slots gather in a second cache and are really freed, with what they
//! hold, when there are 64. A slot takes no memory; a leaf of the tree, one per 64 slots, does: it lives while any of its
//! slots is in the swap cache or holds a shadow.
//! Source: reclaim.md section 4 (observed, 6.12); Documentation/core-api/xarray.rst.

use crate::sync::Mutex;
use crate::units::NIL;
use std::collections::VecDeque;

/// Slots that a cache holds and that are freed together (SWAP_SLOTS_CACHE_SIZE, SWAP_BATCH).
pub const BATCH: usize = 64;
/// Slots of a cluster (SWAPFILE_CLUSTER).
pub const CLUSTER: u32 = 256;

/// One CPU's caches, up to 64 slots each.
#[derive(Debug, Default)]
struct Cpu {
    slots: Vec<u32>,
    returned: Vec<u32>,
}

/// Slots that no CPU holds.
#[derive(Debug)]
struct Clusters {
    /// One bit a slot: free.
    free: Box<[u64]>,
    /// Free slots of each cluster.
    counts: Box<[u16]>,
    /// Wholly free clusters, the next first.
    whole: VecDeque<u32>,
    /// Where each CPU goes on in its current cluster, or [`NIL`].
    next: Box<[u32]>,
    /// Free slots in all.
    total: u32,
}

impl Clusters {
    fn new(total: u32, cpus: usize) -> Self {
        let mut free = vec![0; (total as usize).div_ceil(64)].into_boxed_slice();
        (0..total).for_each(|slot| free[slot as usize / 64] |= 1u64 << (slot % 64));
        let of = |cluster: u32| CLUSTER.min(total - cluster * CLUSTER) as u16;
        let counts: Box<[u16]> = (0..total.div_ceil(CLUSTER)).map(of).collect();
        let whole = (0..total / CLUSTER).collect();
        Self { free, counts, whole, next: vec![NIL; cpus].into(), total }
    }

    fn take(&mut self, cpu: usize) -> Option<u32> {
        let slot = self.next_in_cluster(self.next[cpu]).or_else(|| {
            let used = || self.counts.iter().position(|&left| left > 0).map(|at| at as u32);
            let cluster = self.whole.pop_front().or_else(used)?;
            self.next_in_cluster(cluster * CLUSTER)
        })?;
        self.free[slot as usize / 64] &= !(1 << (slot % 64));
        self.counts[(slot / CLUSTER) as usize] -= 1;
        self.total -= 1;
        let next = slot + 1;
        self.next[cpu] = if next.is_multiple_of(CLUSTER) { NIL } else { next };
        Some(slot)
    }

    /// The first free slot from `slot` to the end of its cluster.
    fn next_in_cluster(&self, slot: u32) -> Option<u32> {
        let word = *self.free.get(slot as usize / 64)? >> (slot % 64);
        if word != 0 {
            return Some(slot + word.trailing_zeros());
        }
        let rest = (slot / 64 + 1..(slot / CLUSTER + 1) * (CLUSTER / 64))
            .find(|&at| self.free.get(at as usize).is_some_and(|&word| word != 0))?;
        Some(rest * 64 + self.free[rest as usize].trailing_zeros())
    }

    fn give(&mut self, slot: u32) {
        let cluster = slot / CLUSTER;
        self.free[slot as usize / 64] |= 1 << (slot % 64);
        self.counts[cluster as usize] += 1;
        self.total += 1;
        // Only a used cluster gets slots back, so it cannot be among the whole ones yet.
        if u32::from(self.counts[cluster as usize]) == CLUSTER && self.next.iter().all(|next| next / CLUSTER != cluster)
        {
            self.whole.push_back(cluster);
        }
    }
}

/// All caches.
#[derive(Debug)]
pub(super) struct Caches {
    cpus: Box<[Mutex<Cpu>]>,
    clusters: Mutex<Clusters>,
    /// One word a leaf, one bit a slot: in the swap cache, or its shadow is.
    leaves: Mutex<Box<[u64]>>,
}

impl Caches {
    pub fn new(total: u32, cpus: u16) -> Self {
        let cpus = usize::from(cpus.max(1));
        Self {
            cpus: (0..cpus).map(|_| Mutex::default()).collect(),
            clusters: Mutex::new(Clusters::new(total, cpus)),
            leaves: Mutex::new(vec![0; (total as usize).div_ceil(64)].into()),
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

    /// `add_to_swap_cache`: `grow` is asked for a leaf where there is none; false if it refuses.
    pub fn insert(&self, slot: u32, grow: impl FnOnce() -> bool) -> bool {
        let mut leaves = self.leaves.lock();
        let leaf = &mut leaves[slot as usize / 64];
        if *leaf == 0 && !grow() {
            return false;
        }
        *leaf |= 1 << (slot % 64);
        true
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
        let cached = |cpu: &Mutex<Cpu>| {
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
    use super::*;

    #[test]
    fn slots_go_out_in_order_by_cpu_and_wholly_free_clusters_come_first() {
        let caches = Caches::new(3 * CLUSTER, 2);
        let first: Vec<u32> = (0..70).map(|_| caches.alloc(0).unwrap()).collect();
        assert_eq!(first, (0..70).collect::<Vec<_>>());
        assert_eq!(caches.alloc(1), Some(CLUSTER), "another CPU has its own cluster");
        first.iter().for_each(|&slot| caches.free(0, slot, |_, _| {}));
        (70..256).for_each(|slot| assert_eq!(caches.alloc(0), Some(slot)));
        assert_eq!(caches.alloc(0), Some(2 * CLUSTER), "the last wholly free one before the 64 used ones");
    }

    #[test]
    fn sixty_four_freed_slots_go_together_and_take_their_leaf_along() {
        let caches = Caches::new(2 * CLUSTER, 1);
        let slots: Vec<u32> = (0..64).map(|_| caches.alloc(0).unwrap()).collect();
        assert!(!caches.insert(slots[0], || false), "no memory for the leaf");
        assert!(caches.insert(slots[0], || true));
        assert!(caches.insert(slots[1], || panic!("the leaf is there")));
        let mut dropped = Vec::new();
        for &slot in &slots {
            assert!(dropped.is_empty());
            caches.free(0, slot, |slot, leaf| dropped.push((slot, leaf)));
        }
        assert_eq!(dropped.len(), 64);
        assert_eq!(dropped.iter().filter(|(_, leaf)| *leaf).collect::<Vec<_>>(), [&(1, true)]);
        assert_eq!(caches.used(2 * CLUSTER), 0);
    }
}
