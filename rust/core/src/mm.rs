//! The memory budget of a node: everything that costs pages takes them from one zone.
//!
//! Page frames, zspages, and the kernel's own objects on the way of a swap-out: handles and descriptors of zsmalloc, entries of zswap,
//! leaves of the swap cache's tree, page tables. A context says how far down it may go ([`Mark`]): kswapd, a direct reclaimer and a
//! worker with PF_MEMALLOC to the last page, everybody else to the min mark.
//!
//! Accounting at rest: `free + frames + pool pages + Σ slab pages + page tables = ZoneConfig::free_pages`
//! ([`Mm::invariant`] compares). Source: observed on 6.12 (docs/kernel-map.md);
//! Documentation/ABI/testing/sysfs-kernel-slab (`min_partial`, `cpu_partial`).
//! Not modelled: slabs marked pfmemalloc, which a request without reserve rights passes over.

use crate::sync::{AtomicU32, Ordering, SpinLock};
use crate::units::NIL;
use crate::zone::{Mark, Migrate, Zone, ZoneConfig};
use crate::zsmalloc::Frames;
use std::collections::{BTreeSet, VecDeque};

/// Pages in a row: the first, and how many.
type Chunk = (u32, u32);

/// Objects of one size and the pages they fill. Which objects a chunk has is not known: the one taken last goes first.
#[derive(Debug, Default)]
struct Filled {
    /// Objects in use.
    objects: u32,
    pages: u32,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Default)]
struct Slab(SpinLock<Filled>);

impl Slab {
    /// One more object; where no room is left `grow` is asked for the pages of a slab.
    fn take(&self, per_page: u32, grow: impl FnOnce() -> Option<Chunk>) -> bool {
        let mut filled = self.0.lock_within();
        if filled.objects == filled.pages * per_page {
            let Some(chunk) = grow() else { return false };
            filled.pages += chunk.1;
            filled.chunks.push(chunk);
        }
        filled.objects += 1;
        true
    }

    /// One object less; `shrink` gets a slab when more than `spare` pages would be empty without it if all objects moved together.
    fn give(&self, per_page: u32, spare: u32, shrink: impl FnOnce(Chunk)) {
        let mut filled = self.0.lock_within();
        filled.objects -= 1;
        let empty = filled.pages * per_page - filled.objects;
        if let Some(chunk) = filled.chunks.pop_if(|&mut (_, pages)| empty >= per_page * (spare + pages)) {
            filled.pages -= chunk.1;
            shrink(chunk);
        }
    }

    fn pages(&self) -> u32 {
        self.0.lock_within().pages
    }
}

/// What an object costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// zsmalloc's 8-byte handle.
    Handle,
    /// zsmalloc's zspage descriptor, about 56 bytes.
    Descriptor,
    /// A leaf of the swap cache's tree: 14 in a slab of two pages, 7 where no two in a row are to be had.
    Leaf,
    /// zswap's entry, 56 bytes.
    Entry,
}

impl Kind {
    const fn per_page(self) -> u32 {
        match self {
            Self::Handle => 512,
            Self::Descriptor | Self::Entry => 73,
            Self::Leaf => 7,
        }
    }

    /// Pages of slabs with room that are kept: 5 slabs of the node (`min_partial`), and on each CPU the one in use and as many
    /// as hold twice its `cpu_partial` objects. What is freed is thus at hand when no page is to be had.
    const fn spare_pages(self, cpus: u32) -> u32 {
        const MIN_PARTIAL: u32 = 5;
        match self {
            Self::Handle => MIN_PARTIAL + cpus * (1 + (2 * 120_u32).div_ceil(512)),
            Self::Descriptor | Self::Entry => MIN_PARTIAL + cpus * (1 + (2 * 120_u32).div_ceil(73)),
            Self::Leaf => 2 * (MIN_PARTIAL + cpus * (1 + (2 * 52_u32).div_ceil(14))),
        }
    }
}

/// The budget.
#[derive(Debug)]
pub struct Mm {
    /// Where all pages come from.
    pub zone: Zone,
    slabs: [Slab; 4],
    /// Page frames of applications in use.
    frames: AtomicU32,
    /// Page-cache pages, the next to go first.
    file: SpinLock<VecDeque<u32>>,
    /// Page tables: whose, and which.
    tables: SpinLock<BTreeSet<(u16, u32)>>,
}

impl Mm {
    /// A budget of `config`; `file_pages` of its free pages become page cache at once.
    pub fn new(config: ZoneConfig, file_pages: u32) -> Self {
        let zone = Zone::new(config);
        let file = (0..file_pages).map_while(|_| zone.take(0, Migrate::Movable, Mark::None)).collect();
        Self {
            zone,
            slabs: Default::default(),
            frames: AtomicU32::new(0),
            file: SpinLock::new(file),
            tables: SpinLock::default(),
        }
    }

    /// One frame for an application's page, down to `mark`.
    #[inline]
    pub fn take_frame(&self, cpu: u16, mark: Mark) -> Option<u32> {
        let frame = self.zone.take(cpu, Migrate::Movable, mark);
        // ORDERING: Relaxed: a count for `invariant`.
        self.frames.fetch_add(u32::from(frame.is_some()), Ordering::Relaxed);
        frame
    }

    /// The frames of a large folio, in a row (`vma_alloc_folio` under GFP_TRANSHUGE_LIGHT).
    pub fn take_folio(&self, cpu: u16, mark: Mark, order: u8) -> Option<u32> {
        let first = self.zone.take_order(cpu, Migrate::Movable, mark, order);
        // ORDERING: Relaxed: as above.
        self.frames.fetch_add(u32::from(first.is_some()) << order, Ordering::Relaxed);
        first
    }

    /// The frames of a folio come back: a single one by way of the CPU's list.
    pub fn give_folio(&self, cpu: u16, first: u32, order: u8) {
        if order == 0 {
            return self.give_frames(cpu, &[first]);
        }
        // ORDERING: Relaxed: as above.
        self.frames.fetch_sub(1 << order, Ordering::Relaxed);
        self.zone.give_order(cpu, Migrate::Movable, first, order);
    }

    /// Frames come back.
    pub fn give_frames(&self, cpu: u16, frames: &[u32]) {
        // ORDERING: Relaxed: as above.
        self.frames.fetch_sub(frames.len() as u32, Ordering::Relaxed);
        self.zone.give(cpu, Migrate::Movable, frames.iter().copied());
    }

    /// The `pages` page-cache pages that have been there longest are freed.
    pub fn give_file_pages(&self, cpu: u16, pages: u32) {
        let mut file = self.file.lock_within();
        let pages = (file.len() as u32).min(pages) as usize;
        self.zone.give(cpu, Migrate::Movable, file.drain(..pages));
    }

    /// Whether application `of` has page table `table`.
    pub fn has_table(&self, of: u16, table: u32) -> bool {
        self.tables.lock_within().contains(&(of, table))
    }

    /// A page for page table `table` of application `of`, kept until the end of the run.
    pub fn take_table(&self, cpu: u16, mark: Mark, of: u16, table: u32) -> Option<u32> {
        let page = self.zone.take(cpu, Migrate::Unmovable, mark)?;
        self.tables.lock_within().insert((of, table));
        Some(page)
    }

    /// A leaf of the swap cache's tree: first in the caller's own right, then as `__GFP_HIGH | __GFP_NOMEMALLOC`
    /// (`add_to_swap_cache`).
    pub fn take_leaf(&self, cpu: u16, mark: Mark) -> bool {
        self.take_object(Kind::Leaf, cpu, mark) || self.take_object(Kind::Leaf, cpu, Mark::HalfMin)
    }

    /// A leaf has no slot left.
    pub fn give_leaf(&self, cpu: u16) {
        self.give_object(Kind::Leaf, cpu);
    }

    fn take_object(&self, kind: Kind, cpu: u16, mark: Mark) -> bool {
        let one = || Some((self.zone.take(cpu, Migrate::Unmovable, mark)?, 1));
        let pair = || Some((self.zone.take_pair(cpu, mark)?, 2));
        let grow = || if kind == Kind::Leaf { pair().or_else(one) } else { one() };
        self.slabs[kind as usize].take(kind.per_page(), grow)
    }

    fn give_object(&self, kind: Kind, cpu: u16) {
        let spare = kind.spare_pages(self.zone.cpus().into());
        self.slabs[kind as usize].give(kind.per_page(), spare, |(first, pages)| match pages {
            1 => self.zone.give(cpu, Migrate::Unmovable, [first]),
            _ => self.zone.give_pair(cpu, first),
        });
    }

    /// Page frames in use: applications' and page cache.
    pub fn frames(&self) -> u32 {
        // ORDERING: Relaxed: a count.
        self.frames.load(Ordering::Relaxed) + self.file.lock_within().len() as u32
    }

    /// Pages of kernel objects: handles, descriptors, leaves, entries, page tables.
    pub fn overhead_pages(&self) -> u32 {
        let slabs: u32 = self.slabs.iter().map(Slab::pages).sum();
        slabs + self.tables.lock_within().len() as u32
    }

    /// Checks that no page was lost, at rest.
    ///
    /// # Panics
    /// If the equation of the module does not hold with `pool_pages` in the store's pools.
    pub fn invariant(&self, pool_pages: u32) {
        let parts = [self.zone.total_free(), self.frames(), pool_pages, self.overhead_pages()];
        let sum: u32 = parts.iter().sum();
        assert_eq!(sum, self.zone.config().free_pages, "free, frames, pool, overhead {parts:?} against all pages");
    }
}

/// Where an actor's zspages come from: its CPU's lists, down to the mark that it may use. Without a budget: no limit.
#[derive(Clone, Copy, Debug)]
pub struct Budget<'a> {
    /// The budget, if there is one.
    pub mm: Option<&'a Mm>,
    /// The CPU that the actor runs on.
    pub cpu: u16,
    /// How far down.
    pub mark: Mark,
}

impl Frames for Budget<'_> {
    fn take(&self, pages: usize) -> Option<u32> {
        let Some(mm) = self.mm else { return Some(NIL) };
        if !mm.take_object(Kind::Descriptor, self.cpu, self.mark) {
            return None;
        }
        let first = mm.zone.take_all(self.cpu, Migrate::Unmovable, self.mark, pages as u32);
        if first.is_none() {
            mm.give_object(Kind::Descriptor, self.cpu);
        }
        first
    }

    fn give(&self, first: u32, pages: usize) {
        let Some(mm) = self.mm else { return };
        mm.zone.give(self.cpu, Migrate::Unmovable, mm.zone.chain(first, pages as u32));
        mm.give_object(Kind::Descriptor, self.cpu);
    }

    fn take_handle(&self) -> bool {
        self.mm.is_none_or(|mm| mm.take_object(Kind::Handle, self.cpu, self.mark))
    }

    fn give_handle(&self) {
        if let Some(mm) = self.mm {
            mm.give_object(Kind::Handle, self.cpu);
        }
    }

    fn take_entry(&self) -> bool {
        self.mm.is_none_or(|mm| mm.take_object(Kind::Entry, self.cpu, self.mark))
    }

    fn give_entry(&self) {
        if let Some(mm) = self.mm {
            mm.give_object(Kind::Entry, self.cpu);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zsmalloc::{Pool, PoolConfig};

    fn budget(mm: &Mm, mark: Mark) -> Budget<'_> {
        Budget { mm: Some(mm), cpu: 0, mark }
    }

    fn small(free_pages: u32) -> Mm {
        let config = ZoneConfig {
            managed_pages: free_pages,
            free_pages,
            watermarks: [50, 62, 75],
            boost_factor: 15_000,
            pcp_batch: 15,
            cpus: 2,
        };
        Mm::new(config, 10)
    }

    #[test]
    fn a_pool_takes_its_pages_handles_and_descriptors_from_the_zone_and_gives_them_back() {
        let mm = small(2000);
        let pool = Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap();
        let frames = budget(&mm, Mark::None);
        let handles: Vec<_> = (0..1500).map(|i| pool.malloc(100 + i, &frames).unwrap()).collect();
        mm.invariant(pool.total_pages() as u32);
        assert_eq!(mm.overhead_pages(), 1500_u32.div_ceil(512) + mm.slabs[1].pages());
        handles.into_iter().for_each(|handle| pool.free(handle, &frames));
        mm.invariant(0);
    }

    #[test]
    fn zswaps_entries_are_of_the_budget() {
        let mm = small(400);
        let frames = budget(&mm, Mark::None);
        assert!((0..74).all(|_| frames.take_entry()));
        assert_eq!(mm.overhead_pages(), 2);
        mm.invariant(0);
        while frames.take_entry() {}
        mm.invariant(0);
    }

    /// On two CPUs: 5 pages and on each CPU 1 + 1 of handles, 1 + 4 of descriptors and of entries; of leaves 5 + 2 (1 + 8) slabs of two pages.
    #[test]
    fn of_what_is_given_back_the_spare_slabs_are_kept() {
        let mm = small(4000);
        let frames = budget(&mm, Mark::None);
        let (mut kept, mut firsts) = (0, Vec::new());
        let mut given_back = |spare: u32, take: &mut dyn FnMut() -> bool, give: &mut dyn FnMut()| {
            assert!((0..10_000).all(|_| take()));
            let most = mm.overhead_pages();
            (0..10_000).for_each(|_| give());
            kept += spare;
            assert!(most > mm.overhead_pages() && mm.overhead_pages() == kept, "{most} {} {kept}", mm.overhead_pages());
            mm.invariant(0);
        };
        given_back(9, &mut || frames.take_handle(), &mut || frames.give_handle());
        given_back(15, &mut || frames.take_entry(), &mut || frames.give_entry());
        given_back(46, &mut || mm.take_leaf(0, Mark::None), &mut || mm.give_leaf(0));
        assert!((0..3000).all(|_| frames.take(1).map(|first| firsts.push(first)).is_some()));
        firsts.into_iter().for_each(|first| frames.give(first, 1));
        assert_eq!(mm.overhead_pages(), 9 + 15 + 46 + 15);
        mm.invariant(0);
    }

    #[test]
    fn a_refused_object_leaves_nothing_behind() {
        let mm = small(400);
        let pool = Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap();
        while pool.malloc(3000, &budget(&mm, Mark::Min)).is_ok() {}
        let left = mm.zone.total_free();
        assert!(left > 50 && pool.malloc(3000, &budget(&mm, Mark::None)).is_ok(), "{left} left below the mark");
        while pool.malloc(3000, &budget(&mm, Mark::None)).is_ok() {}
        mm.invariant(pool.total_pages() as u32);
    }
}
