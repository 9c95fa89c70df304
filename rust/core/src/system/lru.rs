//! Pages on their way to and between the LRU lists (mm/swap.c).

use super::{Ctx, StepResult, System};
use crate::lifecycle::{Change, Event, Fire, flag};
use crate::node::Place;

/// Pages that a CPU gathers before it takes the LRU lock (PAGEVEC_SIZE, include/linux/pagevec.h).
pub const PAGEVEC_SIZE: usize = 31;

impl System {
    /// Moves finished folios to the inactive tail (`folio_rotate_reclaimable`): only those still listed, unlocked and
    /// clean that PG_reclaim marks.
    ///
    /// # Errors
    /// [`StepError::Violation`](super::StepError::Violation).
    pub fn rotate(&self, ctx: &mut Ctx, node: u8, pages: &[u32]) -> StepResult<()> {
        let change = Change::flags(0, flag::RECLAIM | flag::ACTIVE)
            .only(flag::RECLAIM | flag::LRU)
            .unless(flag::LOCKED | flag::DIRTY | flag::WRITEBACK);
        let mut lru = self.nodes[usize::from(node)].lru();
        for &page in pages {
            let folio = self.folio(page);
            if let Fire::Done(fired) = self.fire(ctx, folio, Event::Rotate, 0, change, 0)? {
                lru.of(folio.memcg).relocate(&self.folios, page, fired.from.has(flag::ACTIVE), false, true);
                ctx.stat[crate::stats::Vm::Pgrotated] += u64::from(folio.nr_pages());
            }
        }
        Ok(())
    }

    /// Adds a folio that is on no list to the head of the list its PG_active asks for.
    fn add_lru(&self, ctx: &mut Ctx, page: u32) -> StepResult<()> {
        let mut lru = self.node(page).lru();
        self.must(ctx, self.folio(page), Event::Putback, 0, Change::flags(flag::LRU, 0), 0)?;
        let active = self.folio(page).word.load().has(flag::ACTIVE);
        lru.of(self.folio(page).memcg).add(&self.folios, page, Place::of(active));
        Ok(())
    }

    /// `folio_add_lru`: puts a page on `ctx`'s CPU's way to the lists; the 31st takes them all there. Without a memory budget there is no
    /// such batch.
    ///
    /// # Errors
    /// [`StepError::Violation`](super::StepError::Violation).
    pub fn folio_add_lru(&self, ctx: &mut Ctx, page: u32) -> StepResult<()> {
        if self.mm.is_none() {
            return self.add_lru(ctx, page);
        }
        let mut batch = self.lru_add[usize::from(ctx.cpu) % self.lru_add.len()].lock();
        batch.push(page);
        if batch.len() < PAGEVEC_SIZE { Ok(()) } else { self.drain_batch(ctx, &mut batch) }
    }

    /// `lru_add_drain`: the pages of `ctx`'s CPU go to the heads of their lists.
    ///
    /// # Errors
    /// [`StepError::Violation`](super::StepError::Violation).
    pub fn lru_add_drain(&self, ctx: &mut Ctx) -> StepResult<()> {
        self.lru_add_drain_cpu(ctx, ctx.cpu)
    }

    /// The same for any CPU.
    ///
    /// # Errors
    /// [`StepError::Violation`](super::StepError::Violation).
    pub fn lru_add_drain_cpu(&self, ctx: &mut Ctx, cpu: u16) -> StepResult<()> {
        self.drain_batch(ctx, &mut self.lru_add[usize::from(cpu) % self.lru_add.len()].lock())
    }

    fn drain_batch(&self, ctx: &mut Ctx, batch: &mut Vec<u32>) -> StepResult<()> {
        let Some(&first) = batch.first() else { return Ok(()) };
        let mut lru = if self.filemap.has(first) { self.nodes[0].lru() } else { self.node(first).lru() };
        for page in batch.drain(..) {
            if self.filemap.has(page) {
                lru.of(self.memcg_of(page)).add_file(self.filemap.folios(), self.filemap.index(page));
                continue;
            }
            // A page may have been given up on its way.
            let change = Change::flags(flag::LRU, 0).only(flag::FRAME).unless(flag::LRU);
            if let Fire::Done(fired) = self.fire(ctx, self.folio(page), Event::Putback, 0, change, 0)? {
                // From a fault, which has mapped it: to the youngest generation, where there are some.
                let young = if self.lru_gen() { flag::MAPPED } else { flag::ACTIVE };
                lru.of(self.folio(page).memcg).add(&self.folios, page, Place::of(fired.to.has(young)));
            }
        }
        Ok(())
    }
}
