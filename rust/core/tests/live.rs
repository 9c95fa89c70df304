//! Whole runs under the live driver: every preset on both stores, and runs that end early.

#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig, Plant, Report};
use kcompressd_core::frames::Frames;
use kcompressd_core::lifecycle::{State, Table, actor};
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::stats::{PageNs, Vm};
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, Large, System};
use kcompressd_core::units::PAGE_SIZE;

const SLOTS: u32 = 1024;

/// Zero, same-filled, compressible and incompressible pages in turn.
fn pages(n: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let mut out = Vec::with_capacity(n * PAGE_SIZE);
    for page in 0..n {
        match page % 8 {
            0 => out.extend_from_slice(&[0; PAGE_SIZE]),
            1 => out.extend_from_slice(&[page as u8 | 1; PAGE_SIZE]),
            2 => out.extend(std::iter::repeat_with(&mut noise).take(PAGE_SIZE)),
            kind => out.extend((0..PAGE_SIZE).map(|i| if i % (kind * 3) == 0 { noise() } else { (i / 64) as u8 })),
        }
    }
    out
}

fn swap_file(name: &str) -> Backing {
    let path = std::env::temp_dir().join(format!("kcompressd-live-{}-{name}", std::process::id()));
    let backing = Backing::create(&path, SLOTS, PAGE_SIZE).unwrap();
    std::fs::remove_file(path).unwrap();
    backing
}

fn run(config: Config, live: LiveConfig, faults: IoFaults, memcgs: Memcgs, name: &str) -> Report {
    let contents = pages(512);
    let device = Device::new(swap_file(name), PAGE_SIZE, faults);
    let frames = Contents::Frames(Frames::from_bytes(&contents, PAGE_SIZE).unwrap());
    let sys = System::new(config, Table::default(), memcgs, |_| 0, device, frames).unwrap();
    Live::start(sys, live, contents).unwrap().finish()
}

fn at(report: &Report, state: State) -> u32 {
    report.census_reclaim[state as usize]
}

#[test]
fn every_preset_on_both_stores_brings_every_page_back() {
    for &preset in Preset::ALL {
        for store in [StoreKind::Zswap, StoreKind::Zram] {
            for threads in [1, 2] {
                let design = preset.design(store);
                let design = if design.threads > 0 { design.with_threads(threads) } else { design };
                let live = LiveConfig { fault: FaultOrder::Shuffled, trace: true, ..LiveConfig::default() };
                let name = format!("{}-{store:?}-{threads}", preset.name());
                let report =
                    run(Config::new(design, store, SLOTS), live, IoFaults::default(), Memcgs::default(), &name);
                assert_eq!(report.error, None, "{name}");
                assert!(report.mismatched.is_empty(), "{name}: {:?}", report.mismatched);
                let gone = [State::CompressedFreed, State::WrittenBackFreed, State::ZeroFilledFreed];
                assert_eq!(
                    gone.map(|s| at(&report, s)).iter().sum::<u32>(),
                    512,
                    "{name}: {:?}",
                    report.census_reclaim
                );
                assert_eq!(report.pool_pages_at_exit, 0, "{name}");
            }
        }
    }
}

/// The device writes every page of a folio from its own frame: before 6.13 large folios pass zswap by.
#[test]
fn large_folios_come_back_from_the_device_and_from_the_store() {
    for (kernel, order, at_the_device) in [((6, 12), 2, 512), ((6, 18), 2, 0), ((6, 18), 4, 0)] {
        for preset in [Preset::Sync, Preset::Split] {
            let of_order = |base: Config| Config { kernel, large: vec![Large { pages: 0..512, order }], ..base };
            let config = of_order(Config::new(preset.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS));
            let name = format!("large-{}-{kernel:?}-{order}", preset.name());
            let report = run(config, LiveConfig::default(), IoFaults::default(), Memcgs::default(), &name);
            assert_eq!((report.error.as_ref(), report.mismatched.as_slice()), (None, &[][..]), "{name}");
            assert_eq!(at(&report, State::WrittenBackFreed), at_the_device, "{name}: {:?}", report.census_reclaim);
        }
    }
}

#[test]
fn a_pool_limit_sends_the_rest_to_the_device_and_shrinks() {
    for preset in [Preset::Sync, Preset::April, Preset::Split, Preset::Unofficial] {
        let mut config = Config::new(preset.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
        // So few entries that one run of the worker, 16 failures long, gives each its second chance and comes round.
        config.pool_limit_pages = Some(4);
        let report = run(config, LiveConfig::default(), IoFaults::default(), Memcgs::default(), preset.name());
        assert_eq!(report.error, None, "{}", preset.name());
        assert!(report.mismatched.is_empty());
        assert!(at(&report, State::WrittenBackFreed) > 100, "{}: {:?}", preset.name(), report.census_reclaim);
        assert!(report.zswap.iter().any(|&(n, v)| n == "pool_limit_hit" && v > 0));
        // A queued page is in the swap cache until a later look frees its frame: the worker may meet no other.
        let may_be_cached = preset != Preset::Sync;
        assert!(report.vmstat[Vm::Zswpwb] > 0 || may_be_cached, "the shrink worker wrote nothing");
    }
}

#[test]
fn a_group_at_its_limit_writes_its_own_entries_back() {
    for preset in [Preset::Sync, Preset::Split] {
        let mut memcgs = Memcgs::default();
        let limited = memcgs.add("limited", 0).unwrap();
        memcgs.get(limited).unwrap().set_zswap_max(16 * PAGE_SIZE as u64);
        let frames = Contents::Frames(Frames::from_bytes(&pages(512), PAGE_SIZE).unwrap());
        let device = Device::new(swap_file(&format!("limited-{}", preset.name())), PAGE_SIZE, IoFaults::default());
        let config = Config::new(preset.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
        let half = |page: u32| if page.is_multiple_of(2) { limited } else { 0 };
        let sys = System::new(config, Table::default(), memcgs, half, device, frames).unwrap();
        let report = Live::start(sys, LiveConfig::default(), pages(512)).unwrap().finish();
        assert_eq!((report.error, report.mismatched.as_slice()), (None, &[][..]), "{}", preset.name());
        assert!(report.zswap.contains(&("pool_limit_hit", 0)));
        assert!(report.vmstat[Vm::Zswpwb] > 0 || preset != Preset::Sync, "a second chance later, an entry goes");
    }
}

#[test]
fn the_compressor_changes_while_threads_store_and_load() {
    let design = Preset::Split.design(StoreKind::Zswap).with_threads(2);
    let device = Device::new(swap_file("switch"), PAGE_SIZE, IoFaults::default());
    let frames = Contents::Frames(Frames::from_bytes(&pages(512), PAGE_SIZE).unwrap());
    let config = Config::new(design, StoreKind::Zswap, SLOTS);
    let sys = System::new(config, Table::default(), Memcgs::default(), |_| 0, device, frames).unwrap();
    let live =
        Live::start(sys, LiveConfig { fault: FaultOrder::Shuffled, ..LiveConfig::default() }, pages(512)).unwrap();
    for name in ["zstd", "lzo", "lz4"].iter().cycle() {
        live.system().zswap().unwrap().set_compressor(name.parse().unwrap()).unwrap();
        if live.has_ended() {
            break;
        }
        std::thread::yield_now();
    }
    let report = live.finish();
    assert_eq!(report.error, None);
    assert!(report.mismatched.is_empty(), "{:?}", report.mismatched);
    assert_eq!(report.pool_pages_at_exit, 0);
}

#[test]
fn without_writeback_refused_pages_are_activated() {
    for preset in [Preset::Sync, Preset::Split] {
        let memcgs = Memcgs::default();
        memcgs.get(0).unwrap().set_writeback(false);
        let config = Config::new(preset.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
        let report = run(config, LiveConfig::default(), IoFaults::default(), memcgs, preset.name());
        assert_eq!(report.error, None, "{}", preset.name());
        assert_eq!(
            (at(&report, State::Activated), report.vmstat[Vm::Pgactivate] >= 64),
            (64, true),
            "{}",
            preset.name()
        );
        assert!(report.mismatched.is_empty());
    }
}

#[test]
fn failed_writes_leave_pages_dirty_and_are_tried_again() {
    let config = Config::new(Preset::Split.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
    let live = LiveConfig { go_on: true, ..LiveConfig::default() };
    let faults = IoFaults { writes: vec![0, 3], short_writes: vec![5], ..IoFaults::default() };
    let report = run(config, live, faults, Memcgs::default(), "faults");
    assert_eq!(report.error, None);
    assert_eq!(report.threads.iter().map(|t| t.errors.len()).sum::<usize>(), 3);
    assert_eq!(at(&report, State::WrittenBackFreed), 64);
    assert!(report.mismatched.is_empty());
}

/// Entries that the shrink worker writes back, on a device that fails: nothing is lost, every failure is listed.
#[test]
fn a_failed_writeback_of_an_entry_loses_nothing() {
    for preset in [Preset::Sync, Preset::Split] {
        let mut config = Config::new(preset.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
        config.pool_limit_pages = Some(40);
        let live = LiveConfig { go_on: true, ..LiveConfig::default() };
        let faults =
            IoFaults { writes: (0..40).step_by(3).collect(), short_writes: vec![1, 40, 50], ..IoFaults::default() };
        let report = run(config, live, faults, Memcgs::default(), &format!("writeback-{}", preset.name()));
        assert_eq!(report.error, None, "{}", preset.name());
        let errors = report.threads.iter().flat_map(|t| &t.errors);
        assert_eq!(errors.count(), 14 + 3, "{}", preset.name());
        assert!(report.mismatched.is_empty(), "{}: {:?}", preset.name(), report.mismatched);
        assert_eq!(report.census_reclaim.iter().sum::<u32>(), 512, "{}", preset.name());
    }
}

#[test]
fn a_panic_a_device_error_and_closed_queues_end_the_run_with_what_was_counted() {
    let split = || Config::new(Preset::Split.design(StoreKind::Zswap).with_depth(32), StoreKind::Zswap, SLOTS);
    let panic = Some(Plant::Panic { actor: actor::KCOMPRESSD, after_pages: 5 });
    let closed = Some(Plant::CloseQueues { after_pages: 5 });
    let fault = IoFaults { writes: vec![2], ..IoFaults::default() };
    let none = IoFaults::default();
    for (plant, faults, kind) in [(panic, none.clone(), "panic"), (closed, none, "closed"), (None, fault, "device")] {
        let live = LiveConfig { plant, ..LiveConfig::default() };
        let report = run(split(), live, faults, Memcgs::default(), kind);
        let error = report.error.as_ref().expect(kind);
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(report.vmstat[Vm::PgscanKswapd] > 0, "{kind}: counters are kept");
    }
}

/// kswapd alone fills the queue and compresses the rest itself: what waits for the worker begins after pages that were unmapped later.
#[test]
fn waits_in_the_queue_inversions_and_touches_are_measured() {
    for threads in [1, 2] {
        let design = Preset::Split.design(StoreKind::Zswap).with_threads(threads).with_depth(128);
        let live = LiveConfig { turns: true, ..LiveConfig::default() };
        let config = Config::new(design, StoreKind::Zswap, SLOTS);
        let report = run(config, live, IoFaults::default(), Memcgs::default(), &format!("waits-{threads}"));
        let count = |spread: &PageNs| spread.summary()[6].1;
        let queued = report.vmstat[Vm::KcompressdQueued];
        assert_eq!((queued, report.vmstat[Vm::KcompressdFull]), (128 * u64::from(threads), 448 - queued));
        let measures = &report.measures;
        assert_eq!(count(&measures.queue_wait_ns), queued);
        assert!(measures.queue_wait_ns.summary()[0].1 > 10_000, "its median is what kswapd took, and half the worker");
        assert!(measures.queue_wait_ns.summary()[4].1 < report.timing.reclaim_ns);
        assert_eq!(measures.inversions, queued);
        assert_eq!(count(&measures.touch_ns), 512);
        assert!(measures.touch_ns.summary()[5].1 <= report.timing.fault_ns / 512);
    }
}

#[test]
fn one_actor_at_a_time_gives_the_same_counters_every_time() {
    let once = |name: &str| {
        let config = Config::new(Preset::Split.design(StoreKind::Zswap), StoreKind::Zswap, SLOTS);
        let live = LiveConfig { turns: true, ..LiveConfig::default() };
        run(config, live, IoFaults::default(), Memcgs::default(), name).vmstat
    };
    assert_eq!(once("turns-a"), once("turns-b"));
}
