//! What waking a thread costs on this host.

use crate::driver::profile::median;
use crate::sync::{Arc, Mutex, thread};
use crate::wait::WaitCell;
use std::time::{Duration, Instant};

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
