//! Saving the state of a system and restoring it in place, for the explore driver and the step driver.
//!
//! A snapshot is a flat list of words in two parts. `state` decides what can happen next: two systems with
//! equal `state` behave alike, so its words are hashed to recognise a state met before. `counters` only
//! record what has happened (vmstat, sequence numbers) and are restored but never compared. Neither holds an
//! address: folios, slots and zspages are indices, so a snapshot restores into the same memory at any time.

/// The words of one saved system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Words that decide the future; hashed and compared.
    pub state: Vec<u64>,
    /// Words that record the past; restored only.
    pub counters: Vec<u64>,
}

impl Saved {
    /// Empties both parts and keeps their memory.
    pub fn clear(&mut self) {
        self.state.clear();
        self.counters.clear();
    }

    /// A reader at the start of both parts.
    pub fn reader(&self) -> Reader<'_> {
        Reader { state: &self.state, counters: &self.counters }
    }
}

/// Reads a [`Saved`] back in the order it was written.
#[derive(Debug)]
pub struct Reader<'a> {
    state: &'a [u64],
    counters: &'a [u64],
}

impl Reader<'_> {
    /// The next state word.
    ///
    /// # Panics
    /// If the snapshot is shorter than what is read: writer and reader of one type disagree.
    #[inline]
    pub fn state(&mut self) -> u64 {
        take(&mut self.state)
    }

    /// The next counter word.
    ///
    /// # Panics
    /// As [`Reader::state`].
    #[inline]
    pub fn counter(&mut self) -> u64 {
        take(&mut self.counters)
    }

    /// Whether every word has been read.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.counters.is_empty()
    }
}

#[inline]
fn take(words: &mut &[u64]) -> u64 {
    let (first, rest) = words.split_first().expect("snapshot written by the same type");
    *words = rest;
    *first
}

/// State that can be saved and restored in place.
///
/// `restore(save(x))` leaves `x` as it was, word for word (a property that every implementor tests). Both take
/// `&self`: the state lives behind atomics and locks, and the caller guarantees that no other thread runs.
pub trait Snapshot {
    /// Appends this value's words.
    fn save(&self, out: &mut Saved);
    /// Takes this value's words back from `from`.
    fn restore(&self, from: &mut Reader<'_>);
}
