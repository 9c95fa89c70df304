//! One block at a time, for tests against other libraries.

use crate::error::CodecError;
use kcompressd_core::codec::{CodecName, CodecSpec, SpecError};
use kcompressd_core::units::PAGE_SIZES;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub fn parse(text: &str) -> PyResult<CodecSpec> {
    text.parse().map_err(|error: SpecError| CodecError::new_err(error.to_string()))
}

/// The compressors' names.
#[pyfunction]
pub fn codecs() -> Vec<&'static str> {
    CodecName::ALL.iter().map(|name| name.as_str()).collect()
}

/// The canonical form of a compressor such as "zstd:3".
#[pyfunction]
pub fn check_codec(text: &str) -> PyResult<String> {
    parse(text).map(|spec| spec.to_string())
}

/// The compressors of a list such as "lz4,zstd:1": canonical form, the kernel's name, and the level in force.
#[pyfunction]
pub fn parse_codecs(text: &str) -> PyResult<Vec<(String, &'static str, Option<i32>)>> {
    let specs = CodecSpec::parse_list(text).map_err(|error| CodecError::new_err(error.to_string()))?;
    Ok(specs.iter().map(|spec| (spec.to_string(), spec.name().as_str(), spec.level())).collect())
}

/// Compresses one page; None when the result is longer than two pages.
#[pyfunction]
pub fn compress<'py>(py: Python<'py>, codec: &str, page: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let mut block = vec![0; 2 * page.len().max(64)];
    let len = parse(codec)?.open().compress(page, &mut block);
    Ok(len.map(|len| PyBytes::new(py, &block[..len])))
}

/// Decompresses one block to exactly `page_size` bytes.
#[pyfunction]
pub fn decompress<'py>(py: Python<'py>, codec: &str, block: &[u8], page_size: usize) -> PyResult<Bound<'py, PyBytes>> {
    if !PAGE_SIZES.contains(&page_size) {
        return Err(PyValueError::new_err(format!("page_size: {page_size} is none of {PAGE_SIZES:?}")));
    }
    let mut page = vec![0; page_size];
    let decoded = parse(codec)?.open().decompress(block, &mut page);
    decoded.map_err(|error| CodecError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &page))
}
