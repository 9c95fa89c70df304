//! The pool and a model that does the same the slow way, side by side: vectors, no indices, no lists of lists.
//!
//! Shared with the fuzz target `zsmalloc`; whatever differs panics.

use kcompressd_core::snapshot::{Saved, Snapshot};
use kcompressd_core::sync::{AtomicUsize, Ordering};
use kcompressd_core::zsmalloc::{AllocError, FULLNESS_GROUPS, Frames, Handle, Pool, PoolConfig, SizeClass};
use std::collections::BTreeMap;

/// Pages that run out.
#[derive(Debug)]
struct Budget(AtomicUsize);

impl Frames for Budget {
    fn take(&self, pages: usize) -> Option<u32> {
        // ORDERING: one thread.
        let left = self.0.load(Ordering::Relaxed);
        // ORDERING: one thread.
        let granted = left >= pages;
        // ORDERING: one thread.
        self.0.store(left - if granted { pages } else { 0 }, Ordering::Relaxed);
        granted.then_some(0)
    }
    fn give(&self, _name: u32, pages: usize) {
        // ORDERING: one thread.
        self.0.fetch_add(pages, Ordering::Relaxed);
    }
}

/// One zspage: who is in which cell, and the free cells, the next to use last.
#[derive(Clone, Debug)]
struct Zspage {
    cells: Vec<Option<u32>>,
    free: Vec<usize>,
}

impl Zspage {
    fn new(objects: usize) -> Self {
        Self { cells: vec![None; objects], free: (0..objects).rev().collect() }
    }
    fn used(&self) -> usize {
        self.cells.len() - self.free.len()
    }
    fn group(&self) -> usize {
        match self.used() {
            0 => 0,
            n if n == self.cells.len() => 11,
            n => (n * 100 / self.cells.len()) / 10 + 1,
        }
    }
    fn put(&mut self, id: u32) {
        let cell = self.free.pop().expect("room");
        self.cells[cell] = Some(id);
    }
    fn take(&mut self, cell: usize) -> u32 {
        self.free.push(cell);
        self.cells[cell].take().expect("an object")
    }
}

/// One class: its zspages, of each group the head first.
#[derive(Clone, Debug)]
struct Class {
    shape: SizeClass,
    zspages: Vec<Zspage>,
}

impl Class {
    /// The first zspage of the first group in `order` that has one.
    fn first(&self, order: impl IntoIterator<Item = usize>) -> Option<usize> {
        order.into_iter().find_map(|group| self.zspages.iter().position(|z| z.group() == group))
    }

    /// Does `change` to a zspage; if its group is another then, it goes to the head of that.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Zspage)) {
        let before = self.zspages[at].group();
        change(&mut self.zspages[at]);
        if self.zspages[at].group() != before {
            let zspage = self.zspages.remove(at);
            self.zspages.insert(0, zspage);
        }
        self.zspages.retain(|zspage| zspage.used() > 0);
    }

    fn malloc(&mut self, id: u32, pages_left: &mut usize) -> bool {
        if let Some(at) = self.first((1..=10).rev()) {
            self.change(at, |zspage| zspage.put(id));
            return true;
        }
        let pages = self.shape.pages as usize;
        if *pages_left < pages {
            return false;
        }
        *pages_left -= pages;
        let mut zspage = Zspage::new(self.shape.objects as usize);
        zspage.put(id);
        self.zspages.insert(0, zspage);
        true
    }

    fn free(&mut self, id: u32) -> usize {
        let before = self.zspages.len();
        let at = self.zspages.iter().position(|z| z.cells.contains(&Some(id))).expect("allocated");
        self.change(at, |zspage| {
            let cell = zspage.cells.iter().position(|cell| *cell == Some(id)).expect("here");
            zspage.take(cell);
        });
        (before - self.zspages.len()) * self.shape.pages as usize
    }

    /// Both zspages are off their lists while objects move, and come back at the heads: source, then destination.
    fn compact(&mut self) -> usize {
        let mut freed = 0;
        let mut to: Option<Zspage> = None;
        let wasted =
            |class: &Self, to: &Option<Zspage>| class.zspages.iter().chain(to).map(|z| z.free.len()).sum::<usize>();
        while wasted(self, &to) >= self.shape.objects as usize {
            if to.is_none() {
                let Some(at) = self.first((1..=10).rev()) else { break };
                to = Some(self.zspages.remove(at));
            }
            let Some(at) = self.first(1..=10) else { break };
            let (mut from, target) = (self.zspages.remove(at), to.as_mut().expect("just taken"));
            for cell in 0..from.cells.len() {
                if from.cells[cell].is_some() && !target.free.is_empty() {
                    target.put(from.take(cell));
                }
            }
            match from.used() {
                0 => freed += self.shape.pages as usize,
                _ => self.zspages.insert(0, from),
            }
            if target.free.is_empty() {
                self.zspages.extend(to.take());
            }
        }
        if let Some(to) = to {
            self.zspages.insert(0, to);
        }
        freed
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    /// Store an object of this size.
    Store(usize),
    /// Free the object at this place among the living (modulo).
    Free(usize),
    /// Store this many of one size: enough to fill zspages.
    Burst(usize, usize),
    /// Free every n-th of the living: leaves zspages of every fill.
    Thin(usize),
    Compact,
    /// Save, go on without looking, restore.
    Restore,
}

/// The pool, the model, and what lives in both.
pub struct Pair {
    pool: Pool,
    budget: Budget,
    bytes: bool,
    classes: Vec<Class>,
    pages_left: usize,
    living: BTreeMap<u32, (Handle, Vec<u8>)>,
    ids: u32,
    /// Pages that compaction has freed.
    pub compacted: usize,
}

impl Pair {
    pub fn new(config: PoolConfig, pages: usize) -> Self {
        let (pool, bytes) = (Pool::new(config).expect("valid"), config.bytes);
        let classes = pool.table().classes().iter().map(|shape| Class { shape: *shape, zspages: Vec::new() }).collect();
        let budget = Budget(AtomicUsize::new(pages));
        Self { pool, budget, bytes, classes, pages_left: pages, living: BTreeMap::new(), ids: 0, compacted: 0 }
    }

    /// Stores an object of `size`, given as if pages had 4096 bytes.
    fn store(&mut self, size: usize) {
        let size = size * self.pool.table().page_size() / 4096;
        let id = self.ids;
        self.ids += 1;
        let contents: Vec<u8> = (0..size).map(|i| (i as u32 ^ id.wrapping_mul(167)) as u8).collect();
        let got =
            if self.bytes { self.pool.store(&contents, &self.budget) } else { self.pool.malloc(size, &self.budget) };
        let class = &mut self.classes[self.pool.table().index_of(size).expect("fits")];
        let placed = class.malloc(id, &mut self.pages_left);
        let (class_bytes, pages) = (class.shape.size_bytes, class.shape.pages as usize);
        match got {
            Ok(handle) => {
                assert!(placed);
                assert_eq!(self.pool.table().classes()[handle.class()], class.shape);
                self.living.insert(id, (handle, contents));
            }
            Err(error) => {
                assert!(!placed);
                assert_eq!(error, AllocError::NoMemory { class_bytes, pages });
            }
        }
    }

    fn free(&mut self, nth: usize) {
        if self.living.is_empty() {
            return;
        }
        let id = *self.living.keys().nth(nth % self.living.len()).expect("in range");
        let (handle, contents) = self.living.remove(&id).expect("living");
        self.pool.free(handle, &self.budget);
        let class = self.pool.table().index_of(contents.len()).expect("fits");
        self.pages_left += self.classes[class].free(id);
    }

    pub fn compact(&mut self) {
        let promised = self.pool.compactable_pages();
        let freed: usize = self.classes.iter_mut().map(Class::compact).sum();
        assert_eq!(self.pool.compact(&self.budget), freed);
        assert_eq!(freed, promised, "compaction keeps its promise");
        assert_eq!(self.pool.compactable_pages(), 0);
        self.pages_left += freed;
        self.compacted += freed;
    }

    /// Saves, changes everything, restores: the same words again, and they go on as before.
    pub fn restore(&mut self) {
        if self.bytes {
            return;
        }
        let (saved, left) = (save(&self.pool), self.pages_left);
        let unlimited = Budget(AtomicUsize::new(1 << 20));
        for size in [10, 1400, 1400, 4000] {
            self.pool.malloc(size, &unlimited).expect("unlimited");
        }
        self.living.values().step_by(2).for_each(|(handle, _)| self.pool.free(*handle, &unlimited));
        self.pool.compact(&unlimited);
        let mut reader = saved.reader();
        self.pool.restore(&mut reader);
        assert!(reader.is_empty());
        assert_eq!(save(&self.pool), saved);
        self.compacted = self.pool.pages_compacted(); // what has been is not restored
        // ORDERING: one thread.
        assert_eq!(self.budget.0.load(Ordering::Relaxed), left);
    }

    pub fn compare(&self) {
        self.pool.invariant();
        let stats = self.pool.stats();
        for (ours, model) in stats.classes.iter().zip(&self.classes) {
            let mut groups = [0; FULLNESS_GROUPS];
            model.zspages.iter().for_each(|zspage| groups[zspage.group()] += 1);
            assert_eq!(ours.zspages, groups, "class {}", model.shape.size_bytes);
            assert_eq!(ours.objects_used, model.zspages.iter().map(Zspage::used).sum::<usize>());
            assert_eq!(ours.objects_allocated, model.zspages.iter().map(|zspage| zspage.cells.len()).sum::<usize>());
            assert_eq!(ours.pages(), model.zspages.len() * model.shape.pages as usize);
        }
        let freeable = stats.classes.iter().map(|class| class.freeable_pages).sum::<usize>();
        assert_eq!(freeable, self.pool.compactable_pages());
        // ORDERING: one thread.
        assert_eq!(self.budget.0.load(Ordering::Relaxed), self.pages_left);
        assert_eq!(stats.total_pages, self.pool.total_pages());
        assert_eq!((stats.objects, stats.pages_compacted), (self.living.len(), self.compacted));
        assert_eq!(stats.used_bytes, self.living.values().map(|(_, contents)| contents.len()).sum::<usize>());
        assert_eq!(stats.handle_bytes, 8 * self.living.len());
        assert_eq!(stats.descriptor_bytes, 56 * self.classes.iter().map(|class| class.zspages.len()).sum::<usize>());
        self.contents();
    }

    fn contents(&self) {
        let mut page = vec![0; 65536];
        for (handle, contents) in self.living.values() {
            let len = self.pool.read(*handle, &mut page);
            assert_eq!((len, self.pool.len_bytes(*handle)), (contents.len(), contents.len()));
            assert!(!self.bytes || page[..len] == contents[..], "contents of {handle:?}");
        }
    }

    pub fn step(&mut self, op: &Op) {
        match *op {
            Op::Store(size) => self.store(size),
            Op::Free(nth) => {
                self.free(nth);
            }
            Op::Burst(size, n) => (0..n).for_each(|_| self.store(size)),
            Op::Thin(n) => {
                (0..self.living.len() / n).for_each(|i| self.free(i * (n - 1)));
            }
            Op::Compact => self.compact(),
            Op::Restore => self.restore(),
        }
    }

    pub fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.step(op);
            self.compare();
        }
    }
}

pub fn save(pool: &Pool) -> Saved {
    let mut saved = Saved::default();
    pool.save(&mut saved);
    saved
}
