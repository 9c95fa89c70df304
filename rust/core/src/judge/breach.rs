//! What a judge says of a record that breaks the law.

use crate::lifecycle::{State, actor_name, guard};
use crate::trace::Record;

/// A record and what is wrong with it. At the end of a trace: `index` is the number of records and `record.folio` the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index}: page {}: {reason}", .record.folio)]
pub struct Breach {
    /// Position in the trace, from 0.
    pub index: u64,
    /// The record.
    pub record: Record,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// An event, state or flag id that does not exist.
    #[error("an event, state or flag that does not exist")]
    Id,
    /// A page that the trace does not have, or one too many for so few records where no sidecar says how many it has.
    #[error("{}", no_page(*.pages))]
    Folio {
        /// Pages that it has, if known.
        pages: Option<usize>,
    },
    /// Not the page's next sequence number.
    #[error("its next record should be number {expected}")]
    Sequence {
        /// The next one.
        expected: u32,
    },
    /// Not the state that the page is in.
    #[error("the page is {}", .expected.name())]
    From {
        /// The state that it is in.
        expected: State,
    },
    /// The table has no edge for this event, state and guards.
    #[error("the law has no such transition")]
    NoEdge,
    /// A guard bit that the row does not read.
    #[error("guard bits {bits:#04x} are not read by this transition")]
    Unread {
        /// Those bits.
        bits: u8,
    },
    /// The edge leads elsewhere.
    #[error("the law leads to {}", .expected.name())]
    To {
        /// Where it leads.
        expected: State,
    },
    /// A guard that the past decides otherwise.
    #[error("guard {} was {held}", guard_name(*.guard))]
    Guard {
        /// Its bit.
        guard: u8,
        /// Its value by the past.
        held: bool,
    },
    /// The new state does not permit the flags.
    #[error("the state does not permit these flags")]
    Flags,
    /// The flags did not change as the event says.
    #[error("the flags did not change as the event says")]
    Effect {
        /// The flags before.
        before: u16,
    },
    /// Time runs backwards.
    #[error("time runs backwards from {before} ns")]
    Time {
        /// The time before, in nanoseconds.
        before: u64,
    },
    /// A system record that is not one.
    #[error("not a well-formed system event")]
    System,
    /// A write that ended otherwise than the device's last note says.
    #[error("{}", write_ended(*.failed))]
    Write {
        /// The device had noted an I/O error.
        failed: bool,
    },
    /// A queued page without a ticket.
    #[error("no ticket")]
    NoTicket,
    /// A ticket where none was drawn.
    #[error("a ticket, but the page was not queued")]
    StrayTicket,
    /// A queue that the run does not have.
    #[error("no such queue")]
    NoQueue,
    /// Not the queue's next position.
    #[error("queue {queue} gives position {expected} next, not {got}")]
    Ticket {
        /// The queue.
        queue: u16,
        /// Its next position.
        expected: u64,
        /// The record's.
        got: u64,
    },
    /// A position given twice.
    #[error("position {position} of queue {queue} was given before")]
    TicketTwice {
        /// The queue.
        queue: u16,
        /// The position.
        position: u64,
    },
    /// A position that holds another page, or none.
    #[error("position {position} of queue {queue} does not hold this page")]
    TicketPage {
        /// The queue.
        queue: u16,
        /// The position.
        position: u64,
    },
    /// One actor took positions out of order.
    #[error("position {position} of queue {queue} taken after {after} by one actor")]
    Order {
        /// The queue.
        queue: u16,
        /// The position.
        position: u64,
        /// What it took before.
        after: u64,
    },
    /// Taken before an older one that nobody can have in hand.
    #[error("position {position} of queue {queue} taken before {older}")]
    Fifo {
        /// The queue.
        queue: u16,
        /// The position.
        position: u64,
        /// The oldest one that waits.
        older: u64,
    },
    /// More folios wait than the queue may hold.
    #[error("{waiting} folios in queue {queue} of depth {depth}")]
    Depth {
        /// The queue.
        queue: u16,
        /// Its depth.
        depth: u32,
        /// Folios that wait.
        waiting: u64,
    },
    /// Another actor has the page.
    #[error("{} has the page", actor_name(*.owner))]
    Owner {
        /// Who brought it to its state.
        owner: u16,
    },
    /// An activation that does not say what could not be allocated.
    #[error("activated, but neither was writeback denied nor an allocation refused")]
    Cause,
    /// The store's own count is not the sum of the live copies.
    #[error("the store counts {said} bytes, its live copies have {live}")]
    Pool {
        /// The store's count.
        said: u64,
        /// The sum over the pages whose copy is in the store.
        live: u64,
    },
    /// A complete trace leaves a page half way.
    #[error("left {} at the end", .state.name())]
    Unfinished {
        /// Its state.
        state: State,
    },
    /// A complete trace lacks a position.
    #[error("position {position} of queue {queue} was never given")]
    TicketGap {
        /// The queue.
        queue: u16,
        /// The position.
        position: u64,
    },
}

impl Reason {
    /// One word for the check, as `Validation` shows it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Folio { .. } => "folio",
            Self::Sequence { .. } => "sequence",
            Self::From { .. } => "from",
            Self::NoEdge => "edge",
            Self::Unread { .. } | Self::Guard { .. } => "guards",
            Self::To { .. } => "to",
            Self::Flags => "flags",
            Self::Effect { .. } => "effect",
            Self::Time { .. } => "time",
            Self::System => "system",
            Self::Write { .. } => "write",
            Self::Depth { .. } => "depth",
            Self::Unfinished { .. } => "unfinished",
            Self::NoTicket | Self::StrayTicket | Self::NoQueue | Self::Ticket { .. } => "ticket",
            Self::TicketTwice { .. } | Self::TicketPage { .. } | Self::TicketGap { .. } => "ticket",
            Self::Order { .. } | Self::Fifo { .. } => "fifo",
            Self::Owner { .. } => "owner",
            Self::Cause => "cause",
            Self::Pool { .. } => "pool",
        }
    }
}

const fn no_page(pages: Option<usize>) -> &'static str {
    match pages {
        Some(_) => "the trace has no such page",
        None => "more pages than so few records account for; the sidecar would say how many the trace has",
    }
}

const fn write_ended(failed: bool) -> &'static str {
    match failed {
        true => "its write ended well, but the device had noted an I/O error",
        false => "its write failed, but the device noted no I/O error before",
    }
}

fn guard_name(bit: u8) -> &'static str {
    guard::NAMES.get(bit.trailing_zeros() as usize).copied().unwrap_or("unknown")
}
