//! Step by step: every preset on both stores, with real bytes; what is refused, and that each trace is lawful.

#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod clocks;
mod stepping;

use clocks::{Plan, STORES};
use kcompressd_core::design::{Design, EnqueueAt, OnFull, OnReject, Placement, Preset, StoreKind};
use kcompressd_core::driver::explore::{Refused, Stepper};
use kcompressd_core::lifecycle::{Event, State, actor};
use kcompressd_core::stats::Vm;
use kcompressd_core::swap::IoFaults;
use kcompressd_core::system::StepError;
use kcompressd_core::trace::aux;
use stepping::{NOISE, PAGES, plan, split, start, verdict};

#[track_caller]
fn assert_lawful(stepper: &Stepper, plan: &Plan, complete: bool) {
    let verdict = verdict(stepper, plan, complete);
    assert_eq!(verdict.first, None, "{:?}", stepper.records());
    assert_eq!(verdict.by_event, stepper.by_event());
}

fn events(stepper: &Stepper, page: u32) -> Vec<&'static str> {
    let own = stepper.records().iter().filter(|record| record.folio == page);
    own.map(|record| Event::from_id(record.event).name()).collect()
}

/// Takes a page all the way out; the states it was seen in.
fn all_the_way_out(stepper: &mut Stepper, page: u32) -> Vec<State> {
    let mut seen = vec![stepper.queue(page).unwrap()];
    loop {
        let next = match seen[seen.len() - 1] {
            State::Queued => stepper.compress(page),
            State::WritingBack => stepper.write_back(page),
            State::Compressed | State::WrittenBack | State::ZeroFilled => stepper.reclaim(page),
            _ => return seen,
        };
        seen.push(next.unwrap());
    }
}

#[test]
fn every_preset_on_both_stores_takes_pages_out_and_brings_their_bytes_back() {
    for (&preset, store) in Preset::ALL.iter().flat_map(|preset| STORES.map(|store| (preset, store))) {
        let plan = plan(preset.design(store), store);
        let mut stepper = start(&plan);
        let asynchronous = plan.design.enqueue_at != EnqueueAt::Never
            && (plan.design.enqueue_at != EnqueueAt::ZramBio || store == StoreKind::Zram);
        for page in 0..PAGES as u32 {
            let name = format!("{} on {store:?}, page {page}", preset.name());
            let seen = all_the_way_out(&mut stepper, page);
            assert_eq!(seen.contains(&State::Queued), asynchronous && page != 4, "{name}: {seen:?}");
            let last = match (page, store) {
                (4, _) => State::ZeroFilledFreed,
                (NOISE, StoreKind::Zswap) => State::WrittenBackFreed,
                _ => State::CompressedFreed,
            };
            assert_eq!(seen.last(), Some(&last), "{name}: {seen:?}");
            assert!(stepper.fault(page).unwrap(), "{name}: other bytes came back");
        }
        assert_lawful(&stepper, &plan, true);
        stepper.system().invariant();
        (0..PAGES as u32).for_each(|page| assert_eq!(stepper.free(page).unwrap(), State::Freed));
        stepper.system().invariant();
        assert_eq!(stepper.system().pool_pages(), 0, "{}", preset.name());
        assert_lawful(&stepper, &plan, true);
        assert_eq!(stepper.violations(), 0);
    }
}

#[test]
fn split_on_zswap_fires_what_the_documents_say_and_nothing_more() {
    let mut stepper = start(&split());
    assert_eq!(stepper.queue(0).unwrap(), State::Queued);
    assert_eq!(events(&stepper, 0), ["isolate", "pageout", "queue", "putback"]);
    assert_eq!(stepper.compress(0).unwrap(), State::Compressed);
    assert_eq!(events(&stepper, 0)[4..], ["compress", "store", "rotate"]);
    assert_eq!(stepper.reclaim(0).unwrap(), State::CompressedFreed);
    assert_eq!(events(&stepper, 0)[7..], ["isolate", "reclaim"]);
    assert!(stepper.fault(0).unwrap());
    assert_eq!(events(&stepper, 0)[9..], ["fault", "load", "putback"]);
    let times: Vec<u64> = stepper.records().iter().map(|record| record.t_ns).collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
}

#[test]
fn a_page_behind_others_is_refused_with_their_names_in_order() {
    for preset in [Preset::April, Preset::Split, Preset::Unofficial] {
        let plan = plan(preset.design(StoreKind::Zswap), StoreKind::Zswap);
        let mut stepper = start(&plan);
        for page in [2, 0, 3, 1] {
            assert_eq!(stepper.queue(page).unwrap(), State::Queued);
        }
        let refused = |stepper: &mut Stepper, page| match stepper.compress(page) {
            Err(Refused::NotAtHead { page: named, actor: actor::KCOMPRESSD, ahead, state: State::Queued }) => {
                assert_eq!(named, page);
                ahead
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&mut stepper, 1), [2, 0, 3]);
        assert_eq!(refused(&mut stepper, 0), [2]);
        let told = stepper.compress(3).unwrap_err().to_string();
        assert_eq!(told, "page 3: not at the head of kcompressd0's line: pages 2, 0 ahead");
        assert_eq!(stepper.compress(2).unwrap(), State::Compressed);
        assert_eq!(refused(&mut stepper, 1), [0, 3], "{}: taken in a batch or not", preset.name());
        assert_eq!(stepper.queue_line(0), [0, 3, 1]);
        for page in [0, 3, 1] {
            assert_eq!(stepper.compress(page).unwrap(), State::Compressed);
        }
        assert_lawful(&stepper, &plan, true);
    }
}

#[test]
fn an_illegal_event_names_page_state_event_and_actor_and_changes_nothing() {
    let mut stepper = start(&split());
    stepper.queue(1).unwrap();
    let before = (stepper.word(1).unwrap(), stepper.records().len());
    let Err(Refused::Step(StepError::Violation(violation))) = stepper.fire(1, Event::Store) else { panic!() };
    let (page, state, event, by) = (violation.page, violation.state, violation.event, violation.actor);
    assert_eq!((page, state, event, by), (1, State::Queued, Event::Store, actor::SCRIPT));
    assert!(violation.to_string().starts_with("page 1: store in state queued by script: "), "{violation}");
    assert_eq!((stepper.word(1).unwrap(), stepper.records().len()), before);
    assert_eq!(stepper.violations(), 1);
}

#[test]
fn a_page_in_the_wrong_place_is_refused_with_its_state() {
    let mut stepper = start(&split());
    let told = |refused: Result<State, Refused>| refused.unwrap_err().to_string();
    assert_eq!(told(stepper.compress(0)), "page 0: compress() takes a page that is in a queue; it is resident");
    let needs = "stored, written or zero with its frame still held, or on its way there";
    assert_eq!(told(stepper.reclaim(0)), format!("page 0: reclaim() takes a page that is {needs}; it is resident"));
    stepper.queue(0).unwrap();
    assert_eq!(told(stepper.queue(0)), "page 0: queue() takes a page that is resident or redirtied; it is queued");
    assert_eq!(told(stepper.free(0)), "page 0: free() takes a page that is at rest; it is queued");
    let needs = "in zswap with its frame given up, or at the device";
    assert_eq!(told(stepper.write_back(0)), format!("page 0: write_back() takes a page that is {needs}; it is queued"));
    assert_eq!(told(stepper.queue(9)), "page 9: there are 6");
    stepper.free(1).unwrap();
    assert_eq!(
        stepper.fault(1).unwrap_err().to_string(),
        "page 1: fault() takes a page that is not freed; it is freed"
    );
}

#[test]
fn denied_writeback_activates_what_split_could_not_compress() {
    let plan = split();
    let mut stepper = start(&plan);
    stepper.queue(NOISE).unwrap();
    stepper.set_writeback(0, false).unwrap();
    assert_eq!(stepper.compress(NOISE).unwrap(), State::Activated, "the knob flipped while it was queued");
    assert_eq!(stepper.stat()[Vm::Pgactivate], 1);
    assert!(stepper.fault(NOISE).unwrap());
    assert_eq!(stepper.word(NOISE).unwrap().state(), State::Resident);
    stepper.set_writeback(0, true).unwrap();
    let seen = all_the_way_out(&mut stepper, NOISE);
    let want = [State::Queued, State::WritingBack, State::WrittenBack, State::WrittenBackFreed];
    assert_eq!(seen, want, "a failed compression goes to the device");
    assert!(!events(&stepper, NOISE).contains(&"write"), "by the store's refusal");
    assert!(stepper.fault(NOISE).unwrap());
    assert_lawful(&stepper, &plan, true);
}

#[test]
fn what_does_not_compress_is_kept_by_a_design_that_says_so_if_it_was_queued() {
    for (on_reject, depth, want) in [
        (OnReject::KeepRaw, 2, State::Compressed),
        (OnReject::Activate, 2, State::Activated),
        (OnReject::KeepRaw, 0, State::Activated),
    ] {
        let design = Design { on_reject, ..Preset::Split.design(StoreKind::Zswap).with_depth(2) };
        let plan = Plan { kernel: (6, 18), ..plan(design, StoreKind::Zswap) };
        let mut stepper = start(&plan);
        stepper.set_depth(0, depth).unwrap();
        let queued = (depth > 0).then(|| stepper.queue(NOISE).unwrap());
        stepper.set_writeback(0, false).unwrap();
        let now = if queued.is_some() { stepper.compress(NOISE) } else { stepper.queue(NOISE) };
        assert_eq!(now.unwrap(), want, "{on_reject:?}, depth {depth}");
        assert!(stepper.fault(NOISE).unwrap());
        assert_lawful(&stepper, &plan, true);
    }
}

#[test]
fn a_full_queue_does_what_the_design_says() {
    for (preset, now) in [(Preset::Split, State::CompressedFreed), (Preset::Unofficial, State::Queued)] {
        let plan = plan(preset.design(StoreKind::Zswap).with_depth(2), StoreKind::Zswap);
        let mut stepper = start(&plan);
        (0..2).for_each(|page| assert_eq!(stepper.queue(page).unwrap(), State::Queued));
        assert_eq!(stepper.queue(2).unwrap(), now, "{}", preset.name());
        let heads = u64::from(preset == Preset::Unofficial);
        assert_eq!([Vm::KcompressdFull, Vm::KcompressdHead].map(|counter| stepper.stat()[counter]), [1, heads]);
        let oldest = stepper.word(0).unwrap().state();
        assert_eq!(oldest == State::Compressed, preset == Preset::Unofficial, "SyncHead finishes the oldest");
        for page in stepper.queue_line(0) {
            assert_eq!(stepper.compress(page).unwrap(), State::Compressed);
        }
        stepper.set_depth(0, 0).unwrap();
        assert_eq!(stepper.queue(3).unwrap(), State::CompressedFreed, "depth 0: everything is synchronous");
        assert!(stepper.set_depth(0, 100).unwrap_err().to_string().contains("above the capacity"));
        assert_lawful(&stepper, &plan, true);
    }
}

#[test]
fn a_producer_tries_every_queue_once_and_takes_the_head_of_the_last() {
    let design = Design { placement: Placement::FirstFit, ..Preset::Unofficial.design(StoreKind::Zswap) };
    let mut stepper = start(&plan(design.with_threads(2).with_depth(1), StoreKind::Zswap));
    (0..3).for_each(|page| assert_eq!(stepper.queue(page).unwrap(), State::Queued));
    assert_eq!([Vm::KcompressdFull, Vm::KcompressdHead].map(|counter| stepper.stat()[counter]), [1, 1]);
    assert_eq!((stepper.queue_line(0), stepper.queue_line(1)), (vec![0], vec![2]));
    assert_eq!(stepper.word(1).unwrap().state(), State::Compressed);
}

#[test]
fn a_queue_that_is_off_makes_nobody_wait_and_takes_nothing_out_again() {
    for on_full in [OnFull::Wait, OnFull::SyncHead] {
        let design = Design { on_full, ..Preset::Split.design(StoreKind::Zswap).with_depth(2) };
        let mut stepper = start(&plan(design, StoreKind::Zswap));
        assert_eq!(stepper.queue(0).unwrap(), State::Queued);
        stepper.set_depth(0, 0).unwrap();
        assert_eq!(stepper.queue(1).unwrap(), State::CompressedFreed, "{on_full:?}");
        assert_eq!(stepper.word(0).unwrap().state(), State::Queued, "{on_full:?}");
    }
}

#[test]
fn kswapd_waits_for_room_with_its_page_and_goes_on() {
    let design = Design { on_full: OnFull::Wait, ..Preset::Split.design(StoreKind::Zswap).with_depth(1) };
    let plan = plan(design, StoreKind::Zswap);
    let mut stepper = start(&plan);
    stepper.queue(0).unwrap();
    let told = stepper.queue(1).unwrap_err().to_string();
    assert_eq!(told, "page 1 is unmapped: kswapd0 waits for room in queue 0");
    assert_eq!(stepper.queue(1).unwrap_err().to_string(), told);
    let busy = "page 2: kswapd0 is half-way with page 1 (unmapped)";
    assert_eq!(stepper.queue(2).unwrap_err().to_string(), busy);
    stepper.compress(0).unwrap();
    assert_eq!(stepper.queue(1).unwrap(), State::Queued);
    assert_eq!(stepper.compress(1).unwrap(), State::Compressed);
    assert_lawful(&stepper, &plan, true);
    stepper.system().invariant();
}

#[test]
fn a_fault_on_a_queued_page_waits_for_its_lock_or_maps_it() {
    for (preset, waits) in [(Preset::April, true), (Preset::Split, false)] {
        let plan = plan(preset.design(StoreKind::Zswap), StoreKind::Zswap);
        let mut stepper = start(&plan);
        stepper.queue(0).unwrap();
        match stepper.fault(0) {
            Err(refused) if waits => {
                assert_eq!(refused.to_string(), "page 0 is queued: app0 waits for the lock of page 0");
            }
            Ok(true) if !waits => {}
            other => panic!("{other:?}"),
        }
        let stored = stepper.compress(0).unwrap();
        assert_eq!(stored, if waits { State::Compressed } else { State::ResidentSwapcache });
        assert!(stepper.fault(0).unwrap());
        assert_eq!(stepper.reclaim(0).unwrap(), State::CompressedFreed, "unmapped again: the copy is still valid");
        assert!(stepper.fault(0).unwrap());
        assert_lawful(&stepper, &plan, true);
    }
}

#[test]
fn a_stored_entry_is_written_back_in_two_steps_and_read_from_the_device() {
    let plan = split();
    let mut stepper = start(&plan);
    for page in 0..3 {
        assert_eq!(all_the_way_out(&mut stepper, page).last(), Some(&State::CompressedFreed));
    }
    for page in [2, 0] {
        assert_eq!(stepper.write_back(page).unwrap(), State::WritingBack);
    }
    let told = stepper.write_back(0).unwrap_err().to_string();
    assert_eq!(told, "page 0: not at the head of swapdev0's line: page 2 ahead");
    for page in [2, 0] {
        assert_eq!(stepper.write_back(page).unwrap(), State::WrittenBack);
        assert_eq!(stepper.reclaim(page).unwrap(), State::WrittenBackFreed);
        assert!(stepper.fault(page).unwrap());
    }
    assert_eq!(stepper.stat()[Vm::Zswpwb], 2);
    assert_lawful(&stepper, &plan, true);
    stepper.system().invariant();
}

#[test]
fn injected_device_faults_lose_nothing() {
    let plan = Plan { faults: IoFaults { writes: vec![0], reads: vec![0], ..IoFaults::default() }, ..split() };
    let mut stepper = start(&plan);
    stepper.queue(NOISE).unwrap();
    stepper.compress(NOISE).unwrap();
    assert_eq!(stepper.write_back(NOISE).unwrap(), State::Redirtied);
    assert_eq!(stepper.errors().len(), 1);
    assert_eq!(all_the_way_out(&mut stepper, NOISE).last(), Some(&State::WrittenBackFreed), "tried again");
    match stepper.fault(NOISE) {
        Err(Refused::Unread { page: NOISE, state: State::WrittenBackFreed, device: true, error }) => {
            assert!(error.contains("read of slot"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(stepper.fault(NOISE).unwrap(), "the copy stayed where it was");
    assert_lawful(&stepper, &plan, true);
}

#[test]
fn a_lawful_event_is_fired_by_the_actor_whose_business_it_is() {
    let plan = split();
    let mut stepper = start(&plan);
    let way = [
        (Event::Isolate, State::Isolated),
        (Event::Pageout, State::Unmapped),
        (Event::Queue, State::Queued),
        (Event::Putback, State::Queued),
        (Event::Compress, State::Compressing),
        (Event::Store, State::Compressed),
        (Event::Rotate, State::Compressed),
        (Event::Isolate, State::Compressed),
        (Event::Reclaim, State::CompressedFreed),
        (Event::Shrink, State::Unmapped),
        (Event::Write, State::WritingBack),
        (Event::Putback, State::WritingBack),
        (Event::EndWriteback, State::WrittenBack),
        (Event::Rotate, State::WrittenBack),
        (Event::Reclaim, State::WrittenBackFreed),
        (Event::Fault, State::FaultingIn),
        (Event::Load, State::ResidentSwapcache),
        (Event::Putback, State::ResidentSwapcache),
        (Event::Free, State::Freed),
    ];
    for (event, state) in way {
        assert_eq!(stepper.fire(0, event).unwrap(), state, "{}", event.name());
    }
    let told = |refused: Result<State, Refused>| refused.unwrap_err().to_string();
    stepper.fire(1, Event::Isolate).unwrap();
    let busy = "page 2: kswapd0 is half-way with page 1 (isolated)";
    assert_eq!(told(stepper.fire(2, Event::Isolate)), busy);
    stepper.queue(1).unwrap();
    stepper.fire(1, Event::Compress).unwrap();
    assert_eq!(
        told(stepper.fire(1, Event::Reject)),
        "page 1: reject did not come, store, rotate did; it is compressed"
    );
    let nobody = "page 2: deactivate is lawful while resident, but no actor here fires it";
    assert_eq!(told(stepper.fire(2, Event::Deactivate)), nobody);
    assert_lawful(&stepper, &plan, true);
}

#[test]
fn a_page_without_a_slot_is_activated_and_says_so() {
    let plan = Plan { slots: 1, ..split() };
    let mut stepper = start(&plan);
    assert_eq!(stepper.queue(1).unwrap(), State::Queued);
    assert_eq!(stepper.queue(2).unwrap(), State::Activated);
    let activate = stepper.records().iter().find(|r| r.event == Event::Activate as u8).unwrap();
    assert_eq!((activate.folio, activate.aux), (2, aux::NO_SLOT));
}
