//! What applications do, from dictionaries: `config["programs"]`, a list of phases for each.

use crate::config::{get, words};
use kcompressd_core::filemap::{File, FileAccess};
use kcompressd_core::workload::{FilePart, Pattern, Phase, Program, Trace, Zipf};
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
        file: file_part(dict)?,
        ..Phase::once(first..end, false)
    })
}

fn law(pages: u32, exponent: f64) -> PyResult<Zipf> {
    match pages > 0 && (0.0..1.0).contains(&exponent) {
        true => Ok(Zipf::new(pages, exponent)),
        false => Err(PyValueError::new_err(format!("exponent: {exponent} is not from 0 to below 1"))),
    }
}

/// The pages of a file that a phase reads beside: `file`, (first page, pages, touches of a thousand, exponent of a zipf law or None).
fn file_part(dict: &Bound<'_, PyDict>) -> PyResult<Option<FilePart>> {
    let given: Option<(u32, u32, u32, Option<f64>)> = get(dict, "file", None)?;
    let Some((first, pages, permille, exponent)) = given.filter(|(_, pages, ..)| *pages > 0) else { return Ok(None) };
    let end = first.checked_add(pages).ok_or_else(|| PyValueError::new_err(format!("file: {pages} are too many")))?;
    let law = exponent.map(|exponent| law(pages, exponent)).transpose()?;
    Ok(Some(FilePart { pages: first..end, permille, law }))
}

/// The files that applications read: `config["files"]`, a list of (pages, number of the group, access).
pub fn files(config: &Bound<'_, PyDict>) -> PyResult<Vec<File>> {
    let file = |(pages, memcg, access): (u32, u16, String)| {
        let access = match access.as_str() {
            "read" => FileAccess::Read,
            "mapped" => FileAccess::Mapped,
            "executable" => FileAccess::Executable,
            other => {
                let none = format!("file_access: {other:?} is none of read, mapped, executable");
                return Err(PyValueError::new_err(none));
            }
        };
        Ok(File { pages, memcg, access })
    };
    get::<Vec<(u32, u16, String)>>(config, "files", Vec::new())?.into_iter().map(file).collect()
}

fn numbers(dict: &Bound<'_, PyDict>, key: &str) -> PyResult<Option<Vec<u32>>> {
    dict.get_item(key)?.map(|array| words(dict.py(), &PyBuffer::get(&array)?)).transpose()
}

fn pattern(dict: &Bound<'_, PyDict>, pages: u32) -> PyResult<Pattern> {
    match get(dict, "pattern", "in-order".to_owned())?.as_str() {
        "in-order" => Ok(Pattern::InOrder),
        "random" => Ok(Pattern::Random),
        "zipf" => Ok(Pattern::Zipf(law(pages, get(dict, "exponent", 0.99)?)?)),
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
