//! What steps cost in this program on this host, by kind of work: so that virtual time can be held against real threads.
//!
//! A kernel's steps cost something else; what they cost there is the caller's to say (`virtual_time::Costs`).

use super::phases::{FaultOrder, apps};
use super::{Crew, Status};
use crate::reclaim::Task;
use crate::sync::{Arc, Mutex, thread};
use crate::system::{Outcome, StepError, System, Work};
use crate::wait::WaitCell;
use crate::workload::Program;
use std::time::{Duration, Instant};

/// Kinds of work, in the order of a profile.
pub const KINDS: [&str; 11] = [
    "scan",
    "unmap",
    "fault",
    "zero_page",
    "touch",
    "commit",
    "zero_test",
    "compress",
    "decompress",
    "device_write",
    "device_read",
];

fn kind(work: Work) -> Option<usize> {
    Some(match work {
        Work::Scan => 0,
        Work::Unmap => 1,
        Work::Fault => 2,
        Work::ZeroPage => 3,
        Work::Touch => 4,
        Work::Commit => 5,
        Work::ZeroTest(_) => 6,
        Work::Compress(_) => 7,
        Work::Decompress(_) => 8,
        Work::DeviceWrite(_) => 9,
        Work::DeviceRead(_) => 10,
        Work::Think(_) | Work::AllocFailed(_) => return None,
    })
}

/// Steps of each kind, and the nanoseconds that they took in all, the clock's own time taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// By [`KINDS`]: steps, nanoseconds.
    pub kinds: [(u64, u64); KINDS.len()],
}

impl Profile {
    /// Swaps every page of `sys` out and reads it back, on this thread, and times each step; with a memory budget it runs
    /// `programs` instead, in turns with kswapd and the workers.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn measure(sys: &System, programs: &[Program]) -> Result<Self, StepError> {
        let clock_ns = clock_ns();
        let mut profile = Self::default();
        sys.prefault_pool();
        profile.run(sys, Crew::machine(sys, programs.iter().cloned(), false), clock_ns)?;
        if sys.mm.is_some() {
            return Ok(profile);
        }
        let readers = apps(Task::Touch, sys.folios.len() as u32, FaultOrder::InOrder, 0, 1);
        profile.run(sys, Crew::of(sys, readers, false), clock_ns)?;
        Ok(profile)
    }

    /// Each actor until it waits, then the next that can run.
    fn run(&mut self, sys: &System, mut crew: Crew, clock_ns: u64) -> Result<(), StepError> {
        let mut last = crew.seats.len().saturating_sub(1);
        while let Some(seat) = crew.next_after(sys, last) {
            last = seat;
            while crew.seats[seat].status == Status::Ready || crew.seats[seat].is_ready(sys) {
                let begin = Instant::now();
                let outcome = crew.step(sys, seat)?;
                let took_ns = (begin.elapsed().as_nanos() as u64).saturating_sub(clock_ns);
                if let Outcome::Sleep(_) = outcome {
                    break; // It waits for what another does.
                }
                if let Outcome::Ran(work) = outcome
                    && let Some(kind) = kind(work)
                {
                    self.kinds[kind].0 += 1;
                    self.kinds[kind].1 += took_ns;
                }
            }
        }
        Ok(())
    }
}

/// What it takes to wake a thread that is asleep on an idle CPU: what the waker pays, and when the woken runs, counted from when the waker began;
/// medians, nanoseconds.
#[must_use]
pub fn wake_ns() -> (u64, u64) {
    const ROUNDS: usize = 301;
    /// Long enough for the CPU to go idle, as it does between two pages.
    const REST: Duration = Duration::from_micros(50);
    let (cell, woken) = (Arc::new(WaitCell::new()), Arc::new(Mutex::new(Vec::new())));
    let (cell_, woken_) = (cell.clone(), woken.clone());
    let sleeper = thread::spawn(move || {
        for _ in 0..ROUNDS {
            let _ = cell_.park(cell_.prepare());
            woken_.lock().push(Instant::now());
        }
    });
    let mut woke = Vec::new();
    for round in 0..ROUNDS {
        while cell.waiting() == 0 || woken.lock().len() < round {
            thread::yield_now();
        }
        thread::sleep(REST);
        let begin = Instant::now();
        cell.wake_one();
        woke.push((begin, begin.elapsed().as_nanos() as u64));
    }
    drop(sleeper.join());
    let ran = woken.lock();
    let waker = woke.iter().map(|&(_, ns)| ns);
    let until = woke.iter().zip(ran.iter()).map(|(&(begin, _), &ran)| ran.duration_since(begin).as_nanos() as u64);
    (median(waker), median(until))
}

fn median(ns: impl Iterator<Item = u64>) -> u64 {
    let mut ns: Vec<u64> = ns.collect();
    ns.sort_unstable();
    ns.get(ns.len() / 2).copied().unwrap_or(0)
}

/// What two readings of the clock in a row are apart: the median of many.
fn clock_ns() -> u64 {
    median((0..1001).map(|_| {
        let begin = Instant::now();
        begin.elapsed().as_nanos() as u64
    }))
}
