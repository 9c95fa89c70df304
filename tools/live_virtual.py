"""Throughput of real threads against virtual time on this machine: `make live-virtual`.

What steps and wake-ups cost in this program is measured here (`_core.profile`), what pages cost is calibrated here, and every preset runs
on real threads and in virtual time, pageout and an eater of a third more pages than there is memory: medians with spread. Counters are held together by tests/test_live_virtual.py. The
machine must be idle and have two CPUs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from kcompressd import Calibration, Costs, Lab, Machine, Pages, Result, Sim, _core, calibrate
from kcompressd.budget import Budget
from kcompressd.lifecycle import table
from kcompressd.node import Node
from kcompressd.workload import Workload

RUNS = 7
CPUS = 2
KINDS = ("scan", "unmap", "fault", "zero_page", "touch", "commit", "device_write", "device_read")
"""Kinds of steps whose mean is their cost here; of the zero test it is the mean by byte."""


def config_here(lab: Lab, pages: Pages, budget: Budget | None, folder: str) -> dict[str, Any]:
    """What the core takes for a run on this machine."""
    swap_file = Path(folder) / "swap" if lab.store == "zswap" else None
    count = len(pages) if budget is None else budget.pages
    config = lab.config(count, pages.page_size, swap_file)
    return config if budget is None else config | budget.for_core(lab, CPUS)


def measured_here(pages: Pages, store: str, budget: Budget | None) -> tuple[Costs, Machine]:
    """What steps cost in this program, measured on one thread without a queue, and what wake-ups cost on two CPUs."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_here(Lab(design="sync", store=store), pages, budget, folder)
        found = _core.profile(pages.array, config, table().as_dict())
    means = {kind: round(ns / steps) for kind, (steps, ns) in found.items() if steps}
    named = {f"{kind}_ns": means[kind] for kind in KINDS if kind in means}
    machine = Machine(speeds=(100,) * CPUS, wake_ns=means["wake"], idle_exit_ns=means["idle_exit"])
    return Costs(**named, zero_test_ps_per_byte=means["zero_test"] * 1000 // pages.page_size), machine


def speed(result: Result) -> float:
    """MB/s: of the reclaim phase, or of what the eater touched until its end."""
    if not result.applications:
        return result.timing.bytes_per_s / 1e6
    (eater,) = result.applications
    return float(eater.touches * result.config.page_size * 1e3 / eater.end_ns)


def compare(pages: Pages, calibration: Calibration, store: str, budget: Budget | None) -> int:
    """Print a line a preset; return how many are more than a tenth away."""
    far = 0
    costs, machine = measured_here(pages, store, budget)
    waking = f"wake_ns {machine.wake_ns}, idle_exit_ns {machine.idle_exit_ns}"
    print(f"{'pageout' if budget is None else 'eater'} on {store}: {costs.to_dict()}, {waking}")
    given = {} if budget is None else {"node": budget.node, "workload": budget.applications}
    for design in _core.presets():
        lab = Lab(design=design, store=store, warm=True)
        live = sorted(speed(lab.run(pages, **given)) for _ in range(RUNS))
        sim = speed(Sim(lab=lab, machine=machine, costs=costs, **given).run(calibration))
        median = statistics.median(live)
        far += abs(sim / median - 1) > 0.1
        print(
            f"  {design:12} live {median:6.0f} ({live[0]:.0f} to {live[-1]:.0f})  virtual {sim:6.0f}  {sim / median:.2f}",
            flush=True,
        )
    return far


def main() -> int:
    """Compare both workloads on both stores; return 1 when one preset is more than a tenth away."""
    pages = Pages.from_file(sys.argv[1]) if len(sys.argv) > 1 else Pages.sample()
    calibration = calibrate(pages, "lz4")
    eater = Budget.of(Node(managed=3 * len(pages)), Workload(kind="eater", pages=4 * len(pages)))
    print(f"{len(pages)} pages, lz4, {CPUS} CPUs; MB/s: median of {RUNS} (least to most)")
    far = [compare(pages, calibration, store, budget) for budget in (None, eater) for store in ("zram", "zswap")]
    return int(any(far))


if __name__ == "__main__":
    sys.exit(main())
