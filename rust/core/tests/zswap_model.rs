//! zswap against a naive model: random sequences of everything that can be asked of it, results, counters, lists and charges
//! compared after each.

mod cases;
mod zswap;

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::memcg::{MAX, Memcg};
use kcompressd_core::zsmalloc::Pool;
use kcompressd_core::zswap::ZswapConfig;
use kcompressd_core::zswap::direct::{Direct, DirectError, Loaded, Page, Stored};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use zswap::{Model, NODES, P842, PARENTS, POOL, RAM_PAGES};

const SLOTS: u32 = 48;
const CODECS: [CodecName; P842 + 1] = [CodecName::Lz4, CodecName::Zstd, CodecName::Lzo, CodecName::P842];

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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(200) })]

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
        direct.invalidate(0, SLOTS).unwrap();
        let charged = |memcg: &Memcg| memcg.zswap_current_bytes() + memcg.zswapped();
        let left = (direct.zswap.stored_pages(), direct.zswap.total_pages(), direct.zswap.stored_bytes());
        prop_assert_eq!((left, direct.memcgs.iter().map(charged).sum::<u64>()), ((0, 0, 0), 0), "all is freed");
        prop_assert_eq!(direct.zswap.pools().iter().map(|pool| pool.2).collect::<Vec<_>>(), [1], "but for being current");
        direct.zswap.invariant();
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

/// A slot that is used again is not taken for the one that was in the swap cache: its entry can be written back.
#[test]
fn a_freed_slot_is_not_in_the_swap_cache() {
    let mut direct = direct((6, 12));
    let page = [Page::Len(Some(1000))];
    for slot in [3, 4] {
        assert_eq!(direct.store(slot, &page, 1, 0).unwrap(), Stored::Pool);
        direct.set_in_swapcache(slot, true).unwrap();
    }
    let scanned = direct.shrinker_scan(1, 0, 9).unwrap();
    assert_eq!((scanned, direct.on_device()), (None, vec![]), "what is in the swap cache stops it");
    direct.invalidate(3, 2).unwrap();
    for slot in [3, 4] {
        assert_eq!(direct.store(slot, &page, 1, 0).unwrap(), Stored::Pool);
    }
    // One look takes an entry's second chance.
    let scanned = [(); 2].map(|()| direct.shrinker_scan(1, 0, 2).unwrap());
    assert_eq!((scanned, direct.on_device()), ([None, Some(2)], vec![3, 4]));
}

/// What there is not is refused by name and changes nothing.
#[test]
fn slots_groups_nodes_and_pages_that_cannot_be_are_refused() {
    let mut direct = direct((6, 12));
    let (page, groups) = ([Page::Len(Some(1000))], PARENTS.len() as u16);
    let said = |result: Result<Stored, DirectError>| result.unwrap_err().to_string();
    assert_eq!(said(direct.store(SLOTS, &page, 0, 0)), format!("slots {SLOTS} to {SLOTS}: there are {SLOTS}"));
    assert_eq!(said(direct.store(0, &page, groups, 0)), format!("no memcg {groups}"));
    assert_eq!(said(direct.store(0, &page, 0, NODES)), format!("node {NODES}: there are {NODES}"));
    assert_eq!(said(direct.store(0, &[], 0, 0)), "0 bytes are no page of 4096");
    assert_eq!(said(direct.store(0, &[Page::Bytes(&[7; 4095])], 0, 0)), "4095 bytes are no page of 4096");
    assert!(matches!(direct.shrinker_scan(0, NODES, 1), Err(DirectError::NoNode(node, NODES)) if node == NODES));
    assert!(direct.load(SLOTS, &mut []).is_err() && direct.invalidate(SLOTS - 1, 2).is_err());
    assert_eq!((direct.zswap.stored_pages(), direct.on_device()), (0, vec![]));
    assert_eq!(direct.store(SLOTS - 1, &page, groups - 1, NODES - 1).unwrap(), Stored::Pool, "the last of each");
}
