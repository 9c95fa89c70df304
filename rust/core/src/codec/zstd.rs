//! Zstandard as Linux's `zstd` compressor makes it: level 3 by default, one context reused from page to page.
//!
//! The kernel asks the library for the parameters of (`level`, page size, no dictionary) and writes a frame without
//! checksum and dictionary id (drivers/block/zram/backend_zstd.c). The library here is newer than the kernel's, so
//! sizes differ by a few bytes on some pages, about 0.01 % in sum.

use super::{Compressor, DecodeError};
use zstd_safe::{CCtx, CParameter, DCtx};

/// One thread's zstd compressor.
pub struct Zstd {
    encoder: CCtx<'static>,
    decoder: DCtx<'static>,
}

impl Zstd {
    /// The kernel's default level.
    pub const DEFAULT_LEVEL: i32 = 3;
    /// The lowest level that parses: zstd's fast levels are negative.
    pub const MIN_LEVEL: i32 = -131_072;
    /// The highest level.
    pub const MAX_LEVEL: i32 = 22;

    /// A compressor of `level`, clamped to `MIN_LEVEL..=MAX_LEVEL`.
    pub fn new(level: i32) -> Self {
        let mut encoder = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(level.clamp(Self::MIN_LEVEL, Self::MAX_LEVEL)),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            encoder.set_parameter(parameter).expect("constant parameters and a clamped level are in zstd's range");
        }
        Self { encoder, decoder: DCtx::create() }
    }
}

impl Compressor for Zstd {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.encoder.compress2(dst, src).ok()
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        let want = dst.len();
        match self.decoder.decompress(dst, src) {
            Ok(got) if got == want => Ok(()),
            Ok(got) => Err(DecodeError::Length { codec: "zstd", got, want }),
            Err(_) => Err(DecodeError::Malformed { codec: "zstd", at: 0 }),
        }
    }
}
