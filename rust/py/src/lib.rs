//! The extension module `kcompressd._core`: converts, releases the GIL, maps errors; decides nothing.

mod check;
mod codec;
mod config;
mod design;
mod error;
mod estimate;
mod judge;
mod policy;
mod report;
mod run;
mod sim;
mod step;
mod workload;
mod zram;
mod zswap;

use pyo3::prelude::*;

/// Python's allocator aligns to 16 bytes: what has cache lines of its own is kept in a box.
const MOST_ALIGN: usize = 16;
const _: () = {
    assert!(align_of::<judge::Judge>() <= MOST_ALIGN && align_of::<judge::Locator>() <= MOST_ALIGN);
    assert!(align_of::<judge::Replay>() <= MOST_ALIGN && align_of::<run::Run>() <= MOST_ALIGN);
    assert!(align_of::<step::Stepper>() <= MOST_ALIGN);
    assert!(align_of::<zram::Zram>() <= MOST_ALIGN && align_of::<zswap::Zswap>() <= MOST_ALIGN);
};

/// The Rust core of kcompressd.
#[pymodule(gil_used = false)]
mod _core {
    use super::PyModule;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::judge::{Judge, Locator, Replay};
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const LARGE_IN_ZSWAP: (u16, u16) = kcompressd_core::swapout::LARGE_IN_ZSWAP;
    #[pymodule_export]
    use super::check::{explore, replay_schedule};
    #[pymodule_export]
    use super::codec::{check_codec, codecs, compress, decompress, parse_codecs};
    #[pymodule_export]
    use super::design::{design_notes, preset, presets, validate_design, with_depth, with_threads};
    #[pymodule_export]
    use super::error::{
        CodecError, DesignError, DeviceError, NotAtHead, ProtocolViolation, StepError, TableError, ZramError,
        ZswapError,
    };
    #[pymodule_export]
    use super::estimate::{account, measure};
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::sim::{profile, simulate};
    #[pymodule_export]
    use super::step::Stepper;
    #[pymodule_export]
    use super::zram::Zram;
    #[pymodule_export]
    use super::zswap::Zswap;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__all__", module.dict().keys())
    }
}
