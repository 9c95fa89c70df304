//! The block decoder: safe on any bytes, and strict about the page's length.
//!
//! Contract: `Ok` means that the block's sequences produced exactly `dst.len()` bytes and that the input ended with a
//! literal run, as the format asks. Nothing outside `src` and `dst` is read or written for any input: wide copies are made only where
//! both buffers have the room, and the ends go byte by byte. It accepts every block a standard decoder accepts; of the format's two
//! rules on the last bytes (5 literals, no match starting in the last 12) none is needed here, so none is enforced.

use super::super::DecodeError;
use super::mem::{load, load64, store};

/// The four bits of a token that say "more length bytes follow".
const RUN_MASK: usize = 15;
/// The shortest match.
const MIN_MATCH: usize = 4;
/// Input bytes the short path may touch: token, 16 literals (14 used) and the offset.
const SHORT_IN: usize = 17;
/// Output bytes the short path may touch: 14 literals and a match copied as 18, or 16 literals.
const SHORT_OUT: usize = 32;

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
        d.short_sequences();
        if d.sequence()? {
            return match d.op == d.dst.len() {
                true => Ok(()),
                false => Err(DecodeError::Length { codec, got: d.op, want: d.dst.len() }),
            };
        }
    }
}

impl Decoder<'_> {
    /// Decodes sequences whose lengths sit in the token, while both buffers have room; stops before any other.
    #[inline(always)]
    fn short_sequences(&mut self) {
        let (Some(last_in), Some(last_out)) =
            (self.src.len().checked_sub(SHORT_IN), self.dst.len().checked_sub(SHORT_OUT))
        else {
            return;
        };
        while self.ip <= last_in && self.op <= last_out {
            // SAFETY: `ip <= last_in`, 17 bytes before the end.
            let [token] = unsafe { load(self.src, self.ip) };
            let (literals, extra) = (usize::from(token >> 4), usize::from(token) & RUN_MASK);
            if literals == RUN_MASK || extra == RUN_MASK {
                return;
            }
            // SAFETY: as above.
            let copied = unsafe { load::<16>(self.src, self.ip + 1) };
            // SAFETY: `op <= last_out`, 32 bytes before the end.
            unsafe { store(self.dst, self.op, copied) };
            let at = self.op + literals;
            // SAFETY: at most 14 literals follow the token: the offset ends at most at `ip + 17`.
            let offset = usize::from(u16::from_le_bytes(unsafe { load(self.src, self.ip + 1 + literals) }));
            if offset < 8 || offset > at {
                return;
            }
            // SAFETY: `8 <= offset <= at` and `at + 18 <= op + 14 + 18 <= dst.len()`.
            unsafe { self.copy18(at, at - offset) };
            self.ip += 3 + literals;
            self.op = at + MIN_MATCH + extra;
        }
    }

    /// Copies 18 bytes from `from` to `to`, as three copies that may feed each other.
    ///
    /// # Safety
    /// `from + 8 <= to` and `to + 18 <= dst.len()`.
    #[inline(always)]
    unsafe fn copy18(&mut self, to: usize, from: usize) {
        // SAFETY: the caller's bounds.
        unsafe { self.copy::<8>(to, from) };
        // SAFETY: the caller's bounds.
        unsafe { self.copy::<8>(to + 8, from + 8) };
        // SAFETY: the caller's bounds.
        unsafe { self.copy::<2>(to + 16, from + 16) };
    }

    /// Copies `N` bytes inside the page, all read before any is written.
    ///
    /// # Safety
    /// `from <= to` and `to + N <= dst.len()`.
    #[inline(always)]
    unsafe fn copy<const N: usize>(&mut self, to: usize, from: usize) {
        // SAFETY: `from + N <= to + N <= dst.len()`.
        let bytes = unsafe { load::<N>(self.dst, from) };
        // SAFETY: the caller's bound.
        unsafe { store(self.dst, to, bytes) };
    }

    /// Decodes one sequence of any kind; `true` when the input ended after its literals.
    #[inline(always)]
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
    #[inline(always)]
    fn length(&mut self, short: usize) -> Result<usize, DecodeError> {
        let mut length = short;
        if short == RUN_MASK {
            // At most 255 for each input byte: no overflow.
            while {
                let more = self.byte()?;
                length += usize::from(more);
                more == 255
            } {}
        }
        Ok(length)
    }

    /// Refuses `length` more bytes when the page has no room for them.
    #[inline(always)]
    fn room(&self, length: usize) -> Result<(), DecodeError> {
        match length <= self.dst.len() - self.op {
            true => Ok(()),
            false => Err(DecodeError::Length { codec: self.codec, got: self.op + length, want: self.dst.len() }),
        }
    }

    /// Copies `length` literals from the input.
    #[inline(always)]
    fn literals(&mut self, length: usize) -> Result<(), DecodeError> {
        self.room(length)?;
        let Some(from) = self.src.get(self.ip..).and_then(|rest| rest.get(..length)) else {
            return Err(DecodeError::Malformed { codec: self.codec, at: self.src.len() });
        };
        self.dst[self.op..self.op + length].copy_from_slice(from);
        self.ip += length;
        self.op += length;
        Ok(())
    }

    /// Repeats the `offset` bytes before `op` for `length` bytes, which fit in the page.
    #[inline(always)]
    fn repeat(&mut self, offset: usize, length: usize) {
        let end = self.op + length;
        if end + 16 > self.dst.len() {
            for to in self.op..end {
                self.dst[to] = self.dst[to - offset];
            }
        } else if offset >= 16 {
            while self.op < end {
                // SAFETY: `op < end`, so `op + 16 <= dst.len()`; `offset <= op` was checked and `op` only grows.
                unsafe { self.copy::<16>(self.op, self.op - offset) };
                self.op += 16;
            }
        } else if offset >= 8 {
            while self.op < end {
                // SAFETY: as above.
                unsafe { self.copy::<8>(self.op, self.op - offset) };
                self.op += 8;
            }
        } else {
            self.pattern(offset, end);
        }
        self.op = end;
    }

    /// [`Decoder::repeat`] for offsets 1 to 7, with 16 bytes of room after `end`.
    #[inline(always)]
    fn pattern(&mut self, offset: usize, end: usize) {
        let bits = 8 * offset as u32;
        // SAFETY: `op - offset + 8 <= end + 8 <= dst.len()`.
        let mut word = unsafe { load64(self.dst, self.op - offset) } & ((1 << bits) - 1);
        for shift in [bits, 2 * bits, 4 * bits] {
            word |= word.checked_shl(shift).unwrap_or(0);
        }
        let step = 8 - 8 % offset;
        while self.op < end {
            // SAFETY: `op < end`, so `op + 8 <= dst.len()`.
            unsafe { store(self.dst, self.op, word.to_le_bytes()) };
            self.op += step;
        }
    }
}
