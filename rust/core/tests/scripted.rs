//! A script in front of a design: silent it changes nothing, its answers are followed, and bad ones end the run by name.

mod clocks;

use clocks::{INCOMPRESSIBLE, Plan, store_counters};
use kcompressd_core::design::{Ask, Design, EnqueueAt, OnComplete, Policy, Preset, Scripted, StoreKind, View};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::explore::{Properties, explore, in_turn};
use kcompressd_core::stats::{Vm, VmStat};
use std::sync::atomic::{AtomicU32, Ordering};

type Counted = (VmStat, Vec<(&'static str, u64)>);

fn ran(plan: &Plan, policy: Option<Scripted>) -> Result<Counted, String> {
    let sys = plan.build();
    let sys = match policy {
        Some(policy) => sys.scripted(policy),
        None => sys,
    };
    let mut crew = Crew::reclaim(&sys, false);
    in_turn(&sys, &mut crew).map_err(|failure| failure.wrong.to_string())?;
    Ok((crew.stat(), store_counters(&sys)))
}

fn says(design: Design, what: Ask, answer: &'static str) -> Scripted {
    Scripted::new(design, Box::new(move |ask, _| Ok((ask == what).then(|| answer.to_owned()))))
}

#[test]
fn a_silent_script_is_its_design() {
    for preset in [Preset::Rfc, Preset::April, Preset::Split, Preset::Unofficial] {
        for store in clocks::STORES {
            let plan = Plan::new(preset, store, &[1000, 0, INCOMPRESSIBLE, 2000]);
            let silent = Scripted::new(plan.design, Box::new(|_, _| Ok(None)));
            let (stat, stores) = ran(&plan, Some(silent)).unwrap();
            assert_eq!((stat.iter().collect::<Vec<_>>(), stores), {
                let (stat, stores) = ran(&plan, None).unwrap();
                (stat.iter().collect(), stores)
            });
        }
    }
}

#[test]
fn exploring_a_silent_script_finds_the_design_s_states() {
    let plan = Plan::new(Preset::Split, StoreKind::Zswap, &[1000, 1000]);
    let count = |policy: Option<Scripted>| {
        let sys = plan.build();
        let sys = match policy {
            Some(policy) => sys.scripted(policy),
            None => sys,
        };
        let mut crew = Crew::reclaim(&sys, false);
        let report = explore(&sys, &mut crew, &Properties::default());
        (report.states, report.transitions, report.ends)
    };
    assert_eq!(count(Some(Scripted::new(plan.design, Box::new(|_, _| Ok(None))))), count(None));
}

#[test]
fn a_script_can_turn_a_design_into_another() {
    // "B2 + rotate on completion": the same counters as the axis of that name.
    let mut plan = Plan::new(Preset::April, StoreKind::Zswap, &[1000, 1000, 1000]);
    let rotating = Design { on_complete: OnComplete::Rotate, ..plan.design };
    let (by_script, _) = ran(&plan, Some(says(plan.design, Ask::Complete, "rotate"))).unwrap();
    plan.design = rotating;
    let (by_axis, _) = ran(&plan, None).unwrap();
    assert_eq!(by_script.iter().collect::<Vec<_>>(), by_axis.iter().collect::<Vec<_>>());
    assert!(by_axis[Vm::Pgrotated] > 0);
    // Nobody is admitted: nothing is queued.
    let april = Plan::new(Preset::April, StoreKind::Zswap, &[1000, 1000, 1000]);
    let nobody = says(april.design, Ask::Admit(EnqueueAt::SwapWriteout), "sync");
    assert_eq!(ran(&april, Some(nobody)).unwrap().0[Vm::KcompressdQueued], 0);
}

#[test]
fn a_view_is_asked_about_twice_and_never_again() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let plan = Plan::new(Preset::April, StoreKind::Zswap, &[1000; 40]);
    let script = Scripted::new(
        plan.design,
        Box::new(|ask, _| {
            // ORDERING: Relaxed: one thread.
            ASKED.fetch_add(u32::from(ask == Ask::Complete), Ordering::Relaxed);
            Ok(None)
        }),
    );
    ran(&plan, Some(script)).unwrap();
    // ORDERING: Relaxed: one thread. At most nine fills, each twice, for forty pages.
    let asked = ASKED.load(Ordering::Relaxed);
    assert!(asked > 0 && asked.is_multiple_of(2) && asked <= 18, "{asked}");
}

#[test]
fn bad_answers_end_the_run_by_name() {
    let full = Design { depth: 1, batch: 1, ..Preset::April.design(StoreKind::Zram) };
    let zram = Plan::of(full, StoreKind::Zram, &[1000; 3]);
    let april = Plan::new(Preset::April, StoreKind::Zswap, &[1000, 1000]);
    let turn = AtomicU32::new(0);
    let fickle = Scripted::new(
        april.design,
        Box::new(move |_, _| {
            // ORDERING: Relaxed: one thread.
            let even = turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            Ok(Some(if even { "queue" } else { "sync" }.to_owned()))
        }),
    );
    let failing = Scripted::new(april.design, Box::new(|_, _| Err("division by zero".to_owned())));
    let cases = [
        (
            &april,
            says(april.design, Ask::Admit(EnqueueAt::SwapWriteout), "maybe"),
            "\"maybe\" is no answer; known: queue, sync",
        ),
        (&april, fickle, "two answers to one view"),
        (&april, failing, "division by zero"),
        (&zram, says(zram.design, Ask::Full, "to_device"), "the device is zram"),
    ];
    for (plan, policy, said) in cases {
        let error = ran(plan, Some(policy)).unwrap_err();
        assert!(error.starts_with("policy: ") && error.contains(said), "{error}");
    }
}

#[test]
fn an_error_names_the_decision_as_the_script_s_method_is_called() {
    let plan = Plan::new(Preset::April, StoreKind::Zswap, &[1000]);
    let view = View {
        store: StoreKind::Zswap,
        is_kswapd: true,
        anon: true,
        writeback_enabled: true,
        sync_device: false,
        node: 0,
        order: 0,
        fill: 8,
        watermark: 3,
    };
    let named = |ask| {
        let policy = says(plan.design, ask, "perhaps");
        let error = match ask {
            Ask::Admit(point) => policy.admit(point, view).unwrap_err(),
            Ask::Placement => policy.placement(view).unwrap_err(),
            Ask::Full => policy.full(view).unwrap_err(),
            Ask::Refused(queued) => policy.refused(queued, view).unwrap_err(),
            Ask::Complete => policy.complete(view).unwrap_err(),
        };
        assert!(error.reason.starts_with("\"perhaps\" is no answer; known: "), "{error}");
        error.ask
    };
    assert_eq!(named(Ask::Admit(plan.design.enqueue_at)), "admit");
    assert_eq!(named(Ask::Placement), "placement");
    assert_eq!(named(Ask::Full), "full");
    assert_eq!([named(Ask::Refused(false)), named(Ask::Refused(true))], ["refused"; 2]);
    assert_eq!(named(Ask::Complete), "complete");
}
