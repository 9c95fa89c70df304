//! Small systems without bytes, for the tests of the drivers.
#![allow(dead_code)] // each test crate uses its part

use kcompressd_core::design::{Design, Preset, StoreKind};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Large, Sizes, Store, System};

pub const STORES: [StoreKind; 2] = [StoreKind::Zswap, StoreKind::Zram];

/// The codec gave up on the page.
pub const INCOMPRESSIBLE: u32 = u32::MAX;

/// How to build a system; everything else is fixed.
#[derive(Clone)]
pub struct Plan {
    pub design: Design,
    pub store: StoreKind,
    pub kernel: (u16, u16),
    pub nodes: u8,
    pub slots: u32,
    pub pool_limit_pages: Option<u64>,
    pub writeback: bool,
    /// `memory.zswap.max` of a group that has all pages; `None`: they are the root's.
    pub zswap_max: Option<u64>,
    pub faults: IoFaults,
    /// log2 of the pages of a folio.
    pub order: u8,
    pub sizes: Sizes,
}

impl Plan {
    /// `preset` over pages that compress to these lengths; twice as many slots as pages.
    pub fn new(preset: Preset, store: StoreKind, lens: &[u32]) -> Self {
        Self::of(preset.design(store), store, lens)
    }

    pub fn of(design: Design, store: StoreKind, lens: &[u32]) -> Self {
        Self {
            design,
            store,
            kernel: (6, 12),
            nodes: 1,
            slots: 2 * lens.len() as u32,
            pool_limit_pages: None,
            writeback: true,
            zswap_max: None,
            faults: IoFaults::default(),
            order: 0,
            sizes: Sizes { len: lens.to_vec(), ..Sizes::uniform(lens.len(), 0) },
        }
    }

    pub fn build(&self) -> System {
        self.build_on(Backing::Modelled, Contents::Sizes(self.sizes.clone()))
    }

    pub fn build_on(&self, backing: Backing, contents: Contents) -> System {
        let pages = self.sizes.len.len() as u32;
        let config = Config {
            kernel: self.kernel,
            pool_limit_pages: self.pool_limit_pages,
            nodes: self.nodes,
            large: if self.order == 0 { Vec::new() } else { vec![Large { pages: 0..pages, order: self.order }] },
            ..Config::new(self.design, self.store, self.slots)
        };
        let device = Device::new(backing, 4096, self.faults.clone());
        let mut memcgs = Memcgs::default();
        memcgs.get(0).unwrap().set_writeback(self.writeback);
        let group = self.zswap_max.map_or(0, |max| {
            let group = memcgs.add("limited", 0).unwrap();
            memcgs.get(group).unwrap().set_zswap_max(max);
            group
        });
        System::new(config, Table::default(), memcgs, |_| group, device, contents).unwrap()
    }
}

/// The store's own counters, by name.
pub fn store_counters(sys: &System) -> Vec<(&'static str, u64)> {
    match &sys.store {
        Store::Zswap(zswap) => zswap.debugfs(),
        Store::Zram(zram) => zram.mm_stat().fields().into_iter().chain(zram.io_stat()).collect(),
    }
}
