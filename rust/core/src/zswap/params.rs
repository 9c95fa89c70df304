//! zswap's module parameters, which may change at run time, and what the limits make of them.

use super::Zswap;
use super::debugfs::count;
use super::pools::TooManyPools;
use crate::codec::CodecSpec;
use crate::memcg::Memcgs;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::units::NIL;
use crate::zsmalloc::PoolConfig;

/// How zswap is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZswapConfig {
    /// `totalram_pages()`: what `max_pool_percent` is a share of.
    pub total_ram_pages: u64,
    /// `max_pool_percent`: the pools' limit.
    pub max_pool_percent: u64,
    /// `accept_threshold_percent`: a full pool accepts again at this share of the limit.
    pub accept_threshold_percent: u64,
    /// `shrinker_enabled`.
    pub shrinker_enabled: bool,
    /// The kernel modelled (major, minor): from 6.18 incompressible pages are kept as they are.
    pub kernel: (u16, u16),
    /// `compressor`.
    pub codec: CodecSpec,
    /// zsmalloc's parameters.
    pub pool: PoolConfig,
    /// Swap slots.
    pub slots: u32,
    /// Nodes, each with its lists.
    pub nodes: u8,
}

/// /sys/module/zswap/parameters but for `compressor`, which is the current pool's.
#[derive(Debug)]
pub struct Params {
    total_ram_pages: u64,
    max_pool_percent: AtomicU64,
    accept_threshold_percent: AtomicU64,
    enabled: AtomicBool,
    shrinker_enabled: AtomicBool,
}

impl Params {
    pub(super) fn new(config: &ZswapConfig) -> Self {
        Self {
            total_ram_pages: config.total_ram_pages,
            max_pool_percent: AtomicU64::new(config.max_pool_percent),
            accept_threshold_percent: AtomicU64::new(config.accept_threshold_percent),
            enabled: AtomicBool::new(true),
            shrinker_enabled: AtomicBool::new(config.shrinker_enabled),
        }
    }

    /// The word of a snapshot.
    pub(super) fn word(&self) -> u64 {
        // ORDERING: Relaxed: knobs; no other data hangs on them.
        let percents = [&self.max_pool_percent, &self.accept_threshold_percent].map(|p| p.load(Ordering::Relaxed));
        // ORDERING: as above.
        let flags = [&self.enabled, &self.shrinker_enabled].map(|flag| u64::from(flag.load(Ordering::Relaxed)));
        percents[0] << 32 | percents[1] << 2 | flags[0] << 1 | flags[1]
    }

    pub(super) fn set_word(&self, word: u64) {
        // ORDERING: Relaxed (all four): knobs; no other data hangs on them.
        self.max_pool_percent.store(word >> 32, Ordering::Relaxed);
        self.accept_threshold_percent.store(u64::from(word as u32 >> 2), Ordering::Relaxed); // ORDERING: as above.
        self.enabled.store(word & 2 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.shrinker_enabled.store(word & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
    }
}

impl Zswap {
    /// `enabled`.
    pub fn enabled(&self) -> bool {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.enabled.load(Ordering::Relaxed)
    }

    /// Sets `enabled`: off, nothing more is stored; what is stored can still be loaded.
    pub fn set_enabled(&self, enabled: bool) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.enabled.store(enabled, Ordering::Relaxed);
    }

    /// `shrinker_enabled`.
    pub fn shrinker_enabled(&self) -> bool {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.shrinker_enabled.load(Ordering::Relaxed)
    }

    /// Sets `shrinker_enabled`.
    pub fn set_shrinker_enabled(&self, enabled: bool) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.shrinker_enabled.store(enabled, Ordering::Relaxed);
    }

    /// `max_pool_percent`.
    pub fn max_pool_percent(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.max_pool_percent.load(Ordering::Relaxed)
    }

    /// Sets `max_pool_percent`, 0 to 100 (the caller checks).
    pub fn set_max_pool_percent(&self, percent: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.max_pool_percent.store(percent, Ordering::Relaxed);
    }

    /// `accept_threshold_percent`.
    pub fn accept_threshold_percent(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.accept_threshold_percent.load(Ordering::Relaxed)
    }

    /// Sets `accept_threshold_percent`, 0 to 100 (the caller checks).
    pub fn set_accept_threshold_percent(&self, percent: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.params.accept_threshold_percent.store(percent, Ordering::Relaxed);
    }

    /// `compressor`: that of the pool to which new stores go.
    pub fn compressor(&self) -> CodecSpec {
        self.pools.codec(self.pools.current())
    }

    /// Sets `compressor`: new stores go to a pool of its own, the old pool drains and is gone with its last entry.
    ///
    /// # Errors
    /// [`TooManyPools`]; nothing has changed.
    pub fn set_compressor(&self, codec: CodecSpec) -> Result<(), TooManyPools> {
        self.pools.switch(codec).map(drop)
    }

    /// The pools that live: compressor, pages, references, and whether new stores go there.
    pub fn pools(&self) -> Vec<(CodecSpec, u64, u64, bool)> {
        let current = self.pools.current();
        let of = |(pool, codec, refs)| (codec, self.pools.zs(pool).total_pages() as u64, refs, pool == current);
        self.pools.alive().map(of).collect()
    }

    /// The pools' limit, pages.
    pub fn max_pages(&self) -> u64 {
        self.params.total_ram_pages * self.max_pool_percent() / 100
    }

    /// Pages to which a full pool must drain before it accepts again.
    pub fn accept_pages(&self) -> u64 {
        self.max_pages() * self.accept_threshold_percent() / 100
    }

    /// `zswap_check_limits`: true refuses. Between the threshold and the limit it refuses only after having been full.
    pub fn check_limits(&self) -> bool {
        let pages = self.total_pages();
        // ORDERING: Relaxed: the flag is advice, as in the kernel; a store that slips past costs one entry.
        if pages >= self.max_pages() {
            count(&self.counters.pool_limit_hit);
            self.full.store(true, Ordering::Relaxed);
        } else if self.is_full() && pages <= self.accept_pages() {
            // ORDERING: Relaxed: as above.
            self.full.store(false, Ordering::Relaxed);
        }
        self.is_full()
    }

    /// Whether the pool has been at its limit and no store has found it drained since.
    pub fn is_full(&self) -> bool {
        // ORDERING: Relaxed: as in `check_limits`.
        self.full.load(Ordering::Relaxed)
    }

    /// The group that the shrink worker came to last (`zswap_next_shrink`); `None` before the root.
    pub fn next_shrink(&self) -> Option<u16> {
        // ORDERING: Relaxed: one worker moves it; a removal that races with it is as good before as after.
        Some(self.next_shrink.load(Ordering::Relaxed)).filter(|&memcg| memcg != NIL).map(|memcg| memcg as u16)
    }

    pub(super) fn set_next_shrink(&self, memcg: Option<u16>) {
        // ORDERING: Relaxed: as above.
        self.next_shrink.store(memcg.map_or(NIL, u32::from), Ordering::Relaxed);
    }

    /// `zswap_memcg_offline_cleanup`: the worker's place is not in `memcg`, which is offline, but in the group after it.
    pub fn forget(&self, memcgs: &Memcgs, memcg: u16) {
        if self.next_shrink() == Some(memcg) {
            self.set_next_shrink(memcgs.next_online(Some(memcg)));
        }
    }
}
