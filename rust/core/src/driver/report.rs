//! What a run reports, complete or not: live and in virtual time.

mod group;

pub use group::{Group, Reclaimed};

use super::profile::Profile;
use crate::lifecycle::{Event, State, actor, actor_name};
use crate::stats::{PageNs, VmStat};
use crate::system::{StepError, Store, System};
use crate::trace::Record;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// "violation", "device", "decode", "policy", "cancelled", "livelock" or "trace"; on threads also "panic", "closed" or "thread", in
    /// virtual time "deadlock" or "machine".
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// Which actor met it ("" where none did).
    pub actor: String,
}

/// What only threads can meet.
#[cfg(not(kcompressd_loom))]
impl RunError {
    pub(crate) fn panic(actor: &str, payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into());
        Self { kind: "panic", message: format!("{actor} panicked: {text}"), actor: actor.into() }
    }

    pub(super) fn closed() -> Self {
        Self { kind: "closed", message: "the queues were closed in the middle of the run".into(), actor: String::new() }
    }

    pub(super) fn thread(error: std::io::Error) -> Self {
        Self { kind: "thread", message: format!("no thread could be made: {error}"), actor: String::new() }
    }
}

impl RunError {
    pub(super) fn step(actor: &str, error: &StepError) -> Self {
        let kind = match error {
            StepError::Violation(_) | StepError::Held { .. } => "violation",
            StepError::Device(_) => "device",
            StepError::Decode { .. } => "decode",
            StepError::Policy(_) => "policy",
        };
        Self { kind, message: error.to_string(), actor: actor.into() }
    }

    /// Whoever waited for the run ended it.
    pub fn cancelled() -> Self {
        Self { kind: "cancelled", message: "cancelled before its end".into(), actor: String::new() }
    }

    /// `actor` steps, and nothing comes of anybody's steps.
    #[cfg(not(kcompressd_loom))]
    pub(super) fn livelock(actor: &str) -> Self {
        let message = format!("livelock: {actor} goes on, but nothing is touched, freed or written any more");
        Self { kind: "livelock", message, actor: actor.into() }
    }

    /// The trace could not be written.
    pub fn trace(error: &std::io::Error) -> Self {
        Self { kind: "trace", message: format!("the trace cannot be written: {error}"), actor: String::new() }
    }
}

/// One thread in one phase.
#[derive(Clone, Debug)]
pub struct ThreadReport {
    /// Its actor.
    pub actor: u16,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Pages it finished.
    pub pages_done: u64,
    /// Time per page.
    pub page_ns: PageNs,
    /// Its counters.
    pub vmstat: VmStat,
    /// Events it fired, by kind.
    pub by_event: [u64; Event::ALL.len()],
    /// Errors that cost no page.
    pub errors: Vec<String>,
    /// Its events.
    pub records: Vec<Record>,
}

impl ThreadReport {
    pub(super) fn new(actor: u16) -> Self {
        let (page_ns, vmstat) = (PageNs::default(), VmStat::default());
        let by_event = [0; Event::ALL.len()];
        Self { actor, cpu_ns: 0, pages_done: 0, page_ns, vmstat, by_event, errors: Vec::new(), records: Vec::new() }
    }

    /// Its actor's name.
    pub fn name(&self) -> String {
        actor_name(self.actor)
    }
}

/// How long the phases took.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// The reclaim phase, until every kswapd was done.
    pub reclaim_ns: u64,
    /// The fault phase.
    pub fault_ns: u64,
    /// Time per page of the reclaim phase's threads.
    pub reclaim_page_ns: PageNs,
    /// Time per page of the fault phase's threads.
    pub fault_page_ns: PageNs,
}

/// The system at one moment of the reclaim phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds since the start.
    pub t_ns: u64,
    /// Folios in all queues.
    pub queue_len: u64,
    /// Pages of the pool.
    pub pool_pages: u64,
    /// Folios in flight.
    pub in_flight: u64,
    /// Pages that are compressed in the store and whose frame is still allocated.
    pub frames_held_twice: u64,
    /// Anonymous pages freed so far.
    pub pgsteal: u64,
    /// Anonymous pages isolated so far.
    pub pgscan: u64,
    /// Pages given to the store so far: `pswpout` and `zswpout`.
    pub stores: u64,
    /// Free pages of a system with a memory budget (NR_FREE_PAGES), else 0.
    pub free_pages: u64,
    /// Direct reclaims so far.
    pub allocstall: u64,
    /// Time that applications were stalled on memory so far, all of them added up.
    pub stall_ns: u64,
}

impl Sample {
    /// Names and values, for a table over time.
    pub fn columns(&self) -> [(&'static str, u64); 11] {
        [
            ("t_ns", self.t_ns),
            ("queue_len", self.queue_len),
            ("pool_pages", self.pool_pages),
            ("in_flight", self.in_flight),
            ("frames_held_twice", self.frames_held_twice),
            ("pgsteal", self.pgsteal),
            ("pgscan", self.pgscan),
            ("stores", self.stores),
            ("free_pages", self.free_pages),
            ("allocstall", self.allocstall),
            ("stall_ns", self.stall_ns),
        ]
    }
}

/// Latencies and stalls.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// An application's touch of a page, from its first step to its last.
    pub touch_ns: PageNs,
    /// From queueing a page until its compression begins.
    pub queue_wait_ns: PageNs,
    /// A fault's wait for the lock of a page.
    pub fault_wait_ns: PageNs,
    /// A stall on memory (`psi_memstall_enter` to `psi_memstall_leave`).
    pub stall_ns: PageNs,
    /// Time with at least one application stalled on memory, nanoseconds.
    pub some_ns: u64,
    /// Time with every unfinished application stalled on memory, nanoseconds.
    pub full_ns: u64,
    /// Pages whose compression began after that of a page which reclaim had unmapped later.
    pub inversions: u64,
    /// Time with no more free pages than the min, low and high watermark, nanoseconds.
    pub below_ns: [u64; 3],
}

impl Measures {
    /// Adds another phase's.
    pub fn add(&mut self, other: &Self) {
        self.touch_ns.add(&other.touch_ns);
        self.queue_wait_ns.add(&other.queue_wait_ns);
        self.fault_wait_ns.add(&other.fault_wait_ns);
        self.stall_ns.add(&other.stall_ns);
        self.some_ns += other.some_ns;
        self.full_ns += other.full_ns;
        self.inversions += other.inversions;
        for (sum, below_ns) in self.below_ns.iter_mut().zip(other.below_ns) {
            *sum += below_ns;
        }
    }
}

/// What one application came to.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// When it ended, nanoseconds since the start of the run; `None`: it did not.
    pub end_ns: Option<u64>,
    /// Touches that it finished.
    pub touches: u64,
    /// Its touches of pages.
    pub touch_ns: PageNs,
    /// Its stalls on memory in all, nanoseconds.
    pub stall_ns: u64,
    /// Its counters.
    pub vmstat: VmStat,
}

/// A run's report; `error` says why it is partial.
#[derive(Debug, Default)]
pub struct Report {
    /// Why it ended early.
    pub error: Option<RunError>,
    /// Each thread of each phase.
    pub threads: Vec<ThreadReport>,
    /// All counters added up.
    pub vmstat: VmStat,
    /// Events fired, by kind.
    pub by_event: [u64; Event::ALL.len()],
    /// Times.
    pub timing: Timing,
    /// States after the reclaim phase.
    pub census_reclaim: [u32; State::ALL.len()],
    /// States after the fault phase.
    pub census_fault: [u32; State::ALL.len()],
    /// zswap's debugfs after the reclaim phase; empty for zram.
    pub zswap: Vec<(&'static str, u64)>,
    /// zram's mm_stat after the reclaim phase; empty for zswap.
    pub mm_stat: Vec<(&'static str, u64)>,
    /// zram's io_stat after the reclaim phase.
    pub io_stat: Vec<(&'static str, u64)>,
    /// The queues' depth, folios.
    pub queue_depth: u32,
    /// The queues' capacity, folios; 0 where there is none.
    pub queue_capacity: usize,
    /// What /proc/vmstat says is there after the reclaim phase.
    pub levels: Vec<(&'static str, u64)>,
    /// Pages of the pool after the reclaim phase.
    pub pool_pages: usize,
    /// Pages of the pool at the end: 0 when nothing is left behind.
    pub pool_pages_at_exit: usize,
    /// Pages that came back different.
    pub mismatched: Vec<u32>,
    /// Latencies and stalls of the reclaim and fault phases.
    pub measures: Measures,
    /// What each application of a run with a memory budget came to, in order.
    pub applications: Vec<Application>,
    /// The groups of such a run, the root first, at the end of the reclaim phase; none where there is the root alone.
    pub memcgs: Vec<Group>,
    /// What the steps of the reclaim phase cost, CPU time, where that was asked for.
    pub profile: Profile,
    /// Samples over time.
    pub series: Vec<Sample>,
    /// Steps taken; 0 under the live driver, which does not count them.
    pub steps: u64,
    /// What the controlling thread noted, for the trace.
    pub notes: Vec<Record>,
}

impl Report {
    pub(super) fn add(&mut self, thread: ThreadReport) {
        self.vmstat.add(&thread.vmstat);
        for (sum, events) in self.by_event.iter_mut().zip(thread.by_event) {
            *sum += events;
        }
        let times = &mut self.timing;
        let fault = actor::kind(thread.actor) == actor::APP;
        let page_ns = if fault { &mut times.fault_page_ns } else { &mut times.reclaim_page_ns };
        page_ns.add(&thread.page_ns);
        self.threads.push(thread);
    }

    /// A thread of the exit phase: its events and errors count, its time does not.
    pub(super) fn add_exit(&mut self, mut thread: ThreadReport) {
        thread.page_ns = PageNs::default();
        (thread.cpu_ns, thread.pages_done) = (0, 0);
        self.add(thread);
    }

    /// CPU time of all threads of the reclaim and fault phases, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.threads.iter().map(|thread| thread.cpu_ns).sum()
    }

    /// All records in one order ([`crate::trace::merge`]); the threads' logs are emptied.
    pub fn take_trace(&mut self, pages: usize) -> Vec<Record> {
        let notes = std::mem::take(&mut self.notes);
        let logs = self.threads.iter_mut().map(|thread| std::mem::take(&mut thread.records)).chain([notes]).collect();
        crate::trace::merge(logs, pages)
    }

    /// Notes what the store and the queues of `sys` say now.
    pub fn note_stores(&mut self, sys: &System) {
        self.pool_pages = sys.pool_pages();
        self.levels = group::levels(sys).into();
        self.queue_depth = sys.design().depth;
        self.queue_capacity = sys.queues.first().map_or(0, crate::queue::FolioQueue::capacity);
        match &sys.store {
            Store::Zswap(zswap) => self.zswap = zswap.debugfs(),
            Store::Zram(zram) => {
                self.mm_stat = zram.mm_stat().fields().to_vec();
                self.io_stat = zram.io_stat().to_vec();
            }
        }
    }
}
