//! How a system is built, and why it cannot be.

use super::{Contents, Store};
use crate::codec::{CodecName, CodecSpec};
use crate::design::{Design, StoreKind};
use crate::folio::{Folio, MAX_FOLIO_ORDER};
use crate::memcg::Memcgs;
use crate::node::Node;
use crate::queue::FolioQueue;
use crate::swap::Slots;
use crate::zone::ZoneConfig;
use crate::zram::Zram;
use crate::zsmalloc::{ConfigError, Pool, PoolConfig};
use crate::zswap::{Zswap, ZswapConfig};
use std::ops::Range;

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
    /// Where folios are large; none overlap.
    pub large: Vec<Large>,
    /// Which pages are shared memory.
    pub shmem: Vec<Range<u32>>,
}

/// The size of the folios of an application's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Large {
    /// The pages. What is left at their ends by alignment are single pages.
    pub pages: Range<u32>,
    /// log2 of the pages of a folio, 1 to [`MAX_FOLIO_ORDER`].
    pub order: u8,
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
    /// Large folios where they cannot be.
    #[error("folio_order {order}: {why}")]
    Large {
        /// What was asked for.
        order: u8,
        /// What is in the way.
        why: &'static str,
    },
    /// More pages than indices.
    #[error("{0} pages: at most 2^32 - 2")]
    TooManyPages(usize),
}

impl Config {
    /// `design` on one node of Linux 6.12 with enough memory: lz4, small pages of 4096 bytes, a store without a limit.
    pub fn new(design: Design, store: StoreKind, slots: u32) -> Self {
        let pool = PoolConfig::default();
        Self {
            design,
            store,
            kernel: (6, 12),
            codec: CodecSpec::new(CodecName::Lz4, None).expect("lz4 takes no level"),
            page_size: pool.page_size,
            chain_size: pool.chain_size,
            pool_limit_pages: None,
            accept_threshold_percent: 90,
            nodes: 1,
            slots,
            memory: None,
            large: Vec::new(),
            shmem: Vec::new(),
        }
    }

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

    /// The pages' folios: present ones, or with a memory budget absent ones.
    pub(super) fn folios(&self, pages: u32, memcg_of: impl Fn(u32) -> u16) -> Box<[Folio]> {
        let new = if self.memory.is_some() { Folio::absent } else { Folio::new };
        let folio = |page| {
            let mut folio = new(memcg_of(page), node_of(page, pages, self.nodes)).of_order(self.order_of(page), page);
            folio.shmem = self.shmem.iter().any(|pages| pages.contains(&page));
            folio
        };
        (0..pages).map(folio).collect()
    }

    /// The nodes, with lists for each of `memcgs`.
    pub(super) fn nodes(&self, memcgs: &Memcgs) -> Box<[Node]> {
        let lru_gen = self.memory.is_some_and(|memory| memory.lru_gen);
        (0..self.nodes).map(|_| Node::new(memcgs, self.memory.is_some(), lru_gen)).collect()
    }

    /// The swap slots, with a memory budget by way of each CPU's cache.
    pub(super) fn slots(&self) -> Slots {
        match self.memory {
            Some(_) => Slots::with_caches(self.slots, self.cpus(), !self.large.is_empty()),
            None => Slots::new(self.slots),
        }
    }

    /// CPUs that have lists and caches of their own.
    pub(super) fn cpus(&self) -> u16 {
        self.memory.map_or(1, |memory| memory.zone.cpus.max(1))
    }

    /// log2 of the pages of the folio that `page` is to be part of.
    pub(super) fn order_of(&self, page: u32) -> u8 {
        let Some(large) = self.large.iter().find(|large| large.pages.contains(&page)) else { return 0 };
        let first = page >> large.order << large.order;
        let whole = first >= large.pages.start && first + (1 << large.order) <= large.pages.end;
        if whole { large.order } else { 0 }
    }

    /// Whether the large folios can be: each is of one group and one node.
    pub(super) fn check_large(&self, pages: u32, memcg_of: impl Fn(u32) -> u16) -> Result<(), BuildError> {
        for Large { pages: range, order } in &self.large {
            let fails = |why| Err(BuildError::Large { order: *order, why });
            if !(1..=MAX_FOLIO_ORDER).contains(order) {
                return fails("it is not between 1 and 9");
            }
            if range.end > pages {
                return fails("its pages are more than there are");
            }
            let home = |page| (memcg_of(page), node_of(page, pages, self.nodes));
            if range.clone().any(|page| self.order_of(page) > 0 && home(page) != home(page >> order << order)) {
                return fails(
                    "its pages are of different groups or nodes; give each group pages in a row, or leave it out",
                );
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::node_of;

    #[test]
    fn pages_are_dealt_out_to_the_nodes_in_equal_runs() {
        for (pages, nodes) in (1..40).flat_map(|pages| (1..9).map(move |nodes| (pages, nodes))) {
            let homes: Vec<u8> = (0..pages).map(|page| node_of(page, pages, nodes)).collect();
            let share = |node| homes.iter().filter(|&&home| home == node).count() as u32;
            assert!(homes.is_sorted(), "{homes:?}");
            let shares: Vec<u32> = (0..nodes).map(share).collect();
            let whole = pages / u32::from(nodes);
            assert!(
                shares.iter().all(|&share| share - whole <= 1) && shares.iter().sum::<u32>() == pages,
                "{shares:?}"
            );
        }
    }
}
