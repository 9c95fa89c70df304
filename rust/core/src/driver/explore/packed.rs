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
        let mut at = self.bytes.len();
        self.bytes.resize(at + words.len() * (1 + size_of::<u64>()), 0);
        for &word in words {
            let mut mask = bytes_in_use(word);
            self.bytes[at] = mask;
            at += 1;
            while mask != 0 {
                self.bytes[at] = (word >> (8 * mask.trailing_zeros())) as u8;
                at += 1;
                mask &= mask - 1;
            }
        }
        self.bytes.truncate(at);
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

/// A bit for each byte that is not zero, the lowest first.
#[inline]
fn bytes_in_use(word: u64) -> u8 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let tops = (((word & LOW) + LOW) | word) & !LOW;
    (tops.wrapping_mul(0x0002_0408_1020_4081) >> 56) as u8
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
