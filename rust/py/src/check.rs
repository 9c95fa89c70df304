//! The explorer: scenarios from dictionaries, reports as dictionaries.

use crate::config::{self, RunConfig, get};
use crate::error::was_interrupted;
use crate::policy;
use kcompressd_core::driver::explore::scenario::{Replayed, Scenario};
use kcompressd_core::driver::explore::{Choice, GoesOn, MAX_FOLIOS, Properties};
use kcompressd_core::lifecycle::{Event, State};
use kcompressd_core::reclaim::Toggle;
use kcompressd_core::trace::{SYSTEM, system};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::cell::RefCell;
use std::time::Instant;

fn scenario(config: &Bound<'_, PyDict>, table: &Bound<'_, PyDict>) -> PyResult<Scenario> {
    let lens: Vec<u32> = get(config, "lens", Vec::new())?;
    if !(1..=MAX_FOLIOS).contains(&lens.len()) {
        return Err(PyValueError::new_err(format!(
            "folios: {} is not between 1 and {MAX_FOLIOS}, in pages",
            lens.len()
        )));
    }
    let RunConfig { mut system, .. } = config::run_config(config, lens.len())?;
    system.slots = 2 * lens.len() as u32;
    let toggles: Vec<String> = get(config, "toggles", Vec::new())?;
    let toggle = |name: &String| {
        let known = || Toggle::ALL.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ");
        Toggle::from_name(name).ok_or_else(|| PyValueError::new_err(format!("toggle {name:?}: known are {}", known())))
    };
    Ok(Scenario {
        config: system,
        table: config::table(table)?,
        writeback: get(config, "writeback", true)?,
        toggles: toggles.iter().map(toggle).collect::<PyResult<_>>()?,
        touches: if get(config, "touch", false)? { (0..lens.len() as u32).collect() } else { Vec::new() },
        exit: get(config, "exit", false)?,
        swapoff: get(config, "swapoff", false)?,
        read_errors: get(config, "read_errors", Vec::new())?,
        faults: get(config, "faults", 0)?,
        script: policy::shared(config)?,
        lens,
    })
}

/// Explores the scenario of `config` under the lifecycle `table`; a dictionary of what was found. Ctrl-C ends it: it is
/// then stopped by "interrupted".
#[pyfunction]
pub fn explore<'py>(config: &Bound<'py, PyDict>, table: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let py = config.py();
    let scenario = scenario(config, table)?;
    let (eventually, symmetry) = (get(config, "eventually", true)?, get(config, "symmetry", true)?);
    let (reduction, max_states) = (get(config, "reduction", true)?, get(config, "max_states", 0)?);
    let (max_depth, max_memory_bytes) = (get(config, "max_depth", 0)?, get(config, "max_memory_bytes", 0)?);
    let start = Instant::now();
    let (found, raised) = py.detach(|| {
        let raised = RefCell::new(None);
        let goes_on = || {
            *raised.borrow_mut() = Python::attach(|py| py.check_signals()).err();
            raised.borrow().is_none()
        };
        let bounds = Properties { max_states, max_depth, max_memory_bytes, ..Properties::default() };
        let goes_on: Option<GoesOn<'_>> = Some(Box::new(goes_on));
        let found = scenario.check(Properties { eventually, symmetry, reduction, goes_on, ..bounds });
        (found, raised.into_inner())
    });
    let mut found = found.map_err(|error| PyValueError::new_err(error.to_string()))?;
    let no_answer = scenario.script.is_some() && found.why.is_some();
    if was_interrupted(py, raised.or_else(|| policy::interrupted(py, no_answer)))? && no_answer {
        (found.why, found.report.failure, found.report.stopped_by) = (None, None, Some("interrupted"));
    }
    let (report, out) = (found.report, PyDict::new(py));
    out.set_item("seconds", start.elapsed().as_secs_f64())?;
    out.set_item("states", report.states)?;
    out.set_item("transitions", report.transitions)?;
    out.set_item("ends", report.ends)?;
    out.set_item("deepest", report.deepest)?;
    out.set_item("memory_bytes", report.memory_bytes)?;
    out.set_item("complete", report.complete)?;
    out.set_item("stopped_by", report.stopped_by)?;
    out.set_item("actors", found.actors)?;
    out.set_item("why", found.why)?;
    out.set_item("schedule", report.failure.map(|failure| written(&failure.schedule)))?;
    let sometimes: Vec<_> = report.sometimes.into_iter().map(|met| (met.name, met.times, written(&met.way))).collect();
    out.set_item("sometimes", sometimes)?;
    Ok(out)
}

/// Runs `schedule` from the start of the scenario; its records in words, and what is wrong at its end.
#[pyfunction]
pub fn replay_schedule<'py>(
    config: &Bound<'py, PyDict>,
    table: &Bound<'py, PyDict>,
    schedule: Vec<String>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = config.py();
    let scenario = scenario(config, table)?;
    let choice = |text: &String| {
        text.parse::<Choice>().map_err(|_| PyValueError::new_err(format!("schedule: {text:?} is no seat's number")))
    };
    let schedule = schedule.iter().map(choice).collect::<PyResult<Vec<_>>>()?;
    let Replayed { records, why, valid, actors } =
        py.detach(|| scenario.replay(&schedule)).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let row = |(step, r): &(usize, kcompressd_core::trace::Record)| {
        let actor = kcompressd_core::lifecycle::actor_name(r.actor);
        if r.folio == SYSTEM {
            let name = system::NAMES.get(usize::from(r.event & 0x7f)).copied().unwrap_or("?");
            return (*step, actor, name, None, "", "");
        }
        let state = |id: u8| State::from_id(id).name();
        (*step, actor, Event::from_id(r.event).name(), Some(r.folio), state(r.from), state(r.to))
    };
    let out = PyDict::new(py);
    out.set_item("rows", records.iter().map(row).collect::<Vec<_>>())?;
    out.set_item("why", why)?;
    out.set_item("valid", valid)?;
    out.set_item("actors", actors)?;
    Ok(out)
}

fn written(schedule: &[Choice]) -> Vec<String> {
    schedule.iter().map(ToString::to_string).collect()
}
