//! The three clocks: drivers that decide which actor steps next and what time it is.
//!
//! A driver never knows what a step means. What all of them share is here: which actors a system has ([`actors`]), and for
//! the single-threaded drivers the [`Crew`]: actors with their belongings, which of them can run, and how those that wait
//! for ever are sent home when nobody can give them work any more.
//!
//! Order of going home (a worker must not end before those who hand it work): applications end by themselves, and kswapds
//! where every page is wanted gone → the queues are closed → kcompressd threads end → with a memory budget, where they may
//! have waited for what kswapd frees, it is stopped → the shrink worker is stopped → the device is stopped.

pub mod explore;
mod gauges;
#[cfg(not(kcompressd_loom))]
pub mod live;
mod phases;
pub mod profile;
mod report;
pub mod virtual_time;

pub use phases::FaultOrder;
pub use report::{Application, Group, Measures, Reclaimed, Report, RunError, Sample, ThreadReport, Timing};

use crate::design::StoreKind;
use crate::lifecycle::actor;
use crate::reclaim::{
    Actor, Admin, App, BalancePgdat, Kcompressd, Kswapd, MemoryReclaim, ReclaimRequest, ShrinkWorker, Stop, SwapDevice,
    Task, Toggle,
};
use crate::stats::{Vm, VmStat};
use crate::system::{Ctx, Outcome, StepResult, System, Waiting};
use crate::trace::{Log, Record};
use crate::wait::WaitKey;
use crate::workload::Program;

/// The flags that end the actors which never end by themselves.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// Nobody stores into zswap any more.
    pub shrink: Stop,
    /// Nobody submits writes any more.
    pub device: Stop,
    /// Nobody allocates pages any more.
    pub kswapd: Stop,
}

/// The actors that swap `sys` out, with their ids: a kswapd per node, a kcompressd per queue, and behind zswap the shrink
/// worker and the swap device.
pub fn actors(sys: &System, stops: &Stops) -> Vec<(u16, Actor)> {
    let kswapds = kswapds(sys, stops);
    let workers = (0..sys.queues.len() as u16).map(|q| (actor::KCOMPRESSD + q, Actor::Kcompressd(Kcompressd::new(q))));
    let mut all: Vec<_> = kswapds.chain(workers).collect();
    if sys.config.store == StoreKind::Zswap {
        all.push((actor::SHRINK, Actor::Shrink(ShrinkWorker::new(stops.shrink.clone()))));
        all.push((actor::DEVICE, Actor::Device(SwapDevice::new(stops.device.clone()))));
    }
    all
}

/// Kinds of actors in the order in which their threads start.
pub(crate) const START: [u16; 6] =
    [actor::KSWAPD, actor::KCOMPRESSD, actor::DEVICE, actor::SHRINK, actor::APP, actor::ADMIN];

/// A kswapd per node, with their ids.
pub(crate) fn kswapds(sys: &System, stops: &Stops) -> impl Iterator<Item = (u16, Actor)> + use<> {
    let balances = sys.mm.is_some().then(|| BalancePgdat::new(stops.kswapd.clone()));
    let kswapd = move |node| balances.clone().map_or_else(|| Actor::Kswapd(Kswapd::new(node)), Actor::Balance);
    (0..sys.config.nodes).map(move |node| (actor::KSWAPD + u16::from(node), kswapd(node)))
}

/// Steps without any [`work`] done after which a run is stuck: more than a look at each page of the largest node takes, or a throttled
/// application until it asks for an OOM kill while a worker that waits for memory turns beside it.
pub(crate) const STUCK_STEPS: u64 = 1 << 28;

/// Steps of a thread between two readings of the clock.
pub const BATCH: u64 = 64;

/// What `actor` has done so far: it rises with every page that it touches, frees or finishes.
pub(crate) fn work(actor: &Actor, ctx: &Ctx) -> u64 {
    let touched = if let Actor::App(app) = actor { app.done() as u64 } else { 0 };
    touched + ctx.pages_done + ctx.stat[Vm::PgstealKswapd] + ctx.stat[Vm::PgstealDirect]
}

/// Whether an actor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can.
    Ready,
    /// Not before its ticket is woken, or its time is out.
    Waiting(Waiting),
    /// It has finished.
    Done,
}

impl Status {
    #[inline]
    fn after(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ran(_) | Outcome::Sleep(_) => Self::Ready,
            Outcome::Wait(wait) => Self::Waiting(wait),
            Outcome::Done => Self::Done,
        }
    }
}

/// One actor of a crew, with its belongings.
#[derive(Debug)]
pub struct Seat {
    /// The actor.
    pub actor: Actor,
    /// What it carries.
    pub ctx: Ctx,
    /// Whether it can run.
    pub status: Status,
}

impl Seat {
    /// A seat for `actor`, which logs if `log`.
    pub fn new(sys: &System, id: u16, actor: Actor, log: bool) -> Self {
        let ctx = Ctx::new(id, sys.config.codec, sys.config.page_size, Log::new(log, 0));
        Self { actor, ctx, status: Status::Ready }
    }

    /// Whether it can step now without a time-out.
    #[inline]
    pub fn is_ready(&self, sys: &System) -> bool {
        match self.status {
            Status::Ready => true,
            Status::Waiting(wait) => sys.wait.is_woken(wait.key, wait.ticket),
            Status::Done => false,
        }
    }

    /// Whether it can step now, if need be by a time-out: where time is not modelled, any may be next.
    pub fn is_runnable(&self, sys: &System) -> bool {
        matches!(self.status, Status::Waiting(Waiting { timeout_ns: Some(_), .. })) || self.is_ready(sys)
    }

    /// One step. A seat that waits and was not woken leaves the line first: its time is out.
    ///
    /// # Errors
    /// See [`StepResult`].
    #[inline]
    pub fn step(&mut self, sys: &System) -> StepResult {
        self.begin(sys);
        let outcome = self.actor.step(sys, &mut self.ctx)?;
        self.ctx.timed_out = false;
        self.status = Status::after(outcome);
        Ok(outcome)
    }

    /// As [`Seat::step`], up to [`BATCH`] times while the actor goes on: how often, and what the last step was.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn batch(&mut self, sys: &System) -> StepResult<(u64, Outcome)> {
        self.begin(sys);
        let (steps, outcome) = self.actor.run(sys, &mut self.ctx, BATCH)?;
        self.status = Status::after(outcome);
        Ok((steps, outcome))
    }

    #[inline]
    fn begin(&mut self, sys: &System) {
        if let Status::Waiting(wait) = self.status {
            self.ctx.timed_out = !sys.wait.cancel(wait.key, wait.ticket);
        }
        self.ctx.marks = 0;
    }
}

/// The actors of a single-threaded driver.
#[derive(Debug)]
pub struct Crew {
    /// In the order of [`actors`], applications last: an index here is what a schedule names.
    pub seats: Vec<Seat>,
    /// Seats in the order in which they stepped, if somebody wants to know: [`explore::replay`] goes there again.
    pub schedule: Option<Vec<usize>>,
    stops: Stops,
    log: bool,
    /// Steps that may still be made to fail.
    pub faults_left: u8,
}

impl Crew {
    /// Those who swap `sys` out, logging if `log`.
    pub fn reclaim(sys: &System, log: bool) -> Self {
        let stops = Stops::default();
        Self { stops: stops.clone(), ..Self::of(sys, actors(sys, &stops), log) }
    }

    /// Just these actors, with their ids.
    pub fn of(sys: &System, actors: impl IntoIterator<Item = (u16, Actor)>, log: bool) -> Self {
        let seats = actors.into_iter().map(|(id, actor)| Seat::new(sys, id, actor, log)).collect();
        Self { seats, schedule: None, stops: Stops::default(), log, faults_left: 0 }
    }

    /// One application thread alone.
    pub fn app(sys: &System, task: Task, order: &[u32], log: bool) -> Self {
        Self::of(sys, [], log).with_app(sys, task, order)
    }

    /// Those who swap `sys` out, and an application thread for each program.
    pub fn machine(sys: &System, programs: impl IntoIterator<Item = Program>, log: bool) -> Self {
        let crew = Self::reclaim(sys, log);
        programs.into_iter().fold(crew, |crew, program| crew.with(sys, App::running(program)))
    }

    /// The same crew with one more application thread.
    #[must_use]
    pub fn with_app(self, sys: &System, task: Task, order: &[u32]) -> Self {
        self.with(sys, App::new(task, order.into()))
    }

    fn with(mut self, sys: &System, app: App) -> Self {
        let number = self.seats.iter().filter(|seat| matches!(seat.actor, Actor::App(_))).count() as u16;
        self.seats.push(Seat::new(sys, actor::APP + number, Actor::App(app), self.log));
        self
    }

    /// The same crew with somebody who turns a knob at any time.
    #[must_use]
    pub fn with_toggle(self, sys: &System, toggle: Toggle) -> Self {
        self.with_admin(sys, Actor::Admin(Admin::new(toggle)))
    }

    /// The same crew with somebody who writes to `memory.reclaim`.
    #[must_use]
    pub fn with_reclaim(self, sys: &System, request: ReclaimRequest) -> Self {
        self.with_admin(sys, Actor::Reclaim(MemoryReclaim::new(request)))
    }

    fn with_admin(mut self, sys: &System, admin: Actor) -> Self {
        let number = self.seats.iter().filter(|seat| actor::kind(seat.ctx.actor) == actor::ADMIN).count() as u16;
        self.seats.push(Seat::new(sys, actor::ADMIN + number, admin, self.log));
        self
    }

    /// One step of seat `i`; a seat that ends may let others go home.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, i: usize) -> StepResult {
        if let Some(schedule) = &mut self.schedule {
            schedule.push(i);
        }
        let outcome = self.seats[i].step(sys)?;
        if outcome == Outcome::Done {
            self.send_home(sys);
        }
        Ok(outcome)
    }

    /// Up to [`BATCH`] steps of seat `i`, as a thread of the live driver takes them; the last one's outcome.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn batch(&mut self, sys: &System, i: usize) -> StepResult {
        let (steps, outcome) = self.seats[i].batch(sys)?;
        if let Some(schedule) = &mut self.schedule {
            schedule.extend(std::iter::repeat_n(i, steps as usize));
        }
        if outcome == Outcome::Done {
            self.send_home(sys);
        }
        Ok(outcome)
    }

    /// The step of a choice.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn choose(&mut self, sys: &System, choice: explore::Choice) -> StepResult {
        self.seats[choice.seat()].ctx.inject = choice.fails();
        self.faults_left -= u8::from(choice.fails());
        self.step(sys, choice.seat())
    }

    /// The seats that can step now.
    pub fn runnable(&self, sys: &System) -> impl Iterator<Item = usize> {
        (0..self.seats.len()).filter(|&i| self.seats[i].is_runnable(sys))
    }

    /// The first seat after `last` that can step, in a circle; `last` itself comes last, and time-outs only when there is
    /// nothing else.
    pub fn next_after(&self, sys: &System, last: usize) -> Option<usize> {
        let n = self.seats.len();
        let circle = || (1..=n).map(|i| (last + i) % n);
        circle().find(|&i| self.seats[i].is_ready(sys)).or_else(|| circle().find(|&i| self.seats[i].is_runnable(sys)))
    }

    /// Whether every actor has finished.
    pub fn is_done(&self) -> bool {
        self.seats.iter().all(|seat| seat.status == Status::Done)
    }

    /// Everybody's counters.
    pub fn stat(&self) -> VmStat {
        let mut sum = VmStat::default();
        self.seats.iter().for_each(|seat| sum.add(&seat.ctx.stat));
        sum
    }

    /// Moves what seat `i` has logged to the end of `records`: called after each step, this keeps a total order.
    pub fn collect(&mut self, i: usize, records: &mut Vec<Record>) {
        if self.log {
            records.append(&mut self.seats[i].ctx.log.take());
        }
    }

    fn ended(&self, kind: impl Fn(&Actor) -> bool) -> bool {
        self.seats.iter().filter(|seat| kind(&seat.actor)).all(|seat| seat.status == Status::Done)
    }

    fn send_home(&self, sys: &System) {
        if !self.ended(|a| matches!(a, Actor::Kswapd(_) | Actor::App(_) | Actor::Admin(_) | Actor::Reclaim(_))) {
            return;
        }
        close_queues(sys);
        if !self.ended(|a| matches!(a, Actor::Kcompressd(_))) {
            return;
        }
        stop(sys, &self.stops.kswapd, WaitKey::Kswapd);
        if self.ended(|a| matches!(a, Actor::Balance(_))) {
            stop(sys, &self.stops.shrink, WaitKey::Shrink);
            if self.ended(|a| matches!(a, Actor::Shrink(_))) {
                stop(sys, &self.stops.device, WaitKey::Device);
            }
        }
    }
}

/// Nothing is queued any more; who waits at a queue looks again.
fn close_queues(sys: &System) {
    for (number, queue) in (0..).zip(&sys.queues) {
        if queue.close() {
            sys.wait.wake_all(WaitKey::Queue(number));
            sys.wait.wake_all(WaitKey::QueueSpace(number));
        }
    }
}

fn stop(sys: &System, stop: &Stop, key: WaitKey) {
    stop.set(true);
    sys.wait.wake_all(key);
}
