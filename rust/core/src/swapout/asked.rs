//! What the explorer asks a swap-out between two steps.

use super::{Pc, Swapout};
use crate::system::Fault;

impl Swapout {
    /// Whether it holds an object of zram's pool that no slot has.
    pub fn holds_object(&self) -> bool {
        matches!(self.pc, Pc::Undo { .. })
    }

    /// The next step only takes time: nobody else can see it, and nothing that anybody else does changes it.
    pub fn is_private(&self) -> bool {
        matches!(self.pc, Pc::ZeroTest | Pc::Compress)
    }

    /// What the next step can be made to fail at.
    pub fn fault_point(&self) -> Option<Fault> {
        match self.pc {
            Pc::Compress => Some(Fault::Codec),
            Pc::Allocate { .. } => Some(Fault::Alloc),
            _ => None,
        }
    }

    /// Calls `f` on every page index in it.
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self { folio, nr_pages: _, pc, sub: _, queued: _, ticket: _, begun: _, behind } = self;
        f(folio);
        if let Pc::MakeRoom { shrinking, .. } = pc {
            shrinking.each_page(f);
        }
        behind.iter_mut().for_each(|(folio, _)| f(folio));
    }

    /// Forgets the ticket, a position in the queue's history.
    pub fn normalise(&mut self) {
        self.ticket = 0;
    }
}
