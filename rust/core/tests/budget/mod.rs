//! A machine with a memory budget, for the tests of reclaim: 7000 free pages, 12 000 pages of applications, two CPUs.
#![allow(dead_code)] // each test crate uses its part

use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::{Memcgs, ROOT};
use kcompressd_core::stats::VmStat;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{BuildError, Config, Contents, Large, Memory, Sizes, System};
use kcompressd_core::workload::Program;
use kcompressd_core::zone::ZoneConfig;

pub const PAGES: u32 = 12_000;

/// How to build a system; everything else is fixed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub preset: Preset,
    pub store: StoreKind,
    pub free_pages: u32,
    /// Min, low and high.
    pub watermarks: [u32; 3],
    pub slots: u32,
    pub lru_gen: bool,
    /// `watermark_boost_factor`.
    pub boost_factor: u32,
    pub swappiness: u32,
    pub pool_limit_pages: Option<u64>,
    /// The last of the 64 kinds of pages that do not compress.
    pub incompressible: usize,
    /// log2 of the pages of a folio.
    pub order: u8,
    pub kernel: (u16, u16),
}

impl Plan {
    pub fn new(preset: Preset, store: StoreKind) -> Self {
        Self {
            preset,
            store,
            free_pages: 7000,
            watermarks: [80, 100, 120],
            slots: 2 * PAGES,
            lru_gen: false,
            boost_factor: 15_000,
            swappiness: 60,
            pool_limit_pages: None,
            incompressible: 0,
            order: 0,
            kernel: (6, 12),
        }
    }

    /// All pages are the root's.
    pub fn system(self) -> System {
        self.with(Memcgs::default(), |_| ROOT)
    }

    /// The pages are dealt out in equal runs to `groups` groups below the root; none: all are the root's.
    pub fn in_groups(self, groups: u16) -> System {
        let (memcgs, memcg_of) = dealt_out(groups);
        self.with(memcgs, memcg_of)
    }

    pub fn with(self, memcgs: Memcgs, memcg_of: impl Fn(u32) -> u16) -> System {
        self.build(memcgs, memcg_of).unwrap()
    }

    pub fn build(self, memcgs: Memcgs, memcg_of: impl Fn(u32) -> u16) -> Result<System, BuildError> {
        let mut sizes = Sizes::uniform(64, 0);
        sizes.len.iter_mut().zip(0..).for_each(|(len, i)| *len = i * 50);
        sizes.len[64 - self.incompressible..].fill(u32::MAX);
        self.try_of(Contents::Sizes(sizes), Backing::Modelled, memcgs, memcg_of)
    }

    /// With these contents, behind zswap swapped to `backing`.
    pub fn of(self, contents: Contents, backing: Backing, memcgs: Memcgs, memcg_of: impl Fn(u32) -> u16) -> System {
        self.try_of(contents, backing, memcgs, memcg_of).unwrap()
    }

    fn try_of(
        self,
        contents: Contents,
        backing: Backing,
        memcgs: Memcgs,
        memcg_of: impl Fn(u32) -> u16,
    ) -> Result<System, BuildError> {
        let Self { free_pages, watermarks, boost_factor, .. } = self;
        let zone =
            ZoneConfig { managed_pages: free_pages, free_pages, watermarks, boost_factor, pcp_batch: 15, cpus: 2 };
        let design = self.preset.design(self.store);
        let memory = Memory { pages: PAGES, zone, file_pages: 500, swappiness: self.swappiness, lru_gen: self.lru_gen };
        let config = Config {
            kernel: self.kernel,
            pool_limit_pages: self.pool_limit_pages,
            memory: Some(memory),
            large: if self.order == 0 { Vec::new() } else { vec![Large { pages: 0..PAGES, order: self.order }] },
            ..Config::new(design, self.store, self.slots)
        };
        let device = Device::new(backing, 4096, IoFaults::default());
        System::new(config, Table::default(), memcgs, memcg_of, device, contents)
    }
}

/// `groups` groups below the root, and whose page is whose: equal runs; without groups all are the root's.
pub fn dealt_out(groups: u16) -> (Memcgs, impl Fn(u32) -> u16) {
    let mut memcgs = Memcgs::default();
    for group in 0..groups {
        memcgs.add(&format!("g{group}"), ROOT).unwrap();
    }
    (memcgs, move |page| if groups == 0 { ROOT } else { 1 + (page / (PAGES / u32::from(groups))) as u16 })
}

/// An eater for each of `groups` equal runs of pages.
pub fn eaters(groups: u32) -> Vec<Program> {
    let share = PAGES / groups;
    (0..groups).map(|group| Program::eater(group * share..(group + 1) * share)).collect()
}

/// Runs the programs to their end.
pub fn play(sys: &System, programs: impl IntoIterator<Item = Program>) -> VmStat {
    play_on(sys, programs, 2)
}

/// The same on so many CPUs.
pub fn play_on(sys: &System, programs: impl IntoIterator<Item = Program>, cpus: usize) -> VmStat {
    let mut crew = Crew::machine(sys, programs, false);
    let stat = run(sys, &mut crew, &Machine::new(cpus), 0).unwrap_or_else(|error| panic!("{error}")).stat;
    sys.invariant();
    stat
}
