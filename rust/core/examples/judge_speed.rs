//! How many records a second the judge reads: a million pages, eight events each, in random order, on one core.
//!
//! `cargo run --release -p kcompressd-core --example judge_speed`. Three figures: edges and sequences only (half the
//! pages go through no queue), everything under a total order with tickets, and the file's bytes instead of records.

use kcompressd_core::judge::{Config, Judge, Ordering};
use kcompressd_core::lifecycle::{Change, Event, Fire, Fired, StateWord, Table, flag};
use kcompressd_core::trace::{Log, Record, aux};
use std::collections::VecDeque;
use std::time::Instant;

const PAGES: usize = 1_000_000;
const EVENTS: usize = 8;

/// A page's life by event: isolated, paged out, stored, put back, isolated, freed of its frame, faulted back.
fn life(step: usize, queued: bool) -> (Event, Change) {
    let resident = flag::DIRTY | flag::MAPPED | flag::LRU;
    let out = flag::LOCKED | flag::RECLAIM | flag::SWAPCACHE;
    match (step, queued) {
        (0, _) => (Event::Isolate, Change::flags(0, flag::LRU)),
        (1, _) => (Event::Pageout, Change::flags(out, flag::DIRTY | flag::MAPPED)),
        (2, true) => (Event::Queue, Change::NONE),
        (3, true) => (Event::Compress, Change::NONE),
        (4, true) => (Event::Store, Change::flags(0, flag::LOCKED | flag::RECLAIM)),
        (2, false) => (Event::Compress, Change::NONE),
        (3, false) => (Event::Store, Change::flags(0, flag::LOCKED | flag::RECLAIM)),
        (4, false) => (Event::Putback, Change::flags(flag::LRU, 0)),
        (5, _) => (Event::Reclaim, Change::flags(0, flag::FRAME | flag::SWAPCACHE | flag::LRU)),
        (6, _) => (Event::Fault, Change::flags(flag::FRAME | flag::LOCKED, 0)),
        _ => (Event::Load, Change::flags(resident, flag::LOCKED)),
    }
}

fn xorshift(random: &mut u64) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random as usize
}

/// One step of a page's life.
fn live_on(page: &StateWord, table: &Table, step: usize, queued: bool) -> (Event, Fired) {
    let (event, mut change) = life(step, queued);
    let exclusive = 0b0100;
    change.set &= if event == Event::Load { u16::MAX } else { !flag::MAPPED };
    let fire = page.fire(table, event, exclusive, change).expect("lawful");
    let Fire::Done(fired) = fire else { unreachable!("no flag is asked for") };
    (event, fired)
}

/// Every page's life, interleaved at random; with `queues`, half the pages pass through a queue and leave it in order.
fn trace(queues: bool) -> Vec<Record> {
    let table = Table::default();
    let start = flag::FRAME | flag::LRU | flag::MAPPED | flag::DIRTY;
    let pages: Vec<_> =
        (0..PAGES).map(|_| StateWord::new(kcompressd_core::lifecycle::State::Resident, start)).collect();
    let mut steps = vec![0usize; PAGES];
    let mut log = Log::new(true, PAGES * EVENTS);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut open = VecDeque::new();
    let (mut given, mut live): (u64, Vec<u32>) = (0, (0..PAGES as u32).collect());
    while !live.is_empty() {
        let at = xorshift(&mut random) % live.len();
        let mut folio = live[at];
        let queued = |f: u32| queues && f.is_multiple_of(2);
        if queued(folio) && steps[folio as usize] == 3 {
            folio = open.pop_front().expect("it waits itself");
        }
        let (event, fired) = live_on(&pages[folio as usize], &table, steps[folio as usize], queued(folio));
        let ticket = match (event, queued(folio)) {
            (Event::Queue, _) => {
                open.push_back(folio);
                given += 1;
                aux::ticket(0, given - 1)
            }
            (Event::Compress, true) => aux::ticket(0, given - 1 - open.len() as u64),
            _ => 0,
        };
        log.now_ns += 1;
        log.page(|| folio, 0x0100, event as u8, &fired, ticket);
        steps[folio as usize] += 1;
        if steps[live[at] as usize] == EVENTS {
            live.swap_remove(at);
        }
    }
    log.take()
}

fn time(name: &str, records: usize, mut run: impl FnMut() -> u64) {
    let mut rates: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(run(), 0, "violations");
            records as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name:32} {:6.1} million events/s (median of 9; {:.1} to {:.1})", rates[4], rates[0], rates[8]);
}

fn main() {
    let table = Table::default();
    let plain = Config::default();
    let depths = Some(vec![PAGES as u32]);
    let full = Config { ordering: Ordering::Total, complete: true, pool: true, depths, ..Config::default() };
    for (name, config, queues) in [("edges and sequences", plain, false), ("all checks", full, true)] {
        let records = trace(queues);
        time(name, records.len(), || {
            let mut judge = Judge::new(&table, Some(PAGES), config.clone());
            let _ = judge.feed(&records);
            judge.finish().violations
        });
        let bytes: Vec<[u8; 32]> = records.iter().map(encode).collect();
        time(&format!("{name}, from bytes"), records.len(), || {
            let mut judge = Judge::new(&table, Some(PAGES), config.clone());
            let _ = judge.feed_bytes(&bytes);
            judge.finish().violations
        });
    }
}

fn encode(r: &Record) -> [u8; 32] {
    let mut out = Vec::with_capacity(32);
    out.extend(r.t_ns.to_le_bytes().into_iter().chain(r.aux.to_le_bytes()));
    out.extend(r.folio.to_le_bytes().into_iter().chain(r.seq.to_le_bytes()));
    out.extend(r.actor.to_le_bytes().into_iter().chain(r.flags.to_le_bytes()));
    out.extend([r.event, r.from, r.to, r.guards]);
    out.try_into().expect("32 bytes")
}
