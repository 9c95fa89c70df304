//! zram: a swap device that compresses into a zsmalloc pool.
//!
//! A slot's table entry belongs to the slot's page, that is to the actor that won its state word. A page of one repeated
//! machine word takes no memory; one whose compressed length is at or above the huge class is stored as it is.
//!
//! Accounting: `compr_data_size` = Σ stored bytes, `mem_used_total` = pool pages, `orig_data_size` = pages × page size.
//! Source: Documentation/admin-guide/blockdev/zram.rst (mm_stat, io_stat).

use crate::codec::{Compressor, DecodeError};
use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::zsmalloc::{Frames, Handle, Pool};
use crate::zswap::count;

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
    /// The slot, which is empty.
    pub slot: u32,
    /// What was allocated beyond `mem_limit`: the caller gives it back with [`Zram::undo`], in a step of its own since
    /// others see the pool in between.
    pub beyond: Option<Handle>,
}

const SAME: u32 = 1 << 31;
const HUGE: u32 = 1 << 30;
const USED: u32 = 1 << 29;
const LEN: u32 = USED - 1;

#[derive(Debug, Default)]
struct Entry {
    /// The handle, or the repeated word of a `SAME` entry.
    value: AtomicU64,
    flags: AtomicU32,
}

// ORDERING (entries and counters): Relaxed: entries are ordered by the state word of the slot's page; counters order nothing.
const OWNED: Ordering = Ordering::Relaxed;

/// /sys/block/zramN/mm_stat, in the kernel's field order. Sizes in bytes, the rest in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmStat {
    /// Uncompressed bytes stored.
    pub orig_data_size: u64,
    /// Compressed bytes stored.
    pub compr_data_size: u64,
    /// Memory that zsmalloc holds.
    pub mem_used_total: u64,
    /// The limit, 0 for none.
    pub mem_limit: u64,
    /// The most that zsmalloc held.
    pub mem_used_max: u64,
    /// Pages of one repeated word.
    pub same_pages: u64,
    /// Pages freed by compaction.
    pub pages_compacted: u64,
    /// Incompressible pages.
    pub huge_pages: u64,
    /// Incompressible pages ever stored.
    pub huge_pages_since: u64,
}

impl MmStat {
    /// Names and values in the kernel's order.
    pub fn fields(&self) -> [(&'static str, u64); 9] {
        [
            ("orig_data_size", self.orig_data_size),
            ("compr_data_size", self.compr_data_size),
            ("mem_used_total", self.mem_used_total),
            ("mem_limit", self.mem_limit),
            ("mem_used_max", self.mem_used_max),
            ("same_pages", self.same_pages),
            ("pages_compacted", self.pages_compacted),
            ("huge_pages", self.huge_pages),
            ("huge_pages_since", self.huge_pages_since),
        ]
    }
}

/// The device.
#[derive(Debug)]
pub struct Zram {
    pool: Pool,
    page_size: u64,
    limit_pages: u64,
    entries: Box<[Entry]>,
    pages_stored: AtomicU64,
    compr_data_size: AtomicU64,
    max_used_pages: AtomicU64,
    same_pages: AtomicU64,
    huge_pages: AtomicU64,
    huge_pages_since: AtomicU64,
    failed_writes: AtomicU64,
    failed_reads: AtomicU64,
    notify_free: AtomicU64,
}

impl Zram {
    /// An empty device of `slots` pages over `pool`, limited to `limit_pages` of memory (0: no limit).
    pub fn new(pool: Pool, slots: u32, limit_pages: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            page_size: pool.table().page_size() as u64,
            pool,
            limit_pages,
            entries: (0..slots).map(|_| Entry::default()).collect(),
            pages_stored: zero(),
            compr_data_size: zero(),
            max_used_pages: zero(),
            same_pages: zero(),
            huge_pages: zero(),
            huge_pages_since: zero(),
            failed_writes: zero(),
            failed_reads: zero(),
            notify_free: zero(),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// `zram_write_page`: takes the page over; returns the bytes charged to `compr_data_size`.
    ///
    /// # Errors
    /// [`NoMemory`], counted as `failed_writes`; the slot is empty then.
    pub fn write(&self, slot: u32, data: Data<'_>, frames: &impl Frames) -> Result<usize, NoMemory> {
        match data {
            Data::Same(word) => {
                self.set(slot, word, SAME);
                count(&self.same_pages);
                count(&self.pages_stored);
                Ok(0)
            }
            Data::Block { len, bytes, page } => self.write_block(slot, len, bytes, page, frames),
        }
    }

    fn write_block(
        &self,
        slot: u32,
        len: Option<usize>,
        bytes: Option<&[u8]>,
        page: Option<&[u8]>,
        frames: &impl Frames,
    ) -> Result<usize, NoMemory> {
        let huge = len.is_none_or(|len| len >= self.pool.table().huge_class_size());
        let (stored, contents) = match len {
            Some(len) if !huge => (len, bytes),
            _ => (self.page_size as usize, page),
        };
        let allocated = match contents {
            Some(contents) => self.pool.store(contents, frames),
            None => self.pool.malloc(stored, frames),
        };
        let no_memory = |beyond| {
            count(&self.failed_writes);
            NoMemory { slot, beyond }
        };
        let handle = allocated.map_err(|_| no_memory(None))?;
        let used = self.pool.total_pages() as u64;
        if self.limit_pages != 0 && used > self.limit_pages {
            return Err(no_memory(Some(handle)));
        }
        self.max_used_pages.fetch_max(used, OWNED);
        self.set(slot, handle.to_raw(), stored as u32 | if huge { HUGE } else { 0 });
        self.compr_data_size.fetch_add(stored as u64, OWNED);
        count(&self.pages_stored);
        if huge {
            count(&self.huge_pages);
            count(&self.huge_pages_since);
        }
        Ok(stored)
    }

    /// Gives back what a refused write had allocated.
    pub fn undo(&self, beyond: Handle, frames: &impl Frames) {
        self.pool.free(beyond, frames);
    }

    fn set(&self, slot: u32, value: u64, flags: u32) {
        let entry = &self.entries[slot as usize];
        entry.value.store(value, OWNED);
        entry.flags.store(flags | USED, OWNED);
    }

    /// Whether the slot holds a page.
    pub fn holds(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|e| e.flags.load(OWNED) & USED != 0)
    }

    /// Reads a slot into `page` by way of `block` (two pages); an empty slot reads as zeros, as on any block device.
    ///
    /// # Errors
    /// [`DecodeError`], counted as `failed_reads`.
    pub fn read(
        &self,
        slot: u32,
        codec: &mut dyn Compressor,
        block: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecodeError> {
        let entry = &self.entries[slot as usize];
        let (value, flags) = (entry.value.load(OWNED), entry.flags.load(OWNED));
        if flags & (SAME | USED) != USED {
            let word = if flags & SAME != 0 { value } else { 0 };
            page.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&word.to_ne_bytes()));
            return Ok(());
        }
        let handle = Handle::from_raw(value).expect("a used slot has a handle");
        let block = &mut block[..(flags & LEN) as usize];
        self.pool.read(handle, block);
        let read = match flags & HUGE != 0 {
            true => {
                page.copy_from_slice(block);
                Ok(())
            }
            false => codec.decompress(block, page),
        };
        read.inspect_err(|_| count(&self.failed_reads))
    }

    /// `zram_slot_free_notify`: empties a slot.
    pub fn free(&self, slot: u32, frames: &impl Frames) {
        let entry = &self.entries[slot as usize];
        let flags = entry.flags.swap(0, OWNED);
        if flags & USED == 0 {
            return;
        }
        count(&self.notify_free);
        self.pages_stored.fetch_sub(1, OWNED);
        if flags & SAME != 0 {
            self.same_pages.fetch_sub(1, OWNED);
            return;
        }
        if flags & HUGE != 0 {
            self.huge_pages.fetch_sub(1, OWNED);
        }
        self.compr_data_size.fetch_sub(u64::from(flags & LEN), OWNED);
        if let Some(handle) = Handle::from_raw(entry.value.load(OWNED)) {
            self.pool.free(handle, frames);
        }
    }

    /// mm_stat.
    pub fn mm_stat(&self) -> MmStat {
        MmStat {
            orig_data_size: self.pages_stored.load(OWNED) * self.page_size,
            compr_data_size: self.compr_data_size.load(OWNED),
            mem_used_total: self.pool.total_pages() as u64 * self.page_size,
            mem_limit: self.limit_pages * self.page_size,
            mem_used_max: self.max_used_pages.load(OWNED) * self.page_size,
            same_pages: self.same_pages.load(OWNED),
            pages_compacted: self.pool.pages_compacted() as u64,
            huge_pages: self.huge_pages.load(OWNED),
            huge_pages_since: self.huge_pages_since.load(OWNED),
        }
    }

    /// io_stat: failed_reads, failed_writes, invalid_io (always 0), notify_free.
    pub fn io_stat(&self) -> [(&'static str, u64); 4] {
        [
            ("failed_reads", self.failed_reads.load(OWNED)),
            ("failed_writes", self.failed_writes.load(OWNED)),
            ("invalid_io", 0),
            ("notify_free", self.notify_free.load(OWNED)),
        ]
    }

    fn counters(&self) -> [&AtomicU64; 9] {
        [
            &self.pages_stored,
            &self.compr_data_size,
            &self.max_used_pages,
            &self.same_pages,
            &self.huge_pages,
            &self.huge_pages_since,
            &self.failed_writes,
            &self.failed_reads,
            &self.notify_free,
        ]
    }
}

impl Snapshot for Zram {
    fn save(&self, out: &mut Saved) {
        self.pool.save(out);
        out.counters.extend(self.counters().map(|c| c.load(OWNED)));
        for e in &self.entries {
            out.state.push(u64::from(e.flags.load(OWNED)));
            if e.flags.load(OWNED) & USED != 0 {
                out.state.push(e.value.load(OWNED));
            }
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.pool.restore(from);
        for counter in self.counters() {
            counter.store(from.counter(), OWNED);
        }
        for e in &self.entries {
            e.flags.store(from.state() as u32, OWNED);
            if e.flags.load(OWNED) & USED != 0 {
                e.value.store(from.state(), OWNED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecName, CodecSpec};
    use crate::zsmalloc::{PoolConfig, Unlimited};

    #[test]
    fn pages_come_back_and_the_counters_add_up() {
        let zram = Zram::new(Pool::new(PoolConfig::default()).unwrap(), 4, 0);
        let mut codec = CodecSpec::new(CodecName::Lz4, None).unwrap().open();
        let mut x = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
            (x >> 56) as u8
        })
        .take(4096)
        .collect();
        let text: Vec<u8> = (0..4096).map(|i| b"zram "[i % 5]).collect();
        let mut block = vec![0; 8192];
        for (slot, page) in [&noise, &text].into_iter().enumerate() {
            let len = codec.compress(page, &mut block);
            let data = Data::Block { len, bytes: len.map(|n| &block[..n]), page: Some(page) };
            zram.write(slot as u32, data, &Unlimited).unwrap();
        }
        zram.write(2, Data::Same(7), &Unlimited).unwrap();
        let stat = zram.mm_stat();
        assert_eq!((stat.orig_data_size, stat.same_pages, stat.huge_pages), (3 * 4096, 1, 1));
        let mut page = vec![0; 4096];
        for (slot, want) in [(0, noise), (1, text), (2, 7u64.to_ne_bytes().repeat(512)), (3, vec![0; 4096])] {
            zram.read(slot, codec.as_mut(), &mut block, &mut page).unwrap();
            assert!(page == want, "slot {slot}");
            zram.free(slot, &Unlimited);
        }
        let empty = zram.mm_stat();
        assert_eq!((empty.orig_data_size, empty.compr_data_size, empty.mem_used_total, empty.huge_pages), (0, 0, 0, 0));
        assert_eq!(empty.huge_pages_since, 1);
    }

    #[test]
    fn the_memory_limit_refuses_and_leaves_nothing_behind() {
        let zram = Zram::new(Pool::new(PoolConfig::default()).unwrap(), 2, 1);
        let page = vec![1; 4096];
        let huge = Data::Block { len: None, bytes: None, page: Some(&page) };
        zram.write(0, huge, &Unlimited).unwrap();
        let refused = zram.write(1, huge, &Unlimited).unwrap_err();
        zram.undo(refused.beyond.unwrap(), &Unlimited);
        assert!(!zram.holds(1));
        assert_eq!(zram.mm_stat().mem_used_total, 4096);
        assert_eq!(zram.io_stat()[1], ("failed_writes", 1));
    }
}
