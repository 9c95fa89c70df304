//! The queue under real threads: every folio arrives once, each producer's in its order, nobody stays asleep.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

use std::cell::UnsafeCell;
use std::thread;

use kcompressd_core::folio::Folio;
use kcompressd_core::queue::{FolioQueue, Pop, Then};
use kcompressd_core::tagged::{Origin, TaggedFolio};
use kcompressd_core::wait::{WaitKey, WaitTable};

const PRODUCERS: usize = 4;
const EACH: usize = 3000;
const CAPACITY: usize = 16;
const ITEMS: WaitKey = WaitKey::Queue(0);
const SPACE: WaitKey = WaitKey::QueueSpace(0);

/// What a producer writes before it pushes a folio, in plain memory: the queue alone orders it (ci/tsan.sh watches).
#[derive(Default)]
struct Contents(UnsafeCell<usize>);

// SAFETY: written by the folio's producer before the push, read by the consumer after it took the folio.
unsafe impl Sync for Contents {}

struct Rig {
    folios: Vec<Folio>,
    contents: Vec<Contents>,
    queue: FolioQueue,
    waits: WaitTable,
}

/// Pushes this producer's folios: singly, in batches, and with reservations given up in between.
fn produce(rig: &Rig, producer: usize) {
    let own = &rig.folios[producer * EACH..][..EACH];
    for (at, contents) in rig.contents.iter().enumerate().skip(producer * EACH).take(EACH) {
        // SAFETY: nobody reads it before its folio is pushed, below.
        unsafe { *contents.0.get() = at + 1 };
    }
    let tagged: Vec<_> = own.iter().map(|folio| TaggedFolio::new(folio, Origin::Zswap)).collect();
    let (mut sent, mut turn) = (0, producer);
    while sent < EACH {
        turn += 1;
        let want = (turn % 5).clamp(1, EACH - sent);
        let pushed = rig.waits.cell(SPACE).wait_for(|| match turn % 3 {
            0 => rig.queue.push(tagged[sent]).ok().map(|_| 1),
            1 => rig.queue.push_batch(&tagged[sent..sent + want]).ok().map(|pushed| pushed.len),
            _ => rig.queue.reserve(want).ok().map(drop).map(|()| 0),
        });
        sent += pushed.expect("no shutdown");
        rig.waits.wake_one(ITEMS);
    }
}

/// Takes folios until the queue is closed; returns their indices in order.
fn consume(rig: &Rig) -> Vec<usize> {
    let mut got = Vec::new();
    let mut buffer = [None; 7];
    loop {
        let some = || {
            let drained = rig.queue.claim()?.drain(&mut buffer);
            (drained.n > 0 || drained.then == Then::Closed).then_some(drained)
        };
        let drained = rig.waits.cell(ITEMS).wait_or(some, || _ = rig.waits.wake_all(SPACE)).expect("no shutdown");
        for folio in buffer[..drained.n].iter().flatten() {
            let at = folio.index_in(&rig.folios).expect("one of ours");
            // SAFETY: the folio came out of the queue, so its producer is done with it.
            assert_eq!(unsafe { *rig.contents[at].0.get() }, at + 1);
            got.push(at);
        }
        if drained.n == 0 {
            return got;
        }
        // The depth changes under the producers; more room is a reason to wake them.
        if rig.queue.set_depth(1 + got.len() % CAPACITY).is_ok() {
            rig.waits.wake_all(SPACE);
        }
    }
}

#[test]
fn every_folio_arrives_once_and_in_order() {
    let rig = Rig {
        folios: (0..PRODUCERS * EACH).map(|_| Folio::new(0, 0)).collect(),
        contents: (0..PRODUCERS * EACH).map(|_| Contents::default()).collect(),
        queue: FolioQueue::new(CAPACITY, CAPACITY).expect("valid sizes"),
        waits: WaitTable::new(1, 1),
    };
    let got = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(&rig));
        let producers = [0, 1, 2, 3].map(|producer| {
            scope.spawn({
                let rig = &rig;
                move || produce(rig, producer)
            })
        });
        producers.into_iter().for_each(|producer| producer.join().expect("no panic"));
        assert!(rig.queue.close());
        rig.waits.wake_all(ITEMS);
        consumer.join().expect("no panic")
    });
    for producer in 0..PRODUCERS {
        let own: Vec<_> = got.iter().copied().filter(|i| i / EACH == producer).collect();
        assert_eq!(own, (producer * EACH..(producer + 1) * EACH).collect::<Vec<_>>());
    }
    assert_eq!(got.len(), PRODUCERS * EACH);
    assert_eq!(rig.queue.claim().expect("free").pop(), Pop::Closed);
}
