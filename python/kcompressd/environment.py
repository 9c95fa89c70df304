"""Where a result was measured: the one part of it that may differ between two runs of one seed."""

from __future__ import annotations

import functools
import os
import platform
import re
from datetime import UTC, datetime
from typing import Any

from kcompressd import _core


def gather() -> dict[str, Any]:
    """Return the facts as a mapping for `Result.environment`; nothing in it names the machine or its user."""
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kcompressd": _core.VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def kernel_version(release: str) -> tuple[int, int]:
    """Return the version of a kernel of that release ("6.12.1-generic": 6, 12); (0, 0) where it has none."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@functools.cache
def _cpu_model() -> str | None:
    """Return the first CPU's model, or None where /proc/cpuinfo does not say (it often does not on arm64)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    except OSError:
        return None
