//! Page cache under reclaim: a batch of `shrink_inactive_list` from `inactive_file`, and the looks at its folios.
//!
//! Its folios are clean, so that a look has three ends: in use and kept, in use and activated, or gone, with a shadow left behind. What is
//! mapped is taken out of the page table under the folio lock first, in a step of its own.
//! Source: Documentation/admin-guide/mm/concepts.rst; observed on 6.12 (docs/kernel-map.md).

use super::evict::MIN_LRU_BATCH;
use super::list::{Scope, Tally, note_scan, note_steal, try_to_inc_min_seq};
use super::{Cluster, RAN, SCANNED};
use crate::filemap::{FileAccess, FileFolio, flag};
use crate::memcg::MemcgStat;
use crate::node::{Generations, Node, PTRS_PER_PTE};
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, PAGEVEC_SIZE, System, Work, mark};
use std::ops::Range;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Pc {
    #[default]
    Isolate,
    Look {
        at: u8,
    },
    /// It is out of its page table, and locked.
    Unmapped {
        at: u8,
    },
    Free {
        at: u8,
    },
    Putback,
}

/// A batch under way: indices of folios.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ShrinkFile {
    pc: Pc,
    list: Batch,
    kept: Batch,
    /// Frames that have not gone back yet: they leave in batches of 31.
    unfreed: Cluster,
    tally: Tally,
}

/// What is isolated at once: 32, and of generations 64.
type Batch = Cluster<{ MIN_LRU_BATCH as usize }>;

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum References {
    Reclaim,
    Keep,
    Activate,
}

/// `folio_check_references`: code in use is activated at once, another mapped folio when it was in use at the look before as well; one that
/// was only read goes, whether read once or more: the second read has activated it while it was listed.
fn check_references(folio: &FileFolio) -> References {
    let was_referenced = folio.test_and_clear(flag::REFERENCED);
    if !folio.test_and_clear(flag::YOUNG) {
        return References::Reclaim;
    }
    folio.change(flag::REFERENCED, 0);
    match was_referenced || folio.access == FileAccess::Executable {
        true => References::Activate,
        false => References::Keep,
    }
}

impl ShrinkFile {
    /// One step on up to `nr` folios of `memcg`; [`Outcome::Done`] is its last and leaves the tally.
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, memcg: u16, nr: u32, scope: Scope) -> Outcome {
        let node = &sys.nodes[0];
        match self.pc {
            Pc::Isolate => self.isolate(sys, ctx, node, scope, (memcg, nr)),
            Pc::Look { at } => self.look(sys, ctx, at, scope),
            Pc::Unmapped { at } => self.remove(sys, ctx, at, scope),
            Pc::Free { at } => self.free(sys, ctx, memcg, at),
            Pc::Putback => self.putback(sys, node, memcg),
        }
    }

    fn isolate(&mut self, sys: &System, ctx: &mut Ctx, node: &Node, scope: Scope, (memcg, nr): (u16, u32)) -> Outcome {
        self.list.clear();
        self.kept.clear();
        let mut lru = node.lru();
        while (self.list.len() as u32) < nr
            && let Some(index) = lru.of(memcg).isolate_file(sys.filemap.folios())
        {
            self.list.push(index);
        }
        let taken = self.list.len() as u32;
        lru.isolated_file += taken;
        let generations = lru.of(memcg).generations.as_mut();
        let emptied = generations.map_or(0, |generations| try_to_inc_min_seq(sys, generations, memcg));
        drop(lru);
        self.tally = Tally { taken, examined: taken + emptied, ..Tally::default() };
        note_scan(sys, ctx, scope, Vm::PgscanFile, memcg, taken);
        if taken == 0 {
            return Outcome::Done;
        }
        self.pc = Pc::Look { at: 0 };
        SCANNED
    }

    fn folio<'a>(&self, sys: &'a System, at: u8) -> &'a FileFolio {
        &sys.filemap.folios()[self.list.as_slice()[usize::from(at)] as usize]
    }

    fn look(&mut self, sys: &System, ctx: &mut Ctx, at: u8, scope: Scope) -> Outcome {
        ctx.marks |= mark::COND_RESCHED;
        let folio = self.folio(sys, at);
        if folio.has(flag::LOCKED) {
            return self.keep(at); // It is being read.
        }
        self.tally.scanned += 1;
        if sys.lru_gen() && folio.test_and_clear(flag::YOUNG) {
            look_around(sys, folio.memcg, self.list.as_slice()[usize::from(at)]);
            return self.keep(at);
        }
        match check_references(folio) {
            References::Keep => self.keep(at),
            References::Activate => {
                folio.change(flag::ACTIVE, 0);
                sys.count(ctx, folio.memcg, MemcgStat::Pgactivate, 1);
                self.keep(at)
            }
            References::Reclaim if folio.has(flag::MAPPED) => {
                folio.change(flag::LOCKED, flag::MAPPED);
                self.pc = Pc::Unmapped { at };
                Outcome::Ran(Work::Unmap)
            }
            References::Reclaim => self.remove(sys, ctx, at, scope),
        }
    }

    fn keep(&mut self, at: u8) -> Outcome {
        self.kept.push(self.list.as_slice()[usize::from(at)]);
        self.pc = self.after(at + 1);
        SCANNED
    }

    /// `__remove_mapping`: the folio leaves the page cache, and a shadow with its age stays (`workingset_eviction`).
    fn remove(&mut self, sys: &System, ctx: &mut Ctx, at: u8, scope: Scope) -> Outcome {
        let (folio, node) = (self.folio(sys, at), &sys.nodes[0]);
        if sys.lru_gen() {
            folio.set_shadow(oldest_generation(sys, folio.memcg));
            node.note_evicted(folio.memcg, true, 1);
        } else {
            let evictor = scope.top();
            folio.set_shadow(node.age(evictor));
            folio.set_evictor(evictor.into());
            node.grow_older(evictor, 1);
        }
        folio.change(flag::SHADOW, !(flag::SHADOW | flag::WORKINGSET));
        note_steal(sys, ctx, scope, Vm::PgstealFile, folio.memcg, 1);
        self.unfreed.push(folio.pfn());
        self.tally.freed += 1;
        self.pc = self.after(at + 1);
        SCANNED
    }

    /// What follows before folio `at`.
    fn after(&self, at: u8) -> Pc {
        let ended = usize::from(at) == self.list.len();
        match self.unfreed.len() >= PAGEVEC_SIZE || ended && !self.unfreed.is_empty() {
            true => Pc::Free { at },
            false if ended => Pc::Putback,
            false => Pc::Look { at },
        }
    }

    /// `free_unref_folios`.
    fn free(&mut self, sys: &System, ctx: &Ctx, memcg: u16, at: u8) -> Outcome {
        if let Some(mm) = &sys.mm {
            sys.memcgs.uncharge(memcg, self.unfreed.len() as u64);
            mm.give_frames(ctx.cpu, self.unfreed.as_slice());
        }
        self.unfreed.clear();
        self.pc = self.after(at);
        RAN
    }

    /// `move_folios_to_lru`: the kept ones go to the head of the list that PG_active asks for, oldest first.
    fn putback(&mut self, sys: &System, node: &Node, memcg: u16) -> Outcome {
        let folios = sys.filemap.folios();
        let mut lru = node.lru();
        let mut active = 0;
        for &index in self.kept.as_slice() {
            lru.of(memcg).add_file(folios, index);
            active += u32::from(folios[index as usize].has(flag::ACTIVE));
        }
        lru.isolated_file -= self.tally.taken;
        lru.note_cost(memcg, true, 0, (self.tally.taken - self.tally.freed).into());
        drop(lru);
        if !sys.lru_gen() {
            node.grow_older(memcg, active);
        }
        self.pc = Pc::Isolate;
        Outcome::Done
    }

    /// What became of the batch that has ended.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// The number of the oldest generation of a group's page cache.
pub(super) fn oldest_generation(sys: &System, memcg: u16) -> u32 {
    sys.nodes[0].lru().of(memcg).generations.as_ref().map_or(0, |generations| generations.file_min_seq())
}

/// `lru_gen_look_around`: of the 64 pages around the folio with this index in its page table, those that are young are in use as it is.
fn look_around(sys: &System, memcg: u16, index: u32) {
    let table = index / PTRS_PER_PTE * PTRS_PER_PTE;
    let last = sys.filemap.folios().len() as u32;
    let start = index.saturating_sub(MIN_LRU_BATCH / 2).max(table);
    let end = (start + MIN_LRU_BATCH).min(table + PTRS_PER_PTE).min(last);
    if let Some(generations) = &mut sys.nodes[0].lru().of(memcg).generations {
        make_young(sys, generations, memcg, start..end);
    }
}

/// Clears the accessed bits of `memcg`'s folios with these indices: those that had it set and are listed belong to the youngest generation.
/// How many had it set.
pub(super) fn make_young(sys: &System, generations: &mut Generations, memcg: u16, indices: Range<u32>) -> u32 {
    let folios = sys.filemap.folios();
    let mut young = 0;
    for index in indices {
        let folio = &folios[index as usize];
        if folio.memcg == memcg && folio.has(flag::LRU) && folio.test_and_clear(flag::YOUNG) {
            generations.promote_file(folios, index);
            young += 1;
        }
    }
    young
}

/// `shrink_active_list` of `active_file`: code in use stays, the rest goes to the inactive list, used or not.
pub(super) fn shrink_active_list(sys: &System, ctx: &mut Ctx, memcg: u16) {
    let mut lru = sys.nodes[0].lru();
    let is_code_in_use = |folio: &FileFolio| {
        let young = folio.test_and_clear(flag::YOUNG);
        young && folio.access == FileAccess::Executable
    };
    let (pages, stayed) = lru.of(memcg).file.age(sys.filemap.folios(), is_code_in_use);
    if stayed > 0 {
        lru.note_cost(memcg, true, 0, stayed.into());
    }
    drop(lru);
    sys.nodes[0].grow_older(memcg, stayed); // They are moved to the active list once more (`move_folios_to_lru`).
    sys.count(ctx, memcg, MemcgStat::Pgrefill, pages.into());
    sys.count(ctx, memcg, MemcgStat::Pgdeactivate, (pages - stayed).into());
}

#[cfg(test)]
mod tests;
