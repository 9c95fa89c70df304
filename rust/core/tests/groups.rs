//! Several memory cgroups in one memory: lists, scans and counters by group.

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::{MemcgStat, Memcgs, ROOT};
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Memory, Sizes, System};
use kcompressd_core::workload::Program;
use kcompressd_core::zone::ZoneConfig;

const PAGES: u32 = 12_000;

/// `PAGES` pages in 7000 of memory, dealt out in equal runs to `groups` groups below the root; none: all are the root's.
fn system(preset: Preset, groups: u16) -> System {
    let zone =
        ZoneConfig { free_pages: 7000, watermarks: [80, 100, 120], boost_factor: 15_000, pcp_batch: 15, cpus: 2 };
    let config = Config {
        design: preset.design(StoreKind::Zram),
        store: StoreKind::Zram,
        kernel: (6, 12),
        codec: CodecSpec::new(CodecName::Lz4, None).unwrap(),
        page_size: 4096,
        chain_size: 8,
        pool_limit_pages: None,
        accept_threshold_percent: 90,
        nodes: 1,
        slots: 2 * PAGES,
        memory: Some(Memory { pages: PAGES, zone, file_pages: 500, swappiness: 60 }),
    };
    let mut sizes = Sizes::uniform(64, 0);
    sizes.len.iter_mut().zip(0..).for_each(|(len, i)| *len = i * 50);
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    let mut memcgs = Memcgs::default();
    for group in 0..groups {
        memcgs.add(&format!("g{group}"), ROOT).unwrap();
    }
    let memcg = |page| if groups == 0 { ROOT } else { 1 + (page / (PAGES / u32::from(groups))) as u16 };
    System::new(config, Table::default(), memcgs, memcg, device, Contents::Sizes(sizes)).unwrap()
}

fn programs(groups: u32) -> Vec<Program> {
    let share = PAGES / groups;
    (0..groups).map(|group| Program::eater(group * share..(group + 1) * share)).collect()
}

fn play(sys: &System, programs: Vec<Program>) -> VmStat {
    let mut crew = Crew::machine(sys, programs, false);
    let stat = run(sys, &mut crew, &Machine::new(2), 0).unwrap_or_else(|error| panic!("{error}")).stat;
    sys.invariant();
    stat
}

fn of_groups(sys: &System, counter: MemcgStat) -> Vec<u64> {
    sys.memcgs.iter().map(|group| group.stat(counter)).collect()
}

#[test]
fn the_counters_of_the_groups_add_up_to_the_nodes() {
    for &preset in Preset::ALL {
        let sys = system(preset, 3);
        let stat = play(&sys, programs(3));
        let sum = |counter| of_groups(&sys, counter).iter().sum::<u64>();
        let name = preset.name();
        assert_eq!(sum(MemcgStat::Pgscan), stat[Vm::PgscanAnon] + stat[Vm::PgscanFile], "{name}");
        assert_eq!(sum(MemcgStat::Pgscan), stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect], "{name}");
        assert_eq!(sum(MemcgStat::Pgsteal), stat[Vm::PgstealAnon] + stat[Vm::PgstealFile], "{name}");
        assert_eq!(sum(MemcgStat::Pgfault), stat[Vm::Pgfault], "{name}");
        assert_eq!(sum(MemcgStat::Pgmajfault), stat[Vm::Pgmajfault], "{name}");
        assert_eq!(sum(MemcgStat::WorkingsetRefaultAnon), stat[Vm::WorkingsetRefaultAnon], "{name}");
        assert_eq!(of_groups(&sys, MemcgStat::Pgscan)[0], stat[Vm::PgscanFile], "{name}: the root has the page cache");
    }
}

#[test]
fn equal_groups_are_scanned_alike() {
    let sys = system(Preset::Sync, 4);
    play(&sys, programs(4));
    let steals = of_groups(&sys, MemcgStat::Pgsteal)[1..].to_vec();
    let (least, most) = (steals.iter().min().unwrap(), steals.iter().max().unwrap());
    assert!(*least > 0 && most * 10 <= least * 13, "{steals:?}");
}

/// Not alike: the page cache is the root's, and passes that end with the first group differ while there is any.
#[test]
fn one_group_below_the_root_fares_as_the_root_itself() {
    for preset in [Preset::Sync, Preset::Unofficial] {
        let [root, group] = [0, 1].map(|groups| play(&system(preset, groups), programs(1)));
        for counter in [Vm::PgstealAnon, Vm::PgscanAnon, Vm::Pswpout] {
            let (root, group) = (root[counter], group[counter]);
            assert!(root.abs_diff(group) * 10 <= root, "{}: {root} {group}", counter.name());
        }
    }
}
