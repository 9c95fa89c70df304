"""Throughput of real threads against virtual time on this machine: `make live-virtual`.

What steps, wake-ups, the device and pages cost in this program is measured here (`_core.profile`) in a live run of the same preset: CPU time of
its threads, with what they do to each other's caches and what the driver does between two steps, and so that the steps of a second run,
in which they are counted and not timed, come to the CPU time that it used, or one that counts nothing where that costs time; a wake-up and the scheduler's tick by themselves. Every preset runs on real threads and in virtual time, pageout and an eater of a third more pages than
there is memory; measuring and both runs take turns, since the speed of a machine drifts, and the ratio of each round counts, of its virtual runs the median: medians with
spread. A round in which other programs used a CPU is taken again. Counters are compared in the same runs (`apart`). The machine must be idle
and have two CPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kcompressd import Calibration, Costs, Lab, Machine, Pages, Result, Sim, _core, calibrate
from kcompressd.budget import Budget
from kcompressd.lifecycle import table
from kcompressd.node import Node
from kcompressd.workload import Workload

RUNS = 15
CPUS = 2
BOOTS = 3
"""Runs in virtual time beside a live one: they differ by when between two ticks they begin, and by free pages."""
LEAST_PAGES = 12_000
"""An input is repeated up to so many pages: a run of a few milliseconds is mostly the waking of its threads."""
GAP_NS = 300_000
"""A process that does not see the clock for so long had no CPU."""
LIBC = ctypes.CDLL(None)
WAKES = 21
SCHED = Path("/proc/self/sched")
MOST_TAKEN = 0.05
"""CPUs that others may use meanwhile."""
CLOSE = 0.05
"""How far the medians of a counter may be apart, but where live runs differ more."""
FEW = 32
"""Pages that are no difference: a cluster."""
COUNTERS = {
    "pgfault": ("pgfault",),
    "pgmajfault": ("pgmajfault",),
    "read back": ("pswpin", "zswpin", "swpin_zero"),
    "stored": ("pswpout", "zswpout", "swpout_zero"),
    "pswpout": ("pswpout",),
    "pgsteal_kswapd": ("pgsteal_kswapd",),
    "pgsteal_direct": ("pgsteal_direct",),
    "allocstall": ("allocstall_movable", "allocstall_normal"),
    "kcompressd_queued": ("kcompressd_queued",),
    "kcompressd_full": ("kcompressd_full",),
}
"""What is held together: sums of these."""
KINDS = ("scan", "unmap", "fault", "zero_page", "touch", "commit", "alloc_failed")
"""Kinds of steps whose mean is their cost here; of the zero test it is the mean by byte."""


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

    def boots(self) -> list[dict[str, Any]]:
        """`given` at each boot of the machine; that of pageout is the same at all."""
        if self.budget is None:
            return [self.given] * BOOTS
        return [self.given | {"node": self.budget.node.boot(boot)} for boot in range(BOOTS)]

    def profile(self, design: str) -> dict[str, float]:
        """Mean nanoseconds of each kind of step, measured in a live run of its own."""
        with swap_file(self.store) as file:
            lab = Lab(design=design, store=self.store, warm=True)
            count = len(self.pages) if self.budget is None else self.budget.pages
            config = lab.config(count, self.pages.page_size, file)
            config |= {} if self.budget is None else self.budget.for_core(lab, CPUS)
            found = _core.profile(self.pages.array, config, table().as_dict())
        return {kind: ns / steps for kind, (steps, ns) in found.items() if steps}


@contextlib.contextmanager
def swap_file(store: str) -> Iterator[Path | None]:
    """A swap file in memory, which takes CPU time alone: a shared disk is twice as slow from one minute to the next. None for zram."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder) / "swap" if store == "zswap" else None


def measured(case: Case, design: str, tick_ns: int) -> tuple[Costs, Machine, Calibration]:
    """What steps, wake-ups, the device and pages cost here: means; each page's part as calibrated."""
    means = case.profile(design)
    device = [means[kind] for kind in ("device_write", "device_read") if kind in means]
    memory = {"device_cpu_ns": round(statistics.mean(device or [0])), "device_write_ns": 0, "device_read_ns": 0}
    named = {f"{kind}_ns": round(means[kind]) for kind in KINDS if kind in means}
    wakes = {f"{name}_ns": round(means[name]) for name in ("wake", "switch", "ipi", "idle_exit")}
    machine = Machine(
        speeds=(100,) * CPUS, slice_ns=slice_ns(), tick_ns=tick_ns, vcpu_is_preempted=vcpu_is_preempted(), **wakes
    )
    costs = Costs(**named, **memory, zero_test_ps_per_byte=round(means["zero_test"] * 1000 / case.pages.page_size))
    return costs, machine, scaled(case, means)


def scaled(case: Case, means: dict[str, float]) -> Calibration:
    """The calibration with each page's times so many times as long that the steps of a run have these means.

    Zero pages never come to a store, and zswap has none back that it refused.
    """
    ours = case.calibration
    stored = ours.same != 2
    back = stored & (ours.size[0] < case.pages.page_size) if case.store == "zswap" else stored
    calibrated = {"compress": ours.compress_ns[:, stored].mean(), "decompress": ours.decompress_ns[:, back].mean()}
    times = {
        f"{kind}_ns": np.rint(getattr(ours, f"{kind}_ns") * (means.get(kind, mean) / mean)).astype(np.uint32)
        for kind, mean in calibrated.items()
    }
    return dataclasses.replace(ours, **times)


def slice_ns() -> int:
    """The scheduler's base slice: as it says of this process (/proc/self/sched), else 0.7 ms with one CPU and as much more for each doubling
    of them to 8, as it is by default."""
    said = re.search(r"^se\.slice\s*:\s*(\d+)", SCHED.read_text(), re.M) if SCHED.exists() else None
    return int(said[1]) if said else 700_000 * min(4, CPUS.bit_length())


@functools.cache
def vcpu_is_preempted() -> bool:
    """Whether who wakes up stays on its waker's busy CPU although another is idle, as in a guest whose idle CPUs the host takes away."""
    return sum(_stays() for _ in range(WAKES)) > WAKES / 2


def _stays() -> bool:
    """A process that was on this CPU and may run anywhere is woken here."""
    (asked, ask), (told, tell), cpus = os.pipe(), os.pipe(), os.sched_getaffinity(0)
    here = {min(cpus)}
    os.sched_setaffinity(0, here)
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, cpus)
        os.read(asked, 1)
        os.write(tell, bytes([LIBC.sched_getcpu() in here]))
        os._exit(0)
    time.sleep(0.01)
    os.write(ask, b".")
    (stays,) = os.read(told, 1)
    os.waitpid(child, 0)
    os.sched_setaffinity(0, cpus)
    for end in (asked, ask, told, tell):
        os.close(end)
    return bool(stays)


def tick_ns(seconds: float = 1.0) -> int:
    """How long a process computes here while another wants its CPU, the median of one more than there are CPUs: until the tick after
    its slice."""
    with ProcessPoolExecutor(CPUS + 1) as pool:
        runs = [run for found in pool.map(_runs, [seconds] * (CPUS + 1)) for run in found]
    return round(statistics.median(runs))


def _runs(seconds: float) -> list[int]:
    """Nanoseconds between two gaps of a process that reads the clock all the time."""
    runs, begin = [], time.perf_counter_ns()
    end, last = begin + round(seconds * 1e9), begin
    while last < end:
        now = time.perf_counter_ns()
        if now - last > GAP_NS:
            runs.append(last - begin)
            begin = now
        last = now
    return runs


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


def others_s() -> float:
    """CPU time of all other programs so far, and of the hypervisor's other guests where it says so, in seconds."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    used = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return used - sum(os.times()[:4])


def measured_runs(case: Case, design: str, tick_ns: int, runs: int = 1) -> tuple[list[Result], list[Result]]:
    """Live runs, and virtual ones at the costs measured just before."""
    costs, machine, calibration = measured(case, design, tick_ns)
    live = []
    for _ in range(runs):
        with swap_file(case.store) as file:
            lab = Lab(design=design, store=case.store, warm=True, swap_file=file)
            live.append(lab.run(case.pages, **case.given))
    boots = [(dataclasses.replace(lab, seed=boot), given) for boot, given in enumerate(case.boots())]
    return live, [Sim(lab=lab, machine=machine, costs=costs, **given).run(calibration) for lab, given in boots]


def rounds(case: Case, design: str, tick_ns: int) -> Iterator[tuple[Result, list[Result]]]:
    """Live run of each round that had the machine to itself, and virtual ones at the costs measured beside it."""
    while True:
        begin, before = time.monotonic(), others_s()
        (live,), virtual = measured_runs(case, design, tick_ns)
        taken = (others_s() - before) / (time.monotonic() - begin)
        if taken > MOST_TAKEN:
            time.sleep(1.0)
        else:
            yield live, virtual


def apart(live: Sequence[Result], virtual: Sequence[Result]) -> dict[str, float]:
    """Counters whose medians are further apart than 5 %, and than half of what the live runs themselves are: virtual over live.

    Nothing can be nearer to runs than they are to each other; where they agree, 5 % holds.
    """
    far = {}
    for name, counters in COUNTERS.items():
        real, ours = ([sum(run.vmstat[counter] for counter in counters) for run in runs] for runs in (live, virtual))
        middle, half = statistics.median(real), (max(real) - min(real)) / 2
        if abs(statistics.median(ours) - middle) > max(CLOSE * middle, half, FEW):
            far[name] = statistics.median(ours) / max(middle, 1)
    return far


def compare(case: Case, design: str, tick_ns: int) -> tuple[bool, dict[str, float]]:
    """Print the preset's line; whether the median ratio of speeds is more than a tenth away, and which counters are apart."""
    found = list(itertools.islice(rounds(case, design, tick_ns), RUNS))
    live, virtual = [real for real, _ in found], [sim for _, sims in found for sim in sims]
    ratios = [statistics.median(map(speed, sims)) / speed(real) for real, sims in found]
    far = apart(live, virtual)
    speeds = [spread([speed(run) for run in runs], ".0f") for runs in (live, virtual)]
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in far.items())
    row = (case.name, design, *speeds, spread(ratios, ".2f"), said or "none")
    print(f"| {' | '.join(row)} |", flush=True)
    return abs(statistics.median(ratios) - 1) > 0.1, far


def main() -> int:
    """Compare both workloads on both stores; return 1 when one preset is more than a tenth away, or a counter."""
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
    tick_here_ns = tick_ns()
    print(f"{len(pages)} pages, lz4, {CPUS} CPUs; MB/s: median of {RUNS} (least to most)\n")
    print("| workload | design | live | virtual | virtual / live | counters apart |\n|:--|:--|--:|--:|--:|:--|")
    found = [
        compare(Case(pages, calibration, store, budget), design, tick_here_ns)
        for budget in ({"pageout": [None], "eater": [eater]}.get(asked.workload or "", [None, eater]))
        for store in ([asked.store] if asked.store else ("zram", "zswap"))
        for design in ([asked.design] if asked.design else _core.presets())
    ]
    far, counters = sum(far for far, _ in found), sum(len(apart) for _, apart in found)
    print(f"\n{far} of {len(found)} more than a tenth away; {counters} counters of {len(found) * len(COUNTERS)} apart")
    return int(far + counters > 0)


if __name__ == "__main__":
    sys.exit(main())
