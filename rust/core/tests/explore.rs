//! The explorer against itself: with and without its reductions it comes to the same ends and verdicts; exact numbers of
//! states; shortest failures; bounds.

mod clocks;

use clocks::{INCOMPRESSIBLE, Plan};
use kcompressd_core::design::{Design, Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::explore::{Choice, Properties, Report, Sometimes, States, Wrong, explore, replay};
use kcompressd_core::lifecycle::{Event, State};
use kcompressd_core::reclaim::Task;
use kcompressd_core::system::System;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Equal pages: all of them may take each other's places.
const EQUAL: [u32; 2] = [1000, 1000];

fn small(preset: Preset, store: StoreKind, lens: &[u32]) -> Plan {
    let design = preset.design(store);
    Plan::of(if preset == Preset::Sync { design } else { design.with_depth(1).with_threads(1) }, store, lens)
}

/// What a search came to, as far as reductions must not change it.
type Verdict = (Option<String>, BTreeSet<Vec<u32>>, Vec<bool>);

fn states_met() -> Vec<(&'static str, Sometimes<'static>)> {
    let met = |state: State| -> Sometimes<'static> { Box::new(move |sys, _, _| sys.census()[state as usize] > 0) };
    State::ALL.into_iter().map(|state| (state.name(), met(state))).collect()
}

fn search(plan: &Plan, crew: impl Fn(&System) -> Crew, symmetry: bool, reduction: bool) -> (Verdict, Report) {
    let (sys, ends) = (plan.build(), RefCell::new(BTreeSet::new()));
    let note = |sys: &System, _: &Crew| {
        ends.borrow_mut().insert(sys.census().to_vec());
        Ok(())
    };
    let properties = Properties {
        at_end: vec![("note", Box::new(note))],
        sometimes: states_met(),
        eventually: true,
        symmetry,
        reduction,
        ..Properties::default()
    };
    let report = explore(&sys, &mut crew(&sys), &properties);
    drop(properties);
    let wrong = report.failure.as_ref().map(|failure| failure.wrong.to_string());
    let met = report.sometimes.iter().map(|met| met.times > 0).collect();
    ((wrong, ends.into_inner(), met), report)
}

fn same_with_and_without(plan: &Plan, crew: impl Fn(&System) -> Crew + Copy, name: &str) {
    let (want, full) = search(plan, crew, false, false);
    assert!(full.complete, "{name}");
    for (symmetry, reduction) in [(true, false), (false, true), (true, true)] {
        let (verdict, reduced) = search(plan, crew, symmetry, reduction);
        assert_eq!(verdict, want, "{name}: symmetry {symmetry}, reduction {reduction}");
        assert!(reduced.states <= full.states, "{name}: {} states, {} without", reduced.states, full.states);
    }
}

#[test]
fn reductions_change_no_verdict_and_no_end() {
    for &preset in Preset::ALL {
        for store in clocks::STORES {
            let plan = small(preset, store, &EQUAL);
            same_with_and_without(&plan, |sys| Crew::reclaim(sys, false), &format!("{} on {store:?}", preset.name()));
        }
    }
}

#[test]
fn reductions_change_nothing_where_steps_may_fail_and_pages_come_back() {
    let plan = small(Preset::Split, StoreKind::Zswap, &EQUAL);
    let faulty = |sys: &System| {
        let mut crew = Crew::reclaim(sys, false);
        crew.faults_left = 1;
        crew
    };
    same_with_and_without(&plan, faulty, "split with a fault");
    let touched = |sys: &System| Crew::reclaim(sys, false).with_app(sys, Task::Touch, &[0]);
    same_with_and_without(&small(Preset::April, StoreKind::Zswap, &[1000]), touched, "april with an application");
    let off = |sys: &System| Crew::reclaim(sys, false).with_app(sys, Task::Unuse, &[0]);
    same_with_and_without(&small(Preset::April, StoreKind::Zswap, &[INCOMPRESSIBLE]), off, "april with swapoff");
    let refused = small(Preset::Split, StoreKind::Zswap, &[INCOMPRESSIBLE, INCOMPRESSIBLE]);
    same_with_and_without(&refused, |sys| Crew::reclaim(sys, false), "split, incompressible");
}

/// Wherever a page is, in a queue, a worker's hands, the store or at the device, swapoff gets its slot back.
#[test]
fn swapoff_leaves_no_slot_in_use() {
    let nothing_used = |sys: &System, _: &Crew| match (sys.slots.used(), sys.slots.is_off()) {
        (0, true) => Ok(()),
        other => Err(format!("slots in use, and whether the device is off: {other:?}")),
    };
    for (&preset, store) in Preset::ALL.iter().flat_map(|preset| clocks::STORES.map(|store| (preset, store))) {
        for len in [1000, INCOMPRESSIBLE, 0] {
            let sys = small(preset, store, &[len]).build();
            let mut crew = Crew::reclaim(&sys, false).with_app(&sys, Task::Unuse, &[0]);
            let at_end = vec![("no slot is in use", Box::new(nothing_used) as _)];
            let report = explore(
                &sys,
                &mut crew,
                &Properties { at_end, eventually: true, max_states: 1_000_000, ..Properties::default() },
            );
            let name = format!("{} on {store:?}, {len} bytes", preset.name());
            assert!(report.complete && report.ends > 1, "{name}");
            assert!(report.failure.is_none(), "{name}: {}", report.failure.unwrap().wrong);
        }
    }
}

/// The system with its folios in the other order behaves the same, and its states have the same words.
#[test]
fn a_state_and_its_twin_have_the_same_words() {
    let plan = small(Preset::Split, StoreKind::Zswap, &[1000, 1000, 1000]);
    let (one, other) = (plan.build(), plan.build());
    let mut states = States::new(&one, &Crew::reclaim(&one, false), true);
    let mut words = |sys: &System, order: [u32; 3]| {
        let mut crew = Crew::reclaim(sys, false);
        let mut lru = sys.nodes[0].lru();
        order.into_iter().for_each(|page| lru.of(0).relocate(&sys.folios, page, false, false, false));
        drop(lru);
        (0..crew.seats.len()).for_each(|seat| states.steps(seat));
        let mut words = vec![states.save(sys, &mut crew).to_vec()];
        let mut last = crew.seats.len() - 1;
        while let Some(seat) = crew.next_after(sys, last) {
            states.steps(seat);
            let _ = crew.step(sys, seat).unwrap();
            words.push(states.save(sys, &mut crew).to_vec());
            last = seat;
        }
        words
    };
    let (straight, turned) = (words(&one, [0, 1, 2]), words(&other, [2, 0, 1]));
    assert!(straight.len() > 50);
    assert!(straight == turned, "first difference at {:?}", straight.iter().zip(&turned).position(|(a, b)| a != b));
}

/// The words are all that decides: what else is in the memory when a state is restored changes no step.
#[test]
fn a_step_depends_on_the_words_alone() {
    for &preset in Preset::ALL {
        for store in clocks::STORES {
            let sys = small(preset, store, &[1000, INCOMPRESSIBLE, 0]).build();
            let mut crew = Crew::reclaim(&sys, false).with_app(&sys, Task::Touch, &[1, 0]);
            crew = crew.with_app(&sys, Task::Unuse, &[0, 1, 2]);
            let mut states = States::new(&sys, &crew, false);
            let all = some_states(&sys, &mut crew, &mut states, 2000);
            for (i, words) in all.iter().enumerate() {
                states.restore(&sys, &mut crew, words);
                for seat in crew.runnable(&sys).collect::<Vec<_>>() {
                    let mut next = |before: &[u64]| {
                        states.restore(&sys, &mut crew, before);
                        for other in crew.runnable(&sys).collect::<Vec<_>>() {
                            states.steps(other);
                            let _ = crew.step(&sys, other).unwrap();
                        }
                        states.restore(&sys, &mut crew, words);
                        states.steps(seat);
                        let _ = crew.step(&sys, seat).unwrap();
                        states.save(&sys, &mut crew).to_vec()
                    };
                    let (near, far) = (next(words), next(&all[i * 7919 % all.len()]));
                    assert!(near == far, "{} on {store:?}: seat {seat} in {words:?}", preset.name());
                }
            }
        }
    }
}

/// The first states of a breadth-first walk.
fn some_states(sys: &System, crew: &mut Crew, states: &mut States, most: usize) -> Vec<Vec<u64>> {
    let (mut all, mut seen) = (vec![states.save(sys, crew).to_vec()], BTreeSet::new());
    let mut at = 0;
    while at < all.len() && all.len() < most {
        states.restore(sys, crew, &all[at]);
        for seat in crew.runnable(sys).collect::<Vec<_>>() {
            states.restore(sys, crew, &all[at]);
            states.steps(seat);
            let _ = crew.step(sys, seat).unwrap();
            let words = states.save(sys, crew).to_vec();
            if seen.insert(words.clone()) {
                all.push(words);
            }
        }
        at += 1;
    }
    all
}

#[test]
fn a_failure_is_found_by_a_shortest_way_and_again_by_its_schedule() {
    let (sys, forbidden) = (small(Preset::Split, StoreKind::Zswap, &EQUAL).build(), State::Compressed);
    let mut crew = Crew::reclaim(&sys, true);
    let never = |sys: &System, _: &Crew| match sys.census()[forbidden as usize] {
        0 => Ok(()),
        held => Err(format!("{held} frames held")),
    };
    let properties = |reduction| Properties {
        always: vec![("no frame is held twice", Box::new(never))],
        reduction,
        ..Properties::default()
    };
    let reduced = explore(&sys, &mut crew, &properties(true)).failure.unwrap();
    assert_eq!(reduced.wrong.to_string(), "no frame is held twice: 1 frames held");
    let (sys, schedule) = (small(Preset::Split, StoreKind::Zswap, &EQUAL).build(), reduced.schedule);
    let full = explore(&sys, &mut Crew::reclaim(&sys, false), &properties(false)).failure.unwrap();
    assert_eq!(schedule.len(), full.schedule.len());
    let sys = small(Preset::Split, StoreKind::Zswap, &EQUAL).build();
    let records = replay(&sys, &mut Crew::reclaim(&sys, true), &schedule).unwrap();
    assert_eq!(records.last().map(|r| r.event), Some(Event::Store as u8));
    assert_eq!(sys.census()[forbidden as usize], 1);
}

#[test]
fn a_worker_that_waits_for_ever_is_a_deadlock() {
    let design = Design { on_full: kcompressd_core::design::OnFull::Wait, ..Preset::Split.design(StoreKind::Zswap) };
    let sys = Plan::of(design.with_depth(1).with_threads(1), StoreKind::Zswap, &EQUAL).build();
    let mut crew = Crew::reclaim(&sys, false);
    crew.seats.truncate(1); // a kswapd whose worker does not exist
    let report = explore(&sys, &mut crew, &Properties::default());
    assert!(matches!(report.failure.unwrap().wrong, Wrong::Deadlock(seats) if seats == [0]));
}

#[test]
fn every_bound_ends_the_search_and_is_named() {
    let bounds = [
        Properties { max_states: 100, ..Properties::default() },
        Properties { max_depth: 5, ..Properties::default() },
        Properties { max_memory_bytes: 1, ..Properties::default() },
        Properties { goes_on: Some(Box::new(|| false)), ..Properties::default() },
    ];
    for (properties, name) in bounds.iter().zip(["max_states", "max_depth", "max_memory", "interrupted"]) {
        let sys = small(Preset::Split, StoreKind::Zswap, &EQUAL).build();
        let report = explore(&sys, &mut Crew::reclaim(&sys, false), properties);
        assert_eq!((report.complete, report.stopped_by), (false, Some(name)));
    }
}

#[test]
fn a_choice_reads_as_it_is_written() {
    for choice in [Choice::step(0), Choice::step(12), Choice::step(3).failing()] {
        assert_eq!(choice.to_string().parse::<Choice>().unwrap(), choice);
    }
    assert!("x".parse::<Choice>().is_err() && "!".parse::<Choice>().is_err());
}

/// The names of zram's handles are canonical too: without them there would be more states.
#[test]
fn rfc_on_zram_has_exactly_these_states() {
    let (_, report) = search(&small(Preset::Rfc, StoreKind::Zram, &EQUAL), |sys| Crew::reclaim(sys, false), true, true);
    assert_eq!((report.states, report.transitions, report.ends), (977, 1770, 2));
}

/// A folio of a node that the system does not have: the panic is a failure with the way there, and comes again on that way.
#[test]
fn a_panic_is_a_failure_with_its_schedule() {
    let plan = small(Preset::Split, StoreKind::Zswap, &[INCOMPRESSIBLE]);
    let astray = || {
        let mut sys = plan.build();
        sys.folios[0].node = 1;
        let crew = Crew::reclaim(&sys, false).with_app(&sys, Task::Touch, &[0]);
        (sys, crew)
    };
    let (sys, mut crew) = astray();
    let failure = explore(&sys, &mut crew, &Properties::default()).failure.unwrap();
    assert!(matches!(failure.wrong, Wrong::Panic(_)), "{}", failure.wrong);
    assert!(failure.schedule.len() > 1, "{:?}", failure.schedule);
    let (sys, mut crew) = astray();
    let again = replay(&sys, &mut crew, &failure.schedule).unwrap_err();
    assert_eq!((again.wrong.to_string(), again.schedule), (failure.wrong.to_string(), failure.schedule));
}
