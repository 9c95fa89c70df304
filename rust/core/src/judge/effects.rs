//! What an event does to the flags, where the table alone could not tell two events apart.
//!
//! Six events leave a page's contents where they are; in one state they are edges from it to itself, and a record of
//! one could pass for another. The flags tell: a page is isolated by clearing `PG_lru`, and so on (mm/vmscan.c, mm/swap.c
//! of Linux 6.12; names only). Over `lru`, `active`, `mapped` and `reclaim` no two of them agree, which a test checks.

use crate::lifecycle::{Event, flag};

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
}

impl Effect {
    /// Demands nothing.
    pub const ANY: Self = Self { before_set: 0, before_clear: 0, after_set: 0, after_clear: 0, same: 0 };

    /// Sets `flag`, which was clear, and leaves `same` alone.
    const fn sets(flag: u16, same: u16) -> Self {
        Self { before_clear: flag, after_set: flag, same, ..Self::ANY }
    }

    /// Clears `flag`, which was set, and leaves `same` alone.
    const fn clears(flag: u16, same: u16) -> Self {
        Self { before_set: flag, after_clear: flag, same, ..Self::ANY }
    }

    /// Whether flags may change from `before` to `after`.
    #[inline(always)]
    pub const fn holds(&self, before: u16, after: u16) -> bool {
        let wrong = (self.before_set & !before) | (self.before_clear & before);
        let left = (self.after_set & !after) | (self.after_clear & after);
        wrong | left | ((before ^ after) & self.same) == 0
    }
}

/// To the inactive tail: PG_reclaim goes, and PG_active with it.
const ROTATE: Effect = Effect {
    before_set: flag::LRU | flag::RECLAIM,
    after_clear: flag::RECLAIM | flag::ACTIVE,
    same: flag::LRU | flag::MAPPED,
    ..Effect::ANY
};

/// The events with an effect that the judge demands.
pub const EFFECTS: [(Event, Effect); 6] = [
    (Event::Isolate, Effect::clears(flag::LRU, flag::ACTIVE | flag::MAPPED)),
    (Event::Putback, Effect::sets(flag::LRU, flag::ACTIVE | flag::MAPPED)),
    (Event::Rotate, ROTATE),
    (Event::Activate, Effect::sets(flag::ACTIVE, flag::MAPPED)),
    (Event::Deactivate, Effect::clears(flag::ACTIVE, flag::MAPPED | flag::RECLAIM)),
    (Event::SwapcacheHit, Effect::sets(flag::MAPPED, flag::LRU | flag::ACTIVE)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::generated::ROWS;

    /// The judge's promise that any altered event shows: no record of one event is also a lawful record of another.
    #[test]
    fn no_event_can_pass_for_another() {
        let effect = |event: u8| EFFECTS.iter().find(|(e, _)| *e as u8 == event).map_or(Effect::ANY, |(_, e)| *e);
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
