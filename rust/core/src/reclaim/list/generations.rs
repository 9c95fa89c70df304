//! A batch of the oldest generation: how it is isolated, and where what is kept of it goes (multi-gen LRU).

use super::{Batch, Scope, ShrinkList, note};
use crate::lifecycle::{Change, Event, Word, flag};
use crate::memcg::MemcgStat;
use crate::node::{Generations, Lru, MIN_NR_GENS};
use crate::reclaim::evict::{MAX_LRU_BATCH, MIN_LRU_BATCH, place_of};
use crate::system::{Ctx, StepResult, System};

impl ShrinkList {
    /// The oldest generation's turn; a generation that it emptied counts as one page examined (`isolate_folios`, `try_to_inc_min_seq`).
    pub(super) fn isolate_folios(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        lru: &mut Lru,
        scope: Scope,
    ) -> StepResult<()> {
        let Some(generations) = &mut lru.of(self.memcg).generations else { return Ok(()) };
        self.scan_folios(sys, ctx, generations, scope)?;
        self.tally.examined += try_to_inc_min_seq(sys, generations, self.memcg);
        if generations.nr_gens() <= MIN_NR_GENS {
            self.tally.examined = 0; // The last cold ones: the turn ends with them.
        }
        Ok(())
    }

    /// What is in use is sorted away, the rest isolated, folio by folio until there are 64 pages, or as many that may not be isolated. Where
    /// none is isolated of all that was left, it does not count as examined.
    fn scan_folios(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        generations: &mut Generations,
        scope: Scope,
    ) -> StepResult<()> {
        let (mut sorted, mut skipped, mut remaining) = (0, 0, MAX_LRU_BATCH);
        while remaining > 0 && self.tally.taken.max(skipped) < MIN_LRU_BATCH {
            let Some(page) = generations.oldest() else { break };
            let folio = sys.folio(page);
            let (nr_pages, word) = (folio.nr_pages(), folio.word.load());
            self.tally.examined += nr_pages;
            remaining -= 1;
            if generations.is_promoted(&sys.folios, page) {
                generations.sort(&sys.folios, page);
                sorted += u64::from(nr_pages);
            } else if !scope.may_io && is_swap_constrained(word) {
                generations.skip(&sys.folios, page);
                skipped += nr_pages;
            } else {
                if word.has(flag::ACTIVE) {
                    sys.must(ctx, folio, Event::Deactivate, 0, Change::flags(0, flag::ACTIVE), 0)?;
                }
                sys.must(ctx, folio, Event::Isolate, 0, Change::flags(0, flag::LRU).only(flag::LRU), 0)?;
                generations.del(&sys.folios, page);
                self.list.push(page);
                self.tally.taken += nr_pages;
            }
        }
        self.tally.passed = MAX_LRU_BATCH - remaining - self.list.len() as u32;
        if self.tally.taken == 0 && remaining > 0 {
            self.tally.examined = 0;
        }
        note(sys, ctx, scope.target, self.memcg, MemcgStat::Pgrefill, sorted);
        Ok(())
    }

    /// The kept ones of `evict_folios` go to their generations; those that became clean meanwhile, and so missed their rotation, are looked
    /// at once more. Whether there are any.
    pub(super) fn sort_kept(&mut self, sys: &System, ctx: &mut Ctx, lru: &mut Lru) -> StepResult<bool> {
        self.list = self.list_by_generation(sys, ctx, lru, self.again)?;
        self.again = true;
        Ok(!self.list.is_empty())
    }

    /// Lists the kept ones but those that deserve a second look, which it returns; after one, or where a split folio's pages are too
    /// many to hold, none does.
    pub(super) fn list_by_generation(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        lru: &mut Lru,
        again: bool,
    ) -> StepResult<Batch> {
        let mut clean = Batch::default();
        for &page in self.kept.as_slice() {
            let folio = sys.folio(page);
            let Some(place) = place_of(folio.word.load().flags(), again) else {
                clean.push(page);
                continue;
            };
            sys.must(ctx, folio, Event::Putback, 0, Change::flags(flag::LRU, 0), 0)?;
            folio.word.test_and_clear(flag::REFERENCED);
            lru.of(self.memcg).add(&sys.folios, page, place);
        }
        self.kept.clear();
        Ok(clean)
    }
}

/// Passes over empty generations (`try_to_inc_min_seq`): 1 if there were any, counted as examined, else 0.
pub(in crate::reclaim) fn try_to_inc_min_seq(sys: &System, generations: &mut Generations, memcg: u16) -> u32 {
    let (node, changed) = (&sys.nodes[0], generations.try_to_inc_min_seq());
    for (changed, file) in changed.into_iter().zip([false, true]) {
        if changed {
            node.reset_control(memcg, file);
        }
    }
    node.set_age(memcg, generations.min_seq());
    u32::from(changed.contains(&true))
}

/// Whether a page has to be written or added to the swap cache first, which nobody may do without `__GFP_IO`.
fn is_swap_constrained(word: Word) -> bool {
    word.has(flag::DIRTY) || !word.has(flag::SWAPCACHE)
}
