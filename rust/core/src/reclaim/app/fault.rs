//! `do_swap_page`: how a page that is not mapped comes back.

use super::{App, Copy, Pc, Then};
use crate::lifecycle::{Change, Event, Fire, State, Word, flag, guard};
use crate::memcg::MemcgStat;
use crate::reclaim::RAN;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepError, StepResult, Store, System, Work};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::workload::Access;
use crate::zram::ReadError;

impl App {
    /// What the page's shadow says, before it is read.
    pub(super) fn refault(&mut self, sys: &System, ctx: &mut Ctx, page: u32, copy: Copy) -> Outcome {
        self.activate = sys.workingset_refault(ctx, page, true);
        self.pc = Pc::Read(copy);
        RAN
    }

    /// `should_try_to_free_swap`: the access is a write (FAULT_FLAG_WRITE), or slots are short.
    fn should_try_to_free_swap(&self, sys: &System) -> bool {
        self.program.current().is_some_and(|touch| touch.access == Access::Write) || sys.slots.is_half_full()
    }

    pub(super) fn fault(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word, copy: Copy) -> StepResult {
        let folio = sys.folio(page);
        let change = Change::flags(flag::FRAME | flag::LOCKED | flag::SWAPCACHE, 0).in_state(word.state());
        if let Fire::Done(_) = sys.fire(ctx, folio, Event::Fault, 0, change, 0)? {
            for counter in [MemcgStat::Pgfault, MemcgStat::Pgmajfault] {
                sys.count(ctx, folio.memcg, counter, 1);
            }
            folio.set_pfn(std::mem::replace(&mut self.frame, NIL));
            self.pc = if sys.mm.is_some() { Pc::Refault(copy) } else { Pc::Read(copy) };
        }
        Ok(Outcome::Ran(Work::Fault)) // Refused: the shrink worker was faster; look again.
    }

    /// The folio is still there: a minor fault. A dirty one gives its slot back, under the LRU lock, where the kernel has
    /// the folio lock: no scan may isolate it with a slot that is about to go. A clean one that is read keeps slot and copy while slots are
    /// plenty (`should_try_to_free_swap`), and one under writeback in any case.
    pub(super) fn swapcache_hit(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> StepResult {
        let dirty = matches!(word.state(), State::Redirtied | State::Activated);
        let clear = if dirty { flag::SWAPCACHE } else { 0 };
        let young = if sys.mm.is_some() { flag::YOUNG } else { 0 };
        let change = Change::flags(flag::MAPPED | young, clear).unless(flag::LOCKED).in_state(word.state());
        let unscanned = dirty.then(|| sys.node(page).lru());
        if let Fire::Done(_) = sys.fire(ctx, sys.folio(page), Event::SwapcacheHit, 0, change, 0)? {
            if dirty {
                sys.free_slots(ctx, page);
            }
            sys.count(ctx, sys.folio(page).memcg, MemcgStat::Pgfault, 1);
            let frees_swap = !dirty && !word.has(flag::WRITEBACK) && self.should_try_to_free_swap(sys);
            self.pc = if frees_swap { Pc::FreeSwap } else { Pc::Next };
        }
        drop(unscanned);
        Ok(Outcome::Ran(Work::Fault))
    }

    /// A write to a page whose copy is still in swap: the copy is dropped (`folio_free_swap`), under the LRU lock, where the
    /// kernel has the folio lock.
    pub(super) fn free_swap(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        let change = Change::flags(flag::DIRTY | flag::YOUNG, flag::SWAPCACHE)
            .only(flag::LRU)
            .unless(flag::LOCKED)
            .in_state(State::ResidentSwapcache);
        let unscanned = sys.node(page).lru();
        let fire = sys.fire(ctx, sys.folio(page), Event::FreeSwap, 0, change, 0)?;
        self.pc = match fire {
            Fire::Done(_) => {
                sys.drop_swap(ctx, page)?;
                Pc::Look
            }
            Fire::Refused(_) => Pc::Listed { cpu: 0 },
        };
        drop(unscanned);
        Ok(RAN)
    }

    /// Reads the copy into the page's frame, which is locked and so nobody else's.
    pub(super) fn read(&mut self, sys: &System, ctx: &mut Ctx, page: u32, copy: Copy) -> Outcome {
        // SAFETY: this application fired `fault` and fires `load` in a later step.
        let read = read_copy(sys, ctx, page, copy, unsafe { sys.contents.page_to_fill(page) });
        // SAFETY: as above; the frame that was filled is not borrowed any more.
        if read.is_ok() && !unsafe { sys.contents.is_intact(page) } {
            ctx.mismatched.push(page);
        }
        self.pc = match (read, copy) {
            (Err(error), _) => {
                ctx.errors.push(error);
                Pc::ReadFailed(copy)
            }
            (Ok(()), _) if copy == Copy::Pool || self.unuses() || self.should_try_to_free_swap(sys) => {
                Pc::Drop(copy, Then::Load)
            }
            // SWP_SYNCHRONOUS_IO with one user: the slot goes at once, whatever it held.
            (Ok(()), Copy::Zeromap) if sys.mm.is_some() && sys.zswap().is_none() => Pc::FreeSlot(Then::Load),
            (Ok(()), _) => Pc::Load { exclusive: false },
        };
        if let (Copy::Device, Store::Zswap(zswap)) = (copy, &sys.store) {
            let folio = sys.folio(page);
            zswap.note_disk_swapin(&sys.memcgs, folio.memcg, folio.node);
        }
        match counter(copy, &sys.store) {
            Vm::Zswpin => sys.count(ctx, sys.folio(page).memcg, MemcgStat::Zswpin, 1),
            others => {
                ctx.stat[others] += 1;
                ctx.stat[Vm::Pgpgin] += if others == Vm::Pswpin { sys.config.page_size as u64 / 1024 } else { 0 };
            }
        }
        Outcome::Ran(match copy {
            Copy::Device => Work::DeviceRead(page),
            Copy::Zeromap => Work::ZeroPage,
            _ => Work::Decompress(page),
        })
    }

    pub(super) fn read_failed(&mut self, sys: &System, ctx: &mut Ctx, page: u32, copy: Copy) -> StepResult {
        let guards = if copy == Copy::Pool { guard::IN_POOL } else { 0 };
        let change = Change::flags(0, flag::FRAME | flag::LOCKED | flag::SWAPCACHE);
        let folio = sys.folio(page);
        sys.must(ctx, folio, Event::LoadError, guards, change, 0)?;
        sys.wait.wake_all(WaitKey::Folio(page));
        self.frame = folio.pfn();
        self.pc = Pc::Next;
        self.unuse_failed(sys);
        Ok(RAN)
    }

    pub(super) fn drop_copy(&mut self, sys: &System, ctx: &Ctx, page: u32, copy: Copy, then: Then) -> Outcome {
        self.pc = match (copy, &sys.store) {
            (Copy::Pool, Store::Zswap(zswap)) => {
                zswap.unlist(sys.folio(page).slot(), &sys.memcgs);
                Pc::Erase(then)
            }
            (Copy::Pool, Store::Zram(_)) if sys.mm.is_none() => return self.erase(sys, ctx, page, then),
            _ => {
                sys.free_slot(ctx, page);
                self.after_drop(then);
                return RAN;
            }
        };
        RAN
    }

    pub(super) fn erase(&mut self, sys: &System, ctx: &Ctx, page: u32, then: Then) -> Outcome {
        sys.erase(ctx, sys.folio(page).slot());
        self.pc = Pc::FreeSlot(then);
        RAN
    }

    pub(super) fn after_drop(&mut self, then: Then) {
        self.pc = match then {
            Then::Load => Pc::Load { exclusive: true },
            Then::Free => Pc::Free,
            Then::Next => Pc::Next,
        };
    }

    pub(super) fn load(&mut self, sys: &System, ctx: &mut Ctx, page: u32, exclusive: bool) -> StepResult {
        let change = match exclusive {
            true => Change::flags(flag::MAPPED | flag::YOUNG | flag::DIRTY, flag::LOCKED | flag::SWAPCACHE),
            false => Change::flags(flag::MAPPED | flag::YOUNG, flag::LOCKED),
        };
        let change = Change { set: change.set | if self.activate { flag::ACTIVE } else { 0 }, ..change };
        sys.must(ctx, sys.folio(page), Event::Load, if exclusive { guard::EXCLUSIVE } else { 0 }, change, 0)?;
        sys.wait.wake_all(WaitKey::Folio(page));
        self.pc = Pc::AddLru;
        Ok(RAN)
    }
}

/// Fills `frame`, if there are bytes, with the copy of `page`.
fn read_copy(sys: &System, ctx: &mut Ctx, page: u32, copy: Copy, frame: Option<&mut [u8]>) -> Result<(), StepError> {
    let slot = sys.folio(page).slot();
    let decode = |source| StepError::Decode { page, source };
    match (copy, &sys.store, frame) {
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
