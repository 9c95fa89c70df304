"""Runs the points of a sweep that have no row yet, through joblib, and keeps each row as it comes.

Workers are handed a job and the path, range and digest of its pages, never the pages: a worker opens the file itself,
compares the digest, and keeps it open for its next point. A point whose settings are refused gets a row with `error`.
When a worker dies, the points without a row are handed out again, three times at most; none that has a row runs again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from kcompressd import _core
from kcompressd.calibration import Calibration
from kcompressd.compare import ENOUGH, MIN_REPEATS
from kcompressd.errors import InputError, JobError, OutputError, RunInterrupted, file_path, refuse_number
from kcompressd.job import UNBUDGETED, Job
from kcompressd.sweep.plan import Axis, Plan, Point
from kcompressd.sweep.table import ID, Row, Rows
from kcompressd.sweep.work import SECONDS, Task, work

if TYPE_CHECKING:
    import pyarrow as pa

Backend: TypeAlias = Literal["loky", "dask", "ray", "sequential"]
BACKENDS: Final = get_args(Backend)
_OTHER_PAGES: Final = ("pages", "page_size", "calibration")
ATTEMPTS: Final = 3
"""How often points are handed out again after a worker has died."""

Progress: TypeAlias = Callable[[int, int], object]
"""Called with the points done and all points, at the start and after each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sweep came to: the rows of its points, `boots` of each combination; points in all, a boot each, those run now,
    and those refused, now or before; `complete`: every point has a row; `reason` why not. `others`: rows of the file that are no point of this sweep.
    `seconds_each` is a point's mean time in its worker, `start_seconds` what passed beside the points run now.
    """

    table: pa.Table | None
    points: int
    ran: int
    refused: int
    complete: bool
    reason: str | None = None
    others: int = 0
    seconds_each: float = 0.0
    start_seconds: float = 0.0
    boots: int = 1


def sweep(
    job: Job,
    path: str | os.PathLike[str],
    *,
    backend: Backend = "loky",
    scheduler: str | None = None,
    workers: int | None = None,
    live: bool = False,
    repeats: int | None = None,
    only_one: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run the points of `job`'s `[sweep]` that `path` (Parquet) has no row of, and add their rows to it.

    A combination is run on `repeats` boots of its machine (`Job.boot`), each a point with a row: by default on 5 where memory is
    short and the sweep has no seeds, else on one. `workers` defaults to the usable CPUs, for `live` runs to one, so that they do not disturb each other. `scheduler` is
    the address of a Dask scheduler or a Ray cluster; without one they are started here. `only_one` runs one point, for an
    estimate of the time. Raises `InputError` for what is wrong with the job, the table or a backend that is not
    installed, and `RunInterrupted`, a `KeyboardInterrupt`, on Ctrl-C: rows that there are, are kept.
    """
    rows = Rows(file_path(path, OutputError))
    plan = Plan.of(job.tree, job.origin)
    _refuse_axes(job, plan, live)
    calibration, where = _calibrated(job, rows.path)
    boots = _boots(job, plan, repeats)
    points = plan.points(job.tree, calibration.digest, _core.VERSION, boots, live=live)
    done = rows.done()
    left = [point for point in points if point.id not in done]
    todo = left[:1] if only_one else left
    tally = _Tally(rows, progress, frozenset(point.id for point in points), len(points) - len(left), boots)
    started = time.monotonic()
    reason = None
    try:
        tally.tell()
        with _pool(backend, scheduler, workers or default_workers(live=live), len(todo)) as parallel:
            reason = _run(parallel, _tasks(job, todo, where, calibration.digest, live), tally)
    except KeyboardInterrupt:
        raise RunInterrupted(tally.outcome(rows.close(), time.monotonic() - started, "interrupted")) from None
    if reason is None and tally.done < len(points):
        reason = "one point was run to estimate the time"
    return tally.outcome(rows.close(), time.monotonic() - started, reason)


def default_workers(*, live: bool) -> int:
    """How many points run at once unless it is said: real threads have the machine to themselves."""
    return 1 if live else len(os.sched_getaffinity(0))


class _Tally:
    """Rows as they come, and how many."""

    def __init__(self, rows: Rows, progress: Progress | None, points: frozenset[str], done: int, boots: int) -> None:
        self.rows, self.progress, self.points, self.done, self.boots = rows, progress, points, done, boots
        self.ran = 0
        self.seconds = 0.0
        self.ids: set[str] = set()

    def add(self, row: Row) -> None:
        """Keep a row; one that was under way twice, because its worker died, counts once."""
        if row[ID] in self.ids:
            return
        self.ids.add(str(row[ID]))
        self.ran, self.done = self.ran + 1, self.done + 1
        self.seconds += row[SECONDS]
        self.rows.add({key: value for key, value in row.items() if key != SECONDS})
        self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(self.done, len(self.points))

    def outcome(self, table: pa.Table | None, seconds: float, reason: str | None) -> Outcome:
        complete = self.done == len(self.points)
        own = None if table is None else table.filter([point in self.points for point in table.column(ID).to_pylist()])
        return Outcome(
            table=own if own is not None and len(own) else None,
            points=len(self.points),
            ran=self.ran,
            refused=0 if own is None else len(own) - own.column("error").null_count,
            complete=complete,
            reason=None if complete else reason,
            others=0 if table is None or own is None else len(table) - len(own),
            seconds_each=self.seconds / max(1, self.ran),
            start_seconds=max(0.0, seconds - self.seconds),
            boots=self.boots,
        )


def _boots(job: Job, plan: Plan, repeats: int | None) -> int:
    """How many boots each combination gets; seeds are repeats already, and without a memory budget all boots are alike."""
    if repeats is not None:
        refuse_number("repeats", repeats, 1, fix=ENOUGH)
    axes = {axis.key.removeprefix("node.") for axis in plan.axes if axis.key.startswith("node.")}
    short = not {*axes, *job.tree.get("node", {})} <= UNBUDGETED
    return repeats if repeats is not None else MIN_REPEATS if short and not plan.seeds else 1


def _has_own_keys(job: Job, before: Sequence[Axis]) -> bool:
    """Tell whether the file, or an axis that stands before, sets more of the design than its name."""
    given = job.tree.get("design")
    in_file = isinstance(given, dict) and bool(given.keys() - {"preset"})
    return in_file or any(axis.key.startswith("design.") for axis in before)


def _refuse_axes(job: Job, plan: Plan, live: bool) -> None:
    """Refuse before anything runs a key that no job has, and in virtual time one that means other pages than the calibration's; a
    value that is refused with the others gets a row that says so.
    """
    for at, axis in enumerate(plan.axes):
        if axis.key == "design" and _has_own_keys(job, plan.axes[:at]):
            why = "[[sweep.axis]] design would replace the other keys of [design]"
            raise JobError(job.origin, why, 'give it key = "design.preset"')
        if not live and axis.key in _OTHER_PAGES:
            why = f"[[sweep.axis]] {axis.key} means other pages, and a sweep has one calibration"
            raise JobError(job.origin, why, "sweep a job for each")
        if not live and axis.key in ("limit", "repeat") and "calibration" not in job.tree and not job.has_sample_times:
            why = f"[[sweep.axis]] {axis.key} needs a calibration of all pages"
            raise JobError(job.origin, why, "make it with kcompressd calibrate, and name it: calibration = FILE")
        try:
            job.replace({axis.key: axis.values[0]})
        except JobError as error:
            raise JobError(job.origin, f"[[sweep.axis]] {error.reason}", error.fix) from error


def _calibrated(job: Job, table: Path) -> tuple[Calibration, str]:
    """The job's calibration and its file, "" for the sample's. Pages without one are calibrated once, beside the table, so
    that every worker and every later sweep of this table takes the same times.
    """
    named = job.tree.get("calibration")
    if named is not None:
        return job.calibration, os.fspath((job.folder / named).absolute())
    if job.has_sample_times:
        return job.calibration, ""
    beside = table.with_name(f"{table.name}.calib.npz").absolute()
    if beside.is_file():
        found = Calibration.load(beside)
        if found.pages_digest == job.pages.digest:
            return found, os.fspath(beside)
    found = job.calibration
    found.save(beside)
    return found, os.fspath(beside)


def _tasks(job: Job, points: Sequence[Point], calibration: str, digest: str, live: bool) -> list[Task]:
    tree = {key: value for key, value in job.tree.items() if key != "sweep"}
    folder = os.fspath(job.folder.absolute())
    return [Task(p.id, tree, folder, dict(p.settings), calibration, digest, live, p.boot) for p in points]


def _run(parallel: Any, tasks: list[Task], tally: _Tally) -> str | None:
    """Run the tasks; return why some have no row."""
    from joblib import delayed

    for attempt in range(ATTEMPTS):
        left = [task for task in tasks if task.id not in tally.ids]
        try:
            for part in _parts(parallel, left):
                for row in parallel(delayed(work)(task) for task in part):
                    tally.add(row)
            return None
        except Exception as error:
            if not _is_death(error):
                raise
            said = f"a worker died ({type(error).__name__})"
            if attempt == ATTEMPTS - 1:
                return f"{said}, {ATTEMPTS} times: {len(tasks) - len(tally.ids)} points have no row"
    return None


def _parts(parallel: Any, tasks: list[Task]) -> Iterator[list[Task]]:
    """All tasks at once where rows come back one by one, else a few a worker, so that finished rows are kept."""
    size = len(tasks) if parallel.return_generator else 4 * max(1, parallel.n_jobs)
    for at in range(0, len(tasks), max(1, size)):
        yield tasks[at : at + size]


def _is_death(error: Exception) -> bool:
    """Whether a worker died under its points: loky's, Dask's and Ray's names of it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "WorkerCrashedError", "RayActorError"}
    )


@contextlib.contextmanager
def _pool(backend: Backend, scheduler: str | None, workers: int, tasks: int) -> Iterator[Any]:
    """A joblib.Parallel of the backend; rows come back one by one where it can."""
    with contextlib.ExitStack() as stack:
        config, generator = _configured(stack, backend, scheduler, max(1, min(workers, max(1, tasks))))
        from joblib import Parallel, parallel_config

        stack.enter_context(parallel_config(**config))
        yield stack.enter_context(Parallel(batch_size=1, return_as="generator_unordered" if generator else "list"))


def _configured(
    stack: contextlib.ExitStack, backend: Backend, scheduler: str | None, workers: int
) -> tuple[dict[str, Any], bool]:
    """What joblib is told, and whether it gives rows one by one."""
    if backend not in BACKENDS:
        raise InputError("backend", f"{backend!r} is none of {', '.join(BACKENDS)}")
    if scheduler is not None and backend not in ("dask", "ray"):
        raise InputError("--scheduler", f"is for a cluster, not for {backend}", "add --backend dask")
    with _explained(backend):
        if backend == "dask":
            from distributed import Client

            own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
            kwargs = {"address": scheduler} if scheduler else own
            stack.enter_context(Client(**kwargs, set_as_default=True))
            return {"backend": "dask"}, True
        if backend == "ray":
            import ray
            from ray.util.joblib import register_ray

            here = {"address": scheduler} if scheduler else {"num_cpus": workers, "include_dashboard": False}
            ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
            stack.callback(ray.shutdown)
            register_ray()
            return {"backend": "ray", "n_jobs": workers}, False
    if backend == "sequential":
        return {"backend": "sequential"}, True
    return {"backend": "loky", "n_jobs": workers, "inner_max_num_threads": 1}, True


@contextlib.contextmanager
def _explained(backend: str) -> Iterator[None]:
    """Turn a backend that is not there into an error with the fix."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"backend {backend}", f"{error.name} is not installed", f"pip install 'kcompressd[{backend}]'"
        ) from error
    except OSError as error:
        raise InputError(f"backend {backend}", f"the cluster does not answer: {error}", "check --scheduler") from error
