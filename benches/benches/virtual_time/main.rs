//! Steps a second of the virtual clock on one core, and how its time grows with the folios.
//!
//! `cargo bench -p kcompressd-benches --bench virtual_time [-- WORD... MIB...]` (default 256 1024 4096): so many MiB on two virtual CPUs,
//! `pageout` (all reclaimed by kswapd and one kcompressd thread, and faulted in again) and `eater` (filled and read back by an application
//! on a node that holds five eighths of them, as the ground truth's). CPU time, the median of three runs (one from 16 GiB on).
//! Words choose workloads and designs. 64 GiB, 16.8 million folios: `-- eater 65536`, some minutes a design.

use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::live::cpu_ns;
use kcompressd_core::driver::virtual_time::{Machine, Sim, SimConfig};
use kcompressd_core::driver::{FaultOrder, Report};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Memory, Sizes, System};
use kcompressd_core::workload::Program;
use kcompressd_core::zone::ZoneConfig;

const RUNS: usize = 3;
/// From this many pages on (16 GiB) one run is enough.
const LONG: usize = 1 << 22;

const WORKLOADS: [&str; 2] = ["pageout", "eater"];

/// The node of an eater of `pages` pages: watermarks as Linux computes them for its size (`init_per_zone_wmark_min`).
fn node(pages: usize) -> Memory {
    let free_pages = pages as u32 / 8 * 5;
    let kib = u64::from(free_pages) * 4;
    let min = ((kib * 16).isqrt().clamp(128, 262_144) / 4) as u32;
    let step = (min / 4).max(free_pages / 1000);
    let watermarks = [min, min + step, min + 2 * step];
    let zone =
        ZoneConfig { managed_pages: free_pages, free_pages, watermarks, boost_factor: 15_000, pcp_batch: 15, cpus: 2 };
    Memory { pages: pages as u32, zone, file_pages: 0, swappiness: 60, lru_gen: false }
}

fn system(preset: Preset, store: StoreKind, pages: usize, eater: bool) -> System {
    let memory = eater.then(|| node(pages));
    let config = Config { memory, ..Config::new(preset.design(store), store, 2 * pages as u32) };
    let mut sizes = Sizes::uniform(pages, 0);
    // Sizes as of real pages: spread over the classes, some zero, some that no compressor makes smaller.
    let kinds = [0, 412, 900, 1304, 1500, 1777, 2100, 2500, 3000, 4096];
    sizes.len.iter_mut().enumerate().for_each(|(i, len)| *len = kinds[i * 7919 % kinds.len()]);
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    let built = System::new(config, Table::default(), Memcgs::default(), |_| 0, device, Contents::Sizes(sizes));
    built.expect("a valid system")
}

fn run(preset: Preset, store: StoreKind, pages: usize, eater: bool) -> (f64, u64) {
    let sys = system(preset, store, pages, eater);
    let machine = Machine::new(2);
    let config = SimConfig {
        machine,
        fault: if eater { FaultOrder::None } else { FaultOrder::InOrder },
        seed: 0,
        app_threads: 1,
        trace: false,
        programs: eater.then(|| Program::eater(0..pages as u32)).into_iter().collect(),
        reclaims: Vec::new(),
    };
    let start_ns = cpu_ns();
    let report: Report = Sim::new(&sys, &config).run(&mut |_| Ok(()), &mut |_| true);
    assert!(report.error.is_none(), "{:?}", report.error);
    ((cpu_ns() - start_ns) as f64 / 1e9, report.steps)
}

fn main() {
    let (numbers, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.parse::<usize>().is_ok());
    let asked: Vec<usize> = numbers.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![256, 1024, 4096] } else { asked };
    let wanted = |name: &str, of: &[&str]| {
        words.iter().any(|word| word == name) || !words.iter().any(|w| of.contains(&w.as_str()))
    };
    let presets = [Preset::Sync, Preset::April, Preset::Unofficial];
    println!(
        "{:>8} {:>10} {:>8} {:>12} {:>10} {:>14} {:>10}",
        "workload", "design", "MiB", "steps", "seconds", "steps/s", "ns/page"
    );
    for workload in WORKLOADS.into_iter().filter(|name| wanted(name, &WORKLOADS)) {
        for preset in presets.into_iter().filter(|preset| wanted(preset.name(), &presets.map(Preset::name))) {
            sizes.iter().for_each(|&mib| print_row(workload, preset, mib));
        }
    }
}

fn print_row(workload: &str, preset: Preset, mib: usize) {
    let pages = mib << 20 >> 12;
    let times = if pages < LONG { RUNS } else { 1 };
    let one = |_| run(preset, StoreKind::Zram, pages, workload == "eater");
    let mut runs: Vec<(f64, u64)> = (0..times).map(one).collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, steps) = runs[times / 2];
    let (rate, page_ns) = (steps as f64 / seconds, seconds * 1e9 / pages as f64);
    println!("{workload:>8} {:>10} {mib:>8} {steps:>12} {seconds:>10.3} {rate:>14.0} {page_ns:>10.1}", preset.name());
}
