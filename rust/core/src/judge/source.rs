//! Where records come from: memory, or the bytes of a file.

use crate::trace::Record;

/// A record in memory, or its 32 little-endian bytes in a file.
pub(super) trait Source {
    fn record(&self) -> Record;
}

impl Source for Record {
    #[inline(always)]
    fn record(&self) -> Record {
        *self
    }
}

impl Source for [u8; 32] {
    #[inline(always)]
    fn record(&self) -> Record {
        decode(self)
    }
}

/// A record from its 32 bytes in a file (little-endian, docs/formats.md).
#[inline]
pub fn decode(bytes: &[u8; 32]) -> Record {
    let u64_at = |i: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
    let u32_at = |i: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
    let u16_at = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
    Record {
        t_ns: u64_at(0),
        aux: u64_at(8),
        folio: u32_at(16),
        seq: u32_at(20),
        actor: u16_at(24),
        flags: u16_at(26),
        event: bytes[28],
        from: bytes[29],
        to: bytes[30],
        guards: bytes[31],
    }
}
