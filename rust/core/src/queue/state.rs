//! A quiescent queue, looked at, saved and restored.
//!
//! Everything here assumes that no other thread uses the queue, no reservation is open and the token is free.

use crate::snapshot::{Names, Reader, Saved, push_quarters};
use crate::sync::Ordering;
use crate::tagged::{Slot, TaggedFolio};

use super::FolioQueue;
use super::tail::{Tail, after, distance};

/// The code of a tombstone; no folio is encoded like this.
const TOMBSTONE_CODE: u16 = u16::MAX;

impl FolioQueue {
    /// The queued folios with their positions, the head first; tombstones and busy slots are left out.
    pub fn queued(&self) -> impl Iterator<Item = (u64, TaggedFolio)> + '_ {
        self.taken().filter_map(|(position, slot)| match slot {
            Slot::Folio(folio) => Some((position, folio)),
            Slot::Vacant | Slot::Tombstone => None,
        })
    }

    /// Appends the queue's words: depth and closed, then the entries from the head on as `encode` gives them
    /// (an index and a tag, never an address, and never `u16::MAX`). Positions only record the past: two queues that
    /// hold the same folios have the same state wherever their heads are, and a restore leaves the head where it is.
    ///
    /// # Panics
    /// If a reservation is open.
    pub fn save(&self, out: &mut Saved, encode: impl Fn(&Names, TaggedFolio) -> u16) {
        let (tail, len) = (self.tail(), self.len());
        out.state.push(Tail::new(len as u64, tail.depth(), tail.is_closed()).0);
        if len > 0 {
            let code = |(_, slot)| match slot {
                Slot::Folio(folio) => encode(&out.names, folio),
                Slot::Tombstone => TOMBSTONE_CODE,
                Slot::Vacant => panic!("a reservation is open while the queue is saved"),
            };
            push_quarters(&mut out.state, self.taken().map(code));
        }
    }

    /// Takes back what [`FolioQueue::save`] wrote; `decode` inverts its `encode`.
    pub fn restore(&self, from: &mut Reader<'_>, mut decode: impl FnMut(u16) -> TaggedFolio) {
        let tail = Tail(from.state());
        let (head, len, taken) = (self.head(), tail.position() as usize, self.len());
        // ORDERING: Relaxed here and below: nobody else uses the queue while it is restored.
        let set = |i, word| self.slot(after(head, i)).store(word, Ordering::Relaxed);
        if len > 0 {
            let mut next = from.quarters();
            for i in 0..len {
                let word = match next() {
                    TOMBSTONE_CODE => Slot::TOMBSTONE,
                    code => decode(code).into_word(),
                };
                set(i, word);
            }
        }
        (len..taken).for_each(|i| set(i, Slot::VACANT));
        // ORDERING: Relaxed, as above.
        self.producers.seen_head.store(head, Ordering::Relaxed);
        let tail = Tail::new(after(head, len), tail.depth(), tail.is_closed());
        // ORDERING: Relaxed, as above.
        self.producers.tail.store(tail.0, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folio::Folio;
    use crate::queue::{Drained, PushError, Then};
    use crate::tagged::Origin;

    #[test]
    fn positions_wrap_at_their_width() {
        let folios: Vec<Folio> = (0..5).map(|_| Folio::new(0, 0)).collect();
        let tag = |i: usize| TaggedFolio::new(&folios[i], Origin::Zswap);
        let queue = FolioQueue::new(4, 4).expect("valid sizes");
        let last = (1 << 46) - 2;
        // ORDERING: Relaxed: this test is alone with the queue.
        queue.consumers.head.store(last, Ordering::Relaxed);
        queue.restore(&mut Reader::new(&[Tail::new(0, 4, false).0]), |_| unreachable!("nothing is queued"));
        let positions: Vec<_> = (0..4).map(|i| queue.push(tag(i))).collect();
        assert_eq!(positions, [Ok(last), Ok(last + 1), Ok(0), Ok(1)]);
        assert_eq!((queue.len(), queue.depth()), (4, 4));
        assert!(matches!(queue.push(tag(4)), Err(PushError::Full(_))));
        let mut taken = [None; 9];
        let drained = queue.claim().expect("free").drain(&mut taken);
        assert!(taken[..4].iter().flatten().copied().eq((0..4).map(tag)));
        assert_eq!(drained, Drained { n: 4, first: last, released: 4, then: Then::More });
    }
}
