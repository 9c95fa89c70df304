//! Memory cgroups as far as zswap asks them: a hierarchy of `memory.zswap.max` and `memory.zswap.writeback`.
//!
//! Accounting: `zswap_current` of a group is the sum of the stored bytes of its own pages and of its descendants'.
//! Source: Documentation/admin-guide/cgroup-v2.rst (memory.zswap.*).

use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// The limit that limits nothing.
pub const MAX: u64 = u64::MAX;

/// One group.
#[derive(Debug)]
pub struct Memcg {
    name: String,
    parent: Option<u16>,
    zswap_max_bytes: AtomicU64,
    zswap_current_bytes: AtomicU64,
    writeback: AtomicBool,
}

/// Why a group cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemcgError {
    /// Its parent does not exist (a parent comes before its children).
    #[error("memcg {name:?}: parent {parent} does not exist")]
    NoParent {
        /// The group.
        name: String,
        /// The parent's index.
        parent: u16,
    },
}

/// All groups; index 0 is the root.
#[derive(Debug)]
pub struct Memcgs(Vec<Memcg>);

impl Default for Memcgs {
    fn default() -> Self {
        Self(vec![Memcg::new("/", None)])
    }
}

impl Memcg {
    fn new(name: &str, parent: Option<u16>) -> Self {
        Self {
            name: name.into(),
            parent,
            zswap_max_bytes: AtomicU64::new(MAX),
            zswap_current_bytes: AtomicU64::new(0),
            writeback: AtomicBool::new(true),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `memory.zswap.current` in bytes.
    pub fn zswap_current_bytes(&self) -> u64 {
        // ORDERING: Relaxed: a counter, approximate for concurrent readers as the kernel's.
        self.zswap_current_bytes.load(Ordering::Relaxed)
    }

    /// Sets `memory.zswap.max` in bytes; [`MAX`] for no limit, 0 switches zswap off for the group.
    pub fn set_zswap_max(&self, bytes: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.zswap_max_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Sets `memory.zswap.writeback`.
    pub fn set_writeback(&self, enabled: bool) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.writeback.store(enabled, Ordering::Relaxed);
    }

    fn has_room(&self) -> bool {
        // ORDERING: Relaxed: a knob and a counter; the kernel's check is as approximate.
        let max = self.zswap_max_bytes.load(Ordering::Relaxed);
        max == MAX || self.zswap_current_bytes() < max
    }
}

impl Memcgs {
    /// Adds a group under `parent`; returns its index.
    ///
    /// # Errors
    /// [`MemcgError::NoParent`].
    pub fn add(&mut self, name: &str, parent: u16) -> Result<u16, MemcgError> {
        if usize::from(parent) >= self.0.len() {
            return Err(MemcgError::NoParent { name: name.into(), parent });
        }
        self.0.push(Memcg::new(name, Some(parent)));
        Ok(u16::try_from(self.0.len() - 1).expect("fewer than 65536 groups"))
    }

    /// The group with this index.
    pub fn get(&self, id: u16) -> Option<&Memcg> {
        self.0.get(usize::from(id))
    }

    /// All groups in index order.
    pub fn iter(&self) -> impl Iterator<Item = &Memcg> {
        self.0.iter()
    }

    fn ancestry(&self, id: u16) -> impl Iterator<Item = &Memcg> {
        std::iter::successors(self.get(id), |group| group.parent.and_then(|p| self.get(p)))
    }

    /// `obj_cgroup_may_zswap`: neither the group nor an ancestor is at its limit.
    pub fn may_zswap(&self, id: u16) -> bool {
        self.ancestry(id).all(Memcg::has_room)
    }

    /// `mem_cgroup_zswap_writeback_enabled`: any 0 up to the root wins.
    pub fn writeback_enabled(&self, id: u16) -> bool {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.ancestry(id).all(|group| group.writeback.load(Ordering::Relaxed))
    }

    /// Charges stored bytes to the group and its ancestors; always succeeds, as in the kernel.
    pub fn charge_zswap(&self, id: u16, bytes: u64) {
        for group in self.ancestry(id) {
            // ORDERING: Relaxed: a counter.
            group.zswap_current_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Takes back what [`Memcgs::charge_zswap`] charged.
    pub fn uncharge_zswap(&self, id: u16, bytes: u64) {
        for group in self.ancestry(id) {
            // ORDERING: Relaxed: a counter.
            let before = group.zswap_current_bytes.fetch_sub(bytes, Ordering::Relaxed);
            debug_assert!(before >= bytes, "memcg {}: uncharged {bytes} of {before} bytes", group.name);
        }
    }
}

impl Snapshot for Memcgs {
    fn save(&self, out: &mut Saved) {
        for group in &self.0 {
            // ORDERING: Relaxed: a saving driver is alone.
            let knobs = [group.zswap_max_bytes.load(Ordering::Relaxed), group.writeback.load(Ordering::Relaxed).into()];
            out.state.extend(knobs);
            out.state.push(group.zswap_current_bytes());
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        for group in &self.0 {
            group.set_zswap_max(from.state());
            group.set_writeback(from.state() != 0);
            // ORDERING: Relaxed: a restoring driver is alone.
            group.zswap_current_bytes.store(from.state(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_ancestor_limits_and_denies() {
        let mut groups = Memcgs::default();
        let parent = groups.add("parent", 0).unwrap();
        let child = groups.add("child", parent).unwrap();
        assert!(groups.may_zswap(child) && groups.writeback_enabled(child));
        groups.get(parent).unwrap().set_zswap_max(100);
        groups.charge_zswap(child, 100);
        assert!(!groups.may_zswap(child) && groups.may_zswap(0));
        groups.uncharge_zswap(child, 1);
        assert!(groups.may_zswap(child));
        groups.get(0).unwrap().set_writeback(false);
        assert!(!groups.writeback_enabled(child));
    }

    #[test]
    fn a_parent_comes_first() {
        let error = Memcgs::default().add("a", 3).unwrap_err();
        assert_eq!(error.to_string(), r#"memcg "a": parent 3 does not exist"#);
    }
}
