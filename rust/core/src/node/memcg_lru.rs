//! The order in which the node's own reclaim comes to memory cgroups under the multi-gen LRU: an LRU of groups (the memcg LRU).
//!
//! Groups are in two generations, the old and the young; each is dealt out at random into bins, so that reclaimers who begin at different
//! bins seldom meet. Eviction begins at a random bin of the old generation and goes on until it has enough, bin after bin. A group whose
//! turn ended with aging goes to the young generation; when the old one is empty, the young one is the old. So a reclaimer may stop
//! wherever it is, and in time every group has had its turn. What is too small or protected by `memory.low` has one more try at the end of a
//! bin. Source: Documentation/mm/multigen_lru.rst (memcg LRU); observed, 6.12.
//!
//! Differences: the head of a bin is for groups above their soft limit, which cgroup v2 has not, and for groups that go
//! offline, of which none does while a node reclaims; a position is looked for by group.

use crate::workload::SplitMix;
use std::collections::VecDeque;

/// Generations of groups: the old, the young, and the one before, which a reader may still have in its hands.
const MEMCG_NR_GENS: u32 = 3;
/// Bins of each.
const MEMCG_NR_BINS: usize = 8;

/// What moves a group (MEMCG_LRU_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemcgLruOp {
    /// To the end of a random bin of its generation: there was too little in it, or `memory.low` protects it, and it has one more try.
    Tail,
    /// To the young generation: its turn ended with aging, `memory.min` protects it, or the other try was in vain, too.
    Young,
}

/// Where a group is (`lruvec->lrugen`: `gen`, `seg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    generation: u8,
    bin: u8,
    /// It has been moved to the tail of a bin since it came into the generation.
    at_tail: bool,
}

/// A walk under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    first_bin: u8,
    bin: u8,
    generation: u8,
}

/// The groups of a node.
#[derive(Clone, Debug)]
pub struct MemcgLru {
    /// Its remainder is the old generation.
    seq: u32,
    /// `fifo`.
    bins: [[VecDeque<u16>; MEMCG_NR_BINS]; MEMCG_NR_GENS as usize],
    places: Vec<Place>,
    random: SplitMix,
}

impl MemcgLru {
    /// `groups` groups that have just come online: at the end of a random bin of the old generation.
    pub fn new(groups: u16) -> Self {
        let mut lru = Self { seq: 0, bins: Default::default(), places: Vec::new(), random: SplitMix(0) };
        for id in 0..groups {
            let place = Place { generation: lru.generation(0), bin: lru.random_bin(), at_tail: false };
            lru.places.push(place);
            lru.bin(place).push_back(id);
        }
        lru
    }

    fn generation(&self, age: u32) -> u8 {
        (self.seq.wrapping_add(age) % MEMCG_NR_GENS) as u8
    }

    fn random_bin(&mut self) -> u8 {
        (self.random.next_u64() % MEMCG_NR_BINS as u64) as u8
    }

    fn bin(&mut self, place: Place) -> &mut VecDeque<u16> {
        &mut self.bins[usize::from(place.generation)][usize::from(place.bin)]
    }

    /// Begins a walk at a random bin; the first group.
    pub fn begin(&mut self) -> (Cursor, Option<u16>) {
        let bin = self.random_bin();
        let mut cursor = Cursor { first_bin: bin, bin, generation: self.generation(0) };
        let first = self.first(&mut cursor);
        (cursor, first)
    }

    /// The first group of the cursor's bin, or of one of those after it that the walk has not come to.
    fn first(&self, cursor: &mut Cursor) -> Option<u16> {
        loop {
            cursor.generation = self.generation(0);
            if let Some(&id) = self.bins[usize::from(cursor.generation)][usize::from(cursor.bin)].front() {
                return Some(id);
            }
            self.next_bin(cursor)?;
        }
    }

    /// On to the next bin; `None`: the walk has been round.
    fn next_bin(&self, cursor: &mut Cursor) -> Option<()> {
        cursor.bin = (cursor.bin + 1) % MEMCG_NR_BINS as u8;
        (cursor.bin != cursor.first_bin).then_some(())
    }

    /// `shrink_many`: the group after `id`, whose turn has ended and is moved by `op`; a bin that another walker has taken it out of is
    /// begun again. With `stop` there is no next one.
    pub fn next(&mut self, cursor: &mut Cursor, id: u16, op: Option<MemcgLruOp>, stop: bool) -> Option<u16> {
        let Place { generation, bin, .. } = self.places[usize::from(id)];
        let stayed = (generation, bin) == (cursor.generation, cursor.bin);
        let in_bin = &self.bins[usize::from(generation)][usize::from(bin)];
        let after = in_bin.iter().position(|&other| other == id).and_then(|at| in_bin.get(at + 1).copied());
        if let Some(op) = op {
            self.rotate(id, op);
        }
        match (stop, stayed, after) {
            (true, ..) => None,
            (false, true, Some(next)) => Some(next),
            (false, true, None) => self.next_bin(cursor).and_then(|()| self.first(cursor)),
            (false, false, _) => self.first(cursor),
        }
    }

    /// Whether the group has had its one more try.
    pub fn is_at_tail(&self, id: u16) -> bool {
        self.places[usize::from(id)].at_tail
    }

    /// `lru_gen_rotate_memcg`; when the old generation is empty, the young one is the old.
    fn rotate(&mut self, id: u16, op: MemcgLruOp) {
        let was = self.places[usize::from(id)];
        self.bin(was).retain(|&other| other != id);
        let bin = self.random_bin();
        let place = match op {
            MemcgLruOp::Tail => Place { bin, at_tail: true, ..was },
            MemcgLruOp::Young => Place { generation: self.generation(1), bin, at_tail: false },
        };
        self.bin(place).push_back(id);
        self.places[usize::from(id)] = place;
        let old = &self.bins[usize::from(self.generation(0))];
        if old.iter().all(VecDeque::is_empty) {
            self.seq = self.seq.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walk in which each turn ends with `op`; who was visited.
    fn walk(lru: &mut MemcgLru, mut op: impl FnMut(&MemcgLru, u16) -> Option<MemcgLruOp>) -> Vec<u16> {
        let (mut cursor, mut at) = lru.begin();
        let mut visited = Vec::new();
        while let Some(id) = at {
            visited.push(id);
            assert!(visited.len() < 1000, "a walk ends");
            let op = op(lru, id);
            at = lru.next(&mut cursor, id, op, false);
        }
        visited
    }

    fn sorted(mut ids: Vec<u16>) -> Vec<u16> {
        ids.sort_unstable();
        ids
    }

    #[test]
    fn who_is_not_moved_is_visited_once_a_walk_wherever_it_begins() {
        let mut lru = MemcgLru::new(20);
        let walks: Vec<_> = (0..30).map(|_| walk(&mut lru, |_, _| None)).collect();
        assert!(walks.iter().all(|walk| sorted(walk.clone()) == (0..20).collect::<Vec<_>>()));
        assert!(walks.iter().any(|walk| walk[0] != walks[0][0]), "walks begin at random bins");
    }

    #[test]
    fn a_walker_that_stops_leaves_those_it_did_not_come_to_for_the_next_one() {
        let mut lru = MemcgLru::new(12);
        for _ in 0..5 {
            let mut turns: Vec<u16> = Vec::new();
            for _ in 0..12 {
                let (mut cursor, first) = lru.begin();
                turns.extend(first);
                assert_eq!(lru.next(&mut cursor, first.unwrap(), Some(MemcgLruOp::Young), true), None);
            }
            assert_eq!(sorted(turns), (0..12).collect::<Vec<_>>(), "each has its turn before any has its second");
        }
        assert_eq!(lru.seq, 5);
    }

    #[test]
    fn what_is_too_small_has_one_more_try_and_is_young_then() {
        let mut lru = MemcgLru::new(6);
        let small = |lru: &MemcgLru, id| Some(if lru.is_at_tail(id) { MemcgLruOp::Young } else { MemcgLruOp::Tail });
        let mut tries = [0; 6];
        while lru.seq == 0 {
            let (mut cursor, Some(id)) = lru.begin() else { panic!("the old generation is never empty") };
            tries[usize::from(id)] += 1;
            let op = small(&lru, id);
            let _ = lru.next(&mut cursor, id, op, true);
        }
        assert_eq!(tries, [2; 6]);
        assert!((0..6).all(|id| !lru.is_at_tail(id)));
    }

    #[test]
    fn a_bin_that_another_walker_took_the_group_out_of_is_begun_again() {
        let mut lru = MemcgLru::new(40);
        let (mut cursor, Some(first)) = lru.begin() else { panic!("there are groups") };
        let mut rest = lru.bins[usize::from(cursor.generation)][usize::from(cursor.bin)].clone();
        assert_eq!(rest.pop_front(), Some(first));
        lru.rotate(first, MemcgLruOp::Young);
        assert_eq!(lru.next(&mut cursor, first, None, false), rest.front().copied());
    }

    proptest::proptest! {
        /// Whatever several walkers do to the groups, each is in one bin of the old or of the young generation, and the old has some.
        #[test]
        fn every_group_is_somewhere_and_somebody_is_old(
            groups in 1u16..30,
            steps in proptest::collection::vec((0usize..3, 0u8..4, proptest::bool::ANY), 1..200),
        ) {
            let mut lru = MemcgLru::new(groups);
            let mut walkers: [Option<(Cursor, u16)>; 3] = [None; 3];
            for (who, op, stop) in steps {
                let (mut cursor, at) = walkers[who].take().map_or_else(|| lru.begin(), |(cursor, id)| (cursor, Some(id)));
                let id = at.expect("a walk begins with a group");
                let op = [None, None, Some(MemcgLruOp::Tail), Some(MemcgLruOp::Young)][usize::from(op)];
                walkers[who] = lru.next(&mut cursor, id, op, stop).map(|next| (cursor, next));
                let (old, young) = (lru.generation(0), lru.generation(1));
                let listed: Vec<u16> = lru.bins.iter().flatten().flatten().copied().collect();
                proptest::prop_assert_eq!(sorted(listed), (0..groups).collect::<Vec<_>>());
                for (id, place) in (0..).zip(&lru.places) {
                    proptest::prop_assert!([old, young].contains(&place.generation));
                    proptest::prop_assert!(lru.bins[usize::from(place.generation)][usize::from(place.bin)].contains(&id));
                }
                proptest::prop_assert!(lru.places.iter().any(|place| place.generation == old));
            }
        }
    }
}
