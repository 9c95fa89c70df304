//! The live driver: one OS thread an actor, the wall clock.
//!
//! A run has three phases: *reclaim* (every page is wanted gone), *fault* (application threads read every page back) and
//! *exit* (every page is given up). The reclaim phase is over when every kswapd is done; then the queues are closed and
//! drained, never stopped in the middle. With a memory budget the first phase is that of the applications' programs, beside
//! which kswapd balances the node; it is over when they have ended, and no fault phase follows. Whatever ends a run early (a panic, a violation, a device error, a cancelled
//! run) shuts the wait table down, so that no thread is left hanging, and keeps what was counted.

mod clock;
mod meter;
mod threads;

pub use super::phases::FaultOrder;
pub use super::report::{Report, RunError, Sample, ThreadReport, Timing};
pub use clock::{Gate, Turns, cpu, cpu_ns, pin};

use super::Stops;
use super::phases::apps;
use crate::lifecycle::{State, actor, flag};
use crate::reclaim::{Actor, App, Task};
use crate::stats::Vm;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, CachePadded, Mutex, Ordering, thread};
use crate::system::{Contents, Ctx, System};
use crate::trace::Record;
use crate::wait::WaitKey;
use crate::workload::Program;
use meter::Gauges;
use std::sync::Arc;
use std::time::Instant;
use threads::{Ended, Group, spawn};

/// A planted failure, for tests of how a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// This actor panics once it has finished this many pages.
    Panic {
        /// The actor.
        actor: u16,
        /// Pages it finishes first.
        after_pages: u64,
    },
    /// The queues are closed once this many pages are finished by whoever notices.
    CloseQueues {
        /// Pages that some actor finishes first.
        after_pages: u64,
    },
}

/// How a live run goes.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Whether threads are pinned to CPUs, in turn.
    pub pin: bool,
    /// Whether events are logged.
    pub trace: bool,
    /// The fault phase.
    pub fault: FaultOrder,
    /// Seed of the shuffle.
    pub seed: u64,
    /// Whether contents are compared at the end of the fault phase.
    pub verify: bool,
    /// Whether pool memory is touched before the clock starts.
    pub warm: bool,
    /// Threads of the fault phase.
    pub app_threads: u16,
    /// Whether an injected device error lets the run go on; a real one ends it always.
    pub go_on: bool,
    /// Actors run one at a time, each until it waits: the schedule of one CPU without time slices.
    pub turns: bool,
    /// A planted failure.
    pub plant: Option<Plant>,
    /// What applications do in a system with a memory budget: they run beside reclaim.
    pub programs: Vec<Program>,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            pin: false,
            trace: false,
            fault: FaultOrder::InOrder,
            seed: 0,
            verify: true,
            warm: false,
            app_threads: 1,
            go_on: false,
            turns: false,
            plant: None,
            programs: Vec::new(),
        }
    }
}

/// Sums over all threads, for samples: each thread adds what has changed when it reads the clock.
#[derive(Debug, Default)]
pub(crate) struct Sums([AtomicU64; 5]);

impl Sums {
    /// A thread's part: pages held twice (wrapping), freed, isolated, stored; direct reclaims.
    fn part(ctx: &Ctx) -> [u64; 5] {
        let held = i64::from(ctx.census[State::Compressed as usize]) as u64;
        let stores = ctx.stat[Vm::Pswpout] + ctx.stat[Vm::Zswpout];
        let allocstall = ctx.stat[Vm::AllocstallMovable] + ctx.stat[Vm::AllocstallNormal];
        [held, ctx.stat[Vm::PgstealAnon], ctx.stat[Vm::PgscanAnon], stores, allocstall]
    }

    /// Adds what has changed since `last`.
    fn add(&self, ctx: &Ctx, last: &mut [u64; 5]) {
        let now = Self::part(ctx);
        for ((sum, now), last) in self.0.iter().zip(now).zip(last) {
            if now != *last {
                // ORDERING: Relaxed: a figure for a sample.
                sum.fetch_add(now.wrapping_sub(*last), Ordering::Relaxed);
                *last = now;
            }
        }
    }

    fn sample(&self, t_ns: u64, progress: &Progress) -> Sample {
        // ORDERING: Relaxed: figures for a sample.
        let [held, pgsteal, pgscan, stores, allocstall] = std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed));
        Sample {
            t_ns,
            queue_len: progress.queue_len.iter().sum::<usize>() as u64,
            pool_pages: progress.pool_pages as u64,
            in_flight: u64::from(progress.in_flight),
            frames_held_twice: (held as i64).max(0) as u64,
            pgsteal,
            pgscan,
            stores,
            allocstall,
            ..Sample::default()
        }
    }
}

/// What all threads of a run share.
pub(crate) struct Shared {
    pub(crate) sys: System,
    pub(crate) config: LiveConfig,
    pub(crate) started: Instant,
    cancelled: AtomicBool,
    error: Mutex<Option<RunError>>,
    phase: AtomicU32,
    pages_done: CachePadded<AtomicU64>,
    series: Mutex<Vec<Sample>>,
    sums: Sums,
    /// Of a run with a memory budget.
    gauges: Option<Gauges>,
}

impl Shared {
    /// Ends the run with `error`, the first of which counts.
    pub(crate) fn fail(&self, error: RunError) {
        self.error.lock().get_or_insert(error);
        // ORDERING: Release pairs with `is_cancelled`.
        self.cancelled.store(true, Ordering::Release);
        self.sys.wait.shutdown();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        // ORDERING: Acquire pairs with `fail`.
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn count_pages(&self, pages: u64) {
        // ORDERING: Relaxed: a progress figure.
        self.pages_done.fetch_add(pages, Ordering::Relaxed);
    }

    /// The phase under way, by its place in [`PHASES`].
    pub(crate) fn phase(&self) -> usize {
        // ORDERING: Relaxed: only the controlling thread changes it, and threads are made after that.
        self.phase.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// "reclaim", "fault", "exit" or "ended".
    pub phase: &'static str,
    /// Pages finished in all phases so far.
    pub pages_done: u64,
    /// Lengths of the queues.
    pub queue_len: Vec<usize>,
    /// Pages of the pool.
    pub pool_pages: usize,
    /// Folios in flight.
    pub in_flight: u32,
}

const PHASES: [&str; 4] = ["reclaim", "fault", "exit", "ended"];

/// A run under way.
pub struct Live {
    shared: Arc<Shared>,
    controller: Option<thread::JoinHandle<Report>>,
}

impl Live {
    /// Starts a run of `sys`; `original` is what the frames held, for the comparison.
    ///
    /// # Errors
    /// [`RunError`] when the controlling thread cannot be made.
    pub fn start(sys: System, config: LiveConfig, original: Vec<u8>) -> Result<Self, RunError> {
        let gauges = sys.mm.is_some().then(|| Gauges::new(&sys, config.programs.len()));
        let shared = Arc::new(Shared {
            sys,
            config,
            started: Instant::now(),
            cancelled: AtomicBool::new(false),
            error: Mutex::new(None),
            phase: AtomicU32::new(0),
            pages_done: CachePadded::default(),
            series: Mutex::new(Vec::new()),
            sums: Sums::default(),
            gauges,
        });
        let run = shared.clone();
        let control = move || Controller { shared: run, report: Report::default() }.run(&original);
        let controller =
            thread::Builder::new().name("kcompressd-run".into()).spawn(control).map_err(RunError::thread)?;
        Ok(Self { shared, controller: Some(controller) })
    }

    /// The system it runs.
    pub fn system(&self) -> &System {
        &self.shared.sys
    }

    /// Whether it has ended; [`Live::finish`] does not block then. (shuttle's threads cannot tell.)
    #[cfg(not(kcompressd_shuttle))]
    pub fn has_ended(&self) -> bool {
        self.controller.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Ends it early; what was counted is kept.
    pub fn cancel(&self) {
        self.shared.fail(RunError::cancelled());
    }

    /// Notes queue lengths, pool and flight now.
    pub fn sample(&self) -> Progress {
        let sys = &self.shared.sys;
        let phase = PHASES[self.shared.phase()];
        let progress = Progress {
            phase,
            // ORDERING: Relaxed: a progress figure.
            pages_done: self.shared.pages_done.load(Ordering::Relaxed),
            queue_len: sys.queues.iter().map(crate::queue::FolioQueue::len).collect(),
            pool_pages: sys.pool_pages(),
            in_flight: sys.in_flight(),
        };
        if phase == "reclaim" {
            let sample = self.shared.sums.sample(self.shared.now_ns(), &progress);
            let free_pages = sys.mm.as_ref().map_or(0, |mm| u64::from(mm.zone.free_pages()));
            let sample = Sample { free_pages, ..sample };
            let sample = self.shared.gauges.as_ref().map_or(sample, |gauges| gauges.sample(sample));
            self.shared.series.lock().push(sample);
        }
        progress
    }

    /// Waits for the end and returns the report.
    pub fn finish(mut self) -> Report {
        let controller = self.controller.take().expect("finish takes self");
        let mut report = controller.join().unwrap_or_else(|panic| Report {
            error: Some(RunError::panic("controller", panic.as_ref())),
            ..Report::default()
        });
        report.series = std::mem::take(&mut *self.shared.series.lock());
        report
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(controller) = self.controller.take() {
            self.cancel();
            let _ = controller.join();
        }
    }
}

/// The controlling thread: one phase after the other.
struct Controller {
    shared: Arc<Shared>,
    report: Report,
}

impl Controller {
    fn run(mut self, original: &[u8]) -> Report {
        self.reclaim();
        let budget = self.shared.sys.mm.is_some();
        if budget {
            self.verify_resident();
        } else if !self.shared.is_cancelled() && self.shared.config.fault != FaultOrder::None {
            self.enter(1);
            self.report.timing.fault_ns = self.apps(Task::Touch);
            self.report.census_fault = self.shared.sys.census();
            self.note_pool();
            self.verify(original);
        }
        if !self.shared.is_cancelled() {
            self.enter(2);
            self.apps(Task::Exit);
            self.note_pool();
        }
        self.enter(3);
        self.report.error = self.shared.error.lock().take();
        self.report.pool_pages_at_exit = self.shared.sys.pool_pages();
        self.report
    }

    fn enter(&self, phase: u32) {
        // ORDERING: Relaxed: a progress figure.
        self.shared.phase.store(phase, Ordering::Relaxed);
    }

    fn reclaim(&mut self) {
        let sys = &self.shared.sys;
        if self.shared.config.warm {
            // A pool never exceeds its pages; what cannot be touched ahead is touched by the run.
            let _ = sys.current_pool().prefault(sys.folios.len() * sys.config.page_size * 3 / 4);
        }
        let stops = Stops::default();
        let mut actors = super::actors(sys, &stops);
        actors.extend(self.applications());
        let of_kind = |kind: u16| actors.iter().filter(move |(id, _)| actor::kind(*id) == kind).cloned();
        let kinds = [actor::KSWAPD, actor::KCOMPRESSD, actor::DEVICE, actor::SHRINK, actor::APP];
        let gate = Arc::new(Gate::new());
        let turns = self.shared.config.turns.then(|| Arc::new(Turns::new(actors.iter().map(|(id, _)| *id))));
        let groups = kinds.map(|kind| spawn(&self.shared, of_kind(kind).collect(), &gate, turns.as_ref()));
        let start = gate.open(groups.iter().map(Vec::len).sum());
        let [kswapd, kcompressd, device, shrink, apps] = groups;
        self.join_applications(apps, &stops, start);
        self.join(kswapd);
        self.report.timing.reclaim_ns = start.elapsed().as_nanos() as u64;
        self.end_workers(&stops, kcompressd, shrink, device);
        self.report.note_stores(&self.shared.sys);
        self.report.census_reclaim = self.shared.sys.census();
        self.note_pool();
    }

    /// The actors of the programs.
    fn applications(&self) -> Vec<(u16, Actor)> {
        let programs = (actor::APP..).zip(&self.shared.config.programs);
        programs.map(|(id, program)| (id, Actor::App(App::running(program.clone())))).collect()
    }

    /// Waits for the end of the applications; then nobody needs kswapd any more.
    fn join_applications(&mut self, apps: Group, stops: &Stops, start: Instant) {
        let shared = self.shared.clone();
        let Some(gauges) = &shared.gauges else { return };
        let start_ns = (start - shared.started).as_nanos() as u64;
        gauges.begin(start_ns);
        self.join(apps);
        self.report.applications.resize_with(shared.config.programs.len(), Default::default);
        for application in &mut self.report.applications {
            application.end_ns = application.end_ns.map(|end_ns| end_ns.saturating_sub(start_ns));
        }
        self.report.measures.add(&gauges.finish(shared.now_ns()));
        super::stop(&shared.sys, &stops.kswapd, WaitKey::Kswapd);
    }

    /// Between two phases nobody is in the middle of a step: what the store holds, for the judge.
    fn note_pool(&mut self) {
        if self.shared.config.trace && !self.shared.is_cancelled() {
            let (t_ns, aux) = (self.shared.now_ns(), self.shared.sys.pool_bytes());
            let (folio, event) = (crate::trace::SYSTEM, crate::trace::system::POOL);
            self.report.notes.push(Record { t_ns, aux, folio, event, actor: actor::SCRIPT, ..Record::default() });
        }
    }

    /// Close and drain; what was written last is still reclaimed, with the device at work: a page whose write failed goes
    /// out once more, and kswapd waits for it.
    fn end_workers(&mut self, stops: &Stops, kcompressd: Group, shrink: Group, device: Group) {
        let shared = self.shared.clone();
        for (number, queue) in shared.sys.queues.iter().enumerate() {
            queue.close();
            shared.sys.wait.wake_all(WaitKey::Queue(number as u16));
        }
        self.join(kcompressd);
        // ORDERING: Release pairs with the Acquire in the worker: what was stored precedes.
        stops.shrink.set(true);
        shared.sys.wait.wake_all(WaitKey::Shrink);
        self.join(shrink);
        // Until all writes have ended; a cancelled run shuts the cell down.
        let landed = shared.sys.wait.cell(WaitKey::Memory).wait_for(|| (shared.sys.in_flight() == 0).then_some(()));
        let pageout = shared.sys.mm.is_none();
        if pageout && landed.is_some() && shared.sys.census()[State::WrittenBack as usize] > 0 && !shared.is_cancelled()
        {
            let kswapds = super::kswapds(&shared.sys, &Stops::default()).collect();
            let gate = Arc::new(Gate::new());
            let group = spawn(&shared, kswapds, &gate, None);
            gate.open(group.len());
            self.join(group);
        }
        stops.device.set(true);
        shared.sys.wait.wake_all(WaitKey::Device);
        self.join(device);
    }

    fn join(&mut self, group: Group) {
        let exit = self.shared.phase() == 2;
        for (id, handle) in group {
            match handle.join() {
                Ok(ended) if exit => self.report.add_exit(ended.report),
                Ok(ended) => self.note(ended),
                Err(panic) => self.shared.fail(RunError::panic(&crate::lifecycle::actor_name(id), panic.as_ref())),
            }
        }
    }

    /// Takes over what a thread of the reclaim or fault phase has come to.
    fn note(&mut self, ended: Ended) {
        self.report.mismatched.extend(ended.mismatched);
        self.report.measures.add(&ended.measures);
        self.report.applications.extend(ended.application);
        self.report.add(ended.report);
    }

    /// Application threads, each with a share of the pages; returns the nanoseconds they took.
    fn apps(&mut self, task: Task) -> u64 {
        let sys = &self.shared.sys;
        let config = &self.shared.config;
        let actors = apps(task, sys.folios.len() as u32, config.fault, config.seed, config.app_threads);
        let gate = Arc::new(Gate::new());
        let group = spawn(&self.shared, actors, &gate, None);
        let start = gate.open(group.len());
        self.join(group);
        start.elapsed().as_nanos() as u64
    }

    /// What is resident when the applications have ended was never seen to come back.
    fn verify_resident(&mut self) {
        let sys = &self.shared.sys;
        let resident = (0..sys.folios.len() as u32).filter(|&page| sys.folio(page).word.load().has(flag::FRAME));
        // SAFETY: every actor has been joined: nobody writes frames.
        let changed = resident.filter(|&page| !unsafe { sys.contents.is_intact(page) });
        self.report.mismatched.extend(changed);
    }

    fn verify(&mut self, original: &[u8]) {
        let sys = &self.shared.sys;
        let Contents::Frames(frames) = &sys.contents else { return };
        if !self.shared.config.verify || self.shared.is_cancelled() {
            return;
        }
        for (page, want) in original.chunks_exact(sys.config.page_size).enumerate() {
            // SAFETY: every actor has been joined: nobody writes frames.
            let got = unsafe { frames.page(page as u32) };
            if got != want {
                self.report.mismatched.push(page as u32);
            }
        }
    }
}
