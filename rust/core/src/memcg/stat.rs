//! What happened to a group's pages and to the group: memory.stat and memory.events, by name.
//!
//! Counts are kept for the group itself; what the two files show is the sum over the group and its descendants.
//! Source: Documentation/admin-guide/cgroup-v2.rst (memory.stat, memory.events).

use super::{Memcg, Memcgs, ROOT};
use crate::stats::Vm;
use crate::sync::{AtomicU64, Ordering};

/// A counter of memory.stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MemcgStat {
    /// Pages isolated by kswapd.
    PgscanKswapd,
    /// Pages isolated by a direct reclaimer, for a limit, and before Linux 6.15 for memory.reclaim.
    PgscanDirect,
    /// Pages isolated for memory.reclaim, from Linux 6.15 on.
    PgscanProactive,
    /// Pages freed by kswapd.
    PgstealKswapd,
    /// Pages freed by a direct reclaimer, for a limit, and before Linux 6.15 for memory.reclaim.
    PgstealDirect,
    /// Pages freed for memory.reclaim, from Linux 6.15 on.
    PgstealProactive,
    /// Page faults.
    Pgfault,
    /// Faults that had to read the page back.
    Pgmajfault,
    /// Pages scanned on the active list.
    Pgrefill,
    /// Pages sent to the active list.
    Pgactivate,
    /// Pages sent from the active to the inactive list.
    Pgdeactivate,
    /// Evicted pages faulted back.
    WorkingsetRefaultAnon,
    /// Of those, pages activated at once.
    WorkingsetActivateAnon,
    /// Of those, pages that had been on the active list before they went.
    WorkingsetRestoreAnon,
    /// Evicted pages of the page cache read again.
    WorkingsetRefaultFile,
    /// Of those, pages activated at once.
    WorkingsetActivateFile,
    /// Of those, pages that had been on the active list before they went.
    WorkingsetRestoreFile,
    /// Pages loaded from zswap.
    Zswpin,
    /// Pages stored in zswap.
    Zswpout,
    /// Entries of zswap written back to the device.
    Zswpwb,
    /// Folios that fill a page table sent to a swap device as a whole.
    ThpSwpout,
    /// Folios that fill a page table split on their way there.
    ThpSwpoutFallback,
}

impl MemcgStat {
    /// All of them, in order.
    pub const ALL: [Self; 22] = [
        Self::PgscanKswapd,
        Self::PgscanDirect,
        Self::PgscanProactive,
        Self::PgstealKswapd,
        Self::PgstealDirect,
        Self::PgstealProactive,
        Self::Pgfault,
        Self::Pgmajfault,
        Self::Pgrefill,
        Self::Pgactivate,
        Self::Pgdeactivate,
        Self::WorkingsetRefaultAnon,
        Self::WorkingsetActivateAnon,
        Self::WorkingsetRestoreAnon,
        Self::WorkingsetRefaultFile,
        Self::WorkingsetActivateFile,
        Self::WorkingsetRestoreFile,
        Self::Zswpin,
        Self::Zswpout,
        Self::Zswpwb,
        Self::ThpSwpout,
        Self::ThpSwpoutFallback,
    ];

    /// Pages isolated, by who does it: kswapd, a direct reclaimer, who asked for it.
    pub const PGSCAN: [Self; 3] = [Self::PgscanKswapd, Self::PgscanDirect, Self::PgscanProactive];

    /// Pages freed, likewise.
    pub const PGSTEAL: [Self; 3] = [Self::PgstealKswapd, Self::PgstealDirect, Self::PgstealProactive];

    /// The counter of /proc/vmstat that counts the same for all pages.
    pub const fn vm(self) -> Vm {
        match self {
            Self::PgscanKswapd => Vm::PgscanKswapd,
            Self::PgscanDirect => Vm::PgscanDirect,
            Self::PgscanProactive => Vm::PgscanProactive,
            Self::PgstealKswapd => Vm::PgstealKswapd,
            Self::PgstealDirect => Vm::PgstealDirect,
            Self::PgstealProactive => Vm::PgstealProactive,
            Self::Pgfault => Vm::Pgfault,
            Self::Pgmajfault => Vm::Pgmajfault,
            Self::Pgrefill => Vm::Pgrefill,
            Self::Pgactivate => Vm::Pgactivate,
            Self::Pgdeactivate => Vm::Pgdeactivate,
            Self::WorkingsetRefaultAnon => Vm::WorkingsetRefaultAnon,
            Self::WorkingsetActivateAnon => Vm::WorkingsetActivateAnon,
            Self::WorkingsetRestoreAnon => Vm::WorkingsetRestoreAnon,
            Self::WorkingsetRefaultFile => Vm::WorkingsetRefaultFile,
            Self::WorkingsetActivateFile => Vm::WorkingsetActivateFile,
            Self::WorkingsetRestoreFile => Vm::WorkingsetRestoreFile,
            Self::Zswpin => Vm::Zswpin,
            Self::Zswpout => Vm::Zswpout,
            Self::Zswpwb => Vm::Zswpwb,
            Self::ThpSwpout => Vm::ThpSwpout,
            Self::ThpSwpoutFallback => Vm::ThpSwpoutFallback,
        }
    }

    /// The name in memory.stat.
    pub const fn name(self) -> &'static str {
        self.vm().name()
    }

    /// Whether it is of object cgroups (`count_objcg_events`): the root's own pages have none.
    const fn is_objcg(self) -> bool {
        matches!(self, Self::Zswpin | Self::Zswpout | Self::Zswpwb)
    }
}

/// A counter of memory.events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MemcgEvent {
    /// Reclaims from a group within `memory.low`, as there was nothing else to reclaim.
    Low,
    /// Reclaims because the group was above `memory.high`.
    High,
    /// Charges that `memory.max` did not allow.
    Max,
    /// Charges that found nothing to reclaim.
    Oom,
    /// Applications ended for it.
    OomKill,
}

impl MemcgEvent {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Low, Self::High, Self::Max, Self::Oom, Self::OomKill];

    /// The name in memory.events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Max => "max",
            Self::Oom => "oom",
            Self::OomKill => "oom_kill",
        }
    }
}

/// The counters of one group.
#[derive(Debug, Default)]
pub(super) struct Counters {
    stat: [AtomicU64; MemcgStat::ALL.len()],
    events: [AtomicU64; MemcgEvent::ALL.len()],
}

impl Memcg {
    /// A counter of its memory.stat, without its descendants' pages.
    pub fn stat(&self, counter: MemcgStat) -> u64 {
        // ORDERING: Relaxed: a counter.
        self.counters.stat[counter as usize].load(Ordering::Relaxed)
    }

    /// Pages of its own isolated, by whomever (`pgscan`).
    pub fn pgscan(&self) -> u64 {
        MemcgStat::PGSCAN.map(|by| self.stat(by)).iter().sum()
    }

    /// Pages of its own freed, by whomever (`pgsteal`).
    pub fn pgsteal(&self) -> u64 {
        MemcgStat::PGSTEAL.map(|by| self.stat(by)).iter().sum()
    }

    /// A counter of memory.events.local: the group's own.
    pub fn event(&self, event: MemcgEvent) -> u64 {
        // ORDERING: Relaxed: a counter.
        self.counters.events[event as usize].load(Ordering::Relaxed)
    }
}

impl Memcgs {
    /// Counts `pages` for a group (`count_memcg_events`, `count_objcg_events`).
    #[inline]
    pub fn count(&self, id: u16, counter: MemcgStat, pages: u64) {
        if id != ROOT || !counter.is_objcg() {
            // ORDERING: Relaxed: a counter.
            self.groups[usize::from(id)].counters.stat[counter as usize].fetch_add(pages, Ordering::Relaxed);
        }
    }

    /// Counts an event of a group.
    pub fn note_event(&self, id: u16, event: MemcgEvent) {
        // ORDERING: Relaxed: a counter.
        self.groups[usize::from(id)].counters.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self, top: u16, of: impl Fn(&Memcg) -> u64) -> u64 {
        self.ids().filter(|&id| self.is_below(id, top)).map(|id| of(&self.groups[usize::from(id)])).sum()
    }

    /// The counters of memory.stat, descendants included.
    pub fn memory_stat(&self, id: u16) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = [("pgscan", self.sum(id, Memcg::pgscan)), ("pgsteal", self.sum(id, Memcg::pgsteal))];
        let counters = MemcgStat::ALL.map(|counter| (counter.name(), self.sum(id, |group| group.stat(counter))));
        sums.into_iter().chain(counters)
    }

    /// memory.events, descendants included.
    pub fn memory_events(&self, id: u16) -> [(&'static str, u64); MemcgEvent::ALL.len()] {
        MemcgEvent::ALL.map(|event| (event.name(), self.sum(id, |group| group.event(event))))
    }
}
