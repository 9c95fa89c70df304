//! The device against a model that keeps pages and recomputes every statistic, and with everything at once on threads.

mod failures;
mod model;

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::zram::{
    Busy, Data, MAX_ALGORITHMS, Recompress, RecompressError, Streams, Wanted, WritebackError, WritebackReason, Zram,
};
use kcompressd_core::zsmalloc::{ClassTable, Frames, Pool, PoolConfig, Unlimited};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: usize = 4096;
const SLOTS: u32 = 12;

fn algorithms(names: &[CodecName]) -> [Option<CodecSpec>; MAX_ALGORITHMS] {
    std::array::from_fn(|i| names.get(i).map(|&name| CodecSpec::new(name, None).expect("the default level")))
}

fn streams(names: &[CodecName]) -> Streams {
    Streams::open(&algorithms(names), PAGE)
}

/// A page of kind `kind % 5`: zeroes, one word, text, half noise, noise.
fn page(kind: u8, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(1);
    let noise = |n: usize| {
        (0..n).map(move |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
    };
    match kind % 5 {
        0 => vec![0; PAGE],
        1 => seed.to_ne_bytes().repeat(PAGE / 8),
        2 => noise(PAGE).map(|byte| b"etaoin shrdlu"[usize::from(byte) % 13]).collect(),
        3 => noise(PAGE / 2).chain(std::iter::repeat_n(7, PAGE / 2)).collect(),
        _ => noise(PAGE).collect(),
    }
}

fn backing(name: &str, blocks: u32) -> Backing {
    let path = std::env::temp_dir().join(format!("kcompressd-zram-{}-{name}", std::process::id()));
    let backing = Backing::create(&path, blocks, PAGE).expect("a temporary file");
    std::fs::remove_file(path).expect("just made");
    backing
}

fn device(name: &str, blocks: u32, faults: IoFaults) -> Zram {
    let zram = Zram::new(Pool::new(PoolConfig::default()).expect("valid"), SLOTS, 0);
    zram.with_backing(Device::new(backing(name, blocks), PAGE, faults), blocks)
}

fn load(zram: &Zram, slot: u32, streams: &mut Streams) -> Vec<u8> {
    let mut page = vec![0xaa; PAGE];
    zram.load(slot, streams, &mut page).expect("readable");
    page
}

fn io(zram: &Zram, name: &str) -> u64 {
    zram.io_stat().into_iter().chain(zram.bd_stat()).find(|(n, _)| *n == name).expect(name).1
}

const IDLE: Wanted = Wanted { idle: true, huge: false, incompressible: false };
const HUGE: Wanted = Wanted { idle: false, huge: true, incompressible: false };
const INCOMPRESSIBLE: Wanted = Wanted { idle: false, huge: false, incompressible: true };

#[test]
fn refused_requests_say_why() {
    let names = [CodecName::Lz4, CodecName::Zstd];
    let zram = Zram::new(Pool::new(PoolConfig::default()).unwrap(), SLOTS, 0);
    let mut two = streams(&names);
    let ask = |request: Recompress, streams: &mut Streams| zram.recompress(&request, streams, &Unlimited).unwrap_err();
    let third = Recompress { priority: Some(2), ..Recompress::default() };
    assert_eq!(ask(third, &mut two), RecompressError::NoAlgorithm(2));
    assert_eq!(ask(Recompress { priority: Some(0), ..third }, &mut two), RecompressError::NoAlgorithm(0));
    assert_eq!(ask(Recompress::default(), &mut streams(&names[..1])), RecompressError::NoAlgorithm(1));
    let huge = Recompress { threshold: 3625, ..Recompress::default() };
    assert_eq!(ask(huge, &mut two), RecompressError::Threshold { threshold: 3625, huge: 3625 });
    let error = zram.writeback(IDLE, &mut two, &Unlimited).unwrap_err();
    assert_eq!(error.to_string(), "there is no backing device (0 pages were written back)");
}

/// Failed and short writes stay in memory, the rest goes out; a failed read is counted and works the next time.
#[test]
fn a_failing_backing_device_loses_nothing() {
    let faults = IoFaults { writes: vec![1], short_writes: vec![3], reads: vec![0] };
    let (zram, mut streams) = (device("faults", 32, faults), streams(&[CodecName::Lz4]));
    for slot in 0..6 {
        zram.store(slot, &page(4, slot.into()), &mut streams, &Unlimited).unwrap();
    }
    let error = zram.writeback(HUGE, &mut streams, &Unlimited).unwrap_err();
    assert_eq!(error.written, 4);
    assert!(error.reason.to_string().contains("was short: 2048 of 4096"), "{error}");
    assert_eq!((zram.mm_stat().huge_pages, io(&zram, "bd_count"), io(&zram, "bd_writes")), (2, 4, 4));
    // Slot 5 went first.
    assert!(zram.load(5, &mut streams, &mut [0; PAGE]).is_err());
    let io_stat = [("failed_reads", 1), ("failed_writes", 0), ("invalid_io", 0), ("notify_free", 0)];
    assert_eq!(zram.io_stat(), io_stat);
    assert!((0..6).all(|slot| load(&zram, slot, &mut streams) == page(4, slot.into())));
    assert_eq!(zram.writeback(HUGE, &mut streams, &Unlimited).unwrap(), 2, "tried again");
    assert_eq!(zram.mm_stat().mem_used_total, 0);
    (0..6).for_each(|slot| zram.free(slot, &Unlimited));
    assert_eq!((io(&zram, "bd_count"), zram.mm_stat().orig_data_size, io(&zram, "notify_free")), (0, 0, 6));
}

/// Memory that does something else besides when an object goes.
struct OnFree<'a>(&'a dyn Fn());

impl Frames for OnFree<'_> {
    fn take(&self, _pages: usize) -> Option<u32> {
        Some(0)
    }
    fn give(&self, _name: u32, _pages: usize) {}
    fn give_handle(&self) {
        self.0();
    }
}

/// What has lost its mark before its turn comes is not even written to the device; `loom_zram` has what happens during the write.
#[test]
fn what_is_touched_before_its_turn_is_not_written() {
    type Touch = fn(&Zram);
    let touches: [(&str, Touch); 3] = [
        ("freed", |zram| zram.free(0, &Unlimited)),
        ("overwritten", |zram| _ = zram.store(0, &page(3, 1), &mut streams(&[CodecName::Lz4]), &Unlimited).unwrap()),
        ("read", |zram| _ = load(zram, 0, &mut streams(&[CodecName::Lz4]))),
    ];
    for (name, touch) in touches {
        let (zram, mut streams) = (device("touched", 32, IoFaults::default()), streams(&[CodecName::Lz4]));
        for (slot, kind) in [(0, 3), (1, 4)] {
            zram.store(slot, &page(kind, 0), &mut streams, &Unlimited).unwrap();
        }
        zram.mark_idle(None);
        let first = Cell::new(true);
        let once = || {
            if first.replace(false) {
                touch(&zram)
            }
        };
        let written = zram.writeback(IDLE, &mut streams, &OnFree(&once)).unwrap(); // Slot 1, the larger, goes first.
        assert_eq!((written, io(&zram, "bd_writes"), io(&zram, "bd_count")), (1, 1, 1), "{name}");
    }
}

#[test]
fn the_budget_of_writeback_is_kept() {
    let (zram, mut streams) = (device("budget", 32, IoFaults::default()), streams(&[CodecName::Lz4]));
    (0..6).for_each(|slot| {
        zram.store(slot, &page(4, slot.into()), &mut streams, &Unlimited).unwrap();
    });
    zram.set_writeback_limit(Some(2));
    let error = zram.writeback(HUGE, &mut streams, &Unlimited).unwrap_err();
    assert!(matches!(error, WritebackError { written: 2, reason: WritebackReason::Limit }));
    assert_eq!(zram.writeback_limit(), Some(0));
    zram.set_writeback_limit(None);
    assert_eq!(zram.writeback(HUGE, &mut streams, &Unlimited).unwrap(), 4);
}

#[test]
fn a_device_has_the_slots_it_was_made_with() {
    let (zram, mut streams) = (device("slots", 1, IoFaults::default()), streams(&[CodecName::Lz4]));
    assert_eq!(zram.slots(), SLOTS as usize);
    zram.store(SLOTS - 1, &page(2, 1), &mut streams, &Unlimited).unwrap();
    let held: Vec<_> = (0..SLOTS + 2).filter(|&slot| zram.holds(slot)).collect();
    assert_eq!(held, [SLOTS - 1], "nothing beyond the last");
    assert!(load(&zram, 0, &mut streams) == vec![0; PAGE]);
}

/// Four to a page of 16 KiB: what is held, what was read and what was written.
#[test]
fn bd_stat_counts_units_of_4_kib() {
    const LARGE: usize = 4 * PAGE;
    let path = std::env::temp_dir().join(format!("kcompressd-zram-{}-large", std::process::id()));
    let device = Device::new(Backing::create(&path, 8, LARGE).unwrap(), LARGE, IoFaults::default());
    std::fs::remove_file(path).unwrap();
    let pool = Pool::new(PoolConfig { page_size: LARGE, ..PoolConfig::default() }).unwrap();
    let zram = Zram::new(pool, SLOTS, 0).with_backing(device, 8);
    let mut streams = Streams::open(&algorithms(&[CodecName::Lz4]), LARGE);
    let contents: Vec<Vec<u8>> =
        (0..3).map(|slot| (0..4).flat_map(|part| page(4, slot * 4 + part)).collect()).collect();
    for (slot, contents) in (0..).zip(&contents) {
        zram.store(slot, contents, &mut streams, &Unlimited).unwrap();
    }
    assert_eq!(zram.writeback(HUGE, &mut streams, &Unlimited).unwrap(), 3);
    let mut read = vec![0; LARGE];
    for slot in [0, 2] {
        zram.load(slot, &mut streams, &mut read).unwrap();
        assert!(read == contents[slot as usize], "slot {slot}");
    }
    zram.free(1, &Unlimited);
    assert_eq!(zram.bd_stat(), [("bd_count", 8), ("bd_reads", 8), ("bd_writes", 12)]);
}

/// Only a page that repeats one word to its end is kept as the word.
#[test]
fn a_page_is_same_filled_to_its_end_or_not_at_all() {
    let (zram, mut streams) = (device("same", 4, IoFaults::default()), streams(&[CodecName::Lz4]));
    let mut contents = page(1, 7);
    zram.store(0, &contents, &mut streams, &Unlimited).unwrap();
    assert_eq!((zram.mm_stat().same_pages, zram.len_bytes(0)), (1, 0));
    for differs_at in [PAGE / 2, PAGE - 1] {
        contents[differs_at] ^= 1;
        zram.store(0, &contents, &mut streams, &Unlimited).unwrap();
        assert_eq!(zram.mm_stat().same_pages, 0, "byte {differs_at}");
        assert_eq!(zram.mm_stat().compr_data_size, zram.len_bytes(0));
        assert!(zram.len_bytes(0) > 0 && load(&zram, 0, &mut streams) == contents);
    }
}

/// A refused page counts in mem_used_max, what was stored there stays, and the limit may be lifted.
#[test]
fn mem_limit_and_mem_used_max() {
    let (zram, mut streams) = (device("limit", 2, IoFaults::default()), streams(&[CodecName::Lz4]));
    zram.set_mem_limit(1);
    zram.store(0, &page(4, 0), &mut streams, &Unlimited).unwrap();
    zram.store(1, &page(1, 9), &mut streams, &Unlimited).unwrap();
    zram.store(1, &page(4, 1), &mut streams, &Unlimited).unwrap_err();
    let stat = zram.mm_stat();
    assert_eq!((stat.mem_used_total, stat.mem_limit, stat.mem_used_max), (4096, 4096, 8192));
    assert_eq!((stat.orig_data_size, stat.same_pages, io(&zram, "failed_writes")), (8192, 1, 1));
    assert!(load(&zram, 1, &mut streams) == page(1, 9));
    zram.store(0, &page(4, 9), &mut streams, &Unlimited).unwrap_err(); // For a moment both would be there.
    zram.reset_mem_used_max();
    assert_eq!(zram.mm_stat().mem_used_max, 4096);
    zram.set_mem_limit(0);
    zram.store(1, &page(4, 1), &mut streams, &Unlimited).unwrap();
    assert!((0..2).all(|slot| load(&zram, slot, &mut streams) == page(4, slot.into())));
}

/// A recompressed page has not been accessed since its slot was freed for it: by age it is idle at once.
#[test]
fn a_recompressed_page_is_idle_by_age() {
    let (zram, mut streams) =
        (device("recompressed", 2, IoFaults::default()), streams(&[CodecName::Lz4, CodecName::Zstd]));
    zram.set_clock(1000);
    for slot in 0..2 {
        zram.store(slot, &page(2, slot.into()), &mut streams, &Unlimited).unwrap();
    }
    let request = Recompress { max_pages: Some(1), ..Recompress::default() };
    assert_eq!(zram.recompress(&request, &mut streams, &Unlimited).unwrap(), 1);
    zram.set_clock(1010);
    zram.mark_idle(Some(100));
    assert_eq!(zram.writeback(IDLE, &mut streams, &Unlimited).unwrap(), 1, "the other was accessed 10 s ago");
}

/// Two writers on slots of their own, a reader, recompression, writeback and compaction, all at once: what is read was
/// written there, and what is left at the end is what was written last.
#[test]
fn everything_at_once_keeps_the_contents() {
    let names = [CodecName::Lz4, CodecName::Zstd, CodecName::Deflate];
    let (zram, stop) = (device("threads", 64, IoFaults::default()), AtomicBool::new(false));
    let kind = |slot: u32, round: u64| (slot as u8).wrapping_add(round as u8);
    let (rounds, zram, stop) = (150, &zram, &stop);
    // On a busy machine the other threads may need more rounds to get a turn.
    let is_last = |round: u64| round + 1 >= rounds && (io(zram, "bd_writes") > 0 || round > 100 * rounds);
    let until_stopped = |act: &(dyn Fn(&mut Streams) + Sync)| {
        let mut streams = streams(&names);
        while !stop.load(Ordering::Relaxed) {
            act(&mut streams);
        }
    };
    let ends: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    let mut streams = streams(&names);
                    for round in 0.. {
                        let last = is_last(round);
                        for slot in (writer..SLOTS).step_by(2) {
                            let contents = page(kind(slot, round), round << 8 | u64::from(slot));
                            zram.store(slot, &contents, &mut streams, &Unlimited).expect("no limit");
                            assert!(load(zram, slot, &mut streams) == contents, "slot {slot} in round {round}");
                            if round % 7 == 3 && !last {
                                zram.free(slot, &Unlimited);
                            }
                        }
                        if last {
                            return round;
                        }
                    }
                    unreachable!("a round is the last")
                })
            })
            .collect();
        scope.spawn(move || {
            until_stopped(&|streams| {
                zram.mark_idle(None);
                let asked = zram.recompress(&Recompress::default(), streams, &Unlimited);
                assert!(matches!(asked, Ok(_) | Err(RecompressError::Busy(Busy))), "{asked:?}");
            });
        });
        scope.spawn(move || {
            until_stopped(&|streams| {
                let asked = zram.writeback(Wanted::default(), streams, &Unlimited);
                let fine = [WritebackReason::Busy(Busy).to_string(), WritebackReason::Full.to_string()];
                assert!(asked.as_ref().err().is_none_or(|e| fine.contains(&e.reason.to_string())), "{asked:?}");
                zram.compact(&Unlimited);
            });
        });
        let ends = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        stop.store(true, Ordering::Relaxed);
        ends
    });
    assert!(io(zram, "bd_writes") > 0, "nothing was written back while it was written to");
    let mut streams = streams(&names);
    for slot in 0..SLOTS {
        let round = ends[slot as usize % 2];
        let last = page(kind(slot, round), round << 8 | u64::from(slot));
        assert!(load(zram, slot, &mut streams) == last, "slot {slot}");
        zram.free(slot, &Unlimited);
    }
    let stat = zram.mm_stat();
    assert_eq!((stat.orig_data_size, stat.compr_data_size, stat.same_pages, stat.huge_pages), (0, 0, 0, 0));
    assert_eq!((zram.pool().total_pages(), io(zram, "bd_count")), (0, 0));
    zram.pool().invariant();
}

/// A block as long as the threshold is tried; what has the last algorithm already is not even touched.
#[test]
fn recompression_takes_what_its_bounds_name() {
    let (zram, mut streams) = (device("bounds", 8, IoFaults::default()), streams(&[CodecName::Lz4, CodecName::Zstd]));
    let contents: Vec<u8> = (0..).flat_map(|i| format!("line {i} of a page\n").into_bytes()).take(PAGE).collect();
    zram.store(0, &contents, &mut streams, &Unlimited).unwrap();
    let len = zram.len_bytes(0) as usize;
    let above = |threshold| Recompress { threshold, ..Recompress::default() };
    assert_eq!(zram.recompress(&above(len + 1), &mut streams, &Unlimited).unwrap(), 0);
    assert_eq!(zram.recompress(&above(len), &mut streams, &Unlimited).unwrap(), 1);
    assert!((zram.len_bytes(0) as usize) < len && load(&zram, 0, &mut streams) == contents);
    let shorter = zram.len_bytes(0) as usize;
    zram.store(1, &contents, &mut streams, &Unlimited).unwrap();
    assert_eq!(zram.recompress(&above(shorter), &mut streams, &Unlimited).unwrap(), 0, "it would not get below");
    assert_eq!(zram.recompress(&above(shorter + 1), &mut streams, &Unlimited).unwrap(), 1);
    zram.free(1, &Unlimited);
    zram.mark_idle(None);
    assert_eq!(zram.recompress(&Recompress::default(), &mut streams, &Unlimited).unwrap(), 0);
    assert_eq!(zram.writeback(IDLE, &mut streams, &Unlimited).unwrap(), 1, "it is idle still");
}

/// Even a try in vain touches the page.
#[test]
fn what_no_compressor_shrinks_is_no_longer_idle() {
    let (zram, mut streams) = (device("vain", 8, IoFaults::default()), streams(&[CodecName::Lz4, CodecName::Zstd]));
    zram.store(0, &page(4, 1), &mut streams, &Unlimited).unwrap();
    zram.mark_idle(None);
    assert_eq!(zram.recompress(&Recompress::default(), &mut streams, &Unlimited).unwrap(), 0);
    assert_eq!(zram.writeback(IDLE, &mut streams, &Unlimited).unwrap(), 0);
    zram.mark_idle(None);
    assert_eq!(zram.writeback(IDLE, &mut streams, &Unlimited).unwrap(), 1);
}

/// From the length on that takes a whole page anyway the page is kept as it is.
#[test]
fn a_block_as_long_as_the_huge_class_is_not_kept() {
    let zram = Zram::new(Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap(), SLOTS, 0);
    for (slot, len, stored) in [(0, 3624, 3624), (1, 3625, PAGE), (2, 3626, PAGE)] {
        let data = Data::Block { len: Some(len), bytes: None, page: None };
        assert_eq!(zram.write(slot, data, &Unlimited).unwrap(), stored);
    }
    assert_eq!((zram.mm_stat().huge_pages, zram.mm_stat().compr_data_size), (2, 3624 + 2 * PAGE as u64));
}

#[test]
fn compaction_says_how_many_pages_it_freed() {
    let (zram, mut streams) = (device("compact", 1, IoFaults::default()), streams(&[CodecName::Lz4]));
    for slot in 0..SLOTS {
        // Noise, and a last quarter of one byte: few such objects share a zspage.
        let mut contents = page(4, slot.into());
        contents[3 * PAGE / 4..].fill(0);
        zram.store(slot, &contents, &mut streams, &Unlimited).unwrap();
    }
    (1..SLOTS - 1).for_each(|slot| zram.free(slot, &Unlimited));
    let before = zram.pool().total_pages();
    let freed = zram.compact(&Unlimited);
    assert!(freed > 0);
    assert_eq!((zram.pool().total_pages(), zram.mm_stat().pages_compacted), (before - freed, freed as u64));
}
