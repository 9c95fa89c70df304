//! Designs as dictionaries of names and numbers.

use crate::config::wanted;
use crate::error::DesignError;
use kcompressd_core::design::{
    CheckBefore, Design, EnqueueAt, Gates, Hold, OnComplete, OnFull, OnReject, Placement, Preset, Start, StoreKind,
    Tag, WorkerFlags,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub fn store_kind(name: &str) -> PyResult<StoreKind> {
    match name {
        "zswap" => Ok(StoreKind::Zswap),
        "zram" => Ok(StoreKind::Zram),
        other => Err(DesignError::new_err(format!("unknown store {other:?}; known: zswap, zram"))),
    }
}

/// The published designs' names.
#[pyfunction]
pub fn presets() -> Vec<&'static str> {
    Preset::ALL.iter().map(|preset| preset.name()).collect()
}

/// A published design on a store.
#[pyfunction]
pub fn preset<'py>(py: Python<'py>, name: &str, store: &str) -> PyResult<Bound<'py, PyDict>> {
    let known = || DesignError::new_err(format!("unknown design {name:?}; known: {}", presets().join(", ")));
    to_dict(py, &Preset::from_name(name).ok_or_else(known)?.design(store_kind(store)?))
}

/// Refuses a design that means nothing, by name.
#[pyfunction]
pub fn validate_design(design: &Bound<'_, PyDict>, store: &str, kernel: (u16, u16)) -> PyResult<()> {
    let checked = from_dict(design)?.validate(store_kind(store)?, kernel);
    checked.map_err(|error| DesignError::new_err(error.to_string()))
}

/// What a kernel would need for the design, and where it does not reach.
#[pyfunction]
pub fn design_notes(design: &Bound<'_, PyDict>, store: &str) -> PyResult<Vec<&'static str>> {
    Ok(from_dict(design)?.notes(store_kind(store)?))
}

/// The design with another queue depth.
#[pyfunction]
pub fn with_depth<'py>(py: Python<'py>, design: &Bound<'py, PyDict>, depth: u32) -> PyResult<Bound<'py, PyDict>> {
    to_dict(py, &from_dict(design)?.with_depth(depth))
}

/// The design with another number of threads.
#[pyfunction]
pub fn with_threads<'py>(py: Python<'py>, design: &Bound<'py, PyDict>, threads: u16) -> PyResult<Bound<'py, PyDict>> {
    to_dict(py, &from_dict(design)?.with_threads(threads))
}

fn to_dict<'py>(py: Python<'py>, design: &Design) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("enqueue_at", design.enqueue_at.name())?;
    dict.set_item("tag", design.tag.name())?;
    dict.set_item("check_before", design.check_before.names())?;
    dict.set_item("gates", design.gates.names())?;
    dict.set_item("recheck_writeback", design.recheck_writeback)?;
    dict.set_item("on_full", design.on_full.name())?;
    dict.set_item("hold", design.hold.name())?;
    dict.set_item("extra_ref", design.extra_ref)?;
    dict.set_item("on_complete", design.on_complete.name())?;
    dict.set_item("on_reject", design.on_reject.name())?;
    dict.set_item("threads", design.threads)?;
    dict.set_item("depth", design.depth)?;
    dict.set_item("batch", design.batch)?;
    dict.set_item("placement", design.placement.name())?;
    dict.set_item("start", design.start.name())?;
    dict.set_item("worker_flags", design.worker_flags.names())?;
    dict.set_item("stop_in_predicate", design.stop_in_predicate)?;
    Ok(dict)
}

fn get<'py, T>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let missing = || DesignError::new_err(format!("the design lacks {key:?}"));
    let value = dict.get_item(key)?.ok_or_else(missing)?;
    let wrong = |_| DesignError::new_err(format!("design key {key:?}: {value:?} is not {}", wanted::<T>()));
    value.extract().map_err(wrong)
}

fn named<T>(dict: &Bound<'_, PyDict>, key: &str, from_name: fn(&str) -> Option<T>) -> PyResult<T> {
    let name: String = get(dict, key)?;
    from_name(&name).ok_or_else(|| DesignError::new_err(format!("design key {key:?}: unknown value {name:?}")))
}

fn set<T>(dict: &Bound<'_, PyDict>, key: &str, from_names: fn(&[String]) -> Result<T, String>) -> PyResult<T> {
    let names: Vec<String> = get(dict, key)?;
    from_names(&names).map_err(|name| DesignError::new_err(format!("design key {key:?}: unknown value {name:?}")))
}

pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Design> {
    Ok(Design {
        enqueue_at: named(dict, "enqueue_at", EnqueueAt::from_name)?,
        tag: named(dict, "tag", Tag::from_name)?,
        check_before: set(dict, "check_before", CheckBefore::from_names)?,
        gates: set(dict, "gates", Gates::from_names)?,
        recheck_writeback: get(dict, "recheck_writeback")?,
        on_full: named(dict, "on_full", OnFull::from_name)?,
        hold: named(dict, "hold", Hold::from_name)?,
        extra_ref: get(dict, "extra_ref")?,
        on_complete: named(dict, "on_complete", OnComplete::from_name)?,
        on_reject: named(dict, "on_reject", OnReject::from_name)?,
        threads: get(dict, "threads")?,
        depth: get(dict, "depth")?,
        batch: get(dict, "batch")?,
        placement: named(dict, "placement", Placement::from_name)?,
        start: named(dict, "start", Start::from_name)?,
        worker_flags: set(dict, "worker_flags", WorkerFlags::from_names)?,
        stop_in_predicate: get(dict, "stop_in_predicate")?,
    })
}
