//! How many steps one thread takes, and what they cost, in a run with [`super::LiveConfig::profiling`]: its CPU time from step to step, so that what threads do
//! to each other's caches and what this driver does between two steps is in it.
//!
//! The clock is read after each step, the reading's own time taken off. A thread that loses its CPU loses it at any step alike: what
//! its steps took by that clock is reduced by the part of the time that it had no CPU. A step in which somebody was woken is left out,
//! since waking has its own cost. Of the device's steps it is the CPU time: what the thread ran
//! beyond the steps before them and the reading of both clocks.

use super::clock::cpu_ns;
use crate::driver::profile::{FIRST_OF_DEVICE, Profile, Profiling, median};
use crate::system::{Outcome, System, Work};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Stopwatch {
    found: Profile,
    /// Whether the clock is read.
    timed: bool,
    /// What two readings of the clock in a row are apart.
    clock_ns: u64,
    /// The same of the thread's CPU time, which takes a system call.
    cpu_clock_ns: u64,
    /// When the step under way began.
    last: Instant,
    /// The thread's CPU time when these steps began; none when one of them was left out.
    began: Option<u64>,
    /// What they have taken since by the clock.
    steps_ns: u64,
    /// All such steps: by the clock, and CPU time.
    took_ns: u64,
    ran_ns: u64,
    /// Wake-ups that have been looked at.
    wakes: u32,
}

impl Stopwatch {
    /// For a run that wants to know.
    pub fn new(profiling: Profiling) -> Option<Self> {
        let (timed, begun) = (profiling == Profiling::Time, Instant::now());
        (profiling != Profiling::Off).then(|| Self {
            found: Profile::default(),
            timed,
            clock_ns: if timed { apart(|| begun.elapsed().as_nanos() as u64) } else { 0 },
            cpu_clock_ns: if timed { apart(cpu_ns) } else { 0 },
            last: begun,
            began: None,
            steps_ns: 0,
            took_ns: 0,
            ran_ns: 0,
            wakes: 0,
        })
    }

    /// Steps begin, after whatever the thread did meanwhile.
    pub fn begin(&mut self, sys: &System) {
        if !self.timed {
            return;
        }
        self.wakes = sys.wait.wakes();
        (self.began, self.steps_ns) = (Some(cpu_ns()), 0);
        self.last = Instant::now();
    }

    /// A step has ended; `last`: others than steps follow, as after a step that waits.
    #[inline]
    pub fn step(&mut self, sys: &System, outcome: Outcome, last: bool) {
        if self.timed {
            self.time(sys, outcome, last);
        } else if let Outcome::Ran(work) = outcome {
            self.found.note(work, 0);
        }
    }

    fn time(&mut self, sys: &System, outcome: Outcome, last: bool) {
        let begin = std::mem::replace(&mut self.last, Instant::now());
        let passed_ns = (self.last - begin).as_nanos() as u64;
        let wakes = sys.wait.wakes();
        match outcome {
            Outcome::Ran(work @ (Work::DeviceRead(_) | Work::DeviceWrite(_))) => self.device(work),
            _ if wakes != self.wakes => self.began = None,
            Outcome::Ran(work) => {
                self.found.note(work, passed_ns.saturating_sub(self.clock_ns));
                self.steps_ns += passed_ns;
            }
            _ => self.steps_ns += passed_ns,
        }
        self.wakes = wakes;
        if (last || !matches!(outcome, Outcome::Ran(_)))
            && let Some(began_ns) = self.began.take()
        {
            self.ran_ns += cpu_ns() - began_ns;
            self.took_ns += self.steps_ns;
        }
    }

    /// A step of the device has ended: what the thread ran since `began` is its, but for the steps before it.
    fn device(&mut self, work: Work) {
        let now_ns = cpu_ns();
        if let Some(began_ns) = self.began.replace(now_ns) {
            let clocks_ns = self.cpu_clock_ns + 2 * self.clock_ns; // The clock was read when the steps began, and after this one.
            self.found.note(work, (now_ns - began_ns).saturating_sub(self.steps_ns + clocks_ns));
        }
        (self.steps_ns, self.last) = (0, Instant::now());
    }

    /// What the steps cost.
    pub fn found(&self) -> Profile {
        let mut found = self.found;
        if self.took_ns > 0 {
            let had_cpu = self.ran_ns as f64 / self.took_ns as f64;
            let (ours, _) = found.kinds.split_at_mut(FIRST_OF_DEVICE);
            ours.iter_mut().for_each(|kind| kind.1 = (kind.1 as f64 * had_cpu) as u64);
        }
        found
    }
}

/// What two readings in a row are apart.
fn apart(read: impl Fn() -> u64) -> u64 {
    median((0..1001).map(|_| {
        let begin_ns = read();
        read() - begin_ns
    }))
}
