//! The virtual clock: an event loop over virtual CPUs with their own speeds.
//!
//! A step happens at its CPU's time; what it cost passes on that CPU before the actor's next step, which holds the effect.
//! Among CPUs the one with the earliest time goes first, among equals the first. Who runs where is `scheduler`'s; what is
//! measured on the way is `meter`'s. Nothing is random: equal inputs give equal counters, times and traces.
//!
//! Waking costs the waker, getting a CPU costs the woken. A device's read takes the actor off its CPU. A swap device with a time of its
//! own writes on no CPU, and what follows a write is an interrupt; one in memory (`device_write_ns` 0) is a thread. Locks are held within a
//! step only, so that contention for them costs nothing here.

mod costs;
mod machine;
mod meter;
mod scheduler;
mod sim;

pub use costs::Costs;
pub use machine::{Fair, Machine, Policy, Preempt, Scheduler};
pub use meter::Measured;
pub use sim::{Sim, SimConfig};

use super::{Crew, STUCK_STEPS, Seat, Status};
use crate::lifecycle::{State, actor_name};
use crate::reclaim::Actor;
use crate::stats::VmStat;
use crate::system::{Outcome, StepError, System, Work, mark};
use crate::trace::Record;
use machine::is_app;
use meter::Meter;
use scheduler::Place;
use std::num::NonZeroU64;

/// Takes the records of a traced run in the order in which things happened.
pub type Sink<'a> = &'a mut dyn FnMut(&[Record]) -> std::io::Result<()>;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// "reclaim", "fault" or "exit".
    pub phase: &'static str,
    /// Virtual time, nanoseconds.
    pub now_ns: u64,
    /// Steps taken in this phase.
    pub steps: u64,
    /// Finished in this phase so far: pages, or with a memory budget the applications' touches.
    pub done: u64,
}

/// Called now and then; false ends the run.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> bool;

/// Steps between two calls of [`Watch`].
const WATCH_STEPS: u64 = 1 << 18;

/// Why a virtual run ended early. What was done until then stays in the crew and the system.
#[derive(Debug, thiserror::Error)]
pub enum VirtualError {
    /// A step failed.
    #[error("at {at_ns} ns: {source}")]
    Step {
        /// Virtual time, nanoseconds.
        at_ns: u64,
        /// Who stepped.
        actor: u16,
        /// What the step said.
        source: StepError,
    },
    /// Every actor that is left waits.
    #[error("at {at_ns} ns: deadlock: nothing wakes {}", waiting.join(", "))]
    Deadlock {
        /// Virtual time, nanoseconds.
        at_ns: u64,
        /// Who waits, by name.
        waiting: Vec<String>,
    },
    /// Actors step and nothing comes of it: no page is touched, freed or written.
    #[error("at {at_ns} ns: livelock, nothing was touched, freed or written in {STUCK_STEPS} steps")]
    Livelock {
        /// Virtual time, nanoseconds.
        at_ns: u64,
    },
    /// The machine cannot run them.
    #[error("a machine has 1 to 64 CPUs, each of at least 1 %, and at least one for every actor")]
    Machine,
    /// [`Watch`] said so.
    #[error("cancelled before its end")]
    Cancelled,
    /// The sink failed.
    #[error("the trace cannot be written: {0}")]
    Trace(#[from] std::io::Error),
}

/// What a virtual run came to.
#[derive(Debug)]
pub struct Run {
    /// Virtual time at the end, nanoseconds since the start.
    pub end_ns: u64,
    /// CPU time of each seat: actor id, nanoseconds.
    pub cpu_ns: Vec<(u16, u64)>,
    /// When each seat finished.
    pub done_ns: Vec<u64>,
    /// Steps taken.
    pub steps: u64,
    /// Counters of all actors.
    pub stat: VmStat,
    /// Pages in each state at the end.
    pub census: [u32; State::ALL.len()],
    /// What was measured on the way.
    pub measures: Measured,
    /// Why it ended early.
    pub error: Option<VirtualError>,
}

/// Runs `crew` on `machine` from `start_ns` until every actor has finished.
///
/// # Errors
/// [`VirtualError`].
pub fn run(sys: &System, crew: &mut Crew, machine: &Machine, start_ns: u64) -> Result<Run, VirtualError> {
    let mut run = run_with(sys, crew, machine, start_ns, &mut |_| Ok(()), &mut |_| true);
    match run.error.take() {
        Some(error) => Err(error),
        None => Ok(run),
    }
}

/// As [`run`], with a place for the trace, and somebody who watches; what there is comes back in any case.
pub fn run_with(
    sys: &System,
    crew: &mut Crew,
    machine: &Machine,
    start_ns: u64,
    sink: Sink<'_>,
    watch: Watch<'_>,
) -> Run {
    let ids: Vec<u16> = crew.seats.iter().map(|seat| seat.ctx.actor).collect();
    let meter = Meter::new(sys, &ids, start_ns);
    let sched = scheduler::Scheduler::new(machine, ids.iter().copied(), start_ns);
    let wakes = sys.wait.wakes();
    let (done_ns, steps, now_ns) = (vec![start_ns; ids.len()], 0, start_ns);
    let mut events = Loop { sys, crew, machine, sched, meter, now_ns, steps, done_ns, wakes, sink, watch };
    let error = match machine.is_possible(ids.iter().copied()) {
        true => events.run().err(),
        false => Some(VirtualError::Machine),
    };
    events.finish(error)
}

struct Loop<'a> {
    sys: &'a System,
    crew: &'a mut Crew,
    machine: &'a Machine,
    sched: scheduler::Scheduler<'a>,
    meter: Meter,
    now_ns: u64,
    steps: u64,
    done_ns: Vec<u64>,
    /// Wake-ups of the table that have been looked at.
    wakes: u32,
    sink: Sink<'a>,
    watch: Watch<'a>,
}

impl Loop<'_> {
    fn run(&mut self) -> Result<(), VirtualError> {
        self.sched.fill(self.now_ns);
        let mut watched = 0;
        let mut news = (0, 0);
        loop {
            let (due_ns, earliest) = (self.sched.next_due(), self.sched.earliest());
            let next_ns = earliest.map_or(due_ns, |(c, _)| due_ns.min(self.sched.cpus[c].now_ns));
            if next_ns == u64::MAX {
                return self.end();
            }
            if next_ns > self.meter.next_sample_ns() {
                self.meter.sample(self.sys, self.crew, next_ns);
            }
            match earliest {
                Some((c, horizon)) if self.sched.cpus[c].now_ns < due_ns => {
                    self.burst(c, horizon.min(due_ns).min(self.meter.next_sample_ns()))?;
                }
                _ => self.due(due_ns)?,
            }
            if self.steps - watched >= WATCH_STEPS {
                watched = self.steps;
                let progress = self.progress();
                if !(self.watch)(&progress) {
                    return Err(VirtualError::Cancelled);
                }
                let work = self.work();
                match work == news.0 {
                    true if self.steps - news.1 > STUCK_STEPS => {
                        return Err(VirtualError::Livelock { at_ns: self.now_ns });
                    }
                    true => {}
                    false => news = (work, self.steps),
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        let has_budget = self.sys.mm.is_some();
        let of_seat = |seat: &Seat| match &seat.actor {
            Actor::App(app) if has_budget => app.touches() as u64,
            _ if has_budget => 0,
            _ => seat.ctx.pages_done,
        };
        let done = self.crew.seats.iter().map(of_seat).sum();
        Progress { phase: "", now_ns: self.now_ns, steps: self.steps, done }
    }

    /// What has been done so far.
    fn work(&self) -> u64 {
        self.crew.seats.iter().map(|seat| super::work(&seat.actor, &seat.ctx)).sum()
    }

    fn end(&self) -> Result<(), VirtualError> {
        if self.crew.is_done() {
            return Ok(());
        }
        let waiting = self.crew.seats.iter().filter(|seat| seat.status != Status::Done);
        let waiting = waiting.map(|seat| actor_name(seat.ctx.actor)).collect();
        Err(VirtualError::Deadlock { at_ns: self.now_ns, waiting })
    }

    /// Sleeps, time-outs and the device's work that end at `due_ns`.
    fn due(&mut self, due_ns: u64) -> Result<(), VirtualError> {
        self.now_ns = self.now_ns.max(due_ns);
        for seat in 0..self.sched.tasks.len() {
            if self.sched.tasks[seat].due_ns > due_ns {
                continue;
            }
            match self.is_interrupt(seat) {
                true => self.interrupt(seat, due_ns)?,
                false => _ = self.sched.wake(seat, due_ns, None),
            }
        }
        Ok(())
    }

    fn is_interrupt(&self, seat: usize) -> bool {
        self.machine.is_interrupt(self.crew.seats[seat].ctx.actor)
    }

    /// What the device's actor does at `at_ns`, on the CPU that asked last, until the next write is under way or nothing waits:
    /// whoever has that CPU gets on so much later.
    fn interrupt(&mut self, seat: usize, at_ns: u64) -> Result<(), VirtualError> {
        loop {
            let c = self.sched.tasks[seat].cpu;
            let outcome = self.act(c, seat, at_ns)?;
            let (due_ns, work_ns) = match outcome {
                Outcome::Ran(work @ Work::DeviceWrite(_)) => {
                    (Some(at_ns + self.machine.costs.of(self.sys, work)), self.machine.costs.device_cpu_ns)
                }
                Outcome::Ran(work) => (None, self.machine.costs.of(self.sys, work)),
                Outcome::Sleep(ns) => (Some(at_ns.saturating_add(ns)), 0),
                Outcome::Wait(_) | Outcome::Done => (Some(u64::MAX), 0),
            };
            self.sched.interrupt(c, seat, work_ns);
            self.woken(c, seat, at_ns)?;
            self.meter.step(seat, &self.crew.seats[seat].ctx, at_ns, at_ns);
            if outcome == Outcome::Done {
                self.finished(seat, at_ns);
            }
            if let Some(due_ns) = due_ns {
                self.sched.tasks[seat].due_ns = due_ns;
                return Ok(());
            }
        }
    }

    /// Steps of the actor on CPU `c` until another CPU's turn comes at `horizon_ns`, or who runs where has changed.
    fn burst(&mut self, c: usize, horizon_ns: u64) -> Result<(), VirtualError> {
        let Some(seat) = self.sched.cpus[c].seat else { return Ok(()) };
        self.meter.resume(seat, self.sched.cpus[c].now_ns);
        let end = self.steps + WATCH_STEPS;
        loop {
            if self.step(c, seat)? {
                return Ok(());
            }
            if self.sched.cpus[c].now_ns >= horizon_ns || self.steps == end {
                return Ok(());
            }
        }
    }

    /// One step of the actor on CPU `c`, at that CPU's time; whether who runs where has changed.
    fn step(&mut self, c: usize, seat: usize) -> Result<bool, VirtualError> {
        let at_ns = self.sched.cpus[c].now_ns;
        self.now_ns = at_ns;
        let outcome = self.act(c, seat, at_ns)?;
        let marks = self.crew.seats[seat].ctx.marks;
        let off_cpu_ns = self.pass_time(c, seat, outcome);
        let woke = self.woken(c, seat, at_ns)?;
        self.meter.step(seat, &self.crew.seats[seat].ctx, at_ns, self.sched.cpus[c].now_ns);
        self.meter.level(self.sys.watermark(), at_ns);
        match (off_cpu_ns, outcome) {
            (Some(due_ns), _) => self.sched.block(c, Place::Blocked, due_ns),
            (None, Outcome::Done) => {
                self.finished(seat, at_ns);
                self.sched.block(c, Place::Done, u64::MAX);
            }
            _ => return Ok(self.sched.resched(c, marks & mark::COND_RESCHED != 0) || woke),
        }
        self.sched.next(c, self.sched.cpus[c].now_ns);
        Ok(true)
    }

    /// One step of an actor on CPU `c` at `at_ns`, and what it logged.
    #[inline]
    fn act(&mut self, c: usize, seat: usize, at_ns: u64) -> Result<Outcome, VirtualError> {
        self.steps += 1;
        let ctx = &mut self.crew.seats[seat].ctx;
        ctx.log.now_ns = at_ns;
        ctx.cpu = c as u16;
        let stepped = self.crew.step(self.sys, seat);
        let ctx = &mut self.crew.seats[seat].ctx;
        if ctx.log.is_enabled() {
            (self.sink)(ctx.log.records())?;
            ctx.log.clear();
        }
        stepped.map_err(|source| VirtualError::Step { at_ns, actor: ctx.actor, source: *source })
    }

    fn finished(&mut self, seat: usize, at_ns: u64) {
        self.meter.done(seat, at_ns);
        self.done_ns[seat] = at_ns;
    }

    /// Charges what the step cost; `Some`: the actor is off its CPU until then.
    #[inline]
    fn pass_time(&mut self, c: usize, seat: usize, outcome: Outcome) -> Option<u64> {
        let now_ns = self.sched.cpus[c].now_ns;
        match outcome {
            Outcome::Ran(work @ (Work::DeviceRead(_) | Work::DeviceWrite(_))) => {
                self.sched.charge(c, seat, self.machine.costs.device_cpu_ns);
                let device_ns = NonZeroU64::new(self.machine.costs.of(self.sys, work));
                device_ns.map(|ns| self.sched.cpus[c].now_ns + ns.get()) // A memory device is done at once.
            }
            Outcome::Ran(work) => {
                self.sched.charge(c, seat, self.machine.costs.of(self.sys, work));
                None
            }
            Outcome::Sleep(ns) => Some(now_ns.saturating_add(ns)),
            Outcome::Wait(wait) => {
                self.meter.wait(seat, wait.key, now_ns);
                Some(wait.timeout_ns.map_or(u64::MAX, |ns| now_ns.saturating_add(ns.get().into())))
            }
            Outcome::Done => None,
        }
    }

    /// Whether the step has woken somebody who gets an idle CPU, or the device.
    #[inline]
    fn woken(&mut self, c: usize, waker: usize, at_ns: u64) -> Result<bool, VirtualError> {
        if self.sys.wait.wakes() == self.wakes { Ok(false) } else { self.wake_up(c, waker, at_ns) }
    }

    /// Puts those who were woken in line for a CPU; the waker pays. Whether an idle CPU took one, or the device began to write.
    #[cold]
    fn wake_up(&mut self, c: usize, waker: usize, at_ns: u64) -> Result<bool, VirtualError> {
        self.wakes = self.sys.wait.wakes();
        let pay = if self.is_interrupt(waker) { scheduler::Scheduler::interrupt } else { scheduler::Scheduler::charge };
        let (mut taken, scheduler) = (false, &self.machine.scheduler);
        for seat in 0..self.sched.tasks.len() {
            let waits = self.sched.tasks[seat].is_asleep();
            if waits
                && matches!(self.crew.seats[seat].status, Status::Waiting(_))
                && self.crew.seats[seat].is_ready(self.sys)
            {
                pay(&mut self.sched, c, waker, scheduler.wake_ns);
                if self.is_interrupt(seat) {
                    self.sched.ask(seat, c);
                    self.interrupt(seat, at_ns)?;
                    taken = true;
                } else if self.sched.wake(seat, at_ns, Some(c)) {
                    pay(&mut self.sched, c, waker, scheduler.ipi_ns);
                    taken = true;
                }
            }
        }
        Ok(taken)
    }

    fn finish(self, error: Option<VirtualError>) -> Run {
        let ids = self.crew.seats.iter().map(|seat| seat.ctx.actor);
        let ends = self.sched.cpus.iter().filter(|cpu| cpu.has_run()).map(|cpu| cpu.now_ns);
        let end_ns = ends.max().unwrap_or(self.now_ns).max(self.now_ns);
        Run {
            end_ns,
            cpu_ns: ids.zip(self.sched.tasks.iter().map(|task| task.cpu_ns)).collect(),
            done_ns: self.done_ns,
            steps: self.steps,
            stat: self.crew.stat(),
            census: self.sys.census(),
            measures: self.meter.finish(self.sys, self.crew, end_ns),
            error,
        }
    }
}
