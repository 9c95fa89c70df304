//! Measuring pages, and accounting for what was measured.

use crate::codec;
use crate::config;
use crate::error::was_interrupted;
use crate::report::map;
use kcompressd_core::estimate::{self, Account, CodecPages, MeasureError, Measured, Rate, Work};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// Measures every page with every compressor. `watch` is called with the pages finished about 20 times a second; a
/// KeyboardInterrupt ends the work and gives what there is.
#[pyfunction]
pub fn measure<'py>(
    pages: PyBuffer<u8>,
    page_size: usize,
    compressors: Vec<String>,
    threads: usize,
    watch: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = watch.py();
    let specs = compressors.iter().map(|text| codec::parse(text)).collect::<PyResult<Vec<_>>>()?;
    if !pages.is_c_contiguous() {
        return Err(PyBufferError::new_err("the pages are not one after the other in memory"));
    }
    // SAFETY: the exporter keeps `len_bytes` contiguous bytes alive as long as `pages`, which outlives the slice. Nobody
    // writes to them meanwhile: the package passes read-only arrays, of its own or mapped from a file; whoever shares one with it has
    // promised not to write to it (`Pages.from_array`).
    let bytes = unsafe { std::slice::from_raw_parts(pages.buf_ptr().cast::<u8>(), pages.len_bytes()) };
    let watch = watch.clone().unbind();
    let (measured, raised) = py.detach(|| {
        let mut raised = None;
        let ask = |done: usize| {
            let asked = || Python::attach(|py| watch.call1(py, (done,)).and_then(|_| py.check_signals()));
            if raised.is_none() {
                raised = asked().err();
            }
            raised.is_none()
        };
        let work = Work { pages: bytes, page_size, specs: &specs, threads };
        (estimate::measure(&work, ask), raised)
    });
    let interrupted = was_interrupted(py, raised)?;
    let dict = measured.map_err(error).and_then(|measured| to_dict(py, &measured))?;
    dict.set_item("interrupted", interrupted)?;
    Ok(dict)
}

fn error(error: MeasureError) -> PyErr {
    let text = error.to_string();
    match error {
        MeasureError::RoundTrip { .. } => PyRuntimeError::new_err(text),
        MeasureError::NotWhole { .. } => PyValueError::new_err(text),
        MeasureError::Thread(_) => PyOSError::new_err(text),
    }
}

fn to_dict<'py>(py: Python<'py>, measured: &Measured) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("same", PyBytes::new(py, &measured.same))?;
    let codecs = measured.codecs.iter().map(|codec| {
        let dict = PyDict::new(py);
        dict.set_item("size", words(py, &codec.size)?)?;
        dict.set_item("compress_ns", words(py, &codec.compress_ns)?)?;
        dict.set_item("decompress_ns", words(py, &codec.decompress_ns)?)?;
        Ok(dict)
    });
    dict.set_item("codecs", codecs.collect::<PyResult<Vec<_>>>()?)?;
    let times = [("wall_ns", measured.wall_ns), ("threads_ns", measured.threads_ns), ("cpu_ns", measured.cpu_ns)];
    times.into_iter().try_for_each(|(name, ns)| dict.set_item(name, ns))?;
    Ok(dict)
}

/// Numbers as little-endian bytes.
fn words<'py>(py: Python<'py>, numbers: &[u32]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, 4 * numbers.len(), |out| {
        let (cells, _) = out.as_chunks_mut::<4>();
        cells.iter_mut().zip(numbers).for_each(|(cell, number)| *cell = number.to_le_bytes());
        Ok(())
    })
}

/// zram's and zswap's counters for pages that were measured: three arrays of u4, and one of u1 that says which are same.
#[pyfunction]
pub fn account<'py>(
    page_size: usize,
    chain_size: usize,
    same: PyBuffer<u8>,
    size: PyBuffer<u32>,
    compress_ns: PyBuffer<u32>,
    decompress_ns: PyBuffer<u32>,
    py: Python<'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let same = same.to_vec(py)?;
    let [size, compress_ns, decompress_ns] =
        [config::words(py, &size)?, config::words(py, &compress_ns)?, config::words(py, &decompress_ns)?];
    if [size.len(), compress_ns.len(), decompress_ns.len()] != [same.len(); 3] {
        return Err(PyValueError::new_err("the arrays are not of one length"));
    }
    if let Some(page) = (0..same.len()).find(|&at| same[at] > 2 || (same[at] != 2 && size[at] == 0)) {
        let (same, size) = (same[page], size[page]);
        return Err(PyValueError::new_err(format!(
            "page {page}: same {same} with a size of {size} bytes means nothing"
        )));
    }
    let figures = CodecPages { size, compress_ns, decompress_ns };
    let found = py.detach(|| estimate::account(page_size, chain_size, &same, &figures));
    accounted(py, &found.map_err(|error| PyValueError::new_err(error.to_string()))?)
}

fn accounted<'py>(py: Python<'py>, found: &Account) -> PyResult<Bound<'py, PyDict>> {
    let zswap = [
        ("stored_pages", found.zswap.stored_pages),
        ("pool_total_size", found.zswap.pool_total_size),
        ("stored_incompressible_pages", found.zswap.stored_incompressible_pages),
        ("zero_pages", found.zswap.zero_pages),
    ];
    let dict = PyDict::new(py);
    dict.set_item("mm_stat", map(py, found.mm_stat.fields())?)?;
    dict.set_item("charged", words(py, &found.charged)?)?;
    dict.set_item("zswap", map(py, zswap)?)?;
    dict.set_item("compress", rate(py, &found.compress)?)?;
    dict.set_item("decompress", rate(py, &found.decompress)?)?;
    Ok(dict)
}

fn rate<'py>(py: Python<'py>, rate: &Rate) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("bytes_per_s", rate.bytes_per_s)?;
    dict.set_item("page_ns", map(py, rate.page_ns.summary())?)?;
    Ok(dict)
}
