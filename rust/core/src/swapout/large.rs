//! A large folio on its way through `swap_writeout`: page by page, one step each, so that others run in between; stored as a whole
//! or not at all.
//!
//! zswap (mm/zswap.c, 6.13): each page has an entry of its own, and when one fails the entries of all are erased. zram: one bio of
//! as many pages. There the kernel leaves what was written before the failure in its slots until they are written again or freed;
//! here it is freed at once, as behind zswap. Source: observed on 6.12 and 6.13 (docs/kernel-map.md); Documentation/admin-guide/mm/zswap.rst.

use super::{LARGE_IN_ZSWAP, Pc, Progress, RAN, Swapout};
use crate::lifecycle::{Change, Event, guard};
use crate::system::{Ctx, StepResult, System};
use crate::trace::aux;

/// What is next of taking a page's copy out of the store again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Back {
    Unlist,
    Erase,
    Forget,
}

impl Swapout {
    /// The page that it is at.
    #[inline]
    pub(super) fn page(&self) -> u32 {
        self.folio + u32::from(self.sub)
    }

    /// zswap does not even look at it.
    #[inline]
    pub(super) fn is_too_large(&self, sys: &System) -> bool {
        self.nr_pages > 1 && sys.config.kernel < LARGE_IN_ZSWAP
    }

    /// `is_folio_zero_filled`: all of the folio or nothing, up to the first page that is not. Returns the page that it has tested.
    pub(super) fn zero_test(&mut self, sys: &System) -> u32 {
        let page = self.page();
        // SAFETY: the folio is isolated and unmapped: nobody faults it in before this swapout fires its next event.
        let zero = unsafe { sys.contents.is_zero(page) };
        let next = self.sub + 1;
        match zero && next < self.nr_pages {
            true => self.sub = next,
            false => (self.sub, self.pc) = (0, Pc::ZeroCommit { zero }),
        }
        page
    }

    /// A page of a large folio has its copy: on to the next.
    pub(super) fn store_page(&mut self, sys: &System, ctx: &mut Ctx, len: u32) -> StepResult<Progress> {
        if self.sub > 0 {
            sys.must(
                ctx,
                sys.folio(self.page()),
                Event::Store,
                0,
                Change::NONE,
                aux::stored(len, sys.config.store as u32),
            )?;
        }
        let next = self.sub + 1;
        match next < self.nr_pages {
            true => (self.sub, self.pc) = (next, Pc::Compress),
            false => (self.sub, self.pc) = (0, Pc::StoreFolio),
        }
        Ok(RAN)
    }

    /// All pages have theirs.
    pub(super) fn store_folio(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let len = sys.stored_bytes(sys.folio(self.folio).slot());
        self.commit(sys, ctx, len as u32)
    }

    /// A page failed: the copies of those before it go, the last first.
    pub(super) fn begin_roll_back(&mut self, sys: &System) -> Progress {
        self.sub -= 1;
        self.pc = Pc::RollBack(if sys.zswap().is_some() { Back::Unlist } else { Back::Erase });
        RAN
    }

    pub(super) fn roll_back(&mut self, sys: &System, ctx: &mut Ctx, part: Back) -> StepResult<Progress> {
        let slot = sys.folio(self.page()).slot();
        self.pc = match part {
            Back::Unlist => {
                sys.zswap().into_iter().for_each(|zswap| zswap.unlist(slot, &sys.memcgs));
                Pc::RollBack(Back::Erase)
            }
            Back::Erase => {
                sys.erase(ctx, slot);
                Pc::RollBack(Back::Forget)
            }
            // The first page's copy is the folio's: nobody was told of it.
            Back::Forget => {
                if self.sub > 0 {
                    sys.must(ctx, sys.folio(self.page()), Event::FreeSwap, guard::IN_POOL, Change::NONE, 0)?;
                }
                Pc::Refused
            }
        };
        Ok(RAN)
    }
}
