//! The class tables and a kernel's own page counts, as exact numbers.

use kcompressd_core::units::NIL;
use kcompressd_core::zsmalloc::{
    AllocError, BEFORE_6_3, ClassTable, ConfigError, Exhausted, Frames, Handle, Pool, PoolConfig, SizeClass, Unlimited,
};
use std::cell::Cell;

fn table(page_size: usize, chain_size: usize) -> ClassTable {
    ClassTable::new(page_size, chain_size).expect("valid")
}

fn rows(table: &ClassTable) -> Vec<(u32, u32, u32)> {
    table.classes().iter().rev().map(|c| (c.size_bytes, c.pages, c.objects)).collect()
}

#[test]
fn distinct_classes_and_the_huge_class() {
    for (chain, classes, huge) in [(4, 69, 3257), (8, 119, 3625), (16, 192, 3833)] {
        let table = table(4096, chain);
        assert_eq!((table.classes().len(), table.huge_class_size()), (classes, huge), "chain {chain}");
    }
}

/// What a 6.1 showed: `mem_used_total` of one object of each size, where the two rules for 4 pages differ.
#[test]
fn before_6_3_a_whole_percentage_decides() {
    let (old, new) = (table(4096, BEFORE_6_3), table(4096, 4));
    assert_eq!((old.huge_class_size(), new.huge_class_size()), (3257, 3257));
    let pages = |table: &ClassTable, size| table.classes()[table.index_of(size).expect("fits")].pages;
    let differ: Vec<_> = (24..=3256).step_by(16).filter(|&s| pages(&old, s) != pages(&new, s)).collect();
    assert!(!differ.is_empty() && differ.iter().all(|&size| pages(&old, size) < pages(&new, size)), "{differ:?}");
}

#[test]
fn top_of_the_chain_8_table() {
    let all = rows(&table(4096, 8));
    let quoted = [
        (4096, 1, 1),
        (3632, 8, 9),
        (3584, 7, 8),
        (3504, 6, 7),
        (3408, 5, 6),
        (3264, 4, 5),
        (3184, 7, 9),
        (3072, 3, 4),
        (2976, 8, 11),
        (2912, 5, 7),
        (2720, 2, 3),
        (2048, 1, 2),
    ];
    assert_eq!(all.iter().filter(|row| quoted.contains(row)).count(), quoted.len());
    assert_eq!(all[..6], quoted[..6]);
    assert_eq!(all.last(), Some(&(32, 1, 128)));
}

/// The class of a request, found the slow way: the first nominal size that fits, in the shape the rules give it.
fn shape_of(size_bytes: usize, page_size: usize, chain: usize) -> (u32, u32) {
    let step = page_size / 256;
    let sizes = (0..).map(|i| (32 + i * step).min(page_size));
    let size = sizes.into_iter().find(|&size| size >= (size_bytes + 8).min(page_size)).expect("endless");
    let (mut best, mut waste) = (1, usize::MAX);
    for pages in 1..=chain {
        if pages * page_size % size < waste && (pages == 1 || !size.is_power_of_two()) {
            (best, waste) = (pages, pages * page_size % size);
        }
    }
    (best as u32, (best * page_size / size) as u32)
}

#[test]
fn every_request_of_every_page_size_finds_its_class() {
    for page_size in [4096, 16384, 65536] {
        for chain in 4..=16 {
            let table = table(page_size, chain);
            for size in 1..=page_size {
                let class = table.classes()[table.index_of(size).expect("fits")];
                assert_eq!((class.pages, class.objects), shape_of(size, page_size, chain), "{size} of {page_size}");
                let whole = class.size_bytes as usize == page_size && size > page_size - 8;
                assert!(class.size_bytes as usize >= size + 8 || whole);
            }
            let huge = table.huge_class_size();
            let class = |size| table.classes()[table.index_of(size).expect("fits")];
            assert!(class(huge).is_huge() && !class(huge - 1).is_huge(), "{page_size} chain {chain}");
        }
    }
}

#[test]
fn merged_neighbours_differ() {
    for page_size in [4096, 16384, 65536] {
        let shapes = rows(&table(page_size, 8));
        assert!(shapes.windows(2).all(|w| (w[0].1, w[0].2) != (w[1].1, w[1].2) && w[0].0 > w[1].0));
    }
}

#[test]
fn what_no_kernel_has_is_refused() {
    assert_eq!(ClassTable::new(8192, 8), Err(ConfigError::PageSize(8192)));
    assert_eq!(ClassTable::new(4096, 3), Err(ConfigError::ChainSize(3)));
    assert_eq!(Pool::new(PoolConfig { chain_size: 17, ..Default::default() }).unwrap_err(), ConfigError::ChainSize(17));
    let pool = Pool::new(PoolConfig::default()).expect("valid");
    for size_bytes in [0, 4097, usize::MAX] {
        assert_eq!(pool.malloc(size_bytes, &Unlimited), Err(AllocError::Size { size_bytes, page_size: 4096 }));
    }
    assert_eq!(pool.total_pages(), 0);
}

#[test]
fn groups_are_ten_steps_between_empty_and_full() {
    let shape = SizeClass { size_bytes: 32, pages: 1, objects: 128 };
    let groups: Vec<_> = [0, 1, 12, 13, 25, 26, 64, 115, 116, 127, 128].map(|n| shape.group_of(n)).into();
    assert_eq!(groups, [0, 1, 1, 2, 2, 3, 6, 9, 10, 10, 11]);
}

#[test]
fn a_handle_is_a_word_that_is_never_zero() {
    assert_eq!(size_of::<Option<Handle>>(), 8);
    let pool = Pool::new(PoolConfig { bytes: false, ..Default::default() }).expect("valid");
    let handle = pool.malloc(1400, &Unlimited).expect("unlimited");
    assert_eq!(Handle::from_raw(handle.to_raw()), Some(handle));
    assert_eq!((Handle::from_raw(0), Handle::from_raw(u64::from(u32::MAX))), (None, None));
}

#[test]
#[should_panic(expected = "is not in use")]
fn a_double_free_panics() {
    let pool = Pool::new(PoolConfig::default()).expect("valid");
    let handles = [0; 2].map(|byte| pool.store(&[byte; 100], &Unlimited).expect("unlimited"));
    pool.free(handles[0], &Unlimited);
    pool.free(handles[0], &Unlimited);
}

const CASES: [(&str, usize); 14] = [
    ("py lz4", 7364608),
    ("py lz4hc", 6463488),
    ("py lzo", 6676480),
    ("py lzo-rle", 6762496),
    ("py zstd", 4706304),
    ("py deflate", 4702208),
    ("py 842", 7069696),
    ("node lz4", 4902912),
    ("node lz4hc", 4214784),
    ("node lzo", 4239360),
    ("node lzo-rle", 4395008),
    ("node zstd", 2740224),
    ("node deflate", 3063808),
    ("node 842", 5554176),
];

/// A kernel's zram, page by page: `mem_used_total` to the byte, with and without the bytes.
#[test]
fn mem_used_total_is_the_kernels() {
    let sizes = include_bytes!("data/zram_page_sizes.u16le");
    for (case, (name, mem_used_total)) in CASES.into_iter().enumerate() {
        for bytes in [false, true] {
            let pool = Pool::new(PoolConfig { bytes, ..Default::default() }).expect("valid");
            let mut stored = 0;
            for size in sizes[case * 8192..][..8192].chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])) {
                if size != 0 {
                    pool.malloc(usize::from(size), &Unlimited).expect("unlimited");
                    stored += usize::from(size);
                }
            }
            let stats = pool.stats();
            assert_eq!(pool.total_pages() * 4096, mem_used_total, "{name}, bytes {bytes}");
            assert_eq!((stats.total_pages, stats.used_bytes), (pool.total_pages(), stored), "{name}");
            pool.invariant();
        }
    }
    assert_eq!(sizes.len(), CASES.len() * 8192);
}

/// 512 handles to a slab's page and 73 descriptors to another; every object of a whole page has a zspage of its own.
#[test]
fn metadata_fills_whole_pages_of_its_slabs() {
    let pool = Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap();
    let mut pages = vec![0];
    for _ in 0..600 {
        pool.malloc(4096, &Unlimited).unwrap();
        pages.push(pool.stats().metadata_pages());
    }
    let expected: Vec<_> = (0..=600usize).map(|objects| objects.div_ceil(512) + objects.div_ceil(73)).collect();
    assert_eq!(pages, expected);
}

/// Pages and handles that are taken and given back, counted.
#[derive(Default)]
struct Counted {
    pages: Cell<usize>,
    handles: Cell<usize>,
}

impl Frames for Counted {
    fn take(&self, pages: usize) -> Option<u32> {
        self.pages.update(|taken| taken + pages);
        Some(NIL)
    }
    fn give(&self, _name: u32, pages: usize) {
        self.pages.update(|taken| taken - pages);
    }
    fn take_handle(&self) -> bool {
        self.handles.update(|taken| taken + 1);
        true
    }
    fn give_handle(&self) {
        self.handles.update(|taken| taken - 1);
    }
}

#[test]
fn who_has_nothing_to_give_still_takes_back() {
    let pool = Pool::new(PoolConfig { bytes: false, ..PoolConfig::default() }).unwrap();
    let counted = Counted::default();
    let handle = pool.malloc(100, &counted).unwrap();
    let exhausted = Exhausted(&counted);
    assert_eq!((exhausted.take(1), exhausted.take_handle()), (None, false));
    for size in [100, 3000] {
        let refused = pool.malloc(size, &exhausted);
        assert!(matches!(refused, Err(AllocError::NoMemory { pages: 0, .. })), "it is the handle that is missing");
    }
    assert_eq!((counted.handles.get(), counted.pages.get()), (1, pool.total_pages()));
    pool.free(handle, &exhausted);
    assert_eq!((counted.handles.get(), counted.pages.get(), pool.total_pages()), (0, 0, 0));
}
