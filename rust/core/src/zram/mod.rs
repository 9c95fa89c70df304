//! zram: a swap device that compresses into a zsmalloc pool, recompresses and writes back.
//!
//! A slot is empty, or holds one repeated machine word (which takes no memory), an object of the pool (the page as it is
//! where its compressed length is at or above the huge class), or a block of the backing device.
//!
//! | call | may run at the same time as | on one slot |
//! |---|---|---|
//! | `write`, `read`, `free`, `holds` | everything | one after another, in any order |
//! | `mark_idle`, stats, knobs | everything | – |
//! | `recompress`, `writeback` | everything but each other ([`Busy`]) | a slot that is freed, overwritten or read is passed over |
//!
//! Lock order: a slot, then the pool's locks (a class, the arena) or the backing device's blocks; never two slots.
//! Compression runs before the slot is locked; decompression after it is unlocked.
//!
//! Accounting at rest: `compr_data_size` = Σ bytes of objects, `mem_used_total` = pool pages, `orig_data_size` = page size
//! × (same + objects + `bd_count` in pages), `huge_pages` = objects stored as they are.
//!
//! An overwritten slot keeps what it held until the new contents have a place: a write that fails changes nothing.
//! Source: Documentation/admin-guide/blockdev/zram.rst; observed on 6.12 (a release in between emptied the slot first).

mod recompress;
mod saved;
mod select;
mod stat;
mod streams;
mod writeback;

pub use recompress::{Recompress, RecompressError};
pub use select::{Busy, Wanted};
pub use stat::MmStat;
pub use streams::{MAX_ALGORITHMS, Streams};
pub use writeback::{WritebackError, WritebackReason};

use crate::codec::DecodeError;
use crate::swap::DeviceError;
use crate::sync::{AtomicBool, AtomicU32, Mutex, Ordering, SpinLock};
use crate::zsmalloc::{AllocError, Frames, Handle, Pool};
use stat::{Counter, Stats};
use writeback::BackingDevice;

/// Contents on their way into the device.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// The page is this word, repeated.
    Same(u64),
    /// The compressed block (`Err`: its length alone) and the page itself, for the case that it is huge.
    Block {
        /// Compressed length in bytes; `None`: the codec gave up.
        len: Option<usize>,
        /// The block, in a system with contents.
        bytes: Option<&'a [u8]>,
        /// The page, in a system with contents.
        page: Option<&'a [u8]>,
    },
}

/// A write that failed for want of memory (-ENOMEM): `mem_limit`, or zsmalloc found none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zram: no memory for slot {slot}")]
pub struct NoMemory {
    /// The slot, which is as it was.
    pub slot: u32,
    /// What was allocated beyond `mem_limit`: the caller gives it back with [`Zram::undo`], in a step of its own since
    /// others see the pool in between.
    pub beyond: Option<Handle>,
    /// Pages of the zspage that could not be had; 0 where it was another object.
    pub pages: usize,
}

/// Why a slot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its block does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The backing device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// An object of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Object {
    handle: Handle,
    len: u32,
    /// Of the algorithm that made it.
    priority: u8,
    /// Stored as it is.
    huge: bool,
}

/// Where a slot's contents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Empty,
    Same(u64),
    Pool(Object),
    /// The block of the backing device.
    Backing(u32),
}

/// One slot.
#[derive(Debug, Default)]
struct Entry {
    place: Place,
    /// When it was last written or read, by the device's clock.
    accessed_s: u32,
    idle: bool,
    incompressible: bool,
    /// Chosen for recompression or writeback.
    selected: bool,
}

impl Entry {
    /// Written or read (`zram_accessed`).
    fn touch(&mut self, now_s: u32) {
        (self.accessed_s, self.idle, self.selected) = (now_s, false, false);
    }
}

/// The device.
#[derive(Debug)]
pub struct Zram {
    pool: Pool,
    limit_pages: Counter,
    entries: Box<[SpinLock<Entry>]>,
    /// Seconds, set by the owner: the device reads no clock.
    clock_s: AtomicU32,
    /// Whether a recompression or writeback is at work.
    selecting: AtomicBool,
    backing: Option<Box<BackingDevice>>,
    /// What is left of writeback_limit, in units of 4 KiB; `None`: not enabled.
    writeback_limit: Mutex<Option<u64>>,
    stats: Stats,
}

impl Zram {
    /// An empty device of `slots` pages over `pool`, limited to `limit_pages` of memory (0: no limit).
    pub fn new(pool: Pool, slots: u32, limit_pages: u64) -> Self {
        let zram = Self {
            pool,
            limit_pages: Counter::default(),
            entries: (0..slots).map(|_| SpinLock::default()).collect(),
            clock_s: AtomicU32::new(0),
            selecting: AtomicBool::new(false),
            backing: None,
            writeback_limit: Mutex::new(None),
            stats: Stats::default(),
        };
        zram.set_mem_limit(limit_pages);
        zram
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Slots there are.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Sets mem_limit, in pages (0: no limit); what is stored stays.
    pub fn set_mem_limit(&self, pages: u64) {
        self.limit_pages.set(pages);
    }

    /// Sets the clock that the age of idle pages is measured by, in seconds.
    pub fn set_clock(&self, seconds: u32) {
        // ORDERING: Relaxed: a time; what was accessed when is ordered by the slots' locks.
        self.clock_s.store(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        // ORDERING: as in `set_clock`.
        self.clock_s.load(Ordering::Relaxed)
    }

    fn page_size(&self) -> u64 {
        self.pool.table().page_size() as u64
    }

    /// `zram_write_page`: takes the page over; what the slot held is gone. Returns the bytes charged to
    /// `compr_data_size`.
    ///
    /// # Errors
    /// [`NoMemory`], counted as `failed_writes`; the slot is as it was then.
    pub fn write(&self, slot: u32, data: Data<'_>, frames: &impl Frames) -> Result<usize, NoMemory> {
        self.try_write(slot, data, frames).inspect_err(|_| self.note_failed_write())
    }

    /// The first try of a write, which the caller may repeat once there is memory; else it notes the failure.
    ///
    /// # Errors
    /// [`NoMemory`]; the slot is as it was then.
    pub fn try_write(&self, slot: u32, data: Data<'_>, frames: &impl Frames) -> Result<usize, NoMemory> {
        let mut entry = self.entries[slot as usize].lock();
        let (place, stored) = match data {
            Data::Same(word) => {
                self.stats.same_pages.add(1);
                (Place::Same(word), 0)
            }
            Data::Block { len, bytes, page } => {
                let object = self.allocate(slot, len, bytes, page, frames)?;
                (Place::Pool(object), object.len as usize)
            }
        };
        self.release(&mut entry, frames);
        entry.place = place;
        entry.touch(self.now());
        self.stats.pages_stored.add(1);
        Ok(stored)
    }

    /// A write has failed for good (`failed_writes`).
    pub fn note_failed_write(&self) {
        self.stats.failed_writes.add(1);
    }

    /// Puts a block, or the page where the block is too long, into the pool.
    fn allocate(
        &self,
        slot: u32,
        len: Option<usize>,
        bytes: Option<&[u8]>,
        page: Option<&[u8]>,
        frames: &impl Frames,
    ) -> Result<Object, NoMemory> {
        let small = len.filter(|&len| len < self.pool.table().huge_class_size());
        let (stored, contents) = small.map_or((self.page_size() as usize, page), |len| (len, bytes));
        let allocated = match contents {
            Some(contents) => self.pool.store(contents, frames),
            None => self.pool.malloc(stored, frames),
        };
        let pages = |error| if let AllocError::NoMemory { pages, .. } = error { pages } else { 0 };
        let handle = allocated.map_err(|error| NoMemory { slot, beyond: None, pages: pages(error) })?;
        let (used, limit) = (self.pool.total_pages() as u64, self.limit_pages.get());
        self.stats.max_used_pages.max(used);
        if limit != 0 && used > limit {
            return Err(NoMemory { slot, beyond: Some(handle), pages: 0 });
        }
        self.stats.compr_data_size.add(stored as u64);
        if small.is_none() {
            self.stats.huge_pages.add(1);
            self.stats.huge_pages_since.add(1);
        }
        Ok(Object { handle, len: stored as u32, priority: 0, huge: small.is_none() })
    }

    /// Gives back what a refused write had allocated.
    pub fn undo(&self, beyond: Handle, frames: &impl Frames) {
        self.pool.free(beyond, frames);
    }

    /// Bytes of the slot's object in the pool; 0 where it has none. No boundary: as for `holds`.
    pub fn len_bytes(&self, slot: u32) -> u64 {
        match self.entries[slot as usize].lock_within().place {
            Place::Pool(object) => object.len.into(),
            Place::Empty | Place::Same(_) | Place::Backing(_) => 0,
        }
    }

    /// Whether the slot holds a page; false of a slot that the device does not have.
    pub fn holds(&self, slot: u32) -> bool {
        // No boundary: an actor asks about the slot of a page that it holds, so that nobody changes the answer.
        self.entries.get(slot as usize).is_some_and(|entry| entry.lock_within().place != Place::Empty)
    }

    /// Reads a slot into `page` by way of `block` (a page at least), with `decode` called on the priority of the
    /// algorithm and the block; an empty slot reads as zeros, as on any block device.
    ///
    /// # Errors
    /// [`ReadError`], counted as `failed_reads`.
    pub fn read(
        &self,
        slot: u32,
        block: &mut [u8],
        page: &mut [u8],
        decode: impl FnOnce(u8, &[u8], &mut [u8]) -> Result<(), DecodeError>,
    ) -> Result<(), ReadError> {
        let failed = |error| {
            self.stats.failed_reads.add(1);
            error
        };
        match self.fetch(slot, block, page).map_err(|error| failed(error.into()))? {
            None => Ok(()),
            Some(object) => {
                decode(object.priority, &block[..object.len as usize], page).map_err(|error| failed(error.into()))
            }
        }
    }

    /// Fills `page`, or `block` with an object that is yet to be decoded. A block of the backing device is read with the
    /// slot locked, so that it is not given to another meanwhile.
    fn fetch(&self, slot: u32, block: &mut [u8], page: &mut [u8]) -> Result<Option<Object>, DeviceError> {
        let mut entry = self.entries[slot as usize].lock();
        let fill = |page: &mut [u8], word: u64| {
            page.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&word.to_ne_bytes()));
        };
        let mut encoded = None;
        match entry.place {
            Place::Empty => fill(page, 0),
            Place::Same(word) => fill(page, word),
            Place::Pool(object) if object.huge => {
                self.pool.read(object.handle, page);
            }
            Place::Pool(object) => {
                self.pool.read(object.handle, block);
                encoded = Some(object);
            }
            Place::Backing(at) => self.backing().read(at, page)?,
        }
        entry.touch(self.now());
        Ok(encoded)
    }

    fn backing(&self) -> &BackingDevice {
        self.backing.as_ref().expect("a slot is on a backing device only where there is one")
    }

    /// `zram_slot_free_notify`: empties a slot.
    pub fn free(&self, slot: u32, frames: &impl Frames) {
        self.stats.notify_free.add(1);
        self.release(&mut self.entries[slot as usize].lock(), frames);
    }

    /// Empties a locked slot.
    fn release(&self, entry: &mut Entry, frames: &impl Frames) {
        match std::mem::take(entry).place {
            Place::Empty => return,
            Place::Same(_) => self.stats.same_pages.sub(1),
            Place::Pool(object) => self.release_object(object, frames),
            Place::Backing(block) => self.backing().free(block),
        }
        self.stats.pages_stored.sub(1);
    }

    fn release_object(&self, object: Object, frames: &impl Frames) {
        self.stats.compr_data_size.sub(u64::from(object.len));
        self.stats.huge_pages.sub(u64::from(object.huge));
        self.pool.free(object.handle, frames);
    }

    /// Compacts the pool (`echo 1 > compact`); returns the pages freed, which `pages_compacted` counts.
    pub fn compact(&self, frames: &impl Frames) -> usize {
        self.pool.compact(frames)
    }
}

#[cfg(test)]
mod tests;
