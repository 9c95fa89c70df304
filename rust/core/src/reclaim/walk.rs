//! Which groups a pass of reclaim visits: `mem_cgroup_iter` (mm/memcontrol.c), and with the multi-gen LRU `shrink_many` (mm/vmscan.c).
//!
//! kswapd, and a direct reclaimer that found nothing before, visit every group from the top down. Other reclaimers share a position:
//! each goes on where the last one came to, and stops when it has enough, or when a round trip through the tree has ended meanwhile.
//! So small requests spread over all groups. With the multi-gen LRU the node's own reclaim, whoever does it, follows an LRU of groups
//! instead ([`MemcgLru`]) and stops when it has enough.
//! Source: Documentation/admin-guide/cgroup-v2.rst (memory.reclaim), mm/multigen_lru.rst (memcg LRU); observed, 6.12.

use crate::memcg::ROOT;
use crate::node::{Cursor, MemcgLru, MemcgLruOp, Node, ReclaimIter};
use crate::system::System;

/// Through which groups, in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Way {
    /// All, from the top down.
    #[default]
    Tree,
    /// From where the last reclaimer came to, in this round trip.
    Shared(u32),
    /// As the memcg LRU has them.
    MemcgLru(Cursor),
}

/// A walk under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Walk {
    top: u16,
    way: Way,
    group: Option<u16>,
    /// What the turn of the group whose turn it is ended with.
    op: Option<MemcgLruOp>,
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
        let way = match shared && node.groups() > 1 {
            true => Way::Shared(node.with_iter(top, round)),
            false => Way::Tree,
        };
        *self = Self { top, way, group: Some(first), op: None };
        first
    }

    /// Begins a walk of the node's own reclaim where there is a memcg LRU; returns the first group.
    pub fn begin_memcg_lru(&mut self, node: &Node) -> Option<u16> {
        let (cursor, group) = node.with_memcg_lru(MemcgLru::begin)?;
        *self = Self { top: ROOT, way: Way::MemcgLru(cursor), group, op: None };
        group
    }

    /// Whether it follows the memcg LRU.
    pub fn is_memcg_lru(&self) -> bool {
        matches!(self.way, Way::MemcgLru(_))
    }

    /// The turn of the group is to end with `op`, if it is by the memcg LRU.
    pub fn rotate(&mut self, op: MemcgLruOp) {
        self.op = Some(op);
    }

    /// `shrink_one`: a turn by the memcg LRU has ended, and if not otherwise stays the group where it is, unless it has nothing to speak
    /// of: then it has one more try, and is young after that.
    pub fn end_turn(&mut self, node: &Node, is_sizable: bool) {
        let at_tail = || self.group.and_then(|group| node.with_memcg_lru(|lru| lru.is_at_tail(group))) == Some(true);
        if self.op.is_none() && !is_sizable {
            self.op = Some(if at_tail() { MemcgLruOp::Young } else { MemcgLruOp::Tail });
        }
    }

    /// On to the next group, if there is one and the walk may not stop because `enough` was reclaimed.
    pub fn next(&mut self, sys: &System, node: &Node, enough: bool) -> bool {
        let (top, group, op) = (self.top, self.group, self.op.take());
        self.group = match &mut self.way {
            Way::MemcgLru(cursor) => {
                group.and_then(|id| node.with_memcg_lru(|lru| lru.next(cursor, id, op, enough))?)
            }
            _ if node.groups() == 1 => None,
            Way::Tree => sys.memcgs.next_below(top, group),
            Way::Shared(_) if enough => None,
            &mut Way::Shared(generation) => node.with_iter(top, |iter| {
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
