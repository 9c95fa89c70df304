//! A CPU's own page lists (`per_cpu_pages`): how many pages come to them at once, how many they may hold, and how many changes of the
//! free count a CPU keeps to itself.
//!
//! Source: observed on 6.12 (`nr_pcp_alloc`, `nr_pcp_free`, `zone_highsize`, `calculate_normal_threshold`, `calculate_pressure_threshold`;
//! mm/page_alloc.c, mm/vmstat.c). Differences: `pcp->high` stays at its floor, where it decays to while kswapd runs; in the kernel it grows with
//! every refill while more than the high mark is free, to an eighth of the zone for all CPUs together (docs/fidelity.md says what that would do).
//! Freeing many pairs in a row empties no list (`free_high`).

use super::{Migrate, Zone, ZoneConfig};
use crate::list::List;
use crate::sync::Ordering;

/// One CPU's page lists.
#[derive(Debug, Default)]
pub(super) struct Pcp {
    pub lists: [List; 2],
    /// Chunks of two unmovable pages, which slabs take: single pages are not made of them.
    pub pairs: List,
    /// Refills since pages were last freed here; the next one is `batch << factor`.
    alloc_factor: u32,
    /// Pages freed lately, halved at each allocation.
    pub free_count: u32,
    /// Changes of NR_FREE_PAGES not yet folded in.
    pub unfolded: i64,
}

/// The largest `alloc_factor` (CONFIG_PCP_BATCH_SCALE_MAX).
const SCALE_MAX: u32 = 5;
/// Most changes of a count that a CPU keeps to itself.
const MOST_UNFOLDED: u32 = 125;

impl Pcp {
    /// The number of the list of pairs, which comes after those of single pages.
    pub const PAIRS: usize = 2;

    pub fn count(&self) -> u32 {
        self.lists[0].len() + self.lists[1].len() + 2 * self.pairs.len()
    }
}

/// What is the same for the lists of all CPUs.
#[derive(Clone, Copy, Debug)]
pub(super) struct PcpLimits {
    /// Pages that the lists of a CPU hold (`high_min`): the low mark for all together, but at least four batches.
    pub high: u32,
    /// Changes of the free count that a CPU keeps to itself while kswapd sleeps, and while it is awake.
    pub normal_threshold: u32,
    pub pressure_threshold: u32,
}

impl PcpLimits {
    pub fn new(config: &ZoneConfig) -> Self {
        let cpus = u32::from(config.cpus.max(1));
        let fls = |n: u32| n.checked_ilog2().map_or(0, |log| log + 1);
        Self {
            high: (config.watermarks[1] / cpus).max(4 * config.pcp_batch),
            normal_threshold: (2 * fls(cpus) * (1 + fls(config.managed_pages >> 15))).min(MOST_UNFOLDED), // 128 MiB
            pressure_threshold: ((config.watermarks[1] - config.watermarks[0]) / cpus).clamp(1, MOST_UNFOLDED),
        }
    }
}

impl Zone {
    /// A refill of the list of single pages of one type.
    pub(super) fn refill(&self, pcp: &mut Pcp, of: Migrate) {
        let want = self.nr_pcp_alloc(pcp, 0);
        let taken = self.take_bulk(&mut pcp.lists[of as usize], of, 0, want);
        self.fold(pcp, -i64::from(taken));
    }

    /// `nr_pcp_alloc`: how many chunks of `2^order` pages a refill takes. Of single pages twice as many each time, unless any were freed.
    pub(super) fn nr_pcp_alloc(&self, pcp: &mut Pcp, order: u32) -> u32 {
        let base = self.config.pcp_batch;
        let mut batch = if order == 0 { base << pcp.alloc_factor } else { base };
        if order == 0 {
            let most = self.limits.high.saturating_sub(pcp.count() + base).max(base);
            pcp.alloc_factor += u32::from(batch <= most && pcp.alloc_factor < SCALE_MAX);
            batch = batch.min(most);
        }
        if batch > 1 { (batch >> order).max(2) } else { batch }
    }

    /// `free_unref_page_commit`: `pages` have come to list `first` of a CPU; what is too much there goes on.
    pub(super) fn note_freed(&self, pcp: &mut Pcp, first: usize, pages: u32) {
        let batch = self.config.pcp_batch;
        pcp.alloc_factor /= 2;
        pcp.free_count = (pcp.free_count + pages).min(batch << SCALE_MAX);
        let high = self.nr_pcp_high();
        if pcp.count() >= high {
            let spill = pcp.free_count.clamp(batch, high.saturating_sub(batch).max(batch));
            self.spill(pcp, first, spill);
        }
    }

    /// `nr_pcp_high`: how many pages a CPU's lists hold at most now.
    fn nr_pcp_high(&self) -> u32 {
        let high = self.limits.high;
        if self.is_reclaim_active() { high.min(4 * self.config.pcp_batch) } else { high }
    }

    /// Says whether kswapd is in `balance_pgdat`.
    pub fn set_reclaim_active(&self, active: bool) {
        // ORDERING: Relaxed: a size limit of the CPUs' lists.
        self.reclaim_active.store(active, Ordering::Relaxed);
    }

    fn is_reclaim_active(&self) -> bool {
        // ORDERING: Relaxed: as in `set_reclaim_active`.
        self.reclaim_active.load(Ordering::Relaxed)
    }

    /// Says whether kswapd is awake; it is so in its naps.
    pub fn set_kswapd_awake(&self, awake: bool) {
        // ORDERING: Relaxed: how exact a count is.
        self.kswapd_awake.store(awake, Ordering::Relaxed);
    }

    /// Whether kswapd is awake.
    pub fn is_kswapd_awake(&self) -> bool {
        // ORDERING: Relaxed: as in `set_kswapd_awake`.
        self.kswapd_awake.load(Ordering::Relaxed)
    }

    /// Changes that a CPU keeps to itself: more while kswapd is awake.
    pub(super) fn threshold(&self) -> i64 {
        let awake = self.is_kswapd_awake();
        if awake { self.limits.pressure_threshold.into() } else { self.limits.normal_threshold.into() }
    }
}
