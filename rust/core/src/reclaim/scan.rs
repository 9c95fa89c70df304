//! What a reclaim wants and what it has (mm/vmscan.c), and the times that its throttles count in.

use super::list::Scope;
use crate::system::{Outcome, System, Waiting};
use crate::wait::WaitKey;
use std::num::NonZeroU32;

/// The first priority: a pass takes 1/4096 of each list.
pub const DEF_PRIORITY: u8 = 12;

/// HZ/10, and the tick of HZ 250, in nanoseconds.
pub(super) const HZ_10_NS: u64 = 100_000_000;
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
}

impl ScanControl {
    /// Whether anonymous pages can be reclaimed: it is allowed, wanted (`swappiness`), and there are free slots.
    pub fn can_reclaim_anon_pages(&self, sys: &System) -> bool {
        let wanted = sys.config.memory.is_some_and(|memory| memory.swappiness > 0);
        self.may_swap && wanted && !sys.slots.is_exhausted()
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
    match super::wait_unless(sys, key, ready) {
        Outcome::Wait(wait) => Outcome::Wait(Waiting { timeout_ns: Some(timeout_ns), ..wait }),
        other => other,
    }
}
