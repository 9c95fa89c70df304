"""`kcompressd export`: a trace for Perfetto."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from kcompressd import sizes
from kcompressd.cli import common
from kcompressd.errors import LabError

if TYPE_CHECKING:
    from kcompressd.trace import Trace


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="turn a trace into Chrome trace events, for Perfetto",
        description="Threads as tracks, compress, fault, queue and writeback as slices, an arrow from queueing to "
        "compressing, depth of the queues and frames held twice as counters; with --result free pages against the "
        "watermarks, too. Open the file in ui.perfetto.dev, which reads it in the browser.",
    )
    parser.add_argument("trace", metavar="T.npy", help="a trace (kcompressd run --trace makes them)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="T.json, or T.json.gz compressed")
    parser.add_argument("--from", type=moment, dest="begin", default=0.0, metavar="T", help="the episode's begin: 12ms")
    parser.add_argument("--to", type=moment, dest="end", default=float("inf"), metavar="T", help="and its end: 12.5ms")
    parser.add_argument(
        "--result", metavar="OUT.json", help="the same run's Result (--json), for what it was sampled for"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and say where to look."""
    from kcompressd import chrome_trace
    from kcompressd.result import Result
    from kcompressd.trace import Trace

    common.refuse_output(arguments.output)
    window = arguments.begin, arguments.end
    if window[0] >= window[1]:
        raise LabError("--from", f"{sizes.duration(window[0])} is not before --to, {sizes.duration(window[1])}")
    trace = Trace.load(arguments.trace)
    inside = _inside(trace, window)
    result = Result.load(arguments.result) if arguments.result else None
    count = chrome_trace.save(trace, arguments.output, window=window, result=result)
    records = inside if inside == len(trace) else f"{inside} of {len(trace)}"
    print(f"{arguments.output}: {count} events of {records} records; open it in ui.perfetto.dev")
    return 0


def _inside(trace: Trace, window: tuple[float, float]) -> int:
    """How many records are in the window; raises `LabError` where none of the trace's is."""
    times = trace.records["t_ns"]
    inside = int(((times >= window[0]) & (times < window[1])).sum())
    if len(trace) and not inside:
        first, last = sizes.duration(int(times.min())), sizes.duration(int(times.max()))
        raise LabError("--from", "no record is between it and --to", f"the trace has them from {first} to {last}")
    return inside


def moment(text: str) -> float:
    """Parse a time of a trace, with its unit; return nanoseconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ns|us|µs|ms|s)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with its unit, like 900us, 12.5ms or 1s")
    return float(found[1]) * {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}[found[2]]
