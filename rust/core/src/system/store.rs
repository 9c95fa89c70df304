//! What swaps pages out, and what is asked of either kind.

use super::{Ctx, System};
use crate::zram::Zram;
use crate::zsmalloc::Pool;
use crate::zswap::Zswap;

/// What swaps pages out.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a system, never moved")]
pub enum Store {
    /// zswap in front of a swap file.
    Zswap(Zswap),
    /// A zram device.
    Zram(Zram),
}

impl System {
    /// Whether the store is zswap.
    #[inline]
    pub fn zswap(&self) -> Option<&Zswap> {
        match &self.store {
            Store::Zswap(zswap) => Some(zswap),
            Store::Zram(_) => None,
        }
    }

    /// The pool that stores go to.
    pub fn current_pool(&self) -> &Pool {
        match &self.store {
            Store::Zswap(zswap) => zswap.current_pool(),
            Store::Zram(zram) => zram.pool(),
        }
    }

    /// Pages of the store's pools.
    pub fn pool_pages(&self) -> usize {
        match &self.store {
            Store::Zswap(zswap) => zswap.total_pages() as usize,
            Store::Zram(zram) => zram.pool().total_pages(),
        }
    }

    /// Bytes of the copies that pages have, as the store counts them: the lengths of zswap's entries; zram's
    /// `compr_data_size` without the copies whose slots wait in a CPU's cache to be freed.
    pub fn pool_bytes(&self) -> u64 {
        match &self.store {
            Store::Zswap(zswap) => zswap.stored_bytes(),
            Store::Zram(zram) => {
                let nobodys: u64 = self.slots.returned().into_iter().map(|slot| zram.len_bytes(slot)).sum();
                zram.mm_stat().compr_data_size - nobodys
            }
        }
    }

    /// The slot's copy goes: zswap's entry, which is off its LRU, or zram's object.
    pub fn erase(&self, ctx: &Ctx, slot: u32) {
        match &self.store {
            Store::Zswap(zswap) => zswap.erase(slot, &self.memcgs, &self.budget(ctx)),
            Store::Zram(zram) => zram.free(slot, &self.budget(ctx)),
        }
    }

    /// Bytes of the store's copy for `slot`; 0 where it has none.
    pub fn stored_bytes(&self, slot: u32) -> u64 {
        match &self.store {
            Store::Zswap(zswap) => zswap.len_bytes(slot),
            Store::Zram(zram) => zram.len_bytes(slot),
        }
    }

    /// Maps and touches the pool's memory ahead of the clock: half of the pages' bytes, which few inputs exceed, and no more than the limit.
    /// What is left, or cannot be touched now, is touched by the run.
    pub fn prefault_pool(&self) {
        let half = self.folios.len() / 2;
        let pages = self.config.pool_limit_pages.map_or(half, |limit| half.min(limit as usize));
        let _ = self.current_pool().prefault(pages * self.config.page_size);
    }

    /// Whether the slot's contents are in the store.
    pub fn holds(&self, slot: u32) -> bool {
        match &self.store {
            Store::Zswap(zswap) => zswap.holds(slot),
            Store::Zram(zram) => zram.holds(slot),
        }
    }
}
