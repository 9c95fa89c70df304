"""What this host can do for kcompressd: each ability as found, what it is for, and how to get it where it is missing.

Every check looks at files only (`root` is where the host's `/proc` and `/sys` are) and at this process's rights;
nothing is changed, added or started.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from kcompressd import access, environment
from kcompressd.procfs import text

SCAN_SINCE: Final = (6, 7)
"""The first kernel with PAGEMAP_SCAN, which tells the shared zero page (Documentation/admin-guide/mm/pagemap.rst)."""

EXTRAS: Final = {
    "distributed": "sweeps on a Dask cluster",
    "ray": "sweeps on a Ray cluster",
    "matplotlib": "Result.plot()",
    "pandas": "Result as a DataFrame",
    "polars": "Result as a DataFrame",
}
"""Optional packages and what they are for."""


@dataclass(frozen=True, slots=True)
class Check:
    """One ability: `ok`, what was `found`, what it is `for_`, and the `fix` where it is missing ("" when none is)."""

    name: str
    ok: bool
    found: str
    for_: str
    fix: str = ""


def examine(root: Path = Path("/")) -> list[Check]:
    """Return every check, in the order in which a newcomer meets them."""
    return [*_machine(), *_capture(root), *_stores(root), *_observe(root), *_extras()]


def to_dict(checks: list[Check]) -> dict[str, Any]:
    """Return the checks as plain data, with the environment that results record."""
    return {"environment": environment.gather(), "checks": [asdict(check) for check in checks]}


def _machine() -> Iterator[Check]:
    facts = environment.gather()
    cpus, memory = facts["cpus"], facts["memory_bytes"] / 2**30
    yield Check("kernel", True, f"{platform.release()} on {facts['machine']}", "what results record")
    yield Check("processors", cpus > 1, f"{cpus} usable, {memory:.1f} GiB", "kswapd and kcompressd side by side", _CPUS)
    page = os.sysconf("SC_PAGE_SIZE")
    yield Check("page size", True, f"{page} bytes", "live captures; files of other sizes can be read all the same")


_CPUS: Final = "with one processor use the virtual clock: kcompressd sim"


def _capture(root: Path) -> Iterator[Check]:
    facts = access.gather(os.getpid())
    yama = access.yama_scope(root)
    who = "root" if facts.uid == 0 else f"uid {facts.uid}"
    if facts.has_ptrace:
        yield Check("capture", True, f"any process ({who} with CAP_SYS_PTRACE)", "capture --pid")
    else:
        own = yama == 0
        found = "processes of your own" if own else f"only its own children (kernel.yama.ptrace_scope={yama})"
        yield Check("capture", own, found, "capture --pid; capture -- COMMAND always works", _SCOPE if not own else "")
    new = environment.kernel_version(platform.release()) >= SCAN_SINCE
    found = "PAGEMAP_SCAN" if new else "entry by entry, the zero page is not told apart"
    yield Check("pagemap", new, found, "which pages are present", "a kernel from 6.7 on")
    readable = os.access(root / "proc/kpageflags", os.R_OK)
    found = "readable" if readable else "not readable"
    yield Check("kpageflags", readable, found, "capture --system: inactive pages first", "run it as root")


_SCOPE: Final = "sudo sysctl kernel.yama.ptrace_scope=0, or run it as root"


def _stores(root: Path) -> Iterator[Check]:
    control = root / "sys/class/zram-control/hot_add"
    if not control.exists():
        fix = "modprobe zram num_devices=0"
        yield Check("zram", False, "not in this kernel, or its module is not loaded", "kcompressd kernel", fix)
    else:
        rights = os.access(control, os.R_OK) and os.geteuid() == 0
        names = re.findall(r"[\w-]+", text(root / "sys/block/zram0/comp_algorithm"))
        found = f"with {', '.join(names)}" if names else "compressors are known once a device is added"
        yield Check("zram", rights, found, "kcompressd kernel, our figures beside this kernel's", "run it as root")
    parameters = root / "sys/module/zswap/parameters"
    if not parameters.is_dir():
        yield Check("zswap", False, "not in this kernel", "observe", "a kernel with CONFIG_ZSWAP")
        return
    on = "enabled" if text(parameters / "enabled") == "Y" else "off"
    yield Check("zswap", True, f"{on}, {text(parameters / 'compressor')}", "observe")
    debugfs = os.access(root / "sys/kernel/debug/zswap", os.R_OK | os.X_OK)
    fix = "as root: mount -t debugfs none /sys/kernel/debug"
    yield Check("zswap debugfs", debugfs, "readable" if debugfs else "not readable", "observe: zswap's counters", fix)


def _observe(root: Path) -> Iterator[Check]:
    psi = (root / "proc/pressure/memory").exists()
    yield Check("PSI", psi, "there" if psi else "not there", "observe: stall shares", "boot with psi=1")
    v2 = (root / "sys/fs/cgroup/cgroup.controllers").exists()
    yield Check("cgroup v2", v2, "mounted" if v2 else "not mounted", "--cgroup PATH", "boot with the unified hierarchy")


def _extras() -> Iterator[Check]:
    for name, use in EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        yield Check(name, there, "installed" if there else "not installed", use, f"pip install {name}")
