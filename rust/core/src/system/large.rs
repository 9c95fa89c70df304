//! Large folios: the pages of one, and what happens to all of them at once.
//!
//! A folio of `2^order` pages is made at the first touch of any of them, or is there when the run begins. Its first page stands for it
//! everywhere: on lists, in queues, in traces. Its later pages are in state `tail` until its frame is free (each is then a page of
//! its own, and is read back as one) or until it is split, for want of a run of swap slots.
//! Source: Documentation/admin-guide/mm/transhuge.rst; Documentation/mm/unevictable-lru.rst names the same folio functions.

use super::{Ctx, Fire, StepResult, System};
use crate::folio::Folio;
use crate::lifecycle::{Change, Event, State, Word, flag, guard};
use crate::node::PTRS_PER_PTE;
use crate::stats::{Mthp, Vm};
use std::ops::Range;

/// Pages that a page's word stands for.
#[inline]
pub(super) fn weight(folio: &Folio, word: Word) -> u32 {
    match folio.order {
        0 => 1,
        _ if word.state() == State::Tail => 0,
        _ => folio.nr_pages_of(word),
    }
}

impl System {
    /// `page_folio`: the first page of the folio that `page` is in.
    #[inline]
    pub fn head(&self, page: u32) -> u32 {
        let folio = self.folio(page);
        match folio.order > 0 && folio.word.load().state() == State::Tail {
            true => page >> folio.order << folio.order,
            false => page,
        }
    }

    /// Pages of the folio whose first page is `head`.
    #[inline]
    pub fn nr_pages(&self, head: u32) -> u32 {
        self.folio(head).nr_pages()
    }

    /// The large folio that `page` would be made part of: all its pages, if none of them is there yet (`alloc_anon_folio`).
    pub fn absent_folio(&self, page: u32) -> Option<Range<u32>> {
        let order = self.folio(page).order;
        let first = page >> order << order;
        let pages = first..first + (1 << order);
        let absent = |page: u32| self.folio(page).word.load().state() == State::Freed;
        (order > 0 && pages.clone().all(absent)).then_some(pages)
    }

    /// Fires `event` for the later pages of the folio of `nr_pages` pages at `head`, in the step of its first page's own event.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn fire_tails(
        &self,
        ctx: &mut Ctx,
        head: u32,
        nr_pages: u32,
        event: Event,
        guards: u8,
        change: Change,
    ) -> StepResult<()> {
        for page in head + 1..head + nr_pages {
            if let Fire::Refused(word) = self.fire_within(ctx, self.folio(page), event, guards, change, 0)? {
                return Err(super::held(page, event, word));
            }
        }
        Ok(())
    }

    /// `folio_test_pmd_mappable`: whether the folio at `head` was made to fill a page table.
    pub fn is_pmd_mappable(&self, head: u32) -> bool {
        1 << self.folio(head).order == PTRS_PER_PTE
    }

    /// `split_folio_to_list` of an isolated folio: its later pages are isolated pages of their own, as it is.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn split_folio(&self, ctx: &mut Ctx, head: u32) -> StepResult<()> {
        let folio = self.folio(head);
        let (nr_pages, pfn) = (folio.nr_pages(), folio.pfn());
        self.must(ctx, folio, Event::Split, 0, Change::flags(0, flag::HEAD), 0)?;
        let flags = folio.word.load().flags();
        self.fire_tails(ctx, head, nr_pages, Event::Split, 0, Change::flags(flags, 0))?;
        self.number_frames(head, nr_pages, pfn);
        (head + 1..head + nr_pages).for_each(|page| self.folio(page).set_workingset(folio.workingset()));
        ctx.stat.count_mthp(folio.order, Mthp::Split);
        ctx.stat[Vm::ThpSplitPage] += u64::from(self.is_pmd_mappable(head));
        Ok(())
    }

    /// The frames of the later pages, which lie in a row from the first one's.
    fn number_frames(&self, head: u32, nr_pages: u32, pfn: u32) {
        if self.mm.is_some() {
            (1..nr_pages).for_each(|at| self.folio(head + at).set_pfn(pfn + at));
        }
    }

    /// The copies of the later pages of a folio go, which `in_pool` says which have one there.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub(super) fn forget_tails(
        &self,
        ctx: &mut Ctx,
        head: u32,
        nr_pages: u32,
        in_pool: impl Fn(u32) -> bool,
    ) -> StepResult<()> {
        for page in (head + 1..head + nr_pages).filter(|&page| in_pool(page)) {
            let _ = self.fire_within(ctx, self.folio(page), Event::FreeSwap, guard::IN_POOL, Change::NONE, 0)?;
        }
        Ok(())
    }
}
