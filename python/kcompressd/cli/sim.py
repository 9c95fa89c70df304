"""`kcompressd sim`: a job in virtual time."""

from __future__ import annotations

import argparse
import sys

from kcompressd.cli import common


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "sim",
        help="run a job in virtual time, on a machine that need not exist",
        description="Runs JOB.toml on its virtual machine; equal jobs with a calibration give equal Results (docs/formats.md, job files).",
    )
    parser.add_argument("job", metavar="JOB.toml", help="what to run, and on which machine")
    common.add_settings(parser)
    parser.add_argument("--trace", metavar="T.npy", help="record every event")
    common.add_outputs(parser, "the Result")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run, save what was asked for, print the table; an interrupted run is printed too, and one whose trace could not be kept."""
    from kcompressd.job import Job
    from kcompressd.trace import TraceError

    common.refuse_output(arguments.trace, end=".npy")
    common.refuse_outputs(arguments)
    job = Job.load(arguments.job, arguments.set)
    try:
        code = common.shown_result(
            lambda: job.sim(trace=arguments.trace, progress=sys.stderr.isatty()),
            lambda result: common.show_result(result, arguments),
        )
    except TraceError as lost:
        if lost.result is not None:
            common.show_result(lost.result, arguments)
        raise
    common.say_timed(job)
    return code
