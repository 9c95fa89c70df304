"""`kcompressd export`: a trace for Perfetto."""

from __future__ import annotations

import argparse

from kcompressd.cli import common


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="turn a trace into Chrome trace events, for Perfetto",
        description="Threads as tracks, compress, fault, queue and writeback as slices, an arrow from queueing to "
        "compressing, depth of the queues as counters. Open the file in ui.perfetto.dev, which reads it in the browser.",
    )
    parser.add_argument("trace", metavar="T.npy", help="a trace (kcompressd run --trace makes them)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="T.json, or T.json.gz compressed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and say where to look."""
    from kcompressd import chrome_trace
    from kcompressd.trace import Trace

    common.refuse_output(arguments.output)
    trace = Trace.load(arguments.trace)
    count = chrome_trace.save(trace, arguments.output)
    print(f"{arguments.output}: {count} events of {len(trace)} records; open it in ui.perfetto.dev")
    return 0
