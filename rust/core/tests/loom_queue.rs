//! loom models of the queue: each is named for the race it looks for.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p kcompressd-core --test loom_queue`
//! Without `LOOM_MAX_PREEMPTIONS` every schedule is tried, but of those [`bounded`], each of which has smaller models of the same
//! race beside it. A lost wake-up or a wedged queue shows as loom's deadlock report.
#![cfg(kcompressd_loom)]

mod loom_rig;

use kcompressd_core::queue::{Pop, PushError, ReserveError, Then};
use kcompressd_core::sync::Ordering;
use kcompressd_core::tagged::TaggedFolio;
use loom_rig::{BATCH, Rig, SizedRig, bounded, sorted, spawn};

#[test]
fn lost_wake_up_of_the_consumer() {
    bounded(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| (0..2).for_each(|i| assert!(rig.try_push(i))));
        assert_eq!(rig.consume(2), [0, 1]);
        producer.join().unwrap();
    });
}

#[test]
fn lost_wake_up_with_two_producers() {
    bounded(|| {
        let rig = Rig::new();
        let producers = [0, 1].map(|i| spawn(&rig, move |rig| assert!(rig.try_push(i))));
        assert_eq!(sorted(rig.consume(2)), [0, 1]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

/// The worker goes to sleep while a folio is queued.
#[test]
fn push_against_sleep() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| assert!(rig.try_push(0)));
        assert_eq!(rig.consume(1), [0]);
        producer.join().unwrap();
    });
}

#[test]
fn published_folio_is_seen_whole() {
    loom::model(|| {
        let rig = Rig::new();
        // No wake-up here: its fence would hide a missing Release.
        let producer = spawn(&rig, |rig| {
            rig.payload.store(1, Ordering::Relaxed);
            rig.queue.push(rig.tag(0)).expect("room")
        });
        let popped = rig.queue.claim().expect("the only consumer").pop();
        if let Pop::Item { .. } = popped {
            assert_eq!(rig.payload.load(Ordering::Relaxed), 1);
        }
        assert_eq!(producer.join().unwrap(), 0);
    });
}

#[test]
fn full_and_empty_boundary() {
    fn model<const CAP: usize, const BATCH: usize>() {
        let rig = SizedRig::<CAP, BATCH>::new();
        let producer = spawn(&rig, |rig| (0..=CAP).filter(|&i| rig.try_push(i)).collect::<Vec<_>>());
        let mut got = Vec::new();
        for _ in 0..2 {
            let (n, then) = rig.drain(&mut got);
            assert!(n <= BATCH && then != Then::Closed);
        }
        let accepted = producer.join().unwrap();
        assert!(accepted.len() >= CAP);
        got.extend(rig.rest());
        assert_eq!(got, accepted);
    }
    [model::<1, 1>, model::<2, 1>, model::<2, 2>].into_iter().for_each(loom::model);
}

#[test]
fn wrap_around_with_both_sides_sleeping() {
    fn model<const CAP: usize, const BATCH: usize>() {
        let rig = SizedRig::<CAP, BATCH>::new();
        let producer = spawn(&rig, |rig| (0..=CAP).for_each(|i| rig.push(i)));
        assert!(rig.consume(CAP + 1).into_iter().eq(0..=CAP));
        producer.join().unwrap();
    }
    [model::<1, 1>, model::<2, 2>].into_iter().for_each(bounded);
}

/// A producer goes to sleep before the full queue while the worker makes room, and the worker while the producer fills it again.
#[test]
fn full_against_empty() {
    fn model<const CAP: usize, const BATCH: usize>() {
        let rig = SizedRig::<CAP, BATCH>::new();
        assert!((0..CAP).all(|i| rig.try_push(i)));
        let producer = spawn(&rig, |rig| rig.push(CAP));
        assert!(rig.consume(CAP + 1).into_iter().eq(0..=CAP));
        producer.join().unwrap();
    }
    [model::<1, 1>, model::<2, 2>].into_iter().for_each(loom::model);
}

#[test]
fn reused_slot_follows_its_release() {
    loom::model(|| {
        let rig = Rig::new();
        assert!(rig.try_push(0) && rig.try_push(1));
        let producers = [2, 3].map(|i| {
            spawn(&rig, move |rig| {
                let accepted = rig.queue.push(rig.tag(i)).is_ok();
                assert!(!accepted || rig.payload.load(Ordering::Relaxed) == 1, "slot reused before its release");
                accepted
            })
        });
        rig.payload.store(1, Ordering::Relaxed);
        let mut buffer = [None; BATCH];
        assert_eq!(rig.queue.claim().expect("the only consumer").drain(&mut buffer).n, 2);
        let accepted = producers.map(|producer| producer.join().unwrap());
        assert_eq!(rig.rest().len(), accepted.into_iter().filter(|&accepted| accepted).count());
    });
}

#[test]
fn close_against_push() {
    bounded(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| match rig.queue.push(rig.tag(0)) {
            Ok(_) => {
                rig.items.wake_one();
                true
            }
            Err(refused) => matches!(refused, PushError::Full(_)),
        });
        let closer = spawn(&rig, |rig| {
            rig.payload.store(1, Ordering::Relaxed);
            assert!(rig.queue.close());
            rig.items.wake_all();
        });
        let got = rig.consume(usize::MAX);
        assert_eq!(rig.payload.load(Ordering::Relaxed), 1, "Closed is told after close");
        assert_eq!(got.len(), usize::from(producer.join().unwrap()));
        closer.join().unwrap();
        assert!(rig.rest().is_empty());
    });
}

/// A folio is pushed by one and the queue closed by another, while the worker looks without sleeping: it is told of the end when the
/// folio was refused or taken, and sees what was done before closing.
#[test]
fn close_and_push_against_a_look() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| rig.queue.push(rig.tag(0)).is_ok());
        let closer = spawn(&rig, |rig| {
            rig.payload.store(1, Ordering::Relaxed);
            assert!(rig.queue.close());
        });
        let mut got = Vec::new();
        if rig.drain(&mut got).1 == Then::Closed {
            assert_eq!(rig.payload.load(Ordering::Relaxed), 1, "Closed is told after close");
            assert!(!producer.join().unwrap() && rig.rest().is_empty());
        } else {
            let pushed = producer.join().unwrap();
            closer.join().unwrap();
            got.extend(rig.rest());
            assert_eq!(got.len(), usize::from(pushed));
        }
    });
}

/// The worker goes to sleep while the queue is closed: it is told, and sees what was done before.
#[test]
fn close_against_sleep() {
    loom::model(|| {
        let rig = Rig::new();
        let closer = spawn(&rig, |rig| {
            rig.payload.store(1, Ordering::Relaxed);
            assert!(rig.queue.close());
            rig.items.wake_all();
        });
        assert!(rig.consume(1).is_empty());
        assert_eq!(rig.payload.load(Ordering::Relaxed), 1);
        closer.join().unwrap();
    });
}

/// A folio is queued, then the queue closed, while the worker looks: it takes the folio before it is told that there will be none.
#[test]
fn close_behind_a_push() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| {
            rig.queue.push(rig.tag(0)).expect("room");
            rig.queue.close();
            rig.items.wake_all();
        });
        assert_eq!(rig.consume(usize::MAX), [0]);
        producer.join().unwrap();
    });
}

/// The queue is closed while a folio is pushed: it is refused, or taken before the worker is told of the end.
#[test]
fn close_beside_a_push() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| match rig.queue.push(rig.tag(0)) {
            Ok(_) => {
                rig.items.wake_one();
                true
            }
            Err(refused) => matches!(refused, PushError::Full(_)),
        });
        rig.queue.close();
        let got = rig.consume(usize::MAX);
        assert_eq!(got.len(), usize::from(producer.join().unwrap()));
    });
}

#[test]
fn batch_against_single() {
    loom::model(|| {
        let rig = Rig::new();
        let batch = spawn(&rig, |rig| {
            let folios: [TaggedFolio; BATCH] = [rig.tag(0), rig.tag(1)];
            rig.queue.push_batch(&folios).map_or(0, |pushed| pushed.len)
        });
        let single = spawn(&rig, |rig| rig.try_push(2));
        let mut got = Vec::new();
        let (n, _) = rig.drain(&mut got);
        let first = got[..n].to_vec();
        let (batch, single) = (batch.join().unwrap(), single.join().unwrap());
        got.extend(rig.rest());
        let expected = (0..batch).chain(single.then_some(2)).collect::<Vec<_>>();
        assert_eq!(sorted(got.clone()), expected);
        if batch == BATCH {
            let at = got.iter().position(|&i| i == 0).expect("queued");
            assert_eq!(got[at + 1], 1, "nothing comes between");
            assert!(first.first() != Some(&0) || first.len() == BATCH, "a batch appears at once");
        }
    });
}

#[test]
fn two_claimants_of_the_token() {
    loom::model(|| {
        let rig = Rig::new();
        assert!(rig.try_push(0) && rig.try_push(1));
        let pop = |rig: &Rig| {
            let mut consumer = rig.queue.claim()?;
            // The token alone must order one holder's accesses before the next one's.
            let turn = rig.payload.load(Ordering::Relaxed);
            rig.payload.store(turn + 1, Ordering::Relaxed);
            match consumer.pop() {
                Pop::Item { value, position } => Some((rig.index(value), position, turn)),
                other => panic!("{other:?}"),
            }
        };
        let other = spawn(&rig, pop);
        let mine = pop(&rig);
        let mut popped: Vec<_> = [mine, other.join().unwrap()].into_iter().flatten().collect();
        popped.sort_unstable();
        let expected: &[(usize, u64, u64)] = &[(0, 0, 0), (1, 1, 1)];
        assert!(!popped.is_empty());
        assert_eq!(popped, expected[..popped.len()]);
        assert_eq!(rig.rest().len(), 2 - popped.len());
    });
}

/// A worker that helps takes a part of what the queue's own is at: each folio once, each taker's in the order of the queue, and
/// the slots are free again for a producer beside them.
#[test]
fn a_helper_beside_the_owner() {
    loom::model(|| {
        let rig = Rig::new();
        assert!(rig.try_push(0) && rig.try_push(1));
        let take = |rig: &Rig, most: usize| {
            let mut buffer = [None; BATCH];
            let drained = rig.queue.claim().map_or(0, |mut consumer| consumer.drain(&mut buffer[..most]).n);
            buffer[..drained].iter().flatten().map(|folio| rig.index(*folio)).collect::<Vec<_>>()
        };
        let helper = spawn(&rig, move |rig| take(rig, 1));
        let producer = spawn(&rig, |rig| rig.try_push(2));
        let (mine, theirs) = (take(&rig, BATCH), helper.join().unwrap());
        let pushed = if producer.join().unwrap() { 3 } else { 2 };
        assert!(mine.is_sorted(), "{mine:?}");
        assert!(!mine.is_empty() || !theirs.is_empty(), "one of them had the token");
        assert_eq!(sorted([mine, theirs, rig.rest()].concat()), (0..pushed).collect::<Vec<_>>());
    });
}

#[test]
fn reservation_dropped_does_not_wedge() {
    bounded(|| {
        let rig = Rig::new();
        let dropper = spawn(&rig, |rig| {
            if let Ok(mut reservation) = rig.queue.reserve(BATCH) {
                let last = reservation.len() - 1;
                reservation.write(last, rig.tag(0));
            }
            rig.items.wake_one();
        });
        let pusher = spawn(&rig, |rig| rig.push(1));
        assert_eq!(rig.consume(1), [1]);
        dropper.join().unwrap();
        pusher.join().unwrap();
        assert!(rig.rest().is_empty());
    });
}

/// Slots are reserved and given up while the worker goes to sleep: it passes over both, and their places are free again.
#[test]
fn tombstones_against_sleep() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| {
            let mut reservation = rig.queue.reserve(BATCH).expect("room");
            reservation.write(1, rig.tag(0));
            drop(reservation);
            rig.items.wake_one();
        });
        let mut consumer = rig.queue.claim().expect("the only consumer");
        let mut released = 0;
        let passed = rig.items.wait_for(|| {
            let drained = consumer.drain(&mut [None]);
            assert_eq!(drained.n, 0);
            released += drained.released;
            (released == BATCH).then_some(())
        });
        passed.expect("no shutdown");
        drop(consumer);
        assert!(rig.try_push(1) && rig.try_push(2));
        assert_eq!(rig.rest(), [1, 2]);
        producer.join().unwrap();
    });
}

/// Slots that are given up fill the queue, and a producer goes to sleep before it: passing over them makes room, of which it is told.
#[test]
fn tombstones_against_a_producer() {
    loom::model(|| {
        let rig = Rig::new();
        let mut reservation = rig.queue.reserve(BATCH).expect("room");
        reservation.write(1, rig.tag(0));
        let pusher = spawn(&rig, |rig| rig.push(1));
        drop(reservation);
        assert_eq!(rig.consume(1), [1]);
        pusher.join().unwrap();
        assert!(rig.rest().is_empty());
    });
}

#[test]
fn depth_change_against_push() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| [0, 1].map(|i| rig.try_push(i)));
        assert_eq!(rig.queue.set_depth(1), Ok(2));
        let mine = rig.try_push(2);
        let theirs = producer.join().unwrap();
        let got = rig.rest();
        match mine {
            true => assert_eq!((got, theirs), (vec![2], [false, false]), "one entry at depth 1"),
            false => assert_eq!(got, (0..2).filter(|&i| theirs[i]).collect::<Vec<_>>()),
        }
    });
}

#[test]
fn depth_zero_is_off() {
    loom::model(|| {
        let rig = Rig::new();
        let producer = spawn(&rig, |rig| rig.try_push(0));
        assert_eq!(rig.queue.set_depth(0), Ok(2));
        assert_eq!(rig.queue.reserve(BATCH).err(), Some(ReserveError::Full));
        let accepted = producer.join().unwrap();
        assert_eq!(rig.rest().len(), usize::from(accepted));
    });
}
