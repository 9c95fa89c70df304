//! LZ4 as Linux's `lz4` compressor makes it: our own encoder and decoder of the block format.
//!
//! The kernel's encoder is the block encoder of 2016; today's library takes one decision differently and gives other
//! sizes on about one page in a hundred. [`Lz4`] takes the kernel's decisions, so its sizes are the kernel's on every
//! page; any LZ4 library decodes its blocks.

mod decode;
mod encode;
mod mem;
mod sequence;
mod wide;

pub(super) use decode::decode;

use super::{Compressor, DecodeError};

/// The most bytes that a block of `len` source bytes can take: no destination of this length is too small.
pub const fn bound_bytes(len: usize) -> usize {
    len + len / 255 + 16
}

/// One thread's LZ4 compressor. Pages are at most 64 KiB; a longer source is never compressed (`None`).
pub struct Lz4 {
    table: encode::Table,
    acceleration: usize,
}

impl Lz4 {
    /// The highest acceleration: steps longer than any page, beyond which nothing changes (liblz4's limit, too).
    pub const MAX_ACCELERATION: u32 = 65537;

    /// A compressor with the kernel's `acceleration` (1 = the default; higher searches less), clamped to
    /// `1..=MAX_ACCELERATION`.
    pub fn new(acceleration: u32) -> Self {
        let acceleration = acceleration.clamp(1, Self::MAX_ACCELERATION) as usize;
        Self { table: encode::Table::new(), acceleration }
    }
}

impl Compressor for Lz4 {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        encode::encode(&mut self.table, src, dst, self.acceleration)
    }

    fn prepare(&mut self) {
        self.table.clear();
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        decode("lz4", src, dst)
    }
}
