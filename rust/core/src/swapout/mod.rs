//! `swap_writeout` as steps: what happens to one unmapped, locked folio until it is stored, queued, submitted, activated
//! or dirty again. The reclaimer runs it from the zero test on, a worker from the queue on; SyncHead runs both.
//!
//! Order (kernel): zero test → the design's enqueue point → zswap's first half → compress → allocate → publish → state; a
//! refusal goes to the device, or activates where the memcg denies writeback. zram has no first half and cannot refuse but
//! for want of memory.
//!
//! A large folio is tested, compressed and stored page by page, and is stored when all its pages are (module `large`).

mod allocate;
mod asked;
mod finish;
mod large;
mod queueing;
pub mod writeback;

pub use queueing::was_begun;

use crate::design::{Admission, EnqueueAt, Policy, StoreKind};
use crate::folio::Folio;
use crate::lifecycle::{Change, Event, flag};
use crate::stats::Vm;
use crate::system::contents::Compressed;
use crate::system::{Ctx, Outcome, StepResult, Store, System, Work, mark};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::zsmalloc::Handle;
use crate::zswap::Refusal;
use crate::zswap::shrink::{NotShrunk, ShrinkMemcg};
use finish::note_swpout;
use large::Back;
use queueing::first_queue;
use writeback::Shrinking;

/// What became of the folio.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// All zero: a zeromap bit.
    Zero,
    /// In a queue, held for a worker.
    Queued,
    /// In the store, unlocked.
    Stored,
    /// On its way to the device.
    Submitted,
    /// Marked active; dirty.
    Activated,
    /// Dirty again.
    Redirtied,
}

/// Where the folio is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    ZeroTest,
    ZeroCommit { zero: bool },
    Begin { then_queue: bool },
    MakeRoom { shrinking: Shrinking, then_queue: bool },
    Push { first: u16, tried: u16 },
    PopHead { queue: u16 },
    Start,
    Compress,
    Allocate { compressed: Compressed },
    Undo { beyond: Handle },
    Publish { len: u32 },
    Store { len: u32 },
    StoreFolio,
    RollBack(Back),
    Refused,
    ToDevice,
    Submit,
    Put(Written),
    Next(Written),
}

/// One folio's way through `swap_writeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Swapout {
    folio: u32,
    /// Its pages.
    nr_pages: u16,
    pc: Pc,
    /// The page of the folio that it is at, from 0.
    sub: u16,
    /// The folio came out of a queue.
    queued: bool,
    /// `aux` of its `compress` event: queue and ticket.
    ticket: u64,
    /// The first half of `zswap_store` has been done.
    begun: bool,
    /// SyncHead: the folio that waits for this one, and whether it has been queued meanwhile.
    behind: Option<(u32, bool)>,
}

/// What a step of [`Swapout`] was.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Step(Outcome),
    /// The store has no memory for a zspage of so many pages, and the actor may reclaim some before the next step.
    Stalled {
        /// Its pages; 0 where it was another object.
        pages: u32,
    },
    /// It has ended.
    Done(Written),
}

/// The first kernel whose zswap takes large folios.
pub const LARGE_IN_ZSWAP: (u16, u16) = (6, 13);

const RAN: Progress = Progress::Step(Outcome::Ran(Work::Commit));

impl Swapout {
    /// For the reclaimer: `folio`, of so many pages, is unmapped and locked.
    pub fn writeout(folio: u32, nr_pages: u32) -> Self {
        Self {
            folio,
            nr_pages: nr_pages as u16,
            pc: Pc::ZeroTest,
            sub: 0,
            queued: false,
            ticket: 0,
            begun: false,
            behind: None,
        }
    }

    /// For a worker: `folio` came out of a queue; `begun`: the first half was done before queueing.
    pub fn from_queue(folio: u32, nr_pages: u32, ticket: u64, begun: bool) -> Self {
        Self { pc: Pc::Start, queued: true, ticket, begun, ..Self::writeout(folio, nr_pages) }
    }

    /// Its pages, whatever has become of it.
    pub fn nr_pages(&self) -> u32 {
        self.nr_pages.into()
    }

    /// One step, or as many as may be taken at once ([`Ctx::goes_on`]); what the last one was.
    ///
    /// # Errors
    /// See [`StepResult`]; the folio stays in the state that its word says.
    #[inline(never)]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        loop {
            match self.pc {
                // An outcome that names its page is made where it is returned: made before, it would be written in pieces and read as
                // a whole, which waits until the CPU has written all.
                Pc::ZeroTest => {
                    let page = self.zero_test(sys);
                    if !ctx.goes_on() {
                        return Ok(Progress::Step(Outcome::Ran(Work::ZeroTest(page))));
                    }
                }
                Pc::Compress => {
                    self.compress(sys, ctx);
                    if !ctx.goes_on() {
                        return Ok(Progress::Step(Outcome::Ran(Work::Compress(self.page()))));
                    }
                }
                _ => {
                    let progress = self.one_step(sys, ctx)?;
                    if !matches!(progress, Progress::Step(Outcome::Ran(_))) || !ctx.goes_on() {
                        return Ok(progress);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn one_step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        match self.pc {
            Pc::ZeroTest | Pc::Compress => unreachable!("`step` takes them"),
            Pc::ZeroCommit { zero: true } => self.mark_zero(sys, ctx),
            Pc::ZeroCommit { zero: false } => self.route(sys, ctx),
            Pc::Begin { then_queue } => self.begin(sys, ctx, then_queue).map(|()| RAN),
            Pc::MakeRoom { .. } => self.make_room(sys, ctx),
            Pc::Push { first, tried } => self.push(sys, ctx, first, tried),
            Pc::PopHead { queue } => self.pop_head(sys, ctx, queue),
            Pc::Start => self.start(sys, ctx).map(|()| RAN),
            Pc::Allocate { compressed } => self.allocate(sys, ctx, compressed),
            Pc::Undo { beyond } => Ok(self.undo(sys, ctx, beyond)),
            Pc::Publish { len } => {
                self.publish(sys, len);
                Ok(RAN)
            }
            Pc::Store { len } => self.store(sys, ctx, len),
            Pc::StoreFolio => self.store_folio(sys, ctx),
            Pc::RollBack(part) => self.roll_back(sys, ctx, part),
            Pc::Refused => self.refused(sys, ctx),
            Pc::ToDevice => self.write_to_device(sys, ctx),
            Pc::Submit => Ok(self.submit(sys, ctx)),
            Pc::Put(written) => Ok(self.put(sys, written)),
            Pc::Next(written) => self.next(sys, ctx, written),
        }
    }

    fn mark_zero(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let nr_pages = self.nr_pages();
        (0..nr_pages).for_each(|at| sys.slots.set_zero(sys.folio(self.folio + at).slot(), true));
        sys.must(ctx, sys.folio(self.folio), Event::Zero, 0, Change::flags(0, flag::LOCKED | flag::RECLAIM), 0)?;
        sys.wait.wake_all(WaitKey::Folio(self.folio));
        ctx.stat[Vm::SwpoutZero] += u64::from(nr_pages);
        ctx.pages_done += u64::from(nr_pages);
        Ok(Progress::Done(Written::Zero))
    }

    fn route(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let zswap = sys.config.store == StoreKind::Zswap;
        let at_store = if zswap { EnqueueAt::ZswapStore } else { EnqueueAt::ZramBio };
        let admits = |policy: &dyn Policy, view| {
            let [first, second] = [policy.admit(EnqueueAt::SwapWriteout, view)?, policy.admit(at_store, view)?];
            Ok(first == Admission::Queue || second == Admission::Queue)
        };
        match (sys.decide(sys.folio(self.folio), ctx.actor, admits)?, zswap) {
            (true, true) if sys.design().checks_before() => self.begin(sys, ctx, true).map(|()| RAN),
            (true, _) => {
                let first = first_queue(sys, ctx, sys.folio(self.folio))?;
                self.push(sys, ctx, first, 0)
            }
            (false, _) => self.go_sync(sys, ctx).map(|()| RAN),
        }
    }

    /// zswap's first half: limits, pool reference.
    fn begin(&mut self, sys: &System, ctx: &mut Ctx, then_queue: bool) -> StepResult<()> {
        let Store::Zswap(zswap) = &sys.store else { return self.start(sys, ctx) };
        if self.is_too_large(sys) {
            self.pc = Pc::Refused;
            return Ok(());
        }
        let folio = sys.folio(self.folio);
        match zswap.store_begin(&sys.memcgs, folio.memcg) {
            Err(Refusal::Memcg) => {
                let shrinking = Shrinking::new(ShrinkMemcg::new(sys.memcgs.online(folio.memcg)));
                self.pc = Pc::MakeRoom { shrinking, then_queue };
            }
            begun => self.begun(sys, ctx, folio, begun, then_queue)?,
        }
        Ok(())
    }

    /// Over its memcg's limit: one entry of the memcg is written back on each node, or the store is refused.
    fn make_room(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<Progress> {
        let (Store::Zswap(zswap), Pc::MakeRoom { shrinking, then_queue }) = (&sys.store, &mut self.pc) else {
            return self.refused(sys, ctx);
        };
        let then_queue = *then_queue;
        let (work, end) = shrinking.step(sys, ctx, zswap)?;
        match end {
            None => {}
            Some(Ok(())) => self.begun(sys, ctx, sys.folio(self.folio), zswap.store_begin_charged(), then_queue)?,
            Some(Err(NotShrunk::Nothing | NotShrunk::Kept)) => self.pc = Pc::Refused,
        }
        Ok(Progress::Step(Outcome::Ran(work)))
    }

    fn begun(
        &mut self,
        sys: &System,
        ctx: &Ctx,
        folio: &Folio,
        begun: Result<u32, Refusal>,
        then_queue: bool,
    ) -> StepResult<()> {
        let Ok(pool) = begun else {
            self.pc = Pc::Refused;
            return Ok(());
        };
        folio.set_pool(pool);
        self.begun = true;
        self.pc = match (then_queue, self.queued) {
            (true, _) => Pc::Push { first: first_queue(sys, ctx, folio)?, tried: 0 },
            (false, true) => Pc::Compress,
            (false, false) => Pc::Start,
        };
        Ok(())
    }

    /// Compression begins: in a queued folio's case this is where it leaves the queue's hands.
    fn start(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<()> {
        let zram = sys.config.store == StoreKind::Zram;
        let change = match zram {
            // swap_writepage_bdev_sync: writeback is set, the lock released, then the write.
            true => Change::flags(flag::WRITEBACK, flag::LOCKED),
            false => Change::NONE,
        };
        sys.must(ctx, sys.folio(self.folio), Event::Compress, 0, change, self.ticket)?;
        ctx.note_ticket(self.ticket, if self.ticket == 0 { mark::DIRECT } else { mark::TAKEN });
        if zram {
            note_swpout(sys, ctx, self.folio, self.nr_pages());
            sys.wait.wake_all(WaitKey::Folio(self.folio));
        }
        self.pc = if zram || self.begun { Pc::Compress } else { Pc::Begin { then_queue: false } };
        Ok(())
    }

    fn compress(&mut self, sys: &System, ctx: &mut Ctx) {
        let folio = sys.folio(self.folio);
        let (zram, spec) = match &sys.store {
            Store::Zram(_) => (true, sys.config.codec),
            Store::Zswap(zswap) => (false, zswap.codec(folio.pool())),
        };
        let fails = ctx.fails();
        let codec = ctx.codecs.get(spec);
        let compressed = match fails {
            true => Compressed::default(),
            false => {
                // SAFETY: a store's folio is locked, under writeback or queued until this swapout fires its end.
                unsafe { sys.contents.compress(self.page(), zram, codec, &mut ctx.block) }
            }
        };
        if let (Store::Zswap(zswap), Some(len)) = (&sys.store, compressed.len) {
            zswap.prefetch_store(sys.folio(self.page()).slot(), folio.pool(), len, folio.memcg, folio.node);
            codec.prepare(); // While all that is on its way.
        }
        self.pc = Pc::Allocate { compressed };
    }

    fn publish(&mut self, sys: &System, len: u32) {
        if let Store::Zswap(zswap) = &sys.store {
            let folio = sys.folio(self.page());
            zswap.store_publish(folio.slot(), self.page(), &sys.memcgs, folio.memcg, folio.node);
        }
        self.pc = Pc::Store { len };
    }

    fn drop_pool_reference(&self, sys: &System) {
        let folio = sys.folio(self.folio);
        let pool = folio.pool();
        folio.set_pool(NIL);
        if let Some(zswap) = sys.zswap().filter(|_| pool != NIL) {
            zswap.store_end(pool);
        }
    }
}
