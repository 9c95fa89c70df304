//! The phases of a `pageout` run: everything is reclaimed, then faulted in, then given up.

use crate::lifecycle::actor;
use crate::reclaim::{Actor, App, Task};
use crate::units::SWAP_CLUSTER_MAX;

/// In which order the fault phase reads the pages back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOrder {
    /// Not at all: the run ends with the reclaim phase.
    None,
    /// By index.
    InOrder,
    /// Shuffled by the seed.
    Shuffled,
}

/// The application threads of a phase, each with its share of the pages; the exit phase has one.
pub(super) fn apps(task: Task, pages: u32, fault: FaultOrder, seed: u64, threads: u16) -> Vec<(u16, Actor)> {
    let order = order(pages, fault, seed);
    let threads = if task == Task::Exit { 1 } else { usize::from(threads.max(1)) };
    let share = order.len().div_ceil(threads).max(SWAP_CLUSTER_MAX);
    let actors = order.chunks(share).enumerate();
    actors.map(|(i, pages)| (actor::APP + i as u16, Actor::App(App::new(task, pages.into())))).collect()
}

fn order(pages: u32, fault: FaultOrder, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..pages).collect();
    if fault == FaultOrder::Shuffled {
        // Fisher-Yates with splitmix64 (Steele, Lea, Flood 2014).
        let mut state = seed;
        for i in (1..order.len()).rev() {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            order.swap(i, ((z ^ z >> 31) % (i as u64 + 1)) as usize);
        }
    }
    order
}
