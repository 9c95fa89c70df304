//! loom models of the state word and of how a worker is stopped: each is named for the race it looks for.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" cargo test --release -p kcompressd-core --test loom_lifecycle`
#![cfg(kcompressd_loom)]

use kcompressd_core::lifecycle::{Change, Event, Fire, State, StateWord, Table, flag};
use kcompressd_core::sync::{Arc, AtomicBool, AtomicU32, Ordering, UnsafeCell, thread};
use kcompressd_core::wait::WaitCell;
use std::sync::LazyLock;

static LAW: LazyLock<Table> = LazyLock::new(Table::default);
const CACHED: u16 = flag::FRAME | flag::SWAPCACHE | flag::LRU;

fn fires(word: &StateWord, event: Event, change: Change) -> bool {
    matches!(word.fire(&LAW, event, 0, change).expect("lawful"), Fire::Done(_))
}

/// kswapd frees the frame while a fault maps it again: one of them is too late and does nothing.
#[test]
fn reclaim_and_fault_of_one_frame() {
    loom::model(|| {
        let word = Arc::new(StateWord::new(State::Compressed, CACHED & !flag::LRU));
        let kswapd = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                let change = Change::flags(0, flag::FRAME | flag::SWAPCACHE);
                fires(&word, Event::Reclaim, change.in_state(State::Compressed))
            }
        });
        let change = Change::flags(flag::MAPPED, 0).in_state(State::Compressed);
        let hit = fires(&word, Event::SwapcacheHit, change);
        let freed = kswapd.join().unwrap();
        let now = word.load();
        assert!(hit != freed, "one wins");
        assert_eq!(now.state(), if hit { State::ResidentSwapcache } else { State::CompressedFreed });
        assert_eq!((now.seq(), now.has(flag::FRAME)), (1, hit));
    });
}

/// Two scans take the same page off its list.
#[test]
fn two_isolate_one_page() {
    loom::model(|| {
        let word = Arc::new(StateWord::new(State::Compressed, CACHED));
        let isolate = Change::flags(0, flag::LRU).only(flag::LRU);
        let other = thread::spawn({
            let word = Arc::clone(&word);
            move || fires(&word, Event::Isolate, isolate)
        });
        let mine = fires(&word, Event::Isolate, isolate);
        assert!(mine != other.join().unwrap());
        assert_eq!(word.load().seq(), 1);
    });
}

/// A fault maps a folio that a worker is storing: `mapped` is read in the swap that stores, so the page is mapped in the end
/// whoever was first, and never stored with nobody to see its PTE.
#[test]
fn fault_while_the_worker_stores() {
    loom::model(|| {
        let flags = flag::FRAME | flag::SWAPCACHE | flag::WRITEBACK;
        let word = Arc::new(StateWord::new(State::Compressing, flags));
        let worker = thread::spawn({
            let word = Arc::clone(&word);
            move || assert!(fires(&word, Event::Store, Change::flags(0, flag::WRITEBACK)))
        });
        assert!(fires(&word, Event::SwapcacheHit, Change::flags(flag::MAPPED, 0)));
        worker.join().unwrap();
        let now = word.load();
        assert_eq!((now.state(), now.seq()), (State::ResidentSwapcache, 2));
        assert!(now.has(flag::MAPPED) && !now.has(flag::WRITEBACK));
    });
}

/// A compressing page with its copy, and the worker that writes the copy and then fires `store`.
fn stored_by_its_worker() -> (Arc<(StateWord, UnsafeCell<u32>)>, thread::JoinHandle<()>) {
    let flags = flag::FRAME | flag::SWAPCACHE | flag::WRITEBACK;
    let page = Arc::new((StateWord::new(State::Compressing, flags), UnsafeCell::new(0u32)));
    let worker = thread::spawn({
        let page = Arc::clone(&page);
        move || {
            // SAFETY: the page is compressing: only its worker touches the copy.
            page.1.with_mut(|copy| unsafe { *copy = 7 });
            assert!(fires(&page.0, Event::Store, Change::flags(0, flag::WRITEBACK)));
        }
    });
    (page, worker)
}

/// Who sees a state sees what its actor did before: contents need no lock of their own. Fails with a Relaxed swap.
#[test]
fn contents_are_seen_with_the_state() {
    loom::model(|| {
        let (page, worker) = stored_by_its_worker();
        while page.0.load().state() != State::Compressed {
            thread::yield_now();
        }
        // SAFETY: the page is compressed: nobody writes its copy any more.
        assert_eq!(page.1.with(|copy| unsafe { *copy }), 7);
        worker.join().unwrap();
    });
}

/// Who is refused, because another swap came between its look and its own, sees what that actor did, too. Fails when a swap that
/// does not succeed is Relaxed.
#[test]
fn contents_are_seen_with_a_refusal() {
    loom::model(|| {
        let (page, worker) = stored_by_its_worker();
        let hit = Change::flags(flag::MAPPED, 0).in_state(State::Compressing);
        if let Fire::Refused(now) = page.0.fire(&LAW, Event::SwapcacheHit, 0, hit).expect("lawful") {
            assert_eq!(now.state(), State::Compressed);
            // SAFETY: the page is compressed: nobody writes its copy any more.
            assert_eq!(page.1.with(|copy| unsafe { *copy }), 7);
        }
        worker.join().unwrap();
    });
}

/// A worker that finds nothing to do sleeps while it is told to stop: it takes what is left, and ends.
#[test]
fn stop_between_look_and_sleep() {
    loom::model(|| {
        let shared = Arc::new((AtomicU32::new(0), AtomicBool::new(false), WaitCell::new()));
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (work, stop, cell) = &*shared;
                let mut done = 0;
                // As the workers do: the stop is read before the work, so that what precedes it is taken.
                while let Some((more, ended)) = cell.wait_for(|| {
                    let ended = stop.load(Ordering::Acquire);
                    let more = work.swap(0, Ordering::AcqRel);
                    (more > 0 || ended).then_some((more, ended))
                }) {
                    done += more;
                    if ended {
                        break;
                    }
                }
                done
            }
        });
        let (work, stop, cell) = &*shared;
        work.fetch_add(1, Ordering::AcqRel);
        cell.wake_all();
        stop.store(true, Ordering::Release);
        cell.wake_all();
        assert_eq!(worker.join().unwrap(), 1);
    });
}

/// The end of a run meets a worker that is going to sleep: `shutdown` wakes it, or it does not sleep at all.
#[test]
fn shutdown_between_look_and_sleep() {
    loom::model(|| {
        let cell = Arc::new(WaitCell::new());
        let worker = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.wait_for(|| None::<()>)
        });
        cell.shutdown();
        assert_eq!(worker.join().unwrap(), None);
    });
}
