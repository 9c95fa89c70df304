//! The naive model of zswap: plain lists, everything looked up. zsmalloc, which has a model of its own (`zsmalloc_model.rs`),
//! is used as it is, one pool a compressor.

use kcompressd_core::memcg::MAX;
use kcompressd_core::zsmalloc::{Frames, Handle, Pool, PoolConfig};
use kcompressd_core::zswap::direct::{Loaded, Stored};
use kcompressd_core::zswap::shrink::NotShrunk;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

pub const NODES: u8 = 2;
pub const RAM_PAGES: u64 = 64;
/// The tree: the root, a and b under it, c under a, d under c.
pub const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(0), Some(1), Some(3)];
/// The number of the compressor 842.
pub const P842: usize = 3;
pub const POOL: PoolConfig = PoolConfig { page_size: 4096, chain_size: 8, bytes: false };

#[derive(Clone, Debug)]
pub struct Entry {
    pub len: u64,
    pub raw: bool,
    pub group: usize,
    pub node: u8,
    pub codec: usize,
    pub handle: Handle,
    pub referenced: bool,
}

/// Pages that a test may run out of.
pub struct Left(pub Cell<u64>);

impl Frames for Left {
    fn take(&self, pages: usize) -> Option<u32> {
        let left = self.0.get().checked_sub(pages as u64)?;
        self.0.set(left);
        Some(0)
    }

    fn give(&self, _name: u32, pages: usize) {
        self.0.set(self.0.get() + pages as u64);
    }
}

pub struct Group {
    pub max: u64,
    pub writeback: bool,
    pub online: bool,
}

pub struct Model {
    pub kernel: (u16, u16),
    pub groups: Vec<Group>,
    pub entries: BTreeMap<u32, Entry>,
    /// Oldest first, by the group that owns them now.
    pub lists: BTreeMap<(usize, u8), Vec<u32>>,
    pub swapins: BTreeMap<(usize, u8), u64>,
    pub pools: BTreeMap<usize, Pool>,
    pub current: usize,
    pub device: BTreeMap<u32, (usize, u8)>,
    pub cached: BTreeSet<u32>,
    pub left: Left,
    pub counts: BTreeMap<&'static str, u64>,
    pub max_percent: u64,
    pub accept_percent: u64,
    pub enabled: bool,
    pub shrinker: bool,
    pub full: bool,
    pub queued: bool,
    pub cursor: Option<usize>,
}

impl Model {
    pub fn new(kernel: (u16, u16)) -> Self {
        let group = |_| Group { max: MAX, writeback: true, online: true };
        Self {
            kernel,
            groups: (0..PARENTS.len()).map(group).collect(),
            entries: BTreeMap::new(),
            lists: BTreeMap::new(),
            swapins: BTreeMap::new(),
            pools: BTreeMap::from([(0, Pool::new(POOL).unwrap())]),
            current: 0,
            device: BTreeMap::new(),
            cached: BTreeSet::new(),
            left: Left(Cell::new(u64::MAX / 2)),
            counts: BTreeMap::new(),
            max_percent: 50,
            accept_percent: 75,
            enabled: true,
            shrinker: true,
            full: false,
            queued: false,
            cursor: None,
        }
    }

    pub fn count(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_default() += by;
    }

    pub fn pages(&self) -> u64 {
        self.pools.values().map(|pool| pool.total_pages() as u64).sum()
    }

    pub fn max_pages(&self) -> u64 {
        RAM_PAGES * self.max_percent / 100
    }

    pub fn accept_pages(&self) -> u64 {
        self.max_pages() * self.accept_percent / 100
    }

    pub fn ancestors(group: usize) -> Vec<usize> {
        std::iter::successors(Some(group), |&group| PARENTS[group]).collect()
    }

    pub fn owner(&self, group: usize) -> usize {
        Self::ancestors(group).into_iter().find(|&group| self.groups[group].online).unwrap()
    }

    /// Bytes and entries of a group with its descendants; the root's own are nobody's.
    pub fn charged(&self, group: usize) -> (u64, u64) {
        let under = |entry: &&Entry| entry.group != 0 && Self::ancestors(entry.group).contains(&group);
        let of_group = self.entries.values().filter(under);
        of_group.fold((0, 0), |(bytes, entries), entry| (bytes + entry.len, entries + 1))
    }

    pub fn writeback_enabled(&self, group: usize) -> bool {
        Self::ancestors(group).iter().all(|&group| self.groups[group].writeback)
    }

    pub fn may_zswap(&self, group: usize) -> bool {
        let has_room = |&group: &usize| {
            let max = self.groups[group].max;
            group == 0 || max == MAX || self.charged(group).0 / 4096 < max / 4096
        };
        Self::ancestors(self.owner(group)).iter().all(has_room)
    }

    pub fn erase(&mut self, slot: u32) {
        let Some(entry) = self.entries.remove(&slot) else { return };
        self.pools[&entry.codec].free(entry.handle, &self.left);
        self.lists.values_mut().for_each(|list| list.retain(|&other| other != slot));
        self.bury();
    }

    /// Old pools without entries are gone.
    pub fn bury(&mut self) {
        let used: BTreeSet<usize> = self.entries.values().map(|entry| entry.codec).collect();
        self.pools.retain(|codec, _| used.contains(codec) || *codec == self.current);
    }

    pub fn store(&mut self, slot: u32, lens: &[Option<u32>], group: usize, node: u8) -> Stored {
        let slots = slot..slot + lens.len() as u32;
        self.device.retain(|slot, _| !slots.contains(slot));
        let cached = self.cached.clone();
        self.cached.extend(slots.clone());
        let admitted = self.admits(group);
        self.cached = cached;
        if admitted && slots.clone().zip(lens).all(|(slot, &len)| self.store_page(slot, len, group, node)) {
            self.count("zswpout", lens.len() as u64);
            return Stored::Pool;
        }
        self.queued |= self.enabled && self.full;
        slots.clone().for_each(|slot| self.erase(slot));
        if !self.writeback_enabled(group) {
            return Stored::Activated;
        }
        self.device.extend(slots.map(|slot| (slot, (group, node))));
        self.count("pswpout", lens.len() as u64);
        Stored::Device
    }

    pub fn admits(&mut self, group: usize) -> bool {
        if !self.enabled || !self.may_zswap(group) && self.shrink_memcg(self.owner(group)).is_err() {
            return false;
        }
        if self.pages() >= self.max_pages() {
            self.count("pool_limit_hit", 1);
            self.full = true;
        } else if self.pages() <= self.accept_pages() {
            self.full = false;
        }
        !self.full
    }

    pub fn store_page(&mut self, slot: u32, len: Option<u32>, group: usize, node: u8) -> bool {
        let new = self.kernel >= (6, 18);
        let (len, raw) = match len {
            Some(len) if len < 4096 || len == 4096 && !new => (len, false),
            _ if new && self.writeback_enabled(group) => (4096, true),
            _ => {
                let poor = self.current == P842 && len.is_none_or(|len| len > 4096);
                self.count(if poor { "reject_compress_poor" } else { "reject_compress_fail" }, 1);
                return false;
            }
        };
        let Ok(handle) = self.pools[&self.current].malloc(len as usize, &self.left) else {
            self.count("reject_alloc_fail", 1);
            return false;
        };
        self.erase(slot);
        let (len, codec) = (u64::from(len), self.current);
        self.entries.insert(slot, Entry { len, raw, group, node, codec, handle, referenced: true });
        self.lists.entry((self.owner(group), node)).or_default().push(slot);
        true
    }

    pub fn load(&mut self, slot: u32) -> Loaded {
        if self.entries.contains_key(&slot) {
            self.erase(slot);
            self.count("zswpin", 1);
            return Loaded::Pool;
        }
        let Some(&(group, node)) = self.device.get(&slot) else { return Loaded::Nowhere };
        *self.swapins.entry((self.owner(group), node)).or_default() += 1;
        self.count("pswpin", 1);
        Loaded::Device
    }

    /// The oldest entry: `None` for an empty list, else whether it was written back or had its second chance.
    pub fn look(&mut self, group: usize, node: u8) -> Option<Seen> {
        let list = self.lists.get_mut(&(group, node)).filter(|list| !list.is_empty())?;
        let slot = list.remove(0);
        list.push(slot);
        let alone = list.len() == 1;
        let entry = self.entries.get_mut(&slot).unwrap();
        if std::mem::take(&mut entry.referenced) {
            return Some(Seen::Rotated { alone });
        }
        if self.cached.contains(&slot) {
            self.count("reject_reclaim_fail", 1);
            return Some(Seen::Cached);
        }
        let place = (entry.group, entry.node);
        self.erase(slot);
        self.device.insert(slot, place);
        ["zswpwb", "pswpout", "written_back_pages"].into_iter().for_each(|name| self.count(name, 1));
        Some(Seen::Written)
    }

    pub fn shrink_memcg(&mut self, group: usize) -> Result<(), NotShrunk> {
        if !self.groups[group].online || !self.writeback_enabled(group) {
            return Err(NotShrunk::Nothing);
        }
        let seen: Vec<Seen> = (0..NODES).filter_map(|node| self.look(group, node)).collect();
        match (seen.is_empty(), seen.contains(&Seen::Written)) {
            (true, _) => Err(NotShrunk::Nothing),
            (false, false) => Err(NotShrunk::Kept),
            (false, true) => Ok(()),
        }
    }

    /// Online groups, parents first.
    pub fn walk(&self) -> Vec<usize> {
        [0, 1, 3, 4, 2].into_iter().filter(|&group| self.groups[group].online).collect()
    }

    pub fn after(&self, group: Option<usize>) -> Option<usize> {
        let order = [0, 1, 3, 4, 2];
        let at = group.map_or(0, |group| order.iter().position(|&other| other == group).unwrap() + 1);
        order[at..].iter().copied().find(|group| self.walk().contains(group))
    }

    pub fn worker(&mut self) -> bool {
        if !std::mem::take(&mut self.queued) {
            return false;
        }
        let (mut failures, mut attempts) = (0, 0);
        loop {
            self.cursor = self.after(self.cursor);
            let failed = match self.cursor {
                None => std::mem::take(&mut attempts) == 0,
                Some(group) => {
                    let result = self.shrink_memcg(group);
                    attempts += u32::from(result != Err(NotShrunk::Nothing));
                    result == Err(NotShrunk::Kept)
                }
            };
            failures += u32::from(failed);
            if failures == 16 || self.pages() <= self.accept_pages() {
                return true;
            }
        }
    }

    pub fn shrinker_count(&mut self, group: usize, node: u8) -> u64 {
        let listed = self.lists.get(&(group, node)).map_or(0, |list| list.len() as u64);
        let (bytes, stored) = self.charged(group);
        if !self.shrinker || !self.writeback_enabled(group) || listed == 0 || stored == 0 {
            return 0;
        }
        let swapins = self.swapins.entry((group, node)).or_default();
        let protected = listed.min(*swapins);
        *swapins -= protected;
        (listed - protected) * (bytes / 4096) / stored
    }

    pub fn shrinker_scan(&mut self, group: usize, node: u8, entries: u64) -> Option<u64> {
        if !self.shrinker || !self.writeback_enabled(group) {
            return None;
        }
        let mut written = 0;
        for _ in 0..entries {
            match self.look(group, node) {
                None | Some(Seen::Rotated { alone: true }) => break,
                Some(Seen::Cached) => return None,
                Some(Seen::Written) => written += 1,
                Some(Seen::Rotated { alone: false }) => {}
            }
        }
        Some(written).filter(|&written| written > 0)
    }

    pub fn remove(&mut self, group: usize) -> bool {
        let has_children = (0..PARENTS.len()).any(|g| PARENTS[g] == Some(group) && self.groups[g].online);
        if group == 0 || !self.groups[group].online || has_children {
            return false;
        }
        self.groups[group].online = false;
        if self.cursor == Some(group) {
            self.cursor = self.after(Some(group));
        }
        for node in 0..NODES {
            let mut list = self.lists.remove(&(group, node)).unwrap_or_default();
            let parents = self.lists.entry((PARENTS[group].unwrap(), node)).or_default();
            list.append(parents);
            *parents = list;
        }
        true
    }

    pub fn debugfs(&self) -> Vec<(&'static str, u64)> {
        let counted = |name: &'static str| (name, self.counts.get(name).copied().unwrap_or(0));
        let raw = self.entries.values().filter(|entry| entry.raw).count() as u64;
        vec![
            counted("pool_limit_hit"),
            counted("reject_reclaim_fail"),
            counted("reject_alloc_fail"),
            counted("reject_kmemcache_fail"),
            counted("reject_compress_fail"),
            counted("reject_compress_poor"),
            counted("decompress_fail"),
            counted("written_back_pages"),
            ("pool_total_size", self.pages() * 4096),
            ("stored_pages", self.entries.len() as u64),
            ("stored_incompressible_pages", raw),
        ]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Rotated { alone: bool },
    Cached,
    Written,
}
