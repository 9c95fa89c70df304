//! Whole machines drawn at random: memory, swap, groups with limits, large folios, several applications. Each run comes to its end by
//! itself, the judge finds nothing, and nobody keeps what it had in hand.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

mod budget;
mod cases;

use budget::{PAGES, Plan, dealt_out};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::virtual_time::{Machine, VirtualError, run_with};
use kcompressd_core::judge::{self, Judge};
use kcompressd_core::system::System;
use kcompressd_core::trace::Record;
use kcompressd_core::workload::{Phase, Program};
use proptest::prelude::*;
use proptest::sample::select;

const MOST_GROUPS: u16 = 3;
const MOST_APPS: u32 = 4;

fn plans() -> impl Strategy<Value = Plan> {
    let machine = (
        select(vec![1200, 1500, 2000, 3000, 5000, 7000]),
        select(vec![[40, 50, 60], [80, 100, 120], [160, 200, 240]]),
        select(vec![0, 100, 1000, 3000, 2 * PAGES]),
    );
    let reclaim = (any::<bool>(), select(vec![0, 60, 100, 200]), select(vec![0, 0, 0, 2, 4]));
    let store = (select(Preset::ALL), any::<bool>(), select(vec![0, 4, 60]), select(vec![None, Some(1), Some(300)]));
    (machine, reclaim, store).prop_map(|((free_pages, watermarks, slots), (lru_gen, swappiness, order), store)| {
        let (preset, zram, incompressible, limit) = store;
        let store = if zram { StoreKind::Zram } else { StoreKind::Zswap };
        let plan = Plan { free_pages, watermarks, slots, lru_gen, swappiness, ..Plan::new(preset, store) };
        let pool_limit_pages = limit.filter(|_| !zram);
        Plan { order, kernel: if order > 0 { (6, 13) } else { (6, 12) }, incompressible, pool_limit_pages, ..plan }
    })
}

/// `memory.max` and `memory.high`, pages, `memory.zswap.writeback`, and `memory.zswap.max`, bytes.
type Limits = (Option<u64>, Option<u64>, bool, Option<u64>);

fn limits() -> impl Strategy<Value = Limits> {
    let pages = || select(vec![None, None, None, Some(100), Some(400), Some(1000), Some(2000)]);
    (pages(), pages(), select(vec![true, true, true, false]), select(vec![None, None, Some(0), Some(200 << 10)]))
}

fn limit(sys: &System, limits: &[Limits]) {
    for (group, &(max, high, writeback, zswap_max)) in sys.memcgs.iter().skip(1).zip(limits) {
        max.into_iter().for_each(|pages| group.set_memory_max_pages(pages));
        high.into_iter().for_each(|pages| group.set_memory_high_pages(pages));
        zswap_max.into_iter().for_each(|bytes| group.set_zswap_max(bytes));
        group.set_writeback(writeback);
    }
}

/// The kind of an application, its share of the pages that it may have, permille, and its pauses.
type App = (u8, u32, u64);

fn program((kind, share, wait_ns): App, place: u32) -> Program {
    let first = place * (PAGES / MOST_APPS);
    let pages = first..first + (PAGES / MOST_APPS) * share / 1000;
    let [fill, read, write] = [true, false, true].map(|write| Phase::once(pages.clone(), write));
    match kind {
        0 => Program::eater(pages),
        1 => Program::usemem(pages, 4000, u64::from(share)),
        2 => Program::phases([fill, Phase { wait_ns, think_ns: 2000, ..read }], 0),
        _ => Program::phases([fill, read, write], 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(64) })]

    #[test]
    fn every_machine_comes_to_its_end(
        plan in plans(),
        groups in 0..=MOST_GROUPS,
        limits in prop::collection::vec(limits(), usize::from(MOST_GROUPS)),
        apps in prop::collection::vec((0u8..4, 1u32..=1000, select(vec![0, 1_000_000, 50_000_000])), 1..=MOST_APPS as usize),
        cpus in select(vec![1usize, 2, 4]),
    ) {
        let (memcgs, memcg_of) = dealt_out(groups);
        let sys = plan.with(memcgs, memcg_of);
        limit(&sys, &limits);
        let mut crew = Crew::machine(&sys, (0..).zip(apps).map(|(place, app)| program(app, place)), true);
        let mut judge = Judge::new(&sys.table, Some(PAGES as usize), judge::Config { absent: true, in_hand: 64, ..judge::Config::default() });
        let mut sink = |records: &[Record]| {
            let _ = judge.feed(records); // The first breach is kept.
            Ok(())
        };
        let run = run_with(&sys, &mut crew, &Machine::new(cpus), 0, &mut sink, &mut |_| true);
        // A worker that may neither use the reserves nor do I/O can wait for ever for what it and its queue hold.
        let may_hang = plan.preset == Preset::April && plan.store == StoreKind::Zram;
        match run.error {
            Some(VirtualError::Livelock { .. }) if may_hang => return Ok(()),
            error => prop_assert!(error.is_none(), "{}", error.unwrap()),
        }
        sys.invariant();
        let lru = sys.nodes[0].lru();
        prop_assert_eq!((lru.isolated, lru.isolated_file), (0, 0), "in nobody's hands");
        prop_assert!(crew.seats.iter().all(|seat| seat.ctx.errors.is_empty()));
        drop(lru);
        prop_assert_eq!(judge.finish().first, None);
    }
}
