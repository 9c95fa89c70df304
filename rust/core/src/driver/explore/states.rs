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

use crate::driver::{Crew, Seat, Status};
use crate::node::Node;
use crate::reclaim::Actor;
use crate::snapshot::{Order, Reader, Saved};
use crate::system::{PARTS, Store, System, Waiting};
use crate::units::NIL;
use crate::wait::WaitKey;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The most folios of an explored system: a permutation of them is a word.
pub const MAX_FOLIOS: usize = 16;

/// Whether an actor can run, without its ticket: tickets count what has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Ready,
    /// For what, at which place in line, and whether its time may be out.
    Waits(WaitKey, u32, Option<NonZeroU32>),
    Done,
}

impl Standing {
    fn of(seat: &Seat, sys: &System) -> Self {
        match seat.status {
            Status::Ready => Self::Ready,
            Status::Done => Self::Done,
            Status::Waiting(Waiting { key, ticket, timeout_ns }) => match sys.wait.cell(key).place(ticket) {
                0 => Self::Ready, // woken is as good as ready
                place => Self::Waits(key, place, timeout_ns),
            },
        }
    }

    fn status(self, sys: &System) -> Status {
        match self {
            Self::Ready => Status::Ready,
            Self::Done => Status::Done,
            Self::Waits(key, place, timeout_ns) => {
                Status::Waiting(Waiting { key, ticket: sys.wait.cell(key).ticket_at(place), timeout_ns })
            }
        }
    }

    fn page(&mut self) -> Option<&mut u32> {
        match self {
            Self::Waits(WaitKey::Folio(page) | WaitKey::Writeback(page), ..) => Some(page),
            Self::Waits(..) | Self::Ready | Self::Done => None,
        }
    }
}

/// Every standing met, by number.
#[derive(Debug)]
struct Standings {
    met: Vec<Standing>,
    numbers: FxHashMap<Standing, u32>,
}

impl Default for Standings {
    fn default() -> Self {
        Self { met: vec![Standing::Ready, Standing::Done], numbers: FxHashMap::default() }
    }
}

impl Standings {
    #[inline]
    fn number(&mut self, standing: Standing) -> u32 {
        match standing {
            Standing::Ready => 0,
            Standing::Done => 1,
            Standing::Waits(..) => *self.numbers.entry(standing).or_insert_with(|| {
                self.met.push(standing);
                self.met.len() as u32 - 1
            }),
        }
    }
}

/// An actor that has been met, with its pages in the order of [`Actor::each_page`].
#[derive(Debug)]
struct Met {
    actor: Actor,
    pages: Box<[u32]>,
}

/// Every actor met, by number.
#[derive(Debug, Default)]
struct Actors {
    met: Vec<Met>,
    numbers: FxHashMap<Actor, u32>,
    /// The number of an actor under other page names, by its own number and the names.
    renamed: FxHashMap<(u32, u64), u32>,
}

impl Actors {
    fn number(&mut self, actor: &Actor) -> u32 {
        if let Some(&number) = self.numbers.get(actor) {
            return number;
        }
        let (mut actor, mut pages) = (actor.clone(), Vec::new());
        actor.each_page(&mut |page| pages.push(*page));
        let number = self.met.len() as u32;
        self.numbers.insert(actor.clone(), number);
        self.met.push(Met { actor, pages: pages.into() });
        number
    }

    fn renamed(&mut self, number: u32, names: &Order, permutation: u64) -> u32 {
        if self.met[number as usize].pages.is_empty() {
            return number;
        }
        if let Some(&other) = self.renamed.get(&(number, permutation)) {
            return other;
        }
        let mut actor = self.met[number as usize].actor.clone();
        actor.each_page(&mut |page| *page = names.name(*page));
        let other = self.number(&actor);
        self.renamed.insert((number, permutation), other);
        other
    }
}

/// Saves and restores a system with its crew; knows every actor that it has met.
#[derive(Debug)]
pub struct States {
    actors: Actors,
    standings: Standings,
    /// The number of the actor that each seat has; [`NIL`]: it may be another by now.
    seated: Vec<u32>,
    saved: Saved,
    /// Where the parts of `saved` end, if the system's memory is what they say.
    in_memory: Option<[usize; PARTS]>,
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
        if symmetry {
            saved.names.pages = Order::of_classes(classes(sys));
            saved.names.slots = Order::of_classes(vec![0; sys.slots.total() as usize]);
        }
        Self {
            actors: Actors::default(),
            standings: Standings::default(),
            seated: vec![NIL; crew.seats.len()],
            saved,
            in_memory: None,
            symmetry,
        }
    }

    /// Notes that seat `seat` steps: after each step this must be known before the next call of the two below.
    pub fn steps(&mut self, seat: usize) {
        self.seated[seat] = NIL;
        self.in_memory = None;
    }

    /// The words of the state that `sys` and `crew` are in.
    pub fn save(&mut self, sys: &System, crew: &mut Crew) -> &[u64] {
        self.see_actors(sys, crew);
        if self.symmetry {
            self.give_names(sys, crew);
        }
        self.saved.clear();
        let stops = crew.stops.shrink.is_set() as u64 | (crew.stops.device.is_set() as u64) << 1;
        self.saved.state.push(stops | u64::from(crew.faults_left) << 8);
        let names = &self.saved.names.pages;
        let permutation = names.names().iter().fold(0, |word, &name| word << 4 | u64::from(name));
        for (seat, &number) in crew.seats.iter().zip(&self.seated) {
            let mut standing = Standing::of(seat, sys);
            standing.page().into_iter().for_each(|page| *page = names.name(*page));
            let standing = self.standings.number(standing);
            let number = if self.symmetry { self.actors.renamed(number, names, permutation) } else { number };
            self.saved.state.push(u64::from(number) << 32 | u64::from(standing));
        }
        let ends = sys.save(&mut self.saved);
        self.in_memory = (!self.symmetry || self.saved.names.change_nothing()).then_some(ends);
        &self.saved.state
    }

    /// Gives numbers to the actors that may have changed.
    fn see_actors(&mut self, sys: &System, crew: &mut Crew) {
        // What a kswapd knows of its node's progress changes with the progress, which begins at 0 after a restore.
        let progress = sys.nodes.iter().any(|node| node.progress() != 0);
        for (seat, seated) in crew.seats.iter_mut().zip(&mut self.seated) {
            if *seated == NIL || progress && matches!(seat.actor, Actor::Kswapd(_)) {
                seat.actor.normalise(sys);
                *seated = self.actors.number(&seat.actor);
            }
        }
        sys.nodes.iter().for_each(Node::forget_progress);
    }

    /// Names in the order of a walk: actors, queues, lists, device, zswap's lists; then by what the folio is.
    fn give_names(&mut self, sys: &System, crew: &Crew) {
        let names = &mut self.saved.names;
        names.pages.begin();
        for (seat, &number) in crew.seats.iter().zip(&self.seated) {
            self.actors.met[number as usize].pages.iter().for_each(|&page| names.pages.give(page));
            Standing::of(seat, sys).page().into_iter().for_each(|page| names.pages.give(*page));
        }
        for queue in &sys.queues {
            queue.queued().for_each(|(_, entry)| names.pages.give(sys.page_of(entry)));
        }
        for node in &sys.nodes {
            for lruvec in node.lru().lruvecs() {
                lruvec.inactive.from_tail(&sys.folios).for_each(|page| names.pages.give(page));
                lruvec.active.from_tail(&sys.folios).for_each(|page| names.pages.give(page));
            }
        }
        sys.device.each_pending(|page| names.pages.give(page));
        if let Store::Zswap(zswap) = &sys.store {
            zswap.each_listed(|page| names.pages.give(page));
        }
        give_the_rest(sys, &mut names.pages);
        names.slots.begin();
        for new in 0..sys.folios.len() as u32 {
            let slot = sys.folio(names.pages.at(new)).slot();
            if slot != NIL {
                names.slots.give(slot);
            }
        }
        (0..sys.slots.total()).for_each(|slot| names.slots.give(slot));
        names.begin_handles();
        // An object that is nobody's yet would take part in the numbers: then all keep theirs.
        if !crew.seats.iter().any(|seat| seat.actor.holds_object()) {
            match &sys.store {
                Store::Zswap(zswap) => zswap.name_handles(names),
                Store::Zram(zram) => zram.name_handles(names),
            }
        }
    }

    /// Goes to the state of these words, which an earlier [`States::save`] gave.
    pub fn restore(&mut self, sys: &System, crew: &mut Crew, words: &[u64]) {
        let mut reader = Reader::new(words);
        let head = reader.state();
        crew.stops.shrink.set(head & 1 != 0);
        crew.stops.device.set(head & 2 != 0);
        crew.faults_left = (head >> 8) as u8;
        let seats = &words[1..=crew.seats.len()];
        let (parts, at) = self.take_in_memory(words, 1 + seats.len());
        sys.restore(parts, &mut Reader::new(&words[at..]));
        for ((seat, seated), &word) in crew.seats.iter_mut().zip(&mut self.seated).zip(seats) {
            let number = (word >> 32) as u32;
            if *seated != number {
                seat.actor.clone_from(&self.actors.met[number as usize].actor);
                *seated = number;
            }
            seat.status = self.standings.met[word as u32 as usize].status(sys);
            seat.ctx.errors.clear();
        }
    }

    /// How many parts the memory already has as `words` (the system's from `begin` on) want them, and where the next begins.
    /// A part says itself how long it is, so parts within a common beginning are equal.
    fn take_in_memory(&mut self, words: &[u64], begin: usize) -> (usize, usize) {
        let Some(ends) = self.in_memory.take() else { return (0, begin) };
        let equal = words[begin..].iter().zip(&self.saved.state[begin..]).take_while(|(want, is)| want == is).count();
        let parts = ends.iter().take_while(|&&end| end <= begin + equal).count();
        (parts, parts.checked_sub(1).map_or(begin, |last| ends[last]))
    }

    /// Different actors met.
    pub fn actors(&self) -> usize {
        self.actors.met.len()
    }
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
