//! loom models of what one access of a system hands on to another: each asks whether who sees it sees what came before.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p kcompressd-core --test loom_system`
//! Nothing is woken where a wake-up's fence would come between. loom remembers of an atomic only its last access: a load before a
//! thread's own store hides what others have loaded before, and the store is not tried ahead of them. So each model has a [`Turn`].
#![cfg(kcompressd_loom)]

use kcompressd_core::codec::{CodecName, CodecSpec};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::folio::Folio;
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::reclaim::Stop;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::sync::{Arc, AtomicU64, Ordering, thread};
use kcompressd_core::system::{Config, Contents, Sizes, System};
use kcompressd_core::units::PAGE_SIZE;
use kcompressd_core::zsmalloc::{PoolConfig, Unlimited};
use kcompressd_core::zswap::{Block, Zswap, ZswapConfig};

/// Of a model's threads, words: its first has 32 KiB, in which no system is made.
const STACK: usize = 1 << 16;

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK).spawn(f).unwrap()
}

fn model(f: impl Fn() + Copy + Send + Sync + 'static) {
    loom::model(move || spawn(f).join().unwrap());
}

/// What one thread `takes` at its end and another looks at first: both orders are tried, and nothing is ordered by it.
#[derive(Default)]
struct Turn(AtomicU64);

impl Turn {
    fn take(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn look(&self) {
        let _either = self.0.load(Ordering::Relaxed);
    }
}

/// One thread notes what it did without any ordering, then `tells`; if another that `sees` it has seen, so has it the note.
fn what_came_before_is_seen<T: Send + Sync + 'static>(make: fn() -> T, tells: fn(&T), sees: fn(&T) -> bool) {
    model(move || {
        let shared = Arc::new((make(), AtomicU64::new(0), Turn::default()));
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(1, Ordering::Relaxed);
                tells(&shared.0);
                shared.2.take();
            }
        });
        let (of, before, turn) = &*shared;
        turn.look();
        assert!(!sees(of) || before.load(Ordering::Relaxed) == 1, "seen without what came before");
        other.join().unwrap();
        assert!(sees(of));
    });
}

#[test]
fn reference_given_back() {
    let referenced = || {
        let folio = Folio::new(0, 0);
        folio.get();
        folio
    };
    what_came_before_is_seen(referenced, Folio::put, |folio| folio.extra_refs() == 0);
}

#[test]
fn stop() {
    what_came_before_is_seen(Stop::default, |stop| stop.set(true), Stop::is_set);
}

#[test]
fn group_offline() {
    what_came_before_is_seen(
        groups,
        |groups| groups.set_offline(1).unwrap(),
        |groups| !groups.get(1).unwrap().is_online(),
    );
}

/// A system of one page, which is on its way.
fn with_a_page_in_flight() -> System {
    let config = Config::new(Preset::Split.design(StoreKind::Zswap), StoreKind::Zswap, 1);
    let device = Device::new(Backing::Modelled, PAGE_SIZE, IoFaults::default());
    let contents = Contents::Sizes(Sizes::uniform(1, 1000));
    let sys = System::new(config, Table::default(), Memcgs::new(PAGE_SIZE), |_| 0, device, contents).unwrap();
    sys.depart(1);
    sys
}

/// Who finds nothing in flight finds what arrived, and that something did: kswapd ends by the two.
#[test]
fn last_arrival() {
    let arrive = |sys: &System| sys.arrive(&sys.nodes[0], 1);
    what_came_before_is_seen(with_a_page_in_flight, arrive, |sys| {
        let landed = sys.in_flight() == 0;
        assert!(!landed || sys.nodes[0].progress() == 1, "landed, and no progress seen");
        landed
    });
}

#[test]
fn progress() {
    what_came_before_is_seen(
        with_a_page_in_flight,
        |sys| sys.nodes[0].made_progress(),
        |sys| sys.nodes[0].progress() > 0,
    );
}

const CODECS: [CodecName; 3] = [CodecName::Lz4, CodecName::Zstd, CodecName::Lzo];

fn spec(nth: usize) -> CodecSpec {
    CodecSpec::new(CODECS[nth], None).unwrap()
}

fn zswap() -> Zswap {
    let config = ZswapConfig {
        total_ram_pages: 100,
        max_pool_percent: 20,
        accept_threshold_percent: 90,
        shrinker_enabled: false,
        kernel: (6, 18),
        codec: spec(0),
        pool: PoolConfig { bytes: false, ..PoolConfig::default() },
        slots: 2,
        nodes: 1,
    };
    Zswap::new(config, 2).unwrap()
}

/// A group below the root.
fn groups() -> Memcgs {
    let mut groups = Memcgs::new(PAGE_SIZE);
    groups.add("group", 0).unwrap();
    groups
}

/// Stores whose pages are in the pool and on no list yet.
fn stores() -> (Zswap, Memcgs) {
    let (zswap, groups) = (zswap(), groups());
    for slot in 0..2 {
        let (pool, block) = (zswap.store_begin_charged().unwrap(), Block { len: 100, bytes: None, raw: false });
        zswap.store_page(slot, pool, block, &groups, &Unlimited).unwrap();
    }
    (zswap, groups)
}

fn publish((zswap, groups): &(Zswap, Memcgs), slot: u32) {
    zswap.store_publish(slot, 10 + slot, groups, 1, 0);
}

fn listed(zswap: &Zswap) -> Vec<u32> {
    let mut folios = Vec::new();
    zswap.each_listed(|folio| folios.push(folio));
    folios
}

/// Whoever meets an entry on the LRU finds what its store did before.
#[test]
fn entry_is_listed_whole() {
    what_came_before_is_seen(
        stores,
        |stores| publish(stores, 0),
        |(zswap, _)| {
            let folios = listed(zswap);
            assert!(folios.is_empty() || folios == [10], "{folios:?}");
            !folios.is_empty()
        },
    );
}

/// Two stores end while others walk the list: who comes second is linked to who came first, whoever that is.
#[test]
fn two_entries_are_added_at_once() {
    model(|| {
        let shared = Arc::new((stores(), Turn::default()));
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                publish(&shared.0, 1);
                shared.1.take();
            }
        });
        publish(&shared.0, 0);
        shared.1.look();
        let folios = listed(&shared.0.0);
        assert!(folios.contains(&10) && folios.iter().all(|folio| [10, 11].contains(folio)), "{folios:?}");
        other.join().unwrap();
        let before = folios.len();
        let folios = listed(&shared.0.0);
        assert!(folios.len() == 2 && (before == 1 || folios.contains(&11)), "{folios:?}");
        assert_eq!(shared.0.0.stored_pages(), 2);
    });
}

/// A store ends while its group's entries go to the parent: its entry is on the list of one of the two, then on the parent's.
#[test]
fn an_entry_is_added_while_its_group_goes() {
    model(|| {
        let shared = Arc::new((stores(), Turn::default()));
        publish(&shared.0, 1);
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                publish(&shared.0, 0);
                shared.1.take();
            }
        });
        let ((zswap, groups), turn) = &*shared;
        turn.look();
        zswap.reparent(groups, 1, 0);
        assert_eq!(zswap.lru_slots(1, 0), []);
        other.join().unwrap();
        let mut slots = zswap.lru_slots(0, 0);
        assert_eq!(slots.pop(), Some(0), "the youngest");
        assert_eq!(slots, [1]);
        zswap.unlist(0, groups);
        zswap.unlist(1, groups);
        assert_eq!((zswap.lru_slots(0, 0), zswap.stored_pages()), (vec![], 2));
    });
}

/// A store begins while the compressor is changed twice: the pool that it gets keeps its compressor as long as the store has its
/// reference, also if the number was read in one life of it and the reference taken in the next. Both pools are made before: loom
/// does not know that std's cell orders that.
#[test]
fn a_store_gets_a_pool_with_its_compressor() {
    model(|| {
        let shared = Arc::new((zswap(), Turn::default()));
        shared.0.set_compressor(spec(1)).unwrap();
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.0.set_compressor(spec(0)).unwrap();
                shared.0.set_compressor(spec(2)).unwrap();
                shared.1.take();
            }
        });
        let (zswap, turn) = &*shared;
        turn.look();
        let pool = zswap.store_begin_charged().unwrap();
        let codec = zswap.codec(pool);
        other.join().unwrap();
        assert_eq!(zswap.codec(pool), codec, "the compressor of an earlier life of pool {pool}");
        zswap.store_end(pool);
    });
}

/// The compressor is read while it is changed: never that which the new pool's number had in an earlier life.
#[test]
fn the_current_compressor() {
    model(|| {
        let shared = Arc::new((zswap(), Turn::default()));
        shared.0.set_compressor(spec(1)).unwrap();
        shared.0.set_compressor(spec(0)).unwrap();
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.0.set_compressor(spec(2)).unwrap();
                shared.1.take();
            }
        });
        let (zswap, turn) = &*shared;
        turn.look();
        assert_ne!(zswap.compressor(), spec(1));
        other.join().unwrap();
        assert_eq!(zswap.compressor(), spec(2));
    });
}

/// The last reference to a pool that drains goes while the compressor is changed again: who gives its number a new life finds
/// what was done in the old one.
#[test]
fn a_pools_number_comes_back_empty() {
    model(|| {
        let shared = Arc::new((zswap(), AtomicU64::new(0), Turn::default()));
        let old = shared.0.store_begin_charged().unwrap();
        shared.0.set_compressor(spec(1)).unwrap();
        let other = spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(1, Ordering::Relaxed);
                shared.0.store_end(old);
                shared.2.take();
            }
        });
        let (zswap, before, turn) = &*shared;
        turn.look();
        zswap.set_compressor(spec(2)).unwrap();
        let new = zswap.store_begin_charged().unwrap();
        assert!(new != old || before.load(Ordering::Relaxed) == 1, "a pool's number came back before its end is seen");
        assert_eq!(zswap.codec(new), spec(2));
        zswap.store_end(new);
        other.join().unwrap();
    });
}
