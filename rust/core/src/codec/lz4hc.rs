//! LZ4 HC as Linux's `lz4hc` compressor makes it: the library's thorough encoder, level 9 by default.
//!
//! The kernel's is older than the library's: sizes differ by a few bytes on some pages. The blocks are plain LZ4
//! blocks, so our decoder reads them.

use super::lz4;
use super::{Compressor, DecodeError};
use lz4_sys as _; // for the library it links
use std::ffi::{c_char, c_int, c_void};
use std::mem::size_of;

// liblz4's public lz4hc.h, linked by lz4-sys, which does not declare these two.
unsafe extern "C" {
    fn LZ4_sizeofStateHC() -> c_int;
    fn LZ4_compress_HC_extStateHC(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_bytes: c_int,
        dst_bytes: c_int,
        level: c_int,
    ) -> c_int;
}

/// One thread's LZ4 HC compressor.
pub struct Lz4Hc {
    /// The library's tables, about 256 KiB; `u64` because it wants 8-byte alignment.
    state: Box<[u64]>,
    level: c_int,
}

impl Lz4Hc {
    /// The kernel's default level, `LZ4HC_DEFAULT_CLEVEL`.
    pub const DEFAULT_LEVEL: u32 = 9;
    /// The highest level.
    pub const MAX_LEVEL: u32 = 12;

    /// A compressor of `level`, clamped to `1..=MAX_LEVEL`.
    pub fn new(level: u32) -> Self {
        // SAFETY: a function of no arguments that returns a constant.
        let bytes = unsafe { LZ4_sizeofStateHC() } as usize;
        let state = vec![0; bytes.div_ceil(size_of::<u64>())].into_boxed_slice();
        Self { state, level: level.clamp(1, Self::MAX_LEVEL) as c_int }
    }
}

impl Compressor for Lz4Hc {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let src_bytes = c_int::try_from(src.len()).ok()?;
        let dst_bytes = c_int::try_from(dst.len().min(lz4::bound_bytes(src.len()))).ok()?;
        let state = self.state.as_mut_ptr().cast();
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        // SAFETY: `state` is as large and as aligned as the library asks, and exclusively borrowed; it initialises it
        // itself. It reads `src_bytes` at `from` and writes at most `dst_bytes` at `to`, the slices' own lengths or
        // less.
        let written = unsafe { LZ4_compress_HC_extStateHC(state, from, to, src_bytes, dst_bytes, self.level) };
        usize::try_from(written).ok().filter(|&bytes| bytes > 0)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        lz4::decode("lz4hc", src, dst)
    }
}
