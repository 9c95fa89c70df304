//! Page cache that applications read: its lists, its refaults, and what it and anonymous pages do to each other under pressure.

mod budget;

use budget::{PAGES, Plan, play};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::filemap::{File, FileAccess};
use kcompressd_core::memcg::ROOT;
use kcompressd_core::stats::{Vm, VmStat};
use kcompressd_core::system::System;
use kcompressd_core::workload::{Pattern, Phase, Program};

fn with_files(preset: Preset, store: StoreKind, pages: u32, access: FileAccess) -> System {
    Plan::new(preset, store).system().with_files(&[File { pages, memcg: ROOT, access }])
}

/// Reads `touches` of the first `pages` pages of the file, at random.
fn reads(pages: u32, touches: u64, think_ns: u32) -> Phase {
    Phase { touches, pattern: Pattern::Random, think_ns, ..Phase::once(PAGES..PAGES + pages, false) }
}

fn said(stat: &VmStat) -> Vec<(&'static str, u64)> {
    stat.iter().filter(|(_, count)| *count > 0).collect()
}

/// Every miss reads a page, and every page that was read is there or was freed.
fn assert_adds_up(sys: &System, stat: &VmStat) {
    let read = stat[Vm::Pgpgin] / 4 - stat[Vm::Pswpin];
    let there = u64::from(sys.cached_pages(ROOT));
    assert_eq!(500 + read, there + stat[Vm::PgstealFile], "{:?}", said(stat));
    assert!(stat[Vm::PgstealFile] <= stat[Vm::PgscanFile]);
    assert_eq!(stat[Vm::PgscanKswapd] + stat[Vm::PgscanDirect], stat[Vm::PgscanAnon] + stat[Vm::PgscanFile]);
    assert_eq!(stat[Vm::PgstealKswapd] + stat[Vm::PgstealDirect], stat[Vm::PgstealAnon] + stat[Vm::PgstealFile]);
    assert!(stat[Vm::WorkingsetRefaultFile] <= read);
    assert!(stat[Vm::WorkingsetActivateFile] <= stat[Vm::WorkingsetRefaultFile]);
    assert!(stat[Vm::WorkingsetRestoreFile] <= stat[Vm::WorkingsetActivateFile]);
}

#[test]
fn a_page_is_read_once_as_long_as_there_is_memory() {
    for access in [FileAccess::Read, FileAccess::Mapped, FileAccess::Executable] {
        let sys = with_files(Preset::Sync, StoreKind::Zram, 2000, access);
        let stat = play(&sys, [Program::phases([reads(2000, 60_000, 0)], 1)]);
        assert_adds_up(&sys, &stat);
        assert_eq!(stat[Vm::Pgpgin] / 4, 2000);
        let mapped = if access == FileAccess::Read { 0 } else { 2000 };
        assert_eq!((stat[Vm::Pgmajfault], stat[Vm::Pgfault]), (mapped, mapped), "read(2) is no fault");
        let sizes = sys.nodes[0].lru().sizes(ROOT);
        let active = if access == FileAccess::Read { 1969..=2000 } else { 0..=0 };
        assert!(
            active.contains(&sizes.active_file),
            "{access:?}: the second read activates, a touch does not: {sizes:?}"
        );
    }
}

#[test]
fn reads_and_an_eater_come_to_their_end_under_every_preset() {
    for &preset in Preset::ALL {
        for store in [StoreKind::Zram, StoreKind::Zswap] {
            for access in [FileAccess::Read, FileAccess::Mapped, FileAccess::Executable] {
                let sys = with_files(preset, store, 3000, access);
                let reader = Program::phases([reads(3000, 30_000, 500)], 1);
                let stat = play(&sys, [Program::eater(0..PAGES), reader]);
                let name = format!("{} {store:?} {access:?}", preset.name());
                assert_adds_up(&sys, &stat);
                assert_eq!(stat[Vm::OomKill], 0, "{name}");
                assert!(
                    stat[Vm::PgstealFile] > 500 && stat[Vm::WorkingsetRefaultFile] > 0,
                    "{name}: {:?}",
                    said(&stat)
                );
                assert!(stat[Vm::PgstealAnon] > 3000, "{name}: {:?}", said(&stat));
            }
        }
    }
}

/// A scan of a file that is read once pushes out neither the pages that are read again and again nor the application's own.
#[test]
fn a_file_read_once_does_not_push_out_a_working_set() {
    let files = [
        File { pages: 1500, memcg: ROOT, access: FileAccess::Read },
        File { pages: 40_000, memcg: ROOT, access: FileAccess::Read },
    ];
    let sys = Plan::new(Preset::Sync, StoreKind::Zram).system().with_files(&files);
    let scan = Phase::once(PAGES + 1500..PAGES + 41_500, false);
    let programs =
        [Program::phases([reads(1500, 200_000, 0)], 1), Program::phases([Phase { wait_ns: 200_000_000, ..scan }], 2)];
    let stat = play(&sys, programs);
    assert_adds_up(&sys, &stat);
    let read = stat[Vm::Pgpgin] / 4 - 40_000;
    assert!((1500..1600).contains(&read), "{read} reads of 1500 pages: {:?}", said(&stat));
}

/// Code is activated at its first look in use, so that it stays where data of equal use does not.
#[test]
fn code_stays_longer_than_data() {
    let lost = |access| {
        let sys = with_files(Preset::Sync, StoreKind::Zram, 2500, access);
        let reader = Program::phases([reads(2500, 40_000, 2_000)], 1);
        let stat = play(&sys, [Program::usemem(0..9000, 40_000, 3), reader]);
        assert_adds_up(&sys, &stat);
        stat[Vm::WorkingsetRefaultFile]
    };
    let (data, code) = (lost(FileAccess::Mapped), lost(FileAccess::Executable));
    assert!(code * 10 < data * 9, "{code} refaults of code, {data} of data");
}

/// Generations of page cache: mapped pages that are in use stay as long as there is old memory, and come back counted.
#[test]
fn mapped_files_have_generations_too() {
    for &preset in Preset::ALL {
        for access in [FileAccess::Mapped, FileAccess::Executable] {
            let plan = Plan { lru_gen: true, ..Plan::new(preset, StoreKind::Zram) };
            let sys = plan.system().with_files(&[File { pages: 3000, memcg: ROOT, access }]);
            let reader = Program::phases([reads(3000, 30_000, 500)], 1);
            let stat = play(&sys, [Program::eater(0..PAGES), reader]);
            assert_adds_up(&sys, &stat);
            assert_eq!((stat[Vm::OomKill], stat[Vm::Pgdeactivate]), (0, 0), "{}", preset.name());
            assert!(
                stat[Vm::PgstealFile] > 500 && stat[Vm::PgstealAnon] > 3000,
                "{}: {:?}",
                preset.name(),
                said(&stat)
            );
        }
    }
}

/// Without swap, or with a swappiness of 0, page cache alone is aged and evicted, and what is in use of it is met again.
#[test]
fn generations_of_page_cache_are_aged_without_swap() {
    for (slots, swappiness) in [(0, 60), (2 * PAGES, 0)] {
        let plan = Plan { lru_gen: true, slots, swappiness, ..Plan::new(Preset::Sync, StoreKind::Zram) };
        let sys = plan.system().with_files(&[File { pages: 9000, memcg: ROOT, access: FileAccess::Mapped }]);
        let hot = Phase { touches: 400, ..reads(400, 400, 0) };
        let scan = Phase::once(PAGES + 400..PAGES + 9000, false);
        let phases = (0..12).flat_map(|_| [hot.clone(), scan.clone()]);
        let own = Phase::once(0..1000, true);
        let stat = play(&sys, [Program::phases([own].into_iter().chain(phases).collect::<Vec<_>>(), 1)]);
        assert_adds_up(&sys, &stat);
        assert_eq!((stat[Vm::OomKill], stat[Vm::PgscanAnon]), (0, 0), "{slots} slots");
        assert!(stat[Vm::WorkingsetRefaultFile] > 5000, "{:?}", said(&stat));
    }
}
