//! What a pool holds, in numbers.

use super::class::{FULLNESS_GROUPS, HANDLE_BYTES, SizeClass};
use super::zspage::Class;
use super::{Pool, Shard};

/// A zspage's descriptor in the kernel's slab, bytes (`struct zspage`, 64-bit).
pub const DESCRIPTOR_BYTES: usize = 56;

/// One size class at one moment: a row of the kernel's `zsmalloc/*/classes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStats {
    /// The class.
    pub class: SizeClass,
    /// Zspages by fullness group; those without objects are freed at once, so the first is 0.
    pub zspages: [usize; FULLNESS_GROUPS],
    /// Cells in all zspages (`obj_allocated`).
    pub objects_allocated: usize,
    /// Objects (`obj_used`).
    pub objects_used: usize,
    /// Bytes that were asked for, without handles.
    pub used_bytes: usize,
    /// Pages that compaction could free.
    pub freeable_pages: usize,
}

impl ClassStats {
    fn of(class: &Class) -> Self {
        Self {
            class: class.shape,
            zspages: class.lists.map(|list| list.count as usize),
            objects_allocated: class.zspage_count() * class.shape.objects as usize,
            objects_used: class.objects,
            used_bytes: class.used_bytes,
            freeable_pages: class.freeable_zspages() * class.shape.pages as usize,
        }
    }

    /// All zspages of the class.
    pub fn zspage_count(&self) -> usize {
        self.zspages.iter().sum()
    }

    /// Pages in them (`pages_used`).
    pub fn pages(&self) -> usize {
        self.zspage_count() * self.class.pages as usize
    }
}

/// A pool at one moment; with other threads at work, each class at its own moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Every class, smallest first, in the order of [`super::ClassTable::classes`].
    pub classes: Vec<ClassStats>,
    /// Bytes of a page.
    pub page_size: usize,
    /// Pages in zspages: `mem_used_total / page_size`.
    pub total_pages: usize,
    /// Objects allocated.
    pub objects: usize,
    /// Bytes that were asked for: zram's `compr_data_size`.
    pub used_bytes: usize,
    /// Pages that compaction has freed since the pool was made.
    pub pages_compacted: usize,
    /// The kernel's handles outside `total_pages`, bytes: 8 an object.
    pub handle_bytes: usize,
    /// The kernel's zspage descriptors outside `total_pages`, bytes: 56 a zspage.
    pub descriptor_bytes: usize,
}

impl PoolStats {
    /// Pages of metadata outside `total_pages` if its slabs were packed tight (they never are tighter): 512
    /// handles or 73 descriptors to a page of 4 KiB.
    pub fn metadata_pages(&self) -> usize {
        let slab = |bytes: usize, each: usize| (bytes / each).div_ceil(self.page_size / each);
        slab(self.handle_bytes, HANDLE_BYTES) + slab(self.descriptor_bytes, DESCRIPTOR_BYTES)
    }
}

impl Pool {
    /// Counts everything, one class lock at a time.
    pub fn stats(&self) -> PoolStats {
        let of = |shard: &Shard| ClassStats::of(&shard.class.lock());
        let classes: Vec<_> = self.classes.iter().map(of).collect();
        let sum = |field: fn(&ClassStats) -> usize| classes.iter().map(field).sum::<usize>();
        let objects = sum(|class| class.objects_used);
        PoolStats {
            page_size: self.table().page_size(),
            total_pages: sum(ClassStats::pages),
            objects,
            used_bytes: sum(|class| class.used_bytes),
            pages_compacted: self.pages_compacted(),
            handle_bytes: objects * HANDLE_BYTES,
            descriptor_bytes: sum(ClassStats::zspage_count) * DESCRIPTOR_BYTES,
            classes,
        }
    }
}
