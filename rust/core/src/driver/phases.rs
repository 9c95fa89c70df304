//! The phases of a `pageout` run: everything is reclaimed, then faulted in, then given up.

use crate::lifecycle::actor;
use crate::reclaim::{Actor, App, Task};
use crate::units::SWAP_CLUSTER_MAX;
use crate::workload::SplitMix;

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
        let mut random = SplitMix(seed);
        // Fisher and Yates.
        for i in (1..order.len()).rev() {
            order.swap(i, (random.next_u64() % (i as u64 + 1)) as usize);
        }
    }
    order
}
