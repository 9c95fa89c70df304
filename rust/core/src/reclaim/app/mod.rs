//! An application thread: runs its program, which touches pages or gives them up; what is not there is faulted in.
//!
//! With a memory budget a fault takes a frame first, down the allocation ladder and if need be by direct reclaim; a new or
//! read page goes to the lists by way of its CPU's batch, and a freed slot to its CPU's cache.
//!
//! A touch of a page of a large folio is one of the folio; its first touch makes all of it, where there is memory in a row
//! (`allocate`), and what is read back is a single page.

mod allocate;
mod exit;
mod fault;
mod file;
mod swapoff;

use super::RAN;
use super::charge::{CHARGE_BATCH, HandleOverHigh, TryCharge};
use super::direct::{AllocPages, Wanted};
use crate::folio::Folio;
use crate::lifecycle::{Change, Event, Fire, State, Word, flag};
use crate::memcg::MemcgStat;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System, Work, mark};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::workload::{Access, Program, Touch};
use std::sync::Arc;

/// What the thread does with each of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Reads it (`do_swap_page` where it is not resident).
    Touch,
    /// Gives it up (exit), when nobody else has it any more.
    Exit,
    /// Gives it up as an application that is killed: beside reclaim, at any time.
    Killed,
    /// Brings it in and frees its slot, as swapoff does; under explore, where one pass is enough.
    Unuse,
}

/// Where the copy of a page is, which a fault reads and a drop frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Copy {
    Pool,
    Device,
    Zeromap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Wait,
    Look,
    AllocateFolio,
    ClearFolio { left: u32 },
    Allocate,
    Charge,
    OverHigh,
    Refault(Copy),
    ReadFile,
    Uptodate,
    Read(Copy),
    ReadFailed(Copy),
    Drop(Copy, Then),
    Erase(Then),
    FreeSlot(Then),
    Load { exclusive: bool },
    AddLru,
    FreeSwap,
    Listed { cpu: u16 },
    Free,
    GiveFrame,
    Next,
    Think,
}

/// What follows when a copy has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Load,
    Free,
    Next,
}

/// How long a thread waits before it looks again at a page that a scan has isolated, nanoseconds.
const LOOK_AGAIN_NS: u64 = 1_000;

/// Pages that one page table maps.
const PTRS_PER_PTE: u32 = 512;

/// One application thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct App {
    program: Program,
    pages_done: usize,
    pc: Pc,
    /// The allocation under way.
    alloc: Option<AllocPages>,
    /// The charge of [`App::frame`] that met its group's limit; until it has ended the frame is charged to nobody.
    charge: Option<TryCharge>,
    over_high: Option<HandleOverHigh>,
    /// Frames charged since it last looked at `memory.high`.
    charged: u8,
    /// A frame that belongs to no page yet, or [`NIL`].
    frame: u32,
    /// log2 of the frames in a row that it is the first of.
    frame_order: u8,
    /// There was no memory in a row for a large folio at this touch.
    fell_back: bool,
    /// The refaulted page is part of the working set: it goes to the active list.
    activate: bool,
    /// It has been ended after so many touches, and gives its pages up.
    died_after: Option<usize>,
    /// Pages that it could not give up yet.
    later: Vec<u32>,
}

impl App {
    /// A thread that does `task` to each page of `order`.
    pub fn new(task: Task, order: Arc<[u32]>) -> Self {
        let access = match task {
            Task::Touch => Access::Read,
            Task::Exit | Task::Killed => Access::Exit,
            Task::Unuse => Access::Unuse,
        };
        let died_after = (task == Task::Killed).then_some(0);
        Self { pc: Pc::Look, died_after, ..Self::running(Program::each(access, order)) }
    }

    /// A thread that runs `program`.
    pub fn running(program: Program) -> Self {
        Self {
            program,
            pages_done: 0,
            pc: Pc::Wait,
            alloc: None,
            charge: None,
            over_high: None,
            charged: 0,
            frame: NIL,
            frame_order: 0,
            fell_back: false,
            activate: false,
            died_after: None,
            later: Vec::new(),
        }
    }

    /// Pages it is done with, those among them that it has given up.
    pub fn done(&self) -> usize {
        self.pages_done
    }

    /// Touches that it has finished of what it was to do.
    pub fn touches(&self) -> usize {
        self.died_after.unwrap_or(self.pages_done)
    }

    fn is_dying(&self) -> bool {
        self.died_after.is_some()
    }

    /// What it does.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`]. A failed read is no error of the step: the copy stays where it is, and the failure is kept
    /// in [`Ctx::errors`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let Some(Touch { page, access }) = self.program.current() else { return Ok(self.ended(sys, ctx)) };
        if let Some(ns) = self.waits() {
            return Ok(Outcome::Sleep(ns));
        }
        if sys.filemap.has(page) {
            return self.step_file(sys, ctx, page, access);
        }
        let page = sys.head(page);
        match self.pc {
            Pc::Wait | Pc::Look => self.look(sys, ctx, page, access),
            Pc::AllocateFolio => Ok(self.allocate_folio(sys, ctx, page)),
            Pc::ClearFolio { left } => Ok(self.clear_folio(left)),
            Pc::Allocate => self.allocate(sys, ctx, page),
            Pc::Charge => self.charge(sys, ctx),
            Pc::OverHigh => self.over_high(sys, ctx, page, access),
            Pc::Refault(copy) => Ok(self.refault(sys, ctx, page, copy)),
            Pc::Read(copy) => Ok(self.read(sys, ctx, page, copy)),
            Pc::ReadFailed(copy) => self.read_failed(sys, ctx, page, copy),
            Pc::Drop(copy, then) => Ok(self.drop_copy(sys, ctx, page, copy, then)),
            Pc::Erase(then) => Ok(self.erase(sys, ctx, page, then)),
            Pc::FreeSlot(then) => {
                sys.free_slot(ctx, page);
                self.after_drop(then);
                Ok(RAN)
            }
            Pc::Load { exclusive } => self.load(sys, ctx, page, exclusive),
            Pc::AddLru => self.add_lru(sys, ctx, page),
            Pc::FreeSwap => self.free_swap(sys, ctx, page),
            Pc::Listed { cpu } => self.listed(sys, ctx, cpu),
            Pc::Free => self.free(sys, ctx, page),
            Pc::GiveFrame => Ok(self.give_frame(sys, ctx, page)),
            Pc::Next => Ok(self.touched(sys, ctx, page, access)),
            Pc::Think => Ok(self.think(ctx)),
            Pc::ReadFile | Pc::Uptodate => Ok(Outcome::Done), // Of a file's page alone.
        }
    }

    /// Nanoseconds that the program has it wait before this touch, when it comes to it.
    fn waits(&mut self) -> Option<u64> {
        let ns = if self.pc == Pc::Wait { self.program.wait_ns() } else { 0 };
        if ns > 0 {
            self.pc = Pc::Look;
        }
        (ns > 0).then_some(ns)
    }

    /// The touch ends: the application does what it wanted the page for.
    fn touched(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access) -> Outcome {
        if self.frame != NIL {
            self.pc = Pc::GiveFrame; // Another brought the page back meanwhile.
            return RAN;
        }
        if access == Access::Unuse && sys.folio(page).slot() != NIL {
            self.pc = Pc::Look;
            return RAN;
        }
        if self.charged >= CHARGE_BATCH && !self.is_dying() {
            self.charged = 0;
            if sys.memcgs.over_high(sys.memcg_of(page)).is_some() {
                self.pc = Pc::OverHigh;
                return RAN;
            }
        }
        ctx.pages_done += 1;
        ctx.marks |= mark::COND_RESCHED | if self.is_dying() { 0 } else { mark::TOUCH_ENDS };
        match self.program.think_ns() {
            0 => self.next_touch(),
            _ => self.pc = Pc::Think,
        }
        Outcome::Ran(if access == Access::Exit { Work::Commit } else { Work::Touch })
    }

    fn think(&mut self, ctx: &mut Ctx) -> Outcome {
        ctx.marks |= mark::COND_RESCHED;
        let think_ns = self.program.think_ns();
        self.next_touch();
        Outcome::Ran(Work::Think(think_ns))
    }

    fn next_touch(&mut self) {
        self.pages_done += 1;
        self.program.advance();
        self.pc = if self.program.wait_ns() > 0 { Pc::Wait } else { Pc::Look };
        (self.activate, self.fell_back) = (false, false);
    }

    fn look(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access) -> StepResult {
        if self.is_to_die(sys, ctx) {
            return Ok(self.die(sys, ctx));
        }
        ctx.marks |= if self.is_dying() { 0 } else { mark::TOUCH_BEGINS };
        let word = sys.folio(page).word.load();
        if self.program.current().is_some_and(|touch| touch.page != page) && !word.has(flag::HEAD) {
            return Ok(Outcome::Sleep(LOOK_AGAIN_NS)); // Its folio is being made or taken apart.
        }
        if word.has(flag::LOCKED) && self.is_dying() {
            return Ok(self.defer());
        }
        if word.has(flag::LOCKED) {
            ctx.stat[Vm::FaultWaits] += 1;
            let goes_on = || !sys.folio(page).word.load().has(flag::LOCKED) || self.is_to_die(sys, ctx);
            return Ok(Outcome::wait_unless(&sys.wait, WaitKey::Folio(page), goes_on));
        }
        match access {
            Access::Exit => self.exit(sys, ctx, page, word),
            Access::Unuse => self.unuse(sys, ctx, page, word),
            Access::Read | Access::Write => self.touch(sys, ctx, page, access, word),
        }
    }

    fn touch(&mut self, sys: &System, ctx: &mut Ctx, page: u32, access: Access, word: Word) -> StepResult {
        let budget = sys.mm.is_some();
        if self.frame_order > 0 && word.state() != State::Freed {
            return Ok(self.give_folio_back(sys, ctx, page));
        }
        match word.state() {
            State::CompressedFreed | State::WrittenBackFreed | State::ZeroFilledFreed
                if budget && self.frame == NIL =>
            {
                Ok(self.begin_allocation(Wanted::Frame))
            }
            State::CompressedFreed => self.fault(sys, ctx, page, word, Copy::Pool),
            State::WrittenBackFreed => self.fault(sys, ctx, page, word, Copy::Device),
            State::ZeroFilledFreed => self.fault(sys, ctx, page, word, Copy::Zeromap),
            State::Freed if budget => self.populate(sys, ctx, page),
            State::ResidentSwapcache if access == Access::Write => {
                self.pc = Pc::FreeSwap;
                Ok(Outcome::Ran(Work::Fault))
            }
            _ if budget && word.has(flag::MAPPED) => {
                crate::sync::boundary();
                // Unmapped meanwhile: look again.
                Ok(if sys.folio(page).word.touch() { self.touched(sys, ctx, page, access) } else { RAN })
            }
            _ if word.has(flag::MAPPED) || word.state() == State::Freed => {
                self.pc = Pc::Next;
                Ok(RAN)
            }
            _ => self.swapcache_hit(sys, ctx, page, word),
        }
    }

    /// Another made one of the folio's pages meanwhile: its frames go back, and the touch begins again.
    fn give_folio_back(&mut self, sys: &System, ctx: &Ctx, page: u32) -> Outcome {
        self.give_back(sys, ctx, page);
        self.pc = Pc::Look;
        RAN
    }

    /// `do_anonymous_page`: a page table where there is none, a frame, and the page is there.
    fn populate(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        let folio = sys.absent_folio(page).filter(|_| !self.fell_back);
        let table = page / PTRS_PER_PTE;
        if sys.mm.as_ref().is_some_and(|mm| !mm.has_table(ctx.actor, table)) {
            return Ok(self.begin_allocation(Wanted::Table(table)));
        }
        match (folio, self.frame, self.frame_order) {
            (Some(_), NIL, _) => {
                self.pc = Pc::AllocateFolio;
                return Ok(Outcome::Ran(Work::Fault));
            }
            (None, NIL, _) => return Ok(self.begin_allocation(Wanted::Frame)),
            (Some(pages), _, 1..) => return self.populate_folio(sys, ctx, pages),
            (None, _, 1..) => return Ok(self.give_folio_back(sys, ctx, page)),
            (_, _, 0) => {}
        }
        let set = flag::FRAME | flag::MAPPED | flag::DIRTY | flag::YOUNG;
        if let Fire::Done(_) =
            sys.fire(ctx, sys.folio(page), Event::Populate, 0, Change::flags(set, 0).in_state(State::Freed), 0)?
        {
            // SAFETY: this thread populated the page, and puts it on its way to the lists in the next step.
            unsafe { sys.contents.fill(page) };
            sys.count(ctx, sys.folio(page).memcg, MemcgStat::Pgfault, 1);
            sys.oom.grow(ctx.actor, sys.folio(page).memcg);
            self.set_frame(sys.folio(page));
            self.pc = Pc::AddLru;
        }
        Ok(Outcome::Ran(Work::ZeroPage))
    }

    /// The frame that it has is the new folio's, which has never been on the active list.
    fn set_frame(&mut self, folio: &Folio) {
        folio.set_pfn(std::mem::replace(&mut self.frame, NIL));
        folio.set_workingset(0);
    }

    /// The page goes to its group's lists, with a memory budget by way of its CPU's batch.
    fn add_lru(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        sys.folio_add_lru(ctx, page)?;
        self.pc = Pc::Next;
        Ok(RAN)
    }

    /// The page is on no list: in the batch of new folios of some CPU that the thread ran on, all of which are emptied, or in
    /// a scan's hands, which takes a moment.
    fn listed(&mut self, sys: &System, ctx: &mut Ctx, cpu: u16) -> StepResult {
        if let Some(mm) = &sys.mm {
            sys.lru_add_drain_cpu(ctx, cpu)?;
            if cpu + 1 < mm.zone.cpus() {
                self.pc = Pc::Listed { cpu: cpu + 1 };
                return Ok(RAN);
            }
        }
        self.pc = Pc::Look;
        Ok(Outcome::Sleep(LOOK_AGAIN_NS))
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        self.program.each_page(f);
        self.later.iter_mut().for_each(f);
    }

    /// [`super::Actor::normalise`]: pages that it is done with.
    pub fn normalise(&mut self) {
        self.program.normalise();
        self.pages_done = 0;
    }
}
