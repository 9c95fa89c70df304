//! Sequences of pool operations against the tests' reference model, which compares everything after each.

#![no_main]

#[path = "../../rust/core/tests/zsmalloc_model/pair.rs"]
mod pair;

use arbitrary::Arbitrary;
use kcompressd_core::zsmalloc::PoolConfig;
use libfuzzer_sys::fuzz_target;
use pair::{Op, Pair};

#[derive(Arbitrary, Debug)]
enum Step {
    Store(u16),
    Free(u16),
    Burst(u16, u8),
    Thin(u8),
    Compact,
    Restore,
}

#[derive(Arbitrary, Debug)]
struct Input {
    bytes: bool,
    large_pages: bool,
    chain_size: u8,
    /// Pages that the pool may have.
    pages: u8,
    steps: Vec<Step>,
}

impl Step {
    fn op(&self) -> Op {
        let size = |size: u16| 1 + usize::from(size) % 4096;
        match *self {
            Self::Store(bytes) => Op::Store(size(bytes)),
            Self::Free(nth) => Op::Free(nth.into()),
            Self::Burst(bytes, n) => Op::Burst(size(bytes), usize::from(n) % 64),
            Self::Thin(n) => Op::Thin(2 + usize::from(n) % 4),
            Self::Compact => Op::Compact,
            Self::Restore => Op::Restore,
        }
    }
}

fuzz_target!(|input: Input| {
    let page_size = if input.large_pages { 16384 } else { 4096 };
    let chain_size = 4 + usize::from(input.chain_size) % 13;
    let config = PoolConfig { page_size, chain_size, bytes: input.bytes };
    let ops: Vec<Op> = input.steps.iter().take(100).map(Step::op).collect();
    Pair::new(config, usize::from(input.pages)).run(&ops);
});
