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
/// Input bytes that a wide sequence may touch beyond its literals: token or offset, and the last copy's overrun.
const IN_ROOM: usize = 20;
/// Output bytes that a wide sequence may touch beyond its lengths: a copy of 18 after 14 literals, or overruns of 16.
const OUT_ROOM: usize = 32;

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
        d.wide_sequences();
        if d.sequence()? {
            return match d.op == d.dst.len() {
                true => Ok(()),
                false => Err(DecodeError::Length { codec, got: d.op, want: d.dst.len() }),
            };
        }
    }
}

impl Decoder<'_> {
    /// Decodes sequences with wide copies while both buffers have the room; stops before the first that it leaves.
    #[inline(always)]
    fn wide_sequences(&mut self) {
        let (Some(last_in), Some(last_out)) =
            (self.src.len().checked_sub(IN_ROOM), self.dst.len().checked_sub(OUT_ROOM))
        else {
            return;
        };
        let (mut ip, mut op) = (self.ip, self.op);
        while ip <= last_in && op <= last_out {
            // SAFETY: the loop's condition.
            let Some(next) = (unsafe { self.wide_sequence(ip, op) }) else { break };
            (ip, op) = next;
        }
        (self.ip, self.op) = (ip, op);
    }

    /// Decodes the sequence at `ip` to `op` and returns where the next ones lie, or `None` to leave it to [`Decoder::sequence`].
    ///
    /// # Safety
    /// `ip + IN_ROOM <= src.len()` and `op + OUT_ROOM <= dst.len()`.
    #[inline(always)]
    unsafe fn wide_sequence(&mut self, ip: usize, op: usize) -> Option<(usize, usize)> {
        // SAFETY: the caller's bound.
        let [token] = unsafe { load(self.src, ip) };
        let (mut from, mut literals) = (ip + 1, usize::from(token >> 4));
        if literals == RUN_MASK {
            (from, literals) = self.long_length(from)?;
            if from + literals + 16 > self.src.len() || op + literals + OUT_ROOM > self.dst.len() {
                return None;
            }
            // SAFETY: just tested.
            unsafe { self.wide_literals(from, op, literals) };
        } else {
            // SAFETY: the caller's bounds.
            unsafe { self.wide_literals(from, op, 0) };
        }
        let (at, ip) = (op + literals, from + literals);
        // SAFETY: 14 literals after the token, or the test above, leave two bytes for the offset.
        let offset = usize::from(u16::from_le_bytes(unsafe { load(self.src, ip) }));
        let (ip, extra) = (ip + 2, usize::from(token) & RUN_MASK);
        if extra != RUN_MASK && offset >= 8 && offset <= at {
            // SAFETY: `8 <= offset <= at` and `at + 18 <= dst.len()`: the caller's bound for 14 literals, or the test above.
            unsafe { self.copy18(at, at - offset) };
            return Some((ip, at + MIN_MATCH + extra));
        }
        if offset == 0 || offset > at {
            return None;
        }
        let (ip, extra) = if extra == RUN_MASK { self.long_length(ip)? } else { (ip, extra) };
        let end = at + MIN_MATCH + extra;
        if end + OUT_ROOM > self.dst.len() {
            return None;
        }
        // SAFETY: `1 <= offset <= at` and `end + OUT_ROOM <= dst.len()`.
        unsafe { self.wide_repeat(offset, at, end) };
        Some((ip, end))
    }

    /// The length at `ip` whose token bits are all set, and where it ends; `None` at the end of the input.
    #[inline(always)]
    fn long_length(&self, mut ip: usize) -> Option<(usize, usize)> {
        let mut length = RUN_MASK;
        loop {
            let more = *self.src.get(ip)?;
            // At most 255 for each input byte: no overflow.
            length += usize::from(more);
            ip += 1;
            if more != 255 {
                return Some((ip, length));
            }
        }
    }

    /// Copies `literals` bytes, at least 16, in copies of 16 that may run over.
    ///
    /// # Safety
    /// `from + literals + 16 <= src.len()` and `op + literals + 16 <= dst.len()`.
    #[inline(always)]
    unsafe fn wide_literals(&mut self, from: usize, op: usize, literals: usize) {
        let mut done = 0;
        loop {
            // SAFETY: `done` is 0 or below `literals`.
            let bytes = unsafe { load::<16>(self.src, from + done) };
            // SAFETY: as above.
            unsafe { store(self.dst, op + done, bytes) };
            done += 16;
            if done >= literals {
                return;
            }
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
    fn length(&mut self, short: usize) -> Result<usize, DecodeError> {
        if short != RUN_MASK {
            return Ok(short);
        }
        let malformed = DecodeError::Malformed { codec: self.codec, at: self.src.len() };
        let (ip, length) = self.long_length(self.ip).ok_or(malformed)?;
        self.ip = ip;
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
    fn repeat(&mut self, offset: usize, length: usize) {
        for to in self.op..self.op + length {
            self.dst[to] = self.dst[to - offset];
        }
        self.op += length;
    }

    /// Repeats the `offset` bytes before `at` up to `end`, in copies that may run over.
    ///
    /// # Safety
    /// `1 <= offset <= at < end` and `end + OUT_ROOM <= dst.len()`.
    #[inline(always)]
    unsafe fn wide_repeat(&mut self, offset: usize, mut at: usize, end: usize) {
        if offset >= 16 {
            while at < end {
                // SAFETY: `at < end`, so `at + 32 <= dst.len()`; `offset <= at`.
                unsafe { self.copy::<16>(at, at - offset) };
                // SAFETY: as above.
                unsafe { self.copy::<16>(at + 16, at + 16 - offset) };
                at += 32;
            }
        } else if offset >= 8 {
            while at < end {
                // SAFETY: as above.
                unsafe { self.copy::<8>(at, at - offset) };
                at += 8;
            }
        } else {
            // SAFETY: the caller's bounds.
            unsafe { self.wide_pattern(offset, at, end) };
        }
    }

    /// [`Decoder::wide_repeat`] for offsets 1 to 7.
    ///
    /// # Safety
    /// `1 <= offset <= 7`, `offset <= at < end` and `end + 16 <= dst.len()`.
    #[inline(always)]
    unsafe fn wide_pattern(&mut self, offset: usize, mut at: usize, end: usize) {
        let bits = 8 * offset as u32;
        // SAFETY: `at - offset + 8 <= end + 8 <= dst.len()`.
        let mut word = unsafe { load64(self.dst, at - offset) } & ((1 << bits) - 1);
        for shift in [bits, 2 * bits, 4 * bits] {
            word |= word.checked_shl(shift).unwrap_or(0);
        }
        let step = 8 - 8 % offset;
        while at < end {
            // SAFETY: `at < end`, so `at + 8 <= dst.len()`.
            unsafe { store(self.dst, at, word.to_le_bytes()) };
            at += step;
        }
    }
}
