//! zswap: a compressed pool in front of the swap device, as the halves of `zswap_store`, which never enqueue.
//!
//! `store_begin` settles the limits and takes the pool reference, once a folio; for each of its pages `store_page` allocates,
//! fills and leaves the reference to the entry (`hold` takes one for each further page), `store_publish` charges the memcg and
//! puts the entry on the LRU; `store_end` gives back a reference that no entry got. A folio
//! is stored as a whole or not at all: whoever fails in the middle calls `invalidate` for all of its slots.
//! Any order of halves of different folios may interleave; the halves of one folio belong to the actor that holds it.
//!
//! Who may touch an entry: see the module `entry`. Lock order: an LRU lock and a class lock are never nested.
//!
//! Accounting: `stored_pages` = entries with a handle = entries on the lists; pool pages = Σ zspages of all pools; a memcg's
//! bytes = Σ `len` of its entries and its descendants'; references to a pool = its entries + stores under way + 1 if current.
//! Source: Documentation/admin-guide/mm/zswap.rst and behaviour of 6.12 to 6.18 (docs/kernel-map.md).

mod debugfs;
pub mod direct;
mod entry;
mod lru;
mod params;
mod pools;
mod saved;
pub mod shrink;

pub use debugfs::{Debugfs, count};
pub use lru::Look;
pub use params::{Params, ZswapConfig};
pub use pools::{POOLS, TooManyPools};

use crate::codec::{CodecName, CodecSpec, Codecs, DecodeError};
use crate::memcg::Memcgs;
use crate::sync::{AtomicBool, AtomicU32, CachePadded, prefetch_to_write};
use crate::units::NIL;
use crate::zsmalloc::{AllocError, ConfigError, Frames, Pool};
use debugfs::uncount;
use entry::{Entry, Meta, OWNED};
use lru::Lrus;
use pools::Pools;

/// Why the first half of a store refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// zswap is off.
    Disabled,
    /// The memcg or an ancestor is at `memory.zswap.max`. One entry of the memcg may be written back to make room
    /// ([`shrink::ShrinkMemcg`]); the store then goes on at [`Zswap::store_begin_charged`].
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

/// In what form a compressed page goes into the pool.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a block of so many bytes.
    Block(usize),
    /// As it is.
    Raw,
    /// Not at all; counted.
    Refused,
}

/// The store.
#[derive(Debug)]
pub struct Zswap {
    params: Params,
    page_size: u64,
    kernel: (u16, u16),
    pools: Pools,
    entries: Box<[Entry]>,
    lrus: Lrus,
    full: AtomicBool,
    shrink_queued: AtomicBool,
    next_shrink: AtomicU32,
    /// Counters, by their debugfs names.
    pub counters: CachePadded<Debugfs>,
}

impl Zswap {
    /// An empty store for the pages of `groups` memcgs.
    ///
    /// # Errors
    /// [`ConfigError`]: zsmalloc's parameters.
    pub fn new(config: ZswapConfig, groups: usize) -> Result<Self, ConfigError> {
        Ok(Self {
            params: Params::new(&config),
            page_size: config.pool.page_size as u64,
            kernel: config.kernel,
            pools: Pools::new(config.pool, config.codec)?,
            entries: (0..config.slots).map(|_| Entry::default()).collect(),
            lrus: Lrus::new(groups, config.nodes),
            full: AtomicBool::new(false),
            shrink_queued: AtomicBool::new(false),
            next_shrink: AtomicU32::new(NIL),
            counters: CachePadded::default(),
        })
    }

    /// Makes room for memcgs up to `groups` (`mem_cgroup_css_alloc`).
    pub fn grow(&mut self, groups: usize) {
        self.lrus.grow(groups);
    }

    /// Pages of all pools: what the limit is about.
    pub fn total_pages(&self) -> u64 {
        self.pools.total_pages()
    }

    /// The zspages of the pool that new stores go to.
    pub fn current_pool(&self) -> &Pool {
        self.pools.zs(self.pools.current())
    }

    /// Entries in the pools.
    pub fn stored_pages(&self) -> u64 {
        self.lrus.stored()
    }

    /// Bytes of the entries, one by one: right while nobody stores or frees.
    pub fn stored_bytes(&self) -> u64 {
        let held = self.entries.iter().filter(|entry| entry.handle().is_some());
        held.map(|entry| u64::from(entry.meta().len)).sum()
    }

    /// /sys/kernel/debug/zswap: names and values.
    pub fn debugfs(&self) -> Vec<(&'static str, u64)> {
        let sums = [("pool_total_size", self.total_pages() * self.page_size), ("stored_pages", self.stored_pages())];
        let mut all = self.counters.read();
        let at = all.iter().position(|(name, _)| *name == "stored_incompressible_pages").unwrap_or(all.len());
        all.splice(at..at, sums);
        all
    }

    /// First half: the group's limit, then the pool's; `Ok` is a reference to the pool (its number).
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub fn store_begin(&self, memcgs: &Memcgs, memcg: u16) -> Result<u32, Refusal> {
        if !self.enabled() {
            return Err(Refusal::Disabled);
        }
        if !memcgs.may_zswap(memcg) {
            return Err(Refusal::Memcg);
        }
        self.store_begin_charged()
    }

    /// First half from the pool's limit on: the group had room, or has written an entry back.
    ///
    /// # Errors
    /// [`Refusal::PoolLimit`]: nothing was taken.
    pub fn store_begin_charged(&self) -> Result<u32, Refusal> {
        if self.check_limits() {
            return Err(Refusal::PoolLimit);
        }
        Ok(self.pools.get_current())
    }

    /// Another reference, for a page that [`Zswap::store_page`] is to store besides the one of [`Zswap::store_begin`].
    pub fn hold(&self, pool: u32) {
        self.pools.get(pool);
    }

    /// Gives a reference back that no entry got.
    pub fn store_end(&self, pool: u32) {
        self.pools.put(pool);
    }

    /// The compressor of a pool that the caller has a reference to.
    pub fn codec(&self, pool: u32) -> CodecSpec {
        self.pools.codec(pool)
    }

    /// In what form a page goes in whose compressor made `len` bytes of it (`None`: it gave up).
    ///
    /// Before 6.18 a block of up to a page, or not at all. Since then a shorter block, or the page itself, unless its memcg
    /// denies writeback: it could never leave, and keeping it saves nothing. `pool` is the one whose compressor it was.
    pub fn form(&self, pool: u32, len: Option<u32>, writeback_enabled: bool) -> Form {
        let keeps_raw = self.kernel >= (6, 18);
        let longest = self.page_size - u64::from(keeps_raw);
        match len.filter(|&len| len > 0 && u64::from(len) <= longest) {
            Some(len) => Form::Block(len as usize),
            None if keeps_raw && writeback_enabled => Form::Raw,
            None => {
                self.count_rejected(pool, len);
                Form::Refused
            }
        }
    }

    /// A block of more than a page is -ENOSPC to 842 and -EINVAL to every other compressor, as is one of a whole page.
    #[cold]
    fn count_rejected(&self, pool: u32, len: Option<u32>) {
        let poor = self.codec(pool).name() == CodecName::P842 && len.is_none_or(|len| u64::from(len) > self.page_size);
        let counters = &self.counters;
        count(if poor { &counters.reject_compress_poor } else { &counters.reject_compress_fail });
    }

    /// Second half, allocation: the block goes into the pool and the slot's entry points at it; what it pointed at is freed.
    /// The caller's reference to the pool is the entry's from now on.
    ///
    /// # Errors
    /// [`AllocError`], counted as `reject_alloc_fail`, or without memory for the entry as `reject_kmemcache_fail`; nothing is stored, and the
    /// caller keeps its reference.
    pub fn store_page(
        &self,
        slot: u32,
        pool: u32,
        block: Block<'_>,
        memcgs: &Memcgs,
        frames: &impl Frames,
    ) -> Result<(), AllocError> {
        if !frames.take_entry() {
            count(&self.counters.reject_kmemcache_fail);
            return Err(AllocError::NoMemory { class_bytes: 56, pages: 0 });
        }
        let zs = self.pools.zs(pool);
        let handle = match block.bytes {
            Some(bytes) => zs.store(bytes, frames),
            None => zs.malloc(block.len, frames),
        }
        .inspect_err(|_| {
            frames.give_entry();
            count(&self.counters.reject_alloc_fail);
        })?;
        self.invalidate(slot, memcgs, frames);
        self.entries[slot as usize].fill(handle, Meta { len: block.len as u32, pool, raw: block.raw });
        Ok(())
    }

    /// Second half, publication: charged to the memcg, on its LRU last.
    pub fn store_publish(&self, slot: u32, folio: u32, memcgs: &Memcgs, memcg: u16, node: u8) {
        let entry = &self.entries[slot as usize];
        entry.belong(folio, memcg, node);
        memcgs.charge_zswap(memcg, u64::from(entry.meta().len));
        if entry.meta().raw {
            count(&self.counters.stored_incompressible_pages);
        }
        self.lrus.add(&self.entries, memcgs, slot);
    }

    /// Notes in the slot's entry whether a queued folio's first half was done (the alternative to a tag).
    pub fn expect(&self, slot: u32, begun: bool) {
        self.entries[slot as usize].expected.store(begun, OWNED);
    }

    /// What [`Zswap::expect`] noted: the look-up that a bit-0 tag saves.
    pub fn is_expected(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|e| e.expected.load(OWNED))
    }

    /// Asks the CPU for what the store of a block of `len` bytes in `slot` is about to change: all of it comes together, from
    /// the CPU that has stored last. Earlier would be too early: that CPU links its next entry before the last one.
    #[inline]
    pub fn prefetch_store(&self, slot: u32, pool: u32, len: u32, memcg: u16, node: u8) {
        self.entries.get(slot as usize).into_iter().for_each(|entry| prefetch_to_write(entry));
        self.lrus.prefetch(memcg, node);
        self.pools.zs(pool).prefetch(len as usize);
    }

    /// Bytes of the slot's entry; 0 where it has none.
    pub fn len_bytes(&self, slot: u32) -> u64 {
        let entry = &self.entries[slot as usize];
        if entry.handle().is_some() { entry.meta().len.into() } else { 0 }
    }

    /// Whether the slot's contents are in the pool.
    pub fn holds(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|e| e.handle().is_some())
    }

    /// The memcg that the slot's entry is charged to, and its node.
    pub fn place(&self, slot: u32) -> (u16, u8) {
        self.entries[slot as usize].place()
    }
    /// `zswap_load`: decompresses into `page` by way of `block` (two pages); the entry stays until [`Zswap::unlist`] and [`Zswap::erase`].
    ///
    /// # Errors
    /// [`DecodeError`], counted as `decompress_fail`.
    ///
    /// # Panics
    /// If the slot has no entry: the state word said that it has.
    pub fn load(&self, slot: u32, codecs: &mut Codecs, block: &mut [u8], page: &mut [u8]) -> Result<(), DecodeError> {
        let entry = &self.entries[slot as usize];
        let handle = entry.handle().expect("a compressed page has an entry");
        let meta = entry.meta();
        let block = &mut block[..meta.len as usize];
        self.pools.zs(meta.pool).read(handle, block);
        let loaded = match meta.raw {
            true => {
                page.copy_from_slice(block);
                Ok(())
            }
            false => codecs.get(self.pools.codec(meta.pool)).decompress(block, page),
        };
        loaded.inspect_err(|_| count(&self.counters.decompress_fail))
    }

    /// A memory error, for tests: the slot's compressed block is all ones from now on, which no decoder takes. Whether there
    /// was such a block.
    pub fn spoil(&self, slot: u32) -> bool {
        let Some(entry) = self.entries.get(slot as usize) else { return false };
        let (Some(handle), meta) = (entry.handle(), entry.meta()) else { return false };
        if !meta.raw {
            self.pools.zs(meta.pool).write(handle, &vec![0xff; meta.len as usize]);
        }
        !meta.raw
    }

    /// Takes the slot's entry off its LRU.
    pub fn unlist(&self, slot: u32, memcgs: &Memcgs) {
        self.lrus.del(&self.entries, memcgs, slot);
    }

    /// Frees the slot's entry, which is off the LRU, and uncharges it; the pool goes with its last entry.
    pub fn erase(&self, slot: u32, memcgs: &Memcgs, frames: &impl Frames) {
        let entry = &self.entries[slot as usize];
        let Some((handle, meta)) = entry.empty() else { return };
        let (memcg, node) = entry.place();
        memcgs.uncharge_zswap(memcg, u64::from(meta.len));
        self.lrus.note_erased(memcg, node);
        if meta.raw {
            uncount(&self.counters.stored_incompressible_pages);
        }
        self.pools.zs(meta.pool).free(handle, frames);
        frames.give_entry();
        self.pools.put(meta.pool);
    }

    /// `zswap_invalidate`: the slot's entry, if there is one, is no more.
    pub fn invalidate(&self, slot: u32, memcgs: &Memcgs, frames: &impl Frames) {
        if self.holds(slot) {
            self.unlist(slot, memcgs);
            self.erase(slot, memcgs, frames);
        }
    }

    /// `zswap_folio_swapin`: a page of `memcg` had to come from the device; one entry more is protected from the dynamic shrinker.
    pub fn note_disk_swapin(&self, memcgs: &Memcgs, memcg: u16, node: u8) {
        self.lrus.note_disk_swapin(memcgs.online(memcg), node);
    }

    /// Moves the entries of `memcg`, which is offline, on `node` to its parent: to be called for each node.
    pub fn reparent(&self, memcgs: &Memcgs, memcg: u16, node: u8) {
        self.lrus.reparent(&self.entries, memcgs, memcg, node);
    }

    /// The slots of the entries of `memcg` itself on `node`, oldest first.
    pub fn lru_slots(&self, memcg: u16, node: u8) -> Vec<u32> {
        self.lrus.slots(&self.entries, memcg, node)
    }

    /// Checks the accounting at rest.
    ///
    /// # Panics
    /// Where an equation of the module's doc does not hold.
    pub fn invariant(&self) {
        let held = || self.entries.iter().filter(|e| e.handle().is_some());
        assert_eq!(held().count() as u64, self.stored_pages(), "stored_pages = entries with a handle");
        assert_eq!(held().count() as u64, self.lrus.total(&self.entries), "every entry is on an LRU");
        for (pool, _, refs) in self.pools.alive() {
            let entries = held().filter(|e| e.meta().pool == pool).count() as u64;
            assert_eq!(refs, entries + u64::from(pool == self.pools.current()), "references to pool {pool}");
        }
        self.pools.invariant();
    }
}

#[cfg(test)]
mod tests;
