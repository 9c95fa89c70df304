//! `Judge` and `Locator`: `kcompressd_core::judge` over the bytes of a trace file; `Replay`: any machine's event log.

use kcompressd_core::judge::replay::{self, Refusal, Wrong};
use kcompressd_core::judge::{self as core, Breach, Config, Memcgs, Ordering, decode};
use kcompressd_core::lifecycle::{Row, Table};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `(record, page, check, reason)` of a breach.
type Found = (u64, u32, &'static str, String);
/// `(events, by_event, by_system, violations, first, in_flight)`.
type Verdict = (u64, Vec<u64>, Vec<u64>, u64, Option<Found>, u64);

/// Replays the records of a trace against a compiled table.
#[pyclass(module = "kcompressd._core")]
pub struct Judge(core::Judge);

#[pymethods]
impl Judge {
    #[new]
    #[pyo3(signature = (rows, flags, pages=None, *, total=false, complete=false, depths=None, in_hand=0, absent=false, folio_order=0, memcgs=None))]
    #[allow(clippy::too_many_arguments)] // they are the Python signature
    fn new(
        rows: Vec<(u8, u8, u8, u8, u8)>,
        flags: Vec<Vec<(u16, u16)>>,
        pages: Option<usize>,
        total: bool,
        complete: bool,
        depths: Option<Vec<u32>>,
        in_hand: u32,
        absent: bool,
        folio_order: u8,
        memcgs: Option<(Vec<u16>, Vec<bool>, Vec<u16>)>,
    ) -> PyResult<Self> {
        let row = |(event, from, require_mask, require_value, to)| Row { event, from, require_mask, require_value, to };
        let table = Table::new(rows.into_iter().map(row).collect(), flags);
        let table = table.map_err(|e| PyValueError::new_err(e.to_string()))?;
        let ordering = if total { Ordering::Total } else { Ordering::PerFolio };
        let memcgs = memcgs.map(|(parents, writeback, of_page)| Memcgs { parents, writeback, of_page });
        let config = Config { ordering, complete, depths, in_hand, pool: true, absent, folio_order, memcgs };
        Ok(Self(core::Judge::new(&table, pages, config)))
    }

    /// Judges whole records; the first breach among them.
    fn feed(&mut self, py: Python<'_>, records: &[u8]) -> PyResult<Option<Found>> {
        let records = whole(records)?;
        Ok(py.detach(|| self.0.feed_bytes(records)).err().map(found))
    }

    /// Ends the trace.
    fn finish(&mut self, py: Python<'_>) -> Verdict {
        let v = py.detach(|| self.0.finish());
        (v.events, v.by_event.into(), v.by_system.into(), v.violations, v.first.map(found), v.in_flight)
    }

    /// The state id of each page, one byte each.
    fn states<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.states())
    }
}

/// Two sums over the records that name the one altered record.
#[pyclass(module = "kcompressd._core")]
#[derive(Default)]
pub struct Locator(core::Locator);

#[pymethods]
impl Locator {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds whole records.
    fn feed(&mut self, py: Python<'_>, records: &[u8]) -> PyResult<()> {
        let records = whole(records)?;
        py.detach(|| records.iter().for_each(|r| self.0.add(&decode(r))));
        Ok(())
    }

    /// `(sum, weighted)`.
    fn sums(&self) -> (u64, u64) {
        (self.0.sum, self.0.weighted)
    }

    /// The record by which these records differ from those with the given sums, when it is one.
    fn altered(&self, sum: u64, weighted: u64) -> Option<u64> {
        self.0.altered(&core::Locator { sum, weighted, records: self.0.records })
    }
}

/// `(record, model, state, event, guards, wrong, to)`; `wrong` is "model", "event", "edge" or "to", and `to` where the edge leads.
type Refused = (u64, u32, u8, u8, u8, &'static str, Option<u8>);

/// Replays the event log of any compiled machine.
#[pyclass(module = "kcompressd._core")]
pub struct Replay(replay::Replay);

#[pymethods]
impl Replay {
    #[new]
    fn new(
        rows: Vec<(u8, u8, u8, u8, u8)>,
        states: usize,
        events: usize,
        guards: u32,
        initial: u8,
        models: usize,
    ) -> PyResult<Self> {
        let exist = |&(event, from, _, _, to): &(u8, u8, u8, u8, u8)| {
            usize::from(event) < events && usize::from(from.max(to)) < states
        };
        if states > 256 || events > 256 || guards > 8 || usize::from(initial) >= states || !rows.iter().all(exist) {
            return Err(PyValueError::new_err("not a compiled machine: an id is out of range"));
        }
        let row = |(event, from, require_mask, require_value, to)| Row { event, from, require_mask, require_value, to };
        let rows: Vec<Row> = rows.into_iter().map(row).collect();
        Ok(Self(replay::Replay::new(&rows, states, events, guards, initial, models)))
    }

    /// Replays whole records of 8 bytes.
    fn feed(&mut self, py: Python<'_>, records: &[u8]) -> PyResult<()> {
        match records.as_chunks() {
            (records, []) => py.detach(|| self.0.feed(records)),
            _ => return Err(PyValueError::new_err(format!("{} bytes are not whole records of 8", records.len()))),
        }
        Ok(())
    }

    /// `(records, violations, first)`.
    fn verdict(&self) -> (u64, u64, Option<Refused>) {
        let (records, violations, first) = self.0.verdict();
        (records, violations, first.map(refused))
    }

    /// The state id of each model, one byte each.
    fn states<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.states())
    }
}

fn refused(r: Refusal) -> Refused {
    let (wrong, to) = match r.wrong {
        Wrong::Model => ("model", None),
        Wrong::Event => ("event", None),
        Wrong::Edge => ("edge", None),
        Wrong::To(to) => ("to", Some(to)),
    };
    (r.index, r.model, r.state, r.event, r.guards, wrong, to)
}

fn whole(bytes: &[u8]) -> PyResult<&[[u8; 32]]> {
    match bytes.as_chunks() {
        (records, []) => Ok(records),
        _ => Err(PyValueError::new_err(format!("{} bytes are not whole records of 32", bytes.len()))),
    }
}

fn found(breach: Breach) -> Found {
    (breach.index, breach.record.folio, breach.reason.kind(), breach.reason.to_string())
}
