//! A lock for short critical sections, as `spinlock_t` is: who waits spins, and after a while naps.
//!
//! It is not [`super::Mutex`], because of its end. A mutex that may have to wake a sleeper gives itself back by a locked
//! instruction, which waits until all that the section wrote has reached the cache, block and neighbours' links; here that is
//! a plain store with Release, and the CPU goes on meanwhile.

use std::marker::PhantomData;

use super::{AtomicBool, Ordering, Section, UnsafeCell, nap, spin_loop};

/// Looks at a lock that is held before its waiter naps: some 30 microseconds on an EPYC.
const SPINS: u32 = if cfg!(any(kcompressd_loom, kcompressd_shuttle)) { 1 } else { 1000 };

/// A value that one thread at a time reaches.
#[derive(Debug, Default)]
pub struct SpinLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `held` gives the value to one thread at a time, which is as if it were sent there.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// The right to the value of a [`SpinLock`]: one critical section.
#[derive(Debug)]
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    _section: Section,
    /// The thread's own: sections are counted by thread, and a shared guard would share a value that need not be `Sync`.
    _own: PhantomData<*mut T>,
}

impl<'a, T> SpinGuard<'a, T> {
    #[inline]
    fn of(lock: &'a SpinLock<T>, section: Section) -> Self {
        Self { lock, _section: section, _own: PhantomData }
    }
}

impl<T> SpinLock<T> {
    /// A lock that holds `value`.
    pub fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.acquire();
        SpinGuard::of(self, Section::enter())
    }

    /// As [`SpinLock::lock`], but no boundary of its own: for what belongs to the change around it.
    #[inline]
    pub fn lock_within(&self) -> SpinGuard<'_, T> {
        self.acquire();
        SpinGuard::of(self, Section::within())
    }

    #[inline]
    fn acquire(&self) {
        if !self.try_acquire() {
            self.wait();
        }
    }

    #[inline]
    fn try_acquire(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of `SpinGuard::drop`: what the last holder wrote is seen.
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// A holder that is not running gets the CPU of who waits. To give a turn away instead would leave the waiter runnable, beside a
    /// holder that other programs keep off its CPU: the applications' reclaim then fails so often that they ask for the OOM killer.
    #[cold]
    fn wait(&self) {
        loop {
            for _ in 0..SPINS {
                spin_loop();
                // ORDERING: Relaxed: a guess, which the swap confirms.
                if !self.held.load(Ordering::Relaxed) && self.try_acquire() {
                    return;
                }
            }
            nap();
        }
    }
}

impl<T> std::ops::Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has the lock, and borrows as a whole what is reached through it.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> std::ops::DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire of `SpinLock::try_acquire`.
        self.lock.held.store(false, Ordering::Release);
    }
}
