"""`kcompressd run`: one design on some pages, in detail."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kcompressd.cli import common
from kcompressd.cli.common import DESIGNS

if TYPE_CHECKING:
    from kcompressd.lab import Lab
    from kcompressd.pages import Pages
    from kcompressd.result import Result
    from kcompressd.watch import Watch

CHARTED = 1 << 18
"""A report on at most so many pages (1 GiB of 4 KiB) is drawn from a trace, on more from samples."""


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "run",
        help="send pages through one design and back",
        description="Reclaims every page as fast as possible, faults all back in, compares the contents. FILE may be a"
        " JOB.toml: then it says everything but --trace, --json, --html and --set, and may have a memory budget and applications.",
    )
    common.add_input(parser)
    parser.add_argument("--design", choices=DESIGNS, default="split", help="published design (default split)")
    common.add_lab(parser)
    common.add_settings(parser)
    parser.add_argument("--trace", metavar="T.npy", help="record every event")
    common.add_outputs(parser, "the Result")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="draw queues, pool and CPU time by thread while it runs; + and - change the queues' depth",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run, save what was asked for, print the table; an interrupted run is printed too."""
    from kcompressd.errors import OutputError

    common.refuse_output(arguments.trace, end=".npy")
    common.refuse_outputs(arguments)
    if arguments.watch and not sys.stderr.isatty():
        raise OutputError("--watch", "draws in a terminal, and standard error is none", "leave it out")
    return common.shown_result(lambda: _run(arguments), lambda result: _show(result, arguments))


def _run(arguments: argparse.Namespace) -> Result:
    """Run what the arguments say, or a job file."""
    from kcompressd.errors import InputError
    from kcompressd.lab import Lab

    if arguments.file is not None and arguments.file.endswith(".toml"):
        from kcompressd.job import Job

        common.refuse_ignored(arguments, {"design": "split"}, "a job")
        job = Job.load(arguments.file, arguments.set)
        trace = _traces(arguments, len(job.pages))
        with _watched(arguments, job.lab, job.pages) as watch:
            return job.run(trace=trace, progress=watch is None and sys.stderr.isatty(), watch=watch)
    if arguments.set:
        raise InputError(
            "--set", "sets a key of a job, and none is run", "give the option of the same name, or a JOB.toml"
        )
    pages = common.pages(arguments)
    lab = Lab(design=arguments.design, trace=_traces(arguments, len(pages)), **common.lab(arguments))
    with _watched(arguments, lab, pages) as watch:
        return lab.run(pages, progress=watch is None and sys.stderr.isatty(), watch=watch)


@contextlib.contextmanager
def _watched(arguments: argparse.Namespace, lab: Lab, pages: Pages) -> Iterator[Watch | None]:
    """The live view on standard error, when it was asked for."""
    if not arguments.watch:
        yield None
        return
    from kcompressd.sizes import mib
    from kcompressd.watch import Watch

    title = f"{lab.design} on {lab.store}, {mib(pages.nbytes)}"
    with Watch(title, page_size=pages.page_size, depth=lab.resolved().depth) as watch:
        yield watch


def _traces(arguments: argparse.Namespace, pages: int) -> bool:
    """Tell whether every event is recorded: when asked for, and for the charts of a report on few enough pages."""
    return arguments.trace is not None or (arguments.html is not None and pages <= CHARTED)


def _show(result: Result, arguments: argparse.Namespace) -> int:
    code = common.show_result(result, arguments)
    if arguments.trace is not None:  # last: a trace is large, and the result is kept when there is no room for it
        result.trace.save(arguments.trace)
    return code
