//! The concurrency seam: the only module that names std, loom or shuttle primitives.
//!
//! `--cfg kcompressd_loom` selects loom (exhaustive, models weak memory), `--cfg kcompressd_shuttle` selects
//! shuttle (random schedules of whole runs), otherwise std. loom does not model `SeqCst` accesses: use
//! `Acquire`/`Release` and an explicit [`fence`]. Loops that wait for another thread must call [`spin_loop`],
//! which yields under both checkers.

mod spin;

pub use spin::{SpinGuard, SpinLock};

#[cfg(kcompressd_loom)]
use loom as backend;
#[cfg(kcompressd_shuttle)]
use shuttle as backend;
#[cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]
use std as backend;

pub use backend::sync::Arc;
pub use backend::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use backend::thread;
/// A mutex for a static, std's under every backend: those of the checkers live as long as one of their runs.
pub use std::sync::Mutex as StaticMutex;
/// A cell written once. std's under every backend: making a value that nobody has seen is no protocol to check.
pub use std::sync::OnceLock;

use backend::sync as imp;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Keeps its content on cache lines of its own (two lines, since CPUs prefetch the neighbour): for what several threads
/// write, beside what they only read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What a CPU moves between its caches and memory at a time, bytes, on all that we know.
pub const CACHE_LINE_BYTES: usize = 64;

/// Asks the CPU for the cache line of `place`, any address, where there is an instruction for it.
#[inline(always)]
pub fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// As [`prefetch`], for what is about to be written: the CPU takes the line for itself, in the place of sharing it first.
#[inline(always)]
pub fn prefetch_to_write<T>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch changes nothing that the program can see and cannot fault; CPUs without PREFETCHW take it for a NOP.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    prefetch(place);
}

/// As [`prefetch_to_write`] for all lines of `value`.
#[inline(always)]
pub fn prefetch_all_to_write<T>(value: &T) {
    let first = std::ptr::from_ref(value).cast::<u8>();
    (0..size_of::<T>()).step_by(CACHE_LINE_BYTES).for_each(|at| prefetch_to_write(first.wrapping_add(at)));
}

/// A spin-wait hint; under loom and shuttle it yields to the scheduler, without which a spin never ends.
#[inline]
pub fn spin_loop() {
    #[cfg(any(kcompressd_loom, kcompressd_shuttle))]
    thread::yield_now();
    #[cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]
    std::hint::spin_loop();
}

/// Sleeps for a little while; under loom and shuttle, which have no time, it yields.
pub(crate) fn nap() {
    #[cfg(any(kcompressd_loom, kcompressd_shuttle))]
    thread::yield_now();
    #[cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]
    std::thread::sleep(std::time::Duration::from_micros(50));
}

/// Does `work` for each of `parts`, the caller's thread the first of them and helpers the others with it; one after the other under
/// loom and shuttle. For memory that is made ready before any clock starts: no step does it, and no other thread knows that memory yet.
pub fn in_parallel<T: Send>(mut parts: impl ExactSizeIterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let Some(first) = parts.next() else { return };
    let helpers = if cfg!(any(kcompressd_loom, kcompressd_shuttle)) { 0 } else { parts.len().min(MOST_HELPERS) };
    let parts = std::sync::Mutex::new(parts);
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let rest = || std::iter::from_fn(next).for_each(&work);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Without a thread the others do its part.
            let _ = std::thread::Builder::new().spawn_scoped(scope, rest);
        }
        work(first);
        rest();
    });
}

/// Threads beside the caller's in [`in_parallel`]: more do not make memory faster.
const MOST_HELPERS: usize = 3;

/// A guard of [`Mutex`]: one critical section.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    inner: imp::MutexGuard<'a, T>,
    section: Section,
}

impl<T> std::ops::Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> std::ops::DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A mutex whose waiters sleep, and that a panicking holder does not poison: for what a [`Condvar`] waits on, and what maps memory
/// meanwhile. Else a [`SpinLock`].
///
/// A worker's panic ends the run: the live driver catches it, stops the others and keeps the counters, so
/// the data behind the lock is read for the partial result and never used to go on.
#[derive(Debug, Default)]
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that holds `value`.
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { inner: self.held(), section: Section::enter() }
    }

    /// As [`Mutex::lock`], but no boundary of its own: for a wake-up, which belongs to the change it follows.
    #[inline]
    pub fn lock_within(&self) -> MutexGuard<'_, T> {
        MutexGuard { inner: self.held(), section: Section::within() }
    }

    #[inline]
    fn held(&self) -> imp::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(imp::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    pub fn new() -> Self {
        Self(imp::Condvar::new())
    }

    /// Releases the lock, sleeps until notified (or spuriously), takes the lock again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { inner, section } = guard;
        MutexGuard { inner: self.0.wait(inner).unwrap_or_else(PoisonError::into_inner), section }
    }

    /// As [`Condvar::wait`] for a guard of `mutex`, at most `timeout`. loom has no clock and may sleep on; under shuttle
    /// the others run once and it looks again.
    pub fn wait_timeout<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        if cfg!(kcompressd_shuttle) {
            drop(guard);
            thread::yield_now();
            return mutex.lock_within();
        }
        let MutexGuard { inner, section } = guard;
        let (inner, _) = self.0.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { inner, section }
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// The time since it was started. Under shuttle, which has no clock and must give equal runs for equal schedules, each look at it takes a
/// microsecond.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    looks: std::sync::atomic::AtomicU64,
}

impl Clock {
    /// Starts it.
    pub fn start() -> Self {
        Self { started: Instant::now(), looks: Default::default() }
    }

    /// Nanoseconds.
    #[inline]
    pub fn ns(&self) -> u64 {
        match cfg!(kcompressd_shuttle) {
            // ORDERING: Relaxed: shuttle runs one thread at a time.
            true => 1000 * self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            false => self.started.elapsed().as_nanos() as u64,
        }
    }
}

/// When a wait with a time-out is over. Under shuttle, which has no clock and must give equal runs for equal schedules,
/// that is at the third look.
#[derive(Debug)]
pub struct Deadline {
    at: Option<Instant>,
    looks: u32,
}

impl Deadline {
    /// `timeout` from now; a time too far to tell is never.
    pub fn after(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout), looks: 0 }
    }

    /// What is left; zero when it is over, `None` when it never is.
    pub fn left(&mut self) -> Option<Duration> {
        if cfg!(kcompressd_shuttle) {
            self.looks += 1;
            return Some(if self.looks < 3 { Duration::MAX } else { Duration::ZERO });
        }
        Some(self.at?.saturating_duration_since(Instant::now()))
    }
}

/// An [`std::cell::UnsafeCell`] whose accesses loom can check: contents are reached through closures.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(
    #[cfg(kcompressd_loom)] loom::cell::UnsafeCell<T>,
    #[cfg(not(kcompressd_loom))] std::cell::UnsafeCell<T>,
);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        #[cfg(kcompressd_loom)]
        return Self(loom::cell::UnsafeCell::new(value));
        #[cfg(not(kcompressd_loom))]
        return Self(std::cell::UnsafeCell::new(value));
    }

    /// Hands out a shared pointer. Dereferencing it is the caller's unsafe act; loom reports a race with any
    /// [`UnsafeCell::with_mut`].
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        #[cfg(kcompressd_loom)]
        return self.0.with(f);
        #[cfg(not(kcompressd_loom))]
        return f(self.0.get());
    }

    /// Hands out an exclusive pointer. Dereferencing it is the caller's unsafe act; loom reports a race with
    /// any other access.
    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        #[cfg(kcompressd_loom)]
        return self.0.with_mut(f);
        #[cfg(not(kcompressd_loom))]
        return f(self.0.get());
    }
}

#[cfg(debug_assertions)]
std::thread_local! {
    static BOUNDARIES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    static SECTIONS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Marks something that another actor can observe: a state change, a queue operation or a critical section; inside a
/// critical section nothing more is observable.
///
/// Debug builds count them, and a test fails on a step with two ([`boundaries_since_last_call`]).
#[inline]
pub fn boundary() {
    #[cfg(debug_assertions)]
    if SECTIONS.get() == 0 {
        BOUNDARIES.set(BOUNDARIES.get() + 1);
    }
}

/// Boundaries that this thread has passed since the last call; always 0 in release builds.
pub fn boundaries_since_last_call() -> u32 {
    #[cfg(debug_assertions)]
    return BOUNDARIES.replace(0);
    #[cfg(not(debug_assertions))]
    return 0;
}

/// Lives as long as a critical section.
#[derive(Debug)]
struct Section;

impl Section {
    #[inline]
    fn enter() -> Self {
        boundary();
        Self::within()
    }

    #[inline]
    fn within() -> Self {
        #[cfg(debug_assertions)]
        SECTIONS.set(SECTIONS.get() + 1);
        Self
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        SECTIONS.set(SECTIONS.get() - 1);
    }
}
