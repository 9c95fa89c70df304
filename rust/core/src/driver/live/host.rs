//! What waking a thread costs on this host.

use super::clock::pin;
use crate::driver::profile::median;
use crate::sync::{Arc, Mutex, thread};
use crate::wait::WaitCell;
use std::time::{Duration, Instant};

/// A wake-up that came before the other slept is lost: the sleeper goes on after so long.
const PATIENCE: Duration = Duration::from_millis(1);

/// What it takes to wake a thread, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct WakeUps {
    /// What it costs the CPU when the woken takes over the waker's: until it runs, and until it sleeps again, without its work.
    pub wake_ns: u64,
    /// What the waker pays more when it is on another, idle CPU.
    pub ipi_ns: u64,
    /// When the woken runs there, counted from when the waker began.
    pub idle_exit_ns: u64,
}

impl WakeUps {
    /// Medians of this host.
    #[must_use]
    pub fn measure() -> Self {
        let wake_ns = on_one_cpu();
        let (waker_ns, idle_exit_ns) = to_an_idle_cpu();
        Self { wake_ns, ipi_ns: waker_ns.saturating_sub(wake_ns), idle_exit_ns }
    }
}

/// Two threads on one CPU that wake each other and sleep, in turn.
fn on_one_cpu() -> u64 {
    const ROUNDS: u64 = 200;
    const TRIES: usize = 9;
    let cells = Arc::new([WaitCell::new(), WaitCell::new()]);
    let player = |me: usize| {
        let cells = cells.clone();
        thread::spawn(move || {
            pin(0);
            median((0..TRIES).map(|_| {
                let begin = Instant::now();
                for _ in 0..ROUNDS {
                    let ticket = cells[me].prepare();
                    cells[1 - me].wake_one();
                    let _ = cells[me].park_timeout(ticket, PATIENCE);
                }
                begin.elapsed().as_nanos() as u64 / (2 * ROUNDS)
            }))
        })
    };
    let players = [0, 1].map(player);
    players.map(|player| player.join().unwrap_or(0)).into_iter().min().unwrap_or(0)
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
