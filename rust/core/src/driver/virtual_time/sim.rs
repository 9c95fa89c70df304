//! A `pageout` run in virtual time: the phases of the live driver, one crew after the other on one machine.

use super::machine::Machine;
use super::{Progress, Run, Sink, VirtualError, Watch, run_with};
use crate::driver::phases::{FaultOrder, apps};
use crate::driver::{Application, Crew, Group, Reclaimed, Report, RunError, Seat, Status, ThreadReport, kswapds};
use crate::lifecycle::{State, actor, actor_name};
use crate::reclaim::{Actor, ReclaimRequest, Task};
use crate::stats::PageNs;
use crate::system::System;
use crate::trace::system::{PHASE, POOL};
use crate::trace::{Record, SYSTEM};
use crate::workload::Program;

/// How a virtual run goes.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// What it runs on.
    pub machine: Machine,
    /// The fault phase.
    pub fault: FaultOrder,
    /// Seed of the shuffle.
    pub seed: u64,
    /// Threads of the fault phase.
    pub app_threads: u16,
    /// Whether events are logged.
    pub trace: bool,
    /// What applications do in a system with a memory budget: they run beside reclaim, and the run ends when they have.
    pub programs: Vec<Program>,
    /// What is written to groups' `memory.reclaim` meanwhile.
    pub reclaims: Vec<ReclaimRequest>,
}

/// A run over `sys`.
pub struct Sim<'a> {
    sys: &'a System,
    config: &'a SimConfig,
    report: Report,
    now_ns: u64,
}

impl<'a> Sim<'a> {
    /// A run of `sys`.
    pub fn new(sys: &'a System, config: &'a SimConfig) -> Self {
        Self { sys, config, report: Report::default(), now_ns: 0 }
    }

    /// Runs the phases; whatever ends them early, what was counted is reported.
    pub fn run(mut self, sink: Sink<'_>, watch: Watch<'_>) -> Report {
        self.note(PHASE, 0, sink);
        self.reclaim(sink, watch);
        if self.report.error.is_none() && self.config.fault != FaultOrder::None {
            self.note(PHASE, 1, sink);
            self.report.timing.fault_ns = self.apps(Task::Touch, "fault", sink, watch);
            self.report.census_fault = self.sys.census();
            self.note_pool(sink);
        }
        if self.report.error.is_none() {
            self.note(PHASE, 2, sink);
            self.apps(Task::Exit, "exit", sink, watch);
            self.note_pool(sink);
        }
        self.report.pool_pages_at_exit = self.sys.pool_pages();
        self.report
    }

    fn reclaim(&mut self, sink: Sink<'_>, watch: Watch<'_>) {
        let crew = Crew::machine(self.sys, self.config.programs.iter().cloned(), self.config.trace);
        let requests = self.config.reclaims.iter();
        let crew = requests.fold(crew, |crew, &request| crew.with_reclaim(self.sys, request));
        let run = self.phase(crew, "reclaim", sink, watch);
        let ended = run.cpu_ns.iter().zip(&run.done_ns).filter(|((id, _), _)| actor::kind(*id) == actor::KSWAPD);
        let ended = ended.map(|(_, &ns)| ns).max().filter(|_| self.report.error.is_none());
        self.report.timing.reclaim_ns = ended.unwrap_or(run.end_ns);
        self.report.series = run.measures.samples;
        // What the shrink worker wrote last is still reclaimed.
        if self.sys.mm.is_none() && self.sys.census()[State::WrittenBack as usize] > 0 && self.report.error.is_none() {
            let crew = Crew::of(self.sys, kswapds(self.sys, &super::super::Stops::default()), self.config.trace);
            self.phase(crew, "reclaim", sink, watch);
        }
        self.report.note_stores(self.sys);
        self.report.census_reclaim = self.sys.census();
        self.note_pool(sink);
    }

    /// Between two phases nobody is in the middle of a step: what the store holds, for the judge.
    fn note_pool(&mut self, sink: Sink<'_>) {
        if self.config.trace {
            self.note(POOL, self.sys.pool_bytes(), sink);
        }
    }

    fn note(&mut self, event: u8, aux: u64, sink: Sink<'_>) {
        if self.config.trace && self.report.error.is_none() {
            let (t_ns, folio, actor) = (self.now_ns, SYSTEM, actor::SCRIPT);
            let note = Record { t_ns, aux, folio, event, actor, ..Record::default() };
            self.report.error = sink(&[note]).err().as_ref().map(RunError::trace);
        }
    }

    /// Application threads; returns the nanoseconds that they took.
    fn apps(&mut self, task: Task, phase: &'static str, sink: Sink<'_>, watch: Watch<'_>) -> u64 {
        let &SimConfig { fault, seed, app_threads, trace, .. } = self.config;
        let actors = apps(task, self.sys.folios.len() as u32, fault, seed, app_threads);
        let start_ns = self.now_ns;
        self.phase(Crew::of(self.sys, actors, trace), phase, sink, watch).end_ns - start_ns
    }

    fn phase(&mut self, mut crew: Crew, phase: &'static str, sink: Sink<'_>, watch: Watch<'_>) -> Run {
        let mut watched = |progress: &Progress| watch(&Progress { phase, ..*progress });
        let mut run = run_with(self.sys, &mut crew, &self.config.machine, self.now_ns, sink, &mut watched);
        self.now_ns = run.end_ns;
        self.report.steps += run.steps;
        if phase != "exit" {
            self.report.measures.add(&run.measures.found);
        }
        if self.sys.mm.is_some() && phase == "reclaim" {
            self.report.applications = applications(&crew, &run);
            self.report.memcgs = memcgs(self.sys, &crew, &run);
        }
        for ((seat, &(_, cpu_ns)), page_ns) in crew.seats.into_iter().zip(&run.cpu_ns).zip(&run.measures.page_ns) {
            let mut thread = ThreadReport::new(seat.ctx.actor);
            (thread.cpu_ns, thread.pages_done, thread.page_ns) = (cpu_ns, seat.ctx.pages_done, page_ns.clone());
            (thread.vmstat, thread.by_event) = (seat.ctx.stat, seat.ctx.by_event);
            thread.errors = seat.ctx.errors.iter().map(ToString::to_string).collect();
            match phase {
                "exit" => self.report.add_exit(thread),
                _ => self.report.add(thread),
            }
        }
        self.report.error = run.error.take().map(said);
        run
    }
}

/// What the applications of `crew` came to; one that the OOM killer ended has its end when it had given its pages up.
fn applications(crew: &Crew, run: &Run) -> Vec<Application> {
    let measured = run.done_ns.iter().zip(&run.measures.touches);
    let application = |(seat, (&done_ns, (touch_ns, stall_ns))): (&Seat, (&u64, &(PageNs, u64)))| {
        let Actor::App(app) = &seat.actor else { return None };
        Some(Application {
            end_ns: app.program().current().is_none().then_some(done_ns),
            touches: app.touches() as u64,
            touch_ns: touch_ns.clone(),
            stall_ns: *stall_ns,
            vmstat: seat.ctx.stat.clone(),
        })
    };
    crew.seats.iter().zip(measured).filter_map(application).collect()
}

/// The groups of `crew`'s run, and of what was written to their memory.reclaim.
fn memcgs(sys: &System, crew: &Crew, run: &Run) -> Vec<Group> {
    let reclaimed = |(seat, &done_ns): (&Seat, &u64)| {
        let Actor::Reclaim(reclaim) = &seat.actor else { return None };
        let end_ns = (seat.status == Status::Done).then_some(done_ns);
        Some((reclaim.request().memcg, Reclaimed::of(sys, reclaim, end_ns)))
    };
    Group::all(sys, crew.seats.iter().zip(&run.done_ns).filter_map(reclaimed))
}

fn said(error: VirtualError) -> RunError {
    let kind = match &error {
        VirtualError::Step { source, actor, .. } => return RunError::step(&actor_name(*actor), source),
        VirtualError::Deadlock { .. } => "deadlock",
        VirtualError::Livelock { .. } => "livelock",
        VirtualError::Machine => "machine",
        VirtualError::Cancelled => return RunError::cancelled(),
        VirtualError::Trace(_) => "trace",
    };
    RunError { kind, message: error.to_string(), actor: String::new() }
}
