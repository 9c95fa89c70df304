//! The decoder's fast part: sequences far enough from both buffers' ends to be copied in wide steps that run over.
//!
//! Contract: it decodes what it can prove to have room for and stops at the first sequence that it cannot, malformed
//! ones included; [`super::decode`] goes on from there with every test made. State travels in arguments, so that it
//! stays in registers.

use super::decode::{MIN_MATCH, RUN_MASK};
use super::mem::{load, load64, store};

/// Input bytes that a sequence with literals in the token may touch: token, 16 bytes for 14 literals, offset.
const IN_ROOM: usize = 20;
/// Output bytes that such a sequence may touch: 14 literals and a copy of 18; also what any copy may run over.
pub(super) const OUT_ROOM: usize = 32;

/// By offset: what a number of so many bytes is multiplied with to stand in a `u64` again and again.
const REPEATED: [u64; 8] = [
    0,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    1 << 48 | 1 << 24 | 1,
    1 << 32 | 1,
    1 << 40 | 1,
    1 << 48 | 1,
    1 << 56 | 1,
];

/// How far the fast part goes in the input and in the page.
#[derive(Clone, Copy)]
struct Bounds {
    /// The last `ip` with [`IN_ROOM`] bytes after it.
    last_in: usize,
    /// The last `op` with [`OUT_ROOM`] bytes after it.
    last_out: usize,
}

/// Decodes sequences from `ip` to `op` and returns where the first that was left begins and belongs.
#[inline(always)]
pub(super) fn sequences(src: &[u8], dst: &mut [u8], mut ip: usize, mut op: usize) -> (usize, usize) {
    let (Some(last_in), Some(last_out)) = (src.len().checked_sub(IN_ROOM), dst.len().checked_sub(OUT_ROOM)) else {
        return (ip, op);
    };
    let bounds = Bounds { last_in, last_out };
    while ip <= last_in && op <= last_out {
        // SAFETY: the loop's condition.
        let Some(next) = (unsafe { sequence(src, dst, ip, op, bounds) }) else { break };
        (ip, op) = next;
    }
    (ip, op)
}

/// Decodes the sequence at `ip` to `op` and returns where the next ones lie, or `None` to leave it: also when a length takes
/// more than one byte beside its token.
///
/// # Safety
/// `ip <= last_in` and `op <= last_out`, the bounds of `src` and `dst`.
#[inline(always)]
unsafe fn sequence(src: &[u8], dst: &mut [u8], ip: usize, op: usize, bounds: Bounds) -> Option<(usize, usize)> {
    let Bounds { last_in, last_out } = bounds;
    // SAFETY: the caller's bound.
    let [token] = unsafe { load(src, ip) };
    let (mut from, mut literals) = (ip + 1, usize::from(token >> 4));
    if literals == RUN_MASK {
        rarely();
        // SAFETY: the caller's bound.
        literals += unsafe { short_length(src, from) }?;
        from += 1;
        if from + literals + 16 > last_in + IN_ROOM || op + literals > last_out {
            return None;
        }
        // SAFETY: just tested: 16 bytes of `src` and 32 of `dst` come after the literals.
        unsafe { long_literals(src, from, dst, op, literals) };
    } else {
        // SAFETY: the caller's bound.
        let bytes = unsafe { load::<16>(src, from) };
        // SAFETY: the caller's bound.
        unsafe { store(dst, op, bytes) };
    }
    let (at, ip) = (op + literals, from + literals);
    // SAFETY: 14 literals after the token, or the test above, leave two bytes for the offset.
    let offset = usize::from(u16::from_le_bytes(unsafe { load(src, ip) }));
    let (ip, extra) = (ip + 2, usize::from(token) & RUN_MASK);
    if extra == RUN_MASK {
        // SAFETY: 14 literals, the token and the offset are 17 of the caller's 20 bytes, and 16 bytes are left by the test above.
        let end = at + MIN_MATCH + extra + unsafe { short_length(src, ip) }?;
        if offset.wrapping_sub(1) >= at || end > last_out {
            return None;
        }
        // SAFETY: just tested.
        unsafe { repeat(dst, offset, at, end) };
        return Some((ip + 1, end));
    }
    let end = at + MIN_MATCH + extra;
    if offset >= 8 && offset <= at {
        // SAFETY: `8 <= offset <= at` and `at + 18 <= dst.len()`: the caller's bound for 14 literals, or the test
        // above.
        unsafe { copy18(dst, at, at - offset) };
        return Some((ip, end));
    }
    rarely();
    if offset.wrapping_sub(1) >= at || end > last_out {
        return None;
    }
    // SAFETY: just tested; an offset of 8 or more would have been above `at`.
    unsafe { pattern(dst, offset, at, end) };
    Some((ip, end))
}

/// The byte at `at`, if the length that it belongs to ends with it.
///
/// # Safety
/// `at < src.len()`.
#[inline(always)]
unsafe fn short_length(src: &[u8], at: usize) -> Option<usize> {
    // SAFETY: the caller's bound.
    let [more] = unsafe { load(src, at) };
    (more != 255).then_some(usize::from(more))
}

/// Marks the branch that calls it as the one to lay out of the way.
#[cold]
#[inline(always)]
fn rarely() {}

/// The length at `ip` whose token bits are all set, and where it ends; `None` at the end of the input.
#[inline(always)]
pub(super) fn long_length(src: &[u8], ip: usize) -> Option<(usize, usize)> {
    let more = usize::from(*src.get(ip)?);
    if more != 255 { Some((ip + 1, RUN_MASK + more)) } else { longer_length(src, ip) }
}

/// [`long_length`] of 270 and more.
#[cold]
fn longer_length(src: &[u8], ip: usize) -> Option<(usize, usize)> {
    let full = src[ip..].iter().take_while(|&&byte| byte == 255).count();
    // At most 255 for each input byte: no overflow.
    let last = *src.get(ip + full)?;
    Some((ip + full + 1, RUN_MASK + 255 * full + usize::from(last)))
}

/// Copies `literals` bytes, at least 16, in copies of 16.
///
/// # Safety
/// `from + literals + 16 <= src.len()` and `op + literals + 16 <= dst.len()`.
#[inline(always)]
unsafe fn long_literals(src: &[u8], from: usize, dst: &mut [u8], op: usize, literals: usize) {
    let mut done = 0;
    loop {
        // SAFETY: `done` is 0 or below `literals`.
        let bytes = unsafe { load::<16>(src, from + done) };
        // SAFETY: as above.
        unsafe { store(dst, op + done, bytes) };
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
unsafe fn copy18(dst: &mut [u8], to: usize, from: usize) {
    // SAFETY: the caller's bounds.
    unsafe { copy::<8>(dst, to, from) };
    // SAFETY: the caller's bounds.
    unsafe { copy::<8>(dst, to + 8, from + 8) };
    // SAFETY: the caller's bounds.
    unsafe { copy::<2>(dst, to + 16, from + 16) };
}

/// Copies `N` bytes inside the page, all read before any is written.
///
/// # Safety
/// `from <= to` and `to + N <= dst.len()`.
#[inline(always)]
unsafe fn copy<const N: usize>(dst: &mut [u8], to: usize, from: usize) {
    // SAFETY: `from + N <= to + N <= dst.len()`.
    let bytes = unsafe { load::<N>(dst, from) };
    // SAFETY: the caller's bound.
    unsafe { store(dst, to, bytes) };
}

/// Repeats the `offset` bytes before `at` up to `end`.
///
/// # Safety
/// `1 <= offset <= at < end` and `end + OUT_ROOM <= dst.len()`.
#[inline(always)]
pub(super) unsafe fn repeat(dst: &mut [u8], offset: usize, mut at: usize, end: usize) {
    if offset >= 16 {
        loop {
            // SAFETY: `at < end`, so `at + 32 <= dst.len()`; `offset <= at`.
            unsafe { copy::<16>(dst, at, at - offset) };
            // SAFETY: as above.
            unsafe { copy::<16>(dst, at + 16, at + 16 - offset) };
            at += 32;
            if at >= end {
                return;
            }
        }
    } else {
        // SAFETY: the caller's bounds.
        unsafe { pattern(dst, offset, at, end) };
    }
}

/// [`repeat`] for offsets 1 to 15.
///
/// # Safety
/// `1 <= offset <= 15`, `offset <= at < end` and `end + OUT_ROOM <= dst.len()`.
#[inline(never)]
unsafe fn pattern(dst: &mut [u8], offset: usize, mut at: usize, end: usize) {
    if offset >= 8 {
        // SAFETY: `8 <= offset <= at`, and more than 8 bytes come after `end`.
        return unsafe { repeat8(dst, offset, at, end) };
    }
    // SAFETY: `at - offset + 8 <= end + 8 <= dst.len()`.
    let once = unsafe { load64(dst, at - offset) } & ((1 << (8 * offset)) - 1);
    let word = once.wrapping_mul(REPEATED[offset & 7]).to_le_bytes();
    let step = 8 - 8 % offset;
    while at < end {
        // SAFETY: `at < end`, so `at + step + 8 <= dst.len()`.
        unsafe { store(dst, at, word) };
        // SAFETY: as above.
        unsafe { store(dst, at + step, word) };
        at += 2 * step;
    }
}

/// Repeats the `offset` bytes before `at` up to `end`, in copies of 8 that may run over.
///
/// # Safety
/// `8 <= offset <= at <= end` and `end + 8 <= dst.len()`.
#[inline(always)]
pub(super) unsafe fn repeat8(dst: &mut [u8], offset: usize, mut at: usize, end: usize) {
    while at < end {
        // SAFETY: `at < end`, so `at + 8 <= dst.len()`; `offset <= at`.
        unsafe { copy::<8>(dst, at, at - offset) };
        at += 8;
    }
}
