//! The store by itself, half by half.

use super::shrink::{Next, NotShrunk, Outcome, Round, Scan, ShrinkMemcg, ShrinkSlab};
use super::*;
use crate::codec::CodecName;
use crate::snapshot::{Saved, Snapshot};
use crate::zsmalloc::{Frames, PoolConfig, Unlimited};
use std::cell::Cell;

fn codec(name: CodecName) -> CodecSpec {
    CodecSpec::new(name, None).unwrap()
}

fn zswap(total_ram_pages: u64, nodes: u8) -> (Zswap, Memcgs) {
    let mut memcgs = Memcgs::default();
    let parent = memcgs.add("parent", 0).unwrap();
    memcgs.add("child", parent).unwrap();
    let config = ZswapConfig {
        total_ram_pages,
        max_pool_percent: 100,
        accept_threshold_percent: 50,
        shrinker_enabled: true,
        kernel: (6, 18),
        codec: codec(CodecName::Lz4),
        pool: PoolConfig { bytes: false, ..PoolConfig::default() },
        slots: 16,
        nodes,
    };
    (Zswap::new(config, memcgs.iter().count()).unwrap(), memcgs)
}

fn store(zswap: &Zswap, memcgs: &Memcgs, slot: u32, len: usize, memcg: u16, node: u8) {
    let pool = zswap.store_begin(memcgs, memcg).unwrap();
    zswap.store_page(slot, pool, Block { len, bytes: None, raw: false }, memcgs, &Unlimited).unwrap();
    zswap.store_publish(slot, slot + 100, memcgs, memcg, node);
}

fn shrink(zswap: &Zswap, memcgs: &Memcgs, memcg: u16) -> (Vec<u32>, Result<(), NotShrunk>) {
    let (mut walk, mut written) = (ShrinkMemcg::new(memcg), vec![]);
    loop {
        match walk.next(zswap, memcgs) {
            Next::Candidate { slot, .. } => {
                zswap.invalidate(slot, memcgs, &Unlimited);
                walk.note(zswap, Outcome::Written);
                written.push(slot);
            }
            Next::Again => {}
            Next::End(result) => return (written, result),
        }
    }
}

/// Pages enough, and memory for so many entries.
struct Entries(Cell<u32>);

impl Frames for Entries {
    fn take(&self, _pages: usize) -> Option<u32> {
        Some(crate::units::NIL)
    }
    fn give(&self, _name: u32, _pages: usize) {}
    fn take_entry(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
    fn give_entry(&self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn an_entry_takes_memory_until_it_is_erased() {
    let ((zswap, memcgs), frames) = (zswap(100, 1), Entries(Cell::new(2)));
    let block = |len| Block { len, bytes: None, raw: false };
    let store = |slot, len| {
        let pool = zswap.store_begin(&memcgs, 0).unwrap();
        let stored = zswap.store_page(slot, pool, block(len), &memcgs, &frames);
        match stored {
            Ok(()) => zswap.store_publish(slot, slot, &memcgs, 0, 0),
            Err(_) => zswap.store_end(pool),
        }
        stored.is_ok()
    };
    assert!(store(0, 100) && !store(1, 5000), "the pool refuses the second, which leaves its entry");
    assert!(store(1, 100) && !store(2, 100));
    zswap.invalidate(0, &memcgs, &frames);
    assert!(store(2, 100));
    zswap.invariant();
    let counted = |wanted| zswap.debugfs().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    assert_eq!(["reject_kmemcache_fail", "reject_alloc_fail"].map(counted), [1, 1]);
}

#[test]
fn a_full_pool_refuses_until_it_has_drained_to_the_threshold() {
    let (zswap, memcgs) = zswap(4, 1);
    (0..4).for_each(|slot| store(&zswap, &memcgs, slot, 4000, 0, 0)); // one page each: above the huge class
    assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::PoolLimit));
    zswap.invalidate(0, &memcgs, &Unlimited);
    assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::PoolLimit), "3 of 4: above the threshold, once full");
    zswap.set_enabled(false);
    assert!(!zswap.queue_shrink_work(), "nobody asked about the limit");
    zswap.set_enabled(true);
    assert!(zswap.queue_shrink_work() && !zswap.queue_shrink_work(), "queued once");
    zswap.invalidate(1, &memcgs, &Unlimited);
    zswap.store_end(zswap.store_begin(&memcgs, 0).expect("2 of 4: drained"));
    assert_eq!(zswap.debugfs()[0], ("pool_limit_hit", 1));
    zswap.invariant();
}

#[test]
fn the_group_s_limit_is_asked_before_the_pool_s() {
    let (zswap, memcgs) = zswap(0, 1);
    memcgs.get(1).unwrap().set_zswap_max(0);
    assert_eq!(zswap.store_begin(&memcgs, 2), Err(Refusal::Memcg));
    assert_eq!(zswap.store_begin(&memcgs, 0), Err(Refusal::PoolLimit));
    zswap.set_enabled(false);
    assert_eq!(zswap.store_begin(&memcgs, 2), Err(Refusal::Disabled));
}

#[test]
fn one_entry_per_node_after_its_second_chance() {
    let (zswap, memcgs) = zswap(100, 2);
    for (slot, node) in [(0, 0), (1, 0), (2, 1)] {
        store(&zswap, &memcgs, slot, 100, 1, node);
    }
    assert_eq!(shrink(&zswap, &memcgs, 2), (vec![], Err(NotShrunk::Nothing)), "the parent's are not the child's");
    assert_eq!(shrink(&zswap, &memcgs, 1), (vec![], Err(NotShrunk::Kept)), "all were referenced");
    assert_eq!(shrink(&zswap, &memcgs, 1), (vec![2], Ok(())), "1 loses its mark, 2 had its chance");
    assert_eq!(shrink(&zswap, &memcgs, 1), (vec![0], Ok(())));
    memcgs.get(0).unwrap().set_writeback(false);
    assert_eq!(shrink(&zswap, &memcgs, 1), (vec![], Err(NotShrunk::Nothing)), "writeback denied");
    zswap.invariant();
}

#[test]
fn the_shrinker_puts_off_fewer_looks_than_a_batch_until_they_are_enough() {
    let (zswap, memcgs) = zswap(100, 1);
    (0..16).for_each(|slot| store(&zswap, &memcgs, slot, 4000, 1, 0)); // 15 pages to free
    let turn = || {
        let mut slab = ShrinkSlab::begin(&zswap, &memcgs, 1, 0, 2).unwrap();
        loop {
            if let Next::End(scanned) = slab.next(&zswap, &memcgs) {
                return assert_eq!(scanned, 0, "a batch in which nothing is written is none");
            }
        }
    };
    turn();
    assert_eq!(zswap.lrus.take_deferred(1, 0), 6, "twice a quarter of 15");
    assert_eq!(zswap.lrus.take_deferred(1, 0), 0, "taken");
    turn();
    turn();
    assert_eq!(zswap.lrus.take_deferred(1, 0), 12, "the second turn adds to what the first has put off");
    zswap.lrus.defer(1, 0, 40);
    turn();
    assert_eq!(zswap.lrus.take_deferred(1, 0), 30, "16 of 46 would be enough: all are looked at");
}

#[test]
fn a_slot_has_the_bytes_of_its_entry() {
    let (zswap, memcgs) = zswap(100, 1);
    store(&zswap, &memcgs, 3, 1234, 0, 0);
    assert_eq!([zswap.len_bytes(3), zswap.len_bytes(4)], [1234, 0]);
    zswap.invalidate(3, &memcgs, &Unlimited);
    assert_eq!(zswap.len_bytes(3), 0);
}

#[test]
fn a_removed_group_s_entries_are_its_parent_s_oldest() {
    let (zswap, memcgs) = zswap(100, 1);
    store(&zswap, &memcgs, 0, 100, 1, 0);
    store(&zswap, &memcgs, 1, 100, 2, 0);
    store(&zswap, &memcgs, 2, 100, 2, 0);
    assert_eq!(
        [Round::next(&zswap, &memcgs), Round::next(&zswap, &memcgs), Round::next(&zswap, &memcgs)],
        [Some(0), Some(1), Some(2)]
    );
    memcgs.set_offline(2).unwrap();
    zswap.forget(&memcgs, 2);
    zswap.reparent(&memcgs, 2, 0);
    assert_eq!(zswap.lru_slots(1, 0), [1, 2, 0]);
    assert_eq!(zswap.next_shrink(), None, "the worker was in the group: it goes on after it");
    zswap.invalidate(1, &memcgs, &Unlimited);
    store(&zswap, &memcgs, 3, 100, 2, 0);
    assert_eq!(zswap.lru_slots(1, 0), [2, 0, 3], "a page still charged to the removed group");
    zswap.invariant();
}

#[test]
fn the_worker_gives_up_after_sixteen_failures_and_knows_an_empty_walk() {
    let (zswap, memcgs) = zswap(1, 1);
    store(&zswap, &memcgs, 0, 4000, 1, 0);
    let mut round = Round::begin(&zswap);
    let goes_on = (0..16).map(|_| round.shrunk(&zswap, Err(NotShrunk::Kept))).filter(|&on| on).count();
    assert_eq!(goes_on, 15);
    let mut round = Round::begin(&zswap);
    assert!(round.shrunk(&zswap, Err(NotShrunk::Nothing)), "no failure");
    let walks = (0..16).map(|_| round.wrapped(&zswap)).filter(|&on| on).count();
    assert_eq!(walks, 15, "walks that found nothing");
}

#[test]
fn a_run_of_the_worker_goes_down_to_the_threshold_that_it_began_with() {
    let (zswap, memcgs) = zswap(10, 1);
    (0..5).for_each(|slot| store(&zswap, &memcgs, slot, 4000, 1, 0));
    let mut round = Round::begin(&zswap);
    assert!(!round.shrunk(&zswap, Ok(())), "5 pages of at most 9");
    zswap.set_accept_threshold_percent(10);
    assert!(!round.shrunk(&zswap, Ok(())), "it has not heard");
    assert!(Round::begin(&zswap).shrunk(&zswap, Ok(())), "the next one has");
}

#[test]
fn the_dynamic_shrinker_counts_what_is_worth_it() {
    let (zswap, memcgs) = zswap(100, 1);
    (0..8).for_each(|slot| store(&zswap, &memcgs, slot, 1024, 1, 0));
    assert_eq!(zswap.shrinker_count(&memcgs, 1, 0), 2, "8 entries at a quarter of a page");
    (0..5).for_each(|_| zswap.note_disk_swapin(&memcgs, 1, 0));
    assert_eq!(zswap.shrinker_count(&memcgs, 1, 0), 0, "3 × 2 / 8");
    assert_eq!(zswap.shrinker_count(&memcgs, 1, 0), 2, "each swap-in protects once");
    assert_eq!(zswap.shrinker_count(&memcgs, 0, 0), 0, "the root's own pages are not charged");
    memcgs.get(1).unwrap().set_writeback(false);
    assert_eq!(zswap.shrinker_count(&memcgs, 1, 0), 0);
}

#[test]
fn a_scan_stops_at_the_swap_cache() {
    let (zswap, memcgs) = zswap(100, 1);
    (0..3).for_each(|slot| store(&zswap, &memcgs, slot, 1024, 1, 0));
    let mut scan = Scan::new(1, 0, 3);
    (0..3).for_each(|_| assert_eq!(scan.next(&zswap, &memcgs), Next::Again));
    assert_eq!(scan.next(&zswap, &memcgs), Next::End(None), "all had a second chance: SHRINK_STOP");
    let mut scan = Scan::new(1, 0, 3);
    assert_eq!(scan.next(&zswap, &memcgs), Next::Candidate { slot: 0, folio: 100 });
    scan.note(&zswap, Outcome::InSwapCache);
    assert_eq!(scan.next(&zswap, &memcgs), Next::End(None));
    assert_eq!(zswap.lru_slots(1, 0), [1, 2, 0], "it was rotated");
}

#[test]
fn a_changed_compressor_gets_a_pool_of_its_own_and_the_old_one_drains() {
    let (zswap, memcgs) = zswap(100, 1);
    store(&zswap, &memcgs, 0, 4000, 0, 0);
    let queued = zswap.store_begin(&memcgs, 0).unwrap();
    zswap.set_compressor(codec(CodecName::Zstd)).unwrap();
    store(&zswap, &memcgs, 1, 4000, 0, 0);
    assert_eq!(zswap.codec(queued), codec(CodecName::Lz4), "what is queued stays with its pool");
    assert_eq!((zswap.total_pages(), zswap.stored_bytes()), (2, 8000), "the limit is about all pools");
    zswap.invalidate(0, &memcgs, &Unlimited);
    assert_eq!(zswap.stored_bytes(), 4000);
    assert_eq!(zswap.pools().len(), 2, "the queued store keeps it");
    zswap.store_end(queued);
    assert_eq!(zswap.pools(), [(codec(CodecName::Zstd), 1, 2, true)]);
    zswap.invariant();
}

#[test]
fn incompressible_pages_are_kept_from_6_18_unless_they_could_never_leave() {
    let (zswap, _) = zswap(100, 1);
    assert_eq!(zswap.form(0, Some(4095), true), Form::Block(4095));
    assert_eq!([zswap.form(0, Some(4096), true), zswap.form(0, None, true)], [Form::Raw; 2]);
    assert_eq!(zswap.form(0, None, false), Form::Refused);
    let old = Zswap { kernel: (6, 17), ..self::zswap(100, 1).0 };
    assert_eq!([old.form(0, Some(4096), true), old.form(0, Some(4097), true)], [Form::Block(4096), Form::Refused]);
    assert_eq!((rejects(&zswap), rejects(&old)), ([1, 0], [1, 0]));
    assert_eq!(
        [zswap.form(0, Some(0), true), old.form(0, Some(0), true)],
        [Form::Raw, Form::Refused],
        "no block is empty"
    );
}

/// reject_compress_fail and reject_compress_poor.
fn rejects(zswap: &Zswap) -> [u64; 2] {
    ["reject_compress_fail", "reject_compress_poor"]
        .map(|name| zswap.debugfs().iter().find(|(n, _)| *n == name).map(|(_, value)| *value).unwrap())
}

/// -ENOSPC is 842's alone, and it says so of what is longer than a page.
#[test]
fn a_page_that_842_cannot_shrink_is_poor_and_one_that_another_cannot_failed() {
    for kernel in [(6, 12), (6, 18)] {
        let zswap = Zswap { kernel, ..self::zswap(100, 1).0 };
        zswap.set_compressor(codec(CodecName::P842)).unwrap();
        let of_842 = zswap.store_begin_charged().unwrap();
        assert_eq!([Some(4097), None].map(|len| zswap.form(of_842, len, false)), [Form::Refused; 2]);
        assert_eq!(rejects(&zswap), [0, 2]);
        assert_eq!(zswap.form(of_842, Some(4096), false) == Form::Refused, kernel == (6, 18));
        zswap.set_compressor(codec(CodecName::Lzo)).unwrap();
        let of_lzo = zswap.store_begin_charged().unwrap();
        assert_eq!(zswap.form(of_lzo, Some(4097), false), Form::Refused);
        assert_eq!(rejects(&zswap), [1 + u64::from(kernel == (6, 18)), 2]);
    }
}

#[test]
#[should_panic(expected = "references to pool 0")]
fn the_invariant_sees_a_reference_that_nobody_gives_back() {
    let (zswap, memcgs) = zswap(100, 1);
    let _ = zswap.store_begin(&memcgs, 0).unwrap();
    zswap.invariant();
}

#[test]
fn a_saved_store_comes_back() {
    let (zswap, memcgs) = zswap(100, 2);
    // One of two objects of a class, and an empty slot, are expected by a worker.
    (3..5).for_each(|slot| store(&zswap, &memcgs, slot, 1000, 2, 1));
    [4, 7].into_iter().for_each(|slot| zswap.entries[slot].expected.store(true, entry::OWNED));
    let (mut before, mut after) = (Saved::default(), Saved::default());
    [&zswap as &dyn Snapshot, &memcgs].iter().for_each(|part| part.save(&mut before));
    store(&zswap, &memcgs, 1, 50, 1, 0);
    [3, 4, 5, 7].into_iter().for_each(|slot| zswap.entries[slot].expected.store(slot == 5, entry::OWNED));
    zswap.set_compressor(codec(CodecName::Lzo)).unwrap();
    store(&zswap, &memcgs, 2, 60, 0, 0);
    zswap.note_disk_swapin(&memcgs, 1, 1);
    memcgs.set_offline(2).unwrap();
    (0..2).for_each(|node| zswap.reparent(&memcgs, 2, node));
    let mut reader = before.reader();
    [&zswap as &dyn Snapshot, &memcgs].iter().for_each(|part| part.restore(&mut reader));
    [&zswap as &dyn Snapshot, &memcgs].iter().for_each(|part| part.save(&mut after));
    assert!(reader.is_empty());
    assert_eq!(before, after);
    zswap.invariant();
}

#[test]
fn a_spoilt_block_does_not_decompress_and_a_raw_page_cannot_be_spoilt() {
    let config = ZswapConfig {
        total_ram_pages: 100,
        max_pool_percent: 100,
        accept_threshold_percent: 90,
        shrinker_enabled: false,
        kernel: (6, 18),
        codec: codec(CodecName::Lz4),
        pool: PoolConfig::default(),
        slots: 4,
        nodes: 1,
    };
    let mut direct = direct::Direct::new(config).unwrap();
    let text: Vec<u8> = b"a page of text ".iter().copied().cycle().take(4096).collect();
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (slot, bytes) in [(0, &text), (1, &text), (2, &noise)] {
        let _ = direct.store(slot, &[direct::Page::Bytes(bytes)], 0, 0).unwrap();
    }
    assert!(direct.zswap.spoil(0) && !direct.zswap.spoil(3), "an empty slot has nothing to spoil");
    assert_eq!(direct.zswap.spoil(2), !direct.zswap.entries[2].meta().raw);
    let mut page = vec![0; 4096];
    assert!(direct.load(0, &mut page).is_err());
    assert_eq!(direct.load(1, &mut page).unwrap(), direct::Loaded::Pool);
    assert!(page == text);
}
