//! One design on two folios under every clock: the exact number of states, and equal counters wherever the schedule is
//! the same.

#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod clocks;

use clocks::{INCOMPRESSIBLE, Plan, STORES, store_counters};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::explore::{Choice, Properties, Sometimes, explore, in_turn, nothing_lost, replay};
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig};
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::folio::Folio;
use kcompressd_core::lifecycle::{State, flag};
use kcompressd_core::system::System;
use kcompressd_core::trace::Record;

const COMPRESSIBLE: [u32; 2] = [1000, 1000];

fn split(lens: &[u32]) -> Plan {
    Plan::new(Preset::Split, StoreKind::Zswap, lens)
}

/// Every counter there is, by name.
type Counters = Vec<(&'static str, u64)>;

/// A run in virtual time: its counters and the schedule it came to.
fn in_virtual_time(plan: &Plan, machine: &Machine) -> (Counters, Vec<usize>) {
    let sys = plan.build();
    let mut crew = Crew::reclaim(&sys, false);
    crew.schedule = Some(Vec::new());
    let run = run(&sys, &mut crew, machine, 0).unwrap();
    nothing_lost(&sys).unwrap();
    (run.stat.iter().chain(store_counters(&sys)).collect(), crew.schedule.unwrap())
}

fn replayed(plan: &Plan, schedule: &[usize]) -> Counters {
    let schedule: Vec<Choice> = schedule.iter().map(|&seat| Choice::step(seat)).collect();
    let sys = plan.build();
    let mut crew = Crew::reclaim(&sys, false);
    replay(&sys, &mut crew, &schedule).unwrap();
    nothing_lost(&sys).unwrap();
    crew.stat().iter().chain(store_counters(&sys)).collect()
}

/// Real threads that take turns, each until it waits.
fn in_live(plan: &Plan) -> Counters {
    let live = LiveConfig { turns: true, fault: FaultOrder::None, verify: false, ..LiveConfig::default() };
    let report = Live::start(plan.build(), live, Vec::new()).unwrap().finish();
    assert_eq!(report.error, None);
    report.vmstat.iter().chain(report.zswap).chain(report.mm_stat).chain(report.io_stat).collect()
}

/// A page is reclaimed; or a scan met it under writeback and activated it, and it was off the list at the very moment of
/// its rotation: then it is compressed, holds its frame, and stays on the active list, which nothing scans yet.
fn reclaimed_or_left_active(sys: &System, _: &Crew) -> Result<(), String> {
    let left = |page: &Folio| page.word.load().state() == State::Compressed && page.word.load().has(flag::ACTIVE);
    let (freed, left) = (count(sys, State::CompressedFreed), sys.folios.iter().filter(|page| left(page)).count());
    if freed as usize + left == sys.folios.len() { Ok(()) } else { Err(format!("{freed} reclaimed, {left} active")) }
}

fn count(sys: &System, state: State) -> u32 {
    sys.census()[state as usize]
}

fn meets(state: State) -> Sometimes<'static> {
    Box::new(move |sys, _, _| count(sys, state) > 0)
}

#[test]
fn split_on_two_folios_has_exactly_these_states() {
    let sys = split(&COMPRESSIBLE).build();
    let mut crew = Crew::reclaim(&sys, false);
    let left_active = |sys: &System, crew: &Crew, _: &[Record]| crew.is_done() && count(sys, State::Compressed) > 0;
    let properties = Properties {
        at_end: vec![("every page is reclaimed or active", Box::new(reclaimed_or_left_active))],
        sometimes: vec![
            ("both queued", Box::new(|sys, _, _| count(sys, State::Queued) == 2)),
            ("compressing", meets(State::Compressing)),
            ("frame held", meets(State::Compressed)),
            ("left active at the end", Box::new(left_active)),
            ("written back", meets(State::WrittenBack)),
        ],
        symmetry: false,
        reduction: false,
        ..Properties::default()
    };
    let report = explore(&sys, &mut crew, &properties);
    assert!(report.failure.is_none(), "{:?}", report.failure);
    assert!(report.complete);
    let met: Vec<u64> = report.sometimes.iter().map(|met| met.times).collect();
    assert_eq!((report.states, report.transitions, report.ends, report.deepest), (7894, 23809, 1, 45));
    assert_eq!(met, [546, 3144, 3750, 0, 0]);
}

#[test]
fn a_schedule_of_the_virtual_clock_counts_the_same_under_explore() {
    for lens in [&COMPRESSIBLE[..], &[1000, INCOMPRESSIBLE], &[0, 1000], &[INCOMPRESSIBLE; 2], &[1000; 300]] {
        for machine in [Machine::without_slices(1), Machine::new(1), Machine::new(3)] {
            let plan = split(lens);
            let (counters, schedule) = in_virtual_time(&plan, &machine);
            assert_eq!(
                counters,
                replayed(&plan, &schedule),
                "{} pages, {} CPUs",
                lens.len(),
                machine.cpu_speed_percent.len()
            );
        }
    }
}

/// Each actor until it waits.
fn in_explore(plan: &Plan) -> Counters {
    let sys = plan.build();
    let mut crew = Crew::reclaim(&sys, false);
    in_turn(&sys, &mut crew).unwrap();
    nothing_lost(&sys).unwrap();
    crew.stat().iter().chain(store_counters(&sys)).collect()
}

/// One CPU, each actor until it waits: the same schedule by threads, by time and by choice. Where the swap device has work,
/// the virtual scheduler lets it preempt kswapd, which the others never do; that schedule is replayed above.
#[test]
fn single_actor_schedules_count_the_same_under_every_clock() {
    for lens in [&COMPRESSIBLE[..], &[0, 1000], &[1000, INCOMPRESSIBLE], &[INCOMPRESSIBLE; 2]] {
        for (preset, store) in [Preset::Sync, Preset::Split].into_iter().flat_map(|p| STORES.map(|store| (p, store))) {
            let plan = Plan::new(preset, store, lens);
            let counters = in_explore(&plan);
            assert_eq!(counters, in_live(&plan), "explore and live: {} of {lens:?} on {store:?}", preset.name());
            if !lens.contains(&INCOMPRESSIBLE) {
                let (in_virtual, _) = in_virtual_time(&plan, &Machine::without_slices(1));
                assert_eq!(counters, in_virtual, "explore and virtual: {} of {lens:?} on {store:?}", preset.name());
            }
        }
    }
}
