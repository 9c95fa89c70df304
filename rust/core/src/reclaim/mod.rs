//! Reclaim: the actors that take pages off the lists and give them back.
//!
//! With a memory budget kswapd balances the node ([`BalancePgdat`]) and applications allocate. Without one every page is
//! wanted gone, as by MADV_PAGEOUT, and [`Kswapd`] does that:
//!
//! kswapd isolates 32 folios from the inactive tail, looks at each (`shrink_folio_list`), and puts back what it kept; a later
//! pass frees what an earlier one queued. It goes on until its node's inactive list is empty and nothing is in flight, or
//! nothing moved in 16 passes.

pub mod admin;
pub mod app;
pub mod balance;
mod charge;
pub mod device;
mod direct;
mod evict;
mod file;
pub mod kcompressd;
pub mod kswapd;
mod list;
mod look;
mod scan;
pub mod shrink;
mod shrink_node;
mod walk;

pub use admin::{Admin, Toggle};
pub use app::{App, Task};
pub use balance::BalancePgdat;
pub use charge::{MemoryReclaim, ReclaimRequest};
pub use device::SwapDevice;
pub use kcompressd::Kcompressd;
pub use kswapd::Kswapd;
pub use shrink::ShrinkWorker;

use crate::swapout::Swapout;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::system::{Ctx, Fault, Outcome, StepResult, System, Work, mark};
use crate::units::SWAP_CLUSTER_MAX;

/// The step committed something.
const RAN: Outcome = Outcome::Ran(Work::Commit);
/// The step looked at something.
const SCANNED: Outcome = Outcome::Ran(Work::Scan);

/// Up to `N` folios in an actor's hands.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<const N: usize = SWAP_CLUSTER_MAX> {
    pages: [u32; N],
    len: u8,
}

impl<const N: usize> Default for Cluster<N> {
    fn default() -> Self {
        Self { pages: [0; N], len: 0 }
    }
}

impl<const N: usize> Cluster<N> {
    /// Adds a folio; at most `N`.
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

    fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        self.pages[..usize::from(self.len)].iter_mut().for_each(f);
    }
}

impl<const N: usize> PartialEq for Cluster<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Cluster<N> {}

impl<const N: usize> std::hash::Hash for Cluster<N> {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.as_slice().hash(hasher);
    }
}

/// A flag that the driver sets to end an actor which never ends by itself. All actors of a kind are equal in it: it is the
/// driver's, not theirs.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Sets or clears it.
    pub fn set(&self, stop: bool) {
        // ORDERING: Release pairs with the Acquire of the actor that ends by it.
        self.0.store(stop, Ordering::Release);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        // ORDERING: Acquire pairs with the driver's Release: what was done before the stop is seen.
        self.0.load(Ordering::Acquire)
    }
}

impl PartialEq for Stop {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Stop {}

impl std::hash::Hash for Stop {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// Any actor: what a driver runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// kswapd of a node whose every page is wanted gone.
    Kswapd(Kswapd),
    /// kswapd of a node with a memory budget.
    Balance(BalancePgdat),
    /// A kcompressd thread.
    Kcompressd(Kcompressd),
    /// An application thread.
    App(App),
    /// The swap device.
    Device(SwapDevice),
    /// zswap's shrink worker.
    Shrink(ShrinkWorker),
    /// Somebody who turns a knob.
    Admin(Admin),
    /// Somebody who writes to memory.reclaim.
    Reclaim(MemoryReclaim),
}

impl Actor {
    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`]: the run ends.
    #[inline]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        match self {
            Self::Kswapd(actor) => actor.step(sys, ctx),
            Self::Balance(actor) => actor.step(sys, ctx),
            Self::Kcompressd(actor) => actor.step(sys, ctx),
            Self::App(actor) => actor.step(sys, ctx),
            Self::Device(actor) => actor.step(sys, ctx),
            Self::Shrink(actor) => actor.step(sys, ctx),
            Self::Admin(actor) => Ok(actor.step(sys, ctx)),
            Self::Reclaim(actor) => actor.step(sys, ctx),
        }
    }

    /// Up to `limit` steps, until one is not [`Outcome::Ran`] or ends an application's touch: how many, and what the last one was. For a driver
    /// that looks at nothing between two steps of one actor, which are then no more than a few jumps apart.
    ///
    /// # Errors
    /// See [`StepResult`]: the run ends.
    pub fn run(&mut self, sys: &System, ctx: &mut Ctx, limit: u64) -> StepResult<(u64, Outcome)> {
        (ctx.ahead, ctx.marks) = (limit - 1, 0);
        let ended = match self {
            Self::Kswapd(actor) => run(ctx, 0, |ctx| actor.step(sys, ctx)),
            Self::Kcompressd(actor) => run(ctx, 0, |ctx| actor.step(sys, ctx)),
            _ => run(ctx, mark::TOUCH_ENDS, |ctx| self.step(sys, ctx)),
        };
        ctx.timed_out = false;
        let steps = limit - std::mem::take(&mut ctx.ahead);
        Ok((steps, ended?))
    }

    /// Calls `f` on every page index in it: to see which there are, and to give them other names.
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        match self {
            Self::Kswapd(actor) => actor.each_page(f),
            Self::Kcompressd(actor) => actor.each_page(f),
            Self::App(actor) => actor.each_page(f),
            Self::Device(actor) => actor.each_page(f),
            Self::Shrink(actor) => actor.each_page(f),
            Self::Balance(_) | Self::Admin(_) | Self::Reclaim(_) => {}
        }
    }

    /// The folio that it takes through `swap_writeout`.
    fn swapout(&self) -> Option<&Swapout> {
        match self {
            Self::Kswapd(actor) => actor.swapout(),
            Self::Kcompressd(actor) => actor.swapout(),
            Self::App(_) | Self::Balance(_) | Self::Device(_) | Self::Shrink(_) | Self::Admin(_) | Self::Reclaim(_) => {
                None
            }
        }
    }

    /// What the next step can be made to fail at ([`Ctx::inject`]).
    pub fn fault_point(&self) -> Option<Fault> {
        match self {
            Self::Device(device) if device.writes_next() => Some(Fault::DeviceWrite),
            _ => self.swapout()?.fault_point(),
        }
    }

    /// Whether the next step only takes time: nobody else can see it, and nothing that anybody else does changes it.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Device(device) => device.writes_next(),
            _ => self.swapout().is_some_and(Swapout::is_private),
        }
    }

    /// Whether it holds an object of the pool that no slot has (a zram write beyond `mem_limit`, not yet undone).
    pub fn holds_object(&self) -> bool {
        self.swapout().is_some_and(Swapout::holds_object)
    }

    /// Forgets what only records the past, so that actors with the same future are equal. Only a driver that restores
    /// `sys` before the next step may call it: counts begin anew there.
    pub fn normalise(&mut self, sys: &System) {
        match self {
            Self::Kswapd(actor) => actor.normalise(sys),
            Self::Kcompressd(actor) => actor.normalise(sys),
            Self::App(actor) => actor.normalise(),
            Self::Balance(_) | Self::Device(_) | Self::Shrink(_) | Self::Admin(_) | Self::Reclaim(_) => {}
        }
    }
}

#[inline(always)]
fn run(ctx: &mut Ctx, until: u8, mut step: impl FnMut(&mut Ctx) -> StepResult) -> StepResult {
    loop {
        let outcome = step(ctx)?;
        if !matches!(outcome, Outcome::Ran(_)) || ctx.marks & until != 0 || !ctx.goes_on() {
            return Ok(outcome);
        }
    }
}
