//! Chunks of two pages on a CPU's own list: what slabs of two pages take, and nothing else.
//!
//! The kernel keeps per-CPU lists for each order up to 3 (PAGE_ALLOC_COSTLY_ORDER). So when no page is free, and zspages of several
//! pages fail, there may still be room for leaves of the swap cache's tree: writes fail then, and inserts later. Source: observed in a
//! guest, Linux 6.12.117 (docs/fidelity.md): 10 pages of reclaimable slabs more in 20 ms in which not one zspage was made.

use super::{Mark, Migrate, Pcp, Zone};

impl Zone {
    /// Two unmovable pages in a row, by way of the CPU's own list of such: where it has none, half a batch comes out of the buddy lists.
    pub fn take_pair(&self, cpu: u16, mark: Mark) -> Option<u32> {
        if !self.watermark_ok(mark) {
            return None;
        }
        let mut pcp = self.pcp(cpu).lock();
        pcp.free_count /= 2;
        if pcp.pairs.is_empty() {
            self.refill_pairs(&mut pcp);
        }
        let first = pcp.pairs.head()?;
        pcp.pairs.del(&self.map.pages, first);
        Some(first)
    }

    fn refill_pairs(&self, pcp: &mut Pcp) {
        let want = self.nr_pcp_alloc(pcp, 1);
        let taken = self.take_bulk(&mut pcp.pairs, Migrate::Unmovable, 1, want);
        self.fold(pcp, -2 * i64::from(taken));
    }

    /// The pages of [`Zone::take_pair`] come back as they are.
    pub fn give_pair(&self, cpu: u16, first: u32) {
        let mut pcp = self.pcp(cpu).lock();
        pcp.pairs.add_head(&self.map.pages, first);
        self.note_freed(&mut pcp, Pcp::PAIRS, 2);
    }
}
