//! The consumer's token: whoever holds it takes folios from the head.

use crate::folio::Folio;
use crate::sync::{AtomicPtr, Ordering};
use crate::tagged::{Slot, TaggedFolio};

use super::tail::Tail;
use super::{FolioQueue, after, distance, slot_of};

/// What one [`Consumer::pop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pop {
    /// The head of the queue.
    Item {
        /// The queued folio.
        value: TaggedFolio,
        /// The position its producer was given.
        position: u64,
    },
    /// Nothing is queued.
    Empty,
    /// The head's producer has reserved its slot and not yet published it.
    Busy,
    /// Nothing is queued and nothing ever will be.
    Closed,
}

/// What comes after the folios that a drain took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// Nothing.
    Empty,
    /// A slot reserved and not yet published.
    Busy,
    /// More, perhaps: drain again to know. A drain that took folios looks no further, because the line it would
    /// look at is the one that producers write.
    More,
    /// Nothing, ever.
    Closed,
}

/// What one [`Consumer::drain`] took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// How many folios are in the buffer, from its start.
    pub n: usize,
    /// The position of the first; the others follow it without a gap.
    pub first: u64,
    /// How many slots were released, skipped tombstones included: if any, whoever waits for space is woken.
    pub released: usize,
    /// What comes next.
    pub then: Then,
}

/// The consumer's token, given back on drop.
#[derive(Debug)]
pub struct Consumer<'q> {
    queue: &'q FolioQueue,
    /// The next position to look at; equals the queue's head between calls.
    head: u64,
}

impl<'q> Consumer<'q> {
    #[inline]
    pub(super) fn new(queue: &'q FolioQueue) -> Self {
        // ORDERING: Relaxed: only holders of the token write the head, and `claim` acquired the last one's.
        let head = queue.consumers.head.load(Ordering::Relaxed);
        Self { queue, head }
    }

    /// Takes the head and releases its slot; tombstones before and behind it are released too, so that
    /// whoever waits for space is woken whatever was found.
    #[inline]
    pub fn pop(&mut self) -> Pop {
        loop {
            let mut buffer = [None];
            let (position, _) = self.take_run(&mut buffer);
            if let [Some(value)] = buffer {
                return Pop::Item { value, position };
            }
            match self.at_end() {
                Then::Empty => return Pop::Empty,
                Then::Busy => return Pop::Busy,
                Then::Closed => return Pop::Closed,
                Then::More => {}
            }
        }
    }

    /// Moves published folios into `out`, as many as fit, and releases their slots at once.
    ///
    /// Positions in `out` have no gap: a tombstone between two folios ends the drain.
    /// Elements of `out` from [`Drained::n`] on are left as they were.
    #[inline]
    pub fn drain(&mut self, out: &mut [Option<TaggedFolio>]) -> Drained {
        let before = self.head;
        let (first, n) = self.take_run(out);
        let then = if n > 0 { Then::More } else { self.at_end() };
        Drained { n, first, released: distance(before, self.head) as usize, then }
    }

    /// Whether a call of [`Consumer::drain`] would take something or skip a tombstone. It looks at the head's slot alone and
    /// leaves the line that producers write to them: for a consumer that stays
    /// awake a while before it asks what comes next. An empty queue that is closed is never ready.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.look(self.head) != Slot::Vacant
    }

    /// Takes a run of folios without a gap; returns its first position and its length.
    #[inline]
    fn take_run(&mut self, out: &mut [Option<TaggedFolio>]) -> (u64, usize) {
        let first = self.skip_tombstones(self.head);
        let (ring, mut n) = (&*self.queue.slots, 0);
        while n < out.len() {
            let slot = slot_of(ring, after(first, n));
            let Slot::Folio(folio) = look(slot) else { break };
            clear(slot);
            out[n] = Some(folio);
            n += 1;
        }
        self.release(self.skip_tombstones(after(first, n)));
        (first, n)
    }

    /// Clears tombstones from `at` on; returns the first position that holds none.
    #[inline]
    fn skip_tombstones(&self, mut at: u64) -> u64 {
        while self.look(at) == Slot::Tombstone {
            clear(self.queue.slot(at));
            at = after(at, 1);
        }
        at
    }

    /// What waits at the head.
    #[inline]
    fn at_end(&self) -> Then {
        if self.look(self.head) != Slot::Vacant {
            return Then::More;
        }
        // ORDERING: Acquire pairs with the Release of `close`.
        let tail = Tail(self.queue.producers.tail.load(Ordering::Acquire));
        match tail.position() == self.head {
            true if tail.is_closed() => Then::Closed,
            true => Then::Empty,
            // Published in between, or still half-way: the second look tells.
            false if self.look(self.head) == Slot::Vacant => Then::Busy,
            false => Then::More,
        }
    }

    #[inline]
    fn look(&self, at: u64) -> Slot {
        look(self.queue.slot(at))
    }

    /// Gives the slots before `head` back to the producers.
    #[inline]
    fn release(&mut self, head: u64) {
        if head != self.head {
            self.head = head;
            // ORDERING: Release pairs with the Acquire of `FolioQueue::head`: the slots are cleared before a
            // producer stores into them again.
            self.queue.consumers.head.store(head, Ordering::Release);
        }
    }
}

#[inline]
fn look(slot: &AtomicPtr<Folio>) -> Slot {
    // ORDERING: Acquire pairs with the Release of `FolioQueue::publish`.
    Slot::of(slot.load(Ordering::Acquire))
}

#[inline]
fn clear(slot: &AtomicPtr<Folio>) {
    // ORDERING: Relaxed: ordered before the next producer's store by the Release of `Consumer::release`.
    slot.store(Slot::VACANT, Ordering::Relaxed);
}

impl Drop for Consumer<'_> {
    #[inline]
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire of `FolioQueue::claim`.
        self.queue.consumers.claimed.store(false, Ordering::Release);
    }
}
