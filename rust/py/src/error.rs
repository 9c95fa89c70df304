//! Exceptions, one to one with the core's errors.

use kcompressd_core::lifecycle::{self, actor_name};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

pyo3::create_exception!(
    kcompressd._core,
    ProtocolViolation,
    PyRuntimeError,
    "An event that the lifecycle forbids; attributes page, state, event, actor, reason."
);
pyo3::create_exception!(
    kcompressd._core,
    DesignError,
    PyValueError,
    "A design that means nothing on its store, by name."
);
pyo3::create_exception!(
    kcompressd._core,
    CodecError,
    PyValueError,
    "A compressor's name or level, or a block that does not decode."
);
pyo3::create_exception!(kcompressd._core, TableError, PyValueError, "A definition that does not make a table.");
pyo3::create_exception!(kcompressd._core, DeviceError, PyOSError, "The swap device failed.");

/// The exception of a violation, with its attributes.
#[allow(dead_code, reason = "the step driver raises it")]
pub fn violation(py: Python<'_>, violation: &lifecycle::ProtocolViolation) -> PyErr {
    let error = ProtocolViolation::new_err(violation.to_string());
    let value = error.value(py);
    let set = || -> PyResult<()> {
        value.setattr("page", violation.page)?;
        value.setattr("state", violation.state.name())?;
        value.setattr("event", violation.event.name())?;
        value.setattr("actor", actor_name(violation.actor))?;
        value.setattr("reason", violation.reason.to_string())
    };
    match set() {
        Ok(()) => error,
        Err(error) => error,
    }
}
