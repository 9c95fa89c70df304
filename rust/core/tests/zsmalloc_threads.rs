//! A pool shared by threads, and how much memory it really takes. One process, one pool at a time.

use kcompressd_core::sync::{AtomicUsize, Mutex, Ordering};
use kcompressd_core::zsmalloc::{Frames, Handle, Pool, PoolConfig, Unlimited};
use std::fs;
use std::sync::LazyLock;

/// Serialises the tests of this file: one of them looks at the process.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// A small generator (xorshift64*), enough to vary sizes.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Frames for Counted {
    fn take(&self, pages: usize) -> Option<u32> {
        // ORDERING: a count, read after the threads were joined.
        self.0.fetch_add(pages, Ordering::Relaxed);
        Some(0)
    }
    fn give(&self, _name: u32, pages: usize) {
        // ORDERING: as above.
        self.0.fetch_sub(pages, Ordering::Relaxed);
    }
}

fn check(pool: &Pool, handle: Handle, byte: u8, len: usize) {
    let mut page = [0; 4096];
    assert_eq!(pool.read(handle, &mut page), len);
    assert!(page[..len].iter().all(|&b| b == byte), "contents of {handle:?}");
}

/// Stores, reads and frees at random; what is left at the end is handed back.
fn churn(pool: &Pool, frames: &Counted, seed: u64) -> Vec<(Handle, u8, usize)> {
    let (mut rng, mut living) = (Rng(seed), Vec::new());
    for round in 0..20_000 {
        let (byte, len) = (rng.below(256) as u8, rng.below(4096) + 1);
        if living.len() < 300 && rng.below(3) > 0 {
            let handle = if round % 2 == 0 {
                pool.store(&vec![byte; len], frames).expect("unlimited")
            } else {
                let handle = pool.malloc(len, frames).expect("unlimited");
                pool.write(handle, &vec![byte; len]);
                handle
            };
            living.push((handle, byte, len));
        } else if !living.is_empty() {
            let (handle, byte, len) = living.swap_remove(rng.below(living.len()));
            check(pool, handle, byte, len);
            pool.free(handle, frames);
        }
        if round % 2500 == 0 {
            pool.compact(frames);
        }
    }
    living
}

#[test]
fn four_threads_keep_their_contents() {
    let _alone = ALONE.lock();
    let (pool, frames, left) =
        (Pool::new(PoolConfig::default()).expect("valid"), Counted::default(), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let (pool, frames, left) = (&pool, &frames, &left);
            scope.spawn(move || left.lock().extend(churn(pool, frames, seed)));
        }
    });
    pool.invariant();
    let left = std::mem::take(&mut *left.lock());
    assert_eq!(pool.objects(), left.len());
    for (handle, byte, len) in left {
        check(&pool, handle, byte, len);
        pool.free(handle, &frames);
    }
    pool.invariant();
    // ORDERING: the threads were joined.
    assert_eq!((pool.total_pages(), pool.objects(), frames.0.load(Ordering::Relaxed)), (0, 0, 0));
}

/// Resident pages of the arena: its mappings are the ones of this process with huge pages off ("nh").
fn resident_pages() -> usize {
    let (mut total, mut rss) = (0, 0);
    for line in fs::read_to_string("/proc/self/smaps").expect("proc").lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            rss = rest.trim().trim_end_matches(" kB").parse().expect("a number");
        } else if line.starts_with("VmFlags:") && line.split_whitespace().any(|flag| flag == "nh") {
            total += rss;
        }
    }
    total / 4
}

fn assert_close(pool: &Pool, when: &str) {
    let (resident, total) = (resident_pages(), pool.total_pages());
    assert!(total >= 64 << 8, "{when}: {total} pages are too few to judge");
    assert!(resident.abs_diff(total) * 20 <= total, "{when}: {resident} resident, {total} in zspages");
}

/// Within 5 % of `total_pages` from 64 MiB up: after growing, after bulk frees, after compaction.
#[test]
fn resident_size_follows_total_pages() {
    let _alone = ALONE.lock();
    let (pool, mut rng) = (Pool::new(PoolConfig::default()).expect("valid"), Rng(7));
    let size = |rng: &mut Rng| 200 + (rng.below(1800) + rng.below(1800)) % 3900;
    let grow = |rng: &mut Rng, pages: usize, living: &mut Vec<Handle>| {
        while pool.total_pages() < pages {
            living.push(pool.store(&vec![1; size(rng)], &Unlimited).expect("unlimited"));
        }
    };
    let mut living = Vec::new();
    grow(&mut rng, 65 << 8, &mut living);
    assert_close(&pool, "64 MiB");
    grow(&mut rng, 160 << 8, &mut living);
    assert_close(&pool, "160 MiB");
    for _ in 0..living.len() / 2 {
        pool.free(living.swap_remove(rng.below(living.len())), &Unlimited);
    }
    assert_close(&pool, "after frees");
    assert!(pool.compact(&Unlimited) > 0);
    assert_close(&pool, "after compaction");
    grow(&mut rng, 150 << 8, &mut living);
    living.drain(living.len() / 2..).for_each(|handle| pool.free(handle, &Unlimited));
    assert_close(&pool, "after freeing the newest half");
    drop(pool);
    // Thread stacks have huge pages off as well.
    assert!(resident_pages() < 256, "dropping a pool unmaps");
}
