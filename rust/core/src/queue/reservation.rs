//! A producer's claim on consecutive slots.

use crate::sync::Ordering;
use crate::tagged::{Slot, TaggedFolio};

use super::{FolioQueue, after};

/// What a batch got into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pushed {
    /// The position of the first folio; the others follow it without a gap.
    pub position: u64,
    /// How many folios were queued.
    pub len: usize,
}

/// Consecutive slots of a queue, reserved and not yet visible.
///
/// [`Reservation::publish`] shows all of them at once. Dropped unpublished (a panic), it leaves tombstones
/// that the consumer skips, so that the queue never wedges; nobody is woken then, and nobody needs to be.
/// Until one of the two happens the consumer finds the queue busy.
#[derive(Debug)]
#[must_use = "dropping a reservation publishes tombstones"]
pub struct Reservation<'q> {
    queue: &'q FolioQueue,
    position: u64,
    len: usize,
    /// The word of the first slot, held back: the consumer cannot look past a vacant slot.
    first: Option<TaggedFolio>,
}

impl<'q> Reservation<'q> {
    #[inline]
    pub(super) fn new(queue: &'q FolioQueue, position: u64, len: usize) -> Self {
        Self { queue, position, len, first: None }
    }

    /// How many slots are reserved.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is reserved, because 0 slots were wanted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position of slot 0; slot `i` has the position `i` after it.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Puts `folio` into slot `i`; nobody sees it yet.
    ///
    /// # Panics
    /// If `i` is not below [`Reservation::len`].
    #[inline]
    pub fn write(&mut self, i: usize, folio: TaggedFolio) {
        assert!(i < self.len, "slot {i} of a reservation of {}", self.len);
        match i {
            0 => self.first = Some(folio),
            _ => self.store(i, folio.into_word()),
        }
    }

    /// Shows every slot to the consumer; one never written becomes a tombstone.
    pub fn publish(mut self) -> Pushed {
        for i in 1..self.len {
            // ORDERING: Relaxed: only this producer writes the slot between its reservation and its release.
            let word = self.queue.slot(after(self.position, i)).load(Ordering::Relaxed);
            if Slot::of(word) == Slot::Vacant {
                self.store(i, Slot::TOMBSTONE);
            }
        }
        self.show()
    }

    /// Writes `folios`, as many as are reserved, and shows them.
    #[inline]
    pub(super) fn publish_all(&mut self, folios: &[TaggedFolio]) -> Pushed {
        self.first = folios.first().copied();
        for (i, folio) in folios.iter().enumerate().skip(1) {
            self.store(i, folio.into_word());
        }
        self.show()
    }

    #[inline]
    fn store(&self, i: usize, word: *mut crate::folio::Folio) {
        // ORDERING: Relaxed: ordered by the Release of the first slot, which the consumer acquires before it.
        self.queue.slot(after(self.position, i)).store(word, Ordering::Relaxed);
    }

    /// Publishes the first slot, which shows the rest, and leaves nothing to drop.
    #[inline]
    fn show(&mut self) -> Pushed {
        let pushed = Pushed { position: self.position, len: self.len };
        if self.len > 0 {
            self.queue.publish(self.position, self.first.map_or(Slot::TOMBSTONE, TaggedFolio::into_word));
        }
        self.len = 0;
        pushed
    }
}

impl Drop for Reservation<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.len > 0 {
            (1..self.len).for_each(|i| self.store(i, Slot::TOMBSTONE));
            self.first = None;
            let _given_up = self.show();
        }
    }
}
