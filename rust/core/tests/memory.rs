//! A machine with a memory budget: an eater of more pages than there is memory for, on two CPUs, under every preset.

mod budget;

use budget::{PAGES, Plan};
use kcompressd_core::design::{Hold, Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::lifecycle::{State, flag};
use kcompressd_core::memcg::{Memcgs, ROOT};
use kcompressd_core::reclaim::{Actor, Task};
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::swap::Backing;
use kcompressd_core::system::{Contents, Sizes, System};
use kcompressd_core::workload::{Pattern, Phase, Program, TRACE_WRITE, Trace};
use kcompressd_core::zone::{Mark, Migrate, Zone};

fn machine(preset: Preset, store: StoreKind, free_pages: u32, slots: u32) -> System {
    // zswap of 6.12 sends what the compressor gives up on to the device.
    let incompressible = if store == StoreKind::Zswap { 4 } else { 0 };
    Plan { free_pages, slots, incompressible, ..Plan::new(preset, store) }.system()
}

fn eat(preset: Preset, store: StoreKind, program: Program) -> (VmStat, u64) {
    let sys = machine(preset, store, 7000, 2 * PAGES);
    let mut crew = Crew::machine(&sys, [program], false);
    let run = run(&sys, &mut crew, &Machine::new(2), 0).unwrap_or_else(|error| panic!("{}: {error}", preset.name()));
    sys.invariant();
    (run.stat, run.end_ns)
}

#[test]
fn no_page_is_lost_and_the_counters_agree() {
    for &preset in Preset::ALL {
        let (stat, _) = eat(preset, StoreKind::Zram, Program::eater(0..PAGES));
        let name = preset.name();
        assert_eq!(stat[Vm::OomKill], 0, "{name}");
        assert_eq!(
            stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect],
            stat[Vm::PgscanAnon] + stat[Vm::PgscanFile],
            "{name}"
        );
        assert_eq!(
            stat[Vm::PgstealKswapd] + stat[Vm::PgstealDirect],
            stat[Vm::PgstealAnon] + stat[Vm::PgstealFile],
            "{name}"
        );
        assert!(stat[Vm::PgstealAnon] > u64::from(PAGES) / 2, "{name}: it had to swap");
        assert!(stat[Vm::ExitReferenced] > 0, "{name}: the first look keeps");
        let kept_locked = preset.design(StoreKind::Zram).hold == Hold::Locked;
        assert_eq!(stat[Vm::ExitQueued], if kept_locked { stat[Vm::KcompressdQueued] } else { 0 }, "{name}");
    }
}

#[test]
fn equal_runs_are_equal_to_the_nanosecond() {
    let run = || eat(Preset::Unofficial, StoreKind::Zram, Program::eater(0..PAGES));
    assert_eq!(run(), run());
}

/// The first touch of 512 neighbours takes their page table, whichever of them it is.
#[test]
fn the_order_of_equal_pages_within_their_page_tables_changes_nothing() {
    let pages = 0..PAGES - PAGES % 512;
    let eat = |turned: u32| {
        let contents = Contents::Sizes(Sizes::uniform(64, 1200));
        let sys = Plan::new(Preset::Sync, StoreKind::Zram).of(contents, Backing::Modelled, Memcgs::default(), |_| ROOT);
        let fill = pages.clone().map(|page| TRACE_WRITE | (page ^ turned));
        let touches: Vec<u32> = fill.chain(pages.clone().map(|page| page ^ turned)).collect();
        let trace = Trace { touches: touches.into(), gaps_ns: [].into() };
        let replay = Phase {
            touches: 2 * u64::from(pages.end),
            pattern: Pattern::Trace(trace),
            ..Phase::once(pages.clone(), false)
        };
        let mut crew = Crew::machine(&sys, [Program::phases([replay], 0)], false);
        let run = run(&sys, &mut crew, &Machine::new(2), 0).unwrap();
        sys.invariant();
        (run.stat, run.end_ns, sys.mm.as_ref().unwrap().overhead_pages())
    };
    assert_eq!(eat(0), eat(511));
}

/// Loads are compared by what each CPU can do, and moved as they are.
#[test]
fn cpus_half_as_fast_are_those_whose_work_costs_twice_as_much() {
    for &preset in Preset::ALL {
        let eat = |percent: u32, times: u64| {
            let mut machine = Machine::new(2);
            machine.cpu_speed_percent.fill(percent);
            (machine.costs.compress_ns, machine.costs.decompress_ns) = (Some(2000 * times), Some(700 * times));
            machine.costs.zero_test_ps_per_byte = 250; // No part of a nanosecond a page.
            for (name, ns) in machine.costs.named() {
                *ns *= if name.starts_with("device") { 1 } else { times };
            }
            (machine.scheduler.wake_ns, machine.scheduler.switch_ns) = (1000 * times, 1000 * times);
            let sys = self::machine(preset, StoreKind::Zram, 7000, 2 * PAGES);
            let mut crew = Crew::machine(&sys, [Program::eater(0..PAGES)], false);
            let run = run(&sys, &mut crew, &machine, 0).unwrap();
            (run.stat, run.end_ns, run.cpu_ns)
        };
        assert_eq!(eat(50, 1), eat(100, 2), "{}", preset.name());
    }
}

/// Pages read from the device stay in the swap cache, and a write that follows at once meets them in the CPU's batch of new
/// folios: it must get on.
#[test]
fn random_writers_behind_zswap_come_to_their_end() {
    for preset in [Preset::Sync, Preset::AsyncStore, Preset::Unofficial] {
        let (stat, _) = eat(preset, StoreKind::Zswap, Program::usemem(0..PAGES, 20_000, 1));
        assert!(stat[Vm::Zswpout] > 0 && stat[Vm::Pswpin] > 0, "{}: it had to swap, to the device too", preset.name());
        assert_eq!(stat[Vm::OomKill], 0, "{}", preset.name());
    }
}

/// What the shrink worker and a store over its limit bring back to write has a frame of its own, from the same budget.
#[test]
fn entries_of_a_full_pool_are_written_back_through_frames_of_the_budget() {
    for preset in [Preset::Sync, Preset::Split] {
        let sys = Plan { pool_limit_pages: Some(300), ..Plan::new(preset, StoreKind::Zswap) }.in_groups(2);
        let programs = [Program::usemem(0..PAGES / 2, 15_000, 1), Program::usemem(PAGES / 2..PAGES, 15_000, 2)];
        let stat = budget::play(&sys, programs);
        assert!(stat[Vm::Zswpwb] > 500, "{}: {} entries", preset.name(), stat[Vm::Zswpwb]);
    }
}

/// The shrink worker reclaims for the folio of an entry that is gone before there is one: it gives back what it has isolated.
#[test]
fn an_entry_that_goes_meanwhile_leaves_no_page_isolated() {
    let sys = Plan { pool_limit_pages: Some(300), ..Plan::new(Preset::Sync, StoreKind::Zswap) }.system();
    let mut crew = Crew::machine(&sys, [Program::usemem(0..PAGES, 15_000, 1)], false);
    let worker = crew.seats.iter().position(|seat| matches!(seat.actor, Actor::Shrink(_))).unwrap();
    let isolated = || sys.nodes[0].lru().isolated;
    let mut last = worker;
    let others = (0..10_000_000).find_map(|_| {
        last = crew.next_after(&sys, last).unwrap();
        let before = isolated();
        let _ = crew.step(&sys, last).unwrap();
        (last == worker && isolated() > before).then_some(before)
    });
    let is_stored = |page: &u32| sys.folio(*page).word.load().state() == State::CompressedFreed;
    let stored: Vec<u32> = (0..PAGES).filter(is_stored).collect();
    let mut crew = crew.with_app(&sys, Task::Killed, &stored);
    for seat in [crew.seats.len() - 1, worker] {
        let steps = (0..1_000_000).take_while(|_| crew.seats[seat].is_ready(&sys) && crew.step(&sys, seat).is_ok());
        assert!(steps.count() > 0);
    }
    assert_eq!(others, Some(isolated()), "{:?}", crew.seats[worker].actor);
}

/// Two applications, more pages than memory and swap together can hold: the larger one is ended by name, its pages are free
/// again, and the other comes to its end.
#[test]
fn the_larger_application_is_ended_when_nothing_can_be_reclaimed() {
    for &preset in Preset::ALL {
        let sys = machine(preset, StoreKind::Zram, 5000, 3000);
        let programs = [Program::eater(0..9000), Program::usemem(9000..9500, 6000, 1)];
        let mut crew = Crew::machine(&sys, programs, false);
        let run =
            run(&sys, &mut crew, &Machine::new(2), 0).unwrap_or_else(|error| panic!("{}: {error}", preset.name()));
        sys.invariant();
        assert_eq!(run.stat[Vm::OomKill], 1, "{}", preset.name());
        assert!(crew.seats.iter().all(|seat| seat.ctx.errors.is_empty()), "{}: that is no error", preset.name());
        let freed = (0..9000).all(|page| sys.folio(page).word.load().state() == State::Freed);
        assert!(freed, "{}: its pages are free", preset.name());
        let mut apps = crew.seats.iter().filter_map(|seat| match &seat.actor {
            Actor::App(app) => Some((app.touches(), seat.ctx.stat[Vm::OomKill])),
            _ => None,
        });
        let (killed, done) = (apps.next().unwrap(), apps.next());
        assert!(killed.0 < 9000 && killed.1 == 1, "{}: {killed:?}", preset.name());
        assert_eq!(done, Some((6500, 0)), "{}: the other is done", preset.name());
    }
}

/// However little memory there is, a run ends in progress or in a kill.
#[test]
fn no_run_gets_stuck_close_to_exhaustion() {
    let mut kills = 0;
    for &preset in Preset::ALL {
        for (store, free_pages) in [
            (StoreKind::Zram, 1500),
            (StoreKind::Zram, 3000),
            (StoreKind::Zram, 5000),
            (StoreKind::Zswap, 1500),
            (StoreKind::Zswap, 4000),
        ] {
            for slots in [2000, 2 * PAGES] {
                let sys = machine(preset, store, free_pages, slots);
                let mut crew = Crew::machine(&sys, [Program::usemem(0..PAGES, 5000, 3)], false);
                let run = run(&sys, &mut crew, &Machine::new(2), 0)
                    .unwrap_or_else(|error| panic!("{} {store:?} {free_pages} {slots}: {error}", preset.name()));
                sys.invariant();
                kills += run.stat[Vm::OomKill];
            }
        }
    }
    assert!(kills > 0, "some had too little");
}

/// Leaves so many pages in the buddy lists of which two CPUs have not counted 8 yet: kswapd, which counts exactly, has
/// nothing to do, and the marks let nobody pass.
fn hide(zone: &Zone, free_pages: u32) {
    let drain = || std::iter::successors(Some(0), |&cpu| zone.drain(cpu)).count();
    zone.set_kswapd_awake(false);
    let uncounted = [0, 1].map(|cpu| (cpu, zone.take_order(cpu, Migrate::Movable, Mark::None, 2).unwrap()));
    drain();
    while zone.total_free() > free_pages - 8 {
        zone.take(0, Migrate::Movable, Mark::None).unwrap();
        drain();
    }
    uncounted.iter().for_each(|&(cpu, first)| zone.give_order(cpu, Migrate::Movable, first, 2));
}

/// Has the others run until there is a folio for the worker, whose seat it returns.
fn worker_with_a_folio(sys: &System, crew: &mut Crew) -> usize {
    let worker = crew.seats.iter().position(|seat| matches!(seat.actor, Actor::Kcompressd(_))).unwrap();
    while sys.queues[0].is_empty() {
        let other = crew.runnable(sys).find(|&seat| seat != worker).unwrap();
        let _ = crew.step(sys, other).unwrap();
    }
    worker
}

/// Documentation/admin-guide/sysctl/vm.rst: at 0 swap begins where free pages and page cache together are below the high mark.
#[test]
fn without_swappiness_a_node_swaps_once_there_is_hardly_any_page_cache_and_no_generation_ever_does() {
    for lru_gen in [false, true] {
        let sys = Plan { swappiness: 0, lru_gen, ..Plan::new(Preset::Sync, StoreKind::Zram) }.system();
        let stat = budget::play(&sys, [Program::eater(0..PAGES)]);
        let kills = u64::from(lru_gen);
        assert_eq!((stat[Vm::OomKill], stat[Vm::PgstealAnon] > 0, stat[Vm::PgstealFile]), (kills, !lru_gen, 500));
    }
}

/// PGDAT_WRITEBACK ends when kswapd finds its node balanced and goes to sleep.
#[test]
fn a_balanced_node_has_no_writes_to_wait_for() {
    let sys = machine(Preset::Sync, StoreKind::Zram, 7000, 2 * PAGES);
    sys.nodes[0].set_all_writeback(true);
    let mut crew = Crew::machine(&sys, [Program::eater(0..100)], false);
    let stat = run(&sys, &mut crew, &Machine::new(2), 0).unwrap().stat;
    assert_eq!((sys.nodes[0].all_writeback(), stat[Vm::Pageoutrun]), (false, 0));
}

#[test]
fn an_application_that_is_ended_while_it_is_throttled_is_no_longer_stalled_on_memory() {
    let sys = machine(Preset::Unofficial, StoreKind::Zram, 7000, 2 * PAGES);
    let mut crew = Crew::machine(&sys, [Program::eater(0..PAGES)], false);
    let (app, mut last) = (crew.seats.len() - 1, 0);
    while crew.seats[app].ctx.stat[Vm::PgscanDirectThrottle] == 0 {
        last = crew.next_after(&sys, last).expect("it comes to that");
        let _ = crew.step(&sys, last).unwrap();
    }
    assert!(crew.seats[app].ctx.memstall);
    assert!(sys.oom.kill(crew.seats[app].ctx.actor, |_| true).is_some());
    while crew.seats[app].ctx.stat[Vm::OomKill] == 0 {
        let _ = crew.step(&sys, app).unwrap();
    }
    assert!(!crew.seats[app].ctx.memstall);
}

/// A fault waits for a folio's lock killably: who has the folio may be waiting for the memory of this very application.
#[test]
fn an_application_that_is_ended_while_it_waits_for_a_folio_no_longer_waits() {
    let sys = machine(Preset::April, StoreKind::Zram, 7000, 1000);
    let programs = [Program::eater(0..4000), Program::usemem(4000..9000, 100_000, 1)];
    let mut crew = Crew::machine(&sys, programs, false);
    let [smaller, larger] = [2, 1].map(|from_last| crew.seats.len() - from_last);
    assert!(matches!(crew.seats[1].actor, Actor::Kcompressd(_)), "it has no turn: what is queued stays so");
    for turn in 0..5_000_000 {
        let seats: &[usize] =
            if crew.seats[larger].ctx.pages_done < 5000 { &[0, larger] } else { &[0, smaller, larger] };
        let seat = seats[turn % seats.len()];
        if crew.seats[seat].is_runnable(&sys) {
            let _ = crew.step(&sys, seat).unwrap();
        }
    }
    let stat = &crew.seats[larger].ctx.stat;
    assert_eq!((stat[Vm::FaultWaits] > 0, stat[Vm::OomKill]), (true, 1), "{:?}", crew.seats[larger].status);
}

/// The worker that has the last of the victim's pages may be waiting for memory that others have.
#[test]
fn another_may_be_ended_when_the_first_has_given_up_all_but_what_others_have_in_their_hands() {
    let sys = machine(Preset::April, StoreKind::Zram, 7000, 2 * PAGES);
    let programs = [Program::eater(0..PAGES - 10), Program::eater(PAGES - 10..PAGES)];
    let mut crew = Crew::machine(&sys, programs, false);
    let worker = worker_with_a_folio(&sys, &mut crew);
    let [first, second] = [2, 1].map(|from_end| crew.seats[crew.seats.len() - from_end].ctx.actor);
    assert_eq!(sys.oom.kill(second, |_| true), Some(first));
    let next = (0..1_000_000).find_map(|_| {
        let other = crew.runnable(&sys).find(|&seat| seat != worker)?;
        let _ = crew.step(&sys, other).unwrap();
        sys.oom.kill(second, |_| true)
    });
    assert_eq!(next, Some(second));
    assert!((0..PAGES).any(|page| sys.folio(page).word.load().has(flag::LOCKED)), "the worker's");
}

#[test]
fn a_worker_that_waits_for_pages_finds_those_that_cpus_have_not_counted() {
    let watermarks = [80, 83, 86];
    let sys = Plan { watermarks, boost_factor: 0, ..Plan::new(Preset::April, StoreKind::Zram) }.system();
    let mut crew = Crew::machine(&sys, [Program::eater(0..PAGES)], false);
    let worker = worker_with_a_folio(&sys, &mut crew);
    let zone = &sys.mm.as_ref().unwrap().zone;
    hide(zone, watermarks[0] + 8);
    assert!(zone.is_balanced() && !zone.watermark_ok(Mark::Min));
    let stored = (0..1_000_000).any(|_| {
        let _ = crew.step(&sys, worker).unwrap();
        crew.seats[worker].ctx.stat[Vm::KcompressdDone] > 0
    });
    assert!(stored, "{:?}", crew.seats[worker].actor);
}

/// The kernel's ladder drains only after progress; while kswapd is awake it makes the worker wait for what it frees.
#[test]
fn a_worker_that_found_nothing_leaves_the_cpus_lists_alone_while_kswapd_is_awake() {
    let watermarks = [80, 83, 86];
    let plan = Plan { watermarks, boost_factor: 0, lru_gen: true, ..Plan::new(Preset::April, StoreKind::Zram) };
    let sys = plan.system(); // Page cache goes first there, and nothing else may be freed without __GFP_IO.
    let mut crew = Crew::machine(&sys, [Program::eater(0..PAGES)], false);
    let worker = worker_with_a_folio(&sys, &mut crew);
    let zone = &sys.mm.as_ref().unwrap().zone;
    hide(zone, watermarks[0] + 8);
    zone.set_kswapd_awake(true);
    let waits = (0..20_000).all(|_| {
        let _ = crew.step(&sys, worker).unwrap();
        crew.seats[worker].ctx.stat[Vm::KcompressdDone] == 0
    });
    assert!(waits && crew.seats[worker].ctx.stat[Vm::AllocstallNormal] > 40, "{:?}", crew.seats[worker].actor);
    assert!(!zone.watermark_ok(Mark::Min), "the pages are where they were");
}
