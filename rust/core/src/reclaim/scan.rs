//! What a reclaim wants and what it has (mm/vmscan.c), and the times that its throttles count in.

use super::evict::MIN_LRU_BATCH;
use super::list::Scope;
use crate::system::{Outcome, System, Waiting};
use crate::wait::WaitKey;
use std::num::NonZeroU32;

/// The first priority: a pass takes 1/4096 of each list.
pub const DEF_PRIORITY: u8 = 12;

/// HZ/10, and the tick of HZ 250, in nanoseconds.
pub(super) const HZ_10_NS: NonZeroU32 = NonZeroU32::new(100_000_000).expect("a tenth of a second");
pub(super) const TICK_NS: u64 = 4_000_000;

/// What a reclaim wants and what it has (`struct scan_control`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScanControl {
    pub priority: u8,
    pub nr_to_reclaim: u32,
    pub nr_reclaimed: u32,
    /// Pages looked at at this priority.
    pub nr_scanned: u32,
    pub scope: Scope,
    /// Every group is visited, even when enough was reclaimed.
    pub full_walk: bool,
    /// What `memory.low` protects is reclaimed as well.
    pub low_reclaim: bool,
    /// Something was left alone for `memory.low`.
    pub low_skipped: bool,
    /// Anonymous pages may be reclaimed at all.
    pub may_swap: bool,
    pub force_deactivate: bool,
    /// The active list was left alone where it might have been scanned.
    pub skipped_deactivate: bool,
    /// There is inactive page cache enough for this pass, and it alone gives way.
    pub cache_trim_mode: bool,
    /// That got nowhere in some pass.
    pub cache_trim_mode_failed: bool,
    /// It is not tried again.
    pub no_cache_trim_mode: bool,
}

impl ScanControl {
    /// Whether anonymous pages can be reclaimed: it is allowed, and there are free slots.
    pub fn can_reclaim_anon_pages(&self, sys: &System) -> bool {
        self.may_swap && !sys.slots.is_exhausted()
    }

    /// `get_swappiness` of the multi-gen LRU, 0 where none can be reclaimed: there are not even slots for a batch.
    pub fn swappiness(&self, sys: &System) -> u32 {
        let swappiness = sys.config.memory.map_or(0, |memory| memory.swappiness);
        if self.may_swap && sys.slots.free_slots() >= MIN_LRU_BATCH { swappiness } else { 0 }
    }

    pub fn new(nr_to_reclaim: u32, scope: Scope) -> Self {
        Self {
            priority: DEF_PRIORITY,
            nr_to_reclaim,
            nr_reclaimed: 0,
            nr_scanned: 0,
            scope,
            full_walk: false,
            low_reclaim: false,
            low_skipped: false,
            may_swap: true,
            force_deactivate: false,
            skipped_deactivate: false,
            cache_trim_mode: false,
            cache_trim_mode_failed: false,
            no_cache_trim_mode: false,
        }
    }
}

/// A wait that ends by itself after `timeout_ns`.
pub(super) fn wait_at_most(
    sys: &System,
    key: WaitKey,
    timeout_ns: NonZeroU32,
    ready: impl FnOnce() -> bool,
) -> Outcome {
    match Outcome::wait_unless(&sys.wait, key, ready) {
        Outcome::Wait(wait) => Outcome::Wait(Waiting { timeout_ns: Some(timeout_ns), ..wait }),
        other => other,
    }
}
