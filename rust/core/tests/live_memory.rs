//! A machine with a memory budget on real threads: every preset on both stores, real bytes compared when they come back.

#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod budget;

use budget::{PAGES, Plan, dealt_out, eaters};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig, Plant, Report};
use kcompressd_core::frames::Frames;
use kcompressd_core::judge::{Config as Judged, Judge};
use kcompressd_core::lifecycle::{State, Table, actor};
use kcompressd_core::stats::Vm;
use kcompressd_core::swap::Backing;
use kcompressd_core::system::Contents;
use kcompressd_core::workload::{Phase, Program};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PAGE: usize = 4096;

/// 64 kinds of pages: zero, one repeated word, more and more noise, and four that no codec makes smaller.
fn image() -> Vec<u8> {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let mut byte = |page: usize, i: usize| match page {
        0 => 0,
        1 => 7,
        60.. => noise(),
        _ if i < page * 50 => noise(),
        _ => (i / 64) as u8,
    };
    (0..64 * PAGE).map(|at| byte(at / PAGE, at % PAGE)).collect()
}

/// In memory where that can be: giving 100 MB back to a disk takes longer than the run.
fn swap_file(slots: u32) -> Backing {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed); // ORDERING: Relaxed: a number nobody else has.
    let shm = std::path::PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let path = folder.join(format!("kcompressd-live-memory-{}-{number}", std::process::id()));
    let backing = Backing::create(&path, slots, PAGE).unwrap();
    std::fs::remove_file(path).unwrap();
    backing
}

/// Starts `programs`; every event is logged.
fn start(plan: Plan, programs: Vec<Program>, plant: Option<Plant>) -> Live {
    start_in(0, plan, programs, plant)
}

/// The same, the pages dealt out to `groups` groups.
fn start_in(groups: u16, plan: Plan, programs: Vec<Program>, plant: Option<Plant>) -> Live {
    let contents = Contents::Frames(Frames::absent(image(), PAGES as usize, PAGE).unwrap());
    let backing = match plan.store {
        StoreKind::Zswap => swap_file(plan.slots),
        StoreKind::Zram => Backing::Modelled,
    };
    let (memcgs, memcg_of) = dealt_out(groups);
    let sys = plan.of(contents, backing, memcgs, memcg_of);
    let live = LiveConfig { fault: FaultOrder::None, trace: true, programs, plant, ..LiveConfig::default() };
    Live::start(sys, live, Vec::new()).unwrap()
}

/// Its end: nothing lost, nothing changed, no law broken.
fn finish(live: Live, name: &str) -> Report {
    while !live.has_ended() {
        std::thread::sleep(Duration::from_millis(1));
        live.sample();
    }
    let complete = live.system().census()[State::Freed as usize] == PAGES;
    if complete {
        live.system().invariant();
    }
    let mut report = live.finish();
    assert_eq!(complete, report.error.is_none(), "{name}: {:?}", report.error);
    assert!(report.mismatched.is_empty(), "{name}: {:?}", report.mismatched);
    let judged = Judged { complete, pool: true, absent: true, ..Judged::default() };
    let mut judge = Judge::new(&Table::default(), Some(PAGES as usize), judged);
    judge.feed(&report.take_trace(PAGES as usize)).unwrap();
    assert_eq!(judge.finish().first, None, "{name}");
    report
}

#[test]
fn every_preset_on_both_stores_brings_every_page_back() {
    for &preset in Preset::ALL {
        for store in [StoreKind::Zram, StoreKind::Zswap] {
            let name = format!("{}-{store:?}", preset.name());
            // Without boosts, which can keep all of a run above the high mark of an unboosted node.
            let plan = Plan { boost_factor: 0, ..Plan::new(preset, store) };
            let report = finish(start(plan, vec![Program::eater(0..PAGES)], None), &name);
            assert_eq!(report.error, None, "{name}");
            let stat = &report.vmstat;
            assert_eq!(stat[Vm::OomKill], 0, "{name}");
            assert!(stat[Vm::PgstealAnon] > u64::from(PAGES) / 2, "{name}: it had to swap");
            assert_eq!(stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect], stat[Vm::PgscanAnon] + stat[Vm::PgscanFile]);
            assert_eq!(report.applications.len(), 1);
            let eater = &report.applications[0];
            assert!(eater.end_ns.is_some_and(|ns| ns > 0), "{name}: {eater:?}");
            assert_eq!((eater.touches, eater.touch_ns.len()), (2 * u64::from(PAGES), 2 * u64::from(PAGES)), "{name}");
            assert_eq!(report.measures.stall_ns.is_empty(), eater.stall_ns == 0, "{name}");
            assert!(report.measures.below_ns[2] > 0, "{name}: it came below the high mark");
            let queued = stat[Vm::KcompressdQueued] > 0;
            assert_eq!(!report.measures.queue_wait_ns.is_empty(), queued, "{name}");
        }
    }
}

/// An eater of `plan`: everything comes back, or it was ended because a queue held what there was to reclaim while its worker had no CPU.
fn eaten(plan: Plan, name: &str) -> Report {
    let report = finish(start(plan, vec![Program::eater(0..PAGES)], None), name);
    let stat = &report.vmstat;
    let held = stat[Vm::OomKill] == 1 && stat[Vm::KcompressdQueued] > 0;
    assert!(held || stat[Vm::OomKill] == 0, "{name}");
    assert!(held || report.applications[0].touches == 2 * u64::from(PAGES), "{name}");
    assert!(held || stat[Vm::PgstealAnon] > u64::from(PAGES) / 2, "{name}: it had to swap");
    assert_eq!(report.error, None, "{name}");
    report
}

#[test]
fn large_folios_come_back_whole() {
    for &preset in Preset::ALL {
        for (store, order) in [(StoreKind::Zram, 4), (StoreKind::Zswap, 2)] {
            let name = format!("{}-{store:?}-{order}", preset.name());
            // Each of the first folio's pages begins a zspage of another class: below the marks there must be room for all of them.
            let watermarks = [160, 200, 240];
            let report = eaten(Plan { order, watermarks, kernel: (6, 13), ..Plan::new(preset, store) }, &name);
            let whole = report.vmstat.mthp(order).into_iter().filter(|(name, _)| name.ends_with("swpout"));
            assert!(whole.map(|(_, folios)| folios).sum::<u64>() > 0, "{name}: some went as a whole");
        }
    }
}

#[test]
fn generations_bring_every_page_back() {
    for &preset in Preset::ALL {
        for store in [StoreKind::Zram, StoreKind::Zswap] {
            let name = format!("{}-{store:?}-lru_gen", preset.name());
            let _ = eaten(Plan { lru_gen: true, ..Plan::new(preset, store) }, &name);
        }
    }
}

/// With `april` a worker reclaims for itself, from groups whose pages it and others hold.
#[test]
fn eight_groups_bring_every_page_back() {
    for (preset, lru_gen) in [(Preset::April, false), (Preset::April, true), (Preset::Split, true)] {
        let name = format!("{}-8-{lru_gen}", preset.name());
        let live = start_in(8, Plan { lru_gen, ..Plan::new(preset, StoreKind::Zram) }, eaters(8), None);
        let report = finish(live, &name);
        assert_eq!((&report.error, report.applications.len(), report.memcgs.len()), (&None, 8, 9), "{name}");
        let pages = PAGES / 8;
        let whole = report.applications.iter().filter(|eater| eater.touches == 2 * u64::from(pages)).count();
        assert_eq!(whole as u64 + report.vmstat[Vm::OomKill], 8, "{name}: each is done, or was ended by name");
        assert!(report.vmstat[Vm::PgstealAnon] > u64::from(pages), "{name}: they had to swap");
    }
}

#[test]
fn several_applications_share_the_memory() {
    for preset in [Preset::Sync, Preset::April, Preset::Split] {
        let third = PAGES / 3;
        let thinks = Phase { think_ns: 2_000, ..Phase::once(2 * third..PAGES, true) };
        let programs = vec![
            Program::eater(0..third),
            Program::usemem(third..2 * third, 5_000, 1),
            Program::phases([thinks, Phase { wait_ns: 1_000_000, ..Phase::once(2 * third..PAGES, false) }], 0),
        ];
        let report = finish(start(Plan::new(preset, StoreKind::Zram), programs, None), preset.name());
        assert_eq!(report.error, None, "{}", preset.name());
        let touches: Vec<u64> = report.applications.iter().map(|app| app.touches).collect();
        assert_eq!(touches, [2 * u64::from(third), u64::from(third) + 5_000, 2 * u64::from(third)]);
    }
}

#[test]
fn the_larger_application_is_ended_when_nothing_can_be_reclaimed() {
    for &preset in Preset::ALL {
        let plan = Plan { free_pages: 5000, slots: 3000, ..Plan::new(preset, StoreKind::Zram) };
        let report =
            finish(start(plan, vec![Program::eater(0..9000), Program::eater(9000..9500)], None), preset.name());
        assert_eq!((&report.error, report.vmstat[Vm::OomKill]), (&None, 1), "{}", preset.name());
        assert!(report.threads.iter().all(|thread| thread.errors.is_empty()), "{}: that is no error", preset.name());
        assert!(report.applications[0].touches < 18_000, "{}: the larger is not done", preset.name());
        assert_eq!(report.applications[1].touches, 1000, "{}: the other is done", preset.name());
    }
}

#[test]
fn a_panic_and_a_cancelled_run_end_with_what_there_was() {
    for actor in [actor::APP, actor::KSWAPD, actor::KCOMPRESSD] {
        let plant = Some(Plant::Panic { actor, after_pages: if actor == actor::KSWAPD { 0 } else { 64 } });
        let plan = Plan::new(Preset::Split, StoreKind::Zram);
        let report = finish(start(plan, vec![Program::eater(0..PAGES)], plant), "panic");
        assert_eq!(report.error.map(|error| error.kind), Some("panic"));
        assert_eq!(report.applications.len(), 1);
    }
    let live = start(Plan::new(Preset::Split, StoreKind::Zram), vec![Program::eater(0..PAGES)], None);
    live.cancel();
    let report = finish(live, "cancelled");
    assert_eq!(report.error.map(|error| error.kind), Some("cancelled"));
    assert_eq!(report.applications[0].end_ns, None);
}
