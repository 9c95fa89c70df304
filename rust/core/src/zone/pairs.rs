//! Chunks of two pages on a CPU's own list: what slabs of two pages take, and nothing else.
//!
//! The kernel keeps per-CPU lists for each order up to 3 (PAGE_ALLOC_COSTLY_ORDER). So when no page is free, and zspages of several
//! pages fail, there may still be room for leaves of the swap cache's tree: writes fail then, and inserts later. Source: observed in a
//! guest, Linux 6.12.117 (docs/fidelity.md): 10 pages of reclaimable slabs more in 20 ms in which not one zspage was made.

use super::{Mark, Migrate, Pcp, SCALE_MAX, Zone};

impl Zone {
    /// Two unmovable pages in a row, by way of the CPU's own list of such: where it has none, half a batch comes out of the buddy lists.
    pub fn take_pair(&self, cpu: u16, mark: Mark) -> Option<u32> {
        if !self.watermark_ok(mark) {
            return None;
        }
        let mut pcp = self.pcp(cpu).lock();
        if pcp.pairs.is_empty() {
            self.refill_pairs(&mut pcp);
        }
        let first = pcp.pairs.head()?;
        pcp.pairs.del(&self.map.pages, first);
        Some(first)
    }

    fn refill_pairs(&self, pcp: &mut Pcp) {
        let mut buddy = self.buddy.lock_within();
        let mut taken = 0;
        while taken < (self.config.pcp_batch / 2).max(2)
            && let Some((first, boosts)) = buddy.0.take(&self.map, Migrate::Unmovable, 1)
        {
            taken += 1;
            pcp.pairs.add_tail(&self.map.pages, first);
            self.note_boost(&mut buddy.1, boosts);
        }
        buddy.1.least_free_pages = buddy.1.least_free_pages.min(buddy.0.free_pages());
        drop(buddy);
        self.fold(pcp, -2 * i64::from(taken));
    }

    /// The pages of [`Zone::take_pair`] come back as they are.
    pub fn give_pair(&self, cpu: u16, first: u32) {
        let mut pcp = self.pcp(cpu).lock();
        pcp.alloc_factor /= 2;
        pcp.free_count = (pcp.free_count + 2).min(self.config.pcp_batch << SCALE_MAX);
        pcp.pairs.add_head(&self.map.pages, first);
        self.spill_above_high(&mut pcp, Migrate::Unmovable);
    }
}
