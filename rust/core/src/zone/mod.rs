//! A node's memory: one zone with its buddy lists, per-CPU page lists and watermarks (mm/page_alloc.c).
//!
//! All page frames, zspages and kernel objects of a system with a memory budget come from here, one page at a time but for slabs of two
//! pages, which have a per-CPU list of their own, and large folios, which pass these lists by; a page has a number, which says what block
//! it lies in.
//! Watermarks compare the pages of the buddy lists alone: pages on per-CPU lists count as taken, and only their own CPU can
//! use them. The count compared is approximate, as in the kernel: a CPU folds its changes in when they exceed a threshold.
//!
//! Each call is one critical section (the CPU's list, and in it the buddy's lock: that is the lock order). Accounting at rest:
//! `total_free() + pages out = ZoneConfig::free_pages` ([`Zone::total_free`]).
//!
//! Source: watermarks, boost and per-CPU lists as observed on 6.12 (docs/kernel-map.md); Documentation/admin-guide/sysctl/vm.rst
//! (`watermark_boost_factor`, `min_free_kbytes`). Differences: one zone; two migrate types; no count is folded every second (`vmstat_update`); what is free when the run begins lies in a row, in movable blocks but for what is left of the last block of pages in use.

mod buddy;
mod map;
mod pairs;
mod pcp;
mod watermark;

pub use buddy::Migrate;
pub use map::PAGEBLOCK_PAGES;
pub use watermark::Mark;

use crate::list::List;
use crate::sync::{AtomicBool, AtomicI64, AtomicU32, Ordering, SpinLock};
use crate::units::NIL;
use buddy::{Buddy, Taken};
use map::Map;
use pcp::{Pcp, PcpLimits};

/// How a zone is built, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// All pages of the zone but what the kernel took before it had an allocator (`zone->managed_pages`).
    pub managed_pages: u32,
    /// Of these, free when the run begins. The others are in use for good: the kernel's own pages, which fill block after block, and what is locked.
    pub free_pages: u32,
    /// The base watermarks: min, low, high.
    pub watermarks: [u32; 3],
    /// `vm.watermark_boost_factor`, hundredths of a per cent of the high watermark; 0: no boost.
    pub boost_factor: u32,
    /// Pages moved between a CPU's list and the buddy lists at once.
    pub pcp_batch: u32,
    /// CPUs.
    pub cpus: u16,
}

/// What a zone has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneStat {
    /// Boost events.
    pub boosts: u64,
    /// The fewest pages that the buddy lists held.
    pub least_free_pages: u32,
}

/// One zone.
#[derive(Debug)]
pub struct Zone {
    config: ZoneConfig,
    map: Map,
    buddy: SpinLock<(Buddy, ZoneStat)>,
    /// NR_FREE_PAGES, without what CPUs have not folded in.
    nr_free: AtomicI64,
    boost: AtomicU32,
    /// ZONE_BOOSTED_WATERMARK: the next allocation that may, wakes kswapd.
    boosted: AtomicBool,
    /// ZONE_RECLAIM_ACTIVE: kswapd is in `balance_pgdat`.
    reclaim_active: AtomicBool,
    kswapd_awake: AtomicBool,
    pcps: Box<[SpinLock<Pcp>]>,
    limits: PcpLimits,
}

/// Pages taken one after the other, chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    first: u32,
    pages: u32,
}

impl Default for Held {
    fn default() -> Self {
        Self { first: NIL, pages: 0 }
    }
}

impl Zone {
    /// A zone with all its free pages in the buddy lists.
    pub fn new(config: ZoneConfig) -> Self {
        let stat = ZoneStat { least_free_pages: config.free_pages, boosts: 0 };
        let map = Map::new(config.managed_pages.max(config.free_pages));
        Self {
            buddy: SpinLock::new((Buddy::new(&map, map.len() - config.free_pages), stat)),
            map,
            nr_free: AtomicI64::new(config.free_pages.into()),
            boost: AtomicU32::new(0),
            boosted: AtomicBool::new(false),
            reclaim_active: AtomicBool::new(false),
            kswapd_awake: AtomicBool::new(false),
            pcps: (0..config.cpus.max(1)).map(|_| SpinLock::default()).collect(),
            limits: PcpLimits::new(&config),
            config,
        }
    }

    /// How it was built.
    pub fn config(&self) -> &ZoneConfig {
        &self.config
    }

    /// `rmqueue`: one page for `cpu`, if `mark` permits it and there is one.
    #[inline]
    pub fn take(&self, cpu: u16, of: Migrate, mark: Mark) -> Option<u32> {
        if !self.watermark_ok(mark) {
            return None;
        }
        self.take_from_pcp(&mut self.pcp(cpu).lock(), of)
    }

    /// All of `pages` or none, in one critical section: the first of them, from which [`Zone::chain`] leads to the others.
    pub fn take_all(&self, cpu: u16, of: Migrate, mark: Mark, pages: u32) -> Option<u32> {
        let mut pcp = self.pcp(cpu).lock();
        let mut held = Held::default();
        self.add_to(&mut held, &mut pcp, of, mark, pages);
        if held.pages < pages {
            self.give_to_pcp(&mut pcp, of, self.chain(held.first, held.pages));
        }
        (held.pages == pages).then_some(held.first)
    }

    /// Adds to what is held until it is `pages`; whether it is.
    pub fn take_more(&self, held: &mut Held, cpu: u16, of: Migrate, mark: Mark, pages: u32) -> bool {
        self.add_to(held, &mut self.pcp(cpu).lock(), of, mark, pages);
        held.pages >= pages
    }

    /// Gives back what is held.
    pub fn give_held(&self, held: &mut Held, cpu: u16, of: Migrate) {
        let Held { first, pages } = std::mem::take(held);
        self.give(cpu, of, self.chain(first, pages));
    }

    fn add_to(&self, held: &mut Held, pcp: &mut Pcp, of: Migrate, mark: Mark, pages: u32) {
        while held.pages < pages
            && self.watermark_ok(mark)
            && let Some(page) = self.take_from_pcp(pcp, of)
        {
            self.map.pages[page as usize].set_next(held.first);
            *held = Held { first: page, pages: held.pages + 1 };
        }
    }

    /// The `pages` pages that [`Zone::take_all`] has chained, from `first` on; each may be given back when it has come.
    pub fn chain(&self, first: u32, pages: u32) -> impl Iterator<Item = u32> {
        let mut next = first;
        (0..pages).map(move |_| {
            let page = next;
            next = self.map.pages[page as usize].next();
            page
        })
    }

    fn take_from_pcp(&self, pcp: &mut Pcp, of: Migrate) -> Option<u32> {
        pcp.free_count /= 2;
        if pcp.lists[of as usize].is_empty() {
            self.refill(pcp, of);
        }
        let list = &mut pcp.lists[of as usize];
        let page = list.head()?;
        list.del(&self.map.pages, page);
        self.map.note_taken(page, of);
        Some(page)
    }

    /// `rmqueue_bulk`: as many chunks of `2^order` pages as there are, up to `want`, from the buddy lists to a CPU's `list`; how many came.
    /// Once no block could be claimed, none is tried for the rest of them.
    fn take_bulk(&self, list: &mut List, of: Migrate, order: usize, want: u32) -> u32 {
        let mut buddy = self.buddy.lock_within();
        let (mut taken, mut steals) = (0, false);
        while taken < want {
            let next = match steals {
                true => buddy.0.steal(&self.map, of, order).map(|first| (first, Taken::default())),
                false => buddy.0.take(&self.map, of, order),
            };
            let Some((first, how)) = next else { break };
            steals |= how.stolen;
            taken += 1;
            list.add_tail(&self.map.pages, first);
            self.note_boosts(&mut buddy.1, how.boosts);
        }
        buddy.1.least_free_pages = buddy.1.least_free_pages.min(buddy.0.free_pages());
        taken
    }

    fn note_boosts(&self, stat: &mut ZoneStat, boosts: u32) {
        stat.boosts += u64::from(boosts);
        if boosts > 0 {
            self.raise_boost(boosts);
        }
    }

    /// `2^order` pages in a row from the buddy lists; nobody is woken, nothing reclaimed.
    pub fn take_order(&self, cpu: u16, of: Migrate, mark: Mark, order: u8) -> Option<u32> {
        let mut pcp = self.pcp(cpu).lock();
        if !self.watermark_ok(mark) {
            return None;
        }
        let mut buddy = self.buddy.lock_within();
        let (first, how) = buddy.0.take(&self.map, of, order.into())?;
        self.note_boosts(&mut buddy.1, how.boosts);
        buddy.1.least_free_pages = buddy.1.least_free_pages.min(buddy.0.free_pages());
        drop(buddy);
        (first..first + (1 << order)).for_each(|page| self.map.note_taken(page, of));
        self.fold(&mut pcp, -(1 << order));
        Some(first)
    }

    /// The pages of [`Zone::take_order`] come back as they are.
    pub fn give_order(&self, cpu: u16, of: Migrate, first: u32, order: u8) {
        let mut pcp = self.pcp(cpu).lock();
        (first..first + (1 << order)).for_each(|page| self.map.note_given(page, of));
        self.buddy.lock_within().0.give(&self.map, first, order.into());
        self.fold(&mut pcp, 1 << order);
    }

    /// `free_unref_page`: pages that were used for `of` back to the CPU's lists, and from full ones to the buddy.
    pub fn give(&self, cpu: u16, of: Migrate, pages: impl IntoIterator<Item = u32>) {
        self.give_to_pcp(&mut self.pcp(cpu).lock(), of, pages);
    }

    fn give_to_pcp(&self, pcp: &mut Pcp, of: Migrate, pages: impl IntoIterator<Item = u32>) {
        for page in pages {
            self.map.note_given(page, of);
            let home = self.map.migrate_type(page);
            pcp.lists[home as usize].add_head(&self.map.pages, page);
            self.note_freed(pcp, home as usize, 1);
        }
    }

    /// `free_pcppages_bulk`: the longest unused of list `first`, and then of the others in turn; of a pair both pages.
    fn spill(&self, pcp: &mut Pcp, first: usize, pages: u32) {
        let Pcp { lists: [unmovable, movable], pairs, .. } = pcp;
        let mut lists = [(unmovable, 0), (movable, 0), (pairs, 1)];
        lists.rotate_left(first);
        let mut buddy = self.buddy.lock_within();
        let mut given = 0;
        for (list, order) in lists {
            while given < pages
                && let Some(page) = list.tail()
            {
                list.del(&self.map.pages, page);
                buddy.0.give(&self.map, page, order);
                given += 1 << order;
            }
        }
        drop(buddy);
        self.fold(pcp, given.into());
    }

    /// `drain_all_pages`: every CPU's pages go to the buddy lists, its unmovable ones first; one CPU a call, which returns the next one.
    pub fn drain(&self, cpu: u16) -> Option<u16> {
        let mut pcp = self.pcp(cpu).lock();
        let pages = pcp.count();
        self.spill(&mut pcp, Migrate::Unmovable as usize, pages);
        self.fold_all(&mut pcp);
        Some(cpu + 1).filter(|&next| next < self.cpus())
    }

    /// Pages on `cpu`'s lists.
    pub fn cached(&self, cpu: u16) -> u32 {
        self.pcp(cpu).lock().count()
    }

    /// CPUs it has lists for.
    pub fn cpus(&self) -> u16 {
        self.pcps.len() as u16
    }

    /// Boost events, and the fewest free pages there were.
    pub fn stat(&self) -> ZoneStat {
        self.buddy.lock().1
    }

    /// What is free, wherever it is.
    pub fn total_free(&self) -> u32 {
        let cached: u32 = (0..self.cpus()).map(|cpu| self.cached(cpu)).sum();
        self.buddy.lock().0.free_pages() + cached
    }

    fn fold(&self, pcp: &mut Pcp, change: i64) {
        pcp.unfolded += change;
        if pcp.unfolded.abs() > self.threshold() {
            self.fold_all(pcp);
        }
    }

    fn fold_all(&self, pcp: &mut Pcp) {
        // ORDERING: Relaxed: an approximate count.
        self.nr_free.fetch_add(std::mem::take(&mut pcp.unfolded), Ordering::Relaxed);
    }

    fn pcp(&self, cpu: u16) -> &SpinLock<Pcp> {
        &self.pcps[usize::from(cpu) % self.pcps.len()]
    }
}

#[cfg(test)]
mod tests;
