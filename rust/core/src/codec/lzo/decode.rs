//! The decoder: any bytes are safe, the output must fill the page exactly.

use super::{
    CODEC, M3_MAX_LEN, M3_MAX_OFFSET, M4_MAX_LEN, MIN_VERSIONED_BYTES, MIN_ZERO_RUN, VERSION_MARK, VERSION_RLE,
};
use crate::codec::DecodeError;

/// Bytes of a wide copy.
const WIDE: usize = 16;

/// The literals that the last instruction copied, 4 standing for more too: it decides what a byte below 16 means.
type State = usize;

/// The state after 4 or more literals.
const MANY: State = 4;

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
                Ok(count.min(MANY))
            }
            _ => Ok(0),
        }
    }

    #[inline(always)]
    fn instruction(&mut self, state: State) -> Result<Flow, DecodeError> {
        let op = usize::from(self.byte()?);
        match op {
            0..16 => match state {
                0 => self.long_literals(op),
                1..MANY => self.near_copy(op, 2, 1),
                _ => self.near_copy(op, 3, 2049),
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
        Ok(Flow::Next(MANY))
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
        match (self.src.get(self.at..self.at + 4), self.dst.get_mut(self.len..self.len + 4)) {
            // Four bytes in one move, of which `count` are kept: what follows overwrites the rest.
            (Some(from), Some(to)) => {
                to.copy_from_slice(from);
                self.at += count;
                self.len += count;
            }
            _ => self.literals(count)?,
        }
        Ok(Flow::Next(count))
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
        if distance > self.len {
            return Err(malformed(self.at));
        }
        if end + WIDE > self.dst.len() {
            self.copy_bytes(distance, end);
        } else if distance >= 8 {
            self.copy_wide::<8>(distance, end);
        } else {
            self.copy_near(distance, end);
        }
        self.len = end;
        Ok(())
    }

    /// Copies up to `end` in steps of `STEP`, the last of which may go beyond: what follows overwrites that.
    #[inline(always)]
    fn copy_wide<const STEP: usize>(&mut self, distance: usize, end: usize) {
        while self.len < end {
            let from = self.len - distance;
            self.dst.copy_within(from..from + STEP, self.len);
            self.len += STEP;
        }
    }

    /// Copies from less than [`WIDE`] back: what repeats after 3 bytes repeats after 9, so a step of eight is enough.
    fn copy_near(&mut self, distance: usize, end: usize) {
        let far = distance * 8usize.div_ceil(distance);
        self.copy_bytes(distance, self.len + far - distance);
        self.copy_wide::<8>(far, end);
    }

    fn copy_bytes(&mut self, distance: usize, end: usize) {
        for to in self.len..end {
            self.dst[to] = self.dst[to - distance];
        }
        self.len = end;
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
