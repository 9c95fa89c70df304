//! The life of a page: states, events, the compiled table, and the one way to change a state word.
//!
//! The definition is Python's (`python/kcompressd/lifecycle.py`); [`generated`] holds its names and default table, and
//! a system may be built with another table of the same names. A state word is one `u64`: state, flags, sequence number;
//! [`StateWord::fire`] changes all of it in one compare-and-swap, and nothing else changes it. A step reads the guards
//! that lie outside the word once and passes them in; `mapped` is in the word and is read in the same swap.

pub mod actor;
pub mod effect;
pub mod generated;
pub mod table;

use crate::sync::{AtomicU64, Ordering};
pub use actor::{actor_name, actors_named};
pub use effect::Effect;
pub use generated::{Event, State, flag, guard};
pub use table::{Row, Table, TableError};

/// A value of the state word: bits 0..8 state, 8..24 flags, 32..64 sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u64);

const FLAGS_SHIFT: u32 = 8;
const SEQ_SHIFT: u32 = 32;

impl Word {
    /// A word with these parts.
    pub const fn new(state: State, flags: u16, seq: u32) -> Self {
        Self(state as u64 | (flags as u64) << FLAGS_SHIFT | (seq as u64) << SEQ_SHIFT)
    }

    /// The state.
    #[inline]
    pub fn state(self) -> State {
        State::from_id(self.state_id())
    }

    /// The state's number.
    #[inline]
    pub const fn state_id(self) -> u8 {
        self.0 as u8
    }

    /// The flags ([`flag`]).
    #[inline]
    pub const fn flags(self) -> u16 {
        (self.0 >> FLAGS_SHIFT) as u16
    }

    /// Events fired so far.
    #[inline]
    pub const fn seq(self) -> u32 {
        (self.0 >> SEQ_SHIFT) as u32
    }

    /// Whether every flag of `mask` is set.
    #[inline]
    pub const fn has(self, mask: u16) -> bool {
        self.flags() & mask == mask
    }
}

/// Flags that an event sets and clears, and those that must hold for it to be tried at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Set with the event.
    pub set: u16,
    /// Cleared with the event.
    pub clear: u16,
    /// Flags that must be clear beforehand (a trylock asks for [`flag::LOCKED`]).
    pub unless: u16,
    /// Flags that must be set beforehand.
    pub only: u16,
    /// The state it must be in beforehand; any that has the edge if `None`.
    pub state: Option<State>,
}

impl Change {
    /// Changes no flag.
    pub const NONE: Self = Self { set: 0, clear: 0, unless: 0, only: 0, state: None };

    /// Sets `set` and clears `clear`.
    pub const fn flags(set: u16, clear: u16) -> Self {
        Self { set, clear, ..Self::NONE }
    }

    /// The same, tried only while every flag of `unless` is clear.
    pub const fn unless(self, unless: u16) -> Self {
        Self { unless, ..self }
    }

    /// The same, tried only while every flag of `only` is set.
    pub const fn only(self, only: u16) -> Self {
        Self { only, ..self }
    }

    /// The same, tried only while the page is in `state`: for an actor that another may have outrun.
    pub const fn in_state(self, state: State) -> Self {
        Self { state: Some(state), ..self }
    }

    #[inline(always)]
    fn admits(&self, now: Word) -> bool {
        now.flags() & self.unless == 0 && now.has(self.only) && self.state.is_none_or(|s| s as u8 == now.state_id())
    }
}

/// What became of an event.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fire {
    /// It happened.
    Done(Fired),
    /// The page was not as [`Change`] wants it (flags, state); nothing happened.
    Refused(Word),
}

/// An event that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The word before.
    pub from: Word,
    /// The word after.
    pub to: Word,
    /// The guard bits that its row read.
    pub guards: u8,
}

/// An event that the law does not permit. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("page {page}: {} in state {} by {}: {}", .event.name(), .state.name(), actor_name(*.actor), .reason)]
pub struct ProtocolViolation {
    /// The page (folio index).
    pub page: u32,
    /// The state it is in.
    pub state: State,
    /// The event that was tried.
    pub event: Event,
    /// The actor that tried it.
    pub actor: u16,
    /// What the law says.
    pub reason: Breach,
}

/// Which part of the law an event would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The table has no such edge.
    #[error("the lifecycle has no such transition under guards {0:#04x}")]
    NoEdge(u8),
    /// The state it leads to does not permit the flags.
    #[error("state {} does not permit flags {}", .0.name(), .1)]
    Flags(State, FlagSet),
}

/// Flags, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagSet(pub u16);

impl std::fmt::Display for FlagSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = flag::NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| *name);
        f.write_str(&held.collect::<Vec<_>>().join("|"))
    }
}

/// The state word of one page.
#[derive(Debug)]
pub struct StateWord(AtomicU64);

impl StateWord {
    /// A page in `state` with `flags`, no event yet.
    pub fn new(state: State, flags: u16) -> Self {
        Self(AtomicU64::new(Word::new(state, flags, 0).0))
    }

    /// The word now.
    #[inline]
    pub fn load(&self) -> Word {
        // ORDERING: Acquire pairs with the swap in `fire`: who sees a state sees what its actor did before it.
        Word(self.0.load(Ordering::Acquire))
    }

    /// State and flags, for a snapshot: the sequence number only records the past.
    pub fn parts(&self) -> u32 {
        self.load().0 as u32
    }

    /// Takes back what [`StateWord::parts`] gave; the sequence number goes on.
    pub fn set_parts(&self, parts: u32) {
        let word = u64::from(self.load().seq()) << SEQ_SHIFT | u64::from(parts);
        // ORDERING: Relaxed: a restoring driver is alone.
        self.0.store(word, Ordering::Relaxed);
    }

    /// The processor's accessed bit: sets YOUNG if the page is mapped (false if not). No event: nobody is told.
    #[inline]
    pub fn touch(&self) -> bool {
        let mut now = self.load();
        while now.has(flag::MAPPED) && !now.has(flag::YOUNG) {
            let next = now.0 | u64::from(flag::YOUNG) << FLAGS_SHIFT;
            // ORDERING: AcqRel/Acquire: as in `fire`, with whose swaps this one is in line.
            match self.0.compare_exchange_weak(now.0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(seen) => now = Word(seen),
            }
        }
        now.has(flag::MAPPED)
    }

    /// Clears `bits` of the flags that no event is about: YOUNG, REFERENCED. Whether one of them was set.
    #[inline]
    pub fn test_and_clear(&self, bits: u16) -> bool {
        debug_assert_eq!(bits & !(flag::YOUNG | flag::REFERENCED), 0, "other flags change by events");
        let mut now = self.load();
        while now.flags() & bits != 0 {
            let next = Word::new(now.state(), now.flags() & !bits, now.seq());
            // ORDERING: AcqRel/Acquire: as in `fire`.
            match self.0.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(seen) => now = Word(seen),
            }
        }
        false
    }

    /// `folio_check_references` of a mapped page: clears YOUNG and moves it to REFERENCED, which is cleared where YOUNG was
    /// not set. No event. Returns the word before.
    #[inline]
    pub fn check_references(&self) -> Word {
        let mut now = self.load();
        loop {
            let young = now.has(flag::YOUNG);
            let flags = now.flags() & !(flag::YOUNG | flag::REFERENCED) | if young { flag::REFERENCED } else { 0 };
            if flags == now.flags() {
                return now;
            }
            let next = Word::new(now.state(), flags, now.seq());
            // ORDERING: AcqRel/Acquire: as in `fire`.
            match self.0.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return now,
                Err(seen) => now = Word(seen),
            }
        }
    }

    /// Fires `event` under `guards` (the bits outside the word) with the flags of `change`, in one swap.
    ///
    /// # Errors
    /// `(word, breach)` when the law has no such edge or the new state does not permit the flags; nothing changed.
    ///
    /// Always inlined: with the event and the change known, half of it is gone.
    #[inline(always)]
    pub fn fire(&self, table: &Table, event: Event, guards: u8, change: Change) -> Result<Fire, (Word, Breach)> {
        let mut now = self.load();
        loop {
            if !change.admits(now) {
                return Ok(Fire::Refused(now));
            }
            let held = if now.has(flag::MAPPED) { guards | guard::MAPPED } else { guards & !guard::MAPPED };
            let Some((to, read)) = table.next(event, now.state(), held) else {
                return Err((now, Breach::NoEdge(held)));
            };
            let flags = now.flags() & !change.clear | change.set;
            if !table.permits(to, flags) {
                return Err((now, Breach::Flags(to, FlagSet(flags))));
            }
            let next = Word::new(to, flags, now.seq().wrapping_add(1));
            // ORDERING: AcqRel: Release publishes what this actor did to the page, Acquire (also on failure) takes what
            // the last actor did; pairs with itself and with `load`.
            match self.0.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Fire::Done(Fired { from: now, to: next, guards: read })),
                Err(seen) => now = Word(seen),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESIDENT: u16 = flag::FRAME | flag::LRU | flag::MAPPED | flag::DIRTY;

    #[test]
    fn an_edge_changes_state_flags_and_sequence_at_once() {
        let word = StateWord::new(State::Resident, RESIDENT);
        let fire = word.fire(&Table::default(), Event::Isolate, 0, Change::flags(0, flag::LRU)).unwrap();
        let Fire::Done(fired) = fire else { panic!("{fire:?}") };
        assert_eq!((fired.to.state(), fired.to.seq()), (State::Isolated, 1));
        assert!(!word.load().has(flag::LRU));
    }

    #[test]
    fn a_missing_edge_and_a_forbidden_flag_change_nothing() {
        let word = StateWord::new(State::Resident, RESIDENT);
        let before = word.load();
        let table = Table::default();
        assert_eq!(word.fire(&table, Event::Queue, 0, Change::NONE), Err((before, Breach::NoEdge(guard::MAPPED))));
        let kept_lru = word.fire(&table, Event::Isolate, 0, Change::NONE);
        assert!(matches!(kept_lru, Err((_, Breach::Flags(State::Isolated, _)))), "{kept_lru:?}");
        assert_eq!(word.load(), before);
    }

    #[test]
    fn a_held_flag_refuses_without_a_violation() {
        let word = StateWord::new(State::Compressed, flag::FRAME | flag::SWAPCACHE | flag::LRU | flag::LOCKED);
        let fire = word.fire(&Table::default(), Event::Isolate, 0, Change::flags(0, flag::LRU).unless(flag::LOCKED));
        assert_eq!(fire, Ok(Fire::Refused(word.load())));
    }

    #[test]
    fn a_touch_and_two_looks_change_young_and_referenced_alone() {
        let word = StateWord::new(State::Resident, RESIDENT);
        assert!(word.touch() && word.load().has(flag::YOUNG));
        assert!(word.check_references().has(flag::YOUNG), "the first look");
        assert_eq!(word.load().flags(), RESIDENT | flag::REFERENCED);
        assert!(word.check_references().has(flag::REFERENCED), "the second");
        assert_eq!((word.load().flags(), word.load().seq()), (RESIDENT, 0));
        assert!(!StateWord::new(State::Freed, 0).touch());
    }

    #[test]
    fn a_bit_is_tested_and_cleared_once_and_alone() {
        let word = StateWord::new(State::Resident, RESIDENT | flag::REFERENCED);
        assert!(!word.test_and_clear(flag::YOUNG), "not set");
        assert_eq!(word.load().flags(), RESIDENT | flag::REFERENCED);
        assert!(word.touch() && word.test_and_clear(flag::YOUNG) && !word.test_and_clear(flag::YOUNG));
        assert_eq!(word.load().flags(), RESIDENT | flag::REFERENCED);
        assert!(word.test_and_clear(flag::YOUNG | flag::REFERENCED), "either of two");
        assert_eq!((word.load().flags(), word.load().seq()), (RESIDENT, 0));
    }

    #[test]
    fn a_saved_word_comes_back_and_the_sequence_goes_on() {
        let word = StateWord::new(State::Resident, RESIDENT);
        let (before, parts) = (word.load(), word.parts());
        let _ = word.fire(&Table::default(), Event::Isolate, 0, Change::flags(0, flag::LRU)).unwrap();
        word.set_parts(parts);
        let back = word.load();
        assert_eq!((back.state(), back.flags(), back.seq()), (before.state(), before.flags(), 1));
    }

    #[test]
    fn flags_and_actors_have_the_names_of_the_definition() {
        assert_eq!(FlagSet(flag::LOCKED | flag::MAPPED).to_string(), "locked|mapped");
        assert_eq!(FlagSet(0).to_string(), "");
        let ids = [actor::KSWAPD, actor::KCOMPRESSD + 3, actor::APP, actor::DEVICE, actor::SHRINK];
        let names = ["kswapd0", "kcompressd3", "app0", "swapdev0", "shrink_worker0"];
        assert_eq!(ids.map(actor_name), names);
        assert_eq!([actor::SCRIPT, actor::ADMIN + 1, 9].map(actor_name), ["script", "admin1", "actor9"]);
        for (id, name) in ids.into_iter().zip(names) {
            assert_eq!(actors_named(name), Some((id, 0xffff)));
            let kind = name.trim_end_matches(|last: char| last.is_ascii_digit());
            assert_eq!(actors_named(kind), Some((id & 0xff00, 0xff00)));
        }
        assert!(["kswapd256", "kswapdx", "nobody", "script"].iter().all(|name| actors_named(name).is_none()));
    }

    #[test]
    fn a_violation_names_page_event_state_and_actor() {
        let reason = Breach::NoEdge(0);
        let violation = ProtocolViolation {
            page: 7,
            state: State::Resident,
            event: Event::Compress,
            actor: actor::KCOMPRESSD + 1,
            reason,
        };
        let text =
            "page 7: compress in state resident by kcompressd1: the lifecycle has no such transition under guards 0x00";
        assert_eq!(violation.to_string(), text);
    }
}
