//! What is known of each page and page block without the buddy lists' lock (`mem_map`, pageblock flags).

use super::Migrate;
use crate::list::Links;
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// log2 of the pages of a page block, which is also the largest chunk.
pub(super) const PAGEBLOCK_ORDER: usize = 10;

/// Pages of a page block.
pub const PAGEBLOCK_PAGES: u32 = 1 << PAGEBLOCK_ORDER;

/// A page block.
#[derive(Debug)]
struct Block {
    unmovable: AtomicBool,
    /// Pages of it that applications and the page cache use.
    movable: AtomicU32,
}

/// All pages and blocks of a zone.
#[derive(Debug)]
pub(super) struct Map {
    /// Links of each page: of the list that it is on (free chunks under the buddy lists' lock, a CPU's under its own), else of whoever
    /// owns the page.
    pub pages: Box<[Links]>,
    blocks: Box<[Block]>,
}

impl Map {
    /// `pages` pages; all blocks are movable at first.
    pub fn new(pages: u32) -> Self {
        let block = |_| Block { unmovable: AtomicBool::new(false), movable: AtomicU32::new(0) };
        Self {
            pages: (0..pages).map(|_| Links::default()).collect(),
            blocks: (0..pages.div_ceil(PAGEBLOCK_PAGES)).map(block).collect(),
        }
    }

    pub fn len(&self) -> u32 {
        self.pages.len() as u32
    }

    fn block(&self, page: u32) -> &Block {
        &self.blocks[page as usize >> PAGEBLOCK_ORDER]
    }

    /// The type of the block that `page` is in.
    pub fn migrate_type(&self, page: u32) -> Migrate {
        // ORDERING: Relaxed: as in the kernel, a page freed while its block changes hands may go to either's list.
        if self.block(page).unmovable.load(Ordering::Relaxed) { Migrate::Unmovable } else { Migrate::Movable }
    }

    /// The block that `page` is in is claimed.
    pub fn set_migrate_type(&self, page: u32, of: Migrate) {
        // ORDERING: Relaxed: as above; claims are made under the buddy lists' lock.
        self.block(page).unmovable.store(of == Migrate::Unmovable, Ordering::Relaxed);
    }

    /// `page` is handed out for `of`.
    pub fn note_taken(&self, page: u32, of: Migrate) {
        if of == Migrate::Movable {
            // ORDERING: Relaxed: a count that a claim weighs.
            self.block(page).movable.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `page`, which was used for `of`, comes back.
    pub fn note_given(&self, page: u32, of: Migrate) {
        if of == Migrate::Movable {
            // ORDERING: Relaxed: as above.
            self.block(page).movable.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Movable pages in use in the block that `page` is in.
    pub fn movable_pages(&self, page: u32) -> u32 {
        // ORDERING: Relaxed: as above.
        self.block(page).movable.load(Ordering::Relaxed)
    }
}
