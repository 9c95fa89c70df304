//! What loom models have in common.
#![allow(dead_code)] // each test crate uses its part

use kcompressd_core::folio::Folio;
use kcompressd_core::queue::{FolioQueue, Then};
use kcompressd_core::sync::{Arc, AtomicU64, thread};
use kcompressd_core::tagged::{Origin, TaggedFolio};
use kcompressd_core::wait::WaitCell;

/// A model that does not end with every schedule tried: three preemptions where `LOOM_MAX_PREEMPTIONS` says nothing.
pub fn bounded(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(3);
    model.check(f);
}

/// Enough for full, empty, wrap-around and a batch that does not fit.
pub const CAP: usize = 2;
pub const BATCH: usize = 2;

/// The rig of most models.
pub type Rig = SizedRig<CAP, BATCH>;

/// A queue of `CAP` slots, its two wait cells, and folios to put in; it is drained `BATCH` at a time.
pub struct SizedRig<const CAP: usize, const BATCH: usize> {
    pub queue: FolioQueue,
    folios: Vec<Folio>,
    pub items: WaitCell,
    pub space: WaitCell,
    /// Written without any ordering of its own, to see whose ordering carries it.
    pub payload: AtomicU64,
}

impl<const CAP: usize, const BATCH: usize> SizedRig<CAP, BATCH> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: FolioQueue::new(CAP, CAP).expect("valid sizes"),
            folios: (0..4).map(|_| Folio::new(0, 0)).collect(),
            items: WaitCell::new(),
            space: WaitCell::new(),
            payload: AtomicU64::new(0),
        })
    }

    pub fn tag(&self, i: usize) -> TaggedFolio {
        TaggedFolio::new(&self.folios[i], Origin::Zswap)
    }

    pub fn index(&self, folio: TaggedFolio) -> usize {
        folio.index_in(&self.folios).expect("one of ours")
    }

    pub fn try_push(&self, i: usize) -> bool {
        match self.queue.push(self.tag(i)) {
            Ok(_) => {
                self.items.wake_one();
                true
            }
            Err(refused) => {
                assert_eq!(self.index(refused.into_inner()), i, "handed back");
                false
            }
        }
    }

    /// The producer's blocking composition.
    pub fn push(&self, i: usize) {
        self.space.wait_for(|| self.try_push(i).then_some(())).expect("no shutdown");
    }

    /// One drain.
    pub fn drain(&self, got: &mut Vec<usize>) -> (usize, Then) {
        let mut consumer = self.queue.claim().expect("the only consumer");
        let mut buffer = [None; BATCH];
        let drained = consumer.drain(&mut buffer);
        drop(consumer);
        got.extend(buffer[..drained.n].iter().flatten().map(|folio| self.index(*folio)));
        (drained.n, drained.then)
    }

    /// The consumer's blocking composition: until `want` folios came or the queue is closed.
    pub fn consume(&self, want: usize) -> Vec<usize> {
        let mut got = Vec::new();
        while got.len() < want {
            let some = || match self.drain(&mut got) {
                (0, Then::Empty | Then::Busy) => None,
                some => Some(some),
            };
            let (_, then) = self.items.wait_or(some, || _ = self.space.wake_all()).expect("no shutdown");
            if then == Then::Closed {
                break;
            }
        }
        got
    }

    /// What is left when every other thread is done.
    pub fn rest(&self) -> Vec<usize> {
        let mut got = Vec::new();
        while self.drain(&mut got).0 > 0 {}
        got
    }
}

pub fn spawn<R: 'static, T: 'static>(rig: &Arc<R>, f: impl FnOnce(&R) -> T + 'static) -> thread::JoinHandle<T> {
    let rig = Arc::clone(rig);
    thread::spawn(move || f(&rig))
}

pub fn sorted(mut indices: Vec<usize>) -> Vec<usize> {
    indices.sort_unstable();
    indices
}
