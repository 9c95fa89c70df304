//! One live run: made, started, waited for, read.

use crate::config::{self, RunConfig};
use crate::error::DeviceError;
use crate::policy;
use crate::report::to_dict;
use kcompressd_core::driver::Report;
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig};
use kcompressd_core::frames::Frames;
use kcompressd_core::swap::{Backing, Device, DeviceError as CoreDeviceError};
use kcompressd_core::system::{Contents, System};
use kcompressd_core::trace::Record;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

enum State {
    Made(Box<(System, LiveConfig, Vec<u8>)>),
    Running(Live),
    Ended(Box<(Report, Vec<Record>)>),
    Spent,
}

/// A run over pages: `start`, `wait` until it has ended, then `result` and `trace`.
#[pyclass(frozen, module = "kcompressd._core")]
pub struct Run {
    state: Mutex<State>,
    pages: usize,
    page_size: usize,
    notes: Vec<&'static str>,
    direct: Option<bool>,
    /// The process that has its threads: a fork of it has none of them, and perhaps a lock that nobody will give back.
    process: u32,
}

const POLL: Duration = Duration::from_millis(5);

#[pymethods]
impl Run {
    #[new]
    fn new(pages: PyBuffer<u8>, config: &Bound<'_, PyDict>, table: &Bound<'_, PyDict>) -> PyResult<Self> {
        let Made { system, live, original, direct } = make(&pages, config, table)?;
        let page_size = system.config.page_size;
        let (pages, notes) = (system.folios.len(), system.config.design.notes(system.config.store));
        let state = Mutex::new(State::Made(Box::new((system, live, original))));
        Ok(Self { state, pages, page_size, notes, direct, process: std::process::id() })
    }

    /// Starts the threads and returns.
    fn start(&self) -> PyResult<()> {
        let mut state = self.lock()?;
        match std::mem::replace(&mut *state, State::Spent) {
            State::Made(made) => {
                let (system, live, original) = *made;
                let started = Live::start(system, live, original);
                *state = State::Running(started.map_err(|error| PyOSError::new_err(error.message))?);
                Ok(())
            }
            other => {
                *state = other;
                Err(PyRuntimeError::new_err("a run is started once"))
            }
        }
    }

    /// Waits up to `seconds`; True when the run has ended, or is not under way.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let until = Instant::now() + Duration::try_from_secs_f64(seconds.clamp(0.0, 3600.0)).unwrap_or_default();
        py.detach(|| self.ended_by(Some(until)))
    }

    /// How far it is.
    fn progress<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let progress = match &*self.lock()? {
            State::Running(live) => live.sample(),
            _ => kcompressd_core::driver::live::Progress { phase: "ended", ..Default::default() },
        };
        dict.set_item("phase", progress.phase)?;
        dict.set_item("pages_done", progress.pages_done)?;
        dict.set_item("pages", self.pages)?;
        dict.set_item("queue_len", progress.queue_len)?;
        dict.set_item("pool_pages", progress.pool_pages)?;
        dict.set_item("in_flight", progress.in_flight)?;
        Ok(dict)
    }

    /// Ends the run early; its partial result is kept. False when there is none: no run was started in this process.
    fn cancel(&self) -> bool {
        match self.lock().as_deref() {
            Ok(State::Running(live)) => {
                live.cancel();
                true
            }
            Ok(State::Ended(_)) => true,
            _ => false,
        }
    }

    /// Sets the depth of every queue, folios, while the run goes on; at 0 everything is synchronous.
    fn set_depth(&self, depth: usize) -> PyResult<()> {
        let state = self.lock()?;
        let State::Running(live) = &*state else { return Err(PyRuntimeError::new_err("the run is not under way")) };
        let sys = live.system();
        let mut queues = 0..sys.queues.len() as u16;
        queues
            .try_for_each(|queue| sys.set_depth(queue, depth))
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// The result, when the run has ended (waits for that).
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.end(py)?;
        match &*self.lock()? {
            State::Ended(ended) => {
                let dict = to_dict(py, &ended.0, self.pages, self.page_size, &self.notes)?;
                let device = PyDict::new(py);
                device.set_item("kind", if self.direct.is_some() { "file" } else { "none" })?;
                device.set_item("direct", self.direct.unwrap_or(false))?;
                dict.set_item("device", device)?;
                Ok(dict)
            }
            _ => Err(PyRuntimeError::new_err("the run was not started")),
        }
    }

    /// The trace: records of 32 bytes in one order; empty when tracing was off.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.end(py)?;
        match &*self.lock()? {
            State::Ended(ended) => Ok(PyBytes::new(py, kcompressd_core::trace::as_bytes(&ended.1))),
            _ => Err(PyRuntimeError::new_err("the run was not started")),
        }
    }
}

impl Run {
    fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        if self.is_elsewhere() {
            return Err(PyRuntimeError::new_err(
                "the threads of this run are in the process that this one was forked from",
            ));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the end, at most until then; whether it has come, or nothing runs. The state is free meanwhile: another thread may ask how
    /// far the run is, or end it.
    fn ended_by(&self, until: Option<Instant>) -> PyResult<bool> {
        loop {
            let end = match &*self.lock()? {
                State::Running(live) => {
                    drop(live.sample());
                    live.end()
                }
                _ => return Ok(true),
            };
            let left = until.map_or(POLL, |until| until.saturating_duration_since(Instant::now()));
            if end.within(POLL.min(left)) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn end(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            self.ended_by(None)?;
            let mut state = self.lock()?;
            match std::mem::replace(&mut *state, State::Spent) {
                State::Running(live) => {
                    let mut report = live.finish();
                    let records = report.take_trace(self.pages);
                    *state = State::Ended(Box::new((report, records)));
                }
                other => *state = other,
            }
            Ok(())
        })
    }
}

impl Drop for Run {
    /// A fork leaves the run alone: there is nobody to wait for.
    fn drop(&mut self) {
        if self.is_elsewhere() {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::replace(state, State::Spent));
        }
    }
}

/// What a run and a stepper are made of.
pub struct Made {
    pub system: System,
    pub live: LiveConfig,
    /// What the pages are to be compared with at the end; with a memory budget the frames know that themselves.
    pub original: Vec<u8>,
    direct: Option<bool>,
}

/// Makes the system that `config` describes over a copy of `pages`; with a memory budget they are what applications fill
/// their pages with, over and over.
pub fn make(pages: &PyBuffer<u8>, config: &Bound<'_, PyDict>, table: &Bound<'_, PyDict>) -> PyResult<Made> {
    let py = config.py();
    let (page_size, len) = (config::page_size(config)?, pages.len_bytes());
    if len == 0 || !len.is_multiple_of(page_size) {
        return Err(PyValueError::new_err(format!("{len} bytes are not one or more whole pages of {page_size} bytes")));
    }
    let run = config::run_config(config, len / page_size)?;
    let table = config::table(table)?;
    let (backing, direct) = backing(&run)?;
    let live = run.live.clone();
    let mut frames = frames(py, pages, &run)?;
    let (system, original) = py.detach(|| {
        let compared = live.verify && live.fault != FaultOrder::None && run.system.memory.is_none();
        let original = if compared { frames.bytes_mut().to_vec() } else { Vec::new() };
        system(run, table, backing, frames).map(|system| (system, original))
    })?;
    config::shrinker(&system, config)?;
    let system = policy::scripted(system, config)?;
    Ok(Made { system, live, original, direct })
}

/// The frames: filled with `pages`, or with a memory budget empty with `pages` as what fills them.
fn frames(py: Python<'_>, pages: &PyBuffer<u8>, run: &RunConfig) -> PyResult<Frames> {
    let page_size = run.system.page_size;
    if let Some(memory) = run.system.memory {
        return Ok(Frames::absent(pages.to_vec(py)?, memory.pages as usize, page_size)?);
    }
    if !pages.is_c_contiguous() {
        return Ok(Frames::from_bytes(&pages.to_vec(py)?, page_size)?);
    }
    // SAFETY: the exporter keeps `len_bytes` contiguous bytes alive as long as `pages`. While they are copied, this thread is attached to
    // the interpreter: nobody writes to them from Python. (Code that writes without a GIL spoils any copy of its own array.)
    let contents = unsafe { std::slice::from_raw_parts(pages.buf_ptr().cast::<u8>(), pages.len_bytes()) };
    Ok(Frames::from_bytes(contents, page_size)?)
}

fn backing(run: &RunConfig) -> PyResult<(Backing, Option<bool>)> {
    let Some(path) = &run.swap_file else { return Ok((Backing::Modelled, None)) };
    let made = Backing::create(path, run.system.slots, run.system.page_size);
    let backing = made.map_err(|error: CoreDeviceError| DeviceError::new_err(error.to_string()))?;
    let direct = backing.is_direct();
    Ok((backing, Some(direct)))
}

fn system(
    run: RunConfig,
    table: kcompressd_core::lifecycle::Table,
    backing: Backing,
    frames: Frames,
) -> PyResult<System> {
    let device = Device::new(backing, run.system.page_size, run.faults);
    let memcg_of = run.memcg_of;
    let memcg = |page: u32| memcg_of.get(page as usize).copied().unwrap_or(0);
    let built = System::new(run.system, table, run.memcgs, memcg, device, Contents::Frames(frames));
    built.map_err(|error| PyValueError::new_err(error.to_string()))
}
