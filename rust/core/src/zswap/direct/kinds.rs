//! What goes into an operation on [`super::Direct`], and what comes out.

use crate::codec::DecodeError;
use crate::sync::{AtomicU64, Ordering};
use crate::units::NIL;
use crate::zsmalloc::Frames;

/// A page to store.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// Its contents: one page.
    Bytes(&'a [u8]),
    /// What a compressor would make of it, bytes; `None`: it gives up.
    Len(Option<u32>),
}

/// Where a store ended (`swap_writeout`).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In the pool.
    Pool,
    /// On the device: zswap refused.
    Device,
    /// Nowhere: zswap refused and the memcg denies writeback; the folio goes back to the active list.
    Activated,
}

/// Where a load found the page.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// In the pool; the entry is gone (the folio is dirty in the swap cache).
    Pool,
    /// On the device, where it stays.
    Device,
    /// Nowhere.
    Nowhere,
}

/// Why an operation was not begun. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// More slots than there are.
    #[error("slots {first} to {last}: there are {slots}")]
    NoSlot {
        /// The first slot asked for.
        first: u64,
        /// The last.
        last: u64,
        /// Slots there are.
        slots: u32,
    },
    /// No such group.
    #[error("no memcg {0}")]
    NoMemcg(u16),
    /// No such node.
    #[error("node {0}: there are {1}")]
    NoNode(u8, u8),
    /// A page of another size.
    #[error("{got} bytes are no page of {want}")]
    PageSize {
        /// Bytes given.
        got: usize,
        /// Bytes of a page.
        want: usize,
    },
    /// A block did not decompress; it stays where it is.
    #[error("slot {slot}: {source}")]
    Decode {
        /// The slot.
        slot: u32,
        /// What the decoder said.
        source: DecodeError,
    },
}

/// The pages that pools may take.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub fn new(pages: u64) -> Self {
        Self(AtomicU64::new(pages))
    }
}

impl Frames for Budget {
    fn take(&self, pages: usize) -> Option<u32> {
        let less = |free: u64| free.checked_sub(pages as u64);
        // ORDERING: Relaxed: a count.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(|_| NIL)
    }

    fn give(&self, _name: u32, pages: usize) {
        // ORDERING: Relaxed: a count. Wrapping is as it should be when the budget was set below what is in use.
        self.0.fetch_add(pages as u64, Ordering::Relaxed);
    }
}
