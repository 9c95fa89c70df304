//! Counters with the kernel's names, kept per actor and added up by the driver: no counter is shared on a hot path.

use crate::folio::MAX_FOLIO_ORDER;
use hdrhistogram::Histogram;
use std::ops::{Index, IndexMut};

macro_rules! counters {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A counter of [`VmStat`]; each doc names the event it counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Vm {
            $(#[doc = $doc] $variant,)*
        }

        impl Vm {
            /// All of them, in the order of [`VmStat`].
            pub const ALL: &'static [Vm] = &[$(Vm::$variant,)*];

            /// The name in /proc/vmstat; `kcompressd_*` and `exit_*` are ours.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Vm::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    PgscanKswapd "pgscan_kswapd" "Pages isolated by kswapd.",
    PgscanDirect "pgscan_direct" "Pages isolated by a direct reclaimer.",
    PgscanProactive "pgscan_proactive" "Pages isolated on request. A group's memory.reclaim counts in its memory.stat alone: 0.",
    PgscanAnon "pgscan_anon" "Anonymous pages isolated.",
    PgscanFile "pgscan_file" "Page-cache pages isolated.",
    PgstealKswapd "pgsteal_kswapd" "Pages freed by kswapd.",
    PgstealDirect "pgsteal_direct" "Pages freed by a direct reclaimer.",
    PgstealProactive "pgsteal_proactive" "Pages freed on request, likewise: 0.",
    PgstealAnon "pgsteal_anon" "Anonymous pages freed.",
    PgstealFile "pgsteal_file" "Page-cache pages freed.",
    AllocstallNormal "allocstall_normal" "Direct reclaims for kernel memory, internal restarts counted again.",
    AllocstallMovable "allocstall_movable" "Direct reclaims for application pages, internal restarts counted again.",
    PgscanDirectThrottle "pgscan_direct_throttle" "Direct reclaimers that waited for kswapd to free half the min mark.",
    SlabsScanned "slabs_scanned" "Objects of the batches in which a shrinker (zswap's, zsmalloc's) freed something.",
    KswapdLowWmarkHitQuickly "kswapd_low_wmark_hit_quickly" "Short sleeps of kswapd that an allocation ended.",
    KswapdHighWmarkHitQuickly "kswapd_high_wmark_hit_quickly" "Short sleeps after which the node was not balanced.",
    WorkingsetRefaultAnon "workingset_refault_anon" "Evicted pages faulted back.",
    WorkingsetActivateAnon "workingset_activate_anon" "Of those, pages activated at once.",
    WorkingsetRestoreAnon "workingset_restore_anon" "Of those, pages that had been on the active list before they went.",
    WorkingsetRefaultFile "workingset_refault_file" "Evicted pages of the page cache read again.",
    WorkingsetActivateFile "workingset_activate_file" "Of those, pages activated at once.",
    WorkingsetRestoreFile "workingset_restore_file" "Of those, pages that had been on the active list before they went.",
    OomKill "oom_kill" "Applications that were ended because no page could be reclaimed.",
    Pgactivate "pgactivate" "Pages sent to the active list.",
    Pgdeactivate "pgdeactivate" "Pages sent from the active to the inactive list.",
    Pgrefill "pgrefill" "Pages scanned on the active list, or with the multi-gen LRU sorted away from the oldest generation.",
    Pgrotated "pgrotated" "Pages rotated to the inactive tail when their write ended.",
    Pageoutrun "pageoutrun" "Passes of kswapd (balance_pgdat calls).",
    NrVmscanWrite "nr_vmscan_write" "Pages of which swap_writeout() took charge, whatever became of them; not those that it had activated.",
    NrVmscanImmediateReclaim "nr_vmscan_immediate_reclaim" "Pages met under writeback that was meant to free them.",
    NrWritten "nr_written" "Pages whose writeback ended, in vain too: zram's, a device's, and those that a design held by it, even if zswap took them.",
    Pgfault "pgfault" "Page faults.",
    Pgmajfault "pgmajfault" "Faults that had to read the page.",
    Pgpgin "pgpgin" "KiB read from devices, swap devices and zram included.",
    Pgpgout "pgpgout" "KiB submitted to devices to be written, likewise.",
    Pswpin "pswpin" "Pages read from a swap device, zram included.",
    Pswpout "pswpout" "Pages submitted to a swap device, zram included, failed ones too.",
    Zswpin "zswpin" "Pages loaded from zswap.",
    Zswpout "zswpout" "Pages stored in zswap.",
    Zswpwb "zswpwb" "zswap entries written back to the device.",
    SwpinZero "swpin_zero" "Zero-filled pages faulted back.",
    SwpoutZero "swpout_zero" "Zero-filled pages that needed no write.",
    ThpSplitPage "thp_split_page" "Folios that fill a page table split into their pages.",
    ThpSwpout "thp_swpout" "Folios that fill a page table sent to a swap device as a whole, zram included.",
    ThpSwpoutFallback "thp_swpout_fallback" "Folios that fill a page table split for want of slots or of memory for the swap cache.",
    KcompressdQueued "kcompressd_queued" "Pages handed to a kcompressd thread.",
    KcompressdFull "kcompressd_full" "Pages that found their queue full.",
    KcompressdDone "kcompressd_done" "Pages that a kcompressd thread finished, whatever became of them.",
    KcompressdHead "kcompressd_head" "Queued pages that kswapd took from a full queue and finished itself.",
    KcompressdWakeups "kcompressd_wakeups" "Times a kcompressd thread slept and then found folios.",
    FaultWaits "fault_waits" "Faults that waited for the lock of a queued page.",
    ExitQueued "exit_queued" "Looks that ended with the page queued, its lock still held, and kept.",
    ExitLocked "exit_locked" "Looks that found the page locked and kept it.",
    ExitWriteback "exit_writeback" "Looks that found the page under writeback, or left it so (queued under writeback, or on its way to a device).",
    ExitReferenced "exit_referenced" "Looks that found the page touched once, and kept it.",
    ExitReferencedActivated "exit_referenced_activated" "Looks that found the page touched twice, and activated it.",
    ExitAddToSwap "exit_add_to_swap" "Looks that found no slot, or no memory for the swap cache, and activated the page.",
    ExitActivated "exit_activated" "Looks whose page could neither be stored nor be written, and that activated it (AOP_WRITEPAGE_ACTIVATE).",
    ExitDirty "exit_dirty" "Looks whose own write failed in the call: the page is dirty and kept.",
    ExitRefs "exit_refs" "Looks that found another reference on a page they would have freed.",
    ExitKept "exit_kept" "Looks that kept the page for another reason (dirty again, mapped again, referenced elsewhere).",
}

/// A counter of large folios of one order: `/sys/kernel/mm/transparent_hugepage/hugepages-<size>kB/stats`. Of the order of a page
/// table's pages `Swpout`, `SwpoutFallback` and `Split` are counted as [`Vm::ThpSwpout`], [`Vm::ThpSwpoutFallback`] and [`Vm::ThpSplitPage`] too.
/// Source: Documentation/admin-guide/mm/transhuge.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mthp {
    /// Large folios made at a first touch.
    AnonFaultAlloc,
    /// First touches that found no memory in a row.
    AnonFaultFallback,
    /// Of those, the ones whose group had no room for all its pages.
    AnonFaultFallbackCharge,
    /// Stored in zswap as a whole.
    Zswpout,
    /// Sent to a swap device as a whole, zram included.
    Swpout,
    /// Not sent as a whole: there was no run of slots.
    SwpoutFallback,
    /// Split into its pages.
    Split,
}

impl Mthp {
    /// All of them, in order, with the kernel's names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::AnonFaultAlloc, "anon_fault_alloc"),
        (Self::AnonFaultFallback, "anon_fault_fallback"),
        (Self::AnonFaultFallbackCharge, "anon_fault_fallback_charge"),
        (Self::Zswpout, "zswpout"),
        (Self::Swpout, "swpout"),
        (Self::SwpoutFallback, "swpout_fallback"),
        (Self::Split, "split"),
    ];
}

/// One actor's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmStat {
    vm: [u64; Vm::ALL.len()],
    mthp: [[u64; Mthp::ALL.len()]; MAX_FOLIO_ORDER as usize],
}

impl Default for VmStat {
    fn default() -> Self {
        Self { vm: [0; Vm::ALL.len()], mthp: Default::default() }
    }
}

impl Index<Vm> for VmStat {
    type Output = u64;

    fn index(&self, counter: Vm) -> &u64 {
        &self.vm[counter as usize]
    }
}

impl IndexMut<Vm> for VmStat {
    fn index_mut(&mut self, counter: Vm) -> &mut u64 {
        &mut self.vm[counter as usize]
    }
}

impl VmStat {
    /// Adds another actor's counters.
    pub fn add(&mut self, other: &Self) {
        let mine = self.vm.iter_mut().chain(self.mthp.as_flattened_mut());
        for (mine, theirs) in mine.zip(other.vm.iter().chain(other.mthp.as_flattened())) {
            *mine += theirs;
        }
    }

    /// Counts one large folio of `order`.
    #[inline]
    pub fn count_mthp(&mut self, order: u8, counter: Mthp) {
        if let Some(of_order) = self.mthp.get_mut(usize::from(order).wrapping_sub(1)) {
            of_order[counter as usize] += 1;
        }
    }

    /// The counters of large folios of `order`, 1 to [`MAX_FOLIO_ORDER`].
    pub fn mthp(&self, order: u8) -> [(&'static str, u64); Mthp::ALL.len()] {
        Mthp::ALL.map(|(counter, name)| (name, self.mthp[usize::from(order) - 1][counter as usize]))
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Vm::ALL.iter().map(|&counter| (counter.name(), self[counter]))
    }
}

/// Nanoseconds per page: percentiles within 1 %.
#[derive(Clone, Debug)]
pub struct PageNs(Histogram<u32>);

impl Default for PageNs {
    fn default() -> Self {
        Self(Histogram::new(2).expect("2 significant digits are allowed"))
    }
}

impl PageNs {
    /// Notes `pages` pages of `ns` each.
    pub fn record_many(&mut self, ns: u64, pages: u64) {
        // The histogram resizes itself: every value up to a day has a place.
        let _ = self.0.record_n(ns.min(86_400_000_000_000), u32::try_from(pages).unwrap_or(u32::MAX));
    }

    /// Adds another's pages.
    pub fn add(&mut self, other: &Self) {
        // Both have the same precision and resize themselves: adding cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// Pages noted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `p50`, `p90`, `p99`, `p999`, `max`, `mean` (nanoseconds, whole) and `count`.
    pub fn summary(&self) -> [(&'static str, u64); 7] {
        let at = |quantile| self.0.value_at_quantile(quantile);
        [
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p99", at(0.99)),
            ("p999", at(0.999)),
            ("max", self.0.max()),
            ("mean", self.0.mean() as u64),
            ("count", self.0.len()),
        ]
    }
}
