//! Helpers shared by the benchmarks.

pub mod pages;
pub mod path;
pub mod ratio;
