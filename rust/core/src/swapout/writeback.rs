//! `zswap_writeback_entry` as steps, and around it `shrink_memcg`, what the shrink worker and a store over its memcg's limit do, and the
//! dynamic shrinker, which reclaim calls.
//!
//! Order (kernel): a frame, which the shrink worker brings and whoever reclaims already takes without reclaim → a locked folio
//! in the swap cache, which counts as a refault → contents read back → off the LRU, entry freed → under writeback, on the way
//! to the page's LRU → submitted. A page whose folio is in the swap cache already is left alone.

use crate::lifecycle::{Change, Event, Fire, State, flag, guard};
use crate::memcg::{MemcgStat, Memcgs};
use crate::system::{Ctx, StepError, StepResult, System, Work};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::zswap::Zswap;
use crate::zswap::shrink::{Next, NotShrunk, Outcome, ShrinkMemcg, ShrinkSlab};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Take,
    Refault,
    Read,
    ReadFailed,
    Unlist,
    Erase,
    Write,
    AddLru,
    Submit,
}

/// One entry's way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writeback {
    page: u32,
    pc: Pc,
    /// What its caller has allocated, charged to the page's group: [`NIL`] if in vain.
    frame: Option<u32>,
    /// By its shadow it belongs to the working set: on the active list until its write ends.
    activate: bool,
}

/// What a step came to: work done, and the end if it has ended.
pub type Stepped<T> = (Work, Option<T>);

impl Writeback {
    /// For the entry of `page`.
    pub fn new(page: u32) -> Self {
        Self { page, pc: Pc::Take, frame: None, activate: false }
    }

    /// Whether it is about to take a frame, and its caller has not allocated one.
    pub fn wants_frame(&self, sys: &System) -> bool {
        let is_stored = || sys.folio(self.page).word.load().state() == State::CompressedFreed;
        self.pc == Pc::Take && self.frame.is_none() && is_stored()
    }

    /// The frame that its caller has allocated for it, or [`NIL`].
    pub fn set_frame(&mut self, sys: &System, frame: u32) {
        if frame != NIL {
            sys.memcgs.charge(sys.folio(self.page).memcg);
        }
        self.frame = Some(frame);
    }

    /// One step.
    ///
    /// # Errors
    /// [`StepError::Violation`]. A block that does not decode is no error of the step: it is kept in [`Ctx::errors`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, zswap: &Zswap) -> StepResult<Stepped<Outcome>> {
        let page = self.page;
        let (work, end) = match self.pc {
            Pc::Take => return self.take(sys, ctx),
            Pc::Refault => {
                self.activate = sys.workingset_refault(ctx, page, false);
                (Work::Commit, Ok(Pc::Read))
            }
            Pc::Read => (Work::Decompress(page), Ok(self.read(sys, ctx, zswap))),
            Pc::ReadFailed => (Work::Commit, Err(self.read_failed(sys, ctx)?)),
            Pc::Unlist => {
                zswap.unlist(sys.folio(page).slot(), &sys.memcgs);
                (Work::Commit, Ok(Pc::Erase))
            }
            Pc::Erase => {
                zswap.erase(sys.folio(page).slot(), &sys.memcgs, &sys.budget(ctx));
                sys.count(ctx, sys.folio(page).memcg, MemcgStat::Zswpwb, 1);
                (Work::Commit, Ok(Pc::Write))
            }
            Pc::Write => {
                let set = flag::WRITEBACK | if self.activate { flag::ACTIVE } else { 0 };
                sys.must(ctx, sys.folio(page), Event::Write, 0, Change::flags(set, flag::LOCKED), 0)?;
                sys.wait.wake_all(WaitKey::Folio(page));
                (Work::Commit, Ok(Pc::AddLru))
            }
            Pc::AddLru => {
                // folio_add_lru precedes the submission: what is still in its CPU's batch when the write ends is not rotated.
                sys.folio_add_lru(ctx, page)?;
                (Work::Commit, Ok(Pc::Submit))
            }
            Pc::Submit => {
                super::finish::submit(sys, ctx, page);
                ctx.pages_done += 1;
                (Work::Commit, Err(Outcome::Written))
            }
        };
        Ok((work, self.go(end)))
    }

    /// The block stays where it is; the frame goes back.
    fn read_failed(&self, sys: &System, ctx: &mut Ctx) -> StepResult<Outcome> {
        let folio = sys.folio(self.page);
        let frame = folio.pfn();
        let change = Change::flags(0, flag::FRAME | flag::LOCKED | flag::SWAPCACHE | flag::RECLAIM);
        sys.must(ctx, folio, Event::LoadError, guard::IN_POOL, change, 0)?;
        sys.give_folio(ctx, folio.memcg, frame, 0);
        sys.wait.wake_all(WaitKey::Folio(self.page));
        Ok(Outcome::Failed)
    }

    /// Calls `f` on every page index in it.
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        f(&mut self.page);
    }

    fn go(&mut self, end: Result<Pc, Outcome>) -> Option<Outcome> {
        match end {
            Ok(pc) => {
                self.pc = pc;
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    fn take(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Stepped<Outcome>> {
        let folio = sys.folio(self.page);
        let given = self.frame.filter(|&frame| frame != NIL);
        if folio.word.load().state() != State::CompressedFreed {
            given.into_iter().for_each(|frame| sys.give_folio(ctx, folio.memcg, frame, 0));
            return Ok((Work::Commit, Some(Outcome::InSwapCache)));
        }
        let Some(frame) = given.or_else(|| sys.take_frame(ctx, self.page)) else {
            return Ok((Work::AllocFailed(1), Some(Outcome::Failed)));
        };
        let set = flag::FRAME | flag::LOCKED | flag::SWAPCACHE | flag::RECLAIM;
        let change = Change::flags(set, 0).in_state(State::CompressedFreed);
        let end = match sys.fire(ctx, folio, Event::Shrink, 0, change, 0)? {
            Fire::Done(_) => {
                folio.set_pfn(frame);
                Ok(if sys.mm.is_some() { Pc::Refault } else { Pc::Read })
            }
            Fire::Refused(_) => {
                sys.give_folio(ctx, folio.memcg, frame, 0);
                Err(Outcome::InSwapCache) // A fault was faster.
            }
        };
        Ok((Work::Commit, self.go(end)))
    }

    fn read(&self, sys: &System, ctx: &mut Ctx, zswap: &Zswap) -> Pc {
        let (page, slot) = (self.page, sys.folio(self.page).slot());
        // SAFETY: `take` fired `shrink`; the next event comes after this step.
        let read = match unsafe { sys.contents.page_to_fill(page) } {
            Some(frame) => zswap.load(slot, &mut ctx.codecs, &mut ctx.block, frame),
            None => Ok(()),
        };
        match read {
            Ok(()) => Pc::Unlist,
            Err(source) => {
                ctx.errors.push(StepError::Decode { page, source });
                Pc::ReadFailed
            }
        }
    }
}

/// Who names entries to write back, one after the other.
pub trait Walk {
    /// What it comes to.
    type End;
    /// The next entry.
    fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<Self::End>;
    /// What became of it.
    fn note(&mut self, zswap: &Zswap, outcome: Outcome);
}

impl Walk for ShrinkMemcg {
    type End = Result<(), NotShrunk>;

    fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<Self::End> {
        self.next(zswap, memcgs)
    }

    fn note(&mut self, zswap: &Zswap, outcome: Outcome) {
        self.note(zswap, outcome);
    }
}

impl Walk for ShrinkSlab {
    type End = u64;

    fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<u64> {
        self.next(zswap, memcgs)
    }

    fn note(&mut self, zswap: &Zswap, outcome: Outcome) {
        self.note(zswap, outcome);
    }
}

/// A walk with its writing, as steps: `shrink_memcg`, or the dynamic shrinker's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shrinking<W: Walk = ShrinkMemcg> {
    walk: W,
    entry: Option<Writeback>,
}

impl<W: Walk> Shrinking<W> {
    /// What `walk` names.
    pub fn new(walk: W) -> Self {
        Self { walk, entry: None }
    }

    /// The entry that is being written.
    pub fn entry(&mut self) -> Option<&mut Writeback> {
        self.entry.as_mut()
    }

    /// Calls `f` on every page index in it.
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self { walk: _, entry } = self;
        if let Some(entry) = entry {
            entry.each_page(f);
        }
    }

    /// One step: a look at a list, or a step of an entry's writeback.
    ///
    /// # Errors
    /// As [`Writeback::step`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, zswap: &Zswap) -> StepResult<Stepped<W::End>> {
        let Some(entry) = &mut self.entry else {
            return Ok(match self.walk.next(zswap, &sys.memcgs) {
                Next::Candidate { folio, .. } => {
                    self.entry = Some(Writeback::new(folio));
                    (Work::Scan, None)
                }
                Next::Again => (Work::Scan, None),
                Next::End(result) => (Work::Commit, Some(result)),
            });
        };
        let (work, end) = entry.step(sys, ctx, zswap)?;
        if let Some(outcome) = end {
            self.entry = None;
            self.walk.note(zswap, outcome);
        }
        Ok((work, None))
    }
}
