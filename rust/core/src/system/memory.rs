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
