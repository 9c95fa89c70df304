//! Large folios against single pages, under failures, under the judge, and explored.

mod budget;
mod clocks;

use clocks::INCOMPRESSIBLE;
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::explore::{Choice, Properties, explore};
use kcompressd_core::driver::virtual_time::{Machine, run_with};
use kcompressd_core::driver::{Crew, Status};
use kcompressd_core::folio::Folio;
use kcompressd_core::judge::{self, Judge, Verdict};
use kcompressd_core::lifecycle::State;
use kcompressd_core::memcg::{MemcgEvent, Memcgs, ROOT};
use kcompressd_core::node::{Node, Place};
use kcompressd_core::reclaim::Task;
use kcompressd_core::snapshot::Saved;
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::swap::IoFaults;
use kcompressd_core::system::System;
use kcompressd_core::trace::{Record, SYSTEM, system::POOL};
use kcompressd_core::units::NIL;
use kcompressd_core::workload::Program;

const ORDERS: [u8; 3] = [1, 4, 9];

/// Large folios need not come first.
#[test]
fn lists_with_a_large_folio_on_them_come_back_with_all_its_pages() {
    let folios: Vec<Folio> =
        (0..8).map(|page| Folio::new(ROOT, 0).of_order(if page < 4 { 0 } else { 2 }, page)).collect();
    let node = Node::new(&Memcgs::default(), false, false);
    [0, 4].iter().for_each(|&page| node.lru().of(ROOT).add(&folios, page, Place::Inactive));
    let mut saved = Saved::default();
    node.save(&folios, &mut saved);
    node.lru().of(ROOT).del(&folios, 4, false);
    node.restore(&folios, &mut saved.reader());
    assert_eq!(node.lru().sizes(ROOT).inactive, 5);
}

fn mthp(stat: &VmStat, order: u8, name: &str) -> u64 {
    stat.mthp(order).into_iter().find(|(of, _)| *of == name).unwrap().1
}

fn verdict(sys: &System, records: &[Record], config: judge::Config) -> Verdict {
    let config = judge::Config { ordering: judge::Ordering::Total, complete: true, pool: true, in_hand: 64, ..config };
    let mut judge = Judge::new(&sys.table, Some(sys.folios.len()), config);
    let _ = judge.feed(records);
    judge.finish()
}

/// What the store says it holds, as the run's end tells the judge.
fn pool_note(sys: &System, records: &mut Vec<Record>) {
    let t_ns = records.last().map_or(0, |record| record.t_ns);
    records.push(Record { t_ns, aux: sys.pool_bytes(), folio: SYSTEM, event: POOL, ..Record::default() });
}

/// As [`judged`], where nothing has to be ended for want of memory.
fn play(plan: budget::Plan, programs: impl IntoIterator<Item = Program>) -> VmStat {
    let stat = judged(plan, programs);
    // A queue of large folios can hold more than the node has: then nothing can be reclaimed while a worker is at them.
    let holds_all = plan.preset != Preset::Sync && plan.order > 1;
    assert!(stat[Vm::OomKill] == 0 || holds_all, "{} on {:?}, order {}", plan.preset.name(), plan.store, plan.order);
    stat
}

/// Runs programs on a machine with a budget, judges every record, and checks the accounting.
fn judged(plan: budget::Plan, programs: impl IntoIterator<Item = Program>) -> VmStat {
    let name = format!("{} on {:?}, order {}", plan.preset.name(), plan.store, plan.order);
    let sys = plan.in_groups(1); // The root's pages are charged to nobody.
    let (mut crew, mut records) = (Crew::machine(&sys, programs, true), Vec::new());
    let mut sink = |new: &[Record]| {
        records.extend_from_slice(new);
        Ok(())
    };
    let run = run_with(&sys, &mut crew, &Machine::new(2), 0, &mut sink, &mut |_| true);
    assert!(run.error.is_none(), "{name}: {}", run.error.unwrap());
    sys.invariant();
    pool_note(&sys, &mut records);
    let judged = verdict(&sys, &records, judge::Config { absent: true, ..judge::Config::default() });
    assert_eq!(judged.first, None, "{name}");
    let census: u32 = run.census.iter().sum();
    assert_eq!(census, budget::PAGES, "{name}: every page is somewhere");
    let scanned = run.stat[Vm::PgscanAnon] + run.stat[Vm::PgscanFile];
    assert_eq!(run.stat[Vm::PgscanKswapd] + run.stat[Vm::PgscanDirect], scanned, "{name}");
    run.stat
}

#[test]
fn an_eater_of_large_folios_loses_nothing_under_any_design() {
    for &preset in Preset::ALL {
        for order in ORDERS {
            for (store, kernel) in
                [(StoreKind::Zram, (6, 12)), (StoreKind::Zswap, (6, 12)), (StoreKind::Zswap, (6, 13))]
            {
                let incompressible = if store == StoreKind::Zswap { 4 } else { 0 };
                let plan = budget::Plan { order, kernel, incompressible, ..budget::Plan::new(preset, store) };
                let stat = play(plan, [Program::eater(0..budget::PAGES)]);
                let name = format!("{} on {store:?} of {kernel:?}, order {order}", preset.name());
                let made = ["anon_fault_alloc", "anon_fault_fallback"].map(|counter| mthp(&stat, order, counter));
                assert!(made.iter().all(|&made| made > 0), "{name}: {made:?}");
                let sent = ["swpout", "swpout_fallback"].map(|counter| mthp(&stat, order, counter));
                assert!(sent[0] + mthp(&stat, order, "zswpout") > 0, "{name}: {:?}", stat.mthp(order));
                let split = mthp(&stat, order, "split");
                let huge = [stat[Vm::ThpSwpout], stat[Vm::ThpSwpoutFallback], stat[Vm::ThpSplitPage]];
                let by_name = if order == 9 { [sent[0], sent[1], split] } else { [0; 3] };
                assert_eq!(huge, by_name, "{name}: one of 2 MiB is counted by name too");
                let refused = store == StoreKind::Zswap && kernel < (6, 13);
                assert!(!refused || mthp(&stat, order, "zswpout") == 0, "{name}: zswap of 6.12 takes no large folio");
            }
        }
    }
}

/// zswap of 6.12 does not look at a large folio, nor then whether its pool is full: nobody queues the shrink worker.
#[test]
fn a_large_folio_that_zswap_does_not_take_wakes_no_shrink_worker() {
    for (kernel, woken) in [((6, 12), false), ((6, 13), true)] {
        let plan = budget::Plan { order: 4, kernel, ..budget::Plan::new(Preset::Sync, StoreKind::Zswap) };
        let sys = budget::Plan { pool_limit_pages: Some(0), ..plan }.system();
        let zswap = sys.zswap().unwrap();
        assert!(zswap.check_limits());
        let (mut crew, mut last) = (Crew::machine(&sys, [Program::eater(0..budget::PAGES)], false), 0);
        let is_written = |page: u32| sys.folio(page).word.load().state() == State::WrittenBack;
        let is_woken = || zswap.shrink_is_queued() || zswap.next_shrink().is_some();
        while !is_woken() && !(0..budget::PAGES).step_by(16).any(is_written) {
            for _ in 0..20 {
                last = crew.next_after(&sys, last).unwrap();
                let _ = crew.step(&sys, last).unwrap();
            }
        }
        assert_eq!(is_woken(), woken, "{kernel:?}");
    }
}

/// Above memory.high a thread is stopped every 64 frames, whether these came one by one or 16 at a time. Nothing can be swapped out, so that each
/// stop takes as many rounds.
#[test]
fn the_frames_of_large_folios_are_charged_all() {
    let stops = |order| {
        let sys = budget::Plan { order, slots: 0, ..budget::Plan::new(Preset::Sync, StoreKind::Zram) }.in_groups(1);
        let group = sys.memcgs.get(1).unwrap();
        group.set_memory_high_pages(1000);
        let mut crew = Crew::machine(&sys, [Program::eater(0..1600)], false);
        let run = run_with(&sys, &mut crew, &Machine::new(2), 0, &mut |_| Ok(()), &mut |_| true);
        assert!(run.error.is_none() && run.stat[Vm::OomKill] == 0);
        group.event(MemcgEvent::High)
    };
    let [single, large] = [0, 4].map(stops);
    assert!(single > 0 && single.abs_diff(large) * 5 <= single, "{single} {large}");
}

/// The same under the multi-gen LRU, twice: generations count pages, whole folios are evicted, and it is the same run each time.
#[test]
fn an_eater_of_large_folios_loses_nothing_from_generations() {
    for &preset in Preset::ALL {
        for order in ORDERS {
            for store in [StoreKind::Zram, StoreKind::Zswap] {
                // Each of the first folio's pages begins a zspage of another class: below the marks there must be room for all of them.
                let watermarks = [160, 200, 240];
                let of = budget::Plan::new(preset, store);
                let plan = budget::Plan { order, watermarks, kernel: (6, 13), lru_gen: true, ..of };
                let run = || play(plan, [Program::eater(0..budget::PAGES)]);
                let stat = run();
                let name = format!("{} on {store:?}, order {order}", preset.name());
                let whole = mthp(&stat, order, "swpout") + mthp(&stat, order, "zswpout");
                assert!(whole > 0 && stat[Vm::Pgdeactivate] == 0, "{name}: {:?}", stat.mthp(order));
                let again = run();
                assert_eq!(
                    (stat.mthp(order), stat[Vm::PgscanAnon]),
                    (again.mthp(order), again[Vm::PgscanAnon]),
                    "{name}"
                );
            }
        }
    }
}

/// Slots run out in the middle, so that in the end the application is killed: folios are split, also such of more pages than a batch can hold.
#[test]
fn folios_split_while_their_generation_is_evicted_lose_nothing() {
    for preset in [Preset::Sync, Preset::April, Preset::Split] {
        for order in [4, 9] {
            let plan = budget::Plan { order, slots: 3900, lru_gen: true, ..budget::Plan::new(preset, StoreKind::Zram) };
            let stat = judged(plan, [Program::usemem(0..9000, 20_000, 1)]);
            let name = format!("{}, order {order}", preset.name());
            assert!(mthp(&stat, order, "split") > 0, "{name}: {:?}", stat.mthp(order));
            assert_eq!(mthp(&stat, order, "split"), mthp(&stat, order, "swpout_fallback"), "{name}");
        }
    }
}

#[test]
fn where_large_folios_cannot_be_they_are_refused() {
    let plan = budget::Plan { order: 10, ..budget::Plan::new(Preset::Split, StoreKind::Zram) };
    assert_eq!(
        plan.build(Memcgs::default(), |_| ROOT).unwrap_err().to_string(),
        "folio_order 10: it is not between 1 and 9"
    );
    let mut memcgs = Memcgs::default();
    memcgs.add("odd", ROOT).unwrap();
    let error = budget::Plan { order: 1, ..plan }.build(memcgs, |page| (page % 2) as u16).unwrap_err().to_string();
    assert!(error.contains("of different groups"), "{error}");
}

/// Lengths of 70 pages: zeroes among them, and no folio of 2^3 pages all zero but the second.
fn lens() -> Vec<u32> {
    (0..70).map(|page| if (8..16).contains(&page) || page % 11 == 5 { 0 } else { 400 + page * 31 }).collect()
}

fn plan(preset: Preset, store: StoreKind, order: u8, lens: &[u32]) -> clocks::Plan {
    clocks::Plan { order, kernel: (6, 13), ..clocks::Plan::new(preset, store, lens) }
}

/// Steps everybody in turn to the end; failing the step with this number among those that can fail.
fn finish(sys: &System, crew: &mut Crew, fails: Option<usize>) -> Vec<Record> {
    let (mut records, mut last, mut points) = (Vec::new(), 0, 0);
    while let Some(seat) = crew.next_after(sys, last) {
        let point = crew.seats[seat].actor.fault_point().is_some();
        let choice = if point && fails == Some(points) { Choice::step(seat).failing() } else { Choice::step(seat) };
        points += usize::from(point);
        crew.faults_left = 1;
        let _ = crew.choose(sys, choice).unwrap_or_else(|error| panic!("{error}"));
        crew.collect(seat, &mut records);
        last = seat;
    }
    assert!(crew.seats.iter().all(|seat| seat.status == Status::Done));
    records
}

/// Everything is reclaimed, every page read back, everything given up; the judge follows.
fn there_and_back(plan: &clocks::Plan, fails: Option<usize>) -> (VmStat, Vec<u64>, u64) {
    let sys = plan.build();
    let mut crew = Crew::reclaim(&sys, true);
    let mut records = finish(&sys, &mut crew, fails);
    let stat = crew.stat();
    let swapped: Vec<u64> = (0..sys.folios.len() as u32)
        .map(|page| match sys.folio(page).slot() {
            NIL => u64::MAX,
            slot => sys.stored_bytes(slot) << 1 | u64::from(sys.slots.is_zero(slot)),
        })
        .collect();
    let bytes = sys.pool_bytes();
    pool_note(&sys, &mut records);
    let pages: Vec<u32> = (0..sys.folios.len() as u32).collect();
    for task in [Task::Touch, Task::Exit] {
        records.extend(finish(&sys, &mut Crew::app(&sys, task, &pages, true), None));
        pool_note(&sys, &mut records);
        sys.invariant();
    }
    assert_eq!((sys.pool_bytes(), sys.slots.used(), sys.pool_pages()), (0, 0, 0));
    assert_eq!(sys.census()[State::Freed as usize] as usize, sys.folios.len());
    let of = judge::Config { folio_order: plan.order, ..judge::Config::default() };
    assert_eq!(verdict(&sys, &records, of).first, None);
    (stat, swapped, bytes)
}

#[test]
fn the_same_pages_are_stored_as_the_same_bytes_as_single_ones() {
    for &preset in Preset::ALL {
        for store in clocks::STORES {
            let run = |order| there_and_back(&plan(preset, store, order, &lens()), None);
            let (single, single_pages, single_bytes) = run(0);
            for order in 1..4 {
                let (large, pages, bytes) = run(order);
                let name = format!("{} on {store:?}, order {order}", preset.name());
                assert_eq!(large[Vm::PgstealAnon], single[Vm::PgstealAnon], "{name}");
                // A page of zeroes in a folio that is not all zero is stored; the other pages are as ever.
                let in_both = |i: &usize| pages[*i] & 1 == single_pages[*i] & 1;
                let both: Vec<usize> = (0..pages.len()).filter(in_both).collect();
                assert!(both.iter().all(|&i| pages[i] == single_pages[i]), "{name}");
                let only_large: u64 = (0..pages.len()).filter(|i| !in_both(i)).map(|i| pages[i] >> 1).sum();
                assert_eq!(bytes - only_large, single_bytes, "{name}");
                assert_eq!(large[Vm::SwpoutZero] < single[Vm::SwpoutZero], order < 4, "{name}");
            }
        }
    }
}

/// Whatever fails at whatever page of a folio: it is stored as a whole, or none of it is.
#[test]
fn a_folio_is_stored_as_a_whole_or_not_at_all() {
    for preset in [Preset::Sync, Preset::April, Preset::Split, Preset::Unofficial] {
        for store in clocks::STORES {
            let whole = plan(preset, store, 2, &[900; 8]);
            let (_, _, all) = there_and_back(&whole, None);
            assert_eq!(all, 8 * 900);
            let mut failed = 0;
            for point in 0..16 {
                let (stat, pages, bytes) = there_and_back(&whole, Some(point));
                let stored: Vec<usize> =
                    pages.chunks(4).map(|f| f.iter().filter(|&&page| page >> 1 > 0).count()).collect();
                assert!(stored.iter().all(|n| n % 4 == 0), "{} on {store:?}, {point}: {stored:?}", preset.name());
                assert_eq!(bytes, pages.iter().map(|page| page >> 1).sum::<u64>());
                let refused = store == StoreKind::Zswap && stored.contains(&0) || stat[Vm::Pswpout] > 8;
                failed += usize::from(refused);
            }
            let codec = if store == StoreKind::Zram { 8 } else { 0 }; // zram stores what the codec gives up on as it is.
            assert!(failed >= 15 - codec, "{} on {store:?}: {failed} of 16 failed", preset.name());
        }
    }
}

#[test]
fn a_page_that_the_codec_gives_up_on_takes_its_folio_to_the_device() {
    let lens = [900, 900, INCOMPRESSIBLE, 900, 900, 900, 900, 900];
    let (stat, pages, bytes) = there_and_back(&plan(Preset::Split, StoreKind::Zswap, 2, &lens), None);
    assert_eq!((stat[Vm::Zswpout], stat[Vm::Pswpout], bytes), (4, 4, 4 * 900));
    assert_eq!(pages[..4], [0; 4]);
    // One write of the folio's four fails: all of it is written again.
    let faults = IoFaults { writes: vec![1], ..IoFaults::default() };
    let again = clocks::Plan { faults, ..plan(Preset::Split, StoreKind::Zswap, 2, &lens) };
    let (stat, _, _) = there_and_back(&again, None);
    assert_eq!((stat[Vm::Zswpout], stat[Vm::Pswpout]), (4, 8));
}

/// 62 slots for eight folios of eight pages and six single ones: the last folio finds no run, is split, and six of its pages go.
#[test]
fn a_folio_without_a_run_of_slots_is_split_and_its_pages_go_one_by_one() {
    for &preset in Preset::ALL {
        for store in clocks::STORES {
            let short = clocks::Plan { slots: 62, ..plan(preset, store, 3, &[900; 70]) };
            let (stat, pages, bytes) = there_and_back(&short, None);
            let name = format!("{} on {store:?}", preset.name());
            assert_eq!((mthp(&stat, 3, "split"), mthp(&stat, 3, "swpout_fallback")), (1, 1), "{name}");
            assert_eq!((bytes, stat[Vm::PgstealAnon]), (62 * 900, 62), "{name}");
            assert_eq!(pages.iter().filter(|&&page| page == u64::MAX).count(), 8, "{name}");
        }
    }
}

/// What is in flight is counted in pages: a single one that finds the queue full finishes a large one, and the other way round.
#[test]
fn a_head_is_counted_by_its_own_pages() {
    for store in clocks::STORES {
        let design = Preset::Unofficial.design(store).with_depth(1);
        let mut sizes = clocks::Plan { order: 2, kernel: (6, 13), ..clocks::Plan::of(design, store, &[900; 15]) };
        sizes.slots = 60;
        let (stat, _, bytes) = there_and_back(&sizes, None);
        assert_eq!((bytes, stat[Vm::KcompressdHead] > 0), (15 * 900, true), "{store:?}");
    }
}

/// Exhaustively, with one failure anywhere, a reader of the second page, and an exit: nobody waits for ever, the law holds, and no
/// folio rests half stored.
#[test]
fn explored_a_folio_of_two_pages_has_exactly_these_states() {
    let whole = |sys: &System, _: &Crew| {
        let stored = |page: u32| sys.folio(page).slot() != NIL && sys.holds(sys.folio(page).slot());
        let half = sys.head(1) == 0 && stored(0) != stored(1);
        if half { Err("a large folio rests half stored".to_owned()) } else { Ok(()) }
    };
    let count = |preset: Preset, store, faults: u8, touch: bool| {
        let design = preset.design(store);
        let design = if preset == Preset::Sync { design } else { design.with_depth(1).with_threads(1) };
        let plan = clocks::Plan { order: 1, kernel: (6, 13), ..clocks::Plan::of(design, store, &[1000, 1000]) };
        let sys = plan.build();
        let mut crew = Crew::reclaim(&sys, false);
        if touch {
            crew = crew.with_app(&sys, Task::Touch, &[1]);
        }
        crew.faults_left = faults;
        let properties =
            Properties { at_end: vec![("whole", Box::new(whole))], eventually: true, ..Properties::default() };
        let report = explore(&sys, &mut crew, &properties);
        let wrong = report.failure.as_ref().map(|failure| failure.wrong.to_string());
        assert_eq!((report.complete, wrong), (true, None), "{} on {store:?}", preset.name());
        (report.states, report.transitions, report.ends)
    };
    use StoreKind::{Zram, Zswap};
    let [alone, failing, touched] = [(0, false), (1, false), (1, true)];
    let exact = [
        (Preset::Sync, Zswap, alone, (136, 286, 1)),
        (Preset::Sync, Zswap, failing, (542, 1209, 2)),
        (Preset::Sync, Zswap, touched, (6778, 19823, 7)),
        (Preset::Sync, Zram, failing, (69, 69, 4)),
        (Preset::Rfc, Zram, touched, (18226, 46363, 12)),
        (Preset::April, Zswap, failing, (5600, 17310, 4)),
        (Preset::April, Zram, touched, (21142, 53953, 24)),
        (Preset::AsyncStore, Zswap, alone, (2284, 6752, 1)),
        (Preset::Split, Zswap, failing, (5462, 16909, 2)),
        (Preset::Split, Zswap, touched, (64366, 242963, 7)),
        (Preset::Unofficial, Zswap, failing, (7248, 22564, 4)),
        (Preset::Unofficial, Zram, touched, (28094, 71795, 24)),
    ];
    let found = exact.map(|(preset, store, (faults, touch), _)| count(preset, store, faults, touch));
    assert_eq!(found, exact.map(|(.., states)| states));
}
