//! Saving and restoring a pool without bytes.
//!
//! The words are canonical: what cannot change a later decision is not in them. Zspages have no names of their
//! own, only places on their lists; full ones, whose order never decides anything, are sorted by the handle of
//! their first object; handle indices are a function of which are in use (`IndexSet`). The order of free cells
//! is in them: it decides where the next object goes, and compaction moves objects in address order.
//!
//! Layout: the number of classes in use, then for each its index and number of zspages in one word, then for each
//! zspage, by group from the emptiest and from the head, its first free cell and its cells.

use super::class::{EMPTY, FULL};
use super::zspage::{Cell, Class, Slot};
use super::{Handle, Ordering, Pool};
use crate::snapshot::{Reader, Saved, Snapshot};
use crate::units::NIL;

/// Accounting only. [`super::Frames`] is not told of what a restore changes: the budget saves itself.
///
/// # Panics
/// Both calls panic on a pool with bytes: contents are not in a snapshot.
impl Snapshot for Pool {
    fn save(&self, out: &mut Saved) {
        self.save_as(0, out);
    }

    fn restore(&self, from: &mut Reader<'_>) {
        assert!(self.arena.is_none(), "a pool with bytes has no snapshot");
        self.grown().for_each(|index| self.classes[index].class.lock().clear());
        let mut pages = 0;
        for _ in 0..from.state() {
            let head = from.state();
            let index = (head >> 32) as usize;
            self.note_grown(index);
            let mut class = self.classes[index].class.lock();
            class.restore(head as u32, from);
            pages += head as u32 as usize * class.shape.pages as usize;
        }
        // ORDERING: Relaxed: the caller guarantees that no other thread runs.
        self.pages.store(pages, Ordering::Relaxed);
    }
}

impl Pool {
    /// Notes that `class` has a zspage.
    pub(super) fn note_grown(&self, class: usize) {
        if self.grown_word(class / 64) >> (class % 64) & 1 == 0 {
            // ORDERING: Relaxed: read only by a snapshot, whose caller is alone.
            self.grown[class / 64].fetch_or(1 << (class % 64), Ordering::Relaxed);
        }
    }

    /// The classes that [`Pool::note_grown`] noted, in order.
    fn grown(&self) -> impl Iterator<Item = usize> {
        let (mut at, mut word) = (0, self.grown_word(0));
        std::iter::from_fn(move || {
            while word == 0 {
                at += 1;
                word = if at < self.grown.len() { self.grown_word(at) } else { return None };
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(at * 64 + bit)
        })
    }

    fn grown_word(&self, at: usize) -> u64 {
        // ORDERING: Relaxed: as for `note_grown`; a class sets its own bit, under its lock.
        self.grown[at].load(Ordering::Relaxed)
    }

    /// [`Snapshot::save`] of the pool with this number: handles have names by pool.
    pub fn save_as(&self, number: u32, out: &mut Saved) {
        assert!(self.arena.is_none(), "a pool with bytes has no snapshot");
        let count_at = out.state.len();
        out.state.push(0);
        for index in self.grown() {
            let class = self.classes[index].class.lock();
            if class.objects > 0 {
                out.state[count_at] += 1;
                out.state.push((index as u64) << 32 | class.zspage_count() as u64);
                class.save(
                    &|handle| out.names.handle(number, Handle::new(index, handle).to_raw()) as u32,
                    &mut out.state,
                );
            }
        }
    }

    /// Makes the pool an empty one, without counting frames.
    pub fn reset(&self) {
        self.restore(&mut Reader::new(&[0]));
    }
}

impl Class {
    fn save(&self, name: &impl Fn(u32) -> u32, out: &mut Vec<u64>) {
        for group in EMPTY + 1..FULL {
            self.list(group).for_each(|zspage| self.save_zspage(zspage, name, out));
        }
        if self.lists[FULL].count < 2 {
            return self.list(FULL).for_each(|zspage| self.save_zspage(zspage, name, out));
        }
        let mut full: Vec<u32> = self.list(FULL).collect();
        full.sort_unstable_by_key(|&zspage| self.cells_of(zspage)[0].handle().map(name));
        full.into_iter().for_each(|zspage| self.save_zspage(zspage, name, out));
    }

    fn save_zspage(&self, zspage: u32, name: &impl Fn(u32) -> u32, out: &mut Vec<u64>) {
        out.push(u64::from(self.zspages[zspage as usize].free));
        out.extend(self.cells_of(zspage).iter().map(|&cell| self.pack(cell, name)));
    }

    /// A cell as a word: `len_bytes << 32 | handle + 1`, or `next free cell << 32`.
    fn pack(&self, cell: Cell, name: &impl Fn(u32) -> u32) -> u64 {
        match cell.handle() {
            Some(handle) => (self.slot(handle).len_bytes() as u64) << 32 | u64::from(name(handle) + 1),
            None => u64::from(cell.next()) << 32,
        }
    }

    /// Takes the `count` zspages of a cleared class back.
    fn restore(&mut self, count: u32, from: &mut Reader<'_>) {
        for _ in 0..count {
            let zspage = self.add_zspage(NIL, None);
            self.zspages[zspage as usize].free = from.state() as u32;
            for object in 0..self.shape.objects {
                self.unpack(zspage, object, from.state());
            }
        }
        // A list grows at its head, so the last comes first.
        (0..count).rev().for_each(|zspage| self.regroup(zspage));
    }

    fn unpack(&mut self, zspage: u32, object: u32, word: u64) {
        let at = zspage as usize * self.shape.objects as usize + object as usize;
        let high = (word >> 32) as u32;
        let Some(handle) = (word as u32).checked_sub(1) else {
            self.cells[at] = Cell::free(high);
            return;
        };
        self.cells[at] = Cell::object(handle);
        if self.slots.len() <= handle as usize {
            self.slots.resize(handle as usize + 1, Slot::VACANT);
        }
        self.slots[handle as usize] = Slot::new(zspage, object, high as usize);
        self.handles.insert(handle);
        self.zspages[zspage as usize].inuse += 1;
        self.objects += 1;
        self.used_bytes += high as usize;
    }

    /// The zspages of one list, from its head.
    pub(super) fn list(&self, group: usize) -> impl Iterator<Item = u32> + '_ {
        let some = |index: u32| (index != NIL).then_some(index);
        std::iter::successors(some(self.lists[group].head), move |&at| some(self.zspages[at as usize].next))
    }

    /// The cells of one zspage, in address order.
    pub(super) fn cells_of(&self, zspage: u32) -> &[Cell] {
        let objects = self.shape.objects as usize;
        &self.cells[zspage as usize * objects..][..objects]
    }
}
