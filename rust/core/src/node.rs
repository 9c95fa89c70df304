//! A node's LRU lists, and what reclaim remembers of the node.
//!
//! The lock covers the lists, the links of their folios, and every change of PG_lru and of a listed folio's PG_active.
//! A folio with PG_lru is on exactly one list, the active one iff PG_active; without it, on none.

use crate::folio::Folio;
use crate::list::List;
use crate::snapshot::{Reader, Saved};
use crate::sync::{AtomicBool, AtomicU32, Mutex, MutexGuard, Ordering};

/// The lists of a node. Page-cache pages are clean and never touched again, so a count does for them.
#[derive(Clone, Debug, Default)]
pub struct Lru {
    /// `inactive_anon`.
    pub inactive: List,
    /// `active_anon`.
    pub active: List,
    /// `inactive_file`, in pages.
    pub inactive_file: u32,
    /// Anonymous pages that scans have taken off the lists.
    pub isolated: u32,
    /// What reclaiming anonymous pages has cost lately (`anon_cost`).
    pub anon_cost: u64,
    /// The same of page-cache pages (`file_cost`).
    pub file_cost: u64,
}

impl Lru {
    /// Pages on all lists.
    pub fn len(&self) -> u32 {
        self.inactive.len() + self.active.len() + self.inactive_file
    }

    /// Whether nothing is on them.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `inactive_is_low` of the anonymous lists: fewer inactive pages than active ones, by a ratio that grows with the node.
    pub fn inactive_is_low(&self) -> bool {
        let (inactive, active) = (u64::from(self.inactive.len()), u64::from(self.active.len()));
        let gib = (inactive + active) >> 18;
        inactive * (10 * gib).isqrt().max(1) < active
    }

    /// `lru_note_cost`: writes weigh as much as 32 pages looked at in vain; old costs fade.
    pub fn note_cost(&mut self, file: bool, writes: u64, in_vain: u64) {
        *(if file { &mut self.file_cost } else { &mut self.anon_cost }) += writes * 32 + in_vain;
        while self.anon_cost + self.file_cost > u64::from(self.len()) / 4 {
            (self.anon_cost, self.file_cost) = (self.anon_cost / 2, self.file_cost / 2);
            if self.anon_cost + self.file_cost == 0 {
                break;
            }
        }
    }

    /// The list that a folio with or without PG_active is on.
    pub fn list(&mut self, active: bool) -> &mut List {
        if active { &mut self.active } else { &mut self.inactive }
    }

    /// Moves a listed folio between lists or within one (`lruvec_del_folio`, `lruvec_add_folio`).
    pub fn relocate(&mut self, folios: &[Folio], index: u32, was_active: bool, to_active: bool, to_tail: bool) {
        self.list(was_active).del(folios, index);
        match to_tail {
            true => self.list(to_active).add_tail(folios, index),
            false => self.list(to_active).add_head(folios, index),
        }
    }
}

/// One node.
#[derive(Debug, Default)]
pub struct Node {
    lru: Mutex<Lru>,
    /// Rises whenever something that kswapd may be waiting for has happened.
    progress: AtomicU32,
    /// balance_pgdat() calls since a page was last freed that freed none.
    failures: AtomicU32,
    /// PGDAT_WRITEBACK: a scan met nothing but pages under writeback.
    all_writeback: AtomicBool,
    /// Evictions and activations so far (`nonresident_age`).
    age: AtomicU32,
    /// Refaulted pages activated so far, and as many when reclaim last ended (`refaults`).
    activations: [AtomicU32; 2],
}

impl Node {
    /// Waits for the LRU lock.
    pub fn lru(&self) -> MutexGuard<'_, Lru> {
        self.lru.lock()
    }

    /// `kswapd_failures`.
    pub fn failures(&self) -> u32 {
        // ORDERING: Relaxed: a count that guards nothing.
        self.failures.load(Ordering::Relaxed)
    }

    /// Sets `kswapd_failures`.
    pub fn set_failures(&self, failures: u32) {
        // ORDERING: Relaxed: as above.
        self.failures.store(failures, Ordering::Relaxed);
    }

    /// PGDAT_WRITEBACK.
    pub fn all_writeback(&self) -> bool {
        // ORDERING: Relaxed: a hint to throttle.
        self.all_writeback.load(Ordering::Relaxed)
    }

    /// Sets PGDAT_WRITEBACK.
    pub fn set_all_writeback(&self, set: bool) {
        // ORDERING: Relaxed: as above.
        self.all_writeback.store(set, Ordering::Relaxed);
    }

    /// `nonresident_age` now; `by` pages more have left the lists or become active (`workingset_age_nonresident`).
    pub fn grow_older(&self, by: u32) -> u32 {
        // ORDERING: Relaxed: a clock of list movements; distances are compared, nothing else hangs on it.
        self.age.fetch_add(by, Ordering::Relaxed)
    }

    /// A refaulted page was activated.
    pub fn note_activation(&self) {
        // ORDERING: Relaxed: a counter.
        self.activations[0].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether refaulted pages were activated since [`Node::snapshot_refaults`].
    pub fn has_activations(&self) -> bool {
        // ORDERING: Relaxed (both): counters.
        self.activations[0].load(Ordering::Relaxed) != self.activations[1].load(Ordering::Relaxed)
    }

    /// `snapshot_refaults`: reclaim has ended.
    pub fn snapshot_refaults(&self) {
        // ORDERING: Relaxed (both): counters.
        let now = self.activations[0].load(Ordering::Relaxed);
        self.activations[1].store(now, Ordering::Relaxed); // ORDERING: as above.
    }

    /// Notes that pages of the node became reclaimable.
    pub fn made_progress(&self) {
        // ORDERING: Release: what became reclaimable precedes the note; pairs with `progress`.
        self.progress.fetch_add(1, Ordering::Release);
    }

    /// How often [`Node::made_progress`] was called, modulo 2^32.
    pub fn progress(&self) -> u32 {
        // ORDERING: Acquire: pairs with `made_progress`.
        self.progress.load(Ordering::Acquire)
    }
}

impl Node {
    /// Appends the lists to a snapshot. How often something happened is not in it: whoever waits knows whether it did.
    pub fn save(&self, folios: &[Folio], out: &mut Saved) {
        let lru = self.lru();
        lru.inactive.save(folios, out, |names| &names.pages);
        lru.active.save(folios, out, |names| &names.pages);
    }

    /// Takes the lists back, after their folios; nothing has happened yet.
    pub fn restore(&self, folios: &[Folio], from: &mut Reader<'_>) {
        let mut lru = self.lru();
        lru.inactive.restore(folios, from);
        lru.active.restore(folios, from);
        drop(lru);
        self.forget_progress();
    }

    /// Counts from 0 again: for a driver that is alone and tells whoever remembers a number.
    pub fn forget_progress(&self) {
        // ORDERING: Relaxed: the driver is alone.
        self.progress.store(0, Ordering::Relaxed);
    }
}
