//! The three clocks: drivers that run the same actors.

#[cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]
pub mod live;

use crate::lifecycle::actor;
use crate::reclaim::{Actor, Kcompressd, Kswapd, ShrinkWorker, SwapDevice};
use crate::sync::AtomicBool;
use crate::system::System;
use std::sync::Arc;

/// The actors of the reclaim phase, each with its id: a kswapd per node, a kcompressd per queue, the device, and the shrink
/// worker where there is zswap. The last two end when `stop` is set.
pub fn actors(sys: &System, stop: &Arc<AtomicBool>) -> Vec<(u16, Actor)> {
    let kswapds = (0..sys.config.nodes).map(|n| (actor::KSWAPD + u16::from(n), Actor::Kswapd(Kswapd::new(n))));
    let kcompressds =
        (0..sys.queues.len() as u16).map(|q| (actor::KCOMPRESSD + q, Actor::Kcompressd(Kcompressd::new(q))));
    let device = [(actor::DEVICE, Actor::Device(SwapDevice::new(stop.clone())))];
    let shrink = sys.zswap().map(|_| (actor::SHRINK, Actor::Shrink(ShrinkWorker::new(stop.clone()))));
    kswapds.chain(kcompressds).chain(device).chain(shrink).collect()
}
