//! A zone's watermarks: what they forbid, and the boost that a steal from the other migrate type brings.

use super::{PAGEBLOCK_PAGES, Zone};
use crate::sync::Ordering;

/// How far down a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The first try: free > low + boost.
    Low,
    /// What a user page may use after kswapd was woken: free > min + boost.
    Min,
    /// `__GFP_HIGH | __GFP_NOMEMALLOC`: free > half of min, without the boost, which these requests ignore at the min mark.
    HalfMin,
    /// PF_MEMALLOC: any page in the buddy or on its own CPU's list.
    None,
}

impl Zone {
    /// NR_FREE_PAGES as a watermark test reads it: folded changes only.
    #[inline]
    pub fn free_pages(&self) -> u32 {
        // ORDERING: Relaxed: an approximate count, as the kernel's.
        self.nr_free.load(Ordering::Relaxed).max(0) as u32
    }

    /// The boost in force (`watermark_boost`).
    #[inline]
    pub fn boost(&self) -> u32 {
        // ORDERING: Relaxed: a watermark; no other data hangs on it.
        self.boost.load(Ordering::Relaxed)
    }

    /// `min_wmark_pages`, `low_wmark_pages`, `high_wmark_pages` (0, 1, 2): base and boost.
    #[inline]
    pub fn wmark(&self, which: usize) -> u32 {
        self.config.watermarks[which] + self.boost()
    }

    /// More than this must be free for a request that may go down to `mark`; `None`: it passes always.
    #[inline]
    fn floor(&self, mark: Mark) -> Option<u32> {
        match mark {
            Mark::Low => Some(self.wmark(1)),
            Mark::Min => Some(self.wmark(0)),
            Mark::HalfMin => Some(self.config.watermarks[0] / 2),
            Mark::None => None,
        }
    }

    /// Whether a request that may go down to `mark` passes.
    #[inline]
    pub fn watermark_ok(&self, mark: Mark) -> bool {
        self.floor(mark).is_none_or(|floor| self.free_pages() > floor)
    }

    /// With what every CPU keeps to itself (`zone_page_state_snapshot`).
    pub(super) fn exact_free_pages(&self) -> u32 {
        self.buddy.lock_within().0.free_pages()
    }

    /// As who wakes kswapd, or it before it sleeps, reads it: exact where it is low and the zone so small that what CPUs keep to
    /// themselves could hide its marks (`percpu_drift_mark`).
    fn free_pages_snapshot(&self) -> u32 {
        let [min, low, high] = self.config.watermarks;
        let (free, drift) = (self.free_pages(), u32::from(self.cpus()) * self.limits.normal_threshold);
        let exact = drift > low - min && free < high + drift;
        if exact { self.exact_free_pages() } else { free }
    }

    /// `pgdat_balanced`: above the high mark, the boost included.
    pub fn is_balanced(&self) -> bool {
        self.free_pages_snapshot() > self.wmark(2)
    }

    /// `allow_direct_reclaim`: more than half the min mark, the boost included, is free, counted exactly.
    pub fn allows_direct_reclaim(&self) -> bool {
        self.exact_free_pages() > self.wmark(0) / 2
    }

    /// Whether an allocation that may wake kswapd is to do so for the boost's sake; asks once (ZONE_BOOSTED_WATERMARK).
    #[inline]
    pub fn take_boosted(&self) -> bool {
        // ORDERING: Relaxed: a hint to wake; the wake table orders what matters.
        self.boosted.load(Ordering::Relaxed) && self.boosted.swap(false, Ordering::Relaxed) // ORDERING: as above.
    }

    /// Takes `boost` pages off the boost: what kswapd noted when it began.
    pub fn lower_boost(&self, boost: u32) {
        let now = self.boost();
        // ORDERING: Relaxed: a watermark. Only kswapd lowers; a boost event in between may be lost, as any late one is.
        self.boost.store(now - boost.min(now), Ordering::Relaxed);
    }

    /// `boost_watermark`, so many times: by a page block each, up to a share of the high mark; never in a zone that manages less than four blocks,
    /// however many are free.
    pub(super) fn raise_boost(&self, times: u32) {
        let high = self.config.watermarks[2];
        let most = u64::from(high) * u64::from(self.config.boost_factor) / 10_000;
        let too_small = self.config.managed_pages < 4 * PAGEBLOCK_PAGES;
        // A mark is a number of pages.
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(u32::MAX - high);
        let most = if most == 0 || too_small { 0 } else { most.max(PAGEBLOCK_PAGES) };
        let now = self.boost();
        // ORDERING: Relaxed (both): a watermark and a hint; the buddy's lock is held, so events are one after another.
        self.boost.store(now.saturating_add(times * PAGEBLOCK_PAGES).min(most), Ordering::Relaxed);
        self.boosted.store(most > 0, Ordering::Relaxed); // ORDERING: as above.
    }
}
