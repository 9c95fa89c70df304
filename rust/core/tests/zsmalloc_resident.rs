//! What a pool costs this machine: the resident size of its arena, as the system reports it.
//!
//! The arena's mappings are the only ones here without transparent huge pages, so `/proc/self/smaps` tells them apart
//! (`nh` among their `VmFlags`). A file of its own: another test's pool in the same process would be counted too.

use kcompressd_core::zsmalloc::{Handle, Pool, PoolConfig, Unlimited};
use std::fs::read_to_string;

/// From this much used memory on the arena's cost is held to [`TOLERANCE`].
const FROM_BYTES: usize = 64 << 20;
const TOLERANCE: f64 = 0.05;

/// Bytes resident in the arena's mappings, or `None` where the system does not say.
fn resident_bytes() -> Option<usize> {
    let smaps = read_to_string("/proc/self/smaps").ok()?;
    let (mut rss, mut sum, mut flags) = (0, 0, false);
    for line in smaps.lines() {
        if let Some(kib) = line.strip_prefix("Rss:") {
            rss = kib.trim_end_matches("kB").trim().parse::<usize>().ok()? << 10;
        } else if let Some(names) = line.strip_prefix("VmFlags:") {
            flags = true;
            sum += if names.split_whitespace().any(|name| name == "nh") { rss } else { 0 };
        }
    }
    flags.then_some(sum)
}

/// Checks the resident size; returns the bytes that the pool says it uses.
#[track_caller]
fn check(pool: &Pool, state: &str) -> usize {
    let used = pool.total_pages() * pool.table().page_size();
    let resident = resident_bytes().expect("said a moment ago");
    let off = resident as f64 / used as f64 - 1.0;
    println!("{state:28} used {:6.1} MiB resident {:6.1} MiB {:+.2} %", mib(used), mib(resident), off * 100.0);
    assert!(used >= FROM_BYTES, "{state}: the pool holds {used} bytes, too few to judge");
    assert!(off.abs() <= TOLERANCE, "{state}: {resident} bytes resident for {used} used");
    used
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// Stores objects of many sizes until the pool uses `bytes`.
fn fill(pool: &Pool, bytes: usize, handles: &mut Vec<Handle>) {
    let page = [0x5a; 4096];
    while pool.total_pages() * 4096 < bytes {
        let size = 1 + handles.len() * 2_654_435_761 % 4096;
        handles.push(pool.store(&page[..size], &Unlimited).expect("memory"));
    }
}

#[test]
fn the_arena_costs_what_mem_used_total_says() {
    if resident_bytes().is_none() {
        println!("skipped: /proc/self/smaps has no VmFlags here");
        return;
    }
    for chain_size in [4, 8, 16] {
        let pool = Pool::new(PoolConfig { chain_size, ..Default::default() }).expect("valid");
        let mut handles = Vec::new();
        fill(&pool, FROM_BYTES, &mut handles);
        check(&pool, &format!("chain {chain_size}: filled"));
        fill(&pool, 4 * FROM_BYTES, &mut handles);
        let most = check(&pool, "filled further");
        let stay = |nth: &usize| nth.is_multiple_of(2) || nth.is_multiple_of(5);
        let (keep, free): (Vec<_>, Vec<_>) = (0..handles.len()).partition(stay);
        free.iter().for_each(|&nth| pool.free(handles[nth], &Unlimited));
        check(&pool, "interleaved frees");
        assert!(pool.compact(&Unlimited) > 0);
        assert!(check(&pool, "compacted") < most * 9 / 10);
        let mut handles: Vec<_> = keep.iter().map(|&nth| handles[nth]).collect();
        handles.drain(handles.len() / 2..).for_each(|handle| pool.free(handle, &Unlimited));
        check(&pool, "half of the rest freed in a row");
        fill(&pool, 3 * FROM_BYTES, &mut handles);
        check(&pool, "filled again");
        let stats = pool.stats();
        assert_eq!(stats.handle_bytes, 8 * handles.len(), "metadata is reported apart");
        assert!(stats.metadata_pages() > 0);
    }
}
