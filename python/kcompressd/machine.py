"""`Machine` and `Costs`: what a run in virtual time runs on, and what work costs there.

A machine has CPUs with speeds, a scheduler, nice levels and affinities; costs are nanoseconds on a CPU of speed 100, the
CPU that the calibration was made on.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias

from kcompressd.errors import LabError, refuse_number, refuse_type

Preempt: TypeAlias = Literal["none", "full"]
Fair: TypeAlias = Literal["cfs", "eevdf"]
_THREAD = re.compile(r"(kswapd|kcompressd|app|swapdev|shrink_worker)\d{0,3}")
_MOST_CPUS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Machine:
    """CPUs and their scheduler; times in nanoseconds.

    - `speeds`: each CPU's speed in per cent of the calibrated one;
    - `slice_ns`: how long a thread keeps a CPU that another wants, and until the next tick; `tick_ns`: between two ticks (0: a slice ends
      on time); `wakeup_granularity_ns`: how far behind in weighted run time a woken thread must be to take a CPU earlier (0 since Linux 6.6);
    - `migration_cost_ns`: who ran so short a time ago stays in its CPU's queue when another CPU looks for work;
    - `wake_ns` a wake-up costs the waker, `ipi_ns` more if an idle CPU takes the woken, `idle_exit_ns` passes until that runs him,
      `switch_ns` a switch;
    - `vcpu_is_preempted`: an idle CPU of this guest counts as one that its host has taken away, and a woken thread does not look for it;
    - `preempt`: "none" is PREEMPT_NONE: a thread in the kernel gives its CPU up at cond_resched() only; "full" at any step;
    - `fair`: who is next. "cfs", until Linux 6.5: who has run least, a woken thread being behind by at most a slice; "eevdf", since 6.6: who is
      not ahead and has the earliest deadline, a woken thread having the lag that it went to sleep with;
    - `nice` (-20 to 19) and `affinity` (CPU numbers) by thread ("kswapd0") or kind of threads ("kcompressd", "app").
    """

    speeds: tuple[int, ...] = (100, 100)
    slice_ns: int = 3_000_000
    tick_ns: int = 4_000_000
    migration_cost_ns: int = 500_000
    wakeup_granularity_ns: int = 0
    wake_ns: int = 1_000
    ipi_ns: int = 0
    idle_exit_ns: int = 2_000
    switch_ns: int = 1_000
    vcpu_is_preempted: bool = False
    preempt: Preempt = "full"
    fair: Fair = "eevdf"
    nice: Mapping[str, int] = field(default_factory=dict)
    affinity: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no machine is; raises `LabError` naming the key."""
        refuse_type("machine.speeds", self.speeds, Iterable, "a list of numbers")
        object.__setattr__(self, "speeds", tuple(self.speeds))
        for speed in self.speeds:
            refuse_number("machine.speeds", speed)
        if not 1 <= len(self.speeds) <= _MOST_CPUS or any(speed < 1 for speed in self.speeds):
            raise LabError("machine.speeds", f"{list(self.speeds)} is not 1 to {_MOST_CPUS} numbers of at least 1")
        if self.preempt not in ("none", "full"):
            raise LabError("machine.preempt", f"{self.preempt!r} is neither none nor full")
        if self.fair not in ("cfs", "eevdf"):
            raise LabError("machine.fair", f"{self.fair!r} is neither cfs nor eevdf")
        for name, value in self._times():
            refuse_number(f"machine.{name}", value, 0)
        self._own_tables()
        for name, level in self.nice.items():
            refuse_number(f"machine.nice.{name}", level, -20, 19)
        for name, cpus in self.affinity.items():
            for cpu in cpus:
                refuse_number(f"machine.affinity.{name}", cpu)
            if not cpus or not all(0 <= cpu < len(self.speeds) for cpu in cpus):
                raise LabError(f"machine.affinity.{name}", f"{list(cpus)} is no list of CPUs from 0 to {self.cpus - 1}")

    def _own_tables(self) -> None:
        """Copy the tables by thread: a machine does not change when its maker's do."""
        for table in ("nice", "affinity"):
            refuse_type(f"machine.{table}", getattr(self, table), Mapping, "a mapping by thread")
            for name in getattr(self, table):
                _refuse_stranger(table, name)
        for name, cpus in self.affinity.items():
            refuse_type(f"machine.affinity.{name}", cpus, Iterable, "a list of CPUs")
        object.__setattr__(self, "nice", dict(self.nice))
        object.__setattr__(self, "affinity", {name: tuple(cpus) for name, cpus in self.affinity.items()})

    def _times(self) -> list[tuple[str, int]]:
        return [(name.name, getattr(self, name.name)) for name in fields(self) if name.name.endswith("_ns")]

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""
        return len(self.speeds)

    @classmethod
    def preset(cls, name: str) -> Machine:
        """Return a machine by name (`MACHINES`); raises `LabError` naming what there is."""
        refuse_type("machine.preset", name, str, "a machine's name")
        if name not in MACHINES:
            raise LabError("machine.preset", f"{name!r} is none of {', '.join(MACHINES)}")
        return MACHINES[name]

    def with_cpus(self, cpus: int) -> Machine:
        """Return the machine with another number of CPUs: the first ones, or more like the last."""
        refuse_number("cpus", cpus, 1, _MOST_CPUS)
        speeds = (self.speeds + self.speeds[-1:] * cpus)[:cpus]
        affinity = {name: tuple(cpu for cpu in on if cpu < cpus) for name, on in self.affinity.items()}
        return dataclasses.replace(self, speeds=speeds, affinity={name: on for name, on in affinity.items() if on})

    def to_dict(self) -> dict[str, Any]:
        """Return the machine as plain data, as Results have it."""
        plain = {name.name: getattr(self, name.name) for name in fields(self)}
        affinity = {name: list(on) for name, on in self.affinity.items()}
        return {**plain, "speeds": list(self.speeds), "nice": dict(self.nice), "affinity": affinity}

    def for_core(self) -> dict[str, Any]:
        """Return the machine as the core takes it: nice levels and affinities as policies, kinds before threads."""
        names = sorted({*self.nice, *self.affinity}, key=lambda name: (name[-1].isdigit(), name))
        every = range(self.cpus)
        policies = [(n, self.nice.get(n, 0), sum(1 << cpu for cpu in set(self.affinity.get(n, every)))) for n in names]
        return {
            "speeds": list(self.speeds),
            "vcpu_is_preempted": self.vcpu_is_preempted,
            "preempt": self.preempt,
            "fair": self.fair,
            "policies": policies,
            **dict(self._times()),
        }


def _refuse_stranger(table: str, name: object) -> None:
    if not (isinstance(name, str) and _THREAD.fullmatch(name)):
        kinds = "kswapd, kcompressd, app, swapdev, shrink_worker, or one with its number"
        raise LabError(f"machine.{table}.{name}", f"{name!r} is no thread: {kinds}")


MACHINES: Final[Mapping[str, Machine]] = {
    "laptop": Machine(speeds=(100,) * 8),
    "phone": Machine(speeds=(100, 85, 85, 85, 35, 35, 35, 35), fair="cfs", wakeup_granularity_ns=1_000_000),
    "server": Machine(speeds=(100,) * 32, preempt="none"),
    "single": Machine(speeds=(100,)),
    "guest": Machine(speeds=(100, 100), preempt="none", slice_ns=1_500_000),
}
"""Machines by name: `laptop` 8 equal CPUs; `phone` 1 big, 3 middle and 4 little cores (relative speeds of a flagship of
2024, rounded, and a kernel from before 6.6); `server` 32 CPUs without preemption in the kernel; `single` one CPU; `guest` the ground truth's
(2 CPUs, PREEMPT_NONE, HZ 250, and Linux 6.12's base slice with two CPUs).
"""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Nanoseconds of everything but compression and decompression, which the calibration has page by page; those two
    may be set to one number for all pages. `alloc_failed_ns`, a request to the page allocator in vain: by default as long as a look.

    Device times are the device's, whatever the CPU; `device_cpu_ns` is what a request takes of a CPU before that. `SOURCES` says
    where each default comes from.
    """

    scan_ns: int = 100
    unmap_ns: int = 400
    fault_ns: int = 500
    zero_page_ns: int = 300
    touch_ns: int = 200
    commit_ns: int = 50
    zero_test_ps_per_byte: int = 40
    device_cpu_ns: int = 0
    device_write_ns: int = 20_000
    device_read_ns: int = 80_000
    alloc_failed_ns: int | None = None
    compress_ns: int | None = None
    decompress_ns: int | None = None

    def __post_init__(self) -> None:
        """Refuse negative costs; raises `LabError` naming the key."""
        for name, value in self.to_dict().items():
            if value is not None:
                refuse_number(f"costs.{name}", value, 0)

    def to_dict(self) -> dict[str, int | None]:
        """Return the costs by name."""
        return dataclasses.asdict(self)


SOURCES: Final[Mapping[str, str]] = {
    "scan_ns": "spec arithmetic on Q2 and Q3: scan and unmap of a page take about 1 us of a phone's core; a part of it",
    "unmap_ns": "as scan_ns, the larger part: rmap walk, PTE, TLB flush batched",
    "fault_ns": "minor fault without the page's contents, x86-64 desktop, order of magnitude",
    "zero_page_ns": "4 KiB cleared at about 14 GB/s",
    "touch_ns": "4 KiB read or written by the application at about 20 GB/s",
    "commit_ns": "a lock and a few cache lines",
    "zero_test_ps_per_byte": "4 KiB read at about 25 GB/s",
    "device_cpu_ns": "left out: the device's own time is far longer",
    "device_write_ns": "NVMe, 4 KiB, order of magnitude",
    "alloc_failed_ns": "a pass over one zone's empty lists, nowhere measured: taken to be scan_ns",
    "device_read_ns": "NVMe, 4 KiB random read at queue depth 1, order of magnitude",
}
"""Where the default costs come from. All are round numbers to be overridden; only what a calibration measures is measured."""
