//! The buddy lists of a zone as counts, by migrate type: who owns a free page, and when taking one is a steal.
//!
//! A page block of 1024 pages belongs to one type. While whole blocks are free a type claims one when its own pages run out;
//! later it takes single pages out of the other's blocks. An unmovable request that does either is a *boost event*. Pages of
//! zsmalloc are unmovable in a kernel without compaction, and those of applications movable.
//!
//! Accounting: `free = whole × 1024 + loose[0] + loose[1]`. `borrowed[t] ≤ out[t]`: pages out that type `t` took from a
//! block of the other's; pages come back in proportion, since a count does not know which one it was.
//! Source: reclaim.md's observed behaviour of 6.12; Documentation/mm/physical_memory.rst for the types.

/// Pages of a page block (order 10).
pub const PAGEBLOCK_PAGES: u32 = 1024;

/// Migrate types. The kernel's RECLAIMABLE counts as unmovable: both always may steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Migrate {
    /// Kernel memory: the pool, slabs, page tables.
    Unmovable = 0,
    /// Pages of applications.
    Movable = 1,
}

/// The lists; behind the zone's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buddy {
    whole: u32,
    loose: [u32; 2],
    out: [u32; 2],
    borrowed: [u32; 2],
    /// Remainders of the proportional return.
    turn: [u32; 2],
}

impl Buddy {
    pub fn new(free_pages: u32) -> Self {
        let loose = [0, free_pages % PAGEBLOCK_PAGES];
        Self { whole: free_pages / PAGEBLOCK_PAGES, loose, ..Self::default() }
    }

    pub fn free_pages(&self) -> u32 {
        self.whole * PAGEBLOCK_PAGES + self.loose[0] + self.loose[1]
    }

    /// Takes one page; `Some(true)` if it was a boost event, `None` if there is none.
    pub fn take(&mut self, of: Migrate) -> Option<bool> {
        let (own, other) = (of as usize, 1 - of as usize);
        let stolen = self.loose[own] == 0;
        if self.loose[own] == 0 && self.whole > 0 {
            self.whole -= 1;
            self.loose[own] = PAGEBLOCK_PAGES;
        }
        let from = if self.loose[own] > 0 { own } else { other };
        self.loose[from] = self.loose[from].checked_sub(1)?;
        self.out[own] += 1;
        self.borrowed[own] += u32::from(from != own);
        Some(stolen && of == Migrate::Unmovable)
    }

    /// Takes one page back.
    pub fn give(&mut self, of: Migrate) {
        let own = of as usize;
        debug_assert!(self.out[own] > 0, "a page comes back that was not out");
        self.turn[own] += self.borrowed[own];
        let home = match self.borrowed[own] > 0 && self.turn[own] >= self.out[own] {
            true => {
                self.turn[own] = 0;
                self.borrowed[own] -= 1;
                1 - own
            }
            false => own,
        };
        self.loose[home] += 1;
        self.out[own] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Migrate::{Movable, Unmovable};

    #[test]
    fn whole_blocks_are_claimed_and_then_single_pages_are_stolen() {
        let mut buddy = Buddy::new(2 * PAGEBLOCK_PAGES + 3);
        assert_eq!(buddy.take(Unmovable), Some(true), "claims a block");
        assert_eq!(buddy.take(Unmovable), Some(false), "its own by now");
        (0..3 + PAGEBLOCK_PAGES).for_each(|_| assert_eq!(buddy.take(Movable), Some(false)));
        (2..PAGEBLOCK_PAGES).for_each(|_| assert_eq!(buddy.take(Unmovable), Some(false)));
        assert_eq!((buddy.free_pages(), buddy.take(Unmovable), buddy.take(Movable)), (0, None, None));
        buddy.give(Movable);
        assert_eq!(buddy.take(Unmovable), Some(true), "out of a movable block");
    }

    proptest::proptest! {
        #[test]
        fn pages_are_neither_made_nor_lost(ops in proptest::collection::vec(0u8..4, 0..4000), free in 0u32..5000) {
            let mut buddy = Buddy::new(free);
            for op in ops {
                let of = if op & 1 == 0 { Unmovable } else { Movable };
                match op & 2 {
                    0 => { let _ = buddy.take(of); }
                    _ if buddy.out[of as usize] > 0 => buddy.give(of),
                    _ => {}
                }
                proptest::prop_assert_eq!(buddy.free_pages() + buddy.out[0] + buddy.out[1], free);
                proptest::prop_assert!((0..2).all(|t| buddy.borrowed[t] <= buddy.out[t]));
            }
        }
    }
}
