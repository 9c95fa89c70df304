//! Waiting: eventcounts, and the table that names what is waited for.
//!
//! A waiter *enrols* ([`WaitCell::prepare`]), looks at its condition again, and then either cancels or parks.
//! A waker changes the condition, then calls [`WaitCell::wake_one`] or [`WaitCell::wake_all`]. No wake-up is
//! lost: both sides put a sequentially consistent fence between their write and their read, so that either
//! the waiter's second look sees the change or the waker sees the waiter.
//!
//! Waking where nobody waits costs a fence and one load: no system call, no store. A waiter that is woken
//! leaves the line at once, so wakers stop paying for it before its thread has run.
//!
//! A [`Ticket`] is a place in line, a plain number. Drivers without threads keep it and ask
//! [`WaitCell::is_woken`] where the live driver parks. Wake-ups may be spurious (folios share cells, and
//! [`WaitCell::cancel`] may wake those ahead): check the condition again.
//!
//! | call | who, at the same time as what |
//! |---|---|
//! | all of [`WaitCell`] and [`WaitTable`] | any thread, at any time |
//! | `park`, `park_timeout`, `cancel` | once for each ticket |
//! | `Snapshot` | only while no thread is parked or uses the cell |
//!
//! **Saved states.** `enrolled` and `woken` only grow, so that equal situations would differ by their history.
//! A cell's state is therefore the length of its line, and a ticket's is [`WaitCell::place`]: 0 when
//! woken, else its number in line; after a restore [`WaitCell::ticket_at`] gives the ticket of a place.

mod table;

pub use table::{WaitKey, WaitTable};

use std::time::Duration;

use crate::sync::{AtomicU64, Condvar, Deadline, Mutex, Ordering, fence, spin_loop, thread};

const ENROLLED_SHIFT: u32 = 32;
/// Rounds before a waiter sleeps: first spins and turns given away, alternately, then turns only. Together they last longer than it
/// takes to wake the other side. Were they shorter, two sides that once slept would go on sleeping and waking each other for
/// every queueful.
const SNOOZES: u32 = 64;

/// Spins of the first round, doubled in every second one: long enough for entries to gather, so that a fast consumer does
/// not fight its producers for one cache line an entry; short, since the other side may be waiting for this very CPU.
const SPINS: u32 = 6;

/// How often they are doubled. Who has spun so often in vain shares a CPU with others, whose time further spins would take.
const DOUBLINGS: u32 = 3;

const ONE_ENROLLED: u64 = 1 << ENROLLED_SHIFT;

/// A place in the line of the [`WaitCell`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a ticket is parked on or cancelled"]
pub struct Ticket(u32);

/// Why a parked thread runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Woken {
    /// Its turn came, perhaps spuriously.
    Woken,
    /// The time was up; the ticket is cancelled.
    TimedOut,
    /// The run is over: nobody sleeps on this cell again.
    Shutdown,
}

/// How many have enrolled (bits 32..64) and how many of them were woken (bits 0..32), both modulo 2^32.
#[derive(Clone, Copy)]
struct Line(u64);

impl Line {
    fn new(enrolled: u32, woken: u32) -> Self {
        Self(u64::from(enrolled) << ENROLLED_SHIFT | u64::from(woken))
    }

    fn enrolled(self) -> u32 {
        (self.0 >> ENROLLED_SHIFT) as u32
    }

    fn woken(self) -> u32 {
        self.0 as u32
    }

    fn waiting(self) -> u32 {
        self.enrolled().wrapping_sub(self.woken())
    }

    /// 0 when woken, else how many wake-ups it takes.
    fn place(self, ticket: Ticket) -> u32 {
        let place = ticket.0.wrapping_sub(self.woken()).wrapping_add(1);
        if (place as i32) > 0 { place } else { 0 }
    }

    /// The line after `count` wake-ups.
    fn after_waking(self, count: u32) -> Self {
        Self::new(self.enrolled(), self.woken().wrapping_add(count.min(self.waiting())))
    }

    /// The line without `ticket`, which is in it: the last one leaves, another takes those ahead along.
    fn without(self, ticket: Ticket) -> Self {
        match self.place(ticket) {
            last if last == self.waiting() => Self::new(self.enrolled().wrapping_sub(1), self.woken()),
            place => self.after_waking(place),
        }
    }
}

/// How long to stay awake before sleeping: a few spins, a turn given to other threads, again a little longer, then turns only.
///
/// Going to sleep and being woken costs two system calls and a reschedule, many times a push; the other side is
/// usually about to run. Under loom and shuttle nobody stays awake, which keeps models small.
#[derive(Debug, Default)]
pub struct Backoff {
    step: u32,
}

impl Backoff {
    /// Not waited yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a turn was given away.
    #[inline]
    fn has_yielded(&self) -> bool {
        self.step > 1
    }

    /// Waits a little; `false` when it is time to sleep.
    #[inline]
    pub fn snooze(&mut self) -> bool {
        let step = self.step;
        self.step += 1;
        match step {
            _ if cfg!(any(kcompressd_loom, kcompressd_shuttle)) => return false,
            SNOOZES.. => return false,
            _ if step % 2 == 1 || step / 2 > DOUBLINGS => thread::yield_now(),
            _ => (0..SPINS << (step / 2)).for_each(|_| spin_loop()),
        }
        true
    }
}

/// Threads asleep on a cell.
#[derive(Debug, Default)]
struct Parked {
    threads: usize,
    shutdown: bool,
}

/// One thing to wait for.
#[derive(Debug)]
pub struct WaitCell {
    /// A [`Line`].
    line: AtomicU64,
    parked: Mutex<Parked>,
    wake_up: Condvar,
}

impl Default for WaitCell {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitCell {
    /// A cell nobody waits on.
    pub fn new() -> Self {
        Self { line: AtomicU64::new(0), parked: Mutex::new(Parked::default()), wake_up: Condvar::new() }
    }

    /// Enrols. Look at the condition after this, then cancel or park.
    pub fn prepare(&self) -> Ticket {
        // ORDERING: Relaxed: the fence below orders it before the caller's second look.
        let line = Line(self.line.fetch_add(ONE_ENROLLED, Ordering::Relaxed));
        // ORDERING: SeqCst pairs with the fence in `wake`: our enrolment, then our look; its change, then its look.
        fence(Ordering::SeqCst);
        Ticket(line.enrolled())
    }

    /// Leaves the line without sleeping; returns whether the ticket had been woken already, in which case a
    /// caller of a [`WaitCell::wake_one`] discipline that has no use for it passes it on.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        let mut line = self.line();
        while line.place(ticket) > 0 {
            let left = line.without(ticket);
            let woke_others = left.woken() != line.woken();
            match self.swap_line(line, left) {
                Ok(()) if woke_others => {
                    self.notify();
                    return false;
                }
                Ok(()) => return false,
                Err(now) => line = now,
            }
        }
        true
    }

    /// Sleeps until the ticket is woken, or the cell is shut down.
    pub fn park(&self, ticket: Ticket) -> Woken {
        self.park_until(ticket, None)
    }

    /// As [`WaitCell::park`], for at most `timeout`. loom has no clock: there it may sleep on.
    pub fn park_timeout(&self, ticket: Ticket, timeout: Duration) -> Woken {
        self.park_until(ticket, Some(Deadline::after(timeout)))
    }

    /// Sleeps for `timeout`, whoever is woken meanwhile; only [`WaitCell::shutdown`] ends it early.
    pub fn sleep(&self, timeout: Duration) -> Woken {
        let mut deadline = Deadline::after(timeout);
        let mut parked = self.parked.lock();
        while !parked.shutdown {
            parked = match deadline.left() {
                None => self.wake_up.wait(parked),
                Some(Duration::ZERO) => return Woken::TimedOut,
                Some(left) => self.wake_up.wait_timeout(&self.parked, parked, left),
            };
        }
        Woken::Shutdown
    }

    /// Tries until `attempt` gives something, asleep in between; `None` when the cell was shut down.
    ///
    /// This is the one composition of prepare, look and park. Whoever makes an attempt succeed wakes the cell.
    #[inline]
    pub fn wait_for<T>(&self, attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.wait_or(attempt, || ())
    }

    /// As [`WaitCell::wait_for`], for one whom others wait for in turn: `idle` wakes them. It is called when a turn
    /// given away has brought nothing, and before every sleep.
    ///
    /// As long as those awake keep this side busy, those asleep stay so: each of them, awake, would take turns of the CPU to find
    /// that the others were there before it. Who stops waiting here for good wakes them too.
    #[inline]
    pub fn wait_or<T>(&self, mut attempt: impl FnMut() -> Option<T>, mut idle: impl FnMut()) -> Option<T> {
        let mut backoff = Backoff::new();
        loop {
            if let Some(done) = attempt() {
                return Some(done);
            }
            if backoff.has_yielded() {
                idle();
            }
            if !backoff.snooze() {
                return self.wait_asleep(&mut attempt, &mut idle);
            }
        }
    }

    /// Whether the ticket's turn has come.
    pub fn is_woken(&self, ticket: Ticket) -> bool {
        self.place(ticket) == 0
    }

    /// Where the ticket stands: 0 when woken, else its number in line. This is its canonical state.
    pub fn place(&self, ticket: Ticket) -> u32 {
        self.line().place(ticket)
    }

    /// How many are in line.
    pub fn waiting(&self) -> u32 {
        self.line().waiting()
    }

    /// Makes the line so long, for a restore.
    #[inline]
    pub fn set_waiting(&self, waiting: u32) {
        let woken = self.line().woken();
        // ORDERING: Relaxed: nobody else uses the cell while it is restored.
        self.line.store(Line::new(woken.wrapping_add(waiting), woken).0, Ordering::Relaxed);
    }

    /// The ticket that stands at `place`; inverts [`WaitCell::place`] after a restore.
    pub fn ticket_at(&self, place: u32) -> Ticket {
        Ticket(self.line().woken().wrapping_add(place).wrapping_sub(1))
    }

    /// Wakes the first in line; returns whether there was one.
    #[inline]
    pub fn wake_one(&self) -> bool {
        self.wake(1)
    }

    /// As [`WaitCell::wake_one`], but may miss who enrols at the same time, and costs no fence: for a waker that wakes again before
    /// it stops.
    #[inline]
    pub fn wake_one_early(&self) -> bool {
        self.line().waiting() > 0 && self.wake_waiting(1)
    }

    /// Wakes everybody in line; returns whether there was anybody.
    #[inline]
    pub fn wake_all(&self) -> bool {
        self.wake(u32::MAX)
    }

    /// Wakes everybody, and whoever parks from now on, for good.
    pub fn shutdown(&self) {
        self.parked.lock().shutdown = true;
        self.wake_up.notify_all();
    }

    #[cold]
    fn wait_asleep<T>(&self, attempt: &mut impl FnMut() -> Option<T>, idle: &mut impl FnMut()) -> Option<T> {
        loop {
            let ticket = self.prepare();
            if let Some(done) = attempt() {
                if self.cancel(ticket) {
                    // A wake-up meant for one waiter reached us, who did not need it.
                    self.wake_one();
                }
                return Some(done);
            }
            idle();
            if self.park(ticket) == Woken::Shutdown {
                return None;
            }
            if let Some(done) = attempt() {
                return Some(done);
            }
        }
    }

    #[inline]
    fn wake(&self, count: u32) -> bool {
        self.has_waiters() && self.wake_waiting(count)
    }

    /// Whether anybody is in line, after all that this thread has done so far.
    #[inline]
    fn has_waiters(&self) -> bool {
        // ORDERING: SeqCst pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        self.line().waiting() > 0
    }

    #[cold]
    fn wake_waiting(&self, count: u32) -> bool {
        let mut line = self.line();
        while line.waiting() > 0 {
            match self.swap_line(line, line.after_waking(count)) {
                Ok(()) => {
                    self.notify();
                    return true;
                }
                Err(now) => line = now,
            }
        }
        false
    }

    /// Lets the sleepers look at the line, after it has changed.
    fn notify(&self) {
        // The lock puts us before a sleeper's look at the line or after it went to sleep, never between.
        let asleep = self.parked.lock_within().threads > 0;
        if asleep {
            self.wake_up.notify_all();
        }
    }

    fn park_until(&self, ticket: Ticket, mut deadline: Option<Deadline>) -> Woken {
        let mut parked = self.parked.lock();
        parked.threads += 1;
        let woken = loop {
            if parked.shutdown {
                break Woken::Shutdown;
            }
            if self.is_woken(ticket) {
                break Woken::Woken;
            }
            parked = match deadline.as_mut().and_then(Deadline::left) {
                None => self.wake_up.wait(parked),
                Some(Duration::ZERO) => break Woken::TimedOut,
                Some(left) => self.wake_up.wait_timeout(&self.parked, parked, left),
            };
        };
        parked.threads -= 1;
        drop(parked);
        match woken {
            Woken::TimedOut if self.cancel(ticket) => Woken::Woken,
            woken => woken,
        }
    }

    #[inline]
    fn line(&self) -> Line {
        // ORDERING: Relaxed: a waker's look is ordered by its fence, a sleeper's by the lock; nothing is read
        // through the line.
        Line(self.line.load(Ordering::Relaxed))
    }

    fn swap_line(&self, from: Line, to: Line) -> Result<(), Line> {
        // ORDERING: Relaxed: what the waker did is seen through the condition and the lock, not through the line.
        let swapped = self.line.compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed);
        swapped.map(|_| ()).map_err(Line)
    }
}
