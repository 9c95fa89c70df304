//! Saving and restoring a system, in two parts: what moves at almost every step, and the store, which moves at few.

use super::{Store, System};
use crate::snapshot::{Names, Reader, Saved, Snapshot};
use crate::sync::Ordering;
use crate::tagged::{Origin, TaggedFolio};

impl System {
    /// Appends the folios, queues, waiters, lists, slots and the device.
    ///
    /// # Panics
    /// If the system has a memory budget: such systems are run, not explored.
    pub fn save_folios(&self, out: &mut Saved) {
        assert!(self.mm.is_none(), "a system with a memory budget is not explored");
        for new in 0..self.folios.len() as u32 {
            self.folio(out.names.pages.at(new)).save(out);
        }
        let entry =
            |names: &Names, entry| u64::from(names.pages.name(self.page_of(entry))) << 1 | u64::from(entry.is_zswap());
        self.queues.iter().for_each(|q| q.save(out, entry));
        self.wait.save(out);
        self.nodes.iter().for_each(|n| n.save(&self.folios, out));
        self.slots.save(out);
        self.device.save(out);
        // ORDERING: Relaxed: a saving driver is alone.
        let stopped = u64::from(self.stopped_kthread.load(Ordering::Relaxed));
        // ORDERING: Relaxed: as above.
        let turn = self.turn.load(Ordering::Relaxed) % self.queues.len().max(1) as u32;
        out.state.push(stopped << 48 | u64::from(turn) << 32 | u64::from(self.in_flight()));
    }

    /// Takes back what [`System::save_folios`] wrote.
    pub fn restore_folios(&self, from: &mut Reader<'_>) {
        self.folios.iter().for_each(|f| f.restore(from));
        let origin = |word| if word & 1 == 1 { Origin::Zswap } else { Origin::Zram };
        let entry = |word: u64| TaggedFolio::new(self.folio((word >> 1) as u32), origin(word));
        self.queues.iter().for_each(|q| q.restore(from, entry));
        self.wait.restore(from);
        self.nodes.iter().for_each(|n| n.restore(&self.folios, from));
        self.slots.restore(from);
        self.device.restore(from);
        let last = from.state();
        // ORDERING: Relaxed (all three): a restoring driver is alone.
        self.in_flight.store(last as u32, Ordering::Relaxed);
        self.turn.store(u32::from((last >> 32) as u16), Ordering::Relaxed); // ORDERING: as above.
        self.stopped_kthread.store((last >> 48) as u32, Ordering::Relaxed); // ORDERING: as above.
    }

    /// Appends the groups and the store.
    pub fn save_store(&self, out: &mut Saved) {
        self.memcgs.save(out);
        match &self.store {
            Store::Zswap(zswap) => zswap.save(out),
            Store::Zram(zram) => zram.save(out),
        }
    }

    /// Takes back what [`System::save_store`] wrote.
    pub fn restore_store(&self, from: &mut Reader<'_>) {
        self.memcgs.restore(from);
        match &self.store {
            Store::Zswap(zswap) => zswap.restore(from),
            Store::Zram(zram) => zram.restore(from),
        }
    }
}
