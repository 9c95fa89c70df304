//! Pages that are given up: at the end of a run, and when the OOM killer ends the application in the middle of one.

use super::super::scan::TICK_NS;
use super::{App, Copy, Pc, Then};
use crate::lifecycle::{Change, Event, Fire, State, Word, flag};
use crate::memcg::MemcgEvent;
use crate::reclaim::RAN;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::workload::{Access, Program, Touch};

impl App {
    /// Whether the OOM killer has chosen this application, and it has not noticed yet.
    pub(super) fn is_to_die(&self, sys: &System, ctx: &Ctx) -> bool {
        sys.mm.is_some() && !self.is_dying() && sys.oom.is_victim(ctx.actor)
    }

    /// From now on the application's program is to give up every page that it has named.
    pub(super) fn die(&mut self, sys: &System, ctx: &mut Ctx) -> Outcome {
        ctx.stat[Vm::OomKill] += 1;
        if let (Some(Touch { page, .. }), true) = (self.program.current(), self.frame != NIL) {
            self.give_back(sys, ctx, page);
        }
        (self.died_after, self.alloc, self.charge, self.over_high) = (Some(self.pages_done), None, None, None);
        ctx.memstall = false; // It may have been throttled, or asleep.
        self.program = Program::each(Access::Exit, self.program.pages());
        self.pc = Pc::Look;
        RAN
    }

    /// The page that its program is at comes last: its own, of whatever folio it is part of now.
    pub(super) fn defer(&mut self) -> Outcome {
        self.later.extend(self.program.current().map(|touch| touch.page));
        self.program.advance();
        self.pc = Pc::Look;
        RAN
    }

    /// The program has ended; a dying application comes back for the pages that it had to leave.
    pub(super) fn ended(&mut self, sys: &System, ctx: &mut Ctx) -> Outcome {
        if self.is_dying() {
            sys.oom.gone(ctx.actor);
        }
        if !self.later.is_empty() {
            self.program = Program::each(Access::Exit, std::mem::take(&mut self.later).into());
            return Outcome::Sleep(TICK_NS);
        }
        if !self.is_dying() && sys.mm.is_some() && !sys.oom.leave(ctx.actor) {
            return self.die(sys, ctx);
        }
        Outcome::Done
    }

    pub(super) fn exit(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> StepResult {
        let slot = sys.folio(page).slot();
        self.pc = match (word.state(), slot) {
            (State::Freed, NIL) => Pc::Next,
            (State::Freed, _) => Pc::Drop(Self::copy_of(sys, slot), Then::Next), // Of a large folio that is gone.
            _ if sys.mm.is_some() || self.is_dying() || word.has(flag::HEAD) => return self.zap(sys, ctx, page, word),
            (_, NIL) => Pc::Free,
            _ => Pc::Drop(Self::copy_of(sys, slot), Then::Free),
        };
        Ok(RAN)
    }

    /// Where the copy in `slot` is.
    fn copy_of(sys: &System, slot: u32) -> Copy {
        if sys.holds(slot) { Copy::Pool } else { Copy::Device }
    }

    /// `zap_pte_range` beside reclaim: the folio is taken off its list and freed in one critical section, then its copy
    /// goes, and those of a large folio's later pages when their turn has come. One that is locked or under writeback comes last: whoever has it may be waiting for the memory of the others.
    fn zap(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> StepResult {
        let folio = sys.folio(page);
        if word.has(flag::WRITEBACK) || folio.extra_refs() > 0 {
            return Ok(self.defer());
        }
        if word.has(flag::FRAME) && !word.has(flag::LRU) {
            self.pc = Pc::Listed { cpu: 0 };
            return Ok(RAN);
        }
        let (frame, slot, nr_pages) = (folio.pfn(), folio.slot(), folio.nr_pages_of(word));
        let change = Change::flags(0, word.flags())
            .only(word.flags() & (flag::LRU | flag::HEAD))
            .unless(flag::LOCKED | flag::WRITEBACK | (flag::LRU | flag::HEAD) & !word.flags())
            .in_state(word.state());
        let mut lru = sys.node(page).lru();
        let Fire::Done(fired) = sys.fire(ctx, folio, Event::Free, 0, change, 0)? else { return Ok(RAN) };
        if fired.from.has(flag::LRU) {
            lru.of(folio.memcg).del_pages(&sys.folios, page, fired.from.has(flag::ACTIVE), nr_pages);
        }
        sys.fire_tails(ctx, page, nr_pages, Event::Free, 0, Change::NONE)?;
        drop(lru);
        if fired.from.has(flag::FRAME) {
            (self.frame, self.frame_order) = (frame, nr_pages.trailing_zeros() as u8);
        }
        self.pc = if slot == NIL { Pc::Next } else { Pc::Drop(Self::copy_of(sys, slot), Then::Next) };
        Ok(RAN)
    }

    pub(super) fn free(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        let folio = sys.folio(page);
        let mut lru = sys.node(page).lru();
        let word = folio.word.load();
        if word.has(flag::LRU) {
            lru.of(folio.memcg).del(&sys.folios, page, word.has(flag::ACTIVE));
        }
        sys.must(ctx, folio, Event::Free, 0, Change::flags(0, word.flags()), 0)?;
        if word.has(flag::FRAME) {
            self.frame = folio.pfn();
        }
        self.pc = Pc::Next;
        Ok(RAN)
    }

    pub(super) fn give_frame(&mut self, sys: &System, ctx: &Ctx, page: u32) -> Outcome {
        self.give_back(sys, ctx, page);
        self.pc = Pc::Next;
        RAN
    }

    /// The frame for `page` goes back, with its charge if it has been made.
    pub(super) fn give_back(&mut self, sys: &System, ctx: &Ctx, page: u32) {
        match (&self.charge, &sys.mm) {
            (None, _) => sys.give_folio(ctx, sys.memcg_of(page), self.frame, self.frame_order),
            (Some(_), Some(mm)) => mm.give_folio(ctx.cpu, self.frame, self.frame_order),
            (Some(_), None) => {}
        }
        (self.frame, self.frame_order) = (NIL, 0);
    }
}

/// Nothing can be reclaimed in `group`: its largest application is ended, unless one is ending already, also where it waits for a
/// folio, whose holder may wait for its memory. A moment later the allocation or the charge, if it is another's, begins again.
pub(super) fn out_of_memory(sys: &System, ctx: &Ctx, group: u16) -> Outcome {
    if let Some(app) = sys.oom.kill(ctx.actor, |memcg| sys.memcgs.is_below(memcg, group)) {
        sys.memcgs.note_event(sys.oom.group(app), MemcgEvent::OomKill);
        sys.wait.wake_all(WaitKey::Pfmemalloc);
        sys.wait.wake_folios();
    }
    Outcome::Sleep(TICK_NS)
}
