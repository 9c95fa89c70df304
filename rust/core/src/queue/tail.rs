//! The producers' word: next position, depth and closed flag, changed together by one compare-and-swap.

use std::fmt;

const CLOSED: u64 = 1;
const DEPTH_SHIFT: u32 = 1;
const DEPTH_MASK: u64 = (1 << 17) - 1;
const POSITION_SHIFT: u32 = 18;

/// Positions count modulo 2^46: eight days of a hundred million pushes a second.
const POSITION_MASK: u64 = u64::MAX >> POSITION_SHIFT;

/// The largest capacity (entries); as a depth it fits the word's 17 bits.
pub const MAX_CAPACITY: usize = 1 << 16;

const _: () = assert!(MAX_CAPACITY as u64 <= DEPTH_MASK);

/// The position `n` after `position`.
#[inline]
pub(super) fn after(position: u64, n: usize) -> u64 {
    position.wrapping_add(n as u64) & POSITION_MASK
}

/// How many positions lie from `from` up to, not including, `to`.
#[inline]
pub(super) fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & POSITION_MASK
}

/// Position (bits 18..64), depth (bits 1..18) and closed (bit 0).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail(pub(super) u64);

impl Tail {
    /// The bit that closes, for `fetch_or`.
    pub(super) const CLOSED: u64 = CLOSED;

    pub(super) fn new(position: u64, depth: usize, closed: bool) -> Self {
        Self(position << POSITION_SHIFT | (depth as u64) << DEPTH_SHIFT | u64::from(closed))
    }

    #[inline]
    pub(super) fn position(self) -> u64 {
        self.0 >> POSITION_SHIFT
    }

    #[inline]
    pub(super) fn depth(self) -> usize {
        (self.0 >> DEPTH_SHIFT & DEPTH_MASK) as usize
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The word after `n` more reservations; the position wraps off the top.
    #[inline]
    pub(super) fn advanced(self, n: usize) -> Self {
        Self(self.0.wrapping_add((n as u64) << POSITION_SHIFT))
    }

    #[inline]
    pub(super) fn with_depth(self, depth: usize) -> Self {
        Self::new(self.position(), depth, self.is_closed())
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_closed() { "closed" } else { "open" };
        write!(f, "{state} at {}, depth {}", self.position(), self.depth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let last = Tail::new(POSITION_MASK, MAX_CAPACITY, true);
        assert_eq!((last.position(), last.depth(), last.is_closed()), (POSITION_MASK, MAX_CAPACITY, true));
        let wrapped = last.advanced(3);
        assert_eq!((wrapped.position(), wrapped.depth(), wrapped.is_closed()), (2, MAX_CAPACITY, true));
        assert_eq!(wrapped.with_depth(0).advanced(1), Tail::new(3, 0, true));
        assert_eq!(distance(POSITION_MASK, 2), 3);
        assert_eq!(after(POSITION_MASK, 3), 2);
    }
}
