//! The generations of a group's page cache (multi-gen LRU): pages of mappings, whose accessed bits say when they were last in use.
//!
//! They are numbered as those of anonymous pages are, and `max_seq` is the same; which generation is the oldest is each kind's own, but that
//! anonymous pages do not get ahead. A page that is seen in use goes to the youngest list at once. Pages that are read by read(2) have no
//! place here: what protects them in the kernel is tiers, which are left out. Source: Documentation/mm/multigen_lru.rst.

use super::lru_gen::{Generations, MAX_NR_GENS, MIN_NR_GENS};
use crate::filemap::{FileFolio, flag};
use crate::list::List;

const GENS: usize = MAX_NR_GENS as usize;

/// The lists, and the oldest one's number.
#[derive(Clone, Debug, Default)]
pub(super) struct FileGens {
    lists: [List; GENS],
    min_seq: u32,
    /// Whether there ever was a page.
    in_use: bool,
}

impl FileGens {
    fn list(&mut self, seq: u32) -> &mut List {
        &mut self.lists[(seq % MAX_NR_GENS) as usize]
    }

    /// Pages of generation `seq`; none of one that is gone.
    pub(super) fn len(&self, seq: u32) -> u32 {
        self.lists[(seq % MAX_NR_GENS) as usize].len()
    }

    pub(super) fn total(&self) -> u32 {
        self.lists.iter().map(List::len).sum()
    }

    /// Passes over empty generations, down to two; whether there were any.
    pub(super) fn try_to_inc_min_seq(&mut self, max_seq: u32) -> bool {
        let before = self.min_seq;
        while self.in_use && self.min_seq + MIN_NR_GENS <= max_seq && self.len(self.min_seq) == 0 {
            self.min_seq += 1;
        }
        self.min_seq != before
    }

    /// The number that the oldest generation of anonymous pages may not pass.
    pub(super) fn bound(&self) -> u32 {
        if self.in_use { self.min_seq } else { u32::MAX }
    }
}

impl Generations {
    /// The number of page cache's oldest generation.
    pub fn file_min_seq(&self) -> u32 {
        self.file.min_seq
    }

    /// Pages of page cache in the two youngest generations, and in the others.
    pub(super) fn file_sizes(&self) -> [u32; 2] {
        let active = self.file.len(self.max_seq()) + self.file.len(self.max_seq() - 1);
        [self.file.total() - active, active]
    }

    /// Adds a page that a fault has brought in, or that a scan has found in use, to the youngest generation.
    pub(super) fn add_file(&mut self, folios: &[FileFolio], index: u32) {
        if !self.file.in_use {
            (self.file.in_use, self.file.min_seq) = (true, self.min_seq());
        }
        let seq = self.max_seq();
        folios[index as usize].change(flag::LRU, flag::ISOLATED | flag::ACTIVE);
        folios[index as usize].set_lru_gen(seq);
        self.file.list(seq).add_head(folios, index);
    }

    fn del_file(&mut self, folios: &[FileFolio], index: u32) {
        let folio = &folios[index as usize];
        folio.change(0, flag::LRU);
        self.file.list(folio.lru_gen()).del(folios, index);
    }

    /// A listed page was seen in use.
    pub fn promote_file(&mut self, folios: &[FileFolio], index: u32) {
        self.del_file(folios, index);
        self.add_file(folios, index);
    }

    /// [`Generations::should_run_aging`] where nothing but page cache can be reclaimed.
    pub fn should_age_file(&self, read_once: u32) -> bool {
        let (young, old) = (self.file.len(self.max_seq()), self.file.len(self.max_seq() - MIN_NR_GENS) + read_once);
        let all = self.file.total() + read_once;
        self.file.in_use
            && match self.max_seq() - self.file.min_seq + 1 {
                ..=MIN_NR_GENS => true,
                3 => young * 2 > all || old * 4 < all,
                _ => false,
            }
    }

    /// Whether eviction finds any page cache: more than two generations are left.
    pub fn has_old_file(&self) -> bool {
        self.file.in_use && self.file.min_seq + MIN_NR_GENS <= self.max_seq() && self.file.len(self.file.min_seq) > 0
    }

    /// Takes the page at the tail of the oldest generation.
    pub(super) fn isolate_file(&mut self, folios: &[FileFolio]) -> Option<u32> {
        let index = self.has_old_file().then(|| self.file.list(self.file.min_seq).tail())??;
        self.del_file(folios, index);
        folios[index as usize].change(flag::ISOLATED, 0);
        Some(index)
    }

    /// Before a new youngest generation is opened: where there are four, the oldest joins the next.
    pub fn make_room_for_file(&mut self, folios: &[FileFolio]) {
        if !self.file.in_use || self.max_seq() - self.file.min_seq + 1 < MAX_NR_GENS {
            return;
        }
        let next = self.file.min_seq + 1;
        while let Some(index) = self.file.list(next - 1).head() {
            self.file.list(next - 1).del(folios, index);
            folios[index as usize].set_lru_gen(next);
            self.file.list(next).add_tail(folios, index);
        }
        self.file.min_seq = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filemap::{File, FileAccess, Filemap};
    use proptest::prelude::*;

    const PAGES: u32 = 8;

    /// Pages with the number of their generation, the one at a generation's tail first.
    #[derive(Default)]
    struct Model(Vec<(u32, u32)>);

    impl Model {
        fn take(&mut self, page: u32) -> bool {
            let at = self.0.iter().position(|&(listed, _)| listed == page);
            at.map(|at| self.0.remove(at)).is_some()
        }

        fn oldest(&self) -> Option<(u32, u32)> {
            self.0.iter().copied().min_by_key(|&(_, seq)| seq)
        }
    }

    proptest! {
        /// What comes first is the oldest of the oldest generation, the two youngest excepted; more than four there never are.
        #[test]
        fn generations_are_those_of_a_naive_model(ops in prop::collection::vec((0..PAGES, 0..5u8), 0..120)) {
            let map = Filemap::new(0, &[File { pages: PAGES, memcg: 0, access: FileAccess::Mapped }]);
            let folios = map.folios();
            let (mut gens, mut model) = (Generations::default(), Model::default());
            for (page, op) in ops {
                match op {
                    0 | 1 => {
                        if model.take(page) { gens.promote_file(folios, page) } else { gens.add_file(folios, page) }
                        model.0.push((page, gens.max_seq()));
                    }
                    2 => {
                        gens.make_room_for_file(folios);
                        gens.inc_max_seq(&[]);
                        let least = gens.max_seq() - (MAX_NR_GENS - 1);
                        let mut raised: Vec<_> = model.0.iter().map(|&(page, seq)| (page, seq.max(least))).collect();
                        // Those that join a generation stand at its tail, the oldest last.
                        let joins = |&(page, _): &(u32, u32)| model.0.iter().any(|&(p, seq)| p == page && seq < least);
                        let (first, then): (Vec<_>, Vec<_>) = raised.drain(..).partition(joins);
                        model.0 = first.into_iter().chain(then).collect();
                    }
                    _ => {
                        gens.try_to_inc_min_seq();
                        let old = model.oldest().filter(|&(_, seq)| seq + MIN_NR_GENS <= gens.max_seq());
                        prop_assert_eq!(gens.has_old_file(), old.is_some());
                        prop_assert_eq!(gens.isolate_file(folios), old.map(|(page, _)| page));
                        old.iter().for_each(|&(page, _)| _ = model.take(page));
                    }
                }
                let young = model.0.iter().filter(|&&(_, seq)| seq + 1 >= gens.max_seq()).count() as u32;
                prop_assert_eq!(gens.file_sizes(), [model.0.len() as u32 - young, young]);
                prop_assert!(gens.max_seq() - gens.file_min_seq() < MAX_NR_GENS || model.0.is_empty());
            }
        }
    }
}
