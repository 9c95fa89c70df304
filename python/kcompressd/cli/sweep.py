"""`kcompressd sweep`: one job at many points, on all cores or on a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.job import Job
    from kcompressd.sweep import Outcome

BACKENDS = ("loky", "dask", "ray", "sequential")
"""As `sweep.engine` has them; written out so that help needs no joblib."""


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "sweep",
        help="run a job at many points, on all cores or a cluster",
        description="Runs JOB.toml at every point of its [sweep] and keeps a row for each boot of each in a Parquet table; shows "
        "medians over boots and seeds, with half their range. Rows that the table has are not run again; Ctrl-C keeps what there is.",
    )
    add_argument = parser.add_argument
    add_argument("job", metavar="JOB.toml", help="a job with [[sweep.axis]] tables")
    add_argument("-o", "--output", metavar="FILE", help="the table (default: JOB.parquet)")
    common.add_settings(parser)
    add_argument(
        "--backend", choices=BACKENDS, default="loky", help="who runs the points (default loky: processes here)"
    )
    add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask scheduler or a Ray cluster; without one it is started here"
    )
    add_argument("--workers", type=common.count, metavar="N", help="points at once (default: one a CPU)")
    add_argument("--live", action="store_true", help="on real threads, one point at a time, instead of virtual time")
    add_argument(
        "--repeats",
        type=common.count,
        metavar="N",
        help="boots of each point, as compare has them (default: 5 where memory is short and [sweep] has no seeds, else 1)",
    )
    add_argument("--dry-run", action="store_true", help="count the points, run one, estimate the time of the rest")
    add_argument("--csv", metavar="FILE", help="save the table as CSV too; - for standard output")
    common.add_html(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sweep, say what came of it; 3 when points have no row or were refused."""
    from kcompressd.errors import RunInterrupted
    from kcompressd.job import Job
    from kcompressd.sweep import Outcome, sweep

    output = arguments.output or f"{arguments.job.removesuffix('.toml')}.parquet"
    common.refuse_output(output)
    common.refuse_output(arguments.csv, stream=True)
    common.refuse_output(arguments.html)
    job = Job.load(arguments.job, arguments.set)
    _refuse_swept(arguments.set, job)
    options = {name: getattr(arguments, name) for name in ("backend", "scheduler", "workers", "live", "repeats")}
    try:
        with common.progress("sweep") as tell:
            progress = None if tell is None else lambda done, total: tell(f"{done} of {total} points", done, total)
            found = sweep(job, output, only_one=arguments.dry_run, progress=progress, **options)
    except RunInterrupted as interrupted:
        assert isinstance(interrupted.result, Outcome)
        print(f"{output}: {_so_far(interrupted.result)}")
        print("kcompressd: interrupted: the same command goes on from here", file=sys.stderr)
        return common.INTERRUPTED
    if arguments.dry_run:
        return _say_dry(found, arguments.workers, live=arguments.live)
    if arguments.csv is not None:
        common.write_text(_csv(found), arguments.csv)
    if arguments.csv != "-":
        _show(found, job, output)
    if arguments.html is not None and found.table is not None:
        from kcompressd.html import of_sweep

        common.write_html(partial(of_sweep.document, found.table, job), arguments.html)
    return 0 if found.complete and not found.refused else common.PARTIAL


def _refuse_swept(settings: Sequence[str], job: Job) -> None:
    """Refuse to set a key that the sweep sets at each point."""
    from kcompressd.errors import InputError
    from kcompressd.job_file import parse_setting
    from kcompressd.sweep.plan import Plan

    axes = {axis.key for axis in Plan.of(job.tree, job.origin).axes}
    for key, _ in map(parse_setting, settings):
        if key in axes:
            raise InputError(f"--set {key}", "is an axis of the sweep", "change its values in the file")


def _so_far(found: Outcome) -> str:
    rows = 0 if found.table is None else len(found.table)
    others = f"; rows of other points kept: {found.others}" if found.others else ""
    return f"{rows} of {_all(found)}, {found.ran} run now{others}"


def _all(found: Outcome) -> str:
    """All points, or the boots of all where each has several."""
    combinations = found.points // found.boots
    return f"{found.points} points" if found.boots == 1 else f"{found.points} boots of {combinations} points"


def _say_dry(found: Outcome, workers: int | None, *, live: bool) -> int:
    from kcompressd.sizes import duration
    from kcompressd.sweep.engine import default_workers

    left = found.points - (0 if found.table is None else len(found.table))
    at_once = workers or default_workers(live=live)
    print(f"{_all(found)}, {left} to run")
    if found.ran and left:
        each, start = found.seconds_each * 1e9, found.start_seconds * 1e9
        rest = duration(start + each * left / at_once)
        print(
            f"one took {duration(each)}, starting workers {duration(start)}: about {rest} on {at_once} worker{'s' * (at_once > 1)}"
        )
    return 0


def _refused(found: Outcome) -> str:
    """How many points were refused, and why one of them was."""
    assert found.table is not None
    said = next(error for error in found.table.column("error").to_pylist() if error is not None)
    return f"{found.refused} of {_all(found)} refused, the first: {said}"


def _csv(found: Outcome) -> str:
    import io

    import pyarrow.csv

    out = io.BytesIO()
    if found.table is not None:
        pyarrow.csv.write_csv(found.table, out)
    return out.getvalue().decode()


def _show(found: Outcome, job: Job, output: str) -> None:
    from kcompressd.sweep.report import table

    print(f"{output}: {_so_far(found)}")
    if found.table is not None:
        common.console().print(table(found.table, job))
    if found.refused:
        print(f"kcompressd: partial: {_refused(found)}; column error has every reason", file=sys.stderr)
    if not found.complete:
        print(f"kcompressd: partial: {found.reason}", file=sys.stderr)
