//! The core of kcompressd: Linux's asynchronous memory compression as plain steps on shared state.
//!
//! The system is written once, as actors whose steps know no driver; three drivers (live threads, virtual
//! time, exhaustive exploration) run it. A module may use only those above it in `docs/design.md`'s layer
//! table; a test of the repository checks the imports. This crate names neither Python nor pyo3.

pub mod codec;
pub mod design;
pub mod driver;
#[cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]
pub mod estimate;
pub mod filemap;
pub mod folio;
pub mod frames;
pub mod judge;
pub mod lifecycle;
pub mod list;
pub mod memcg;
pub mod memory;
pub mod mm;
pub mod node;
pub mod queue;
pub mod reclaim;
pub mod shrinker;
pub mod snapshot;
pub mod stats;
pub mod swap;
pub mod swapout;
pub mod sync;
pub mod system;
pub mod tagged;
pub mod trace;
pub mod units;
pub mod wait;
pub mod workload;
pub mod zone;
pub mod zram;
pub mod zsmalloc;
pub mod zswap;
