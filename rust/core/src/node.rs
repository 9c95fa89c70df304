//! A node's LRU lists, one set for each memory cgroup (`struct lruvec`), and what reclaim remembers of the node.
//!
//! The lock covers the lists, the links of their folios, and every change of PG_lru and of a listed folio's PG_active.
//! A folio with PG_lru is on exactly one list, that of its group, the active one iff PG_active; without it, on none. The kernel has a
//! lock for each lruvec; as a step sees either, one for the node does.
//!
//! Reclaim decides for a group and its descendants together: sums over the subtree are what its tests read ([`Lru::sizes`]), and
//! costs, ages and activations are noted for the group and every ancestor.

mod file_gens;
mod file_lists;
mod lru_gen;
mod memcg_lru;
mod throttle;
mod workingset;

pub use file_lists::FileLists;
pub use lru_gen::{Generations, MAX_NR_GENS, MIN_NR_GENS, PTRS_PER_PTE, suitable_to_scan};
pub use memcg_lru::{Cursor, MemcgLru, MemcgLruOp};

use crate::folio::Folio;
use crate::list::List;
use crate::memcg::{Memcgs, ROOT};
use crate::snapshot::{Reader, Saved};
use crate::sync::{AtomicU32, Ordering, SpinGuard, SpinLock};
use crate::units::MAX_RECLAIM_RETRIES;
use throttle::Throttle;
use workingset::Workingset;

/// Where a page is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The head of the active list; the youngest generation.
    Active,
    /// The head of the inactive list; the generation before the youngest.
    Inactive,
    /// The tail of the inactive list; the tail of the oldest generation.
    Tail,
}

impl Place {
    /// Where a page with or without PG_active goes.
    pub fn of(active: bool) -> Self {
        if active { Self::Active } else { Self::Inactive }
    }
}

/// The lists of one group on a node.
#[derive(Clone, Debug, Default)]
pub struct Lruvec {
    /// `inactive_anon`.
    pub inactive: List,
    /// `active_anon`.
    pub active: List,
    /// Pages of large folios on the two lists beyond the first of each; generations count all pages themselves.
    tails: [u32; 2],
    /// The multi-gen LRU's lists in the place of the two (`lru_gen`).
    pub generations: Option<Box<Generations>>,
    /// Page cache at the tail of `inactive_file` that was read once before the run, by nobody in it: clean and never touched again, so
    /// that a count does.
    pub read_once: u32,
    /// `inactive_file` but for those, and `active_file`.
    pub file: FileLists,
    /// What reclaiming anonymous pages of it and its descendants has cost lately (`anon_cost`).
    pub anon_cost: u64,
    /// The same of page-cache pages (`file_cost`).
    pub file_cost: u64,
}

impl Lruvec {
    /// Pages on its own lists.
    pub fn sizes(&self) -> Sizes {
        let [inactive, active] = self.tails;
        let lists = [self.inactive.len() + inactive, self.active.len() + active];
        let [inactive, active] = self.generations.as_ref().map_or(lists, |generations| generations.sizes());
        let file = self.generations.as_ref().map(|generations| generations.file_sizes());
        let [inactive_file, active_file] = file.unwrap_or_else(|| self.file.sizes());
        Sizes { inactive, active, inactive_file: self.read_once + inactive_file, active_file }
    }

    fn list(&mut self, active: bool) -> &mut List {
        if active { &mut self.active } else { &mut self.inactive }
    }

    /// Adds a folio that is on no list (`lruvec_add_folio`).
    pub fn add(&mut self, folios: &[Folio], index: u32, place: Place) {
        if let Some(generations) = &mut self.generations {
            return generations.add(folios, index, place);
        }
        self.tails[usize::from(place == Place::Active)] += folios[index as usize].nr_pages() - 1;
        match place {
            Place::Active => self.active.add_head(folios, index),
            Place::Inactive => self.inactive.add_head(folios, index),
            Place::Tail => self.inactive.add_tail(folios, index),
        }
    }

    /// Takes a listed folio, with or without PG_active, off its list (`lruvec_del_folio`).
    pub fn del(&mut self, folios: &[Folio], index: u32, active: bool) {
        self.del_pages(folios, index, active, folios[index as usize].nr_pages());
    }

    /// The same of a folio that had `nr_pages` pages when it was added.
    pub fn del_pages(&mut self, folios: &[Folio], index: u32, active: bool, nr_pages: u32) {
        if let Some(generations) = &mut self.generations {
            return generations.del_pages(folios, index, nr_pages);
        }
        self.tails[usize::from(active)] -= nr_pages - 1;
        self.list(active).del(folios, index);
    }

    /// Moves a listed folio between lists or within one (`lruvec_del_folio`, `lruvec_add_folio`).
    pub fn relocate(&mut self, folios: &[Folio], index: u32, was_active: bool, to_active: bool, to_tail: bool) {
        self.del(folios, index, was_active);
        self.add(folios, index, if to_tail { Place::Tail } else { Place::of(to_active) });
    }
}

/// Pages on lists, of one group or of a subtree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// `nr_inactive_anon`.
    pub inactive: u32,
    /// `nr_active_anon`.
    pub active: u32,
    /// `nr_inactive_file`.
    pub inactive_file: u32,
    /// `nr_active_file`.
    pub active_file: u32,
}

impl Sizes {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.inactive + self.active + self.file()
    }

    /// Those of the page cache.
    pub fn file(&self) -> u32 {
        self.inactive_file + self.active_file
    }

    /// `inactive_is_low` of the anonymous lists: fewer inactive pages than active ones, by a ratio that grows with their number.
    pub fn inactive_is_low(&self) -> bool {
        is_low(self.inactive, self.active)
    }

    /// The same of the page cache's.
    pub fn inactive_file_is_low(&self) -> bool {
        is_low(self.inactive_file, self.active_file)
    }
}

fn is_low(inactive: u32, active: u32) -> bool {
    let (inactive, active) = (u64::from(inactive), u64::from(active));
    let gib = (inactive + active) >> 18;
    inactive * (10 * gib).isqrt().max(1) < active
}

/// The lists of all groups on a node.
#[derive(Clone, Debug)]
pub struct Lru {
    lruvecs: Box<[Lruvec]>,
    /// The group above each; the root's is itself. A parent comes before its children.
    parents: Box<[u16]>,
    /// Anonymous pages that scans have taken off the lists.
    pub isolated: u32,
    /// The same of the page cache.
    pub isolated_file: u32,
}

impl Lru {
    fn new(parents: Box<[u16]>, lru_gen: bool) -> Self {
        let lruvec = Lruvec { generations: lru_gen.then(Box::default), ..Lruvec::default() };
        Self { lruvecs: vec![lruvec; parents.len()].into(), parents, isolated: 0, isolated_file: 0 }
    }

    /// The lists of `memcg`. Where the node keeps one set for everybody: that.
    #[inline]
    pub fn of(&mut self, memcg: u16) -> &mut Lruvec {
        let index = self.index(memcg);
        &mut self.lruvecs[index]
    }

    /// All lists, by group.
    pub fn lruvecs(&self) -> &[Lruvec] {
        &self.lruvecs
    }

    fn index(&self, memcg: u16) -> usize {
        if self.lruvecs.len() == 1 { 0 } else { usize::from(memcg) }
    }

    fn ancestry(&self, memcg: u16) -> impl Iterator<Item = u16> {
        ancestry(&self.parents, self.index(memcg) as u16)
    }

    /// Pages on the lists of `memcg` and its descendants.
    pub fn sizes(&self, memcg: u16) -> Sizes {
        let mut sum = Sizes::default();
        for (lruvec, id) in self.lruvecs.iter().zip(0..) {
            if memcg == ROOT || self.ancestry(id).any(|above| above == memcg) {
                let own = lruvec.sizes();
                sum.inactive += own.inactive;
                sum.active += own.active;
                sum.inactive_file += own.inactive_file;
                sum.active_file += own.active_file;
            }
        }
        sum
    }

    /// Pages on all lists.
    pub fn len(&self) -> u32 {
        self.sizes(ROOT).total()
    }

    /// Whether nothing is on them.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `lru_note_cost` of `memcg` and every ancestor: writes weigh as much as 32 pages looked at in vain; old costs fade.
    pub fn note_cost(&mut self, memcg: u16, file: bool, writes: u64, in_vain: u64) {
        let mut id = self.index(memcg);
        loop {
            let pages = u64::from(self.sizes(id as u16).total());
            self.lruvecs[id].note_cost(file, writes * 32 + in_vain, pages);
            if id == usize::from(ROOT) {
                return;
            }
            id = usize::from(self.parents[id]);
        }
    }
}

impl Lruvec {
    fn note_cost(&mut self, file: bool, cost: u64, pages: u64) {
        *(if file { &mut self.file_cost } else { &mut self.anon_cost }) += cost;
        if self.anon_cost + self.file_cost > pages / 4 {
            (self.anon_cost, self.file_cost) = (self.anon_cost / 2, self.file_cost / 2);
        }
    }
}

/// `id`, the group above it, and so on to the root.
fn ancestry(parents: &[u16], id: u16) -> impl Iterator<Item = u16> {
    std::iter::successors(Some(id), |&id| (id != ROOT).then(|| parents[usize::from(id)]))
}

/// Where partial walks through the groups below one have come to (`mem_cgroup_reclaim_iter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimIter {
    /// The group visited last; `None`: the next walk begins at the top.
    pub position: Option<u16>,
    /// Round trips that have ended.
    pub generation: u32,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    lru: SpinLock<Lru>,
    /// The groups above, as [`Lru`] has them.
    parents: Box<[u16]>,
    workingsets: Box<[Workingset]>,
    /// By the group at whose top walks begin.
    iters: SpinLock<Box<[ReclaimIter]>>,
    /// In which order the node's own reclaim comes to groups, with the multi-gen LRU (`pgdat->memcg_lru`).
    memcg_lru: Option<SpinLock<MemcgLru>>,
    /// Rises whenever something that kswapd may be waiting for has happened.
    progress: AtomicU32,
    /// balance_pgdat() calls since a page was last freed that freed none.
    failures: AtomicU32,
    throttle: Throttle,
}

impl Node {
    /// A node with a set of lists for each group of `memcgs`, or if not `by_memcg` with one for all; `lru_gen`: of generations.
    pub fn new(memcgs: &Memcgs, by_memcg: bool, lru_gen: bool) -> Self {
        let groups = if by_memcg { memcgs.iter().count() as u16 } else { 1 };
        let parents: Box<[u16]> = (0..groups).map(|id| memcgs.parent(id).unwrap_or(ROOT)).collect();
        Self {
            lru: SpinLock::new(Lru::new(parents.clone(), lru_gen)),
            workingsets: parents.iter().map(|_| Workingset::default()).collect(),
            iters: SpinLock::new(vec![ReclaimIter::default(); parents.len()].into()),
            memcg_lru: (lru_gen && groups > 1).then(|| SpinLock::new(MemcgLru::new(groups))),
            parents,
            progress: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            throttle: Throttle::default(),
        }
    }

    /// Waits for the LRU lock.
    pub fn lru(&self) -> SpinGuard<'_, Lru> {
        self.lru.lock()
    }

    /// The walks' positions, for the length of a closure.
    pub fn with_iter<T>(&self, top: u16, f: impl FnOnce(&mut ReclaimIter) -> T) -> T {
        f(&mut self.iters.lock_within()[usize::from(top)])
    }

    /// The order of groups, for the length of a closure; `None`: there is one set of lists, or no generations.
    pub fn with_memcg_lru<T>(&self, f: impl FnOnce(&mut MemcgLru) -> T) -> Option<T> {
        self.memcg_lru.as_ref().map(|lru| f(&mut lru.lock_within()))
    }

    /// Groups that have lists of their own; 1: there is one set for all.
    pub fn groups(&self) -> u16 {
        self.parents.len() as u16
    }

    fn index(&self, memcg: u16) -> u16 {
        if self.groups() == 1 { ROOT } else { memcg }
    }

    /// `kswapd_failures`.
    pub fn failures(&self) -> u32 {
        // ORDERING: Relaxed: a count that guards nothing.
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether kswapd has failed so often that nobody waits for it or wakes it.
    pub fn is_hopeless(&self) -> bool {
        self.failures() >= u32::from(MAX_RECLAIM_RETRIES)
    }

    /// Sets `kswapd_failures`.
    pub fn set_failures(&self, failures: u32) {
        // ORDERING: Relaxed: as above.
        self.failures.store(failures, Ordering::Relaxed);
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
        for lruvec in self.lru().lruvecs() {
            lruvec.inactive.save(folios, out, |names| &names.pages);
            lruvec.active.save(folios, out, |names| &names.pages);
        }
    }

    /// Takes the lists back, after their folios; nothing has happened yet.
    pub fn restore(&self, folios: &[Folio], from: &mut Reader<'_>) {
        let mut lru = self.lru();
        for lruvec in &mut lru.lruvecs {
            lruvec.inactive.restore(folios, from);
            lruvec.active.restore(folios, from);
            if folios.iter().any(|folio| folio.order > 0) {
                let tails = |list: &List| list.from_tail(folios).map(|page| folios[page as usize].nr_pages() - 1).sum();
                lruvec.tails = [tails(&lruvec.inactive), tails(&lruvec.active)];
            }
        }
        drop(lru);
        self.forget_progress();
    }

    /// Counts from 0 again: for a driver that is alone and tells whoever remembers a number.
    pub fn forget_progress(&self) {
        // ORDERING: Relaxed: the driver is alone.
        self.progress.store(0, Ordering::Relaxed);
    }
}
