//! Running one actor alone until an event has come or it rests.

use super::{Refused, Stepper};
use crate::driver::Status;
use crate::lifecycle::{Event, State, actor};
use crate::reclaim::Actor;
use crate::system::{Outcome, StepError, System, Waiting};
use crate::trace::Record;

/// Why an actor stopped.
enum Stop {
    Fired,
    Rests,
    Waits(Waiting),
}

impl Stepper {
    /// As [`Self::run`], for an actor that reads a copy back.
    pub(super) fn run_reading(&mut self, i: usize, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        let known = self.errors.len();
        let ran = self.run(i, page, wanted);
        match self.errors.get(known) {
            Some(error) if wanted.is_none() => {
                let (error, device) = (error.to_string(), matches!(error, StepError::Device(_)));
                Err(Refused::Unread { page, state: self.word(page)?.state(), error, device })
            }
            _ => ran,
        }
    }

    /// Runs actor `i` for `page` and says what came of it.
    pub(super) fn run(&mut self, i: usize, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        let from = self.records.len();
        let stop = self.steps_until(i, page, wanted);
        self.note_pool();
        let stop = stop?;
        self.sys.ring(); // kswapd may have stopped before the end of its cluster.
        let (state, id) = (self.word(page)?.state(), self.hands[i].seat.ctx.actor);
        if let Stop::Waits(Waiting { key, ticket, .. }) = stop
            && self.hands[i].page.is_some()
        {
            if id == actor::APP {
                self.sys.wait.cancel(key, ticket);
                self.hands[i].page = None;
            }
            return Err(Refused::Waits { page, state, actor: id, key });
        }
        match (stop, wanted) {
            (Stop::Fired, _) | (_, None) => Ok(state),
            (_, Some(event)) => {
                let came = self.records[from..].iter().filter(|record| record.folio == page);
                let fired = came.map(|record| Event::from_id(record.event)).collect();
                Err(Refused::Otherwise { page, state, event, fired })
            }
        }
    }

    fn steps_until(&mut self, i: usize, page: u32, wanted: Option<Event>) -> Result<Stop, StepError> {
        let mut fired = false;
        while !self.rests(i, page) {
            if let Status::Waiting(wait) = self.hands[i].seat.status
                && !self.hands[i].seat.is_runnable(&self.sys)
            {
                return Ok(Stop::Waits(wait));
            }
            let from = self.records.len();
            self.step(i)?;
            let hit = |record: &Record| record.folio == page && wanted.is_some_and(|e| e as u8 == record.event);
            fired |= self.records[from..].iter().any(hit);
            if fired && wanted.is_some_and(|event| self.stops_after(i, page, event)) {
                return Ok(Stop::Fired);
            }
        }
        Ok(if fired { Stop::Fired } else { Stop::Rests })
    }

    /// Whether actor `i` stops right after `event`. What it would do for the page without a further event, it does first:
    /// so that nobody has a page in hand whose part is over.
    fn stops_after(&self, i: usize, page: u32, event: Event) -> bool {
        use Event::{Free, LoadError, Putback, Reclaim, Redirty, Reject, Store, SwapcacheHit, Write};
        let seat = &self.hands[i].seat;
        match &seat.actor {
            Actor::Kcompressd(_) if matches!(event, Store | Reject | Redirty | Write) => {
                !self.queue_line(usize::from(seat.ctx.actor & 0xff)).contains(&page)
            }
            Actor::Kcompressd(_) => true,
            Actor::Device(_) => event != Redirty,
            _ => !matches!(event, Putback | Reclaim | SwapcacheHit | Free | LoadError),
        }
    }

    fn step(&mut self, i: usize) -> Result<(), StepError> {
        let hand = &mut self.hands[i];
        self.steps += 1;
        hand.seat.ctx.log.now_ns = self.steps;
        let outcome = hand.seat.step(&self.sys);
        self.records.append(&mut hand.seat.ctx.log.take());
        self.errors.append(&mut hand.seat.ctx.errors);
        if outcome.as_ref().is_ok_and(|outcome| *outcome == Outcome::Done) {
            hand.page = None;
        }
        self.violations += u64::from(outcome.is_err());
        outcome.map(drop).map_err(|error| *error)
    }

    /// Whether actor `i` has nothing left to do for `page`. kcompressd goes on to sleep when it can take nothing more:
    /// what it has finished is rotated and reported then.
    fn rests(&self, i: usize, page: u32) -> bool {
        let seat = &self.hands[i].seat;
        match &seat.actor {
            Actor::Kcompressd(_) => {
                let line = self.queue_line(usize::from(seat.ctx.actor & 0xff));
                !line.contains(&page) && (!line.is_empty() || !seat.is_runnable(&self.sys))
            }
            Actor::Device(_) => !self.device_line().contains(&page),
            _ => seat.status == Status::Done,
        }
    }

    /// Gives the actor `page`, unless it has it already.
    pub(super) fn give(&mut self, id: u16, page: u32, make: impl FnOnce(&System) -> Actor) -> Result<usize, Refused> {
        let i = self.hand(id);
        match self.hands[i].page {
            Some(same) if same == page => {}
            Some(other) => return Err(self.busy(page, id, other)),
            None => {
                let hand = &mut self.hands[i];
                (hand.seat.actor, hand.seat.status, hand.page) = (make(&self.sys), Status::Ready, Some(page));
            }
        }
        Ok(i)
    }
}
