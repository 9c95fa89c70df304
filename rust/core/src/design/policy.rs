//! The decisions of a design as pure functions over a small [`View`], so that another policy can stand in.

use super::{CheckBefore, Design, EnqueueAt, Gates, OnComplete, OnFull, OnReject, Placement, StoreKind};

/// What a decision may look at; Copy, no reference into the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The store behind the queue.
    pub store: StoreKind,
    /// Whether the producer is kswapd (or a worker with PF_KSWAPD).
    pub is_kswapd: bool,
    /// Whether the folio is anonymous.
    pub anon: bool,
    /// `mem_cgroup_zswap_writeback_enabled`.
    pub writeback_enabled: bool,
    /// Whether the swap device completes writes in the caller (zram).
    pub sync_device: bool,
    /// The folio's node.
    pub node: u8,
}

/// What happens to a folio at an enqueue point.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may be queued.
    Queue,
    /// The producer goes on itself.
    Sync,
}

/// What becomes of a folio that the store refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `__swap_writepage`.
    Device,
    /// The active list.
    Activate,
    /// Dirty again, for a later scan.
    Redirty,
}

/// What a design decides. Every method is a pure function of its arguments.
pub trait Policy {
    /// Whether a folio that arrives at `point` is queued.
    fn admit(&self, point: EnqueueAt, view: View) -> Admission;
    /// The first queue to try among `lens` (their lengths), and the order is cyclic from there.
    fn place(&self, view: View, turn: u32, lens: &[u32]) -> usize;
    /// When every queue it may use is full.
    fn full(&self, view: View) -> OnFull;
    /// When the store refused it; `queued`: a worker is asking.
    fn refused(&self, queued: bool, view: View) -> Refused;
}

impl Policy for Design {
    fn admit(&self, point: EnqueueAt, view: View) -> Admission {
        let Gates { kswapd_only, anon_only, writeback_enabled, sync_device } = self.gates;
        let zswap = view.store == StoreKind::Zswap;
        let pass = self.enqueue_at == point
            && self.depth > 0
            && (!kswapd_only || view.is_kswapd)
            && (!anon_only || view.anon)
            && (!writeback_enabled || view.writeback_enabled)
            && (!sync_device || zswap || view.sync_device);
        if pass { Admission::Queue } else { Admission::Sync }
    }

    fn place(&self, view: View, turn: u32, lens: &[u32]) -> usize {
        match self.placement {
            Placement::PerNode => usize::from(view.node) % lens.len(),
            Placement::FirstFit => 0,
            Placement::RoundRobin => turn as usize % lens.len(),
            Placement::Shortest => (0..lens.len()).min_by_key(|&q| lens[q]).unwrap_or(0),
        }
    }

    fn full(&self, _view: View) -> OnFull {
        self.on_full
    }

    fn refused(&self, queued: bool, view: View) -> Refused {
        match (queued, self.on_reject, view.writeback_enabled) {
            (true, OnReject::Device, _) if !self.recheck_writeback => Refused::Device,
            (_, _, true) => Refused::Device,
            (true, OnReject::Device, false) => Refused::Redirty,
            (_, _, false) => Refused::Activate,
        }
    }
}

impl Design {
    /// Queues that a folio may go to once its first choice is full: all of them, but its own node's alone.
    pub fn spills(&self) -> bool {
        self.placement != Placement::PerNode
    }

    /// Whether the first half of `zswap_store` runs before queueing.
    pub fn checks_before(&self) -> bool {
        self.check_before != CheckBefore::NONE
    }

    /// Whether PG_reclaim survives queueing. Completion rotates whatever carries it: the folio itself, if it was kept, or one
    /// that a later look met under writeback and marked.
    pub fn keeps_reclaim(&self) -> bool {
        self.on_complete == OnComplete::Rotate
    }
}
