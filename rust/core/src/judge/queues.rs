//! Tickets: the order of the queues, as the records tell it.
//!
//! `queue` carries the queue's number and the position that the push was given, `compress` out of a queue the same pair.
//! Always checked: a position is given once, it comes back with the page that it was given to, and one actor takes
//! positions in rising order. With a total order also: positions are given in sequence, a position is taken while at most
//! [`in_hand`](super::Config::in_hand) older ones are still to be begun, and a push finds room (the folios that wait are
//! never more than the depth of that moment plus those in hand). At a complete end no position is missing.
//!
//! Memory and work are bounded by the length of the trace, whatever positions it claims.

use super::breach::Reason;
use super::{Config, Ordering};
use crate::trace::Record;
use std::collections::VecDeque;

/// A position that no record has given yet.
const UNSEEN: u32 = u32::MAX;
/// A position that was taken.
const TAKEN: u32 = u32::MAX - 1;
/// Slots of all queues for positions that no record has given yet: more than any queue's capacity.
const WINDOW: usize = 1 << 22;
/// Slots looked at for the pages that breaches moved on: a second's work. Beyond, such a page keeps its ticket.
const LOOKS: u64 = 1 << 32;

#[derive(Debug, Default)]
struct Queue {
    depth: Option<u32>,
    /// The position of `slots[0]`.
    base: u64,
    /// The page at each position: a folio, [`UNSEEN`] or [`TAKEN`].
    slots: VecDeque<u32>,
    waiting: u64,
    /// The last position that each actor took.
    takers: Vec<(u16, u64)>,
}

/// All queues of a trace.
#[derive(Debug)]
pub(super) struct Queues {
    queues: Vec<Queue>,
    fixed: bool,
    total: bool,
    in_hand: u64,
    pushes: usize,
    /// Slots that the queues have room for.
    room: usize,
    /// Slots that [`Queues::forget`] has looked at.
    looks: u64,
}

impl Queues {
    pub(super) fn new(config: &Config) -> Self {
        let depths = config.depths.as_deref().unwrap_or_default();
        let queues = depths.iter().map(|&d| Queue { depth: Some(d), ..Queue::default() }).collect();
        let total = config.ordering == Ordering::Total;
        let (fixed, in_hand) = (config.depths.is_some(), u64::from(config.in_hand));
        Self { queues, fixed, total, in_hand, pushes: 0, room: 0, looks: 0 }
    }

    fn queue(&mut self, number: usize) -> Result<&mut Queue, Reason> {
        if number >= self.queues.len() && !self.fixed && number < usize::from(u16::MAX) {
            self.queues.resize_with(number + 1, Queue::default);
        }
        self.queues.get_mut(number).ok_or(Reason::NoQueue)
    }

    fn of(&mut self, r: &Record) -> Result<(&mut Queue, u16, u64), Reason> {
        let number = (r.aux >> 48).checked_sub(1).ok_or(Reason::NoTicket)? as u16;
        Ok((self.queue(usize::from(number))?, number, r.aux & 0xffff_ffff_ffff))
    }

    pub(super) fn push(&mut self, r: &Record) -> Result<(), Reason> {
        let (total, in_hand) = (self.total, self.in_hand);
        // A deque grows by doubling: as many again for each that was pushed.
        self.pushes += 1;
        let spare = (WINDOW + 2 * self.pushes).saturating_sub(self.room);
        let (queue, number, position) = self.of(r)?;
        let next = queue.base + queue.slots.len() as u64;
        let far = position > next && position >= queue.base + (queue.slots.capacity() + spare) as u64;
        if far || (total && position != next) {
            // Believed as far as it goes: a gap was given and taken, anything else is the next one.
            self.room += queue.put(if far || position < next { next } else { position }, r.folio, TAKEN);
            return Err(Reason::Ticket { queue: number, expected: next, got: position });
        }
        if position < next && queue.at(position) != Some(UNSEEN) {
            return Err(Reason::TicketTwice { queue: number, position });
        }
        let more = queue.put(position, r.folio, UNSEEN);
        let (depth, waiting) = (queue.depth, queue.waiting);
        self.room += more;
        let depth = depth.filter(|&d| total && waiting > u64::from(d) + in_hand);
        depth.map_or(Ok(()), |depth| Err(Reason::Depth { queue: number, depth, waiting }))
    }

    pub(super) fn pop(&mut self, r: &Record) -> Result<(), Reason> {
        let (total, in_hand) = (self.total, self.in_hand);
        let (queue, number, position) = self.of(r)?;
        if queue.at(position) != Some(r.folio) {
            self.forget(r.folio);
            return Err(Reason::TicketPage { queue: number, position });
        }
        let older = total.then(|| queue.older(position)).flatten();
        queue.take(position);
        if let Some(last) = queue.taken_by(r.actor, position) {
            return Err(Reason::Order { queue: number, position, after: last });
        }
        match older {
            Some((first, count)) if count > in_hand => Err(Reason::Fifo { queue: number, position, older: first }),
            _ => Ok(()),
        }
    }

    /// Takes `folio` out of whatever queue it waits in: a breach has moved it on.
    pub(super) fn forget(&mut self, folio: u32) {
        if self.looks > LOOKS {
            return;
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.waiting > 0) {
            self.looks += queue.slots.len() as u64;
            while let Some(offset) = queue.slots.iter().position(|&s| s == folio) {
                queue.take(queue.base + offset as u64);
            }
        }
    }

    pub(super) fn resize(&mut self, number: u32, depth: u32) -> Result<(), Reason> {
        let total = self.total;
        let queue = self.queue(number as usize)?;
        queue.depth = total.then_some(depth);
        Ok(())
    }

    /// A position that was never given although a later one was.
    pub(super) fn gap(&self) -> Option<Reason> {
        self.queues.iter().enumerate().find_map(|(number, queue)| {
            let hole = queue.slots.iter().position(|&s| s == UNSEEN)?;
            Some(Reason::TicketGap { queue: number as u16, position: queue.base + hole as u64 })
        })
    }
}

impl Queue {
    fn at(&self, position: u64) -> Option<u32> {
        let offset = position.checked_sub(self.base)?;
        self.slots.get(usize::try_from(offset).ok()?).copied()
    }

    /// Returns how many slots more there is room for.
    fn put(&mut self, position: u64, folio: u32, between: u32) -> usize {
        let (offset, room) = ((position - self.base) as usize, self.slots.capacity());
        if self.slots.len() <= offset {
            self.slots.resize(offset + 1, between);
        }
        self.slots[offset] = folio;
        self.waiting += 1;
        self.slots.capacity() - room
    }

    fn take(&mut self, position: u64) {
        self.slots[(position - self.base) as usize] = TAKEN;
        self.waiting -= 1;
        while self.slots.front() == Some(&TAKEN) {
            self.slots.pop_front();
            self.base += 1;
        }
    }

    /// The oldest open position before `position`, and how many there are.
    fn older(&self, position: u64) -> Option<(u64, u64)> {
        let before = self.slots.iter().take((position - self.base) as usize).enumerate();
        let mut open = before.filter(|(_, folio)| **folio < TAKEN);
        let (first, _) = open.next()?;
        Some((self.base + first as u64, 1 + open.count() as u64))
    }

    /// Notes that `actor` took `position`; the position it took before, if that is not older.
    fn taken_by(&mut self, actor: u16, position: u64) -> Option<u64> {
        match self.takers.iter_mut().find(|(a, _)| *a == actor) {
            Some((_, last)) => {
                let before = std::mem::replace(last, position);
                (before >= position).then_some(before)
            }
            None => {
                self.takers.push((actor, position));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::aux;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// One queue as the module's documentation has it: every position that was given, with its page until it is taken.
    #[derive(Default)]
    struct Slow {
        depth: Option<u32>,
        given: BTreeMap<u64, Option<u32>>,
        last: BTreeMap<u16, u64>,
    }

    impl Slow {
        fn open(&self) -> impl Iterator<Item = (u64, u32)> {
            self.given.iter().filter_map(|(&position, page)| Some((position, (*page)?)))
        }

        fn next(&self) -> u64 {
            self.given.last_key_value().map_or(0, |(last, _)| last + 1)
        }

        fn push(&mut self, of: &Config, queue: u16, position: u64, page: u32) -> Result<(), Reason> {
            let total = of.ordering == Ordering::Total;
            if total && position != self.next() {
                return Err(Reason::Ticket { queue, expected: self.next(), got: position });
            }
            if self.given.insert(position, Some(page)).is_some() {
                return Err(Reason::TicketTwice { queue, position });
            }
            let waiting = self.open().count() as u64;
            match self.depth {
                Some(depth) if total && waiting > u64::from(depth + of.in_hand) => {
                    Err(Reason::Depth { queue, depth, waiting })
                }
                _ => Ok(()),
            }
        }

        fn pop(&mut self, of: &Config, queue: u16, position: u64, r: &Record) -> Result<(), Reason> {
            if self.given.get(&position) != Some(&Some(r.folio)) {
                return Err(Reason::TicketPage { queue, position });
            }
            let older: Vec<u64> = self.open().map(|(open, _)| open).filter(|&open| open < position).collect();
            self.given.insert(position, None);
            if let Some(after) = self.last.insert(r.actor, position).filter(|&last| last > position) {
                return Err(Reason::Order { queue, position, after });
            }
            match older.first() {
                Some(&older_) if of.ordering == Ordering::Total && older.len() > of.in_hand as usize => {
                    Err(Reason::Fifo { queue, position, older: older_ })
                }
                _ => Ok(()),
            }
        }

        fn gap(&self) -> Option<u64> {
            (0..self.next()).find(|position| !self.given.contains_key(position))
        }
    }

    fn configs() -> impl Strategy<Value = Config> {
        let depths = prop::option::of(prop::collection::vec(0u32..5, 1..4));
        (any::<bool>(), depths, 0u32..3).prop_map(|(total, depths, in_hand)| {
            let ordering = if total { Ordering::Total } else { Ordering::PerFolio };
            Config { ordering, depths, in_hand, ..Config::default() }
        })
    }

    fn slots(queues: &Queues) -> usize {
        queues.queues.iter().map(|queue| queue.slots.capacity()).sum()
    }

    #[test]
    fn positions_far_ahead_take_no_more_memory_than_one_window_and_the_records() {
        for ordering in [Ordering::PerFolio, Ordering::Total] {
            let mut queues = Queues::new(&Config { ordering, ..Config::default() });
            for (folio, number) in (0..1 << 10).zip((0..16).cycle()) {
                let position = if folio < 16 { WINDOW as u64 - 1 } else { u64::from(folio) << 32 };
                let r = Record { aux: aux::ticket(number, position), folio, ..Record::default() };
                let _ = queues.push(&r);
            }
            assert_eq!(queues.room, slots(&queues));
            assert!(queues.room <= 3 * WINDOW, "{ordering:?}: {} slots", queues.room);
        }
    }

    #[test]
    fn pages_that_breaches_moved_on_are_looked_for_so_long_and_no_longer() {
        let mut queues = Queues::new(&Config::default());
        for folio in 0..2 {
            queues.push(&Record { aux: aux::ticket(0, folio.into()), folio, ..Record::default() }).unwrap();
        }
        queues.looks = LOOKS - 1;
        queues.forget(1);
        assert_eq!((queues.looks, queues.queues[0].waiting), (LOOKS + 1, 1));
        queues.forget(0);
        assert_eq!((queues.looks, queues.queues[0].waiting), (LOOKS + 1, 1));
    }

    proptest! {
        /// Pushes, pops and resizes, mostly as a queue would have them, until the first that is wrong: it is named as by hand.
        #[test]
        fn queues_are_judged_as_their_contract_says(
            config in configs(),
            picks in prop::collection::vec((0u8..9, 0u16..3, 0u64..60, 0u32..40, 0u16..3), 0..80),
        ) {
            let mut queues = Queues::new(&config);
            let known = config.depths.as_ref().map_or(3, Vec::len);
            let depth = |number| config.depths.as_ref().and_then(|depths| depths.get(number).copied());
            let mut slow: Vec<_> = (0..3).map(|number| Slow { depth: depth(number), ..Slow::default() }).collect();
            for (kind, number, pick, folio, actor) in picks {
                let of = &mut slow[usize::from(number)];
                // Any position, or a gap, once in thirty times: else as a queue would have it.
                let (position, folio) = match (kind, of.open().nth([0, 0, 1, 2][pick as usize % 4])) {
                    _ if pick == 59 => (u64::from(folio) % 12, folio),
                    (0..4, Some(open)) => open,
                    (0..4, None) => continue,
                    _ => (of.next() + u64::from(pick == 58), folio),
                };
                let r = Record { aux: aux::ticket(number, position), folio, actor, ..Record::default() };
                let (judged, by_hand) = match kind {
                    0..4 => (queues.pop(&r), of.pop(&config, number, position, &r)),
                    4..8 => (queues.push(&r), of.push(&config, number, position, folio)),
                    _ => {
                        of.depth = (config.ordering == Ordering::Total).then_some(folio);
                        (queues.resize(u32::from(number), folio), Ok(()))
                    }
                };
                let by_hand = if usize::from(number) < known { by_hand } else { Err(Reason::NoQueue) };
                prop_assert_eq!(judged, by_hand);
                if judged.is_err() {
                    return Ok(());
                }
            }
            let gap = (0..).zip(&slow).find_map(|(queue, of)| Some(Reason::TicketGap { queue, position: of.gap()? }));
            prop_assert_eq!(queues.gap(), gap);
        }
    }
}
