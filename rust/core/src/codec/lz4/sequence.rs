//! How the encoder writes sequences: a token, the literals' length and bytes, the offset, the match's length.
//!
//! Contract: nothing is written beyond `dst`, and a block that does not fit is given up exactly when it does not,
//! however wide the copies are: near the end of `dst` a careful twin of the fast writer takes over.

use super::mem::{load, store};

/// Literal or match lengths from this on continue after the token.
const RUN_MASK: usize = 15;
/// What a sequence may store beside its literals and one byte for each 255 of its lengths: token, two last length
/// bytes, offset, and the overrun of the literals' last copy.
pub(super) const ROOM: usize = 1 + 2 + 2 + 16;

/// Writes the sequence of `literals` bytes at `from`, then a copy of `4 + extra` bytes from `offset` back, at `op`.
///
/// Returns where the block ends now, or `None` when the sequence does not fit.
///
/// # Safety
/// `from + literals + 12 <= src.len()`, and with `ROOMY` the whole block fits and [`ROOM`] bytes more.
#[inline(always)]
pub(super) unsafe fn sequence<const ROOMY: bool>(src: &[u8], dst: &mut [u8], op: usize, run: Run) -> Option<usize> {
    let Run { from, literals, offset, extra } = run;
    // More than `/ 255` asks for, and a shift.
    if !ROOMY && op + literals + (literals + extra) / 128 + ROOM > dst.len() {
        return tight_sequence(&src[from..from + literals], dst, op, offset, extra);
    }
    // SAFETY: the test, or ROOMY, bounds every store from here on: token, lengths, literals rounded up to 8, offset.
    unsafe { store(dst, op, [(literals.min(RUN_MASK) << 4 | extra.min(RUN_MASK)) as u8]) };
    // SAFETY: as above.
    let op = unsafe { wide_length(dst, op + 1, literals) };
    // SAFETY: as above; `from + literals + 8 <= src.len()`.
    unsafe { wide_literals(src, from, literals, dst, op) };
    // SAFETY: as above.
    unsafe { store(dst, op + literals, (offset as u16).to_le_bytes()) };
    // SAFETY: as above.
    Some(unsafe { wide_length(dst, op + literals + 2, extra) })
}

/// One sequence, see [`sequence`].
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) from: usize,
    pub(super) literals: usize,
    pub(super) offset: usize,
    pub(super) extra: usize,
}

/// [`length`] without its test.
///
/// # Safety
/// `op + length / 255 + 1 <= dst.len()`.
#[inline(always)]
unsafe fn wide_length(dst: &mut [u8], mut op: usize, length: usize) -> usize {
    if length < RUN_MASK {
        return op;
    }
    let mut rest = length - RUN_MASK;
    if rest >= 255 {
        op = fill_255(dst, op, rest / 255);
        rest %= 255;
    }
    // SAFETY: the caller's bound.
    unsafe { store(dst, op, [rest as u8]) };
    op + 1
}

/// Writes `count` bytes of 255, which fit.
#[cold]
fn fill_255(dst: &mut [u8], op: usize, count: usize) -> usize {
    dst[op..op + count].fill(255);
    op + count
}

/// Copies `literals` bytes, at least 8, in copies of 8 that may run over.
///
/// # Safety
/// `from + literals + 8 <= src.len()` and `op + literals + 8 <= dst.len()`.
#[inline(always)]
unsafe fn wide_literals(src: &[u8], from: usize, literals: usize, dst: &mut [u8], op: usize) {
    let mut done = 0;
    loop {
        // SAFETY: `done` is 0 or below `literals`.
        let bytes = unsafe { load::<8>(src, from + done) };
        // SAFETY: as above.
        unsafe { store(dst, op + done, bytes) };
        done += 8;
        if done >= literals {
            return;
        }
    }
}

/// [`sequence`] near the end of `dst`.
#[cold]
fn tight_sequence(run: &[u8], dst: &mut [u8], op: usize, offset: usize, extra: usize) -> Option<usize> {
    let end = literals(run, dst, op)?;
    dst[op] |= extra.min(RUN_MASK) as u8;
    let end = bytes(&(offset as u16).to_le_bytes(), dst, end)?;
    length(extra, dst, end)
}

/// Writes a token with a literal run only, and the run.
pub(super) fn literals(run: &[u8], dst: &mut [u8], op: usize) -> Option<usize> {
    let op = bytes(&[(run.len().min(RUN_MASK) << 4) as u8], dst, op)?;
    let op = length(run.len(), dst, op)?;
    bytes(run, dst, op)
}

/// Writes what the token's four bits leave of `length`: bytes of 255, then one below.
fn length(length: usize, dst: &mut [u8], op: usize) -> Option<usize> {
    let Some(rest) = length.checked_sub(RUN_MASK) else { return Some(op) };
    let (full, end) = (rest / 255, op + rest / 255 + 1);
    let to = dst.get_mut(op..end)?;
    to[..full].fill(255);
    to[full] = (rest % 255) as u8;
    Some(end)
}

fn bytes(bytes: &[u8], dst: &mut [u8], op: usize) -> Option<usize> {
    dst.get_mut(op..op + bytes.len())?.copy_from_slice(bytes);
    Some(op + bytes.len())
}
