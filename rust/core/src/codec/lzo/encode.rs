//! The encoder: greedy, one candidate per position, the decisions in LZO1X-1's order.
//!
//! The four bytes at each probed position choose a dictionary slot, which gives the only candidate and takes the
//! position; four equal bytes make a match. The next probe is where the match ends, else `1 + literals / 32` further,
//! where literals are counted from the last match. A chunk begins with four literals and such a step. An empty slot
//! stands for the chunk's first byte. With zero runs enabled, four zero bytes are a run and skip the dictionary. No
//! probe falls in the last [`TAIL_BYTES`], and no run extends into them beyond its first four bytes.

use super::{
    M2_MAX_LEN, M2_MAX_OFFSET, M3_MAX_LEN, M3_MAX_OFFSET, M4_MAX_LEN, M4_MAX_OFFSET_V0, M4_MAX_OFFSET_V1, MAX_ZERO_RUN,
    MIN_ZERO_RUN, VERSION_MARK, VERSION_RLE,
};

/// Bits of a dictionary index.
const DICT_BITS: u32 = 13;
/// Slots of the dictionary.
pub(super) const DICT_ENTRIES: usize = 1 << DICT_BITS;
/// Offsets from the chunk's start; 0 is also the empty slot.
pub(super) type Dict = [u16; DICT_ENTRIES];

/// Bytes at the end of a chunk where no match begins.
const TAIL_BYTES: usize = 20;
/// Literals that must precede the first instruction, which has no bits for a shorter run.
const FIRST_LITERALS: usize = 4;
/// Longest run of literals in the stream's first byte.
const FIRST_BYTE_LITERALS: usize = 238;
/// The distance from the last match after which the step between probes grows by one, and again.
const STRIDE: usize = 32;
/// Literals are copied this many bytes at a time.
const WIDE: usize = 16;

/// Bytes of the longest stream for `src_bytes`, with room for wide copies.
///
/// Zero runs cost most: four literals and a run of four take nine bytes.
pub(super) const fn bound(src_bytes: usize) -> usize {
    src_bytes + src_bytes / 8 + 64 + WIDE
}

/// Encodes `src` into `dst`, which has [`bound`] bytes; returns the stream's length.
pub(super) fn encode(src: &[u8], dst: &mut [u8], dict: &mut Dict, rle: bool) -> usize {
    let mut out = Out { buf: dst, at: 0, count_at: 0 };
    if rle {
        out.put([VERSION_MARK, VERSION_RLE]);
    }
    let first = out.at;
    let chunk_bytes = 1 + if rle { M4_MAX_OFFSET_V1 } else { M4_MAX_OFFSET_V0 };
    let (mut start, mut pending) = (0, 0);
    while src.len() - start > TAIL_BYTES {
        let chunk = &src[..src.len().min(start + chunk_bytes)];
        pending = if rle {
            encode_chunk::<true>(chunk, start, pending, &mut out, dict)
        } else {
            encode_chunk::<false>(chunk, start, pending, &mut out, dict)
        };
        start = chunk.len();
    }
    pending += src.len() - start;
    let literals = &src[src.len() - pending..];
    if out.at == first && (1..=FIRST_BYTE_LITERALS).contains(&pending) {
        out.put([VERSION_MARK + pending as u8]);
        out.bytes(literals);
    } else {
        out.literals(literals);
    }
    out.put([VERSION_MARK, 0, 0]);
    out.at
}

/// Encodes `src[start..]` after `pending` literals that precede it; returns the literals left pending at its end.
#[inline(never)] // Each form on its own leaves the probe loop enough registers.
fn encode_chunk<const RLE: bool>(src: &[u8], start: usize, pending: usize, out: &mut Out, dict: &mut Dict) -> usize {
    dict.fill(0);
    let chunk = &src[start..];
    let mut literals_at = start - pending;
    let mut matched_at = 0;
    let mut probe_at = FIRST_LITERALS.saturating_sub(pending) + 1;
    while let Some((at, found)) = search::<RLE>(chunk, dict, matched_at, probe_at) {
        out.literals_wide(src, literals_at, start + at);
        let length = match found {
            Found::Zeros => out.zero_run(zero_run(chunk, at)),
            Found::Match(candidate) => {
                let distance = at - candidate;
                let length = match_length(chunk, at, candidate);
                out.copy(distance, if RLE { unambiguous(length, distance) } else { length })
            }
        };
        matched_at = at + length;
        probe_at = matched_at;
        literals_at = start + matched_at;
    }
    src.len() - literals_at
}

/// What a probe met.
enum Found {
    /// Four zero bytes, where zero runs are instructions.
    Zeros,
    /// A candidate with the same four bytes.
    Match(usize),
}

/// Probes from `at` on, in steps that grow with the distance from `matched_at`; `None` at the chunk's tail.
#[inline(always)]
fn search<const RLE: bool>(chunk: &[u8], dict: &mut Dict, matched_at: usize, mut at: usize) -> Option<(usize, Found)> {
    let probe_end = chunk.len().saturating_sub(TAIL_BYTES);
    let (mut step, mut stride_end) = (1, matched_at + STRIDE);
    while at < probe_end {
        let end = stride_end.min(probe_end);
        while at < end {
            // SAFETY: `at < probe_end`, so the chunk has TAIL_BYTES and more from `at` on.
            let word = unsafe { word_at(chunk, at) };
            if RLE && word == 0 {
                return Some((at, Found::Zeros));
            }
            let slot = &mut dict[(word.wrapping_mul(0x1824_429d) >> (32 - DICT_BITS)) as usize];
            let candidate = usize::from(std::mem::replace(slot, at as u16));
            // SAFETY: `candidate < at`, and four bytes are there at `at`.
            if candidate < at && unsafe { word_at(chunk, candidate) } == word {
                return Some((at, Found::Match(candidate)));
            }
            at += step;
        }
        step += 1;
        stride_end += STRIDE;
    }
    None
}

/// The four bytes at `at`.
///
/// # Safety
/// `chunk` has four bytes at `at`.
#[inline(always)]
unsafe fn word_at(chunk: &[u8], at: usize) -> u32 {
    // SAFETY: in bounds by contract.
    let bytes = unsafe { chunk.get_unchecked(at..at + 4) };
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// The eight bytes at `at`.
///
/// # Safety
/// `chunk` has eight bytes at `at`.
#[inline(always)]
unsafe fn double_at(chunk: &[u8], at: usize) -> u64 {
    // SAFETY: in bounds by contract.
    let bytes = unsafe { chunk.get_unchecked(at..at + 8) };
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The zero bytes at `at`, whose first four are known: as far as probes go, and as one instruction can say.
fn zero_run(chunk: &[u8], at: usize) -> usize {
    let probe_end = chunk.len().saturating_sub(TAIL_BYTES);
    assert!(at < probe_end, "a probe precedes the tail");
    let end = probe_end.clamp(at + MIN_ZERO_RUN, at + MAX_ZERO_RUN);
    let mut run = MIN_ZERO_RUN;
    while at + run < end {
        // SAFETY: `at + run < end`, which is below `probe_end + MIN_ZERO_RUN`, and TAIL_BYTES is more than both.
        let word = unsafe { double_at(chunk, at + run) };
        if word != 0 {
            run += word.trailing_zeros() as usize / 8;
            break;
        }
        run += 8;
    }
    run.min(end - at)
}

/// Equal bytes at `at` and `candidate`, whose first four are known to be equal.
///
/// Counted eight at a time, and not looked at more closely once a step of eight ends where no probe may be.
#[inline(always)]
fn match_length(chunk: &[u8], at: usize, candidate: usize) -> usize {
    let probe_end = chunk.len().saturating_sub(TAIL_BYTES);
    assert!(candidate < at && at < probe_end, "a candidate precedes its probe, a probe the tail");
    let mut length = 4;
    loop {
        // SAFETY: `at + length < probe_end + 4`, and TAIL_BYTES is more than 4 + 8.
        let here = unsafe { double_at(chunk, at + length) };
        // SAFETY: as above, and `candidate < at`.
        let there = unsafe { double_at(chunk, candidate + length) };
        if here != there {
            return length + (here ^ there).trailing_zeros() as usize / 8;
        }
        length += 8;
        if at + length >= probe_end {
            return length;
        }
    }
}

/// Shortens a far copy that a decoder of version 1 could take for a zero run.
fn unambiguous(length: usize, distance: usize) -> usize {
    if (261..=264).contains(&length) && distance & 0x803f == 0x803f { 260 } else { length }
}

/// The stream being written.
struct Out<'a> {
    buf: &'a mut [u8],
    at: usize,
    /// The byte whose last two bits count the literals after the last instruction.
    count_at: usize,
}

impl Out<'_> {
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.buf[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.buf[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// A length's excess over its instruction's bits: 255 for each zero byte, then 1 to 255.
    fn extension(&mut self, mut excess: usize) {
        while excess > 255 {
            self.put([0]);
            excess -= 255;
        }
        self.put([excess as u8]);
    }

    /// The instruction for `count` literals, none if the last one can count them.
    #[inline(always)]
    fn literal_count(&mut self, count: usize) {
        match count {
            0..=3 => self.buf[self.count_at] |= count as u8,
            4..=18 => self.put([count as u8 - 3]),
            _ => {
                self.put([0]);
                self.extension(count - 18);
            }
        }
    }

    fn literals(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.literal_count(bytes.len());
            self.bytes(bytes);
        }
    }

    /// The literals `src[from..to]`, with [`WIDE`] readable bytes after `to`.
    #[inline(always)]
    fn literals_wide(&mut self, src: &[u8], mut from: usize, to: usize) {
        if from == to {
            return;
        }
        let count = to - from;
        self.literal_count(count);
        let end = self.at + count;
        while from < to {
            self.buf[self.at..self.at + WIDE].copy_from_slice(&src[from..from + WIDE]);
            from += WIDE;
            self.at += WIDE;
        }
        self.at = end;
    }

    /// A copy of `length` bytes from `distance` back, in the shortest form; returns `length`.
    #[inline(always)]
    fn copy(&mut self, distance: usize, length: usize) -> usize {
        if length <= M2_MAX_LEN && distance <= M2_MAX_OFFSET {
            let d = distance - 1;
            self.put([((length - 1) << 5 | (d & 7) << 2) as u8, (d >> 3) as u8]);
        } else if distance <= M3_MAX_OFFSET {
            self.copy_far(32, length, M3_MAX_LEN, distance - 1);
        } else {
            let d = distance - M3_MAX_OFFSET;
            self.copy_far(16 | d >> 11 & 8, length, M4_MAX_LEN, d & 0x3fff);
        }
        self.count_at = self.at - 2;
        length
    }

    /// M3 and M4: `op` with the length, then the 14 bits of `d`.
    #[inline(always)]
    fn copy_far(&mut self, op: usize, length: usize, max: usize, d: usize) {
        if length <= max {
            self.put([(op | (length - 2)) as u8]);
        } else {
            self.put([op as u8]);
            self.extension(length - max);
        }
        self.put([(d << 2) as u8, (d >> 6) as u8]);
    }

    /// A run of `run` zero bytes; returns `run`.
    fn zero_run(&mut self, run: usize) -> usize {
        let excess = run - MIN_ZERO_RUN;
        self.put([0x18 | (excess & 7) as u8, 0xfc, 0xff, (excess >> 3) as u8]);
        self.count_at = self.at - 3;
        run
    }
}
