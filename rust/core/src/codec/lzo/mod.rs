//! `lzo` and `lzo-rle`: LZO1X-1 as zram and zswap use it, written from the description of the bitstream.
//!
//! The stream is a series of instructions: literal runs and block copies, where a copy carries in its last operand
//! byte the count of 0 to 3 literals that follow it. It ends with a copy of distance 16384 (bytes 17, 0, 0).
//! Bitstream version 1 (`lzo-rle`) begins with the bytes 17, 1 and adds one instruction, a run of zero bytes.
//!
//! | instruction | first byte | length | distance |
//! |---|---|---|---|
//! | literals | `0000LLLL` after no literals | 3 + L, or 18 + extension | |
//! | M1 | `0000DDSS` after literals | 2 (3 after 4 or more) | to 1 KiB (2 to 3 KiB) |
//! | M2 | `LLLDDDSS`, L from 2 | 1 + L | to 2 KiB |
//! | M3 | `001LLLLL` | 2 + L, or 33 + extension | to 16 KiB |
//! | M4 | `0001HLLL` | 2 + L, or 9 + extension | 16 to 48 KiB |
//! | zero run | `00011LLL`, distance bits all ones | 4 + (X << 3 \| L) | |
//!
//! The decoder reads every instruction; the encoder never emits M1, as LZO1X-1 never does. The stream says its own
//! version, so each [`Lzo`] decodes both.
//!
//! Sources: Documentation/staging/lzo.rst of Linux (the format); the order of the encoder's decisions is confirmed
//! against the page sizes that a real kernel's zram reported (`rust/core/tests/lzo_p842_oracle.rs`).

mod decode;
mod encode;

use super::{Compressor, DecodeError};

/// The name that [`DecodeError`] carries for both variants: the stream says which of them it is.
const CODEC: &str = "lzo";

/// First byte of a stream that states its bitstream version, and first byte of the end-of-stream instruction.
const VERSION_MARK: u8 = 17;
/// Bitstream version 1: zero runs are instructions.
const VERSION_RLE: u8 = 1;
/// Bytes of the shortest stream that may state a version.
const MIN_VERSIONED_BYTES: usize = 5;

/// Longest M2 copy.
const M2_MAX_LEN: usize = 8;
/// Longest M3 length that needs no extension byte.
const M3_MAX_LEN: usize = 33;
/// Longest M4 length that needs no extension byte.
const M4_MAX_LEN: usize = 9;
/// Farthest M2 copy.
const M2_MAX_OFFSET: usize = 0x800;
/// Farthest M3 copy; also what an M4 distance is counted from.
const M3_MAX_OFFSET: usize = 0x4000;
/// Farthest M4 copy of bitstream version 0.
const M4_MAX_OFFSET_V0: usize = 0xbfff;
/// Farthest M4 copy of bitstream version 1, which keeps the last distance for zero runs.
const M4_MAX_OFFSET_V1: usize = 0xbffe;

/// Shortest run of zero bytes that is an instruction.
const MIN_ZERO_RUN: usize = 4;
/// Longest run of zero bytes in one instruction.
const MAX_ZERO_RUN: usize = 2047 + MIN_ZERO_RUN;

/// One thread's `lzo` or `lzo-rle` compressor: the match dictionary and an output buffer of the worst case.
pub struct Lzo {
    rle: bool,
    dict: Box<encode::Dict>,
    spill: Vec<u8>,
}

impl Lzo {
    /// Makes `lzo-rle` (bitstream version 1) if `rle` is set, else `lzo`.
    pub fn new(rle: bool) -> Self {
        Self { rle, dict: Box::new([0; encode::DICT_ENTRIES]), spill: Vec::new() }
    }

    /// Bytes of `dst` from which [`Compressor::compress`] of `src_bytes` never fails nor needs an extra copy.
    pub const fn bound(src_bytes: usize) -> usize {
        encode::bound(src_bytes)
    }
}

impl Compressor for Lzo {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if dst.len() >= encode::bound(src.len()) {
            return Some(encode::encode(src, dst, &mut self.dict, self.rle));
        }
        self.spill.resize(encode::bound(src.len()), 0);
        let len = encode::encode(src, &mut self.spill, &mut self.dict, self.rle);
        dst.get_mut(..len)?.copy_from_slice(&self.spill[..len]);
        Some(len)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        decode::decode(src, dst)
    }
}
