//! The ground truth's machine and workload in virtual time, our rows beside the kernel's.
//!
//! `cargo run --release -p kcompressd-core --example ground_truth -- py.pages [depth...]` (raw pages of 4096 bytes).

use kcompressd_core::codec::{CodecName, CodecSpec, is_zero, same_filled};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Costs, Machine, Preempt, run};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::stats::Vm;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Memory, Sizes, Store, System};
use kcompressd_core::workload::Program;
use kcompressd_core::zone::ZoneConfig;

const EATER_PAGES: u32 = 98_304;

fn sizes(path: &str) -> Sizes {
    let bytes = std::fs::read(path).expect("the pages");
    let mut codec = CodecSpec::new(CodecName::Lz4, None).unwrap().open();
    let mut block = vec![0; 8192];
    let mut sizes = Sizes::default();
    for page in bytes.chunks_exact(4096) {
        let len = codec.compress(page, &mut block).map_or(u32::MAX, |len| len as u32);
        sizes.len.push(if is_zero(page) { 0 } else { len });
        sizes.same.push(same_filled(page).is_some());
        sizes.compress_ns.push(0);
        sizes.decompress_ns.push(0);
    }
    sizes
}

fn system(depth: u32, sizes: Sizes) -> System {
    let design = if depth == 0 {
        Preset::Sync.design(StoreKind::Zram)
    } else {
        Preset::Unofficial.design(StoreKind::Zram).with_depth(depth)
    };
    let zone = ZoneConfig {
        managed_pages: 61_237,
        free_pages: 51_304,
        watermarks: [490, 612, 734],
        boost_factor: 15_000,
        pcp_batch: 15,
        cpus: 2,
    };
    let memory = Some(Memory { pages: EATER_PAGES, zone, file_pages: 4096, swappiness: 60, lru_gen: false });
    let config = Config { memory, ..Config::new(design, StoreKind::Zram, 262_144) };
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    System::new(config, Table::default(), Memcgs::default(), |_| 0, device, Contents::Sizes(sizes)).unwrap()
}

/// The emulated guest's costs, which `tools/fidelity.py` has too.
fn costs() -> Costs {
    let mut costs = Costs::default();
    let lines = include_str!("../../../tools/ground_truth_costs.toml").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (name, ns) = line.split_once(" = ").expect("name = nanoseconds");
        let ns = ns.parse().expect("nanoseconds");
        match name {
            "compress_ns" => costs.compress_ns = Some(ns),
            "decompress_ns" => costs.decompress_ns = Some(ns),
            _ => *costs.named().into_iter().find(|(known, _)| *known == name).expect("a cost").1 = ns,
        }
    }
    costs
}

/// PREEMPT_NONE at HZ 250, and Linux 6.12's base slice with two CPUs.
fn guest() -> Machine {
    let mut machine = Machine { costs: costs(), ..Machine::new(2) };
    (machine.scheduler.preempt, machine.scheduler.slice_ns) = (Preempt::None, 1_500_000);
    machine
}

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("the file of raw pages");
    let sizes = sizes(&path);
    let depths: Vec<u32> = args.map(|arg| arg.parse().expect("a depth")).collect();
    for depth in if depths.is_empty() { vec![0, 24, 256] } else { depths } {
        let started = std::time::Instant::now();
        let sys = system(depth, sizes.clone());
        let mut crew = Crew::machine(&sys, [Program::eater(0..EATER_PAGES)], false);
        let run = run(&sys, &mut crew, &guest(), 0).unwrap();
        let wall = started.elapsed().as_secs_f64();
        println!(
            "depth {depth}: {:.3} s virtual, {} steps in {wall:.2} s ({:.1} M/s)",
            run.end_ns as f64 / 1e9,
            run.steps,
            run.steps as f64 / wall / 1e6
        );
        for &vm in Vm::ALL {
            if run.stat[vm] > 0 {
                print!("  {} {}", vm.name(), run.stat[vm]);
            }
        }
        println!();
        for (actor, ns) in &run.cpu_ns {
            print!("  {} {} ticks", kcompressd_core::lifecycle::actor_name(*actor), ns / 4_000_000);
        }
        let mm = sys.mm.as_ref().unwrap();
        let Store::Zram(zram) = &sys.store else { unreachable!() };
        println!(
            "  zone {:?} frames {} overhead {} pool {} io {:?}",
            mm.zone.stat(),
            mm.frames(),
            mm.overhead_pages(),
            sys.pool_pages(),
            zram.io_stat()
        );
        sys.invariant();
    }
}
