//! The multi-gen LRU beside active and inactive lists: the same machine and programs under both.

mod budget;

use budget::{PAGES, Plan, play};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::lifecycle::flag;
use kcompressd_core::memcg::{Memcg, MemcgEvent};
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::system::System;
use kcompressd_core::workload::{Pattern, Phase, Program};

fn system(preset: Preset, store: StoreKind, lru_gen: bool, groups: u16) -> System {
    Plan { lru_gen, ..Plan::new(preset, store) }.in_groups(groups)
}

#[test]
fn every_preset_comes_to_its_end_and_the_counters_agree() {
    for &preset in Preset::ALL {
        for store in [StoreKind::Zram, StoreKind::Zswap] {
            let sys = system(preset, store, true, 0);
            let stat = play(&sys, [Program::usemem(0..PAGES, 20_000, 1)]);
            let name = format!("{} on {store:?}", preset.name());
            assert_eq!(stat[Vm::OomKill], 0, "{name}");
            let scanned = stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect];
            let stolen = stat[Vm::PgstealKswapd] + stat[Vm::PgstealDirect];
            assert_eq!(scanned, stat[Vm::PgscanAnon] + stat[Vm::PgscanFile], "{name}");
            assert_eq!(stolen, stat[Vm::PgstealAnon] + stat[Vm::PgstealFile], "{name}");
            assert!(stat[Vm::PgstealAnon] > u64::from(PAGES) / 3, "{name}: it had to swap");
            assert_eq!(stat[Vm::Pgdeactivate], 0, "{name}: there is no active list");
        }
    }
}

/// A walk looks where pages were found young before; tables that were filled since are not among these, so that eviction meets their pages
/// young, once, and has the next walk look there.
#[test]
fn pages_of_new_tables_are_met_young_once_and_those_of_walked_ones_never() {
    let looks = |pages| {
        let sys = system(Preset::Sync, StoreKind::Zram, true, 0);
        let stat = play(&sys, [Program::eater(0..pages)]);
        let in_vain = stat[Vm::PgscanAnon] - stat[Vm::PgstealAnon];
        assert!(stat[Vm::ExitReferenced] * 10 >= in_vain * 9, "{in_vain} looks in vain");
        assert!(stat[Vm::Pgrefill] > 0, "neighbours of young pages are sorted away");
        stat[Vm::PgscanAnon] as f64 / stat[Vm::PgstealAnon] as f64
    };
    let (little_more, much_more) = (looks(7400), looks(PAGES));
    // Which of the two has more tables that were walked before is a matter of when free pages run out first.
    assert!([little_more, much_more].iter().all(|looks| (1.0..2.0).contains(looks)), "{little_more} {much_more}");
}

/// Of 600 slots CPUs take 64 at a time. Anonymous pages are let alone once fewer are left than a batch has pages; active and inactive lists use
/// the last ones.
#[test]
fn the_last_slots_are_left() {
    for (lru_gen, swapped_out) in [(false, 577..=600), (true, 448..=576)] {
        let sys = Plan { lru_gen, slots: 600, ..Plan::new(Preset::Sync, StoreKind::Zram) }.system();
        let stat = play(&sys, [Program::phases([Phase::once(0..PAGES, true)], 1)]);
        assert_eq!(stat[Vm::OomKill], 1, "it does not fit");
        let slots = stat[Vm::Pswpout] + stat[Vm::SwpoutZero];
        assert!(swapped_out.contains(&slots), "{lru_gen}: {slots}");
    }
}

/// Half of what a worker finishes while the batch is under way is freed by a second look at once, not by another isolation.
#[test]
fn what_became_clean_meanwhile_is_looked_at_again() {
    let sys = system(Preset::Unofficial, StoreKind::Zram, true, 0);
    let stat = play(&sys, [Program::eater(0..PAGES)]);
    let ends: u64 = [
        Vm::PgstealAnon,
        Vm::ExitQueued,
        Vm::ExitLocked,
        Vm::ExitWriteback,
        Vm::ExitReferenced,
        Vm::ExitReferencedActivated,
        Vm::ExitAddToSwap,
        Vm::ExitActivated,
        Vm::ExitDirty,
        Vm::ExitRefs,
        Vm::ExitKept,
    ]
    .iter()
    .map(|&exit| stat[exit])
    .sum();
    assert!(ends > stat[Vm::PgscanAnon] + stat[Vm::ExitQueued] / 4, "{ends} {}", stat[Vm::PgscanAnon]);
}

/// What a direct reclaimer finds young around a page is counted as activated; nothing else is, where every page finds a leaf.
#[test]
fn neighbours_that_a_direct_reclaimer_finds_young_are_counted_as_activated() {
    let sys = system(Preset::Sync, StoreKind::Zram, true, 0);
    let stat = play(&sys, [Program::eater(0..PAGES)]);
    assert_eq!((stat[Vm::ExitReferencedActivated], stat[Vm::ExitAddToSwap]), (0, 0));
    let (activated, kept) = (stat[Vm::Pgactivate], stat[Vm::ExitReferenced]);
    assert!(0 < activated && activated < kept / 4, "{activated} activated, {kept} kept: most are kswapd's");
}

/// `april`'s worker reclaims for itself and may not write: it isolates nothing that it would have to.
#[test]
fn without_io_nothing_is_isolated_that_would_have_to_be_written() {
    let sys = system(Preset::April, StoreKind::Zram, true, 0);
    let stat = play(&sys, [Program::eater(0..PAGES)]);
    assert!(stat[Vm::AllocstallNormal] > 0, "it reclaimed");
    assert!(stat[Vm::ExitKept] * 50 < stat[Vm::PgscanAnon], "{} of {}", stat[Vm::ExitKept], stat[Vm::PgscanAnon]);
}

/// A hot set is touched again and again while cold pages stream by, once each.
fn hot_beside_cold(lru_gen: bool) -> (VmStat, usize) {
    const HOT: u32 = 1000;
    let sys = system(Preset::Sync, StoreKind::Zram, lru_gen, 0);
    let hot =
        Phase { pattern: Pattern::InOrder, touches: u64::from(HOT) * 60, think_ns: 2_000, ..Phase::once(0..HOT, true) };
    let cold = Phase { think_ns: 5_000, ..Phase::once(HOT..PAGES, true) };
    let stat = play(&sys, [Program::phases([hot], 1), Program::phases([cold], 2)]);
    let resident = (0..HOT).filter(|&page| sys.folio(page).word.load().has(flag::FRAME)).count();
    (stat, resident)
}

#[test]
fn a_hot_set_stays_while_cold_pages_stream_by() {
    let [(classic, _), (generations, resident)] = [false, true].map(hot_beside_cold);
    assert!(resident > 950, "{resident} of 1000 hot pages");
    let looks = |stat: &VmStat| stat[Vm::PgscanAnon] as f64 / stat[Vm::PgstealAnon] as f64;
    let looks = [classic, generations].map(|stat| looks(&stat));
    assert!(looks[1] < looks[0], "aging has seen the young ones, which classic reclaim looks at twice: {looks:?}");
}

#[test]
fn groups_age_by_themselves_and_limits_hold() {
    let sys = system(Preset::Sync, StoreKind::Zram, true, 2);
    sys.memcgs.get(1).unwrap().set_memory_max_pages(800);
    let stat = play(&sys, [Program::usemem(0..2000, 4000, 3), Program::eater(6000..7000)]);
    let scanned: Vec<u64> = sys.memcgs.iter().map(Memcg::pgscan).collect();
    assert!(scanned[1] > 0 && scanned[2] == 0, "{scanned:?}");
    assert!(sys.memcgs.get(1).unwrap().frames() <= 800);
    assert_eq!(stat[Vm::PgstealAnon], sys.memcgs.get(1).unwrap().pgsteal());
}

/// Pages freed of each of `groups` equal groups below the root.
fn steals_of(sys: &System) -> Vec<u64> {
    sys.memcgs.iter().skip(1).map(Memcg::pgsteal).collect()
}

/// A reclaimer takes what it needs from the group at the head of a bin and leaves; in time each has its turn.
#[test]
fn equal_groups_give_alike_in_time() {
    for groups in [2, 8] {
        let sys = system(Preset::Sync, StoreKind::Zram, true, groups);
        let share = PAGES / u32::from(groups);
        let writer = |i: u32| Program::usemem(i * share..(i + 1) * share, 4 * u64::from(share), i.into());
        // A CPU for each: were there fewer, who runs first would be done when the others begin.
        let mut crew = Crew::machine(&sys, (0..groups.into()).map(writer), false);
        run(&sys, &mut crew, &Machine::new(groups.into()), 0).unwrap();
        sys.invariant();
        let steals = steals_of(&sys);
        let (least, most) = (steals.iter().min().unwrap(), steals.iter().max().unwrap());
        assert!(*least > u64::from(share) && most * 4 < least * 5, "{steals:?}");
    }
}

/// Two groups of which the first has `min` and `low` pages protected; what was freed of each, and how often `low` gave way.
fn protected(min: u64, low: u64) -> (Vec<u64>, u64) {
    let sys = system(Preset::Sync, StoreKind::Zram, true, 2);
    let group = sys.memcgs.get(1).unwrap();
    group.set_memory_min_pages(min);
    group.set_memory_low_pages(low);
    let _ = play(&sys, [Program::eater(0..3000), Program::eater(6000..12_000)]);
    (steals_of(&sys), group.event(MemcgEvent::Low))
}

#[test]
fn min_protects_a_group_and_low_does_until_its_turn_comes_again() {
    let [(free, _), (min, none), (low, lows)] = [(0, 0), (3100, 0), (0, 3100)].map(|(min, low)| protected(min, low));
    assert!(free[0] > 200 && min[0] == 0 && none == 0, "{free:?} {min:?}");
    assert!(low[0] > 0 && lows > 0, "{low:?} {free:?}: it has its turn at the end of a bin");
}
