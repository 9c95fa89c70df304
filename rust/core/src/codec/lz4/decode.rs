//! The block decoder: safe on any bytes, and strict about the page's length.
//!
//! Contract: `Ok` means that the block's sequences produced exactly `dst.len()` bytes and that the input ended with a
//! literal run, as the format asks. Nothing outside `src` and `dst` is read or written for any input: wide copies are
//! made only where both buffers have the room, and the ends go byte by byte. It accepts every block that the format
//! allows; of its two rules on the last bytes (5 literals, no match starting in the last 12) none is needed here, so
//! none is enforced. An offset of 0 it refuses, as the format asks (lz4_Block_format.md); liblz4 lets it pass.

use super::super::DecodeError;
use super::wide;

/// The four bits of a token that say "more length bytes follow".
pub(super) const RUN_MASK: usize = 15;
/// The shortest match.
pub(super) const MIN_MATCH: usize = 4;

/// The block's reader and the page's writer.
struct Decoder<'a> {
    codec: &'static str,
    src: &'a [u8],
    /// Bytes of `src` used; never above `src.len()`.
    ip: usize,
    dst: &'a mut [u8],
    /// Bytes of `dst` written; never above `dst.len()`.
    op: usize,
}

/// Decodes `src` into `dst`, which it must fill; errors name the compressor `codec`.
pub(in super::super) fn decode(codec: &'static str, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
    let mut d = Decoder { codec, src, ip: 0, dst, op: 0 };
    loop {
        (d.ip, d.op) = wide::sequences(d.src, d.dst, d.ip, d.op);
        if d.sequence()? {
            return match d.op == d.dst.len() {
                true => Ok(()),
                false => Err(DecodeError::Length { codec, got: d.op, want: d.dst.len() }),
            };
        }
    }
}

impl Decoder<'_> {
    /// Decodes one sequence of any kind; `true` when the input ended after its literals.
    #[inline(never)]
    fn sequence(&mut self) -> Result<bool, DecodeError> {
        let token = self.byte()?;
        let literals = self.length(usize::from(token >> 4))?;
        self.literals(literals)?;
        if self.ip == self.src.len() {
            return Ok(true);
        }
        let at = self.ip;
        let offset = usize::from(self.byte()?) | usize::from(self.byte()?) << 8;
        let length = MIN_MATCH + self.length(usize::from(token) & RUN_MASK)?;
        if offset == 0 || offset > self.op {
            return Err(DecodeError::Malformed { codec: self.codec, at });
        }
        self.room(length)?;
        self.repeat(offset, length);
        Ok(false)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.src.get(self.ip).ok_or(DecodeError::Malformed { codec: self.codec, at: self.ip })?;
        self.ip += 1;
        Ok(byte)
    }

    /// A length that starts with the token's four bits `short`.
    fn length(&mut self, short: usize) -> Result<usize, DecodeError> {
        if short != RUN_MASK {
            return Ok(short);
        }
        let malformed = DecodeError::Malformed { codec: self.codec, at: self.src.len() };
        let (ip, length) = wide::long_length(self.src, self.ip).ok_or(malformed)?;
        self.ip = ip;
        Ok(length)
    }

    /// Refuses `length` more bytes when the page has no room for them.
    fn room(&self, length: usize) -> Result<(), DecodeError> {
        match length <= self.dst.len() - self.op {
            true => Ok(()),
            false => Err(DecodeError::Length { codec: self.codec, got: self.op + length, want: self.dst.len() }),
        }
    }

    /// Copies `length` literals from the input.
    fn literals(&mut self, length: usize) -> Result<(), DecodeError> {
        self.room(length)?;
        let Some(from) = self.src.get(self.ip..).and_then(|rest| rest.get(..length)) else {
            return Err(DecodeError::Malformed { codec: self.codec, at: self.src.len() });
        };
        let to = &mut self.dst[self.op..];
        match (self.src[self.ip..].first_chunk::<16>(), to.first_chunk_mut::<16>()) {
            // A fixed copy, which may run over, instead of a call.
            (Some(from), Some(to)) if length <= from.len() => *to = *from,
            _ => to[..length].copy_from_slice(from),
        }
        self.ip += length;
        self.op += length;
        Ok(())
    }

    /// Repeats the `offset` bytes before `op` for `length` bytes, which fit in the page; `1 <= offset <= op`.
    fn repeat(&mut self, offset: usize, length: usize) {
        let end = self.op + length;
        let wide_end = end.min(self.dst.len().saturating_sub(wide::OUT_ROOM));
        if self.op < wide_end {
            // SAFETY: `1 <= offset <= op < wide_end` and `wide_end + OUT_ROOM <= dst.len()`.
            unsafe { wide::repeat(self.dst, offset, self.op, wide_end) };
            self.op = wide_end;
        }
        if offset >= 8 && end + 8 <= self.dst.len() {
            // SAFETY: `8 <= offset <= op <= end`, and the room was just tested.
            unsafe { wide::repeat8(self.dst, offset, self.op, end) };
        } else {
            for to in self.op..end {
                self.dst[to] = self.dst[to - offset];
            }
        }
        self.op = end;
    }
}
