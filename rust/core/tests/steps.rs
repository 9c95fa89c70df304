//! What every driver relies on: a snapshot comes back word for word, equal states are recognised as equal, and no step
//! passes more than one boundary. On random walks of every preset over both stores.

mod cases;
mod clocks;

use clocks::{INCOMPRESSIBLE, Plan, STORES};
use kcompressd_core::codec::CodecName;
use kcompressd_core::design::{Design, Placement, Preset, StoreKind};
use kcompressd_core::driver::explore::{States, fingerprint};
use kcompressd_core::driver::{Crew, Status};
use kcompressd_core::memcg::Memcg;
use kcompressd_core::queue::FolioQueue;
use kcompressd_core::reclaim::{Actor, Task, Toggle};
use kcompressd_core::sync::boundaries_since_last_call;
use kcompressd_core::system::{System, Waiting};
use kcompressd_core::wait::WaitKey;
use proptest::prelude::*;
use std::num::NonZeroU32;

/// Pages of every kind.
const LENS: [u32; 5] = [1000, 0, INCOMPRESSIBLE, 60, 3500];

/// A preset over a small system with shallow queues, two nodes and an application that touches every page.
fn start(preset: Preset, store: StoreKind, depth: u32) -> (System, Crew) {
    // The odd depths meet the pool's limit, the even ones their group's first.
    let zswap_max = depth.is_multiple_of(2).then_some(4096);
    let plan = Plan {
        nodes: 2,
        pool_limit_pages: Some(2),
        zswap_max,
        ..Plan::of(shallow(preset, store, depth), store, &LENS)
    };
    let sys = plan.build();
    let crew = Crew::reclaim(&sys, false).with_app(&sys, Task::Touch, &[3, 0, 2, 1, 4]);
    (sys, crew)
}

fn shallow(preset: Preset, store: StoreKind, depth: u32) -> Design {
    let design = preset.design(store);
    if preset == Preset::Sync { design } else { design.with_depth(depth) }
}

/// The words, whoever has stepped.
fn save(states: &mut States, sys: &System, crew: &mut Crew) -> Vec<u64> {
    (0..crew.seats.len()).for_each(|seat| states.steps(seat));
    states.save(sys, crew).to_vec()
}

fn restore(states: &mut States, sys: &System, crew: &mut Crew, words: &[u64]) {
    (0..crew.seats.len()).for_each(|seat| states.steps(seat));
    states.restore(sys, crew, words);
}

fn every_case() -> impl Iterator<Item = (Preset, StoreKind)> {
    Preset::ALL.iter().flat_map(|&preset| STORES.map(|store| (preset, store)))
}

#[test]
fn a_wait_with_a_time_out_may_end_by_it_when_nothing_else_can_run() {
    let (sys, mut crew) = start(Preset::Split, StoreKind::Zswap, 2);
    let (timed, other) = (0, 1);
    let ticket = sys.wait.prepare(WaitKey::Memory);
    crew.seats[timed].status =
        Status::Waiting(Waiting { key: WaitKey::Memory, ticket, timeout_ns: NonZeroU32::new(1) });
    assert!(!crew.seats[timed].is_ready(&sys) && crew.seats[timed].is_runnable(&sys));
    assert_eq!(crew.next_after(&sys, crew.seats.len() - 1), Some(other), "a time-out comes last");
    let _ = crew.step(&sys, timed).unwrap();
    assert!(!sys.wait.wake_all(WaitKey::Memory), "it has left the line");
    assert!(crew.seats[timed].is_ready(&sys) && !crew.seats[timed].ctx.timed_out);
}

/// One step of the actor that `choice` falls on: what it was before; `None` when nobody can.
fn walk(sys: &System, crew: &mut Crew, choice: u8) -> Option<Actor> {
    let runnable: Vec<usize> = crew.runnable(sys).collect();
    let &seat = runnable.get(usize::from(choice) % runnable.len().max(1))?;
    let before = crew.seats[seat].actor.clone();
    let _ = crew.step(sys, seat).unwrap();
    Some(before)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(24) })]

    #[test]
    fn a_mark_comes_back_and_the_same_choices_lead_to_the_same_words(
        before in prop::collection::vec(any::<u8>(), 0..250),
        after in prop::collection::vec(any::<u8>(), 0..60),
        depth in 1u32..4,
    ) {
        for (preset, store) in every_case() {
            let (sys, mut crew) = start(preset, store, depth);
            for symmetry in [false, true] {
                let mut states = States::new(&sys, &crew, symmetry);
                before.iter().for_each(|&choice| { walk(&sys, &mut crew, choice); });
                let here = save(&mut states, &sys, &mut crew);
                after.iter().for_each(|&choice| { walk(&sys, &mut crew, choice); });
                let there = save(&mut states, &sys, &mut crew);
                restore(&mut states, &sys, &mut crew, &here);
                let back = save(&mut states, &sys, &mut crew);
                prop_assert_eq!(&back, &here, "{} on {:?}, symmetry {}", preset.name(), store, symmetry);
                after.iter().for_each(|&choice| { walk(&sys, &mut crew, choice); });
                let again = save(&mut states, &sys, &mut crew);
                prop_assert_eq!(again, there, "{} on {:?}, symmetry {}, second way", preset.name(), store, symmetry);
            }
        }
    }

    #[cfg(debug_assertions)]
    #[test]
    fn no_step_passes_two_boundaries(choices in prop::collection::vec(any::<u8>(), 400), depth in 1u32..4) {
        for (preset, store) in every_case() {
            let (sys, mut crew) = start(preset, store, depth);
            for &choice in &choices {
                boundaries_since_last_call();
                let before = walk(&sys, &mut crew, choice);
                let passed = boundaries_since_last_call();
                prop_assert!(passed <= 1, "{} on {store:?}: {passed} boundaries by {before:?}", preset.name());
            }
        }
    }
}

#[test]
fn schedules_that_commute_meet_in_one_state() {
    let (sys, mut crew) = start(Preset::Split, StoreKind::Zswap, 2);
    let mut states = States::new(&sys, &crew, false);
    let start = save(&mut states, &sys, &mut crew);
    let mut end_of = |schedule: &[usize]| {
        restore(&mut states, &sys, &mut crew, &start);
        schedule.iter().for_each(|&seat| {
            let _ = crew.step(&sys, seat).unwrap();
        });
        fingerprint(&save(&mut states, &sys, &mut crew))
    };
    // Two kswapds on nodes of their own; the shrink worker (3) and the device (4) go to sleep before, between or after.
    let (a, b) = (end_of(&[0, 0, 1, 1, 3, 4, 4]), end_of(&[4, 0, 3, 1, 4, 1, 0]));
    assert_eq!(a, b);
    assert_ne!(a, end_of(&[0, 0, 1, 1, 3, 4]), "the device is still awake");
}

/// Lengths of the queues when all is queued, what the last worker takes then, batch after batch, and what it leaves in the first queue.
fn taken_by_the_last(design: Design) -> (Vec<usize>, Vec<usize>, usize) {
    let sys = Plan::of(design, StoreKind::Zswap, &[1000; 120]).build();
    let mut crew = Crew::reclaim(&sys, false);
    let is_worker = |actor: &Actor| matches!(actor, Actor::Kcompressd(_));
    let worker = crew.seats.iter().rposition(|seat| is_worker(&seat.actor)).expect("a worker");
    while crew.seats[0].is_ready(&sys) {
        let _ = crew.step(&sys, 0).unwrap();
    }
    let queued = sys.queues.iter().map(FolioQueue::len).collect();
    let (mut batches, mut before) = (Vec::new(), 0);
    while crew.seats[worker].is_ready(&sys) {
        let _ = crew.step(&sys, worker).unwrap();
        let Actor::Kcompressd(of) = &crew.seats[worker].actor else { unreachable!("it stays one") };
        let in_hand = of.in_hand().len();
        batches.extend((in_hand > before).then_some(in_hand));
        before = in_hand;
    }
    (queued, batches, sys.queues[0].len())
}

/// Where folios go to the shortest queue, a worker that has emptied its own takes half of what waits in the longest, while that is more than a batch.
#[test]
fn a_worker_without_work_helps() {
    let split = Preset::Split.design(StoreKind::Zswap).with_threads(2);
    assert_eq!(taken_by_the_last(split), (vec![65, 55], vec![32, 23, 32, 17], 16));
    let in_turn = Design { placement: Placement::RoundRobin, ..split };
    assert_eq!(taken_by_the_last(in_turn), (vec![60, 60], vec![32, 28], 60));
}

/// What can be turned: writeback and zswap.max of the root and of a group, the depths of two queues, the compressor, whether the first
/// thread is to stop and its queue closed.
type Knobs = ([bool; 2], [u64; 2], [usize; 2], CodecName, [bool; 2]);

fn knobs(sys: &System) -> Knobs {
    let of = |group| sys.memcgs.get(group).unwrap();
    let compressor = sys.zswap().unwrap().compressor().name();
    let stopped = [sys.kthread_should_stop(0), sys.queues[0].is_closed()];
    let limits = [of(0), of(1)].map(Memcg::zswap_max);
    ([of(0), of(1)].map(Memcg::writeback), limits, [0, 1].map(|queue| sys.queues[queue].depth()), compressor, stopped)
}

/// Whoever turns a knob turns that one, in as many steps as it has parts, and is done.
#[test]
fn a_hand_at_a_knob_turns_all_of_it_and_nothing_else() {
    for &toggle in Toggle::ALL {
        let split = Preset::Split.design(StoreKind::Zswap).with_threads(2).with_depth(4);
        let sys = Plan { zswap_max: Some(4096), ..Plan::of(split, StoreKind::Zswap, &LENS) }.build();
        let mut crew = Crew::reclaim(&sys, false).with_toggle(&sys, toggle);
        let hand = crew.seats.len() - 1;
        let (mut after, mut steps) = (knobs(&sys), 0);
        let parts = match toggle {
            Toggle::Writeback => (after.0 = [false; 2], 2).1,
            Toggle::ZswapMax => (after.1[1] = 0, 1).1,
            Toggle::Depth => (after.2 = [0; 2], 2).1,
            Toggle::Pool => (after.3 = CodecName::Zstd, 1).1,
            Toggle::Stop => (after.4 = [true; 2], 1).1,
        };
        while crew.seats[hand].is_ready(&sys) {
            let _ = crew.step(&sys, hand).unwrap();
            steps += 1;
        }
        assert_eq!((knobs(&sys), steps), (after, parts + 1), "{}", toggle.name());
    }
}
