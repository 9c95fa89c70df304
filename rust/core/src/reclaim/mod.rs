//! Minimal reclaim: the actors that take pages off the lists and give them back.
//!
//! kswapd isolates 32 folios from the inactive tail, looks at each (`shrink_folio_list`), and puts back what it kept; a later
//! pass frees what an earlier one queued. It goes on until its node's inactive list is empty and nothing is in flight, or
//! nothing moved in 16 passes. There are no watermarks, no two-look rule and no memory budget yet: every page is wanted
//! gone, as by MADV_PAGEOUT.

pub mod app;
pub mod device;
pub mod kcompressd;
pub mod kswapd;
mod look;
pub mod shrink;

pub use app::{App, Task};
pub use device::SwapDevice;
pub use kcompressd::Kcompressd;
pub use kswapd::Kswapd;
pub use shrink::ShrinkWorker;

use crate::snapshot::Saved;
use crate::system::{Ctx, Outcome, StepError, System, Waiting};
use crate::units::SWAP_CLUSTER_MAX;
use crate::wait::{Ticket, WaitKey};

/// Up to 32 folios in an actor's hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pages: [u32; SWAP_CLUSTER_MAX],
    len: u8,
}

impl Cluster {
    /// Adds a folio; at most [`SWAP_CLUSTER_MAX`].
    pub fn push(&mut self, page: u32) {
        self.pages[usize::from(self.len)] = page;
        self.len += 1;
    }

    /// The folios in order.
    pub fn as_slice(&self) -> &[u32] {
        &self.pages[..usize::from(self.len)]
    }

    /// Folios in it.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    fn save(&self, out: &mut Saved) {
        out.state.push(u64::from(self.len));
        out.state.extend(self.as_slice().iter().map(|&p| u64::from(p)));
    }
}

/// Any actor: what a driver runs.
#[derive(Clone, Debug)]
pub enum Actor {
    /// kswapd of a node.
    Kswapd(Kswapd),
    /// A kcompressd thread.
    Kcompressd(Kcompressd),
    /// An application thread.
    App(App),
    /// The swap device.
    Device(SwapDevice),
    /// zswap's shrink worker.
    Shrink(ShrinkWorker),
}

impl Actor {
    /// One step.
    ///
    /// # Errors
    /// [`StepError`]: the run ends.
    #[inline]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Outcome, StepError> {
        match self {
            Self::Kswapd(actor) => actor.step(sys, ctx),
            Self::Kcompressd(actor) => actor.step(sys, ctx),
            Self::App(actor) => actor.step(sys, ctx),
            Self::Device(actor) => actor.step(sys, ctx),
            Self::Shrink(actor) => actor.step(sys, ctx),
        }
    }

    /// Appends what decides its future to a snapshot; restoring is putting a clone back.
    pub fn save(&self, sys: &System, out: &mut Saved) {
        match self {
            Self::Kswapd(actor) => actor.save(sys, out),
            Self::Kcompressd(actor) => actor.save(out),
            Self::App(actor) => actor.save(out),
            Self::Device(actor) => actor.save(out),
            Self::Shrink(actor) => actor.save(out),
        }
    }
}

/// Draws a ticket for `key`, looks once more whether `ready`, and waits only if not.
fn wait_unless(sys: &System, key: WaitKey, ready: impl FnOnce() -> bool) -> Outcome {
    let ticket: Ticket = sys.wait.prepare(key);
    if ready() {
        sys.wait.cancel(key, ticket);
        return Outcome::Ran(crate::system::Work::Commit);
    }
    Outcome::Wait(Waiting { key, ticket, timeout_ns: None })
}
