//! What a look does to the later pages of a large folio.

use super::{Glance, Look, Pc, SCANNED};
use crate::lifecycle::{Change, Event, State, guard};
use crate::memcg::MemcgStat;
use crate::stats::Mthp;
use crate::system::{Ctx, StepResult, System};
use std::ops::Range;

impl Look {
    /// Pages that it is about.
    pub fn nr_pages(&self) -> u32 {
        self.nr_pages
    }

    /// Pages that were split off and are still to be looked at, each isolated.
    pub fn split_off(&self) -> Range<u32> {
        if self.nr_pages == self.had_pages { 0..0 } else { self.page + 1..self.page + self.had_pages }
    }

    /// `split_folio_to_list`: the first page goes on alone, the others come after it.
    pub(super) fn split(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Glance> {
        sys.split_folio(ctx, self.page)?;
        ctx.stat.count_mthp(sys.folio(self.page).order, Mthp::SwpoutFallback);
        if sys.is_pmd_mappable(self.page) {
            sys.count(ctx, sys.folio(self.page).memcg, MemcgStat::ThpSwpoutFallback, 1);
        }
        (self.nr_pages, self.pc) = (1, Pc::First);
        Ok(SCANNED)
    }

    /// The later pages of a large folio, each with its copy a page of its own from now on.
    pub(super) fn free_tails(&self, sys: &System, ctx: &mut Ctx, state: State) -> StepResult<()> {
        if self.nr_pages == 1 {
            return Ok(());
        }
        let (event, guards) = match state {
            State::ZeroFilled => (Event::Zero, 0),
            State::Compressed => (Event::Reclaim, guard::IN_POOL),
            _ => (Event::Reclaim, 0),
        };
        sys.fire_tails(ctx, self.page, self.nr_pages, event, guards, Change::NONE)
    }

    /// `workingset_eviction`: what a refault of each page compares with.
    pub(super) fn leave_shadows(&self, sys: &System) {
        let node = sys.node(self.page);
        let evictor = self.scope.top();
        for page in self.page..self.page + self.nr_pages {
            sys.folio(page).set_shadow(node.age(evictor));
            sys.folio(page).set_evictor(evictor.into());
            sys.folio(page).set_workingset(sys.folio(self.page).workingset());
        }
    }

    /// What the node remembers of the pages that are gone: that the group from which reclaim began is older by them, and those above it,
    /// or that their generation has lost them.
    pub(super) fn note_evicted(&self, sys: &System, memcg: u16) {
        match sys.mm {
            Some(_) if !sys.lru_gen() => sys.node(self.page).grow_older(self.scope.top(), self.nr_pages),
            Some(_) if !sys.filemap.is_empty() => sys.node(self.page).note_evicted(memcg, false, self.nr_pages),
            _ => {}
        }
    }
}
