//! One size class at work: its zspages, their fullness lists, and the handles of its objects.
//!
//! Everything here is behind the class's lock, held by the caller. Objects are *cells* of 32 bits, as in the
//! kernel, where an object starts with either its handle or the next free object: that one word is the whole
//! accounting of an object, and the bytes, where there are any, lie in a [`Run`] beside it.
//!
//! Order of decisions (mm/zsmalloc.c): an object comes from the first zspage of the fullest group with room, and
//! in it from the free cell given back last (a new zspage is used in address order). A zspage that changes
//! group goes to the head of the new one; in the same group it stays where it is.

use super::arena::Run;
use super::class::{EMPTY, FULL, FULLNESS_GROUPS, SizeClass};
use super::index::IndexSet;
use crate::units::NIL;

/// What a cell holds: `handle << 1 | 1` for an object, `next << 1` for a free cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(u32);

impl Cell {
    /// "No further free cell".
    pub const END: u32 = NIL >> 1;

    pub fn object(handle: u32) -> Self {
        debug_assert!(handle < Self::END);
        Self(handle << 1 | 1)
    }

    pub fn free(next: u32) -> Self {
        Self(next << 1)
    }

    /// The handle index of the object that lives here.
    pub fn handle(self) -> Option<u32> {
        (self.0 & 1 == 1).then_some(self.0 >> 1)
    }

    /// The next free cell; meaningful in a free cell only.
    pub fn next(self) -> u32 {
        self.0 >> 1
    }
}

/// Where the object of a handle is: `zspage << 32 | object << 16 | (len_bytes - 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    /// A handle that is not in use. No object has this word: no zspage has index [`NIL`].
    pub const VACANT: Self = Self(u64::MAX);

    pub fn new(zspage: u32, object: u32, len_bytes: usize) -> Self {
        debug_assert!(object < 1 << 16 && (1..=1 << 16).contains(&len_bytes));
        Self(u64::from(zspage) << 32 | u64::from(object) << 16 | (len_bytes as u64 - 1))
    }

    pub fn zspage(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn object(self) -> u32 {
        (self.0 >> 16 & 0xffff) as u32
    }

    pub fn len_bytes(self) -> usize {
        (self.0 & 0xffff) as usize + 1
    }
}

/// One zspage. In group [`EMPTY`] it is on no list: new, isolated by compaction, or retired.
#[derive(Clone, Debug)]
pub(super) struct Zspage {
    pub inuse: u32,
    /// The first free cell.
    pub free: u32,
    pub group: usize,
    pub prev: u32,
    pub next: u32,
    /// What [`super::Frames::take`] called its pages.
    pub name: u32,
}

/// A zspage that has ended: its pages' name, and the bytes that it had.
#[must_use]
#[derive(Debug)]
pub(super) struct Retired {
    pub name: u32,
    pub run: Option<Run>,
}

/// One fullness list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub head: u32,
    pub count: u32,
}

/// Zspages for which a class that gets its first has room in its tables.
const FIRST_ZSPAGES: usize = 8;

const NO_LIST: List = List { head: NIL, count: 0 };

/// One size class: the state behind one lock.
#[derive(Debug)]
pub(super) struct Class {
    pub shape: SizeClass,
    pub zspages: Vec<Zspage>,
    /// `shape.objects` cells a zspage, in address order.
    pub cells: Vec<Cell>,
    /// The bytes of each zspage; `None` without an arena and for retired zspages.
    pub runs: Vec<Option<Run>>,
    /// Retired zspage indices, used again before new ones.
    pub vacant: Vec<u32>,
    pub lists: [List; FULLNESS_GROUPS],
    /// One bit for each list that is not empty.
    pub filled: u32,
    /// By handle index.
    pub slots: Vec<Slot>,
    pub handles: IndexSet,
    pub objects: usize,
    pub used_bytes: usize,
}

impl Class {
    pub fn new(shape: SizeClass) -> Self {
        Self {
            shape,
            zspages: Vec::new(),
            cells: Vec::new(),
            runs: Vec::new(),
            vacant: Vec::new(),
            lists: [NO_LIST; FULLNESS_GROUPS],
            filled: 0,
            slots: Vec::new(),
            handles: IndexSet::default(),
            objects: 0,
            used_bytes: 0,
        }
    }

    /// Forgets everything but the memory of the tables.
    pub fn clear(&mut self) {
        self.zspages.clear();
        self.cells.clear();
        self.runs.clear();
        self.vacant.clear();
        self.lists = [NO_LIST; FULLNESS_GROUPS];
        self.filled = 0;
        self.slots.clear();
        self.handles.clear();
        (self.objects, self.used_bytes) = (0, 0);
    }

    /// How many zspages the class has.
    pub fn zspage_count(&self) -> usize {
        self.zspages.len() - self.vacant.len()
    }

    /// The zspage that takes the next object: the head of the fullest group with room.
    #[inline]
    pub fn open_zspage(&self) -> Option<u32> {
        let group = (self.filled & !(1 << FULL)).checked_ilog2()?;
        Some(self.lists[group as usize].head)
    }

    /// Adds an empty zspage, its cells free in address order. It is on no list until its first object.
    pub fn add_zspage(&mut self, name: u32, run: Option<Run>) -> u32 {
        let zspage = Zspage { inuse: 0, free: 0, group: EMPTY, prev: NIL, next: NIL, name };
        let objects = self.shape.objects as usize;
        if self.zspages.is_empty() {
            self.reserve_first();
        }
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.zspages.push(zspage.clone());
            self.runs.push(None);
            self.cells.resize(self.cells.len() + objects, Cell::free(Cell::END));
            self.zspages.len() as u32 - 1
        });
        self.zspages[index as usize] = zspage;
        self.runs[index as usize] = run;
        let cells = &mut self.cells[index as usize * objects..][..objects];
        for (next, cell) in (1..).zip(cells.iter_mut()) {
            *cell = Cell::free(next);
        }
        cells[objects - 1] = Cell::free(Cell::END);
        index
    }

    /// Room in the tables for some zspages more than the first: a class that has one has several soon.
    pub fn reserve_first(&mut self) {
        let objects = FIRST_ZSPAGES * self.shape.objects as usize;
        self.zspages.reserve(FIRST_ZSPAGES);
        self.runs.reserve(FIRST_ZSPAGES);
        self.cells.reserve(objects);
        self.slots.reserve(objects);
    }

    /// Puts a new object of `len_bytes` into `zspage`, which has room, and returns its handle index and where it is.
    #[inline]
    pub fn put(&mut self, zspage: u32, len_bytes: usize) -> (u32, Slot) {
        let handle = self.handles.take();
        let object = self.pop_cell(zspage, handle);
        let slot = Slot::new(zspage, object, len_bytes);
        match self.slots.get_mut(handle as usize) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        self.objects += 1;
        self.used_bytes += len_bytes;
        self.regroup(zspage);
        (handle, slot)
    }

    /// Frees the object of `handle`. If its zspage is empty now, that is retired.
    ///
    /// # Panics
    /// If the handle is not in use (a double free).
    #[inline]
    pub fn free(&mut self, handle: u32) -> Option<Retired> {
        let slot = self.slot(handle);
        self.slots[handle as usize] = Slot::VACANT;
        self.handles.remove(handle);
        self.push_cell(slot.zspage(), slot.object());
        self.objects -= 1;
        self.used_bytes -= slot.len_bytes();
        self.regroup(slot.zspage());
        (self.zspages[slot.zspage() as usize].inuse == 0).then(|| self.retire(slot.zspage()))
    }

    /// Where the object of `handle` is.
    ///
    /// # Panics
    /// If the handle is not in use.
    #[inline]
    pub fn slot(&self, handle: u32) -> Slot {
        let slot = self.slots[handle as usize];
        assert!(slot != Slot::VACANT, "zsmalloc handle {handle} of class {} is not in use", self.shape.size_bytes);
        slot
    }

    /// The bytes of the object at `slot`; none without an arena.
    #[inline]
    pub fn bytes(&self, slot: Slot) -> &[u8] {
        let start = slot.object() as usize * self.shape.size_bytes as usize;
        let run = self.runs[slot.zspage() as usize].as_ref();
        run.map_or(&[], |run| &run.bytes()[start..start + slot.len_bytes()])
    }

    /// As [`Class::bytes`], to be written.
    #[inline]
    pub fn bytes_mut(&mut self, slot: Slot) -> &mut [u8] {
        let start = slot.object() as usize * self.shape.size_bytes as usize;
        let run = self.runs[slot.zspage() as usize].as_mut();
        run.map_or(&mut [], |run| &mut run.bytes_mut()[start..start + slot.len_bytes()])
    }

    /// Where the bytes of the class's next object will lie; null without an arena, or when it needs a new zspage.
    #[inline]
    pub fn next_bytes(&self) -> *mut u8 {
        let Some(zspage) = self.open_zspage() else { return std::ptr::null_mut() };
        let Some(run) = &self.runs[zspage as usize] else { return std::ptr::null_mut() };
        let start = self.zspages[zspage as usize].free as usize * self.shape.size_bytes as usize;
        run.bytes()[start..].as_ptr().cast_mut()
    }

    /// How many zspages' worth of cells is free: what compaction can give back.
    pub fn freeable_zspages(&self) -> usize {
        let objects = self.shape.objects as usize;
        (self.zspage_count() * objects - self.objects) / objects
    }

    /// Fills one destination from the emptiest zspages, which go to `retired`; whether a further round can free anything.
    pub fn compact_round(&mut self, retired: &mut Vec<Retired>) -> bool {
        let mut more = false;
        if self.freeable_zspages() == 0 {
            return more;
        }
        let Some(to) = self.isolate((EMPTY + 1..FULL).rev()) else { return more };
        while !more && self.freeable_zspages() > 0 {
            let Some(from) = self.isolate(EMPTY + 1..FULL) else { break };
            self.migrate(from, to);
            self.regroup(from);
            if self.zspages[from as usize].inuse == 0 {
                retired.push(self.retire(from));
            }
            more = self.zspages[to as usize].free == Cell::END;
        }
        self.regroup(to);
        more
    }

    /// Takes the head of the first list in `groups` that has one.
    fn isolate(&mut self, mut groups: impl Iterator<Item = usize>) -> Option<u32> {
        let group = groups.find(|group| self.filled >> group & 1 == 1)?;
        let zspage = self.lists[group].head;
        self.unlink(zspage);
        self.zspages[zspage as usize].group = EMPTY;
        Some(zspage)
    }

    /// Moves objects, in address order, until `to` is full or `from` is empty.
    fn migrate(&mut self, from: u32, to: u32) {
        for object in 0..self.shape.objects {
            let Some(handle) = self.cells[self.cell_index(from, object)].handle() else { continue };
            let old = self.slots[handle as usize];
            let new = Slot::new(to, self.pop_cell(to, handle), old.len_bytes());
            self.copy(old, new);
            self.slots[handle as usize] = new;
            self.push_cell(from, object);
            if self.zspages[to as usize].free == Cell::END {
                break;
            }
        }
    }

    /// Copies bytes between two zspages.
    fn copy(&mut self, from: Slot, to: Slot) {
        let Some(mut run) = self.runs[to.zspage() as usize].take() else { return };
        let start = to.object() as usize * self.shape.size_bytes as usize;
        run.bytes_mut()[start..start + to.len_bytes()].copy_from_slice(self.bytes(from));
        self.runs[to.zspage() as usize] = Some(run);
    }

    fn retire(&mut self, zspage: u32) -> Retired {
        self.vacant.push(zspage);
        Retired { name: self.zspages[zspage as usize].name, run: self.runs[zspage as usize].take() }
    }

    fn cell_index(&self, zspage: u32, object: u32) -> usize {
        zspage as usize * self.shape.objects as usize + object as usize
    }

    /// Gives the first free cell of `zspage` to `handle`.
    #[inline]
    fn pop_cell(&mut self, zspage: u32, handle: u32) -> u32 {
        let object = self.zspages[zspage as usize].free;
        let at = self.cell_index(zspage, object);
        let next = self.cells[at].next();
        self.cells[at] = Cell::object(handle);
        let zspage = &mut self.zspages[zspage as usize];
        (zspage.free, zspage.inuse) = (next, zspage.inuse + 1);
        object
    }

    #[inline]
    fn push_cell(&mut self, zspage: u32, object: u32) {
        let at = self.cell_index(zspage, object);
        let zspage = &mut self.zspages[zspage as usize];
        self.cells[at] = Cell::free(zspage.free);
        (zspage.free, zspage.inuse) = (object, zspage.inuse - 1);
    }

    /// Puts `zspage` on the list that its fill asks for, unless it is there.
    #[inline]
    pub fn regroup(&mut self, zspage: u32) {
        let Zspage { inuse, group: old, .. } = self.zspages[zspage as usize];
        let new = self.shape.group_of(inuse);
        if new == old {
            return;
        }
        if old != EMPTY {
            self.unlink(zspage);
        }
        self.zspages[zspage as usize].group = new;
        if new != EMPTY {
            self.link(zspage, new);
        }
    }

    fn link(&mut self, zspage: u32, group: usize) {
        let List { head, .. } = self.lists[group];
        (self.zspages[zspage as usize].prev, self.zspages[zspage as usize].next) = (NIL, head);
        if head != NIL {
            self.zspages[head as usize].prev = zspage;
        }
        self.lists[group].head = zspage;
        self.lists[group].count += 1;
        self.filled |= 1 << group;
    }

    fn unlink(&mut self, zspage: u32) {
        let Zspage { group, prev, next, .. } = self.zspages[zspage as usize];
        match prev {
            NIL => self.lists[group].head = next,
            _ => self.zspages[prev as usize].next = next,
        }
        if next != NIL {
            self.zspages[next as usize].prev = prev;
        }
        self.lists[group].count -= 1;
        if self.lists[group].head == NIL {
            self.filled &= !(1 << group);
        }
    }
}
