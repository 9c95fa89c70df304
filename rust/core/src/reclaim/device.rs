//! The swap device: writes what was submitted and ends writeback.

use super::{RAN, SCANNED, Stop};
use crate::lifecycle::{Change, Event, actor, flag};
use crate::swap::DeviceError;
use crate::system::{Ctx, Outcome, StepResult, System, Work};
use crate::trace::system as events;
use crate::wait::WaitKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Next,
    Sleep,
    Write { page: u32, at: u32 },
    End { page: u32, written: bool },
    Rotate(u32),
    Arrive(u32),
    Done,
}

/// The completion side of the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SwapDevice {
    pc: Pc,
    /// Pages of the folio whose write is under way.
    nr_pages: u32,
    /// Set when nobody will submit any more.
    stop: Stop,
}

impl SwapDevice {
    /// The device; it ends when `stop` is set and nothing waits.
    pub fn new(stop: Stop) -> Self {
        Self { pc: Pc::Next, nr_pages: 0, stop }
    }

    /// The folio whose write is under way.
    pub fn page(&self) -> Option<u32> {
        match self.pc {
            Pc::Write { page, .. } | Pc::End { page, .. } | Pc::Rotate(page) | Pc::Arrive(page) => Some(page),
            Pc::Next | Pc::Sleep | Pc::Done => None,
        }
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`]. A failed write is no error of the step: the folio is dirty again, and the failure is kept
    /// in [`Ctx::errors`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        match self.pc {
            Pc::Next => Ok(self.next(sys)),
            Pc::Sleep => Ok(self.sleep(sys)),
            Pc::Write { page, at } => Ok(self.write(sys, ctx, page, at)),
            Pc::End { page, written: true } => self.end_writeback(sys, ctx, page),
            Pc::End { page, written: false } => self.redirty(sys, ctx, page),
            Pc::Rotate(page) => {
                sys.rotate(ctx, sys.folio(page).node, &[page])?;
                self.pc = Pc::Arrive(page);
                Ok(SCANNED)
            }
            Pc::Arrive(page) => {
                sys.arrive(sys.node(page), self.nr_pages);
                (self.pc, self.nr_pages) = (Pc::Next, 0);
                Ok(RAN)
            }
            Pc::Done => Ok(Outcome::Done),
        }
    }

    fn next(&mut self, sys: &System) -> Outcome {
        let stop = self.stop.is_set();
        if let Some(page) = sys.device.next() {
            (self.pc, self.nr_pages) = (Pc::Write { page, at: 0 }, sys.nr_pages(page));
            return RAN;
        }
        self.pc = if stop { Pc::Done } else { Pc::Sleep };
        RAN
    }

    /// Sleeps until something is submitted or nothing ever will be.
    fn sleep(&mut self, sys: &System) -> Outcome {
        self.pc = Pc::Next;
        Outcome::wait_unless(&sys.wait, WaitKey::Device, || !sys.device.is_idle() || self.stop.is_set())
    }

    /// Page `at` of the folio of `page`: what fails at one page fails as a whole.
    fn write(&mut self, sys: &System, ctx: &mut Ctx, page: u32, at: u32) -> Outcome {
        let slot = sys.folio(page + at).slot();
        let written = match ctx.fails() {
            true => sys.device.fail_write(slot),
            false => {
                // SAFETY: the page is under writeback until `end` fires its completion.
                let bytes = unsafe { sys.contents.page(page + at) };
                sys.device.write(slot, bytes)
            }
        };
        self.pc = match written.is_ok() && at + 1 < self.nr_pages {
            true => Pc::Write { page, at: at + 1 },
            false => Pc::End { page, written: written.is_ok() },
        };
        if let Err(error) = written {
            note(ctx, error, slot);
        }
        Outcome::Ran(Work::DeviceWrite(page + at))
    }

    fn end_writeback(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        sys.must(ctx, sys.folio(page), Event::EndWriteback, 0, Change::flags(0, flag::WRITEBACK), 0)?;
        sys.wait.wake_all(WaitKey::Writeback(page));
        self.pc = Pc::Rotate(page);
        Ok(RAN)
    }

    fn redirty(&mut self, sys: &System, ctx: &mut Ctx, page: u32) -> StepResult {
        let change = Change::flags(flag::DIRTY, flag::WRITEBACK | flag::RECLAIM);
        sys.must(ctx, sys.folio(page), Event::Redirty, 0, change, 0)?;
        sys.wait.wake_all(WaitKey::Writeback(page));
        self.pc = Pc::Arrive(page);
        Ok(RAN)
    }

    /// Whether the next step is a write.
    pub fn writes_next(&self) -> bool {
        matches!(self.pc, Pc::Write { .. })
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        match &mut self.pc {
            Pc::Write { page, .. } | Pc::End { page, .. } | Pc::Rotate(page) | Pc::Arrive(page) => f(page),
            Pc::Next | Pc::Sleep | Pc::Done => {}
        }
    }
}

/// Keeps a device failure for the driver and the trace.
fn note(ctx: &mut Ctx, error: DeviceError, slot: u32) {
    ctx.log.system(actor::DEVICE, events::IO_ERROR, u64::from(slot));
    ctx.errors.push(error.into());
}
