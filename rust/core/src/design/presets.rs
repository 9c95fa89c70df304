//! The published designs, hazards included, as named values. Letters as in docs/kernel-map.md.

use super::{
    CheckBefore, Design, EnqueueAt, Gates, Hold, OnComplete, OnFull, OnReject, Placement, Start, StoreKind, Tag,
    WorkerFlags, choice,
};

choice! {
    /// A published design.
    Preset {
        /// The baseline: kswapd compresses.
        Sync = "sync",
        /// A, March 2025: a bio queue inside zram.
        Rfc = "rfc",
        /// B2, 30 April 2025: a folio queue in page_io.c.
        April = "april",
        /// D, 1 May 2025 (text): the stores themselves are asynchronous.
        AsyncStore = "async-store",
        /// E, June 2025 (text): zswap_store split in two, bit-0 tag.
        Split = "split",
        /// F, June to September 2025: firelzrd's kcompressd-unofficial 0.5.
        Unofficial = "unofficial",
    }
}

/// Everything synchronous; the other presets are written as differences from it.
const SYNC: Design = Design {
    enqueue_at: EnqueueAt::Never,
    tag: Tag::None,
    check_before: CheckBefore::NONE,
    gates: Gates::NONE,
    recheck_writeback: false,
    on_full: OnFull::SyncNew,
    hold: Hold::Locked,
    extra_ref: false,
    on_complete: OnComplete::Stay,
    on_reject: OnReject::Activate,
    threads: 0,
    depth: 0,
    batch: 1,
    placement: Placement::PerNode,
    start: Start::Eager,
    worker_flags: WorkerFlags::NONE,
    stop_in_predicate: true,
};

/// `current_is_kswapd` and nothing else.
const KSWAPD_ONLY: Gates = Gates { kswapd_only: true, ..Gates::NONE };

impl Preset {
    /// The preset's design on `store`. Where the published text covers both stores with one idea at two places (D), the
    /// store decides the place.
    pub const fn design(self, store: StoreKind) -> Design {
        match self {
            Self::Sync => SYNC,
            Self::Rfc => RFC,
            Self::April => APRIL,
            Self::AsyncStore => match store {
                StoreKind::Zswap => ASYNC_STORE,
                StoreKind::Zram => {
                    Design { enqueue_at: EnqueueAt::ZramBio, check_before: CheckBefore::NONE, ..ASYNC_STORE }
                }
            },
            Self::Split => SPLIT,
            Self::Unofficial => UNOFFICIAL,
        }
    }
}

/// The bio holds the reference; completion is `bio_endio` → `folio_end_writeback`, which rotates.
const RFC: Design = Design {
    enqueue_at: EnqueueAt::ZramBio,
    gates: KSWAPD_ONLY,
    hold: Hold::Writeback,
    on_complete: OnComplete::Rotate,
    on_reject: OnReject::Device,
    threads: 4,
    depth: 4096,
    placement: Placement::FirstFit,
    start: Start::Lazy,
    worker_flags: WorkerFlags::ALL,
    ..SYNC
};

/// No process flags (objection O9), no re-check of the knob, a stop that a sleeping worker misses.
const APRIL: Design = Design {
    enqueue_at: EnqueueAt::SwapWriteout,
    gates: Gates::ALL,
    on_reject: OnReject::Device,
    threads: 1,
    depth: 256,
    stop_in_predicate: false,
    ..SYNC
};

/// Depth, threads and flags are not in the text: those of B2, with the flags that O9 asks for.
const ASYNC_STORE: Design = Design {
    enqueue_at: EnqueueAt::ZswapStore,
    check_before: CheckBefore::ALL,
    gates: KSWAPD_ONLY,
    recheck_writeback: true,
    hold: Hold::Writeback,
    on_complete: OnComplete::Rotate,
    on_reject: OnReject::Activate,
    threads: 1,
    depth: 256,
    worker_flags: WorkerFlags { memalloc: true, kswapd: false },
    ..SYNC
};

/// Depth as B2; batch, placement and flags are not in the text and are ours.
const SPLIT: Design = Design {
    enqueue_at: EnqueueAt::SwapWriteout,
    tag: Tag::Bit0,
    gates: Gates { kswapd_only: true, anon_only: true, ..Gates::NONE },
    batch: 32,
    placement: Placement::Shortest,
    ..ASYNC_STORE
};

/// Version 0.5: default depth 24, extra reference, the oldest entry is finished by kswapd on overflow.
const UNOFFICIAL: Design =
    Design { on_full: OnFull::SyncHead, extra_ref: true, depth: 24, worker_flags: WorkerFlags::ALL, ..APRIL };

#[cfg(test)]
mod tests {
    use super::*;

    /// The axes of `design`, nested ones too, that are not those of `base`.
    fn beyond(design: Design, base: Design) -> String {
        let lines =
            |design: Design| format!("{design:#?}").lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        let pairs = lines(design).into_iter().zip(lines(base));
        let differ = pairs.filter(|(ours, theirs)| ours != theirs).map(|(ours, _)| ours);
        differ.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_preset_differs_from_its_base_in_what_was_published() {
        let rfc = "enqueue_at: ZramBio, kswapd_only: true, hold: Writeback, on_complete: Rotate, on_reject: Device, threads: 4, \
                   depth: 4096, placement: FirstFit, start: Lazy, memalloc: true, kswapd: true,";
        let april = "enqueue_at: SwapWriteout, kswapd_only: true, anon_only: true, writeback_enabled: true, sync_device: true, \
                     on_reject: Device, threads: 1, depth: 256, stop_in_predicate: false,";
        let async_store = "enqueue_at: ZswapStore, objcg: true, limits: true, pool: true, kswapd_only: true, \
                           recheck_writeback: true, hold: Writeback, on_complete: Rotate, threads: 1, depth: 256, memalloc: true,";
        let split = "enqueue_at: SwapWriteout, tag: Bit0, anon_only: true, batch: 32, placement: Shortest,";
        let unofficial = "on_full: SyncHead, extra_ref: true, depth: 24, memalloc: true, kswapd: true,";
        assert_eq!(beyond(RFC, SYNC), rfc);
        assert_eq!(beyond(APRIL, SYNC), april);
        assert_eq!(beyond(ASYNC_STORE, SYNC), async_store);
        assert_eq!(beyond(SPLIT, ASYNC_STORE), split);
        assert_eq!(beyond(UNOFFICIAL, APRIL), unofficial);
        let in_zram = Preset::AsyncStore.design(StoreKind::Zram);
        assert_eq!(beyond(in_zram, ASYNC_STORE), "enqueue_at: ZramBio, objcg: false, limits: false, pool: false,");
    }
}
