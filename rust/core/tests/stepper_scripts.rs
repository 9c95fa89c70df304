//! Any script of the stepper is lawful and loses nothing, under every preset, with faults and a small pool.

#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod cases;
mod clocks;
mod stepping;

use clocks::{Plan, STORES};
use kcompressd_core::design::{Design, OnFull, Preset};
use kcompressd_core::driver::explore::{Refused, Stepper};
use kcompressd_core::lifecycle::{Event, State, actor, flag};
use kcompressd_core::swap::IoFaults;
use kcompressd_core::system::StepError;
use proptest::prelude::*;
use stepping::{PAGES, plan, start, verdict};

#[derive(Clone, Copy, Debug)]
enum Call {
    Queue,
    Compress,
    Reclaim,
    WriteBack,
    Fault,
    Free,
    Fire(u8),
    Writeback(bool),
    Depth(u8),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => Just(Call::Queue),
        4 => Just(Call::Compress),
        4 => Just(Call::Reclaim),
        3 => Just(Call::WriteBack),
        3 => Just(Call::Fault),
        1 => Just(Call::Free),
        4 => any::<u8>().prop_map(Call::Fire),
        1 => any::<bool>().prop_map(Call::Writeback),
        1 => (0u8..5).prop_map(Call::Depth),
    ]
}

/// One call; what was refused must be a refusal with a reason, never a broken law or a held page of an actor's own.
fn make(stepper: &mut Stepper, page: u32, call: Call) {
    let done = match call {
        Call::Queue => stepper.queue(page).map(drop),
        Call::Compress => stepper.compress(page).map(drop),
        Call::Reclaim => stepper.reclaim(page).map(drop),
        Call::WriteBack => stepper.write_back(page).map(drop),
        Call::Fault => stepper.fault(page).map(|same| assert!(same, "page {page}: other bytes")),
        Call::Free => stepper.free(page).map(drop),
        Call::Fire(event) => stepper.fire(page, Event::ALL[usize::from(event) % Event::ALL.len()]).map(drop),
        Call::Writeback(on) => stepper.set_writeback(0, on),
        Call::Depth(depth) => stepper.set_depth(0, usize::from(depth)),
    };
    let by_script = |error: &StepError| matches!(error, StepError::Violation(v) if v.actor == actor::SCRIPT);
    if let Err(Refused::Step(error)) = done {
        assert!(by_script(&error) && matches!(call, Call::Fire(_)), "{call:?} of page {page}: {error}");
    }
}

/// Lets every actor finish what it has begun; then every page that is not freed comes back with its bytes.
fn settle(stepper: &mut Stepper) {
    if !stepper.system().queues.is_empty() {
        stepper.set_depth(0, 1).unwrap();
    }
    for _ in 0..3 * PAGES {
        for page in 0..PAGES as u32 {
            for call in [Call::Queue, Call::Compress, Call::WriteBack] {
                let line = stepper.device_line();
                if line.contains(&page) || !stepper.word(page).unwrap().state().rests() {
                    make(stepper, page, call);
                }
            }
            make(stepper, page, Call::Fault);
        }
    }
    let home =
        |page| stepper.word(page).unwrap().has(flag::MAPPED) || stepper.word(page).unwrap().state() == State::Freed;
    assert!((0..PAGES as u32).all(home), "{:?}", stepper.system().census());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(48) })]

    #[test]
    fn any_script_is_lawful_and_loses_nothing(
        script in prop::collection::vec((0..PAGES as u32, call()), 0..120),
        depth in 1u32..4,
        limit in prop::option::of(1u64..3),
        writes in prop::collection::vec(0u64..6, 0..2),
        on_full in prop::sample::select(vec![OnFull::SyncNew, OnFull::SyncHead, OnFull::ToDevice, OnFull::Wait]),
    ) {
        for (&preset, store) in Preset::ALL.iter().flat_map(|preset| STORES.map(|store| (preset, store))) {
            let design = preset.design(store);
            let design = if preset == Preset::Sync { design } else { Design { on_full, ..design.with_depth(depth) } };
            if design.validate(store, (6, 12)).is_err() {
                continue;
            }
            let faults = IoFaults { writes: writes.clone(), reads: vec![1], ..IoFaults::default() };
            let plan = Plan { pool_limit_pages: limit, faults, ..plan(design, store) };
            let mut stepper = start(&plan);
            script.iter().for_each(|&(page, call)| make(&mut stepper, page, call));
            let found = verdict(&stepper, &plan, false);
            prop_assert_eq!(found.first, None, "{} on {:?}: {:?}", preset.name(), store, stepper.records());
            prop_assert_eq!(found.by_event, stepper.by_event());
            settle(&mut stepper);
            let census = stepper.system().census();
            let half_way: u32 = State::ALL.iter().filter(|s| !s.rests()).map(|&s| census[s as usize]).sum();
            prop_assert_eq!(half_way, 0, "{} on {:?}", preset.name(), store);
            prop_assert_eq!(verdict(&stepper, &plan, true).first, None);
        }
    }
}
