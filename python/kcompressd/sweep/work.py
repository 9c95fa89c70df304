"""What a worker does: one point on one boot, from a job and the path of its calibration to a row."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kcompressd.calibration import Calibration
from kcompressd.columns import flat
from kcompressd.errors import InputError, JobError
from kcompressd.job import Job
from kcompressd.result import Result
from kcompressd.sweep.plan import BOOT
from kcompressd.sweep.table import ID, Row

KEPT = ("vmstat", "zswap", "zram", "kcompressd", "timing", "lifecycle")
"""The parts of a Result whose numbers become columns."""
SECONDS = "seconds"
"""A row's key for the time that its point took; not kept, as it differs from run to run."""


@dataclass(frozen=True, slots=True)
class Task:
    """One point for a worker: the job's tables, the folder that its paths start from, what is set in it, and the
    calibration with the digest that it must have.
    """

    id: str
    job: Mapping[str, Any]
    folder: str
    settings: Mapping[str, Any]
    calibration: str
    digest: str
    live: bool
    boot: int = 0


def work(task: Task) -> Row:
    """Run one point, and say in `SECONDS` how long it took here. Refused settings give a row with `error`; a calibration that is missing on this worker, or another
    than the sweep's, raises `InputError` naming the file and the worker.
    """
    started = time.monotonic()
    row = _row(task)
    return row | {SECONDS: time.monotonic() - started}


def _row(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = {ID: task.id, **task.settings, BOOT: task.boot, "error": None}
    base = Job.from_dict(task.job, folder=task.folder)
    calibration = _calibration(task.calibration, *_used(task, base), task.digest)
    try:
        job = base.replace(task.settings).boot(task.boot)
        if _used(task, job) != _used(task, base):
            calibration = _part(task.calibration, *_used(task, job))
        result = job.run() if task.live else job.sim(calibration=calibration)
    except InputError as error:
        return row | {"error": str(error)}
    return row | measures(result)


def measures(result: Result) -> dict[str, Any]:
    """The numbers of a result, flat: `vmstat.pgsteal_anon`, `timing.bytes_per_s` … and whether it is complete."""
    stored = result.to_dict()
    found = flat({part: stored[part] for part in KEPT})
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return numbers | {"kind": stored["kind"], "complete": result.complete}


def _used(task: Task, job: Job) -> tuple[int | None, int]:
    """How many pages of the calibration a job uses and how often they come; one made for the sweep is of all of them already."""
    made = task.calibration and "calibration" not in task.job
    return (None, 1) if made else (job.limit, job.times)


@lru_cache(maxsize=4)
def _calibration(path: str, limit: int | None, times: int, digest: str) -> Calibration:
    """The calibration, kept for the worker's next point."""
    try:
        found = _part(path, limit, times)
    except InputError as error:
        raise type(error)(
            error.subject, f"on worker {platform.node()}: {error.reason}", "copy it there, or share it"
        ) from error
    if found.digest != digest:
        raise JobError(
            Path(path).name or "sample",
            f"on worker {platform.node()} is another calibration",
            "copy the same file there",
        )
    return found


@lru_cache(maxsize=4)
def _part(path: str, limit: int | None, times: int) -> Calibration:
    """The calibration of the first `limit` pages, `times` over."""
    found = (Calibration.load(path) if path else Calibration.sample())[:limit]
    return found if times == 1 else found.repeated(times)
