//! `memory.min` and `memory.low`: what reclaim leaves to a group.
//!
//! What a group is protected by in effect is limited by its ancestors: where the children of a group ask for more than it has
//! itself, each gets a part in proportion to what it uses of what it asked for. The group that reclaim is for has no
//! protection, and its children have all they ask for. Source: Documentation/admin-guide/cgroup-v2.rst (`memory.min`, `memory.low`);
//! the mount option `memory_recursiveprot` is off, as it is by default.

use super::{Memcg, Memcgs, ROOT};
use crate::sync::{AtomicU64, Ordering};

/// What a group asks for, in pages.
#[derive(Debug, Default)]
pub(super) struct Knobs {
    min: AtomicU64,
    low: AtomicU64,
}

/// What a group has in effect in one reclaim, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Never reclaimed.
    pub min: u64,
    /// Reclaimed only when there is nothing else.
    pub low: u64,
}

type Knob = fn(&Memcg) -> u64;

impl Memcg {
    /// `memory.min` in pages; 0: none.
    pub fn memory_min_pages(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.protected.min.load(Ordering::Relaxed)
    }

    /// `memory.low` in pages; 0: none.
    pub fn memory_low_pages(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.protected.low.load(Ordering::Relaxed)
    }

    /// Sets `memory.min`, in pages.
    pub fn set_memory_min_pages(&self, pages: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.protected.min.store(pages, Ordering::Relaxed);
    }

    /// Sets `memory.low`, in pages.
    pub fn set_memory_low_pages(&self, pages: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.protected.low.store(pages, Ordering::Relaxed);
    }
}

impl Memcgs {
    /// Whether any group is protected at all.
    pub fn protects(&self) -> bool {
        self.groups.iter().any(|group| group.memory_min_pages() > 0 || group.memory_low_pages() > 0)
    }

    /// What protects `id` in a reclaim from `top` (`mem_cgroup_calculate_protection`).
    pub fn protection(&self, top: u16, id: u16) -> Protection {
        Protection {
            min: self.effective(top, id, Memcg::memory_min_pages),
            low: self.effective(top, id, Memcg::memory_low_pages),
        }
    }

    fn effective(&self, top: u16, id: u16, knob: Knob) -> u64 {
        let Some(parent) = self.parent(id).filter(|_| id != top && id != ROOT) else { return 0 };
        let used = |id: u16| knob(&self.groups[usize::from(id)]).min(self.current_pages(id));
        if parent == top || parent == ROOT {
            return knob(&self.groups[usize::from(id)]);
        }
        let allowed = self.effective(top, parent, knob);
        let asked: u64 = self.ids().filter(|&child| self.parent(child) == Some(parent)).map(used).sum();
        if asked <= allowed {
            return used(id);
        }
        (u128::from(used(id)) * u128::from(allowed) / u128::from(asked)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parent with `memory.min` 100, and children that use 60 and 90 pages and ask for all of it, and one that asks for nothing.
    fn family() -> (Memcgs, u16, [u16; 3]) {
        let mut groups = Memcgs::default();
        let parent = groups.add("parent", ROOT).unwrap();
        let children = ["a", "b", "c"].map(|name| groups.add(name, parent).unwrap());
        groups.get(parent).unwrap().set_memory_min_pages(100);
        for (child, pages) in children.into_iter().zip([60, 90, 50]) {
            (0..pages).for_each(|_| groups.try_charge(child).unwrap());
        }
        children[..2].iter().for_each(|&child| groups.get(child).unwrap().set_memory_min_pages(1000));
        (groups, parent, children)
    }

    #[test]
    fn children_that_ask_for_too_much_share_in_proportion_to_what_they_use() {
        let (groups, parent, children) = family();
        let min = |top, id| groups.protection(top, id).min;
        assert_eq!((min(ROOT, ROOT), min(ROOT, parent)), (0, 100));
        assert_eq!(children.map(|child| min(ROOT, child)), [40, 60, 0]);
        assert_eq!((min(parent, parent), children.map(|child| min(parent, child))), (0, [1000, 1000, 0]));
        groups.get(parent).unwrap().set_memory_min_pages(500);
        assert_eq!(children.map(|child| min(ROOT, child)), [60, 90, 0], "there is enough: what each uses");
    }

    #[test]
    fn low_is_a_protection_of_its_own() {
        let (groups, parent, [child, ..]) = family();
        assert!(groups.protects() && !Memcgs::default().protects());
        groups.get(parent).unwrap().set_memory_low_pages(30);
        groups.get(child).unwrap().set_memory_low_pages(20);
        assert_eq!(groups.protection(ROOT, child), Protection { min: 40, low: 20 });
        assert_eq!(groups.protection(child, child), Protection::default());
    }
}
