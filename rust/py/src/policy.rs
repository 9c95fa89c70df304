//! A policy in Python, as the core's script: asked by name, answers by name.

use kcompressd_core::design::{Ask, Scripted, StoreKind, View};
use kcompressd_core::driver::explore::scenario::SharedScript;
use kcompressd_core::system::System;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// `system` with the callable of `config["policy"]` deciding, if there is one: it is called with the decision's name, what
/// belongs to it (the point, or whether a worker asks), and the view as a mapping; None leaves it to the design.
pub fn scripted(system: System, config: &Bound<'_, PyDict>) -> PyResult<System> {
    let design = system.config.design;
    Ok(match policy(config)? {
        Some(policy) => system.scripted(Scripted::new(design, Box::new(script(policy)))),
        None => system,
    })
}

/// The callable of `config["policy"]` for every system that is built of a scenario.
pub fn shared(config: &Bound<'_, PyDict>) -> PyResult<Option<SharedScript>> {
    Ok(policy(config)?.map(|policy| SharedScript(Arc::new(script(policy)))))
}

fn policy(config: &Bound<'_, PyDict>) -> PyResult<Option<Py<PyAny>>> {
    Ok(config.get_item("policy")?.filter(|policy| !policy.is_none()).map(Bound::unbind))
}

fn script(policy: Py<PyAny>) -> impl Fn(Ask, View) -> Result<Option<String>, String> + Send + Sync {
    move |ask, view| {
        Python::attach(|py| {
            answer(py, &policy, ask, view).map_err(|error| {
                let said = error.to_string();
                if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    again(py);
                }
                said
            })
        })
    }
}

/// Lets the signal that hit a policy come again, to whoever runs it: an answer can only be missing.
fn again(py: Python<'_>) {
    let raised = py.import("_thread").and_then(|thread| thread.call_method0("interrupt_main"));
    drop(raised); // Without that function the run ends all the same, by the missing answer.
}

/// The signal that hit a policy, if one did, where the policy's answer is `missing`.
pub fn interrupted(py: Python<'_>, missing: bool) -> Option<PyErr> {
    missing.then(|| py.check_signals().err()).flatten()
}

fn answer(py: Python<'_>, policy: &Py<PyAny>, ask: Ask, view: View) -> PyResult<Option<String>> {
    let detail = match ask {
        Ask::Admit(point) => point.name().into_pyobject(py)?.into_any().unbind(),
        Ask::Refused(queued) => queued.into_pyobject(py)?.to_owned().into_any().unbind(),
        Ask::Placement | Ask::Full | Ask::Complete => py.None(),
    };
    policy.call1(py, (ask.name(), detail, view_dict(py, view)?))?.extract(py)
}

fn view_dict(py: Python<'_>, view: View) -> PyResult<Bound<'_, PyDict>> {
    let View { store, is_kswapd, anon, writeback_enabled, sync_device, node, order, fill, watermark } = view;
    let dict = PyDict::new(py);
    dict.set_item("store", if store == StoreKind::Zswap { "zswap" } else { "zram" })?;
    dict.set_item("is_kswapd", is_kswapd)?;
    dict.set_item("anon", anon)?;
    dict.set_item("writeback_enabled", writeback_enabled)?;
    dict.set_item("sync_device", sync_device)?;
    dict.set_item("node", node)?;
    dict.set_item("order", order)?;
    dict.set_item("fill", fill)?;
    dict.set_item("watermark", watermark)?;
    Ok(dict)
}
