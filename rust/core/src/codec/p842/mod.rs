//! `842`: the format of the Power processors' compression unit, as the kernel's software 842 uses it.
//!
//! A stream of bits, most significant first. Each block of eight bytes is one template: a 5-bit code and its
//! arguments. The codes 0 to 0x18 say the form of either half of the block, `5 * first + second`:
//!
//! | form | arguments of the four bytes |
//! |---|---|
//! | 0 | 32 bits of data |
//! | 1 | 16 bits of data, then the index of a two-byte entry |
//! | 2 | the index of a two-byte entry, then 16 bits of data |
//! | 3 | two indices of two-byte entries |
//! | 4 | the index of a four-byte entry |
//!
//! 0x19 is the index of an eight-byte entry; 0x1b repeats the last block `n + 1` times (6 bits); 0x1c is eight zeros;
//! 0x1d gives less than a block at the end (3 bits of length, then the bytes; software only); 0x1e ends the stream. An
//! index points into a ring over the output before the current block: 8 bits over 512 bytes, 9 over 2048, 8 over
//! 2048. After the end comes the output's CRC, then zeros up to a multiple of eight bytes.
//!
//! Sources: the description of the format at the head of Linux's lib/842/842.h; the encoder's preferences are
//! confirmed against the page sizes that a real kernel's zram reported (`rust/core/tests/lzo_p842_oracle.rs`).

mod decode;
mod encode;

use super::{Compressor, DecodeError};

/// The name that [`DecodeError`] carries.
const CODEC: &str = "842";

/// Bytes of a block.
const BLOCK: usize = 8;
/// Bits of a template code.
const CODE_BITS: u32 = 5;
/// Bits of a repeat's count.
const REPEAT_BITS: u32 = 6;
/// Bits of the length of less than a block.
const SHORT_BITS: u32 = 3;
/// Bits of the CRC.
const CRC_BITS: u32 = 32;

/// Code of a block that is an eight-byte entry; smaller codes give the forms of the halves.
const INDEX8: u32 = 0x19;
/// Code of a repeated block.
const REPEAT: u32 = 0x1b;
/// Code of eight zeros.
const ZEROS: u32 = 0x1c;
/// Code of less than a block.
const SHORT: u32 = 0x1d;
/// Code of the end.
const END: u32 = 0x1e;

/// How four bytes of a block are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Data,
    DataIndex,
    IndexData,
    IndexIndex,
    Index4,
}

/// The forms in the order of their numbers.
const FORMS: [Form; 5] = [Form::Data, Form::DataIndex, Form::IndexData, Form::IndexIndex, Form::Index4];

/// Bits of an index of `entry`-byte entries.
const fn index_bits(entry: usize) -> u32 {
    if entry == 4 { 9 } else { 8 }
}

/// CRC-32 with polynomial 0x04c11db7, most significant bit first, starting from 0, not inverted.
fn crc32(bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let crc = blocks.iter().fold(0, |crc, block| {
        let word = (u64::from(crc) << 32 ^ u64::from_be_bytes(*block)).to_le_bytes();
        (0..BLOCK).fold(0, |crc, i| crc ^ CRC_TABLES[i][usize::from(word[i])])
    });
    rest.iter().fold(crc, |crc, &byte| crc << 8 ^ CRC_TABLES[0][usize::from((crc >> 24) as u8 ^ byte)])
}

/// The CRC of a byte followed by as many zero bytes as the table's number says, so that eight bytes are one step.
static CRC_TABLES: [[u32; 256]; BLOCK] = crc_tables();

const fn crc_tables() -> [[u32; 256]; BLOCK] {
    let mut tables = [[0; 256]; BLOCK];
    let mut i = 0;
    while i < 256 * BLOCK {
        let (zeros, byte) = (i / 256, i % 256);
        let mut crc = if zeros == 0 { (byte as u32) << 24 } else { tables[zeros - 1][byte] };
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
            bit += 1;
        }
        tables[zeros][byte] = crc;
        i += 1;
    }
    tables
}

/// One thread's `842` compressor: where each two-, four- and eight-byte entry was last seen.
#[derive(Default)]
pub struct P842 {
    seen: encode::Seen,
}

impl P842 {
    /// Makes a compressor.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Compressor for P842 {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        encode::encode(src, dst, &mut self.seen)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        decode::decode(src, dst)
    }
}
