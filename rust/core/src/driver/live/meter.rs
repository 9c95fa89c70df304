//! What threads measure step by step: touches, waits and stalls each for itself, by the real clock, and in [`Gauges`] what only
//! all of them know together. The virtual driver's meter measures the same. With a memory budget all do, without one the
//! applications: how long pages are queued is found from [`Tickets`] then.

use crate::driver::gauges::{Level, Order, Pressure, Taken};
use crate::driver::report::{Measures, Sample};
use crate::lifecycle::actor;
use crate::queue::FolioQueue;
use crate::sync::{AtomicU32, Ordering, SpinLock};
use crate::system::{Ctx, System, mark};

/// What all threads know together.
#[derive(Debug)]
pub(super) struct Gauges {
    pressure: SpinLock<Pressure>,
    level: SpinLock<Level>,
    /// `level`'s, to be compared without its lock.
    above: AtomicU32,
    order: SpinLock<Order>,
}

impl Gauges {
    /// Those of a run of `apps` applications.
    pub fn new(sys: &System, apps: usize) -> Self {
        Self {
            pressure: SpinLock::new(Pressure { apps: apps as u32, ..Pressure::default() }),
            level: SpinLock::new(Level::new(sys.watermark(), 0)),
            above: AtomicU32::new(sys.watermark().into()),
            order: SpinLock::new(Order::new(&sys.queues)),
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
}

/// What became of tickets in the hands of one thread, in its order, without a look at the clock for each.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// How many it had noted at the end of each batch of steps, when that began, and when it ended.
    batches: Vec<(usize, u64, u64)>,
}

impl Tickets {
    /// Room for [`Ctx::tickets`], touched here, so that the timed phase takes no page fault for it.
    pub fn room(tickets: usize) -> Vec<(u64, u8)> {
        let mut room = vec![(0, mark::TAKEN); tickets];
        room.clear();
        room
    }

    /// A batch of steps from `begin_ns` to `end_ns` is over, after which so many were noted.
    #[inline]
    pub fn note(&mut self, noted: usize, begin_ns: u64, end_ns: u64) {
        if self.batches.last().map_or(0, |batch| batch.0) != noted {
            self.batches.push((noted, begin_ns, end_ns));
        }
    }

    /// Each with its time: those of a batch stand evenly in it.
    pub fn timed(&self, noted: &[(u64, u8)]) -> Vec<Noted> {
        let mut timed = Vec::with_capacity(noted.len());
        for &(end, begin_ns, end_ns) in &self.batches {
            let batch = &noted[timed.len()..end];
            let half_ns = (end_ns - begin_ns) / (2 * batch.len() as u64);
            let times = (1..).step_by(2).map(|nth| begin_ns + nth * half_ns);
            let noted = |(&(ticket, mark), at_ns)| Noted { ticket, mark, at_ns, batch_ns: (begin_ns, end_ns) };
            timed.extend(batch.iter().zip(times).map(noted));
        }
        timed
    }
}

/// What became of a ticket, and when.
#[derive(Debug)]
pub(super) struct Noted {
    ticket: u64,
    mark: u8,
    at_ns: u64,
    /// When the batch of steps in which it did began and ended.
    batch_ns: (u64, u64),
}

/// How long the pages of all threads were queued, and how many were overtaken: by a page handed on later whose compression began
/// in a batch of steps that was over when theirs began. What two threads do at the same time has no known order.
pub(super) fn waits(queues: &[FolioQueue], mut noted: Vec<Noted>) -> Measures {
    noted.sort_by_key(|noted| noted.at_ns); // Stable: each thread's stay in its order.
    let (mut order, mut found) = (Order::new(queues), Measures::default());
    let (mut taken, mut begun) = (Vec::new(), Vec::new());
    for Noted { ticket, mark, at_ns, batch_ns: (begin_ns, end_ns) } in noted {
        match mark {
            mark::QUEUED => order.push(ticket, at_ns),
            mark::TAKEN => {
                let known = order.take(ticket, at_ns); // Else it was taken at most a batch before it was queued.
                found.queue_wait_ns.record_many(known.map_or(0, |taken| taken.wait_ns), 1);
                if let Some(Taken { handed, .. }) = known {
                    taken.push((begin_ns, handed));
                    begun.push((end_ns, handed));
                }
            }
            _ => begun.push((end_ns, order.direct())),
        }
    }
    taken.sort_by_key(|&(begin_ns, _)| begin_ns);
    begun.sort_by_key(|&(end_ns, _)| end_ns);
    let (mut begun, mut latest) = (begun.into_iter().peekable(), 0);
    for (begin_ns, handed) in taken {
        while let Some((_, before)) = begun.next_if(|&(end_ns, _)| end_ns <= begin_ns) {
            latest = latest.max(before);
        }
        found.inversions += u64::from(handed < latest);
    }
    found
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
    pub fn glance(&mut self, gauges: Option<&Gauges>, ctx: &Ctx, at_ns: u64) -> bool {
        if ctx.marks & mark::TOUCH_BEGINS != 0 {
            self.touching_since.get_or_insert(at_ns);
        }
        if let Some(gauges) = gauges
            && ctx.marks & mark::DIRECT != 0
        {
            gauges.order.lock().direct();
        }
        ctx.marks & TIMED != 0 || self.is_app && ctx.memstall != self.stalled_since.is_some()
    }

    /// Notes what the last step told, which has just ended.
    pub fn step(&mut self, gauges: Option<&Gauges>, ctx: &Ctx, now_ns: u64) {
        if ctx.marks & mark::TOUCH_ENDS != 0
            && let Some(since) = self.touching_since.take()
        {
            self.found.touch_ns.record_many(now_ns - since, 1);
        }
        let Some(gauges) = gauges else { return };
        if ctx.marks & mark::QUEUED != 0 {
            gauges.order.lock().push(ctx.ticket, now_ns);
        }
        if ctx.marks & mark::TAKEN != 0 {
            let taken = gauges.order.lock().take(ctx.ticket, now_ns); // Else who had queued it has not looked at the clock yet.
            self.found.queue_wait_ns.record_many(taken.map_or(0, |taken| taken.wait_ns), 1);
            self.found.inversions += u64::from(taken.is_some_and(|taken| taken.is_overtaken));
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

#[cfg(all(test, not(any(kcompressd_loom, kcompressd_shuttle))))]
mod tests {
    use super::*;
    use crate::trace::aux;

    /// When a batch began and ended, and what was noted in it.
    type Batch<'a> = (u64, u64, &'a [(u64, u8)]);

    /// Of one thread.
    fn thread(batches: &[Batch<'_>]) -> Vec<Noted> {
        let (mut tickets, mut noted) = (Tickets::default(), Vec::new());
        for &(begin_ns, end_ns, of_batch) in batches {
            noted.extend_from_slice(of_batch);
            tickets.note(noted.len(), begin_ns, end_ns);
        }
        tickets.timed(&noted)
    }

    fn found(threads: [Vec<Noted>; 2]) -> (u64, u64, u64) {
        let found = waits(&[FolioQueue::new(64, 64).unwrap()], threads.into_iter().flatten().collect());
        let waits = found.queue_wait_ns.summary();
        (waits[6].1, waits[4].1, found.inversions)
    }

    #[test]
    fn a_page_is_overtaken_by_a_later_one_that_began_in_a_batch_before() {
        let queued = [(aux::ticket(0, 0), mark::QUEUED), (aux::ticket(0, 1), mark::QUEUED)];
        let direct = [(0, mark::DIRECT)];
        let taken = [(aux::ticket(0, 0), mark::TAKEN), (aux::ticket(0, 1), mark::TAKEN)];
        // Queued at 5 and 15, taken at 65 and 75, or at 45 and 55 beside the one that is compressed at once.
        let kswapd = || thread(&[(0, 20, &queued), (20, 20, &[]), (40, 60, &direct)]);
        assert_eq!(found([kswapd(), thread(&[(60, 80, &taken)])]), (2, 60, 2));
        assert_eq!(found([kswapd(), thread(&[(40, 60, &taken)])]), (2, 40, 0), "which of both was first is not known");
        assert_eq!(found([kswapd(), thread(&[(40, 50, &taken[..1]), (60, 70, &taken[1..])])]), (2, 50, 1));
        assert_eq!(found([kswapd(), thread(&[(0, 4, &taken)])]), (2, 0, 0), "taken before it was known to be queued");
        let a_lap_later = [(aux::ticket(0, 128), mark::TAKEN)];
        assert_eq!(found([kswapd(), thread(&[(60, 80, &a_lap_later)])]), (1, 0, 0), "another's place in the ring");
        let backwards = thread(&[(20, 40, &taken[1..]), (40, 60, &taken[..1])]);
        assert_eq!(found([thread(&[(0, 20, &queued)]), backwards]), (2, 45, 1));
    }
}
