//! The live driver: one OS thread an actor, the wall clock.
//!
//! A run has three phases: *reclaim* (every page is wanted gone), *fault* (application threads read every page back) and
//! *exit* (every page is given up). The reclaim phase is over when every kswapd is done; then the queues are closed and
//! drained, never stopped in the middle. With a memory budget the first phase is that of the applications' programs, beside
//! which kswapd balances the node; it is over when they have ended, and no fault phase follows. Whatever ends a run early (a panic, a violation, a device error, a cancelled
//! run) shuts the wait table down, so that no thread is left hanging, and keeps what was counted.

mod clock;
mod controller;
#[cfg(not(kcompressd_shuttle))]
pub mod host;
mod meter;
mod stopwatch;
mod threads;
mod watchdog;

pub use super::phases::FaultOrder;
pub use super::profile::Profiling;
pub use super::report::{Report, RunError, Sample, ThreadReport, Timing};
pub use clock::{Gate, Turns, cpu, cpu_ns, pin};

use crate::reclaim::ReclaimRequest;
use crate::stats::Vm;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, CachePadded, Clock, Mutex, Ordering, thread};
use crate::system::{Ctx, System};
use crate::wait::{WaitCell, Woken};
use crate::workload::Program;
use controller::Controller;
use meter::Gauges;
use std::sync::Arc;
use std::time::Duration;
use watchdog::Watchdog;

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
    /// What is found out about the steps of the reclaim phase ([`Report::profile`]).
    pub profiling: Profiling,
    /// A planted failure.
    pub plant: Option<Plant>,
    /// What applications do in a system with a memory budget: they run beside reclaim.
    pub programs: Vec<Program>,
    /// What is written to groups' `memory.reclaim` meanwhile.
    pub reclaims: Vec<ReclaimRequest>,
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
            profiling: Profiling::Off,
            plant: None,
            programs: Vec::new(),
            reclaims: Vec::new(),
        }
    }
}

/// What one thread has come to: its own line, which it alone writes, so that no thread waits for another's.
#[derive(Debug, Default)]
pub(crate) struct Figures(CachePadded<[AtomicU64; 6]>);

impl Figures {
    /// Pages held twice (wrapping), freed, isolated, stored; direct reclaims; pages finished.
    pub(crate) fn set(&self, ctx: &Ctx) {
        let held = ctx.held_twice as u64;
        let stores = ctx.stat[Vm::Pswpout] + ctx.stat[Vm::Zswpout];
        let allocstall = ctx.stat[Vm::AllocstallMovable] + ctx.stat[Vm::AllocstallNormal];
        let (pgsteal, pgscan) = (ctx.stat[Vm::PgstealAnon], ctx.stat[Vm::PgscanAnon]);
        for (figure, now) in self.0.iter().zip([held, pgsteal, pgscan, stores, allocstall, ctx.pages_done]) {
            figure.store(now, Ordering::Relaxed); // ORDERING: Relaxed: a figure for a sample.
        }
    }
}

/// The figures of all threads that the phase has had.
#[derive(Debug, Default)]
struct Sums(Mutex<Vec<Arc<Figures>>>);

impl Sums {
    /// A figure added up.
    fn sum(&self, figure: usize) -> u64 {
        // ORDERING: Relaxed: a figure for a sample.
        self.0.lock().iter().fold(0, |sum, of| sum.wrapping_add(of.0[figure].load(Ordering::Relaxed)))
    }

    /// Pages finished.
    fn pages_done(&self) -> u64 {
        self.sum(5)
    }

    fn sample(&self, t_ns: u64, progress: &Progress) -> Sample {
        let [held, pgsteal, pgscan, stores, allocstall] = std::array::from_fn(|figure| self.sum(figure));
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
    clock: Clock,
    cancelled: AtomicBool,
    error: Mutex<Option<RunError>>,
    phase: AtomicU32,
    series: Mutex<Vec<Sample>>,
    sums: Sums,
    watchdog: Watchdog,
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

    /// Figures for another thread.
    pub(crate) fn figures(&self) -> Arc<Figures> {
        let figures = Arc::new(Figures::default());
        self.sums.0.lock().push(figures.clone());
        figures
    }

    /// The phase under way, by its place in [`PHASES`].
    pub(crate) fn phase(&self) -> usize {
        // ORDERING: Relaxed: only the controlling thread changes it, and threads are made after that.
        self.phase.load(Ordering::Relaxed) as usize
    }

    /// Begins a phase, in which nothing is finished: no thread of the one before runs any more.
    pub(crate) fn enter(&self, phase: u32) {
        let _sampling = self.series.lock();
        // ORDERING: Relaxed: as in `phase`; who samples has the lock.
        self.phase.store(phase, Ordering::Relaxed);
        self.sums.0.lock().clear();
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.ns()
    }

    /// How far the run is; in the reclaim phase also a sample of its series, which are in order of time.
    pub(crate) fn sample(&self) -> Progress {
        let mut series = self.series.lock();
        let sys = &self.sys;
        let phase = PHASES[self.phase()];
        let progress = Progress {
            phase,
            pages_done: self.sums.pages_done(),
            queue_len: sys.queues.iter().map(crate::queue::FolioQueue::len).collect(),
            pool_pages: sys.pool_pages(),
            in_flight: sys.in_flight(),
        };
        if phase == "reclaim" {
            let sample = self.sums.sample(self.now_ns(), &progress);
            let free_pages = sys.mm.as_ref().map_or(0, |mm| u64::from(mm.zone.free_pages()));
            let sample = Sample { free_pages, ..sample };
            series.push(self.gauges.as_ref().map_or(sample, |gauges| gauges.sample(sample)));
        }
        progress
    }
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// "reclaim", "fault", "exit" or "ended".
    pub phase: &'static str,
    /// Pages finished in this phase so far.
    pub pages_done: u64,
    /// Lengths of the queues.
    pub queue_len: Vec<usize>,
    /// Pages of the pool.
    pub pool_pages: usize,
    /// Folios in flight.
    pub in_flight: u32,
}

const PHASES: [&str; 4] = ["reclaim", "fault", "exit", "ended"];
/// The place of "exit".
const EXIT: usize = 2;

/// The end of a run, to wait for.
#[derive(Clone, Debug)]
pub struct End(Arc<WaitCell>);

impl End {
    /// Waits for it, at most `timeout`; whether it has come, after which [`Live::finish`] hardly blocks.
    pub fn within(&self, timeout: Duration) -> bool {
        self.0.sleep(timeout) == Woken::Shutdown
    }
}

/// Belongs to the controlling thread: however that ends, it is told.
struct Ending(End);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.shutdown();
    }
}

/// A run under way.
pub struct Live {
    shared: Arc<Shared>,
    controller: Option<thread::JoinHandle<Report>>,
    end: End,
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
            clock: Clock::start(),
            cancelled: AtomicBool::new(false),
            error: Mutex::new(None),
            phase: AtomicU32::new(0),
            series: Mutex::new(Vec::new()),
            sums: Sums::default(),
            watchdog: Watchdog::default(),
            gauges,
        });
        let (run, end) = (shared.clone(), End(Arc::new(WaitCell::new())));
        let ending = Ending(end.clone());
        let control = move || {
            let _ending = ending;
            Controller::new(run).run(&original)
        };
        let controller =
            thread::Builder::new().name("kcompressd-run".into()).spawn(control).map_err(RunError::thread)?;
        Ok(Self { shared, controller: Some(controller), end })
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

    /// Its end, for who waits without holding the run.
    pub fn end(&self) -> End {
        self.end.clone()
    }

    /// Ends it early; what was counted is kept.
    pub fn cancel(&self) {
        self.shared.fail(RunError::cancelled());
    }

    /// Notes queue lengths, pool and flight now.
    pub fn sample(&self) -> Progress {
        self.shared.sample()
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
