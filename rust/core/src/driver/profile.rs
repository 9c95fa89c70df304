//! What steps cost, by kind of work: measured in a live run, so that virtual time can be held against it.
//!
//! A kernel's steps cost something else; what they cost there is the caller's to say (`virtual_time::Costs`).

use crate::system::Work;

/// Kinds of work, in the order of a profile.
pub const KINDS: [&str; 11] = [
    "scan",
    "unmap",
    "fault",
    "zero_page",
    "touch",
    "commit",
    "zero_test",
    "compress",
    "decompress",
    "device_write",
    "device_read",
];

/// The kinds from here on are the device's.
pub const FIRST_OF_DEVICE: usize = 9;

/// Steps of each kind, and the nanoseconds of CPU time that they took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// By [`KINDS`]: steps, nanoseconds.
    pub kinds: [(u64, u64); KINDS.len()],
}

impl Profile {
    /// Adds a step.
    #[inline]
    pub fn note(&mut self, work: Work, ns: u64) {
        if let Some(kind) = kind(work) {
            self.kinds[kind].0 += 1;
            self.kinds[kind].1 += ns;
        }
    }

    /// Adds another's steps.
    pub fn add(&mut self, other: &Self) {
        for (sum, kind) in self.kinds.iter_mut().zip(other.kinds) {
            *sum = (sum.0 + kind.0, sum.1 + kind.1);
        }
    }
}

fn kind(work: Work) -> Option<usize> {
    Some(match work {
        Work::Scan => 0,
        Work::Unmap => 1,
        Work::Fault => 2,
        Work::ZeroPage => 3,
        Work::Touch => 4,
        Work::Commit => 5,
        Work::ZeroTest(_) => 6,
        Work::Compress(_) => 7,
        Work::Decompress(_) => 8,
        Work::DeviceWrite(_) => 9,
        Work::DeviceRead(_) => 10,
        Work::Think(_) | Work::AllocFailed(_) => return None,
    })
}

pub(super) fn median(ns: impl Iterator<Item = u64>) -> u64 {
    let mut ns: Vec<u64> = ns.collect();
    ns.sort_unstable();
    ns.get(ns.len() / 2).copied().unwrap_or(0)
}
