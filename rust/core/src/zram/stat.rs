//! What the device counts: mm_stat, io_stat and bd_stat, in the kernel's field order.
//!
//! Source: Documentation/admin-guide/blockdev/zram.rst.

use super::Zram;
use crate::sync::{AtomicU64, Ordering};

/// A statistic: it orders nothing.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

// ORDERING (all of `Counter`): Relaxed: statistics; whoever adds them up has joined the threads or lives with a moment ago.
const STATISTIC: Ordering = Ordering::Relaxed;

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, STATISTIC);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, STATISTIC);
    }

    pub fn max(&self, n: u64) {
        self.0.fetch_max(n, STATISTIC);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, STATISTIC);
    }

    pub fn get(&self) -> u64 {
        self.0.load(STATISTIC)
    }
}

/// What the device counts itself; the pool and the backing device count the rest.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub pages_stored: Counter,
    pub compr_data_size: Counter,
    pub max_used_pages: Counter,
    pub same_pages: Counter,
    pub huge_pages: Counter,
    pub huge_pages_since: Counter,
    pub failed_reads: Counter,
    pub failed_writes: Counter,
    pub notify_free: Counter,
}

impl Stats {
    /// Those that say what is, not what has been, for a snapshot.
    pub fn gauges(&self) -> [&Counter; 4] {
        [&self.pages_stored, &self.compr_data_size, &self.same_pages, &self.huge_pages]
    }
}

/// /sys/block/zramN/mm_stat, in the kernel's field order. Sizes in bytes, the rest in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmStat {
    /// Uncompressed bytes stored, written back ones too.
    pub orig_data_size: u64,
    /// Compressed bytes stored.
    pub compr_data_size: u64,
    /// Memory that zsmalloc holds.
    pub mem_used_total: u64,
    /// The limit, 0 for none.
    pub mem_limit: u64,
    /// The most that zsmalloc held when a page was written, refused ones included.
    pub mem_used_max: u64,
    /// Pages of one repeated word.
    pub same_pages: u64,
    /// Pages freed by compaction.
    pub pages_compacted: u64,
    /// Incompressible pages.
    pub huge_pages: u64,
    /// Incompressible pages ever stored.
    pub huge_pages_since: u64,
}

impl MmStat {
    /// Names and values in the kernel's order.
    pub fn fields(&self) -> [(&'static str, u64); 9] {
        [
            ("orig_data_size", self.orig_data_size),
            ("compr_data_size", self.compr_data_size),
            ("mem_used_total", self.mem_used_total),
            ("mem_limit", self.mem_limit),
            ("mem_used_max", self.mem_used_max),
            ("same_pages", self.same_pages),
            ("pages_compacted", self.pages_compacted),
            ("huge_pages", self.huge_pages),
            ("huge_pages_since", self.huge_pages_since),
        ]
    }
}

impl Zram {
    /// mm_stat.
    pub fn mm_stat(&self) -> MmStat {
        let stats = &self.stats;
        MmStat {
            orig_data_size: stats.pages_stored.get() * self.page_size(),
            compr_data_size: stats.compr_data_size.get(),
            mem_used_total: self.pool.total_pages() as u64 * self.page_size(),
            mem_limit: self.limit_pages.get() * self.page_size(),
            mem_used_max: stats.max_used_pages.get() * self.page_size(),
            same_pages: stats.same_pages.get(),
            pages_compacted: self.pool.pages_compacted() as u64,
            huge_pages: stats.huge_pages.get(),
            huge_pages_since: stats.huge_pages_since.get(),
        }
    }

    /// io_stat: failed_reads, failed_writes, invalid_io (always 0), notify_free.
    pub fn io_stat(&self) -> [(&'static str, u64); 4] {
        [
            ("failed_reads", self.stats.failed_reads.get()),
            ("failed_writes", self.stats.failed_writes.get()),
            ("invalid_io", 0),
            ("notify_free", self.stats.notify_free.get()),
        ]
    }

    /// bd_stat: what the backing device holds, and its reads and writes, all in units of 4 KiB; zeros without one.
    pub fn bd_stat(&self) -> [(&'static str, u64); 3] {
        let [count, reads, writes] = self.backing.as_ref().map_or([0; 3], |backing| backing.counts());
        let four_k = self.page_size() / 4096;
        [("bd_count", count * four_k), ("bd_reads", reads * four_k), ("bd_writes", writes * four_k)]
    }

    /// Forgets the past maximum: `mem_used_max` starts again from what is held now (`echo 0 > mem_used_max`).
    pub fn reset_mem_used_max(&self) {
        self.stats.max_used_pages.set(self.pool.total_pages() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::MmStat;

    /// The order of Documentation/admin-guide/blockdev/zram.rst, "mm_stat", and the kernel's names of what it adds.
    #[test]
    fn mm_stat_has_the_kernel_s_fields_in_its_order() {
        let stat = MmStat {
            orig_data_size: 1,
            compr_data_size: 2,
            mem_used_total: 3,
            mem_limit: 4,
            mem_used_max: 5,
            same_pages: 6,
            pages_compacted: 7,
            huge_pages: 8,
            huge_pages_since: 9,
        };
        let names = "orig_data_size compr_data_size mem_used_total mem_limit mem_used_max same_pages pages_compacted \
                     huge_pages huge_pages_since";
        assert!(stat.fields().into_iter().eq(names.split_whitespace().zip(1..)));
    }
}
