//! Steps a second of the virtual clock on one core, and how its time grows with the folios.
//!
//! `cargo bench -p kcompressd-benches --bench virtual_time [-- MIB...]` (default 256 1024 4096): `pageout` of so many MiB by
//! kswapd and one kcompressd thread on two virtual CPUs, faulted in again; CPU time, the median of three runs (one from 16 GiB on).

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::live::cpu_ns;
use kcompressd_core::driver::virtual_time::{Machine, Sim, SimConfig};
use kcompressd_core::driver::{FaultOrder, Report};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Sizes, System};

const RUNS: usize = 3;
/// From this many pages on (16 GiB) one run is enough.
const LONG: usize = 1 << 22;

fn system(preset: Preset, store: StoreKind, pages: usize) -> System {
    let config = Config {
        design: preset.design(store),
        store,
        kernel: (6, 12),
        codec: CodecSpec::new(CodecName::Lz4, None).expect("lz4 has a default"),
        page_size: 4096,
        chain_size: 8,
        pool_limit_pages: None,
        accept_threshold_percent: 90,
        nodes: 1,
        slots: pages as u32,
        memory: None,
    };
    let mut sizes = Sizes::uniform(pages, 0);
    // Sizes as of real pages: spread over the classes, some zero, some that no compressor makes smaller.
    let kinds = [0, 412, 900, 1304, 1500, 1777, 2100, 2500, 3000, 4096];
    sizes.len.iter_mut().enumerate().for_each(|(i, len)| *len = kinds[i * 7919 % kinds.len()]);
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    let built = System::new(config, Table::default(), Memcgs::default(), |_| 0, device, Contents::Sizes(sizes));
    built.expect("a valid system")
}

fn run(preset: Preset, store: StoreKind, pages: usize) -> (f64, u64) {
    let sys = system(preset, store, pages);
    let machine = Machine::new(2);
    let config = SimConfig {
        machine,
        fault: FaultOrder::InOrder,
        seed: 0,
        app_threads: 1,
        trace: false,
        programs: Vec::new(),
        reclaims: Vec::new(),
    };
    let start_ns = cpu_ns();
    let report: Report = Sim::new(&sys, &config).run(&mut |_| Ok(()), &mut |_| true);
    assert!(report.error.is_none(), "{:?}", report.error);
    ((cpu_ns() - start_ns) as f64 / 1e9, report.steps)
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![256, 1024, 4096] } else { asked };
    println!("{:>8} {:>12} {:>12} {:>10} {:>14} {:>12}", "design", "MiB", "steps", "seconds", "steps/s", "ns/page");
    for preset in [Preset::Sync, Preset::April, Preset::Unofficial] {
        for &mib in &sizes {
            let pages = mib << 20 >> 12;
            let times = if pages < LONG { RUNS } else { 1 };
            let mut runs: Vec<(f64, u64)> = (0..times).map(|_| run(preset, StoreKind::Zram, pages)).collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (seconds, steps) = runs[times / 2];
            let (rate, page_ns) = (steps as f64 / seconds, seconds * 1e9 / pages as f64);
            println!("{:>8} {mib:>12} {steps:>12} {seconds:>10.3} {rate:>14.0} {page_ns:>12.1}", preset.name());
        }
    }
}
