//! Handle indices: a set that always hands out its lowest free member.
//!
//! Which index the next object gets then depends only on which are in use, never on the order in which the
//! others were given back: two pools with equal contents go on alike, so saved states compare equal.
//! A tree of 64-bit words: a set bit at level 0 is an index in use, above it a child word without room.

const WORD_BITS: usize = 64;

/// Indices in use.
#[derive(Debug)]
pub(super) struct IndexSet {
    /// Leaves first; the last level is one word.
    levels: Vec<Vec<u64>>,
}

impl Default for IndexSet {
    fn default() -> Self {
        Self { levels: vec![vec![0]] }
    }
}

impl IndexSet {
    /// Takes the lowest free index.
    #[inline]
    pub fn take(&mut self) -> u32 {
        if self.top() == u64::MAX {
            self.add_level();
        }
        let mut at = 0;
        for level in self.levels.iter_mut().rev() {
            if at == level.len() {
                level.push(0);
            }
            at = at * WORD_BITS + level[at].trailing_ones() as usize;
        }
        self.mark(at);
        at as u32
    }

    /// Takes `index`, which must be free.
    pub fn insert(&mut self, index: u32) {
        debug_assert!(!self.contains(index));
        let (at, word) = (index as usize, index as usize / WORD_BITS);
        while at >> (6 * self.levels.len()) != 0 {
            self.add_level();
        }
        if self.levels[0].len() <= word {
            self.levels[0].resize(word + 1, 0);
        }
        self.mark(at);
    }

    /// Gives `index`, which must be in use, back.
    #[inline]
    pub fn remove(&mut self, index: u32) {
        debug_assert!(self.contains(index));
        let mut at = index as usize;
        for level in &mut self.levels {
            let word = &mut level[at / WORD_BITS];
            let was_full = *word == u64::MAX;
            *word &= !(1 << (at % WORD_BITS));
            if !was_full {
                break;
            }
            at /= WORD_BITS;
        }
    }

    /// Whether `index` is in use.
    pub fn contains(&self, index: u32) -> bool {
        let word = self.levels[0].get(index as usize / WORD_BITS);
        word.is_some_and(|word| word >> (index as usize % WORD_BITS) & 1 == 1)
    }

    /// Forgets every index and keeps the memory of the leaves.
    pub fn clear(&mut self) {
        self.levels.truncate(1);
        self.levels[0].clear();
        self.levels[0].push(0);
    }

    /// How many indices are in use.
    pub fn count(&self) -> usize {
        self.levels[0].iter().map(|word| word.count_ones() as usize).sum()
    }

    fn top(&self) -> u64 {
        self.levels[self.levels.len() - 1][0]
    }

    #[cold]
    fn add_level(&mut self) {
        let level = self.levels.last().expect("never without levels");
        let full = |child: &u64| u64::from(*child == u64::MAX);
        self.levels.push(vec![level.first().map_or(0, full)]);
    }

    /// Sets the bit of `at`, and those of the words that it fills.
    #[inline]
    fn mark(&mut self, mut at: usize) {
        for level in &mut self.levels {
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
    }
}

#[cfg(test)]
mod tests {
    use super::IndexSet;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

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
