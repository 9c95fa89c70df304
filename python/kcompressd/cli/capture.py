"""`kcompressd capture`: the anonymous pages of a live process, or of a command, as a page file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.pages import Pages

PARTIAL = 3


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "capture",
        help="save the anonymous pages of a live process",
        usage="kcompressd capture (--pid N | [--after S] -- COMMAND …) -o FILE [--limit N]",
        description="Saves what reclaim could compress: the present anonymous pages of a process, which keeps "
        "running. A COMMAND is started, captured when its memory has been steady for half a second (or after S "
        "seconds), and ended.",
    )
    parser.add_argument("--pid", type=common.count, metavar="N", help="the process")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="a command to start, after --")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; .zst compresses")
    parser.add_argument("--after", type=seconds, metavar="S", help="capture the command after S seconds")
    parser.add_argument("--limit", type=common.count, metavar="N", help="at most N pages")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Capture, save, say what is in the file; 3 when the process exited half-way."""
    from kcompressd.errors import CaptureError

    if (arguments.pid is None) == (not arguments.command):
        raise CaptureError("capture", "needs a process", "give either --pid N or -- COMMAND")
    if arguments.pid is not None and arguments.after is not None:
        raise CaptureError("--after", "is for a command, a process with a pid is captured at once", "leave it out")
    common.refuse_output(arguments.output)
    pages = _capture(arguments)
    pages.save(arguments.output)
    return _say(pages, arguments.output)


def _capture(arguments: argparse.Namespace) -> Pages:
    bar = sys.stderr.isatty()
    if arguments.pid is not None:
        from kcompressd.capture import capture

        return capture(arguments.pid, limit=arguments.limit, progress=bar)
    from kcompressd.spawn import capture_command

    return capture_command(arguments.command, after=arguments.after, limit=arguments.limit, progress=bar)


def _say(pages: Pages, path: str) -> int:
    from kcompressd.sizes import mib

    index = pages.index
    kinds = ", ".join(f"{kind} {count}" for kind, count in index.kinds.items())
    print(f"{path}: {len(pages)} pages ({mib(pages.nbytes)}) of {index.command or 'a process'}: {kinds}")
    for note in index.notes:
        print(f"note: {note}")
    if not index.complete:
        print(f"kcompressd: partial: {index.reason}", file=sys.stderr)
        return PARTIAL
    print(f"next: kcompressd compare {path}")
    return 0


def seconds(text: str) -> float:
    """Parse a time of at least 0 seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
