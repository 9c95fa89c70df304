//! A report as a dictionary.

use kcompressd_core::driver::explore::Stepper;
use kcompressd_core::driver::{Application, Group, Reclaimed, Report, Sample, ThreadReport};
use kcompressd_core::folio::MAX_FOLIO_ORDER;
use kcompressd_core::lifecycle::{Event, State, actor};
use kcompressd_core::stats::Vm;
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub fn to_dict<'py>(
    py: Python<'py>,
    report: &Report,
    pages: usize,
    page_size: usize,
    notes: &[&'static str],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("complete", report.error.is_none())?;
    dict.set_item("error", error(py, report)?)?;
    let errors: Vec<&String> = report.threads.iter().flat_map(|thread| &thread.errors).collect();
    dict.set_item("errors", errors)?;
    dict.set_item("pages", pages)?;
    dict.set_item("page_size", page_size)?;
    dict.set_item("census", census(py, report)?)?;
    dict.set_item("vmstat", map(py, report.vmstat.iter().chain(report.levels.iter().copied()))?)?;
    dict.set_item("mthp", mthp(py, report, page_size)?)?;
    dict.set_item("zswap", optional(py, &report.zswap)?)?;
    dict.set_item("zram", zram(py, report)?)?;
    dict.set_item("threads", threads(py, report)?)?;
    dict.set_item("timing", timing(py, report, pages * page_size)?)?;
    dict.set_item("lifecycle", lifecycle(py, report)?)?;
    dict.set_item("series", series(py, report)?)?;
    dict.set_item("mismatched", &report.mismatched)?;
    dict.set_item(
        "applications",
        report.applications.iter().map(|a| application(py, a)).collect::<PyResult<Vec<_>>>()?,
    )?;
    dict.set_item("memcgs", report.memcgs.iter().map(|group| memcg(py, group)).collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item(
        "phases",
        map(py, [("reclaim_ns", report.timing.reclaim_ns), ("fault_ns", report.timing.fault_ns)])?,
    )?;
    dict.set_item("kcompressd", kcompressd(py, report)?)?;
    dict.set_item("notes", notes)?;
    Ok(dict)
}

/// What a stepper has counted so far.
pub fn counters<'py>(py: Python<'py>, stepper: &Stepper) -> PyResult<Bound<'py, PyDict>> {
    let sys = stepper.system();
    let mut stores = Report::default();
    stores.note_stores(sys);
    let by_event = stepper.by_event();
    let law = PyDict::new(py);
    law.set_item("events", by_event.iter().sum::<u64>())?;
    law.set_item("violations", stepper.violations())?;
    law.set_item("by_event", map(py, Event::ALL.iter().map(|event| event.name()).zip(by_event).filter(told))?)?;
    let dict = PyDict::new(py);
    dict.set_item("vmstat", map(py, stepper.stat().iter().chain(stores.levels.iter().copied()))?)?;
    dict.set_item("zswap", optional(py, &stores.zswap)?)?;
    dict.set_item("zram", zram(py, &stores)?)?;
    dict.set_item("lifecycle", law)?;
    dict.set_item("census", phase(py, &sys.census())?)?;
    Ok(dict)
}

/// /sys/kernel/mm/transparent_hugepage: what was counted of large folios, by their size.
fn mthp<'py>(py: Python<'py>, report: &Report, page_size: usize) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for order in 1..=MAX_FOLIO_ORDER {
        let stats = report.vmstat.mthp(order);
        if stats.iter().any(|(_, counted)| *counted > 0) {
            dict.set_item(format!("hugepages-{}kB", (page_size << order) / 1024), map(py, stats)?)?;
        }
    }
    Ok(dict)
}

/// What only large folios fire stands in a Result where there were some.
fn told((name, counted): &(&'static str, u64)) -> bool {
    *counted > 0 || ![Event::Join.name(), Event::Split.name()].contains(name)
}

/// Names with numbers.
pub fn map<'py>(
    py: Python<'py>,
    entries: impl IntoIterator<Item = (&'static str, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    entries.into_iter().try_for_each(|(name, value)| dict.set_item(name, value))?;
    Ok(dict)
}

fn optional<'py>(py: Python<'py>, entries: &[(&'static str, u64)]) -> PyResult<Option<Bound<'py, PyDict>>> {
    (!entries.is_empty()).then(|| map(py, entries.iter().copied())).transpose()
}

fn error<'py>(py: Python<'py>, report: &Report) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(error) = &report.error else { return Ok(None) };
    let dict = PyDict::new(py);
    dict.set_item("kind", error.kind)?;
    dict.set_item("message", &error.message)?;
    dict.set_item("actor", &error.actor)?;
    Ok(Some(dict))
}

fn census<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("reclaim", phase(py, &report.census_reclaim)?)?;
    dict.set_item("fault", phase(py, &report.census_fault)?)?;
    Ok(dict)
}

fn phase<'py>(py: Python<'py>, census: &[u32]) -> PyResult<Bound<'py, PyDict>> {
    // Pages of a large folio are counted where its first is: none is in `tail`.
    let states = State::ALL.iter().zip(census).filter(|(state, _)| **state != State::Tail);
    map(py, states.map(|(state, &n)| (state.name(), u64::from(n))))
}

fn zram<'py>(py: Python<'py>, report: &Report) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(mm_stat) = optional(py, &report.mm_stat)? else { return Ok(None) };
    let dict = PyDict::new(py);
    dict.set_item("mm_stat", mm_stat)?;
    dict.set_item("io_stat", map(py, report.io_stat.iter().copied())?)?;
    Ok(Some(dict))
}

fn threads<'py>(py: Python<'py>, report: &Report) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let thread = |thread: &ThreadReport| {
        let dict = PyDict::new(py);
        dict.set_item("actor", thread.name())?;
        let fault = actor::kind(thread.actor) == actor::APP;
        dict.set_item("reclaim_cpu_ns", if fault { 0 } else { thread.cpu_ns })?;
        dict.set_item("fault_cpu_ns", if fault { thread.cpu_ns } else { 0 })?;
        dict.set_item("pages_done", thread.pages_done)?;
        Ok(dict)
    };
    report.threads.iter().filter(|t| t.pages_done > 0 || t.cpu_ns > 0).map(thread).collect()
}

/// The queues and the threads that emptied them.
fn kcompressd<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let is_worker = |t: &&ThreadReport| actor::kind(t.actor) == actor::KCOMPRESSD;
    let worker = |t: &ThreadReport| {
        let dict = PyDict::new(py);
        dict.set_item("actor", t.name())?;
        dict.set_item("cpu_ns", t.cpu_ns)?;
        dict.set_item("pages_done", t.pages_done)?;
        Ok(dict)
    };
    let queue = map(py, [("depth", u64::from(report.queue_depth)), ("capacity", report.queue_capacity as u64)])?;
    let dict = PyDict::new(py);
    dict.set_item("threads", report.threads.iter().filter(is_worker).map(worker).collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("queue", queue)?;
    Ok(dict)
}

fn timing<'py>(py: Python<'py>, report: &Report, bytes: usize) -> PyResult<Bound<'py, PyDict>> {
    let timing = &report.timing;
    let rate = |amount: u64, ns: u64| if ns == 0 { 0.0 } else { amount as f64 * 1e9 / ns as f64 };
    let bytes = bytes as u64;
    let dict = PyDict::new(py);
    dict.set_item("bytes_per_s", rate(bytes, timing.reclaim_ns))?;
    dict.set_item("fault_bytes_per_s", rate(bytes, timing.fault_ns))?;
    dict.set_item("pgsteal_anon_per_s", rate(report.vmstat[Vm::PgstealAnon], timing.reclaim_ns))?;
    dict.set_item("reclaim_ns", timing.reclaim_ns)?;
    dict.set_item("fault_ns", timing.fault_ns)?;
    dict.set_item("reclaim_page_ns", map(py, timing.reclaim_page_ns.summary())?)?;
    dict.set_item("fault_page_ns", map(py, timing.fault_page_ns.summary())?)?;
    let measures = &report.measures;
    let spreads = [
        ("touch_ns", &measures.touch_ns),
        ("queue_wait_ns", &measures.queue_wait_ns),
        ("fault_wait_ns", &measures.fault_wait_ns),
        ("stall_ns", &measures.stall_ns),
    ];
    for (name, spread) in spreads.into_iter().filter(|(_, spread)| !spread.is_empty()) {
        dict.set_item(name, map(py, spread.summary())?)?;
    }
    let [below_min_ns, below_low_ns, below_high_ns] = measures.below_ns;
    let sums = [
        ("memory_some_ns", measures.some_ns),
        ("memory_full_ns", measures.full_ns),
        ("below_min_ns", below_min_ns),
        ("below_low_ns", below_low_ns),
        ("below_high_ns", below_high_ns),
        ("inversions", measures.inversions),
        ("steps", report.steps),
    ];
    sums.into_iter().try_for_each(|(name, sum)| dict.set_item(name, sum))?;
    Ok(dict)
}

fn application<'py>(py: Python<'py>, application: &Application) -> PyResult<Bound<'py, PyDict>> {
    let vmstat = &application.vmstat;
    let counters = [
        ("touches", application.touches),
        ("stall_ns", application.stall_ns),
        ("allocstall", vmstat[Vm::AllocstallNormal] + vmstat[Vm::AllocstallMovable]),
        ("pgfault", vmstat[Vm::Pgfault]),
        ("pgmajfault", vmstat[Vm::Pgmajfault]),
        ("pgpgin", vmstat[Vm::Pgpgin]),
        ("workingset_refault_file", vmstat[Vm::WorkingsetRefaultFile]),
        ("oom_kill", vmstat[Vm::OomKill]),
    ];
    let dict = map(py, counters)?;
    dict.set_item("end_ns", application.end_ns)?;
    dict.set_item("touch_ns", map(py, application.touch_ns.summary())?)?;
    Ok(dict)
}

fn memcg<'py>(py: Python<'py>, group: &Group) -> PyResult<Bound<'py, PyDict>> {
    let write = |write: &Reclaimed| {
        let dict = PyDict::new(py);
        dict.set_item("at_ns", write.at_ns)?;
        dict.set_item("end_ns", write.end_ns)?;
        dict.set_item("bytes", write.bytes)?;
        dict.set_item("reclaimed_bytes", write.reclaimed_bytes)?;
        Ok(dict)
    };
    let dict = PyDict::new(py);
    dict.set_item("name", &group.name)?;
    dict.set_item("parent", &group.parent)?;
    dict.set_item("memory_current", group.current_bytes)?;
    dict.set_item("memory_stat", map(py, group.stat.iter().copied())?)?;
    dict.set_item("memory_events", map(py, group.events.iter().copied())?)?;
    dict.set_item("memory_reclaim", group.reclaims.iter().map(write).collect::<PyResult<Vec<_>>>()?)?;
    Ok(dict)
}

fn lifecycle<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let violations = report.error.as_ref().is_some_and(|error| error.kind == "violation");
    let dict = PyDict::new(py);
    dict.set_item("events", report.by_event.iter().sum::<u64>())?;
    dict.set_item("violations", u64::from(violations))?;
    dict.set_item("by_event", map(py, Event::ALL.iter().map(|event| event.name()).zip(report.by_event).filter(told))?)?;
    Ok(dict)
}

fn series<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (column, (name, _)) in Sample::default().columns().iter().enumerate() {
        let values: Vec<u64> = report.series.iter().map(|sample| sample.columns()[column].1).collect();
        dict.set_item(name, values)?;
    }
    Ok(dict)
}
