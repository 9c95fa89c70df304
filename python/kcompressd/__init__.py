"""kcompressd: a user-space laboratory of Linux's asynchronous memory compression.

What stands here is loaded when it is first used, so that `import kcompressd` and `kcompressd --version` are
quick.

    >>> from kcompressd import Lab, Pages
    >>> result = Lab(design="split", threads=2).run(Pages.sample())
    >>> print(result)
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kcompressd._core import VERSION as __version__
    from kcompressd._core import (
        CodecError,
        DesignError,
        DeviceError,
        NotAtHead,
        ProtocolViolation,
        StepError,
        ZramError,
        ZswapError,
    )
    from kcompressd.calibration import Calibration, calibrate
    from kcompressd.check import Check, Scenario
    from kcompressd.comparison import Comparison
    from kcompressd.design import Design
    from kcompressd.errors import InputError, RunInterrupted
    from kcompressd.estimate import CompressorEstimate, Estimate
    from kcompressd.faults import IoFaults, Plant
    from kcompressd.job import Job
    from kcompressd.lab import Lab
    from kcompressd.machine import Costs, Machine
    from kcompressd.memcg import Memcg, MemoryReclaim
    from kcompressd.node import Node
    from kcompressd.page_stats import PageStats
    from kcompressd.pages import Pages
    from kcompressd.policy import Policy, View
    from kcompressd.result import Result
    from kcompressd.sim import Sim
    from kcompressd.spawn import capture_command
    from kcompressd.step import Folio, Stepper
    from kcompressd.workload import Workload
    from kcompressd.zram import Zram
    from kcompressd.zswap import Zswap

_HOMES = {
    "Calibration": "calibration",
    "Check": "check",
    "Scenario": "check",
    "CodecError": "_core",
    "Comparison": "comparison",
    "CompressorEstimate": "estimate",
    "Costs": "machine",
    "Design": "design",
    "DesignError": "_core",
    "DeviceError": "_core",
    "Estimate": "estimate",
    "Folio": "step",
    "InputError": "errors",
    "IoFaults": "faults",
    "Job": "job",
    "Lab": "lab",
    "Machine": "machine",
    "Memcg": "memcg",
    "MemoryReclaim": "memcg",
    "Node": "node",
    "NotAtHead": "_core",
    "PageStats": "page_stats",
    "Pages": "pages",
    "Plant": "faults",
    "Policy": "policy",
    "ProtocolViolation": "_core",
    "Result": "result",
    "RunInterrupted": "errors",
    "Sim": "sim",
    "StepError": "_core",
    "Stepper": "step",
    "View": "policy",
    "Workload": "workload",
    "Zram": "zram",
    "ZramError": "_core",
    "Zswap": "zswap",
    "ZswapError": "_core",
    "calibrate": "calibration",
    "capture_command": "spawn",
}

__all__ = [
    "Calibration",
    "Check",
    "CodecError",
    "Comparison",
    "CompressorEstimate",
    "Costs",
    "Design",
    "DesignError",
    "DeviceError",
    "Estimate",
    "Folio",
    "InputError",
    "IoFaults",
    "Job",
    "Lab",
    "Machine",
    "Memcg",
    "MemoryReclaim",
    "Node",
    "NotAtHead",
    "PageStats",
    "Pages",
    "Plant",
    "Policy",
    "ProtocolViolation",
    "Result",
    "RunInterrupted",
    "Scenario",
    "Sim",
    "StepError",
    "Stepper",
    "View",
    "Workload",
    "Zram",
    "ZramError",
    "Zswap",
    "ZswapError",
    "__version__",
    "calibrate",
    "capture_command",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that it lives in."""
    if name == "__version__":
        return import_module("kcompressd._core").VERSION
    if name not in _HOMES:
        home = f"kcompressd.{name.lower()}"
        hint = f"; it is in a module of its own: from {home} import {name}" if find_spec(home) else ""
        raise AttributeError(f"module 'kcompressd' has no attribute {name!r}{hint}")
    return getattr(import_module(f"kcompressd.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
