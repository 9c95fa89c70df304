//! The judge on any records as they stand in a file: no panic, and a verdict that counts what it was fed.

#![no_main]

use kcompressd_core::judge::{Config, Judge, Ordering};
use kcompressd_core::lifecycle::Table;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(Table::default);

fuzz_target!(|input: &[u8]| {
    let (records, _) = input.as_chunks::<32>();
    for ordering in [Ordering::Total, Ordering::PerFolio] {
        for (pages, depths) in [(Some(64), Some(vec![4, 4])), (None, None)] {
            let config = Config { ordering, complete: true, depths, ..Config::default() };
            let mut judge = Judge::new(&TABLE, pages, config);
            let judged = judge.feed_bytes(records);
            let verdict = judge.finish();
            assert_eq!(verdict.events, records.len() as u64);
            assert!(judged.is_ok() || verdict.violations > 0);
        }
    }
});
