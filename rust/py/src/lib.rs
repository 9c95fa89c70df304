//! The extension module `kcompressd._core`: converts, releases the GIL, maps errors; decides nothing.

mod judge;

use pyo3::prelude::*;

/// The Rust core of kcompressd.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::judge::{Judge, Locator};
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
