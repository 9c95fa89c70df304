//! `zsmalloc`: the kernel's allocator for compressed pages, its accounting kept apart from the bytes.
//!
//! A request goes to a size class; a class packs objects into *zspages*, runs of 1 to 16 pages without waste at
//! page ends. What a pool costs is its zspages ([`Pool::total_pages`]: zram's `mem_used_total`, what zswap's
//! limit sees), not the bytes that were asked for. Handles survive [`Pool::compact`], which moves objects.
//! With [`PoolConfig::bytes`] false the same code counts the same pages without holding any contents.
//!
//! | call | may run at the same time as | on one handle |
//! |---|---|---|
//! | `malloc`, `store`, `compact`, `stats` | everything | — |
//! | `read`, `len_bytes` | everything | any number; not with `write` or `free` of it |
//! | `write`, `free` | everything | the owner alone |
//!
//! The last column is no memory-safety matter (the class lock is held throughout): a second `free` panics or
//! frees a stranger's object, as in the kernel. Lock order: one class, then the arena's locks; never two classes.
//! [`Frames`] is called with the class locked and must not call the pool.
//!
//! Facts and order of decisions: mm/zsmalloc.c, Linux 6.12 (size classes and fullness groups are the same in
//! 6.18). Not modelled: the kernel's page of `zs_handle` slab that stays after its handles are gone.

mod arena;
mod check;
mod chunk;
mod class;
mod frames;
mod handle;
mod index;
mod saved;
mod stats;
mod zspage;

pub use chunk::CHUNK_BYTES;
pub use class::{
    BEFORE_6_3, ClassTable, ConfigError, EMPTY, FULL, FULLNESS_GROUPS, HANDLE_BYTES, MIN_ALLOC_BYTES, SizeClass,
};
pub use frames::{Exhausted, Frames, Unlimited};
pub use handle::Handle;
pub use stats::{ClassStats, DESCRIPTOR_BYTES, PoolStats};

use crate::sync::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, CACHE_LINE_BYTES, CachePadded, Ordering, SpinGuard, SpinLock,
    prefetch_all_to_write, prefetch_to_write,
};
use crate::units::PAGE_SIZE;
use arena::Arena;
use zspage::{Class, Retired, Slot};

/// Why an object could not be allocated. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocError {
    /// [`Frames::take`] refused the pages of a new zspage (`-ENOMEM`).
    #[error("no memory for a zspage of {pages} pages (class of {class_bytes} bytes)")]
    NoMemory {
        /// Object size of the class, bytes.
        class_bytes: u32,
        /// Pages that its zspages have.
        pages: usize,
    },
    /// The request is empty or larger than a page (`-EINVAL`, `-ENOSPC`).
    #[error("cannot allocate {size_bytes} bytes: 1 to {page_size} fit")]
    Size {
        /// Bytes that were asked for.
        size_bytes: usize,
        /// The pool's page size, bytes.
        page_size: usize,
    },
    /// The system refused to map memory for the bytes.
    #[error("cannot map memory for {pages} pages: {}", std::io::Error::from_raw_os_error(*errno))]
    Map {
        /// Pages that were needed.
        pages: usize,
        /// What `mmap` reported.
        errno: i32,
    },
}

impl AllocError {
    fn map(pages: usize, error: &std::io::Error) -> Self {
        Self::Map { pages, errno: error.raw_os_error().unwrap_or(0) }
    }
}

/// How a pool is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes of a page; one of [`crate::units::PAGE_SIZES`].
    pub page_size: usize,
    /// The longest zspage, pages (`CONFIG_ZSMALLOC_CHAIN_SIZE`), 4 to 16; or [`BEFORE_6_3`].
    pub chain_size: usize,
    /// Whether contents are held. Without them `write` and `read` copy nothing, and all else is the same.
    pub bytes: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { page_size: PAGE_SIZE, chain_size: 8, bytes: true }
    }
}

/// A class on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    class: SpinLock<Class>,
    /// Where the bytes of its next object will lie if nobody else comes first, for who prefetches them.
    next: AtomicPtr<u8>,
}

impl Shard {
    fn new(shape: SizeClass) -> Self {
        Self { class: SpinLock::new(Class::new(shape)), next: AtomicPtr::new(std::ptr::null_mut()) }
    }
}

/// A pool, shared by threads.
///
/// At rest, per class: `objects allocated = zspages × objects per zspage`, `objects used = Σ objects in its
/// zspages = handles in use ≤ objects allocated`, each zspage holds at least one object and is on the list of its
/// fullness group, and its free list holds exactly its other cells. Over the pool: `total_pages = Σ zspages × pages
/// per zspage = pages taken from Frames − pages given back`.
/// [`Pool::invariant`] checks them.
#[derive(Debug)]
pub struct Pool {
    table: ClassTable,
    classes: Box<[Shard]>,
    arena: Option<Arena>,
    pages: CachePadded<AtomicUsize>,
    pages_compacted: AtomicUsize,
    /// Pages that its shrinker was asked for and put off (`nr_deferred`).
    deferred: AtomicU32,
    /// Classes that have ever had a zspage, a bit each: all that a snapshot needs to look at.
    grown: [AtomicU64; 4],
}

impl Pool {
    /// An empty pool.
    ///
    /// # Errors
    /// [`ConfigError`] for a page size or chain size that no kernel has.
    pub fn new(config: PoolConfig) -> Result<Self, ConfigError> {
        let table = ClassTable::new(config.page_size, config.chain_size)?;
        let classes = table.classes().iter().map(|shape| Shard::new(*shape)).collect();
        let arena = config.bytes.then(|| Arena::new(config.page_size, class::longest_chain(config.chain_size)));
        Ok(Self {
            table,
            classes,
            arena,
            pages: CachePadded::default(),
            pages_compacted: AtomicUsize::new(0),
            deferred: AtomicU32::new(0),
            grown: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// The size classes.
    pub fn table(&self) -> &ClassTable {
        &self.table
    }

    /// Whether contents are held.
    pub fn has_bytes(&self) -> bool {
        self.arena.is_some()
    }

    /// Pages in zspages (`zs_get_total_pages`).
    #[inline]
    pub fn total_pages(&self) -> usize {
        // ORDERING: a count that guards no other data; limit checks may see it a moment late, as the kernel's do.
        self.pages.load(Ordering::Relaxed)
    }

    /// Pages that compaction has freed so far (`pages_compacted`).
    pub fn pages_compacted(&self) -> usize {
        // ORDERING: as in `total_pages`.
        self.pages_compacted.load(Ordering::Relaxed)
    }

    /// Maps and touches memory for at least `bytes` of zspages ahead of time, of whatever lengths, and makes room in the tables of
    /// every class for its first zspages. Nothing without bytes.
    ///
    /// # Errors
    /// [`AllocError::Map`]; what was touched before stays.
    pub fn prefault(&self, bytes: usize) -> Result<(), AllocError> {
        let Some(arena) = &self.arena else { return Ok(()) };
        self.classes.iter().for_each(|shard| shard.class.lock_within().reserve_first());
        arena.prefault(bytes)
    }

    /// Allocates an object of `size_bytes`; its contents are undefined until written.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is as before.
    #[inline]
    pub fn malloc(&self, size_bytes: usize, frames: &(impl Frames + ?Sized)) -> Result<Handle, AllocError> {
        self.place(size_bytes, frames).map(|(_, handle, _)| handle)
    }

    /// Allocates an object and copies `bytes` into it, under one lock.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is as before.
    #[inline]
    pub fn store(&self, bytes: &[u8], frames: &(impl Frames + ?Sized)) -> Result<Handle, AllocError> {
        let (mut class, handle, slot) = self.place(bytes.len(), frames)?;
        if self.arena.is_some() {
            class.bytes_mut(slot).copy_from_slice(bytes);
            // ORDERING: Relaxed: a guess; nothing is read through it.
            self.classes[handle.class()].next.store(class.next_bytes(), Ordering::Relaxed);
        }
        Ok(handle)
    }

    /// Asks the CPU for what an object of `size_bytes` is soon to be put into: its class, and the memory for its bytes.
    #[inline]
    pub fn prefetch(&self, size_bytes: usize) {
        let Some(at) = self.table.index_of(size_bytes) else { return };
        let shard = &self.classes[at];
        prefetch_all_to_write(shard);
        // ORDERING: Relaxed: a guess; nothing is read through it.
        let next = shard.next.load(Ordering::Relaxed);
        if !next.is_null() {
            (0..size_bytes).step_by(CACHE_LINE_BYTES).for_each(|at| prefetch_to_write(next.wrapping_add(at)));
        }
    }

    /// Allocates, and returns the class still locked, with where the object is.
    #[inline]
    fn place(
        &self,
        size_bytes: usize,
        frames: &(impl Frames + ?Sized),
    ) -> Result<(SpinGuard<'_, Class>, Handle, Slot), AllocError> {
        let page_size = self.table.page_size();
        let at = self.table.index_of(size_bytes).ok_or(AllocError::Size { size_bytes, page_size })?;
        let mut class = self.classes[at].class.lock();
        if !frames.take_handle() {
            return Err(AllocError::NoMemory { class_bytes: class.shape.size_bytes, pages: 0 });
        }
        let zspage = match class.open_zspage() {
            Some(zspage) => zspage,
            None => self.grow(at, &mut class, frames).inspect_err(|_| frames.give_handle())?,
        };
        let (handle, slot) = class.put(zspage, size_bytes);
        Ok((class, Handle::new(at, handle), slot))
    }

    /// Adds a zspage to `class`, which has index `at`.
    fn grow(&self, at: usize, class: &mut Class, frames: &(impl Frames + ?Sized)) -> Result<u32, AllocError> {
        let pages = class.shape.pages as usize;
        let name = frames.take(pages).ok_or(AllocError::NoMemory { class_bytes: class.shape.size_bytes, pages })?;
        let run = self.arena.as_ref().map(|arena| arena.take(pages)).transpose();
        let run = run.inspect_err(|_| frames.give(name, pages))?;
        // ORDERING: as in `total_pages`.
        self.pages.fetch_add(pages, Ordering::Relaxed);
        self.note_grown(at);
        Ok(class.add_zspage(name, run))
    }

    /// Frees an object; a zspage that is empty then goes back to `frames` at once.
    ///
    /// # Panics
    /// If the handle is not in use.
    #[inline]
    pub fn free(&self, handle: Handle, frames: &(impl Frames + ?Sized)) {
        let mut class = self.class(handle);
        let pages = class.shape.pages as usize;
        frames.give_handle();
        if let Some(retired) = class.free(handle.index()) {
            self.release(&retired, pages, frames);
            drop(class);
            self.discard([retired]);
        }
    }

    /// The `pages` pages of a retired zspage go back.
    fn release(&self, retired: &Retired, pages: usize, frames: &(impl Frames + ?Sized)) {
        // ORDERING: as in `total_pages`.
        self.pages.fetch_sub(pages, Ordering::Relaxed);
        frames.give(retired.name, pages);
    }

    /// Gives the bytes of retired zspages back to the arena they came from.
    fn discard(&self, retired: impl IntoIterator<Item = Retired>) {
        if let Some(arena) = &self.arena {
            retired.into_iter().filter_map(|zspage| zspage.run).for_each(|run| arena.give(run));
        }
    }

    /// Overwrites an object (`zs_obj_write`). Without bytes only the length is checked.
    ///
    /// # Panics
    /// If the handle is not in use or `bytes` has another length than the object.
    pub fn write(&self, handle: Handle, bytes: &[u8]) {
        let mut class = self.class(handle);
        let slot = class.slot(handle.index());
        assert_eq!(bytes.len(), slot.len_bytes(), "a write covers the object");
        if self.arena.is_some() {
            class.bytes_mut(slot).copy_from_slice(bytes);
        }
    }

    /// Copies an object to the start of `out` and returns its length, bytes. Without bytes `out` stays as it is.
    ///
    /// # Panics
    /// If the handle is not in use or `out` is shorter than the object.
    #[inline]
    pub fn read(&self, handle: Handle, out: &mut [u8]) -> usize {
        let class = self.class(handle);
        let slot = class.slot(handle.index());
        let out = &mut out[..slot.len_bytes()];
        if self.arena.is_some() {
            out.copy_from_slice(class.bytes(slot));
        }
        slot.len_bytes()
    }

    /// The length of an object as it was asked for, bytes.
    ///
    /// # Panics
    /// If the handle is not in use.
    pub fn len_bytes(&self, handle: Handle) -> usize {
        self.class(handle).slot(handle.index()).len_bytes()
    }

    #[inline]
    fn class(&self, handle: Handle) -> SpinGuard<'_, Class> {
        self.classes[handle.class()].class.lock()
    }

    /// Compacts every class, largest first, and returns the pages freed (`zs_compact`). While a class wastes a
    /// zspage or more, objects move from its emptiest zspage to its fullest. The lock is let go between
    /// destinations.
    pub fn compact(&self, frames: &(impl Frames + ?Sized)) -> usize {
        let freed: usize = self.classes.iter().rev().map(|shard| self.compact_class(shard, frames)).sum();
        // ORDERING: as in `total_pages`.
        self.pages_compacted.fetch_add(freed, Ordering::Relaxed);
        freed
    }

    /// Compacts one class alone, by its index; returns the pages freed, which `pages_compacted` counts.
    pub fn compact_one(&self, class: usize, frames: &(impl Frames + ?Sized)) -> usize {
        let freed = self.compact_class(&self.classes[class], frames);
        // ORDERING: as in `total_pages`.
        self.pages_compacted.fetch_add(freed, Ordering::Relaxed);
        freed
    }

    fn compact_class(&self, shard: &Shard, frames: &(impl Frames + ?Sized)) -> usize {
        let (mut total, mut retired) = (0, Vec::new());
        loop {
            let mut class = shard.class.lock();
            let more = class.compact_round(&mut retired);
            let pages = class.shape.pages as usize;
            retired.iter().for_each(|zspage| self.release(zspage, pages, frames));
            drop(class);
            total += retired.len() * pages;
            self.discard(retired.drain(..));
            if !more {
                return total;
            }
        }
    }

    /// Pages that [`Pool::compact`] could free now (what the shrinker counts).
    pub fn compactable_pages(&self) -> usize {
        let of = |class: &Class| class.freeable_zspages() * class.shape.pages as usize;
        self.classes.iter().map(|shard| of(&shard.class.lock_within())).sum()
    }

    /// Takes what its shrinker has put off (`xchg_nr_deferred`).
    pub fn take_deferred(&self) -> u32 {
        self.deferred.swap(0, Ordering::Relaxed) // ORDERING: Relaxed: a heuristic's counter.
    }

    /// Puts `pages` more off (`add_nr_deferred`).
    pub fn defer(&self, pages: u32) {
        self.deferred.fetch_add(pages, Ordering::Relaxed); // ORDERING: as above.
    }

    /// How many objects are allocated.
    pub fn objects(&self) -> usize {
        self.classes.iter().map(|shard| shard.class.lock().objects).sum()
    }
}
