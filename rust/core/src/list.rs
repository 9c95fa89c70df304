//! A doubly linked list of indices whose links live in the elements, as the kernel's `list_head`.
//!
//! The list itself is plain data under its owner's lock; an element's links belong to that lock.

use crate::snapshot::{Names, Order, Reader, Saved, push_indices};
use crate::sync::{AtomicU32, Ordering};
use crate::units::NIL;

/// An element's neighbours (`list_head`), [`NIL`] where there are none. They belong to the lock of the list that it is on.
#[derive(Debug)]
pub struct Links {
    prev: AtomicU32,
    next: AtomicU32,
}

impl Default for Links {
    fn default() -> Self {
        Self { prev: AtomicU32::new(NIL), next: AtomicU32::new(NIL) }
    }
}

impl Links {
    /// The neighbour towards the head.
    #[inline]
    pub fn prev(&self) -> u32 {
        // ORDERING: Relaxed (all four): ordered by the list's lock.
        self.prev.load(Ordering::Relaxed)
    }

    /// The neighbour towards the tail.
    #[inline]
    pub fn next(&self) -> u32 {
        // ORDERING: Relaxed: as above.
        self.next.load(Ordering::Relaxed)
    }

    /// Sets the neighbour towards the head.
    #[inline]
    pub fn set_prev(&self, index: u32) {
        // ORDERING: Relaxed: as above.
        self.prev.store(index, Ordering::Relaxed);
    }

    /// Sets the neighbour towards the tail.
    #[inline]
    pub fn set_next(&self, index: u32) {
        // ORDERING: Relaxed: as above.
        self.next.store(index, Ordering::Relaxed);
    }

    /// Forgets both.
    #[inline]
    pub fn clear(&self) {
        self.set_prev(NIL);
        self.set_next(NIL);
    }
}

/// An element that can be on one [`List`] at a time.
pub trait Listed {
    /// Its neighbours there.
    fn links(&self) -> &Links;
}

impl Listed for Links {
    #[inline]
    fn links(&self) -> &Links {
        self
    }
}

/// Head, tail and length. `len == 0` exactly when both ends are [`NIL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }
}

impl List {
    /// Elements on the list.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is on it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at the head.
    pub fn head(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// The element at the tail, where reclaim looks.
    pub fn tail(&self) -> Option<u32> {
        (self.tail != NIL).then_some(self.tail)
    }

    /// Adds `index`, which is on no list, at the head.
    pub fn add_head<L: Listed>(&mut self, elements: &[L], index: u32) {
        let element = elements[index as usize].links();
        element.set_prev(NIL);
        element.set_next(self.head);
        match elements.get(self.head as usize) {
            Some(head) => head.links().set_prev(index),
            None => self.tail = index,
        }
        self.head = index;
        self.len += 1;
    }

    /// Adds `index`, which is on no list, at the tail.
    pub fn add_tail<L: Listed>(&mut self, elements: &[L], index: u32) {
        let element = elements[index as usize].links();
        element.set_next(NIL);
        element.set_prev(self.tail);
        match elements.get(self.tail as usize) {
            Some(tail) => tail.links().set_next(index),
            None => self.head = index,
        }
        self.tail = index;
        self.len += 1;
    }

    /// Adds at the head what is linked from `first` on: elements on no list, of which each knows its `next` and the last has [`NIL`].
    pub fn prepend<L: Listed>(&mut self, elements: &[L], first: u32) {
        let (mut at, mut last) = (first, NIL);
        while let Some(element) = elements.get(at as usize) {
            element.links().set_prev(last);
            (last, at) = (at, element.links().next());
            self.len += 1;
        }
        let Some(end) = elements.get(last as usize) else { return };
        end.links().set_next(self.head);
        match elements.get(self.head as usize) {
            Some(head) => head.links().set_prev(last),
            None => self.tail = last,
        }
        self.head = first;
    }

    /// Moves all elements of `other` to the tail, in their order.
    pub fn append<L: Listed>(&mut self, elements: &[L], other: &mut Self) {
        let other = std::mem::take(other);
        let Some(first) = elements.get(other.head as usize) else { return };
        first.links().set_prev(self.tail);
        match elements.get(self.tail as usize) {
            Some(tail) => tail.links().set_next(other.head),
            None => self.head = other.head,
        }
        self.tail = other.tail;
        self.len += other.len;
    }

    /// Takes `index` off this list.
    pub fn del<L: Listed>(&mut self, elements: &[L], index: u32) {
        let element = elements[index as usize].links();
        match elements.get(element.prev() as usize) {
            Some(prev) => prev.links().set_next(element.next()),
            None => self.head = element.next(),
        }
        match elements.get(element.next() as usize) {
            Some(next) => next.links().set_prev(element.prev()),
            None => self.tail = element.prev(),
        }
        element.clear();
        self.len -= 1;
    }

    /// The elements from tail to head.
    pub fn from_tail<'a, L: Listed>(&self, elements: &'a [L]) -> impl Iterator<Item = u32> + use<'a, L> {
        let first = (self.tail != NIL).then_some(self.tail);
        std::iter::successors(first, |&i| Some(elements[i as usize].links().prev()).filter(|&p| p != NIL))
    }

    /// Appends the elements, from the tail on, to a snapshot, under the names that `order` chooses.
    pub fn save<L: Listed>(&self, elements: &[L], out: &mut Saved, order: impl Fn(&Names) -> &Order) {
        let order = order(&out.names);
        push_indices(&mut out.state, self.len, self.from_tail(elements).map(|index| order.name(index)));
    }

    /// Takes the elements back. What was on the list before loses its links only if it is on a list again.
    pub fn restore<L: Listed>(&mut self, elements: &[L], from: &mut Reader<'_>) {
        *self = Self::default();
        from.indices().for_each(|index| self.add_head(elements, index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    proptest::proptest! {
        #[test]
        fn it_is_a_deque(ops in proptest::collection::vec((0u32..8, 0u8..3), 0..60)) {
            let nodes: Vec<Links> = (0..8).map(|_| Links::default()).collect();
            let (mut list, mut model) = (List::default(), VecDeque::new());
            for (i, op) in ops {
                let held = model.iter().position(|&x| x == i);
                match (op, held) {
                    (0, None) => { list.add_head(&nodes, i); model.push_front(i); }
                    (1, None) => { list.add_tail(&nodes, i); model.push_back(i); }
                    (2, Some(at)) => { list.del(&nodes, i); model.remove(at); }
                    _ => {}
                }
                let order: Vec<u32> = list.from_tail(&nodes).collect();
                proptest::prop_assert_eq!(order, model.iter().rev().copied().collect::<Vec<_>>());
                proptest::prop_assert_eq!(list.len() as usize, model.len());
                proptest::prop_assert_eq!(list.tail(), model.back().copied());
            }
        }

        #[test]
        fn prepending_adds_a_chain_in_its_order(listed in 0u32..9, chained in 0u32..9) {
            let nodes: Vec<Links> = (0..16).map(|_| Links::default()).collect();
            let mut list = List::default();
            let (new, old) = (0..chained, chained..chained + listed);
            old.for_each(|i| list.add_tail(&nodes, i));
            new.for_each(|i| nodes[i as usize].set_next(if i + 1 < chained { i + 1 } else { NIL }));
            list.prepend(&nodes, if chained > 0 { 0 } else { NIL });
            let all = 0..chained + listed;
            proptest::prop_assert_eq!(list.from_tail(&nodes).collect::<Vec<_>>(), all.clone().rev().collect::<Vec<_>>());
            proptest::prop_assert_eq!((list.len(), list.head()), (all.end, (all.end > 0).then_some(0)));
            all.for_each(|i| list.del(&nodes, i));
            proptest::prop_assert!(list.is_empty());
        }

        #[test]
        fn appending_joins_two_lists_in_order(split in 0u32..9, len in 0u32..9) {
            let nodes: Vec<Links> = (0..16).map(|_| Links::default()).collect();
            let (mut list, mut other) = (List::default(), List::default());
            (0..len).for_each(|i| if i < split { list.add_tail(&nodes, i) } else { other.add_tail(&nodes, i) });
            list.append(&nodes, &mut other);
            proptest::prop_assert!(other.is_empty() && other.tail().is_none());
            proptest::prop_assert_eq!(list.from_tail(&nodes).collect::<Vec<_>>(), (0..len).rev().collect::<Vec<_>>());
            (0..len).for_each(|i| list.del(&nodes, i));
            proptest::prop_assert!(list.is_empty());
        }
    }
}
