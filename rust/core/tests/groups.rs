//! Several memory cgroups in one memory: lists, scans and counters by group.

mod budget;
mod cases;

use budget::{PAGES, Plan, eaters, play, play_on};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, run};
use kcompressd_core::memcg::{Memcg, MemcgEvent, MemcgStat, Memcgs, ROOT};
use kcompressd_core::node::Sizes;
use kcompressd_core::reclaim::ReclaimRequest;
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::system::System;
use kcompressd_core::units::SWAP_CLUSTER_MAX;
use kcompressd_core::workload::{Phase, Program};

/// The pages dealt out to `groups` groups.
fn system(preset: Preset, groups: u16) -> System {
    Plan::new(preset, StoreKind::Zram).in_groups(groups)
}

fn of_groups(sys: &System, counter: impl Fn(&Memcg) -> u64) -> Vec<u64> {
    sys.memcgs.iter().map(counter).collect()
}

#[test]
fn the_counters_of_the_groups_add_up_to_the_nodes() {
    for &preset in Preset::ALL {
        let sys = system(preset, 3);
        let stat = play(&sys, eaters(3));
        let name = preset.name();
        let pgscan = of_groups(&sys, Memcg::pgscan).iter().sum::<u64>();
        assert_eq!(pgscan, stat[Vm::PgscanAnon] + stat[Vm::PgscanFile], "{name}");
        assert_eq!(of_groups(&sys, Memcg::pgsteal).iter().sum::<u64>(), stat[Vm::PgstealAnon] + stat[Vm::PgstealFile]);
        for (counter, of_the_node) in [
            (MemcgStat::PgscanKswapd, Vm::PgscanKswapd),
            (MemcgStat::PgscanDirect, Vm::PgscanDirect),
            (MemcgStat::PgstealKswapd, Vm::PgstealKswapd),
            (MemcgStat::PgstealDirect, Vm::PgstealDirect),
            (MemcgStat::Pgfault, Vm::Pgfault),
            (MemcgStat::Pgmajfault, Vm::Pgmajfault),
            (MemcgStat::Pgrefill, Vm::Pgrefill),
            (MemcgStat::Pgactivate, Vm::Pgactivate),
            (MemcgStat::Pgdeactivate, Vm::Pgdeactivate),
            (MemcgStat::WorkingsetRefaultAnon, Vm::WorkingsetRefaultAnon),
            (MemcgStat::WorkingsetActivateAnon, Vm::WorkingsetActivateAnon),
        ] {
            let sum: u64 = of_groups(&sys, |group| group.stat(counter)).iter().sum();
            assert_eq!(sum, stat[of_the_node], "{name}: {}", counter.name());
        }
        assert!(stat[Vm::PgscanKswapd] > 0 && stat[Vm::PgstealKswapd] > 0, "{name}");
        assert_eq!(of_groups(&sys, Memcg::pgscan)[0], stat[Vm::PgscanFile], "{name}: the root has the page cache");
    }
}

/// Eight eaters under `april`, whose worker reclaims for itself, once turned for ever around what the worker held.
#[test]
fn any_number_of_groups_comes_to_its_end_under_every_design_and_both_list_policies() {
    let lists = [StoreKind::Zram, StoreKind::Zswap].map(|store| [(store, false), (store, true)]);
    for (seed, &preset) in (0..).zip(Preset::ALL) {
        for (store, lru_gen) in lists.into_iter().flatten() {
            for (groups, cpus) in [(2, 4), (8, 2)] {
                let name = format!("{} on {store:?}, {groups} groups, lru_gen {lru_gen}, {cpus} CPUs", preset.name());
                let sys = Plan { lru_gen, ..Plan::new(preset, store) }.in_groups(groups);
                let mut crew = Crew::machine(&sys, eaters(groups.into()), false);
                let run =
                    run(&sys, &mut crew, &Machine::new(cpus), seed).unwrap_or_else(|error| panic!("{name}: {error}"));
                sys.invariant();
                let touched: u64 = crew.seats.iter().map(|seat| seat.ctx.pages_done).sum();
                assert_eq!((run.stat[Vm::OomKill], touched >= 2 * u64::from(PAGES)), (0, true), "{name}: {touched}");
                let steals = of_groups(&sys, Memcg::pgsteal);
                assert!(steals[1..].iter().all(|&pages| pages > 0), "{name}: {steals:?}");
            }
        }
    }
}

#[test]
fn equal_groups_are_scanned_alike() {
    // A CPU for each thread: an application that shares one with kswapd is slower, and who is first has its pages in memory before any is reclaimed.
    for preset in [Preset::Sync, Preset::April, Preset::Unofficial] {
        let sys = system(preset, 2);
        play_on(&sys, eaters(2), 4);
        let steals = of_groups(&sys, Memcg::pgsteal)[1..].to_vec();
        let (least, most) = (steals.iter().min().unwrap(), steals.iter().max().unwrap());
        assert!(*least > 0 && most * 10 <= least * 11, "{} {steals:?}", preset.name());
    }
}

/// In five boots together: one is one course of many. Not alike: the page cache is the root's, and passes that end with the first group differ
/// while there is any.
#[test]
fn one_group_below_the_root_fares_as_the_root_itself() {
    for preset in [Preset::Sync, Preset::Unofficial] {
        let boot = |groups: u16, boot: u32| {
            let plan = Plan::new(preset, StoreKind::Zram);
            let stat = play(&Plan { free_pages: plan.free_pages - 8 * boot, ..plan }.in_groups(groups), eaters(1));
            [Vm::PgstealAnon, Vm::PgscanAnon].map(|counter| stat[counter])
        };
        let all = |groups| (0..5).map(|n| boot(groups, n)).fold([0, 0], |sum, new| [sum[0] + new[0], sum[1] + new[1]]);
        for (root, group) in all(0).into_iter().zip(all(1)) {
            assert!(root.abs_diff(group) * 10 <= root, "{}: {root} {group}", preset.name());
        }
    }
}

/// The most pages that `memcg` was ever charged, looked at after every step.
fn peak(sys: &System, programs: Vec<Program>, memcg: u16) -> (VmStat, u64) {
    let mut crew = Crew::machine(sys, programs, false);
    let (mut last, mut peak) = (0, 0);
    while let Some(seat) = crew.next_after(sys, last) {
        let _ = crew.step(sys, seat).unwrap();
        last = seat;
        peak = peak.max(sys.memcgs.get(memcg).unwrap().frames());
    }
    assert!(crew.is_done());
    sys.invariant();
    (crew.stat(), peak)
}

#[test]
fn a_limit_is_never_exceeded_and_nobody_else_is_reclaimed_from() {
    for preset in [Preset::Sync, Preset::April, Preset::Unofficial] {
        let sys = system(preset, 4);
        let group = sys.memcgs.get(1).unwrap();
        group.set_memory_max_pages(500);
        let alone = vec![Program::usemem(0..2000, 4000, 3), Program::eater(3000..4000)];
        let (stat, peak) = peak(&sys, alone, 1);
        let name = preset.name();
        assert!((450..=500).contains(&peak), "{name}: {peak}");
        assert!(group.event(MemcgEvent::Max) > 0 && group.event(MemcgEvent::OomKill) == 0, "{name}");
        assert_eq!(of_groups(&sys, Memcg::pgscan)[2..], [0, 0, 0], "{name}");
        let of_the_node = stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect] + stat[Vm::AllocstallMovable];
        assert_eq!(of_the_node, 0, "{name}: /proc/vmstat counts the node's own reclaim");
        assert_eq!(group.pgsteal(), stat[Vm::PgstealAnon], "{name}");
        assert!(stat[Vm::PgstealAnon] >= 1500, "{name}");
    }
}

#[test]
fn a_limit_above_counts_for_all_below() {
    let mut memcgs = Memcgs::default();
    let parent = memcgs.add("parent", ROOT).unwrap();
    let children = [0, 1].map(|i| memcgs.add(&format!("child{i}"), parent).unwrap());
    memcgs.get(parent).unwrap().set_memory_max_pages(600);
    let sys = Plan::new(Preset::Sync, StoreKind::Zram).with(memcgs, |page| children[usize::from(page >= 6000)]);
    let (_, peak) = peak(&sys, vec![Program::eater(0..1000), Program::eater(6000..7000)], parent);
    assert!((550..=600).contains(&peak), "{peak}");
    let steals = of_groups(&sys, Memcg::pgsteal);
    let [a, b] = children.map(|child| steals[usize::from(child)]);
    assert!(a > 0 && b > 0 && a.abs_diff(b) * 3 < a + b, "{a} {b}: both give way");
}

#[test]
fn above_memory_high_a_group_is_slowed_down_and_not_stopped() {
    let run_with_high = |high| {
        let sys = system(Preset::Sync, 1);
        sys.memcgs.get(1).unwrap().set_memory_high_pages(high);
        let mut crew = Crew::machine(&sys, [Program::eater(0..3000)], false);
        let run = run(&sys, &mut crew, &Machine::new(2), 0).unwrap();
        sys.invariant();
        let group = sys.memcgs.get(1).unwrap();
        assert_eq!(run.stat[Vm::OomKill], 0);
        (run.end_ns, group.event(MemcgEvent::High), group.frames())
    };
    let (free_ns, none, all) = run_with_high(u64::MAX);
    let (slow_ns, high, frames) = run_with_high(1000);
    assert_eq!((none, all), (0, 3000));
    assert!(high > 10 && frames < 1100 && slow_ns > free_ns, "{high} {frames} {slow_ns} {free_ns}");
}

/// Without swap nothing can be reclaimed: whoever allocates sleeps.
#[test]
fn each_group_above_memory_high_is_reclaimed_from_and_who_sleeps_for_one_is_stalled() {
    let mut memcgs = Memcgs::default();
    let parent = memcgs.add("parent", ROOT).unwrap();
    let child = memcgs.add("child", parent).unwrap();
    memcgs.get(parent).unwrap().set_memory_high_pages(1000);
    memcgs.get(child).unwrap().set_memory_high_pages(900);
    let sys = Plan { slots: 0, ..Plan::new(Preset::Sync, StoreKind::Zram) }.with(memcgs, |_| child);
    let mut crew = Crew::machine(&sys, [Program::eater(0..1600)], false);
    let run = run(&sys, &mut crew, &Machine::new(2), 0).unwrap();
    sys.invariant();
    let [high, above] = [child, parent].map(|id| sys.memcgs.get(id).unwrap().event(MemcgEvent::High));
    assert!(0 < above && above < high, "{above} {high}");
    let stalled_ns = run.measures.found.some_ns;
    assert!(run.end_ns > 4_000_000_000 && stalled_ns * 10 > run.end_ns * 9, "{stalled_ns} of {}", run.end_ns);
}

/// 500 pages of page cache: of more than 125 half is forgotten, each time.
#[test]
fn what_reclaim_has_cost_is_halved_once_when_it_is_more_than_a_quarter_of_the_lists() {
    let sys = system(Preset::Sync, 0);
    let mut lru = sys.nodes[0].lru();
    lru.note_cost(ROOT, false, 10, 0);
    lru.note_cost(ROOT, true, 0, 40);
    lru.note_cost(ROOT, true, 0, 20);
    assert_eq!((lru.of(ROOT).anon_cost, lru.of(ROOT).file_cost), (80, 40));
}

/// No swap: a group at its limit has nothing to give, and its largest application is ended; others go on.
/// The ratio grows with the square root of the pages: 10 GiB have ten active pages to an inactive one.
#[test]
fn lists_are_balanced_by_a_ratio_that_grows_with_them() {
    for (gib, ratio) in [(0, 1), (1, 3), (10, 10), (100, 31)] {
        let inactive = ((gib << 18) as u32).div_ceil(ratio + 1).max(1);
        for (active, is_low) in [(inactive * ratio, false), (inactive * ratio + 1, true)] {
            let anon = Sizes { inactive, active, ..Sizes::default() };
            let file = Sizes { inactive_file: inactive, active_file: active, ..Sizes::default() };
            assert_eq!([anon.inactive_is_low(), file.inactive_file_is_low()], [is_low; 2], "{gib} GiB");
        }
    }
}

#[test]
fn a_group_out_of_memory_ends_its_own_application() {
    let sys = Plan { slots: 0, ..Plan::new(Preset::Sync, StoreKind::Zram) }.in_groups(4);
    sys.memcgs.get(2).unwrap().set_memory_max_pages(400);
    let programs = vec![Program::eater(0..1000), Program::eater(3000..4000)];
    let stat = play(&sys, programs);
    let group = sys.memcgs.get(2).unwrap();
    assert_eq!((stat[Vm::OomKill], group.event(MemcgEvent::OomKill), group.frames()), (1, 1, 0));
    assert_eq!(
        (group.event(MemcgEvent::Max), group.event(MemcgEvent::Oom)),
        (18, 1),
        "16 retries, and one for the drained stock"
    );
    assert_eq!(sys.memcgs.get(1).unwrap().frames(), 1000);
}

#[test]
fn memory_reclaim_takes_what_is_asked_for_from_its_group() {
    let sys = system(Preset::Sync, 2);
    let fill = |pages| Program::phases([Phase::once(pages, true)], 0);
    let request = ReclaimRequest { at_ns: 1_000_000_000, memcg: 2, pages: 700 };
    let mut crew = Crew::machine(&sys, [fill(0..1000), fill(6000..7000)], false).with_reclaim(&sys, request);
    run(&sys, &mut crew, &Machine::new(2), 0).unwrap();
    sys.invariant();
    let frames = [1, 2].map(|id| sys.memcgs.get(id).unwrap().frames());
    assert_eq!(frames[0], 1000);
    assert!((1000 - 700 - 32..=300).contains(&frames[1]), "{frames:?}");
}

/// Two groups beside each other, each larger than half of the memory; the first has `min` and `low` pages of it protected.
fn protected(min: u64, low: u64) -> System {
    let sys = system(Preset::Sync, 2);
    let group = sys.memcgs.get(1).unwrap();
    group.set_memory_min_pages(min);
    group.set_memory_low_pages(low);
    play(&sys, [Program::eater(0..3000), Program::eater(6000..12_000)]);
    sys
}

#[test]
fn what_min_or_low_protects_stays_while_others_have_something_to_give() {
    let steals = |sys: &System| of_groups(sys, Memcg::pgsteal);
    let free = protected(0, 0);
    assert!(steals(&free)[1] > 200, "{:?}", steals(&free));
    for (min, low) in [(3100, 0), (0, 3100)] {
        let sys = protected(min, low);
        assert_eq!(steals(&sys)[1], 0, "min {min}, low {low}");
        assert_eq!(sys.memcgs.get(1).unwrap().event(MemcgEvent::Low), 0);
    }
    let half = protected(0, 2000);
    assert!((1..steals(&free)[1]).contains(&steals(&half)[1]), "above its protection a group gives in proportion");
    let frames = half.memcgs.get(1).unwrap().frames();
    assert!(frames + SWAP_CLUSTER_MAX as u64 > 2000, "{frames}: a round that began above it may end below");
}

/// Both groups are protected by more than there is: low gives way and says so, min does not and somebody has to go.
#[test]
fn low_gives_way_when_there_is_nothing_else_and_min_does_not() {
    let overcommitted = |set: fn(&Memcg, u64)| {
        let sys = system(Preset::Sync, 2);
        [1, 2].into_iter().for_each(|id| set(sys.memcgs.get(id).unwrap(), 6000));
        let stat = play(&sys, [Program::eater(0..5000), Program::eater(6000..11_000)]);
        let events = |event| [1, 2].map(|id| sys.memcgs.get(id).unwrap().event(event)).iter().sum::<u64>();
        (stat[Vm::OomKill], stat[Vm::PgstealAnon], events(MemcgEvent::Low))
    };
    let (killed, stolen, low) = overcommitted(Memcg::set_memory_low_pages);
    assert!(killed == 0 && stolen > 2000 && low > 0, "{killed} {stolen} {low}");
    let (killed, stolen, low) = overcommitted(Memcg::set_memory_min_pages);
    assert_eq!((killed, stolen, low), (1, 0, 0));
}

#[test]
fn memory_reclaim_takes_what_is_protected_from_others_and_not_from_a_child() {
    let mut memcgs = Memcgs::default();
    let parent = memcgs.add("parent", ROOT).unwrap();
    let child = memcgs.add("child", parent).unwrap();
    memcgs.get(parent).unwrap().set_memory_min_pages(1000);
    memcgs.get(child).unwrap().set_memory_min_pages(1000);
    let left = |memcg| {
        let sys = Plan::new(Preset::Sync, StoreKind::Zram).with(memcgs_like(&memcgs), |_| child);
        let program = Program::phases([Phase::once(0..1000, true)], 0);
        let request = ReclaimRequest { at_ns: 1_000_000_000, memcg, pages: 500 };
        let mut crew = Crew::machine(&sys, [program], false).with_reclaim(&sys, request);
        run(&sys, &mut crew, &Machine::new(2), 0).unwrap();
        sys.memcgs.get(child).unwrap().frames()
    };
    assert_eq!([left(ROOT), left(parent)], [1000, 1000]);
    assert!(left(child) <= 500);
}

/// zswap's dynamic shrinker writes entries back before the pool is full: where it is on.
#[test]
fn the_dynamic_shrinker_writes_back_what_lies_in_the_pool() {
    let written_back = |enabled| {
        let sys = Plan::new(Preset::Sync, StoreKind::Zswap).in_groups(2);
        sys.zswap().unwrap().set_shrinker_enabled(enabled);
        let stat = play(&sys, eaters(2));
        let of_groups: u64 = of_groups(&sys, |group| group.stat(MemcgStat::Zswpwb)).iter().sum();
        assert_eq!(of_groups, stat[Vm::Zswpwb]);
        assert_eq!(stat[Vm::OomKill], 0);
        stat[Vm::Zswpwb]
    };
    let (off, on) = (written_back(false), written_back(true));
    assert!(on > off, "{off} {on}");
}

/// The same tree with the same protection, empty.
fn memcgs_like(given: &Memcgs) -> Memcgs {
    let mut memcgs = Memcgs::default();
    for (group, id) in given.iter().zip(0..).skip(1) {
        let new = memcgs.add(group.name(), given.parent(id).unwrap()).unwrap();
        memcgs.get(new).unwrap().set_memory_min_pages(group.memory_min_pages());
    }
    memcgs
}

proptest::proptest! {
    #![proptest_config(cases::cases(12))]

    #[test]
    fn random_programs_and_limits_add_up(
        limits in proptest::collection::vec((150u64..3000, 150u64..3000), 3),
        touches in 500u64..4000,
        preset in 0usize..6,
        seed in 0u64..100,
    ) {
        let sys = system(Preset::ALL[preset % Preset::ALL.len()], 3);
        for ((max, high), id) in limits.iter().zip(1..) {
            let group = sys.memcgs.get(id).unwrap();
            group.set_memory_max_pages(*max);
            group.set_memory_high_pages(*high);
        }
        let programs = (0..3).map(|i| Program::usemem(i * 4000..i * 4000 + 2500, touches, seed + u64::from(i)));
        let stat = play(&sys, programs);
        let sum = |counter: fn(&Memcg) -> u64| of_groups(&sys, counter).iter().sum::<u64>();
        proptest::prop_assert_eq!(sum(Memcg::pgscan), stat[Vm::PgscanAnon] + stat[Vm::PgscanFile]);
        proptest::prop_assert_eq!(sum(Memcg::pgsteal), stat[Vm::PgstealAnon] + stat[Vm::PgstealFile]);
        proptest::prop_assert!(stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect] <= sum(Memcg::pgscan));
        let frames: u64 = sys.memcgs.iter().map(|group| group.frames()).sum();
        let held = sys.mm.as_ref().unwrap().frames() - sys.nodes[0].lru().sizes(ROOT).inactive_file;
        proptest::prop_assert_eq!(frames, u64::from(held), "every frame of an application is charged, to one group");
        for ((max, _), group) in limits.iter().zip(sys.memcgs.iter().skip(1)) {
            proptest::prop_assert!(group.frames() <= *max);
        }
    }
}
