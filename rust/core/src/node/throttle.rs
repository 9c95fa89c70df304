//! What kswapd remembers of writes that do not end (PGDAT_WRITEBACK), and how long it waits for them (VMSCAN_THROTTLE_WRITEBACK).

use super::Node;
use crate::sync::{AtomicBool, AtomicU32, Ordering};
use crate::units::SWAP_CLUSTER_MAX;

/// Of one node.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    all_writeback: AtomicBool,
    /// Pages whose writes are still to end before a throttled kswapd goes on; 0: it is not.
    left: AtomicU32,
}

impl Node {
    /// PGDAT_WRITEBACK: a scan met nothing but pages under writeback.
    pub fn all_writeback(&self) -> bool {
        // ORDERING: Relaxed: a hint to throttle.
        self.throttle.all_writeback.load(Ordering::Relaxed)
    }

    /// Sets PGDAT_WRITEBACK.
    pub fn set_all_writeback(&self, set: bool) {
        // ORDERING: Relaxed: as above.
        self.throttle.all_writeback.store(set, Ordering::Relaxed);
    }

    /// kswapd waits until the writes of more than 32 pages have ended.
    pub fn throttle(&self) {
        // ORDERING: Relaxed: a number of pages; the wait table orders what matters.
        self.throttle.left.store(SWAP_CLUSTER_MAX as u32 + 1, Ordering::Relaxed);
    }

    /// Whether it has still to wait.
    pub fn is_throttled(&self) -> bool {
        // ORDERING: Relaxed: as above.
        self.throttle.left.load(Ordering::Relaxed) > 0
    }

    /// `acct_reclaim_writeback`: the writes of `pages` pages have ended; whether that was the last that kswapd waits for.
    #[inline]
    pub fn note_written(&self, pages: u32) -> bool {
        let less = |left: u32| (left > 0).then(|| left.saturating_sub(pages));
        // ORDERING: Relaxed (both): as above.
        self.is_throttled()
            && self
                .throttle
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_ok_and(|left| left <= pages)
    }
}

#[cfg(all(test, not(any(kcompressd_loom, kcompressd_shuttle))))]
mod tests {
    use super::*;
    use crate::memcg::Memcgs;

    #[test]
    fn more_than_32_writes_that_end_let_a_throttled_kswapd_go_on_once() {
        let node = Node::new(&Memcgs::default(), true, false);
        assert!(!node.note_written(100), "nobody waits");
        node.throttle();
        assert!(!node.note_written(32) && node.is_throttled());
        assert!(node.note_written(5) && !node.is_throttled());
        assert!(!node.note_written(5));
    }
}
