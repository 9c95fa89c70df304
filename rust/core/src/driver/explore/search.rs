//! The search: breadth first, so that the way to the first failure is a shortest one.

use super::choice::{choices, take};
use super::graph::{Graph, START};
use super::packed::Frontier;
use super::seen::Seen;
use super::states::States;
use super::{Choice, Failure, Met, Properties, Report, Wrong, caught, nothing_lost};
use crate::driver::{Crew, Status};
use crate::system::System;
use xxhash_rust::xxh3::xxh3_128;

/// The 128-bit name of a state.
pub fn fingerprint(words: &[u64]) -> u128 {
    // SAFETY: a u64 has no padding and any of its bytes may be read; the length is the slice's own.
    xxh3_128(unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) })
}

pub(super) struct Search<'a, 'p> {
    sys: &'a System,
    crew: &'a mut Crew,
    properties: &'a Properties<'p>,
    states: States,
    seen: Seen,
    graph: Graph,
    frontier: Frontier,
    /// The state being expanded, its depth, and where the next depth begins.
    at: u32,
    depth: u32,
    next_depth: u32,
    report: Report,
}

impl<'a, 'p> Search<'a, 'p> {
    pub fn new(sys: &'a System, crew: &'a mut Crew, properties: &'a Properties<'p>) -> Self {
        let sometimes = properties.sometimes.iter().map(|(name, _)| Met { name, times: 0, way: Vec::new() }).collect();
        Self {
            states: States::new(sys, crew, properties.symmetry),
            seen: Seen::default(),
            graph: Graph::new(properties.eventually),
            frontier: Frontier::default(),
            at: START,
            depth: 0,
            next_depth: 1,
            report: Report { sometimes, ..Report::default() },
            sys,
            crew,
            properties,
        }
    }

    pub fn run(mut self) -> Report {
        let start = self.states.save(self.sys, self.crew).to_vec();
        let failure = self.search().err();
        self.report.memory_bytes = self.memory() as u64;
        self.report.actors = self.states.actors() as u64;
        let mut report = std::mem::take(&mut self.report);
        for met in &mut report.sometimes {
            met.way = self.spelt_out(&start, &met.way);
        }
        report.failure = failure.map(|(way, wrong)| Failure { schedule: self.spelt_out(&start, &way), wrong });
        report
    }

    /// A way with the private steps that were taken on it.
    fn spelt_out(&mut self, start: &[u64], way: &[Choice]) -> Vec<Choice> {
        (0..self.crew.seats.len()).for_each(|seat| self.states.steps(seat));
        self.sys.wait.clear(); // a step that failed may have left somebody in line
        self.states.restore(self.sys, self.crew, start);
        let mut all = Vec::new();
        for &choice in way {
            // What fails is the last step, and that it fails is known.
            let _ = caught(|| take(self.sys, self.crew, choice, self.properties.reduction, |step| all.push(step)));
        }
        all
    }

    fn search(&mut self) -> Result<(), (Vec<Choice>, Wrong)> {
        self.arrive(None)?;
        let (mut words, mut todo) = (Vec::new(), Vec::new());
        while let Some(state) = self.frontier.pop() {
            words.clear();
            words.extend_from_slice(state);
            if self.at == self.next_depth {
                (self.depth, self.next_depth) = (self.depth + 1, self.report.states as u32);
            }
            if self.is_over_a_limit() {
                return Ok(());
            }
            self.states.restore(self.sys, self.crew, &words);
            choices(self.sys, self.crew, self.properties.reduction, &mut todo);
            self.graph.expand();
            for (i, &choice) in todo.iter().enumerate() {
                if i > 0 {
                    self.states.restore(self.sys, self.crew, &words);
                }
                self.take(choice)?;
            }
            self.at += 1;
        }
        self.report.complete = true;
        match self.properties.eventually.then(|| self.graph.dead_end()).flatten() {
            Some(state) => Err((self.graph.way_to(state), Wrong::NoWayToAnEnd)),
            None => Ok(()),
        }
    }

    fn is_over_a_limit(&mut self) -> bool {
        let Properties { max_states, max_depth, max_memory_bytes, .. } = *self.properties;
        let over = |limit: u64, what: &'static str, is: u64| (limit != 0 && is >= limit).then_some(what);
        // The tables grow by doubling: a look every 1024 states is soon enough.
        let looks = self.at.is_multiple_of(1024);
        let memory = if max_memory_bytes != 0 && looks { self.memory() as u64 } else { 0 };
        let interrupted = looks && self.properties.goes_on.as_ref().is_some_and(|goes_on| !goes_on());
        self.report.stopped_by = over(max_states, "max_states", self.report.states)
            .or(over(max_depth.into(), "max_depth", self.depth.into()))
            .or(over(max_memory_bytes, "max_memory", memory))
            .or(interrupted.then_some("interrupted"));
        self.report.stopped_by.is_some()
    }

    fn memory(&self) -> usize {
        self.seen.memory() + self.graph.memory() + self.frontier.memory()
    }

    fn take(&mut self, choice: Choice) -> Result<(), (Vec<Choice>, Wrong)> {
        self.report.transitions += 1;
        let failed = |search: &Self, wrong| {
            let mut schedule = search.graph.way_to(search.at);
            schedule.push(choice);
            (schedule, wrong)
        };
        self.states.steps(choice.seat());
        match caught(|| take(self.sys, self.crew, choice, self.properties.reduction, |_| ())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(self, error.into())),
            Err(panic) => return Err(failed(self, Wrong::Panic(panic))),
        }
        let log = &self.crew.seats[choice.seat()].ctx.log;
        if !log.records().is_empty() {
            for &(name, ref property) in &self.properties.on_step {
                let held = property(self.sys, log.records());
                held.map_err(|what| failed(self, Wrong::Property { name, what }))?;
            }
        }
        self.arrive(Some(choice))?;
        self.crew.seats[choice.seat()].ctx.log.clear();
        Ok(())
    }

    /// Looks at the state just reached, from the one being expanded.
    fn arrive(&mut self, by: Option<Choice>) -> Result<(), (Vec<Choice>, Wrong)> {
        let words = self.states.save(self.sys, self.crew);
        let new = self.report.states as u32;
        if let Some(old) = self.seen.meet(fingerprint(words), new) {
            self.graph.leads_to(old);
            return Ok(());
        }
        self.frontier.push(words);
        self.report.states += 1;
        if let Some(choice) = by {
            self.graph.met(self.at, choice);
            self.graph.leads_to(new);
            self.report.deepest = self.depth + 1;
        }
        self.check(new, by).map_err(|wrong| (self.graph.way_to(new), wrong))
    }

    fn check(&mut self, state: u32, by: Option<Choice>) -> Result<(), Wrong> {
        super::holds(&self.properties.always, self.sys, self.crew)?;
        let records = by.map_or(&[][..], |choice| self.crew.seats[choice.seat()].ctx.log.records());
        for (met, (_, property)) in self.report.sometimes.iter_mut().zip(&self.properties.sometimes) {
            if property(self.sys, self.crew, records) {
                if met.times == 0 {
                    met.way = self.graph.way_to(state);
                }
                met.times += 1;
            }
        }
        if self.crew.runnable(self.sys).next().is_none() {
            self.check_end(state)?;
        }
        Ok(())
    }

    fn check_end(&mut self, state: u32) -> Result<(), Wrong> {
        if !self.crew.is_done() {
            let waits = |&i: &usize| self.crew.seats[i].status != Status::Done;
            return Err(Wrong::Deadlock((0..self.crew.seats.len()).filter(waits).collect()));
        }
        self.report.ends += 1;
        nothing_lost(self.sys).map_err(|what| Wrong::Property { name: "nothing is lost", what })?;
        super::holds(&self.properties.at_end, self.sys, self.crew)?;
        self.graph.is_clean(state);
        Ok(())
    }
}
