//! How a swap-out ends: stored, sent to the device, activated, or dirty again.

use super::{Pc, Progress, RAN, Swapout, Written};
use crate::design::{Policy, Refused, StoreKind, View};
use crate::lifecycle::{Change, Event, Fire, flag, guard};
use crate::memcg::MemcgStat;
use crate::stats::{Mthp, Vm};
use crate::system::{Ctx, StepResult, System};
use crate::trace::aux;
use crate::wait::WaitKey;
use crate::zswap::Zswap;

impl Swapout {
    /// The page's copy is in the store; with the last one the folio is unlocked, its writeback ended.
    pub(super) fn store(&mut self, sys: &System, ctx: &mut Ctx, len: u32) -> StepResult<Progress> {
        if self.nr_pages > 1 {
            return self.store_page(sys, ctx, len);
        }
        self.commit(sys, ctx, len)
    }

    /// All of the folio is stored; its first page as `len` bytes.
    pub(super) fn commit(&mut self, sys: &System, ctx: &mut Ctx, len: u32) -> StepResult<Progress> {
        let clear = flag::LOCKED | flag::WRITEBACK | if self.queued { 0 } else { flag::RECLAIM };
        let folio = sys.folio(self.folio);
        sys.must(ctx, folio, Event::Store, 0, Change::flags(0, clear), aux::stored(len, sys.config.store as u32))?;
        self.wake_holders(sys);
        if sys.config.store == StoreKind::Zswap {
            sys.count(ctx, folio.memcg, MemcgStat::Zswpout, self.nr_pages.into());
            count_mthp(sys, ctx, self.folio, self.nr_pages(), Mthp::Zswpout);
        }
        Ok(self.end(sys, ctx, Written::Stored))
    }

    fn wake_holders(&self, sys: &System) {
        sys.wait.wake_all(WaitKey::Folio(self.folio));
    }

    /// The store refused it: what the policy says.
    pub(super) fn refused(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        if self.sub > 0 {
            return Ok(self.begin_roll_back(sys));
        }
        self.drop_pool_reference(sys);
        if sys.config.store == StoreKind::Zram {
            return self.redirty(sys, ctx);
        }
        if !self.is_too_large(sys) && sys.zswap().is_some_and(Zswap::queue_shrink_work) {
            sys.wait.wake_all(WaitKey::Shrink);
        }
        let asked = |policy: &dyn Policy, view: View| Ok((policy.refused(self.queued, view)?, view.writeback_enabled));
        let (refused, writeback_enabled) = sys.decide(sys.folio(self.folio), ctx.actor, asked)?;
        match refused {
            // The knob flipped while it was queued, and the design does not look again.
            Refused::Device if !writeback_enabled => self.write_to_device(sys, ctx),
            Refused::Device => {
                let change = Change::flags(flag::WRITEBACK, flag::LOCKED);
                sys.must(ctx, sys.folio(self.folio), Event::Reject, guard::WRITEBACK_ENABLED, change, 0)?;
                self.wake_holders(sys);
                self.pc = Pc::Submit;
                Ok(RAN)
            }
            Refused::Activate => self.activate(sys, ctx),
            Refused::Redirty => self.redirty(sys, ctx),
        }
    }

    /// AOP_WRITEPAGE_ACTIVATE. A queued folio may be listed by now: then it moves, under the LRU lock.
    fn activate(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let clear = flag::LOCKED | flag::WRITEBACK | flag::RECLAIM;
        let change = Change::flags(flag::ACTIVE | flag::DIRTY, clear);
        let folio = sys.folio(self.folio);
        let mut lru = sys.node(self.folio).lru();
        match sys.fire(ctx, folio, Event::Reject, 0, change, 0)? {
            Fire::Done(fired) if fired.from.has(flag::LRU) && !fired.from.has(flag::ACTIVE) => {
                lru.of(folio.memcg).relocate(&sys.folios, self.folio, false, true, false);
            }
            _ => {}
        }
        drop(lru);
        let activated = if self.queued { u64::from(self.nr_pages) } else { 0 };
        sys.count(ctx, folio.memcg, MemcgStat::Pgactivate, activated);
        self.wake_holders(sys);
        Ok(self.end(sys, ctx, Written::Activated))
    }

    fn redirty(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let change = Change::flags(flag::DIRTY, flag::LOCKED | flag::WRITEBACK | flag::RECLAIM);
        sys.must(ctx, sys.folio(self.folio), Event::Redirty, 0, change, 0)?;
        self.wake_holders(sys);
        Ok(self.end(sys, ctx, Written::Redirtied))
    }

    /// `__swap_writepage` without asking a store or the knob.
    pub(super) fn write_to_device(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        sys.must(ctx, sys.folio(self.folio), Event::Write, 0, Change::flags(flag::WRITEBACK, flag::LOCKED), 0)?;
        self.wake_holders(sys);
        self.pc = Pc::Submit;
        Ok(RAN)
    }

    pub(super) fn submit(&mut self, sys: &System, ctx: &mut Ctx) -> Progress {
        submit(sys, ctx, self.folio);
        self.end(sys, ctx, Written::Submitted)
    }

    fn end(&mut self, sys: &System, ctx: &mut Ctx, written: Written) -> Progress {
        ctx.pages_done += u64::from(self.nr_pages);
        if self.queued && sys.design().extra_ref {
            self.pc = Pc::Put(written);
            return RAN;
        }
        match self.behind {
            Some(_) => {
                self.pc = Pc::Next(written);
                RAN
            }
            None => Progress::Done(written),
        }
    }
}

/// The folio goes to a swap device, zram included: counted in pages.
pub(super) fn note_swpout(sys: &System, ctx: &mut Ctx, folio: u32, nr_pages: u32) {
    ctx.stat[Vm::Pswpout] += u64::from(nr_pages);
    ctx.stat[Vm::Pgpgout] += u64::from(nr_pages) * (sys.config.page_size as u64 / 1024);
    count_mthp(sys, ctx, folio, nr_pages, Mthp::Swpout);
    if nr_pages > 1 && sys.is_pmd_mappable(folio) {
        sys.count(ctx, sys.folio(folio).memcg, MemcgStat::ThpSwpout, 1);
    }
}

/// Counts a large folio under its order.
fn count_mthp(sys: &System, ctx: &mut Ctx, folio: u32, nr_pages: u32, counter: Mthp) {
    if nr_pages > 1 {
        ctx.stat.count_mthp(sys.folio(folio).order, counter);
    }
}

/// Hands the folio, which is under writeback, to the device.
pub(super) fn submit(sys: &System, ctx: &mut Ctx, folio: u32) {
    let nr_pages = sys.nr_pages(folio);
    note_swpout(sys, ctx, folio, nr_pages);
    sys.depart(nr_pages);
    sys.device.submit(folio);
    sys.wait.wake_all(WaitKey::Device);
}
