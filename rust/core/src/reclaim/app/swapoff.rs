//! `try_to_unuse`: every page that has a slot is brought in, mapped and parted from it, so that the swap device can go.
//!
//! A folio that waits in a queue is in the swap cache and locked or under writeback: it is waited for, as
//! `folio_lock()` and `folio_wait_writeback()` do. No slot is handed out meanwhile, so one look at each page is enough
//! where steps are atomic; on threads an allocation may be under way, for which the kernel goes round again.
//! Source: swapoff(2).

use super::{App, LOOK_AGAIN_NS, Pc};
use crate::lifecycle::{State, Word, flag};
use crate::reclaim::RAN;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::NIL;
use crate::wait::WaitKey;
use crate::workload::{Access, Program};

impl App {
    pub(super) fn unuse(&mut self, sys: &System, ctx: &mut Ctx, page: u32, word: Word) -> StepResult {
        sys.slots.set_off(true);
        if sys.folio(page).slot() == NIL {
            self.pc = Pc::Next;
            return Ok(RAN);
        }
        if word.has(flag::WRITEBACK) {
            let done = || !sys.folio(page).word.load().has(flag::WRITEBACK);
            // At the device; or in a queue or a worker's hands, which wakes whoever waits for the folio.
            let key = match word.state() {
                State::WritingBack => WaitKey::Writeback(page),
                _ => WaitKey::Folio(page),
            };
            return Ok(Outcome::wait_unless(&sys.wait, key, done));
        }
        let in_hand = word.has(flag::MAPPED) && word.state() != State::ResidentSwapcache;
        match in_hand || word.state() == State::Freed {
            true => Ok(Outcome::Sleep(LOOK_AGAIN_NS)), // A scan has it, or its owner gives it up: a moment.
            false => self.touch(sys, ctx, page, Access::Write, word),
        }
    }

    /// Whether the access under way is swapoff's: what is read then gives its slot up before anybody else has the folio.
    pub(super) fn unuses(&self) -> bool {
        self.program.current().is_some_and(|touch| touch.access == Access::Unuse)
    }

    /// A page cannot be read: swapoff fails with EIO, and the device is used again.
    pub(super) fn unuse_failed(&mut self, sys: &System) {
        if self.unuses() {
            sys.slots.set_off(false);
            self.program = Program::each(Access::Unuse, [].into());
        }
    }
}
