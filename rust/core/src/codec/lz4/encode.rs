//! The block encoder: the decisions of the encoder in Linux's `lib/lz4`, so that every size is the kernel's.
//!
//! Contract: one hash slot per 13-bit hash of four bytes remembers the last position that was *probed*; a search
//! probes positions one, then ever more bytes apart (one more for each 64 probes; the first distance is the acceleration),
//! and gives up when its next probe would lie beyond `len - 12`. A found match is extended backwards to the last
//! sequence, forwards to `len - 5`. After a match the position two before its end is remembered and its end tried at once.
//!
//! What differs is how: the table is never cleared between pages. Slots hold `base + position`, where `base` moves up
//! by every page's length, so that what an earlier page left lies below `base` and reads as position 0, which is what
//! a zeroed table gives; the 16 KiB are cleared only when a page would not fit in the 16 bits that are left.
//!
//! Sources: the block format (lz4_Block_format.md, lz4/lz4) and the constants in Linux's include/linux/lz4.h and
//! lib/lz4/lz4defs.h (`LZ4_MEMORY_USAGE` 14, `MINMATCH` 4, `MFLIMIT` 12, `LASTLITERALS` 5, skip trigger 6).

use super::mem::{load, load32, load64, store};

/// Hash slots: 13 bits, what `LZ4_MEMORY_USAGE` 14 gives for positions of 16 bits.
const SLOTS: usize = 1 << 13;
/// The shortest match.
const MIN_MATCH: usize = 4;
/// No match starts in the last 12 bytes.
const MATCH_FREE: usize = 12;
/// The last 5 bytes are literals.
const LAST_LITERALS: usize = 5;
/// Probes at one distance, as a power of two.
const SKIP_TRIGGER: u32 = 6;
/// Literal or match lengths from this on continue after the token.
const RUN_MASK: usize = 15;
/// Positions that the 16-bit slots can tell apart.
const POSITIONS: usize = 1 << 16;

/// The table that outlives a page.
pub(super) struct Table {
    slots: Box<[u16; SLOTS]>,
    /// Where the next page's position 0 lies: above everything in `slots`, at most `POSITIONS`.
    next_base: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { slots: Box::new([0; SLOTS]), next_base: 0 }
    }

    /// The table as a page of `len` bytes sees it: every position reads as 0.
    fn open<'a>(&'a mut self, src: &'a [u8]) -> Window<'a> {
        if self.next_base + src.len() > POSITIONS {
            self.slots.fill(0);
            self.next_base = 0;
        }
        let base = self.next_base;
        self.next_base += src.len();
        // `base` is 65536 only for an empty page, which looks nothing up.
        Window { src, slots: &mut self.slots, base: base as u16 }
    }
}

/// A page and the positions seen in it.
///
/// Invariant: every slot is below `base` or `base` + a position passed to `swap`; so `swap` returns 0 or such a position.
struct Window<'a> {
    src: &'a [u8],
    slots: &'a mut [u16; SLOTS],
    base: u16,
}

impl Window<'_> {
    /// The four bytes at `at`.
    ///
    /// # Safety
    /// `at + 4 <= src.len()`.
    #[inline(always)]
    unsafe fn word(&self, at: usize) -> u32 {
        // SAFETY: the caller's bound.
        unsafe { load32(self.src, at) }
    }

    /// Remembers `at` under the hash of its `word` and returns the position remembered before, or 0.
    #[inline(always)]
    fn swap(&mut self, word: u32, at: usize) -> usize {
        let slot = &mut self.slots[(word.wrapping_mul(2_654_435_761) >> (32 - 13)) as usize];
        let old = slot.saturating_sub(self.base);
        *slot = self.base.wrapping_add(at as u16);
        usize::from(old)
    }

    /// The next match at or after `ip`, as (its position, where its copy lies), or `None` at the end of the page.
    ///
    /// # Safety
    /// `ip + 4 <= src.len()`, and `ip` is above every position remembered so far.
    #[inline(always)]
    unsafe fn search(&mut self, ip: usize, acceleration: usize) -> Option<(usize, usize)> {
        let limit = self.src.len() - MATCH_FREE;
        let (mut at, mut step, mut probes) = (ip, 1, acceleration << SKIP_TRIGGER);
        // SAFETY: the caller's bound.
        let mut word = unsafe { self.word(at) };
        loop {
            let next = at + step;
            step = probes >> SKIP_TRIGGER;
            probes += 1;
            if next > limit {
                return None;
            }
            let found = self.swap(word, at);
            // SAFETY: `found` is 0 or a position remembered earlier, below `at`.
            if unsafe { self.word(found) } == word {
                return Some((at, found));
            }
            // SAFETY: `next <= limit`, 12 bytes before the end.
            word = unsafe { self.word(next) };
            at = next;
        }
    }

    /// How many bytes before `a` and before `b` are equal, at most `most`.
    ///
    /// # Safety
    /// `most <= b < a <= src.len()`.
    #[inline(always)]
    unsafe fn equal_before(&self, a: usize, b: usize, most: usize) -> usize {
        let mut n = 0;
        // SAFETY: `n < most <= b < a <= src.len()`, so both positions lie in the page.
        while n < most && unsafe { load::<1>(self.src, a - n - 1) } == unsafe { load::<1>(self.src, b - n - 1) } {
            n += 1;
        }
        n
    }

    /// How many bytes from `a` and from `b` on are equal, where `a` may run up to five bytes before the end.
    ///
    /// # Safety
    /// `b < a <= src.len() - LAST_LITERALS`.
    #[inline(always)]
    unsafe fn equal_after(&self, a: usize, b: usize) -> usize {
        let most = self.src.len() - LAST_LITERALS - a;
        let mut n = 0;
        while n + 8 <= most {
            // SAFETY: `a + n + 8 <= src.len() - 5`.
            let left = unsafe { load64(self.src, a + n) };
            // SAFETY: as above, `b < a`.
            let right = unsafe { load64(self.src, b + n) };
            if left != right {
                return n + ((left ^ right).trailing_zeros() / 8) as usize;
            }
            n += 8;
        }
        // SAFETY: `a + n < src.len() - 5` and `b < a`.
        while n < most && unsafe { load::<1>(self.src, a + n) } == unsafe { load::<1>(self.src, b + n) } {
            n += 1;
        }
        n
    }
}

/// The block being written.
struct Block<'a> {
    dst: &'a mut [u8],
    len: usize,
}

impl Block<'_> {
    /// Appends a sequence: the literals `src[from..to]`, then a copy of `4 + extra` bytes from `offset` back.
    ///
    /// Returns `None` when it does not fit, after which the block is of no use.
    ///
    /// # Safety
    /// `from <= to <= src.len()`.
    #[inline(always)]
    unsafe fn sequence(&mut self, src: &[u8], from: usize, to: usize, offset: usize, extra: usize) -> Option<()> {
        let literals = to - from;
        let short = literals < RUN_MASK && extra < RUN_MASK;
        if !(short && from + 16 <= src.len() && self.len + 19 <= self.dst.len()) {
            return self.long_sequence(&src[from..to], offset, extra);
        }
        // SAFETY: `len + 19 <= dst.len()`.
        unsafe { store(self.dst, self.len, [(literals << 4 | extra) as u8]) };
        // SAFETY: `from + 16 <= src.len()`.
        let copied = unsafe { load::<16>(src, from) };
        // SAFETY: `len + 19 <= dst.len()`.
        unsafe { store(self.dst, self.len + 1, copied) };
        // SAFETY: `literals < 15`, so the two bytes end at most at `len + 17`.
        unsafe { store(self.dst, self.len + 1 + literals, (offset as u16).to_le_bytes()) };
        self.len += 3 + literals;
        Some(())
    }

    /// [`Block::sequence`] for lengths that need further bytes, and near the end of either buffer.
    fn long_sequence(&mut self, literals: &[u8], offset: usize, extra: usize) -> Option<()> {
        let at = self.len;
        self.literals(literals)?;
        self.dst[at] |= extra.min(RUN_MASK) as u8;
        self.bytes(&(offset as u16).to_le_bytes())?;
        self.length(extra)
    }

    /// Appends a token with a literal run only, and the run.
    fn literals(&mut self, literals: &[u8]) -> Option<()> {
        self.bytes(&[(literals.len().min(RUN_MASK) << 4) as u8])?;
        self.length(literals.len())?;
        self.bytes(literals)
    }

    /// Appends what the token's four bits leave of `length`: bytes of 255, then one below.
    fn length(&mut self, length: usize) -> Option<()> {
        let Some(rest) = length.checked_sub(RUN_MASK) else { return Some(()) };
        let full = rest / 255;
        let bytes = self.dst.get_mut(self.len..self.len + full + 1)?;
        bytes[..full].fill(255);
        bytes[full] = (rest % 255) as u8;
        self.len += full + 1;
        Some(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.dst.get_mut(self.len..self.len + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }
}

/// Encodes `src` into `dst` and returns the block's length, or `None` if it does not fit (or `src` is over 64 KiB).
pub(super) fn encode(table: &mut Table, src: &[u8], dst: &mut [u8], acceleration: usize) -> Option<usize> {
    if src.len() > POSITIONS {
        return None;
    }
    let mut block = Block { dst, len: 0 };
    let covered = if src.len() > MATCH_FREE { matches(&mut table.open(src), &mut block, acceleration)? } else { 0 };
    block.literals(&src[covered..])?;
    Some(block.len)
}

/// Writes every sequence that has a match; returns how many bytes of the page they cover.
#[inline(always)]
fn matches(page: &mut Window<'_>, block: &mut Block<'_>, acceleration: usize) -> Option<usize> {
    let src = page.src;
    let (mut anchor, mut ip) = (0, 1);
    // SAFETY: the page has more than 12 bytes.
    page.swap(unsafe { page.word(0) }, 0);
    // SAFETY: `ip` is 1, or 1 past a position at most `len - 12`, the last one remembered.
    while let Some((at, found)) = unsafe { page.search(ip, acceleration) } {
        // SAFETY: `found < at`, and `at - anchor` bytes or `found` bytes lie before them.
        let back = unsafe { page.equal_before(at, found, found.min(at - anchor)) };
        let (mut start, mut copy) = (at - back, found - back);
        loop {
            // SAFETY: `copy < start <= len - 12`.
            let extra = unsafe { page.equal_after(start + MIN_MATCH, copy + MIN_MATCH) };
            // SAFETY: `anchor <= start <= len`.
            unsafe { block.sequence(src, anchor, start, start - copy, extra) }?;
            anchor = start + MIN_MATCH + extra;
            if anchor > src.len() - MATCH_FREE {
                return Some(anchor);
            }
            // SAFETY: `anchor` is 4 or more, and at least 12 bytes before the end.
            page.swap(unsafe { page.word(anchor - 2) }, anchor - 2);
            // SAFETY: as above.
            let word = unsafe { page.word(anchor) };
            copy = page.swap(word, anchor);
            // SAFETY: `copy` is 0 or a remembered position, below `anchor`.
            if unsafe { page.word(copy) } != word {
                break;
            }
            start = anchor;
        }
        ip = anchor + 1;
    }
    Some(anchor)
}
