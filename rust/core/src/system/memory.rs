//! What an actor takes from the memory budget, and gives back.

use super::{Ctx, StepResult, Store, System};
use crate::mm::Budget;
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::zone::Mark;

impl System {
    /// What `ctx`'s actor takes zspages from: down to the last page with PF_MEMALLOC, else to the min mark.
    #[inline]
    pub fn budget(&self, ctx: &Ctx) -> Budget<'_> {
        Budget { mm: self.mm.as_ref(), cpu: ctx.cpu, mark: if ctx.memalloc { Mark::None } else { Mark::Min } }
    }

    /// A frame for `page` in reclaim's own hands (`__read_swap_cache_async` under PF_MEMALLOC), charged to the page's group whatever
    /// its limits; [`NIL`] without a budget. `None`: there is no memory, and nobody reclaims for it.
    pub fn take_frame(&self, ctx: &Ctx, page: u32) -> Option<u32> {
        let Some(mm) = &self.mm else { return Some(NIL) };
        let frame = mm.take_frame(ctx.cpu, self.budget(ctx).mark)?;
        self.heed_boost();
        self.memcgs.charge(self.folio(page).memcg);
        Some(frame)
    }

    /// Wakes kswapd, if it has anything to do.
    pub fn wakeup_kswapd(&self) {
        let Some(mm) = &self.mm else { return };
        if !self.nodes[0].is_hopeless() && (!mm.zone.is_balanced() || mm.zone.boost() > 0) {
            self.wait.wake_all(WaitKey::Kswapd);
        }
    }

    /// An allocation has what it wanted: if the watermarks were boosted for it, kswapd is to know, if it sleeps.
    pub fn heed_boost(&self) {
        if self.mm.as_ref().is_some_and(|mm| mm.zone.take_boosted()) {
            self.wakeup_kswapd();
        }
    }

    /// The `2^order` frames of a folio of `memcg` go back, and their charge.
    pub fn give_folio(&self, ctx: &Ctx, memcg: u16, first: u32, order: u8) {
        if let Some(mm) = &self.mm {
            self.memcgs.uncharge(memcg, 1 << order);
            mm.give_folio(ctx.cpu, first, order);
        }
    }

    /// `folio_free_swap`: the slots of a resident folio and its copies go. Under the LRU lock.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn drop_swap(&self, ctx: &mut Ctx, head: u32) -> StepResult<()> {
        let nr_pages = self.nr_pages(head);
        self.forget_tails(ctx, head, nr_pages, |page| self.holds(self.folio(page).slot()))?;
        for page in head..head + nr_pages {
            let slot = self.folio(page).slot();
            match &self.store {
                Store::Zswap(zswap) => zswap.invalidate(slot, &self.memcgs, &self.budget(ctx)),
                Store::Zram(zram) if self.mm.is_none() => zram.free(slot, &self.budget(ctx)),
                Store::Zram(_) => {}
            }
            self.free_slot(ctx, page);
        }
        Ok(())
    }

    /// A slot for each page of a folio, in a row; false: there are none.
    pub fn alloc_slots(&self, ctx: &Ctx, head: u32) -> bool {
        let (folio, nr_pages) = (self.folio(head), self.nr_pages(head));
        let first = if nr_pages == 1 { self.slots.alloc_on(ctx.cpu) } else { self.slots.alloc_run(folio.order) };
        let Some(first) = first else { return false };
        (0..nr_pages).for_each(|at| self.folio(head + at).set_slot(first + at));
        true
    }

    /// Gives up the slots of a folio.
    pub fn free_slots(&self, ctx: &Ctx, head: u32) {
        (head..head + self.nr_pages(head)).for_each(|page| self.free_slot(ctx, page));
    }

    /// Gives up the slot of `page`: to the CPU's cache, and with the 64th really, copies and all.
    pub fn free_slot(&self, ctx: &Ctx, page: u32) {
        let folio = self.folio(page);
        let slot = folio.slot();
        folio.set_slot(NIL);
        self.slots.free_on(ctx.cpu, slot, |slot, leaf| {
            if let Store::Zram(zram) = &self.store {
                zram.free(slot, &self.budget(ctx));
            }
            if let Some(mm) = self.mm.as_ref().filter(|_| leaf) {
                mm.give_leaf(ctx.cpu);
            }
        });
    }
}
