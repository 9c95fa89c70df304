//! Which states have been met: their fingerprints with their numbers, in one table of open addressing.
//!
//! A look-up is a cache miss whatever the table; an entry beside its key makes it one and not two.

/// The 128-bit name of a state, and the number that it was given. As three words it has no padding.
type Entry = [u64; 3];

/// An entry that holds nothing. A fingerprint of all zeroes is one in 2^128, as likely as a collision.
const VACANT: Entry = [0; 3];

/// The states met.
#[derive(Debug)]
pub struct Seen {
    /// A power of two of them.
    entries: Box<[Entry]>,
    len: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { entries: vec![VACANT; 1 << 10].into(), len: 0 }
    }
}

impl Seen {
    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.entries)
    }

    /// The number of the state with this fingerprint; one that has not been met is given `new`, and `None` returned.
    pub fn meet(&mut self, fingerprint: u128, new: u32) -> Option<u32> {
        let name = [fingerprint as u64, (fingerprint >> 64) as u64];
        let at = Self::place(&self.entries, name);
        match self.entries[at] {
            VACANT => {}
            [.., number] => return Some(number as u32),
        }
        self.entries[at] = [name[0], name[1], new.into()];
        self.len += 1;
        if self.len * 4 > self.entries.len() * 3 {
            self.grow();
        }
        None
    }

    /// Where the state of this name is, or would be.
    fn place(entries: &[Entry], name: [u64; 2]) -> usize {
        let mask = entries.len() - 1;
        let mut at = name[0] as usize & mask;
        while entries[at] != VACANT && entries[at][..2] != name {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let mut larger = vec![VACANT; 2 * self.entries.len()].into_boxed_slice();
        for &entry in self.entries.iter().filter(|&&entry| entry != VACANT) {
            larger[Self::place(&larger, [entry[0], entry[1]])] = entry;
        }
        self.entries = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_is_a_map_that_keeps_the_first(keys in prop::collection::vec(1u128..3000, 0..5000), spread in 0u32..2) {
            let (mut seen, mut model) = (Seen::default(), HashMap::new());
            for (number, key) in (0..).zip(keys) {
                // Crowded into the table's first places, or beyond its mask, where all keys begin at one place.
                let key = key << (64 * spread);
                prop_assert_eq!(seen.meet(key, number), model.get(&key).copied());
                model.entry(key).or_insert(number);
            }
        }
    }
}
