//! How a system is built, and why it cannot be.

use super::{Contents, Store};
use crate::codec::CodecSpec;
use crate::design::{Design, StoreKind};
use crate::queue::FolioQueue;
use crate::zone::ZoneConfig;
use crate::zram::Zram;
use crate::zsmalloc::{ConfigError, Pool, PoolConfig};
use crate::zswap::{Zswap, ZswapConfig};

/// How a system is built.
#[derive(Clone, Debug)]
pub struct Config {
    /// The design; validated by the caller.
    pub design: Design,
    /// The store.
    pub store: StoreKind,
    /// The kernel modelled (major, minor).
    pub kernel: (u16, u16),
    /// The compressor.
    pub codec: CodecSpec,
    /// Bytes of a page.
    pub page_size: usize,
    /// zsmalloc's longest zspage, pages.
    pub chain_size: usize,
    /// zswap's pool limit or zram's `mem_limit`, pages; `None`: no limit.
    pub pool_limit_pages: Option<u64>,
    /// zswap's `accept_threshold_percent`.
    pub accept_threshold_percent: u64,
    /// Nodes, each with its kswapd; pages are dealt out in equal runs.
    pub nodes: u8,
    /// Swap slots.
    pub slots: u32,
    /// The memory that everything has to fit into; `None`: there is enough, and whatever is wanted gone is.
    pub memory: Option<Memory>,
}

/// The memory of a system, and how reclaim shares it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pages of all applications together; contents are repeated where they are more than the input has. They are absent
    /// until they are touched.
    pub pages: u32,
    /// The node's one zone.
    pub zone: ZoneConfig,
    /// Clean page-cache pages on the inactive list when the run begins; they come out of the zone's free pages.
    pub file_pages: u32,
    /// The multi-gen LRU in the place of active and inactive lists (`lru_gen/enabled`).
    pub lru_gen: bool,
    /// `vm.swappiness`, 0 to 200.
    pub swappiness: u32,
}

/// Why a system cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// zsmalloc's parameters.
    #[error(transparent)]
    Zsmalloc(#[from] ConfigError),
    /// No nodes.
    #[error("a system has at least one node")]
    NoNodes,
    /// A memory budget is one node's.
    #[error("a system with a memory budget has one node, not {0}")]
    OneZone(u8),
    /// Nothing to fill pages with, or real bytes for fewer pages than there are.
    #[error("contents of {have} pages cannot fill {pages}: give sizes of at least one page, or bytes of every page")]
    Contents {
        /// Pages that have contents.
        have: usize,
        /// Pages that need some.
        pages: u32,
    },
    /// More pages than indices.
    #[error("{0} pages: at most 2^32 - 2")]
    TooManyPages(usize),
}

impl Config {
    /// How many pages a system of `contents` has.
    pub(super) fn pages(&self, contents: &Contents) -> Result<u32, BuildError> {
        let have = contents.len();
        let pages = u32::try_from(have).ok().filter(|&pages| pages < u32::MAX).ok_or(BuildError::TooManyPages(have))?;
        let Some(memory) = self.memory else {
            return if self.nodes == 0 { Err(BuildError::NoNodes) } else { Ok(pages) };
        };
        let enough = match contents {
            Contents::Frames(_) => pages == memory.pages,
            Contents::Sizes(_) => pages > 0,
        };
        match (self.nodes, enough) {
            (1, true) => Ok(memory.pages),
            (1, false) => Err(BuildError::Contents { have, pages: memory.pages }),
            (nodes, _) => Err(BuildError::OneZone(nodes)),
        }
    }
}

pub(super) fn queues(design: &Design) -> Box<[FolioQueue]> {
    let capacity = (design.depth.max(1) as usize).next_power_of_two();
    let queue = |_| FolioQueue::new(capacity, design.depth as usize).expect("a validated depth");
    (0..design.threads).map(queue).collect()
}

pub(super) fn node_of(page: u32, pages: u32, nodes: u8) -> u8 {
    (u64::from(page) * u64::from(nodes) / u64::from(pages.max(1))) as u8
}

pub(super) fn store(config: &Config, pool: PoolConfig, groups: usize) -> Result<Store, ConfigError> {
    let limit = config.pool_limit_pages;
    Ok(match config.store {
        StoreKind::Zswap => {
            let zswap = ZswapConfig {
                total_ram_pages: limit.unwrap_or(u64::MAX / 100),
                max_pool_percent: 100,
                accept_threshold_percent: config.accept_threshold_percent,
                shrinker_enabled: false,
                kernel: config.kernel,
                codec: config.codec,
                pool,
                slots: config.slots,
                nodes: config.nodes,
            };
            Store::Zswap(Zswap::new(zswap, groups)?)
        }
        StoreKind::Zram => Store::Zram(Zram::new(Pool::new(pool)?, config.slots, limit.unwrap_or(0))),
    })
}
