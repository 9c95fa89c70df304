//! What a virtual run measures on the way: latencies, stalls, and samples over time.

use super::is_app;
use crate::driver::gauges::{Level, Order, Pressure};
use crate::driver::{Crew, Measures, Sample};
use crate::lifecycle::State;
use crate::stats::{PageNs, Vm, VmStat};
use crate::system::{Ctx, System, mark};
use crate::wait::WaitKey;

/// Samples kept; when there are more, every other one goes and they are taken half as often.
const SAMPLES: usize = 512;
const FIRST_INTERVAL_NS: u64 = 10_000;

/// What a run measured on the way.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Latencies and stalls.
    pub found: Measures,
    /// Of each seat, in order: what its touches took, and its stalls in all.
    pub touches: Vec<(PageNs, u64)>,
    /// Time per page of each seat, in order.
    pub page_ns: Vec<PageNs>,
    /// Samples over time, evenly.
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SeatMeter {
    is_app: bool,
    touching_since: Option<u64>,
    waits_since: Option<u64>,
    stalled_since: Option<u64>,
    pages_done: u64,
    page_since: u64,
}

#[derive(Debug)]
pub(super) struct Meter {
    seats: Vec<SeatMeter>,
    order: Order,
    level: Level,
    pressure: Pressure,
    found: Measures,
    touches: Vec<(PageNs, u64)>,
    page_ns: Vec<PageNs>,
    samples: Vec<Sample>,
    interval_ns: u64,
    next_sample_ns: u64,
    start_ns: u64,
    /// Pages that were compressed with their frame held at the start.
    held_at_start: i64,
}

impl Meter {
    pub fn new(sys: &System, ids: &[u16], start_ns: u64) -> Self {
        let seat = |&id: &u16| SeatMeter { is_app: is_app(id), page_since: start_ns, ..SeatMeter::default() };
        let seats: Vec<SeatMeter> = ids.iter().map(seat).collect();
        let apps = seats.iter().filter(|seat| seat.is_app).count() as u32;
        Self {
            order: Order::new(&sys.queues),
            level: Level::new(sys.watermark(), start_ns),
            pressure: Pressure { apps, since_ns: start_ns, ..Pressure::default() },
            found: Measures::default(),
            touches: vec![Default::default(); seats.len()],
            page_ns: vec![PageNs::default(); seats.len()],
            samples: Vec::new(),
            seats,
            interval_ns: FIRST_INTERVAL_NS,
            next_sample_ns: start_ns,
            start_ns,
            held_at_start: i64::from(sys.census()[State::Compressed as usize]),
        }
    }

    pub fn next_sample_ns(&self) -> u64 {
        self.next_sample_ns
    }

    /// The actor goes to sleep on `key`.
    pub fn wait(&mut self, seat: usize, key: WaitKey, now_ns: u64) {
        if matches!(key, WaitKey::Folio(_)) && self.seats[seat].is_app {
            self.seats[seat].waits_since.get_or_insert(now_ns);
        }
    }

    /// The actor steps again, perhaps after a wait.
    #[inline]
    pub fn resume(&mut self, seat: usize, now_ns: u64) {
        if let Some(since) = self.seats[seat].waits_since.take() {
            self.found.fault_wait_ns.record_many(now_ns - since, 1);
        }
    }

    /// Notes what a step from `at_ns` to `end_ns` told.
    #[inline]
    pub fn step(&mut self, seat: usize, ctx: &Ctx, at_ns: u64, end_ns: u64) {
        if ctx.marks & !mark::COND_RESCHED != 0 {
            self.marked(seat, ctx, at_ns, end_ns);
        }
        if ctx.memstall != self.seats[seat].stalled_since.is_some() {
            self.stalled(seat, ctx.memstall, end_ns);
        }
        let mine = &mut self.seats[seat];
        if ctx.pages_done != mine.pages_done {
            let pages = ctx.pages_done - mine.pages_done;
            self.page_ns[seat].record_many((end_ns - mine.page_since) / pages, pages);
            (mine.pages_done, mine.page_since) = (ctx.pages_done, end_ns);
        }
    }

    fn marked(&mut self, seat: usize, ctx: &Ctx, at_ns: u64, end_ns: u64) {
        let mine = &mut self.seats[seat];
        if ctx.marks & mark::TOUCH_BEGINS != 0 {
            mine.touching_since.get_or_insert(at_ns);
        }
        if ctx.marks & mark::TOUCH_ENDS != 0
            && let Some(since) = mine.touching_since.take()
        {
            self.touches[seat].0.record_many(end_ns - since, 1);
        }
        if ctx.marks & mark::QUEUED != 0 {
            self.order.push(ctx.ticket, at_ns);
        }
        if ctx.marks & mark::DIRECT != 0 {
            self.order.direct();
        }
        if ctx.marks & mark::TAKEN != 0
            && let Some(taken) = self.order.take(ctx.ticket, at_ns)
        {
            self.found.queue_wait_ns.record_many(taken.wait_ns, 1);
            self.found.inversions += u64::from(taken.is_overtaken);
        }
    }

    /// Free pages are above so many watermarks from `now_ns` on.
    #[inline]
    pub fn level(&mut self, above: u8, now_ns: u64) {
        if above != self.level.above {
            self.level.pass(above, now_ns);
        }
    }

    fn stalled(&mut self, seat: usize, stalled: bool, now_ns: u64) {
        if !self.seats[seat].is_app {
            return;
        }
        self.pressure.advance(now_ns);
        match (stalled, self.seats[seat].stalled_since.take()) {
            (true, _) => {
                self.pressure.stalled += 1;
                self.seats[seat].stalled_since = Some(now_ns);
            }
            (false, Some(since)) => {
                self.pressure.stalled -= 1;
                let passed = now_ns.saturating_sub(since);
                self.found.stall_ns.record_many(passed, 1);
                self.touches[seat].1 += passed;
            }
            (false, None) => {}
        }
    }

    /// The actor has finished.
    pub fn done(&mut self, seat: usize, now_ns: u64) {
        self.stalled(seat, false, now_ns);
        self.pressure.advance(now_ns);
        self.pressure.apps -= u32::from(self.seats[seat].is_app);
    }

    /// The samples due before `until_ns`, up to when nothing happens.
    #[cold]
    pub fn sample(&mut self, sys: &System, crew: &Crew, until_ns: u64) {
        while self.next_sample_ns < until_ns {
            self.take_sample(sys, crew, self.next_sample_ns);
            if self.samples.len() == SAMPLES {
                let mut odd = false;
                self.samples.retain(|_| {
                    odd = !odd;
                    odd
                });
                self.interval_ns *= 2;
            }
            self.next_sample_ns = self.start_ns + self.samples.len() as u64 * self.interval_ns;
        }
    }

    pub fn finish(mut self, sys: &System, crew: &Crew, end_ns: u64) -> Measured {
        self.sample(sys, crew, end_ns);
        self.take_sample(sys, crew, end_ns);
        self.level.pass(self.level.above, end_ns);
        self.found.below_ns = self.level.below_ns;
        self.touches.iter().for_each(|(touch_ns, _)| self.found.touch_ns.add(touch_ns));
        (self.found.some_ns, self.found.full_ns) = (self.pressure.some_ns, self.pressure.full_ns);
        Measured { found: self.found, touches: self.touches, page_ns: self.page_ns, samples: self.samples }
    }

    fn take_sample(&mut self, sys: &System, crew: &Crew, t_ns: u64) {
        self.pressure.advance(t_ns);
        let stat: VmStat = crew.stat();
        let held: i64 = crew.seats.iter().map(|seat| seat.ctx.held_twice).sum();
        self.samples.push(Sample {
            t_ns,
            queue_len: sys.queues.iter().map(|queue| queue.len() as u64).sum(),
            pool_pages: sys.pool_pages() as u64,
            in_flight: u64::from(sys.in_flight()),
            frames_held_twice: (self.held_at_start + held).max(0) as u64,
            pgsteal: stat[Vm::PgstealAnon],
            pgscan: stat[Vm::PgscanAnon],
            stores: stat[Vm::Pswpout] + stat[Vm::Zswpout],
            free_pages: sys.mm.as_ref().map_or(0, |mm| u64::from(mm.zone.free_pages())),
            allocstall: stat[Vm::AllocstallMovable] + stat[Vm::AllocstallNormal],
            stall_ns: self.pressure.stall_ns,
        });
    }
}
