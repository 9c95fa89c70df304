//! Ends a run in which threads step and nothing comes of it, as virtual time does (`VirtualError::Livelock`).
//!
//! A worker without `PF_MEMALLOC` that finds no memory looks again until there is some; if all others wait for what it
//! holds, there never is.

use crate::driver::STUCK_STEPS;
use crate::sync::{AtomicU64, CachePadded, Ordering};

/// As many steps; shuttle, which runs none for long, has fewer: what an application takes until it asks for an OOM kill while a worker
/// turns beside it is no livelock.
const FRUITLESS_STEPS: u64 = if cfg!(kcompressd_shuttle) { 1 << 20 } else { STUCK_STEPS };
/// And at least this long: a device may be slow. shuttle has no time.
const FRUITLESS_NS: u64 = if cfg!(kcompressd_shuttle) { 0 } else { 10_000_000_000 };
/// How exact the time of the last work is.
const GRAIN_NS: u64 = 10_000_000;

/// What all threads share of it.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// Steps of all threads since the last work.
    steps: CachePadded<AtomicU64>,
    worked_ns: AtomicU64,
}

impl Watchdog {
    /// A thread took `steps` steps until `now_ns`; `worked`: something came of them. Whether the run is stuck.
    pub fn look(&self, steps: u64, worked: bool, now_ns: u64) -> bool {
        // ORDERING: Relaxed, here and below: figures; a run that is stuck reaches its bound whatever order they are seen in.
        let since = self.worked_ns.load(Ordering::Relaxed);
        if !worked {
            // ORDERING: Relaxed, as above.
            let fruitless = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
            return fruitless > FRUITLESS_STEPS && now_ns.saturating_sub(since) >= FRUITLESS_NS;
        }
        // ORDERING: Relaxed, as above. Looked at first: threads that work share the line.
        if self.steps.load(Ordering::Relaxed) > 0 {
            self.steps.store(0, Ordering::Relaxed); // ORDERING: Relaxed, as above.
        }
        if now_ns.saturating_sub(since) >= GRAIN_NS {
            self.worked_ns.store(now_ns, Ordering::Relaxed); // ORDERING: Relaxed, as above.
        }
        false
    }
}

#[cfg(all(test, not(any(kcompressd_loom, kcompressd_shuttle))))]
mod tests {
    use super::{FRUITLESS_NS, FRUITLESS_STEPS, Watchdog};

    #[test]
    fn stuck_is_many_steps_and_a_long_time_without_work() {
        let dog = Watchdog::default();
        assert!(!dog.look(64, true, 5 * FRUITLESS_NS));
        assert!(!dog.look(FRUITLESS_STEPS, false, 7 * FRUITLESS_NS), "a step more");
        assert!(dog.look(1, false, 7 * FRUITLESS_NS));
        assert!(!dog.look(1, false, 5 * FRUITLESS_NS + 1), "a nanosecond is not long");
        assert!(!dog.look(1, true, 7 * FRUITLESS_NS));
        assert!(!dog.look(FRUITLESS_STEPS, false, 9 * FRUITLESS_NS), "counted from the last work");
    }
}
