//! Handle indices: a set that always hands out its lowest free member.
//!
//! Which index the next object gets then depends only on which are in use, never on the order in which the
//! others were given back: two pools with equal contents go on alike, so saved states compare equal.
//! A tree of 64-bit words: a set bit at level 0 is an index in use, above it a child word without room.

const WORD_BITS: usize = 64;

/// Indices in use.
///
/// `first` is the lowest word of level 0 with a clear bit, or the length of that level if there is none: most
/// calls look at that one word.
#[derive(Debug)]
pub(super) struct IndexSet {
    words: Vec<u64>,
    first: usize,
    /// Above level 0, lowest first: a set bit is a full word below. The last level is one word.
    upper: Vec<Vec<u64>>,
}

impl Default for IndexSet {
    fn default() -> Self {
        Self { words: Vec::new(), first: 0, upper: vec![vec![0]] }
    }
}

impl IndexSet {
    /// Takes the lowest free index.
    #[inline]
    pub fn take(&mut self) -> u32 {
        if self.first == self.words.len() {
            self.words.push(0);
        }
        let word = &mut self.words[self.first];
        let index = self.first * WORD_BITS + word.trailing_ones() as usize;
        *word |= *word + 1;
        if *word == u64::MAX {
            self.filled(self.first);
        }
        index as u32
    }

    /// Takes `index`, which must be free.
    pub fn insert(&mut self, index: u32) {
        debug_assert!(!self.contains(index));
        let word = index as usize / WORD_BITS;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index as usize % WORD_BITS);
        if self.words[word] == u64::MAX {
            self.filled(word);
        }
    }

    /// Gives `index`, which must be in use, back.
    #[inline]
    pub fn remove(&mut self, index: u32) {
        debug_assert!(self.contains(index));
        let at = index as usize / WORD_BITS;
        let was_full = self.words[at] == u64::MAX;
        self.words[at] &= !(1 << (index as usize % WORD_BITS));
        self.first = self.first.min(at);
        if was_full {
            self.has_room(at);
        }
    }

    /// Whether `index` is in use.
    pub fn contains(&self, index: u32) -> bool {
        let word = self.words.get(index as usize / WORD_BITS);
        word.is_some_and(|word| word >> (index as usize % WORD_BITS) & 1 == 1)
    }

    /// Forgets every index and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.first = 0;
        self.upper.truncate(1);
        self.upper[0].clear();
        self.upper[0].push(0);
    }

    /// How many indices are in use.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Word `at` of level 0 is full now: records it above and finds the next one with room.
    fn filled(&mut self, mut at: usize) {
        while at >> (6 * self.upper.len()) != 0 {
            let below = &self.upper[self.upper.len() - 1];
            self.upper.push(vec![u64::from(below[0] == u64::MAX)]);
        }
        for level in &mut self.upper {
            let word = at / WORD_BITS;
            if level.len() <= word {
                level.resize(word + 1, 0);
            }
            level[word] |= 1 << (at % WORD_BITS);
            if level[word] != u64::MAX {
                break;
            }
            at = word;
        }
        self.first = self.lowest_with_room();
    }

    /// Word `at` of level 0 is no longer full.
    fn has_room(&mut self, mut at: usize) {
        for level in &mut self.upper {
            let word = &mut level[at / WORD_BITS];
            let was_full = *word == u64::MAX;
            *word &= !(1 << (at % WORD_BITS));
            if !was_full {
                break;
            }
            at /= WORD_BITS;
        }
    }

    /// Follows the lowest clear bit down. A word that a level does not have yet has no full words below it.
    fn lowest_with_room(&self) -> usize {
        let down =
            |at: usize, level: &Vec<u64>| at * WORD_BITS + level.get(at).map_or(0, |w| w.trailing_ones() as usize);
        let top_is_full = self.upper[self.upper.len() - 1][0] == u64::MAX;
        if top_is_full { 1 << (6 * self.upper.len()) } else { self.upper.iter().rev().fold(0, down) }
    }
}

#[cfg(test)]
mod tests {
    use super::IndexSet;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Each level that is full gets one above it, and what is given back is found again from there.
    #[test]
    fn three_levels_fill_and_give_back() {
        let mut set = IndexSet::default();
        let full = 64 * 64 * 64;
        assert!((0..full + 65).all(|index| set.take() == index));
        for index in [full + 64, 4096, 100_000, 63] {
            set.remove(index);
        }
        let refilled = [set.take(), set.take(), set.take(), set.take(), set.take()];
        assert_eq!(refilled, [63, 4096, 100_000, full + 64, full + 65]);
        set.clear();
        assert_eq!(set.count(), 0);
        assert!((0..full + 65).all(|index| set.take() == index), "as one that was never used");
    }

    proptest! {
        /// Against a sorted set, across the boundaries of two levels.
        #[test]
        fn hands_out_the_lowest(frees in prop::collection::vec(0u32..9000, 0..200), far in 4096u32..400_000) {
            let (mut set, mut used) = (IndexSet::default(), BTreeSet::new());
            for expected in 0..4200 {
                prop_assert_eq!(set.take(), expected);
                used.insert(expected);
            }
            if used.insert(far) {
                set.insert(far);
            }
            for index in frees {
                if used.remove(&index) {
                    set.remove(index);
                } else {
                    let lowest = (0..).find(|i| !used.contains(i)).expect("u32 is larger");
                    prop_assert_eq!(set.take(), lowest);
                    used.insert(lowest);
                }
            }
            prop_assert_eq!(set.count(), used.len());
        }
    }
}
