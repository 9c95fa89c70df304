//! How fast the explorer is: `explore_speed [FOLIOS [KCOMPRESSD [MAX_STATES]]]`, the `split` design over zswap.
//!
//! A transition is everything that it takes: going back to the state, the step, the words under canonical names, their hash,
//! the look-up. Prints transitions and new states a second, with and without the reductions.

use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::explore::{Properties, explore};
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Sizes, System};
use std::time::Instant;

fn system(folios: usize, threads: u16) -> System {
    let design = Preset::Split.design(StoreKind::Zswap).with_threads(threads).with_depth(4);
    let config = Config::new(design, StoreKind::Zswap, 2 * folios as u32);
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    let contents = Contents::Sizes(Sizes::uniform(folios, 1000));
    System::new(config, Table::default(), Memcgs::default(), |_| 0, device, contents).expect("a small system")
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let (folios, threads) = (args.next().unwrap_or(3) as usize, args.next().unwrap_or(2) as u16);
    let max_states = args.next().unwrap_or(3_000_000);
    for (symmetry, reduction) in [(true, true), (true, false), (false, true), (false, false)] {
        let sys = system(folios, threads);
        let mut crew = Crew::reclaim(&sys, false);
        let properties = Properties { symmetry, reduction, max_states, ..Properties::default() };
        let start = Instant::now();
        let report = explore(&sys, &mut crew, &properties);
        let seconds = start.elapsed().as_secs_f64();
        let (transitions, states) = (report.transitions as f64 / seconds, report.states as f64 / seconds);
        let end = if report.complete { "complete" } else { "partial" };
        println!(
            "symmetry {symmetry}, reduction {reduction}: {} states, {} transitions, {end}, {seconds:.2} s: \
             {transitions:.0} transitions/s, {states:.0} new states/s, {} MB, {} actors",
            report.states,
            report.transitions,
            report.memory_bytes / 1_000_000,
            report.actors,
        );
        if let Some(failure) = report.failure {
            println!("{}", failure.wrong);
        }
    }
}
