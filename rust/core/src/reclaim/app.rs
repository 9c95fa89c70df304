//! An application thread: faults its pages back in, or exits and gives everything up.

use super::wait_unless;
use crate::lifecycle::{Change, Event, Fire, State, Word, flag, guard};
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepError, Store, System, Work, mark};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::zram::ReadError;
use std::sync::Arc;

/// What the thread does with each of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Reads it (`do_swap_page` where it is not resident).
    Touch,
    /// Gives it up (exit).
    Exit,
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
    Look,
    Read(Copy),
    ReadFailed(Copy),
    Drop(Copy, Then),
    Erase(Then),
    FreeSlot(Then),
    Load { exclusive: bool },
    AddLru,
    Free,
    Next,
}

/// What follows when a copy has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Load,
    Free,
}

/// One application thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct App {
    task: Task,
    /// The pages, in the order they are touched.
    order: Arc<[u32]>,
    at: usize,
    pc: Pc,
}

const RAN: Outcome = Outcome::Ran(Work::Commit);

impl App {
    /// A thread that does `task` to each page of `order`.
    pub fn new(task: Task, order: Arc<[u32]>) -> Self {
        Self { task, order, at: 0, pc: Pc::Look }
    }

    /// Pages it is done with.
    pub fn done(&self) -> usize {
        self.at
    }

    /// One step.
    ///
    /// # Errors
    /// [`StepError::Violation`]. A failed read is no error of the step: the copy stays where it is, and the failure is kept
    /// in [`Ctx::errors`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Outcome, StepError> {
        let Some(&page) = self.order.get(self.at) else { return Ok(Outcome::Done) };
        match self.pc {
            Pc::Look => self.look(sys, ctx, page),
            Pc::Read(copy) => Ok(self.read(sys, ctx, page, copy)),
            Pc::ReadFailed(copy) => self.read_failed(sys, ctx, page, copy),
            Pc::Drop(copy, then) => Ok(self.drop_copy(sys, page, copy, then)),
            Pc::Erase(then) => Ok(self.erase(sys, page, then)),
            Pc::FreeSlot(then) => {
                self.free_slot(sys, page);
                self.after_drop(then);
                Ok(RAN)
            }
            Pc::Load { exclusive } => self.load(sys, ctx, page, exclusive),
            Pc::AddLru => {
                sys.add_lru(ctx, page)?;
                self.pc = Pc::Next;
                Ok(RAN)
            }
            Pc::Free => self.free(sys, ctx, page),
            Pc::Next => {
                ctx.pages_done += 1;
                ctx.marks |= mark::TOUCH_ENDS | mark::COND_RESCHED;
                self.at += 1;
                self.pc = Pc::Look;
                Ok(Outcome::Ran(if self.task == Task::Touch { Work::Touch } else { Work::Commit }))
            }
        }
    }

    fn look(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Result<Outcome, StepError> {
        ctx.marks |= mark::TOUCH_BEGINS;
        let word = sys.folio(page).word.load();
        if word.has(flag::LOCKED) {
            ctx.stat[Vm::FaultWaits] += 1;
            let unlocked = || !sys.folio(page).word.load().has(flag::LOCKED);
            return Ok(wait_unless(sys, WaitKey::Folio(page), unlocked));
        }
        match self.task {
            Task::Touch => self.touch(sys, ctx, page, word),
            Task::Exit => self.exit(sys, page, word),
        }
    }

    fn touch(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> Result<Outcome, StepError> {
        match word.state() {
            State::CompressedFreed => self.fault(sys, ctx, page, word, Copy::Pool),
            State::WrittenBackFreed => self.fault(sys, ctx, page, word, Copy::Device),
            State::ZeroFilledFreed => self.fault(sys, ctx, page, word, Copy::Zeromap),
            _ if word.has(flag::MAPPED) || word.state() == State::Freed => {
                self.pc = Pc::Next;
                Ok(RAN)
            }
            _ => self.swapcache_hit(sys, ctx, page, word),
        }
    }

    fn fault(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word, copy: Copy) -> Result<Outcome, StepError> {
        let change = Change::flags(flag::FRAME | flag::LOCKED | flag::SWAPCACHE, 0).in_state(word.state());
        if let Fire::Done(_) = sys.fire(ctx, page, Event::Fault, 0, change, 0)? {
            ctx.stat[Vm::Pgfault] += 1;
            ctx.stat[Vm::Pgmajfault] += 1;
            self.pc = Pc::Read(copy);
        }
        Ok(Outcome::Ran(Work::Fault)) // Refused: the shrink worker was faster; look again.
    }

    /// The folio is still there: a minor fault. A dirty one gives its slot back, under the LRU lock, where the kernel has
    /// the folio lock: no scan may isolate it with a slot that is about to go.
    fn swapcache_hit(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> Result<Outcome, StepError> {
        let dirty = matches!(word.state(), State::Redirtied | State::Activated);
        let clear = if dirty { flag::SWAPCACHE } else { 0 };
        let change = Change::flags(flag::MAPPED, clear).unless(flag::LOCKED).in_state(word.state());
        let unscanned = dirty.then(|| sys.node(page).lru());
        if let Fire::Done(_) = sys.fire(ctx, page, Event::SwapcacheHit, 0, change, 0)? {
            if dirty {
                self.free_slot(sys, page);
            }
            ctx.stat[Vm::Pgfault] += 1;
            self.pc = Pc::Next;
        }
        drop(unscanned);
        Ok(Outcome::Ran(Work::Fault))
    }

    /// Reads the copy into the page's frame, which is locked and so nobody else's.
    fn read(&mut self, sys: &System, ctx: &mut Ctx, page: u32, copy: Copy) -> Outcome {
        let slot = sys.folio(page).slot();
        let frame = sys.contents.page_to_fill(page);
        let decode = |source| StepError::Decode { page, source };
        let read = match (copy, &sys.store, frame) {
            (Copy::Device, _, frame) => sys.device.read(slot, frame).map_err(StepError::from),
            (Copy::Zeromap, _, Some(frame)) => {
                frame.fill(0);
                Ok(())
            }
            (Copy::Pool, Store::Zswap(zswap), Some(frame)) => {
                zswap.load(slot, &mut ctx.codecs, &mut ctx.block, frame).map_err(decode)
            }
            (Copy::Pool, Store::Zram(zram), Some(frame)) => {
                let codec = ctx.codecs.get(sys.config.codec);
                let read = zram.read(slot, &mut ctx.block, frame, |_, block, page| codec.decompress(block, page));
                read.map_err(|error| match error {
                    ReadError::Decode(source) => decode(source),
                    ReadError::Device(error) => error.into(),
                })
            }
            (_, _, None) => Ok(()),
        };
        self.pc = match (read, copy) {
            (Err(error), _) => {
                ctx.errors.push(error);
                Pc::ReadFailed(copy)
            }
            (Ok(()), Copy::Pool) => Pc::Drop(copy, Then::Load),
            (Ok(()), _) => Pc::Load { exclusive: false },
        };
        if let (Copy::Device, Store::Zswap(zswap)) = (copy, &sys.store) {
            let folio = sys.folio(page);
            zswap.note_disk_swapin(&sys.memcgs, folio.memcg, folio.node);
        }
        ctx.stat[counter(copy, &sys.store)] += 1;
        Outcome::Ran(if copy == Copy::Device { Work::DeviceRead(page) } else { Work::Decompress(page) })
    }

    fn read_failed(&mut self, sys: &System, ctx: &mut Ctx, page: u32, copy: Copy) -> Result<Outcome, StepError> {
        let guards = if copy == Copy::Pool { guard::IN_POOL } else { 0 };
        let change = Change::flags(0, flag::FRAME | flag::LOCKED | flag::SWAPCACHE);
        sys.must(ctx, page, Event::LoadError, guards, change, 0)?;
        sys.wait.wake_all(WaitKey::Folio(page));
        self.pc = Pc::Next;
        Ok(RAN)
    }

    fn drop_copy(&mut self, sys: &System, page: u32, copy: Copy, then: Then) -> Outcome {
        self.pc = match (copy, &sys.store) {
            (Copy::Pool, Store::Zswap(zswap)) => {
                zswap.unlist(sys.folio(page).slot(), &sys.memcgs);
                Pc::Erase(then)
            }
            (Copy::Pool, Store::Zram(_)) => return self.erase(sys, page, then),
            _ => {
                self.free_slot(sys, page);
                self.after_drop(then);
                return RAN;
            }
        };
        RAN
    }

    fn erase(&mut self, sys: &System, page: u32, then: Then) -> Outcome {
        let folio = sys.folio(page);
        match &sys.store {
            Store::Zswap(zswap) => zswap.erase(folio.slot(), &sys.memcgs, &sys.zspage_frames()),
            Store::Zram(zram) => zram.free(folio.slot(), &sys.zspage_frames()),
        }
        self.pc = Pc::FreeSlot(then);
        RAN
    }

    fn free_slot(&self, sys: &System, page: u32) {
        let folio = sys.folio(page);
        sys.slots.free(folio.slot());
        folio.set_slot(NIL);
    }

    fn after_drop(&mut self, then: Then) {
        self.pc = match then {
            Then::Load => Pc::Load { exclusive: true },
            Then::Free => Pc::Free,
        };
    }

    fn load(&mut self, sys: &System, ctx: &mut Ctx, page: u32, exclusive: bool) -> Result<Outcome, StepError> {
        let change = match exclusive {
            true => Change::flags(flag::MAPPED | flag::YOUNG | flag::DIRTY, flag::LOCKED | flag::SWAPCACHE),
            false => Change::flags(flag::MAPPED | flag::YOUNG, flag::LOCKED),
        };
        sys.must(ctx, page, Event::Load, if exclusive { guard::EXCLUSIVE } else { 0 }, change, 0)?;
        sys.wait.wake_all(WaitKey::Folio(page));
        self.pc = Pc::AddLru;
        Ok(RAN)
    }

    /// Before a page is freed its copy is; a page in flight is waited for by the caller (exit comes last).
    fn exit(&mut self, sys: &System, page: u32, word: Word) -> Result<Outcome, StepError> {
        let slot = sys.folio(page).slot();
        let in_pool = match &sys.store {
            Store::Zswap(zswap) => zswap.holds(slot),
            Store::Zram(zram) => zram.holds(slot),
        };
        self.pc = match (word.state(), slot, in_pool) {
            (State::Freed, ..) => Pc::Next,
            (_, NIL, _) => Pc::Free,
            (_, _, true) => Pc::Drop(Copy::Pool, Then::Free),
            (_, _, false) => Pc::Drop(Copy::Device, Then::Free),
        };
        Ok(RAN)
    }

    fn free(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> Result<Outcome, StepError> {
        let mut lru = sys.node(page).lru();
        let word = sys.folio(page).word.load();
        if word.has(flag::LRU) {
            lru.list(word.has(flag::ACTIVE)).del(&sys.folios, page);
        }
        sys.must(ctx, page, Event::Free, 0, Change::flags(0, word.flags()), 0)?;
        self.pc = Pc::Next;
        Ok(RAN)
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let mut order = self.order.to_vec();
        order[self.at..].iter_mut().for_each(f);
        self.order = order.into();
    }

    /// [`super::Actor::normalise`]: pages that it is done with.
    pub fn normalise(&mut self) {
        if self.at > 0 {
            self.order = self.order[self.at..].into();
            self.at = 0;
        }
    }
}

/// The vmstat counter of a read.
fn counter(copy: Copy, store: &Store) -> Vm {
    match (copy, store) {
        (Copy::Zeromap, _) => Vm::SwpinZero,
        (Copy::Pool, Store::Zswap(_)) => Vm::Zswpin,
        _ => Vm::Pswpin,
    }
}
