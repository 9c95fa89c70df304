//! What an event does beyond its edges: how the flags change, and where the copy in swap is afterwards.
//!
//! Six events leave a page's contents where they are; in one state they are edges from it to itself, and a record of
//! one could pass for another. The flags tell: a page is isolated by clearing `PG_lru`, and so on (mm/vmscan.c, mm/swap.c
//! of Linux 6.12; names only). No two of them agree, which a test checks. The effects are data of the definition
//! ([`EFFECTS`]); the steps of the core know nothing of them, so that the judge holds them to it.

use super::generated::{EFFECTS, Event, STATE_COPIES, STATE_HELD, STATE_RESTS, State};

/// "The copy stays where it is": a value beside the guard bits.
pub const KEPT: u8 = u8::MAX;

/// What must hold of the flags before and after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Flags set before.
    pub before_set: u16,
    /// Flags clear before.
    pub before_clear: u16,
    /// Flags set after.
    pub after_set: u16,
    /// Flags clear after.
    pub after_clear: u16,
    /// Flags that the event leaves as they were.
    pub same: u16,
    /// Where the copy is afterwards (a guard bit, 0, [`KEPT`]), where the new state does not say it.
    pub copy: Option<u8>,
}

impl Effect {
    /// Demands nothing.
    pub const ANY: Self = Self { before_set: 0, before_clear: 0, after_set: 0, after_clear: 0, same: 0, copy: None };

    /// The effect of `event`.
    pub fn of(event: Event) -> Self {
        EFFECTS.iter().find(|(e, _)| *e == event).map_or(Self::ANY, |(_, effect)| *effect)
    }

    /// Whether flags may change from `before` to `after`.
    #[inline(always)]
    pub const fn holds(&self, before: u16, after: u16) -> bool {
        let wrong = (self.before_set & !before) | (self.before_clear & before);
        let left = (self.after_set & !after) | (self.after_clear & after);
        wrong | left | ((before ^ after) & self.same) == 0
    }
}

/// Where the copy is once `event` has led to `to`: guard bits (0: on the device, or nowhere), or [`KEPT`].
pub fn copy_after(event: Event, to: State) -> u8 {
    Effect::of(event).copy.unwrap_or(STATE_COPIES[to as usize])
}

impl State {
    /// Whether a run that is over may leave a page here.
    #[inline]
    pub const fn rests(self) -> bool {
        STATE_RESTS[self as usize]
    }

    /// Whether one actor has a page that is here: the one that brought it, and only that one takes it on.
    #[inline]
    pub const fn is_held(self) -> bool {
        STATE_HELD[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::generated::{ROWS, flag};

    /// The judge's promise that any altered event shows: no record of one event is also a lawful record of another.
    #[test]
    fn no_event_can_pass_for_another() {
        let effect = |event: u8| Effect::of(Event::from_id(event));
        for a in &ROWS {
            for b in ROWS.iter().filter(|b| b.event > a.event) {
                if (a.from, a.to, a.require_value) != (b.from, b.to, b.require_value) {
                    continue;
                }
                let watched = [flag::LRU, flag::ACTIVE, flag::MAPPED, flag::RECLAIM];
                let word = |bits: u16| (0..4).filter(|i| bits >> i & 1 == 1).map(|i| watched[i]).sum::<u16>();
                let both = (0..256).map(|bits| (word(bits & 15), word(bits >> 4))).find(|&(before, after)| {
                    effect(a.event).holds(before, after) && effect(b.event).holds(before, after)
                });
                assert_eq!(both, None, "{a:?} and {b:?}");
            }
        }
    }
}
