//! Saving and restoring the store.

use super::{OWNED, Zswap};
use crate::snapshot::{Names, Reader, Saved, Snapshot};
use crate::sync::Ordering;
use crate::units::NIL;

impl Zswap {
    /// Gives the handles of the entries names, in the order that the slots' names have.
    pub fn name_handles(&self, names: &mut Names) {
        for new in 0..self.entries.len() as u32 {
            let entry = &self.entries[names.slots.at(new) as usize];
            if let Some(handle) = entry.handle() {
                names.give_handle(entry.meta().pool, handle.to_raw());
            }
        }
    }

    /// The folios of the entries on the lists, each list from its oldest.
    pub fn each_listed(&self, mut f: impl FnMut(u32)) {
        self.lrus.each_slot(&self.entries, |slot| f(self.entries[slot as usize].folio()));
    }
}

impl Snapshot for Zswap {
    fn save(&self, out: &mut Saved) {
        out.state.extend(self.params.words());
        self.pools.save(out);
        for new in 0..self.entries.len() as u32 {
            self.entries[out.names.slots.at(new) as usize].save(out);
        }
        self.lrus.save(&self.entries, out);
        let flags = u64::from(self.is_full()) << 1 | u64::from(self.shrink_is_queued());
        out.state.push(u64::from(self.next_shrink().map_or(NIL, u32::from)) << 32 | flags);
        out.state.extend(self.counters.gauges().map(|gauge| gauge.load(OWNED)));
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.params.set_words(std::array::from_fn(|_| from.state()));
        self.pools.restore(from);
        self.entries.iter().for_each(|entry| entry.restore(from));
        self.lrus.restore(&self.entries, from);
        let flags = from.state();
        // ORDERING: Relaxed (all of it): a restoring driver is alone.
        self.next_shrink.store((flags >> 32) as u32, Ordering::Relaxed);
        self.full.store(flags >> 1 & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.shrink_queued.store(flags & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.counters.gauges().iter().for_each(|gauge| gauge.store(from.state(), OWNED));
    }
}
