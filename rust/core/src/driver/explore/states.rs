//! A state as words, under names by which states that differ only in which folio is which are equal.
//!
//! Actors are not written out: each different actor that is met gets a number, and the words hold the numbers (the
//! "collapse" method of explicit-state checkers). An actor under other page names is another actor, found by number too.
//!
//! **Why the renaming is sound.** A folio's index decides nothing: nothing compares two of them, and what differs from
//! folio to folio from the beginning (its group, its node, its contents) is asked of the index's class, within which names
//! are exchanged. The same holds for swap slots and zsmalloc's handles. So a state and its renamed twin take the same
//! steps, to states that are twins again. The names are given in the order in which folios are met on a fixed walk of
//! actors, queues and lists. Where that walk meets a folio not at all, states that are twins may be told apart: that costs
//! states, never a wrong answer.

mod actors;
mod standing;

use crate::driver::{Crew, Seat};
use crate::node::Node;
use crate::reclaim::Actor;
use crate::snapshot::{Order, Reader, Saved};
use crate::system::{PARTS, Store, System};
use crate::units::NIL;
use actors::Actors;
use standing::{Standing, Standings};
use std::collections::BTreeMap;

/// The most folios of an explored system: a permutation of them is a word.
pub const MAX_FOLIOS: usize = 16;

/// Bits of the first word: what the driver stops, steps that may fail, then of each part how many words it has.
const STOP_BITS: u32 = 2;
const FAULT_BITS: u32 = 8;
const LEN_BITS: u32 = (u64::BITS - STOP_BITS - FAULT_BITS) / PARTS as u32;

/// What is known of a seat.
#[derive(Debug)]
struct Seated {
    /// The number of its actor; [`NIL`]: it may be another by now, and `before` was it.
    number: u32,
    before: u32,
    standing: Standing,
}

/// Saves and restores a system with its crew; knows every actor that it has met.
#[derive(Debug)]
pub struct States {
    actors: Actors,
    standings: Standings,
    seated: Vec<Seated>,
    saved: Saved,
    /// Whether the system's memory is what `saved` says.
    in_memory: bool,
    symmetry: bool,
}

impl States {
    /// For this system; `symmetry`: states that differ only in which folio is which are one.
    ///
    /// # Panics
    /// If it has more than [`MAX_FOLIOS`] folios.
    pub fn new(sys: &System, crew: &Crew, symmetry: bool) -> Self {
        assert!(sys.folios.len() <= MAX_FOLIOS, "at most {MAX_FOLIOS} folios can be explored");
        let mut saved = Saved::default();
        // The pages of a large folio lie in a row, and so do their slots: no two may change places.
        let symmetry = symmetry && sys.folios.iter().all(|folio| folio.order == 0);
        if symmetry {
            saved.names.pages = Order::of_classes(classes(sys));
            saved.names.slots = Order::of_classes(vec![0; sys.slots.total() as usize]);
        }
        let unknown = |_: &Seat| Seated { number: NIL, before: NIL, standing: Standing::Ready };
        Self {
            actors: Actors::default(),
            standings: Standings::default(),
            seated: crew.seats.iter().map(unknown).collect(),
            saved,
            in_memory: false,
            symmetry,
        }
    }

    /// Notes that seat `seat` steps: after each step this must be known before the next call of the two below.
    pub fn steps(&mut self, seat: usize) {
        let seated = &mut self.seated[seat];
        if seated.number != NIL {
            (seated.before, seated.number) = (seated.number, NIL);
        }
        self.in_memory = false;
    }

    /// The words of the state that `sys` and `crew` are in.
    pub fn save(&mut self, sys: &System, crew: &mut Crew) -> &[u64] {
        self.see_seats(sys, crew);
        if self.symmetry {
            self.give_names(sys);
        }
        self.saved.clear();
        self.saved.state.push(0);
        self.save_seats();
        let stops = crew.stops.shrink.is_set() as u64 | (crew.stops.device.is_set() as u64) << 1;
        let head = stops | u64::from(crew.faults_left) << STOP_BITS;
        let lens = sys.save(&mut self.saved).into_iter().rev().fold(0, |lens, len| {
            assert!(len < 1 << LEN_BITS, "a part of a saved state has {len} words");
            lens << LEN_BITS | len as u64
        });
        self.saved.state[0] = head | lens << (STOP_BITS + FAULT_BITS);
        self.in_memory = !self.symmetry || self.saved.names.change_nothing();
        &self.saved.state
    }

    /// Gives numbers to the actors that may have changed, and looks where all stand.
    fn see_seats(&mut self, sys: &System, crew: &mut Crew) {
        // What a kswapd knows of its node's progress changes with the progress, which begins at 0 after a restore.
        let progress = sys.nodes.iter().any(|node| node.progress() != 0);
        for (seat, seated) in crew.seats.iter_mut().zip(&mut self.seated) {
            if seated.number == NIL || progress && matches!(seat.actor, Actor::Kswapd(_)) {
                seat.actor.normalise(sys);
                seated.number = self.actors.number(&seat.actor, seated.before);
            }
            seated.standing = Standing::of(seat, sys);
        }
        sys.nodes.iter().for_each(Node::forget_progress);
    }

    fn save_seats(&mut self) {
        let names = &self.saved.names.pages;
        let permutation = match names.changes_nothing() {
            true => 0,
            false => names.names().iter().fold(0, |word, &name| word << 4 | u64::from(name)),
        };
        for &Seated { number, mut standing, .. } in &self.seated {
            standing.page().into_iter().for_each(|page| *page = names.name(*page));
            let standing = self.standings.number(standing);
            let number = self.actors.renamed(number, names, permutation);
            self.saved.state.push(u64::from(number) << 32 | u64::from(standing));
        }
    }

    /// Names in the order of a walk: actors, queues, lists, device, zswap's lists; then by what the folio is.
    fn give_names(&mut self, sys: &System) {
        let names = &mut self.saved.names;
        names.pages.begin();
        for seated in &mut self.seated {
            self.actors.pages(seated.number).iter().for_each(|&page| names.pages.give(page));
            seated.standing.page().into_iter().for_each(|page| names.pages.give(*page));
        }
        walk(sys, &mut names.pages);
        names.slots.begin();
        for new in 0..sys.folios.len() as u32 {
            let slot = sys.folio(names.pages.at(new)).slot();
            if slot != NIL {
                names.slots.give(slot);
            }
        }
        names.begin_handles();
        // An object that is nobody's yet would take part in the numbers: then all keep theirs.
        if !self.seated.iter().any(|seated| self.actors.at(seated.number).holds_object()) {
            match &sys.store {
                Store::Zswap(zswap) => zswap.name_handles(names),
                Store::Zram(zram) => zram.name_handles(names),
            }
        }
    }

    /// Goes to the state of these words, which an earlier [`States::save`] gave.
    pub fn restore(&mut self, sys: &System, crew: &mut Crew, words: &[u64]) {
        let stops_and_faults = words[0];
        crew.stops.shrink.set(stops_and_faults & 1 != 0);
        crew.stops.device.set(stops_and_faults & 2 != 0);
        crew.faults_left = (stops_and_faults >> STOP_BITS) as u8;
        self.restore_parts(sys, words);
        for seat in &crew.seats {
            Standing::leave(seat, sys);
        }
        for ((seat, seated), &word) in crew.seats.iter_mut().zip(&mut self.seated).zip(&words[1..]) {
            let number = (word >> 32) as u32;
            if seated.number != number {
                seat.actor.clone_from(self.actors.at(number));
                seated.number = number;
            }
            seat.status = self.standings.at(word as u32).take(sys);
            if !seat.ctx.errors.is_empty() {
                seat.ctx.errors.clear();
            }
        }
    }

    /// Restores the parts of the system that are not in its memory as these words want them.
    fn restore_parts(&mut self, sys: &System, words: &[u64]) {
        let seats = self.seated.len();
        let mut old = parts(&self.saved.state, seats);
        for (number, part) in parts(words, seats).enumerate() {
            if !(self.in_memory && old.next() == Some(part)) {
                sys.restore(number, &mut Reader::new(part));
            }
        }
        self.in_memory = false;
    }

    /// Different actors met.
    pub fn actors(&self) -> usize {
        self.actors.len()
    }
}

/// The words of each part of the system, of a state with so many seats.
fn parts(words: &[u64], seats: usize) -> impl Iterator<Item = &[u64]> {
    let mut lens = words.first().copied().unwrap_or(0) >> (STOP_BITS + FAULT_BITS);
    let mut rest = words.get(1 + seats..).unwrap_or(&[]);
    (0..PARTS).map(move |_| {
        let (part, others) = rest.split_at((lens & ((1 << LEN_BITS) - 1)) as usize);
        (rest, lens) = (others, lens >> LEN_BITS);
        part
    })
}

/// Names for those who are in no actor's hands. No further than to the last page: who is left has nothing to look at.
fn walk(sys: &System, pages: &mut Order) {
    for queue in &sys.queues {
        queue.queued().for_each(|(_, entry)| pages.give(sys.page_of(entry)));
    }
    if pages.is_complete() {
        return;
    }
    for node in &sys.nodes {
        for lruvec in node.lru().lruvecs() {
            lruvec.inactive.from_tail(&sys.folios).for_each(|page| pages.give(page));
            lruvec.active.from_tail(&sys.folios).for_each(|page| pages.give(page));
        }
    }
    sys.device.each_pending(|page| pages.give(page));
    if pages.is_complete() {
        return;
    }
    if let Store::Zswap(zswap) = &sys.store {
        zswap.each_listed(|page| pages.give(page));
    }
    give_the_rest(sys, pages);
}

/// Folios on no list and in nobody's hands, by what they are; twins by index.
fn give_the_rest(sys: &System, pages: &mut Order) {
    let mut rest = [(u64::MAX, NIL); MAX_FOLIOS];
    let mut len = 0;
    for page in (0..sys.folios.len() as u32).filter(|&page| !pages.has(page)) {
        let folio = sys.folio(page);
        let zero = folio.slot() != NIL && sys.slots.is_zero(folio.slot());
        rest[len] = (u64::from(folio.word.parts()) << 2 | u64::from(zero) << 1 | u64::from(folio.slot() == NIL), page);
        len += 1;
    }
    rest[..len].sort_unstable();
    rest[..len].iter().for_each(|&(_, page)| pages.give(page));
}

/// Folios that may take each other's places have equal numbers.
fn classes(sys: &System) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let class = |page: usize| {
        let folio = &sys.folios[page];
        (folio.memcg, folio.node, folio.order, sys.contents.kind(page as u32))
    };
    (0..sys.folios.len())
        .map(|page| {
            let next = numbers.len() as u32;
            *numbers.entry(class(page)).or_insert(next)
        })
        .collect()
}
