//! System events: who may write which, and what must surround them.

use super::{Judge, Reason};
use crate::lifecycle::actor;
use crate::trace::{Record, system as events};

impl Judge {
    pub(super) fn judge_system(&mut self, r: &Record) -> Result<(), Reason> {
        let clock = usize::from(r.actor) & (self.clock.len() - 1);
        let bare = (r.seq, r.flags, r.from, r.to, r.guards) == (0, 0, 0, 0, 0);
        let by_device = actor::kind(r.actor) == actor::DEVICE;
        let known = usize::from(r.event.wrapping_sub(0x80)) < events::NAMES.len();
        if !bare || !known || by_device != (r.event == events::IO_ERROR) {
            return Err(Reason::System);
        }
        if r.t_ns < self.clock[clock] {
            return Err(Reason::Time { before: self.clock[clock] });
        }
        self.clock[clock] = r.t_ns;
        self.by_event[usize::from(r.event)] += 1;
        let (of, value) = ((r.aux >> 32) as u32, r.aux as u32);
        let noted = r.event == events::POOL || self.noted && by_device;
        let noted_before = std::mem::replace(&mut self.noted, noted);
        match r.event {
            events::WRITEBACK_KNOB => self.turn_knob(of, value),
            events::RESIZE => self.queues.resize(of, value),
            events::IO_ERROR if of != 0 || self.io_error => Err(Reason::System),
            events::IO_ERROR => {
                self.io_error = true;
                Ok(())
            }
            events::PHASE if r.aux > 2 || r.aux < self.phase || r.aux > 0 && !noted_before => Err(Reason::System),
            events::PHASE => {
                self.phase = r.aux + 1;
                Ok(())
            }
            events::POOL if self.config.pool && r.aux != self.pool_bytes => {
                Err(Reason::Pool { said: r.aux, live: self.pool_bytes })
            }
            _ => Ok(()),
        }
    }

    fn turn_knob(&mut self, memcg: u32, value: u32) -> Result<(), Reason> {
        if value > 1 {
            return Err(Reason::System);
        }
        let Some(memcgs) = &mut self.config.memcgs else { return Ok(()) };
        let knob = memcgs.writeback.get_mut(memcg as usize).ok_or(Reason::System)?;
        *knob = value == 1;
        Ok(())
    }
}
