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

/// Pages that are handed on one after the other, to a queue or to the compressor, and how long they are queued.
#[derive(Debug)]
pub(super) struct Order {
    /// By queue, and in it by position.
    queued: Vec<Vec<Queued>>,
    /// Pages handed on so far.
    handed: u64,
}

/// Positions of a queue that are looked back at: more than it holds and a worker has in hand.
pub(super) fn ring(queue: &FolioQueue) -> usize {
    (2 * queue.capacity()).next_power_of_two().max(64)
}

impl Order {
    pub fn new(queues: &[FolioQueue]) -> Self {
        let queued = queues.iter().map(|queue| vec![Queued::default(); ring(queue)]).collect();
        Self { queued, handed: 0 }
    }

    /// A page is handed on, with a ticket if it is queued; as which of all.
    pub fn hand_on(&mut self, ticket: u64, at_ns: u64) -> u64 {
        self.handed += 1;
        let handed = self.handed;
        if let Some((queued, position)) = self.place(ticket) {
            *queued = Queued { position, at_ns, handed };
        }
        handed
    }

    /// The compression of a queued page begins: how long it was queued, and as which it was handed on; `None`: it is not known to be.
    pub fn take(&mut self, ticket: u64, at_ns: u64) -> Option<(u64, u64)> {
        let (queued, position) = self.place(ticket)?;
        (queued.position == position).then(|| (at_ns.saturating_sub(queued.at_ns), queued.handed))
    }

    fn place(&mut self, ticket: u64) -> Option<(&mut Queued, u64)> {
        let (queue, position) = aux::place(ticket)?;
        let ring = &mut self.queued[usize::from(queue)];
        let at = position as usize & (ring.len() - 1);
        Some((&mut ring[at], position + 1))
    }
}
