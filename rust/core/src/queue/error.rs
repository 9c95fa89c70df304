//! What a queue refuses, with the value handed back.

use crate::tagged::TaggedFolio;

/// A queue cannot be set up like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The capacity (entries) is no power of two in 1..=[`super::MAX_CAPACITY`].
    #[error("queue capacity {0} is not a power of two between 1 and 65536")]
    Capacity(usize),
    /// The depth (entries) is above the capacity.
    #[error("queue depth {depth} is above the capacity {capacity}")]
    Depth {
        /// The depth asked for.
        depth: usize,
        /// The queue's capacity.
        capacity: usize,
    },
}

/// A folio was not queued; it is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// As many entries as the depth allows are queued.
    #[error("queue is full")]
    Full(TaggedFolio),
    /// The queue is closed for good.
    #[error("queue is closed")]
    Closed(TaggedFolio),
}

impl PushError {
    /// The folio that was not queued.
    pub fn into_inner(self) -> TaggedFolio {
        match self {
            Self::Full(folio) | Self::Closed(folio) => folio,
        }
    }
}

/// No slot was reserved; what was to be queued is still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// As many entries as the depth allows are queued.
    #[error("queue is full")]
    Full,
    /// The queue is closed for good.
    #[error("queue is closed")]
    Closed,
}

impl ReserveError {
    /// The same refusal, handing `folio` back.
    #[inline]
    pub(super) fn hand_back(self, folio: TaggedFolio) -> PushError {
        match self {
            Self::Full => PushError::Full(folio),
            Self::Closed => PushError::Closed(folio),
        }
    }
}
