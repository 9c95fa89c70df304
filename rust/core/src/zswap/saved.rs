//! Saving and restoring the store.

use super::{OWNED, Zswap};
use crate::snapshot::{Names, Reader, Saved, Snapshot, narrow, widen};
use crate::sync::Ordering;
use crate::units::NIL;

impl Zswap {
    /// Gives the handles of the entries names, in the order that the slots' names have.
    pub fn name_handles(&self, names: &mut Names) {
        for new in 0..names.slots.named(self.entries.len() as u32) {
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

/// Entries whose bits share a word.
const ENTRIES_PER_WORD: usize = 32;

impl Zswap {
    /// Appends the entries of the slots in use; those of the others have nothing.
    fn save_entries(&self, out: &mut Saved) {
        let (total, named) = (self.entries.len() as u32, out.names.slots.named(self.entries.len() as u32));
        for first in (0..total).step_by(ENTRIES_PER_WORD) {
            let bits_at = out.state.len();
            out.state.push(0);
            for new in first..named.min(first + ENTRIES_PER_WORD as u32) {
                let bits = self.entries[out.names.slots.at(new) as usize].save(out);
                out.state[bits_at] |= bits << (2 * (new - first));
            }
        }
    }
}

impl Snapshot for Zswap {
    fn save(&self, out: &mut Saved) {
        out.state.push(self.params.word());
        self.pools.save(out);
        self.save_entries(out);
        self.lrus.save(&self.entries, out);
        let incompressible = narrow(self.counters.stored_incompressible_pages.load(OWNED) as u32, 20);
        let flags = u64::from(self.is_full()) << 1 | u64::from(self.shrink_is_queued());
        let next = narrow(self.next_shrink().map_or(NIL, u32::from), 16);
        out.state.push(next << 48 | incompressible << 8 | flags);
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.params.set_word(from.state());
        self.pools.restore(from);
        for entries in self.entries.chunks(ENTRIES_PER_WORD) {
            let bits = from.state();
            (0..).zip(entries).for_each(|(i, entry)| entry.restore(bits >> (2 * i), from));
        }
        self.lrus.restore(&self.entries, from);
        let word = from.state();
        // ORDERING: Relaxed (all of it): a restoring driver is alone.
        self.next_shrink.store(widen(word >> 48, 16), Ordering::Relaxed);
        self.full.store(word >> 1 & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.shrink_queued.store(word & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.counters.stored_incompressible_pages.store(widen(word >> 8, 20).into(), OWNED);
    }
}
