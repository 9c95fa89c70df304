//! States that wait to be expanded, packed: of each state the words by which it differs from the one added before it.
//!
//! Neighbours in the order of a search are successors of one state, or of states that are such themselves: most of their
//! words are the same. Layout of a state: its length, of every 64 words a mask of those that differ, then those words.

/// A queue of states of any lengths.
#[derive(Debug, Default)]
pub struct Frontier {
    packed: Vec<u64>,
    /// Where the first state begins; what is before it goes when it is more than half.
    first: usize,
    /// The state added last, and the one taken last.
    added: Vec<u64>,
    taken: Vec<u64>,
}

impl Frontier {
    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.packed.capacity() * size_of::<u64>()
    }

    /// Adds a state.
    pub fn push(&mut self, words: &[u64]) {
        self.packed.push(words.len() as u64);
        self.added.resize(words.len(), 0);
        let masks = self.packed.len();
        self.packed.resize(masks + words.len().div_ceil(64), 0);
        for (i, (&word, before)) in words.iter().zip(&mut self.added).enumerate() {
            if word != *before {
                self.packed[masks + i / 64] |= 1 << (i % 64);
                self.packed.push(word);
                *before = word;
            }
        }
    }

    /// Takes the first state, which is there until the next is taken.
    pub fn pop(&mut self) -> Option<&[u64]> {
        let (&len, rest) = self.packed[self.first..].split_first()?;
        self.taken.resize(len as usize, 0);
        let (masks, mut changed) = rest.split_at(len.div_ceil(64) as usize);
        for (&mask, words) in masks.iter().zip(self.taken.chunks_mut(64)) {
            let mut mask = mask;
            while mask != 0 {
                let (&word, others) = changed.split_first().expect("what was pushed");
                words[mask.trailing_zeros() as usize] = word;
                (mask, changed) = (mask & (mask - 1), others);
            }
        }
        self.first = self.packed.len() - changed.len();
        if self.first > self.packed.len() / 2 {
            self.packed.drain(..self.first);
            self.first = 0;
        }
        Some(&self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn states_come_back_in_order(
            states in prop::collection::vec(prop::collection::vec(0u64..3, 0..150), 0..9),
            taken_early in 0usize..9,
        ) {
            let mut frontier = Frontier::default();
            for (i, state) in states.iter().enumerate() {
                frontier.push(state);
                if i < taken_early {
                    prop_assert_eq!(frontier.pop(), Some(&state[..]));
                }
            }
            for state in states.iter().skip(taken_early) {
                prop_assert_eq!(frontier.pop(), Some(&state[..]));
            }
            prop_assert!(frontier.pop().is_none());
        }
    }
}
