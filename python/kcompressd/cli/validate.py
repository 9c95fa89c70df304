"""`kcompressd validate`: does a trace obey the lifecycle?"""

from __future__ import annotations

import argparse

from kcompressd.cli import common


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "validate",
        help="check a trace against the lifecycle",
        description="Replays every record against the lifecycle, and the trace against its sidecar.",
    )
    parser.add_argument("trace", metavar="T.npy", help="a trace (kcompressd run --trace makes them)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Validate and print; 1 for a violation or a mismatch, 3 for the good trace of a partial run."""
    from kcompressd.trace import Trace

    found = Trace.load(arguments.trace).validate()
    common.console().print(found.explain(), markup=False, soft_wrap=True)
    return found.exit_code
