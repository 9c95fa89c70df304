//! The controlling thread of a live run: one phase after the other.

use super::clock::{Gate, Turns};
use super::meter::{Noted, waits};
use super::threads::{Ended, Group, spawn};
use super::{EXIT, LiveConfig, Shared};
use crate::driver::phases::{FaultOrder, apps};
use crate::driver::report::{Reclaimed, Report, RunError};
use crate::driver::{START, Stops};
use crate::lifecycle::{State, actor, flag};
use crate::reclaim::{Actor, App, MemoryReclaim, Task};
use crate::system::Contents;
use crate::trace::system::{PHASE, POOL};
use crate::trace::{Record, SYSTEM};
use crate::wait::WaitKey;
use std::sync::Arc;

/// The controlling thread: one phase after the other.
pub(super) struct Controller {
    shared: Arc<Shared>,
    report: Report,
    /// What the writes to `memory.reclaim` came to, each with its group.
    reclaims: Vec<(u16, Reclaimed)>,
    /// What became of tickets without a memory budget ([`Ended::tickets`]).
    tickets: Vec<Noted>,
}

impl Controller {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, report: Report::default(), reclaims: Vec::new(), tickets: Vec::new() }
    }

    /// Runs the phases; whatever ends them early, what was counted is reported.
    pub fn run(mut self, original: &[u8]) -> Report {
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
        self.shared.enter(3);
        self.report.error = self.shared.error.lock().take();
        self.report.pool_pages_at_exit = self.shared.sys.pool_pages();
        self.report
    }

    fn reclaim(&mut self) {
        self.note(PHASE, 0);
        let sys = &self.shared.sys;
        if self.shared.config.warm {
            sys.prefault_pool();
        }
        let stops = Stops::default();
        let mut actors = crate::driver::actors(sys, &stops);
        actors.extend(self.applications());
        let of_kind = |kind: u16| actors.iter().filter(move |(id, _)| actor::kind(*id) == kind).cloned();
        let gate = Arc::new(Gate::new());
        let turns = self.shared.config.turns.then(|| Arc::new(Turns::new(actors.iter().map(|(id, _)| *id))));
        let mut started = 0;
        let groups = START.map(|kind| {
            let group = spawn(&self.shared, of_kind(kind).collect(), &gate, turns.as_ref(), started);
            started += group.len();
            group
        });
        if let Some(gauges) = &self.shared.gauges {
            gauges.begin(self.shared.now_ns()); // Before anybody runs: what they find is added to it.
        }
        let start_ns = gate.open(started, || self.shared.now_ns());
        let [mut kswapd, kcompressd, device, shrink, mut apps, reclaims] = groups;
        apps.extend(reclaims);
        let mut done_ns = self.join_applications(apps, start_ns);
        if self.shared.sys.mm.is_none() {
            done_ns = self.join(std::mem::take(&mut kswapd));
        }
        self.report.timing.reclaim_ns = done_ns.saturating_sub(start_ns);
        self.end_workers(&stops, [kcompressd, kswapd, shrink, device]);
        self.report.measures.add(&waits(&self.shared.sys.queues, std::mem::take(&mut self.tickets)));
        self.shared.sample(); // What the phase came to.
        self.report.profile.wakes = self.shared.sys.wait.wakes().into();
        self.report.note_stores(&self.shared.sys);
        self.report.census_reclaim = self.shared.sys.census();
        self.note_pool();
    }

    /// The actors of the programs and of the writes to `memory.reclaim`.
    fn applications(&self) -> impl Iterator<Item = (u16, Actor)> {
        let LiveConfig { programs, reclaims, .. } = &self.shared.config;
        let apps = (actor::APP..).zip(programs).map(|(id, program)| (id, Actor::App(App::running(program.clone()))));
        let reclaims = (actor::ADMIN..).zip(reclaims);
        apps.chain(reclaims.map(|(id, &request)| (id, Actor::Reclaim(MemoryReclaim::new(request)))))
    }

    /// Waits for the end of the applications, and of those who write to `memory.reclaim`; when the last was done.
    fn join_applications(&mut self, apps: Group, start_ns: u64) -> u64 {
        let shared = self.shared.clone();
        let Some(gauges) = &shared.gauges else { return 0 };
        let done_ns = self.join(apps);
        self.report.applications.resize_with(shared.config.programs.len(), Default::default);
        let since_start = |end_ns: &mut u64| *end_ns = end_ns.saturating_sub(start_ns);
        self.report.applications.iter_mut().filter_map(|app| app.end_ns.as_mut()).for_each(since_start);
        self.reclaims.iter_mut().filter_map(|(_, reclaimed)| reclaimed.end_ns.as_mut()).for_each(since_start);
        self.report.memcgs = crate::driver::report::Group::all(&shared.sys, self.reclaims.drain(..));
        self.report.measures.add(&gauges.finish(shared.now_ns()));
        done_ns
    }

    fn enter(&mut self, phase: u32) {
        self.shared.enter(phase);
        self.note(PHASE, phase.into());
    }

    /// Between two phases nobody is in the middle of a step: what the store holds, for the judge.
    fn note_pool(&mut self) {
        if self.shared.config.trace {
            self.note(POOL, self.shared.sys.pool_bytes());
        }
    }

    fn note(&mut self, event: u8, aux: u64) {
        if self.shared.config.trace && !self.shared.is_cancelled() {
            let (t_ns, folio, actor) = (self.shared.now_ns(), SYSTEM, actor::SCRIPT);
            self.report.notes.push(Record { t_ns, aux, folio, event, actor, ..Record::default() });
        }
    }

    /// Close and drain; what was written last is still reclaimed, with the device at work: a page whose write failed goes
    /// out once more, and kswapd waits for it.
    fn end_workers(&mut self, stops: &Stops, [kcompressd, kswapd, shrink, device]: [Group; 4]) {
        let shared = self.shared.clone();
        crate::driver::close_queues(&shared.sys);
        self.join(kcompressd); // With a memory budget they may wait for what kswapd frees.
        crate::driver::stop(&shared.sys, &stops.kswapd, WaitKey::Kswapd);
        self.join(kswapd);
        crate::driver::stop(&shared.sys, &stops.shrink, WaitKey::Shrink);
        self.join(shrink);
        // Until all writes have ended; a cancelled run shuts the cell down.
        let landed = shared.sys.wait.cell(WaitKey::Memory).wait_for(|| (shared.sys.in_flight() == 0).then_some(()));
        let pageout = shared.sys.mm.is_none();
        if pageout && landed.is_some() && shared.sys.census()[State::WrittenBack as usize] > 0 && !shared.is_cancelled()
        {
            let kswapds = crate::driver::kswapds(&shared.sys, &Stops::default()).collect();
            let gate = Arc::new(Gate::new());
            let group = spawn(&shared, kswapds, &gate, None, 0);
            gate.open(group.len(), || self.shared.now_ns());
            self.join(group);
        }
        crate::driver::stop(&shared.sys, &stops.device, WaitKey::Device);
        self.join(device);
    }

    /// Waits for the threads' ends; when the last of them was done, which does not count what it takes to end a thread.
    fn join(&mut self, group: Group) -> u64 {
        let exit = self.shared.phase() == EXIT;
        let mut done_ns = 0;
        for (id, handle) in group {
            done_ns = done_ns.max(match handle.join() {
                Ok(ended) => {
                    let done_ns = ended.done_ns;
                    if exit {
                        self.report.add_exit(ended.report)
                    } else {
                        self.take(ended)
                    }
                    done_ns
                }
                Err(panic) => {
                    self.shared.fail(RunError::panic(&crate::lifecycle::actor_name(id), panic.as_ref()));
                    self.shared.now_ns()
                }
            });
        }
        done_ns
    }

    /// Takes over what a thread of the reclaim or fault phase has come to.
    fn take(&mut self, ended: Ended) {
        self.report.mismatched.extend(ended.mismatched);
        self.report.measures.add(&ended.measures);
        self.report.profile.add(&ended.profile);
        self.tickets.extend(ended.tickets);
        self.report.applications.extend(ended.application);
        self.reclaims.extend(ended.reclaimed);
        self.report.add(ended.report);
    }

    /// Application threads, each with a share of the pages; returns the nanoseconds they took.
    fn apps(&mut self, task: Task) -> u64 {
        let sys = &self.shared.sys;
        let config = &self.shared.config;
        let actors = apps(task, sys.folios.len() as u32, config.fault, config.seed, config.app_threads);
        let gate = Arc::new(Gate::new());
        let group = spawn(&self.shared, actors, &gate, None, 0);
        let start_ns = gate.open(group.len(), || self.shared.now_ns());
        let done_ns = self.join(group);
        done_ns.saturating_sub(start_ns)
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
