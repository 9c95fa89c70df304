//! A run in virtual time.

use crate::config::{self, get};
use crate::error::was_interrupted;
use crate::policy;
use crate::report::to_dict;
use crate::workload;
use kcompressd_core::driver::RunError;
use kcompressd_core::driver::live::host::WakeUps;
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig, Profiling};
use kcompressd_core::driver::profile::KINDS;
use kcompressd_core::driver::virtual_time::{Costs, Fair, Machine, Policy, Preempt, Progress, Sim, SimConfig};
use kcompressd_core::lifecycle::actors_named;
use kcompressd_core::swap::{Backing, Device};
use kcompressd_core::system::{Contents, Sizes, System};
use kcompressd_core::trace::{Record, as_bytes};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::io;

/// Records that gather before they are written.
const CHUNK: usize = 1 << 15;

/// Runs `config` over pages of which only `sizes` are known, in virtual time. `watch` is called now and then with the
/// phase, what is finished in it and virtual nanoseconds; a KeyboardInterrupt ends the run and gives what there is. `write`,
/// if the run is traced, is called with the bytes of the trace, piece by piece.
#[pyfunction]
#[pyo3(signature = (config, sizes, table, watch, write=None))]
pub fn simulate<'py>(
    config: &Bound<'py, PyDict>,
    sizes: &Bound<'py, PyDict>,
    table: &Bound<'py, PyDict>,
    watch: &Bound<'py, PyAny>,
    write: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = config.py();
    let (sys, sim, notes) = make(config, sizes, table, write.is_some())?;
    let (watch, write) = (watch.clone().unbind(), write.map(|write| write.clone().unbind()));
    let mut calls = Calls { watch, write, pending: Vec::new(), raised: None };
    let (mut report, raised) = py.detach(|| {
        let calls = std::cell::RefCell::new(&mut calls);
        let mut sink = |records: &[Record]| calls.borrow_mut().log(records);
        let mut ask = |progress: &Progress| calls.borrow_mut().ask(progress);
        let mut report = Sim::new(&sys, &sim).run(&mut sink, &mut ask);
        let mut calls = calls.borrow_mut();
        if let Err(error) = calls.flush() {
            report.error.get_or_insert_with(|| RunError::trace(&error));
        }
        (report, calls.raised.take())
    });
    let kind = report.error.as_ref().map(|error| error.kind);
    let raised = raised.or_else(|| policy::interrupted(py, kind == Some("policy")));
    if was_interrupted(py, raised)? && matches!(kind, Some("policy" | "trace")) {
        report.error = Some(RunError::cancelled());
    }
    to_dict(py, &report, sys.folios.len(), sys.config.page_size, &notes)
}

/// What of Python a run calls, and the first exception that came of it.
struct Calls {
    watch: Py<PyAny>,
    write: Option<Py<PyAny>>,
    pending: Vec<Record>,
    raised: Option<PyErr>,
}

impl Calls {
    fn ask(&mut self, progress: &Progress) -> bool {
        let arguments = (progress.phase, progress.done, progress.now_ns);
        let asked = Python::attach(|py| self.watch.call1(py, arguments).and_then(|_| py.check_signals()));
        if let Err(error) = asked {
            self.raised.get_or_insert(error);
        }
        self.raised.is_none()
    }

    fn log(&mut self, records: &[Record]) -> io::Result<()> {
        self.pending.extend_from_slice(records);
        if self.pending.len() < CHUNK { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(write) = self.write.as_ref().filter(|_| !self.pending.is_empty()) else { return Ok(()) };
        let written = Python::attach(|py| write.call1(py, (PyBytes::new(py, as_bytes(&self.pending)),)).map(drop));
        self.pending.clear();
        written.map_err(|error| {
            let text = error.to_string();
            self.raised.get_or_insert(error);
            io::Error::other(text)
        })
    }
}

type Made = (System, SimConfig, Vec<&'static str>);

fn make(
    config: &Bound<'_, PyDict>,
    sizes: &Bound<'_, PyDict>,
    table: &Bound<'_, PyDict>,
    trace: bool,
) -> PyResult<Made> {
    let py = config.py();
    let sizes = page_sizes(sizes)?;
    let run = config::run_config(config, sizes.len.len())?;
    let table = config::table(table)?;
    let given = config.get_item("machine")?.ok_or_else(|| PyValueError::new_err("machine: missing"))?;
    let mut machine = machine(given.cast::<PyDict>()?, config)?;
    machine.scheduler = machine.scheduler.booted(run.live.seed);
    let sim = SimConfig {
        machine,
        fault: run.live.fault,
        seed: run.live.seed,
        app_threads: run.live.app_threads,
        trace,
        programs: run.live.programs,
        reclaims: run.live.reclaims,
    };
    let files = workload::files(config)?;
    if !files.is_empty() && run.system.memory.is_none() {
        return Err(PyValueError::new_err("files: page cache needs a memory budget"));
    }
    let notes = run.system.design.notes(run.system.store);
    let system = py.detach(|| {
        let device = Device::new(Backing::Modelled, run.system.page_size, run.faults);
        let memcg = |page: u32| run.memcg_of.get(page as usize).copied().unwrap_or(0);
        System::new(run.system, table, run.memcgs, memcg, device, Contents::Sizes(sizes))
    });
    let system = system.map_err(|error| PyValueError::new_err(error.to_string()))?.with_files(&files);
    config::shrinker(&system, config)?;
    Ok((policy::scripted(system, config)?, sim, notes))
}

/// Four arrays of one length: `len` (u4), `same` (u1), `compress_ns`, `decompress_ns` (u4).
fn page_sizes(dict: &Bound<'_, PyDict>) -> PyResult<Sizes> {
    let py = dict.py();
    let missing = |key: &str| PyValueError::new_err(format!("sizes: {key} is missing"));
    let words = |key: &str| -> PyResult<Vec<u32>> {
        config::words(py, &PyBuffer::get(&dict.get_item(key)?.ok_or_else(|| missing(key))?)?)
    };
    let same = PyBuffer::<u8>::get(&dict.get_item("same")?.ok_or_else(|| missing("same"))?)?.to_vec(py)?;
    let sizes = Sizes {
        len: words("len")?,
        same: same.into_iter().map(|same| same != 0).collect(),
        compress_ns: words("compress_ns")?,
        decompress_ns: words("decompress_ns")?,
    };
    let lens = [sizes.len.len(), sizes.same.len(), sizes.compress_ns.len(), sizes.decompress_ns.len()];
    match lens[0] > 0 && lens.iter().all(|&len| len == lens[0]) {
        true => Ok(sizes),
        false => {
            Err(PyValueError::new_err(format!("sizes: arrays of {lens:?} pages, not of one length of at least 1")))
        }
    }
}

fn machine(dict: &Bound<'_, PyDict>, config: &Bound<'_, PyDict>) -> PyResult<Machine> {
    let mut machine = Machine::new(0);
    machine.cpu_speed_percent = get(dict, "speeds", Vec::new())?;
    let scheduler = &mut machine.scheduler;
    for (name, value) in [
        ("slice_ns", &mut scheduler.slice_ns),
        ("tick_ns", &mut scheduler.tick_ns),
        ("migration_cost_ns", &mut scheduler.migration_cost_ns),
        ("wakeup_granularity_ns", &mut scheduler.wakeup_granularity_ns),
        ("wake_ns", &mut scheduler.wake_ns),
        ("ipi_ns", &mut scheduler.ipi_ns),
        ("idle_exit_ns", &mut scheduler.idle_exit_ns),
        ("switch_ns", &mut scheduler.switch_ns),
    ] {
        *value = get(dict, name, *value)?;
    }
    scheduler.vcpu_is_preempted = get(dict, "vcpu_is_preempted", false)?;
    scheduler.preempt = match get(dict, "preempt", "full".to_owned())?.as_str() {
        "none" => Preempt::None,
        "full" => Preempt::Full,
        other => return Err(PyValueError::new_err(format!("machine.preempt: {other:?} is none of none, full"))),
    };
    scheduler.fair = match get(dict, "fair", "eevdf".to_owned())?.as_str() {
        "cfs" => Fair::Cfs,
        "eevdf" => Fair::Eevdf,
        other => return Err(PyValueError::new_err(format!("machine.fair: {other:?} is none of cfs, eevdf"))),
    };
    for (name, nice, cpus) in get(dict, "policies", Vec::<(String, i8, u64)>::new())? {
        let unknown = || PyValueError::new_err(format!("machine: {name:?} is no thread or kind of threads"));
        let (actor, mask) = actors_named(&name).ok_or_else(unknown)?;
        machine.policies.push(Policy { actor, mask, nice, cpus });
    }
    if let Some(given) = config.get_item("costs")? {
        read_costs(&mut machine.costs, given.cast::<PyDict>()?)?;
    }
    Ok(machine)
}

fn read_costs(costs: &mut Costs, given: &Bound<'_, PyDict>) -> PyResult<()> {
    for (name, value) in costs.named() {
        *value = get(given, name, *value)?;
    }
    costs.alloc_failed_ns = get(given, "alloc_failed_ns", None)?;
    costs.compress_ns = get(given, "compress_ns", None)?;
    costs.decompress_ns = get(given, "decompress_ns", None)?;
    Ok(())
}

/// What each kind of step costs in this program on this host, in runs of `config` on real threads: name to (steps, nanoseconds of CPU time in
/// all), of the reclaim phase. "wake", "switch", "ipi" and "idle_exit" are of one wake-up (`WakeUps`).
#[pyfunction]
pub fn profile<'py>(
    pages: PyBuffer<u8>,
    config: &Bound<'py, PyDict>,
    table: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = config.py();
    let run = |profiling| {
        let crate::run::Made { system, live, original, .. } = crate::run::make(&pages, config, table)?;
        let live = LiveConfig { profiling, fault: FaultOrder::None, ..live };
        let report = py.detach(|| Live::start(system, live, original).map(Live::finish));
        let mut report = report.map_err(|error| PyRuntimeError::new_err(error.message))?;
        match report.error.take() {
            Some(error) => Err(PyRuntimeError::new_err(error.message)),
            None => Ok(report),
        }
    };
    let budget = config.get_item("node")?.is_some_and(|node| !node.is_none());
    let (timed, counted) = (run(Profiling::Time)?, run(Profiling::Count)?);
    // Without a memory budget threads take their steps in batches, where nobody counts.
    let cpu_ns = if budget { counted.cpu_ns() } else { run(Profiling::Off)?.cpu_ns() };
    let wakes = py.detach(WakeUps::measure);
    let profile = timed.profile.without_clock(&counted.profile, cpu_ns, wakes.whole_ns());
    let dict = PyDict::new(py);
    KINDS.iter().zip(profile.kinds).try_for_each(|(name, kind)| dict.set_item(name, kind))?;
    let WakeUps { wake_ns, switch_ns, ipi_ns, idle_exit_ns } = wakes;
    for (name, ns) in [("wake", wake_ns), ("switch", switch_ns), ("ipi", ipi_ns), ("idle_exit", idle_exit_ns)] {
        dict.set_item(name, (1, ns))?;
    }
    Ok(dict)
}
