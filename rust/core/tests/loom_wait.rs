//! loom models of the eventcount: each is named for the race it looks for.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p kcompressd-core --test loom_wait`
//! Without `LOOM_MAX_PREEMPTIONS` every schedule is tried, but of those [`bounded`]. A lost wake-up shows as loom's deadlock report.
#![cfg(kcompressd_loom)]

mod loom_rig;

use kcompressd_core::sync::{Arc, AtomicBool, AtomicU64, Ordering, thread};
use kcompressd_core::wait::{Ticket, WaitCell, WaitKey, WaitTable, Woken};
use loom_rig::bounded;

/// A condition and the cell to wait for it on; the condition orders nothing by itself.
struct Event {
    happened: AtomicBool,
    cell: WaitCell,
}

impl Event {
    fn new() -> Arc<Self> {
        Arc::new(Self { happened: AtomicBool::new(false), cell: WaitCell::new() })
    }

    fn happened(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    fn happen(&self) {
        self.happened.store(true, Ordering::Relaxed);
    }

    /// Waits; returns how it ended.
    fn wait(&self) -> Woken {
        while !self.happened() {
            let ticket = self.cell.prepare();
            if self.happened() {
                if self.cell.cancel(ticket) {
                    self.cell.wake_one();
                }
                break;
            }
            if self.cell.park(ticket) == Woken::Shutdown {
                return Woken::Shutdown;
            }
        }
        Woken::Woken
    }
}

/// One who waits is told, whenever that happens.
fn a_waiter_is_told(tell: fn(&WaitCell)) {
    loom::model(move || {
        let event = Event::new();
        let waiter = thread::spawn({
            let event = Arc::clone(&event);
            move || event.wait()
        });
        event.happen();
        tell(&event.cell);
        assert_eq!(waiter.join().unwrap(), Woken::Woken);
    });
}

#[test]
fn change_between_look_and_park() {
    a_waiter_is_told(|cell| {
        cell.wake_one();
    });
}

#[test]
fn early_wake_up_is_made_up_for() {
    a_waiter_is_told(|cell| {
        cell.wake_one_early();
        cell.wake_one();
    });
}

#[test]
fn wake_all_reaches_two_sleepers() {
    bounded(|| {
        let event = Event::new();
        let waiters = [0, 1].map(|_| {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait())
        });
        event.happen();
        event.cell.wake_all();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Woken::Woken));
    });
}

#[test]
fn wake_one_twice_reaches_two_sleepers() {
    bounded(|| {
        let event = Event::new();
        let waiters = [0, 1].map(|_| {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait())
        });
        event.happen();
        event.cell.wake_one();
        event.cell.wake_one();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Woken::Woken));
    });
}

/// Takes tickets back, and passes on the wake-ups that they got meanwhile.
fn cancel(event: &Event, tickets: impl IntoIterator<Item = Ticket>) {
    for ticket in tickets {
        if event.cell.cancel(ticket) {
            event.cell.wake_one();
        }
    }
}

#[test]
fn wake_one_taken_by_a_cancelled_ticket() {
    bounded(|| {
        let event = Event::new();
        let canceller = thread::spawn({
            let event = Arc::clone(&event);
            move || cancel(&event, [event.cell.prepare()])
        });
        let waiter = thread::spawn({
            let event = Arc::clone(&event);
            move || event.wait()
        });
        event.happen();
        event.cell.wake_one();
        assert_eq!(waiter.join().unwrap(), Woken::Woken);
        canceller.join().unwrap();
    });
}

#[test]
fn cancel_in_the_middle_of_the_line() {
    loom::model(|| {
        let event = Event::new();
        let waiter = thread::spawn({
            let event = Arc::clone(&event);
            move || event.wait()
        });
        // The first takes those ahead along, which must be told; the second leaves nobody to wake.
        cancel(&event, [event.cell.prepare(), event.cell.prepare()]);
        event.happen();
        event.cell.wake_one();
        assert_eq!(waiter.join().unwrap(), Woken::Woken);
    });
}

/// One thread stands in line twice, and is told of both places: a small model beside those of two sleepers, which ends with
/// every schedule tried. `looks` is what it does between enrolling and parking.
fn both_places_are_told(looks: fn(&Event, Ticket), tell: fn(&WaitCell)) {
    loom::model(move || {
        let event = Event::new();
        let teller = thread::spawn({
            let event = Arc::clone(&event);
            move || {
                event.happen();
                tell(&event.cell);
            }
        });
        let (first, second) = (event.cell.prepare(), event.cell.prepare());
        match event.happened() {
            true => cancel(&event, [second, first]),
            false => {
                looks(&event, first);
                assert_eq!(event.cell.park(second), Woken::Woken);
            }
        }
        teller.join().unwrap();
        assert_eq!(event.cell.waiting(), 0);
    });
}

fn park(event: &Event, ticket: Ticket) {
    assert_eq!(event.cell.park(ticket), Woken::Woken);
}

#[test]
fn wake_all_reaches_both_places() {
    both_places_are_told(park, |cell| _ = cell.wake_all());
}

#[test]
fn wake_one_twice_reaches_both_places() {
    both_places_are_told(park, |cell| _ = cell.wake_one() | cell.wake_one());
}

#[test]
fn wake_one_taken_by_a_cancelled_place() {
    both_places_are_told(|event, first| cancel(event, [first]), |cell| _ = cell.wake_one());
}

/// Two threads asleep on one cell, in line before it is told: a small model, too, of what one thread in two places does not show.
fn two_in_line(first: fn(&WaitCell), tell: fn(&WaitCell)) {
    loom::model(move || {
        let cell = Arc::new(WaitCell::new());
        let sleepers = [first, |_| ()].map(|woken| {
            let (cell, ticket) = (Arc::clone(&cell), cell.prepare());
            thread::spawn(move || {
                assert_eq!(cell.park(ticket), Woken::Woken);
                woken(&cell);
            })
        });
        tell(&cell);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

#[test]
fn wake_all_reaches_two_in_line() {
    two_in_line(|_| (), |cell| _ = cell.wake_all());
}

#[test]
fn wake_one_reaches_one_in_line_after_the_other() {
    let wake_one: fn(&WaitCell) = |cell| _ = cell.wake_one();
    two_in_line(wake_one, wake_one);
}

/// What came before anybody stood in line is taken by one who then stands there, and is woken for what comes next: not needed, the
/// wake-up goes to the place behind.
#[test]
fn a_wake_up_that_came_too_late_goes_on() {
    loom::model(|| {
        let shared = Arc::new((AtomicU64::new(0), WaitCell::new()));
        let taker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (items, cell) = &*shared;
                let take = || (items.load(Ordering::Relaxed) > 0).then(|| items.fetch_sub(1, Ordering::Relaxed));
                cell.wait_for(take).expect("no shutdown");
            }
        });
        let (items, cell) = &*shared;
        let put = || {
            items.fetch_add(1, Ordering::Relaxed);
            cell.wake_one();
        };
        put();
        let ticket = cell.prepare();
        put();
        taker.join().unwrap();
        assert!(cell.is_woken(ticket), "asleep beside an item");
    });
}

/// One changes both parts of what a sleeper waits for, and tells it each time.
#[test]
fn told_twice() {
    loom::model(|| {
        let shared = Arc::new(([(); 2].map(|()| AtomicBool::new(false)), WaitCell::new()));
        let waker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for part in &shared.0 {
                    part.store(true, Ordering::Relaxed);
                    shared.1.wake_one();
                }
            }
        });
        let (happened, cell) = &*shared;
        let both = || happened.iter().all(|part| part.load(Ordering::Relaxed)).then_some(());
        cell.wait_for(both).expect("no shutdown");
        waker.join().unwrap();
    });
}

#[test]
fn shutdown_against_park() {
    loom::model(|| {
        let table = Arc::new(WaitTable::new(1, 1));
        let sleeper = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                let ticket = table.prepare(WaitKey::Queue(0));
                table.park(WaitKey::Queue(0), ticket)
            }
        });
        table.shutdown();
        assert_eq!(sleeper.join().unwrap(), Woken::Shutdown);
    });
}

#[test]
fn shutdown_against_wake() {
    loom::model(|| {
        let event = Event::new();
        let sleeper = thread::spawn({
            let event = Arc::clone(&event);
            move || event.wait()
        });
        let waker = thread::spawn({
            let event = Arc::clone(&event);
            move || {
                event.happen();
                event.cell.wake_one();
            }
        });
        event.cell.shutdown();
        let _either = sleeper.join().unwrap();
        waker.join().unwrap();
    });
}
