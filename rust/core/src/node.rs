//! A node's LRU lists.
//!
//! The lock covers both lists, the links of their folios, and every change of PG_lru and of a listed folio's PG_active.
//! A folio with PG_lru is on exactly one list, the active one iff PG_active; without it, on none.

use crate::folio::Folio;
use crate::list::List;
use crate::snapshot::{Reader, Saved};
use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// The anonymous lists of a node.
#[derive(Clone, Debug, Default)]
pub struct Lru {
    /// `inactive_anon`.
    pub inactive: List,
    /// `active_anon`.
    pub active: List,
}

impl Lru {
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
}

impl Node {
    /// Waits for the LRU lock.
    pub fn lru(&self) -> MutexGuard<'_, Lru> {
        self.lru.lock()
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
