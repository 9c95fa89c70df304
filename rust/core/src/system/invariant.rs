//! Where a system's pages are, and what must add up when it is at rest.

use super::{Store, System, large};
use crate::folio::Folio;
use crate::lifecycle::{State, flag};
use crate::memcg::ROOT;

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
    /// Where an equation does not hold: lists against PG_lru, entries against states, slots against owners.
    pub fn invariant(&self) {
        let listed: u32 = self.folios.iter().filter(|f| f.word.load().has(flag::LRU)).map(Folio::nr_pages).sum();
        let on_lists: u32 = self.nodes.iter().map(|n| n.lru().sizes(ROOT)).map(|s| s.inactive + s.active).sum();
        assert_eq!(listed, on_lists, "PG_lru against the lists");
        let owners = self.folios.iter().filter(|f| f.slot() != crate::units::NIL).count();
        assert_eq!(owners as u32, self.slots.used(), "slots against their owners");
        assert_eq!(self.in_flight(), 0, "nothing is in flight");
        if let Some(mm) = &self.mm {
            mm.invariant(self.pool_pages() as u32);
        }
        if let Store::Zswap(zswap) = &self.store {
            zswap.invariant();
        }
    }
}
