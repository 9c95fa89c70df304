//! The queue against `VecDeque` (every call, result and handed-back value), and its edges one by one.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod cases;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kcompressd_core::folio::Folio;
use kcompressd_core::queue::{Drained, FolioQueue, MAX_CAPACITY, Pop, PushError, QueueError, ReserveError, Then};
use kcompressd_core::snapshot::Saved;
use kcompressd_core::tagged::{Origin, TaggedFolio};
use proptest::prelude::*;

const FOLIOS: usize = 64;

fn folios() -> Vec<Folio> {
    (0..FOLIOS).map(|_| Folio::new(0, 0)).collect()
}

fn tag(folios: &[Folio], i: usize) -> TaggedFolio {
    TaggedFolio::new(&folios[i % FOLIOS], if i.is_multiple_of(3) { Origin::Zram } else { Origin::Zswap })
}

/// A folio as a state word: its index and its tag.
fn encode(folios: &[Folio], folio: TaggedFolio) -> u16 {
    folio.index_in(folios).expect("one of ours") as u16 * 2 + u16::from(folio.is_zswap())
}

fn decode(folios: &[Folio], code: u16) -> TaggedFolio {
    let origin = if code & 1 == 1 { Origin::Zswap } else { Origin::Zram };
    TaggedFolio::new(&folios[code as usize / 2], origin)
}

fn save(queue: &FolioQueue, folios: &[Folio]) -> Saved {
    let mut saved = Saved::default();
    queue.save(&mut saved, |_, folio| encode(folios, folio));
    saved
}

fn restore(queue: &FolioQueue, folios: &[Folio], saved: &Saved) {
    let mut reader = saved.reader();
    queue.restore(&mut reader, |code| decode(folios, code));
    assert!(reader.is_empty());
}

fn drain(queue: &FolioQueue, max: usize) -> (Vec<TaggedFolio>, Drained) {
    let mut buffer = vec![None; max];
    let drained = queue.claim().expect("token is free").drain(&mut buffer);
    assert!(buffer[drained.n..].iter().all(Option::is_none));
    (buffer.into_iter().flatten().collect(), drained)
}

/// What the queue should be: entries with positions; `None` is a tombstone.
struct Model {
    entries: VecDeque<(u64, Option<TaggedFolio>)>,
    next: u64,
    depth: usize,
    closed: bool,
}

impl Model {
    fn room(&self, want: usize) -> Result<usize, ReserveError> {
        let room = self.depth.saturating_sub(self.entries.len());
        match (self.closed, room) {
            (true, _) => Err(ReserveError::Closed),
            (_, 0) if want > 0 => Err(ReserveError::Full),
            _ => Ok(room.min(want)),
        }
    }

    fn push(&mut self, entry: Option<TaggedFolio>) -> u64 {
        self.entries.push_back((self.next, entry));
        self.next += 1;
        self.next - 1
    }

    fn skip(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.1.is_none()) {
            self.entries.pop_front();
        }
    }

    fn drain(&mut self, max: usize) -> (Vec<TaggedFolio>, Drained) {
        let before = self.entries.len();
        self.skip();
        let first = self.entries.front().map_or(self.next, |entry| entry.0);
        let run = self.entries.iter().take(max).map_while(|entry| entry.1).collect::<Vec<_>>();
        self.entries.drain(..run.len());
        self.skip();
        let then = match (run.len(), self.entries.is_empty(), self.closed) {
            (1.., _, _) | (_, false, _) => Then::More,
            (0, true, false) => Then::Empty,
            (0, true, true) => Then::Closed,
        };
        let drained = Drained { n: run.len(), first, released: before - self.entries.len(), then };
        (run, drained)
    }

    fn pop(&mut self) -> Pop {
        match self.drain(1) {
            (run, drained) if drained.n == 1 => Pop::Item { value: run[0], position: drained.first },
            (_, Drained { then: Then::Closed, .. }) => Pop::Closed,
            _ => Pop::Empty,
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Batch(usize, usize),
    /// Reserve, write the slots whose bit is set, publish or drop.
    Reserve(usize, u32, bool),
    Pop,
    Drain(usize),
    SetDepth(usize),
    /// Save, spoil, restore.
    Restore,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..FOLIOS).prop_map(Op::Push),
        4 => (0..FOLIOS, 0..=32usize).prop_map(|(start, n)| Op::Batch(start, n)),
        2 => (0..6usize, any::<u32>(), any::<bool>()).prop_map(|(n, mask, publish)| Op::Reserve(n, mask, publish)),
        4 => Just(Op::Pop),
        4 => (0..40usize).prop_map(Op::Drain),
        1 => (0..20usize).prop_map(Op::SetDepth),
        1 => Just(Op::Restore),
        1 => prop::bool::weighted(0.2).prop_map(|close| if close { Op::Close } else { Op::Pop }),
    ]
}

/// Runs one operation on both sides and compares everything it says.
fn step(queue: &FolioQueue, model: &mut Model, folios: &[Folio], op: &Op) {
    match *op {
        Op::Push(i) => {
            let folio = tag(folios, i);
            let expected = match model.room(1) {
                Ok(_) => Ok(model.push(Some(folio))),
                Err(ReserveError::Full) => Err(PushError::Full(folio)),
                Err(ReserveError::Closed) => Err(PushError::Closed(folio)),
            };
            assert_eq!(queue.push(folio), expected);
        }
        Op::Batch(start, n) => {
            let batch: Vec<_> = (start..start + n).map(|i| tag(folios, i)).collect();
            let expected = model.room(n).map(|room| {
                let position = model.next;
                for folio in &batch[..room] {
                    model.push(Some(*folio));
                }
                (position, room)
            });
            assert_eq!(queue.push_batch(&batch).map(|pushed| (pushed.position, pushed.len)), expected);
        }
        Op::Reserve(n, mask, publish) => reserve(queue, model, folios, n, mask, publish),
        Op::Pop => assert_eq!(queue.claim().expect("token is free").pop(), model.pop()),
        Op::Drain(max) => assert_eq!(drain(queue, max), model.drain(max)),
        Op::SetDepth(depth) if depth > queue.capacity() => {
            assert_eq!(queue.set_depth(depth), Err(QueueError::Depth { depth, capacity: queue.capacity() }));
        }
        Op::SetDepth(depth) => assert_eq!(queue.set_depth(depth), Ok(std::mem::replace(&mut model.depth, depth))),
        Op::Restore => {
            let saved = save(queue, folios);
            let spoiled = (queue.push(tag(folios, 1)), drain(queue, 7), queue.set_depth(0), queue.close());
            restore(queue, folios, &saved);
            assert_eq!(save(queue, folios), saved);
            // The head stays where it has got to.
            let moved = spoiled.1.1.released as u64;
            model.next += moved;
            model.entries.iter_mut().for_each(|(position, _)| *position += moved);
        }
        Op::Close => assert_eq!(queue.close(), !std::mem::replace(&mut model.closed, true)),
    }
}

fn reserve(queue: &FolioQueue, model: &mut Model, folios: &[Folio], n: usize, mask: u32, publish: bool) {
    let reserved = queue.reserve(n);
    let expected = model.room(n);
    assert_eq!(reserved.as_ref().map(|reservation| reservation.len()).map_err(|refused| *refused), expected);
    let Ok(mut reservation) = reserved else { return };
    assert_eq!((reservation.position(), reservation.is_empty()), (model.next, n == 0));
    for i in 0..reservation.len() {
        let written = (mask >> i & 1 == 1).then(|| tag(folios, i));
        if let Some(folio) = written {
            reservation.write(i, folio);
        }
        model.push(written.filter(|_| publish));
    }
    match publish {
        true => assert_eq!(reservation.publish().len, expected.unwrap_or(0)),
        false => drop(reservation),
    }
}

fn check(queue: &FolioQueue, model: &Model) {
    let is_ready = queue.claim().is_some_and(|consumer| consumer.is_ready());
    assert_eq!(is_ready, !model.entries.is_empty(), "a published slot or a tombstone is at the head");
    assert_eq!((queue.len(), queue.is_empty()), (model.entries.len(), model.entries.is_empty()));
    assert_eq!((queue.depth(), queue.is_closed()), (model.depth, model.closed));
    let expected: Vec<_> = model.entries.iter().filter_map(|entry| Some((entry.0, entry.1?))).collect();
    assert_eq!(queue.queued().collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(cases::cases(500))]
    #[test]
    fn behaves_like_vec_deque(log2 in 0..5u32, depth in 0..=16usize, ops in prop::collection::vec(op(), 1..200)) {
        let (folios, capacity) = (folios(), 1 << log2);
        let depth = depth.min(capacity);
        let queue = FolioQueue::new(capacity, depth).expect("valid sizes");
        let mut model = Model { entries: VecDeque::new(), next: 0, depth, closed: false };
        for op in &ops {
            step(&queue, &mut model, &folios, op);
            check(&queue, &model);
        }
    }
}

#[test]
fn sizes_are_checked() {
    for capacity in [0, 3, 2 * MAX_CAPACITY] {
        assert_eq!(FolioQueue::new(capacity, 0).err(), Some(QueueError::Capacity(capacity)));
    }
    assert_eq!(FolioQueue::new(4, 5).err(), Some(QueueError::Depth { depth: 5, capacity: 4 }));
    assert_eq!(FolioQueue::new(MAX_CAPACITY, MAX_CAPACITY).expect("valid").depth(), MAX_CAPACITY);
}

#[test]
fn half_published_slot_is_busy_and_hides_what_follows() {
    let (folios, queue) = (folios(), FolioQueue::new(8, 8).expect("valid sizes"));
    let mut reservation = queue.reserve(2).expect("room");
    reservation.write(1, tag(&folios, 1));
    assert_eq!(queue.push(tag(&folios, 2)), Ok(2));
    assert!(queue.close());
    assert_eq!(queue.claim().expect("free").pop(), Pop::Busy);
    assert_eq!(drain(&queue, 4).1, Drained { n: 0, first: 0, released: 0, then: Then::Busy });
    assert_eq!(reservation.publish().len, 2, "slot 0 was never written: a tombstone");
    let (run, drained) = drain(&queue, 4);
    assert_eq!(run, [tag(&folios, 1), tag(&folios, 2)]);
    assert_eq!(drained, Drained { n: 2, first: 1, released: 3, then: Then::More });
    assert_eq!(drain(&queue, 4).1, Drained { n: 0, first: 3, released: 0, then: Then::Closed });
}

#[test]
fn panic_with_an_open_reservation_leaves_tombstones() {
    let (folios, queue) = (folios(), FolioQueue::new(4, 4).expect("valid sizes"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut reservation = queue.reserve(3).expect("room");
        reservation.write(0, tag(&folios, 0));
        panic!("half-way");
    }));
    assert!(panicked.is_err());
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.push(tag(&folios, 5)), Ok(3));
    assert_eq!(queue.push(tag(&folios, 6)), Err(PushError::Full(tag(&folios, 6))), "tombstones take room");
    let popped = queue.claim().expect("free").pop();
    assert_eq!(popped, Pop::Item { value: tag(&folios, 5), position: 3 });
    assert!(queue.is_empty());
}

#[test]
fn token_is_exclusive_and_given_back() {
    let queue = FolioQueue::new(2, 2).expect("valid sizes");
    let token = queue.claim();
    assert!(token.is_some() && queue.claim().is_none());
    drop(token);
    assert!(queue.claim().is_some());
}

#[test]
fn state_is_the_same_wherever_the_head_is() {
    let folios = folios();
    let [a, b] = [0, 3].map(|rounds| {
        let queue = FolioQueue::new(4, 3).expect("valid sizes");
        for i in 0..rounds {
            assert_eq!(queue.push(tag(&folios, i)), Ok(i as u64));
            assert_eq!(drain(&queue, 1).1.n, 1);
        }
        assert!(queue.push(tag(&folios, 7)).is_ok() && queue.push(tag(&folios, 8)).is_ok());
        save(&queue, &folios)
    });
    assert_eq!(a, b);
}
