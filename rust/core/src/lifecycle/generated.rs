//! Generated from python/kcompressd/lifecycle.py by `make generate`; a test fails when it drifts.

use super::effect::{Effect, KEPT};
use super::table::Row;

/// Where the contents of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// In its frame only, on an LRU list.
    Resident = 0,
    /// In its frame only, taken off the list by a scan.
    Isolated = 1,
    /// In the swap cache, unmapped, dirty bit cleared; swap_writeout() decides what follows.
    Unmapped = 2,
    /// Waits for a kcompressd thread.
    Queued = 3,
    /// An actor compresses it.
    Compressing = 4,
    /// In the pool; its frame is still held.
    Compressed = 5,
    /// In the pool; its frame was reclaimed.
    CompressedFreed = 6,
    /// On its way to the swap device.
    WritingBack = 7,
    /// On the device; its frame is still held.
    WrittenBack = 8,
    /// On the device; its frame was reclaimed.
    WrittenBackFreed = 9,
    /// A zeromap bit; its frame is still held, by the scan that frees it next.
    ZeroFilled = 10,
    /// A zeromap bit; its frame was reclaimed.
    ZeroFilledFreed = 11,
    /// Could not go: sent to the active list.
    Activated = 12,
    /// Its write failed: dirty again, still in the swap cache.
    Redirtied = 13,
    /// A fault reads it back.
    FaultingIn = 14,
    /// Mapped again; a valid copy is still in swap.
    ResidentSwapcache = 15,
    /// Not there: never touched yet, or its owner is gone.
    Freed = 16,
    /// Wherever its folio's first page is, with a copy of its own.
    Tail = 17,
}

impl State {
    /// All of them, in id order.
    pub const ALL: [Self; 18] = [
        Self::Resident,
        Self::Isolated,
        Self::Unmapped,
        Self::Queued,
        Self::Compressing,
        Self::Compressed,
        Self::CompressedFreed,
        Self::WritingBack,
        Self::WrittenBack,
        Self::WrittenBackFreed,
        Self::ZeroFilled,
        Self::ZeroFilledFreed,
        Self::Activated,
        Self::Redirtied,
        Self::FaultingIn,
        Self::ResidentSwapcache,
        Self::Freed,
        Self::Tail,
    ];

    /// The one with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub const fn from_id(id: u8) -> Self {
        match id {
            0 => Self::Resident,
            1 => Self::Isolated,
            2 => Self::Unmapped,
            3 => Self::Queued,
            4 => Self::Compressing,
            5 => Self::Compressed,
            6 => Self::CompressedFreed,
            7 => Self::WritingBack,
            8 => Self::WrittenBack,
            9 => Self::WrittenBackFreed,
            10 => Self::ZeroFilled,
            11 => Self::ZeroFilledFreed,
            12 => Self::Activated,
            13 => Self::Redirtied,
            14 => Self::FaultingIn,
            15 => Self::ResidentSwapcache,
            16 => Self::Freed,
            17 => Self::Tail,
            _ => panic!("no state has this number"),
        }
    }

    /// Its name in the definition, in traces and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Isolated => "isolated",
            Self::Unmapped => "unmapped",
            Self::Queued => "queued",
            Self::Compressing => "compressing",
            Self::Compressed => "compressed",
            Self::CompressedFreed => "compressed_freed",
            Self::WritingBack => "writing_back",
            Self::WrittenBack => "written_back",
            Self::WrittenBackFreed => "written_back_freed",
            Self::ZeroFilled => "zero_filled",
            Self::ZeroFilledFreed => "zero_filled_freed",
            Self::Activated => "activated",
            Self::Redirtied => "redirtied",
            Self::FaultingIn => "faulting_in",
            Self::ResidentSwapcache => "resident_swapcache",
            Self::Freed => "freed",
            Self::Tail => "tail",
        }
    }
}

/// What happens to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Event {
    /// Isolate_lru_folios(): taken off its list.
    Isolate = 0,
    /// Move_folios_to_lru(): put back on a list.
    Putback = 1,
    /// Add_to_swap(), try_to_unmap(), folio_clear_dirty_for_io(): locked and ready for swap_writeout().
    Pageout = 2,
    /// Try_to_unmap() of a clean swap-cache folio: nothing to write.
    Unmap = 3,
    /// Swap_zeromap_folio_set(): all zero, nothing stored.
    Zero = 4,
    /// Handed to a kcompressd thread.
    Queue = 5,
    /// Zswap_compress() or zram_write_page() begins.
    Compress = 6,
    /// Zswap_store() or zram_write_page() succeeded.
    Store = 7,
    /// Zswap_store() refused: to the device, or activated where writeback is denied.
    Reject = 8,
    /// __swap_writepage() to the device without asking a store or the knob.
    Write = 9,
    /// The write could not be done: folio_redirty_for_writepage().
    Redirty = 10,
    /// Folio_end_writeback() after a device write.
    EndWriteback = 11,
    /// Folio_rotate_reclaimable(): to the inactive tail.
    Rotate = 12,
    /// Shrink_folio_list() activates it: add_to_swap() failed, or it is under writeback.
    Activate = 13,
    /// Shrink_active_list(): to the inactive head.
    Deactivate = 14,
    /// __remove_mapping() and the frame is free: pgsteal.
    Reclaim = 15,
    /// Do_swap_page(): a frame is allocated for it.
    Fault = 16,
    /// Zswap_load(), zram or device read succeeded.
    Load = 17,
    /// The read failed: the copy stays where it is.
    LoadError = 18,
    /// Do_swap_page() finds its folio in the swap cache.
    SwapcacheHit = 19,
    /// Folio_free_swap(): the copy is dropped, the page dirty.
    FreeSwap = 20,
    /// Zswap_writeback_entry(): a locked swap-cache folio is allocated for the entry.
    Shrink = 21,
    /// The owner exits or unmaps: zap_pte_range(), free_swap_and_cache().
    Free = 22,
    /// Do_anonymous_page(): the first touch.
    Populate = 23,
    /// Prep_compound_page(): it becomes a later page of a large folio.
    Join = 24,
    /// Split_folio_to_list(): each page of a large folio is one of its own.
    Split = 25,
}

impl Event {
    /// All of them, in id order.
    pub const ALL: [Self; 26] = [
        Self::Isolate,
        Self::Putback,
        Self::Pageout,
        Self::Unmap,
        Self::Zero,
        Self::Queue,
        Self::Compress,
        Self::Store,
        Self::Reject,
        Self::Write,
        Self::Redirty,
        Self::EndWriteback,
        Self::Rotate,
        Self::Activate,
        Self::Deactivate,
        Self::Reclaim,
        Self::Fault,
        Self::Load,
        Self::LoadError,
        Self::SwapcacheHit,
        Self::FreeSwap,
        Self::Shrink,
        Self::Free,
        Self::Populate,
        Self::Join,
        Self::Split,
    ];

    /// The one with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub const fn from_id(id: u8) -> Self {
        match id {
            0 => Self::Isolate,
            1 => Self::Putback,
            2 => Self::Pageout,
            3 => Self::Unmap,
            4 => Self::Zero,
            5 => Self::Queue,
            6 => Self::Compress,
            7 => Self::Store,
            8 => Self::Reject,
            9 => Self::Write,
            10 => Self::Redirty,
            11 => Self::EndWriteback,
            12 => Self::Rotate,
            13 => Self::Activate,
            14 => Self::Deactivate,
            15 => Self::Reclaim,
            16 => Self::Fault,
            17 => Self::Load,
            18 => Self::LoadError,
            19 => Self::SwapcacheHit,
            20 => Self::FreeSwap,
            21 => Self::Shrink,
            22 => Self::Free,
            23 => Self::Populate,
            24 => Self::Join,
            25 => Self::Split,
            _ => panic!("no event has this number"),
        }
    }

    /// Its name in the definition, in traces and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Isolate => "isolate",
            Self::Putback => "putback",
            Self::Pageout => "pageout",
            Self::Unmap => "unmap",
            Self::Zero => "zero",
            Self::Queue => "queue",
            Self::Compress => "compress",
            Self::Store => "store",
            Self::Reject => "reject",
            Self::Write => "write",
            Self::Redirty => "redirty",
            Self::EndWriteback => "end_writeback",
            Self::Rotate => "rotate",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Reclaim => "reclaim",
            Self::Fault => "fault",
            Self::Load => "load",
            Self::LoadError => "load_error",
            Self::SwapcacheHit => "swapcache_hit",
            Self::FreeSwap => "free_swap",
            Self::Shrink => "shrink",
            Self::Free => "free",
            Self::Populate => "populate",
            Self::Join => "join",
            Self::Split => "split",
        }
    }
}

/// Bits of the state word's flags.
pub mod flag {
    /// PG_locked.
    pub const LOCKED: u16 = 1 << 0;
    /// PG_writeback.
    pub const WRITEBACK: u16 = 1 << 1;
    /// PG_reclaim.
    pub const RECLAIM: u16 = 1 << 2;
    /// PG_dirty, or a dirty PTE.
    pub const DIRTY: u16 = 1 << 3;
    /// PG_swapcache.
    pub const SWAPCACHE: u16 = 1 << 4;
    /// PG_referenced.
    pub const REFERENCED: u16 = 1 << 5;
    /// PG_active.
    pub const ACTIVE: u16 = 1 << 6;
    /// PG_lru: on a list, not isolated.
    pub const LRU: u16 = 1 << 7;
    /// The page frame is allocated.
    pub const FRAME: u16 = 1 << 8;
    /// A PTE maps the frame.
    pub const MAPPED: u16 = 1 << 9;
    /// The PTE's accessed bit.
    pub const YOUNG: u16 = 1 << 10;
    /// PG_head: the first page of a large folio, for which it stands.
    pub const HEAD: u16 = 1 << 11;
    /// Names in bit order.
    pub const NAMES: [&str; 12] = [
        "locked",
        "writeback",
        "reclaim",
        "dirty",
        "swapcache",
        "referenced",
        "active",
        "lru",
        "frame",
        "mapped",
        "young",
        "head",
    ];
}

/// Bits of a record's guards.
pub mod guard {
    /// Mem_cgroup_zswap_writeback_enabled(): no ancestor has memory.zswap.writeback = 0.
    pub const WRITEBACK_ENABLED: u8 = 1 << 0;
    /// A fault mapped the page again while it was queued or written (folio_mapped()).
    pub const MAPPED: u8 = 1 << 1;
    /// The load drops the copy: zswap's exclusive load, zram's SWP_SYNCHRONOUS_IO fault with one user.
    pub const EXCLUSIVE: u8 = 1 << 2;
    /// The copy is in the zswap pool or in zram, not on a device.
    pub const IN_POOL: u8 = 1 << 3;
    /// The copy is a bit of the zeromap.
    pub const ZERO: u8 = 1 << 4;
    /// Names in bit order.
    pub const NAMES: [&str; 5] = ["writeback_enabled", "mapped", "exclusive", "in_pool", "zero"];
}

/// The rows of the default table.
pub const ROWS: [Row; 99] = [
    Row { event: 0, from: 0, require_mask: 0, require_value: 0, to: 1 },
    Row { event: 0, from: 3, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 0, from: 4, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 0, from: 5, require_mask: 0, require_value: 0, to: 5 },
    Row { event: 0, from: 7, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 0, from: 8, require_mask: 0, require_value: 0, to: 8 },
    Row { event: 0, from: 13, require_mask: 0, require_value: 0, to: 13 },
    Row { event: 0, from: 15, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 1, from: 0, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 1, from: 1, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 1, from: 3, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 1, from: 4, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 1, from: 5, require_mask: 0, require_value: 0, to: 5 },
    Row { event: 1, from: 7, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 1, from: 8, require_mask: 0, require_value: 0, to: 8 },
    Row { event: 1, from: 12, require_mask: 0, require_value: 0, to: 12 },
    Row { event: 1, from: 13, require_mask: 0, require_value: 0, to: 13 },
    Row { event: 1, from: 15, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 2, from: 1, require_mask: 0, require_value: 0, to: 2 },
    Row { event: 2, from: 13, require_mask: 0, require_value: 0, to: 2 },
    Row { event: 3, from: 15, require_mask: 24, require_value: 0, to: 8 },
    Row { event: 3, from: 15, require_mask: 24, require_value: 8, to: 5 },
    Row { event: 3, from: 15, require_mask: 24, require_value: 16, to: 10 },
    Row { event: 4, from: 2, require_mask: 0, require_value: 0, to: 10 },
    Row { event: 4, from: 17, require_mask: 0, require_value: 0, to: 11 },
    Row { event: 5, from: 2, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 6, from: 2, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 6, from: 3, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 7, from: 4, require_mask: 2, require_value: 0, to: 5 },
    Row { event: 7, from: 4, require_mask: 2, require_value: 2, to: 15 },
    Row { event: 7, from: 17, require_mask: 0, require_value: 0, to: 17 },
    Row { event: 8, from: 2, require_mask: 1, require_value: 0, to: 12 },
    Row { event: 8, from: 2, require_mask: 1, require_value: 1, to: 7 },
    Row { event: 8, from: 4, require_mask: 1, require_value: 0, to: 12 },
    Row { event: 8, from: 4, require_mask: 1, require_value: 1, to: 7 },
    Row { event: 9, from: 2, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 9, from: 4, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 10, from: 4, require_mask: 2, require_value: 0, to: 13 },
    Row { event: 10, from: 4, require_mask: 2, require_value: 2, to: 0 },
    Row { event: 10, from: 7, require_mask: 2, require_value: 0, to: 13 },
    Row { event: 10, from: 7, require_mask: 2, require_value: 2, to: 0 },
    Row { event: 11, from: 7, require_mask: 2, require_value: 0, to: 8 },
    Row { event: 11, from: 7, require_mask: 2, require_value: 2, to: 15 },
    Row { event: 12, from: 5, require_mask: 0, require_value: 0, to: 5 },
    Row { event: 12, from: 8, require_mask: 0, require_value: 0, to: 8 },
    Row { event: 12, from: 15, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 13, from: 1, require_mask: 0, require_value: 0, to: 12 },
    Row { event: 13, from: 3, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 13, from: 4, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 13, from: 7, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 13, from: 15, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 14, from: 0, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 14, from: 3, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 14, from: 4, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 14, from: 5, require_mask: 0, require_value: 0, to: 5 },
    Row { event: 14, from: 7, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 14, from: 8, require_mask: 0, require_value: 0, to: 8 },
    Row { event: 14, from: 12, require_mask: 2, require_value: 0, to: 13 },
    Row { event: 14, from: 12, require_mask: 2, require_value: 2, to: 0 },
    Row { event: 14, from: 13, require_mask: 0, require_value: 0, to: 13 },
    Row { event: 14, from: 15, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 15, from: 5, require_mask: 0, require_value: 0, to: 6 },
    Row { event: 15, from: 8, require_mask: 0, require_value: 0, to: 9 },
    Row { event: 15, from: 10, require_mask: 0, require_value: 0, to: 11 },
    Row { event: 15, from: 17, require_mask: 8, require_value: 0, to: 9 },
    Row { event: 15, from: 17, require_mask: 8, require_value: 8, to: 6 },
    Row { event: 16, from: 6, require_mask: 0, require_value: 0, to: 14 },
    Row { event: 16, from: 9, require_mask: 0, require_value: 0, to: 14 },
    Row { event: 16, from: 11, require_mask: 0, require_value: 0, to: 14 },
    Row { event: 17, from: 14, require_mask: 4, require_value: 0, to: 15 },
    Row { event: 17, from: 14, require_mask: 4, require_value: 4, to: 0 },
    Row { event: 18, from: 2, require_mask: 8, require_value: 8, to: 6 },
    Row { event: 18, from: 14, require_mask: 8, require_value: 0, to: 9 },
    Row { event: 18, from: 14, require_mask: 8, require_value: 8, to: 6 },
    Row { event: 19, from: 3, require_mask: 0, require_value: 0, to: 3 },
    Row { event: 19, from: 4, require_mask: 0, require_value: 0, to: 4 },
    Row { event: 19, from: 5, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 19, from: 7, require_mask: 0, require_value: 0, to: 7 },
    Row { event: 19, from: 8, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 19, from: 10, require_mask: 0, require_value: 0, to: 15 },
    Row { event: 19, from: 12, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 19, from: 13, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 20, from: 15, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 20, from: 17, require_mask: 8, require_value: 8, to: 17 },
    Row { event: 21, from: 6, require_mask: 0, require_value: 0, to: 2 },
    Row { event: 22, from: 0, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 5, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 6, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 8, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 9, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 11, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 12, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 13, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 15, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 22, from: 17, require_mask: 0, require_value: 0, to: 16 },
    Row { event: 23, from: 16, require_mask: 0, require_value: 0, to: 0 },
    Row { event: 24, from: 16, require_mask: 0, require_value: 0, to: 17 },
    Row { event: 25, from: 1, require_mask: 0, require_value: 0, to: 1 },
    Row { event: 25, from: 17, require_mask: 0, require_value: 0, to: 1 },
];

/// What each state demands of the flags: alternatives `(mask, value)`.
pub const STATE_FLAGS: [&[(u16, u16)]; 18] = [
    &[(0x10b, 0x108)],
    &[(0x183, 0x100)],
    &[(0x39f, 0x115)],
    &[(0x31b, 0x111), (0x11b, 0x112)],
    &[(0x31b, 0x111), (0x11b, 0x112)],
    &[(0x31b, 0x110)],
    &[(0xb83, 0x0)],
    &[(0x11b, 0x112)],
    &[(0x31b, 0x110)],
    &[(0xb83, 0x0)],
    &[(0x39b, 0x110)],
    &[(0xb83, 0x0)],
    &[(0x14b, 0x148)],
    &[(0x31b, 0x118)],
    &[(0x383, 0x101)],
    &[(0x31b, 0x310)],
    &[(0xb83, 0x0)],
    &[(0xb83, 0x0)],
];

/// The guard that holds of the copy in each state; 0: neither.
pub const STATE_COPIES: [u8; 18] =
    [0, 0, 0, 0, 0, guard::IN_POOL, guard::IN_POOL, 0, 0, 0, guard::ZERO, guard::ZERO, 0, 0, KEPT, KEPT, 0, 0];

/// Whether a run that is over may leave a page in the state.
pub const STATE_RESTS: [bool; 18] =
    [true, false, false, false, false, true, true, false, true, true, false, true, true, true, false, true, true, true];

/// Whether one actor has a page in the state: the one that brought it there.
pub const STATE_HELD: [bool; 18] = [
    false, true, true, false, true, false, false, false, false, false, false, false, false, false, true, false, false,
    false,
];

/// What events do to the flags and the copy.
pub const EFFECTS: [(Event, Effect); 9] = [
    (
        Event::Isolate,
        Effect { before_set: 0x80, before_clear: 0x0, after_set: 0x0, after_clear: 0x80, same: 0x240, copy: None },
    ),
    (
        Event::Putback,
        Effect { before_set: 0x0, before_clear: 0x80, after_set: 0x80, after_clear: 0x0, same: 0x240, copy: None },
    ),
    (
        Event::Store,
        Effect {
            before_set: 0x0,
            before_clear: 0x0,
            after_set: 0x0,
            after_clear: 0x0,
            same: 0x0,
            copy: Some(guard::IN_POOL),
        },
    ),
    (
        Event::Rotate,
        Effect { before_set: 0x84, before_clear: 0x0, after_set: 0x0, after_clear: 0x44, same: 0x280, copy: None },
    ),
    (
        Event::Activate,
        Effect { before_set: 0x0, before_clear: 0x40, after_set: 0x40, after_clear: 0x0, same: 0x200, copy: None },
    ),
    (
        Event::Deactivate,
        Effect { before_set: 0x40, before_clear: 0x0, after_set: 0x0, after_clear: 0x40, same: 0x204, copy: None },
    ),
    (
        Event::SwapcacheHit,
        Effect { before_set: 0x0, before_clear: 0x200, after_set: 0x200, after_clear: 0x0, same: 0xc0, copy: None },
    ),
    (
        Event::Shrink,
        Effect { before_set: 0x0, before_clear: 0x0, after_set: 0x0, after_clear: 0x0, same: 0x0, copy: Some(KEPT) },
    ),
    (
        Event::Split,
        Effect { before_set: 0x0, before_clear: 0x0, after_set: 0x0, after_clear: 0x800, same: 0x0, copy: None },
    ),
];

/// Where every page begins.
pub const INITIAL: (State, u16) = (State::Resident, 0x388);
