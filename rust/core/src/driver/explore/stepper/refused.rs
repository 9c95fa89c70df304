//! Why the stepper refuses a call: nothing has happened then, but for steps that a wait or another event ended.

use crate::lifecycle::{Event, State, actor_name};
use crate::queue::QueueError;
use crate::system::StepError;
use crate::wait::WaitKey;
use crate::zswap::TooManyPools;

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such page.
    #[error("page {page}: there are {pages}")]
    NoPage {
        /// The page.
        page: u32,
        /// Pages there are.
        pages: usize,
    },
    /// The page is not where the call needs it.
    #[error("page {page}: {call}() takes a page that is {needs}; it is {}", .state.name())]
    Misplaced {
        /// The page.
        page: u32,
        /// Where it is.
        state: State,
        /// The call.
        call: &'static str,
        /// Where it would have to be.
        needs: &'static str,
    },
    /// Others are ahead of the page in its queue, or at the device.
    #[error("page {page}: not at the head of {}'s line: {} ahead", actor_name(*.actor), pages(.ahead))]
    NotAtHead {
        /// The page.
        page: u32,
        /// Where it is.
        state: State,
        /// Who takes from the head.
        actor: u16,
        /// The pages ahead, the head first.
        ahead: Vec<u32>,
    },
    /// The actor has another page half-way, or another actor has this one.
    #[error("page {page}: {} is half-way with page {with} ({})", actor_name(*.actor), .state.name())]
    Busy {
        /// The page.
        page: u32,
        /// Where `with` is.
        state: State,
        /// Who is busy.
        actor: u16,
        /// The page in its hands.
        with: u32,
    },
    /// The actor waits. kswapd keeps its page and goes on when the call is repeated; a fault is given up.
    #[error("page {page} is {}: {} waits for {}", .state.name(), actor_name(*.actor), what(*.key))]
    Waits {
        /// The page.
        page: u32,
        /// Where it is.
        state: State,
        /// Who waits.
        actor: u16,
        /// What for.
        key: WaitKey,
    },
    /// The event is lawful, but the actor did something else and has ended, or has nothing to do.
    #[error("page {page}: {} did not come, {} did; it is {}", .event.name(), names(.fired), .state.name())]
    Otherwise {
        /// The page.
        page: u32,
        /// Where it is now.
        state: State,
        /// The event that was asked for.
        event: Event,
        /// The page's events that came instead.
        fired: Vec<Event>,
    },
    /// The event is lawful, but no actor that a script drives fires it here.
    #[error("page {page}: {} is lawful while {}, but no actor here fires it", .event.name(), .state.name())]
    Nobody {
        /// The page.
        page: u32,
        /// Where it is.
        state: State,
        /// The event.
        event: Event,
    },
    /// The copy could not be read; it stays where it is.
    #[error("page {page} is {}: {error}", .state.name())]
    Unread {
        /// The page.
        page: u32,
        /// Where it is.
        state: State,
        /// What failed.
        error: String,
        /// Whether the device failed; else the block did not decode.
        device: bool,
    },
    /// No queue has this number.
    #[error("no queue {queue}: there are {queues}")]
    NoQueue {
        /// The number.
        queue: usize,
        /// Queues there are.
        queues: usize,
    },
    /// No memory cgroup has this number.
    #[error("no memcg {0}")]
    NoMemcg(u16),
    /// The store is zram.
    #[error("the store is zram: it has no pool limits and no second compressor")]
    NoZswap,
    /// Too many compressors have entries left.
    #[error(transparent)]
    Pools(#[from] TooManyPools),
    /// A depth above the queue's capacity.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A step failed: the law forbids it, or the page was held.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl From<Box<StepError>> for Refused {
    fn from(error: Box<StepError>) -> Self {
        Self::Step(*error)
    }
}

impl Refused {
    /// The page and its state, where the refusal is about a page.
    pub fn page(&self) -> Option<(u32, Option<State>)> {
        match *self {
            Self::NoPage { page, .. } | Self::Step(StepError::Held { page, .. } | StepError::Decode { page, .. }) => {
                Some((page, None))
            }
            Self::Misplaced { page, state, .. }
            | Self::NotAtHead { page, state, .. }
            | Self::Waits { page, state, .. }
            | Self::Otherwise { page, state, .. }
            | Self::Nobody { page, state, .. }
            | Self::Unread { page, state, .. } => Some((page, Some(state))),
            Self::Busy { page, with, state, .. } => Some((page, (page == with).then_some(state))),
            Self::Step(StepError::Violation(ref violation)) => Some((violation.page, Some(violation.state))),
            Self::NoQueue { .. } | Self::NoMemcg(_) | Self::NoZswap | Self::Pools(_) | Self::Queue(_) => None,
            Self::Step(StepError::Device(_) | StepError::Policy(_)) => None,
        }
    }
}

fn pages(ahead: &[u32]) -> String {
    let names: Vec<String> = ahead.iter().map(u32::to_string).collect();
    format!("page{} {}", if ahead.len() == 1 { "" } else { "s" }, names.join(", "))
}

fn names(events: &[Event]) -> String {
    match events.iter().map(|event| event.name()).collect::<Vec<_>>() {
        none if none.is_empty() => "nothing".into(),
        some => some.join(", "),
    }
}

fn what(key: WaitKey) -> String {
    match key {
        WaitKey::Queue(queue) => format!("work in queue {queue}"),
        WaitKey::QueueSpace(queue) => format!("room in queue {queue}"),
        WaitKey::Folio(page) => format!("the lock of page {page}"),
        WaitKey::Writeback(page) => format!("the end of page {page}'s write"),
        WaitKey::Memory => "memory".into(),
        WaitKey::Device => "work at the device".into(),
        WaitKey::Shrink => "a full pool".into(),
        WaitKey::Kswapd => "work for kswapd".into(),
        WaitKey::Pfmemalloc => "half of the min mark free".into(),
        WaitKey::Throttle => "the end of writes".into(),
    }
}
