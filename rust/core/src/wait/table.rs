//! The one table of wait cells of a system.

use std::time::Duration;

use crate::sync::{AtomicU32, Ordering};

use super::{Ticket, WaitCell, Woken};

/// What an actor waits for. Its tag is 4 bytes, so that no outcome is put together of smaller pieces than it is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum WaitKey {
    /// A folio in this queue (its kcompressd waits).
    Queue(u16),
    /// Room in this queue (producers wait).
    QueueSpace(u16),
    /// This folio's lock. Folios share cells, as in the kernel's table of page wait queues.
    Folio(u32),
    /// The end of this folio's writeback; shared like [`WaitKey::Folio`].
    Writeback(u32),
    /// Free pages.
    Memory,
    /// The swap device.
    Device,
    /// Work for zswap's shrink worker.
    Shrink,
    /// Work for kswapd (`kswapd_wait`).
    Kswapd,
    /// Half of the min mark free (`pfmemalloc_wait`).
    Pfmemalloc,
    /// The end of enough writeback (`reclaim_wait`).
    Throttle,
}

/// The wait cells of a system, by [`WaitKey`].
///
/// Folio `i` waits on cell `i % buckets`: neighbours never share, and with as many buckets as folios (small
/// explored systems) nobody does.
#[derive(Debug)]
pub struct WaitTable {
    /// The cells that are nobody's own, then those of the queues, then of the room in them.
    others: Box<[WaitCell]>,
    queues: usize,
    folios: Box<[WaitCell]>,
    writebacks: Box<[WaitCell]>,
    wakes: AtomicU32,
}

const MEMORY: usize = 0;
const DEVICE: usize = 1;
const SHRINK: usize = 2;
const KSWAPD: usize = 3;
const PFMEMALLOC: usize = 4;
const THROTTLE: usize = 5;
/// Nobody wakes it, but for the end of the run.
const SLEEPERS: usize = 6;
const SINGLE: usize = 7;

impl WaitTable {
    /// A table for `queues` queues, with `buckets` cells each (at least one) for folio locks and writeback.
    pub fn new(queues: u16, buckets: u32) -> Self {
        let cells = |n: usize| (0..n).map(|_| WaitCell::new()).collect();
        let queues = usize::from(queues);
        Self {
            others: cells(SINGLE + 2 * queues),
            queues,
            folios: cells(buckets.max(1) as usize),
            writebacks: cells(buckets.max(1) as usize),
            wakes: AtomicU32::new(0),
        }
    }

    /// The cell that `key` waits on.
    ///
    /// # Panics
    /// If the key names a queue that the table was not built for.
    #[inline]
    pub fn cell(&self, key: WaitKey) -> &WaitCell {
        let queue = |queue: u16, first| {
            assert!(usize::from(queue) < self.queues, "the table knows no queue {queue}");
            first + usize::from(queue)
        };
        let at = match key {
            WaitKey::Queue(number) => queue(number, SINGLE),
            WaitKey::QueueSpace(number) => queue(number, SINGLE + self.queues),
            WaitKey::Folio(folio) => return &self.folios[folio as usize % self.folios.len()],
            WaitKey::Writeback(folio) => return &self.writebacks[folio as usize % self.writebacks.len()],
            WaitKey::Memory => MEMORY,
            WaitKey::Device => DEVICE,
            WaitKey::Shrink => SHRINK,
            WaitKey::Kswapd => KSWAPD,
            WaitKey::Pfmemalloc => PFMEMALLOC,
            WaitKey::Throttle => THROTTLE,
        };
        &self.others[at]
    }

    /// [`WaitCell::prepare`] of the key's cell.
    pub fn prepare(&self, key: WaitKey) -> Ticket {
        self.cell(key).prepare()
    }

    /// [`WaitCell::cancel`] of the key's cell.
    pub fn cancel(&self, key: WaitKey, ticket: Ticket) -> bool {
        let woken = self.cell(key).cancel(ticket);
        self.note_wake(!woken);
        woken
    }

    /// How often somebody was or may have been woken, modulo 2^32: a driver without threads looks at its waiters when this
    /// has changed.
    #[inline]
    pub fn wakes(&self) -> u32 {
        // ORDERING: Relaxed: read by a driver that is alone.
        self.wakes.load(Ordering::Relaxed)
    }

    #[inline]
    fn note_wake(&self, woken: bool) -> bool {
        if woken {
            // ORDERING: Relaxed: a count; nothing is read through it.
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        woken
    }

    /// [`WaitCell::park`] of the key's cell.
    pub fn park(&self, key: WaitKey, ticket: Ticket) -> Woken {
        self.cell(key).park(ticket)
    }

    /// [`WaitCell::park_timeout`] of the key's cell.
    pub fn park_timeout(&self, key: WaitKey, ticket: Ticket, timeout: Duration) -> Woken {
        self.cell(key).park_timeout(ticket, timeout)
    }

    /// Sleeps for `timeout`, or until the table is shut down. loom and shuttle have no clock: there it may sleep on.
    pub fn sleep(&self, timeout: Duration) -> Woken {
        self.others[SLEEPERS].sleep(timeout)
    }

    /// [`WaitCell::is_woken`] of the key's cell.
    pub fn is_woken(&self, key: WaitKey, ticket: Ticket) -> bool {
        self.cell(key).is_woken(ticket)
    }

    /// [`WaitCell::wake_one`] of the key's cell.
    #[inline]
    pub fn wake_one(&self, key: WaitKey) -> bool {
        self.note_wake(self.cell(key).wake_one())
    }

    /// [`WaitCell::wake_one_early`] of the key's cell.
    #[inline]
    pub fn wake_one_early(&self, key: WaitKey) -> bool {
        self.note_wake(self.cell(key).wake_one_early())
    }

    /// [`WaitCell::wake_all`] of the key's cell; for folios, which share cells, the only right one.
    #[inline]
    pub fn wake_all(&self, key: WaitKey) -> bool {
        self.note_wake(self.cell(key).wake_all())
    }

    /// Everybody who waits for some folio's lock looks again.
    pub fn wake_folios(&self) {
        let woken = self.folios.iter().filter(|cell| cell.wake_all()).count();
        self.note_wake(woken > 0);
    }

    /// Wakes everybody for good: every park, now and later, returns [`Woken::Shutdown`].
    pub fn shutdown(&self) {
        self.cells().for_each(WaitCell::shutdown);
    }

    /// Nobody is in line any more, for a driver that is alone.
    pub fn clear(&self) {
        self.cells().for_each(|cell| cell.set_waiting(0));
    }

    fn cells(&self) -> impl Iterator<Item = &WaitCell> {
        self.folios.iter().chain(&self.writebacks).chain(&self.others)
    }
}
