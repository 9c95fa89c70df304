//! The product of a design's axes, 57 million points: each is refused with a reason, or swaps 64 pages out and back and
//! loses nothing. One point in [`STRIDE`] is tried; `make check` tries all of them (`PRODUCT_STRIDE=1`, a quarter of an hour in
//! release).

mod clocks;

use clocks::{INCOMPRESSIBLE, Plan, STORES, store_counters};
use kcompressd_core::design::{
    CheckBefore, Design, EnqueueAt, Gates, Hold, OnComplete, OnFull, OnReject, Placement, Preset, Start, StoreKind,
    Tag, WorkerFlags,
};
use kcompressd_core::driver::Crew;
use kcompressd_core::driver::explore::{in_turn, nothing_lost};
use kcompressd_core::reclaim::Task;
use kcompressd_core::stats::Vm;
use kcompressd_core::system::System;

/// A prime, so that every axis takes all its values.
const STRIDE: usize = 5_003;
const KERNELS: [(u16, u16); 2] = [(6, 12), (6, 18)];
const FIELDS: [&str; 8] = ["enqueue_at", "tag", "on_full", "on_reject", "threads", "depth", "batch", "placement"];

/// A number read digit by digit, each with its own base.
struct Digits(u64);

impl Digits {
    fn below(&mut self, base: u64) -> u64 {
        let digit = self.0 % base;
        self.0 /= base;
        digit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn bit(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// One point: a design on a store under a kernel. What the core does not read (start, worker flags, stop) stays as it is.
struct Point {
    design: Design,
    store: StoreKind,
    kernel: (u16, u16),
}

/// The point with this number; `None` past the last.
fn point(number: u64) -> Option<Point> {
    let mut digits = Digits(number);
    let d = &mut digits;
    let (store, kernel) = (d.one_of(&STORES), d.one_of(&KERNELS));
    let design = Design {
        enqueue_at: d.one_of(EnqueueAt::ALL),
        tag: d.one_of(Tag::ALL),
        check_before: CheckBefore { objcg: d.bit(), limits: d.bit(), pool: d.bit() },
        gates: Gates { kswapd_only: d.bit(), anon_only: d.bit(), writeback_enabled: d.bit(), sync_device: d.bit() },
        recheck_writeback: d.bit(),
        on_full: d.one_of(OnFull::ALL),
        hold: d.one_of(Hold::ALL),
        extra_ref: d.bit(),
        on_complete: d.one_of(OnComplete::ALL),
        on_reject: d.one_of(OnReject::ALL),
        threads: d.one_of(&[0, 1, 2]),
        depth: d.one_of(&[0, 8]),
        batch: d.one_of(&[1, 4]),
        placement: d.one_of(Placement::ALL),
        start: Start::Eager,
        worker_flags: WorkerFlags::NONE,
        stop_in_predicate: true,
    };
    (digits.0 == 0).then_some(Point { design, store, kernel })
}

/// 64 pages: most compress well, some badly, some not at all, some are zero.
fn lens() -> Vec<u32> {
    (0..64).map(|page| [1000, 0, INCOMPRESSIBLE, 60, 3500, 2000, 900, 1200][page % 8]).collect()
}

/// Everybody takes turns until all pages are out, then the application reads them back.
fn there_and_back(sys: &System) -> Result<Crew, String> {
    let mut crew = Crew::reclaim(sys, false);
    in_turn(sys, &mut crew).map_err(|failure| failure.wrong.to_string())?;
    nothing_lost(sys)?;
    let order: Vec<u32> = (0..sys.folios.len() as u32).collect();
    let mut app = Crew::app(sys, Task::Touch, &order, false);
    in_turn(sys, &mut app).map_err(|failure| format!("fault: {}", failure.wrong))?;
    nothing_lost(sys)?;
    Ok(crew)
}

#[test]
fn each_point_is_refused_with_a_reason_or_loses_nothing() {
    let stride =
        std::env::var("PRODUCT_STRIDE").map_or(STRIDE, |text| text.parse().expect("PRODUCT_STRIDE is a number"));
    let (mut refused, mut run, mut queued) = (0u64, 0u64, 0u64);
    let points = (0..).step_by(stride).map_while(|number| Some((number, point(number)?)));
    for (number, Point { design, store, kernel }) in points {
        if let Err(error) = design.validate(store, kernel) {
            assert!(FIELDS.iter().any(|field| error.to_string().contains(field)), "{error}");
            refused += 1;
            continue;
        }
        let pool_limit_pages = [None, Some(4)][(number / 7 % 2) as usize];
        let writeback = number / 5 % 3 > 0;
        let sys = Plan { kernel, pool_limit_pages, writeback, ..Plan::of(design, store, &lens()) }.build();
        let crew = there_and_back(&sys).unwrap_or_else(|lost| panic!("{lost}: {design:?} on {store:?} {kernel:?}"));
        (run, queued) = (run + 1, queued + crew.stat()[Vm::KcompressdQueued]);
    }
    assert!(run > 100 && refused > run && queued > run, "{run} run, {refused} refused, {queued} pages queued");
}

#[test]
fn every_preset_at_depth_0_equals_sync_in_every_counter() {
    let counters = |design: Design, store, writeback| {
        let sys = Plan { writeback, pool_limit_pages: Some(20), ..Plan::of(design, store, &lens()) }.build();
        let crew = there_and_back(&sys).unwrap();
        let census = sys.census();
        (crew.stat().iter().chain(store_counters(&sys)).collect::<Vec<_>>(), census)
    };
    for store in STORES {
        for writeback in [true, false] {
            let sync = counters(Preset::Sync.design(store), store, writeback);
            for preset in Preset::ALL {
                let found = counters(preset.design(store).with_depth(0), store, writeback);
                assert_eq!(found, sync, "{} on {store:?}, writeback {writeback}", preset.name());
            }
        }
    }
}
