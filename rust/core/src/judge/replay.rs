//! Replays the event log of any compiled machine: many models, each in a state, every event an edge.
//!
//! This is the judge without our lifecycle: no flags, no queues, no sequence numbers. A record is 8 bytes: model u4,
//! event u1, guards u1 (all of them as they were), and the state that the log says it led to, u2 ([`UNSAID`]: it does not).

use crate::lifecycle::Row;

/// A record that does not say where its event led.
pub const UNSAID: u16 = u16::MAX;
/// No such edge.
const NONE: u16 = u16::MAX;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There are fewer models than that.
    Model,
    /// The machine has no such event.
    Event,
    /// The machine has no transition for it from this state under these guards.
    Edge,
    /// The transition leads to another state than the log says.
    To(u8),
}

/// The first record that the machine does not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the log, from 0.
    pub index: u64,
    /// The model.
    pub model: u32,
    /// The state it was in.
    pub state: u8,
    /// The event.
    pub event: u8,
    /// The guards.
    pub guards: u8,
    /// What is wrong.
    pub wrong: Wrong,
}

/// Replays records; see the module.
#[derive(Debug)]
pub struct Replay {
    next: Box<[u16]>,
    states: usize,
    events: usize,
    guards: u32,
    initial: u8,
    models: usize,
    at: Vec<u8>,
    records: u64,
    violations: u64,
    first: Option<Refusal>,
}

impl Replay {
    /// A replay of `rows` over a machine of so many states, events and guards, and at most `models` models, every one
    /// beginning at `initial`. Memory is taken up to the highest of them that a record names, a byte each.
    ///
    /// Rows of one cell are disjoint (their maker has proved it) and of ids that exist.
    pub fn new(rows: &[Row], states: usize, events: usize, guards: u32, initial: u8, models: usize) -> Self {
        let mut next = vec![NONE; (states * events) << guards].into_boxed_slice();
        for row in rows {
            let cell = (usize::from(row.event) * states + usize::from(row.from)) << guards;
            for held in (0..1usize << guards).filter(|&held| held as u8 & row.require_mask == row.require_value) {
                next[cell + held] = row.to.into();
            }
        }
        Self { next, states, events, guards, initial, models, at: Vec::new(), records: 0, violations: 0, first: None }
    }

    /// Replays the next records. A model that takes a wrong step is believed to be where the log says, else where it was.
    pub fn feed(&mut self, records: &[[u8; 8]]) {
        for (i, bytes) in records.iter().enumerate() {
            let model = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let (event, guards, said) = (bytes[4], bytes[5], u16::from_le_bytes([bytes[6], bytes[7]]));
            let index = self.records + i as u64;
            if model as usize >= self.at.len() {
                if model as usize >= self.models {
                    self.refuse(Refusal { index, model, state: self.initial, event, guards, wrong: Wrong::Model });
                    continue;
                }
                self.at.resize(model as usize + 1, self.initial);
            }
            let state = self.at[model as usize];
            match self.step(state, event, guards, said) {
                Ok(to) => self.at[model as usize] = to,
                Err(wrong) => {
                    if usize::from(said) < self.states {
                        self.at[model as usize] = said as u8;
                    }
                    self.refuse(Refusal { index, model, state, event, guards, wrong });
                }
            }
        }
        self.records += records.len() as u64;
    }

    #[cold]
    fn refuse(&mut self, refusal: Refusal) {
        self.violations += 1;
        self.first.get_or_insert(refusal);
    }

    #[inline(always)]
    fn step(&self, state: u8, event: u8, guards: u8, said: u16) -> Result<u8, Wrong> {
        if usize::from(event) >= self.events {
            return Err(Wrong::Event);
        }
        let held = usize::from(guards) & ((1 << self.guards) - 1);
        let cell = (usize::from(event) * self.states + usize::from(state)) << self.guards;
        match self.next[cell + held] {
            NONE => Err(Wrong::Edge),
            to if said != UNSAID && said != to => Err(Wrong::To(to as u8)),
            to => Ok(to as u8),
        }
    }

    /// Records so far, how many of them were wrong, and the first of those.
    pub fn verdict(&self) -> (u64, u64, Option<Refusal>) {
        (self.records, self.violations, self.first)
    }

    /// The state of each model so far, by number.
    pub fn states(&self) -> &[u8] {
        &self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(model: u32, event: u8, guards: u8, said: u16) -> [u8; 8] {
        let mut out = [0; 8];
        out[..4].copy_from_slice(&model.to_le_bytes());
        (out[4], out[5]) = (event, guards);
        out[6..].copy_from_slice(&said.to_le_bytes());
        out
    }

    /// melt: solid to liquid while hot, solid to gas while very hot; freeze: liquid to solid.
    const ROWS: [Row; 3] = [
        Row { event: 0, from: 0, require_mask: 3, require_value: 1, to: 1 },
        Row { event: 0, from: 0, require_mask: 3, require_value: 3, to: 2 },
        Row { event: 1, from: 1, require_mask: 0, require_value: 0, to: 0 },
    ];

    #[test]
    fn every_wrong_kind_is_named_and_the_rest_goes_on() {
        let mut replay = Replay::new(&ROWS, 3, 2, 2, 0, 2);
        let good = [record(0, 0, 1, UNSAID), record(1, 0, 3, 2), record(0, 1, 0, 0)];
        replay.feed(&good);
        assert_eq!((replay.verdict(), replay.states()), ((3, 0, None), &[0, 2][..]));
        replay.feed(&[record(0, 0, 2, UNSAID), record(0, 9, 0, UNSAID), record(0, 0, 1, 2)]);
        let first = Refusal { index: 3, model: 0, state: 0, event: 0, guards: 2, wrong: Wrong::Edge };
        assert_eq!((replay.verdict(), replay.states()), ((6, 3, Some(first)), &[2, 2][..]));
    }

    #[test]
    fn a_model_beyond_the_last_takes_no_memory() {
        let mut replay = Replay::new(&ROWS, 3, 2, 2, 0, 2);
        replay.feed(&[record(u32::MAX, 0, 1, UNSAID), record(1, 0, 1, UNSAID)]);
        let first = Refusal { index: 0, model: u32::MAX, state: 0, event: 0, guards: 1, wrong: Wrong::Model };
        assert_eq!((replay.verdict(), replay.states()), ((2, 1, Some(first)), &[0, 1][..]));
    }
}
