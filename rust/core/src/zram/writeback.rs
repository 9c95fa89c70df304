//! Writeback of chosen pages to a backing device, and its budget.
//!
//! A page is written decompressed while its slot is unlocked. If the slot was freed, overwritten or read meanwhile its mark is
//! gone, and what was written is not used. A slot on the device stays there until it is freed or overwritten.
//! Source: Documentation/admin-guide/blockdev/zram.rst, "writeback". Block 0 of the device is never used, as in the kernel.

use super::select::{Busy, Wanted};
use super::stat::Counter;
use super::streams::{Aligned, Parts, Streams};
use super::{Place, Zram};
use crate::codec::DecodeError;
use crate::swap::{Device, DeviceError, Slots};
use crate::zsmalloc::Frames;

/// A device of `blocks` pages, and which of them hold a page.
#[derive(Debug)]
pub(super) struct BackingDevice {
    device: Device,
    blocks: Slots,
    reads: Counter,
    writes: Counter,
}

impl BackingDevice {
    fn new(device: Device, pages: u32) -> Self {
        let blocks = Slots::new(pages);
        blocks.alloc();
        Self { device, blocks, reads: Counter::default(), writes: Counter::default() }
    }

    /// Blocks in use, reads and writes so far.
    pub fn counts(&self) -> [u64; 3] {
        [u64::from(self.blocks.used().saturating_sub(1)), self.reads.get(), self.writes.get()]
    }

    pub fn free(&self, block: u32) {
        self.blocks.free(block);
    }

    /// Reads `block` into `page`, whatever its alignment.
    pub fn read(&self, block: u32, page: &mut [u8]) -> Result<(), DeviceError> {
        self.reads.add(1);
        let mut aligned = Aligned::new(page.len());
        self.device.read(block, Some(aligned.get()))?;
        page.copy_from_slice(aligned.get());
        Ok(())
    }
}

/// Why pages that were asked for are not all on the device.
#[derive(Debug, thiserror::Error)]
pub enum WritebackReason {
    /// See [`Busy`].
    #[error(transparent)]
    Busy(#[from] Busy),
    /// There is no backing device (-ENODEV).
    #[error("there is no backing device")]
    NoDevice,
    /// The pool holds no bytes to write.
    #[error("a device without contents cannot write back")]
    NoContents,
    /// The budget is spent (-EIO).
    #[error("writeback_limit is reached")]
    Limit,
    /// Every block is taken (-ENOSPC).
    #[error("the backing device is full")]
    Full,
    /// A write failed; its page stays in memory and the others went on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A page does not decode.
    #[error("slot {slot}: {source}")]
    Decode {
        /// The slot.
        slot: u32,
        /// What the codec said.
        source: DecodeError,
    },
}

/// A writeback that did not do all it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{reason} ({written} pages were written back)")]
pub struct WritebackError {
    /// Pages written back all the same.
    pub written: u64,
    /// The last thing that went wrong.
    pub reason: WritebackReason,
}

impl Zram {
    /// Adds a backing device of `pages` pages, of which it uses all but the first.
    pub fn with_backing(mut self, device: Device, pages: u32) -> Self {
        self.backing = Some(Box::new(BackingDevice::new(device, pages)));
        self
    }

    /// Sets writeback_limit, in units of 4 KiB; `None`: writeback_limit_enable = 0.
    pub fn set_writeback_limit(&self, units: Option<u64>) {
        *self.writeback_limit.lock() = units;
    }

    /// What is left of writeback_limit.
    pub fn writeback_limit(&self) -> Option<u64> {
        *self.writeback_limit.lock()
    }

    /// Writes the slots of `wanted` to the backing device and frees their memory; returns how many there were.
    ///
    /// # Errors
    /// [`WritebackError`]. A failed write does not end it; the limit and a full device do.
    pub fn writeback(
        &self,
        wanted: Wanted,
        streams: &mut Streams,
        frames: &impl Frames,
    ) -> Result<u64, WritebackError> {
        let error = |written, reason| WritebackError { written, reason };
        let backing = self.backing.as_ref().ok_or_else(|| error(0, WritebackReason::NoDevice))?;
        if !self.pool.has_bytes() {
            return Err(error(0, WritebackReason::NoContents));
        }
        let mut chosen = self.select(|entry| wanted.has(entry)).map_err(|busy| error(0, busy.into()))?;
        let (mut written, mut failed, mut block) = (0, None, None);
        while !chosen.is_empty() {
            let at = match self.may_write(backing, &mut block) {
                Ok(at) => at,
                Err(reason) => {
                    failed = Some(reason);
                    break;
                }
            };
            let slot = chosen.next().expect("not empty");
            match self.write_slot(slot, backing, at, streams, frames) {
                Ok(false) => {}
                Ok(true) => (written, block) = (written + 1, None),
                Err(reason) => failed = Some(reason),
            }
        }
        if let Some(unused) = block {
            backing.free(unused);
        }
        failed.map_or(Ok(written), |reason| Err(error(written, reason)))
    }

    /// A block to write to, unless the budget or the device says no.
    fn may_write(&self, backing: &BackingDevice, block: &mut Option<u32>) -> Result<u32, WritebackReason> {
        if self.writeback_limit() == Some(0) {
            return Err(WritebackReason::Limit);
        }
        if block.is_none() {
            *block = backing.blocks.alloc();
        }
        block.ok_or(WritebackReason::Full)
    }

    /// Writes one slot to `block`; `false`: the slot was freed, overwritten or read before that had an effect.
    fn write_slot(
        &self,
        slot: u32,
        backing: &BackingDevice,
        block: u32,
        streams: &mut Streams,
        frames: &impl Frames,
    ) -> Result<bool, WritebackReason> {
        let Parts { codecs, block: buffer, page } = streams.parts();
        let decoded = {
            let entry = self.entries[slot as usize].lock();
            let (Place::Pool(object), true) = (entry.place, entry.selected) else { return Ok(false) };
            self.expand(object, codecs, buffer, page)
        };
        let written = match decoded {
            Ok(()) => backing.device.write(block, Some(page)).map_err(WritebackReason::from),
            Err(source) => Err(WritebackReason::Decode { slot, source }),
        };
        let mut entry = self.entries[slot as usize].lock();
        let selected = std::mem::take(&mut entry.selected);
        written?;
        backing.writes.add(1);
        if !selected {
            return Ok(false);
        }
        self.release(&mut entry, frames);
        entry.place = Place::Backing(block);
        self.stats.pages_stored.add(1);
        drop(entry);
        if let Some(left) = &mut *self.writeback_limit.lock() {
            *left = left.saturating_sub(self.page_size() / 4096);
        }
        Ok(true)
    }
}
