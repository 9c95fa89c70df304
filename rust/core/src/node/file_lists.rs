//! A group's lists of page cache: `inactive_file` and `active_file`.

use super::Lruvec;
use crate::filemap::{FileFolio, flag};
use crate::list::List;
use crate::units::SWAP_CLUSTER_MAX;

/// Both lists; on which one a folio is, PG_active says.
#[derive(Clone, Debug, Default)]
pub struct FileLists {
    inactive: List,
    active: List,
}

impl FileLists {
    /// Pages on the inactive list and on the active one.
    pub fn sizes(&self) -> [u32; 2] {
        [self.inactive.len(), self.active.len()]
    }

    fn of(&mut self, flags: u32) -> &mut List {
        if flags & flag::ACTIVE == 0 { &mut self.inactive } else { &mut self.active }
    }

    /// Adds a folio that is on no list at the head of its list (`lruvec_add_folio`).
    pub fn add(&mut self, folios: &[FileFolio], index: u32) {
        let flags = folios[index as usize].change(flag::LRU, flag::ISOLATED);
        self.of(flags).add_head(folios, index);
    }

    /// Takes a folio off its list (`lruvec_del_folio`).
    pub fn del(&mut self, folios: &[FileFolio], index: u32) {
        let flags = folios[index as usize].change(0, flag::LRU);
        self.of(flags).del(folios, index);
    }

    /// `isolate_lru_folios`: takes the folio at the inactive tail.
    pub fn isolate(&mut self, folios: &[FileFolio]) -> Option<u32> {
        let index = self.inactive.tail()?;
        self.del(folios, index);
        folios[index as usize].change(flag::ISOLATED, 0);
        Some(index)
    }

    /// `folio_activate`: a listed inactive folio goes to the head of the active list.
    pub fn activate(&mut self, folios: &[FileFolio], index: u32) {
        self.del(folios, index);
        folios[index as usize].change(flag::ACTIVE, 0);
        self.add(folios, index);
    }

    /// `shrink_active_list`: up to 32 folios from the active tail go to the inactive head, but code in use (`is_code_in_use`, which clears
    /// the accessed bit) back to the active one's. How many were looked at, and how many stayed.
    pub fn age(&mut self, folios: &[FileFolio], is_code_in_use: impl Fn(&FileFolio) -> bool) -> (u32, u32) {
        let tail: Vec<u32> = self.active.from_tail(folios).take(SWAP_CLUSTER_MAX).collect();
        let mut stayed = 0;
        for &index in &tail {
            let folio = &folios[index as usize];
            self.del(folios, index);
            match is_code_in_use(folio) {
                true => stayed += 1,
                false => _ = folio.change(flag::WORKINGSET, flag::ACTIVE),
            }
            self.add(folios, index);
        }
        (tail.len() as u32, stayed)
    }
}

impl Lruvec {
    /// Adds a folio of the page cache that is on no list: at the head of the list that PG_active asks for, or to the youngest generation.
    pub fn add_file(&mut self, folios: &[FileFolio], index: u32) {
        match &mut self.generations {
            Some(generations) => generations.add_file(folios, index),
            None => self.file.add(folios, index),
        }
    }

    /// Takes the folio of the page cache that reclaim comes to next.
    pub fn isolate_file(&mut self, folios: &[FileFolio]) -> Option<u32> {
        match &mut self.generations {
            Some(generations) => generations.isolate_file(folios),
            None => self.file.isolate(folios),
        }
    }
}
