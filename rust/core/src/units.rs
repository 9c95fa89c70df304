//! Units: page and byte sizes, and the kernel constants that many modules share.
//!
//! Suffixes used everywhere: `_bytes`, `_pages`, `_ns`. A page count is a count of base pages.

/// The default base page size in bytes (x86-64); a system is built with its own `page_size`.
pub const PAGE_SIZE: usize = 4096;

/// The base page sizes that Linux architectures use and that a system may be built with.
pub const PAGE_SIZES: [usize; 3] = [4096, 16384, 65536];

/// Pages isolated per reclaim round and pushed in one reservation (`SWAP_CLUSTER_MAX`, include/linux/swap.h).
pub const SWAP_CLUSTER_MAX: usize = 32;

/// Fruitless tries after which reclaim gives up (`MAX_RECLAIM_RETRIES`, mm/internal.h).
pub const MAX_RECLAIM_RETRIES: u8 = 16;

/// "No index": the end of a list of folio, slot or zspage indices.
pub const NIL: u32 = u32::MAX;
