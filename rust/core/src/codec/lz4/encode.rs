//! The block encoder: the decisions of the encoder in Linux's `lib/lz4`, so that every size is the kernel's.
//!
//! Contract: one hash slot per 13-bit hash of four bytes remembers the last position that was *probed*; a search
//! probes positions one, then ever more bytes apart (one more for each 64 probes; the first distance is the
//! acceleration), and gives up when its next probe would lie beyond `len - 12`. A found match is extended backwards
//! to the last sequence, forwards to `len - 5`. After a match the position two before its end is remembered and its
//! end tried at once.
//!
//! The table is cleared for every page. Slots that keep `base + position` with a base that moves on, so that old ones
//! read as 0, were tried and are slower: clearing 16 KiB costs less than two more instructions at each probe.
//!
//! Sources: the block format (lz4_Block_format.md, lz4/lz4) and the constants in Linux's include/linux/lz4.h and
//! lib/lz4/lz4defs.h (`LZ4_MEMORY_USAGE` 14, `MINMATCH` 4, `MFLIMIT` 12, `LASTLITERALS` 5, skip trigger 6).

use super::bound_bytes;
use super::mem::{load, load32, load64};
use super::sequence::{ROOM, Run, literals, sequence};
use crate::units::PAGE_SIZE;
use std::num::NonZero;

/// Hash slots: 13 bits, what `LZ4_MEMORY_USAGE` 14 gives for positions of 16 bits.
const SLOTS: usize = 1 << 13;
/// The shortest match.
const MIN_MATCH: usize = 4;
/// No match starts in the last 12 bytes.
const MATCH_FREE: usize = 12;
/// The last 5 bytes are literals.
const LAST_LITERALS: usize = 5;
/// Probes at one distance: two to the power of the skip trigger.
const STRETCH: usize = 1 << 6;
/// Positions that the 16-bit slots can tell apart.
const POSITIONS: usize = 1 << 16;

/// The hash slots, kept from page to page for their memory alone.
pub(super) struct Table {
    slots: Box<[u16; SLOTS]>,
    /// Every slot is 0.
    clear: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { slots: Box::new([0; SLOTS]), clear: true }
    }

    /// Clears the slots for the next page.
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.clear {
            self.slots.fill(0);
            self.clear = true;
        }
    }

    /// The table as a new page sees it: every position is 0.
    #[inline(always)]
    fn open<'a>(&'a mut self, src: &'a [u8]) -> Window<'a> {
        self.clear();
        self.clear = false;
        Window { src, slots: &mut self.slots }
    }
}

/// A page and the positions seen in it.
///
/// Invariant: every slot is 0 or a position passed to `swap`.
struct Window<'a> {
    src: &'a [u8],
    slots: &'a mut [u16; SLOTS],
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
        usize::from(std::mem::replace(slot, at as u16))
    }

    /// The match at `at`, a position that is thereby remembered: where its copy lies.
    ///
    /// # Safety
    /// `at + 4 <= src.len()`, and `at` is above every position remembered so far.
    #[inline(always)]
    unsafe fn probe(&mut self, at: usize) -> Option<usize> {
        // SAFETY: the caller's bound.
        let word = unsafe { self.word(at) };
        let found = self.swap(word, at);
        // SAFETY: `found` is 0 or a position remembered earlier, below `at`.
        (unsafe { self.word(found) } == word).then_some(found)
    }

    /// The next match at or after `at`, or `None` at the end of the page.
    ///
    /// # Safety
    /// `at <= src.len() - MATCH_FREE + 1`, and `at` is above every position remembered so far.
    #[inline(always)]
    unsafe fn search(&mut self, mut at: usize, pace: Pace) -> Option<Hit> {
        let last = (at + pace.near).min(self.src.len() - MATCH_FREE);
        while at < last {
            // SAFETY: `at < last`, at least 12 bytes before the end; it only grows.
            if let Some(found) = unsafe { self.probe(at) } {
                return Hit::new(at, found);
            }
            at += 1;
        }
        let far = Window { src: self.src, slots: self.slots };
        // SAFETY: the caller's bound, or `at` has grown to `last`.
        unsafe { search_far(far, at, pace.far) }
    }

    /// How many bytes before `a` and before `b` are equal, at most back to `floor` and to the page's start.
    ///
    /// # Safety
    /// `b < a < src.len()` and `floor <= a`.
    #[inline(always)]
    unsafe fn equal_before(&self, a: usize, b: usize, floor: usize) -> usize {
        // SAFETY: `1 <= b < a < src.len()`.
        if a > floor && b > 0 && unsafe { load::<1>(self.src, a - 1) } == unsafe { load::<1>(self.src, b - 1) } {
            return equal_far_before(&self.src[floor..a], &self.src[..b]);
        }
        0
    }

    /// How many bytes from `a` and from `b` on are equal, where `a` may run up to five bytes before the end.
    ///
    /// # Safety
    /// `b < a <= src.len() - LAST_LITERALS`.
    #[inline(always)]
    unsafe fn equal_after(&self, a: usize, b: usize) -> usize {
        let end = self.src.len() - LAST_LITERALS;
        let mut n = 0;
        if a + 16 <= end {
            // SAFETY: `b + 16 < a + 16 <= src.len() - 5`.
            let near = unsafe { self.differing_bits(a, b) };
            // SAFETY: as above.
            let far = unsafe { self.differing_bits(a + 8, b + 8) };
            let bits = if near == 0 { 64 + far.trailing_zeros() } else { near.trailing_zeros() };
            n = (bits / 8) as usize;
            if n < 16 {
                return n;
            }
        }
        while a + n + 8 <= end {
            // SAFETY: `b + n + 8 < a + n + 8 <= src.len() - 5`.
            let bits = unsafe { self.differing_bits(a + n, b + n) };
            if bits != 0 {
                return n + (bits.trailing_zeros() / 8) as usize;
            }
            n += 8;
        }
        n + equal_at_end(&self.src[a + n..end], &self.src[b + n..])
    }

    /// The bits in which the 8 bytes at `a` and at `b` differ.
    ///
    /// # Safety
    /// `a + 8 <= src.len()` and `b + 8 <= src.len()`.
    #[inline(always)]
    unsafe fn differing_bits(&self, a: usize, b: usize) -> u64 {
        // SAFETY: the caller's bound.
        let left = unsafe { load64(self.src, a) };
        // SAFETY: the caller's bound.
        let right = unsafe { load64(self.src, b) };
        left ^ right
    }
}

/// A match: at a position, which is never 0, and where its copy lies. (So that an `Option` of it travels in registers.)
#[derive(Clone, Copy)]
struct Hit {
    at: NonZero<usize>,
    found: usize,
}

impl Hit {
    #[inline(always)]
    fn new(at: usize, found: usize) -> Option<Self> {
        Some(Self { at: NonZero::new(at)?, found })
    }
}

/// How far apart a search probes: see [`Pace::new`].
#[derive(Clone, Copy)]
struct Pace {
    /// Probes whose next is one byte on.
    near: usize,
    /// The distance of the next 64.
    far: usize,
}

impl Pace {
    /// One probe steps by 1, the next 64 by `acceleration`, then 64 by one more, and so on.
    fn new(acceleration: usize) -> Self {
        match acceleration {
            1 => Self { near: 1 + STRETCH, far: 2 },
            far => Self { near: 1, far },
        }
    }
}

/// [`Window::search`] after its first probes, the next 64 `step` apart; kept apart, for few searches come here.
///
/// # Safety
/// As [`Window::search`].
#[inline(never)]
unsafe fn search_far(mut page: Window<'_>, mut at: usize, mut step: usize) -> Option<Hit> {
    let limit = page.src.len() - MATCH_FREE;
    while at + step <= limit {
        let last = (at + STRETCH * step).min(limit);
        while at + step <= last {
            // SAFETY: `at < limit`, 12 bytes before the end; it only grows.
            if let Some(found) = unsafe { page.probe(at) } {
                return Hit::new(at, found);
            }
            at += step;
        }
        step += 1;
    }
    None
}

/// How many bytes at the ends of `a` and `b` are equal.
#[cold]
fn equal_far_before(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// How many bytes at the starts of `a` and `b` are equal.
#[cold]
fn equal_at_end(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Encodes `src` into `dst` and returns the block's length, or `None` if it does not fit (or `src` is over 64 KiB).
pub(super) fn encode(table: &mut Table, src: &[u8], dst: &mut [u8], acceleration: usize) -> Option<usize> {
    if src.len() > POSITIONS {
        return None;
    }
    let roomy = dst.len() >= bound_bytes(src.len()) + ROOM;
    let (covered, op) = match <&[u8; PAGE_SIZE]>::try_from(src) {
        // The same code with a constant length and without tests of the room.
        Ok(page) if roomy => matches::<true>(&mut table.open(page), dst, acceleration)?,
        _ if src.len() > MATCH_FREE => matches::<false>(&mut table.open(src), dst, acceleration)?,
        _ => (0, 0),
    };
    literals(&src[covered..], dst, op)
}

/// Writes every sequence that has a match; returns how many bytes of the page they cover, and their length.
///
/// With `ROOMY`, `dst` must hold [`bound_bytes`] and [`ROOM`].
#[inline(always)]
fn matches<const ROOMY: bool>(page: &mut Window<'_>, dst: &mut [u8], acceleration: usize) -> Option<(usize, usize)> {
    let (src, pace) = (page.src, Pace::new(acceleration));
    let (mut anchor, mut ip, mut op) = (0, 1, 0);
    // SAFETY: the page has more than 12 bytes.
    page.swap(unsafe { page.word(0) }, 0);
    // SAFETY: `ip` is 1, or 1 past a position at most `len - 12`, the last one remembered.
    while let Some(Hit { at, found }) = unsafe { page.search(ip, pace) } {
        let at = at.get();
        // SAFETY: `found < at <= len - 12` and `anchor <= at`.
        let back = unsafe { page.equal_before(at, found, anchor) };
        // The match's end does not wait for its start, so neither does the next search.
        let (mut start, mut copy, mut back) = (at, found, back);
        loop {
            // SAFETY: `copy < start <= len - 12`.
            let extra = unsafe { page.equal_after(start + MIN_MATCH, copy + MIN_MATCH) };
            let run = Run { from: anchor, literals: start - back - anchor, offset: start - copy, extra: back + extra };
            // SAFETY: `anchor + back <= start <= len - 12`; `ROOMY` as the caller promises.
            op = unsafe { sequence::<ROOMY>(src, dst, op, run) }?;
            anchor = start + MIN_MATCH + extra;
            if anchor > src.len() - MATCH_FREE {
                return Some((anchor, op));
            }
            // SAFETY: `anchor` is 4 or more, and at least 12 bytes before the end.
            page.swap(unsafe { page.word(anchor - 2) }, anchor - 2);
            // SAFETY: `anchor <= len - 12`, and above everything remembered.
            let Some(found) = (unsafe { page.probe(anchor) }) else { break };
            (start, copy, back) = (anchor, found, 0);
        }
        ip = anchor + 1;
    }
    Some((anchor, op))
}
