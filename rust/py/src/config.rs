//! Configurations and tables from dictionaries; every error names its key.

use crate::codec;
use crate::design::{from_dict, store_kind};
use crate::error::{DesignError, TableError};
use crate::workload;
use kcompressd_core::driver::live::{FaultOrder, LiveConfig, Plant, Profiling};
use kcompressd_core::lifecycle::{Row, Table, actor};
use kcompressd_core::memcg::{MAX, Memcg, Memcgs, ROOT};
use kcompressd_core::reclaim::ReclaimRequest;
use kcompressd_core::swap::IoFaults;
use kcompressd_core::system::{Config, Large, Memory, System};
use kcompressd_core::units::PAGE_SIZES;
use kcompressd_core::zone::ZoneConfig;
use pyo3::PyTypeInfo;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::any::type_name;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

/// The value of `key`, or `default` where it is missing or None.
pub fn get<'py, T>(dict: &Bound<'py, PyDict>, key: &str, default: T) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    match dict.get_item(key)? {
        None => Ok(default),
        Some(value) if value.is_none() => Ok(default),
        Some(value) => {
            let text = value.repr()?.to_string();
            value.extract().map_err(|_| PyValueError::new_err(format!("{key}: {text} is not {}", wanted::<T>())))
        }
    }
}

/// What a value of a type is, in words.
pub fn wanted<T>() -> String {
    let whole = [
        (is::<T, u8>(), u64::from(u8::MAX)),
        (is::<T, u16>(), u16::MAX.into()),
        (is::<T, u32>(), u32::MAX.into()),
        (is::<T, u64>() || is::<T, usize>(), u64::MAX),
    ];
    match whole.iter().find(|(is, _)| *is) {
        Some((_, most)) => format!("a whole number from 0 to {most}"),
        None if is::<T, i128>() => "a whole number".into(),
        None if is::<T, f64>() => "a number".into(),
        None if is::<T, bool>() => "True or False".into(),
        None if is::<T, String>() => "a text".into(),
        None => "a value it can take".into(),
    }
}

/// Whether `T` is `K`, or an option of it. Names are compared: only a type that lives for ever has a `TypeId`.
fn is<T, K>() -> bool {
    [type_name::<K>(), type_name::<Option<K>>()].contains(&type_name::<T>())
}

/// An array of u4. One of the other byte order has the same size and alignment, and `PyBuffer` takes it for this machine's.
pub fn words(py: Python<'_>, array: &PyBuffer<u32>) -> PyResult<Vec<u32>> {
    let foreign: &[u8] = if cfg!(target_endian = "little") { b">!" } else { b"<" };
    match array.format().to_bytes().first() {
        Some(order) if foreign.contains(order) => {
            Err(PyBufferError::new_err("the numbers are in the other byte order than this machine's"))
        }
        _ => array.to_vec(py),
    }
}

/// A whole number that an argument gives; `none` says of one that its type does not hold that there is no such thing.
pub fn number<'a, 'py, T>(value: &'a Bound<'py, PyAny>, none: impl FnOnce(String) -> PyErr) -> PyResult<T>
where
    T: FromPyObject<'a, 'py, Error = PyErr>,
{
    value.extract().map_err(|error: PyErr| match error.is_instance_of::<PyOverflowError>(value.py()) {
        true => none(value.to_string()),
        false => error,
    })
}

/// A whole number that an argument gives, or None where `T` is an option of one; the error says from where to where.
pub fn whole<'a, 'py, T>(value: &'a Bound<'py, PyAny>) -> PyResult<T>
where
    T: FromPyObject<'a, 'py>,
{
    let text = value.repr()?.to_string();
    value.extract().map_err(|_| PyValueError::new_err(format!("{text} is not {}", wanted::<T>())))
}

/// The number of a store's slot; `E` says of what is none that there is no such slot.
pub fn slot<E: PyTypeInfo>(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    number(value, |given| PyErr::new::<E, _>(format!("slot {given}: there is none")))
}

/// The value of `key`, which must be in `range`; `default` where it is missing or None.
fn within<T>(dict: &Bound<'_, PyDict>, key: &str, default: T, range: RangeInclusive<T>) -> PyResult<T>
where
    T: Copy + Display + Into<i128> + PartialOrd + TryFrom<i128>,
{
    let value: i128 = get(dict, key, default.into())?;
    let fits = T::try_from(value).ok().filter(|value| range.contains(value));
    let refused = || format!("{key}: {value} is not between {} and {}", range.start(), range.end());
    fits.ok_or_else(|| PyValueError::new_err(refused()))
}

pub struct RunConfig {
    pub system: Config,
    pub live: LiveConfig,
    pub memcgs: Memcgs,
    pub memcg_of: Vec<u16>,
    pub swap_file: Option<PathBuf>,
    pub faults: IoFaults,
}

pub fn run_config(config: &Bound<'_, PyDict>, pages: usize) -> PyResult<RunConfig> {
    let store = store_kind(&get(config, "store", "zswap".to_owned())?)?;
    let design = config.get_item("design")?.ok_or_else(|| PyValueError::new_err("design: missing"))?;
    let design = from_dict(design.cast::<PyDict>()?)?;
    let kernel = get(config, "kernel", (6, 12))?;
    design.validate(store, kernel).map_err(|error| DesignError::new_err(error.to_string()))?;
    let page_size = page_size(config)?;
    let node: Option<Bound<'_, PyDict>> = get(config, "node", None)?;
    let asked = node.map_or(Ok(pages), |node| get(&node, "slots", pages))?;
    let slots = u32::try_from(asked).map_err(|_| PyValueError::new_err(format!("{asked} swap slots are too many")))?;
    let system = Config {
        design,
        store,
        kernel,
        codec: codec::parse(&get(config, "compressor", "lz4".to_owned())?)?,
        page_size,
        chain_size: get(config, "chain_size", 8)?,
        pool_limit_pages: get(config, "pool_limit_pages", None)?,
        accept_threshold_percent: within(config, "accept_threshold_percent", 90, 0..=100)?,
        nodes: within(config, "kswapd", 1, 1..=u8::MAX)?,
        slots,
        memory: memory(config)?,
        large: large(config)?,
        shmem: shmem(config)?,
    };
    let pages = system.memory.map_or(pages, |memory| memory.pages as usize);
    let (memcgs, memcg_of) = memcgs(config, pages, page_size, system.memory.is_some())?;
    let (faults, plant) = (faults(config)?, plant(config)?);
    let live = live(config, faults != IoFaults::default(), plant)?;
    let swap_file = get(config, "swap_file", None)?;
    let mut run = RunConfig { system, live, memcgs, memcg_of, swap_file, faults };
    run.live.reclaims = reclaims(config, &run)?;
    Ok(run)
}

/// Where folios are large: `config["large"]`, a list of (first page, pages, order).
fn large(config: &Bound<'_, PyDict>) -> PyResult<Vec<Large>> {
    let given = get::<Vec<(u32, u32, u8)>>(config, "large", Vec::new())?;
    Ok(given
        .into_iter()
        .map(|(first, pages, order)| Large { pages: first..first.saturating_add(pages), order })
        .collect())
}

/// Which pages are shared memory: `config["shmem"]`, a list of (first page, pages).
fn shmem(config: &Bound<'_, PyDict>) -> PyResult<Vec<Range<u32>>> {
    let given = get::<Vec<(u32, u32)>>(config, "shmem", Vec::new())?;
    Ok(given.into_iter().map(|(first, pages)| first..first.saturating_add(pages)).collect())
}

/// The memory budget of `config["node"]`, if there is one.
fn memory(config: &Bound<'_, PyDict>) -> PyResult<Option<Memory>> {
    let Some(node) = get::<Option<Bound<'_, PyDict>>>(config, "node", None)? else { return Ok(None) };
    let zone = ZoneConfig {
        managed_pages: get(&node, "managed_pages", 0)?,
        free_pages: get(&node, "free_pages", 0)?,
        watermarks: get(&node, "watermarks", [0; 3])?,
        boost_factor: get(&node, "boost_factor", 15_000)?,
        pcp_batch: get(&node, "pcp_batch", 15)?,
        cpus: get(&node, "cpus", 1)?,
    };
    let (pages, file_pages) = (get(&node, "pages", 0)?, get(&node, "file_pages", 0)?);
    let (swappiness, lru_gen) = (get(&node, "swappiness", 60)?, get(&node, "lru_gen", false)?);
    Ok(Some(Memory { pages, zone, file_pages, lru_gen, swappiness }))
}

pub fn page_size(config: &Bound<'_, PyDict>) -> PyResult<usize> {
    let page_size = get(config, "page_size", 4096)?;
    match PAGE_SIZES.contains(&page_size) {
        true => Ok(page_size),
        false => Err(PyValueError::new_err(format!("page_size: {page_size} is none of {PAGE_SIZES:?}"))),
    }
}

fn live(config: &Bound<'_, PyDict>, go_on: bool, plant: Option<Plant>) -> PyResult<LiveConfig> {
    let fault: String = get(config, "fault", "in-order".to_owned())?;
    let fault = match fault.as_str() {
        "none" => FaultOrder::None,
        "in-order" => FaultOrder::InOrder,
        "shuffled" => FaultOrder::Shuffled,
        other => return Err(PyValueError::new_err(format!("fault: {other:?} is none of none, in-order, shuffled"))),
    };
    let app_threads = within(config, "app_threads", 1, 1..=256)?;
    let seed = get(config, "seed", 0)?;
    Ok(LiveConfig {
        pin: get(config, "pin", false)?,
        trace: get(config, "trace", false)?,
        fault,
        seed,
        verify: get(config, "verify", true)?,
        warm: get(config, "warm", true)?,
        app_threads,
        go_on,
        turns: get(config, "turns", false)?,
        profiling: Profiling::Off,
        plant,
        programs: workload::programs(config, seed)?,
        reclaims: Vec::new(),
    })
}

fn memcgs(config: &Bound<'_, PyDict>, pages: usize, page_size: usize, budget: bool) -> PyResult<(Memcgs, Vec<u16>)> {
    let mut memcgs = Memcgs::new(page_size);
    for (number, group) in get(config, "memcgs", Vec::<Bound<'_, PyDict>>::new())?.iter().enumerate() {
        let name: String = get(group, "name", format!("group{number}"))?;
        let parent = get(group, "parent", "/".to_owned())?;
        let index = memcgs.iter().position(|g| g.name() == parent);
        let index =
            index.ok_or_else(|| PyValueError::new_err(format!("memcg {name:?}: no parent {parent:?} before it")))?;
        let id = if name == "/" {
            ROOT
        } else {
            memcgs.add(&name, index as u16).map_err(|error| PyValueError::new_err(error.to_string()))?
        };
        let memcg = memcgs.get(id).expect("just added");
        memcg.set_writeback(get(group, "writeback", true)?);
        limit_memcg(memcg, id == ROOT, group, page_size, budget)?;
    }
    let memcg_of: Vec<u16> = get(config, "memcg_of", Vec::new())?;
    let groups = memcgs.iter().count();
    if !memcg_of.is_empty() && memcg_of.len() != pages {
        return Err(PyValueError::new_err(format!("memcg_of: {} entries for {pages} pages", memcg_of.len())));
    }
    if let Some(id) = memcg_of.iter().find(|&&id| usize::from(id) >= groups) {
        return Err(PyValueError::new_err(format!("memcg_of: group {id} of {groups}")));
    }
    Ok((memcgs, memcg_of))
}

/// Sets the limits that `group` gives `memcg`, and memory.low and memory.min: the root has none, and but for zswap's they
/// need a memory budget.
fn limit_memcg(memcg: &Memcg, root: bool, group: &Bound<'_, PyDict>, page_size: usize, budget: bool) -> PyResult<()> {
    let bytes = |key| -> PyResult<Option<u64>> {
        let bytes: Option<u64> = get(group, key, None)?;
        match bytes {
            Some(_) if root => Err(PyValueError::new_err(format!("memcg \"/\": the root has no {key}"))),
            _ => Ok(bytes),
        }
    };
    let pages = |key, none| -> PyResult<u64> {
        match bytes(key)? {
            Some(_) if !budget => {
                Err(PyValueError::new_err(format!("memcg {:?}: {key} needs a memory budget", memcg.name())))
            }
            bytes => Ok(bytes.map_or(none, |bytes| bytes / page_size as u64)),
        }
    };
    memcg.set_zswap_max(bytes("zswap_max")?.unwrap_or(MAX));
    memcg.set_memory_max_pages(pages("memory_max", u64::MAX)?);
    memcg.set_memory_high_pages(pages("memory_high", u64::MAX)?);
    memcg.set_memory_low_pages(pages("memory_low", 0)?);
    memcg.set_memory_min_pages(pages("memory_min", 0)?);
    Ok(())
}

/// Switches zswap's shrinker on if `config["shrinker_enabled"]` says so.
pub fn shrinker(system: &System, config: &Bound<'_, PyDict>) -> PyResult<()> {
    if let Some(zswap) = system.zswap() {
        zswap.set_shrinker_enabled(get(config, "shrinker_enabled", false)?);
    }
    Ok(())
}

/// What is written to groups' memory.reclaim: `at_ns` and `bytes` in each group's `memory_reclaim`.
fn reclaims(config: &Bound<'_, PyDict>, run: &RunConfig) -> PyResult<Vec<ReclaimRequest>> {
    let mut requests = Vec::new();
    for group in get(config, "memcgs", Vec::<Bound<'_, PyDict>>::new())? {
        let name: String = get(&group, "name", String::new())?;
        let memcg = run.memcgs.iter().position(|memcg| memcg.name() == name).unwrap_or(0) as u16;
        for write in get(&group, "memory_reclaim", Vec::<Bound<'_, PyDict>>::new())? {
            if run.system.memory.is_none() {
                return Err(PyValueError::new_err(format!("memcg {name:?}: memory_reclaim needs a memory budget")));
            }
            let bytes: u64 = get(&write, "bytes", 0)?;
            let pages = u32::try_from(bytes / run.system.page_size as u64);
            let pages =
                pages.map_err(|_| PyValueError::new_err(format!("memory_reclaim: {bytes} bytes are too many")))?;
            requests.push(ReclaimRequest { at_ns: get(&write, "at_ns", 0)?, memcg, pages });
        }
    }
    match requests.len() {
        0..=256 => Ok(requests),
        len => Err(PyValueError::new_err(format!("memory_reclaim: {len} writes are more than 256"))),
    }
}

fn faults(config: &Bound<'_, PyDict>) -> PyResult<IoFaults> {
    let Some(faults) = get::<Option<Bound<'_, PyDict>>>(config, "io_faults", None)? else {
        return Ok(IoFaults::default());
    };
    let numbers = |key| get(&faults, key, Vec::new());
    Ok(IoFaults { writes: numbers("writes")?, short_writes: numbers("short_writes")?, reads: numbers("reads")? })
}

fn plant(config: &Bound<'_, PyDict>) -> PyResult<Option<Plant>> {
    let Some(plant) = get::<Option<Bound<'_, PyDict>>>(config, "plant", None)? else { return Ok(None) };
    if let Some(after_pages) = get(&plant, "close_queues_after", None)? {
        return Ok(Some(Plant::CloseQueues { after_pages }));
    }
    let name: String = get(&plant, "panic_in", "kcompressd0".to_owned())?;
    let kinds = [("kcompressd", actor::KCOMPRESSD), ("kswapd", actor::KSWAPD), ("app", actor::APP)];
    let found = kinds.iter().find_map(|(prefix, kind)| Some(kind + name.strip_prefix(prefix)?.parse::<u16>().ok()?));
    let actor = found.ok_or_else(|| PyValueError::new_err(format!("plant: no actor is named {name:?}")))?;
    Ok(Some(Plant::Panic { actor, after_pages: get(&plant, "after_pages", 0)? }))
}

/// A compiled lifecycle (`kcompressd.lifecycle.Table.as_dict()`).
pub fn table(dict: &Bound<'_, PyDict>) -> PyResult<Table> {
    let names = |key: &str| get(dict, key, Vec::<String>::new());
    let error = |error: kcompressd_core::lifecycle::TableError| TableError::new_err(error.to_string());
    Table::check_names(&names("states")?, &names("events")?).map_err(error)?;
    let rows: Vec<[u8; 5]> = get(dict, "rows", Vec::new())?;
    let row =
        |[event, from, require_mask, require_value, to]: [u8; 5]| Row { event, from, require_mask, require_value, to };
    let flags: Vec<Vec<[u16; 2]>> = get(dict, "flags", Vec::new())?;
    let pairs = |state: Vec<[u16; 2]>| state.into_iter().map(|[mask, value]| (mask, value)).collect();
    Table::new(rows.into_iter().map(row).collect(), flags.into_iter().map(pairs).collect()).map_err(error)
}
