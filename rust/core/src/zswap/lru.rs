//! zswap's LRU: one list per memory cgroup and node, under a lock of its own.
//!
//! An entry is on the list of its memcg, or, after that memcg went offline, on the list of the nearest ancestor that has
//! not: [`Lrus::reparent`] moves a list over as a whole, its entries ahead of the parent's. Second chance: an entry met for
//! the first time loses its `referenced` bit and goes to the young end.
//! Lock order: a child's list before its parent's; otherwise no list lock within another.
//! Source: Documentation/admin-guide/mm/zswap.rst; the walk as observed in mm/zswap.c and mm/list_lru.c of 6.12.

use super::entry::{Entry, OWNED};
use crate::list::List;
use crate::memcg::Memcgs;
use crate::snapshot::{Reader, Saved, narrow, widen};
use crate::sync::{AtomicU32, AtomicU64, SpinGuard, SpinLock, prefetch_to_write};

#[derive(Debug, Default)]
struct Lru {
    list: List,
    /// The memcg is offline and its entries are its parent's.
    reparented: bool,
}

/// On a cache line of its own: every store of a group on a node changes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lruvec {
    lru: SpinLock<Lru>,
    /// Entries there have been of this group and node, on this list or on that of an ancestor: counted under this list's lock.
    added: AtomicU64,
    /// Of those, the ones that are no more.
    erased: AtomicU64,
    /// The entry at the young end, for who prefetches it and needs no true answer.
    youngest: AtomicU32,
    /// Pages read from the device since the shrinker last asked: as many entries are protected.
    nr_disk_swapins: AtomicU64,
    /// What earlier calls of the shrinker were to look at and did not (`nr_deferred`).
    nr_deferred: AtomicU64,
}

impl Lruvec {
    /// Entries that there are.
    fn stored(&self) -> u64 {
        // ORDERING: Relaxed (both): counters, of which one may be read a moment later than the other.
        self.added.load(OWNED).saturating_sub(self.erased.load(OWNED))
    }
}

/// What a look at the oldest entry of a list came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The list is empty.
    Empty,
    /// The entry was referenced: it is not any more, and the youngest. `alone`: there is no other.
    Rotated {
        /// The list has no other entry.
        alone: bool,
    },
    /// The entry to write back, rotated so that the next look is at another.
    Candidate {
        /// Its swap slot.
        slot: u32,
        /// Its folio.
        folio: u32,
    },
}

/// All lists.
#[derive(Debug)]
pub(super) struct Lrus {
    nodes: u8,
    lruvecs: Vec<Lruvec>,
}

impl Lrus {
    /// Empty lists for `groups` memcgs on `nodes` nodes.
    pub fn new(groups: usize, nodes: u8) -> Self {
        let mut lrus = Self { nodes, lruvecs: Vec::new() };
        lrus.grow(groups);
        lrus
    }

    /// Makes lists for memcgs up to `groups`.
    pub fn grow(&mut self, groups: usize) {
        self.lruvecs.resize_with(self.lruvecs.len().max(groups * usize::from(self.nodes)), Lruvec::default);
    }

    pub fn nodes(&self) -> u8 {
        self.nodes
    }

    fn lruvec(&self, memcg: u16, node: u8) -> &Lruvec {
        &self.lruvecs[usize::from(memcg) * usize::from(self.nodes) + usize::from(node)]
    }

    /// The list that an entry of `memcg` is on, locked.
    fn lock(&self, memcgs: &Memcgs, memcg: u16, node: u8) -> SpinGuard<'_, Lru> {
        let mut lru = self.lruvec(memcg, node).lru.lock();
        let mut memcg = memcg;
        while lru.reparented {
            memcg = memcgs.parent(memcg).expect("the root stays online");
            drop(lru);
            lru = self.lruvec(memcg, node).lru.lock_within();
        }
        lru
    }

    /// Takes what the shrinker has put off.
    pub fn take_deferred(&self, memcg: u16, node: u8) -> u64 {
        self.lruvec(memcg, node).nr_deferred.swap(0, OWNED) // ORDERING: Relaxed: a heuristic's counter.
    }

    /// Puts off looks at so many entries.
    pub fn defer(&self, memcg: u16, node: u8, entries: u64) {
        self.lruvec(memcg, node).nr_deferred.fetch_add(entries, OWNED); // ORDERING: Relaxed: as above.
    }

    /// Asks the CPU for the list of `memcg` on `node`, to which an entry is about to be added.
    #[inline]
    pub fn prefetch(&self, memcg: u16, node: u8) {
        prefetch_to_write(self.lruvec(memcg, node));
    }

    /// Asks the CPU for the entry before which that entry is to be linked.
    #[inline]
    pub fn prefetch_youngest(&self, entries: &[Entry], memcg: u16, node: u8) {
        let youngest = self.lruvec(memcg, node).youngest.load(OWNED); // ORDERING: Relaxed: a guess.
        entries.get(youngest as usize).into_iter().for_each(|entry| prefetch_to_write(entry));
    }

    /// Adds an entry, referenced, at the young end, and counts it for its group.
    pub fn add(&self, entries: &[Entry], memcgs: &Memcgs, slot: u32) {
        let (memcg, node) = entries[slot as usize].place();
        let mut lru = self.lock(memcgs, memcg, node);
        entries[slot as usize].referenced.store(true, OWNED);
        lru.list.add_head(entries, slot);
        let lruvec = self.lruvec(memcg, node);
        lruvec.youngest.store(slot, OWNED); // ORDERING: Relaxed: a guess.
        lruvec.added.store(lruvec.added.load(OWNED) + 1, OWNED); // ORDERING: Relaxed: a counter, its writers are ordered by the lock.
    }

    /// An entry of `memcg` on `node` is no more.
    pub fn note_erased(&self, memcg: u16, node: u8) {
        self.lruvec(memcg, node).erased.fetch_add(1, OWNED); // ORDERING: Relaxed: a counter.
    }

    /// Entries that there are.
    pub fn stored(&self) -> u64 {
        self.lruvecs.iter().map(Lruvec::stored).sum()
    }

    /// Takes an entry off its list.
    pub fn del(&self, entries: &[Entry], memcgs: &Memcgs, slot: u32) {
        let (memcg, node) = entries[slot as usize].place();
        self.lock(memcgs, memcg, node).list.del(entries, slot);
    }

    /// Looks at the oldest entry of `memcg` itself on `node`.
    pub fn look(&self, entries: &[Entry], memcg: u16, node: u8) -> Look {
        let mut lru = self.lruvec(memcg, node).lru.lock();
        let Some(slot) = lru.list.tail() else { return Look::Empty };
        let entry = &entries[slot as usize];
        lru.list.del(entries, slot);
        lru.list.add_head(entries, slot);
        match entry.referenced.swap(false, OWNED) {
            true => Look::Rotated { alone: lru.list.len() == 1 },
            false => Look::Candidate { slot, folio: entry.folio() },
        }
    }

    /// Entries of `memcg` itself on `node`.
    pub fn len(&self, memcg: u16, node: u8) -> u64 {
        u64::from(self.lruvec(memcg, node).lru.lock().list.len())
    }

    /// The slots of `memcg` itself on `node`, oldest first.
    pub fn slots(&self, entries: &[Entry], memcg: u16, node: u8) -> Vec<u32> {
        self.lruvec(memcg, node).lru.lock().list.from_tail(entries).collect()
    }

    /// Gives the entries of `memcg`, which is offline, on `node` to its parent.
    pub fn reparent(&self, entries: &[Entry], memcgs: &Memcgs, memcg: u16, node: u8) {
        let Some(parent) = memcgs.parent(memcg) else { return };
        let mut child = self.lruvec(memcg, node).lru.lock();
        let mut parent = self.lruvec(parent, node).lru.lock_within();
        debug_assert!(!parent.reparented, "children go offline before their parents");
        parent.list.append(entries, &mut child.list);
        child.reparented = true;
    }

    /// A page of `memcg` was read from the device.
    pub fn note_disk_swapin(&self, memcg: u16, node: u8) {
        self.lruvec(memcg, node).nr_disk_swapins.fetch_add(1, OWNED); // ORDERING: Relaxed: a heuristic's counter.
    }

    /// Takes up to `entries` protected ones off the counter: those that the shrinker must leave alone now.
    pub fn take_protected(&self, memcg: u16, node: u8, entries: u64) -> u64 {
        let left = |swapins: u64| Some(swapins.saturating_sub(entries));
        // ORDERING: Relaxed: a heuristic's counter; each swap-in protects once.
        let before = self.lruvec(memcg, node).nr_disk_swapins.fetch_update(OWNED, OWNED, left).unwrap_or(0);
        before.min(entries)
    }

    /// The slots on all lists, each list from its oldest.
    pub fn each_slot(&self, entries: &[Entry], mut f: impl FnMut(u32)) {
        for lruvec in &self.lruvecs {
            lruvec.lru.lock().list.from_tail(entries).for_each(&mut f);
        }
    }

    /// Entries on all lists.
    pub fn total(&self) -> u64 {
        self.lruvecs.iter().map(|lruvec| u64::from(lruvec.lru.lock().list.len())).sum()
    }
}

impl Lrus {
    /// Appends the lists to a snapshot.
    pub fn save(&self, entries: &[Entry], out: &mut Saved) {
        for lruvec in &self.lruvecs {
            let lru = lruvec.lru.lock();
            lru.list.save(entries, out, |names| &names.slots);
            // ORDERING: Relaxed: a saving driver is alone.
            let (swapins, stored) = (lruvec.nr_disk_swapins.load(OWNED), lruvec.stored() as u32);
            out.state.push(swapins << 21 | narrow(stored, 20) << 1 | u64::from(lru.reparented));
        }
    }

    /// Takes the lists back, after their entries.
    pub fn restore(&self, entries: &[Entry], from: &mut Reader<'_>) {
        for lruvec in &self.lruvecs {
            let mut lru = lruvec.lru.lock();
            lru.list.restore(entries, from);
            let word = from.state();
            lru.reparented = word & 1 == 1;
            lruvec.added.store(widen(word >> 1, 20).into(), OWNED); // ORDERING: Relaxed: a restoring driver is alone.
            lruvec.erased.store(0, OWNED); // ORDERING: as above.
            lruvec.nr_disk_swapins.store(word >> 21, OWNED); // ORDERING: as above.
        }
    }
}
