//! What waking a thread costs on this host.

use super::clock::{cpu_ns, pin};
use crate::driver::profile::median;
use crate::sync::{Arc, Mutex, thread};
use crate::wait::WaitCell;
use std::time::{Duration, Instant};

/// What it takes to wake a thread, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct WakeUps {
    /// What the waker pays when the woken takes over its CPU and gives it back, without `switch_ns`.
    pub wake_ns: u64,
    /// What a switch to it costs a thread, as the kernel counts its CPU time: until it runs, and until it sleeps again, without its work.
    pub switch_ns: u64,
    /// What the waker pays more when the woken is on another, idle CPU.
    pub ipi_ns: u64,
    /// When the woken runs there, counted from when the waker began.
    pub idle_exit_ns: u64,
}

impl WakeUps {
    /// Medians of this host.
    #[must_use]
    pub fn measure() -> Self {
        let (whole_ns, woken_ns) = on_one_cpu();
        let (waker_ns, idle_exit_ns) = to_an_idle_cpu();
        let switch_ns = woken_ns.min(whole_ns / 2);
        let wake_ns = whole_ns - 2 * switch_ns; // There and back.
        Self { wake_ns, switch_ns, ipi_ns: waker_ns.saturating_sub(wake_ns), idle_exit_ns }
    }

    /// What a wake-up costs both threads where they share a CPU.
    #[must_use]
    pub fn whole_ns(&self) -> u64 {
        self.wake_ns + 2 * self.switch_ns
    }
}

/// A thread that is woken on the waker's CPU: until the waker goes on, and the part of it that is the woken's CPU time.
fn on_one_cpu() -> (u64, u64) {
    const ROUNDS: usize = 301;
    /// So long the waker computes: who has run less takes the CPU at once.
    const WORK: Duration = Duration::from_micros(20);
    let cell = Arc::new(WaitCell::new());
    let cell_ = cell.clone();
    let sleeper = thread::spawn(move || {
        pin(0);
        let _ = cell_.park(cell_.prepare());
        let begin_ns = cpu_ns();
        for _ in 1..ROUNDS {
            let _ = cell_.park(cell_.prepare());
        }
        (cpu_ns() - begin_ns) / (ROUNDS as u64 - 1)
    });
    let waker = thread::spawn(move || {
        pin(0);
        let wake = |_| {
            while cell.waiting() == 0 {
                thread::yield_now();
            }
            let begin = Instant::now();
            while begin.elapsed() < WORK {}
            let begin = Instant::now();
            cell.wake_one();
            begin.elapsed().as_nanos() as u64
        };
        median((0..ROUNDS).map(wake))
    });
    (waker.join().unwrap_or(0), sleeper.join().unwrap_or(0))
}

/// What the waker pays for a thread that is asleep on an idle CPU, and when the woken runs, counted from when the waker began.
fn to_an_idle_cpu() -> (u64, u64) {
    const ROUNDS: usize = 301;
    /// Long enough for the CPU to go idle, as it does between two pages.
    const REST: Duration = Duration::from_micros(50);
    let (cell, woken) = (Arc::new(WaitCell::new()), Arc::new(Mutex::new(Vec::new())));
    let (cell_, woken_) = (cell.clone(), woken.clone());
    let sleeper = thread::spawn(move || {
        pin(1);
        for _ in 0..ROUNDS {
            let _ = cell_.park(cell_.prepare());
            woken_.lock().push(Instant::now());
        }
    });
    let ran = woken.clone();
    let waker = thread::spawn(move || {
        pin(0);
        let wake = |round| {
            while cell.waiting() == 0 || ran.lock().len() < round {
                thread::yield_now();
            }
            thread::sleep(REST);
            let begin = Instant::now();
            cell.wake_one();
            (begin, begin.elapsed().as_nanos() as u64)
        };
        (0..ROUNDS).map(wake).collect::<Vec<_>>()
    });
    let woke = waker.join().unwrap_or_default();
    drop(sleeper.join());
    let ran = woken.lock();
    let waker_ns = woke.iter().map(|&(_, ns)| ns);
    let until = woke.iter().zip(ran.iter()).map(|(&(begin, _), &ran)| ran.duration_since(begin).as_nanos() as u64);
    (median(waker_ns), median(until))
}
