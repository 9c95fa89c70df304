//! What compressors make of given pages, in two halves that need not run on the same day.
//!
//! [`measure`] compresses and decompresses every page once with every compressor, on all cores, and keeps per page what
//! the stores' accounting depends on ([`Measured`]: sizes and times, no contents). [`account`] sends those sizes, in the
//! pages' order, through the same zram and zsmalloc code that a run uses, without holding bytes: its counters are what a
//! fresh device with one writer would show. `account` is a pure function; `measure` differs in its times only.

mod account;
mod bench;
mod measure;

pub use account::{Account, Rate, ZswapPool, account};
pub use measure::{CodecPages, MAX_SIZE_PAGES, MeasureError, Measured, Same, Work, measure};
