//! The encoder: for every block the template with the fewest bits.
//!
//! A block equal to the one before it joins a repeat of up to 64; otherwise eight zeros have a code of their own;
//! otherwise an index beats data at every size, so each half is chosen by itself. Entries are found by their last
//! occurrence, which is the last to leave the ring: if it has left, the ring holds none.

use super::{
    BLOCK, CODE_BITS, CRC_BITS, END, Form, INDEX8, REPEAT, REPEAT_BITS, SHORT, SHORT_BITS, ZEROS, crc32, index_bits,
};

/// Most blocks in one repeat.
const MAX_REPEAT: u32 = 1 << REPEAT_BITS;
/// Bits of a hash of an entry.
const HASH_BITS: u32 = 10;

/// Encodes `src`; `None` if the stream does not fit in `dst`.
pub(super) fn encode(src: &[u8], dst: &mut [u8], seen: &mut Seen) -> Option<usize> {
    seen.clear();
    let mut out = Bits { dst, len: 0, held: 0, held_bits: 0 };
    let (blocks, rest) = src.as_chunks::<BLOCK>();
    let mut last = None;
    let mut repeats = 0;
    for (i, block) in blocks.iter().enumerate() {
        let value = u64::from_be_bytes(*block);
        if last == Some(value) && repeats < MAX_REPEAT {
            repeats += 1;
        } else {
            out.repeat(&mut repeats)?;
            if last == Some(value) {
                repeats = 1;
            } else if value == 0 {
                out.code(ZEROS)?;
            } else {
                out.block(value, i, seen)?;
            }
        }
        last = Some(value);
        seen.insert(value, i);
    }
    out.repeat(&mut repeats)?;
    if !rest.is_empty() {
        out.code(SHORT)?;
        out.put(rest.len() as u64, SHORT_BITS)?;
        rest.iter().try_for_each(|&byte| out.put(byte.into(), 8))?;
    }
    out.code(END)?;
    out.put(crc32(src).into(), CRC_BITS)?;
    out.finish()
}

/// The stream being written.
struct Bits<'a> {
    dst: &'a mut [u8],
    /// Whole bytes written.
    len: usize,
    /// Bits not yet written, the last ones lowest.
    held: u64,
    /// How many: below 8 between calls.
    held_bits: u32,
}

impl Bits<'_> {
    /// Appends the low `bits` of `value`, which has no others; at most 56.
    fn put(&mut self, value: u64, bits: u32) -> Option<()> {
        self.held = self.held << bits | value;
        self.held_bits += bits;
        while self.held_bits >= 8 {
            self.held_bits -= 8;
            *self.dst.get_mut(self.len)? = (self.held >> self.held_bits) as u8;
            self.len += 1;
        }
        Some(())
    }

    fn code(&mut self, code: u32) -> Option<()> {
        self.put(code.into(), CODE_BITS)
    }

    fn repeat(&mut self, repeats: &mut u32) -> Option<()> {
        if *repeats > 0 {
            self.code(REPEAT)?;
            self.put((*repeats - 1).into(), REPEAT_BITS)?;
            *repeats = 0;
        }
        Some(())
    }

    /// The template of block number `i`.
    fn block(&mut self, value: u64, i: usize, seen: &Seen) -> Option<()> {
        if let Some(index) = seen.eights.find(value, i) {
            self.code(INDEX8)?;
            return self.put(index, index_bits(8));
        }
        let first = Half::choose(value >> 32, i, seen);
        let second = Half::choose(value & 0xffff_ffff, i, seen);
        self.code(5 * first.form as u32 + second.form as u32)?;
        self.put(first.argument, first.bits)?;
        self.put(second.argument, second.bits)
    }

    /// Fills the stream with zeros to a multiple of eight bytes; returns its length.
    fn finish(mut self) -> Option<usize> {
        self.put(0, 7)?;
        let end = self.len.next_multiple_of(8);
        self.dst.get_mut(self.len..end)?.fill(0);
        Some(end)
    }
}

/// Four bytes of a block in the form with the fewest bits.
struct Half {
    form: Form,
    argument: u64,
    bits: u32,
}

impl Half {
    fn choose(value: u64, i: usize, seen: &Seen) -> Self {
        if let Some(index) = seen.fours.find(value, i) {
            return Self { form: Form::Index4, argument: index, bits: index_bits(4) };
        }
        let (high, low) = (value >> 16, value & 0xffff);
        let bits = index_bits(2);
        match (seen.twos.find(high, i), seen.twos.find(low, i)) {
            (Some(a), Some(b)) => Self { form: Form::IndexIndex, argument: a << bits | b, bits: 2 * bits },
            (Some(a), None) => Self { form: Form::IndexData, argument: a << 16 | low, bits: bits + 16 },
            (None, Some(b)) => Self { form: Form::DataIndex, argument: high << bits | b, bits: 16 + bits },
            (None, None) => Self { form: Form::Data, argument: value, bits: 32 },
        }
    }
}

/// The entries of every size in their rings.
#[derive(Default)]
pub(super) struct Seen {
    twos: Ring<2, 256>,
    fours: Ring<4, 512>,
    eights: Ring<8, 256>,
}

impl Seen {
    fn clear(&mut self) {
        self.twos.heads.fill(0);
        self.fours.heads.fill(0);
        self.eights.heads.fill(0);
    }

    /// Adds all entries of block number `i`.
    fn insert(&mut self, value: u64, i: usize) {
        for part in 0..4 {
            self.twos.insert(value >> (48 - 16 * part) & 0xffff, 4 * i + part);
        }
        self.fours.insert(value >> 32, 2 * i);
        self.fours.insert(value & 0xffff_ffff, 2 * i + 1);
        self.eights.insert(value, i);
    }
}

/// The last `SLOTS` entries of `BYTES` bytes, chained by hash from the newest to the oldest.
///
/// An entry is named by its number in the output plus 1; its slot is the number modulo `SLOTS`. A chain ends at 0 or at
/// the first entry that has left the ring.
struct Ring<const BYTES: usize, const SLOTS: usize> {
    heads: Box<[usize; 1 << HASH_BITS]>,
    values: Box<[u64; SLOTS]>,
    older: Box<[usize; SLOTS]>,
}

impl<const BYTES: usize, const SLOTS: usize> Default for Ring<BYTES, SLOTS> {
    fn default() -> Self {
        Self { heads: Box::new([0; 1 << HASH_BITS]), values: Box::new([0; SLOTS]), older: Box::new([0; SLOTS]) }
    }
}

impl<const BYTES: usize, const SLOTS: usize> Ring<BYTES, SLOTS> {
    fn hash(value: u64) -> usize {
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize
    }

    /// The index of an entry `value` that the ring holds before block number `block`.
    fn find(&self, value: u64, block: usize) -> Option<u64> {
        let next = block * (BLOCK / BYTES);
        let mut name = self.heads[Self::hash(value)];
        while name != 0 && name + SLOTS > next {
            let slot = (name - 1) % SLOTS;
            if self.values[slot] == value {
                return Some(slot as u64);
            }
            name = self.older[slot];
        }
        None
    }

    fn insert(&mut self, value: u64, number: usize) {
        let slot = number % SLOTS;
        let head = &mut self.heads[Self::hash(value)];
        self.values[slot] = value;
        self.older[slot] = std::mem::replace(head, number + 1);
    }
}
