"""Generated from kcompressd/lifecycle.py by ``make generate``; a test fails when it drifts."""

from enum import IntEnum, IntFlag


class State(IntEnum):
    """Where the contents of a page are."""

    RESIDENT = 0
    """In its frame only, on an LRU list."""
    ISOLATED = 1
    """In its frame only, taken off the list by a scan."""
    UNMAPPED = 2
    """In the swap cache, unmapped, dirty bit cleared; swap_writeout() decides what follows."""
    QUEUED = 3
    """Waits for a kcompressd thread."""
    COMPRESSING = 4
    """An actor compresses it."""
    COMPRESSED = 5
    """In the pool; its frame is still held."""
    COMPRESSED_FREED = 6
    """In the pool; its frame was reclaimed."""
    WRITING_BACK = 7
    """On its way to the swap device."""
    WRITTEN_BACK = 8
    """On the device; its frame is still held."""
    WRITTEN_BACK_FREED = 9
    """On the device; its frame was reclaimed."""
    ZERO_FILLED = 10
    """A zeromap bit; its frame is still held, by the scan that frees it next."""
    ZERO_FILLED_FREED = 11
    """A zeromap bit; its frame was reclaimed."""
    ACTIVATED = 12
    """Could not go: sent to the active list."""
    REDIRTIED = 13
    """Its write failed: dirty again, still in the swap cache."""
    FAULTING_IN = 14
    """A fault reads it back."""
    RESIDENT_SWAPCACHE = 15
    """Mapped again; a valid copy is still in swap."""
    FREED = 16
    """Not there: never touched yet, or its owner is gone."""
    TAIL = 17
    """Wherever its folio's first page is, with a copy of its own."""


class Event(IntEnum):
    """What happens to a page."""

    ISOLATE = 0
    """Isolate_lru_folios(): taken off its list."""
    PUTBACK = 1
    """Move_folios_to_lru(): put back on a list."""
    PAGEOUT = 2
    """Add_to_swap(), try_to_unmap(), folio_clear_dirty_for_io(): locked and ready for swap_writeout()."""
    UNMAP = 3
    """Try_to_unmap() of a clean swap-cache folio: nothing to write."""
    ZERO = 4
    """Swap_zeromap_folio_set(): all zero, nothing stored."""
    QUEUE = 5
    """Handed to a kcompressd thread."""
    COMPRESS = 6
    """Zswap_compress() or zram_write_page() begins."""
    STORE = 7
    """Zswap_store() or zram_write_page() succeeded."""
    REJECT = 8
    """Zswap_store() refused: to the device, or activated where writeback is denied."""
    WRITE = 9
    """__swap_writepage() to the device without asking a store or the knob."""
    REDIRTY = 10
    """The write could not be done: folio_redirty_for_writepage()."""
    END_WRITEBACK = 11
    """Folio_end_writeback() after a device write."""
    ROTATE = 12
    """Folio_rotate_reclaimable(): to the inactive tail."""
    ACTIVATE = 13
    """Shrink_folio_list() activates it: add_to_swap() failed, or it is under writeback."""
    DEACTIVATE = 14
    """Shrink_active_list(): to the inactive head."""
    RECLAIM = 15
    """__remove_mapping() and the frame is free: pgsteal."""
    FAULT = 16
    """Do_swap_page(): a frame is allocated for it."""
    LOAD = 17
    """Zswap_load(), zram or device read succeeded."""
    LOAD_ERROR = 18
    """The read failed: the copy stays where it is."""
    SWAPCACHE_HIT = 19
    """Do_swap_page() finds its folio in the swap cache."""
    FREE_SWAP = 20
    """Folio_free_swap(): the copy is dropped, the page dirty."""
    SHRINK = 21
    """Zswap_writeback_entry(): a locked swap-cache folio is allocated for the entry."""
    FREE = 22
    """The owner exits or unmaps: zap_pte_range(), free_swap_and_cache()."""
    POPULATE = 23
    """Do_anonymous_page(): the first touch."""
    JOIN = 24
    """Prep_compound_page(): it becomes a later page of a large folio."""
    SPLIT = 25
    """Split_folio_to_list(): each page of a large folio is one of its own."""


class Guard(IntFlag):
    """Bits of a record's guards."""

    WRITEBACK_ENABLED = 1 << 0
    """Mem_cgroup_zswap_writeback_enabled(): no ancestor has memory.zswap.writeback = 0."""
    MAPPED = 1 << 1
    """A fault mapped the page again while it was queued or written (folio_mapped())."""
    EXCLUSIVE = 1 << 2
    """The load drops the copy: zswap's exclusive load, zram's SWP_SYNCHRONOUS_IO fault with one user."""
    IN_POOL = 1 << 3
    """The copy is in the zswap pool or in zram, not on a device."""
    ZERO = 1 << 4
    """The copy is a bit of the zeromap."""


class Flag(IntFlag):
    """Bits of the state word's flags."""

    LOCKED = 1 << 0
    """PG_locked."""
    WRITEBACK = 1 << 1
    """PG_writeback."""
    RECLAIM = 1 << 2
    """PG_reclaim."""
    DIRTY = 1 << 3
    """PG_dirty, or a dirty PTE."""
    SWAPCACHE = 1 << 4
    """PG_swapcache."""
    REFERENCED = 1 << 5
    """PG_referenced."""
    ACTIVE = 1 << 6
    """PG_active."""
    LRU = 1 << 7
    """PG_lru: on a list, not isolated."""
    FRAME = 1 << 8
    """The page frame is allocated."""
    MAPPED = 1 << 9
    """A PTE maps the frame."""
    YOUNG = 1 << 10
    """The PTE's accessed bit."""
    HEAD = 1 << 11
    """PG_head: the first page of a large folio, for which it stands."""
