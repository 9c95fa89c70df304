//! The queue between reclaim and kcompressd: a bounded FIFO of tagged folios, many producers, one consumer.
//!
//! A slot is one atomic word: null (vacant), a tombstone, or a [`TaggedFolio`]. A producer *reserves* slots by
//! one compare-and-swap of the tail word, then *publishes* them by storing words into them; the consumer reads
//! slots in order, clears them, and *releases* them by moving the head. A reserved slot that is still vacant is
//! called *busy*: its producer is half-way. Consumers do not wait for it here, they are told.
//!
//! | call | who, at the same time as what |
//! |---|---|
//! | `push`, `push_batch`, `reserve` | any thread, at any time |
//! | `close`, `set_depth`, `len`, `depth`, `is_closed` | any thread, at any time |
//! | `claim` | any thread; at most one [`Consumer`] exists, the others get `None` |
//! | `queued` | any thread; exact only while nobody pushes or drains |
//! | `save`, `restore` | only while nobody else uses the queue |
//!
//! **Bound.** Position, depth and closed flag are one word, so a reservation succeeds against the depth in
//! force at that very moment: right after it, at most `depth` entries are reserved or queued and not yet
//! released. Tombstones count until skipped. Lowering the depth keeps what is queued; depth 0 refuses everything.
//! `Full` means that at one moment of the call as many slots as the depth were taken.
//!
//! **Order.** FIFO by reservation. A reservation appears all at once: its first slot is published last, by one
//! release store, and the consumer cannot pass a vacant slot.
//!
//! **Happens-before.** What a producer did before it published is seen by whoever pops the folio; what a
//! consumer did before it released a slot is seen by the producer that reserves the slot again; a
//! consumer sees what every earlier holder of the token did.
//!
//! **Waking** is composed by the callers with [`crate::wait`]: consumer `drain`; if nothing came, `prepare`,
//! `drain` again, `park`. Producer: `push`, then `wake`. Those asleep for space are woken by a consumer that
//! released slots, at the latest before it sleeps itself or leaves. A busy slot may be slept on, since its producer
//! wakes after it publishes.
//!
//! The ring follows the one-word-a-slot idea of bounded MPSC queues after D. Vyukov; a pointer is never null,
//! so that the slot needs no sequence number of its own. Capacity is a run-time number, which users choose; in loom models it is a constant, 1 or 2.

mod consumer;
mod error;
mod reservation;
mod state;
mod tail;

use std::fmt;

pub use consumer::{Consumer, Drained, Pop, Then};
pub use error::{PushError, QueueError, ReserveError};
pub use reservation::{Pushed, Reservation};
pub use tail::MAX_CAPACITY;

use crate::folio::Folio;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, CachePadded, Ordering, spin_loop};
use crate::tagged::{Slot, TaggedFolio};
use tail::{Tail, after, distance};

/// What producers write.
struct Producers {
    /// A [`Tail`].
    tail: AtomicU64,
    /// A head seen some time ago: room in its view is room in fact, without touching the consumer's line.
    seen_head: AtomicU64,
}

/// What the holder of the token writes.
struct Consumers {
    /// The first position not released.
    head: AtomicU64,
    /// Whether the token is taken.
    claimed: AtomicBool,
}

/// A bounded MPSC FIFO of tagged folios; see the module's documentation.
pub struct FolioQueue {
    producers: CachePadded<Producers>,
    consumers: CachePadded<Consumers>,
    slots: Box<[AtomicPtr<Folio>]>,
}

impl FolioQueue {
    /// An open queue of `capacity` slots that accepts `depth` entries.
    ///
    /// # Errors
    /// [`QueueError`] when the capacity is no power of two up to [`MAX_CAPACITY`], or the depth is above it.
    pub fn new(capacity: usize, depth: usize) -> Result<Self, QueueError> {
        if !capacity.is_power_of_two() || capacity > MAX_CAPACITY {
            return Err(QueueError::Capacity(capacity));
        }
        check_depth(depth, capacity)?;
        let tail = AtomicU64::new(Tail::new(0, depth, false).0);
        Ok(Self {
            producers: CachePadded(Producers { tail, seen_head: AtomicU64::new(0) }),
            consumers: CachePadded(Consumers { head: AtomicU64::new(0), claimed: AtomicBool::new(false) }),
            slots: (0..capacity).map(|_| AtomicPtr::new(Slot::VACANT)).collect(),
        })
    }

    /// Queues `folio` and returns its position: positions count reservations from 0, modulo 2^46.
    ///
    /// # Errors
    /// [`PushError`], with the folio handed back.
    #[inline]
    pub fn push(&self, folio: TaggedFolio) -> Result<u64, PushError> {
        match self.take_slots(1) {
            Ok((position, _)) => {
                self.publish(position, folio.into_word());
                Ok(position)
            }
            Err(refused) => Err(refused.hand_back(folio)),
        }
    }

    /// Queues as many of `folios`, from the first on, as there is room for, in one reservation.
    ///
    /// # Errors
    /// [`ReserveError`] when none was queued. An empty slice is queued with success.
    #[inline]
    pub fn push_batch(&self, folios: &[TaggedFolio]) -> Result<Pushed, ReserveError> {
        let mut reservation = self.reserve(folios.len())?;
        let len = reservation.len();
        Ok(reservation.publish_all(&folios[..len]))
    }

    /// Reserves between 1 and `want` slots, as many as there is room for, by one compare-and-swap.
    ///
    /// # Errors
    /// [`ReserveError`] when there is no room or the queue is closed. To want 0 reserves nothing.
    #[inline]
    pub fn reserve(&self, want: usize) -> Result<Reservation<'_>, ReserveError> {
        let (position, len) = self.take_slots(want)?;
        Ok(Reservation::new(self, position, len))
    }

    /// Takes the consumer's token, or `None` while somebody else holds it.
    #[inline]
    pub fn claim(&self) -> Option<Consumer<'_>> {
        // ORDERING: Acquire pairs with the Release of `Consumer::drop`: the head and the cleared slots of the
        // last holder are seen. A failure reads nothing else.
        let claimed = &self.consumers.claimed;
        claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Consumer::new(self))
    }

    /// Refuses every later push; what is queued can still be drained. Returns whether this call closed it.
    pub fn close(&self) -> bool {
        // ORDERING: Release pairs with the Acquire of `Consumer::at_end`: whoever is told Closed sees what
        // was done before closing.
        let before = self.producers.tail.fetch_or(Tail::CLOSED, Ordering::Release);
        !Tail(before).is_closed()
    }

    /// Changes how many entries are accepted, from the next reservation on; returns the depth before.
    ///
    /// # Errors
    /// [`QueueError::Depth`] when `depth` is above the capacity.
    pub fn set_depth(&self, depth: usize) -> Result<usize, QueueError> {
        check_depth(depth, self.capacity())?;
        let mut tail = self.tail();
        while let Err(now) = self.swap_tail(tail, tail.with_depth(depth)) {
            tail = now;
        }
        Ok(tail.depth())
    }

    /// The number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many entries are accepted (0: off).
    pub fn depth(&self) -> usize {
        self.tail().depth()
    }

    /// Whether [`FolioQueue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.tail().is_closed()
    }

    /// Slots reserved or queued and not yet released; a snapshot that may be old when it returns.
    pub fn len(&self) -> usize {
        let head = self.head();
        // A producer and a consumer between the two loads can only make this too large.
        (distance(head, self.tail().position()) as usize).min(self.capacity())
    }

    /// Whether [`FolioQueue::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes up to `want` positions; returns the first and how many.
    #[inline]
    fn take_slots(&self, want: usize) -> Result<(u64, usize), ReserveError> {
        let mut tail = self.tail();
        loop {
            if tail.is_closed() {
                return Err(ReserveError::Closed);
            }
            let n = match self.room(tail, want) {
                Some(0) if want > 0 => return Err(ReserveError::Full),
                Some(room) => room.min(want),
                None => {
                    spin_loop();
                    tail = self.tail();
                    continue;
                }
            };
            match self.swap_tail(tail, tail.advanced(n)) {
                Ok(()) => return Ok((tail.position(), n)),
                Err(now) => tail = now,
            }
        }
    }

    /// How many entries fit after `tail`, at least `want` if possible; `None` when `tail` is out of date.
    #[inline]
    fn room(&self, tail: Tail, want: usize) -> Option<usize> {
        // ORDERING: Acquire pairs with the Release of `refresh_head`: the clears behind that head are seen
        // before this producer stores into the slots.
        let seen = self.producers.seen_head.load(Ordering::Acquire);
        let room = self.room_from(seen, tail);
        match room {
            Some(room) if room >= want => Some(room),
            _ => self.room_from(self.refresh_head(), tail),
        }
    }

    #[inline]
    fn room_from(&self, head: u64, tail: Tail) -> Option<usize> {
        let taken = distance(head, tail.position()) as usize;
        (taken <= self.capacity()).then(|| tail.depth().saturating_sub(taken))
    }

    /// Reads the true head and leaves it where the other producers look.
    #[cold]
    fn refresh_head(&self) -> u64 {
        let head = self.head();
        // ORDERING: Release pairs with the Acquire in `room`: passes on what this producer acquired with the
        // head. A slower producer may put an older head back, which costs a refresh and no more.
        self.producers.seen_head.store(head, Ordering::Release);
        head
    }

    #[inline]
    fn head(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release of `Consumer::release`: the slots before it are cleared.
        self.consumers.head.load(Ordering::Acquire)
    }

    #[inline]
    fn tail(&self) -> Tail {
        // ORDERING: Relaxed: a guess, confirmed by the compare-and-swap or reported as a snapshot.
        Tail(self.producers.tail.load(Ordering::Relaxed))
    }

    #[inline]
    fn swap_tail(&self, from: Tail, to: Tail) -> Result<(), Tail> {
        // ORDERING: Relaxed: the swap only hands out positions; contents are ordered by the slots and the head.
        let swapped = self.producers.tail.compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed);
        swapped.map(|_| ()).map_err(Tail)
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<Folio> {
        slot_of(&self.slots, position)
    }

    /// Publishes one reserved slot.
    #[inline]
    fn publish(&self, position: u64, word: *mut Folio) {
        // ORDERING: Release pairs with the Acquire of `Consumer::look`: the folio, and the later slots of the
        // same reservation, are seen with it.
        self.slot(position).store(word, Ordering::Release);
    }
}

/// The slot of `position`. A loop that stores into slots holds the ring itself: of the queue, which others change, the compiler
/// would load address and length again after every store.
#[inline]
fn slot_of(ring: &[AtomicPtr<Folio>], position: u64) -> &AtomicPtr<Folio> {
    &ring[position as usize & (ring.len() - 1)]
}

fn check_depth(depth: usize, capacity: usize) -> Result<(), QueueError> {
    if depth > capacity { Err(QueueError::Depth { depth, capacity }) } else { Ok(()) }
}

impl fmt::Debug for FolioQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolioQueue {{ {:?}, {} of {} slots taken }}", self.tail(), self.len(), self.capacity())
    }
}
