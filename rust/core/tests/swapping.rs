//! What comes back from swap with a memory budget: into what state, onto which list, and what it counts as.

mod budget;

use budget::{Plan, eaters, play};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::filemap::{File, FileAccess, Filemap};
use kcompressd_core::lifecycle::{State, actor, flag};
use kcompressd_core::memcg::{Memcg, MemcgStat, Memcgs, ROOT};
use kcompressd_core::reclaim::App;
use kcompressd_core::stats::Vm;
use kcompressd_core::swapout::writeback::Writeback;
use kcompressd_core::system::{Ctx, Outcome, System};
use kcompressd_core::trace::Log;
use kcompressd_core::workload::{Phase, Program};
use kcompressd_core::zswap::shrink::Outcome as Shrunk;

fn context(sys: &System) -> Ctx {
    Ctx::new(actor::APP | 1, sys.config.codec, sys.config.page_size, Log::new(false, 0))
}

/// A system whose eater has run until a page is in `state`, unlocked; those who run there, and that page.
fn until(plan: Plan, state: State) -> (System, Crew, u32) {
    let sys = plan.system();
    let mut crew = Crew::machine(&sys, [Program::eater(0..budget::PAGES)], false);
    let mut last = 0;
    for step in 0.. {
        last = crew.next_after(&sys, last).expect("it comes to that");
        let _ = crew.step(&sys, last).unwrap();
        let there = |&page: &u32| {
            let word = sys.folio(page).word.load();
            word.state() == state && !word.has(flag::LOCKED | flag::WRITEBACK)
        };
        if step % 100 == 0
            && let Some(page) = (0..budget::PAGES).find(there)
        {
            return (sys, crew, page);
        }
    }
    unreachable!("steps do not end");
}

/// Another thread of the application touches one page; the others run while it waits.
fn touch(sys: &System, crew: &mut Crew, page: u32, writes: bool) {
    let mut ctx = context(sys);
    let (mut app, mut last) = (App::running(Program::phases([Phase::once(page..page + 1, writes)], 0)), 0);
    for _ in 0..100_000 {
        match app.step(sys, &mut ctx).unwrap() {
            Outcome::Done => return,
            Outcome::Ran(_) => {}
            Outcome::Wait(_) | Outcome::Sleep(_) => {
                for _ in 0..100 {
                    last = crew.next_after(sys, last).unwrap();
                    let _ = crew.step(sys, last).unwrap();
                }
            }
        }
    }
    panic!("page {page} does not come: {app:?}");
}

#[test]
fn a_page_that_is_found_in_the_swap_cache_is_young() {
    let (sys, mut crew, page) = until(Plan::new(Preset::Unofficial, StoreKind::Zram), State::Compressed);
    touch(&sys, &mut crew, page, false);
    let word = sys.folio(page).word.load();
    assert!(word.state() == State::ResidentSwapcache && word.has(flag::MAPPED) && word.has(flag::YOUNG), "{word:?}");
}

#[test]
fn a_write_parts_a_page_from_its_copy_wherever_it_finds_it() {
    let disk = Plan { incompressible: 32, ..Plan::new(Preset::Sync, StoreKind::Zswap) };
    for (plan, state) in
        [(Plan::new(Preset::Unofficial, StoreKind::Zram), State::Compressed), (disk, State::WrittenBackFreed)]
    {
        for writes in [false, true] {
            let (sys, mut crew, page) = until(plan, state);
            touch(&sys, &mut crew, page, writes);
            let found = sys.folio(page).word.load();
            let parted = found.state() == State::Resident && found.has(flag::DIRTY);
            assert_eq!(parted, writes, "{state:?}: {found:?}");
        }
    }
}

#[test]
fn a_refault_of_what_had_been_active_is_what_reclaiming_anonymous_pages_costs() {
    let sys = Plan::new(Preset::Sync, StoreKind::Zram).system();
    let (mut ctx, folio, node) = (context(&sys), sys.folio(7), &sys.nodes[0]);
    let mut refault = |age: u32, was_active: u32| {
        folio.set_shadow(node.age(ROOT).wrapping_sub(age));
        folio.set_workingset(was_active);
        let activates = sys.workingset_refault(&mut ctx, 7, true);
        (activates, node.lru().of(ROOT).anon_cost, folio.workingset())
    };
    // 500 pages of page cache compete with it, and a quarter of them is the most that costs come to.
    assert_eq!(refault(501, 1), (false, 0, 0));
    assert_eq!(refault(500, 0), (true, 0, 0));
    assert_eq!(refault(500, 1), (true, 32, 1));
    let counted = [Vm::WorkingsetRefaultAnon, Vm::WorkingsetActivateAnon, Vm::WorkingsetRestoreAnon];
    assert_eq!(counted.map(|counter| ctx.stat[counter]), [3, 2, 1]);
}

/// With generations: how far the eviction's is from the oldest now, and whether a fault asks or the shrink worker. Who came back from the
/// oldest counts against reclaiming anonymous pages where there is page cache to take instead.
#[test]
fn a_refault_from_what_is_still_the_oldest_generation_is_counted_as_restored() {
    for (behind, in_fault, cached) in (0..3)
        .flat_map(|n| [false, true].map(|fault| (n, fault)))
        .flat_map(|(n, fault)| [false, true].map(|file| (n, fault, file)))
    {
        let mut sys = Plan { lru_gen: true, ..Plan::new(Preset::Sync, StoreKind::Zram) }.system();
        let file = File { pages: u32::from(cached), memcg: ROOT, access: FileAccess::Read };
        sys.filemap = Filemap::new(budget::PAGES, &[file]);
        let (mut ctx, node) = (context(&sys), &sys.nodes[0]);
        for file in [false, true] {
            node.note_evicted(ROOT, file, 1000);
            (0..64).for_each(|_| node.note_refaulted(ROOT, file));
        }
        node.set_age(ROOT, 5);
        sys.folio(7).set_shadow(5 - behind);
        assert!(!node.prefers_file(ROOT, 98));
        (0..8).for_each(|_| assert!(!sys.workingset_refault(&mut ctx, 7, in_fault), "a fault makes it young"));
        let restored = if behind == 0 && in_fault { 8 } else { 0 };
        let counted =
            [MemcgStat::WorkingsetRefaultAnon, MemcgStat::WorkingsetActivateAnon, MemcgStat::WorkingsetRestoreAnon];
        assert_eq!(counted.map(|counter| sys.memcgs.get(ROOT).unwrap().stat(counter)), [8, restored, restored]);
        assert_eq!(
            node.prefers_file(ROOT, 98),
            behind == 0 && cached,
            "72 of 1000 came back, and 64 of the page cache"
        );
    }
}

#[test]
fn pages_that_were_deactivated_say_so_when_they_come_back() {
    let plan = Plan { free_pages: 6000, ..Plan::new(Preset::Unofficial, StoreKind::Zram) };
    let stat = play(&plan.system(), [Program::usemem(0..budget::PAGES, 60_000, 1)]);
    let counted = [Vm::WorkingsetRefaultAnon, Vm::WorkingsetActivateAnon, Vm::WorkingsetRestoreAnon];
    let [refaults, activated, restored] = counted.map(|counter| stat[counter]);
    assert!(refaults > activated && activated > restored && restored > 0, "{refaults} {activated} {restored}");
}

/// `workingset_eviction`: what the node's own reclaim takes from a group makes the node older, and not the group.
#[test]
fn an_eviction_ages_the_group_that_reclaim_began_from() {
    let sys = Plan::new(Preset::Sync, StoreKind::Zram).in_groups(2);
    play(&sys, eaters(2));
    for id in [1, 2] {
        let group = sys.memcgs.get(id).unwrap();
        let activated = group.stat(MemcgStat::Pgactivate) + group.stat(MemcgStat::WorkingsetActivateAnon);
        assert_eq!(u64::from(sys.nodes[0].age(id)), activated, "and {} were stolen", group.pgsteal());
    }
    let stolen: u64 = sys.memcgs.iter().skip(1).map(Memcg::pgsteal).sum();
    assert!(u64::from(sys.nodes[0].age(ROOT)) >= stolen);
}

#[test]
fn what_is_activated_instead_of_being_written_is_no_write() {
    let mut memcgs = Memcgs::default();
    let group = memcgs.add("g", ROOT).unwrap();
    memcgs.get(group).unwrap().set_writeback(false);
    let plan = Plan { incompressible: 8, ..Plan::new(Preset::Sync, StoreKind::Zswap) };
    let sys = plan.with(memcgs, |_| group);
    let stat = play(&sys, [Program::usemem(0..9000, 20_000, 1)]);
    assert!(stat[Vm::ExitActivated] > 0 && stat[Vm::Pswpout] == 0);
    assert_eq!(stat[Vm::NrVmscanWrite], stat[Vm::Zswpout] + stat[Vm::SwpoutZero]);
}

#[test]
fn what_zswap_writes_back_counts_as_refaulted() {
    let sys = Plan { pool_limit_pages: Some(300), ..Plan::new(Preset::Sync, StoreKind::Zswap) }.system();
    let stat = play(&sys, [Program::usemem(0..9000, 20_000, 1)]);
    assert!(stat[Vm::Zswpwb] > 100, "{}", stat[Vm::Zswpwb]);
    assert_eq!(stat[Vm::WorkingsetRefaultAnon], stat[Vm::Pgmajfault] + stat[Vm::Zswpwb]);
}

/// The shrink worker reclaims for a folio (GFP_KERNEL): hardly an attempt fails while memory is short.
#[test]
fn the_shrink_worker_reclaims_for_what_it_writes_back() {
    let sys = Plan { pool_limit_pages: Some(300), ..Plan::new(Preset::Sync, StoreKind::Zswap) }.system();
    let stat = play(&sys, [Program::usemem(0..9000, 20_000, 1)]);
    let counted = |wanted| sys.zswap().unwrap().debugfs().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let (written, failed) = (counted("written_back_pages"), counted("reject_reclaim_fail"));
    assert!(written > 500 && failed * 10 < written && stat[Vm::AllocstallNormal] > 0, "{written} {failed}");
}

/// Its folio is in the CPU's batch when the write is submitted: one that ends before the batch is full is not rotated.
#[test]
fn what_zswap_writes_back_comes_to_the_lists_by_way_of_its_cpus_batch() {
    let (sys, _, page) = until(Plan::new(Preset::Sync, StoreKind::Zswap), State::CompressedFreed);
    let (mut ctx, mut writeback) = (context(&sys), Writeback::new(page));
    ctx.memalloc = true;
    let end = std::iter::repeat_with(|| writeback.step(&sys, &mut ctx, sys.zswap().unwrap()).unwrap().1);
    assert_eq!(end.take(20).find_map(|end| end), Some(Shrunk::Written));
    assert!(!sys.folio(page).word.load().has(flag::LRU));
    sys.lru_add_drain(&mut ctx).unwrap();
    let word = sys.folio(page).word.load();
    assert!(word.has(flag::LRU) && word.has(flag::WRITEBACK | flag::RECLAIM), "{word:?}");
}
