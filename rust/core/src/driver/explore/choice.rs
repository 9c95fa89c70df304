//! What may happen next in a state: a seat steps, or its step fails.

use crate::driver::{Crew, Status};
use crate::system::{StepError, System};

/// One choice: a seat, and whether its step is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice(u16);

const FAILS: u16 = 1 << 15;

impl Choice {
    /// Seat `seat` steps.
    pub fn step(seat: usize) -> Self {
        Self(u16::try_from(seat).expect("fewer than 32768 seats"))
    }

    /// Its step fails, at what [`crate::reclaim::Actor::fault_point`] says.
    #[must_use]
    pub fn failing(self) -> Self {
        Self(self.0 | FAILS)
    }

    /// The seat.
    #[inline]
    pub fn seat(self) -> usize {
        usize::from(self.0 & !FAILS)
    }

    /// Whether its step fails.
    pub fn fails(self) -> bool {
        self.0 & FAILS != 0
    }
}

/// A schedule file's form: the seat's number, with `!` where its step fails.
impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.seat(), if self.fails() { "!" } else { "" })
    }
}

impl std::str::FromStr for Choice {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seat, fails) = text.strip_suffix('!').map_or((text, false), |seat| (seat, true));
        let step = Self(seat.parse::<u8>()?.into());
        Ok(if fails { step.failing() } else { step })
    }
}

/// Writes every choice that the state has into `out`.
///
/// With `reduce`, where a seat's next step is private, that step alone: whatever the others do before it they can do after
/// it, with the same result, and no property can see it. A private step leads to one that is not, so no cycle consists
/// of private steps, and none is put off for ever. (A persistent set of one transition, with the cycle condition: it
/// preserves deadlocks and every branching property that does not count steps.) [`take`] goes further by the same reasons:
/// it takes private steps at once, so that the states before them are never met.
pub fn choices(sys: &System, crew: &Crew, reduce: bool, out: &mut Vec<Choice>) {
    out.clear();
    let faults = crew.faults_left > 0;
    if reduce && let Some(seat) = crew.runnable(sys).find(|&i| is_private(crew, i, faults)) {
        return out.push(Choice::step(seat));
    }
    for seat in crew.runnable(sys) {
        out.push(Choice::step(seat));
        if faults && crew.seats[seat].actor.fault_point().is_some() {
            out.push(Choice::step(seat).failing());
        }
    }
}

/// Takes a choice; with `reduce` also the private steps that follow it in the same seat. Calls `taken` on each choice that
/// it takes.
///
/// # Errors
/// [`StepError`].
pub fn take(
    sys: &System,
    crew: &mut Crew,
    choice: Choice,
    reduce: bool,
    mut taken: impl FnMut(Choice),
) -> Result<(), StepError> {
    taken(choice);
    let _ = crew.choose(sys, choice)?;
    let seat = choice.seat();
    while reduce && crew.seats[seat].status == Status::Ready && is_private(crew, seat, crew.faults_left > 0) {
        taken(Choice::step(seat));
        let _ = crew.step(sys, seat)?;
    }
    Ok(())
}

/// A step that may fail uses up what others' steps may fail by: then it is not private.
fn is_private(crew: &Crew, seat: usize, faults: bool) -> bool {
    let actor = &crew.seats[seat].actor;
    actor.is_private() && !(faults && actor.fault_point().is_some())
}
