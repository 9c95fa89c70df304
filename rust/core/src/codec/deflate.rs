//! DEFLATE as Linux's `deflate` compressor makes it: a raw stream, level 6, window of 2^11 bytes, memory level 8.
//!
//! zlib's output depends on nothing but these numbers, so the sizes are the kernel's on every page. Their source:
//! drivers/block/zram/backend_deflate.c (level, memory level) and the kernel figures in the oracle (window).

use super::{Compressor, DecodeError};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The window, as a power of two.
const WINDOW_BITS: u8 = 11;

/// One thread's DEFLATE compressor. (flate2 fixes the memory level at 8, the kernel's.)
pub struct Deflate {
    encoder: Compress,
    decoder: Decompress,
}

impl Deflate {
    /// The kernel's default level, zlib's `Z_DEFAULT_COMPRESSION`.
    pub const DEFAULT_LEVEL: u32 = 6;
    /// The highest level; 0 stores without compressing.
    pub const MAX_LEVEL: u32 = 9;

    /// A compressor of `level`, clamped to `0..=MAX_LEVEL`.
    pub fn new(level: u32) -> Self {
        let level = Compression::new(level.min(Self::MAX_LEVEL));
        Self {
            encoder: Compress::new_with_window_bits(level, false, WINDOW_BITS),
            decoder: Decompress::new_with_window_bits(false, WINDOW_BITS),
        }
    }
}

impl Compressor for Deflate {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.encoder.reset();
        match self.encoder.compress(src, dst, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => usize::try_from(self.encoder.total_out()).ok(),
            _ => None,
        }
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        self.decoder.reset(false);
        // One byte more than the page, so that a block that is too long is told from one that fits.
        let mut spill = [0];
        let want = dst.len();
        let malformed = |d: &Decompress| DecodeError::Malformed { codec: "deflate", at: d.total_in() as usize };
        let mut status = self.decoder.decompress(src, dst, FlushDecompress::Finish);
        if matches!(status, Ok(Status::Ok | Status::BufError)) && self.decoder.total_out() == want as u64 {
            let rest = &src[self.decoder.total_in() as usize..];
            status = self.decoder.decompress(rest, &mut spill, FlushDecompress::Finish);
        }
        let (got, used) = (self.decoder.total_out() as usize, self.decoder.total_in() as usize);
        match status {
            Ok(Status::StreamEnd) if got == want && used == src.len() => Ok(()),
            _ if got > want => Err(DecodeError::Length { codec: "deflate", got, want }),
            Ok(Status::StreamEnd) if used == src.len() => Err(DecodeError::Length { codec: "deflate", got, want }),
            _ => Err(malformed(&self.decoder)),
        }
    }
}
