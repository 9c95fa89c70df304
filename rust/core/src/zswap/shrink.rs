//! What is written back, and when: the decisions of `shrink_memcg`, of the shrink worker and of the dynamic shrinker.
//!
//! The writing itself is its caller's: an actor does it in steps, a script at once. A [`ShrinkMemcg`] or [`Scan`] names one
//! candidate at a time and is told what became of it before it is asked again.
//! Source: Documentation/admin-guide/mm/zswap.rst; numbers and order as observed in mm/zswap.c 6.12.

use super::debugfs::count;
use super::{Look, Zswap};
use crate::memcg::Memcgs;
use crate::shrinker::DoShrinkSlab;
use crate::sync::Ordering;
use crate::units::MAX_RECLAIM_RETRIES;

/// Why `shrink_memcg` wrote nothing back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShrunk {
    /// Nothing to look at (`-ENOENT`): no entries, writeback denied, or the group is gone.
    Nothing,
    /// Only entries that got a second chance or could not be written back (`-EAGAIN`).
    Kept,
}

/// What became of a candidate (`zswap_writeback_entry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is on its way to the device, and the entry gone.
    Written,
    /// Its folio is in the swap cache (`-EEXIST`): whoever put it there will do with the entry what is due.
    InSwapCache,
    /// It was gone, did not decompress, or there was no memory for its page.
    Failed,
}

/// What is to be done next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Write this entry back, then say what became of it.
    Candidate {
        /// Its swap slot.
        slot: u32,
        /// Its folio.
        folio: u32,
    },
    /// Nothing; ask again.
    Again,
    /// It has ended.
    End(T),
}

/// `shrink_memcg`: one entry of the group itself on each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShrinkMemcg {
    memcg: u16,
    node: u8,
    scanned: bool,
    shrunk: bool,
}

impl ShrinkMemcg {
    /// For the pages of `memcg`.
    pub fn new(memcg: u16) -> Self {
        Self { memcg, node: 0, scanned: false, shrunk: false }
    }

    /// Looks at the oldest entry on the next node.
    pub fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<Result<(), NotShrunk>> {
        let denied =
            !memcgs.get(self.memcg).is_some_and(|group| group.is_online() && memcgs.writeback_enabled(self.memcg));
        if self.node == zswap.lrus.nodes() || self.node == 0 && denied {
            return Next::End(match (self.scanned, self.shrunk) {
                (false, _) => Err(NotShrunk::Nothing),
                (true, false) => Err(NotShrunk::Kept),
                (true, true) => Ok(()),
            });
        }
        self.node += 1;
        match zswap.lrus.look(&zswap.entries, self.memcg, self.node - 1) {
            Look::Empty => Next::Again,
            Look::Rotated { .. } => {
                self.scanned = true;
                Next::Again
            }
            Look::Candidate { slot, folio } => {
                self.scanned = true;
                Next::Candidate { slot, folio }
            }
        }
    }

    /// What became of the candidate.
    pub fn note(&mut self, zswap: &Zswap, outcome: Outcome) {
        self.shrunk |= zswap.note_writeback(outcome);
    }
}

/// One run of the shrink worker: group after group, from where the last run stopped, down to what the accept threshold was when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Round {
    threshold_pages: u64,
    failures: u8,
    attempts: bool,
}

impl Round {
    /// A run that begins now.
    pub fn begin(zswap: &Zswap) -> Self {
        Self { threshold_pages: zswap.accept_pages(), ..Self::default() }
    }

    /// The next group to shrink; `None` at the end of a walk of the tree.
    pub fn next(zswap: &Zswap, memcgs: &Memcgs) -> Option<u16> {
        let next = memcgs.next_online(zswap.next_shrink());
        zswap.set_next_shrink(next);
        next
    }

    /// Whether the run goes on after [`Round::next`] gave `None`: a walk that found nothing at all is a failure.
    pub fn wrapped(&mut self, zswap: &Zswap) -> bool {
        let fruitless = !std::mem::take(&mut self.attempts);
        self.goes_on(zswap, fruitless)
    }

    /// Whether the run goes on after `shrink_memcg` of a group.
    pub fn shrunk(&mut self, zswap: &Zswap, result: Result<(), NotShrunk>) -> bool {
        let nothing = result == Err(NotShrunk::Nothing);
        self.attempts |= !nothing;
        self.goes_on(zswap, result.is_err() && !nothing)
    }

    fn goes_on(&mut self, zswap: &Zswap, failed: bool) -> bool {
        self.failures += u8::from(failed);
        !(failed && self.failures == MAX_RECLAIM_RETRIES) && zswap.total_pages() > self.threshold_pages
    }
}

/// One call of the dynamic shrinker for a group's entries on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    memcg: u16,
    node: u8,
    left: u64,
    written: u64,
    stop: bool,
}

impl Scan {
    /// At most `entries` of `memcg` on `node` are looked at.
    pub fn new(memcg: u16, node: u8, entries: u64) -> Self {
        Self { memcg, node, left: entries, written: 0, stop: false }
    }

    /// Looks at the oldest entry. Ends with the entries written back; `None` (`SHRINK_STOP`) when there were none, when a
    /// folio in the swap cache was met (memory is so tight that the region in use is reached), or when shrinking is off.
    pub fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<Option<u64>> {
        let off = !zswap.shrinker_enabled() || !memcgs.writeback_enabled(self.memcg);
        if off || self.stop || self.left == 0 {
            return Next::End(Some(self.written).filter(|&written| !self.stop && !off && written > 0));
        }
        self.left -= 1;
        match zswap.lrus.look(&zswap.entries, self.memcg, self.node) {
            Look::Candidate { slot, folio } => return Next::Candidate { slot, folio },
            Look::Rotated { alone: false } => {}
            Look::Empty | Look::Rotated { alone: true } => self.left = 0,
        }
        Next::Again
    }

    /// What became of the candidate.
    pub fn note(&mut self, zswap: &Zswap, outcome: Outcome) {
        self.written += u64::from(zswap.note_writeback(outcome));
        self.stop = outcome == Outcome::InSwapCache;
    }
}

/// The dynamic shrinker's turn in a pass of reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShrinkSlab {
    memcg: u16,
    node: u8,
    turn: DoShrinkSlab,
    scan: Option<Scan>,
}

impl ShrinkSlab {
    /// A turn at `priority` with the entries of `memcg` on `node`; `None`: nothing can be freed.
    pub fn begin(zswap: &Zswap, memcgs: &Memcgs, memcg: u16, node: u8, priority: u8) -> Option<Self> {
        let freeable = Some(zswap.shrinker_count(memcgs, memcg, node)).filter(|&freeable| freeable > 0)?;
        let turn = DoShrinkSlab::new(freeable, zswap.lrus.take_deferred(memcg, node), priority);
        Some(Self { memcg, node, turn, scan: None })
    }

    /// Looks at the oldest entry, or ends a batch, or all of them: then what is left is put off. Ends with the entries of the batches in
    /// which any was written back.
    pub fn next(&mut self, zswap: &Zswap, memcgs: &Memcgs) -> Next<u64> {
        let Some(scan) = &mut self.scan else {
            if let Some(batch) = self.turn.batch() {
                self.scan = Some(Scan::new(self.memcg, self.node, batch));
                return Next::Again;
            }
            zswap.lrus.defer(self.memcg, self.node, self.turn.deferred());
            return Next::End(self.turn.scanned());
        };
        match scan.next(zswap, memcgs) {
            Next::Candidate { slot, folio } => return Next::Candidate { slot, folio },
            Next::Again => {}
            Next::End(written) => {
                self.turn.note(written.is_some());
                self.scan = None;
            }
        }
        Next::Again
    }

    /// What became of the candidate.
    pub fn note(&mut self, zswap: &Zswap, outcome: Outcome) {
        if let Some(scan) = &mut self.scan {
            scan.note(zswap, outcome);
        }
    }
}

impl Zswap {
    /// Counts what became of a writeback; true when the entry was written.
    pub fn note_writeback(&self, outcome: Outcome) -> bool {
        let written = outcome == Outcome::Written;
        count(if written { &self.counters.written_back_pages } else { &self.counters.reject_reclaim_fail });
        written
    }

    /// `zswap_shrinker_count`: how many entries of `memcg` on `node` are worth writing back. Entries on the list, less one
    /// for each page that came back from the device since (which is used up by this call), scaled by how well the group's
    /// pages compress: writing back what compresses well frees little.
    pub fn shrinker_count(&self, memcgs: &Memcgs, memcg: u16, node: u8) -> u64 {
        if !self.shrinker_enabled() || !memcgs.writeback_enabled(memcg) {
            return 0;
        }
        let Some(group) = memcgs.get(memcg) else { return 0 };
        let (backing, stored) = (group.zswap_current_bytes() / self.page_size, group.zswapped());
        let listed = self.lrus.len(&self.entries, memcg, node);
        if stored == 0 || listed == 0 {
            return 0;
        }
        let freeable = listed - self.lrus.take_protected(memcg, node, listed);
        (u128::from(freeable) * u128::from(backing) / u128::from(stored)) as u64
    }

    /// Has the shrink worker run (`queue_work`): a store was refused while the pool is full, and not for being switched off. True
    /// when it is news.
    pub fn queue_shrink_work(&self) -> bool {
        // ORDERING: Relaxed: a flag; the wake-up that follows orders it.
        self.enabled() && self.is_full() && !self.shrink_queued.swap(true, Ordering::Relaxed)
    }

    /// Whether the shrink worker has a run to do.
    pub fn shrink_is_queued(&self) -> bool {
        // ORDERING: Relaxed: as above.
        self.shrink_queued.load(Ordering::Relaxed)
    }

    /// The shrink worker begins the run that is queued, if one is.
    pub fn take_shrink_work(&self) -> bool {
        // ORDERING: Relaxed: as above.
        self.shrink_queued.swap(false, Ordering::Relaxed)
    }
}
