//! One batch of `shrink_inactive_list`: up to 32 folios isolated from the inactive tail, looked at, freed and put back; or of
//! `evict_folios`, of which there are up to 64.

mod generations;

pub(super) use generations::try_to_inc_min_seq;

use super::evict::MIN_LRU_BATCH;
use super::look::{Exit, Glance, Look};
use super::{Cluster, RAN, SCANNED};
use crate::lifecycle::{Change, Event, flag};
use crate::list::Listed;
use crate::memcg::{MemcgStat, ROOT};
use crate::node::{Lru, Place};
use crate::stats::Vm;
use crate::swapout::Swapout;
use crate::sync::prefetch_to_write;
use crate::system::{Ctx, Outcome, PAGEVEC_SIZE, StepResult, System, mark};
use crate::units::{NIL, SWAP_CLUSTER_MAX};
use std::ops::Range;

/// What became of a batch (`struct reclaim_stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tally {
    /// Isolated.
    pub taken: u32,
    /// What eviction from generations came by: isolated or sorted away; and a generation that it emptied counts one.
    pub examined: u32,
    /// Folios that were sorted away or may not be isolated.
    pub passed: u32,
    /// Looked at: isolated and not locked by another.
    pub scanned: u32,
    /// Freed.
    pub freed: u32,
    /// Got as far as a write (PAGE_SUCCESS).
    pub pageouts: u32,
    /// Met under writeback.
    pub writeback: u32,
    /// Of those, met where kswapd should wait for the writes.
    pub immediate: u32,
    /// Got anywhere: freed, stored, queued, submitted.
    pub moved: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Isolate,
    Look {
        at: u8,
    },
    Free {
        at: u8,
    },
    /// As many were kept as a batch holds, of a large folio that was split: they go back before folio `at`.
    PutbackSome {
        at: u8,
    },
    Putback,
}

/// A batch under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShrinkList {
    node: u8,
    /// Whose lists; without lists by group, the root's.
    pub memcg: u16,
    pc: Pc,
    list: Batch,
    /// Pages split off a large folio of the list, which come before the next one.
    split: Range<u32>,
    kept: Batch,
    look: Option<Look>,
    /// Frames of freed folios that have not gone back yet: they leave in batches of 31.
    unfreed: Cluster,
    /// Those of a large folio: the first, and its order.
    unfreed_folio: Option<(u32, u8)>,
    tally: Tally,
    /// The looks are second ones, at what became clean in this call (multi-gen LRU).
    again: bool,
}

/// What is isolated at once.
type Batch = Cluster<{ MIN_LRU_BATCH as usize }>;

/// What holds for a whole reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// `__GFP_IO`: without it nothing is added to the swap cache or written.
    pub may_io: bool,
    /// The group that has to shrink (`target_mem_cgroup`); `None`: the node.
    pub target: Option<u16>,
    /// Asked for by a write to memory.reclaim, and counted as such (`sc->proactive`).
    pub proactive: bool,
}

impl Scope {
    /// The node's own reclaim.
    pub const GLOBAL: Self = Self { may_io: true, target: None, proactive: false };

    /// Whether it is of the node or of all groups alike (`root_reclaim`).
    pub fn is_root_reclaim(self) -> bool {
        self.top() == ROOT
    }

    /// The group from which it begins, which is the evictor of what it frees.
    pub fn top(self) -> u16 {
        self.target.unwrap_or(ROOT)
    }

    /// Of a counter's kinds the one that this reclaim counts as.
    fn by(self, ctx: &Ctx, [kswapd, direct, proactive]: [MemcgStat; 3]) -> MemcgStat {
        match self.proactive {
            true => proactive,
            false if ctx.current_is_kswapd() => kswapd,
            false => direct,
        }
    }
}

/// Counts `pages` of `memcg` as isolated, of the kind `kind`; in /proc/vmstat by whom only in the node's own reclaim.
pub(super) fn note_scan(sys: &System, ctx: &mut Ctx, scope: Scope, kind: Vm, memcg: u16, pages: u32) {
    let by = scope.by(ctx, MemcgStat::PGSCAN);
    ctx.stat[kind] += u64::from(pages);
    note(sys, ctx, scope.target, memcg, by, pages.into());
}

/// Counts `pages` of `memcg` as freed, likewise.
pub(super) fn note_steal(sys: &System, ctx: &mut Ctx, scope: Scope, kind: Vm, memcg: u16, pages: u32) {
    let by = scope.by(ctx, MemcgStat::PGSTEAL);
    ctx.stat[kind] += u64::from(pages);
    note(sys, ctx, scope.target, memcg, by, pages.into());
}

/// Counts `pages` for `memcg`, and in /proc/vmstat only in the node's own reclaim.
fn note(sys: &System, ctx: &mut Ctx, target: Option<u16>, memcg: u16, counter: MemcgStat, pages: u64) {
    match target {
        None => sys.count(ctx, memcg, counter, pages),
        Some(_) => sys.memcgs.count(memcg, counter, pages),
    }
}

impl ShrinkList {
    pub fn new(node: u8) -> Self {
        Self {
            node,
            memcg: ROOT,
            pc: Pc::Isolate,
            list: Batch::default(),
            split: 0..0,
            kept: Batch::default(),
            look: None,
            unfreed: Cluster::default(),
            unfreed_folio: None,
            tally: Tally::default(),
            again: false,
        }
    }

    /// One step on folios of about `nr` pages, or on `only` one from wherever it is; [`Outcome::Done`] is its last, a scan, and leaves the tally.
    ///
    /// # Errors
    /// See [`StepResult`].
    #[inline(always)]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, nr: u32, only: Option<u32>, scope: Scope) -> StepResult {
        match self.pc {
            Pc::Isolate => self.isolate(sys, ctx, nr, only, scope),
            Pc::Look { at } => self.look(sys, ctx, at, scope),
            Pc::Free { at } => Ok(self.free(sys, ctx, at)),
            Pc::PutbackSome { at } => self.putback_some(sys, ctx, at),
            Pc::Putback => self.putback(sys, ctx),
        }
    }

    /// Takes a batch off the lists.
    fn isolate(&mut self, sys: &System, ctx: &mut Ctx, nr: u32, only: Option<u32>, scope: Scope) -> StepResult {
        let mut lru = sys.nodes[usize::from(self.node)].lru();
        self.list.clear();
        self.kept.clear();
        self.tally = Tally::default();
        match sys.lru_gen() {
            true => self.isolate_folios(sys, ctx, &mut lru, scope)?,
            false => self.isolate_lru_folios(sys, ctx, &mut lru, (SWAP_CLUSTER_MAX as u32).min(nr), only)?,
        }
        if sys.mm.is_some() {
            lru.isolated += self.tally.taken;
        }
        drop(lru);
        note_scan(sys, ctx, scope, Vm::PgscanAnon, self.memcg, self.tally.taken);
        self.pc = if self.list.is_empty() { Pc::Isolate } else { Pc::Look { at: 0 } };
        Ok(if self.list.is_empty() { Outcome::Done } else { SCANNED })
    }

    /// Folios of at least `nr` pages, if there are as many, from the inactive tail; or `only` one.
    fn isolate_lru_folios(
        &mut self,
        sys: &System,
        ctx: &mut Ctx,
        lru: &mut Lru,
        nr: u32,
        only: Option<u32>,
    ) -> StepResult<()> {
        while self.tally.taken < nr {
            let Some(page) = only.or_else(|| lru.of(self.memcg).inactive.tail()) else { break };
            let folio = sys.folio(page);
            sys.folios.get(folio.links().prev() as usize).into_iter().for_each(|next| prefetch_to_write(next));
            let word = folio.word.load();
            sys.must(ctx, folio, Event::Isolate, 0, Change::flags(0, flag::LRU).only(flag::LRU), 0)?;
            lru.of(self.memcg).del(&sys.folios, page, word.has(flag::ACTIVE));
            self.list.push(page);
            self.tally.taken += folio.nr_pages();
        }
        Ok(())
    }

    /// One step of the look at folio `at`, or as many as may be taken at once; `cond_resched` stands before each look.
    #[inline(never)]
    fn look(&mut self, sys: &System, ctx: &mut Ctx, at: u8, scope: Scope) -> StepResult {
        let look = match &mut self.look {
            Some(look) => look,
            None => self.look.insert(Look::new(sys, Self::next_page(&self.list, &self.split, sys, at), scope)),
        };
        let page = look.page();
        let frame = if sys.mm.is_some() { sys.folio(page).pfn() } else { NIL }; // Another's as soon as the page is freed.
        let (work, exit) = match look.step(sys, ctx)? {
            Glance::Goes(outcome) => {
                if !matches!(outcome, Outcome::Ran(_)) {
                    sys.ring();
                }
                return Ok(outcome);
            }
            Glance::Ends(work, exit) => (work, exit),
        };
        ctx.marks |= mark::COND_RESCHED;
        let (nr_pages, split_off) = (look.nr_pages(), look.split_off());
        self.tally.pageouts += if look.has_written() { nr_pages } else { 0 };
        self.look = None;
        self.note(page, nr_pages, exit);
        match (exit == Exit::Freed && frame != NIL, nr_pages) {
            (true, 1) => self.unfreed.push(frame),
            (true, _) => self.unfreed_folio = Some((frame, sys.folio(page).order)),
            (false, _) => {}
        }
        let of_list = self.split.is_empty();
        self.split = if of_list { split_off } else { page + 1..self.split.end };
        self.pc = self.after(at + u8::from(of_list));
        Ok(Outcome::Ran(work))
    }

    /// The page that the look at `at` is about. The CPU is asked for what the one after it reads of its page first.
    fn next_page(list: &Batch, split: &Range<u32>, sys: &System, at: u8) -> u32 {
        if let Some(&next) = list.as_slice().get(usize::from(at) + 1) {
            sys.contents.prefetch_ends(next);
        }
        if split.is_empty() { list.as_slice()[usize::from(at)] } else { split.start }
    }

    fn note(&mut self, page: u32, nr_pages: u32, exit: Exit) {
        let pages = |counts: bool| if counts { nr_pages } else { 0 };
        self.tally.scanned += pages(exit != Exit::Locked);
        self.tally.freed += pages(exit == Exit::Freed);
        self.tally.writeback += pages(exit == Exit::Writeback);
        self.tally.immediate += pages(exit == Exit::Immediate);
        self.tally.moved += pages(exit.moved());
        if exit != Exit::Freed {
            self.kept.push(page);
        }
    }

    /// What follows before folio `at`.
    fn after(&self, at: u8) -> Pc {
        let ended = usize::from(at) == self.list.len() && self.split.is_empty();
        let frees = self.unfreed.len() >= PAGEVEC_SIZE || ended && !self.unfreed.is_empty();
        match (frees || self.unfreed_folio.is_some(), ended) {
            (true, _) => Pc::Free { at },
            (false, true) => Pc::Putback,
            (false, false) if self.kept.len() == MIN_LRU_BATCH as usize => Pc::PutbackSome { at },
            (false, false) => Pc::Look { at },
        }
    }

    /// `free_unref_folios`.
    fn free(&mut self, sys: &System, ctx: &Ctx, at: u8) -> Outcome {
        if let Some((first, order)) = self.unfreed_folio.take() {
            sys.give_folio(ctx, self.memcg, first, order);
        } else if let Some(mm) = &sys.mm {
            sys.memcgs.uncharge(self.memcg, self.unfreed.len() as u64);
            mm.give_frames(ctx.cpu, self.unfreed.as_slice());
            self.unfreed.clear();
        }
        self.pc = self.after(at);
        RAN
    }

    /// `move_folios_to_lru`: the kept ones go to the head of the list that PG_active asks for, oldest first.
    fn putback(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let node = &sys.nodes[usize::from(self.node)];
        if !self.kept.is_empty() || sys.mm.is_some() {
            let mut lru = node.lru();
            if sys.lru_gen() && self.sort_kept(sys, ctx, &mut lru)? {
                self.pc = Pc::Look { at: 0 };
                return Ok(SCANNED);
            }
            self.list_kept(sys, ctx, &mut lru)?;
            if sys.mm.is_some() {
                lru.isolated -= self.tally.taken;
                let in_vain = u64::from(self.tally.taken - self.tally.freed);
                lru.note_cost(self.memcg, false, self.tally.pageouts.into(), in_vain);
            }
        }
        sys.ring();
        self.list.clear();
        (self.pc, self.again) = (Pc::Isolate, false);
        Ok(Outcome::Done)
    }

    fn putback_some(&mut self, sys: &System, ctx: &mut Ctx, at: u8) -> StepResult {
        let mut lru = sys.nodes[usize::from(self.node)].lru();
        if sys.lru_gen() {
            self.list_by_generation(sys, ctx, &mut lru, true)?;
        } else {
            self.list_kept(sys, ctx, &mut lru)?;
        }
        self.pc = self.after(at);
        Ok(SCANNED)
    }

    fn list_kept(&mut self, sys: &System, ctx: &mut Ctx, lru: &mut Lru) -> StepResult<()> {
        let mut active = 0;
        for &page in self.kept.as_slice() {
            let folio = sys.folio(page);
            sys.must(ctx, folio, Event::Putback, 0, Change::flags(flag::LRU, 0), 0)?;
            let is_active = folio.word.load().has(flag::ACTIVE);
            active += if is_active { folio.nr_pages() } else { 0 };
            lru.of(self.memcg).add(&sys.folios, page, Place::of(is_active));
        }
        self.kept.clear();
        if sys.mm.is_some() {
            sys.nodes[usize::from(self.node)].grow_older(self.memcg, active);
        }
        Ok(())
    }

    /// What became of the batch that has ended.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// The folio that it is writing out.
    pub fn swapout(&self) -> Option<&Swapout> {
        self.look.as_ref()?.swapout()
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        self.list.each_page(f);
        // A system with large folios keeps its pages' names (`States`): this range is empty where they change.
        self.kept.each_page(f);
        if let Some(look) = &mut self.look {
            look.each_page(f);
        }
    }

    /// [`super::Actor::normalise`]: without a budget it only matters whether anything moved.
    pub fn normalise(&mut self) {
        let Tally { taken, freed, moved, .. } = self.tally;
        self.tally = Tally { taken, freed: freed.min(1), moved: moved.min(1), ..Tally::default() };
        if let Some(look) = &mut self.look {
            look.normalise();
        }
    }
}
