//! Which combinations mean nothing, by name.

use super::{Design, EnqueueAt, OnFull, OnReject, Placement, StoreKind, Tag};
use crate::units::SWAP_CLUSTER_MAX;

/// Why a design cannot be run on a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesignError {
    /// A synchronous design has no queue to set.
    #[error("enqueue_at = never has no queue: {what} must be {want}, not {got}")]
    NeverWith {
        /// The field.
        what: &'static str,
        /// What it is.
        got: String,
        /// What it has to be.
        want: &'static str,
    },
    /// A zram bio carries no tag.
    #[error("tag = {} with enqueue_at = zram_bio: a bio comes from zram alone, there is nothing to tell apart", .0.name())]
    TagOnBio(Tag),
    /// Only zswap has entries.
    #[error("tag = entry_lookup needs zswap: zram has no entry to look up")]
    LookupWithoutZswap,
    /// The first half of a store, done before queueing, would be done again by the worker.
    #[error(
        "check_before = {} with tag = none and enqueue_at = swap_writeout: the worker could not tell that the first half was done",
        .0.join(",")
    )]
    Untold(Vec<&'static str>),
    /// Keeping raw pages came with 6.18, and zram always does.
    #[error("on_reject = keep_raw needs zswap on kernel 6.18 or newer, this is {store} on {}.{}", .kernel.0, .kernel.1)]
    KeepRaw {
        /// "zswap" or "zram".
        store: &'static str,
        /// The kernel version modelled.
        kernel: (u16, u16),
    },
    /// The device is the compressor.
    #[error("on_full = to_device with zram: the device is the compressor that is busy")]
    DeviceIsZram,
    /// Nothing is ever queued.
    #[error("on_full = {} at depth 0: nothing is ever queued", .0.name())]
    FullAtDepth0(OnFull),
    /// One queue leaves nothing to choose.
    #[error("placement = {} with one queue: there is nothing to choose", .0.name())]
    PlacementOfOne(Placement),
    /// A batch has a folio at least, and is no longer than the queue or a cluster.
    #[error("batch = {batch} with depth = {depth}: must be {}", if *most == 1 { "1".into() } else { format!("1 to {most}") })]
    Batch {
        /// The batch.
        batch: u16,
        /// The depth.
        depth: u32,
        /// The most that is allowed.
        most: u32,
    },
    /// A queue without a consumer.
    #[error("threads = 0 with enqueue_at = {}: nobody would empty the queue", .0.name())]
    NoThreads(EnqueueAt),
    /// A queue is bounded.
    #[error("depth = {0}: at most 65536 folios")]
    Depth(u32),
    /// An actor's number is one byte.
    #[error("threads = {0}: at most 256")]
    Threads(u16),
}

impl Design {
    /// Refuses the meaningless combinations on `store` under `kernel` (major, minor), by name.
    ///
    /// # Errors
    /// [`DesignError`], the first that applies. Activation under writeback is allowed: see [`Design::notes`].
    pub fn validate(&self, store: StoreKind, kernel: (u16, u16)) -> Result<(), DesignError> {
        if self.enqueue_at == EnqueueAt::Never {
            return self.validate_never();
        }
        if self.threads == 0 {
            return Err(DesignError::NoThreads(self.enqueue_at));
        }
        self.validate_store(store, kernel)?;
        self.validate_queue()
    }

    fn validate_never(&self) -> Result<(), DesignError> {
        let never = |what, got: String, want| Err(DesignError::NeverWith { what, got, want });
        match self {
            Design { tag, .. } if *tag != Tag::None => never("tag", tag.name().into(), "none"),
            Design { threads: 1.., .. } => never("threads", self.threads.to_string(), "0"),
            Design { depth: 1.., .. } => never("depth", self.depth.to_string(), "0"),
            _ => Ok(()),
        }
    }

    fn validate_store(&self, store: StoreKind, kernel: (u16, u16)) -> Result<(), DesignError> {
        let zram = store == StoreKind::Zram;
        if self.tag != Tag::None && self.enqueue_at == EnqueueAt::ZramBio {
            return Err(DesignError::TagOnBio(self.tag));
        }
        if self.tag == Tag::EntryLookup && zram {
            return Err(DesignError::LookupWithoutZswap);
        }
        let told = self.tag != Tag::None || self.enqueue_at != EnqueueAt::SwapWriteout;
        if self.checks_before() && !told && !zram {
            return Err(DesignError::Untold(self.check_before.names()));
        }
        if self.on_reject == OnReject::KeepRaw && (zram || kernel < (6, 18)) {
            return Err(DesignError::KeepRaw { store: if zram { "zram" } else { "zswap" }, kernel });
        }
        if self.on_full == OnFull::ToDevice && zram {
            return Err(DesignError::DeviceIsZram);
        }
        Ok(())
    }

    fn validate_queue(&self) -> Result<(), DesignError> {
        if self.threads > 256 {
            return Err(DesignError::Threads(self.threads));
        }
        if self.depth > 65536 {
            return Err(DesignError::Depth(self.depth));
        }
        if self.depth == 0 && matches!(self.on_full, OnFull::SyncHead | OnFull::Wait) {
            return Err(DesignError::FullAtDepth0(self.on_full));
        }
        if self.threads == 1 && !matches!(self.placement, Placement::PerNode | Placement::Shortest) {
            return Err(DesignError::PlacementOfOne(self.placement));
        }
        let most = (SWAP_CLUSTER_MAX as u32).min(self.depth.max(1));
        if self.batch == 0 || u32::from(self.batch) > most {
            return Err(DesignError::Batch { batch: self.batch, depth: self.depth, most });
        }
        Ok(())
    }

    /// The same design with another queue length; the batch is cut to fit, and at 0 a full queue means `sync_new`.
    #[must_use]
    pub fn with_depth(self, depth: u32) -> Self {
        let on_full = match self.on_full {
            OnFull::SyncHead | OnFull::Wait if depth == 0 => OnFull::SyncNew,
            other => other,
        };
        let most = (SWAP_CLUSTER_MAX as u32).min(depth.max(1)) as u16;
        Self { depth, on_full, batch: self.batch.min(most), ..self }
    }

    /// The same design with another number of threads; one queue needs no placement.
    #[must_use]
    pub fn with_threads(self, threads: u16) -> Self {
        let placement = match self.placement {
            Placement::FirstFit | Placement::RoundRobin if threads == 1 => Placement::PerNode,
            other => other,
        };
        Self { threads, placement, ..self }
    }

    /// What a kernel would need for the design, and where it does not reach, in sentences.
    pub fn notes(&self, store: StoreKind) -> Vec<&'static str> {
        let mut notes = Vec::new();
        let queues = self.enqueue_at != EnqueueAt::Never;
        // A write that zram refuses leaves the page dirty where it is, whatever the design says of zswap's refusals.
        if queues && self.on_reject == OnReject::Activate && store == StoreKind::Zswap {
            notes.push(
                "activation after a failed compression: the folio is already back on the inactive list, so a kernel would \
                 need the worker to take the lruvec lock and move it (folio_activate), and pageout() to allow it",
            );
        }
        match (self.enqueue_at, store) {
            (EnqueueAt::ZramBio, StoreKind::Zswap) => notes.push("queues zram bios only: zswap runs synchronously"),
            (EnqueueAt::ZswapStore, StoreKind::Zram) => {
                notes.push("queues inside zswap_store only: zram runs synchronously")
            }
            _ => {}
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Preset, StoreKind};
    use super::*;

    const KERNEL: (u16, u16) = (6, 12);

    fn split() -> Design {
        Preset::Split.design(StoreKind::Zswap)
    }

    fn refusal(design: Design, store: StoreKind) -> String {
        design.validate(store, KERNEL).unwrap_err().to_string()
    }

    #[test]
    fn every_preset_is_valid_on_both_stores() {
        for &preset in Preset::ALL {
            for store in [StoreKind::Zswap, StoreKind::Zram] {
                assert_eq!(preset.design(store).validate(store, KERNEL), Ok(()), "{} on {store:?}", preset.name());
                let small = preset.design(store).with_depth(0);
                assert_eq!(small.validate(store, KERNEL), Ok(()), "{} at depth 0", preset.name());
            }
        }
    }

    #[test]
    fn the_meaningless_are_refused_by_name() {
        use StoreKind::{Zram, Zswap};
        let sync = Preset::Sync.design(Zswap);
        let cases = [
            (Design { depth: 3, ..sync }, Zswap, "depth must be 0, not 3"),
            (Design { threads: 2, ..sync }, Zswap, "threads must be 0, not 2"),
            (Design { tag: Tag::Bit0, ..sync }, Zswap, "tag must be none, not bit0"),
            (Design { enqueue_at: EnqueueAt::ZramBio, ..split() }, Zram, "tag = bit0 with enqueue_at = zram_bio"),
            (Design { tag: Tag::EntryLookup, ..split() }, Zram, "zram has no entry"),
            (Design { tag: Tag::None, ..split() }, Zswap, "check_before = objcg,limits,pool with tag = none"),
            (Design { on_reject: OnReject::KeepRaw, ..split() }, Zswap, "this is zswap on 6.12"),
            (Design { on_full: OnFull::ToDevice, ..split() }, Zram, "the device is the compressor"),
            (Design { on_full: OnFull::Wait, depth: 0, batch: 1, ..split() }, Zswap, "on_full = wait at depth 0"),
            (Design { placement: Placement::FirstFit, ..split() }, Zswap, "placement = first_fit with one queue"),
            (Design { batch: 33, ..split() }, Zswap, "batch = 33 with depth = 256: must be 1 to 32"),
            (Design { batch: 9, depth: 8, ..split() }, Zswap, "must be 1 to 8"),
            (Design { depth: 0, ..split() }, Zswap, "batch = 32 with depth = 0: must be 1"),
            (Design { threads: 257, ..split() }, Zswap, "threads = 257: at most 256"),
            (Design { threads: 0, ..split() }, Zswap, "threads = 0 with enqueue_at = swap_writeout"),
            (Design { depth: 65537, ..split() }, Zswap, "depth = 65537"),
        ];
        for (design, store, want) in cases {
            let got = refusal(design, store);
            assert!(got.contains(want), "{got:?} lacks {want:?}");
        }
    }

    #[test]
    fn notes_say_what_a_kernel_would_need_and_what_is_not_reached() {
        use StoreKind::{Zram, Zswap};
        let notes = |preset: Preset, store| preset.design(store).notes(store).join("; ");
        assert_eq!(notes(Preset::Sync, Zswap), "");
        assert_eq!(notes(Preset::Rfc, Zswap), "queues zram bios only: zswap runs synchronously");
        assert_eq!(notes(Preset::Rfc, Zram), "");
        let store = Design { enqueue_at: EnqueueAt::ZswapStore, on_reject: OnReject::Device, ..split() };
        assert_eq!(store.notes(Zram), ["queues inside zswap_store only: zram runs synchronously"]);
        assert_eq!(store.notes(Zswap), Vec::<&str>::new());
        assert!(notes(Preset::Split, Zswap).contains("folio_activate"));
        assert_eq!(notes(Preset::Split, Zram), "", "zram's refusals are redirtied");
        assert!(Design { enqueue_at: EnqueueAt::Never, ..split() }.notes(Zswap).is_empty(), "nothing is queued");
    }
}
