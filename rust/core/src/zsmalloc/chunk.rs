//! A pool's memory as it comes from the system: chunks of 2 MiB.

use crate::memory::{HUGE_BYTES, Huge, Mapping};
use crate::units::PAGE_SIZE;
use std::io;
use std::ptr::NonNull;

/// Bytes mapped at a time.
pub const CHUNK_BYTES: usize = HUGE_BYTES;

/// One mapping.
#[derive(Debug)]
pub(super) enum Chunk {
    /// Resident page by page as it is used: one huge page would make a few objects cost 2 MiB.
    Small(Mapping),
    /// Made resident ahead of time: one huge page where the system has one to give.
    Warm(Huge),
}

impl Chunk {
    /// Maps fresh zeroed memory that is not resident yet.
    pub fn map() -> io::Result<Self> {
        let mapping = Mapping::new(CHUNK_BYTES)?;
        mapping.advise(libc::MADV_NOHUGEPAGE);
        Ok(Self::Small(mapping))
    }

    /// Maps memory and makes all of it resident.
    pub fn map_resident() -> io::Result<Self> {
        let memory = Huge::new(CHUNK_BYTES)?;
        for page in (0..CHUNK_BYTES).step_by(PAGE_SIZE) {
            // SAFETY: `page` is inside the mapping, which nothing else uses yet.
            let byte = unsafe { memory.base().add(page) };
            // SAFETY: as above; the byte is mapped writable.
            unsafe { byte.write_volatile(0) };
        }
        Ok(Self::Warm(memory))
    }

    /// Its first byte.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        match self {
            Self::Small(mapping) => mapping.base(),
            Self::Warm(memory) => memory.base(),
        }
    }

    /// Whether it was made resident ahead of time.
    #[inline]
    pub fn is_warm(&self) -> bool {
        matches!(self, Self::Warm(_))
    }
}
