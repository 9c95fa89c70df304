//! zswap by itself, for scripts: one whole operation a call.

use crate::codec;
use crate::config::{get, number, page_size, slot, whole};
use crate::error::{CodecError, ZswapError};
use kcompressd_core::memcg::{MAX, Memcg};
use kcompressd_core::zsmalloc::PoolConfig;
use kcompressd_core::zswap::ZswapConfig;
use kcompressd_core::zswap::direct::{Direct, DirectError, Loaded, Page, Stored};
use kcompressd_core::zswap::shrink::NotShrunk;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The store, its memory cgroups (by number, 0 is the root) and a device that never fails.
#[pyclass(frozen, module = "kcompressd._core")]
pub struct Zswap {
    direct: Mutex<Box<Direct>>,
    page_size: usize,
}

/// A node's number.
fn node(value: &Bound<'_, PyAny>) -> PyResult<u8> {
    number(value, |given| refused(format!("node {given}: there is none")))
}

fn refused(error: impl std::fmt::Display) -> PyErr {
    ZswapError::new_err(error.to_string())
}

fn not_done(error: DirectError) -> PyErr {
    match error {
        DirectError::Decode { .. } => CodecError::new_err(error.to_string()),
        other => refused(other),
    }
}

fn percent(name: &str, value: u64) -> PyResult<u64> {
    if value <= 100 { Ok(value) } else { Err(PyValueError::new_err(format!("{name}: {value} is not 0 to 100"))) }
}

#[pymethods]
impl Zswap {
    #[new]
    fn new(config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let page_size = page_size(config)?;
        let config = ZswapConfig {
            total_ram_pages: get(config, "total_ram_pages", 1 << 18)?,
            max_pool_percent: percent("max_pool_percent", get(config, "max_pool_percent", 20)?)?,
            accept_threshold_percent: percent(
                "accept_threshold_percent",
                get(config, "accept_threshold_percent", 90)?,
            )?,
            shrinker_enabled: get(config, "shrinker_enabled", false)?,
            kernel: get(config, "kernel", (6, 12))?,
            codec: codec::parse(&get(config, "compressor", "lz4".to_owned())?)?,
            pool: PoolConfig { page_size, chain_size: get(config, "chain_size", 8)?, bytes: true },
            slots: get(config, "slots", 1 << 16)?,
            nodes: get(config, "nodes", 1)?,
        };
        let direct = Direct::new(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { direct: Mutex::new(Box::new(direct)), page_size })
    }

    /// Stores a folio: "pool", "device" or "activated".
    fn store(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = slot::<ZswapError>)] slot: u32,
        pages: PyBuffer<u8>,
        memcg: u16,
        #[pyo3(from_py_with = node)] node: u8,
    ) -> PyResult<&'static str> {
        let bytes = pages.to_vec(py)?;
        let pages: Vec<Page<'_>> = bytes.chunks(self.page_size).map(Page::Bytes).collect();
        let stored = py.detach(|| self.lock().store(slot, &pages, memcg, node)).map_err(not_done)?;
        Ok(match stored {
            Stored::Pool => "pool",
            Stored::Device => "device",
            Stored::Activated => "activated",
        })
    }

    /// Loads a slot: where it was and its contents, or None.
    fn load<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = slot::<ZswapError>)] slot: u32,
    ) -> PyResult<Option<(&'static str, Bound<'py, PyBytes>)>> {
        let mut page = vec![0; self.page_size];
        let loaded = py.detach(|| self.lock().load(slot, &mut page)).map_err(not_done)?;
        Ok(match loaded {
            Loaded::Pool => Some(("pool", PyBytes::new(py, &page))),
            Loaded::Device => Some(("device", PyBytes::new(py, &page))),
            Loaded::Nowhere => None,
        })
    }

    /// Frees slots.
    fn invalidate(
        &self,
        #[pyo3(from_py_with = slot::<ZswapError>)] slot: u32,
        #[pyo3(from_py_with = slot::<ZswapError>)] slots: u32,
    ) -> PyResult<()> {
        self.lock().invalidate(slot, slots).map_err(not_done)
    }

    /// Says whether a slot's folio is in the swap cache.
    fn set_in_swapcache(&self, #[pyo3(from_py_with = slot::<ZswapError>)] slot: u32, there: bool) -> PyResult<()> {
        self.lock().set_in_swapcache(slot, there).map_err(not_done)
    }

    /// Runs the shrink worker if a refused store queued it.
    fn run_shrink_worker(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lock().run_shrink_worker())
    }

    /// Writes one entry of a group back on each node: "shrunk", "kept" or "nothing".
    fn shrink_memcg(&self, memcg: u16) -> PyResult<&'static str> {
        let mut direct = self.lock();
        group(&direct, memcg)?;
        Ok(match direct.shrink_memcg(memcg) {
            Ok(()) => "shrunk",
            Err(NotShrunk::Kept) => "kept",
            Err(NotShrunk::Nothing) => "nothing",
        })
    }

    /// What the dynamic shrinker counts.
    fn shrinker_count(&self, memcg: u16, #[pyo3(from_py_with = node)] node: u8) -> PyResult<u64> {
        let direct = self.lock();
        direct.check_place(memcg, node).map_err(not_done)?;
        Ok(direct.zswap.shrinker_count(&direct.memcgs, memcg, node))
    }

    /// Entries that the dynamic shrinker writes back; None: SHRINK_STOP.
    fn shrinker_scan(
        &self,
        memcg: u16,
        #[pyo3(from_py_with = node)] node: u8,
        #[pyo3(from_py_with = whole)] entries: u64,
    ) -> PyResult<Option<u64>> {
        self.lock().shrinker_scan(memcg, node, entries).map_err(not_done)
    }

    /// Adds a group; its number.
    fn add_memcg(&self, name: &str, parent: u16) -> PyResult<u16> {
        self.lock().add_memcg(name, parent).map_err(refused)
    }

    /// Removes a group.
    fn remove_memcg(&self, memcg: u16) -> PyResult<()> {
        let mut direct = self.lock();
        group(&direct, memcg)?;
        direct.remove_memcg(memcg).map_err(refused)
    }

    /// Sets memory.zswap.max in bytes; None: max.
    fn set_zswap_max(&self, memcg: u16, #[pyo3(from_py_with = whole)] bytes: Option<u64>) -> PyResult<()> {
        if memcg == 0 {
            return Err(refused("the root has no memory.zswap.max"));
        }
        group(&self.lock(), memcg).map(|group| group.set_zswap_max(bytes.unwrap_or(MAX)))
    }

    /// Sets memory.zswap.writeback.
    fn set_writeback(&self, memcg: u16, enabled: bool) -> PyResult<()> {
        group(&self.lock(), memcg).map(|group| group.set_writeback(enabled))
    }

    /// memory.zswap.current in bytes, pages in zswap, memory.zswap.max (None: max), memory.zswap.writeback.
    fn memcg(&self, memcg: u16) -> PyResult<(u64, u64, Option<u64>, bool)> {
        let direct = self.lock();
        let group = group(&direct, memcg)?;
        let max = Some(group.zswap_max()).filter(|&max| max != MAX);
        Ok((group.zswap_current_bytes(), group.zswapped(), max, group.writeback()))
    }

    /// The slots of a group's entries on a node, oldest first.
    fn lru(&self, memcg: u16, #[pyo3(from_py_with = node)] node: u8) -> PyResult<Vec<u32>> {
        let direct = self.lock();
        direct.check_place(memcg, node).map_err(not_done)?;
        Ok(direct.zswap.lru_slots(memcg, node))
    }

    /// A parameter by its name, `compressor` apart.
    fn param(&self, name: &str) -> PyResult<u64> {
        let direct = self.lock();
        let zswap = &direct.zswap;
        Ok(match name {
            "enabled" => zswap.enabled().into(),
            "shrinker_enabled" => zswap.shrinker_enabled().into(),
            "max_pool_percent" => zswap.max_pool_percent(),
            "accept_threshold_percent" => zswap.accept_threshold_percent(),
            other => return Err(PyKeyError::new_err(other.to_owned())),
        })
    }

    /// Sets a parameter by its name, `compressor` apart.
    fn set_param(&self, name: &str, #[pyo3(from_py_with = whole)] value: u64) -> PyResult<()> {
        let direct = self.lock();
        let zswap = &direct.zswap;
        match name {
            "enabled" => zswap.set_enabled(value != 0),
            "shrinker_enabled" => zswap.set_shrinker_enabled(value != 0),
            "max_pool_percent" => zswap.set_max_pool_percent(percent(name, value)?),
            "accept_threshold_percent" => zswap.set_accept_threshold_percent(percent(name, value)?),
            other => return Err(PyKeyError::new_err(other.to_owned())),
        }
        Ok(())
    }

    /// The compressor of new stores.
    fn compressor(&self) -> String {
        self.lock().zswap.compressor().to_string()
    }

    /// Changes it: new stores go to a new pool.
    fn set_compressor(&self, name: &str) -> PyResult<()> {
        let spec = codec::parse(name)?;
        self.lock().zswap.set_compressor(spec).map_err(refused)
    }

    /// The pools that live: compressor, pages, references, whether new stores go there.
    fn pools(&self) -> Vec<(String, u64, u64, bool)> {
        let pools = self.lock().zswap.pools();
        pools.into_iter().map(|(codec, pages, refs, current)| (codec.to_string(), pages, refs, current)).collect()
    }

    /// Sets how many pages the pools may still take.
    fn set_free_pages(&self, #[pyo3(from_py_with = whole)] pages: u64) {
        self.lock().set_free_pages(pages);
    }

    /// /sys/kernel/debug/zswap.
    fn debugfs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.lock().zswap.debugfs())
    }

    /// Counters of /proc/vmstat.
    fn vmstat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.lock().vmstat())
    }

    /// Slots whose pages are on the device.
    fn on_device(&self) -> Vec<u32> {
        self.lock().on_device()
    }
}

impl Zswap {
    fn lock(&self) -> MutexGuard<'_, Box<Direct>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn group(direct: &Direct, memcg: u16) -> PyResult<&Memcg> {
    direct.memcgs.get(memcg).ok_or_else(|| not_done(DirectError::NoMemcg(memcg)))
}

/// Counters as a dictionary.
pub fn dict<'py>(
    py: Python<'py>,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in values {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}
