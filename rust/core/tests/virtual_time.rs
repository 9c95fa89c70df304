//! The virtual clock: nothing is lost under any preset, equal inputs give equal bytes, and what a machine is told about
//! speeds, weights and places holds.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod clocks;

use clocks::{INCOMPRESSIBLE, Plan, STORES, store_counters};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::explore::nothing_lost;
use kcompressd_core::driver::virtual_time::{Machine, Policy, Preempt, Sim, SimConfig, run, run_with};
use kcompressd_core::driver::{Crew, FaultOrder, Report};
use kcompressd_core::lifecycle::{Event, State, actor};
use kcompressd_core::reclaim::{Actor, Kcompressd, Task};
use kcompressd_core::stats::Vm;
use kcompressd_core::system::System;
use kcompressd_core::trace::{Record, SYSTEM};
use std::io;

const PAGES: usize = 600;

/// Pages of every kind, in turn.
fn plan(preset: Preset, store: StoreKind) -> Plan {
    let kinds = [1000, 0, 300, INCOMPRESSIBLE, 2000, 60, 3500];
    let lens: Vec<u32> = (0..PAGES).map(|i| kinds[i % kinds.len()]).collect();
    Plan::new(preset, store, &lens)
}

fn config(machine: Machine) -> SimConfig {
    SimConfig {
        machine,
        fault: FaultOrder::Shuffled,
        seed: 7,
        app_threads: 2,
        trace: true,
        programs: Vec::new(),
        reclaims: Vec::new(),
    }
}

fn simulate(sys: &System, machine: Machine) -> (Report, Vec<Record>) {
    let mut records = Vec::new();
    let mut keep = |new: &[Record]| {
        records.extend_from_slice(new);
        Ok(())
    };
    let report = Sim::new(sys, &config(machine)).run(&mut keep, &mut |_| true);
    (report, records)
}

fn every_case() -> impl Iterator<Item = (Preset, StoreKind)> {
    Preset::ALL.iter().flat_map(|&preset| STORES.map(|store| (preset, store)))
}

#[test]
fn every_preset_brings_every_page_back_on_any_number_of_cpus() {
    for (preset, store) in every_case() {
        for cpus in [1, 2, 8] {
            let sys = plan(preset, store).build();
            let (report, records) = simulate(&sys, Machine::new(cpus));
            let case = format!("{} on {store:?}, {cpus} CPUs", preset.name());
            assert_eq!(report.error, None, "{case}");
            assert_eq!(report.census_fault[State::Freed as usize], 0, "{case}");
            assert_eq!(sys.census()[State::Freed as usize], PAGES as u32, "{case}");
            assert_eq!(report.pool_pages_at_exit, 0, "{case}");
            nothing_lost(&sys).unwrap();
            assert!(records.is_sorted_by_key(|record| record.t_ns), "{case}: a total order");
            let events = records.iter().filter(|record| record.folio != SYSTEM).count();
            assert_eq!(events as u64, report.by_event.iter().sum::<u64>(), "{case}");
            counters_are_the_trace_s(&report, &records, store, &case);
        }
    }
}

/// Of single pages, whose groups' knobs nobody turns.
fn counters_are_the_trace_s(report: &Report, records: &[Record], store: StoreKind, case: &str) {
    let count = |event: Event, also: &dyn Fn(&Record) -> bool| {
        records.iter().filter(|r| r.folio != SYSTEM && r.event == event as u8 && also(r)).count() as u64
    };
    let all = |event| count(event, &|_| true);
    let by_kswapd = |r: &Record| r.aux != 0 && actor::kind(r.actor) == actor::KSWAPD;
    let written = all(Event::Write) + count(Event::Reject, &|r| r.to != State::Activated as u8);
    let (zswpout, pswpout) = match store {
        StoreKind::Zswap => (all(Event::Store), written),
        StoreKind::Zram => (0, all(Event::Compress)),
    };
    for (counter, want) in [
        (Vm::KcompressdQueued, all(Event::Queue)),
        (Vm::KcompressdHead, count(Event::Compress, &by_kswapd)),
        (Vm::Pgrotated, all(Event::Rotate)),
        (Vm::SwpoutZero, all(Event::Zero)),
        (Vm::Zswpout, zswpout),
        (Vm::Pswpout, pswpout),
    ] {
        assert_eq!(report.vmstat[counter], want, "{counter:?}: {case}");
    }
    let unasked = count(Event::Write, &|r| r.from == State::Compressing as u8);
    assert_eq!(unasked, 0, "a refused page is rejected, unless its group denies writeback by now: {case}");
}

#[test]
fn equal_inputs_give_equal_traces_times_and_counters() {
    for (preset, store) in every_case() {
        let mut runs = [(); 2].map(|()| {
            let sys = plan(preset, store).build();
            let (report, records) = simulate(&sys, Machine::new(3));
            let counters: Vec<_> = report.vmstat.iter().chain(store_counters(&sys)).collect();
            (records, counters, report.series, report.timing.reclaim_ns, report.measures.touch_ns.summary())
        });
        let [first, second] = &mut runs;
        assert!(first == second, "{} on {store:?}", preset.name());
    }
}

#[test]
fn a_machine_twice_as_slow_takes_twice_the_time_and_counts_the_same() {
    let [fast, slow] = [100, 50].map(|percent| {
        let mut machine = Machine::new(1);
        machine.cpu_speed_percent = vec![percent];
        (machine.scheduler.switch_ns, machine.costs.device_write_ns) = (0, 0);
        let sys = Plan::new(Preset::Sync, StoreKind::Zram, &[1000; 256]).build();
        let run = run(&sys, &mut Crew::reclaim(&sys, false), &machine, 0).unwrap();
        (run.end_ns, run.stat)
    });
    assert_eq!(slow.0, 2 * fast.0);
    assert_eq!(slow.1, fast.1);
}

/// CPU time of kswapd0 and kcompressd0 when the first of them has ended, with these policies on one CPU.
fn shares(policies: Vec<Policy>, preempt: Preempt) -> (u64, u64) {
    let sys = Plan::new(Preset::April, StoreKind::Zram, &[1000; 20_000]).build();
    let mut machine = Machine { policies, ..Machine::new(1) };
    (machine.scheduler.preempt, machine.costs.scan_ns) = (preempt, 2_000);
    let run = run(&sys, &mut Crew::reclaim(&sys, false), &machine, 0).unwrap();
    let of = |id| run.cpu_ns.iter().find(|(seat, _)| *seat == id).unwrap().1;
    (of(actor::KSWAPD), of(actor::KCOMPRESSD))
}

#[test]
fn a_nicer_worker_leaves_more_pages_to_kswapd() {
    let nice = |nice| vec![Policy { actor: actor::KCOMPRESSD, mask: 0xff00, nice, cpus: u64::MAX }];
    let (even, nicer) = (shares(nice(0), Preempt::Full), shares(nice(19), Preempt::Full));
    assert!(even.1 > even.0 / 8, "an even share: {even:?}");
    assert!(nicer.1 < even.1 / 4, "1024 to 15: {nicer:?} against {even:?}");
}

#[test]
fn an_actor_runs_only_where_it_may() {
    let sys = plan(Preset::April, StoreKind::Zram).build();
    let on = |actor, cpus| Policy { actor, mask: 0xff00, nice: 0, cpus };
    let mut machine = Machine::new(4);
    machine.policies = vec![on(actor::KSWAPD, 1), on(actor::KCOMPRESSD, 1)];
    let confined = run(&sys, &mut Crew::reclaim(&sys, false), &machine, 0).unwrap();
    let busy: u64 = confined.cpu_ns.iter().map(|(_, ns)| ns).sum();
    assert!(confined.end_ns >= busy, "two actors on one CPU: {} ns in {} ns", busy, confined.end_ns);
    machine.policies = vec![on(actor::KSWAPD, 0)];
    let nowhere = run(&sys, &mut Crew::reclaim(&sys, false), &machine, 0).unwrap_err();
    assert!(nowhere.to_string().contains("at least one for every actor"), "{nowhere}");
}

#[test]
fn a_run_ends_when_its_watcher_or_its_sink_says_so_and_keeps_what_there_is() {
    let sys = Plan::new(Preset::April, StoreKind::Zram, &[1000; 300_000]).build();
    let cancelled = Sim::new(&sys, &config(Machine::new(2))).run(&mut |_| Ok(()), &mut |_| false);
    assert_eq!(cancelled.error.as_ref().unwrap().kind, "cancelled");
    assert!(cancelled.vmstat.iter().any(|(name, count)| name == "pgscan_anon" && count > 0));
    let sys = plan(Preset::April, StoreKind::Zram).build();
    let full = &mut |_: &[Record]| Err(io::Error::from(io::ErrorKind::StorageFull));
    let unwritten = Sim::new(&sys, &config(Machine::new(2))).run(full, &mut |_| true);
    assert_eq!(unwritten.error.as_ref().unwrap().kind, "trace");
}

#[test]
fn a_deadlock_names_who_waits() {
    let sys = plan(Preset::April, StoreKind::Zram).build();
    let worker = (actor::KCOMPRESSD, Actor::Kcompressd(Kcompressd::new(0)));
    let error = run(&sys, &mut Crew::of(&sys, [worker], false), &Machine::new(1), 0).unwrap_err();
    assert!(error.to_string().ends_with(" ns: deadlock: nothing wakes kcompressd0"), "{error}");
}

#[test]
fn a_device_read_leaves_the_cpu_to_others() {
    let lens = [INCOMPRESSIBLE; 64];
    let sys = Plan::new(Preset::Sync, StoreKind::Zswap, &lens).build();
    let machine = Machine::new(1);
    let _ = run(&sys, &mut Crew::reclaim(&sys, false), &machine, 0).unwrap();
    let halves: [Vec<u32>; 2] = [(0..32).collect(), (32..64).collect()];
    let mut readers = Crew::app(&sys, Task::Touch, &halves[0], false).with_app(&sys, Task::Touch, &halves[1]);
    let both = run_with(&sys, &mut readers, &machine, 0, &mut |_| Ok(()), &mut |_| true);
    assert!(both.error.is_none());
    let reads_ns = 64 * machine.costs.device_read_ns;
    assert!(both.end_ns < reads_ns * 3 / 4, "{} ns for reads of {reads_ns} ns", both.end_ns);
    assert_eq!(both.measures.found.touch_ns.summary()[6], ("count", 64));
}

/// When the first write was asked for and when it had ended, and the CPU times of kswapd and of the device, where kswapd keeps the one CPU
/// and has two more pages to look at.
fn first_write(device_write_ns: u64, device_cpu_ns: u64) -> ([u64; 2], [u64; 2], u64) {
    let sys = Plan::new(Preset::Sync, StoreKind::Zswap, &[INCOMPRESSIBLE, 1000, 1000]).build();
    let mut machine = Machine::without_slices(1);
    (machine.costs.device_write_ns, machine.costs.device_cpu_ns) = (device_write_ns, device_cpu_ns);
    machine.costs.compress_ns = Some(30_000);
    let (mut crew, mut records) = (Crew::reclaim(&sys, true), Vec::new());
    let mut keep = |new: &[Record]| {
        records.extend_from_slice(new);
        Ok(())
    };
    let run = run_with(&sys, &mut crew, &machine, 0, &mut keep, &mut |_| true);
    assert!(run.error.is_none());
    let at = |event: Event| records.iter().find(|r| r.folio == 0 && r.event == event as u8).unwrap().t_ns;
    let cpu_ns = [actor::KSWAPD, actor::DEVICE].map(|id| run.cpu_ns.iter().find(|(seat, _)| *seat == id).unwrap().1);
    ([at(Event::Reject), at(Event::EndWriteback)], cpu_ns, run.end_ns)
}

#[test]
fn a_device_with_a_time_of_its_own_writes_while_kswapd_has_the_cpu_and_interrupts_it() {
    let ([asked, ended], [kswapd, device], end) = first_write(20_000, 0);
    assert!(ended - asked < 21_000, "{asked} to {ended}");
    assert!(device > 0 && kswapd + device <= end, "{kswapd} and {device} of {end}");
    let (_, [same, more], later) = first_write(20_000, 5_000);
    assert_eq!((same, more), (kswapd, device + 5_000), "the device's share is not kswapd's");
    assert_eq!(later, end + 5_000, "who has the CPU gets on so much later");
    let ([asked, ended], _, _) = first_write(0, 5_000);
    assert!(ended - asked > 60_000, "one in memory is a thread and waits for the CPU: {asked} to {ended}");
}

#[test]
fn with_queues_of_depth_0_every_design_counts_what_sync_does() {
    for ((preset, store), cpus) in every_case().flat_map(|case| [(case, 1), (case, 2)]) {
        let counted = |preset: Preset| {
            let off = Plan { design: preset.design(store).with_depth(0), ..plan(preset, store) };
            let sys = off.build();
            let (report, _) = simulate(&sys, Machine::new(cpus));
            (report.vmstat.clone(), store_counters(&sys))
        };
        assert_eq!(counted(preset), counted(Preset::Sync), "{} on {store:?}, {cpus} CPUs", preset.name());
    }
}

#[test]
fn queue_waits_and_pages_held_twice_are_measured() {
    let sys = Plan::new(Preset::April, StoreKind::Zram, &[1000; 5_000]).build();
    let (report, _) = simulate(&sys, Machine::new(2));
    let waits = report.measures.queue_wait_ns.summary();
    let queued = report.vmstat.iter().find(|(name, _)| *name == "kcompressd_queued").unwrap().1;
    assert_eq!(waits[6], ("count", queued));
    assert!(waits[0].1 > 0);
    let held = report.series.iter().map(|sample| sample.frames_held_twice).max().unwrap();
    assert!(held > 0 && held <= 5_000, "{held}");
    assert!(report.series.is_sorted_by_key(|sample| sample.t_ns));
}
