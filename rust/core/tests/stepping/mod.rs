//! Steppers with real bytes: six pages, and the judge of what they did.
#![allow(dead_code)] // each test crate uses its part

use kcompressd_core::design::{Design, Preset, StoreKind};
use kcompressd_core::driver::explore::Stepper;
use kcompressd_core::frames::Frames;
use kcompressd_core::judge::{Config, Judge, Memcgs, Ordering, Verdict};
use kcompressd_core::swap::Backing;
use kcompressd_core::system::Contents;

use crate::clocks::Plan;

const PAGE: usize = 4096;
pub const PAGES: usize = 6;
/// Its bytes are noise; page 4 is zero, the others compress.
pub const NOISE: u32 = 5;

fn bytes() -> Vec<u8> {
    let mut state = 7u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let mut byte = |page: usize, i: usize| match page {
        4 => 0,
        5 => noise(),
        _ => (i / 16 * (page + 3)) as u8,
    };
    (0..PAGES * PAGE).map(|i| byte(i / PAGE, i % PAGE)).collect()
}

pub fn plan(design: Design, store: StoreKind) -> Plan {
    Plan::of(design, store, &[0; PAGES])
}

pub fn start(plan: &Plan) -> Stepper {
    static FILES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // ORDERING: Relaxed: a number.
    let number = FILES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("kcompressd-stepper-{}-{number}", std::process::id()));
    let backing = Backing::create(&path, plan.slots, PAGE).unwrap();
    std::fs::remove_file(path).unwrap();
    Stepper::new(plan.build_on(backing, Contents::Frames(Frames::from_bytes(&bytes(), PAGE).unwrap())))
}

pub fn split() -> Plan {
    plan(Preset::Split.design(StoreKind::Zswap), StoreKind::Zswap)
}

pub fn verdict(stepper: &Stepper, plan: &Plan, complete: bool) -> Verdict {
    let sys = stepper.system();
    let pages = sys.folios.len();
    let config = Config {
        ordering: Ordering::Total,
        complete,
        depths: Some(vec![plan.design.depth; sys.queues.len()]),
        in_hand: u32::from(plan.design.batch),
        pool: true,
        absent: false,
        folio_order: 0,
        memcgs: Some(Memcgs { parents: vec![0], writeback: vec![plan.writeback], of_page: vec![0; pages] }),
    };
    let mut judge = Judge::new(&sys.table, Some(pages), config);
    let _ = judge.feed(stepper.records());
    judge.finish()
}
