//! Starting together, taking turns, and a thread's CPU time.

use crate::sync::{Condvar, Mutex};

/// Threads gather at the gate; it opens when all are there, so that no thread's creation is timed.
#[derive(Debug, Default)]
pub struct Gate {
    waiting: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the gate to open.
    pub fn pass(&self) {
        let mut waiting = self.waiting.lock();
        waiting.0 += 1;
        self.changed.notify_all();
        while !waiting.1 {
            waiting = self.changed.wait(waiting);
        }
    }

    /// Waits for `threads` threads to gather, then lets them through; returns what `clock` says then. Who opens may lose its CPU to
    /// those whom it has let through, and would look at the clock too late.
    pub fn open<T>(&self, threads: usize, clock: impl FnOnce() -> T) -> T {
        let mut waiting = self.waiting.lock();
        while waiting.0 < threads {
            waiting = self.changed.wait(waiting);
        }
        waiting.1 = true;
        let opened = clock(); // Before the lock is let go: nobody has passed.
        drop(waiting);
        self.changed.notify_all();
        opened
    }
}

/// One thread runs at a time; turns go round in order, over those that have not ended.
#[derive(Debug)]
pub struct Turns {
    actors: Box<[u16]>,
    state: Mutex<(usize, Vec<bool>)>,
    changed: Condvar,
}

impl Turns {
    /// Turns for the threads of `actors`; the first begins.
    pub fn new(actors: impl IntoIterator<Item = u16>) -> Self {
        let actors: Box<[u16]> = actors.into_iter().collect();
        Self { state: Mutex::new((0, vec![true; actors.len()])), actors, changed: Condvar::new() }
    }

    /// The place in the round of `actor`'s thread, if it takes turns.
    pub fn place(&self, actor: u16) -> Option<usize> {
        self.actors.iter().position(|&id| id == actor)
    }

    /// Waits for the turn of thread `me`.
    pub fn take(&self, me: usize) {
        let mut state = self.state.lock();
        while state.0 != me {
            state = self.changed.wait(state);
        }
    }

    /// Gives the turn to the next thread; `ended`: this one wants no more.
    pub fn pass(&self, me: usize, ended: bool) {
        let mut state = self.state.lock();
        state.1[me] = !ended;
        let threads = state.1.len();
        let next = (1..=threads).map(|i| (me + i) % threads).find(|&i| state.1[i]);
        state.0 = next.unwrap_or(me);
        self.changed.notify_all();
    }
}

/// The CPU that the calling thread runs on; under shuttle, whose threads have none, the number of its actor.
pub fn cpu(actor: u16) -> u16 {
    if cfg!(kcompressd_shuttle) {
        return actor >> 8;
    }
    // SAFETY: a plain system call.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// CPU time of the calling thread, nanoseconds (`CLOCK_THREAD_CPUTIME_ID`).
pub fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec into `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPUs that a thread may run on.
pub struct Affinity(libc::cpu_set_t);

impl Affinity {
    /// Those of the calling thread.
    fn get() -> Self {
        // SAFETY: an all-zero cpu_set_t is the empty set.
        let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes at most the given size into `cpus`.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut cpus) };
        Self(cpus)
    }

    /// Lets the calling thread run on these.
    pub fn set(&self) {
        // SAFETY: the kernel reads the set; a refusal leaves the thread where it may run.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.0) };
    }

    /// Their numbers.
    fn cpus(&self) -> Vec<usize> {
        // SAFETY: CPU_SETSIZE is the set's size in bits.
        let is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &self.0) };
        (0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect()
    }

    /// The `n`-th of them, counted round.
    fn only(&self, n: usize) -> Option<Self> {
        let cpus = self.cpus();
        let cpu = *cpus.get(n.checked_rem(cpus.len())?)?;
        // SAFETY: as in `get`.
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the CPU number came out of a set of the same size.
        unsafe { libc::CPU_SET(cpu, &mut one) };
        Some(Self(one))
    }
}

/// Pins the calling thread to the `n`-th CPU that it may run on, counted round; returns where it might run before.
pub fn pin(n: usize) -> Affinity {
    let before = Affinity::get();
    if let Some(one) = before.only(n) {
        one.set();
    }
    before
}

#[cfg(all(test, not(any(kcompressd_loom, kcompressd_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn whoever_never_came_to_its_turn_is_passed_over() {
        let turns = Turns::new([1, 2, 3]);
        turns.pass(0, true);
        turns.take(1);
        turns.pass(1, false);
        turns.take(2);
        turns.pass(2, false);
        turns.take(1);
    }

    #[test]
    fn a_pinned_thread_is_where_it_was_put_until_it_may_go_where_it_might_before() {
        let before = pin(0);
        assert_eq!(Affinity::get().cpus(), before.cpus()[..1]);
        before.set();
        assert_eq!(Affinity::get().cpus(), before.cpus());
    }
}
