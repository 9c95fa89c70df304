//! States that wait to be expanded, packed: of each word a mask of its bytes that are not zero, then those bytes.

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

    /// Adds a state.
    pub fn push(&mut self, words: &[u64]) {
        self.bytes.extend((words.len() as u32).to_le_bytes());
        for &word in words {
            if word < 256 {
                let short = [u8::from(word != 0), word as u8];
                self.bytes.extend_from_slice(&short[..1 + usize::from(word != 0)]);
                continue;
            }
            let (mut packed, mut n) = ([0u8; 9], 1);
            for (bit, byte) in word.to_le_bytes().into_iter().enumerate() {
                packed[n] = byte;
                packed[0] |= u8::from(byte != 0) << bit;
                n += usize::from(byte != 0);
            }
            self.bytes.extend_from_slice(&packed[..n]);
        }
    }

    /// Takes the first state into `words`; false when there is none.
    pub fn pop(&mut self, words: &mut Vec<u64>) -> bool {
        let Some((head, mut rest)) = self.bytes[self.first..].split_first_chunk() else { return false };
        words.clear();
        for _ in 0..u32::from_le_bytes(*head) {
            let (&mask, bytes) = rest.split_first().expect("what was pushed");
            let (packed, after) = bytes.split_at(mask.count_ones() as usize);
            words.push(unpack(mask, packed));
            rest = after;
        }
        self.first = self.bytes.len() - rest.len();
        if self.first > self.bytes.len() / 2 {
            self.bytes.drain(..self.first);
            self.first = 0;
        }
        true
    }
}

#[inline]
fn unpack(mut mask: u8, packed: &[u8]) -> u64 {
    let mut word = 0;
    for &byte in packed {
        word |= u64::from(byte) << (8 * mask.trailing_zeros());
        mask &= mask - 1;
    }
    word
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
