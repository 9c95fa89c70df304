//! The judge against the state word that wrote the records, and against a slow judge that asks the table each time.

use kcompressd_core::judge::{Config, Judge, Ordering, Reason, Verdict};
use kcompressd_core::lifecycle::generated::{EFFECTS, ROWS, STATE_FLAGS};
use kcompressd_core::lifecycle::{Change, Event, Fire, State, StateWord, Table, flag, guard};
use kcompressd_core::trace::{Record, SYSTEM, aux, system};
use proptest::prelude::*;

const START: u16 = flag::FRAME | flag::LRU | flag::MAPPED | flag::DIRTY;
const PAGES: usize = 4;

/// Where a page's copy is after an event, as guard bits: written down a second time, by hand.
fn copy(event: Event, to: State, before: u8) -> u8 {
    match (event, to) {
        (_, State::Compressed | State::CompressedFreed) | (Event::Store, State::ResidentSwapcache | State::Tail) => {
            guard::IN_POOL
        }
        (_, State::ZeroFilled | State::ZeroFilledFreed) => guard::ZERO,
        (_, State::ResidentSwapcache | State::FaultingIn) | (Event::Shrink, State::Unmapped) => before,
        _ => 0,
    }
}

fn effect_holds(event: Event, before: u16, after: u16) -> bool {
    EFFECTS.iter().find(|(e, _)| *e == event).is_none_or(|(_, effect)| effect.holds(before, after))
}

/// A page, its queue (one each, so that any order is FIFO) and the records its word wrote.
struct Walker {
    word: StateWord,
    copy: u8,
    ticket: u64,
}

impl Walker {
    fn new() -> Self {
        Self { word: StateWord::new(State::Resident, START), copy: 0, ticket: 0 }
    }

    /// One event with the flags of one alternative of its end (bit 7 of `guards` chooses), if the law and the event's effect allow it.
    fn step(&mut self, table: &Table, page: u16, pick: u8, guards: u8) -> Option<Record> {
        let before = self.word.load();
        let held = guards & 0x1f & !(guard::IN_POOL | guard::ZERO) | self.copy;
        let rows: Vec<_> = table.rows().iter().filter(|r| r.from == before.state() as u8).collect();
        let row = rows.get(usize::from(pick) % rows.len().max(1))?;
        let event = Event::from_id(row.event);
        let effect = EFFECTS.iter().find(|(e, _)| *e == event).map(|(_, e)| *e);
        let (set, clear) = effect.map_or((0, 0), |e| (e.after_set, e.after_clear));
        let alternatives = STATE_FLAGS[usize::from(row.to)];
        let (mask, value) = alternatives[usize::from(guards >> 7) % alternatives.len()];
        let back = if event == Event::Load { START } else { 0 };
        let change = Change::flags(set | value | back & !mask, clear | mask & !value);
        let after = before.flags() & !change.clear | change.set;
        if !effect_holds(event, before.flags(), after) {
            return None;
        }
        let Ok(Fire::Done(fired)) = self.word.fire(table, event, held, change) else { return None };
        self.copy = copy(event, fired.to.state(), self.copy);
        let queued = event == Event::Queue || fired.from.state() == State::Queued && event == Event::Compress;
        let unallocated = (event, before.state()) == (Event::Activate, State::Isolated);
        let aux = if queued { aux::ticket(page, self.ticket) } else { u64::from(unallocated) };
        self.ticket += u64::from(queued && event == Event::Compress);
        let (from, to) = (fired.from.state() as u8, fired.to.state() as u8);
        let (seq, flags) = (fired.from.seq(), fired.to.flags());
        let folio = u32::from(page);
        Some(Record { folio, seq, flags, aux, event: event as u8, from, to, guards: fired.guards, ..Record::default() })
    }
}

fn walk(picks: &[(u16, u8, u8)]) -> Vec<Record> {
    let table = Table::default();
    let mut pages: Vec<_> = (0..PAGES).map(|_| Walker::new()).collect();
    let steps = picks.iter().filter_map(|&(page, pick, g)| pages[usize::from(page)].step(&table, page, pick, g));
    steps.enumerate().map(|(i, r)| Record { t_ns: i as u64, actor: 0x0100, ..r }).collect()
}

fn config() -> Config {
    Config { ordering: Ordering::Total, depths: Some(vec![1; PAGES]), ..Config::default() }
}

fn judge(records: &[Record], block: usize) -> Verdict {
    let mut judge = Judge::new(&Table::default(), Some(PAGES), config());
    for part in records.chunks(block.max(1)) {
        let _ = judge.feed(part);
    }
    judge.finish()
}

/// The position of the first record that the law forbids, found slowly; tickets are left out.
fn slow(records: &[Record]) -> Option<u64> {
    let table = Table::default();
    let mut pages = [(0u32, State::Resident, START, 0u8); PAGES];
    let mut now = 0;
    for (i, r) in records.iter().enumerate() {
        let lawful = || {
            let (seq, state, before, at) = *pages.get(r.folio as usize)?;
            let event = *Event::ALL.get(usize::from(r.event))?;
            let past = at | if before & flag::MAPPED != 0 { guard::MAPPED } else { 0 };
            let known = guard::MAPPED | guard::IN_POOL | guard::ZERO;
            let (to, read) = table.next(event, state, r.guards & !known | past)?;
            let same = (r.seq, r.from, r.to, r.guards) == (seq, state as u8, to as u8, read);
            let flags = r.flags >> flag::NAMES.len() == 0 && table.permits(to, r.flags);
            let unallocated = (event, to) == (Event::Activate, State::Activated) && !(1..=2).contains(&r.aux);
            let fine = !unallocated && same && flags && effect_holds(event, before, r.flags) && r.t_ns >= now;
            fine.then_some((seq + 1, to, r.flags, copy(event, to, at)))
        };
        let Some(after) = lawful() else { return Some(i as u64) };
        pages[r.folio as usize] = after;
        now = r.t_ns;
    }
    None
}

/// The same step by another row of the table that leaves the same state: lawful, were it not for the page's past.
fn become_another_row(r: &mut Record, pick: usize) {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.from == r.from).collect();
    let row = rows[pick % rows.len()];
    (r.event, r.to, r.guards) = (row.event, row.to, row.require_value);
}

fn picks() -> impl Strategy<Value = Vec<(u16, u8, u8)>> {
    proptest::collection::vec((0..PAGES as u16, any::<u8>(), any::<u8>()), 1..200)
}

proptest! {
    #[test]
    fn what_the_state_word_permits_is_lawful(picks in picks(), block in 1usize..70) {
        let records = walk(&picks);
        let verdict = judge(&records, block);
        prop_assert_eq!(verdict.first, None);
        prop_assert_eq!((verdict.events, verdict.by_event.iter().sum()), (records.len() as u64, records.len() as u64));
    }

    #[test]
    fn the_first_breach_is_where_a_slow_judge_finds_it(
        picks in picks(), at in any::<prop::sample::Index>(), field in 0usize..10, value in any::<u64>(), near in any::<bool>(),
    ) {
        let mut records = walk(&picks);
        prop_assume!(!records.is_empty());
        let at = at.index(records.len());
        let r = &mut records[at];
        let value = if near { value % 20 } else { value };
        match field {
            0 => r.folio = (value as u32).min(SYSTEM - 1),
            1 => r.seq = value as u32,
            2 => r.event = value as u8,
            3 => r.from = value as u8,
            4 => r.to = value as u8,
            5 => r.guards = value as u8,
            6 => r.flags = value as u16,
            7 | 8 => become_another_row(r, value as usize),
            _ => r.t_ns = value,
        }
        // Tickets are judged after the edge: a breach of theirs is not the slow judge's business.
        let tickets = ["ticket", "fifo", "depth"];
        let verdict = judge(&records, records.len());
        // As written for another page: there, at that page's next record, at this one's, and for a ticket.
        prop_assert!(verdict.violations <= 4, "{} for one", verdict.violations);
        let first = verdict.first;
        match first.filter(|b| tickets.contains(&b.reason.kind())) {
            Some(ticket) => prop_assert!(slow(&records).is_none_or(|i| i >= ticket.index)),
            None => prop_assert_eq!(first.map(|b| b.index), slow(&records), "{:?}", first),
        }
    }
}

/// Else the properties above would hold for want of trying.
#[test]
fn walks_take_every_row() {
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (random >> 33) as u8
    };
    let mut taken = std::collections::HashSet::new();
    for _ in 0..3000 {
        let picks: Vec<_> = (0..60).map(|_| (u16::from(next()) % PAGES as u16, next(), next())).collect();
        taken.extend(walk(&picks).iter().map(|r| (r.event, r.from, r.guards, r.to)));
    }
    let missed: Vec<_> = ROWS.iter().filter(|r| !taken.contains(&(r.event, r.from, r.require_value, r.to))).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

fn first(records: &[Record], pages: Option<usize>) -> Option<Reason> {
    let mut judge = Judge::new(&Table::default(), pages, config());
    judge.feed(records).err().map(|b| b.reason)
}

fn isolate(folio: u32) -> Record {
    let flags = START & !flag::LRU;
    Record { folio, flags, event: Event::Isolate as u8, to: State::Isolated as u8, ..Record::default() }
}

#[test]
fn pages_are_made_as_they_are_met_and_never_beyond_the_trace_s() {
    for far in [0, 1, 99_999, 0x0fff_ffff] {
        assert_eq!(first(&[isolate(far)], None), None);
    }
    // The two highest numbers say something else in a queue.
    assert_eq!(first(&[isolate(SYSTEM - 1)], None), Some(Reason::Folio { pages: None }));
    assert_eq!(first(&[isolate(7)], Some(8)), None);
    assert_eq!(first(&[isolate(8)], Some(8)), Some(Reason::Folio { pages: Some(8) }));
    assert_eq!(first(&[isolate(7), isolate(9)], Some(8)), Some(Reason::Folio { pages: Some(8) }));
}

/// Pages far from each other: memory is spent on as many as the records account for, or as the sidecar says there are.
#[test]
fn scattered_pages_take_memory_by_the_records() {
    let scattered: Vec<_> = (0..4096).map(|i| isolate(i << 16)).collect();
    assert_eq!(first(&scattered[..256], None), None);
    assert_eq!(first(&scattered, Some(1 << 28)), None);
    let mut judge = Judge::new(&Table::default(), None, config());
    let breach = judge.feed(&scattered).unwrap_err();
    assert_eq!((breach.index, breach.reason), (256 + 4096 / 128, Reason::Folio { pages: None }));
    assert!(breach.to_string().contains("so few records"), "{breach}");
    judge.feed(&vec![Record { folio: SYSTEM, ..Record::default() }; 128]).unwrap_err();
    judge.feed(&[isolate(4096 << 16)]).unwrap(); // there are more records now
}

#[test]
fn a_breach_is_counted_and_the_judge_goes_on() {
    let mut records = walk(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0)]);
    records[1].seq += 5;
    let verdict = judge(&records, 2);
    assert!(verdict.violations >= 1);
    assert_eq!(verdict.first.map(|b| (b.index, b.reason)), Some((1, Reason::Sequence { expected: 1 })));
    assert_eq!(verdict.events, records.len() as u64);
}

#[test]
fn a_guard_that_says_something_else_is_named() {
    let unread = first(&[Record { guards: guard::ZERO | guard::IN_POOL, ..isolate(0) }], None);
    assert_eq!(unread, Some(Reason::Unread { bits: guard::ZERO | guard::IN_POOL }));
    let said = Reason::Guard { guard: guard::MAPPED, held: true };
    assert_eq!(said.to_string(), "guard mapped was true");
}

#[test]
fn a_system_event_is_bare_and_known() {
    let phase = Record { folio: SYSTEM, event: system::PHASE, aux: 1, ..Record::default() };
    assert_eq!(first(&[phase], None), None);
    let verdict = judge(&[phase, isolate(0), phase], 3);
    assert_eq!((verdict.by_system[usize::from(system::PHASE - 0x80)], verdict.by_system.iter().sum()), (2, 2));
    for bad in [
        Record { aux: 3, ..phase },
        Record { event: 0x86, ..phase },
        Record { event: 0, ..phase },
        Record { seq: 1, ..phase },
        Record { guards: 1, ..phase },
    ] {
        assert_eq!(first(&[bad], None), Some(Reason::System), "{bad:?}");
    }
}
