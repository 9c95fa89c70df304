//! Swap: slots, the zeromap, and the device behind them.
//!
//! Slots are handed out in order while new ones remain, then the last freed first; in a system with a memory budget through
//! per-CPU caches ([`Slots::with_caches`]). A slot belongs to the page that allocated it until that page frees it; the
//! zeromap bit of a slot belongs to the slot's page.
//! Source: folio_alloc_swap as observed on 6.12 (docs/kernel-map.md); Documentation of /proc/vmstat for swpout_zero.

mod cache;
pub mod device;
#[cfg(test)]
mod run_model;

use cache::Caches;
pub use cache::{BATCH, CLUSTER};
pub use device::{Backing, Device, DeviceError, IoFaults};

use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicBool, AtomicU64, Ordering, SpinLock};

#[derive(Debug, Default)]
struct Free {
    next: u32,
    freed: Vec<u32>,
}

impl Free {
    fn used(&self) -> u32 {
        self.next - u32::try_from(self.freed.len()).expect("at most `total`")
    }

    /// New slots in a row; what alignment passes over counts as freed. When none are left, freed ones that lie in a row.
    fn take_run(&mut self, total: u32, order: u8) -> Option<u32> {
        let nr = 1 << order;
        let first = self.next.next_multiple_of(nr);
        if first.checked_add(nr).is_some_and(|end| end <= total) {
            self.freed.extend(self.next..first);
            self.next = first + nr;
            return Some(first);
        }
        let mut sorted = self.freed.clone();
        sorted.sort_unstable();
        let whole = |run: &&[u32]| run[0].is_multiple_of(nr) && run[run.len() - 1] == run[0] + nr - 1;
        let first = sorted.windows(nr as usize).find(whole)?[0];
        self.freed.retain(|slot| !(first..first + nr).contains(slot));
        Some(first)
    }
}

/// Slots and their zeromap. `used + free == total` at all times.
#[derive(Debug)]
pub struct Slots {
    total: u32,
    free: SpinLock<Free>,
    /// SWP_WRITEOK is clear: no slot is handed out.
    off: AtomicBool,
    caches: Option<Caches>,
    zeromap: Box<[AtomicU64]>,
}

impl Slots {
    /// `total` free slots.
    pub fn new(total: u32) -> Self {
        let words = (total as usize).div_ceil(64);
        let zeromap = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { total, free: SpinLock::new(Free::default()), off: AtomicBool::new(false), caches: None, zeromap }
    }

    /// `total` free slots behind caches of `cpus` CPUs: [`Slots::alloc_on`] and [`Slots::free_on`].
    /// `large`: in clusters that hold the slots of a large folio.
    pub fn with_caches(total: u32, cpus: u16, large: bool) -> Self {
        Self { caches: Some(Caches::new(total, cpus, large)), ..Self::new(total) }
    }

    /// From now on no slot is handed out, or again (`swapoff`'s SWP_WRITEOK).
    pub fn set_off(&self, off: bool) {
        // ORDERING: Relaxed: an allocation that does not see it yet is found by who looks at the folios.
        self.off.store(off, Ordering::Relaxed);
    }

    /// Whether no slot is handed out.
    pub fn is_off(&self) -> bool {
        // ORDERING: Relaxed: as for `set_off`.
        self.off.load(Ordering::Relaxed)
    }

    /// The first of an aligned run of `2^order` slots (`folio_alloc_swap` of a large folio).
    pub fn alloc_run(&self, order: u8) -> Option<u32> {
        match &self.caches {
            _ if self.is_off() => None,
            Some(caches) => caches.alloc_run(order),
            None => self.free.lock().take_run(self.total, order),
        }
    }

    /// A slot for `cpu`, from its cache where there are caches (`folio_alloc_swap`).
    pub fn alloc_on(&self, cpu: u16) -> Option<u32> {
        match &self.caches {
            _ if self.is_off() => None,
            Some(caches) => caches.alloc(cpu),
            None => self.alloc(),
        }
    }

    /// Gives a slot back to `cpu`'s cache. When 64 have gathered they are really freed: `drop_copy` is called with each and
    /// whether a leaf of the swap cache's tree goes with it, all in the cache's critical section. Without caches it is freed
    /// at once, and its copy is the caller's business.
    pub fn free_on(&self, cpu: u16, slot: u32, mut drop_copy: impl FnMut(u32, bool)) {
        match &self.caches {
            Some(caches) => caches.free(cpu, slot, |slot, leaf| {
                self.set_zero(slot, false);
                drop_copy(slot, leaf);
            }),
            None => self.free(slot),
        }
    }

    /// `add_to_swap_cache`: whether the leaves of the tree for `nr` slots exist or `grow` finds memory for each.
    pub fn insert(&self, slot: u32, nr: u32, grow: impl Fn() -> bool) -> bool {
        self.caches.as_ref().is_none_or(|caches| caches.insert(slot, nr, grow))
    }

    /// Whether fewer than half of the slots are free (`vm_swap_full`): a page that comes back then gives its slot up at once.
    pub fn is_half_full(&self) -> bool {
        self.caches.as_ref().is_some_and(|caches| caches.free_slots() < self.total.div_ceil(2))
    }

    /// Slots that are to be had beside those in CPUs' caches (`get_nr_swap_pages`); without such caches nobody counts.
    pub fn free_slots(&self) -> u32 {
        if self.is_off() { 0 } else { self.caches.as_ref().map_or(u32::MAX, Caches::free_slots) }
    }

    /// Whether none is.
    pub fn is_exhausted(&self) -> bool {
        self.free_slots() == 0
    }

    /// Slots there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// A slot, or `None` when swap is full (`folio_alloc_swap`).
    pub fn alloc(&self) -> Option<u32> {
        let mut free = self.free.lock();
        if free.next < self.total {
            free.next += 1;
            return Some(free.next - 1);
        }
        free.freed.pop()
    }

    /// Gives a slot back (`swap_free`); its zeromap bit is cleared.
    pub fn free(&self, slot: u32) {
        self.set_zero(slot, false);
        self.free.lock().freed.push(slot);
    }

    /// Slots that no page has any more and that still wait in a CPU's cache, with their copies.
    pub fn returned(&self) -> Vec<u32> {
        self.caches.as_ref().map(Caches::returned).unwrap_or_default()
    }

    /// Slots in use.
    pub fn used(&self) -> u32 {
        self.caches.as_ref().map_or_else(|| self.free.lock().used(), |caches| caches.used(self.total))
    }

    /// `swap_zeromap_folio_set` / `_clear`.
    pub fn set_zero(&self, slot: u32, zero: bool) {
        let (word, bit) = (&self.zeromap[slot as usize / 64], 1u64 << (slot % 64));
        // ORDERING: Relaxed: the bit belongs to the slot's page and is published by that page's state word.
        match zero {
            true => word.fetch_or(bit, Ordering::Relaxed),
            false => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    /// Whether the slot's page is all zero.
    pub fn is_zero(&self, slot: u32) -> bool {
        // ORDERING: Relaxed: as for `set_zero`.
        self.zeromap[slot as usize / 64].load(Ordering::Relaxed) >> (slot % 64) & 1 == 1
    }
}

/// In a saved state: above every number of freed slots that an explored system has.
const OFF: u64 = 1 << 31;

impl Snapshot for Slots {
    /// Slots under new names have those in use first: which free slot comes next then decides nothing.
    ///
    /// # Panics
    /// If names were given to others than those in use.
    fn save(&self, out: &mut Saved) {
        let free = self.free.lock();
        let off = if self.is_off() { OFF } else { 0 };
        match out.names.slots.renames() {
            true => {
                assert_eq!(free.used(), out.names.slots.named(self.total), "a slot in use is some folio's");
                out.state.push(u64::from(free.used()) << 32 | off);
            }
            false => {
                out.state.push(u64::from(free.next) << 32 | off | free.freed.len() as u64);
                out.state.extend(free.freed.iter().map(|&s| u64::from(s)));
            }
        }
        // ORDERING: Relaxed: a saving driver is alone.
        if self.zeromap.iter().all(|word| word.load(Ordering::Relaxed) == 0) {
            return out.state.extend(self.zeromap.iter().map(|_| 0));
        }
        let named = out.names.slots.named(self.total);
        for first in (0..self.total).step_by(64) {
            let zeros = (first..named.min(first + 64)).rev();
            let word = zeros.fold(0, |word, new| word << 1 | u64::from(self.is_zero(out.names.slots.at(new))));
            out.state.push(word);
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        let mut free = self.free.lock();
        let head = from.state();
        free.next = (head >> 32) as u32;
        self.set_off(head & OFF != 0);
        free.freed.clear();
        free.freed.extend((0..(head & !OFF) as u32).map(|_| from.state() as u32));
        for word in &self.zeromap {
            // ORDERING: Relaxed: a restoring driver is alone.
            word.store(from.state(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run_model::Runs;
    use super::*;

    #[test]
    fn slots_run_out_and_come_back_last_freed_first() {
        let slots = Slots::new(3);
        assert_eq!((0..4).map(|_| slots.alloc()).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), None]);
        slots.set_zero(1, true);
        slots.free(1);
        slots.free(0);
        assert!(!slots.is_zero(1));
        let mut saved = Saved::default();
        slots.save(&mut saved);
        assert_eq!((slots.used(), slots.alloc(), slots.alloc()), (1, Some(0), Some(1)));
        slots.restore(&mut saved.reader());
        assert_eq!((slots.used(), slots.alloc()), (1, Some(0)));
    }

    /// New ones to the last slot, then what alignment passed over.
    #[test]
    fn runs_without_caches_are_given_while_there_are_any() {
        let slots = Slots::new(10);
        let runs = [1, 2, 1, 1, 1].map(|order| slots.alloc_run(order));
        assert_eq!(runs, [Some(0), Some(4), Some(8), Some(2), None]);
    }

    /// Zero bits, copies and slots go together when 64 have gathered, and the slots are there again.
    #[test]
    fn slots_that_caches_give_back_are_free_of_everything() {
        let slots = Slots::with_caches(CLUSTER, 1, false);
        let all: Vec<u32> = std::iter::from_fn(|| slots.alloc_on(0)).collect();
        assert_eq!(all.len() as u32, CLUSTER);
        let zeros = || (0..CLUSTER).filter(|&slot| slots.is_zero(slot)).collect::<Vec<_>>();
        [0, 63, 64, 130].iter().for_each(|&slot| slots.set_zero(slot, true));
        assert_eq!(zeros(), [0, 63, 64, 130]);
        let mut dropped = Vec::new();
        all[..64].iter().for_each(|&slot| slots.free_on(0, slot, |slot, _| dropped.push(slot)));
        assert_eq!((zeros(), dropped), (vec![64, 130], all[..64].to_vec()));
        assert_eq!(std::iter::from_fn(|| slots.alloc_on(0)).collect::<Vec<_>>(), all[..64]);
    }

    proptest::proptest! {
        #[test]
        fn runs_without_caches_are_aligned_and_nobody_else_s(ops in proptest::collection::vec((0u8..3, 1u8..5, 0usize..99), 1..200)) {
            let slots = Slots::new(150);
            let mut runs = Runs::new(150);
            for (op, order, at) in ops {
                let taken = match op {
                    0 => slots.alloc_run(order).map(|first| (first, order)),
                    1 => slots.alloc().map(|slot| (slot, 0)),
                    _ => None,
                };
                if let Some((first, order)) = taken {
                    runs.taken(first, order)?;
                } else if op == 2 {
                    runs.give_back(at).for_each(|slot| slots.free(slot));
                }
                proptest::prop_assert_eq!(slots.used(), runs.used());
            }
        }
    }
}
