//! Memory cgroups: a hierarchy with limits (`limits`), protection (`protection`), zswap's knobs, and counters of each group's
//! pages (`stat`).
//!
//! Accounting: `zswap_current` of a group is the sum of the stored bytes of its own pages and of its descendants', `zswapped`
//! that of their entries. The root's own pages are charged to nobody, as in the kernel (they have no object cgroup).
//! Limits are compared in whole pages, as the kernel's page counters: a limit below one page admits nothing.
//!
//! A removed group is offline: its pages and charges are its parent's from then on (reparenting), which here means that
//! whoever asks for the group finds its nearest ancestor that is online. Children go offline before their parents.
//! Source: Documentation/admin-guide/cgroup-v2.rst (memory.zswap.*, memory.stat).

mod limits;
mod protection;
mod stat;

pub use protection::Protection;
pub use stat::{MemcgEvent, MemcgStat};

use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::units::PAGE_SIZE;

/// The limit that limits nothing.
pub const MAX: u64 = u64::MAX;

/// The root group's index.
pub const ROOT: u16 = 0;

/// One group.
#[derive(Debug)]
pub struct Memcg {
    name: String,
    parent: Option<u16>,
    zswap_max_bytes: AtomicU64,
    zswap_current_bytes: AtomicU64,
    zswapped: AtomicU64,
    writeback: AtomicBool,
    online: AtomicBool,
    counters: stat::Counters,
    limits: limits::Limits,
    protected: protection::Knobs,
}

/// Why a group cannot be added or removed.
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
    /// It has children that are online, is the root, or is gone already.
    #[error("memcg {name:?} cannot be removed: {reason}")]
    Busy {
        /// The group.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

/// All groups; index 0 is the root.
#[derive(Debug)]
pub struct Memcgs {
    groups: Vec<Memcg>,
    page_size: u64,
}

impl Default for Memcgs {
    fn default() -> Self {
        Self::new(PAGE_SIZE)
    }
}

impl Memcg {
    fn new(name: &str, parent: Option<u16>) -> Self {
        Self {
            name: name.into(),
            parent,
            zswap_max_bytes: AtomicU64::new(MAX),
            zswap_current_bytes: AtomicU64::new(0),
            zswapped: AtomicU64::new(0),
            writeback: AtomicBool::new(true),
            online: AtomicBool::new(true),
            counters: stat::Counters::default(),
            limits: limits::Limits::default(),
            protected: protection::Knobs::default(),
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

    /// Pages in zswap (`zswapped` of memory.stat, in pages).
    pub fn zswapped(&self) -> u64 {
        // ORDERING: Relaxed: as above.
        self.zswapped.load(Ordering::Relaxed)
    }

    /// Sets `memory.zswap.max` in bytes; [`MAX`] for no limit, 0 switches zswap off for the group. The root has none.
    pub fn set_zswap_max(&self, bytes: u64) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.zswap_max_bytes.store(bytes, Ordering::Relaxed);
    }

    /// `memory.zswap.max` in bytes.
    pub fn zswap_max(&self) -> u64 {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.zswap_max_bytes.load(Ordering::Relaxed)
    }

    /// Sets `memory.zswap.writeback`.
    pub fn set_writeback(&self, enabled: bool) {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.writeback.store(enabled, Ordering::Relaxed);
    }

    /// `memory.zswap.writeback` of the group itself.
    pub fn writeback(&self) -> bool {
        // ORDERING: Relaxed: a knob; no other data hangs on it.
        self.writeback.load(Ordering::Relaxed)
    }

    /// Whether it has not been removed.
    pub fn is_online(&self) -> bool {
        // ORDERING: Acquire: pairs with `Memcgs::set_offline`.
        self.online.load(Ordering::Acquire)
    }

    fn has_room(&self, page_size: u64) -> bool {
        let max = self.zswap_max();
        max == MAX || self.zswap_current_bytes() / page_size < max / page_size
    }
}

impl Memcgs {
    /// The root alone; limits count in pages of `page_size` bytes.
    pub fn new(page_size: usize) -> Self {
        Self { groups: vec![Memcg::new("/", None)], page_size: page_size as u64 }
    }

    /// Adds a group under `parent`; returns its index.
    ///
    /// # Errors
    /// [`MemcgError::NoParent`].
    pub fn add(&mut self, name: &str, parent: u16) -> Result<u16, MemcgError> {
        if !self.get(parent).is_some_and(Memcg::is_online) {
            return Err(MemcgError::NoParent { name: name.into(), parent });
        }
        self.groups.push(Memcg::new(name, Some(parent)));
        Ok(u16::try_from(self.groups.len() - 1).expect("fewer than 65536 groups"))
    }

    /// The group with this index.
    pub fn get(&self, id: u16) -> Option<&Memcg> {
        self.groups.get(usize::from(id))
    }

    /// All groups in index order, removed ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Memcg> {
        self.groups.iter()
    }

    /// The index of the group above.
    pub fn parent(&self, id: u16) -> Option<u16> {
        self.get(id)?.parent
    }

    fn ids(&self) -> impl Iterator<Item = u16> {
        0..self.groups.len() as u16
    }

    fn ancestry(&self, id: u16) -> impl Iterator<Item = (u16, &Memcg)> {
        let with_group = |id| Some((id, self.get(id)?));
        std::iter::successors(with_group(id), move |(_, group)| group.parent.and_then(with_group))
    }

    /// The group itself, or the nearest ancestor that is online: whose the pages of a removed group are.
    pub fn online(&self, id: u16) -> u16 {
        self.ancestry(id).find(|(_, group)| group.is_online()).map_or(ROOT, |(id, _)| id)
    }

    /// The group after `id` in a walk of the online groups, parents before children and children in the order they were
    /// made (`mem_cgroup_iter`); the root after `None`, `None` after the last.
    pub fn next_online(&self, id: Option<u16>) -> Option<u16> {
        let Some(id) = id else { return Some(ROOT) };
        let child_of = |parent, after| {
            let mut ids = self.ids().filter(move |&child| after < Some(child));
            ids.find(|&child| self.parent(child) == Some(parent) && self.get(child).is_some_and(Memcg::is_online))
        };
        let sideways = self.ancestry(id).find_map(|(id, group)| child_of(group.parent?, Some(id)));
        child_of(id, None).or(sideways)
    }

    /// Whether `id` is `top` or below it.
    pub fn is_below(&self, id: u16, top: u16) -> bool {
        top == ROOT || self.ancestry(id).any(|(above, _)| above == top)
    }

    /// The same walk through `top` and the groups below it.
    pub fn next_below(&self, top: u16, after: Option<u16>) -> Option<u16> {
        if after.is_none() {
            return Some(top);
        }
        self.next_online(after).filter(|&id| self.is_below(id, top))
    }

    /// `obj_cgroup_may_zswap`: neither the group nor an ancestor below the root is at its limit.
    pub fn may_zswap(&self, id: u16) -> bool {
        self.ancestry(self.online(id)).all(|(id, group)| id == ROOT || group.has_room(self.page_size))
    }

    /// `mem_cgroup_zswap_writeback_enabled`: any 0 up to the root wins.
    #[inline]
    pub fn writeback_enabled(&self, id: u16) -> bool {
        let mut group = self.get(id);
        while let Some(of) = group.filter(|group| group.writeback()) {
            group = of.parent.and_then(|parent| self.get(parent));
        }
        group.is_none()
    }

    /// Charges an entry of `bytes` to the group and its ancestors; always succeeds, as in the kernel.
    pub fn charge_zswap(&self, id: u16, bytes: u64) {
        for (_, group) in self.ancestry(id).filter(|_| id != ROOT) {
            // ORDERING: Relaxed: counters.
            group.zswap_current_bytes.fetch_add(bytes, Ordering::Relaxed);
            group.zswapped.fetch_add(1, Ordering::Relaxed); // ORDERING: as above.
        }
    }

    /// Takes back what [`Memcgs::charge_zswap`] charged.
    pub fn uncharge_zswap(&self, id: u16, bytes: u64) {
        for (_, group) in self.ancestry(id).filter(|_| id != ROOT) {
            // ORDERING: Relaxed: counters.
            let before = group.zswap_current_bytes.fetch_sub(bytes, Ordering::Relaxed);
            group.zswapped.fetch_sub(1, Ordering::Relaxed); // ORDERING: as above.
            debug_assert!(before >= bytes, "memcg {}: uncharged {bytes} of {before} bytes", group.name);
        }
    }

    /// Removes a group: it is found no more. Its stores' entries are to be moved next ([`crate::zswap::Zswap::reparent`]).
    ///
    /// # Errors
    /// [`MemcgError::Busy`]: the root, a group with children that are online, a group that is gone.
    pub fn set_offline(&self, id: u16) -> Result<(), MemcgError> {
        let group = &self.groups[usize::from(id)];
        let online = |&child: &u16| self.groups[usize::from(child)].is_online();
        let reason = match id {
            ROOT => Some("it is the root"),
            _ if !group.is_online() => Some("it is gone already"),
            _ if self.ids().filter(online).any(|child| self.parent(child) == Some(id)) => Some("it has children"),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(MemcgError::Busy { name: group.name.clone(), reason });
        }
        // ORDERING: Release: pairs with `is_online`.
        group.online.store(false, Ordering::Release);
        Ok(())
    }
}

impl Snapshot for Memcgs {
    fn save(&self, out: &mut Saved) {
        for group in &self.groups {
            let knobs = u64::from(group.writeback()) << 1 | u64::from(group.is_online());
            out.state.extend([group.zswap_max(), group.zswap_current_bytes(), group.zswapped() << 2 | knobs]);
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        for group in &self.groups {
            group.set_zswap_max(from.state());
            // ORDERING: Relaxed (all three): a restoring driver is alone.
            group.zswap_current_bytes.store(from.state(), Ordering::Relaxed);
            let rest = from.state();
            group.set_writeback(rest & 2 != 0);
            group.online.store(rest & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
            group.zswapped.store(rest >> 2, Ordering::Relaxed); // ORDERING: as above.
        }
    }
}

#[cfg(test)]
mod tests;
