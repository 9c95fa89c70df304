//! Eviction and aging under the multi-gen LRU: `try_to_shrink_lruvec`, `get_nr_to_scan`, `try_to_inc_max_seq`, `evict_folios` (mm/vmscan.c).
//!
//! Aging walks the group's page tables, those where the last walk or eviction found pages young; what is young belongs to the youngest
//! generation from then on, and a new one is opened. Eviction takes from the oldest, up to 64 pages at once; a page that it finds young after
//! all takes the young ones of the 64 around it with it (`lru_gen_look_around`), and has the next walk look there. So pages in tables that
//! are new since the last walk are met young, once, as on the classic lists.
//! A large folio has one accessed bit for all of its pages: where it is young, a walk counts every page of it as young.
//! Source: Documentation/mm/multigen_lru.rst; observed on 6.12 (docs/kernel-map.md). Differences: the accessed bits of page directories
//! are not modelled, but of those that map a folio; page-cache pages that were read once go first, those of mappings have generations of their
//! own (`node::file_gens`), and what a walk finds young of them changes lists at once. Tiers are left out because they never protect an
//! anonymous page: isolation clears what would put it into one.

use super::file::{ShrinkFile, make_young as make_file_young};
use super::list::{ShrinkList, Tally};
use super::scan::{DEF_PRIORITY, ScanControl};
use super::{RAN, SCANNED};
use crate::lifecycle::flag;
use crate::node::{Generations, Lru, MIN_NR_GENS, Node, PTRS_PER_PTE, Place, suitable_to_scan};
use crate::system::{Ctx, Outcome, StepResult, System, Work, mark};
use std::ops::Range;

/// MIN_LRU_BATCH: isolated at once.
pub(super) const MIN_LRU_BATCH: u32 = 64;
/// MAX_LRU_BATCH: examined for that.
pub(super) const MAX_LRU_BATCH: u32 = 64 * MIN_LRU_BATCH;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Pc {
    #[default]
    Decide,
    Walk {
        seq: u32,
        at: u32,
    },
    Evict,
    /// Of page cache.
    EvictFile,
}

/// What became of a step.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    /// There is more to do.
    GoesOn,
    /// Page-cache pages to free first.
    File(u32),
    /// The group is done with, and has `aged` or not.
    Done { aged: bool },
}

/// A group's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EvictFolios {
    pc: Pc,
    /// Examined so far, and how many there are to be: decided again before each batch.
    scanned: u32,
    nr_to_scan: u32,
    /// Freed in this turn, and by this reclaim before.
    pub reclaimed: u32,
    before: u32,
}

/// The last step of a turn.
const DONE: (Outcome, Evicted) = (RAN, Evicted::Done { aged: false });

impl EvictFolios {
    /// A turn in a reclaim that has freed `before` pages.
    pub fn new(before: u32) -> Self {
        Self { before, ..Self::default() }
    }

    /// One step of the turn of `batch`'s group.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        sc: &mut ScanControl,
        (batch, file): (&mut ShrinkList, &mut Option<Box<ShrinkFile>>),
    ) -> StepResult<(Outcome, Evicted)> {
        let node = &sys.nodes[0];
        match self.pc {
            Pc::Decide => Ok(self.decide(sys, ctx, node, sc, batch.memcg)),
            Pc::Walk { seq, at } => Ok(self.walk(sys, ctx, node, batch.memcg, (seq, at))),
            Pc::Evict => {
                let outcome = batch.step(sys, ctx, MIN_LRU_BATCH, None, sc.scope)?;
                if outcome != Outcome::Done {
                    return Ok((outcome, Evicted::GoesOn));
                }
                let tally = batch.take_tally();
                Ok(self.evicted(sys, ctx, sc, tally))
            }
            Pc::EvictFile => {
                let file = file.get_or_insert_default();
                let outcome = file.step(sys, ctx, batch.memcg, MIN_LRU_BATCH, sc.scope);
                if outcome != Outcome::Done {
                    return Ok((outcome, Evicted::GoesOn));
                }
                let tally = file.take_tally();
                Ok(self.evicted(sys, ctx, sc, tally))
            }
        }
    }

    /// A batch has ended.
    fn evicted(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl, tally: Tally) -> (Outcome, Evicted) {
        self.reclaimed += tally.freed;
        sc.nr_scanned += tally.scanned;
        ctx.marks |= mark::COND_RESCHED;
        self.pc = Pc::Decide;
        let ended = self.has_ended(sys, ctx, sc, tally.examined);
        (Outcome::Ran(Work::PassOver(tally.passed as u16)), if ended { DONE.1 } else { Evicted::GoesOn })
    }

    /// What comes next: page cache, aging, a batch, or the end of the turn (`get_nr_to_scan`).
    fn decide(&mut self, sys: &System, ctx: &Ctx, node: &Node, sc: &ScanControl, memcg: u16) -> (Outcome, Evicted) {
        let mut lru = node.lru();
        let lruvec = lru.of(memcg);
        let anon = sc.swappiness(sys) > 0;
        let (sizes, file) = (lruvec.sizes(), lruvec.read_once);
        let Some(generations) = lruvec.generations.as_mut() else { return DONE };
        let ages = if anon { generations.should_run_aging(file) } else { generations.should_age_file(file) };
        if ages && sc.priority < DEF_PRIORITY {
            let Some(seq) = generations.begin_walk() else {
                generations.make_room_for_file(sys.filemap.folios());
                generations.inc_max_seq(&sys.folios);
                return (RAN, Evicted::Done { aged: true });
            };
            self.pc = Pc::Walk { seq, at: if anon { 0 } else { (sys.folios.len() as u32).div_ceil(PTRS_PER_PTE) } };
            return (RAN, Evicted::GoesOn);
        }
        let all = match anon {
            true if generations.nr_gens() <= MIN_NR_GENS && file == 0 => 0,
            true => sizes.total(),
            false => sizes.file(),
        };
        self.nr_to_scan = all >> sc.priority;
        if self.nr_to_scan == 0 {
            return DONE;
        }
        if file == 0 {
            self.pc = if evicts_file(sys, sc, generations, memcg) { Pc::EvictFile } else { Pc::Evict };
            return (RAN, Evicted::GoesOn);
        }
        let pages = file.min(MIN_LRU_BATCH);
        lruvec.read_once -= pages;
        drop(lru);
        self.reclaimed += pages;
        let _ = self.has_ended(sys, ctx, sc, pages);
        (SCANNED, Evicted::File(pages))
    }

    /// Whether that was enough, a batch of `examined` pages later: nothing was found, or all that was to be, or what reclaim wants is there.
    fn has_ended(&mut self, sys: &System, ctx: &Ctx, sc: &ScanControl, examined: u32) -> bool {
        self.scanned += examined;
        examined == 0 || self.scanned >= self.nr_to_scan || self.should_abort_scan(sys, ctx, sc)
    }

    /// `should_abort_scan`: what reclaim wants is there; a group's own reclaim goes on, for fairness.
    pub fn should_abort_scan(&self, sys: &System, ctx: &Ctx, sc: &ScanControl) -> bool {
        let balanced = || sys.mm.as_ref().is_some_and(|mm| mm.zone.free_pages() > mm.zone.wmark(2) + MIN_LRU_BATCH);
        let enough = || self.before + self.reclaimed >= sc.nr_to_reclaim || ctx.current_is_kswapd() && balanced();
        sc.scope.is_root_reclaim() && enough()
    }

    /// `try_to_inc_max_seq`: one page table a step; after the last a new generation, and the turn has ended.
    fn walk(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        node: &Node,
        memcg: u16,
        (seq, at): (u32, u32),
    ) -> (Outcome, Evicted) {
        let mut lru = node.lru();
        let Some(generations) = &mut lru.of(memcg).generations else { return DONE };
        if generations.max_seq() != seq {
            return DONE; // Another walker has opened it.
        }
        ctx.marks |= mark::COND_RESCHED;
        let tables = (sys.folios.len() as u32).div_ceil(PTRS_PER_PTE);
        let files = tables + (sys.filemap.folios().len() as u32).div_ceil(PTRS_PER_PTE);
        if let Some(table) = (at..tables).find(|&table| generations.is_walked(table) || is_huge(sys, table)) {
            let young = make_young(sys, generations, memcg, entries_of(sys, table));
            if suitable_to_scan(PTRS_PER_PTE, young) && !is_huge(sys, table) {
                generations.walk_again(table);
            }
            self.pc = Pc::Walk { seq, at: table + 1 };
            return (SCANNED, Evicted::GoesOn);
        }
        if let Some(table) = (at.max(tables)..files).find(|&table| generations.is_walked(table)) {
            let first = (table - tables) * PTRS_PER_PTE;
            let last = (first + PTRS_PER_PTE).min(sys.filemap.folios().len() as u32);
            if suitable_to_scan(PTRS_PER_PTE, make_file_young(sys, generations, memcg, first..last)) {
                generations.walk_again(table);
            }
            self.pc = Pc::Walk { seq, at: table + 1 };
            return (SCANNED, Evicted::GoesOn);
        }
        generations.make_room_for_file(sys.filemap.folios());
        generations.inc_max_seq(&sys.folios);
        node.set_age(memcg, generations.min_seq());
        (SCANNED, Evicted::Done { aged: true })
    }
}

/// Whether the next batch is of page cache: of the kind whose oldest generation is older, else of the one whose evicted pages come back less
/// (`isolate_folios`, `get_type_to_scan`); and of the other if that has nothing old. Without
/// swappiness there is no other.
fn evicts_file(sys: &System, sc: &ScanControl, generations: &Generations, memcg: u16) -> bool {
    let swappiness = sc.swappiness(sys);
    let wanted = match swappiness {
        0 => return true,
        _ if generations.min_seq() < generations.file_min_seq() => false,
        1 => true,
        200 => false,
        _ => !sc.scope.may_io || sys.nodes[0].prefers_file(memcg, swappiness),
    };
    generations.has_old_file() && (wanted || generations.oldest().is_none())
}

/// The pages of a page table.
fn entries_of(sys: &System, table: u32) -> Range<u32> {
    let first = table * PTRS_PER_PTE;
    first..(first + PTRS_PER_PTE).min(sys.folios.len() as u32)
}

/// Whether one folio fills the table: it has an entry of the directory above (a PMD), which every walk looks at.
fn is_huge(sys: &System, table: u32) -> bool {
    let folio = sys.folio(table * PTRS_PER_PTE);
    folio.order > 0 && folio.nr_pages() == PTRS_PER_PTE
}

/// Clears the accessed bits of `memcg`'s folios in `pages`: those that had it set belong to the youngest generation, or if they are on no
/// list have PG_referenced. How many of the pages there were.
fn make_young(sys: &System, generations: &mut Generations, memcg: u16, pages: Range<u32>) -> u32 {
    let (mut young, mut at) = (0, pages.start);
    while at < pages.end {
        let head = sys.head(at);
        let (folio, first) = (sys.folio(head), at);
        let word = folio.word.load();
        at = (head + folio.nr_pages_of(word)).clamp(first + 1, pages.end);
        if folio.memcg != memcg || !word.has(flag::MAPPED) || !word.has(flag::YOUNG) {
            continue;
        }
        young += at - first;
        if word.has(flag::LRU) {
            folio.word.test_and_clear(flag::YOUNG);
            generations.update_gen(&sys.folios, head);
        } else {
            folio.word.check_references();
        }
    }
    young
}

/// `lru_gen_look_around`: the 64 pages around `page` in its page table, and as many more as its folio has. What is young among them is
/// in use as it is itself. Around a folio that fills its table there is nothing. How many pages came to the youngest generation by that.
pub(super) fn look_around(sys: &System, lru: &mut Lru, page: u32) -> u32 {
    const HALF: u32 = MIN_LRU_BATCH / 2;
    let (memcg, nr_pages) = (sys.folio(page).memcg, sys.nr_pages(page));
    let table = page / PTRS_PER_PTE;
    let all = entries_of(sys, table);
    let start = page.saturating_sub(HALF).max(all.start);
    let end = (start + MIN_LRU_BATCH).max(page + nr_pages).min(all.end);
    let window = end.saturating_sub(MIN_LRU_BATCH).clamp(all.start, start)..end;
    let looked_at = window.len() as u32;
    let Some(generations) = &mut lru.of(memcg).generations else { return 0 };
    let before = generations.len(generations.max_seq());
    // The folio itself was young as well.
    let young = nr_pages + make_young(sys, generations, memcg, window);
    if suitable_to_scan(looked_at, young) && nr_pages < PTRS_PER_PTE {
        generations.walk_soon(table);
    }
    generations.len(generations.max_seq()) - before
}

/// `lruvec_is_sizable`: whether a pass at this priority finds anything at all in `memcg`'s lists.
pub(super) fn is_sizable(sys: &System, sc: &ScanControl, memcg: u16) -> bool {
    let sizes = sys.nodes[0].lru().of(memcg).sizes();
    let total = if sc.swappiness(sys) > 0 { sizes.total() } else { sizes.file() };
    total >> sc.priority > 0
}

/// Where a page that eviction kept goes: what is in use, was activated by the look or was kept `again`, to the youngest generation, what is
/// on its way out to the one before; what became clean meanwhile has no place: it is looked at once more.
pub(super) fn place_of(flags: u16, again: bool) -> Option<Place> {
    let on_its_way = flags & flag::RECLAIM != 0 && flags & (flag::DIRTY | flag::WRITEBACK) != 0;
    let in_use = flag::ACTIVE | flag::REFERENCED | flag::MAPPED | flag::LOCKED | flag::DIRTY | flag::WRITEBACK;
    match on_its_way && flags & flag::ACTIVE == 0 {
        true => Some(Place::Inactive),
        false => (again || flags & in_use != 0).then_some(Place::Active),
    }
}

/// `set_initial_priority`: a large reclaim begins where a pass takes about what is wanted.
pub(super) fn initial_priority(reclaimable: u32, nr_to_reclaim: u32) -> u8 {
    // Rounded down and up.
    let reclaimable = reclaimable.max(1).ilog2();
    let wanted = nr_to_reclaim.next_power_of_two().ilog2();
    reclaimable.saturating_sub(wanted).clamp(DEF_PRIORITY as u32 / 2, DEF_PRIORITY.into()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_belongs_to_the_youngest_but_what_is_on_its_way_out_and_what_became_clean() {
        let submitted = flag::RECLAIM | flag::WRITEBACK;
        assert_eq!(place_of(flag::LOCKED | flag::SWAPCACHE, false), Some(Place::Active), "it waits in a queue");
        assert_eq!(place_of(submitted, false), Some(Place::Inactive));
        assert_eq!(place_of(submitted & !flag::RECLAIM, false), Some(Place::Active), "nobody has sent it on its way");
        assert_eq!(place_of(submitted | flag::ACTIVE, false), Some(Place::Active), "met under writeback");
        for clean in [flag::SWAPCACHE, flag::SWAPCACHE | flag::RECLAIM] {
            assert_eq!([false, true].map(|again| place_of(clean, again)), [None, Some(Place::Active)]);
        }
    }
}
