//! A quiescent queue, looked at, saved and restored.
//!
//! Everything here assumes that no other thread uses the queue, no reservation is open and the token is free.

use crate::snapshot::{Reader, Saved};
use crate::sync::Ordering;
use crate::tagged::{Slot, TaggedFolio};

use super::FolioQueue;
use super::tail::{Tail, after, distance};

/// The state word of a tombstone; no folio is encoded like this.
const TOMBSTONE_CODE: u64 = u64::MAX;

impl FolioQueue {
    /// The queued folios with their positions, the head first; tombstones and busy slots are left out.
    pub fn queued(&self) -> impl Iterator<Item = (u64, TaggedFolio)> + '_ {
        self.taken().filter_map(|(position, slot)| match slot {
            Slot::Folio(folio) => Some((position, folio)),
            Slot::Vacant | Slot::Tombstone => None,
        })
    }

    /// Appends the queue's words: depth and closed, then the entries from the head on as `encode` gives them
    /// (an index and a tag, never an address, and never `u64::MAX`). Positions are counters: two queues that
    /// hold the same folios have the same state wherever their heads are.
    ///
    /// # Panics
    /// If a reservation is open.
    pub fn save(&self, out: &mut Saved, mut encode: impl FnMut(TaggedFolio) -> u64) {
        let tail = self.tail();
        out.state.push(Tail::new(self.len() as u64, tail.depth(), tail.is_closed()).0);
        out.state.extend(self.taken().map(|(_, slot)| match slot {
            Slot::Folio(folio) => encode(folio),
            Slot::Tombstone => TOMBSTONE_CODE,
            Slot::Vacant => panic!("a reservation is open while the queue is saved"),
        }));
        out.counters.push(self.head());
    }

    /// Takes back what [`FolioQueue::save`] wrote; `decode` inverts its `encode`.
    pub fn restore(&self, from: &mut Reader<'_>, mut decode: impl FnMut(u64) -> TaggedFolio) {
        let tail = Tail(from.state());
        let head = from.counter();
        let len = tail.position() as usize;
        for i in 0..self.capacity() {
            let word = if i < len { from.state() } else { 0 };
            let word = match word {
                _ if i >= len => Slot::VACANT,
                TOMBSTONE_CODE => Slot::TOMBSTONE,
                code => decode(code).into_word(),
            };
            // ORDERING: Relaxed here and below: nobody else uses the queue while it is restored.
            self.slot(after(head, i)).store(word, Ordering::Relaxed);
        }
        // ORDERING: Relaxed, as above.
        self.consumers.0.head.store(head, Ordering::Relaxed);
        // ORDERING: Relaxed, as above.
        self.producers.0.seen_head.store(head, Ordering::Relaxed);
        let tail = Tail::new(after(head, len), tail.depth(), tail.is_closed());
        // ORDERING: Relaxed, as above.
        self.producers.0.tail.store(tail.0, Ordering::Relaxed);
    }

    /// The slots from the head to the tail.
    fn taken(&self) -> impl Iterator<Item = (u64, Slot)> + '_ {
        let head = self.head();
        let len = distance(head, self.tail().position()) as usize;
        (0..len.min(self.capacity())).map(move |i| {
            let position = after(head, i);
            // ORDERING: Acquire pairs with the Release of `FolioQueue::publish`.
            (position, Slot::of(self.slot(position).load(Ordering::Acquire)))
        })
    }
}
