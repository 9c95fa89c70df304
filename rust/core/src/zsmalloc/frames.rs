//! What a pool takes its pages from.

use crate::units::NIL;

/// Where a zspage's pages come from and go back to.
///
/// The caller passes the same budget to every call on one pool. `take` grants all pages or none; each page
/// granted comes back through `give` when its zspage is freed (not when the pool is dropped). Both run under a
/// class lock: they must not call the pool.
pub trait Frames {
    /// Takes `pages` order-0 pages, and says by what name they come back (any, where that makes no difference); `None` takes
    /// none.
    fn take(&self, pages: usize) -> Option<u32>;
    /// Takes the `pages` with this name back.
    fn give(&self, name: u32, pages: usize);
    /// Memory for one handle; `false`: there is none. The kernel's comes from a slab of its own.
    fn take_handle(&self) -> bool {
        true
    }
    /// Takes a handle's memory back.
    fn give_handle(&self) {}
    /// Memory for a `zswap_entry`, which stands for an object in zswap; `false`: there is none.
    fn take_entry(&self) -> bool {
        true
    }
    /// Takes an entry's memory back.
    fn give_entry(&self) {}
}

/// A source that has nothing to give: every allocation fails, what is freed goes back.
#[derive(Clone, Copy, Debug)]
pub struct Exhausted<'a, F>(pub &'a F);

impl<F: Frames> Frames for Exhausted<'_, F> {
    fn take(&self, _pages: usize) -> Option<u32> {
        None
    }
    fn give(&self, name: u32, pages: usize) {
        self.0.give(name, pages);
    }
    fn take_handle(&self) -> bool {
        false
    }
    fn give_handle(&self) {
        self.0.give_handle();
    }
    fn take_entry(&self) -> bool {
        self.0.take_entry()
    }
    fn give_entry(&self) {
        self.0.give_entry();
    }
}

/// Pages without limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Frames for Unlimited {
    #[inline]
    fn take(&self, _pages: usize) -> Option<u32> {
        Some(NIL)
    }
    #[inline]
    fn give(&self, _name: u32, _pages: usize) {}
}
