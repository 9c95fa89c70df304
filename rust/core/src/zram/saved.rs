//! Saving and restoring the accounting of a device.

use super::stat::Counter;
use super::{Entry, Object, Place, Zram};
use crate::snapshot::{Names, Reader, Saved, Snapshot};
use crate::zsmalloc::Handle;

impl Zram {
    /// Gives the handles of the slots names, in the order that the slots' names have.
    pub fn name_handles(&self, names: &mut Names) {
        for new in 0..names.slots.named(self.entries.len() as u32) {
            if let Place::Pool(object) = self.entries[names.slots.at(new) as usize].lock().place {
                names.give_handle(0, object.handle.to_raw());
            }
        }
    }
}

/// The accounting of the swap path's device, which has no clock, no secondary algorithms and no backing device.
///
/// # Panics
/// If it has a backing device: blocks are not in a snapshot.
impl Snapshot for Zram {
    fn save(&self, out: &mut Saved) {
        assert!(self.backing.is_none(), "a device with a backing device has no snapshot");
        self.pool.save(out);
        out.state.push(self.limit_pages.get());
        out.state.extend(self.stats.gauges().map(Counter::get));
        let named = out.names.slots.named(self.entries.len() as u32);
        out.state.push(named.into());
        for new in 0..named {
            match self.entries[out.names.slots.at(new) as usize].lock().place {
                Place::Empty => out.state.push(0),
                Place::Same(word) => out.state.extend([1, word]),
                Place::Pool(object) => {
                    let tag = 2 | u64::from(object.huge) << 2 | u64::from(object.len) << 3;
                    out.state.extend([tag, out.names.handle(0, object.handle.to_raw())]);
                }
                Place::Backing(_) => unreachable!("there is no backing device"),
            }
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        self.pool.restore(from);
        self.limit_pages.set(from.state());
        self.stats.gauges().iter().for_each(|gauge| gauge.set(from.state()));
        let named = from.state() as usize;
        for (i, entry) in self.entries.iter().enumerate() {
            let tag = if i < named { from.state() } else { 0 };
            let place = match tag & 3 {
                0 => Place::Empty,
                1 => Place::Same(from.state()),
                _ => {
                    let handle = Handle::from_raw(from.state()).expect("a saved handle");
                    Place::Pool(Object { handle, len: (tag >> 3) as u32, priority: 0, huge: tag & 4 != 0 })
                }
            };
            *entry.lock() = Entry { place, ..Entry::default() };
        }
    }
}
