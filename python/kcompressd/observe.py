"""`observe`: what the running kernel did for a while, as a `Result` beside which a run or a simulation can be put.

The kernel is only read. Its counters prove no lifecycle, so a Result of kind "observed" has none, and no equation is
evaluated on it. What its keys mean then is in docs/formats.md.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Final

from kcompressd import environment
from kcompressd.errors import KernelError, RunInterrupted, file_path, refuse_type
from kcompressd.kernel_counters import (
    ZRAM_LEVELS,
    ZSWAP_LEVELS,
    Host,
    Snapshot,
    snapshot,
    swap_kinds,
    uses_zswap,
    zram_compressor,
    zswap_compressor,
)
from kcompressd.result import Result
from kcompressd.result_form import VERSION

SAMPLES: Final = 100
"""Of the series, at most; never more often than `INTERVAL_S`."""
INTERVAL_S: Final = 0.1
MOST_S: Final = 30 * 86400
_SPREAD: Final = dict.fromkeys(("p50", "p90", "p99", "p999", "max", "mean", "count"), 0)

Tick = Callable[[float, float], object]
"""Called before each sample with the seconds gone and the seconds in all."""


def observe(
    seconds: float,
    *,
    cgroup: str | os.PathLike[str] | None = None,
    host: Host | None = None,
    progress: Tick | None = None,
) -> Result:
    """Watch the running kernel for `seconds`, the whole system or one cgroup v2 (a folder, or its name below
    /sys/fs/cgroup).

    Ctrl-C raises `RunInterrupted` with the Result so far. Raises `KernelError` for a time below 0.1 s or above a month, and a
    cgroup without memory counters.
    """
    refuse_type("observe", seconds, Real, "a number of seconds", KernelError)
    if not INTERVAL_S <= seconds <= MOST_S:
        raise KernelError("observe", f"{seconds} seconds are not between {INTERVAL_S} and {MOST_S}")
    where = host or Host()
    if cgroup is not None:
        where = replace(where, cgroup=_cgroup(where, cgroup))
    watch = _Watch(where)
    try:
        watch.run(seconds, progress or (lambda done, total: None))
    except KeyboardInterrupt:
        raise RunInterrupted(watch.result(complete=False)) from None
    return watch.result(complete=True)


def _cgroup(host: Host, name: str | os.PathLike[str]) -> Path:
    given = file_path(name, KernelError)
    path = given if given.is_dir() else host.sys / "fs/cgroup" / str(given).lstrip("/")
    if not path.is_dir():
        raise KernelError(given, "no such cgroup", "list them: systemd-cgls, or ls /sys/fs/cgroup")
    if not (path / "memory.stat").is_file() or not (path / "cgroup.controllers").is_file():
        raise KernelError(path, "is no cgroup v2 folder with the memory controller")
    return path


class _Watch:
    """The first snapshot, the series, and the last."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.began = self.now = time.monotonic_ns()
        self.first = self.last = snapshot(host)
        self.series: dict[str, list[int]] = {name: [] for name in ("t_ns", "queue_len", "pool_pages", "in_flight")}
        self._sample()

    def run(self, seconds: float, progress: Tick) -> None:
        step = max(INTERVAL_S, seconds / SAMPLES)
        until = self.began / 1e9 + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(step, left))
            progress((time.monotonic_ns() - self.began) / 1e9, seconds)
            self.last, self.now = snapshot(self.host), time.monotonic_ns()
            self._sample()

    def _sample(self) -> None:
        zswap, zram = self.last.zswap or {}, self.last.zram or {}
        pool = zswap.get("pool_total_size", 0) + zram.get("mem_used_total", 0)
        values = (self.now - self.began, 0, pool // os.sysconf("SC_PAGE_SIZE"), self.last.writeback_pages)
        for column, value in zip(self.series.values(), values, strict=True):
            column.append(value)

    def result(self, *, complete: bool) -> Result:
        wall_ns = self.now - self.began
        store = _store(self.host)
        vmstat = _grown(self.first.vmstat, self.last.vmstat)
        return Result.from_dict(
            {
                "version": VERSION,
                "kind": "observed",
                "config": _config(self.host, store, wall_ns),
                "environment": environment.gather(),
                "vmstat": vmstat,
                "zswap": _levels(self.first.zswap, self.last.zswap, ZSWAP_LEVELS),
                "zram": _zram(self.first, self.last),
                "kcompressd": {"threads": [], "queue": {"depth": 0, "capacity": 0}},
                "timing": _timing(vmstat, self.first, self.last, wall_ns),
                "lifecycle": {"events": 0, "violations": 0, "by_event": {}},
                "series": self.series,
                "census": {"reclaim": {}, "fault": {}},
                "phases": {"observe": wall_ns},
                "threads": _threads(self.first, self.last),
                "device": {"kind": ", ".join(swap_kinds(self.host)) or "none", "direct": False},
                "mismatched": [],
                "notes": _notes(self.host, self.last, vmstat),
                "errors": [],
                "error": None if complete else {"kind": "cancelled", "message": "interrupted", "actor": ""},
                "complete": complete,
            }
        )


def _grown(first: Mapping[str, int], last: Mapping[str, int]) -> dict[str, int]:
    """Differences of counters; one that has fallen was a level or began anew, and is left out."""
    return {name: grown for name, count in last.items() if (grown := count - first.get(name, 0)) >= 0}


def _levels(
    first: Mapping[str, int] | None, last: Mapping[str, int] | None, levels: tuple[str, ...]
) -> dict[str, int] | None:
    """The last of what is a level, the difference of what counts events."""
    if last is None:
        return None
    return {**_grown(first or {}, last), **{name: last[name] for name in levels if name in last}}


def _zram(first: Snapshot, last: Snapshot) -> dict[str, Any] | None:
    mm_stat = _levels(first.zram, last.zram, ZRAM_LEVELS)
    return None if mm_stat is None else {"mm_stat": mm_stat, "io_stat": _grown(first.zram_io, last.zram_io)}


def _timing(vmstat: Mapping[str, int], first: Snapshot, last: Snapshot, wall_ns: int) -> dict[str, Any]:
    out = sum(vmstat.get(name, 0) for name in ("zswpout", "swpout_zero", "pswpout")) - vmstat.get("zswpwb", 0)
    back = sum(vmstat.get(name, 0) for name in ("zswpin", "swpin_zero", "pswpin"))
    per_second = os.sysconf("SC_PAGE_SIZE") * 1e9 / max(1, wall_ns)
    stalled = _grown(first.psi_ns, last.psi_ns)
    return {
        "bytes_per_s": max(0, out) * per_second,
        "fault_bytes_per_s": back * per_second,
        "reclaim_ns": wall_ns,
        "fault_ns": 0,
        "reclaim_page_ns": _SPREAD,
        "fault_page_ns": _SPREAD,
        **{f"psi_{name.replace('.', '_')}_ns": ns for name, ns in stalled.items()},
    }


def _threads(first: Snapshot, last: Snapshot) -> list[dict[str, Any]]:
    spent = _grown(first.cpu_ns, last.cpu_ns)
    return [
        {"actor": name, "reclaim_cpu_ns": ns, "fault_cpu_ns": 0, "pages_done": 0}
        for name, ns in sorted(spent.items())
        if ns
    ]


def _store(host: Host) -> str:
    return "zram" if not uses_zswap(host) and "zram" in swap_kinds(host) else "zswap"


def _compressor(host: Host, store: str) -> str:
    """What compresses, "none" where zswap is off and no zram is swapped to."""
    if store == "zram":
        return zram_compressor(host)
    return zswap_compressor(host) if uses_zswap(host) else "none"


def _config(host: Host, store: str, wall_ns: int) -> dict[str, Any]:
    page = os.sysconf("SC_PAGE_SIZE")
    return {
        "preset": None,
        "design": {"threads": 0, "depth": 0, "batch": 1},
        "store": store,
        "compressor": _compressor(host, store),
        "kernel": list(environment.kernel_version(platform.release())),
        "page_size": page,
        "pages": os.sysconf("SC_PHYS_PAGES"),
        "fault": "none",
        "seconds": wall_ns / 1e9,
        "cgroup": host.cgroup is not None,
    }


def _notes(host: Host, last: Snapshot, vmstat: Mapping[str, int]) -> list[str]:
    notes = []
    if not swap_kinds(host):
        notes.append("nothing is swapped to: no anonymous page can be reclaimed")
    elif not uses_zswap(host) and last.zram is None:
        notes.append("neither zswap nor zram is in use: nothing is compressed")
    if uses_zswap(host) and last.zswap is not None and "written_back_pages" not in last.zswap:
        notes.append("zswap's debugfs cannot be read here, only its size is known; root can, where debugfs is mounted")
    if not last.psi_ns:
        notes.append("this kernel shows no pressure (PSI)")
    if not any(vmstat.get(name) for name in ("pgscan_kswapd", "pgscan_direct", "pgscan")):
        notes.append("no page was scanned meanwhile: the kernel was not under memory pressure")
    return notes
