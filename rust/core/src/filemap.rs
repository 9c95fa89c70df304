//! Page cache that an application reads and may read again: the clean pages of files, which reclaim drops and a read brings back.
//!
//! They are no pages of the lifecycle: nobody compresses or writes them, so that the law, the traces and the census do not know them. Their
//! numbers follow those of the applications' own pages, and where a number belongs is one comparison ([`Filemap::has`]).
//!
//! Who may change what: links, PG_lru, PG_active and PG_workingset belong to the node's LRU lock; whoever has set PG_locked (the thread that
//! reads the page, the reclaimer that frees it) has the frame, the shadow and PG_mapped; PG_referenced and the accessed bit are hints. Only
//! drivers that step one actor at a time run systems with such pages. Source: Documentation/admin-guide/mm/concepts.rst (page cache).

use crate::list::{Links, Listed};
use crate::sync::{AtomicU32, Ordering};
use crate::units::NIL;
use std::ops::Range;

/// Bits of [`FileFolio::flags`].
pub mod flag {
    /// It is in the page cache, with a frame.
    pub const CACHED: u32 = 1;
    /// On a list (PG_lru).
    pub const LRU: u32 = 1 << 1;
    /// In the hands of a scan.
    pub const ISOLATED: u32 = 1 << 2;
    /// PG_active.
    pub const ACTIVE: u32 = 1 << 3;
    /// PG_referenced.
    pub const REFERENCED: u32 = 1 << 4;
    /// PG_workingset: it was on the active list once.
    pub const WORKINGSET: u32 = 1 << 5;
    /// PG_locked: it is being read, or freed.
    pub const LOCKED: u32 = 1 << 6;
    /// In the application's page tables.
    pub const MAPPED: u32 = 1 << 7;
    /// The accessed bit of its page table entry.
    pub const YOUNG: u32 = 1 << 8;
    /// It has been in the page cache before: its shadow is there.
    pub const SHADOW: u32 = 1 << 9;
}

/// How an application gets at the pages of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FileAccess {
    /// By read(2): the page is never mapped.
    #[default]
    Read,
    /// By a mapping (mmap(2)).
    Mapped,
    /// By an executable mapping (VM_EXEC): its code.
    Executable,
}

/// A file: pages of one group, one application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// How many there are.
    pub pages: u32,
    /// The group that they are charged to.
    pub memcg: u16,
    /// How they are read.
    pub access: FileAccess,
}

/// One page of a file.
#[derive(Debug)]
pub struct FileFolio {
    flags: AtomicU32,
    links: Links,
    pfn: AtomicU32,
    shadow: AtomicU32,
    evictor: AtomicU32,
    lru_gen: AtomicU32,
    /// The group that it is charged to.
    pub memcg: u16,
    /// How it is read.
    pub access: FileAccess,
}

macro_rules! field {
    ($get:ident, $set:ident, $doc:literal) => {
        #[doc = concat!("Reads ", $doc)]
        pub fn $get(&self) -> u32 {
            // ORDERING: Relaxed: the field's owner (module doc) is ordered by its lock.
            self.$get.load(Ordering::Relaxed)
        }

        #[doc = concat!("Writes ", $doc)]
        pub fn $set(&self, value: u32) {
            // ORDERING: Relaxed: as for the reader.
            self.$get.store(value, Ordering::Relaxed);
        }
    };
}

impl FileFolio {
    fn new(memcg: u16, access: FileAccess) -> Self {
        let [flags, shadow, evictor, lru_gen] = [(); 4].map(|()| AtomicU32::new(0));
        Self { flags, links: Links::default(), pfn: AtomicU32::new(NIL), shadow, evictor, lru_gen, memcg, access }
    }

    field!(pfn, set_pfn, "the number of its frame, or [`NIL`].");
    field!(shadow, set_shadow, "the age of its evictor when it was evicted.");
    field!(evictor, set_evictor, "the memory cgroup from which reclaim began that evicted it.");
    field!(lru_gen, set_lru_gen, "the sequence number of the generation that it belongs to (multi-gen LRU).");

    /// All its bits ([`flag`]).
    pub fn flags(&self) -> u32 {
        // ORDERING: Relaxed: as for the fields.
        self.flags.load(Ordering::Relaxed)
    }

    /// Whether any bit of `mask` is set.
    pub fn has(&self, mask: u32) -> bool {
        self.flags() & mask != 0
    }

    /// Clears the bits of `clear` and sets those of `set`; what they were before.
    pub fn change(&self, set: u32, clear: u32) -> u32 {
        let before = self.flags();
        // ORDERING: Relaxed: one actor steps at a time.
        self.flags.store(before & !clear | set, Ordering::Relaxed);
        before
    }

    /// Clears `mask`; whether any bit of it was set.
    pub fn test_and_clear(&self, mask: u32) -> bool {
        self.change(0, mask) & mask != 0
    }
}

impl Listed for FileFolio {
    fn links(&self) -> &Links {
        &self.links
    }
}

/// The page cache.
#[derive(Debug, Default)]
pub struct Filemap {
    base: u32,
    folios: Box<[FileFolio]>,
}

impl Filemap {
    /// The pages of `files`, one file after the other, of which none is cached yet; their numbers begin at `base`.
    pub fn new(base: u32, files: &[File]) -> Self {
        let folios =
            files.iter().flat_map(|file| (0..file.pages).map(|_| FileFolio::new(file.memcg, file.access))).collect();
        Self { base, folios }
    }

    /// Whether `page` is the number of a file's page.
    #[inline]
    pub fn has(&self, page: u32) -> bool {
        !self.folios.is_empty() && page >= self.base
    }

    /// Whether there are any.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.folios.is_empty()
    }

    /// The numbers of all pages.
    pub fn pages(&self) -> Range<u32> {
        self.base..self.base + self.folios.len() as u32
    }

    /// All folios: what lists link, by index.
    pub fn folios(&self) -> &[FileFolio] {
        &self.folios
    }

    /// The index in [`Filemap::folios`] of a page.
    pub fn index(&self, page: u32) -> u32 {
        page - self.base
    }

    /// The folio of a page.
    ///
    /// # Panics
    /// If `page` is no file's.
    pub fn folio(&self, page: u32) -> &FileFolio {
        &self.folios[(page - self.base) as usize]
    }

    /// Pages in the cache of the groups that `counts`.
    pub fn cached(&self, counts: impl Fn(u16) -> bool) -> u32 {
        self.folios.iter().filter(|folio| folio.has(flag::CACHED) && counts(folio.memcg)).count() as u32
    }
}
