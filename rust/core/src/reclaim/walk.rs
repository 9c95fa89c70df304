//! Which groups a pass of reclaim visits: `mem_cgroup_iter` (mm/memcontrol.c).
//!
//! kswapd, and a direct reclaimer that found nothing before, visit every group from the top down. Other reclaimers share a position:
//! each goes on where the last one came to, and stops when it has enough, or when a round trip through the tree has ended meanwhile.
//! So small requests spread over all groups. Source: Documentation/admin-guide/cgroup-v2.rst (memory.reclaim); observed, 6.12.

use crate::node::{Node, ReclaimIter};
use crate::system::System;

/// A walk under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Walk {
    top: u16,
    /// It shares its position with others; the round trip that it belongs to.
    shared: Option<u32>,
    group: Option<u16>,
}

impl Walk {
    /// The group whose turn it is; `None`: there is no walk.
    pub fn group(&self) -> Option<u16> {
        self.group
    }

    /// Begins a walk through `top` and the groups below; returns the first.
    pub fn begin(&mut self, sys: &System, node: &Node, top: u16, shared: bool) -> u16 {
        let mut first = top;
        let round = |iter: &mut ReclaimIter| {
            first = sys.memcgs.next_below(top, iter.position).unwrap_or_else(|| {
                iter.generation += 1;
                top
            });
            iter.position = Some(first);
            iter.generation
        };
        let shared = (shared && node.groups() > 1).then(|| node.with_iter(top, round));
        *self = Self { top, shared, group: Some(first) };
        first
    }

    /// On to the next group, if there is one and the walk may not stop because `enough` was reclaimed.
    pub fn next(&mut self, sys: &System, node: &Node, enough: bool) -> bool {
        let (top, group) = (self.top, self.group);
        self.group = match self.shared {
            _ if node.groups() == 1 => None,
            None => sys.memcgs.next_below(top, group),
            Some(_) if enough => None,
            Some(generation) => node.with_iter(top, |iter| {
                if iter.generation != generation {
                    return None;
                }
                iter.position = sys.memcgs.next_below(top, iter.position);
                iter.generation += u32::from(iter.position.is_none());
                iter.position
            }),
        };
        self.group.is_some()
    }
}
