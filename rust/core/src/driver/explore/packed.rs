//! States that wait to be expanded, packed: of each word how many of its low bytes are in use, then those bytes.

const WORD: usize = size_of::<u64>();

/// A queue of states of any lengths.
#[derive(Debug, Default)]
pub struct Frontier {
    bytes: Vec<u8>,
    /// Where the first state begins; what is before it goes when it is more than half.
    first: usize,
}

impl Frontier {
    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds a state. A whole word is written at its place, and the next one over what it does not use.
    pub fn push(&mut self, words: &[u64]) {
        self.bytes.extend((words.len() as u32).to_le_bytes());
        let mut at = self.bytes.len();
        self.bytes.resize(at + words.len() * (1 + WORD), 0);
        for &word in words {
            let used = (u64::BITS - word.leading_zeros()).div_ceil(8) as usize;
            self.bytes[at] = used as u8;
            self.bytes[at + 1..][..WORD].copy_from_slice(&word.to_le_bytes());
            at += 1 + used;
        }
        self.bytes.truncate(at);
    }

    /// Takes the first state into `words`; false when there is none.
    pub fn pop(&mut self, words: &mut Vec<u64>) -> bool {
        let Some((head, mut rest)) = self.bytes[self.first..].split_first_chunk() else { return false };
        words.clear();
        for _ in 0..u32::from_le_bytes(*head) {
            let (&used, bytes) = rest.split_first().expect("what was pushed");
            words.push(first_bytes(bytes, usize::from(used)));
            rest = &bytes[usize::from(used)..];
        }
        self.first = self.bytes.len() - rest.len();
        if self.first > self.bytes.len() / 2 {
            self.bytes.drain(..self.first);
            self.first = 0;
        }
        true
    }
}

/// The word of the first `used` bytes; whole words are read but at the very end.
#[inline]
fn first_bytes(bytes: &[u8], used: usize) -> u64 {
    if used == 0 {
        return 0;
    }
    match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word) << (8 * (WORD - used)) >> (8 * (WORD - used)),
        None => (0..used).rev().fold(0, |word, i| word << 8 | u64::from(bytes[i])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn states_come_back_in_order(
            states in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..9), 0..9),
            shift in 0u32..64,
        ) {
            let states: Vec<Vec<u64>> = states.iter().map(|s| s.iter().map(|w| w >> shift).collect()).collect();
            let (mut frontier, mut words) = (Frontier::default(), Vec::new());
            states.iter().for_each(|state| frontier.push(state));
            for state in &states {
                prop_assert!(frontier.pop(&mut words));
                prop_assert_eq!(&words, state);
            }
            prop_assert!(!frontier.pop(&mut words));
        }
    }
}
