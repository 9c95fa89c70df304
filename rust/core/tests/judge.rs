//! The judge against the state word that wrote the records, and against a slow judge that asks the table each time.

use kcompressd_core::judge::{Config, Judge, Memcgs, Ordering, Reason, Verdict};
use kcompressd_core::lifecycle::generated::{EFFECTS, ROWS, STATE_FLAGS};
use kcompressd_core::lifecycle::{Change, Event, Fire, State, StateWord, Table, actor, flag, guard};
use kcompressd_core::trace::{Record, SYSTEM, aux, system};
use proptest::prelude::*;

const START: u16 = flag::FRAME | flag::LRU | flag::MAPPED | flag::DIRTY;
const PAGES: usize = 4;
/// Groups: the root, its child and its grandchild; and each page's.
const PARENTS: [u16; 3] = [0, 0, 1];
const MEMCGS: [u16; PAGES] = [0, 1, 2, 2];
const ACTORS: [u16; 4] = [0x0100, 0x0103, 0x0200, 0x0704];

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

/// Whether only the actor that brought a page to `state` takes it on.
fn is_held(state: State) -> bool {
    matches!(state, State::Isolated | State::Unmapped | State::Compressing | State::FaultingIn)
}

/// `writeback_enabled` of a page, by its group's knob and those above.
fn writeback_enabled(knobs: [bool; 3], page: usize) -> bool {
    let own = MEMCGS[page];
    [own, PARENTS[usize::from(own)], 0].iter().all(|&memcg| knobs[usize::from(memcg)])
}

/// A page, its queue (one each, so that any order is FIFO) and the records its word wrote.
struct Walker {
    word: StateWord,
    copy: u8,
    ticket: u64,
    actor: u16,
}

impl Walker {
    fn new() -> Self {
        Self { word: StateWord::new(State::Resident, START), copy: 0, ticket: 0, actor: 0 }
    }

    /// One event with the flags of one alternative of its end (bit 7 of `guards` chooses) by one actor (bits 5 and 6), if the law and
    /// the event's effect allow it.
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
        let aux = match (event, before.state()) {
            _ if queued => aux::ticket(page, self.ticket),
            (Event::Activate, State::Isolated) => 1 + u64::from(pick % 3),
            (Event::Store, _) => aux::stored(u32::from(pick), 1),
            _ => 0,
        };
        let actor = if is_held(before.state()) { self.actor } else { ACTORS[usize::from(guards >> 5 & 3)] };
        self.actor = if before.state() == fired.to.state() { self.actor } else { actor };
        self.ticket += u64::from(queued && event == Event::Compress);
        let (from, to) = (fired.from.state() as u8, fired.to.state() as u8);
        let (seq, flags) = (fired.from.seq(), fired.to.flags());
        let folio = u32::from(page);
        let guards = fired.guards;
        Some(Record { folio, seq, flags, aux, actor, event: event as u8, from, to, guards, ..Record::default() })
    }
}

/// Steps of pages, and with the number behind theirs a knob turned, or what the store says that it holds.
fn walk(picks: &[(u16, u8, u8)]) -> Vec<Record> {
    let table = Table::default();
    let mut pages: Vec<_> = (0..PAGES).map(|_| Walker::new()).collect();
    let (mut knobs, mut sizes) = ([true; 3], [0; PAGES]);
    let steps = picks.iter().flat_map(|&(page, pick, guards)| {
        let at = usize::from(page);
        let system = Record { folio: SYSTEM, actor: ACTORS[3], ..Record::default() };
        let Some(walker) = pages.get_mut(at) else {
            let (memcg, on) = (guards % 3, pick % 2 == 1);
            if pick & 2 == 0 {
                return vec![Record { event: system::POOL, aux: sizes.iter().sum(), ..system }];
            }
            knobs[usize::from(memcg)] = on;
            let aux = u64::from(memcg) << 32 | u64::from(on);
            return vec![Record { event: system::WRITEBACK_KNOB, aux, ..system }];
        };
        let enabled = u8::from(writeback_enabled(knobs, at)) * guard::WRITEBACK_ENABLED;
        let Some(r) = walker.step(&table, page, pick, guards & !guard::WRITEBACK_ENABLED | enabled) else {
            return Vec::new();
        };
        sizes[at] = size(&r, walker.copy, sizes[at]);
        match ends_write(&r) == Some(false) {
            true => vec![Record { event: system::IO_ERROR, aux: pick.into(), actor: actor::DEVICE, ..system }, r],
            false => vec![r],
        }
    });
    steps.enumerate().map(|(i, r)| Record { t_ns: i as u64, ..r }).collect()
}

/// Whether the device's write that `r` ends has gone well; `None`: it ends none.
fn ends_write(r: &Record) -> Option<bool> {
    let ends = [Event::Redirty, Event::EndWriteback].map(|event| event as u8).contains(&r.event);
    (r.from == State::WritingBack as u8 && ends).then_some(r.event == Event::EndWriteback as u8)
}

/// Bytes of a page's copy in the store after `r`, which left its copy at `copy`.
fn size(r: &Record, copy: u8, before: u64) -> u64 {
    match r.event == Event::Store as u8 {
        _ if copy & guard::IN_POOL == 0 => 0,
        true => r.aux & 0xffff_ffff,
        false => before,
    }
}

fn config() -> Config {
    Config { ordering: Ordering::Total, depths: Some(vec![1; PAGES]), ..Config::default() }
}

fn configs() -> impl Strategy<Value = Config> {
    let memcgs = || Memcgs { parents: PARENTS.to_vec(), writeback: vec![true; 3], of_page: MEMCGS.to_vec() };
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(total, pool, known)| {
        let ordering = if total { Ordering::Total } else { Ordering::PerFolio };
        Config { ordering, pool, memcgs: known.then(memcgs), ..config() }
    })
}

/// A record as a file has it (docs/formats.md).
fn bytes(r: &Record) -> [u8; 32] {
    let (low, high) = ([r.t_ns, r.aux].map(u64::to_le_bytes), [r.folio, r.seq].map(u32::to_le_bytes));
    let small = [r.actor, r.flags].map(u16::to_le_bytes);
    let all = [low.as_flattened(), high.as_flattened(), small.as_flattened(), &[r.event, r.from, r.to, r.guards]];
    all.concat().try_into().unwrap()
}

/// Judges records, and what a file of them says the same of.
fn judge_by(records: &[Record], block: usize, config: Config) -> (Verdict, Vec<u8>) {
    let [mut judge, mut of_file] = [(); 2].map(|()| Judge::new(&Table::default(), Some(PAGES), config.clone()));
    for part in records.chunks(block.max(1)) {
        assert_eq!(judge.feed(part), of_file.feed_bytes(&part.iter().map(bytes).collect::<Vec<_>>()));
    }
    let verdict = judge.finish();
    assert_eq!(verdict, of_file.finish());
    (verdict, judge.states())
}

/// What the slow judge knows of a page: its number of records, state, flags, copy, owner and the bytes of the copy.
type Known = (u32, State, u16, u8, u16, u64);

/// A page after a lawful record.
fn slow_page(table: &Table, known: &Known, r: &Record, enabled: Option<bool>) -> Option<Known> {
    let &(seq, state, before, at, owner, bytes) = known;
    let event = *Event::ALL.get(usize::from(r.event))?;
    let mut past = at | if before & flag::MAPPED != 0 { guard::MAPPED } else { 0 };
    let mut derived = guard::MAPPED | guard::IN_POOL | guard::ZERO;
    if let Some(enabled) = enabled {
        past |= u8::from(enabled) * guard::WRITEBACK_ENABLED;
        derived |= guard::WRITEBACK_ENABLED;
    }
    let (to, read) = table.next(event, state, r.guards & !derived | past)?;
    let same = (r.seq, r.from, r.to, r.guards) == (seq, state as u8, to as u8, read);
    let flags = r.flags >> flag::NAMES.len() == 0 && table.permits(to, r.flags);
    let stray = event == Event::Compress && state != State::Queued && r.aux >> 48 != 0;
    let uncaused = (event, to) == (Event::Activate, State::Activated) && !(1..=3).contains(&r.aux);
    let moved = state != to;
    let taken = moved && is_held(state) && (owner ^ r.actor) & 0x071f != 0;
    let now = copy(event, to, at);
    let owner = if moved { r.actor } else { owner };
    (same && flags && !uncaused && !stray && !taken && effect_holds(event, before, r.flags))
        .then(|| (seq + 1, to, r.flags, now, owner, size(r, now, bytes)))
}

/// Whether a system event is lawful after those `before`; a knob is turned.
fn slow_system(r: &Record, before: &[Record], config: &Config, knobs: &mut [bool; 3], live: u64) -> bool {
    let (of, value) = ((r.aux >> 32) as usize, r.aux as u32);
    let phases = || before.iter().filter(|r| r.folio == SYSTEM && r.event == system::PHASE);
    let noted = || before.iter().rfind(|r| r.folio == SYSTEM && r.event != system::IO_ERROR);
    let lawful = match r.event {
        system::WRITEBACK_KNOB => value <= 1 && (config.memcgs.is_none() || of < knobs.len()),
        system::PHASE if r.aux > 0 && noted().is_none_or(|r| r.event != system::POOL) => false,
        system::PHASE => r.aux <= 2 && phases().all(|phase| phase.aux < r.aux),
        system::POOL => !config.pool || r.aux == live,
        system::IO_ERROR => of == 0 && !slow_failed(before),
        event => (0x80..0x86).contains(&event),
    } && (r.event == system::IO_ERROR) == (r.actor >> 8 == 4);
    if lawful && r.event == system::WRITEBACK_KNOB && of < knobs.len() {
        knobs[of] = value == 1;
    }
    lawful && (r.seq, r.flags, r.from, r.to, r.guards) == (0, 0, 0, 0, 0)
}

/// Whether the device has noted an I/O error since a write of its last ended.
fn slow_failed(before: &[Record]) -> bool {
    let noted = |r: &Record| r.folio == SYSTEM && r.event == system::IO_ERROR;
    before.iter().rfind(|r| noted(r) || ends_write(r).is_some()).is_some_and(noted)
}

/// The position of the first record that the law forbids, found slowly, and the states so far; tickets are left out.
fn slow(records: &[Record], config: &Config) -> (Option<u64>, Vec<u8>) {
    let table = Table::default();
    let mut pages: [Known; PAGES] = [(0, State::Resident, START, 0, 0, 0); PAGES];
    let (mut knobs, mut clocks) = ([true; 3], std::collections::HashMap::new());
    let total = config.ordering == Ordering::Total;
    let first = records.iter().enumerate().position(|(i, r)| {
        let before = &records[..i];
        let clock = clocks.entry(if total { 0 } else { r.actor }).or_insert(0);
        let in_time = r.t_ns >= std::mem::replace(clock, r.t_ns);
        if r.folio == SYSTEM {
            let live = pages.iter().map(|page| page.5).sum();
            return !(in_time && slow_system(r, before, config, &mut knobs, live));
        }
        let at = r.folio as usize;
        let enabled = |_: &Memcgs| writeback_enabled(knobs, at);
        let after = pages
            .get(at)
            .and_then(|page| slow_page(&table, page, r, config.memcgs.as_ref().filter(|_| total).map(enabled)));
        let ended = ends_write(r).is_none_or(|well| well != slow_failed(before));
        after.map(|after| pages[at] = after).is_none() || !in_time || !ended
    });
    (first.map(|i| i as u64), pages.iter().map(|page| page.1 as u8).collect())
}

/// The same step by another row of the table that leaves the same state: lawful, were it not for the page's past.
fn become_another_row(r: &mut Record, pick: usize) {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.from == r.from).collect();
    let row = rows[pick % rows.len()];
    (r.event, r.to, r.guards) = (row.event, row.to, row.require_value);
}

fn picks() -> impl Strategy<Value = Vec<(u16, u8, u8)>> {
    proptest::collection::vec((0..=PAGES as u16, any::<u8>(), any::<u8>()), 1..200)
}

proptest! {
    #[test]
    fn what_the_state_word_permits_is_lawful(picks in picks(), block in 1usize..70, config in configs()) {
        let records = walk(&picks);
        let (verdict, states) = judge_by(&records, block, config.clone());
        prop_assert_eq!(verdict.first, None);
        let counted: u64 = verdict.by_event.iter().chain(&verdict.by_system).sum();
        prop_assert_eq!((verdict.events, counted), (records.len() as u64, records.len() as u64));
        prop_assert_eq!((None, &states), (slow(&records, &config).0, &slow(&records, &config).1));
        let moving = states.iter().filter(|&&state| !State::from_id(state).rests()).count() as u64;
        let (complete, _) = judge_by(&records, block, Config { complete: true, ..config });
        prop_assert_eq!([verdict.in_flight, complete.in_flight, complete.violations], [moving; 3]);
        let left = states.iter().position(|&state| !State::from_id(state).rests());
        prop_assert_eq!(complete.first.map(|b| b.record.folio as usize), left);
    }

    #[test]
    fn the_first_breach_is_where_a_slow_judge_finds_it(
        picks in picks(), at in any::<prop::sample::Index>(), field in 0usize..15, value in any::<u64>(), near in any::<bool>(),
        config in configs(),
    ) {
        let mut records = walk(&picks);
        prop_assume!(!records.is_empty());
        let kind = |r: &Record| match field {
            11..13 => (r.folio, r.event) == (SYSTEM, system::WRITEBACK_KNOB),
            13 => (r.event, r.aux) == (Event::Compress as u8, 0),
            _ => false,
        };
        let at = records.iter().position(kind).unwrap_or(at.index(records.len()));
        let r = &mut records[at];
        let knob = (r.folio, r.event) == (SYSTEM, system::WRITEBACK_KNOB);
        let value = if near { value % 40 } else { value };
        match field {
            0 => r.folio = (value as u32).min(SYSTEM - 1),
            1 => r.seq = value as u32,
            2 => r.event = value as u8,
            3 => r.from = value as u8,
            4 => r.to = value as u8,
            5 => r.guards = value as u8,
            6 => r.flags = value as u16,
            7 | 8 => become_another_row(r, value as usize),
            9 => r.actor = if near { ACTORS[value as usize % 4] } else { value as u16 },
            10 => r.aux = value,
            11..13 => r.aux ^= 1,
            13 => r.aux ^= 1 << 48,
            _ => r.t_ns = value,
        }
        // Tickets are judged after the edge: a breach of theirs is not the slow judge's business.
        let tickets = ["ticket", "fifo", "depth"];
        let (verdict, _) = judge_by(&records, records.len(), config.clone());
        // As written for another page: there, at that page's next record, at this one's, and for a ticket. What the store says next
        // may differ, and again when the copies have gone.
        let most = if config.pool { 8 } else { 4 };
        prop_assert!(knob || verdict.violations <= most, "{} for one", verdict.violations);
        let first = verdict.first;
        if let Some(Reason::Guard { guard, held }) = first.map(|b| b.reason) {
            prop_assert_eq!(first.map(|b| b.record.guards & guard == 0), Some(held));
        }
        match first.filter(|b| tickets.contains(&b.reason.kind())) {
            Some(ticket) => prop_assert!(slow(&records, &config).0.is_none_or(|i| i >= ticket.index)),
            None => prop_assert_eq!(first.map(|b| b.index), slow(&records, &config).0, "{:?}", first),
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
        let picks: Vec<_> = (0..60).map(|_| (u16::from(next()) % (PAGES as u16 + 1), next(), next())).collect();
        taken.extend(walk(&picks).iter().filter(|r| r.folio != SYSTEM).map(|r| (r.event, r.from, r.guards, r.to)));
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
    assert_eq!(first(&[isolate(7), isolate(8)], Some(8)), Some(Reason::Folio { pages: Some(8) }));
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
    let verdict = judge_by(&records, 2, config()).0;
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
    let phase = Record { folio: SYSTEM, event: system::PHASE, ..Record::default() };
    assert_eq!(first(&[phase], None), None);
    let pool = Record { event: system::POOL, ..phase };
    let verdict = judge_by(&[phase, isolate(0), pool, Record { aux: 2, ..phase }], 3, config()).0;
    assert_eq!((verdict.by_system[usize::from(system::PHASE - 0x80)], verdict.by_system.iter().sum()), (2, 3));
    let knob = Record { event: system::WRITEBACK_KNOB, ..phase };
    let at = |aux| Record { aux, ..phase };
    for unordered in [&[phase, at(1)][..], &[phase, pool, knob, at(1)], &[phase, pool, at(2), pool, at(1)], &[phase; 2]]
    {
        let (last, before) = unordered.split_last().unwrap();
        assert_eq!((first(before, None), first(unordered, None)), (None, Some(Reason::System)), "{last:?}");
    }
    let error = Record { event: system::IO_ERROR, actor: actor::DEVICE, ..phase };
    assert_eq!(first(&[error], None), None);
    for bad in [
        Record { aux: 3, ..phase },
        Record { actor: actor::DEVICE, ..pool },
        Record { actor: actor::SCRIPT, ..error },
        Record { aux: 1 << 32, ..error },
        Record { event: 0x86, ..phase },
        Record { event: 0, ..phase },
        Record { seq: 1, ..phase },
        Record { guards: 1, ..phase },
    ] {
        assert_eq!(first(&[bad], None), Some(Reason::System), "{bad:?}");
    }
}
