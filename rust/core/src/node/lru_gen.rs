//! The generations of a group's anonymous pages (multi-gen LRU): up to four lists, numbered by when their pages were last seen in use.
//!
//! A page belongs to a generation and is on a list, and the folio knows both. Aging opens a new youngest generation. A page that is seen in
//! use belongs to the youngest at once, but stays on its list until eviction comes to it there and sorts it away. Eviction takes from the
//! oldest, as long as there are more than two. A large folio is listed by its first page and counts all of them.
//! Source: Documentation/mm/multigen_lru.rst, admin-guide/mm/multigen_lru.rst; observed on 6.12 (docs/kernel-map.md).

use super::Place;
use super::file_gens::FileGens;
use crate::folio::Folio;
use crate::list::List;

/// Generations that eviction leaves.
pub const MIN_NR_GENS: u32 = 2;
/// Generations there can be.
pub const MAX_NR_GENS: u32 = 4;

/// Pages that one page table maps.
pub const PTRS_PER_PTE: u32 = 512;

/// The page tables that a walk looks into: those where the walk before or eviction since found enough pages young. Exact, where
/// the kernel has a Bloom filter of 32768 bits.
#[derive(Clone, Debug, Default)]
struct Filter(Option<Vec<u64>>);

impl Filter {
    /// Whether `table` is in it; a filter that no walk has emptied yet lets all pass.
    fn has(&self, table: u32) -> bool {
        let Some(words) = &self.0 else { return true };
        words.get(table as usize / 64).is_some_and(|word| word >> (table % 64) & 1 != 0)
    }

    fn add(&mut self, table: u32) {
        let Some(words) = &mut self.0 else { return };
        let word = table as usize / 64;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (table % 64);
    }
}

/// The generations of one group: `min_seq <= seq <= max_seq`.
#[derive(Clone, Debug)]
pub struct Generations {
    lists: [List; MAX_NR_GENS as usize],
    /// Pages that belong to each.
    nr_pages: [u32; MAX_NR_GENS as usize],
    min_seq: u32,
    max_seq: u32,
    /// By the parity of the walk's `seq`.
    filters: [Filter; 2],
    /// The `seq` of the last walk that began.
    walked: Option<u32>,
    pub(super) file: FileGens,
}

impl Default for Generations {
    fn default() -> Self {
        let (lists, nr_pages) = ([List::default(); MAX_NR_GENS as usize], [0; MAX_NR_GENS as usize]);
        Self {
            lists,
            nr_pages,
            min_seq: 0,
            max_seq: MIN_NR_GENS + 1,
            filters: Default::default(),
            walked: None,
            file: FileGens::default(),
        }
    }
}

/// Whether enough of `looked_at` page table entries were young for their neighbourhood to be worth a walk: one in each cache line.
pub fn suitable_to_scan(looked_at: u32, young: u32) -> bool {
    young * 8 >= looked_at
}

const fn gen_of(seq: u32) -> usize {
    (seq % MAX_NR_GENS) as usize
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

    /// How many there are.
    pub fn nr_gens(&self) -> u32 {
        self.max_seq - self.min_seq + 1
    }

    /// Pages that belong to generation `seq`.
    pub fn len(&self, seq: u32) -> u32 {
        self.nr_pages[gen_of(seq)]
    }

    /// Inactive pages and active ones, as the kernel counts them: the two youngest generations are active.
    pub(super) fn sizes(&self) -> [u32; 2] {
        let active = self.len(self.max_seq) + self.len(self.max_seq - 1);
        [self.total() - active, active]
    }

    fn total(&self) -> u32 {
        self.nr_pages.iter().sum()
    }

    /// Adds a page that is on no list: to the youngest, to the one before it, or at the oldest one's tail.
    pub(super) fn add(&mut self, folios: &[Folio], page: u32, place: Place) {
        let seq = match place {
            Place::Active => self.max_seq,
            Place::Inactive => self.max_seq - 1,
            Place::Tail => self.min_seq,
        };
        self.put(folios, page, seq, place == Place::Tail);
    }

    fn put(&mut self, folios: &[Folio], page: u32, seq: u32, at_tail: bool) {
        let of = gen_of(seq);
        folios[page as usize].set_lru_gen(of as u8, of as u8);
        self.nr_pages[of] += folios[page as usize].nr_pages();
        match at_tail {
            true => self.lists[of].add_tail(folios, page),
            false => self.lists[of].add_head(folios, page),
        }
    }

    /// Takes a folio off its list.
    pub fn del(&mut self, folios: &[Folio], page: u32) {
        self.del_pages(folios, page, folios[page as usize].nr_pages());
    }

    /// The same of a folio that had `nr_pages` pages when it was added.
    pub(super) fn del_pages(&mut self, folios: &[Folio], page: u32, nr_pages: u32) {
        let (of, list) = folios[page as usize].lru_gen();
        self.nr_pages[usize::from(of)] -= nr_pages;
        self.lists[usize::from(list)].del(folios, page);
    }

    /// `folio_update_gen`: a listed folio was seen in use, and belongs to the youngest generation.
    pub fn update_gen(&mut self, folios: &[Folio], page: u32) {
        let (of, list) = folios[page as usize].lru_gen();
        let (youngest, nr_pages) = (gen_of(self.max_seq), folios[page as usize].nr_pages());
        self.nr_pages[usize::from(of)] -= nr_pages;
        self.nr_pages[youngest] += nr_pages;
        folios[page as usize].set_lru_gen(youngest as u8, list);
    }

    /// The page that eviction comes to next: at the tail of the oldest generation's list, unless only two are left.
    pub fn oldest(&self) -> Option<u32> {
        if self.nr_gens() > MIN_NR_GENS { self.lists[gen_of(self.min_seq)].tail() } else { None }
    }

    /// Whether a page on the oldest list belongs to a younger generation.
    pub fn is_promoted(&self, folios: &[Folio], page: u32) -> bool {
        usize::from(folios[page as usize].lru_gen().0) != gen_of(self.min_seq)
    }

    /// `sort_folio`: a page on the oldest list goes to the head of its generation's, or if it is not promoted of the next one's.
    pub fn sort(&mut self, folios: &[Folio], page: u32) {
        let of = usize::from(folios[page as usize].lru_gen().0);
        let steps = (of as u32 + MAX_NR_GENS - self.min_seq % MAX_NR_GENS) % MAX_NR_GENS;
        self.del(folios, page);
        self.put(folios, page, self.min_seq + steps.max(1), false);
    }

    /// A page that this reclaim may not isolate goes to the head of the list that it is on.
    pub fn skip(&mut self, folios: &[Folio], page: u32) {
        let list = &mut self.lists[usize::from(folios[page as usize].lru_gen().1)];
        list.del(folios, page);
        list.add_head(folios, page);
    }

    /// `try_to_inc_min_seq`: passes over empty generations, down to two, anonymous ones no further than page cache; for each of the two
    /// kinds whether there were any.
    pub fn try_to_inc_min_seq(&mut self) -> [bool; 2] {
        let before = self.min_seq;
        let file = self.file.try_to_inc_min_seq(self.max_seq);
        while self.nr_gens() > MIN_NR_GENS
            && self.min_seq < self.file.bound()
            && self.lists[gen_of(self.min_seq)].is_empty()
        {
            self.min_seq += 1;
        }
        [self.min_seq != before, file]
    }

    /// Whether it is time to age, beside `read_once` pages of the page cache, the oldest there are (`should_run_aging`): with two
    /// generations, or with three, when too much is young or too little old.
    pub fn should_run_aging(&self, read_once: u32) -> bool {
        let all = self.total() + self.file.total() + read_once;
        let young = self.len(self.max_seq) + self.file.len(self.max_seq);
        let old = self.len(self.min_seq) + self.file.len(self.min_seq) + read_once;
        match self.nr_gens() {
            ..=MIN_NR_GENS => true,
            3 => young * 2 > all || old * 4 < all,
            _ => false,
        }
    }

    /// `inc_max_seq`: a new youngest generation; where there are four, the oldest joins the next.
    pub fn inc_max_seq(&mut self, folios: &[Folio]) {
        if self.nr_gens() == MAX_NR_GENS {
            let (from, to) = (gen_of(self.min_seq), gen_of(self.min_seq + 1));
            while let Some(page) = self.lists[from].head() {
                let (of, _) = folios[page as usize].lru_gen();
                let of = if usize::from(of) == from { to } else { usize::from(of) };
                self.del(folios, page);
                self.nr_pages[of] += folios[page as usize].nr_pages();
                self.lists[of].add_tail(folios, page);
                folios[page as usize].set_lru_gen(of as u8, of as u8);
            }
            self.min_seq += 1;
        }
        self.max_seq += 1;
    }

    /// Begins the walk of the youngest generation, and returns its number; `None`: it has begun, and there is no other process to walk.
    pub fn begin_walk(&mut self) -> Option<u32> {
        if self.walked.replace(self.max_seq) == Some(self.max_seq) {
            return None;
        }
        self.filters[(self.max_seq + 1) as usize % 2] = Filter(Some(Vec::new()));
        Some(self.max_seq)
    }

    /// Whether the walk under way looks into `table`.
    pub fn is_walked(&self, table: u32) -> bool {
        self.filters[self.max_seq as usize % 2].has(table)
    }

    /// Has the next walk look into `table` again: this one found enough young.
    pub fn walk_again(&mut self, table: u32) {
        self.filters[(self.max_seq + 1) as usize % 2].add(table);
    }

    /// Has the walk that comes look into `table`: eviction found enough young.
    pub fn walk_soon(&mut self, table: u32) {
        self.filters[self.max_seq as usize % 2].add(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folios(n: u32) -> Vec<Folio> {
        (0..n).map(|_| Folio::absent(0, 0)).collect()
    }

    fn next(gens: &mut Generations) -> Option<u32> {
        gens.try_to_inc_min_seq();
        gens.oldest()
    }

    #[test]
    fn pages_grow_old_and_are_evicted_oldest_first() {
        let (folios, mut gens) = (folios(6), Generations::default());
        assert_eq!(next(&mut gens), None, "nothing there: down to two generations");
        assert_eq!(gens.nr_gens(), 2);
        (0..2).for_each(|page| gens.add(&folios, page, Place::Active));
        assert_eq!((next(&mut gens), gens.should_run_aging(0)), (None, true), "the two youngest are not evicted");
        gens.inc_max_seq(&folios);
        gens.add(&folios, 2, Place::Active);
        gens.inc_max_seq(&folios);
        assert_eq!(next(&mut gens), Some(0));
        gens.del(&folios, 0);
        gens.update_gen(&folios, 1);
        assert_eq!(next(&mut gens), Some(1), "it is still on its list");
        assert!(gens.is_promoted(&folios, 1));
        gens.sort(&folios, 1);
        assert_eq!(next(&mut gens), None, "page 1 is young, and page 2 one of the two youngest");
        gens.inc_max_seq(&folios);
        assert_eq!(next(&mut gens), Some(2));
        gens.add(&folios, 3, Place::Tail);
        assert_eq!((next(&mut gens), gens.sizes()[1]), (Some(3), 1));
        gens.sort(&folios, 3);
        assert_eq!((next(&mut gens), gens.sizes()[1]), (Some(2), 2), "waiting for writeback: one generation younger");
    }

    #[test]
    fn the_oldest_of_four_joins_the_next_and_goes_first() {
        let (folios, mut gens) = (folios(4), Generations::default());
        for page in 0..4 {
            gens.add(&folios, page, Place::Tail);
            gens.inc_max_seq(&folios);
        }
        let order: Vec<u32> = std::iter::from_fn(|| next(&mut gens).inspect(|&page| gens.del(&folios, page))).collect();
        assert_eq!((order.len(), gens.nr_gens()), (4, 2));
    }

    #[test]
    fn skipped_pages_come_last_in_their_generation() {
        let (folios, mut gens) = (folios(3), Generations::default());
        (0..3).for_each(|page| gens.add(&folios, page, Place::Active));
        (0..2).for_each(|_| gens.inc_max_seq(&folios));
        assert_eq!(next(&mut gens), Some(0));
        gens.skip(&folios, 0);
        let order: Vec<u32> = std::iter::from_fn(|| next(&mut gens).inspect(|&page| gens.del(&folios, page))).collect();
        assert_eq!((order, gens.total()), (vec![1, 2, 0], 0));
    }

    #[test]
    fn a_promoted_page_does_not_join_the_next_generation_with_its_list() {
        let (folios, mut gens) = (folios(2), Generations::default());
        (0..2).for_each(|page| gens.add(&folios, page, Place::Tail));
        gens.update_gen(&folios, 0);
        gens.inc_max_seq(&folios);
        assert_eq!((gens.min_seq(), gens.len(1), gens.len(3)), (1, 1, 1));
        assert_eq!((next(&mut gens), folios[0].lru_gen()), (Some(1), (3, 3)));
    }

    #[test]
    fn a_large_folio_counts_all_its_pages_wherever_it_goes() {
        let folios: Vec<Folio> = (0..12).map(|page| Folio::new(0, 0).of_order(2, page)).collect();
        let mut gens = Generations::default();
        for head in [0, 4] {
            gens.add(&folios, head, Place::Tail);
        }
        gens.update_gen(&folios, 0);
        assert_eq!([0, 1, 2, 3].map(|seq| gens.len(seq)), [4, 0, 0, 4]);
        gens.inc_max_seq(&folios);
        assert_eq!([1, 2, 3, 4].map(|seq| gens.len(seq)), [4, 0, 4, 0], "four join the next, four have left already");
        assert_eq!(next(&mut gens), Some(4));
        gens.sort(&folios, 4);
        gens.del_pages(&folios, 0, 4);
        assert_eq!((gens.len(2), gens.total()), (4, 4));
    }

    #[test]
    fn a_walk_looks_where_the_last_one_or_eviction_found_pages_young() {
        let mut gens = Generations::default();
        assert_eq!((gens.begin_walk(), gens.begin_walk()), (Some(3), None), "one at a time");
        assert!(gens.is_walked(0) && gens.is_walked(900), "the first walk looks everywhere");
        gens.walk_again(70);
        gens.inc_max_seq(&[]);
        gens.walk_soon(3);
        assert_eq!([3, 70, 71].map(|table| gens.is_walked(table)), [true, true, false]);
        assert_eq!(gens.begin_walk(), Some(4));
        gens.inc_max_seq(&[]);
        assert!(![3, 70].iter().any(|&table| gens.is_walked(table)));
        assert!(suitable_to_scan(512, 64) && !suitable_to_scan(512, 63) && suitable_to_scan(3, 1));
    }
}
