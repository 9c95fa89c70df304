//! A batch of the oldest generation: how it is isolated, and where what is kept of it goes (multi-gen LRU).

use super::{Batch, Scope, ShrinkList, note};
use crate::lifecycle::{Change, Event, flag};
use crate::memcg::MemcgStat;
use crate::node::Lru;
use crate::reclaim::evict::{MAX_LRU_BATCH, MIN_LRU_BATCH, place_of};
use crate::system::{Ctx, StepError, System};

impl ShrinkList {
    /// The oldest generation's turn: what is in use or waits for a write is sorted away, the rest isolated, folio by folio until there
    /// are 64 pages.
    pub(super) fn scan_folios(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        lru: &mut Lru,
        scope: Scope,
    ) -> Result<(), Box<StepError>> {
        let mut sorted = 0;
        let Some(generations) = &mut lru.of(self.memcg).generations else { return Ok(()) };
        for _ in 0..MAX_LRU_BATCH {
            let Some(page) = generations.oldest().filter(|_| self.tally.taken < MIN_LRU_BATCH) else { break };
            let nr_pages = sys.nr_pages(page);
            self.tally.examined += nr_pages;
            let word = sys.folio(page).word.load();
            if generations.is_promoted(&sys.folios, page) || word.has(flag::LOCKED) || word.has(flag::WRITEBACK) {
                generations.sort(&sys.folios, page);
                sorted += u64::from(nr_pages);
                continue;
            }
            if word.has(flag::ACTIVE) {
                sys.must(ctx, page, Event::Deactivate, 0, Change::flags(0, flag::ACTIVE), 0)?;
            }
            sys.must(ctx, page, Event::Isolate, 0, Change::flags(0, flag::LRU).only(flag::LRU), 0)?;
            generations.del(&sys.folios, page);
            self.list.push(page);
            self.tally.taken += nr_pages;
        }
        self.tally.examined += u32::from(generations.try_to_inc_min_seq());
        sys.nodes[usize::from(self.node)].set_age(self.memcg, generations.min_seq());
        note(sys, ctx, scope.target, self.memcg, MemcgStat::Pgrefill, sorted);
        Ok(())
    }

    /// The kept ones of `evict_folios` go to their generations; those that became clean meanwhile, and so missed their rotation, are looked
    /// at once more. Whether there are any.
    pub(super) fn sort_kept(&mut self, sys: &System, ctx: &mut Ctx, lru: &mut Lru) -> Result<bool, Box<StepError>> {
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
    ) -> Result<Batch, Box<StepError>> {
        let mut clean = Batch::default();
        for &page in self.kept.as_slice() {
            let word = &sys.folio(page).word;
            let Some(place) = place_of(word.load().flags(), again) else {
                clean.push(page);
                continue;
            };
            sys.must(ctx, page, Event::Putback, 0, Change::flags(flag::LRU, 0), 0)?;
            word.test_and_clear(flag::REFERENCED);
            lru.of(self.memcg).add(&sys.folios, page, place);
        }
        self.kept.clear();
        Ok(clean)
    }
}
