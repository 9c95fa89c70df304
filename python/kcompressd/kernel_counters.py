"""The running kernel's counters of swapping and compression, as one snapshot that another can be taken from.

Sources: proc(5) vmstat, meminfo, swaps, pressure/* (Documentation/accounting/psi.rst); zram's sysfs
(Documentation/admin-guide/blockdev/zram.rst); zswap's debugfs (mm/zswap); cgroup v2's memory.stat, *.pressure
(Documentation/admin-guide/cgroup-v2.rst). Only events are kept of vmstat and memory.stat: what grows, and whose
difference means something.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kcompressd.errors import KernelError
from kcompressd.procfs import text
from kcompressd.zram_device import FIELDS, parse_mm_stat

EVENTS: Final = re.compile(
    r"(pg|pswp|zswp|swpin|swpout|workingset_(?!nodes$)|thp_|allocstall|pageoutrun|kswapd_|nr_vmscan_|nr_written$|compact_"
    r"|oom_kill|slabs_scanned|drop_|ksm_swpin)"
)
"""Starts of the names of what counts events, in /proc/vmstat and in memory.stat."""
ZSWAP_LEVELS: Final = ("pool_total_size", "stored_pages", "stored_incompressible_pages")
"""zswap's debugfs files that say how much there is; the others count events."""
ZRAM_LEVELS: Final = tuple(name for name in FIELDS if name not in ("pages_compacted", "huge_pages_since"))
IO_STAT: Final = ("failed_reads", "failed_writes", "invalid_io", "notify_free")
PRESSURES: Final = ("cpu", "io", "memory")


@dataclass(frozen=True, slots=True)
class Host:
    """Where the kernel shows itself; other folders for tests."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cgroup: Path | None = None
    """A cgroup v2 folder: its counters instead of the whole system's, where it has them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of one moment; names are the kernel's.

    `psi_ns`: stalled time by "memory.some" …; `cpu_ns`: of kswapd and kcompressd threads, by name; `zram` sums the
    devices that are set up, and is None without one; `zswap` is None when the kernel has none or it is unused.
    """

    vmstat: dict[str, int]
    zswap: dict[str, int] | None
    zram: dict[str, int] | None
    zram_io: dict[str, int]
    psi_ns: dict[str, int]
    cpu_ns: dict[str, int] = field(default_factory=dict)
    writeback_pages: int = 0


def snapshot(host: Host) -> Snapshot:
    """Read everything once; raises `KernelError` when the system or the cgroup has no such counters."""
    zram, zram_io = _zram(host)
    memory = "memory.stat" if host.cgroup else "vmstat"
    counters = _pairs((host.cgroup or host.proc) / memory, required=True)
    return Snapshot(
        vmstat={name: count for name, count in counters.items() if EVENTS.match(name)},
        zswap=_zswap(host, counters),
        zram=zram,
        zram_io=zram_io,
        psi_ns=_pressure(host),
        cpu_ns=_cpu(host),
        writeback_pages=_pairs(host.proc / "vmstat").get("nr_writeback", 0),
    )


def uses_zswap(host: Host) -> bool:
    """Tell whether zswap is switched on."""
    return text(host.sys / "module/zswap/parameters/enabled") == "Y"


def zswap_compressor(host: Host) -> str:
    """Return zswap's compressor, or "none"."""
    return text(host.sys / "module/zswap/parameters/compressor") or "none"


def zram_compressor(host: Host) -> str:
    """Return the compressor of the first zram device that is set up, or "none"."""
    for device in _zram_devices(host):
        found = re.search(r"\[(\S+)\]", text(device / "comp_algorithm"))
        return found[1] if found else "none"
    return "none"


def swap_kinds(host: Host) -> list[str]:
    """Return what is swapped to, in the kernel's order: "zram", "file" or "partition"."""
    lines = [line.split() for line in text(host.proc / "swaps").splitlines()[1:]]
    return ["zram" if words[0].startswith("/dev/zram") else words[1] for words in lines]


def _zswap(host: Host, counters: dict[str, int]) -> dict[str, int] | None:
    """debugfs where it is mounted and may be read; else what memory.stat or meminfo says."""
    debugfs = host.sys / "kernel/debug/zswap"
    page = os.sysconf("SC_PAGE_SIZE")
    if host.cgroup is not None:
        if "zswap" not in counters:
            return None
        return {"pool_total_size": counters["zswap"], "stored_pages": counters.get("zswapped", 0) // page}
    if os.access(debugfs, os.R_OK | os.X_OK) and debugfs.is_dir():
        return {path.name: int(value) for path in sorted(debugfs.iterdir()) if (value := text(path)).isdecimal()}
    memory = _pairs(host.proc / "meminfo")
    if "Zswap" not in memory:
        return None
    return {"pool_total_size": memory["Zswap"] * 1024, "stored_pages": memory["Zswapped"] * 1024 // page}


def _zram_devices(host: Host) -> list[Path]:
    found = sorted((host.sys / "block").glob("zram*"))
    return [device for device in found if text(device / "initstate") == "1"]


def _zram(host: Host) -> tuple[dict[str, int] | None, dict[str, int]]:
    devices = _zram_devices(host)
    total, io = dict.fromkeys(FIELDS, 0), dict.fromkeys(IO_STAT, 0)
    for device in devices:
        for name, value in parse_mm_stat(text(device / "mm_stat").encode()).items():
            total[name] += value
        for name, count in zip(IO_STAT, text(device / "io_stat").split(), strict=False):
            io[name] += int(count)
    return (total if devices else None), io


def _pressure(host: Host) -> dict[str, int]:
    """The `total=` of each line, microseconds, as nanoseconds; empty where the kernel has no PSI."""
    found = {}
    for kind in PRESSURES:
        path = host.cgroup / f"{kind}.pressure" if host.cgroup else host.proc / "pressure" / kind
        for who, total in re.findall(r"^(some|full) .*total=(\d+)", text(path), re.MULTILINE):
            found[f"{kind}.{who}"] = int(total) * 1000
    return found


def _cpu(host: Host) -> dict[str, int]:
    """CPU time of the kernel threads by name, nanoseconds; a thread of the kernel has no command line."""
    found = {}
    for path in host.proc.glob("[0-9]*/comm"):
        name = text(path)
        if re.fullmatch(r"(kswapd|kcompressd)\d*", name) and not text(path.parent / "cmdline"):  # not this command
            found[name] = _cpu_ns(path.parent)
    return found


def _cpu_ns(process: Path) -> int:
    """schedstat's first number; without CONFIG_SCHED_INFO the ticks of stat's utime and stime."""
    if spent := text(process / "schedstat").split():
        return int(spent[0])
    ticks = text(process / "stat").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _pairs(path: Path, *, required: bool = False) -> dict[str, int]:
    """Lines of a name and a number, with or without a colon and a unit."""
    lines = text(path)
    if required and not lines:
        raise KernelError(path, "has no counters", "give a cgroup v2 folder with the memory controller")
    return {name: int(value) for name, value in re.findall(r"^([\w()]+):?\s+(\d+)", lines, re.MULTILINE)}
