//! What a Result says of groups, and of how much of everything there is.

use crate::lifecycle::flag;
use crate::memcg::ROOT;
use crate::reclaim::MemoryReclaim;
use crate::system::System;

/// What became of a memory cgroup.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The name of the group above.
    pub parent: String,
    /// `memory.current`, bytes; the root has none.
    pub current_bytes: Option<u64>,
    /// memory.stat, descendants included: sizes in bytes, then counters.
    pub stat: Vec<(&'static str, u64)>,
    /// memory.events, descendants included; the root has none.
    pub events: Vec<(&'static str, u64)>,
    /// What was written to its memory.reclaim, in the job's order.
    pub reclaims: Vec<Reclaimed>,
}

/// One write to memory.reclaim.
#[derive(Clone, Copy, Debug)]
pub struct Reclaimed {
    /// When it was to begin, nanoseconds.
    pub at_ns: u64,
    /// When it had ended; `None`: it did not.
    pub end_ns: Option<u64>,
    /// Bytes asked for.
    pub bytes: u64,
    /// Bytes reclaimed: less is EAGAIN.
    pub reclaimed_bytes: u64,
}

impl Reclaimed {
    /// What `reclaim` came to, ended at `end_ns`.
    pub(in crate::driver) fn of(sys: &System, reclaim: &MemoryReclaim, end_ns: Option<u64>) -> Self {
        let page = sys.config.page_size as u64;
        let request = reclaim.request();
        let (bytes, reclaimed_bytes) = (u64::from(request.pages) * page, u64::from(reclaim.reclaimed()) * page);
        Self { at_ns: request.at_ns, end_ns, bytes, reclaimed_bytes }
    }
}

impl Group {
    /// What became of the groups of `sys`, none where there is the root alone; `reclaims` with the group of each.
    pub(in crate::driver) fn all(sys: &System, reclaims: impl IntoIterator<Item = (u16, Reclaimed)>) -> Vec<Self> {
        let ids = 0..sys.memcgs.iter().count() as u16;
        let mut groups: Vec<Self> = ids.clone().filter(|_| ids.len() > 1).map(|id| Self::of(sys, id)).collect();
        for (memcg, reclaimed) in reclaims {
            if let Some(group) = groups.get_mut(usize::from(memcg)) {
                group.reclaims.push(reclaimed);
            }
        }
        groups
    }

    /// What `sys` knows of group `id` now.
    pub fn of(sys: &System, id: u16) -> Self {
        let page = sys.config.page_size as u64;
        let memcgs = &sys.memcgs;
        let Some(group) = memcgs.get(id) else { return Self::default() };
        let parent = memcgs.parent(id).and_then(|parent| memcgs.get(parent));
        let lists = sys.nodes[0].lru().sizes(id);
        let is_root = id == ROOT;
        let file = u64::from(sys.cached_pages(id));
        let frames = if is_root { sys.mm.as_ref().map_or(0, |mm| mm.frames().into()) } else { group.frames() };
        let sizes = [
            ("anon", (frames - file) * page),
            ("file", file * page),
            ("zswap", group.zswap_current_bytes()),
            ("zswapped", group.zswapped() * page),
            ("inactive_anon", u64::from(lists.inactive) * page),
            ("active_anon", u64::from(lists.active) * page),
            ("inactive_file", u64::from(lists.inactive_file) * page),
            ("active_file", u64::from(lists.active_file) * page),
        ];
        Self {
            name: group.name().into(),
            parent: parent.map_or("", |parent| parent.name()).into(),
            current_bytes: (!is_root).then(|| memcgs.current_pages(id) * page),
            stat: sizes.into_iter().chain(memcgs.memory_stat(id)).collect(),
            events: if is_root { Vec::new() } else { memcgs.memory_events(id).into() },
            reclaims: Vec::new(),
        }
    }
}

/// What /proc/vmstat says is there now: free pages, the pool, the lists, page cache and swap cache.
pub(super) fn levels(sys: &System) -> [(&'static str, u64); 13] {
    let mut lists = [0; 6];
    for node in &sys.nodes {
        let lru = node.lru();
        let own = lru.sizes(ROOT);
        let own = [own.inactive, own.active, own.inactive_file, own.active_file, lru.isolated, lru.isolated_file];
        lists.iter_mut().zip(own).for_each(|(sum, own)| *sum += u64::from(own));
    }
    let [inactive, active, inactive_file, active_file, isolated, isolated_file] = lists;
    let [mapped, writeback, shmem, swapcached] = frames(sys);
    [
        ("nr_free_pages", sys.mm.as_ref().map_or(0, |mm| mm.zone.free_pages().into())),
        ("nr_zspages", sys.pool_pages() as u64),
        ("nr_inactive_anon", inactive),
        ("nr_active_anon", active),
        ("nr_inactive_file", inactive_file),
        ("nr_active_file", active_file),
        ("nr_isolated_anon", isolated),
        ("nr_isolated_file", isolated_file),
        ("nr_anon_pages", mapped),
        ("nr_file_pages", u64::from(sys.cached_pages(ROOT)) + shmem + swapcached),
        ("nr_writeback", writeback),
        ("nr_shmem", shmem),
        ("nr_swapcached", swapcached),
    ]
}

/// Pages that page tables map and that are not shared memory; under writeback; of shared memory, but for the swap cache; in the swap
/// cache.
fn frames(sys: &System) -> [u64; 4] {
    let mut sums = [0; 4];
    for folio in &sys.folios {
        let word = folio.word.load();
        let swapcached = word.has(flag::SWAPCACHE);
        let is =
            [word.has(flag::MAPPED) && !folio.shmem, word.has(flag::WRITEBACK), folio.shmem && !swapcached, swapcached];
        let pages = if word.has(flag::FRAME) { u64::from(folio.nr_pages_of(word)) } else { 0 };
        sums.iter_mut().zip(is).for_each(|(sum, is)| *sum += if is { pages } else { 0 });
    }
    sums
}
