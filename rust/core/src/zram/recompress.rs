//! Recompression with secondary algorithms.
//!
//! An object is tried with the algorithms above its own, in order of priority, until one brings it into a smaller class
//! of zsmalloc and below the threshold; if the last algorithm fails as well it is marked incompressible. The slot stays
//! locked, as in the kernel. Neither mem_limit nor mem_used_max look at it.
//! Source: Documentation/admin-guide/blockdev/zram.rst, "Recompression".

use super::select::{Busy, Wanted};
use super::streams::{MAX_ALGORITHMS, Parts, Streams, decode};
use super::{Entry, Object, Place, Zram};
use crate::codec::{Compressor, DecodeError};
use crate::zsmalloc::{AllocError, Frames};
use std::ops::Range;

/// One `echo … > recompress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recompress {
    /// `type=`; incompressible pages are never tried again.
    pub wanted: Wanted,
    /// `threshold=`: objects of fewer bytes stay as they are, and so do those that would not get below it.
    pub threshold: usize,
    /// `max_pages=`: how many pages are tried at most.
    pub max_pages: Option<u64>,
    /// `priority=`, or that of `algo=`: this algorithm alone.
    pub priority: Option<u8>,
}

/// Why recompression was refused, or ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecompressError {
    /// See [`Busy`].
    #[error(transparent)]
    Busy(#[from] Busy),
    /// There is no such secondary algorithm (-EINVAL).
    #[error("no secondary compressor of priority {0}")]
    NoAlgorithm(u8),
    /// The threshold is that of a huge page or more (-EINVAL).
    #[error("threshold {threshold} is not below the huge class, {huge} bytes")]
    Threshold {
        /// Bytes asked for.
        threshold: usize,
        /// The huge class, bytes.
        huge: usize,
    },
    /// The pool holds no bytes to compress.
    #[error("a device without contents cannot recompress")]
    NoContents,
    /// No memory for the new object; the old one stays.
    #[error("slot {slot}: {source}")]
    NoMemory {
        /// The slot.
        slot: u32,
        /// What zsmalloc said.
        source: AllocError,
    },
    /// The old object does not decode.
    #[error("slot {slot}: {source}")]
    Decode {
        /// The slot.
        slot: u32,
        /// What the codec said.
        source: DecodeError,
    },
}

/// How one page fared.
enum Tried {
    /// Left alone: too small, or compressed with the last algorithm in question already.
    Passed,
    Failed,
    Smaller,
}

/// The best that the algorithms in question did: a priority and a length in bytes, the block itself in the buffer.
struct Found {
    priority: u8,
    len: usize,
}

impl Zram {
    /// Recompresses what `request` asks for; returns how many pages became smaller.
    ///
    /// # Errors
    /// [`RecompressError`]; pages done before stay done.
    pub fn recompress(
        &self,
        request: &Recompress,
        streams: &mut Streams,
        frames: &impl Frames,
    ) -> Result<u64, RecompressError> {
        let priorities = self.check(request, streams)?;
        let better = |entry: &Entry| match entry.place {
            Place::Pool(object) => usize::from(object.priority) + 1 < priorities.end,
            _ => false,
        };
        let mut chosen = self.select(|e| request.wanted.has(e) && !e.incompressible && better(e))?;
        let (mut left, mut smaller) = (request.max_pages.unwrap_or(u64::MAX), 0);
        while left > 0
            && let Some(slot) = chosen.next()
        {
            match self.recompress_slot(slot, request.threshold, priorities.clone(), streams, frames)? {
                Tried::Passed => {}
                Tried::Failed => left -= 1,
                Tried::Smaller => (left, smaller) = (left - 1, smaller + 1),
            }
        }
        Ok(smaller)
    }

    /// The priorities to try.
    fn check(&self, request: &Recompress, streams: &mut Streams) -> Result<Range<usize>, RecompressError> {
        let huge = self.pool.table().huge_class_size();
        if request.threshold >= huge {
            return Err(RecompressError::Threshold { threshold: request.threshold, huge });
        }
        if !self.pool.has_bytes() {
            return Err(RecompressError::NoContents);
        }
        let active = streams.active();
        match request.priority {
            None if active < 2 => Err(RecompressError::NoAlgorithm(1)),
            None => Ok(1..active),
            Some(one) => {
                let known = (1..MAX_ALGORITHMS as u8).contains(&one) && streams.has(one);
                known.then(|| one.into()..usize::from(one) + 1).ok_or(RecompressError::NoAlgorithm(one))
            }
        }
    }

    fn recompress_slot(
        &self,
        slot: u32,
        threshold: usize,
        priorities: Range<usize>,
        streams: &mut Streams,
        frames: &impl Frames,
    ) -> Result<Tried, RecompressError> {
        let active = streams.active();
        let mut entry = self.entries[slot as usize].lock();
        let Place::Pool(old) = entry.place else { return Ok(Tried::Passed) };
        if !std::mem::take(&mut entry.selected) || (old.len as usize) < threshold {
            return Ok(Tried::Passed);
        }
        // Touched: no longer idle, so that it is not taken again for another reason.
        entry.idle = false;
        let tries = priorities.start.max(usize::from(old.priority) + 1)..priorities.end;
        if tries.is_empty() {
            return Ok(Tried::Passed);
        }
        let parts = streams.parts();
        self.expand(old, parts.codecs, parts.block, parts.page)
            .map_err(|source| RecompressError::Decode { slot, source })?;
        match self.shrink(old.len as usize, threshold, tries.clone(), parts) {
            Ok(found) => {
                let stored = self.pool.store(&streams.parts().block[..found.len], frames);
                let handle = stored.map_err(|source| RecompressError::NoMemory { slot, source })?;
                self.release_object(old, frames);
                self.stats.compr_data_size.add(found.len as u64);
                let (len, priority) = (found.len as u32, found.priority);
                entry.place = Place::Pool(Object { handle, len, priority, huge: false });
                entry.accessed_s = 0; // Its slot was freed, and nobody has accessed it since.
                Ok(Tried::Smaller)
            }
            Err(no_class) => {
                entry.incompressible = no_class && tries.end >= active;
                Ok(Tried::Failed)
            }
        }
    }

    /// Decodes an object into `page`.
    pub(super) fn expand(
        &self,
        object: Object,
        codecs: &mut [Option<Box<dyn Compressor>>; MAX_ALGORITHMS],
        block: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecodeError> {
        if object.huge {
            self.pool.read(object.handle, page);
            return Ok(());
        }
        let block = &mut block[..object.len as usize];
        self.pool.read(object.handle, block);
        decode(codecs, object.priority, block, page)
    }

    /// The first of `tries` that brings the page into a smaller class and below `threshold` (0: none). The error says
    /// whether the last one did not even reach a smaller class.
    fn shrink(&self, old_len: usize, threshold: usize, tries: Range<usize>, parts: Parts<'_>) -> Result<Found, bool> {
        let class = |len: usize| self.pool.table().index_of(len);
        let mut no_class = false;
        for priority in tries {
            let Some(codec) = &mut parts.codecs[priority] else { continue };
            let len = codec.compress(parts.page, parts.block).filter(|&len| len <= parts.page.len());
            no_class = len.is_none_or(|len| class(len) >= class(old_len));
            match len {
                Some(len) if !no_class && (threshold == 0 || len < threshold) => {
                    return Ok(Found { priority: priority as u8, len });
                }
                _ => {}
            }
        }
        Err(no_class)
    }
}
