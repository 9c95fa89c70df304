//! What only all actors of a run know together: who is stalled on memory, how many watermarks the free pages are above, and in
//! which order pages are handed on to be compressed.

use crate::queue::FolioQueue;
use crate::trace::aux;

/// Pressure: who is stalled, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pressure {
    /// Applications that have not ended.
    pub apps: u32,
    /// Of those, the stalled.
    pub stalled: u32,
    pub since_ns: u64,
    /// Time with at least one stalled.
    pub some_ns: u64,
    /// Time with every one stalled.
    pub full_ns: u64,
    /// The stalls of all, added up.
    pub stall_ns: u64,
}

impl Pressure {
    /// Counts the time until `now_ns` as things are.
    pub fn advance(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.since_ns);
        self.since_ns = self.since_ns.max(now_ns);
        self.stall_ns += passed * u64::from(self.stalled);
        self.some_ns += if self.stalled > 0 { passed } else { 0 };
        self.full_ns += if self.stalled > 0 && self.stalled >= self.apps { passed } else { 0 };
    }
}

/// Free pages: how many watermarks they are above, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub above: u8,
    since_ns: u64,
    /// Time with no more free pages than min, low and high.
    pub below_ns: [u64; 3],
}

impl Level {
    pub fn new(above: u8, since_ns: u64) -> Self {
        Self { above, since_ns, below_ns: [0; 3] }
    }

    /// Free pages are above so many watermarks from `now_ns` on.
    pub fn pass(&mut self, above: u8, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.since_ns);
        self.below_ns[usize::from(self.above)..].iter_mut().for_each(|below_ns| *below_ns += passed);
        (self.above, self.since_ns) = (above, now_ns.max(self.since_ns));
    }
}

/// When a folio was queued, and as which of all that were handed on.
#[derive(Clone, Copy, Debug, Default)]
struct Queued {
    /// Its position in the queue plus one; 0: none yet.
    position: u64,
    at_ns: u64,
    handed: u64,
}

/// A queued page whose compression begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// How long it was queued.
    pub wait_ns: u64,
    /// As which of all it was handed on.
    #[cfg_attr(kcompressd_loom, expect(dead_code, reason = "for the live driver, which loom builds go without"))]
    pub handed: u64,
    /// The compression of a page handed on after it has begun before.
    pub is_overtaken: bool,
}

/// Pages that are handed on one after the other, to a queue or to the compressor, and how long they are queued.
#[derive(Debug)]
pub(super) struct Order {
    /// By queue, and in it by position: more positions than it holds and a worker has in hand.
    queued: Vec<Vec<Queued>>,
    /// Pages handed on so far.
    handed: u64,
    /// The latest of those whose compression has begun.
    latest: u64,
}

impl Order {
    pub fn new(queues: &[FolioQueue]) -> Self {
        let ring = |queue: &FolioQueue| (2 * queue.capacity()).next_power_of_two().max(64);
        let queued = queues.iter().map(|queue| vec![Queued::default(); ring(queue)]).collect();
        Self { queued, handed: 0, latest: 0 }
    }

    /// A page is queued.
    pub fn push(&mut self, ticket: u64, at_ns: u64) {
        self.handed += 1;
        let handed = self.handed;
        if let Some((queued, position)) = self.place(ticket) {
            *queued = Queued { position, at_ns, handed };
        }
    }

    /// The compression of a page that was never queued begins; as which of all it was handed on.
    pub fn direct(&mut self) -> u64 {
        self.handed += 1;
        self.latest = self.handed;
        self.handed
    }

    /// The compression of a queued page begins; `None`: it is not known to be queued.
    pub fn take(&mut self, ticket: u64, at_ns: u64) -> Option<Taken> {
        let (&mut Queued { position, at_ns: since_ns, handed }, wanted) = self.place(ticket)?;
        (position == wanted).then(|| {
            let is_overtaken = handed < self.latest;
            self.latest = self.latest.max(handed);
            Taken { wait_ns: at_ns.saturating_sub(since_ns), handed, is_overtaken }
        })
    }

    fn place(&mut self, ticket: u64) -> Option<(&mut Queued, u64)> {
        let (queue, position) = aux::place(ticket)?;
        let ring = &mut self.queued[usize::from(queue)];
        let at = position as usize & (ring.len() - 1);
        Some((&mut ring[at], position + 1))
    }
}
