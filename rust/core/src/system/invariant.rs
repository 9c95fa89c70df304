//! Where a system's pages are, and what must add up when it is at rest.

use super::{Store, System, large};
use crate::folio::Folio;
use crate::lifecycle::{State, flag};
use crate::memcg::ROOT;
use crate::node::Lruvec;

impl System {
    /// How many pages are in each state; those of a large folio where its first is.
    pub fn census(&self) -> [u32; State::ALL.len()] {
        let mut census = [0; State::ALL.len()];
        for folio in &self.folios {
            let word = folio.word.load();
            census[word.state() as usize] += large::weight(folio, word);
        }
        census
    }

    /// Checks the accounting of a system at rest.
    ///
    /// # Panics
    /// Where an equation does not hold: lists against PG_lru, entries against states, slots against owners, charges against frames.
    pub fn invariant(&self) {
        self.lists_invariant();
        self.filemap_invariant();
        let owners = self.folios.iter().filter(|f| f.slot() != crate::units::NIL).count();
        assert_eq!(owners as u32, self.slots.used(), "slots against their owners");
        assert_eq!(self.in_flight(), 0, "nothing is in flight");
        if let Some(mm) = &self.mm {
            mm.invariant(self.pool_pages() as u32);
            self.charges_invariant();
        }
        if let Store::Zswap(zswap) = &self.store {
            zswap.invariant();
        }
    }

    /// Each list, of every group and those below it where there are any by group, against PG_lru and PG_active.
    fn lists_invariant(&self) {
        let by_group = self.nodes.iter().any(|node| node.lru().lruvecs().len() > 1);
        let has_lists = |&(group, id): &(&crate::memcg::Memcg, u16)| id == ROOT || by_group && group.is_online();
        for (group, id) in self.memcgs.iter().zip(0..).filter(has_lists) {
            let listed = |active: Option<bool>| {
                let on_it = |folio: &&Folio| {
                    let word = folio.word.load();
                    let below = self.memcgs.is_below(self.memcgs.online(folio.memcg), id);
                    below && word.has(flag::LRU) && active.is_none_or(|active| word.has(flag::ACTIVE) == active)
                };
                self.folios.iter().filter(on_it).map(Folio::nr_pages).sum::<u32>()
            };
            let sizes = self.nodes.iter().map(|node| node.lru().sizes(id));
            let [inactive, active] = sizes.fold([0; 2], |sum, own| [sum[0] + own.inactive, sum[1] + own.active]);
            assert_eq!(listed(None), inactive + active, "{}: PG_lru against the lists", group.name());
            if !self.lru_gen() {
                assert_eq!(listed(Some(true)), active, "{}: PG_active against the lists", group.name());
            }
        }
    }

    /// Every frame is charged to its page's group and those above, and nothing else is.
    fn charges_invariant(&self) {
        for (group, id) in self.memcgs.iter().zip(0..).filter(|&(_, id)| id != ROOT) {
            let with_frame =
                |folio: &&Folio| self.memcgs.is_below(folio.memcg, id) && folio.word.load().has(flag::FRAME);
            let frames = self.folios.iter().filter(with_frame).map(|folio| large::weight(folio, folio.word.load()));
            let pages = frames.sum::<u32>() + self.cached_pages(id);
            assert_eq!(group.frames(), pages.into(), "{}: its charge against its frames", group.name());
        }
    }

    /// The page cache's part: lists against PG_lru and PG_active, frames against pages that are cached, nobody half way.
    fn filemap_invariant(&self) {
        use crate::filemap::flag;
        let count = |set: u32, unset: u32| {
            let folios = self.filemap.folios().iter().map(crate::filemap::FileFolio::flags);
            folios.filter(|flags| flags & set == set && flags & unset == 0).count() as u32
        };
        let lists = self.nodes.iter().flat_map(|node| {
            let lru = node.lru();
            let of = |lruvec: &Lruvec| {
                let sizes = lruvec.sizes();
                [sizes.inactive_file - lruvec.read_once, sizes.active_file]
            };
            lru.lruvecs().iter().map(of).collect::<Vec<_>>()
        });
        let [inactive, active] = lists.fold([0; 2], |sum, own| [sum[0] + own[0], sum[1] + own[1]]);
        if !self.lru_gen() {
            assert_eq!(inactive, count(flag::LRU, flag::ACTIVE), "inactive_file against PG_lru");
            assert_eq!(active, count(flag::LRU | flag::ACTIVE, 0), "active_file against PG_lru and PG_active");
        }
        assert_eq!(inactive + active, count(flag::LRU, 0), "the page cache's lists against PG_lru");
        assert_eq!(count(flag::LRU | flag::CACHED, 0), count(flag::LRU, 0), "what is listed is cached");
        assert_eq!(count(flag::ISOLATED, 0) + count(flag::LOCKED, 0), 0, "no page of a file is half way");
    }
}
