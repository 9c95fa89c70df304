//! zram by itself, for scripts: one whole operation a call.

use crate::codec;
use crate::config::{get, page_size, slot, whole};
use crate::error::{CodecError, DeviceError, ZramError};
use crate::zswap::dict;
use kcompressd_core::codec::CodecSpec;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::zram::{
    MAX_ALGORITHMS, ReadError, Recompress, RecompressError, Streams, Wanted, WritebackError, WritebackReason,
    Zram as Core,
};
use kcompressd_core::zsmalloc::{Pool, PoolConfig, Unlimited};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The device, and the streams of all its compressors.
#[pyclass(frozen, module = "kcompressd._core")]
pub struct Zram {
    zram: Box<Core>,
    streams: Mutex<Streams>,
    algorithms: Vec<CodecSpec>,
    page_size: usize,
}

fn refused(error: impl std::fmt::Display) -> PyErr {
    ZramError::new_err(error.to_string())
}

fn unread(error: ReadError) -> PyErr {
    match error {
        ReadError::Decode(_) => CodecError::new_err(error.to_string()),
        ReadError::Device(_) => DeviceError::new_err(error.to_string()),
    }
}

fn not_recompressed(error: RecompressError) -> PyErr {
    match error {
        RecompressError::Decode { .. } => CodecError::new_err(error.to_string()),
        other => refused(other),
    }
}

fn not_written(error: WritebackError) -> PyErr {
    match error.reason {
        WritebackReason::Device(_) => DeviceError::new_err(error.to_string()),
        WritebackReason::Decode { .. } => CodecError::new_err(error.to_string()),
        _ => refused(error),
    }
}

fn algorithms(config: &Bound<'_, PyDict>) -> PyResult<Vec<CodecSpec>> {
    let names: Vec<String> = get(config, "compressors", vec!["lz4".to_owned()])?;
    if names.is_empty() || names.len() > MAX_ALGORITHMS {
        let got = names.len();
        return Err(PyValueError::new_err(format!("secondary: {got} compressors in all, 1 to {MAX_ALGORITHMS} fit")));
    }
    names.iter().map(|name| codec::parse(name)).collect()
}

/// The backing device: a file of `backing_pages` pages at `backing_file`.
fn backing(config: &Bound<'_, PyDict>, page_size: usize) -> PyResult<Option<(Device, u32)>> {
    let (path, pages): (Option<PathBuf>, u32) = (get(config, "backing_file", None)?, get(config, "backing_pages", 0)?);
    let Some(path) = path else { return Ok(None) };
    let backing = Backing::create(&path, pages, page_size).map_err(|error| DeviceError::new_err(error.to_string()))?;
    Ok(Some((Device::new(backing, page_size, IoFaults::default()), pages)))
}

#[pymethods]
impl Zram {
    #[new]
    fn new(config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let page_size = page_size(config)?;
        let algorithms = algorithms(config)?;
        let pool = PoolConfig { page_size, chain_size: get(config, "chain_size", 8)?, bytes: true };
        let pool = Pool::new(pool).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut zram = Core::new(pool, get(config, "slots", 1 << 16)?, get(config, "mem_limit_pages", 0)?);
        if let Some((device, pages)) = backing(config, page_size)? {
            zram = zram.with_backing(device, pages);
        }
        let by_priority = std::array::from_fn(|priority| algorithms.get(priority).copied());
        Ok(Self {
            zram: Box::new(zram),
            streams: Mutex::new(Streams::open(&by_priority, page_size)),
            algorithms,
            page_size,
        })
    }

    /// Stores a page; the bytes charged to compr_data_size.
    fn store(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = slot::<ZramError>)] slot: u32,
        page: PyBuffer<u8>,
    ) -> PyResult<usize> {
        self.check(slot)?;
        let bytes = page.to_vec(py)?;
        if bytes.len() != self.page_size {
            return Err(refused(format!("{} bytes are no page of {}", bytes.len(), self.page_size)));
        }
        py.detach(|| self.zram.store(slot, &bytes, &mut self.streams(), &Unlimited)).map_err(refused)
    }

    /// Loads a slot; an empty one reads as zeros.
    fn load<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = slot::<ZramError>)] slot: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.check(slot)?;
        let mut page = vec![0; self.page_size];
        py.detach(|| self.zram.load(slot, &mut self.streams(), &mut page)).map_err(unread)?;
        Ok(PyBytes::new(py, &page))
    }

    /// Empties a slot.
    fn free(&self, #[pyo3(from_py_with = slot::<ZramError>)] slot: u32) -> PyResult<()> {
        self.check(slot)?;
        self.zram.free(slot, &Unlimited);
        Ok(())
    }

    /// Whether a slot holds a page.
    fn holds(&self, #[pyo3(from_py_with = slot::<ZramError>)] slot: u32) -> PyResult<bool> {
        self.check(slot).map(|()| self.zram.holds(slot))
    }

    /// Sets the clock, seconds.
    fn set_clock(&self, #[pyo3(from_py_with = whole)] seconds: u32) {
        self.zram.set_clock(seconds);
    }

    /// Marks slots idle: all, or those not touched for more than `age` seconds.
    fn mark_idle(&self, #[pyo3(from_py_with = whole)] age: Option<u32>) {
        self.zram.mark_idle(age);
    }

    /// Recompresses; the pages that became smaller.
    fn recompress(
        &self,
        py: Python<'_>,
        wanted: (bool, bool),
        #[pyo3(from_py_with = whole)] threshold: usize,
        #[pyo3(from_py_with = whole)] max_pages: Option<u64>,
        #[pyo3(from_py_with = whole)] priority: Option<u8>,
    ) -> PyResult<u64> {
        let (idle, huge) = wanted;
        let wanted = Wanted { idle, huge, incompressible: false };
        let request = Recompress { wanted, threshold, max_pages, priority };
        py.detach(|| self.zram.recompress(&request, &mut self.streams(), &Unlimited)).map_err(not_recompressed)
    }

    /// Writes back (idle, huge, incompressible); the pages written.
    fn writeback(&self, py: Python<'_>, wanted: (bool, bool, bool)) -> PyResult<u64> {
        let (idle, huge, incompressible) = wanted;
        let wanted = Wanted { idle, huge, incompressible };
        py.detach(|| self.zram.writeback(wanted, &mut self.streams(), &Unlimited)).map_err(not_written)
    }

    /// Sets writeback_limit, units of 4 KiB; None: off.
    fn set_writeback_limit(&self, #[pyo3(from_py_with = whole)] units: Option<u64>) {
        self.zram.set_writeback_limit(units);
    }

    /// What is left of writeback_limit.
    fn writeback_limit(&self) -> Option<u64> {
        self.zram.writeback_limit()
    }

    /// Compacts the pool; the pages freed.
    fn compact(&self, py: Python<'_>) -> usize {
        py.detach(|| self.zram.compact(&Unlimited))
    }

    /// Sets mem_limit, pages; 0: none.
    fn set_mem_limit(&self, pages: u64) {
        self.zram.set_mem_limit(pages);
    }

    /// mem_used_max starts again.
    fn reset_mem_used_max(&self) {
        self.zram.reset_mem_used_max();
    }

    /// The compressors by priority, the primary one first.
    fn compressors(&self) -> Vec<String> {
        self.algorithms.iter().map(CodecSpec::to_string).collect()
    }

    /// mm_stat.
    fn mm_stat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.zram.mm_stat().fields())
    }

    /// io_stat.
    fn io_stat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.zram.io_stat())
    }

    /// bd_stat.
    fn bd_stat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.zram.bd_stat())
    }
}

impl Zram {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, slot: u32) -> PyResult<()> {
        let slots = self.zram.slots();
        if (slot as usize) < slots { Ok(()) } else { Err(refused(format!("slot {slot}: there are {slots}"))) }
    }
}
