//! One OS thread an actor: the loop that steps it, parks it, and reads the clock once a batch of steps.

use super::clock::{Affinity, Gate, Turns, cpu, cpu_ns, pin};
use super::meter::{Meter, Noted, Tickets};
use super::stopwatch::Stopwatch;
use super::{Figures, Plant, Shared};
use crate::driver::profile::{Profile, Profiling};
use crate::driver::report::{Application, Measures, Reclaimed, RunError, ThreadReport};
use crate::driver::{self, BATCH};
use crate::lifecycle::{actor, actor_name};
use crate::reclaim::Actor;
use crate::sync::spin_loop;
use crate::sync::thread::{self, JoinHandle};
use crate::system::{Ctx, Outcome, Waiting, Work};
use crate::trace::Log;
use crate::units::SWAP_CLUSTER_MAX;
use crate::wait::{Ticket, WaitKey, Woken};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How long a worker without work stays awake, or kswapd while workers have the last batch, nanoseconds: about what it takes to sleep and
/// to be woken. Where applications want the CPUs both sleep at once, as the kernel's do.
const AWAKE_NS: u64 = 50_000;
/// Its spins between two turns given away.
const SPINS: u32 = 16;
/// Records for which a traced run has room ahead, per page: what the reclaim and fault phases of one page usually take.
const RECORDS_PER_PAGE: usize = 12;

/// Threads with their actors' ids.
pub(super) type Group = Vec<(u16, JoinHandle<Ended>)>;

/// What a thread has come to.
pub(super) struct Ended {
    pub report: ThreadReport,
    pub measures: Measures,
    pub profile: Profile,
    /// What became of tickets without a memory budget.
    pub tickets: Vec<Noted>,
    /// Pages that its reads found changed.
    pub mismatched: Vec<u32>,
    /// Of an application in a run with a memory budget; its end counts from the making of the run.
    pub application: Option<Application>,
    /// Of a write to `memory.reclaim`, with its group; likewise.
    pub reclaimed: Option<(u16, Reclaimed)>,
    /// When its actor was done or given up; likewise.
    pub done_ns: u64,
}

/// Starts a thread for each actor, beside `started` others; they wait at `gate`.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    actors: Vec<(u16, Actor)>,
    gate: &Arc<Gate>,
    turns: Option<&Arc<Turns>>,
    started: usize,
) -> Group {
    let mut group = Group::new();
    for (id, actor) in actors {
        let turn = turns.and_then(|turns| Some((turns.clone(), turns.place(id)?)));
        let (shared_, gate, place, turn_) = (shared.clone(), gate.clone(), started + group.len(), turn.clone());
        let body = move || Thread::new(shared_, id, turn_).run(actor, &gate, place);
        match thread::Builder::new().name(actor_name(id)).spawn(body) {
            Ok(handle) => group.push((id, handle)),
            Err(error) => {
                shared.fail(RunError::thread(error));
                turn.iter().for_each(|(turns, me)| turns.pass(*me, true)); // Or the others would wait for a turn to end that nobody has.
            }
        }
    }
    group
}

struct Thread {
    shared: Arc<Shared>,
    ctx: Ctx,
    turn: Option<(Arc<Turns>, usize)>,
    report: ThreadReport,
    /// What its actor had done at the last look ([`driver::work`]).
    work: u64,
    /// Pages counted and the time of the last reading.
    counted: u64,
    read_ns: u64,
    /// What it has come to, for samples.
    figures: Arc<Figures>,
    /// Of a run with a memory budget, and of the fault phase without one.
    meter: Option<Box<Meter>>,
    /// When it noted [`Ctx::tickets`].
    tickets: Tickets,
    /// Where what its steps cost is asked for.
    stopwatch: Option<Box<Stopwatch>>,
    /// Where it may run when it has begun.
    anywhere: Option<Affinity>,
}

impl Thread {
    fn new(shared: Arc<Shared>, id: u16, turn: Option<(Arc<Turns>, usize)>) -> Self {
        let sys = &shared.sys;
        let share = match actor::kind(id) {
            actor::KSWAPD => sys.folios.len() / usize::from(sys.config.nodes),
            actor::KCOMPRESSD => sys.folios.len() / sys.queues.len().max(1),
            actor::APP => sys.folios.len(),
            _ => 64,
        };
        let log = Log::new(shared.config.trace, share * RECORDS_PER_PAGE);
        let mut ctx = Ctx::new(id, sys.config.codec, sys.config.page_size, log);
        let measured = if shared.gauges.is_some() { shared.phase() == 0 } else { shared.phase() == 1 };
        let meter = measured.then(|| Box::new(Meter::new(id)));
        ctx.tickets = (shared.gauges.is_none() && shared.phase() == 0).then(|| Tickets::room(share));
        let tickets = Tickets::default();
        let profiling = if shared.phase() == 0 { shared.config.profiling } else { Profiling::Off };
        let stopwatch = Stopwatch::new(profiling).map(Box::new);
        let report = ThreadReport::new(id);
        let figures = shared.figures();
        let (work, counted, read_ns, anywhere) = (0, 0, 0, None);
        Self { shared, ctx, turn, report, work, counted, read_ns, figures, meter, tickets, stopwatch, anywhere }
    }

    fn run(mut self, mut actor: Actor, gate: &Gate, place: usize) -> Ended {
        self.begin_at(place);
        gate.pass();
        let cpu = cpu_ns();
        self.read_clock();
        let ended = catch_unwind(AssertUnwindSafe(|| self.steps(&mut actor)));
        let name = actor_name(self.ctx.actor);
        let whole = matches!(ended, Ok(Ok(()))) && !self.shared.is_cancelled();
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(error),
            Err(panic) => self.shared.fail(RunError::panic(&name, panic.as_ref())),
        }
        if let Some((turns, me)) = &self.turn {
            turns.pass(*me, true);
        }
        self.report.cpu_ns = cpu_ns() - cpu;
        self.end(&actor, whole)
    }

    /// Goes to the CPU that virtual time has it begin on, one thread on each CPU in turn, and stays there for its first steps and until it is woken,
    /// if it waits for something then. Which CPU it would wake on is chance, and two that share one do so for tens of ms.
    fn begin_at(&mut self, place: usize) {
        if self.shared.config.pin {
            pin(usize::from(self.ctx.actor & 0xff) + usize::from(self.ctx.actor >> 8));
        } else if !cfg!(kcompressd_shuttle) {
            self.anywhere = Some(pin(place));
        }
    }

    /// What the thread came to; `whole`: its actor is done.
    fn end(mut self, actor: &Actor, whole: bool) -> Ended {
        let mut meter = self.meter.take();
        let mut application = None;
        if let (Some(meter), Some(gauges)) = (&mut meter, &self.shared.gauges) {
            meter.end(gauges, self.read_ns);
            application = self.application(actor, meter);
        }
        let reclaimed = match actor {
            Actor::Reclaim(reclaim) => {
                let reclaimed = Reclaimed::of(&self.shared.sys, reclaim, whole.then_some(self.read_ns));
                Some((reclaim.request().memcg, reclaimed))
            }
            _ => None,
        };
        let mut report = self.report;
        report.pages_done = self.ctx.pages_done;
        report.vmstat = self.ctx.stat;
        report.by_event = self.ctx.by_event;
        report.errors = self.ctx.errors.iter().map(ToString::to_string).collect();
        report.records = self.ctx.log.take();
        let measures = meter.map_or_else(Measures::default, |meter| meter.found);
        let profile = self.stopwatch.map_or_else(Profile::default, |stopwatch| stopwatch.found());
        let tickets = self.tickets.timed(self.ctx.tickets.as_deref().unwrap_or_default());
        let done_ns = self.read_ns;
        Ended { report, measures, profile, tickets, mismatched: self.ctx.mismatched, application, reclaimed, done_ns }
    }

    /// What an application came to; one whose program is not at its end did not end.
    fn application(&self, actor: &Actor, meter: &Meter) -> Option<Application> {
        let Actor::App(app) = actor else { return None };
        Some(Application {
            end_ns: app.program().current().is_none().then_some(self.read_ns),
            touches: app.touches() as u64,
            touch_ns: meter.found.touch_ns.clone(),
            stall_ns: meter.stall_ns,
            vmstat: self.ctx.stat.clone(),
        })
    }

    fn steps(&mut self, actor: &mut Actor) -> Result<(), RunError> {
        if let Some((turns, me)) = &self.turn {
            turns.take(*me);
            self.read_ns = self.shared.now_ns();
        }
        while let Some(steps) = self.batch(actor)? {
            if self.shared.gauges.is_some() && cfg!(kcompressd_shuttle) {
                thread::yield_now(); // Whoever finds no memory looks again and again until others have freed some.
            }
            self.read_clock();
            self.check()?;
            if let Some(anywhere) = self.anywhere.take() {
                anywhere.set();
            }
            let work = std::mem::replace(&mut self.work, driver::work(actor, &self.ctx));
            if self.shared.watchdog.look(steps, self.work != work, self.read_ns) {
                return Err(RunError::livelock(&actor_name(self.ctx.actor)));
            }
            if self.shared.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// Steps until the clock is to be read; how many, if the actor goes on.
    fn batch(&mut self, actor: &mut Actor) -> Result<Option<u64>, RunError> {
        let metered = self.meter.is_some();
        let stepwise = metered && self.shared.gauges.is_some();
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.begin(&self.shared.sys);
        }
        if stepwise {
            self.ctx.cpu = cpu(self.ctx.actor);
        }
        let at_once = if stepwise || self.stopwatch.is_some() { 1 } else { BATCH };
        let mut steps = 0;
        while steps < BATCH {
            let ran = actor.run(&self.shared.sys, &mut self.ctx, at_once);
            if metered {
                self.measure();
            }
            let (more, outcome) = ran.map_err(|error| RunError::step(&actor_name(self.ctx.actor), &error))?;
            steps += more;
            if let Some(stopwatch) = &mut self.stopwatch {
                stopwatch.step(&self.shared.sys, outcome, steps == BATCH);
            }
            match outcome {
                Outcome::Ran(Work::Think(ns)) => self.think(ns),
                Outcome::Ran(_) => {}
                Outcome::Wait(wait) => return Ok(self.wait(wait).then_some(steps)),
                Outcome::Sleep(ns) => return Ok(self.sleep(ns).then_some(steps)),
                Outcome::Done => {
                    self.read_clock();
                    return Ok(None);
                }
            }
        }
        Ok(Some(steps))
    }

    /// What the last step told the meter.
    fn measure(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        let wants_time = meter.glance(self.shared.gauges.as_ref(), &self.ctx, self.read_ns);
        if wants_time {
            self.read_clock();
            if let Some(meter) = &mut self.meter {
                meter.step(self.shared.gauges.as_ref(), &self.ctx, self.read_ns);
            }
        }
    }

    /// Computes for so long, as an application does in user mode.
    fn think(&mut self, ns: u32) {
        let until = self.shared.now_ns() + u64::from(ns);
        while !cfg!(kcompressd_shuttle) && self.shared.now_ns() < until && !self.shared.is_cancelled() {
            spin_loop();
        }
        self.read_ns = self.shared.now_ns();
    }

    /// Parks until woken or the time is out; false: the run is over.
    fn wait(&mut self, Waiting { key, ticket, timeout_ns }: Waiting) -> bool {
        self.read_clock();
        let wait = &self.shared.sys.wait;
        if self.turn.is_some() {
            let goes_on = self.pass_turns(timeout_ns.map(|ns| ns.get().into()), || wait.is_woken(key, ticket));
            self.ctx.timed_out = !wait.cancel(key, ticket);
            self.read_ns = self.shared.now_ns();
            return goes_on;
        }
        let soon = match key {
            WaitKey::Queue(_) => true,
            WaitKey::Memory => self.shared.sys.in_flight() as usize <= SWAP_CLUSTER_MAX,
            _ => false,
        };
        if soon && self.shared.gauges.is_none() {
            self.stay_awake(key, ticket);
        }
        let woken = match timeout_ns {
            None => wait.park(key, ticket),
            Some(ns) => wait.park_timeout(key, ticket, Duration::from_nanos(ns.get().into())),
        };
        self.ctx.timed_out = woken == Woken::TimedOut;
        let parked_ns = std::mem::replace(&mut self.read_ns, self.shared.now_ns());
        if let (Some(meter), WaitKey::Folio(_)) = (&mut self.meter, key) {
            meter.waited(self.read_ns - parked_ns);
        }
        woken != Woken::Shutdown
    }

    /// A worker whose queue is empty, and a kswapd that has nothing left but a batch in workers' hands, wait a little for more without
    /// sleeping, and let others run meanwhile: waking a CPU that has gone idle takes as long as a batch.
    fn stay_awake(&self, key: WaitKey, ticket: Ticket) {
        let (wait, until) = (&self.shared.sys.wait, self.read_ns + AWAKE_NS);
        while !cfg!(kcompressd_shuttle) && !wait.is_woken(key, ticket) && self.shared.now_ns() < until {
            (0..SPINS).for_each(|_| spin_loop());
            thread::yield_now();
        }
    }

    /// Sleeps; false: the run is over.
    fn sleep(&mut self, ns: u64) -> bool {
        self.read_clock();
        self.ctx.timed_out = false;
        let goes_on = match self.turn {
            Some(_) => self.pass_turns(Some(ns), || false),
            None => self.shared.sys.wait.sleep(Duration::from_nanos(ns)) != Woken::Shutdown,
        };
        self.read_ns = self.shared.now_ns();
        goes_on
    }

    /// Lets the others have their turns until `ready` or the time is out; false: the run is over.
    fn pass_turns(&self, timeout_ns: Option<u64>, ready: impl Fn() -> bool) -> bool {
        let Some((turns, me)) = &self.turn else { return true };
        let started_ns = self.shared.now_ns();
        let is_over = || timeout_ns.is_some_and(|ns| self.shared.now_ns() - started_ns >= ns);
        while !ready() && !is_over() {
            if self.shared.is_cancelled() {
                return false;
            }
            turns.pass(*me, false);
            turns.take(*me);
        }
        true
    }

    /// One reading of the clock: the time of the next records, and the mean time of the pages since the last one.
    fn read_clock(&mut self) {
        let now = self.shared.now_ns();
        let pages = self.ctx.pages_done - self.counted;
        if let Some(page_ns) = now.saturating_sub(self.read_ns).checked_div(pages) {
            self.report.page_ns.record_many(page_ns, pages);
            self.counted = self.ctx.pages_done;
        }
        self.figures.set(&self.ctx);
        if let Some(tickets) = &self.ctx.tickets {
            self.tickets.note(tickets.len(), self.read_ns, now);
        }
        self.read_ns = now;
        self.ctx.log.now_ns = now;
        if let Some(gauges) = &self.shared.gauges {
            gauges.look(&self.shared.sys, now);
        }
    }

    /// Device errors end the run unless they were injected; planted failures happen.
    fn check(&mut self) -> Result<(), RunError> {
        if let Some(error) = self.ctx.errors.first()
            && !self.shared.config.go_on
        {
            return Err(RunError::step(&actor_name(self.ctx.actor), error));
        }
        match self.shared.config.plant {
            Some(Plant::Panic { actor, after_pages })
                if actor == self.ctx.actor && self.ctx.pages_done >= after_pages =>
            {
                panic!("planted failure after {after_pages} pages");
            }
            Some(Plant::CloseQueues { after_pages }) if self.ctx.pages_done >= after_pages => {
                self.shared.sys.queues.iter().for_each(|queue| {
                    queue.close();
                });
                Err(RunError::closed())
            }
            _ => Ok(()),
        }
    }
}
