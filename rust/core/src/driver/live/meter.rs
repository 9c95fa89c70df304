//! What the threads of a run with a memory budget measure: touches, waits and stalls each for itself, by the real clock, and in
//! [`Gauges`] what only all of them know together. The virtual driver's meter measures the same.

use crate::driver::gauges::{Level, Pressure};
use crate::driver::report::{Measures, Sample};
use crate::lifecycle::actor;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::system::{Ctx, System, mark};
use crate::trace::aux;

/// When a page was queued, and as which of all; `position` is written last and read first.
#[derive(Debug, Default)]
struct Queued {
    position: AtomicU64,
    at_ns: AtomicU64,
    handed: AtomicU64,
}

/// What all threads know together.
#[derive(Debug)]
pub(super) struct Gauges {
    pressure: Mutex<Pressure>,
    level: Mutex<Level>,
    /// `level`'s, to be compared without its lock.
    above: AtomicU32,
    /// By queue, and in it by position.
    queued: Box<[Box<[Queued]>]>,
    /// Pages handed on so far, to a queue or to the compressor.
    handed: AtomicU64,
    /// The latest of those whose compression has begun.
    latest: AtomicU64,
}

impl Gauges {
    /// Those of a run of `apps` applications.
    pub fn new(sys: &System, apps: usize) -> Self {
        let ring = |queue: &crate::queue::FolioQueue| (2 * queue.capacity()).next_power_of_two().max(64);
        let queued = |queue| (0..ring(queue)).map(|_| Queued::default()).collect();
        Self {
            pressure: Mutex::new(Pressure { apps: apps as u32, ..Pressure::default() }),
            level: Mutex::new(Level::new(sys.watermark(), 0)),
            above: AtomicU32::new(sys.watermark().into()),
            queued: sys.queues.iter().map(queued).collect(),
            handed: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        }
    }

    /// The applications begin now.
    pub fn begin(&self, now_ns: u64) {
        self.pressure.lock().since_ns = now_ns;
        let mut level = self.level.lock();
        *level = Level::new(level.above, now_ns);
    }

    /// Looks at the free pages.
    pub fn look(&self, sys: &System, now_ns: u64) {
        let above = sys.watermark();
        // ORDERING: Relaxed (both): a figure of which the lock holds the truth.
        if self.above.load(Ordering::Relaxed) != u32::from(above) {
            self.level.lock().pass(above, now_ns);
            self.above.store(above.into(), Ordering::Relaxed); // ORDERING: as above.
        }
    }

    /// What they have come to.
    pub fn finish(&self, now_ns: u64) -> Measures {
        let (mut pressure, mut level) = (self.pressure.lock(), self.level.lock());
        pressure.advance(now_ns);
        let above = level.above;
        level.pass(above, now_ns);
        let (some_ns, full_ns, below_ns) = (pressure.some_ns, pressure.full_ns, level.below_ns);
        Measures { some_ns, full_ns, below_ns, ..Measures::default() }
    }

    /// Adds to a sample what is known here.
    pub fn sample(&self, sample: Sample) -> Sample {
        let mut pressure = self.pressure.lock();
        pressure.advance(sample.t_ns);
        Sample { stall_ns: pressure.stall_ns, ..sample }
    }

    /// `Some(true)`: an application is stalled from now on; `Some(false)`: no more; `None`: it has ended.
    fn stall(&self, stalls: Option<bool>, now_ns: u64) {
        let mut pressure = self.pressure.lock();
        pressure.advance(now_ns);
        match stalls {
            Some(true) => pressure.stalled += 1,
            Some(false) => pressure.stalled -= 1,
            None => pressure.apps -= 1,
        }
    }

    fn hand_on(&self) -> u64 {
        // ORDERING: Relaxed: a counter.
        self.handed.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn place(&self, ticket: u64) -> Option<(&Queued, u64)> {
        let (queue, position) = aux::place(ticket)?;
        let ring = &self.queued[usize::from(queue)];
        Some((&ring[position as usize & (ring.len() - 1)], position + 1))
    }

    fn push(&self, ticket: u64, now_ns: u64) {
        let handed = self.hand_on();
        if let Some((queued, position)) = self.place(ticket) {
            // ORDERING: Relaxed (both): published by `position`.
            queued.at_ns.store(now_ns, Ordering::Relaxed);
            queued.handed.store(handed, Ordering::Relaxed); // ORDERING: as above.
            // ORDERING: Release pairs with `take`.
            queued.position.store(position, Ordering::Release);
        }
    }

    /// How long a page was queued that is taken now, and whether one handed on after it has begun before; `None`: it was taken
    /// before who had queued it came to look at the clock.
    fn take(&self, ticket: u64, now_ns: u64) -> Option<(u64, bool)> {
        let (queued, position) = self.place(ticket)?;
        // ORDERING: Acquire pairs with `push`.
        if queued.position.load(Ordering::Acquire) != position {
            return None;
        }
        // ORDERING: Relaxed (all three): ordered by the load above; a counter.
        let (at_ns, handed) = (queued.at_ns.load(Ordering::Relaxed), queued.handed.load(Ordering::Relaxed));
        let latest = self.latest.fetch_max(handed, Ordering::Relaxed); // ORDERING: as above.
        Some((now_ns.saturating_sub(at_ns), handed < latest))
    }

    /// The compression of a page that was never queued begins.
    fn direct(&self) {
        let handed = self.hand_on();
        // ORDERING: Relaxed: a counter.
        self.latest.fetch_max(handed, Ordering::Relaxed);
    }
}

/// What one thread measures.
#[derive(Debug, Default)]
pub(super) struct Meter {
    is_app: bool,
    touching_since: Option<u64>,
    stalled_since: Option<u64>,
    /// Its stalls in all.
    pub stall_ns: u64,
    /// What it found.
    pub found: Measures,
}

/// Marks that want the time.
const TIMED: u8 = mark::TOUCH_ENDS | mark::QUEUED | mark::TAKEN;

impl Meter {
    /// The meter of the thread of `id`.
    pub fn new(id: u16) -> Self {
        Self { is_app: actor::kind(id) == actor::APP, ..Self::default() }
    }

    /// Notes what the last step told at no particular time: the clock was read last at `at_ns`, when the thread's last touch or
    /// sleep ended. Whether the rest, [`Meter::step`]'s, needs the time.
    #[inline]
    pub fn glance(&mut self, gauges: &Gauges, ctx: &Ctx, at_ns: u64) -> bool {
        if ctx.marks & mark::TOUCH_BEGINS != 0 {
            self.touching_since.get_or_insert(at_ns);
        }
        if ctx.marks & mark::DIRECT != 0 {
            gauges.direct();
        }
        ctx.marks & TIMED != 0 || self.is_app && ctx.memstall != self.stalled_since.is_some()
    }

    /// Notes what the last step told, which has just ended.
    pub fn step(&mut self, gauges: &Gauges, ctx: &Ctx, now_ns: u64) {
        if ctx.marks & mark::TOUCH_ENDS != 0
            && let Some(since) = self.touching_since.take()
        {
            self.found.touch_ns.record_many(now_ns - since, 1);
        }
        if ctx.marks & mark::QUEUED != 0 {
            gauges.push(ctx.ticket, now_ns);
        }
        if ctx.marks & mark::TAKEN != 0 {
            let (wait_ns, inverted) = gauges.take(ctx.ticket, now_ns).unwrap_or_default();
            self.found.queue_wait_ns.record_many(wait_ns, 1);
            self.found.inversions += u64::from(inverted);
        }
        if self.is_app {
            self.stall(gauges, ctx.memstall, now_ns);
        }
    }

    fn stall(&mut self, gauges: &Gauges, stalls: bool, now_ns: u64) {
        match (stalls, self.stalled_since) {
            (true, None) => {
                self.stalled_since = Some(now_ns);
                gauges.stall(Some(true), now_ns);
            }
            (false, Some(since)) => {
                self.stalled_since = None;
                self.found.stall_ns.record_many(now_ns - since, 1);
                self.stall_ns += now_ns - since;
                gauges.stall(Some(false), now_ns);
            }
            _ => {}
        }
    }

    /// The thread waited for a page's lock.
    pub fn waited(&mut self, ns: u64) {
        if self.is_app {
            self.found.fault_wait_ns.record_many(ns, 1);
        }
    }

    /// The thread ends.
    pub fn end(&mut self, gauges: &Gauges, now_ns: u64) {
        if self.is_app {
            self.stall(gauges, false, now_ns);
            gauges.stall(None, now_ns);
        }
    }
}
