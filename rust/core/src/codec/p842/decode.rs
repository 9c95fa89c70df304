//! The decoder: any bytes are safe, the output must fill the page exactly and have the stream's CRC.

use super::{
    BLOCK, CODE_BITS, CODEC, CRC_BITS, END, FORMS, Form, INDEX8, REPEAT, REPEAT_BITS, SHORT, SHORT_BITS, ZEROS, crc32,
    index_bits,
};
use crate::codec::DecodeError;

/// Decodes the stream `src`, which must fill `dst` exactly; what follows the CRC is padding.
pub(super) fn decode(src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
    let mut d = Decoder { src, bit: 0, dst, len: 0 };
    loop {
        match d.get(CODE_BITS)? as u32 {
            END => return d.finish(),
            code => d.template(code)?,
        }
    }
}

struct Decoder<'a> {
    src: &'a [u8],
    /// Bits read.
    bit: usize,
    dst: &'a mut [u8],
    /// Bytes written.
    len: usize,
}

impl Decoder<'_> {
    fn template(&mut self, code: u32) -> Result<(), DecodeError> {
        match code {
            0..INDEX8 => {
                self.half(FORMS[code as usize / 5])?;
                self.half(FORMS[code as usize % 5])
            }
            INDEX8 => self.index(8),
            REPEAT => self.repeat(),
            ZEROS => self.append(&[0; BLOCK]),
            SHORT => self.short(),
            _ => Err(self.malformed()),
        }
    }

    fn half(&mut self, form: Form) -> Result<(), DecodeError> {
        match form {
            Form::Data => self.data(4),
            Form::DataIndex => self.data(2).and_then(|()| self.index(2)),
            Form::IndexData => self.index(2).and_then(|()| self.data(2)),
            Form::IndexIndex => self.index(2).and_then(|()| self.index(2)),
            Form::Index4 => self.index(4),
        }
    }

    fn data(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let value = self.get(8 * bytes as u32)?;
        self.append(&value.to_be_bytes()[8 - bytes..])
    }

    /// Copies the `entry`-byte entry that an index gives: the newest one in its slot that precedes this block.
    fn index(&mut self, entry: usize) -> Result<(), DecodeError> {
        let bits = index_bits(entry);
        let offset = self.get(bits)? as usize * entry;
        let ring = entry << bits;
        let written = self.len - self.len % BLOCK;
        let turn = written - written % ring;
        let from = if offset < written % ring { Some(turn + offset) } else { (turn + offset).checked_sub(ring) };
        let from = from.ok_or_else(|| self.malformed())?;
        let end = self.room(entry)?;
        self.dst.copy_within(from..from + entry, self.len);
        self.len = end;
        Ok(())
    }

    fn repeat(&mut self) -> Result<(), DecodeError> {
        let count = self.get(REPEAT_BITS)? as usize + 1;
        let last = self.dst[..self.len].last_chunk::<BLOCK>().copied().ok_or_else(|| self.malformed())?;
        (0..count).try_for_each(|_| self.append(&last))
    }

    fn short(&mut self) -> Result<(), DecodeError> {
        let count = self.get(SHORT_BITS)?;
        (0..count).try_for_each(|_| self.data(1))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let end = self.room(bytes.len())?;
        self.dst[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Where the output ends after `count` more bytes.
    fn room(&self, count: usize) -> Result<usize, DecodeError> {
        let end = self.len + count;
        if end > self.dst.len() {
            return Err(DecodeError::Length { codec: CODEC, got: end, want: self.dst.len() });
        }
        Ok(end)
    }

    /// The next `bits` bits; at most 57.
    fn get(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let skip = self.bit % 8;
        let end = self.bit + bits as usize;
        if end > 8 * self.src.len() {
            return Err(DecodeError::Malformed { codec: CODEC, at: self.src.len() });
        }
        let rest = &self.src[self.bit / 8..];
        let word = match rest.first_chunk() {
            Some(eight) => u64::from_be_bytes(*eight),
            None => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)) << (64 - 8 * rest.len()),
        };
        self.bit = end;
        Ok(word << skip >> (64 - bits))
    }

    fn finish(mut self) -> Result<(), DecodeError> {
        let crc = self.get(CRC_BITS)? as u32;
        if self.len != self.dst.len() {
            return Err(DecodeError::Length { codec: CODEC, got: self.len, want: self.dst.len() });
        }
        if crc != crc32(self.dst) {
            return Err(self.malformed());
        }
        Ok(())
    }

    #[cold]
    fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { codec: CODEC, at: self.bit / 8 }
    }
}
