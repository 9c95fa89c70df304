//! The pool against a model that does the same the slow way.

#[path = "../cases/mod.rs"]
mod cases;
mod pair;

use kcompressd_core::zsmalloc::{Pool, PoolConfig, Unlimited};
use pair::{Op, Pair, save};
use proptest::prelude::*;

fn size() -> impl Strategy<Value = usize> {
    // Few sizes meet often in a class; the ends and the huge boundary are among them.
    prop_oneof![
        4 => prop::sample::select(vec![1, 24, 25, 700, 1400, 1480, 2100, 3000, 3600]),
        1 => prop::sample::select(vec![3624, 3625, 4096]),
        1 => 1usize..=4096,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => size().prop_map(Op::Store),
        6 => any::<usize>().prop_map(Op::Free),
        1 => (size(), 10usize..80).prop_map(|(size, n)| Op::Burst(size, n)),
        1 => (2usize..5).prop_map(Op::Thin),
        1 => Just(Op::Compact),
        1 => Just(Op::Restore),
    ]
}

proptest! {
    #![proptest_config(cases::cases(96))]

    /// Accounting and contents follow the model step by step, refusals and compaction included.
    #[test]
    fn follows_the_model(
        ops in prop::collection::vec(op(), 1..120),
        bytes: bool,
        chain_size in 4usize..=16,
        page_size in prop::sample::select(vec![4096usize, 4096, 16384, 65536]),
        pages in prop::sample::select(vec![12usize, 60, 100_000]),
    ) {
        Pair::new(PoolConfig { page_size, chain_size, bytes }, pages).run(&ops);
    }

    /// Two pools that came to the same objects in the same places by different ways save the same words.
    #[test]
    fn history_leaves_no_trace(sizes in prop::collection::vec(size(), 1..60), extra in prop::collection::vec(size(), 0..60)) {
                let pools = [(); 2].map(|()| Pool::new(PoolConfig { bytes: false, ..Default::default() }).expect("valid"));
        // The first pool has seen other objects before and has given all of them back, in two orders.
        let handles: Vec<_> = extra.iter().map(|&size| pools[0].malloc(size, &Unlimited).expect("unlimited")).collect();
        let (even, odd): (Vec<_>, Vec<_>) = handles.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
        odd.into_iter().rev().chain(even).for_each(|(_, handle)| pools[0].free(handle, &Unlimited));
        for pool in &pools {
            sizes.iter().for_each(|&size| { pool.malloc(size, &Unlimited).expect("unlimited"); });
        }
        prop_assert_eq!(save(&pools[0]), save(&pools[1]));
    }
}

/// Long enough that compaction has much to move, in classes of many and of few objects.
#[test]
fn long_runs_compact() {
    for (bytes, sizes) in [(true, [24, 1400, 2100, 3000]), (false, [40, 700, 1480, 3600])] {
        let mut pair = Pair::new(PoolConfig { bytes, ..Default::default() }, 100_000);
        for round in 0..6 {
            let ops: Vec<_> = (0..400).map(|i| Op::Store(sizes[(i * i + round) % 4])).collect();
            let frees = (0..320).map(|i| Op::Free(i * 7919 + round * 31));
            ops.into_iter().chain(frees).for_each(|op| pair.step(&op));
            pair.compare();
            pair.compact();
            pair.compare();
            pair.restore();
            pair.compare();
        }
        assert!(pair.compacted > 300, "{} pages", pair.compacted);
    }
}

/// The order among full zspages decides nothing and is not in the words.
#[test]
fn the_order_of_full_zspages_leaves_no_trace() {
    let [one, two] = [(); 2].map(|()| Pool::new(PoolConfig { bytes: false, ..Default::default() }).expect("valid"));
    let fill = |pool: &Pool| [(); 8].map(|()| pool.malloc(2000, &Unlimited).expect("unlimited"));
    let handles = [fill(&one), fill(&two)];
    assert_eq!(handles[0], handles[1]);
    // Out and in again: the zspage is full again, but now at the head.
    two.free(handles[1][1], &Unlimited);
    assert_eq!(two.malloc(2000, &Unlimited), Ok(handles[1][1]));
    assert_eq!(save(&one), save(&two));
}

#[test]
#[should_panic(expected = "no snapshot")]
fn bytes_are_not_saved() {
    save(&Pool::new(PoolConfig::default()).expect("valid"));
}
