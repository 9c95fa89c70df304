"""Bugs put into the definition on purpose (`tests/mutants/[0-9]*.patch`; the core's: `core_mutants`), and the scenarios that must catch them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from kcompressd import CodecError, Job, Lab, Pages, ProtocolViolation, _core, lifecycle
from kcompressd.check import INCOMPRESSIBLE, Scenario

ROOT = Path(__file__).parent.parent
PATCHES = sorted((Path(__file__).parent / "mutants").glob("[0-9]*.patch"))
SCENARIOS: dict[str, Scenario] = {
    "sync": Scenario("sync", folios=1, lens=(1000, 0)),
    "split": Scenario("split", folios=1, threads=1),
    "split, touched": Scenario("split", folios=1, threads=1, touch=True),
    "split, a fault": Scenario("split", folios=1, threads=1, faults=1),
    "split, refused, touched": Scenario("split", lens=(INCOMPRESSIBLE,), threads=1, touch=True),
    "split, refused and denied": Scenario("split", lens=(INCOMPRESSIBLE,), threads=1, writeback=False),
    "sync, refused and denied": Scenario("sync", pool_limit_pages=1, lens=(1000, 1000, 1000), writeback=False),
    "sync, a full pool": Scenario("sync", pool_limit_pages=1, lens=(1000, 1000, 1000)),
    "april, the knob turned": Scenario("april", lens=(INCOMPRESSIBLE,), toggles=("writeback",)),
    "async-store, touched": Scenario("async-store", folios=1, touch=True),
    "async-store, zeroes, touched": Scenario("async-store", lens=(0,), touch=True),
    "split, refused, a fault, touched": Scenario("split", lens=(INCOMPRESSIBLE,), threads=1, faults=1, touch=True),
    "split, refused and denied, touched": Scenario(
        "split", lens=(INCOMPRESSIBLE,), threads=1, writeback=False, touch=True
    ),
    "split, refused, a read fails": Scenario("split", lens=(INCOMPRESSIBLE,), threads=1, read_errors=(0,), touch=True),
    "split, given up": Scenario("split", folios=1, threads=1, exit=True),
    "split, refused, given up": Scenario("split", lens=(INCOMPRESSIBLE,), threads=1, exit=True),
    "split, refused and denied, given up": Scenario(
        "split", lens=(INCOMPRESSIBLE,), threads=1, writeback=False, exit=True
    ),
    "sync, zeroes, touched and given up": Scenario("sync", lens=(0,), touch=True, exit=True),
    "split, a fault, touched and given up": Scenario(
        "split", lens=(INCOMPRESSIBLE,), threads=1, faults=1, touch=True, exit=True
    ),
    "rfc on zram, a fault, given up": Scenario("rfc", "zram", folios=1, threads=1, faults=1, exit=True),
    "rfc on zram, a fault, touched": Scenario("rfc", "zram", folios=1, threads=1, faults=1, touch=True),
}
STATES = 200_000
"""States after which a scenario gives up on a mutant."""


def caught(table: dict[str, Any], scenarios: Sequence[str] = tuple(SCENARIOS)) -> tuple[str, str] | None:
    """Return the first scenario in which the law `table` is broken or breaks a property, and how."""
    for name in scenarios:
        why = _wrong(name, table)
        if why is not None and why != _KNOWN.get(name):
            return name, why
    return None


def _wrong(name: str, table: dict[str, Any]) -> str | None:
    """Return what is wrong in a scenario."""
    why: str | None = _core.explore({**SCENARIOS[name].config(), "max_states": STATES}, table)["why"]
    return why


_KNOWN = {
    "april, the knob turned": "memory.zswap.writeback is respected: kcompressd0 sends page 0 to the swap device though "
    "memory.zswap.writeback is 0 by now"
}
"""What a scenario finds in the law as it is: a hazard of the design."""


def mutated(patch: Path, folder: Path) -> dict[str, Any]:
    """Return the compiled law with `patch` applied to a copy; raises :class:`subprocess.CalledProcessError` for a
    patch that does not apply, and `TableError` for a law that means nothing.
    """
    copy = folder / "python" / "kcompressd" / "lifecycle.py"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text((ROOT / "python/kcompressd/lifecycle.py").read_text())
    subprocess.run(["git", "apply", "--unidiff-zero", str(patch)], cwd=folder, check=True, capture_output=True)
    name = f"mutant_{patch.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    table: dict[str, Any] = module.table().as_dict()
    return table


def without(row: int) -> dict[str, Any]:
    """Return the law without its row number `row`."""
    table = lifecycle.table().as_dict()
    return {**table, "rows": [r for at, r in enumerate(table["rows"]) if at != row]}


_ZIPF = ("workload.kind=zipf", "workload.pages=6500")
_DENIED = "[[memcg]]\nname = 'app'\nwriteback = false\nzswap_max = 1638400\n"
_DEVICE = "[[memcg]]\nname = 'app'\nzswap_max = 0\n"
_APP = "workload.memcg=app"
BUDGETS: dict[str, tuple[tuple[str, ...], str]] = {
    "usemem on sync, zswap": (("design=sync", "store=zswap", "workload.kind=usemem"), ""),
    # With as little as it takes to activate what is queued.
    "eater on async-store, zram": (("design=async-store", "store=zram", "workload.kind=eater", "node.free=5500"), ""),
    "usemem on async-store, zram": (
        ("design=async-store", "store=zram", "workload.kind=usemem", "workload.touches=60000"),
        "",
    ),
    "eater on april, zram": (("design=april", "store=zram", "workload.kind=eater"), ""),
    "zipf on april, zram": (("design=april", "store=zram", *_ZIPF, "workload.touches=20000"), ""),
    "zipf on split, denied": (("design=split", *_ZIPF, "workload.touches=1000", _APP), _DENIED),
    "zipf on sync, a slow device": (
        ("design=sync", *_ZIPF, "workload.touches=5000", "costs.device_write_ns=300000", _APP),
        _DEVICE,
    ),
    "large folios on sync, zram, few slots": (
        ("design=sync", "store=zram", "workload.kind=eater", "workload.folio_order=4", "node.swap=5000"),
        "",
    ),
    "large folios on sync, zswap": (
        ("design=sync", "kernel='6.13'", "workload.kind=usemem", "workload.touches=6000", "workload.folio_order=4"),
        "",
    ),
}
"""Runs with a memory budget, as a job's keys and its groups: edges that only allocation, ageing and devices take."""
_JOB = """\
pages = "sample"
[node]
cpus = 2
managed = 6600
free = 5600
watermarks = [49, 61, 73]
[workload]
pages = 9000
"""


def budget_job(name: str, folder: Path) -> Job:
    """Return the job of a run of `BUDGETS`, whose file is in `folder`."""
    keys, groups = BUDGETS[name]
    path = folder / "budget.toml"
    path.write_text(_JOB + groups)
    return Job.load(path, list(keys))


def caught_by_a_run(table: dict[str, Any], folder: Path) -> tuple[str, str] | None:
    """Return the first run with a memory budget that the law `table` is broken in, and how."""
    with mock.patch("kcompressd.sim.table", lambda: SimpleNamespace(as_dict=lambda: table)):
        for name in BUDGETS:
            try:
                error = budget_job(name, folder).sim().error
            except ProtocolViolation as violation:
                return name, str(violation)
            if error is not None and error.kind == "violation":
                return name, error.message
    return None


def caught_by_a_script(table: dict[str, Any]) -> tuple[str, str] | None:
    """Return what reads a block that does not decompress when the law `table` is broken by it, and how."""
    with mock.patch("kcompressd.step.table", lambda: SimpleNamespace(as_dict=lambda: table)):
        for reads in ("fault", "write_back"):
            folio = Lab(design="sync", store="zswap").step(PAGE)[0]
            try:
                folio.queue()
                folio.spoil()
                getattr(folio, reads)()
            except CodecError:
                if folio.state != "compressed_freed":
                    return f"{reads} of a spoilt block", f"page 0 is left {folio.state}"
    return None


PAGE = Pages.from_array((np.arange(4096) // 16 % 256).astype(np.uint8).reshape(1, 4096))
"""One that compresses."""
