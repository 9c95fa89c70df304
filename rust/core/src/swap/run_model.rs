//! What the properties of slot runs keep on the side: which slots are out, and in what runs.

use proptest::prelude::*;
use std::ops::Range;

/// The slots that were given out.
pub(super) struct Runs {
    used: Vec<bool>,
    out: Vec<Range<u32>>,
}

impl Runs {
    /// None of `total` slots is out.
    pub(super) fn new(total: u32) -> Self {
        Self { used: vec![false; total as usize], out: Vec::new() }
    }

    /// A run of `2^order` slots was given out: it is aligned, and none of its slots was out.
    pub(super) fn taken(&mut self, first: u32, order: u8) -> Result<(), TestCaseError> {
        prop_assert_eq!(first % (1 << order), 0);
        let run = first..first + (1 << order);
        for slot in run.clone() {
            prop_assert!(!std::mem::replace(&mut self.used[slot as usize], true), "{slot} twice");
        }
        self.out.push(run);
        Ok(())
    }

    /// The slots of one of the runs, which is to be given back; none when none is out.
    pub(super) fn give_back(&mut self, at: usize) -> Range<u32> {
        if self.out.is_empty() {
            return 0..0;
        }
        let run = self.out.swap_remove(at % self.out.len());
        self.used[run.start as usize..run.end as usize].fill(false);
        run
    }

    /// Slots that are out.
    pub(super) fn used(&self) -> u32 {
        self.used.iter().filter(|used| **used).count() as u32
    }
}
