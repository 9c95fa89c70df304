//! Saving and restoring a system, part by part: what few steps change comes first, so that a restore finds most of it in place.

use super::{Store, System};
use crate::snapshot::{Names, Reader, Saved, Snapshot};
use crate::sync::Ordering;
use crate::tagged::{Origin, TaggedFolio};

/// Parts of a saved system: groups and store, device and slots, queues, folios with their lists. Those who wait are in line
/// at [`System::wait`]: whoever saves the actors saves their places.
pub const PARTS: usize = 4;

impl System {
    /// Appends the system's words and returns how many each part has.
    ///
    /// # Panics
    /// If the system has a memory budget: such systems are run, not explored.
    pub fn save(&self, out: &mut Saved) -> [usize; PARTS] {
        assert!(self.mm.is_none(), "a system with a memory budget is not explored");
        std::array::from_fn(|part| {
            let begin = out.state.len();
            self.save_part(part, out);
            out.state.len() - begin
        })
    }

    fn save_part(&self, part: usize, out: &mut Saved) {
        match part {
            0 => {
                self.memcgs.save(out);
                match &self.store {
                    Store::Zswap(zswap) => zswap.save(out),
                    Store::Zram(zram) => zram.save(out),
                }
            }
            1 => {
                self.device.save(out);
                self.slots.save(out);
            }
            2 => self.save_queues(out),
            _ => {
                for new in 0..self.folios.len() as u32 {
                    self.folio(out.names.pages.at(new)).save(out);
                }
                self.nodes.iter().for_each(|n| n.save(&self.folios, out));
            }
        }
    }

    /// Takes back one part.
    pub fn restore(&self, part: usize, from: &mut Reader<'_>) {
        match part {
            0 => {
                self.memcgs.restore(from);
                match &self.store {
                    Store::Zswap(zswap) => zswap.restore(from),
                    Store::Zram(zram) => zram.restore(from),
                }
            }
            1 => {
                self.device.restore(from);
                self.slots.restore(from);
            }
            2 => self.restore_queues(from),
            _ => {
                self.folios.iter().for_each(|f| f.restore(from));
                self.nodes.iter().for_each(|n| n.restore(&self.folios, from));
            }
        }
    }

    fn save_queues(&self, out: &mut Saved) {
        let entry =
            |names: &Names, entry| (names.pages.name(self.page_of(entry)) as u16) << 1 | u16::from(entry.is_zswap());
        self.queues.iter().for_each(|q| q.save(out, entry));
        // ORDERING: Relaxed: a saving driver is alone.
        let stopped = u64::from(self.stopped_kthread.load(Ordering::Relaxed));
        // ORDERING: Relaxed: as above.
        let turn = self.turn.load(Ordering::Relaxed) % self.queues.len().max(1) as u32;
        out.state.push(stopped << 48 | u64::from(turn) << 32 | u64::from(self.in_flight()));
    }

    fn restore_queues(&self, from: &mut Reader<'_>) {
        let origin = |code| if code & 1 == 1 { Origin::Zswap } else { Origin::Zram };
        let entry = |code: u16| TaggedFolio::new(self.folio(u32::from(code >> 1)), origin(code));
        self.queues.iter().for_each(|q| q.restore(from, entry));
        let counts = from.state();
        // ORDERING: Relaxed (all three): a restoring driver is alone.
        self.in_flight.store(counts as u32, Ordering::Relaxed);
        self.turn.store(u32::from((counts >> 32) as u16), Ordering::Relaxed); // ORDERING: as above.
        self.stopped_kthread.store((counts >> 48) as u32, Ordering::Relaxed); // ORDERING: as above.
    }
}
