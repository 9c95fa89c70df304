//! /sys/kernel/debug/zswap, by name.
//!
//! Source: the names of a running 6.18; `decompress_fail` and `stored_incompressible_pages` are missing on older kernels and
//! stay 0 here where their event cannot happen.

use crate::sync::{AtomicU64, Ordering};

macro_rules! counters {
    ($($name:ident $doc:literal,)*) => {
        /// The counters that only ever record; what is derived from the pools is added by [`super::Zswap::debugfs`].
        #[derive(Debug, Default)]
        pub struct Debugfs { $(#[doc = $doc] pub $name: AtomicU64,)* }

        impl Debugfs {
            /// Names and values.
            pub(super) fn read(&self) -> Vec<(&'static str, u64)> {
                // ORDERING: Relaxed: counters.
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }

        }
    };
}

counters! {
    pool_limit_hit "Stores that found the pool at its limit.",
    reject_reclaim_fail "Entries that could not be written back.",
    reject_alloc_fail "Stores for which zsmalloc had no memory.",
    reject_kmemcache_fail "Stores for which there was no memory for an entry.",
    reject_compress_fail "Stores of pages that do not compress; from 6.18 only where the memcg denies writeback.",
    reject_compress_poor "The same by 842, the one compressor that says so with -ENOSPC.",
    decompress_fail "Loads whose block did not decompress.",
    written_back_pages "Entries written back to the device.",
    stored_incompressible_pages "Entries that are the page itself.",
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    // ORDERING: Relaxed: a counter.
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Takes one off a counter.
pub(super) fn uncount(counter: &AtomicU64) {
    // ORDERING: Relaxed: a counter.
    counter.fetch_sub(1, Ordering::Relaxed);
}
