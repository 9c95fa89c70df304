//! Anonymous pages that come back (mm/workingset.c): what their shadows say.

use super::{Ctx, System};
use crate::memcg::MemcgStat;

impl System {
    /// `workingset_refault`: a page that comes back before the active lists and the page cache have turned over once belongs on the active
    /// list, which the answer says; without free slots anonymous pages do not compete. Where it had been active when it went
    /// (PG_workingset), its reading is what reclaiming anonymous pages has cost (`lru_note_cost_refault`).
    pub fn workingset_refault(&self, ctx: &mut Ctx, page: u32, in_fault: bool) -> bool {
        if self.lru_gen() {
            self.lru_gen_refault(ctx, page, in_fault);
            return false;
        }
        let (node, folio) = (self.node(page), self.folio(page));
        let (memcg, evictor) = (folio.memcg, folio.evictor() as u16);
        let distance = node.age(evictor).wrapping_sub(folio.shadow());
        let mut lru = node.lru();
        let sizes = lru.sizes(evictor);
        let active = if self.slots.is_exhausted() { 0 } else { sizes.active };
        self.count(ctx, memcg, MemcgStat::WorkingsetRefaultAnon, 1);
        if distance > active + sizes.file() {
            folio.set_workingset(0);
            return false;
        }
        self.count(ctx, memcg, MemcgStat::WorkingsetActivateAnon, 1);
        node.note_activation(memcg, false);
        node.grow_older(memcg, 1);
        if folio.workingset() > 0 {
            self.count(ctx, memcg, MemcgStat::WorkingsetRestoreAnon, 1);
            lru.note_cost(memcg, false, 1, 0);
        }
        true
    }

    /// `lru_gen_refault`: whether its generation is still the oldest is counted; a fault itself makes the page young.
    fn lru_gen_refault(&self, ctx: &mut Ctx, page: u32, in_fault: bool) {
        let memcg = self.folio(page).memcg;
        let recent = self.node(page).age(memcg) == self.folio(page).shadow();
        self.count(ctx, memcg, MemcgStat::WorkingsetRefaultAnon, 1);
        if recent && in_fault {
            self.count(ctx, memcg, MemcgStat::WorkingsetActivateAnon, 1);
            self.count(ctx, memcg, MemcgStat::WorkingsetRestoreAnon, 1);
        }
        if recent && !self.filemap.is_empty() {
            self.node(page).note_refaulted(memcg, false);
        }
    }
}
