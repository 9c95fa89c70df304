//! Idle marking, and the choice of slots for recompression and writeback.
//!
//! One choice is at work at a time. It marks its slots, and whoever frees, overwrites or reads one takes the mark away: a
//! slot without it is passed over. Larger objects come first, in ranges of 64 bytes, and within a range the higher slots
//! (as since 6.13).

use super::{Entry, Place, Zram};
use crate::sync::Ordering;

/// Which slots recompression or writeback is for. All that is set must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Marked idle.
    pub idle: bool,
    /// Stored as they are.
    pub huge: bool,
    /// Given up by every compressor.
    pub incompressible: bool,
}

impl Wanted {
    pub(super) fn has(self, entry: &Entry) -> bool {
        let huge = matches!(entry.place, Place::Pool(object) if object.huge);
        (!self.idle || entry.idle) && (!self.huge || huge) && (!self.incompressible || entry.incompressible)
    }
}

/// Another recompression or writeback is at work (-EAGAIN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another recompression or writeback is at work")]
pub struct Busy;

/// Bytes of one range of sizes (`PP_BUCKET_SIZE_RANGE`).
const RANGE_BYTES: u32 = 64;

/// Chosen slots; dropping it takes back the marks that are left.
pub(super) struct Selection<'a> {
    zram: &'a Zram,
    /// The next last.
    slots: Vec<u32>,
}

impl Selection<'_> {
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Iterator for Selection<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.slots.pop()
    }
}

impl Drop for Selection<'_> {
    fn drop(&mut self) {
        for &slot in &self.slots {
            self.zram.entries[slot as usize].lock().selected = false;
        }
        // ORDERING: Release pairs with the Acquire of `select`.
        self.zram.selecting.store(false, Ordering::Release);
    }
}

impl Zram {
    /// Marks every slot idle that holds memory: all, or those not touched for more than `age_s` seconds (the others are
    /// then not idle).
    pub fn mark_idle(&self, age_s: Option<u32>) {
        let now = self.now();
        for entry in &self.entries {
            let mut entry = entry.lock();
            if matches!(entry.place, Place::Pool(_)) {
                entry.idle = age_s.is_none_or(|age| now.saturating_sub(entry.accessed_s) > age);
            }
        }
    }

    /// Chooses and marks the slots in memory for which `wanted` holds.
    pub(super) fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Selection<'_>, Busy> {
        // ORDERING: Acquire pairs with the Release of `Selection::drop`: its marks are gone.
        if self.selecting.swap(true, Ordering::Acquire) {
            return Err(Busy);
        }
        let mut chosen = Vec::new();
        for (slot, entry) in (0..).zip(&self.entries) {
            let mut entry = entry.lock();
            if let Place::Pool(object) = entry.place
                && wanted(&entry)
            {
                entry.selected = true;
                chosen.push((object.len / RANGE_BYTES, slot));
            }
        }
        chosen.sort_unstable();
        Ok(Selection { zram: self, slots: chosen.into_iter().map(|(_, slot)| slot).collect() })
    }
}
