//! Pages of files: read by read(2) or by a mapping (mm/filemap.c), and what a second access does (mm/swap.c, mm/workingset.c).
//!
//! A miss takes a frame, puts the page into the page cache locked, by way of the CPU's batch of new folios onto the inactive list, and
//! reads it from the device. Not modelled: readahead, fault-around (a fault maps one page), page tables of file mappings, a batch of
//! activations, pages that are written to.

use super::{App, LOOK_AGAIN_NS, Pc};
use crate::filemap::{FileAccess, FileFolio, flag};
use crate::memcg::MemcgStat;
use crate::reclaim::RAN;
use crate::reclaim::direct::Wanted;
use crate::reclaim::file::oldest_generation;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System, Work, mark};
use crate::units::NIL;
use crate::workload::Access;

impl App {
    /// A step of the touch of a file's page; what it shares with other touches is the same.
    pub(super) fn step_file(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access) -> StepResult {
        match self.pc {
            Pc::Allocate => self.allocate(sys, ctx, page),
            Pc::Charge => self.charge(sys, ctx),
            Pc::OverHigh => self.over_high(sys, ctx, page, access),
            Pc::AddLru => {
                sys.folio_add_lru(ctx, page)?;
                self.pc = Pc::ReadFile;
                Ok(RAN)
            }
            Pc::ReadFile => Ok(self.read_file(sys, ctx, page)),
            Pc::Uptodate => Ok(self.uptodate(sys, ctx, page)),
            Pc::GiveFrame => Ok(self.give_frame(sys, ctx, page)),
            Pc::Next => Ok(self.touched(sys, ctx, page, access)),
            Pc::Think => Ok(self.think(ctx)),
            _ => Ok(self.look_at_file(sys, ctx, page, access)),
        }
    }

    fn look_at_file(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access) -> Outcome {
        if self.is_to_die(sys, ctx) {
            return self.die(sys, ctx);
        }
        let folio = sys.filemap.folio(page);
        if folio.has(flag::LOCKED) {
            return Outcome::Sleep(LOOK_AGAIN_NS); // A reclaimer frees it.
        }
        if access == Access::Exit {
            folio.change(0, flag::MAPPED | flag::YOUNG); // Its page stays in the cache.
            self.pc = Pc::Next;
            return RAN;
        }
        ctx.marks |= mark::TOUCH_BEGINS;
        if !folio.has(flag::CACHED) {
            return match self.frame {
                NIL => self.begin_allocation(Wanted::Frame),
                _ => self.filemap_add_folio(sys, ctx, page),
            };
        }
        if folio.access == FileAccess::Read {
            sys.mark_page_accessed(ctx, page);
        } else if folio.change(flag::MAPPED | flag::YOUNG, 0) & flag::MAPPED != 0 {
            return self.touched(sys, ctx, page, access); // The kernel does not even know.
        } else {
            sys.count(ctx, folio.memcg, MemcgStat::Pgfault, 1);
        }
        self.pc = Pc::Next;
        Outcome::Ran(Work::Fault)
    }

    /// The page is in the cache, locked, and if it was there lately it is part of the working set.
    fn filemap_add_folio(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Outcome {
        let folio = sys.filemap.folio(page);
        if folio.access != FileAccess::Read {
            for counter in [MemcgStat::Pgfault, MemcgStat::Pgmajfault] {
                sys.count(ctx, folio.memcg, counter, 1);
            }
        }
        folio.set_pfn(std::mem::replace(&mut self.frame, NIL));
        if folio.has(flag::SHADOW) {
            workingset_refault(sys, ctx, folio);
        }
        folio.change(flag::CACHED | flag::LOCKED, flag::SHADOW);
        self.pc = Pc::AddLru;
        RAN
    }

    fn read_file(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Outcome {
        ctx.stat[Vm::Pgpgin] += sys.config.page_size as u64 / 1024;
        self.pc = Pc::Uptodate;
        Outcome::Ran(Work::DeviceRead(page))
    }

    /// It has been read: unlocked, and mapped or noted as accessed once.
    fn uptodate(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Outcome {
        let folio = sys.filemap.folio(page);
        folio.change(0, flag::LOCKED);
        match folio.access {
            FileAccess::Read => sys.mark_page_accessed(ctx, page),
            _ => _ = folio.change(flag::MAPPED | flag::YOUNG, 0),
        }
        self.pc = Pc::Next;
        RAN
    }
}

/// `workingset_refault`: a page that comes back within what the lists beside `inactive_file` would have held is activated; one that had been
/// part of the working set when it went is so again, and its reading is what reclaiming page cache has cost.
fn workingset_refault(sys: &System, ctx: &mut Ctx, folio: &FileFolio) {
    let (node, evictor) = (&sys.nodes[0], folio.evictor() as u16);
    if sys.lru_gen() {
        return lru_gen_refault(sys, ctx, folio);
    }
    let distance = node.age(evictor).wrapping_sub(folio.shadow());
    let sizes = node.lru().sizes(evictor);
    let anon = if sys.slots.is_exhausted() { 0 } else { sizes.active + sizes.inactive };
    sys.count(ctx, folio.memcg, MemcgStat::WorkingsetRefaultFile, 1);
    if distance > sizes.active_file + anon {
        folio.change(0, flag::WORKINGSET);
        return;
    }
    folio.change(flag::ACTIVE, 0);
    sys.count(ctx, folio.memcg, MemcgStat::WorkingsetActivateFile, 1);
    node.note_activation(folio.memcg, true);
    node.grow_older(folio.memcg, 1);
    if folio.has(flag::WORKINGSET) {
        sys.count(ctx, folio.memcg, MemcgStat::WorkingsetRestoreFile, 1);
        node.lru().note_cost(folio.memcg, true, 1, 0);
    }
}

/// The same with generations: what the oldest one lost and is wanted again is counted, as restored too, since a fault asks for it.
fn lru_gen_refault(sys: &System, ctx: &mut Ctx, folio: &FileFolio) {
    sys.count(ctx, folio.memcg, MemcgStat::WorkingsetRefaultFile, 1);
    if oldest_generation(sys, folio.memcg) == folio.shadow() {
        sys.nodes[0].note_refaulted(folio.memcg, true);
        for counter in [MemcgStat::WorkingsetActivateFile, MemcgStat::WorkingsetRestoreFile] {
            sys.count(ctx, folio.memcg, counter, 1);
        }
    }
}
