//! Swap: slots, the zeromap, and the device behind them.
//!
//! Slots are handed out in order while new ones remain, then the last freed first. A slot belongs to the page that
//! allocated it until that page frees it; the zeromap bit of a slot belongs to the slot's page.
//! Source: reclaim.md's observed behaviour of folio_alloc_swap; Documentation of /proc/vmstat for swpout_zero.

pub mod device;

pub use device::{Backing, Device, DeviceError, IoFaults};

use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicU64, Mutex, Ordering};

#[derive(Debug, Default)]
struct Free {
    next: u32,
    freed: Vec<u32>,
}

impl Free {
    fn used(&self) -> u32 {
        self.next - u32::try_from(self.freed.len()).expect("at most `total`")
    }
}

/// Slots and their zeromap. `used + free == total` at all times.
#[derive(Debug)]
pub struct Slots {
    total: u32,
    free: Mutex<Free>,
    zeromap: Box<[AtomicU64]>,
}

impl Slots {
    /// `total` free slots.
    pub fn new(total: u32) -> Self {
        let words = (total as usize).div_ceil(64);
        let zeromap = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { total, free: Mutex::new(Free::default()), zeromap }
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

    /// Slots in use.
    pub fn used(&self) -> u32 {
        self.free.lock().used()
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

impl Snapshot for Slots {
    /// Slots under new names have those in use first: which free slot comes next then decides nothing.
    fn save(&self, out: &mut Saved) {
        let free = self.free.lock();
        match out.names.slots.renames() {
            true => out.state.push(u64::from(free.used()) << 32),
            false => {
                out.state.push(u64::from(free.next) << 32 | free.freed.len() as u64);
                out.state.extend(free.freed.iter().map(|&s| u64::from(s)));
            }
        }
        for first in (0..self.total).step_by(64) {
            let zeros = (first..self.total.min(first + 64)).rev();
            let word = zeros.fold(0, |word, new| word << 1 | u64::from(self.is_zero(out.names.slots.at(new))));
            out.state.push(word);
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        let mut free = self.free.lock();
        let head = from.state();
        free.next = (head >> 32) as u32;
        free.freed.clear();
        free.freed.extend((0..head as u32).map(|_| from.state() as u32));
        for word in &self.zeromap {
            // ORDERING: Relaxed: a restoring driver is alone.
            word.store(from.state(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
