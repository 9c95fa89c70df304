//! What an actor takes from the memory budget, and gives back.

use super::{Ctx, Store, System};
use crate::mm::Budget;
use crate::units::NIL;
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
        self.memcgs.charge(self.folio(page).memcg);
        Some(frame)
    }

    /// A frame of `page` goes back, and its charge.
    pub fn give_frame(&self, ctx: &Ctx, page: u32, frame: u32) {
        if let Some(mm) = &self.mm {
            self.memcgs.uncharge(self.folio(page).memcg, 1);
            mm.give_frames(ctx.cpu, &[frame]);
        }
    }

    /// `folio_free_swap`: the slot of a resident page and its copy go. Under the LRU lock.
    pub fn drop_swap(&self, ctx: &Ctx, page: u32) {
        let slot = self.folio(page).slot();
        match &self.store {
            Store::Zswap(zswap) => zswap.invalidate(slot, &self.memcgs, &self.budget(ctx)),
            Store::Zram(zram) if self.mm.is_none() => zram.free(slot, &self.budget(ctx)),
            Store::Zram(_) => {}
        }
        self.free_slot(ctx, page);
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
