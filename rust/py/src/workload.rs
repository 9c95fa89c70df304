//! What applications do, from dictionaries: `config["programs"]`, a list of phases for each.

use crate::config::get;
use kcompressd_core::workload::{Pattern, Phase, Program, Trace, Zipf};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

type Phases<'py> = Vec<Bound<'py, PyDict>>;

/// A program for each application; each draws from a seed of its own.
pub fn programs(config: &Bound<'_, PyDict>, seed: u64) -> PyResult<Vec<Program>> {
    let all = get::<Vec<Phases<'_>>>(config, "programs", Vec::new())?;
    let program = |(phases, number): (&Phases<'_>, u64)| {
        let phases = phases.iter().map(phase).collect::<PyResult<Vec<Phase>>>()?;
        Ok(Program::phases(phases, seed.wrapping_add(number)))
    };
    all.iter().zip(0..).map(program).collect()
}

fn phase(dict: &Bound<'_, PyDict>) -> PyResult<Phase> {
    let (first, pages): (u32, u32) = (get(dict, "first", 0)?, get(dict, "pages", 0)?);
    let end = first.checked_add(pages).ok_or_else(|| PyValueError::new_err(format!("pages: {pages} are too many")))?;
    Ok(Phase {
        touches: get(dict, "touches", u64::from(pages))?,
        pattern: pattern(dict, pages)?,
        write_permille: get(dict, "write_permille", 0)?,
        think_ns: get(dict, "think_ns", 0)?,
        wait_ns: get(dict, "wait_ns", 0)?,
        ..Phase::once(first..end, false)
    })
}

fn numbers(dict: &Bound<'_, PyDict>, key: &str) -> PyResult<Option<Vec<u32>>> {
    dict.get_item(key)?.map(|array| PyBuffer::<u32>::get(&array)?.to_vec(dict.py())).transpose()
}

fn pattern(dict: &Bound<'_, PyDict>, pages: u32) -> PyResult<Pattern> {
    match get(dict, "pattern", "in-order".to_owned())?.as_str() {
        "in-order" => Ok(Pattern::InOrder),
        "random" => Ok(Pattern::Random),
        "zipf" => {
            let exponent = get(dict, "exponent", 0.99)?;
            match pages > 0 && (0.0..1.0).contains(&exponent) {
                true => Ok(Pattern::Zipf(Zipf::new(pages, exponent))),
                false => Err(PyValueError::new_err(format!("exponent: {exponent} is not from 0 to below 1"))),
            }
        }
        "trace" => {
            let touches = numbers(dict, "trace")?.ok_or_else(|| PyValueError::new_err("trace: missing"))?;
            let gaps_ns = numbers(dict, "gaps_ns")?.unwrap_or_default();
            match touches.is_empty() || !(gaps_ns.is_empty() || gaps_ns.len() == touches.len()) {
                true => Err(PyValueError::new_err("trace: it is empty, or gaps_ns has another length")),
                false => Ok(Pattern::Trace(Trace { touches: touches.into(), gaps_ns: gaps_ns.into() })),
            }
        }
        other => Err(PyValueError::new_err(format!("pattern: {other:?} is none of in-order, random, zipf, trace"))),
    }
}
