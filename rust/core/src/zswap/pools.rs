//! zswap's pools: the current one, and those that a change of the compressor left to drain.
//!
//! A pool lives while it has references: one for being current, one an entry, one a store under way (also while its folio is
//! queued). When the last goes the pool is gone: its number may come back with another compressor. Switching to a compressor
//! whose pool still drains revives that pool. Nobody waits for anybody; switches exclude each other.
//! Source: Documentation/admin-guide/mm/zswap.rst ("Changing … at runtime"), pool references as observed in mm/zswap.c 6.12.

use crate::codec::CodecSpec;
use crate::snapshot::{Reader, Saved, Snapshot, narrow};
use crate::sync::{AtomicU32, AtomicU64, CachePadded, Mutex, OnceLock, Ordering};
use crate::zsmalloc::{ConfigError, Pool, PoolConfig};

/// Pools there may be at a time, draining ones included.
pub const POOLS: usize = 8;

/// Why the compressor cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{POOLS} zswap pools exist already, all but one still draining")]
pub struct TooManyPools;

#[derive(Debug, Default)]
struct Slot {
    /// Made when the number is first used, kept empty between lives.
    zs: OnceLock<Pool>,
    refs: CachePadded<AtomicU64>,
    codec: AtomicU64,
}

impl Slot {
    /// Takes a reference to a pool that lives.
    fn try_get(&self) -> bool {
        let more = |refs: u64| (refs > 0).then_some(refs + 1);
        // ORDERING: Acquire: pairs with the Release of `set_up`: who has a reference sees the codec.
        self.refs.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).is_ok()
    }

    fn refs(&self) -> u64 {
        // ORDERING: Acquire: pairs with `put`: who finds none left finds the pool empty.
        self.refs.load(Ordering::Acquire)
    }

    fn codec(&self) -> CodecSpec {
        // ORDERING: Relaxed: whoever has a reference is ordered by taking it.
        CodecSpec::from_word(self.codec.load(Ordering::Relaxed))
    }
}

/// All pools, by number.
#[derive(Debug)]
pub(super) struct Pools {
    slots: [Slot; POOLS],
    current: AtomicU32,
    switching: Mutex<()>,
    config: PoolConfig,
}

impl Pools {
    /// One empty pool for `codec`.
    ///
    /// # Errors
    /// [`ConfigError`]: zsmalloc's parameters.
    pub fn new(config: PoolConfig, codec: CodecSpec) -> Result<Self, ConfigError> {
        let first = Pool::new(config)?;
        let slots: [Slot; POOLS] = Default::default();
        slots[0].zs.get_or_init(|| first);
        let pools = Self { slots, current: AtomicU32::new(0), switching: Mutex::new(()), config };
        pools.set_up(0, codec);
        Ok(pools)
    }

    fn set_up(&self, pool: usize, codec: CodecSpec) {
        let slot = &self.slots[pool];
        slot.zs.get_or_init(|| Pool::new(self.config).expect("the first pool had the same parameters"));
        // ORDERING: Relaxed: published by the reference.
        slot.codec.store(codec.to_word(), Ordering::Relaxed);
        // ORDERING: Release: pairs with `try_get`.
        slot.refs.store(1, Ordering::Release);
    }

    /// Makes a pool for `codec` the current one (a write to the `compressor` parameter); returns its number.
    ///
    /// # Errors
    /// [`TooManyPools`]; nothing has changed.
    pub fn switch(&self, codec: CodecSpec) -> Result<u32, TooManyPools> {
        let _alone = self.switching.lock();
        let old = self.current();
        if self.codec(old) == codec {
            return Ok(old);
        }
        let new = match self.slots.iter().position(|slot| slot.codec() == codec && slot.try_get()) {
            Some(draining) => draining,
            None => {
                let free = self.slots.iter().position(|slot| slot.refs() == 0).ok_or(TooManyPools)?;
                self.set_up(free, codec);
                free
            }
        };
        // ORDERING: Release: pairs with `current`.
        self.current.store(new as u32, Ordering::Release);
        self.put(old);
        Ok(new as u32)
    }

    /// The number of the pool that new stores go to.
    pub fn current(&self) -> u32 {
        // ORDERING: Acquire: pairs with `switch`.
        self.current.load(Ordering::Acquire)
    }

    /// `zswap_pool_current_get`: the current pool, with a reference.
    pub fn get_current(&self) -> u32 {
        loop {
            let current = self.current();
            if self.slots[current as usize].try_get() {
                return current; // Or another life of its number: a pool that lives either way.
            }
            crate::sync::spin_loop();
        }
    }

    /// Another reference to a pool that the caller has one to.
    pub fn get(&self, pool: u32) {
        // ORDERING: Relaxed: the caller's own reference keeps it alive.
        self.slots[pool as usize].refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a reference back.
    pub fn put(&self, pool: u32) {
        // ORDERING: Release: what was done in the pool precedes its end; pairs with `refs`.
        let before = self.slots[pool as usize].refs.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "zswap pool {pool}: a reference too many given back");
    }

    /// The zspages of a pool that somebody has a reference to.
    #[inline]
    pub fn zs(&self, pool: u32) -> &Pool {
        self.slots[pool as usize].zs.get().expect("a pool with a reference exists")
    }

    /// The compressor of a pool that somebody has a reference to.
    pub fn codec(&self, pool: u32) -> CodecSpec {
        self.slots[pool as usize].codec()
    }

    /// Pages of all pools (`zswap_total_pages`).
    pub fn total_pages(&self) -> u64 {
        self.slots.iter().filter_map(|slot| slot.zs.get()).map(|zs| zs.total_pages() as u64).sum()
    }

    /// The pools that live: number, compressor, references.
    pub fn alive(&self) -> impl Iterator<Item = (u32, CodecSpec, u64)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| {
            let refs = slot.refs();
            (refs > 0).then(|| (number, slot.codec(), refs))
        })
    }

    /// Checks every pool.
    ///
    /// # Panics
    /// Where zsmalloc's equations do not hold, or a dead pool has pages.
    pub fn invariant(&self) {
        for (slot, zs) in self.slots.iter().filter_map(|slot| Some((slot, slot.zs.get()?))) {
            zs.invariant();
            assert!(slot.refs() > 0 || zs.total_pages() == 0, "a pool without references has no pages");
        }
    }
}

/// Bits of a codec's word: its level, and its number among the names.
const CODEC_BITS: u32 = 40;

impl Snapshot for Pools {
    fn save(&self, out: &mut Saved) {
        let head = out.state.len();
        out.state.push(u64::from(self.current()) << 32);
        for (number, codec, refs) in self.alive() {
            out.state[head] |= 1 << number;
            out.state.push(narrow(refs as u32, 24) << CODEC_BITS | codec.to_word());
            self.zs(number).save_as(number, out);
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        let head = from.state();
        // ORDERING: Relaxed (all of it): a restoring driver is alone.
        self.current.store((head >> 32) as u32, Ordering::Relaxed);
        for (number, slot) in self.slots.iter().enumerate() {
            let word = if head >> number & 1 == 1 { from.state() } else { 0 };
            let refs = word >> CODEC_BITS;
            if refs > 0 {
                self.set_up(number, CodecSpec::from_word(word & ((1 << CODEC_BITS) - 1)));
                self.zs(number as u32).restore(from);
            } else if let Some(zs) = slot.zs.get().filter(|zs| zs.total_pages() > 0) {
                zs.reset();
            }
            // ORDERING: Relaxed: as above.
            slot.refs.store(refs, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecName;

    fn codec(name: CodecName) -> CodecSpec {
        CodecSpec::new(name, None).unwrap()
    }

    fn pools() -> Pools {
        Pools::new(PoolConfig { bytes: false, ..PoolConfig::default() }, codec(CodecName::Lz4)).unwrap()
    }

    #[test]
    fn an_old_pool_lives_while_it_has_references_and_can_be_revived() {
        let pools = pools();
        let lz4 = pools.get_current();
        let zstd = pools.switch(codec(CodecName::Zstd)).unwrap();
        assert_eq!(pools.alive().map(|(n, _, refs)| (n, refs)).collect::<Vec<_>>(), [(lz4, 1), (zstd, 1)]);
        assert_eq!(pools.switch(codec(CodecName::Lz4)), Ok(lz4), "it still drains: revived");
        assert_eq!(pools.alive().map(|(n, _, refs)| (n, refs)).collect::<Vec<_>>(), [(lz4, 2)]);
        pools.switch(codec(CodecName::Zstd)).unwrap();
        pools.put(lz4);
        assert_eq!(pools.alive().count(), 1, "the last reference is gone");
        assert_eq!(pools.switch(codec(CodecName::Lzo)), Ok(lz4), "its number is free again");
    }

    #[test]
    fn there_are_so_many_pools_and_no_more() {
        let pools = pools();
        for level in 2..10 {
            pools.get_current(); // an entry that keeps the pool
            let switched = pools.switch(CodecSpec::new(CodecName::Zstd, Some(level)).unwrap());
            assert_eq!(switched.is_ok(), level < 9, "level {level}");
        }
        assert_eq!(pools.codec(pools.current()).level(), Some(8), "a refused switch changes nothing");
    }

    #[test]
    fn pools_come_back_from_a_snapshot() {
        let pools = pools();
        let (mut before, mut after) = (Saved::default(), Saved::default());
        pools.save(&mut before);
        let lz4 = pools.get_current();
        pools.zs(lz4).malloc(100, &crate::zsmalloc::Unlimited).unwrap();
        pools.switch(codec(CodecName::Deflate)).unwrap();
        pools.restore(&mut before.reader());
        pools.save(&mut after);
        assert_eq!(before, after);
        pools.invariant();
    }
}
