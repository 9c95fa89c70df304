//! The buddy lists of a zone: free chunks of 2^order pages, by the migrate type of the page block they lie in.
//!
//! A request for a page, or for `2^order` in a row, takes the smallest chunk of its own type and splits it; pages that come back join
//! their free neighbours. When its own type has none left, a request falls back on the other's chunks, the largest first: a whole block
//! changes hands; of a smaller chunk the block does, with all that is free in it, if half of it is free or of the request's
//! own kind. That try is a *boost event*. Movable requests try it from order 5 on. When no block can be claimed the request
//! takes a single page out of the smallest chunk and leaves the block as it is; a refill of a CPU's list tries once.
//!
//! Pages of zsmalloc are unmovable in a kernel without compaction, and those of applications movable. The kernel's
//! RECLAIMABLE counts as unmovable: both always may claim.
//! Source: observed on 6.12 (docs/kernel-map.md); Documentation/mm/physical_memory.rst; lwn.net/Articles/224254 (grouping
//! pages by mobility).

use super::map::{Map, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES};
use crate::list::List;

/// Migrate types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Migrate {
    /// Kernel memory: the pool, slabs, page tables.
    Unmovable = 0,
    /// Pages of applications, and the page cache.
    Movable = 1,
}

impl Migrate {
    pub(super) fn other(self) -> Self {
        if self == Self::Movable { Self::Unmovable } else { Self::Movable }
    }

    /// The smallest chunk for whose sake a block may be claimed.
    fn least_claim(self) -> usize {
        if self == Self::Movable { PAGEBLOCK_ORDER / 2 } else { 0 }
    }
}

/// How a request came by its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// How often it tried to claim a part of a block: boost events.
    pub boosts: u32,
    /// It has them from a block that stays the other type's.
    pub stolen: bool,
}

/// No free chunk begins at the page.
const IN_USE: u8 = u8::MAX;

/// The lists; behind the zone's lock. `free = Σ chunks × 2^order`, and `blocks` has the same sum by block.
#[derive(Debug)]
pub(super) struct Buddy {
    lists: [[List; PAGEBLOCK_ORDER + 1]; 2],
    /// By page: the order of the free chunk that begins there.
    orders: Box<[u8]>,
    /// Free pages of each block.
    blocks: Box<[u16]>,
    free: u32,
}

impl Buddy {
    /// All pages of `map` free, in order, but for the first `used` ones, whose blocks are unmovable.
    pub fn new(map: &Map, used: u32) -> Self {
        let mut made = Self {
            lists: Default::default(),
            orders: vec![IN_USE; map.len() as usize].into(),
            blocks: vec![0; map.len().div_ceil(PAGEBLOCK_PAGES) as usize].into(),
            free: map.len() - used,
        };
        (0..used).step_by(PAGEBLOCK_PAGES as usize).for_each(|page| map.set_migrate_type(page, Migrate::Unmovable));
        let mut page = used;
        while page < map.len() {
            let order = page.trailing_zeros().min((map.len() - page).ilog2()).min(PAGEBLOCK_ORDER as u32) as usize;
            made.list(map.migrate_type(page), order).add_tail(&map.pages, page);
            made.orders[page as usize] = order as u8;
            made.blocks[page as usize >> PAGEBLOCK_ORDER] += 1 << order;
            page += 1 << order;
        }
        made
    }

    pub fn free_pages(&self) -> u32 {
        self.free
    }

    fn list(&mut self, of: Migrate, order: usize) -> &mut List {
        &mut self.lists[of as usize][order]
    }

    /// Takes the first of `2^order` pages in a row.
    pub fn take(&mut self, map: &Map, of: Migrate, order: usize) -> Option<(u32, Taken)> {
        let own = self.take_smallest(map, of, order).map(|page| (page, Taken::default()));
        own.or_else(|| self.fall_back(map, of, order))
    }

    /// The same where no block could be claimed just now: out of the other type's smallest chunk.
    pub fn steal(&mut self, map: &Map, of: Migrate, order: usize) -> Option<u32> {
        self.take_smallest(map, of.other(), order)
    }

    /// From the smallest chunk that has as many (`__rmqueue_smallest`, `expand`).
    fn take_smallest(&mut self, map: &Map, of: Migrate, wanted: usize) -> Option<u32> {
        let order = (wanted..=PAGEBLOCK_ORDER).find(|&order| !self.lists[of as usize][order].is_empty())?;
        let page = self.list(of, order).head()?;
        self.list(of, order).del(&map.pages, page);
        self.orders[page as usize] = IN_USE;
        for order in (wanted..order).rev() {
            let upper = page + (1 << order);
            self.list(of, order).add_head(&map.pages, upper);
            self.orders[upper as usize] = order as u8;
        }
        self.free -= 1 << wanted;
        self.blocks[page as usize >> PAGEBLOCK_ORDER] -= 1 << wanted;
        Some(page)
    }

    fn fall_back(&mut self, map: &Map, of: Migrate, wanted: usize) -> Option<(u32, Taken)> {
        let mut boosts = 0;
        for order in (of.least_claim().max(wanted)..=PAGEBLOCK_ORDER).rev() {
            let Some(page) = self.list(of.other(), order).head() else { continue };
            boosts += u32::from(order < PAGEBLOCK_ORDER);
            if order == PAGEBLOCK_ORDER || self.may_claim(map, page, of) {
                self.claim(map, page, of);
                return self.take_smallest(map, of, wanted).map(|page| (page, Taken { boosts, stolen: false }));
            }
        }
        self.steal(map, of, wanted).map(|page| (page, Taken { boosts, stolen: true }))
    }

    /// Whether half of the block that `page` is in is free or used for `of`.
    fn may_claim(&self, map: &Map, page: u32, of: Migrate) -> bool {
        let free = u32::from(self.blocks[page as usize >> PAGEBLOCK_ORDER]);
        let movable = map.movable_pages(page);
        let alike = match of {
            Migrate::Movable => movable,
            Migrate::Unmovable => PAGEBLOCK_PAGES.saturating_sub(free + movable),
        };
        free + alike >= PAGEBLOCK_PAGES / 2
    }

    /// The block that `page` is in changes hands, with its free chunks.
    fn claim(&mut self, map: &Map, page: u32, of: Migrate) {
        let first = page & !(PAGEBLOCK_PAGES - 1);
        let end = (first + PAGEBLOCK_PAGES).min(map.len());
        let mut at = first;
        while at < end {
            let order = self.orders[at as usize];
            if order == IN_USE {
                at += 1;
                continue;
            }
            self.list(of.other(), order.into()).del(&map.pages, at);
            self.list(of, order.into()).add_tail(&map.pages, at);
            at += 1 << order;
        }
        map.set_migrate_type(page, of);
    }

    /// Takes `2^order` pages back from `page` on (`__free_one_page`): they join their free neighbours, chunk by chunk.
    pub fn give(&mut self, map: &Map, page: u32, order: usize) {
        let of = map.migrate_type(page);
        self.free += 1 << order;
        self.blocks[page as usize >> PAGEBLOCK_ORDER] += 1 << order;
        let (mut page, mut order) = (page, order);
        while order < PAGEBLOCK_ORDER && self.is_free(page ^ 1 << order, order) {
            let buddy = page ^ 1 << order;
            self.list(of, order).del(&map.pages, buddy);
            self.orders[buddy as usize] = IN_USE;
            page &= buddy;
            order += 1;
        }
        // A chunk whose neighbour is likely to come back soon goes to the tail, and is left whole as long as can be.
        let above = page & !(1 << order);
        let likely = order + 1 < PAGEBLOCK_ORDER && self.is_free(above ^ 2 << order, order + 1);
        match likely {
            true => self.list(of, order).add_tail(&map.pages, page),
            false => self.list(of, order).add_head(&map.pages, page),
        }
        self.orders[page as usize] = order as u8;
    }

    fn is_free(&self, page: u32, order: usize) -> bool {
        self.orders.get(page as usize).is_some_and(|&free| usize::from(free) == order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Migrate::{Movable, Unmovable};

    fn take(buddy: &mut Buddy, map: &Map, of: Migrate) -> (u32, bool) {
        let (page, taken) = buddy.take(map, of, 0).expect("a page");
        map.note_taken(page, of);
        (page, taken.boosts > 0)
    }

    #[test]
    fn whole_blocks_change_hands_without_a_boost_and_parts_with_one() {
        let map = Map::new(3 * PAGEBLOCK_PAGES);
        let mut buddy = Buddy::new(&map, 0);
        (0..PAGEBLOCK_PAGES).for_each(|page| assert_eq!(take(&mut buddy, &map, Movable), (page, false)));
        assert_eq!(take(&mut buddy, &map, Unmovable), (PAGEBLOCK_PAGES, false), "a whole block");
        (1..PAGEBLOCK_PAGES).for_each(|_| assert!(!take(&mut buddy, &map, Unmovable).1));
        (0..PAGEBLOCK_PAGES / 2).for_each(|_| assert!(!take(&mut buddy, &map, Movable).1));
        let claimed = take(&mut buddy, &map, Unmovable);
        assert_eq!(claimed, (2 * PAGEBLOCK_PAGES + PAGEBLOCK_PAGES / 2, true), "half of the block is free");
        assert_eq!(map.migrate_type(claimed.0), Unmovable);
        assert!(!take(&mut buddy, &map, Unmovable).1, "and all that was free of it is its own by now");
        // A movable request finds a chunk of order 8 there: the block is half movable, and comes back.
        assert!(take(&mut buddy, &map, Movable).1);
        assert_eq!(map.migrate_type(claimed.0), Movable);
    }

    /// One block with 700 pages in use as movable ones.
    fn mostly_movable() -> (Map, Buddy) {
        let map = Map::new(PAGEBLOCK_PAGES);
        let mut buddy = Buddy::new(&map, 0);
        (0..700).for_each(|_| {
            take(&mut buddy, &map, Movable);
        });
        (map, buddy)
    }

    #[test]
    fn a_block_mostly_of_the_other_kind_loses_single_pages_out_of_its_smallest_chunk() {
        let (map, mut buddy) = mostly_movable();
        for page in [10, 12, 13] {
            map.note_given(page, Movable);
            buddy.give(&map, page, 0);
        }
        assert_eq!(take(&mut buddy, &map, Unmovable), (10, true));
        assert_eq!(map.migrate_type(10), Movable);
        assert_eq!(take(&mut buddy, &map, Movable), (12, false));
    }

    #[test]
    fn every_chunk_that_is_tried_in_vain_is_a_boost() {
        let (map, mut buddy) = mostly_movable();
        while buddy.take_smallest(&map, Movable, 0).is_some() {}
        for (page, order) in [(0, 3), (16, 1), (32, 0)] {
            (page..page + (1 << order)).for_each(|page| map.note_given(page, Movable));
            buddy.give(&map, page, order);
        }
        assert_eq!(buddy.take(&map, Unmovable, 0), Some((32, Taken { boosts: 3, stolen: true })));
    }

    /// A part of a block is its kind's however much of it is in use.
    #[test]
    fn what_is_used_for_the_request_s_own_kind_counts_as_much_as_what_is_free() {
        for (movable, claimed) in [(300, true), (600, false)] {
            let map = Map::new(PAGEBLOCK_PAGES);
            let mut buddy = Buddy::new(&map, 0);
            (0..movable).for_each(|_| _ = take(&mut buddy, &map, Movable));
            (movable..800).for_each(|_| _ = buddy.take(&map, Movable, 0)); // Unmovable pages in a movable block.
            let (_, taken) = buddy.take(&map, Unmovable, 0).expect("a page");
            assert_eq!(taken.stolen, !claimed, "{movable} of 800");
            assert_eq!(map.migrate_type(0) == Unmovable, claimed);
        }
    }

    #[test]
    fn for_the_sake_of_a_chunk_below_order_5_a_movable_request_claims_nothing() {
        let map = Map::new(PAGEBLOCK_PAGES);
        let mut buddy = Buddy::new(&map, 0);
        while buddy.take(&map, Unmovable, 0).is_some() {}
        (0..PAGEBLOCK_PAGES).filter(|page| page % 32 != 0).for_each(|page| buddy.give(&map, page, 0));
        assert_eq!(buddy.take(&map, Movable, 0), Some((993, Taken { boosts: 0, stolen: true })));
        buddy.give(&map, 0, 0);
        assert_eq!(buddy.take(&map, Movable, 5), Some((0, Taken { boosts: 1, stolen: false })));
        assert_eq!(map.migrate_type(0), Movable);
    }

    /// Blocks with every page in use.
    fn in_use(blocks: u32) -> (Map, Buddy) {
        let map = Map::new(blocks * PAGEBLOCK_PAGES);
        let mut buddy = Buddy::new(&map, 0);
        while buddy.take(&map, Movable, 0).is_some() {}
        (map, buddy)
    }

    #[test]
    fn what_came_back_last_goes_first_unless_its_neighbour_is_likely_to_follow() {
        for (order, first, chunk, then) in [(0, 8, 6, 4), (0, 8, 4, 7), (1, 16, 0, 6), (1, 16, 4, 0), (2, 64, 24, 16)] {
            let (map, mut buddy) = in_use(1);
            buddy.give(&map, first, order);
            buddy.give(&map, chunk, order + 1);
            buddy.give(&map, then, order);
            let taken = [(); 2].map(|()| buddy.take_smallest(&map, Movable, order));
            assert_eq!(
                taken,
                [Some(first), Some(then)],
                "with {then} beside {chunk} a chunk of order {} is at hand",
                order + 2
            );
        }
        for (order, first, then) in [(0, 8, 20), (1, 16, 40)] {
            let (map, mut buddy) = in_use(1);
            buddy.give(&map, first, order);
            buddy.give(&map, then, order);
            assert_eq!(buddy.take_smallest(&map, Movable, order), Some(then));
        }
    }

    /// A whole block has no neighbour to join.
    #[test]
    fn half_a_block_waits_for_nobody() {
        let (map, mut buddy) = in_use(3);
        buddy.give(&map, 2 * PAGEBLOCK_PAGES, PAGEBLOCK_ORDER - 1);
        buddy.give(&map, PAGEBLOCK_PAGES, PAGEBLOCK_ORDER);
        buddy.give(&map, 0, PAGEBLOCK_ORDER - 1);
        assert_eq!(buddy.take_smallest(&map, Movable, PAGEBLOCK_ORDER - 1), Some(0));
    }

    proptest::proptest! {
        #[test]
        fn pages_are_neither_made_nor_lost_and_chunks_are_whole(
            ops in proptest::collection::vec((0u8..4, 0usize..4000, 0usize..40), 0..4000), pages in 1u32..5000
        ) {
            let map = Map::new(pages);
            let mut buddy = Buddy::new(&map, 0);
            let mut out = Vec::new();
            let mut taken = 0;
            for (op, at, order) in ops {
                let order = if order < 10 { order } else { 0 };
                let of = if op & 1 == 0 { Unmovable } else { Movable };
                match op & 2 {
                    0 => if let Some((page, _)) = buddy.take(&map, of, order) {
                        (page..page + (1 << order)).for_each(|page| map.note_taken(page, of));
                        proptest::prop_assert_eq!(page % (1 << order), 0);
                        taken += 1 << order;
                        out.push((page, of, order));
                    },
                    _ if !out.is_empty() => {
                        let (page, of, order) = out.swap_remove(at % out.len());
                        (page..page + (1 << order)).for_each(|page| map.note_given(page, of));
                        taken -= 1 << order;
                        buddy.give(&map, page, order);
                    }
                    _ => {}
                }
                proptest::prop_assert_eq!(buddy.free_pages() + taken, pages);
            }
            let mut owned = vec![false; pages as usize];
            for page in out.iter().flat_map(|&(page, _, order)| page..page + (1 << order)) {
                proptest::prop_assert!(!std::mem::replace(&mut owned[page as usize], true), "{page} handed out twice");
            }
            for (of, order) in [Unmovable, Movable].into_iter().flat_map(|of| (0..=PAGEBLOCK_ORDER).map(move |o| (of, o))) {
                for first in buddy.lists[of as usize][order].from_tail(&map.pages) {
                    proptest::prop_assert_eq!((first % (1 << order), map.migrate_type(first)), (0, of));
                    let joined = order == PAGEBLOCK_ORDER || !buddy.is_free(first ^ 1 << order, order);
                    proptest::prop_assert!(joined, "{first} beside its free neighbour of order {order}");
                    for page in first..first + (1 << order) {
                        proptest::prop_assert!(!std::mem::replace(&mut owned[page as usize], true), "{page} twice");
                    }
                }
            }
            proptest::prop_assert!(owned.into_iter().all(|owned| owned), "every page is in a chunk or in somebody's hands");
            let free: u32 = buddy.blocks.iter().map(|&free| u32::from(free)).sum();
            proptest::prop_assert_eq!(free, buddy.free_pages());
        }
    }
}
