//! A design is data: where the queue sits, what is checked before it, what happens when it is full, and how a queued
//! folio is held. The published designs are named values ([`presets`]); nothing else asks "which design is this".
//!
//! Decisions are pure functions over a small Copy [`View`] ([`Policy`], which [`Design`] implements).
//! Source of the designs: LKML, March to July 2025, and the firelzrd downstream forks (docs/kernel-map.md).

pub mod policy;
pub mod presets;
pub mod scripted;
pub mod validate;

pub use policy::{Admission, Policy, PolicyError, Refused, View};
pub use presets::Preset;
pub use scripted::{Ask, Scripted};
pub use validate::DesignError;

/// What swaps pages out: the store behind the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// zswap in front of a swap file.
    Zswap,
    /// A zram device.
    Zram,
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value's name in job files, results and messages.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }
    };
}
pub(crate) use choice;

choice! {
    /// Where the queue sits on the way to the device.
    EnqueueAt {
        /// Nowhere: everything is synchronous.
        Never = "never",
        /// In `swap_writeout`, after the zeromap test.
        SwapWriteout = "swap_writeout",
        /// Inside `zswap_store`.
        ZswapStore = "zswap_store",
        /// At zram's bio submission.
        ZramBio = "zram_bio",
    }
}
choice! {
    /// How the worker knows that a folio was queued by zswap.
    Tag {
        /// It does not; it runs the whole of `swap_writeout`'s second part.
        None = "none",
        /// Bit 0 of the queued pointer.
        Bit0 = "bit0",
        /// It looks the slot's zswap entry up.
        EntryLookup = "entry_lookup",
    }
}
choice! {
    /// What happens to a folio that finds its queue full.
    OnFull {
        /// The producer finishes it itself.
        SyncNew = "sync_new",
        /// The producer queues it and finishes the oldest queued one itself.
        SyncHead = "sync_head",
        /// It goes to the swap device uncompressed.
        ToDevice = "to_device",
        /// The producer waits for room.
        Wait = "wait",
    }
}
choice! {
    /// What keeps others off a queued folio.
    Hold {
        /// PG_locked.
        Locked = "locked",
        /// PG_writeback; the lock is released.
        Writeback = "writeback",
    }
}
choice! {
    /// What completion does on the LRU.
    OnComplete {
        /// Nothing: the folio waits for the scan to come round.
        Stay = "stay",
        /// It is rotated to the inactive tail.
        Rotate = "rotate",
    }
}
choice! {
    /// What a worker does with a folio that the store refused.
    OnReject {
        /// Writes it to the device (after asking the memcg, if `recheck_writeback`).
        Device = "device",
        /// Writes it to the device if the memcg allows it, else activates it.
        Activate = "activate",
        /// Keeps it in the pool as it is (6.18).
        KeepRaw = "keep_raw",
    }
}
choice! {
    /// Which queue a folio goes to.
    Placement {
        /// The queue of its node.
        PerNode = "per_node",
        /// The first that has room, from queue 0.
        FirstFit = "first_fit",
        /// In turn.
        RoundRobin = "round_robin",
        /// The shortest, counted in batches; a worker that has emptied its own helps the longest.
        Shortest = "shortest",
    }
}
choice! {
    /// When the threads are created.
    Start {
        /// With the node.
        Eager = "eager",
        /// With the first folio queued.
        Lazy = "lazy",
    }
}

macro_rules! bit_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $bit:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[allow(clippy::struct_excessive_bools)]
        pub struct $name { $($(#[$vdoc])* pub $bit: bool,)* }

        impl $name {
            /// Nothing.
            pub const NONE: Self = Self { $($bit: false,)* };
            /// Everything.
            pub const ALL: Self = Self { $($bit: true,)* };

            /// The names that are set.
            pub fn names(self) -> Vec<&'static str> {
                [$((self.$bit, $text),)*].into_iter().filter(|(on, _)| *on).map(|(_, n)| n).collect()
            }

            /// The set of these names; the first unknown one is the error.
            pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
                let mut set = Self::NONE;
                for name in names {
                    match name.as_ref() {
                        $($text => set.$bit = true,)*
                        other => return Err(other.into()),
                    }
                }
                Ok(set)
            }
        }
    };
}

bit_set! {
    /// The first half of `zswap_store`: what is settled before a folio is queued.
    CheckBefore {
        /// `obj_cgroup_may_zswap`: the group's limit.
        objcg = "objcg",
        /// `zswap_check_limits`: the pool's limit.
        limits = "limits",
        /// The pool reference is taken.
        pool = "pool",
    }
}
bit_set! {
    /// Conditions under which a folio may be queued at all.
    Gates {
        /// Only by kswapd.
        kswapd_only = "kswapd_only",
        /// Only anonymous folios.
        anon_only = "anon_only",
        /// Only while the memcg allows writeback.
        writeback_enabled = "writeback_enabled",
        /// Only with zswap on or a synchronous device.
        sync_device = "sync_device",
    }
}
bit_set! {
    /// Process flags of the worker.
    WorkerFlags {
        /// PF_MEMALLOC: may use the reserves, does not reclaim.
        memalloc = "memalloc",
        /// PF_KSWAPD.
        kswapd = "kswapd",
    }
}

/// One design. Every combination that [`Design::validate`] accepts can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Design {
    /// Where the queue sits.
    pub enqueue_at: EnqueueAt,
    /// How the worker knows a zswap folio.
    pub tag: Tag,
    /// What is settled before queueing.
    pub check_before: CheckBefore,
    /// Who may be queued.
    pub gates: Gates,
    /// Whether the worker asks the memcg again before it writes to the device.
    pub recheck_writeback: bool,
    /// When the queue is full.
    pub on_full: OnFull,
    /// What holds a queued folio.
    pub hold: Hold,
    /// Whether a queued folio has an extra reference.
    pub extra_ref: bool,
    /// What completion does on the LRU.
    pub on_complete: OnComplete,
    /// What the worker does with a refused folio.
    pub on_reject: OnReject,
    /// kcompressd threads, each with its own queue.
    pub threads: u16,
    /// Queue depth in folios.
    pub depth: u32,
    /// Folios a worker takes from its queue at once.
    pub batch: u16,
    /// Which queue a folio goes to.
    pub placement: Placement,
    /// When threads are created.
    pub start: Start,
    /// The worker's process flags.
    pub worker_flags: WorkerFlags,
    /// Whether a sleeping worker notices `kthread_stop`.
    pub stop_in_predicate: bool,
}
