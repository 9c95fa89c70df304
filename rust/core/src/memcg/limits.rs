//! Memory limits of groups: `memory.current`, `memory.max`, `memory.high` (mm/memcontrol.c, mm/page_counter.c).
//!
//! A group is charged for the frames of its application pages and its descendants', page by page, and for the bytes that zswap stores
//! for them. Stores are charged whatever the limit is, so `memory.current` can be above `memory.max` until the next charge reclaims. Page
//! tables and the slots' leaves are charged to nobody here; the root has no limits. Source: Documentation/admin-guide/cgroup-v2.rst
//! (`memory.max`, `memory.high`, `memory.events`); `high_delay_ns`: observed, 6.12.

use super::{Memcg, Memcgs, ROOT};
use crate::sync::{AtomicU64, Ordering};

/// What a group has and may have, in pages.
#[derive(Debug)]
pub(super) struct Limits {
    pages: AtomicU64,
    max: AtomicU64,
    high: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        let [max, high] = [(); 2].map(|()| AtomicU64::new(u64::MAX));
        Self { pages: AtomicU64::new(0), max, high }
    }
}

/// The longest sleep of one return to user mode for `memory.high`, nanoseconds.
const MAX_HIGH_DELAY_NS: u64 = 2_000_000_000;

impl Memcg {
    /// Frames charged to it and its descendants, pages.
    pub fn frames(&self) -> u64 {
        // ORDERING: Relaxed: a counter.
        self.limits.pages.load(Ordering::Relaxed)
    }

    /// `memory.current` in pages of `page_size` bytes.
    pub(super) fn current_pages(&self, page_size: u64) -> u64 {
        self.frames() + self.zswap_current_bytes().div_ceil(page_size)
    }

    /// `memory.max` in pages; `u64::MAX`: no limit.
    pub fn memory_max_pages(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.limits.max.load(Ordering::Relaxed)
    }

    /// `memory.high` in pages; `u64::MAX`: no limit.
    pub fn memory_high_pages(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.limits.high.load(Ordering::Relaxed)
    }

    /// Sets `memory.max`, in pages.
    pub fn set_memory_max_pages(&self, pages: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.limits.max.store(pages, Ordering::Relaxed);
    }

    /// Sets `memory.high`, in pages.
    pub fn set_memory_high_pages(&self, pages: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.limits.high.store(pages, Ordering::Relaxed);
    }
}

impl Memcgs {
    /// The group and its ancestors but the root, which has no limits.
    fn limited(&self, id: u16) -> impl Iterator<Item = (u16, &Memcg)> {
        self.ancestry(id).filter(|&(above, _)| above != ROOT)
    }

    /// `memory.current` of a group in pages.
    pub fn current_pages(&self, id: u16) -> u64 {
        self.get(id).map_or(0, |group| group.current_pages(self.page_size))
    }

    /// Charges one frame to the group and its ancestors (`page_counter_try_charge`).
    ///
    /// # Errors
    /// The group whose `memory.max` does not allow it; nothing is charged then.
    pub fn try_charge(&self, id: u16) -> Result<(), u16> {
        self.try_charge_pages(id, 1)
    }

    /// The same of `frames` frames, all or none.
    ///
    /// # Errors
    /// As [`Memcgs::try_charge`].
    pub fn try_charge_pages(&self, id: u16, frames: u64) -> Result<(), u16> {
        for (above, group) in self.limited(id) {
            // ORDERING: Relaxed: a counter, as the kernel's.
            group.limits.pages.fetch_add(frames, Ordering::Relaxed);
            if group.current_pages(self.page_size) > group.memory_max_pages() {
                self.uncharge_up_to(id, above, frames);
                return Err(above);
            }
        }
        Ok(())
    }

    /// Charges one frame to the group and its ancestors, whatever their limits: what reclaim itself needs.
    pub fn charge(&self, id: u16) {
        for (_, group) in self.limited(id) {
            // ORDERING: Relaxed: a counter.
            group.limits.pages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes back charges of `frames` frames.
    pub fn uncharge(&self, id: u16, frames: u64) {
        for (_, group) in self.limited(id) {
            // ORDERING: Relaxed: a counter.
            let before = group.limits.pages.fetch_sub(frames, Ordering::Relaxed);
            debug_assert!(before >= frames, "memcg {}: uncharged {frames} of {before} frames", group.name);
        }
    }

    fn uncharge_up_to(&self, id: u16, last: u16, frames: u64) {
        for (above, group) in self.ancestry(id) {
            // ORDERING: Relaxed: a counter.
            group.limits.pages.fetch_sub(frames, Ordering::Relaxed);
            if above == last {
                return;
            }
        }
    }

    /// Whether one more frame would be allowed (`mem_cgroup_margin`).
    pub fn has_margin(&self, id: u16) -> bool {
        self.get(id).is_none_or(|group| group.current_pages(self.page_size) < group.memory_max_pages())
    }

    /// The group itself or the nearest above `id` that is above its `memory.high`.
    pub fn over_high(&self, id: u16) -> Option<u16> {
        let over = |group: &Memcg| group.current_pages(self.page_size) > group.memory_high_pages();
        self.limited(id).find(|(_, group)| over(group)).map(|(above, _)| above)
    }

    /// How long a thread that charged 64 frames sleeps for the groups from `id` up that are above `memory.high`: a second times the
    /// square of the excess in parts of the limit, times 64, at most 2 s (`calculate_high_delay`).
    pub fn high_delay_ns(&self, id: u16) -> u64 {
        let delay = |(_, group): (u16, &Memcg)| {
            let high = group.memory_high_pages().max(1);
            let excess = group.current_pages(self.page_size).saturating_sub(high);
            let parts = (u128::from(excess) << 20) / u128::from(high);
            u64::try_from((parts * parts * 1_000_000_000) >> 34).unwrap_or(u64::MAX)
        };
        let longest = self.limited(id).map(delay).max();
        longest.unwrap_or(0).min(MAX_HIGH_DELAY_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_goes_all_the_way_up_or_nowhere() {
        let mut groups = Memcgs::default();
        let parent = groups.add("parent", ROOT).unwrap();
        let child = groups.add("child", parent).unwrap();
        groups.get(parent).unwrap().set_memory_max_pages(2);
        assert_eq!(
            [groups.try_charge(child), groups.try_charge(parent), groups.try_charge(child)],
            [Ok(()), Ok(()), Err(parent)]
        );
        let frames = |id| groups.get(id).unwrap().frames();
        assert_eq!((frames(child), frames(parent), frames(ROOT)), (1, 2, 0));
        groups.uncharge(child, 1);
        assert!(groups.has_margin(parent));
        groups.charge_zswap(child, 1);
        assert_eq!((groups.current_pages(parent), groups.try_charge(child)), (2, Err(parent)), "zswap's bytes count");
    }

    #[test]
    fn the_penalty_grows_with_the_square_of_the_excess() {
        let mut groups = Memcgs::default();
        let group = groups.add("g", ROOT).unwrap();
        groups.get(group).unwrap().set_memory_high_pages(1000);
        (0..1000).for_each(|_| groups.try_charge(group).unwrap());
        assert_eq!((groups.over_high(group), groups.high_delay_ns(group)), (None, 0));
        (0..10).for_each(|_| groups.try_charge(group).unwrap());
        let one_percent = groups.high_delay_ns(group);
        (0..10).for_each(|_| groups.try_charge(group).unwrap());
        assert_eq!(groups.over_high(group), Some(group));
        assert!((3.9..4.1).contains(&(groups.high_delay_ns(group) as f64 / one_percent as f64)));
        (0..2000).for_each(|_| groups.try_charge(group).unwrap());
        assert_eq!(groups.high_delay_ns(group), MAX_HIGH_DELAY_NS);
    }
}
