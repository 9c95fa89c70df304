//! The configuration of a small system without a memory budget.

use kcompressd_core::design::{Design, StoreKind};
use kcompressd_core::system::Config;

pub const PAGE: usize = 4096;

/// One node, no limit, lz4, pages of [`PAGE`] bytes.
pub fn config(design: Design, store: StoreKind, slots: u32) -> Config {
    Config {
        design,
        store,
        kernel: (6, 12),
        codec: "lz4".parse().unwrap(),
        page_size: PAGE,
        chain_size: 8,
        pool_limit_pages: None,
        accept_threshold_percent: 90,
        nodes: 1,
        slots,
        memory: None,
        large: Vec::new(),
        shmem: Vec::new(),
    }
}
