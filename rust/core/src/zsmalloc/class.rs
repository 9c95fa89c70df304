//! Size classes: which sizes share a zspage, and how many pages one takes.
//!
//! Facts from mm/zsmalloc.c (Linux 6.12; the same in 6.18): nominal classes go from 32 bytes up in steps of
//! `page_size / 256`; every request grows by an 8-byte handle before it is looked up; a class takes the
//! shortest chain of pages that wastes least; neighbours with equal (pages, objects) are one class, of the
//! larger size. 4 KiB pages and chain 8 give 119 classes. Before 6.3 a zspage had at most 4 pages, and a class took the
//! shortest chain of which the greatest whole percentage is used (observed: `mem_used_total` of a 6.1, docs/fidelity.md).

use crate::units::PAGE_SIZES;

/// The smallest object, bytes (`ZS_MIN_ALLOC_SIZE`).
pub const MIN_ALLOC_BYTES: usize = 32;
/// What each object costs on top of its contents, bytes (`ZS_HANDLE_SIZE`).
pub const HANDLE_BYTES: usize = 8;
/// Fullness groups: 0 %, ten steps of 10 %, 100 % (`NR_FULLNESS_GROUPS`).
pub const FULLNESS_GROUPS: usize = 12;
/// The group of a zspage without objects.
pub const EMPTY: usize = 0;
/// The group of a zspage without room.
pub const FULL: usize = FULLNESS_GROUPS - 1;

/// The chain size that stands for the rule of kernels before 6.3.
pub const BEFORE_6_3: usize = 0;

/// Why a pool or table cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The page size is none of [`PAGE_SIZES`].
    #[error("page size {0} bytes: zsmalloc works with 4096, 16384 or 65536")]
    PageSize(usize),
    /// The chain size is neither in 4..=16 (`CONFIG_ZSMALLOC_CHAIN_SIZE`) nor [`BEFORE_6_3`].
    #[error("chain size {0}: a zspage chains at most 4 to 16 pages")]
    ChainSize(usize),
}

/// One size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass {
    /// Bytes of one object, handle included.
    pub size_bytes: u32,
    /// Pages in one zspage (`pages_per_zspage`).
    pub pages: u32,
    /// Objects in one zspage (`objs_per_zspage`).
    pub objects: u32,
}

impl SizeClass {
    fn new(size_bytes: usize, page_size: usize, chain_size: usize) -> Self {
        let pages = chain_of(size_bytes, page_size, chain_size);
        let objects = pages * page_size / size_bytes;
        Self { size_bytes: size_bytes as u32, pages: pages as u32, objects: objects as u32 }
    }

    /// Whether objects of `other` can live in zspages of `self`.
    fn merges(&self, other: &Self) -> bool {
        (self.pages, self.objects) == (other.pages, other.objects)
    }

    /// Whether one object takes one whole page.
    pub fn is_huge(&self) -> bool {
        self.pages == 1 && self.objects == 1
    }

    /// The fullness group of a zspage with `inuse` objects: `ratio / 10 + 1` between the two ends.
    #[inline]
    pub fn group_of(&self, inuse: u32) -> usize {
        match inuse {
            0 => EMPTY,
            n if n == self.objects => FULL,
            n => (100 * n / self.objects / 10 + 1) as usize,
        }
    }
}

/// The most pages that a zspage has under a chain size.
pub(super) fn longest_chain(chain_size: usize) -> usize {
    if chain_size == BEFORE_6_3 { 4 } else { chain_size }
}

/// The chain of pages for `size_bytes`: one for a power of two, else the shortest that wastes least.
fn chain_of(size_bytes: usize, page_size: usize, chain_size: usize) -> usize {
    if size_bytes.is_power_of_two() {
        return 1;
    }
    let waste = |pages: usize| match chain_size {
        // In whole percent of the zspage, rounded up as its used part is rounded down.
        BEFORE_6_3 => (100 * (pages * page_size % size_bytes)).div_ceil(pages * page_size),
        _ => pages * page_size % size_bytes,
    };
    (1..=longest_chain(chain_size)).min_by_key(|&pages| waste(pages)).expect("a chain of at least 4")
}

/// Every distinct class of one page size and chain size, in ascending order of size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTable {
    page_size: usize,
    /// log2 of the step between nominal sizes.
    step_bits: u32,
    classes: Vec<SizeClass>,
    /// Nominal class to distinct class.
    lookup: Vec<u16>,
    huge_class_size: usize,
}

impl ClassTable {
    /// Computes the table.
    ///
    /// # Errors
    /// [`ConfigError`] for a page size or chain size that no kernel has.
    pub fn new(page_size: usize, chain_size: usize) -> Result<Self, ConfigError> {
        if !PAGE_SIZES.contains(&page_size) {
            return Err(ConfigError::PageSize(page_size));
        }
        if chain_size != BEFORE_6_3 && !(4..=16).contains(&chain_size) {
            return Err(ConfigError::ChainSize(chain_size));
        }
        let nominal = nominal_sizes(page_size).map(|size| SizeClass::new(size, page_size, chain_size));
        Ok(Self::merge(page_size, &nominal.collect::<Vec<_>>()))
    }

    /// Joins neighbours of equal shape, each group under its largest member.
    fn merge(page_size: usize, nominal: &[SizeClass]) -> Self {
        let (mut classes, mut lookup) = (Vec::<SizeClass>::new(), Vec::with_capacity(nominal.len()));
        for class in nominal {
            match classes.last_mut() {
                Some(last) if last.merges(class) => *last = *class,
                _ => classes.push(*class),
            }
            lookup.push(classes.len() as u16 - 1);
        }
        let shared = nominal.iter().rev().find(|c| c.pages != 1 && c.objects != 1);
        let huge_class_size = shared.expect("some class chains pages").size_bytes as usize - (HANDLE_BYTES - 1);
        Self { page_size, step_bits: (page_size / 256).ilog2(), classes, lookup, huge_class_size }
    }

    /// The smallest request, bytes, that takes a whole page (`zs_huge_class_size`).
    pub fn huge_class_size(&self) -> usize {
        self.huge_class_size
    }

    /// The page size, bytes, which is also the largest request.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// The distinct classes, smallest first.
    pub fn classes(&self) -> &[SizeClass] {
        &self.classes
    }

    /// The index into [`ClassTable::classes`] for a request of `size_bytes` without its handle; `None` for 0 and
    /// for more than a page. Orders as the kernel's class index does (`zs_lookup_class_index`).
    #[inline]
    pub fn index_of(&self, size_bytes: usize) -> Option<usize> {
        if size_bytes == 0 || size_bytes > self.page_size {
            return None;
        }
        let above = (size_bytes + HANDLE_BYTES).saturating_sub(MIN_ALLOC_BYTES);
        let nominal = above.div_ceil(1 << self.step_bits).min(self.lookup.len() - 1);
        Some(usize::from(self.lookup[nominal]))
    }
}

fn nominal_sizes(page_size: usize) -> impl Iterator<Item = usize> {
    let step = page_size / 256;
    let count = (page_size - MIN_ALLOC_BYTES).div_ceil(step) + 1;
    (0..count).map(move |i| (MIN_ALLOC_BYTES + i * step).min(page_size))
}
