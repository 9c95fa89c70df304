//! loom models of zram's marks: what becomes of a slot that is touched while a writeback or a recompression has it in hand.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p kcompressd-core --test loom_zram`
//! A worker goes through a device of one slot, which is idle. The other thread does one thing to the slot, at every point: before it is
//! chosen, chosen, on its way to the backing device with its lock given back, and after. Each model lists all that can come of it.
#![cfg(kcompressd_loom)]

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::sync::{Arc, thread};
use kcompressd_core::zram::{Recompress, RecompressError, Streams, Wanted, WritebackReason, Zram};
use kcompressd_core::zsmalloc::{Pool, PoolConfig, Unlimited};
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc as Shared, Mutex};

const PAGE: usize = 4096;
/// Of a model's threads, words: its first has 32 KiB, too little for a compressor.
const STACK: usize = 1 << 16;
const IDLE: Wanted = Wanted { idle: true, huge: false, incompressible: false };
const IDLE_ONES: Recompress = Recompress { wanted: IDLE, threshold: 0, max_pages: None, priority: None };

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK).spawn(f).unwrap()
}

fn streams() -> Streams {
    let spec = |name| Some(CodecSpec::new(name, None).unwrap());
    Streams::open(&[spec(CodecName::Lz4), spec(CodecName::Deflate), None, None], PAGE)
}

/// A page that both compressors shrink, the second more.
fn text(number: u8) -> Vec<u8> {
    (0..).flat_map(|line| format!("line {line} of page {number}\n").into_bytes()).take(PAGE).collect()
}

/// Slot 0 of a device.
struct Slot(Zram);

impl Slot {
    /// Holds the first page, idle.
    fn new(file: &File) -> Self {
        let pool = Pool::new(PoolConfig { chain_size: 4, ..PoolConfig::default() }).unwrap();
        let backing = Backing::File { file: file.try_clone().unwrap(), direct: false };
        let slot = Self(Zram::new(pool, 1, 0).with_backing(Device::new(backing, PAGE, IoFaults::default()), 2));
        slot.store(1);
        slot.0.mark_idle(None);
        slot
    }

    fn store(&self, number: u8) {
        self.0.store(0, &text(number), &mut streams(), &Unlimited).unwrap();
    }

    fn load(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        self.0.load(0, &mut streams(), &mut page).unwrap();
        page
    }

    /// Pages written back, as far as the worker knows.
    fn write_back(&self) -> u64 {
        self.0.writeback(IDLE, &mut streams(), &Unlimited).unwrap()
    }

    /// Pages made smaller, as far as the worker knows.
    fn recompress(&self) -> u64 {
        self.0.recompress(&IDLE_ONES, &mut streams(), &Unlimited).unwrap()
    }

    /// The page is neither empty nor one word, so that what takes no memory is on the device.
    fn is_on_device(&self) -> bool {
        self.0.holds(0) && self.0.len_bytes(0) == 0
    }

    fn device_writes(&self) -> u64 {
        self.0.bd_stat()[2].1
    }

    /// Empties it: nothing is left of anything.
    fn end(&self) {
        assert_eq!(self.0.bd_stat()[0].1, u64::from(self.is_on_device()));
        self.0.free(0, &Unlimited);
        assert_eq!((self.0.pool().total_pages(), self.0.bd_stat()[0].1), (0, 0));
        assert_eq!((self.0.mm_stat().orig_data_size, self.0.mm_stat().compr_data_size), (0, 0));
    }
}

/// Tries every schedule of `worker` and `other`. `outcome` looks at what they returned and at the slot afterwards; all that
/// there are must be `all`.
fn model<W: Send + 'static, O: Send + 'static, T: Ord + Send + std::fmt::Debug + 'static>(
    worker: fn(&Slot) -> W,
    other: fn(&Slot) -> O,
    outcome: fn(&Slot, W, O) -> T,
    all: impl IntoIterator<Item = T>,
) {
    let path = std::env::temp_dir().join(format!(
        "kcompressd-loom-zram-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = Shared::new(File::options().read(true).write(true).create_new(true).open(&path).unwrap());
    std::fs::remove_file(path).unwrap();
    let seen = Shared::new(Mutex::new(BTreeSet::new()));
    loom::model({
        let seen = Shared::clone(&seen);
        move || {
            let (seen, file) = (Shared::clone(&seen), Shared::clone(&file));
            let both = move || {
                let slot = Arc::new(Slot::new(&file));
                let working = spawn({
                    let slot = Arc::clone(&slot);
                    move || worker(&slot)
                });
                let did = other(&slot);
                let worked = working.join().unwrap();
                seen.lock().unwrap().insert(outcome(&slot, worked, did));
                slot.end();
            };
            spawn(both).join().unwrap();
        }
    });
    assert_eq!(*seen.lock().unwrap(), all.into_iter().collect());
}

/// Pages written back, and writes to the device: the second of these was in vain.
const TO_THE_DEVICE: [(u64, u64); 3] = [(0, 0), (0, 1), (1, 1)];

/// What comes after is what is read, and is not on the device: nobody has called it idle.
#[test]
fn overwritten_under_writeback() {
    let outcome = |slot: &Slot, written, ()| {
        assert!(!slot.is_on_device() && slot.load() == text(2));
        (written, slot.device_writes())
    };
    model(Slot::write_back, |slot| slot.store(2), outcome, TO_THE_DEVICE);
}

/// The mark of what was there before is not the mark of what comes after, though that is idle too.
#[test]
fn overwritten_and_idle_again_under_writeback() {
    let store = |slot: &Slot| {
        slot.store(2);
        slot.0.mark_idle(None);
    };
    let outcome = |slot: &Slot, written, ()| {
        let on_device = slot.is_on_device();
        assert!(slot.load() == text(2), "written: {written}, on the device: {on_device}");
        (written, slot.device_writes(), on_device)
    };
    let all = [(0, 0, false), (0, 1, false), (1, 1, false), (1, 1, true)];
    model(Slot::write_back, store, outcome, all);
}

#[test]
fn freed_under_writeback() {
    let outcome = |slot: &Slot, written, ()| {
        assert!(!slot.0.holds(0) && !slot.is_on_device());
        (written, slot.device_writes())
    };
    model(Slot::write_back, |slot| slot.0.free(0, &Unlimited), outcome, TO_THE_DEVICE);
}

/// A page that is read is not idle, and stays where its reader found it.
#[test]
fn read_under_writeback() {
    let read = |slot: &Slot| {
        assert!(slot.load() == text(1));
        slot.is_on_device()
    };
    let outcome = |slot: &Slot, written, found_on_device| {
        assert_eq!((written == 1, slot.is_on_device()), (found_on_device, found_on_device));
        (written, slot.device_writes())
    };
    model(Slot::write_back, read, outcome, TO_THE_DEVICE);
}

/// To call it idle once more changes nothing; a page on the device is not idle.
#[test]
fn idle_again_under_writeback() {
    let outcome = |slot: &Slot, written, ()| {
        assert!(slot.is_on_device() && slot.write_back() == 0 && slot.load() == text(1));
        (written, slot.device_writes())
    };
    model(Slot::write_back, |slot| slot.0.mark_idle(None), outcome, [(1, 1)]);
}

/// One of the two has its turn; the page is whole and its memory is counted wherever they leave it.
#[test]
fn recompressed_under_writeback() {
    let write_back = |slot: &Slot| match slot.0.writeback(IDLE, &mut streams(), &Unlimited) {
        Ok(written) => Some(written),
        Err(error) => {
            assert!(matches!(error.reason, WritebackReason::Busy(_)), "{error}");
            None
        }
    };
    let recompress = |slot: &Slot| match slot.0.recompress(&IDLE_ONES, &mut streams(), &Unlimited) {
        Ok(smaller) => Some(smaller),
        Err(error) => {
            assert!(matches!(error, RecompressError::Busy(_)), "{error}");
            None
        }
    };
    let outcome = |slot: &Slot, written, smaller| {
        assert_eq!(slot.is_on_device(), written == Some(1));
        assert!(slot.load() == text(1));
        (written, smaller)
    };
    // Recompressed is no longer idle, and what is on the device is not recompressed.
    let all = [(Some(0), Some(1)), (Some(1), Some(0)), (None, Some(1)), (Some(1), None)];
    model(write_back, recompress, outcome, all);
}

/// What comes after has the first compressor's length: nobody has called it idle.
#[test]
fn overwritten_under_recompression() {
    let outcome = |slot: &Slot, smaller, ()| {
        let len = slot.0.len_bytes(0);
        slot.store(2);
        assert_eq!(slot.0.len_bytes(0), len);
        assert!(slot.load() == text(2));
        smaller
    };
    model(Slot::recompress, |slot| slot.store(2), outcome, [0, 1]);
}

#[test]
fn freed_under_recompression() {
    let outcome = |slot: &Slot, smaller, ()| {
        assert!(!slot.0.holds(0));
        smaller
    };
    model(Slot::recompress, |slot| slot.0.free(0, &Unlimited), outcome, [0, 1]);
}

#[test]
fn read_under_recompression() {
    let read = |slot: &Slot| {
        assert!(slot.load() == text(1));
        slot.0.len_bytes(0)
    };
    let outcome = |slot: &Slot, smaller, found| {
        assert_eq!(slot.0.len_bytes(0), found);
        assert!(slot.load() == text(1));
        smaller
    };
    model(Slot::recompress, read, outcome, [0, 1]);
}
