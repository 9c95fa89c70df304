//! What applications and reclaim share of the page cache (mm/swap.c).

use super::{Ctx, System};
use crate::filemap::{File, Filemap, flag};
use crate::memcg::{MemcgStat, ROOT};

impl System {
    /// The same system with `files` that applications read; their pages' numbers follow the others', file by file. For drivers that step
    /// one actor at a time, and with a memory budget.
    ///
    /// # Panics
    /// Without a budget: callers refuse that by name.
    #[must_use]
    pub fn with_files(self, files: &[File]) -> Self {
        assert!(files.is_empty() || self.mm.is_some(), "page cache needs a memory budget");
        let filemap = Filemap::new(self.folios.len() as u32, files);
        Self { filemap, ..self }
    }

    /// The group that a page, anonymous or a file's, is charged to.
    pub fn memcg_of(&self, page: u32) -> u16 {
        if self.filemap.has(page) { self.filemap.folio(page).memcg } else { self.folio(page).memcg }
    }

    /// Page cache of a group and its descendants, on a list or on its way there.
    pub fn cached_pages(&self, memcg: u16) -> u32 {
        let read_once = if memcg == ROOT { self.nodes[0].lru().of(ROOT).read_once } else { 0 };
        read_once + self.filemap.cached(|group| self.memcgs.is_below(group, memcg))
    }

    /// `folio_mark_accessed`: the second access since it was last looked at activates a page that is on the inactive list, or on its way there.
    pub fn mark_page_accessed(&self, ctx: &mut Ctx, page: u32) {
        let (folio, node) = (self.filemap.folio(page), &self.nodes[0]);
        let mut lru = node.lru();
        if !folio.has(flag::REFERENCED) {
            folio.change(flag::REFERENCED, 0);
            return;
        }
        if folio.has(flag::ACTIVE) {
            return;
        }
        if folio.has(flag::LRU) {
            lru.of(folio.memcg).file.activate(self.filemap.folios(), self.filemap.index(page));
            self.count(ctx, folio.memcg, MemcgStat::Pgactivate, 1);
        } else if !folio.has(flag::ISOLATED) {
            folio.change(flag::ACTIVE, 0);
        }
        folio.change(0, flag::REFERENCED);
        drop(lru);
        node.grow_older(folio.memcg, 1);
    }
}
