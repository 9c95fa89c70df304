//! The name of an allocated object.

use std::num::NonZeroU64;

/// An allocated object: `class + 1` above, an index within the class in the lower 32 bits.
///
/// Valid from the `malloc` or `store` that returned it to the `free` that takes it, in that pool only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

impl Handle {
    pub(super) fn new(class: usize, index: u32) -> Self {
        Self(NonZeroU64::new((class as u64 + 1) << 32 | u64::from(index)).expect("class + 1 is not 0"))
    }

    /// The word, for storing it elsewhere.
    pub fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// The handle of a word from [`Handle::to_raw`]; `None` for a word that no handle has.
    pub fn from_raw(word: u64) -> Option<Self> {
        NonZeroU64::new(word).filter(|word| word.get() >> 32 != 0).map(Self)
    }

    /// The index into [`ClassTable::classes`](super::ClassTable::classes).
    pub fn class(self) -> usize {
        (self.0.get() >> 32) as usize - 1
    }

    pub(super) fn index(self) -> u32 {
        self.0.get() as u32
    }
}
