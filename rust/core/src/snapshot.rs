//! Saving the state of a system and restoring it in place, for the explore driver.
//!
//! A snapshot is a flat list of words that decide what can happen next: two systems with equal words behave alike, so they
//! are hashed to recognise a state met before. What only records the past (vmstat, sequence numbers, queue positions) is
//! not in them and stays as it is when a snapshot is restored. No word holds an address: folios, slots and objects are
//! indices, so a snapshot restores into the same memory at any time.
//!
//! **Symmetry.** Which folio of equal ones is which decides nothing. [`Names`] gives indices new names while a state is
//! saved; words saved under other names are a state that behaves alike, and restore as one.

use crate::units::NIL;

/// New names for one kind of index, within classes of indices that may take each other's places. Empty: the old names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    class_of: Vec<u32>,
    /// The indices class by class; of each class where it begins, and where its next name is.
    by_class: Vec<u32>,
    begins: Vec<u32>,
    next: Vec<u32>,
    new_of: Vec<u32>,
    old_of: Vec<u32>,
    /// How many have a name, and whether one of them is not its old one.
    given: u32,
    moved: bool,
}

impl Order {
    /// An order of indices that are alike where `class_of` (class numbers from 0) says so.
    pub fn of_classes(class_of: Vec<u32>) -> Self {
        let classes = class_of.iter().max().map_or(0, |&most| most + 1);
        let mut by_class: Vec<u32> = (0..class_of.len() as u32).collect();
        by_class.sort_by_key(|&index| class_of[index as usize]);
        let begins: Vec<u32> = (0..classes)
            .map(|class| by_class.partition_point(|&index| class_of[index as usize] < class) as u32)
            .collect();
        let blank = vec![NIL; class_of.len()];
        let (next, new_of) = (begins.clone(), blank.clone());
        Self { class_of, by_class, begins, next, new_of, old_of: blank, given: 0, moved: false }
    }

    /// Forgets the names, to give new ones.
    pub fn begin(&mut self) {
        self.next.copy_from_slice(&self.begins);
        self.new_of.fill(NIL);
        (self.given, self.moved) = (0, false);
    }

    /// Gives `old` the next name of its class, unless it has one.
    #[inline]
    pub fn give(&mut self, old: u32) {
        let name = &mut self.new_of[old as usize];
        if *name == NIL {
            let next = &mut self.next[self.class_of[old as usize] as usize];
            *name = self.by_class[*next as usize];
            *next += 1;
            self.old_of[*name as usize] = old;
            self.given += 1;
            self.moved |= *name != old;
        }
    }

    /// Whether every index has a name.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.given as usize == self.new_of.len()
    }

    /// How many of `total` indices have something to say: those with a name, which come first.
    pub fn named(&self, total: u32) -> u32 {
        if self.renames() { self.given } else { total }
    }

    /// Whether `old` has been given a name.
    pub fn has(&self, old: u32) -> bool {
        self.new_of[old as usize] != NIL
    }

    /// The new name of `old`; NIL stays NIL.
    #[inline]
    pub fn name(&self, old: u32) -> u32 {
        self.new_of.get(old as usize).copied().unwrap_or(old)
    }

    /// Who is called `new`.
    #[inline]
    pub fn at(&self, new: u32) -> u32 {
        self.old_of.get(new as usize).copied().unwrap_or(new)
    }

    /// Whether names are changed at all.
    pub fn renames(&self) -> bool {
        !self.new_of.is_empty()
    }

    /// The new names by old ones.
    pub fn names(&self) -> &[u32] {
        &self.new_of
    }

    /// Whether whoever has a name keeps the old one.
    #[inline]
    pub fn changes_nothing(&self) -> bool {
        !self.moved
    }
}

/// New names for the indices of a state while it is saved. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of pages.
    pub pages: Order,
    /// Of swap slots.
    pub slots: Order,
    /// Of zsmalloc's handles: pool, old handle, new handle.
    handles: Vec<(u32, u64, u64)>,
}

const CLASS: u64 = !0 << 32;

impl Names {
    /// Forgets the handles' names.
    pub fn begin_handles(&mut self) {
        self.handles.clear();
    }

    /// Gives a handle of `pool` the lowest index that none of its class has been given.
    pub fn give_handle(&mut self, pool: u32, old: u64) {
        let alike = |&&(p, o, _): &&(u32, u64, u64)| p == pool && o & CLASS == old & CLASS;
        let index = self.handles.iter().filter(alike).count() as u64;
        self.handles.push((pool, old, old & CLASS | index));
    }

    /// Whether everything keeps its old name.
    pub fn change_nothing(&self) -> bool {
        let handles = self.handles.iter().all(|(_, old, new)| old == new);
        handles && self.pages.changes_nothing() && self.slots.changes_nothing()
    }

    /// The new name of a handle (raw word) of `pool`; handles that were given none keep theirs.
    #[inline]
    pub fn handle(&self, pool: u32, old: u64) -> u64 {
        self.handles.iter().find(|&&(p, o, _)| (p, o) == (pool, old)).map_or(old, |&(.., new)| new)
    }
}

/// The words of one saved system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Words that decide the future; hashed and compared.
    pub state: Vec<u64>,
    /// The names under which indices are saved.
    pub names: Names,
}

impl Saved {
    /// Empties the words and keeps their memory, and the names.
    pub fn clear(&mut self) {
        self.state.clear();
    }

    /// A reader at the start.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.state)
    }

    /// The word for a page index.
    #[inline]
    pub fn page(&self, page: u32) -> u64 {
        u64::from(self.names.pages.name(page))
    }
}

/// Appends small numbers to `state`, four a word, the first one lowest; how many there are is for one of them to say.
#[inline]
pub fn push_quarters(state: &mut Vec<u64>, numbers: impl IntoIterator<Item = u16>) {
    let (mut word, mut used) = (0, 0);
    for number in numbers {
        if used == u64::BITS {
            state.push(word);
            (word, used) = (0, 0);
        }
        word |= u64::from(number) << used;
        used += u16::BITS;
    }
    state.push(word);
}

/// Appends a list of indices: how many, then they themselves, four a word.
#[inline]
pub fn push_indices(state: &mut Vec<u64>, len: u32, indices: impl Iterator<Item = u32>) {
    push_quarters(state, std::iter::once(len).chain(indices).map(|number| narrow(number, u16::BITS) as u16));
}

/// `value` in so many bits, of which all are set for [`NIL`].
///
/// # Panics
/// If it does not fit: explored systems are small.
#[inline]
pub fn narrow(value: u32, bits: u32) -> u64 {
    let nil = (1 << bits) - 1;
    assert!(value < nil || value == NIL, "{value} in a saved state has more than {bits} bits");
    u64::from(value.min(nil))
}

/// What [`narrow`] made of the lowest `bits` of `word`.
#[inline]
pub fn widen(word: u64, bits: u32) -> u32 {
    let nil = (1 << bits) - 1;
    let value = word as u32 & nil;
    if value == nil { NIL } else { value }
}

/// Reads a [`Saved`] back in the order it was written.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u64]);

impl<'a> Reader<'a> {
    /// A reader of these words.
    pub fn new(words: &'a [u64]) -> Self {
        Self(words)
    }

    /// The next word.
    ///
    /// # Panics
    /// If the snapshot is shorter than what is read: writer and reader of one type disagree.
    #[inline]
    pub fn state(&mut self) -> u64 {
        let (first, rest) = self.0.split_first().expect("snapshot written by the same type");
        self.0 = rest;
        *first
    }

    /// Reads what [`push_quarters`] wrote, one number after the other.
    #[inline]
    pub fn quarters(&mut self) -> impl FnMut() -> u16 {
        let (mut word, mut left) = (self.state(), u64::BITS);
        move || {
            if left == 0 {
                (word, left) = (self.state(), u64::BITS);
            }
            let number = word as u16;
            left -= u16::BITS;
            word >>= u16::BITS;
            number
        }
    }

    /// Reads what [`push_indices`] wrote.
    #[inline]
    pub fn indices(&mut self) -> impl Iterator<Item = u32> {
        let mut next = self.quarters();
        (0..next()).map(move |_| next().into())
    }

    /// Whether every word has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// State that can be saved and restored in place.
///
/// `restore(save(x))` leaves `x` as it was, word for word (a property that every implementor tests). Both take
/// `&self`: the state lives behind atomics and locks, and the caller guarantees that no other thread runs.
pub trait Snapshot {
    /// Appends this value's words.
    fn save(&self, out: &mut Saved);
    /// Takes this value's words back from `from`.
    fn restore(&self, from: &mut Reader<'_>);
}
