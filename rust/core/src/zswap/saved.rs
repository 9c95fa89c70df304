//! Saving and restoring the store.

use super::{OWNED, Zswap};
use crate::snapshot::{Reader, Saved, Snapshot};
use crate::sync::Ordering;
use crate::units::NIL;

impl Snapshot for Zswap {
    fn save(&self, out: &mut Saved) {
        out.state.extend(self.params.words());
        self.pools.save(out);
        self.lrus.save(out);
        let flags = u64::from(self.is_full()) << 1 | u64::from(self.shrink_is_queued());
        out.state.push(self.next_shrink().map_or(NIL, u32::from).into());
        out.state.push(flags);
        out.counters.extend(self.counters.all().iter().map(|counter| counter.load(OWNED)));
        self.entries.iter().for_each(|entry| entry.save(out));
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.params.set_words(std::array::from_fn(|_| from.state()));
        self.pools.restore(from);
        self.lrus.restore(from);
        // ORDERING: Relaxed (all of it): a restoring driver is alone.
        self.next_shrink.store(from.state() as u32, Ordering::Relaxed);
        let flags = from.state();
        self.full.store(flags >> 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        self.shrink_queued.store(flags & 1 != 0, Ordering::Relaxed); // ORDERING: as above.
        for counter in self.counters.all() {
            counter.store(from.counter(), OWNED);
        }
        self.entries.iter().for_each(|entry| entry.restore(from));
    }
}
