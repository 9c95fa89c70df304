//! The generations of a group's anonymous pages (multi-gen LRU): up to four lists, numbered by when their pages were last seen in use.
//!
//! A page on generation `seq` is on list `seq % 4`, which the folio knows. Aging opens a new youngest generation; eviction takes from the
//! oldest, as long as there are more than two. Source: Documentation/mm/multigen_lru.rst, admin-guide/mm/multigen_lru.rst; reclaim.md section 12.

use super::{Place, Sizes};
use crate::folio::Folio;
use crate::list::List;

/// Generations that eviction leaves.
pub const MIN_NR_GENS: u32 = 2;
/// Generations there can be.
pub const MAX_NR_GENS: u32 = 4;

/// The generations of one group: `min_seq <= seq <= max_seq`.
#[derive(Clone, Debug)]
pub struct Generations {
    lists: [List; MAX_NR_GENS as usize],
    min_seq: u32,
    max_seq: u32,
}

impl Default for Generations {
    fn default() -> Self {
        Self { lists: Default::default(), min_seq: 0, max_seq: MIN_NR_GENS + 1 }
    }
}

impl Generations {
    /// The oldest generation's number.
    pub fn min_seq(&self) -> u32 {
        self.min_seq
    }

    /// The youngest generation's number.
    pub fn max_seq(&self) -> u32 {
        self.max_seq
    }

    fn nr_gens(&self) -> u32 {
        self.max_seq - self.min_seq + 1
    }

    fn list(&mut self, seq: u32) -> &mut List {
        &mut self.lists[(seq % MAX_NR_GENS) as usize]
    }

    /// Pages of generation `seq`.
    pub fn len(&self, seq: u32) -> u32 {
        self.lists[(seq % MAX_NR_GENS) as usize].len()
    }

    /// As the kernel counts them: the two youngest generations are active.
    pub(super) fn sizes(&self) -> Sizes {
        let active = self.len(self.max_seq) + self.len(self.max_seq - 1);
        let all: u32 = self.lists.iter().map(List::len).sum();
        Sizes { inactive: all - active, active, inactive_file: 0 }
    }

    /// Adds a page that is on no list: to the youngest, to the one before it, or at the oldest one's tail.
    pub(super) fn add(&mut self, folios: &[Folio], page: u32, place: Place) {
        let seq = match place {
            Place::Active => self.max_seq,
            Place::Inactive => self.max_seq - 1,
            Place::Tail => self.min_seq,
        };
        folios[page as usize].set_lru_gen(seq % MAX_NR_GENS);
        match place {
            Place::Tail => self.list(seq).add_tail(folios, page),
            _ => self.list(seq).add_head(folios, page),
        }
    }

    /// Takes a page off its generation.
    pub(super) fn del(&mut self, folios: &[Folio], page: u32) {
        self.list(folios[page as usize].lru_gen()).del(folios, page);
    }

    /// The page that eviction takes next: at the tail of the oldest generation that has any, unless only two are left.
    pub fn oldest(&mut self) -> Option<u32> {
        while self.nr_gens() > MIN_NR_GENS && self.len(self.min_seq) == 0 {
            self.min_seq += 1; // `try_to_inc_min_seq`
        }
        if self.nr_gens() > MIN_NR_GENS { self.list(self.min_seq).tail() } else { None }
    }

    /// Whether it is time to age (`should_run_aging`): with two generations; with three, when too much is young or too little old.
    pub fn should_run_aging(&mut self) -> bool {
        let _ = self.oldest();
        let all = self.lists.iter().map(List::len).sum::<u32>();
        match self.nr_gens() {
            ..=MIN_NR_GENS => true,
            3 => self.len(self.max_seq) * 2 > all || self.len(self.min_seq) * 4 < all,
            _ => false,
        }
    }

    /// `inc_max_seq`: a new youngest generation; where there are four, the oldest joins the next.
    pub fn inc_max_seq(&mut self, folios: &[Folio]) {
        if self.nr_gens() == MAX_NR_GENS {
            let (from, to) = (self.min_seq, self.min_seq + 1);
            while let Some(page) = self.lists[(from % MAX_NR_GENS) as usize].head() {
                self.list(from).del(folios, page);
                self.list(to).add_tail(folios, page);
                folios[page as usize].set_lru_gen(to % MAX_NR_GENS);
            }
            self.min_seq = to;
        }
        self.max_seq += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folios(n: u32) -> Vec<Folio> {
        (0..n).map(|_| Folio::absent(0, 0)).collect()
    }

    #[test]
    fn pages_grow_old_and_are_evicted_oldest_first() {
        let (folios, mut gens) = (folios(6), Generations::default());
        assert_eq!(gens.oldest(), None, "nothing there: down to two generations");
        assert_eq!(gens.nr_gens(), 2);
        (0..2).for_each(|page| gens.add(&folios, page, Place::Active));
        assert_eq!((gens.oldest(), gens.should_run_aging()), (None, true), "the two youngest are not evicted");
        gens.inc_max_seq(&folios);
        gens.add(&folios, 2, Place::Active);
        gens.inc_max_seq(&folios);
        assert_eq!(gens.oldest(), Some(0));
        gens.del(&folios, 1);
        gens.add(&folios, 1, Place::Active);
        gens.del(&folios, 0);
        assert_eq!(gens.oldest(), None, "seen again, page 1 is young, and page 2 one of the two youngest");
        gens.inc_max_seq(&folios);
        assert_eq!(gens.oldest(), Some(2));
        gens.add(&folios, 3, Place::Tail);
        assert_eq!((gens.oldest(), gens.sizes().active), (Some(3), 1));
    }

    #[test]
    fn the_oldest_of_four_joins_the_next_and_goes_first() {
        let (folios, mut gens) = (folios(4), Generations::default());
        for page in 0..4 {
            gens.add(&folios, page, Place::Tail);
            gens.inc_max_seq(&folios);
        }
        let order: Vec<u32> = std::iter::from_fn(|| gens.oldest().inspect(|&page| gens.del(&folios, page))).collect();
        assert_eq!((order.len(), gens.nr_gens()), (4, 2));
    }
}
