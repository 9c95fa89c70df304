//! zswap's shrink worker: writes the oldest entries to the device until the pool is at its accept threshold.

use super::wait_unless;
use crate::lifecycle::{Change, Event, Fire, State, flag, guard};
use crate::snapshot::Saved;
use crate::stats::Vm;
use crate::swapout::{Progress, Swapout};
use crate::sync::{AtomicBool, Ordering};
use crate::system::{Ctx, Outcome, StepError, System, Work};
use crate::wait::WaitKey;
use crate::zswap::{Zswap, count};
use std::sync::Arc;

/// `MAX_RECLAIM_RETRIES` of the shrink worker: failures after which it sleeps again.
const MAX_FAILURES: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pc {
    Check,
    Pick,
    Take { page: u32 },
    Read { page: u32 },
    ReadFailed { page: u32 },
    Unlist { page: u32 },
    Erase { page: u32 },
    Write(Swapout),
    AddLru { page: u32 },
    Done,
}

/// The worker.
#[derive(Clone, Debug)]
pub struct ShrinkWorker {
    pc: Pc,
    failures: u8,
    stop: Arc<AtomicBool>,
    /// Writes one entry (the script's choice), then is done.
    once: bool,
}

impl ShrinkWorker {
    /// The worker; it ends when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { pc: Pc::Check, failures: 0, stop, once: false }
    }

    /// The worker writing the entry of `page`, whatever its place on the LRU, and then done: what a script drives.
    pub fn only(page: u32) -> Self {
        Self { pc: Pc::Take { page }, once: true, ..Self::new(Arc::default()) }
    }

    /// One step.
    ///
    /// # Errors
    /// [`StepError::Violation`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> Result<Outcome, StepError> {
        let Some(zswap) = sys.zswap() else { return Ok(Outcome::Done) };
        match self.pc {
            Pc::Check => return Ok(self.check(sys, zswap)),
            Pc::Pick => self.pick(sys, zswap),
            Pc::Take { page } => self.take(sys, ctx, zswap, page)?,
            Pc::Read { page } => return Ok(self.read(sys, ctx, zswap, page)),
            Pc::ReadFailed { page } => {
                let change = Change::flags(0, flag::FRAME | flag::LOCKED | flag::SWAPCACHE | flag::RECLAIM);
                sys.must(ctx, page, Event::LoadError, guard::IN_POOL, change, 0)?;
                sys.wait.wake_all(WaitKey::Folio(page));
                self.failed(zswap);
            }
            Pc::Unlist { page } => {
                zswap.unlist(sys.folio(page).slot());
                self.pc = Pc::Erase { page };
            }
            Pc::Erase { page } => {
                let folio = sys.folio(page);
                zswap.erase(folio.slot(), &sys.memcgs, folio.memcg, &sys.zspage_frames());
                ctx.stat[Vm::Zswpwb] += 1;
                self.pc = Pc::Write(Swapout::to_device(page));
            }
            Pc::Write(mut swapout) => {
                // The folio is on a list before its write can end: folio_add_lru precedes the submission.
                let page = swapout.folio();
                let before = sys.folio(page).word.load().state();
                let progress = swapout.step(sys, ctx)?;
                self.pc = match (before, progress) {
                    (State::Unmapped, _) => Pc::AddLru { page },
                    (_, Progress::Done(_)) => self.written(zswap),
                    _ => Pc::Write(swapout),
                };
            }
            Pc::AddLru { page } => {
                sys.add_lru(ctx, page)?;
                self.pc = Pc::Write(Swapout::submit_only(page));
            }
            Pc::Done => return Ok(Outcome::Done),
        }
        Ok(Outcome::Ran(Work::Commit))
    }

    fn check(&mut self, sys: &System, zswap: &Zswap) -> Outcome {
        // ORDERING: Acquire pairs with the driver's Release.
        let stopped = || self.stop.load(Ordering::Acquire);
        if stopped() {
            self.pc = Pc::Done;
            return Outcome::Ran(Work::Commit);
        }
        let work = || zswap.is_full() && zswap.above_threshold();
        if work() && self.failures < MAX_FAILURES {
            self.pc = Pc::Pick;
            return Outcome::Ran(Work::Commit);
        }
        let failures = std::mem::take(&mut self.failures);
        wait_unless(sys, WaitKey::Shrink, || stopped() || failures == 0 && work())
    }

    /// The oldest entry that has had its second chance; its page must have given its frame up.
    fn pick(&mut self, sys: &System, zswap: &Zswap) {
        let freed = |&(_, page): &(u32, u32)| sys.folio(page).word.load().state() == State::CompressedFreed;
        match zswap.shrink_candidate().filter(freed) {
            Some((_, page)) => self.pc = Pc::Take { page },
            None => self.failed(zswap), // -EEXIST: still in the swap cache.
        }
    }

    fn failed(&mut self, zswap: &Zswap) {
        count(&zswap.debugfs.reject_reclaim_fail);
        self.failures += 1;
        self.pc = self.next();
    }

    fn take(&mut self, sys: &System, ctx: &mut Ctx, zswap: &Zswap, page: u32) -> Result<(), StepError> {
        let set = flag::FRAME | flag::LOCKED | flag::SWAPCACHE | flag::RECLAIM;
        let change = Change::flags(set, 0).in_state(State::CompressedFreed);
        match sys.fire(ctx, page, Event::Shrink, 0, change, 0)? {
            Fire::Done(_) => self.pc = Pc::Read { page },
            Fire::Refused(_) => self.failed(zswap), // A fault was faster.
        }
        Ok(())
    }

    fn read(&mut self, sys: &System, ctx: &mut Ctx, zswap: &Zswap, page: u32) -> Outcome {
        let slot = sys.folio(page).slot();
        let read = match sys.contents.page_to_fill(page) {
            Some(frame) => zswap.load(slot, ctx.codec.as_mut(), &mut ctx.block, frame),
            None => Ok(()),
        };
        self.pc = match read {
            Ok(()) => Pc::Unlist { page },
            Err(source) => {
                ctx.errors.push(StepError::Decode { page, source });
                Pc::ReadFailed { page }
            }
        };
        Outcome::Ran(Work::Decompress(page))
    }

    fn written(&mut self, zswap: &Zswap) -> Pc {
        count(&zswap.debugfs.written_back_pages);
        self.failures = 0;
        self.next()
    }

    fn next(&self) -> Pc {
        if self.once { Pc::Done } else { Pc::Check }
    }

    /// Appends what decides its future to a snapshot.
    pub fn save(&self, out: &mut Saved) {
        let (at, page) = match self.pc {
            Pc::Check => (0, 0),
            Pc::Pick => (1, 0),
            Pc::Take { page } => (2, page),
            Pc::Read { page } => (3, page),
            Pc::ReadFailed { page } => (4, page),
            Pc::Unlist { page } => (5, page),
            Pc::Erase { page } => (6, page),
            Pc::Write(_) => (7, 0),
            Pc::AddLru { page } => (8, page),
            Pc::Done => (9, 0),
        };
        // ORDERING: Relaxed: a saving driver is alone.
        let stop = u64::from(self.stop.load(Ordering::Relaxed));
        out.state
            .push(at << 48 | u64::from(page) << 16 | u64::from(self.failures) << 2 | u64::from(self.once) << 1 | stop);
        if let Pc::Write(swapout) = &self.pc {
            swapout.save(out);
        }
    }
}
