//! The table unrolled for the judge: one load answers "where does this event lead under these guards".

use super::breach::Reason;
use crate::lifecycle::effect::{Effect, KEPT, copy_after};
use crate::lifecycle::{Event, Row, State, Table, flag, guard};

const STATES: usize = State::ALL.len();
const EVENTS: usize = Event::ALL.len();
/// Guard bits that exist.
pub(super) const GUARD_BITS: u32 = guard::NAMES.len() as u32;
/// Flag bits that exist.
pub(super) const FLAG_BITS: u32 = flag::NAMES.len() as u32;

const _: () = assert!(STATES < 31 && EVENTS < 0x80, "state 31 stands for none in `permits`; 0x80 begins system events");

/// Checks beyond the edge.
pub(super) mod special {
    /// Puts a ticket into a queue.
    pub const QUEUE: u8 = 1;
    /// Takes a ticket out of a queue.
    pub const DEQUEUE: u8 = 2;
    /// Must carry no ticket.
    pub const DIRECT: u8 = 3;
    /// The part that says what becomes of a ticket.
    pub const TICKET: u8 = 3;
    /// The row reads `writeback_enabled`.
    pub const WRITEBACK: u8 = 4;
    /// Must say why nothing could be allocated.
    pub const CAUSE: u8 = 8;
    /// The store takes a copy.
    pub const STORED: u8 = 16;
    /// The device's write ends.
    pub const WRITTEN: u8 = 32;
}

/// Where one (event, state, guards) leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The state it enters; 0xff: no such edge.
    pub to: u8,
    /// Guards that the row reads and the page's past decides.
    pub derived: u8,
    /// Where the copy is afterwards, as guard bits, or [`KEPT`].
    pub copy: u8,
    /// [`special`] checks.
    pub special: u8,
    /// Any actor may do it; else the one that brought the page here.
    pub free: bool,
}

const NONE: Step = Step { to: u8::MAX, derived: 0, copy: KEPT, special: 0, free: true };

#[derive(Debug)]
pub(super) struct Law {
    table: Table,
    steps: Box<[Step]>,
    permits: Box<[u32]>,
    effects: [Effect; 256],
}

impl Law {
    pub(super) fn new(table: &Table) -> Self {
        let mut steps = vec![NONE; (EVENTS * STATES) << GUARD_BITS].into_boxed_slice();
        for row in table.rows() {
            steps[index(row.event, row.from, row.require_value)] = Step {
                to: row.to,
                derived: row.require_mask & (guard::MAPPED | guard::IN_POOL | guard::ZERO),
                copy: copy_in(row.event, row.to),
                special: special_of(row) | writeback_of(row.require_mask),
                free: !is_held(row),
            };
        }
        let permitted = |flags: u16| State::ALL.iter().filter(move |&&s| table.permits(s, flags));
        let permits = (0..1 << FLAG_BITS).map(|flags| permitted(flags).map(|&s| 1 << s as u32).sum()).collect();
        Self { table: table.clone(), steps, permits, effects: std::array::from_fn(effect_of) }
    }

    /// The row for exactly these guards (a record holds no bit that its row does not read).
    #[inline(always)]
    pub(super) fn step(&self, event: u8, from: u8, guards: u8) -> Step {
        self.steps.get(index(event, from, guards)).copied().unwrap_or(NONE)
    }

    #[inline(always)]
    pub(super) fn permits(&self, state: u8, flags: u16) -> bool {
        let states = self.permits.get(usize::from(flags)).copied().unwrap_or(0);
        states >> (state & 31) & 1 == 1
    }

    #[inline(always)]
    pub(super) fn effect(&self, event: u8) -> &Effect {
        &self.effects[usize::from(event)]
    }

    /// Why no row has exactly these guards: the cell is empty, or a bit is set that the row does not read.
    pub(super) fn why_not(&self, event: u8, from: u8, guards: u8) -> Reason {
        let (event, from) = (Event::from_id(event), State::from_id(from));
        match self.table.next(event, from, guards) {
            Some((_, read)) => Reason::Unread { bits: guards & !read },
            None => Reason::NoEdge,
        }
    }
}

#[inline(always)]
fn index(event: u8, from: u8, guards: u8) -> usize {
    ((usize::from(event) * STATES + usize::from(from)) << GUARD_BITS) + usize::from(guards)
}

fn effect_of(event: usize) -> Effect {
    Event::ALL.get(event).map_or(Effect::ANY, |&event| Effect::of(event))
}

fn special_of(row: &Row) -> u8 {
    match Event::from_id(row.event) {
        Event::Queue => special::QUEUE,
        Event::Compress if row.from == State::Queued as u8 => special::DEQUEUE,
        Event::Compress => special::DIRECT,
        // Else it was met under writeback, which its flags say.
        Event::Activate if row.to == State::Activated as u8 => special::CAUSE,
        Event::Store => special::STORED,
        Event::Redirty | Event::EndWriteback if row.from == State::WritingBack as u8 => special::WRITTEN,
        _ => 0,
    }
}

fn is_held(row: &Row) -> bool {
    row.from != row.to && State::from_id(row.from).is_held()
}

fn writeback_of(reads: u8) -> u8 {
    if reads & guard::WRITEBACK_ENABLED != 0 { special::WRITEBACK } else { 0 }
}

/// [`copy_after`] by ids that exist.
pub(super) fn copy_in(event: u8, to: u8) -> u8 {
    copy_after(Event::from_id(event), State::from_id(to))
}
