//! zswap's LRU: one list per memory cgroup and node, under a lock of its own.
//!
//! An entry is on the list of its memcg, or, after that memcg went offline, on the list of the nearest ancestor that has
//! not: [`Lrus::reparent`] moves a list over as a whole, its entries ahead of the parent's. Second chance: an entry met for
//! the first time loses its `referenced` bit and goes to the young end. What is added waits in a word of its own
//! ([`Incoming`]) until somebody locks the list.
//! Lock order: a child's list before its parent's; otherwise no list lock within another.
//! Source: Documentation/admin-guide/mm/zswap.rst; the walk as observed in mm/zswap.c and mm/list_lru.c of 6.12.

use super::entry::{Entry, OWNED};
use crate::list::{List, Listed};
use crate::memcg::Memcgs;
use crate::snapshot::{Reader, Saved, narrow, widen};
use crate::sync::{AtomicU32, AtomicU64, Ordering, SpinGuard, SpinLock, boundary, prefetch_to_write};
use crate::units::NIL;

/// Entries on their way to a list, youngest first, each with the one before it as its `next`, in one word with how many there have been. A
/// store changes this word alone: the list, its lock and the entry at its young end stay where they are, with whoever used them last.
///
/// `added << 32 | youngest`; `youngest` is [`NIL`] where there is none, and [`REPARENTED`] when the memcg is offline and its entries are
/// its parent's.
#[derive(Debug)]
struct Incoming(AtomicU64);

const REPARENTED: u32 = NIL - 1;

impl Default for Incoming {
    fn default() -> Self {
        Self(AtomicU64::new(NIL.into()))
    }
}

impl Incoming {
    /// Puts `slot` before the youngest, and counts `added` more; false: what comes here is the parent's, and was counted alone.
    #[inline]
    fn push(&self, entries: &[Entry], slot: u32, added: u32) -> bool {
        // ORDERING: Relaxed: a guess, which the swap confirms.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (before, youngest) = unpack(word);
            let (count, first) = (before.wrapping_add(added), if youngest == REPARENTED { REPARENTED } else { slot });
            entries[slot as usize].links().set_next(youngest);
            // ORDERING: Release pairs with `take` and `close`: they see the entry and its link.
            match self.0.compare_exchange_weak(word, pack(count, first), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return first == slot,
                Err(found) => word = found,
            }
        }
    }

    /// Takes them all; the youngest, if there is one. The list's lock is held: nobody else takes.
    #[inline]
    fn take(&self) -> u32 {
        // ORDERING: Relaxed: whoever must see an entry has seen it added before; nobody else closes meanwhile.
        match unpack(self.0.load(Ordering::Relaxed)) {
            (_, NIL | REPARENTED) => NIL,
            // ORDERING: Acquire pairs with the Release of all `push`es since the last `take`.
            _ => unpack(self.0.fetch_or(NIL.into(), Ordering::Acquire)).1,
        }
    }

    /// Takes them all, and no more come.
    fn close(&self) -> u32 {
        let closed = |word| Some(pack(unpack(word).0, REPARENTED));
        // ORDERING: Acquire: as in `take`.
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, closed).map_or(NIL, |word| unpack(word).1)
    }

    fn is_closed(&self) -> bool {
        unpack(self.0.load(Ordering::Relaxed)).1 == REPARENTED // ORDERING: Relaxed: under the list's lock, as `close`.
    }

    /// Entries that there have been, modulo 2^32.
    fn added(&self) -> u32 {
        unpack(self.0.load(Ordering::Relaxed)).0 // ORDERING: Relaxed: a counter.
    }
}

fn pack(added: u32, youngest: u32) -> u64 {
    u64::from(added) << 32 | u64::from(youngest)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// On a cache line of its own: every store of a group on a node changes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lruvec {
    /// Counted for this group, on whatever ancestor's list they are.
    incoming: Incoming,
    list: SpinLock<List>,
    /// Entries of this group and node that are no more, modulo 2^32.
    erased: AtomicU32,
    /// Pages read from the device since the shrinker last asked: as many entries are protected.
    nr_disk_swapins: AtomicU64,
    /// What earlier calls of the shrinker were to look at and did not (`nr_deferred`).
    nr_deferred: AtomicU64,
}

impl Lruvec {
    /// Entries that there are.
    fn stored(&self) -> u64 {
        // ORDERING: Relaxed: a counter, which may be read a moment later than the other.
        let stored = self.incoming.added().wrapping_sub(self.erased.load(OWNED)).cast_signed();
        stored.max(0) as u64
    }

    /// The list with all that was added to it, locked.
    fn lock(&self, entries: &[Entry]) -> SpinGuard<'_, List> {
        self.with_incoming(entries, self.list.lock())
    }

    fn lock_within(&self, entries: &[Entry]) -> SpinGuard<'_, List> {
        self.with_incoming(entries, self.list.lock_within())
    }

    fn with_incoming<'a>(&self, entries: &[Entry], mut list: SpinGuard<'a, List>) -> SpinGuard<'a, List> {
        list.prepend(entries, self.incoming.take());
        list
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
    fn lock(&self, entries: &[Entry], memcgs: &Memcgs, memcg: u16, node: u8) -> SpinGuard<'_, List> {
        let (mut lruvec, mut memcg) = (self.lruvec(memcg, node), memcg);
        let mut list = lruvec.lock(entries);
        while lruvec.incoming.is_closed() {
            drop(list);
            memcg = parent(memcgs, memcg);
            lruvec = self.lruvec(memcg, node);
            list = lruvec.lock_within(entries);
        }
        list
    }

    /// Takes what the shrinker has put off.
    pub fn take_deferred(&self, memcg: u16, node: u8) -> u64 {
        self.lruvec(memcg, node).nr_deferred.swap(0, OWNED) // ORDERING: Relaxed: a heuristic's counter.
    }

    /// Puts off looks at so many entries.
    pub fn defer(&self, memcg: u16, node: u8, entries: u64) {
        self.lruvec(memcg, node).nr_deferred.fetch_add(entries, OWNED); // ORDERING: Relaxed: as above.
    }

    /// Asks the CPU for the word that the store of an entry of `memcg` on `node` is about to change.
    #[inline]
    pub fn prefetch(&self, memcg: u16, node: u8) {
        prefetch_to_write(self.lruvec(memcg, node));
    }

    /// Adds an entry, referenced, at the young end, and counts it for its group.
    #[inline]
    pub fn add(&self, entries: &[Entry], memcgs: &Memcgs, slot: u32) {
        let (mut memcg, node) = entries[slot as usize].place();
        entries[slot as usize].referenced.store(true, OWNED);
        boundary();
        let mut added = 1;
        while !self.lruvec(memcg, node).incoming.push(entries, slot, added) {
            (memcg, added) = (parent(memcgs, memcg), 0);
        }
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
        self.lock(entries, memcgs, memcg, node).del(entries, slot);
    }

    /// Looks at the oldest entry of `memcg` itself on `node`.
    pub fn look(&self, entries: &[Entry], memcg: u16, node: u8) -> Look {
        let mut list = self.lruvec(memcg, node).lock(entries);
        let Some(slot) = list.tail() else { return Look::Empty };
        let entry = &entries[slot as usize];
        list.del(entries, slot);
        list.add_head(entries, slot);
        match entry.referenced.swap(false, OWNED) {
            true => Look::Rotated { alone: list.len() == 1 },
            false => Look::Candidate { slot, folio: entry.folio() },
        }
    }

    /// Entries of `memcg` itself on `node`.
    pub fn len(&self, entries: &[Entry], memcg: u16, node: u8) -> u64 {
        u64::from(self.lruvec(memcg, node).lock(entries).len())
    }

    /// The slots of `memcg` itself on `node`, oldest first.
    pub fn slots(&self, entries: &[Entry], memcg: u16, node: u8) -> Vec<u32> {
        self.lruvec(memcg, node).lock(entries).from_tail(entries).collect()
    }

    /// Gives the entries of `memcg`, which is offline, on `node` to its parent.
    pub fn reparent(&self, entries: &[Entry], memcgs: &Memcgs, memcg: u16, node: u8) {
        let Some(parent) = memcgs.parent(memcg) else { return };
        let (child, parent) = (self.lruvec(memcg, node), self.lruvec(parent, node));
        let mut list = child.lock(entries);
        list.prepend(entries, child.incoming.close());
        let mut parents = parent.lock_within(entries);
        debug_assert!(!parent.incoming.is_closed(), "children go offline before their parents");
        parents.append(entries, &mut list);
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
            lruvec.lock(entries).from_tail(entries).for_each(&mut f);
        }
    }

    /// Entries on all lists.
    pub fn total(&self, entries: &[Entry]) -> u64 {
        self.lruvecs.iter().map(|lruvec| u64::from(lruvec.lock(entries).len())).sum()
    }
}

impl Lrus {
    /// Appends the lists to a snapshot.
    pub fn save(&self, entries: &[Entry], out: &mut Saved) {
        for lruvec in &self.lruvecs {
            lruvec.lock(entries).save(entries, out, |names| &names.slots);
            // ORDERING: Relaxed: a saving driver is alone.
            let (swapins, stored) = (lruvec.nr_disk_swapins.load(OWNED), lruvec.stored() as u32);
            out.state.push(swapins << 21 | narrow(stored, 20) << 1 | u64::from(lruvec.incoming.is_closed()));
        }
    }

    /// Takes the lists back, after their entries.
    pub fn restore(&self, entries: &[Entry], from: &mut Reader<'_>) {
        for lruvec in &self.lruvecs {
            lruvec.list.lock().restore(entries, from);
            let word = from.state();
            let youngest = if word & 1 == 1 { REPARENTED } else { NIL };
            lruvec.incoming.0.store(pack(widen(word >> 1, 20), youngest), OWNED); // ORDERING: Relaxed: a restoring driver is alone.
            lruvec.erased.store(0, OWNED); // ORDERING: as above.
            lruvec.nr_disk_swapins.store(word >> 21, OWNED); // ORDERING: as above.
        }
    }
}

fn parent(memcgs: &Memcgs, memcg: u16) -> u16 {
    memcgs.parent(memcg).expect("the root stays online")
}
