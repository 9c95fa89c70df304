//! Exceptions, one to one with the core's errors.

use kcompressd_core::driver::explore::Refused;
use kcompressd_core::lifecycle::{self, State, actor_name};
use kcompressd_core::system;
use pyo3::exceptions::{PyIndexError, PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyValueError};
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
pyo3::create_exception!(
    kcompressd._core,
    ZswapError,
    PyValueError,
    "A slot, node, group or pool that there is not, or that cannot be changed now."
);
pyo3::create_exception!(
    kcompressd._core,
    ZramError,
    PyValueError,
    "A slot, compressor or device that there is not, no memory under mem_limit, or a spent writeback_limit."
);
pyo3::create_exception!(kcompressd._core, TableError, PyValueError, "A definition that does not make a table.");
pyo3::create_exception!(
    kcompressd._core,
    StepError,
    PyRuntimeError,
    "A step that cannot be taken now; attributes page and state, None where it is about no page."
);
pyo3::create_exception!(
    kcompressd._core,
    NotAtHead,
    StepError,
    "Others come first in the page's queue or at the device; attribute ahead, the head first."
);
pyo3::create_exception!(kcompressd._core, DeviceError, PyOSError, "The swap device failed.");

/// The exception of a violation, with its attributes.
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

/// The exception of a refused step, with its attributes.
pub fn refused(py: Python<'_>, refused: &Refused) -> PyErr {
    let text = refused.to_string();
    let error = match refused {
        Refused::Step(system::StepError::Violation(law)) => return violation(py, law),
        Refused::NoPage { .. } => return PyIndexError::new_err(text),
        Refused::NoQueue { .. } | Refused::NoMemcg(_) | Refused::Queue(_) | Refused::NoZswap | Refused::Pools(_) => {
            return PyValueError::new_err(text);
        }
        Refused::Step(system::StepError::Device(_)) | Refused::Unread { device: true, .. } => {
            return DeviceError::new_err(text);
        }
        Refused::Step(system::StepError::Decode { .. }) | Refused::Unread { device: false, .. } => {
            return CodecError::new_err(text);
        }
        Refused::NotAtHead { .. } => NotAtHead::new_err(text),
        _ => StepError::new_err(text),
    };
    let (page, state) = refused.page().unzip();
    let value = error.value(py);
    let set = || -> PyResult<()> {
        value.setattr("page", page)?;
        value.setattr("state", state.flatten().map(State::name))?;
        match refused {
            Refused::NotAtHead { ahead, .. } => value.setattr("ahead", ahead),
            _ => Ok(()),
        }
    };
    match set() {
        Ok(()) => error,
        Err(error) => error,
    }
}

/// Whether Ctrl-C ended what Python was asked during.
///
/// # Errors
/// What else was raised.
pub fn was_interrupted(py: Python<'_>, raised: Option<PyErr>) -> PyResult<bool> {
    match raised {
        Some(error) if !error.is_instance_of::<PyKeyboardInterrupt>(py) => Err(error),
        raised => Ok(raised.is_some()),
    }
}
