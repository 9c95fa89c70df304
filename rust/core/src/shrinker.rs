//! How much a shrinker is asked for in a pass of reclaim (`do_shrink_slab`, mm/shrinker.c): zswap's and zsmalloc's alike.
//! Source: observed on 6.12 (docs/kernel-map.md).

/// Objects that a shrinker looks at in one call; fewer are put off, unless they are all there are (`SHRINK_BATCH`, include/linux/shrinker.h).
const SHRINK_BATCH: u64 = 128;

/// A shrinker's turn in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoShrinkSlab {
    freeable: u64,
    /// Objects still to be asked for, and all that are due, those that earlier passes put off included.
    total_scan: u64,
    due: u64,
    scanned: u64,
}

impl DoShrinkSlab {
    /// A turn at `priority` over `freeable` objects, more than none; of the `deferred` ones a share is due that grows as the priority falls.
    pub fn new(freeable: u64, deferred: u64, priority: u8) -> Self {
        let delta = 2 * (freeable >> priority); // 4 / DEFAULT_SEEKS
        let total_scan = ((deferred >> priority) + delta).min(2 * freeable);
        Self { freeable, total_scan, due: deferred + delta, scanned: 0 }
    }

    /// The objects of the next call; `None`: the turn is over.
    pub fn batch(&self) -> Option<u64> {
        let due = self.total_scan >= SHRINK_BATCH || self.total_scan >= self.freeable;
        due.then(|| self.total_scan.min(SHRINK_BATCH))
    }

    /// The call has ended. Where nothing was `freed` (`SHRINK_STOP`) it ends the turn, and is not counted.
    pub fn note(&mut self, freed: bool) {
        let batch = self.batch().filter(|_| freed);
        self.scanned += batch.unwrap_or(0);
        self.total_scan = batch.map_or(0, |batch| self.total_scan - batch);
    }

    /// Objects of the calls that counted.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// What is put off at the turn's end.
    pub fn deferred(&self) -> u64 {
        self.due.saturating_sub(self.scanned).min(2 * self.freeable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_batches_are_asked_for_and_the_rest_is_put_off() {
        let mut turn = DoShrinkSlab::new(1000, 80, 2); // 500, and 20 of the deferred ones.
        for _ in 0..4 {
            assert_eq!(turn.batch(), Some(128));
            turn.note(true);
        }
        assert_eq!((turn.batch(), turn.scanned(), turn.deferred()), (None, 512, 68));
    }

    #[test]
    fn what_frees_nothing_ends_the_turn_and_does_not_count() {
        let mut turn = DoShrinkSlab::new(300, 0, 0);
        turn.note(true);
        turn.note(false);
        assert_eq!((turn.batch(), turn.scanned(), turn.deferred()), (None, 128, 472));
    }

    #[test]
    fn all_there_is_makes_a_batch_however_little() {
        assert_eq!(DoShrinkSlab::new(3, 0, 0).batch(), Some(6));
        assert_eq!(DoShrinkSlab::new(3, 0, 1).batch(), None);
    }

    #[test]
    fn just_as_many_are_enough_and_twice_all_there_is_the_most() {
        assert_eq!(DoShrinkSlab::new(256, 0, 2).batch(), Some(128), "a batch");
        assert_eq!(DoShrinkSlab::new(5, 2, 1).batch(), Some(5), "all there is");
        assert_eq!(DoShrinkSlab::new(40, 1000, 0).batch(), Some(80));
        let mut turn = DoShrinkSlab::new(1000, 44, 2);
        (0..3).for_each(|_| turn.note(true));
        assert_eq!((turn.batch(), turn.scanned()), (None, 384), "127 are left of 511");
    }
}
