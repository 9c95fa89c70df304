"""What `advise` runs in virtual time: random writes to more memory than there is, behind one store and compressor.

The machine has the CPUs asked for. Its memory is that asked for up to `MOST_PAGES`; a larger one is run as so many pages with
the watermarks of the whole in proportion, which keeps the time bounded. The working set is `WORKING_SET` of the memory, the
measured pages over and over. Each run is the median of `BOOTS` boots: one alone is one course of many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from statistics import median_low
from typing import Final

from kcompressd.calibration import Calibration
from kcompressd.design import Store
from kcompressd.lab import Lab
from kcompressd.machine import Machine
from kcompressd.node import Node
from kcompressd.result import Result
from kcompressd.sim import Sim
from kcompressd.taken import cpu_ns, scans_per_page
from kcompressd.workload import Workload

MOST_PAGES: Final = 32_768
"""Of the simulated node: more would take longer and show the same."""
LEAST_PAGES: Final = 4096
"""Below this the watermarks are most of the memory."""
WORKING_SET: Final = 1.15
"""Pages written to over pages of memory."""
TOUCHES: Final = 3
"""Random touches over pages of the working set: 95 % of them are touched."""
_FLOOR: Final = 16
"""The least watermark in pages, and the least distance of two."""


BOOTS: Final = 3
"""Of the machine for each figure."""
LONGEST_S: Final = 8.0
"""Wall clock of one boot's run, most take less than one second: some designs scan for ever when the memory only just suffices."""


class _TooLong(Exception):
    """A run is ended by it."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """What came of the runs, their medians: `touch_p99_ns` and `touch_p999_ns` of a page touch, `cpu_ns` of all threads a touch, `kswapd_ns` and
    `kcompressd_ns` of these, `scans` of a page freed; `holds`: all came to their end; where one ran out of memory, or went on
    for `LONGEST_S`, the figures are 0. `touch_p999_least_ns` and `touch_p999_most_ns`: the runs' least and most.
    """

    design: str
    touch_p99_ns: int
    touch_p999_ns: int
    cpu_ns: int
    kswapd_ns: int
    kcompressd_ns: int
    scans: float
    holds: bool = True
    touch_p999_least_ns: int = 0
    touch_p999_most_ns: int = 0

    @property
    def tails(self) -> tuple[int, int]:
        """The least and the most `touch_p999_ns` of the runs; 0 where they are not known."""
        return self.touch_p999_least_ns, self.touch_p999_most_ns


@dataclass(frozen=True, slots=True)
class Pressure:
    """The machine under pressure, and the pages that are written to."""

    calibration: Calibration
    machine: Machine
    ram_bytes: int

    @property
    def node(self) -> Node:
        """The memory as it is run, with room in swap for all that does not fit."""
        whole = max(LEAST_PAGES, self.ram_bytes // self.calibration.page_size)
        managed = min(whole, MOST_PAGES)
        least, low, high = (mark * managed // whole for mark in Node(managed=whole).marks)
        least = max(_FLOOR, least)
        low = max(least + _FLOOR, low)
        return Node(managed=managed, watermarks=(least, low, max(low + _FLOOR, high)), swap=managed)

    @property
    def workload(self) -> Workload:
        """Random writes to the working set."""
        pages = int(self.node.managed * WORKING_SET)
        return Workload(kind="usemem", pages=pages, touches=TOUCHES * pages)

    @property
    def scaled(self) -> int:
        """How many times the memory asked for is the memory that is run."""
        return max(1, self.ram_bytes // self.calibration.page_size // MOST_PAGES)

    def run(self, store: Store, compressor: str, design: str = "sync") -> Pressed:
        """Run one store and compressor behind a design, at `BOOTS` boots, or until one does not hold."""
        runs: list[Pressed] = []
        for boot in range(BOOTS):
            runs.append(self._boot(store, compressor, design, boot))
            if not runs[-1].holds:
                return runs[-1]
        names = (field.name for field in fields(Pressed) if field.name not in ("design", "holds"))
        medians = {name: median_low([getattr(run, name) for run in runs]) for name in names}
        tails = [run.touch_p999_ns for run in runs]
        return replace(runs[0], **medians | {"touch_p999_least_ns": min(tails), "touch_p999_most_ns": max(tails)})

    def _boot(self, store: Store, compressor: str, design: str, boot: int) -> Pressed:
        lab = Lab(design=design, store=store, compressor=compressor, seed=boot)
        sim = Sim(lab=lab, machine=self.machine, node=self.node.boot(boot), workload=self.workload)
        end = time.monotonic() + LONGEST_S

        def watch(*_: object) -> None:
            if time.monotonic() > end:
                raise _TooLong

        try:
            result = sim.run(self.calibration, progress=watch)
        except _TooLong:
            return _exhausted(design)
        # An application that gets no page any more ends: the OOM killer's place.
        whole = result.complete and result.timing.touch_ns["count"] >= TOUCHES * self.workload.pages
        return _pressed(design, result) if whole else _exhausted(design)


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether the boots' figures of two, from the least to the most, overlap: their difference may be chance."""
    return 0 < max(one[0], other[0]) <= min(one[1], other[1])


def _exhausted(design: str) -> Pressed:
    return Pressed(design, 0, 0, 0, 0, 0, 0.0, holds=False)


def _pressed(design: str, result: Result) -> Pressed:
    touch = result.timing.touch_ns
    touches = max(1, touch["count"])
    kswapd, kcompressd = (int(cpu_ns(result, kind) / touches) for kind in ("kswapd", "kcompressd"))
    spent = sum(thread.reclaim_cpu_ns + thread.fault_cpu_ns for thread in result.threads)
    scans = scans_per_page(result) or 0.0
    return Pressed(design, touch["p99"], touch["p999"], int(spent / touches), kswapd, kcompressd, scans)
