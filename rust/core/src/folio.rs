//! What a folio is: one 64-byte line with everything the hot path needs to know of a page.
//!
//! Who may touch which field when:
//! - `word` changes only through [`StateWord::fire`];
//! - `links` and `lru_gen` belong to the LRU lock of the folio's node;
//! - `slot` is written by whoever holds the folio isolated or locked, and by the fault that drops the copy;
//! - `pool` belongs to the actor that queues the folio and then to the one that takes it from the queue;
//! - `shadow` and `evictor` are written by the reclaimer that evicts it and read by whoever brings it back;
//! - `workingset` belongs to the LRU lock while the page is listed, and to whoever brings it back or makes it while it is not;
//! - `pfn` is written by the fault that gives the page its frame and read by whoever takes the frame away;
//! - `extra_refs` counts references beyond the isolator's and the swap cache's;
//! - `memcg`, `node`, `order` and `shmem` never change; whether the page is the first of a large folio now is PG_head in the word.
//!
//! A large folio is its first page: that page's word, links and reference counts are the folio's. Its later pages are in state
//! `tail`, on no list; of their fields only `slot` is in use, each its own, by whoever has the folio.

use crate::lifecycle::generated::INITIAL;
use crate::lifecycle::{State, StateWord, Word, flag};
use crate::list::{Links, Listed};
use crate::snapshot::{Reader, Saved, Snapshot, narrow, widen};
use crate::sync::{AtomicU32, Ordering};
use crate::units::NIL;

/// The largest order of a folio: a page table's pages (HPAGE_PMD_ORDER).
pub const MAX_FOLIO_ORDER: u8 = 9;

/// One folio. Aligned to a cache line: bit 0 of its address is free for the queue's tag.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Folio {
    /// State, flags and sequence number.
    pub word: StateWord,
    links: Links,
    slot: AtomicU32,
    pool: AtomicU32,
    extra_refs: AtomicU32,
    shadow: AtomicU32,
    evictor: AtomicU32,
    pfn: AtomicU32,
    /// The generation it belongs to and, from bit 8, the list that it is on.
    lru_gen: AtomicU32,
    workingset: AtomicU32,
    /// Index of the memory cgroup it is charged to.
    pub memcg: u16,
    /// The node its frame belongs to.
    pub node: u8,
    /// log2 of the pages that a folio has which is made for it, where there is memory for one in a row.
    pub order: u8,
    /// Of a file of shared memory: reclaimed as an anonymous page is, by way of the swap device, and none (`!folio_test_anon`).
    pub shmem: bool,
}

const _: () = assert!(cfg!(any(kcompressd_loom, kcompressd_shuttle)) || size_of::<Folio>() == 64);

macro_rules! field {
    ($get:ident, $set:ident, $doc:literal) => {
        #[doc = concat!("Reads ", $doc)]
        #[inline]
        pub fn $get(&self) -> u32 {
            // ORDERING: Relaxed: the field's owner (module doc) is ordered by its lock or by the state word.
            self.$get.load(Ordering::Relaxed)
        }

        #[doc = concat!("Writes ", $doc)]
        #[inline]
        pub fn $set(&self, value: u32) {
            // ORDERING: Relaxed: as for the reader.
            self.$get.store(value, Ordering::Relaxed);
        }
    };
}

impl Folio {
    /// A page that has not been touched yet.
    pub fn absent(memcg: u16, node: u8) -> Self {
        Self { word: StateWord::new(State::Freed, 0), ..Self::new(memcg, node) }
    }

    /// A resident, mapped, dirty page with PG_lru, which its maker puts on the inactive list.
    pub fn new(memcg: u16, node: u8) -> Self {
        Self {
            word: StateWord::new(INITIAL.0, INITIAL.1),
            links: Links::default(),
            slot: AtomicU32::new(NIL),
            pool: AtomicU32::new(NIL),
            extra_refs: AtomicU32::new(0),
            shadow: AtomicU32::new(0),
            evictor: AtomicU32::new(0),
            pfn: AtomicU32::new(NIL),
            lru_gen: AtomicU32::new(0),
            workingset: AtomicU32::new(0),
            memcg,
            node,
            order: 0,
            shmem: false,
        }
    }

    /// The same page, number `page` of all, where folios are of `2^order` pages: one that is there is the first of such a folio, or
    /// a later one.
    #[must_use]
    pub fn of_order(self, order: u8, page: u32) -> Self {
        let word = match (order, self.word.load().state(), page.is_multiple_of(1 << order)) {
            (0, ..) | (_, State::Freed, _) => self.word,
            (_, _, true) => StateWord::new(INITIAL.0, INITIAL.1 | flag::HEAD),
            (_, _, false) => StateWord::new(State::Tail, 0),
        };
        Self { word, order, ..self }
    }

    field!(slot, set_slot, "the swap slot, or [`NIL`].");
    field!(shadow, set_shadow, "the age of its evictor when it was evicted.");
    field!(evictor, set_evictor, "the memory cgroup from which reclaim began that evicted it.");
    field!(
        workingset,
        set_workingset,
        "PG_workingset, 0 or 1: it has been on the active list; of a page that has left, what its shadow says of it."
    );
    field!(pfn, set_pfn, "the number of its frame in a zone, or [`NIL`] without a memory budget.");
    field!(pool, set_pool, "the zswap pool that a queued folio holds a reference to, or [`NIL`].");

    /// With the multi-gen LRU, the generation that it belongs to and the one whose list it is on, both modulo four.
    #[inline]
    pub fn lru_gen(&self) -> (u8, u8) {
        // ORDERING: Relaxed: the LRU lock orders it.
        let both = self.lru_gen.load(Ordering::Relaxed);
        (both as u8, (both >> 8) as u8)
    }

    /// Sets both.
    #[inline]
    pub fn set_lru_gen(&self, of: u8, list: u8) {
        // ORDERING: Relaxed: the LRU lock orders it.
        self.lru_gen.store(u32::from(list) << 8 | u32::from(of), Ordering::Relaxed);
    }

    /// `folio_nr_pages` of the folio whose first page this is.
    #[inline]
    pub fn nr_pages(&self) -> u32 {
        if self.order == 0 { 1 } else { self.nr_pages_of(self.word.load()) }
    }

    /// The same as its word was.
    #[inline]
    pub fn nr_pages_of(&self, word: Word) -> u32 {
        if word.has(flag::HEAD) { 1 << self.order } else { 1 }
    }

    /// Takes an extra reference (`folio_get`).
    #[inline]
    pub fn get(&self) {
        // ORDERING: Relaxed: a count; who frees the folio looks at it after winning the state word.
        self.extra_refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops an extra reference (`folio_put`).
    #[inline]
    pub fn put(&self) {
        // ORDERING: Release: what was done under the reference precedes its end; pairs with `extra_refs`.
        self.extra_refs.fetch_sub(1, Ordering::Release);
    }

    /// References beyond the isolator's and the swap cache's.
    #[inline]
    pub fn extra_refs(&self) -> u32 {
        // ORDERING: Acquire: pairs with `put`.
        self.extra_refs.load(Ordering::Acquire)
    }
}

impl Listed for Folio {
    #[inline]
    fn links(&self) -> &Links {
        &self.links
    }
}

impl Snapshot for Folio {
    fn save(&self, out: &mut Saved) {
        let slot = narrow(out.names.slots.name(self.slot()), 16);
        let (pool, extra_refs) = (narrow(self.pool(), 8), narrow(self.extra_refs(), 8));
        out.state.push(u64::from(self.word.parts()) << 32 | slot << 16 | pool << 8 | extra_refs);
    }

    fn restore(&self, from: &mut Reader<'_>) {
        let word = from.state();
        self.word.set_parts((word >> 32) as u32);
        // The links of a listed folio are its list's to restore.
        self.links.clear();
        self.set_slot(widen(word >> 16, 16));
        self.set_pool(widen(word >> 8, 8));
        // ORDERING: Relaxed: a restoring driver is alone.
        self.extra_refs.store(widen(word, 8), Ordering::Relaxed);
    }
}
