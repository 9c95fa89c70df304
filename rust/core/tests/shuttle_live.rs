//! Whole live runs under shuttle: every design on both stores, knobs turned meanwhile, runs cut short.
//!
//! `RUSTFLAGS="--cfg kcompressd_shuttle" cargo test --release -p kcompressd-core --test shuttle_live`; each test runs
//! `KCOMPRESSD_SHUTTLE_RUNS` schedules (20 unless set), half of them random, half by priority (PCT). A lost wake-up shows
//! as shuttle's deadlock report, which prints the schedule to replay (`shuttle::replay`): a schedule determines a run.
#![cfg(kcompressd_shuttle)]

use kcompressd_core::design::{Design, Preset, StoreKind};
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig, Plant, Report};
use kcompressd_core::frames::Frames;
use kcompressd_core::judge::{Config as Judged, Judge};
use kcompressd_core::lifecycle::{State, Table};
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::stats::Vm;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::sync::thread;
use kcompressd_core::system::{Config, Contents, Memory, System};
use kcompressd_core::units::PAGE_SIZE;
use kcompressd_core::workload::Program;
use kcompressd_core::zone::ZoneConfig;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{FailurePersistence, MaxSteps, Runner};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const PAGES: usize = 6;

/// Zero, incompressible and compressible pages in turn.
fn pages() -> Vec<u8> {
    let noise = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8;
    let byte = |page: usize, i: usize| match page % 3 {
        0 if page > 0 => 0,
        1 => noise(page * PAGE_SIZE + i),
        _ => (i / 64) as u8 ^ page as u8,
    };
    (0..PAGES).flat_map(|page| (0..PAGE_SIZE).map(move |i| byte(page, i))).collect()
}

fn swap_file(slots: u32) -> Backing {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("kcompressd-shuttle-{}-{number}", std::process::id()));
    let backing = Backing::create(&path, slots, PAGE_SIZE).unwrap();
    std::fs::remove_file(path).unwrap();
    backing
}

fn system(design: Design, store: StoreKind, limit: Option<u64>, faults: IoFaults) -> System {
    let config = Config { pool_limit_pages: limit, ..Config::new(design, store, 16) };
    let mut memcgs = Memcgs::new(PAGE_SIZE);
    memcgs.add("group", 0).unwrap();
    let frames = Contents::Frames(Frames::from_bytes(&pages(), PAGE_SIZE).unwrap());
    let device = Device::new(swap_file(16), PAGE_SIZE, faults);
    System::new(config, Table::default(), memcgs, |page| (page % 2) as u16, device, frames).unwrap()
}

/// Pages of the applications.
const EATEN: u32 = 60;

/// A machine with a memory budget of 64 pages in which two applications need more than there is. Below min there is room for any zspage.
fn machine(design: Design, store: StoreKind) -> System {
    let zone = ZoneConfig {
        managed_pages: 64,
        free_pages: 64,
        watermarks: [12, 14, 16],
        boost_factor: 15_000,
        pcp_batch: 1,
        cpus: 2,
    };
    let memory = Memory { pages: EATEN, zone, file_pages: 2, lru_gen: false, swappiness: 60 };
    let config = Config { memory: Some(memory), ..Config::new(design, store, 256) };
    let frames = Contents::Frames(Frames::absent(pages(), EATEN as usize, PAGE_SIZE).unwrap());
    let device = Device::new(swap_file(256), PAGE_SIZE, IoFaults::default());
    System::new(config, Table::default(), Memcgs::default(), |_| 0, device, frames).unwrap()
}

/// Runs them to the end, unless `cut` short. In so small a machine a worker without `PF_MEMALLOC` may look for memory for ever (one run of
/// some thousands): pages in the CPUs' batches are on no list, applications wait for its folio or are done, and kswapd has given up.
fn eat(sys: System, cut: bool) {
    let may_starve = sys.zswap().is_none() && !sys.design().worker_flags.memalloc;
    let programs = vec![Program::eater(0..40), Program::usemem(40..EATEN, 20, 1)];
    let config = LiveConfig { trace: true, fault: FaultOrder::None, programs, ..LiveConfig::default() };
    let live = Live::start(sys, config, Vec::new()).unwrap();
    if cut {
        thread::yield_now();
        live.cancel();
    }
    let mut report = live.finish();
    let ended = report.error.take();
    let may_end = [(cut, "cancelled"), (may_starve, "livelock")];
    assert!(ended.iter().all(|error| may_end.contains(&(true, error.kind))), "{ended:?}");
    assert!(report.mismatched.is_empty(), "{:?}", report.mismatched);
    let judged = Judged { complete: ended.is_none(), pool: true, absent: true, ..Judged::default() };
    let mut judge = Judge::new(&Table::default(), Some(EATEN as usize), judged);
    judge.feed(&report.take_trace(EATEN as usize)).unwrap();
    assert_eq!(judge.finish().first, None);
    if ended.is_none() {
        assert!(judge.states().iter().all(|&state| state == State::Freed as u8));
        assert!(report.applications.iter().all(|app| app.end_ns.is_some()));
        assert!(report.vmstat[Vm::PgstealAnon] > 0, "it had to swap");
    }
}

fn start(sys: System, plant: Option<Plant>) -> Live {
    let fault = FaultOrder::Shuffled;
    let live = LiveConfig { trace: true, fault, app_threads: 2, go_on: true, plant, ..LiveConfig::default() };
    Live::start(sys, live, pages()).unwrap()
}

fn check(mut report: Report, may_end: &[&str]) {
    let ended = report.error.take();
    assert!(ended.iter().all(|error| may_end.contains(&error.kind)), "{ended:?}");
    let judged = Judged { complete: ended.is_none(), pool: true, ..Judged::default() };
    let mut judge = Judge::new(&Table::default(), Some(PAGES), judged);
    judge.feed(&report.take_trace(PAGES)).unwrap();
    assert_eq!(judge.finish().first, None);
    if ended.is_none() {
        assert!(report.mismatched.is_empty(), "{:?}", report.mismatched);
        assert!(judge.states().iter().all(|&state| state == State::Freed as u8));
        assert_eq!(report.pool_pages_at_exit, 0);
    }
}

/// The presets with two kcompressd threads and queues so short that they overflow.
fn designs() -> impl Iterator<Item = (Design, StoreKind)> {
    let stores = [StoreKind::Zswap, StoreKind::Zram];
    let short = |design: Design| if design.threads > 0 { design.with_threads(2).with_depth(2) } else { design };
    Preset::ALL.iter().flat_map(move |preset| stores.map(|store| (short(preset.design(store)), store)))
}

fn schedules(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(60_000_000); // More than a livelock takes to be called one.
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(run);
}

/// Runs schedules of `run`, half random, half with 3 changes of priority.
fn shuttle(run: impl Fn() + Send + Sync + Clone + 'static) {
    let runs = std::env::var("KCOMPRESSD_SHUTTLE_RUNS").map_or(20, |text| text.parse().expect("a number of runs"));
    let half = usize::div_ceil(runs, 2);
    schedules(RandomScheduler::new(half), run.clone());
    schedules(PctScheduler::new(3, half), run);
}

#[test]
fn every_design_brings_every_page_back() {
    for (design, store) in designs() {
        shuttle(move || check(start(system(design, store, None, IoFaults::default()), None).finish(), &[]));
    }
}

/// A pool of one page: refusals, the shrink worker, and a device that fails.
#[test]
fn a_full_pool_and_a_failing_device_lose_nothing() {
    for (design, store) in designs().filter(|(_, store)| *store == StoreKind::Zswap) {
        let faults = IoFaults { writes: vec![0, 2], short_writes: vec![1], ..IoFaults::default() };
        shuttle(move || check(start(system(design, store, Some(1), faults.clone()), None).finish(), &[]));
    }
}

#[test]
fn knobs_turned_meanwhile_lose_nothing() {
    for (design, store) in designs() {
        shuttle(move || {
            let live = start(system(design, store, None, IoFaults::default()), None);
            turn(live.system());
            check(live.finish(), &[]);
        });
    }
}

/// Both directions of each knob, other threads running in between.
fn turn(sys: &System) {
    for round in 0..2 {
        sys.memcgs.get(1).unwrap().set_writeback(round == 1);
        for number in 0..sys.queues.len() as u16 {
            sys.set_depth(number, 1 + round).unwrap();
        }
        thread::yield_now();
        if let Some(zswap) = sys.zswap() {
            zswap.set_compressor(["zstd:1", "lz4"][round].parse().unwrap()).unwrap();
        }
        sys.memcgs.get(1).unwrap().set_zswap_max([0, u64::MAX][round]);
        thread::yield_now();
    }
}

#[test]
fn a_machine_short_of_memory_brings_every_page_back() {
    for (design, store) in designs() {
        shuttle(move || eat(machine(design, store), false));
        shuttle(move || eat(machine(design, store), true));
    }
}

#[test]
fn a_run_cut_short_ends() {
    for (design, store) in designs() {
        shuttle(move || {
            let live = start(system(design, store, None, IoFaults::default()), None);
            thread::yield_now();
            live.cancel();
            check(live.finish(), &["cancelled"]);
        });
        let plant = Some(Plant::CloseQueues { after_pages: 2 });
        shuttle(move || check(start(system(design, store, None, IoFaults::default()), plant).finish(), &["closed"]));
    }
}

/// Who had each turn.
struct Recorded(RandomScheduler, Arc<Mutex<Vec<TaskId>>>);

impl Scheduler for Recorded {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let next = self.0.next_task(runnable, current, is_yielding);
        self.1.lock().unwrap().extend(next);
        next
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Or the schedule that a failure prints would lead nowhere.
#[test]
fn equal_choices_give_equal_runs() {
    for (design, store) in designs() {
        let [first, second] = [(); 2].map(|()| {
            let turns = Arc::default();
            schedules(Recorded(RandomScheduler::new_from_seed(1, 1), Arc::clone(&turns)), move || {
                eat(machine(design, store), false);
            });
            std::mem::take(&mut *turns.lock().unwrap())
        });
        assert!(first.len() > 1000 && first == second, "{design:?} on {store:?}: {} and {}", first.len(), second.len());
    }
}
