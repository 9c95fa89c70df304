//! The decisions of a design as pure functions over a small [`View`], so that another policy can stand in.

use super::{CheckBefore, Design, EnqueueAt, Gates, OnComplete, OnFull, OnReject, Placement, StoreKind, choice};

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
    /// log2 of the folio's size in base pages.
    pub order: u8,
    /// Folios in all queues, in eighths of what they may hold; 0 where no script looks ([`super::Scripted`]).
    pub fill: u8,
    /// Which of min, low and high the free pages are above: 0 none to 3 all; 3 without a memory budget or a script.
    pub watermark: u8,
}

choice! {
    /// What happens to a folio at an enqueue point.
    #[must_use]
    Admission {
        /// It may be queued.
        Queue = "queue",
        /// The producer goes on itself.
        Sync = "sync",
    }
}
choice! {
    /// What becomes of a folio that the store refused.
    #[must_use]
    Refused {
        /// `__swap_writepage`.
        Device = "device",
        /// The active list.
        Activate = "activate",
        /// Dirty again, for a later scan.
        Redirty = "redirty",
    }
}

/// A policy that cannot be followed: the script failed, gave no such answer, or two answers to one view.
#[derive(Clone, Debug, thiserror::Error)]
#[error("policy: {ask} of {view:?}: {reason}")]
pub struct PolicyError {
    /// The decision, as the script's method is called.
    pub ask: &'static str,
    /// What it looked at.
    pub view: View,
    /// What is wrong with the answer.
    pub reason: String,
}

/// What a design decides. Every method is a pure function of its arguments; a [`Design`] never fails.
pub trait Policy {
    /// Whether a folio that arrives at `point` is queued.
    ///
    /// # Errors
    /// [`PolicyError`], as for all of them.
    fn admit(&self, point: EnqueueAt, view: View) -> Result<Admission, PolicyError>;
    /// How the queue to try first is chosen.
    ///
    /// # Errors
    /// As for `admit`.
    fn placement(&self, view: View) -> Result<Placement, PolicyError>;
    /// When every queue it may use is full.
    ///
    /// # Errors
    /// As for `admit`.
    fn full(&self, view: View) -> Result<OnFull, PolicyError>;
    /// When the store refused it; `queued`: a worker is asking.
    ///
    /// # Errors
    /// As for `admit`.
    fn refused(&self, queued: bool, view: View) -> Result<Refused, PolicyError>;
    /// What its completion does on the LRU, decided when it is queued: rotation needs PG_reclaim kept. Completion rotates
    /// whatever carries it: the folio itself, or one that a later look met under writeback and marked.
    ///
    /// # Errors
    /// As for `admit`.
    fn complete(&self, view: View) -> Result<OnComplete, PolicyError>;
}

impl Policy for Design {
    #[inline]
    fn admit(&self, point: EnqueueAt, view: View) -> Result<Admission, PolicyError> {
        let Gates { kswapd_only, anon_only, writeback_enabled, sync_device } = self.gates;
        let zswap = view.store == StoreKind::Zswap;
        let pass = self.enqueue_at == point
            && self.depth > 0
            && (!kswapd_only || view.is_kswapd)
            && (!anon_only || view.anon)
            && (!writeback_enabled || view.writeback_enabled)
            && (!sync_device || zswap || view.sync_device);
        Ok(if pass { Admission::Queue } else { Admission::Sync })
    }

    #[inline]
    fn placement(&self, _view: View) -> Result<Placement, PolicyError> {
        Ok(self.placement)
    }

    #[inline]
    fn full(&self, _view: View) -> Result<OnFull, PolicyError> {
        Ok(self.on_full)
    }

    #[inline]
    fn refused(&self, queued: bool, view: View) -> Result<Refused, PolicyError> {
        Ok(match (queued, self.on_reject, view.writeback_enabled) {
            (true, OnReject::Device, _) if !self.recheck_writeback => Refused::Device,
            (_, _, true) => Refused::Device,
            (true, OnReject::Device, false) => Refused::Redirty,
            (_, _, false) => Refused::Activate,
        })
    }

    #[inline]
    fn complete(&self, _view: View) -> Result<OnComplete, PolicyError> {
        Ok(self.on_complete)
    }
}

impl Placement {
    /// The first of `queues` queues to try, `len` giving the length of each; the order is cyclic from there.
    #[inline]
    pub fn first(self, node: u8, turn: impl FnOnce() -> u32, queues: usize, len: impl Fn(usize) -> usize) -> usize {
        match self {
            Self::PerNode => usize::from(node) % queues,
            Self::FirstFit => 0,
            Self::RoundRobin => turn() as usize % queues,
            Self::Shortest => (0..queues).min_by_key(|&queue| len(queue)).unwrap_or(0),
        }
    }

    /// Whether a folio may go on to the next queue once its first choice is full: not when that is its own node's alone.
    pub fn spills(self) -> bool {
        self != Self::PerNode
    }
}

impl Design {
    /// Whether the first half of `zswap_store` runs before queueing.
    pub fn checks_before(&self) -> bool {
        self.check_before != CheckBefore::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Preset;

    const KSWAPD: View = View {
        store: StoreKind::Zswap,
        is_kswapd: true,
        anon: true,
        writeback_enabled: true,
        sync_device: false,
        node: 0,
        order: 0,
        fill: 0,
        watermark: 3,
    };

    #[test]
    fn a_refused_page_goes_where_its_design_and_the_knob_say() {
        let denied = View { writeback_enabled: false, ..KSWAPD };
        let split = Preset::Split.design(StoreKind::Zswap);
        let design = |on_reject, recheck_writeback| Design { on_reject, recheck_writeback, ..split };
        let cases = [
            (OnReject::Activate, true, [Refused::Activate, Refused::Activate]),
            (OnReject::Device, true, [Refused::Activate, Refused::Redirty]),
            (OnReject::Device, false, [Refused::Activate, Refused::Device]),
        ];
        for (on_reject, recheck, want) in cases {
            let design = design(on_reject, recheck);
            let asked = |queued, view| design.refused(queued, view).unwrap();
            assert_eq!([false, true].map(|queued| asked(queued, denied)), want, "{on_reject:?}, recheck {recheck}");
            assert_eq!([false, true].map(|queued| asked(queued, KSWAPD)), [Refused::Device; 2]);
        }
    }

    #[test]
    fn every_gate_keeps_out_what_it_names() {
        let gates = Gates { kswapd_only: true, anon_only: true, writeback_enabled: true, sync_device: true };
        let design = Design { gates, depth: 1, ..Preset::Split.design(StoreKind::Zswap) };
        let point = design.enqueue_at;
        let admits = |design: Design, view| design.admit(point, view).unwrap() == Admission::Queue;
        assert!(admits(design, KSWAPD));
        let zram = View { store: StoreKind::Zram, ..KSWAPD };
        let others = [
            (View { is_kswapd: false, ..KSWAPD }, Gates { kswapd_only: false, ..gates }),
            (View { anon: false, ..KSWAPD }, Gates { anon_only: false, ..gates }),
            (View { writeback_enabled: false, ..KSWAPD }, Gates { writeback_enabled: false, ..gates }),
            (zram, Gates { sync_device: false, ..gates }),
        ];
        for (view, open) in others {
            assert!(!admits(design, view) && admits(Design { gates: open, ..design }, view), "{view:?}");
        }
        assert!(admits(design, View { sync_device: true, ..zram }));
        assert!(!admits(Design { depth: 0, ..design }, KSWAPD), "depth 0 is off");
        assert_eq!(design.admit(EnqueueAt::Never, KSWAPD).unwrap(), Admission::Sync);
    }

    #[test]
    fn placement_chooses_among_the_queues() {
        let first = |placement: Placement, node, turn| placement.first(node, || turn, 3, |queue| [3, 1, 2][queue]);
        assert_eq!([0, 1, 2, 4].map(|node| first(Placement::PerNode, node, 9)), [0, 1, 2, 1]);
        assert_eq!([0, 1, 5].map(|turn| first(Placement::RoundRobin, 2, turn)), [0, 1, 2]);
        assert_eq!((first(Placement::FirstFit, 2, 2), first(Placement::Shortest, 0, 0)), (0, 1));
        assert!(Placement::Shortest.spills() && !Placement::PerNode.spills());
    }
}
