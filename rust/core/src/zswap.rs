//! zswap: a compressed pool in front of the swap device, as the halves of `zswap_store`, which never enqueue.
//!
//! `store_begin` settles the limits and takes the pool reference; `store_page` allocates and fills; `store_publish` charges
//! the memcg and puts the entry on the LRU; `store_finish` and `store_abort` end it. Any order of halves of different folios
//! may interleave; the halves of one folio belong to the actor that holds it.
//!
//! Who may touch an entry: `handle` and `meta` belong to the slot's page, that is to the actor that won its state word;
//! the links and the `referenced` bit belong to the LRU lock. Lock order: LRU lock and a class lock are never nested.
//!
//! Accounting: `stored_pages` = entries with a handle; pool pages = Σ zspages; a memcg's bytes = Σ `len` of its entries.
//! Source: Documentation/admin-guide/mm/zswap.rst and behaviour of 6.12 to 6.18 (docs/kernel-map.md).

use crate::codec::{Compressor, DecodeError};
use crate::list::{Links, List};
use crate::memcg::Memcgs;
use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::units::NIL;
use crate::zsmalloc::{AllocError, Frames, Handle, Pool};

/// Why the first half of a store refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The memcg or an ancestor is at `memory.zswap.max`.
    Memcg,
    /// The pool is at its limit, or has not yet drained to the accept threshold.
    PoolLimit,
}

/// Compressed contents on their way into the pool; `bytes` is empty in a system without contents.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The length, bytes.
    pub len: usize,
    /// The contents, `len` bytes, where there are any.
    pub bytes: Option<&'a [u8]>,
    /// Whether they are the page itself.
    pub raw: bool,
}

/// A page's entry, by swap slot.
#[derive(Debug)]
struct Entry {
    handle: AtomicU64,
    /// `len << 1 | raw`.
    meta: AtomicU32,
    folio: AtomicU32,
    prev: AtomicU32,
    next: AtomicU32,
    referenced: AtomicBool,
    /// Queued after the first half of its store: what a worker looks up instead of a tag.
    expected: AtomicBool,
}

impl Default for Entry {
    fn default() -> Self {
        let nil = || AtomicU32::new(NIL);
        Self {
            handle: AtomicU64::new(0),
            meta: AtomicU32::new(0),
            folio: nil(),
            prev: nil(),
            next: nil(),
            referenced: AtomicBool::new(false),
            expected: AtomicBool::new(false),
        }
    }
}

// ORDERING (all of Entry): Relaxed: every field is ordered by its owner, the state word of the slot's page or the LRU lock.
const OWNED: Ordering = Ordering::Relaxed;

impl Entry {
    fn handle(&self) -> Option<Handle> {
        Handle::from_raw(self.handle.load(OWNED))
    }

    fn len(&self) -> usize {
        (self.meta.load(OWNED) >> 1) as usize
    }

    fn is_raw(&self) -> bool {
        self.meta.load(OWNED) & 1 == 1
    }
}

impl Links for Entry {
    fn prev(&self) -> u32 {
        self.prev.load(OWNED)
    }

    fn next(&self) -> u32 {
        self.next.load(OWNED)
    }

    fn set_prev(&self, index: u32) {
        self.prev.store(index, OWNED);
    }

    fn set_next(&self, index: u32) {
        self.next.store(index, OWNED);
    }
}

macro_rules! debugfs {
    ($($name:ident $doc:literal,)*) => {
        /// /sys/kernel/debug/zswap, by name.
        #[derive(Debug, Default)]
        pub struct Debugfs { $(#[doc = $doc] pub $name: AtomicU64,)* }

        impl Debugfs {
            /// Names and values.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                // ORDERING: Relaxed: counters.
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }

            fn all(&self) -> Vec<&AtomicU64> {
                vec![$(&self.$name,)*]
            }
        }
    };
}

debugfs! {
    pool_limit_hit "Stores refused because the pool was at its limit.",
    reject_reclaim_fail "Entries that could not be written back.",
    reject_alloc_fail "Stores for which zsmalloc had no memory.",
    reject_compress_fail "Stores whose compressor failed.",
    reject_compress_poor "Stores whose page did not compress.",
    decompress_fail "Loads whose block did not decompress.",
    written_back_pages "Entries written back to the device.",
    stored_incompressible_pages "Entries that are the page itself.",
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    // ORDERING: Relaxed: a counter.
    counter.fetch_add(1, Ordering::Relaxed);
}

/// zswap's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZswapConfig {
    /// The pool's limit, pages (`totalram * max_pool_percent / 100`).
    pub max_pool_pages: u64,
    /// `accept_threshold_percent`: a full pool accepts again at this share of the limit.
    pub accept_threshold_percent: u64,
}

/// The store.
#[derive(Debug)]
pub struct Zswap {
    config: ZswapConfig,
    pool: Pool,
    entries: Box<[Entry]>,
    lru: Mutex<List>,
    full: AtomicBool,
    stored_pages: AtomicU64,
    /// Counters, by their debugfs names.
    pub debugfs: Debugfs,
}

impl Zswap {
    /// An empty store over `pool` for `slots` swap slots.
    pub fn new(config: ZswapConfig, pool: Pool, slots: u32) -> Self {
        let entries = (0..slots).map(|_| Entry::default()).collect();
        Self {
            config,
            pool,
            entries,
            lru: Mutex::new(List::default()),
            full: AtomicBool::new(false),
            stored_pages: AtomicU64::new(0),
            debugfs: Debugfs::default(),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Entries in the pool.
    pub fn stored_pages(&self) -> u64 {
        // ORDERING: Relaxed: a counter.
        self.stored_pages.load(Ordering::Relaxed)
    }

    /// Pages to which a full pool must drain before it accepts again.
    pub fn accept_pages(&self) -> u64 {
        self.config.max_pool_pages * self.config.accept_threshold_percent / 100
    }

    /// `zswap_check_limits`: true refuses. Between the threshold and the limit it refuses only after having been full.
    pub fn check_limits(&self) -> bool {
        let pages = self.pool.total_pages() as u64;
        // ORDERING: Relaxed: the flag is advice, as in the kernel; a store that slips past costs one entry.
        if pages >= self.config.max_pool_pages {
            count(&self.debugfs.pool_limit_hit);
            self.full.store(true, Ordering::Relaxed);
        } else if self.is_full() && pages <= self.accept_pages() {
            // ORDERING: Relaxed: as above.
            self.full.store(false, Ordering::Relaxed);
        }
        self.is_full()
    }

    /// Whether the pool has been at its limit and has not drained since: the shrink worker has work.
    pub fn is_full(&self) -> bool {
        // ORDERING: Relaxed: as in `check_limits`.
        self.full.load(Ordering::Relaxed)
    }

    /// Whether the shrink worker must go on: above the accept threshold.
    pub fn above_threshold(&self) -> bool {
        self.pool.total_pages() as u64 > self.accept_pages()
    }

    /// First half: the group's limit, then the pool's; `Ok` is a reference to the pool (its number).
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub fn store_begin(&self, memcgs: &Memcgs, memcg: u16) -> Result<u32, Refusal> {
        if !memcgs.may_zswap(memcg) {
            return Err(Refusal::Memcg);
        }
        if self.check_limits() {
            return Err(Refusal::PoolLimit);
        }
        Ok(0)
    }

    /// Second half, allocation: the block goes into the pool and the slot's entry points at it.
    ///
    /// # Errors
    /// [`AllocError`], counted as `reject_alloc_fail`; nothing is stored.
    pub fn store_page(&self, slot: u32, block: Block<'_>, frames: &impl Frames) -> Result<(), AllocError> {
        let handle = match block.bytes {
            Some(bytes) => self.pool.store(bytes, frames),
            None => self.pool.malloc(block.len, frames),
        }
        .inspect_err(|_| count(&self.debugfs.reject_alloc_fail))?;
        let entry = &self.entries[slot as usize];
        entry.meta.store((block.len as u32) << 1 | u32::from(block.raw), OWNED);
        entry.handle.store(handle.to_raw(), OWNED);
        if block.raw {
            count(&self.debugfs.stored_incompressible_pages);
        }
        Ok(())
    }

    /// Second half, publication: charged to the memcg, on the LRU last.
    pub fn store_publish(&self, slot: u32, folio: u32, memcgs: &Memcgs, memcg: u16) {
        let entry = &self.entries[slot as usize];
        entry.folio.store(folio, OWNED);
        memcgs.charge_zswap(memcg, entry.len() as u64);
        count(&self.stored_pages);
        let mut lru = self.lru.lock();
        entry.referenced.store(true, OWNED);
        lru.add_head(&self.entries, slot);
    }

    /// Notes in the slot's entry whether a queued folio's first half was done (the alternative to a tag).
    pub fn expect(&self, slot: u32, begun: bool) {
        self.entries[slot as usize].expected.store(begun, OWNED);
    }

    /// What [`Zswap::expect`] noted: the look-up that a bit-0 tag saves.
    pub fn is_expected(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|e| e.expected.load(OWNED))
    }

    /// Whether the slot's contents are in the pool.
    pub fn holds(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|e| e.handle().is_some())
    }

    /// Bytes of the slot's entry.
    pub fn len_bytes(&self, slot: u32) -> usize {
        self.entries[slot as usize].len()
    }

    /// `zswap_load`: decompresses into `page` by way of `block` (two pages); the entry stays until [`Zswap::unlist`] and [`Zswap::erase`].
    ///
    /// # Errors
    /// [`DecodeError`], counted as `decompress_fail`.
    ///
    /// # Panics
    /// If the slot has no entry: the state word said that it has.
    pub fn load(
        &self,
        slot: u32,
        codec: &mut dyn Compressor,
        block: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecodeError> {
        let entry = &self.entries[slot as usize];
        let handle = entry.handle().expect("a compressed page has an entry");
        let block = &mut block[..entry.len()];
        self.pool.read(handle, block);
        let loaded = match entry.is_raw() {
            true => {
                page.copy_from_slice(block);
                Ok(())
            }
            false => codec.decompress(block, page),
        };
        loaded.inspect_err(|_| count(&self.debugfs.decompress_fail))
    }

    /// Takes the slot's entry off the LRU.
    pub fn unlist(&self, slot: u32) {
        self.lru.lock().del(&self.entries, slot);
    }

    /// Frees the slot's entry, which is off the LRU, and uncharges it.
    pub fn erase(&self, slot: u32, memcgs: &Memcgs, memcg: u16, frames: &impl Frames) {
        let entry = &self.entries[slot as usize];
        let Some(handle) = entry.handle() else { return };
        entry.handle.store(0, OWNED);
        memcgs.uncharge_zswap(memcg, entry.len() as u64);
        // ORDERING: Relaxed: counters.
        self.stored_pages.fetch_sub(1, Ordering::Relaxed);
        if entry.is_raw() {
            self.debugfs.stored_incompressible_pages.fetch_sub(1, OWNED);
        }
        self.pool.free(handle, frames);
    }

    /// The next entry to write back, with its folio, and rotated so that the one after it comes next.
    ///
    /// Second chance: an entry that is still `referenced` loses the mark and is passed over once.
    pub fn shrink_candidate(&self) -> Option<(u32, u32)> {
        let mut lru = self.lru.lock();
        for _ in 0..2 * lru.len() {
            let slot = lru.tail()?;
            let entry = &self.entries[slot as usize];
            lru.del(&self.entries, slot);
            lru.add_head(&self.entries, slot);
            if !entry.referenced.swap(false, OWNED) {
                return Some((slot, entry.folio.load(OWNED)));
            }
        }
        None
    }

    /// Checks the accounting at rest.
    ///
    /// # Panics
    /// Where an equation of the module's doc does not hold.
    pub fn invariant(&self) {
        let held = self.entries.iter().filter(|e| e.handle().is_some()).count();
        assert_eq!(held as u64, self.stored_pages(), "stored_pages = entries with a handle");
        assert_eq!(held as u32, self.lru.lock().len(), "every entry is on the LRU");
        self.pool.invariant();
    }
}

impl Snapshot for Zswap {
    fn save(&self, out: &mut Saved) {
        self.pool.save(out);
        self.lru.lock().save(out);
        out.state.push(u64::from(self.is_full()));
        out.counters.push(self.stored_pages());
        out.counters.extend(self.debugfs.all().iter().map(|c| c.load(OWNED)));
        for e in &self.entries {
            out.state.push(e.handle.load(OWNED));
            out.state.push(u64::from(e.expected.load(OWNED)));
            if e.handle().is_some() {
                out.state.push(u64::from(e.meta.load(OWNED)) << 32 | u64::from(e.folio.load(OWNED)));
                out.state.push(u64::from(e.prev()) << 32 | u64::from(e.next()));
                out.state.push(u64::from(e.referenced.load(OWNED)));
            }
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.pool.restore(from);
        self.lru.lock().restore(from);
        self.full.store(from.state() != 0, OWNED);
        self.stored_pages.store(from.counter(), OWNED);
        for counter in self.debugfs.all() {
            counter.store(from.counter(), OWNED);
        }
        for e in &self.entries {
            e.handle.store(from.state(), OWNED);
            e.expected.store(from.state() != 0, OWNED);
            if e.handle().is_some() {
                let (meta, links) = (from.state(), from.state());
                e.meta.store((meta >> 32) as u32, OWNED);
                e.folio.store(meta as u32, OWNED);
                e.set_prev((links >> 32) as u32);
                e.set_next(links as u32);
                e.referenced.store(from.state() != 0, OWNED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zsmalloc::{PoolConfig, Unlimited};

    fn zswap(max_pool_pages: u64) -> Zswap {
        let pool = Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap();
        Zswap::new(ZswapConfig { max_pool_pages, accept_threshold_percent: 50 }, pool, 16)
    }

    fn store(zswap: &Zswap, slot: u32, len: usize) {
        let memcgs = Memcgs::default();
        zswap.store_page(slot, Block { len, bytes: None, raw: false }, &Unlimited).unwrap();
        zswap.store_publish(slot, slot + 100, &memcgs, 0);
    }

    #[test]
    fn a_full_pool_refuses_until_it_has_drained_to_the_threshold() {
        let (zswap, memcgs) = (zswap(4), Memcgs::default());
        for slot in 0..4 {
            assert_eq!(zswap.store_begin(&memcgs, 0), Ok(0));
            store(&zswap, slot, 4000); // one page each: above the huge class
        }
        assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::PoolLimit));
        let drop_one = |slot| {
            zswap.unlist(slot);
            memcgs.charge_zswap(0, 4000);
            zswap.erase(slot, &memcgs, 0, &Unlimited);
        };
        drop_one(0);
        assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::PoolLimit), "3 of 4: above the threshold, once full");
        drop_one(1);
        assert_eq!(zswap.store_begin(&memcgs, 0), Ok(0), "2 of 4: drained");
        assert_eq!(zswap.debugfs.read()[0], ("pool_limit_hit", 1));
        zswap.invariant();
    }

    #[test]
    fn the_group_s_limit_is_asked_first() {
        let (zswap, memcgs) = (zswap(0), Memcgs::default());
        memcgs.get(0).unwrap().set_zswap_max(0);
        assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::Memcg));
    }

    #[test]
    fn the_shrinker_gives_a_second_chance_in_lru_order() {
        let zswap = zswap(100);
        for slot in 0..3 {
            store(&zswap, slot, 100);
        }
        let order: Vec<_> = (0..4).map(|_| zswap.shrink_candidate().unwrap()).collect();
        assert_eq!(order, [(0, 100), (1, 101), (2, 102), (0, 100)]);
    }

    #[test]
    fn a_saved_store_comes_back() {
        let zswap = zswap(100);
        store(&zswap, 3, 1000);
        let (mut before, mut after) = (Saved::default(), Saved::default());
        zswap.save(&mut before);
        store(&zswap, 1, 50);
        zswap.restore(&mut before.reader());
        zswap.save(&mut after);
        assert_eq!(before, after);
        zswap.invariant();
    }
}
