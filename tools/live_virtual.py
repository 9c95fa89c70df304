"""Throughput of real threads against virtual time on this machine: `make live-virtual`.

What steps, pages and wake-ups cost in this program is measured here (`_core.profile`, with the preset's own steps), on as many threads at
once as the run keeps busy: two threads that work beside each other share the last cache and the memory. Every preset runs on real threads and in virtual time,
pageout and an eater of a third more pages than there is memory; measuring and both runs take turns, since the speed of a machine drifts,
and the ratio of each round counts: medians with spread. Counters are held together by tests/test_live_virtual.py. The machine must be
idle and have two CPUs.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kcompressd import Calibration, Costs, Lab, Machine, Pages, Result, Sim, _core, calibrate
from kcompressd.budget import Budget
from kcompressd.lifecycle import table
from kcompressd.node import Node
from kcompressd.workload import Workload

RUNS = 7
CPUS = 2
LEAST_PAGES = 12_000
"""An input is repeated up to so many pages: a run of a few milliseconds is mostly the waking of its threads."""
KINDS = ("scan", "unmap", "fault", "zero_page", "touch", "commit", "device_write", "device_read")
"""Kinds of steps whose mean is their cost here; of the zero test it is the mean by byte."""
DEVICE = ("device_write", "device_read", "wake", "idle_exit")
"""What is measured by one thread alone, as there is one device, and an idle CPU to wake."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload over `pages` on a store; without `budget` it is pageout."""

    pages: Pages
    calibration: Calibration
    store: str
    budget: Budget | None

    @property
    def name(self) -> str:
        """Return what a row is called."""
        return f"{'pageout' if self.budget is None else 'eater'} on {self.store}"

    @property
    def given(self) -> dict[str, Any]:
        """What a run in either time takes beside the pages."""
        return {} if self.budget is None else {"node": self.budget.node, "workload": self.budget.applications}

    def busy(self, design: str) -> int:
        """How many threads compute at once: one, or reclaim beside a worker or an application."""
        alone = self.budget is None and _core.preset(design, self.store)["threads"] == 0
        return 1 if alone else CPUS

    def profile(self, design: str) -> dict[str, tuple[int, int]]:
        """Steps of each kind, and nanoseconds in all, with all actors taking turns on one thread."""
        with tempfile.TemporaryDirectory() as folder:
            lab = Lab(design=design, store=self.store)
            count = len(self.pages) if self.budget is None else self.budget.pages
            config = lab.config(count, self.pages.page_size, Path(folder) / "swap" if self.store == "zswap" else None)
            config |= {} if self.budget is None else self.budget.for_core(lab, CPUS)
            return _core.profile(self.pages.array, config, table().as_dict())


def measured(case: Case, design: str, threads: int) -> tuple[Costs, Machine, Calibration]:
    """What steps, wake-ups and pages cost here while `threads` threads work: means; each page's part as calibrated. The device is one's."""
    alone = case.profile(design)
    with ThreadPoolExecutor(threads) as pool:
        others = [pool.submit(case.profile, design) for _ in range(threads if threads > 1 else 0)]
        found = [running.result() for running in others] or [alone]
    found = [{**one, **{kind: alone[kind] for kind in DEVICE}} for one in found]
    means = {kind: sum(f[kind][1] for f in found) / max(1, sum(f[kind][0] for f in found)) for kind in found[0]}
    named = {f"{kind}_ns": round(means[kind]) for kind in KINDS if means[kind]}
    machine = Machine(speeds=(100,) * CPUS, wake_ns=round(means["wake"]), idle_exit_ns=round(means["idle_exit"]))
    costs = Costs(**named, zero_test_ps_per_byte=round(means["zero_test"] * 1000 / case.pages.page_size))
    ours = case.calibration
    stored = ours.same != 2  # zeroes are never compressed, but cleared when they come back
    times = {
        "compress_ns": ours.compress_ns * (means["compress"] / ours.compress_ns[:, stored].mean()),
        "decompress_ns": ours.decompress_ns * (means["decompress"] / ours.decompress_ns.mean()),
    }
    return costs, machine, dataclasses.replace(ours, **{k: np.rint(ns).astype(np.uint32) for k, ns in times.items()})


def speed(result: Result) -> float:
    """MB/s: of the reclaim phase, or of what the eater touched until its end."""
    if not result.applications:
        return result.timing.bytes_per_s / 1e6
    (eater,) = result.applications
    return float(eater.touches * result.config.page_size * 1e3 / eater.end_ns)


def spread(values: Sequence[float], form: str) -> str:
    """Median, least and most."""
    said = [format(value, form) for value in (statistics.median(values), min(values), max(values))]
    return f"{said[0]} ({said[1]} to {said[2]})"


def compare(case: Case, design: str) -> bool:
    """Print the preset's line; whether the median ratio is more than a tenth away."""
    lab = Lab(design=design, store=case.store, warm=True)
    rounds = []
    for _ in range(RUNS):
        costs, machine, calibration = measured(case, design, case.busy(design))
        live = speed(lab.run(case.pages, **case.given))
        rounds.append((live, speed(Sim(lab=lab, machine=machine, costs=costs, **case.given).run(calibration))))
    live, virtual = zip(*rounds, strict=True)
    ratios = [sim / real for real, sim in rounds]
    row = (case.name, design, spread(live, ".0f"), spread(virtual, ".0f"), spread(ratios, ".2f"))
    print(f"| {' | '.join(row)} |", flush=True)
    return abs(statistics.median(ratios) - 1) > 0.1


def main() -> int:
    """Compare both workloads on both stores; return 1 when one preset is more than a tenth away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="pages (default: the sample)")
    parser.add_argument("--store", choices=("zram", "zswap"), help="just this one")
    parser.add_argument("--workload", choices=("pageout", "eater"), help="just this one")
    parser.add_argument("--design", choices=_core.presets(), help="just this one")
    asked = parser.parse_args()
    pages = Pages.from_file(asked.file) if asked.file else Pages.sample()
    times = -(-LEAST_PAGES // len(pages))
    calibration = calibrate(pages, "lz4").repeated(times)
    pages = Pages.from_array(np.tile(pages.array, (times, 1)), copy=False)
    eater = Budget.of(Node(managed=3 * len(pages) // 4), Workload(kind="eater", pages=len(pages)))
    print(f"{len(pages)} pages, lz4, {CPUS} CPUs; MB/s: median of {RUNS} (least to most)\n")
    print("| workload | design | live | virtual | virtual / live |\n|:--|:--|--:|--:|--:|")
    far = [
        compare(Case(pages, calibration, store, budget), design)
        for budget in ({"pageout": [None], "eater": [eater]}.get(asked.workload or "", [None, eater]))
        for store in ([asked.store] if asked.store else ("zram", "zswap"))
        for design in ([asked.design] if asked.design else _core.presets())
    ]
    print(f"\n{sum(far)} of {len(far)} more than a tenth away")
    return int(any(far))


if __name__ == "__main__":
    sys.exit(main())
