//! What steps cost, by kind of work: measured in a live run, so that virtual time can be held against it.
//!
//! A kernel's steps cost something else; what they cost there is the caller's to say (`virtual_time::Costs`).

use crate::system::Work;

/// Kinds of work, in the order of a profile.
pub const KINDS: [&str; 12] = [
    "scan",
    "unmap",
    "fault",
    "zero_page",
    "touch",
    "commit",
    "zero_test",
    "compress",
    "decompress",
    "alloc_failed",
    "device_write",
    "device_read",
];

/// The kinds from here on are the device's.
pub const FIRST_OF_DEVICE: usize = 10;

/// What a live run finds out about its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profiling {
    /// Nothing.
    #[default]
    Off,
    /// How many there were.
    Count,
    /// What they took as well: the clock is read after each.
    Time,
}

/// Steps of each kind, and the nanoseconds of CPU time that they took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// By [`KINDS`]: steps, nanoseconds; of allocations that failed the requests count.
    pub kinds: [(u64, u64); KINDS.len()],
    /// Wake-ups of the whole run.
    pub wakes: u64,
}

impl Profile {
    /// Adds a step.
    #[inline]
    pub fn note(&mut self, work: Work, ns: u64) {
        if let Some(kind) = kind(work) {
            self.kinds[kind].0 += if let Work::AllocFailed(requests) = work { requests.into() } else { 1 };
            self.kinds[kind].1 += ns;
        }
    }

    /// The same without what the reading of the clock does to the steps after it, beyond its own time: the means, times the steps that
    /// `counted` had without a clock, come to the CPU time that its threads used, `cpu_ns`, wake-ups of `wake_ns` included. What there is too
    /// much or too little is every step's alike, but the device's, which are not timed by that clock.
    #[must_use]
    pub fn without_clock(&self, counted: &Self, cpu_ns: u64, wake_ns: u64) -> Self {
        let mean = |kind: usize| self.kinds[kind].1 as f64 / self.kinds[kind].0.max(1) as f64;
        let cost = |kind: usize| counted.kinds[kind].0 as f64 * mean(kind);
        let device: f64 = (FIRST_OF_DEVICE..KINDS.len()).map(cost).sum();
        let rest_ns = cpu_ns as f64 - device - (counted.wakes * wake_ns) as f64;
        let mut dearer: Vec<usize> = (0..FIRST_OF_DEVICE).collect(); // Than what is too much: the others cost nothing.
        let extra = loop {
            let steps: u64 = dearer.iter().map(|&kind| counted.kinds[kind].0).sum();
            let extra = (dearer.iter().map(|&kind| cost(kind)).sum::<f64>() - rest_ns) / steps.max(1) as f64;
            let all = dearer.len();
            dearer.retain(|&kind| mean(kind) >= extra);
            if dearer.len() == all || dearer.is_empty() {
                break extra;
            }
        };
        let mut found = *self;
        for kind in &mut found.kinds[..FIRST_OF_DEVICE] {
            kind.1 = (kind.1 as f64 - kind.0 as f64 * extra).max(0.0) as u64;
        }
        found
    }

    /// Adds another's steps.
    pub fn add(&mut self, other: &Self) {
        for (sum, kind) in self.kinds.iter_mut().zip(other.kinds) {
            *sum = (sum.0 + kind.0, sum.1 + kind.1);
        }
        self.wakes += other.wakes;
    }
}

fn kind(work: Work) -> Option<usize> {
    Some(match work {
        Work::Scan | Work::PassOver(_) => 0,
        Work::Unmap => 1,
        Work::Fault => 2,
        Work::ZeroPage => 3,
        Work::Touch => 4,
        Work::Commit => 5,
        Work::ZeroTest(_) => 6,
        Work::Compress(_) => 7,
        Work::Decompress(_) => 8,
        Work::AllocFailed(_) => 9,
        Work::DeviceWrite(_) => 10,
        Work::DeviceRead(_) => 11,
        Work::Think(_) => return None,
    })
}

#[cfg(not(kcompressd_loom))]
pub(super) fn median(ns: impl Iterator<Item = u64>) -> u64 {
    let mut ns: Vec<u64> = ns.collect();
    ns.sort_unstable();
    ns.get(ns.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clock_costs_comes_off_every_step_alike() {
        let mut timed = Profile::default();
        (timed.kinds[0], timed.kinds[5], timed.kinds[FIRST_OF_DEVICE]) = ((100, 13_000), (200, 46_000), (10, 30_000));
        let mut counted = Profile { wakes: 5, ..Profile::default() };
        (counted.kinds[0], counted.kinds[5], counted.kinds[FIRST_OF_DEVICE]) = ((300, 0), (100, 0), (20, 0));
        let cpu_ns = 300 * 100 + 100 * 200 + 20 * 3_000 + 5 * 2_000; // 30 ns less a step than they took by the clock
        let found = timed.without_clock(&counted, cpu_ns, 2_000);
        assert_eq!((found.kinds[0], found.kinds[5]), ((100, 10_000), (200, 40_000)));
        assert_eq!(found.kinds[FIRST_OF_DEVICE], timed.kinds[FIRST_OF_DEVICE]);
    }
}
