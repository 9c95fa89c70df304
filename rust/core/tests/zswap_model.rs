//! zswap against a naive model: random sequences of everything that can be asked of it, results, counters, lists and charges
//! compared after each. The model holds plain lists and looks everything up; zsmalloc, which has a model of its own
//! (`zsmalloc_model.rs`), is used as it is, one pool a compressor.

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::memcg::MAX;
use kcompressd_core::zsmalloc::{Frames, Handle, Pool, PoolConfig};
use kcompressd_core::zswap::ZswapConfig;
use kcompressd_core::zswap::direct::{Direct, Loaded, Page, Stored};
use kcompressd_core::zswap::shrink::NotShrunk;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const SLOTS: u32 = 48;
const NODES: u8 = 2;
const RAM_PAGES: u64 = 64;
/// The tree: the root, a and b under it, c under a, d under c.
const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(0), Some(1), Some(3)];
const CODECS: [CodecName; 3] = [CodecName::Lz4, CodecName::Zstd, CodecName::Lzo];
const POOL: PoolConfig = PoolConfig { page_size: 4096, chain_size: 8, bytes: false };

#[derive(Clone, Debug)]
enum Op {
    Store { slot: u32, lens: Vec<Option<u32>>, group: usize, node: u8 },
    Load { slot: u32, slots: u32 },
    Invalidate(u32, u32),
    SwapCache(u32, bool),
    Worker,
    ShrinkMemcg(usize),
    Count(usize, u8),
    Scan(usize, u8, u64),
    Max(usize, u64),
    Writeback(usize, bool),
    Remove(usize),
    MaxPercent(u64),
    AcceptPercent(u64),
    Enabled(bool),
    Shrinker(bool),
    Compressor(usize),
    FreePages(u64),
}

#[derive(Clone, Debug)]
struct Entry {
    len: u64,
    raw: bool,
    group: usize,
    node: u8,
    codec: usize,
    handle: Handle,
    referenced: bool,
}

/// Pages that a test may run out of.
struct Left(Cell<u64>);

impl Frames for Left {
    fn take(&self, pages: usize) -> bool {
        let left = self.0.get().checked_sub(pages as u64);
        left.inspect(|&left| self.0.set(left)).is_some()
    }

    fn give(&self, pages: usize) {
        self.0.set(self.0.get() + pages as u64);
    }
}

struct Group {
    max: u64,
    writeback: bool,
    online: bool,
}

struct Model {
    kernel: (u16, u16),
    groups: Vec<Group>,
    entries: BTreeMap<u32, Entry>,
    /// Oldest first, by the group that owns them now.
    lists: BTreeMap<(usize, u8), Vec<u32>>,
    swapins: BTreeMap<(usize, u8), u64>,
    pools: BTreeMap<usize, Pool>,
    current: usize,
    device: BTreeMap<u32, (usize, u8)>,
    cached: BTreeSet<u32>,
    left: Left,
    counts: BTreeMap<&'static str, u64>,
    max_percent: u64,
    accept_percent: u64,
    enabled: bool,
    shrinker: bool,
    full: bool,
    queued: bool,
    cursor: Option<usize>,
}

impl Model {
    fn new(kernel: (u16, u16)) -> Self {
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

    fn count(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_default() += by;
    }

    fn pages(&self) -> u64 {
        self.pools.values().map(|pool| pool.total_pages() as u64).sum()
    }

    fn max_pages(&self) -> u64 {
        RAM_PAGES * self.max_percent / 100
    }

    fn accept_pages(&self) -> u64 {
        self.max_pages() * self.accept_percent / 100
    }

    fn ancestors(group: usize) -> Vec<usize> {
        std::iter::successors(Some(group), |&group| PARENTS[group]).collect()
    }

    fn owner(&self, group: usize) -> usize {
        Self::ancestors(group).into_iter().find(|&group| self.groups[group].online).unwrap()
    }

    /// Bytes and entries of a group with its descendants; the root's own are nobody's.
    fn charged(&self, group: usize) -> (u64, u64) {
        let under = |entry: &&Entry| entry.group != 0 && Self::ancestors(entry.group).contains(&group);
        let of_group = self.entries.values().filter(under);
        of_group.fold((0, 0), |(bytes, entries), entry| (bytes + entry.len, entries + 1))
    }

    fn writeback_enabled(&self, group: usize) -> bool {
        Self::ancestors(group).iter().all(|&group| self.groups[group].writeback)
    }

    fn may_zswap(&self, group: usize) -> bool {
        let has_room = |&group: &usize| {
            let max = self.groups[group].max;
            group == 0 || max == MAX || self.charged(group).0 / 4096 < max / 4096
        };
        Self::ancestors(self.owner(group)).iter().all(has_room)
    }

    fn erase(&mut self, slot: u32) {
        let Some(entry) = self.entries.remove(&slot) else { return };
        self.pools[&entry.codec].free(entry.handle, &self.left);
        self.lists.values_mut().for_each(|list| list.retain(|&other| other != slot));
        self.bury();
    }

    /// Old pools without entries are gone.
    fn bury(&mut self) {
        let used: BTreeSet<usize> = self.entries.values().map(|entry| entry.codec).collect();
        self.pools.retain(|codec, _| used.contains(codec) || *codec == self.current);
    }

    fn store(&mut self, slot: u32, lens: &[Option<u32>], group: usize, node: u8) -> Stored {
        let slots = slot..slot + lens.len() as u32;
        self.device.retain(|slot, _| !slots.contains(slot));
        if self.admits(group) && slots.clone().zip(lens).all(|(slot, &len)| self.store_page(slot, len, group, node)) {
            self.count("zswpout", lens.len() as u64);
            return Stored::Pool;
        }
        self.queued |= self.full;
        slots.clone().for_each(|slot| self.erase(slot));
        if !self.writeback_enabled(group) {
            return Stored::Activated;
        }
        self.device.extend(slots.map(|slot| (slot, (group, node))));
        self.count("pswpout", lens.len() as u64);
        Stored::Device
    }

    fn admits(&mut self, group: usize) -> bool {
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

    fn store_page(&mut self, slot: u32, len: Option<u32>, group: usize, node: u8) -> bool {
        let new = self.kernel >= (6, 18);
        let (len, raw) = match len {
            Some(len) if len < 4096 || len == 4096 && !new => (len, false),
            _ if new && self.writeback_enabled(group) => (4096, true),
            _ => {
                self.count(if new { "reject_compress_fail" } else { "reject_compress_poor" }, 1);
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

    fn load(&mut self, slot: u32) -> Loaded {
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
    fn look(&mut self, group: usize, node: u8) -> Option<Seen> {
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

    fn shrink_memcg(&mut self, group: usize) -> Result<(), NotShrunk> {
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
    fn walk(&self) -> Vec<usize> {
        [0, 1, 3, 4, 2].into_iter().filter(|&group| self.groups[group].online).collect()
    }

    fn after(&self, group: Option<usize>) -> Option<usize> {
        let order = [0, 1, 3, 4, 2];
        let at = group.map_or(0, |group| order.iter().position(|&other| other == group).unwrap() + 1);
        order[at..].iter().copied().find(|group| self.walk().contains(group))
    }

    fn worker(&mut self) -> bool {
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

    fn shrinker_count(&mut self, group: usize, node: u8) -> u64 {
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

    fn shrinker_scan(&mut self, group: usize, node: u8, entries: u64) -> Option<u64> {
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

    fn remove(&mut self, group: usize) -> bool {
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

    fn debugfs(&self) -> Vec<(&'static str, u64)> {
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
enum Seen {
    Rotated { alone: bool },
    Cached,
    Written,
}

fn direct(kernel: (u16, u16)) -> Direct {
    let mut direct = Direct::new(ZswapConfig {
        total_ram_pages: RAM_PAGES,
        max_pool_percent: 50,
        accept_threshold_percent: 75,
        shrinker_enabled: true,
        kernel,
        codec: spec(0),
        pool: POOL,
        slots: SLOTS,
        nodes: NODES,
    })
    .unwrap();
    for (group, parent) in PARENTS.iter().enumerate().skip(1) {
        let added = direct.add_memcg(&format!("group{group}"), parent.unwrap() as u16).unwrap();
        assert_eq!(usize::from(added), group);
    }
    direct
}

fn spec(codec: usize) -> CodecSpec {
    CodecSpec::new(CODECS[codec], None).unwrap()
}

/// Does `op` to both; the results in words.
fn both(direct: &mut Direct, model: &mut Model, op: &Op) -> (String, String) {
    let words = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| (format!("{a:?}"), format!("{b:?}"));
    match *op {
        Op::Store { slot, ref lens, group, node } => {
            let lens = &lens[..lens.len().min((SLOTS - slot) as usize)];
            let pages: Vec<Page<'_>> = lens.iter().map(|&len| Page::Len(len)).collect();
            let stored = direct.store(slot, &pages, group as u16, node).unwrap();
            words(&stored, &model.store(slot, lens, group, node))
        }
        Op::Load { slot, slots } => {
            let slots = || slot..(slot + slots).min(SLOTS);
            let loaded: Vec<Loaded> = slots().map(|slot| direct.load(slot, &mut []).unwrap()).collect();
            words(&loaded, &slots().map(|slot| model.load(slot)).collect::<Vec<_>>())
        }
        Op::Invalidate(slot, slots) => {
            let slots = slots.min(SLOTS - slot);
            direct.invalidate(slot, slots).unwrap();
            for slot in slot..slot + slots {
                model.erase(slot);
                model.device.remove(&slot);
                model.cached.remove(&slot);
            }
            words(&(), &())
        }
        Op::SwapCache(slot, there) => {
            direct.set_in_swapcache(slot, there).unwrap();
            if there {
                model.cached.insert(slot)
            } else {
                model.cached.remove(&slot)
            };
            words(&(), &())
        }
        Op::Worker => words(&direct.run_shrink_worker(), &model.worker()),
        Op::ShrinkMemcg(group) => words(&direct.shrink_memcg(group as u16), &model.shrink_memcg(group)),
        Op::Count(group, node) => {
            let count = direct.zswap.shrinker_count(&direct.memcgs, group as u16, node);
            words(&count, &model.shrinker_count(group, node))
        }
        Op::Scan(group, node, entries) => {
            let scanned = direct.shrinker_scan(group as u16, node, entries).unwrap();
            words(&scanned, &model.shrinker_scan(group, node, entries))
        }
        Op::Remove(group) => words(&direct.remove_memcg(group as u16).is_ok(), &model.remove(group)),
        _ => {
            turn(direct, model, op);
            words(&(), &())
        }
    }
}

/// Turns a knob on both.
fn turn(direct: &mut Direct, model: &mut Model, op: &Op) {
    match *op {
        Op::Max(group, max) => {
            direct.memcgs.get(group as u16).unwrap().set_zswap_max(max);
            model.groups[group].max = max;
        }
        Op::Writeback(group, enabled) => {
            direct.memcgs.get(group as u16).unwrap().set_writeback(enabled);
            model.groups[group].writeback = enabled;
        }
        Op::MaxPercent(percent) => {
            direct.zswap.set_max_pool_percent(percent);
            model.max_percent = percent;
        }
        Op::AcceptPercent(percent) => {
            direct.zswap.set_accept_threshold_percent(percent);
            model.accept_percent = percent;
        }
        Op::Enabled(enabled) => {
            direct.zswap.set_enabled(enabled);
            model.enabled = enabled;
        }
        Op::Shrinker(enabled) => {
            direct.zswap.set_shrinker_enabled(enabled);
            model.shrinker = enabled;
        }
        Op::Compressor(codec) => {
            direct.zswap.set_compressor(spec(codec)).unwrap();
            model.pools.entry(codec).or_insert_with(|| Pool::new(POOL).unwrap());
            model.current = codec;
            model.bury();
        }
        Op::FreePages(pages) => {
            direct.set_free_pages(pages);
            model.left.0.set(pages);
        }
        _ => unreachable!("not a knob"),
    }
}

/// Everything that can be seen of both.
fn compare(direct: &Direct, model: &Model) -> Result<(), TestCaseError> {
    direct.zswap.invariant();
    prop_assert_eq!(direct.zswap.debugfs(), model.debugfs());
    for (name, value) in direct.vmstat() {
        prop_assert_eq!(value, model.counts.get(name).copied().unwrap_or(0), "{}", name);
    }
    for (group, memcg) in direct.memcgs.iter().enumerate().filter(|(_, memcg)| memcg.is_online()) {
        prop_assert_eq!((memcg.zswap_current_bytes(), memcg.zswapped()), model.charged(group), "group {}", group);
        for node in 0..NODES {
            let list = model.lists.get(&(group, node)).cloned().unwrap_or_default();
            prop_assert_eq!(direct.zswap.lru_slots(group as u16, node), list, "list of {} on {}", group, node);
        }
    }
    let pools: BTreeMap<String, u64> = direct.zswap.pools().iter().map(|p| (p.0.to_string(), p.1)).collect();
    let naive = model.pools.iter().map(|(&codec, pool)| (spec(codec).to_string(), pool.total_pages() as u64));
    prop_assert_eq!(pools, naive.collect::<BTreeMap<_, _>>());
    prop_assert_eq!(direct.on_device(), model.device.keys().copied().collect::<Vec<_>>());
    Ok(())
}

fn len() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![6 => (1u32..3000).prop_map(Some), 3 => (3500u32..4100).prop_map(Some), 1 => Just(None)]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let group = || 0..PARENTS.len();
    let node = || 0..NODES;
    let lens = prop_oneof![3 => prop::collection::vec(len(), 1), 1 => prop::collection::vec(len(), 2..9)];
    let max = prop_oneof![1 => Just(MAX), 1 => Just(0), 4 => 1u64..40_000];
    prop_oneof![
        30 => (slot(), lens, group(), node())
            .prop_map(|(slot, lens, group, node)| Op::Store { slot, lens, group, node }),
        8 => (slot(), 1u32..9).prop_map(|(slot, slots)| Op::Load { slot, slots }),
        3 => (slot(), 1u32..9).prop_map(|(slot, slots)| Op::Invalidate(slot, slots)),
        2 => (slot(), any::<bool>()).prop_map(|(slot, there)| Op::SwapCache(slot, there)),
        6 => Just(Op::Worker),
        4 => group().prop_map(Op::ShrinkMemcg),
        8 => (group(), node()).prop_map(|(group, node)| Op::Count(group, node)),
        3 => (group(), node(), 0u64..12).prop_map(|(group, node, entries)| Op::Scan(group, node, entries)),
        3 => (1..PARENTS.len(), max).prop_map(|(group, max)| Op::Max(group, max)),
        2 => (group(), prop::bool::weighted(0.7)).prop_map(|(group, on)| Op::Writeback(group, on)),
        1 => group().prop_map(Op::Remove),
        2 => prop_oneof![Just(100u64), 1u64..40].prop_map(Op::MaxPercent),
        1 => (0u64..=100).prop_map(Op::AcceptPercent),
        1 => prop::bool::weighted(0.8).prop_map(Op::Enabled),
        1 => prop::bool::weighted(0.7).prop_map(Op::Shrinker),
        3 => (0..CODECS.len()).prop_map(Op::Compressor),
        1 => prop_oneof![Just(u64::MAX / 4), 0u64..20].prop_map(Op::FreePages),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn it_does_what_the_model_does(
        ops in prop::collection::vec(op(), 1..120),
        kernel in prop_oneof![Just((6, 12)), Just((6, 18))],
    ) {
        let (mut direct, mut model) = (direct(kernel), Model::new(kernel));
        for (number, op) in ops.iter().enumerate() {
            let (real, naive) = both(&mut direct, &mut model, op);
            prop_assert_eq!(real, naive, "result of {}: {:?}", number, op);
            compare(&direct, &model).map_err(|error| TestCaseError::fail(format!("after {number}, {op:?}: {error}")))?;
        }
    }
}

/// Nothing passes vacuously: over many fixed sequences each of these happens.
#[test]
fn the_sequences_reach_every_counter() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    for round in 0..60 {
        let ops = prop::collection::vec(op(), 100).new_tree(&mut runner).unwrap().current();
        let kernel = if round % 2 == 0 { (6, 12) } else { (6, 18) };
        let (mut direct, mut model) = (direct(kernel), Model::new(kernel));
        for op in &ops {
            both(&mut direct, &mut model, op);
            reached.extend(direct.zswap.debugfs().iter().filter(|(_, value)| *value > 0).map(|(name, _)| *name));
            reached.extend(["three pools"].into_iter().filter(|_| direct.zswap.pools().len() == 3));
        }
    }
    let unreachable = ["reject_kmemcache_fail", "decompress_fail"]; // no entry allocation, no damaged blocks
    let all = direct((6, 18)).zswap.debugfs().into_iter().map(|(name, _)| name).chain(["three pools"]);
    assert_eq!(all.filter(|name| !reached.contains(name)).collect::<Vec<_>>(), unreachable);
}

/// A folio of several pages goes in whole or not at all, and what an earlier store left is gone either way.
#[test]
fn a_large_folio_is_unwound() {
    let mut direct = direct((6, 12));
    let lens = [Some(1000), Some(1000), Some(1000), None];
    let pages = |lens: &[Option<u32>]| -> Vec<Page<'static>> { lens.iter().map(|&len| Page::Len(len)).collect() };
    assert_eq!(direct.store(2, &pages(&lens[..1]), 1, 0).unwrap(), Stored::Pool);
    assert_eq!(direct.store(0, &pages(&lens), 1, 0).unwrap(), Stored::Device);
    assert_eq!((direct.zswap.stored_pages(), direct.zswap.total_pages()), (0, 0));
    assert_eq!(direct.memcgs.get(1).unwrap().zswap_current_bytes(), 0);
    assert_eq!(direct.on_device(), [0, 1, 2, 3]);
    assert_eq!(direct.store(0, &pages(&lens[..3]), 1, 0).unwrap(), Stored::Pool);
    assert_eq!(direct.vmstat()[1], ("zswpout", 4));
    assert_eq!(direct.zswap.pools()[0].2, 4, "three entries and being current");
}
