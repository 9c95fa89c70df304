//! What a folio is (stub: the state word and links follow).

use crate::sync::AtomicU64;

/// One folio.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Folio {
    word: AtomicU64,
}
