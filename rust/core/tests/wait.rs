//! The wait table without races: lines, tickets, saved states, shutdown, and real threads asleep.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kcompressd_core::wait::{Backoff, Ticket, WaitCell, WaitKey, WaitTable, Woken};
use proptest::prelude::*;

#[test]
fn waking_nobody_changes_nothing() {
    let cell = WaitCell::new();
    assert!(!cell.wake_one() && !cell.wake_all());
    assert_eq!(cell.waiting(), 0);
}

#[test]
fn who_waits_stays_awake_for_a_while_and_no_longer() {
    let mut backoff = Backoff::new();
    let awake = (0..1000).take_while(|_| backoff.snooze()).count();
    assert!((1..1000).contains(&awake) && !backoff.snooze(), "{awake}");
}

#[test]
fn wake_one_goes_in_line() {
    let cell = WaitCell::new();
    let tickets = [(); 3].map(|()| cell.prepare());
    assert_eq!(tickets.map(|ticket| cell.place(ticket)), [1, 2, 3]);
    assert!(cell.wake_one());
    assert_eq!(tickets.map(|ticket| cell.is_woken(ticket)), [true, false, false]);
    assert_eq!(cell.park(tickets[0]), Woken::Woken);
    assert!(cell.wake_all() && !cell.wake_all());
    assert_eq!(tickets.map(|ticket| cell.place(ticket)), [0, 0, 0]);
}

#[test]
fn cancelled_ticket_never_keeps_others_asleep() {
    let cell = WaitCell::new();
    let [first, second, third] = [(); 3].map(|()| cell.prepare());
    assert!(!cell.cancel(third), "the last one just leaves");
    assert_eq!([cell.place(first), cell.place(second)], [1, 2]);
    assert!(!cell.cancel(first), "another one is woken with those ahead");
    assert_eq!([cell.place(first), cell.place(second)], [0, 1]);
    assert!(cell.wake_one() && cell.cancel(second), "woken before it was cancelled");
    assert!(!cell.wake_one());
}

#[test]
fn only_the_end_of_the_run_ends_a_sleep_early() {
    let table = Arc::new(WaitTable::new(1, 1));
    assert_eq!(table.sleep(Duration::from_millis(1)), Woken::TimedOut);
    let sleeper = thread::spawn({
        let table = Arc::clone(&table);
        move || table.sleep(Duration::from_secs(3600))
    });
    keys(1, 1).into_iter().for_each(|key| assert!(!table.wake_all(key)));
    table.shutdown();
    assert_eq!(sleeper.join().unwrap(), Woken::Shutdown);
    assert_eq!(table.sleep(Duration::from_secs(3600)), Woken::Shutdown);
}

#[test]
fn timeout_leaves_the_line() {
    let cell = WaitCell::new();
    let ticket = cell.prepare();
    assert_eq!(cell.park_timeout(ticket, Duration::from_millis(1)), Woken::TimedOut);
    assert!(!cell.wake_one());
    let ticket = cell.prepare();
    assert!(cell.wake_one());
    assert_eq!(cell.park_timeout(ticket, Duration::ZERO), Woken::Woken);
}

#[test]
fn shutdown_wakes_every_key_for_good() {
    let table = Arc::new(WaitTable::new(2, 4));
    let keys = keys(2, 4);
    let asleep = keys.iter().map(|&key| {
        let table = Arc::clone(&table);
        let ticket = table.prepare(key);
        thread::spawn(move || table.park(key, ticket))
    });
    let sleepers: Vec<_> = asleep.collect();
    table.shutdown();
    for sleeper in sleepers {
        assert_eq!(sleeper.join().expect("no panic"), Woken::Shutdown);
    }
    for key in keys {
        assert_eq!(table.park(key, table.prepare(key)), Woken::Shutdown);
    }
}

/// Every key of a table for so many queues, folios as many as have cells of their own.
fn keys(queues: u16, buckets: u32) -> Vec<WaitKey> {
    let of_queues = (0..queues).flat_map(|number| [WaitKey::Queue(number), WaitKey::QueueSpace(number)]);
    let of_folios = (0..buckets).flat_map(|folio| [WaitKey::Folio(folio), WaitKey::Writeback(folio)]);
    let single =
        [WaitKey::Memory, WaitKey::Device, WaitKey::Shrink, WaitKey::Kswapd, WaitKey::Pfmemalloc, WaitKey::Throttle];
    of_queues.chain(of_folios).chain(single).collect()
}

#[test]
fn keys_share_cells_only_as_said() {
    for (queues, buckets) in [(0, 1), (1, 2), (2, 4), (5, 3)] {
        let table = WaitTable::new(queues, buckets);
        let wakers: [fn(&WaitTable, WaitKey) -> bool; 3] =
            [WaitTable::wake_one, WaitTable::wake_one_early, WaitTable::wake_all];
        for (key, wake) in keys(queues, buckets).into_iter().flat_map(|key| wakers.map(|wake| (key, wake))) {
            let (ticket, wakes) = (table.prepare(key), table.wakes());
            for other in keys(queues, buckets).into_iter().filter(|&other| other != key) {
                assert!(!wake(&table, other), "{key:?} and {other:?}");
            }
            assert!(!table.is_woken(key, ticket) && table.wakes() == wakes);
            let shares = match key {
                WaitKey::Folio(folio) => WaitKey::Folio(folio + buckets),
                WaitKey::Writeback(folio) => WaitKey::Writeback(folio + 3 * buckets),
                key => key,
            };
            assert!(wake(&table, shares) && table.is_woken(key, ticket) && table.wakes() == wakes + 1);
        }
    }
}

#[test]
fn sleepers_in_threads_are_woken_in_line() {
    let cell = Arc::new(WaitCell::new());
    let sleepers = [(); 3].map(|()| {
        let ticket = cell.prepare();
        let cell = Arc::clone(&cell);
        thread::spawn(move || cell.park(ticket))
    });
    for sleeper in sleepers {
        assert!(cell.wake_one());
        assert_eq!(sleeper.join().expect("no panic"), Woken::Woken);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Prepare,
    WakeOne { early: bool },
    WakeAll,
    Cancel(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Prepare),
        2 => any::<bool>().prop_map(|early| Op::WakeOne { early }),
        1 => Just(Op::WakeAll),
        2 => (0..8usize).prop_map(Op::Cancel),
    ]
}

/// The unwoken tickets in line, each a plain number, against a `Vec`.
fn step(cell: &WaitCell, line: &mut Vec<Ticket>, op: Op) {
    match op {
        Op::Prepare => line.push(cell.prepare()),
        Op::WakeOne { early } => {
            assert_eq!(if early { cell.wake_one_early() } else { cell.wake_one() }, !line.is_empty());
            line.drain(..line.len().min(1)).for_each(|woken| assert!(cell.is_woken(woken)));
        }
        Op::WakeAll => {
            assert_eq!(cell.wake_all(), !line.is_empty());
            line.drain(..).for_each(|woken| assert!(cell.is_woken(woken)));
        }
        Op::Cancel(i) if i < line.len() => {
            assert!(!cell.cancel(line[i]));
            let last = i + 1 == line.len();
            line.drain(if last { i } else { 0 }..=i);
        }
        Op::Cancel(_) => {}
    }
}

proptest! {
    #[test]
    fn line_is_a_queue_and_restores_in_place(ops in prop::collection::vec(op(), 1..100)) {
        let (cell, elsewhere) = (WaitCell::new(), WaitCell::new());
        let mut line = Vec::new();
        for op in ops {
            step(&cell, &mut line, op);
            let places: Vec<u32> = line.iter().map(|ticket| cell.place(*ticket)).collect();
            prop_assert_eq!(&places, &(1..=line.len() as u32).collect::<Vec<_>>());
            prop_assert_eq!(cell.waiting(), line.len() as u32);
            elsewhere.set_waiting(cell.waiting());
            prop_assert_eq!(elsewhere.waiting(), cell.waiting());
            for ticket in &line {
                prop_assert_eq!(elsewhere.ticket_at(elsewhere.place(*ticket)), *ticket);
            }
        }
    }
}
