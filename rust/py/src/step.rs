//! Step by step: `kcompressd_core::driver::explore::Stepper`, pages and states by number and name.

use crate::config::whole;
use crate::error::refused;
use crate::report::counters;
use crate::run::{Made, make};
use kcompressd_core::driver::explore::{self, Refused};
use kcompressd_core::lifecycle::{Event, State, Word, flag};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// A system driven page by page: each call runs one actor until what was asked for has happened.
#[pyclass(frozen, module = "kcompressd._core")]
pub struct Stepper(Mutex<Box<explore::Stepper>>);

#[pymethods]
impl Stepper {
    #[new]
    fn new(pages: PyBuffer<u8>, config: &Bound<'_, PyDict>, table: &Bound<'_, PyDict>) -> PyResult<Self> {
        let Made { system, .. } = make(&pages, config, table)?;
        Ok(Self(Mutex::new(config.py().detach(|| Box::new(explore::Stepper::new(system))))))
    }

    /// kswapd takes the page until it is queued, or has ended otherwise; its state.
    fn queue(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        self.call(py, |stepper| stepper.queue(page).map(State::name))
    }

    /// The page's kcompressd takes it from the head and finishes it; its state.
    fn compress(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        self.call(py, |stepper| stepper.compress(page).map(State::name))
    }

    /// A later pass of kswapd looks at the page; its state.
    fn reclaim(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        self.call(py, |stepper| stepper.reclaim(page).map(State::name))
    }

    /// zswap's shrink worker sends the entry to the device, or the device ends the write; its state.
    fn write_back(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        self.call(py, |stepper| stepper.write_back(page).map(State::name))
    }

    /// The application touches the page; whether its contents are what they were.
    fn fault(&self, py: Python<'_>, page: u32) -> PyResult<bool> {
        self.call(py, |stepper| stepper.fault(page))
    }

    /// The page's owner exits; its state.
    fn free(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        self.call(py, |stepper| stepper.free(page).map(State::name))
    }

    /// The event is fired, by its actor where it is lawful; the page's state.
    fn fire(&self, py: Python<'_>, page: u32, event: &str) -> PyResult<&'static str> {
        let found = Event::ALL.into_iter().find(|known| known.name() == event).ok_or_else(|| {
            let known = Event::ALL.map(Event::name).join(", ");
            PyValueError::new_err(format!("unknown event {event:?}; known: {known}"))
        })?;
        self.call(py, |stepper| stepper.fire(page, found).map(State::name))
    }

    /// The page's state.
    fn state(&self, py: Python<'_>, page: u32) -> PyResult<&'static str> {
        Ok(self.word(py, page)?.state().name())
    }

    /// The page's flags.
    fn flags(&self, py: Python<'_>, page: u32) -> PyResult<Vec<&'static str>> {
        let word = self.word(py, page)?;
        let names = flag::NAMES.iter().enumerate().filter(|(bit, _)| word.has(1 << bit));
        Ok(names.map(|(_, name)| *name).collect())
    }

    /// Pages in line for each kcompressd, the head first.
    fn queues(&self) -> PyResult<Vec<Vec<u32>>> {
        let stepper = self.lock()?;
        Ok((0..stepper.system().queues.len()).map(|queue| stepper.queue_line(queue)).collect())
    }

    /// Pages whose writes the device has still to end, the next first.
    fn device(&self) -> PyResult<Vec<u32>> {
        Ok(self.lock()?.device_line())
    }

    /// Sets memory.zswap.writeback of a group.
    fn set_writeback(&self, py: Python<'_>, memcg: u16, enabled: bool) -> PyResult<()> {
        self.lock()?.set_writeback(memcg, enabled).map_err(|error| refused(py, &error))
    }

    /// Sets the depth of a queue.
    fn set_depth(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = whole)] queue: usize,
        #[pyo3(from_py_with = whole)] depth: usize,
    ) -> PyResult<()> {
        self.lock()?.set_depth(queue, depth).map_err(|error| refused(py, &error))
    }

    /// Sets memory.zswap.max of a group, bytes.
    fn set_zswap_max(&self, py: Python<'_>, memcg: u16, bytes: u64) -> PyResult<()> {
        self.lock()?.set_zswap_max(memcg, bytes).map_err(|error| refused(py, &error))
    }

    /// Sets zswap's compressor.
    fn set_compressor(&self, py: Python<'_>, codec: &str) -> PyResult<()> {
        let codec = crate::codec::parse(codec)?;
        self.lock()?.set_compressor(codec).map_err(|error| refused(py, &error))
    }

    /// Sets zswap's max_pool_percent and accept_threshold_percent.
    fn set_pool_limits(&self, py: Python<'_>, max_pool: u64, accept_threshold: u64) -> PyResult<()> {
        self.lock()?.set_pool_limits(max_pool, accept_threshold).map_err(|error| refused(py, &error))
    }

    /// Spoils the page's block in zswap's pool.
    fn spoil(&self, py: Python<'_>, page: u32) -> PyResult<()> {
        self.call(py, |stepper| stepper.spoil(page))
    }

    /// What has been counted so far.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counters(py, &*self.lock()?)
    }

    /// Device and decode failures, each accounted for by its event.
    fn errors(&self) -> PyResult<Vec<String>> {
        Ok(self.lock()?.errors().iter().map(ToString::to_string).collect())
    }

    /// The trace so far: records of 32 bytes in the order of the steps.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, kcompressd_core::trace::as_bytes(self.lock()?.records())))
    }
}

impl Stepper {
    /// The stepper; refused while it is in a call: who waited here could be its policy, or hold up the interpreter that its policy needs.
    fn lock(&self) -> PyResult<MutexGuard<'_, Box<explore::Stepper>>> {
        match self.0.try_lock() {
            Ok(stepper) => Ok(stepper),
            Err(TryLockError::Poisoned(stepper)) => Ok(stepper.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "the stepper is in the middle of a call: neither its policy nor another thread can ask it now",
            )),
        }
    }

    fn word(&self, py: Python<'_>, page: u32) -> PyResult<Word> {
        self.lock()?.word(page).map_err(|error| refused(py, &error))
    }

    fn call<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut explore::Stepper) -> Result<T, Refused> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| Ok::<_, PyErr>(call(&mut *self.lock()?)))?;
        done.map_err(|error| py.check_signals().err().unwrap_or_else(|| refused(py, &error)))
    }
}
