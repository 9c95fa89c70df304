//! The decoder: any bytes are safe, the output must fill the page exactly.

use super::{
    CODEC, M3_MAX_LEN, M3_MAX_OFFSET, M4_MAX_LEN, MIN_VERSIONED_BYTES, MIN_ZERO_RUN, VERSION_MARK, VERSION_RLE,
};
use crate::codec::DecodeError;

/// What the last instruction left behind: how many literals it copied, which decides what bytes 0 to 15 mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No literals: a byte below 16 is a literal run.
    None,
    /// 1 to 3 literals: a byte below 16 is a 2-byte copy.
    Few,
    /// 4 or more literals: a byte below 16 is a 3-byte copy.
    Many,
}

/// Whether the stream goes on.
#[must_use]
enum Flow {
    Next(State),
    End,
}

/// Decodes the stream `src`, which must fill `dst` exactly.
pub(super) fn decode(src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
    let mut d = Decoder { src, at: 0, dst, len: 0, rle: false };
    let mut state = d.start()?;
    loop {
        match d.instruction(state)? {
            Flow::Next(next) => state = next,
            Flow::End => return d.finish(),
        }
    }
}

struct Decoder<'a> {
    src: &'a [u8],
    at: usize,
    dst: &'a mut [u8],
    len: usize,
    rle: bool,
}

impl Decoder<'_> {
    /// Reads the version and the first byte, which has an encoding of its own for literals.
    fn start(&mut self) -> Result<State, DecodeError> {
        if self.src.len() >= MIN_VERSIONED_BYTES && self.src[0] == VERSION_MARK {
            self.rle = match self.src[1] {
                0 => false,
                VERSION_RLE => true,
                _ => return Err(malformed(1)),
            };
            self.at = 2;
        }
        match self.src.get(self.at) {
            Some(&first) if first > VERSION_MARK => {
                self.at += 1;
                let count = usize::from(first - VERSION_MARK);
                self.literals(count)?;
                Ok(if count < 4 { State::Few } else { State::Many })
            }
            _ => Ok(State::None),
        }
    }

    #[inline(always)]
    fn instruction(&mut self, state: State) -> Result<Flow, DecodeError> {
        let op = usize::from(self.byte()?);
        match op {
            0..16 => match state {
                State::None => self.long_literals(op),
                State::Few => self.near_copy(op, 2, 1),
                State::Many => self.near_copy(op, 3, 2049),
            },
            16..32 => self.far_copy(op),
            32..64 => self.mid_copy(op),
            _ => self.short_copy(op),
        }
    }

    #[inline(always)]
    fn long_literals(&mut self, op: usize) -> Result<Flow, DecodeError> {
        let count = 3 + if op == 0 { self.extended(15)? } else { op };
        self.literals(count)?;
        Ok(Flow::Next(State::Many))
    }

    /// M1: what a byte below 16 means after literals.
    fn near_copy(&mut self, op: usize, count: usize, base: usize) -> Result<Flow, DecodeError> {
        let high = usize::from(self.byte()?);
        self.copy((high << 2) + (op >> 2) + base, count)?;
        self.short_literals(op)
    }

    /// M2.
    #[inline(always)]
    fn short_copy(&mut self, op: usize) -> Result<Flow, DecodeError> {
        let high = usize::from(self.byte()?);
        self.copy((high << 3) + (op >> 2 & 7) + 1, (op >> 5) + 1)?;
        self.short_literals(op)
    }

    /// M3.
    #[inline(always)]
    fn mid_copy(&mut self, op: usize) -> Result<Flow, DecodeError> {
        let count = match op & 31 {
            0 => self.extended(M3_MAX_LEN)?,
            short => short + 2,
        };
        let operand = self.word()?;
        self.copy((operand >> 2) + 1, count)?;
        self.short_literals(operand)
    }

    /// M4, the zero run and the end of the stream.
    fn far_copy(&mut self, op: usize) -> Result<Flow, DecodeError> {
        if self.rle && op & 8 != 0 && self.peek_word().is_some_and(|w| w >> 2 == 0x3fff) {
            return self.zero_run(op);
        }
        let start = self.at;
        let count = match op & 7 {
            0 => self.extended(M4_MAX_LEN)?,
            short => short + 2,
        };
        let operand = self.word()?;
        let beyond = ((op & 8) << 11) + (operand >> 2);
        if beyond == 0 {
            return if count == 3 { Ok(Flow::End) } else { Err(malformed(start)) };
        }
        self.copy(M3_MAX_OFFSET + beyond, count)?;
        self.short_literals(operand)
    }

    fn zero_run(&mut self, op: usize) -> Result<Flow, DecodeError> {
        let operand = self.word()?;
        let high = usize::from(self.byte()?);
        let end = self.room((high << 3 | op & 7) + MIN_ZERO_RUN)?;
        self.dst[self.len..end].fill(0);
        self.len = end;
        self.short_literals(operand)
    }

    /// The 0 to 3 literals whose count is in the last two bits of an instruction.
    #[inline(always)]
    fn short_literals(&mut self, bits: usize) -> Result<Flow, DecodeError> {
        let count = bits & 3;
        if count == 0 {
            return Ok(Flow::Next(State::None));
        }
        match (self.src.get(self.at..self.at + 4), self.dst.get_mut(self.len..self.len + 4)) {
            // Four bytes in one move, of which `count` are kept: what follows overwrites the rest.
            (Some(from), Some(to)) => {
                to.copy_from_slice(from);
                self.at += count;
                self.len += count;
            }
            _ => self.literals(count)?,
        }
        Ok(Flow::Next(State::Few))
    }

    #[inline(always)]
    fn literals(&mut self, count: usize) -> Result<(), DecodeError> {
        let end = self.room(count)?;
        let from = self.src.get(self.at..self.at + count).ok_or_else(|| malformed(self.src.len()))?;
        self.dst[self.len..end].copy_from_slice(from);
        self.at += count;
        self.len = end;
        Ok(())
    }

    /// Copies `count` bytes from `distance` back; they may overlap what is being written.
    #[inline(always)]
    fn copy(&mut self, distance: usize, count: usize) -> Result<(), DecodeError> {
        let end = self.room(count)?;
        let mut from = self.len.checked_sub(distance).ok_or_else(|| malformed(self.at))?;
        if distance >= 8 && end + 8 <= self.dst.len() {
            // Eight bytes at a time, up to seven beyond the end: what follows overwrites them.
            while self.len < end {
                self.dst.copy_within(from..from + 8, self.len);
                from += 8;
                self.len += 8;
            }
        } else {
            for to in self.len..end {
                self.dst[to] = self.dst[from];
                from += 1;
            }
        }
        self.len = end;
        Ok(())
    }

    /// Where the output ends after `count` more bytes.
    #[inline(always)]
    fn room(&self, count: usize) -> Result<usize, DecodeError> {
        let end = self.len + count;
        if end > self.dst.len() {
            return Err(DecodeError::Length { codec: CODEC, got: end, want: self.dst.len() });
        }
        Ok(end)
    }

    /// A length beyond its instruction's bits: `base`, 255 for each zero byte, and the first byte that is not zero.
    fn extended(&mut self, base: usize) -> Result<usize, DecodeError> {
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + usize::from(last)),
            }
        }
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.src.get(self.at).ok_or_else(|| malformed(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn word(&mut self) -> Result<usize, DecodeError> {
        let word = self.peek_word().ok_or_else(|| malformed(self.at))?;
        self.at += 2;
        Ok(word)
    }

    #[inline(always)]
    fn peek_word(&self) -> Option<usize> {
        let bytes = self.src.get(self.at..self.at + 2)?;
        Some(usize::from(bytes[0]) | usize::from(bytes[1]) << 8)
    }

    fn finish(self) -> Result<(), DecodeError> {
        if self.at != self.src.len() {
            return Err(malformed(self.at));
        }
        if self.len != self.dst.len() {
            return Err(DecodeError::Length { codec: CODEC, got: self.len, want: self.dst.len() });
        }
        Ok(())
    }
}

#[cold]
fn malformed(at: usize) -> DecodeError {
    DecodeError::Malformed { codec: CODEC, at }
}
