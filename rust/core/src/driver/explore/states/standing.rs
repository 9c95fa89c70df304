//! Where seats stand: whether they can run, or for what they wait and how far in line.

use crate::driver::{Seat, Status};
use crate::system::{System, Waiting};
use crate::wait::WaitKey;
use rustc_hash::FxHashMap;
use std::num::NonZeroU32;

/// Whether an actor can run, without its ticket: tickets count what has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    Ready,
    /// For what, at which place in line, and whether its time may be out.
    Waits(WaitKey, u32, Option<NonZeroU32>),
    Done,
}

impl Standing {
    #[inline]
    pub fn of(seat: &Seat, sys: &System) -> Self {
        match seat.status {
            Status::Ready => Self::Ready,
            Status::Done => Self::Done,
            Status::Waiting(Waiting { key, ticket, timeout_ns }) => match sys.wait.cell(key).place(ticket) {
                0 => Self::Ready, // woken is as good as ready
                place => Self::Waits(key, place, timeout_ns),
            },
        }
    }

    /// Empties the line that a seat stands in. Nobody is in line but seats: once all have left, all lines are empty.
    pub fn leave(seat: &Seat, sys: &System) {
        if let Status::Waiting(wait) = seat.status {
            sys.wait.cell(wait.key).set_waiting(0);
        }
    }

    /// Puts a seat there: who waits has its place in line again.
    pub fn take(self, sys: &System) -> Status {
        match self {
            Self::Ready => Status::Ready,
            Self::Done => Status::Done,
            Self::Waits(key, place, timeout_ns) => {
                let cell = sys.wait.cell(key);
                cell.set_waiting(cell.waiting().max(place));
                Status::Waiting(Waiting { key, ticket: cell.ticket_at(place), timeout_ns })
            }
        }
    }

    /// The page that it waits for.
    pub fn page(&mut self) -> Option<&mut u32> {
        match self {
            Self::Waits(WaitKey::Folio(page) | WaitKey::Writeback(page), ..) => Some(page),
            Self::Waits(..) | Self::Ready | Self::Done => None,
        }
    }
}

/// Every standing met, by number.
#[derive(Debug)]
pub struct Standings {
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
    pub fn number(&mut self, standing: Standing) -> u32 {
        match standing {
            Standing::Ready => 0,
            Standing::Done => 1,
            Standing::Waits(..) => *self.numbers.entry(standing).or_insert_with(|| {
                self.met.push(standing);
                self.met.len() as u32 - 1
            }),
        }
    }

    pub fn at(&self, number: u32) -> Standing {
        self.met[number as usize]
    }
}
