"""`kcompressd capture`: the anonymous pages of a live process, or of a command, as a page file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.page_index import PageIndex
    from kcompressd.page_stats import PageStats
    from kcompressd.pages import Pages


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "capture",
        help="save the anonymous pages of a live process",
        usage="kcompressd capture (--pid N | --cgroup PATH | --system | [--after S] -- COMMAND …)\n"
        "       -o FILE [--limit N] [--seed N] [--stats-only [-c LIST]]",
        description="Saves what reclaim could compress: the present anonymous pages of a process, which keeps "
        "running. A COMMAND is started, captured when its memory has been steady for half a second (or after S "
        "seconds), and ended. Of a cgroup or the whole system inactive pages come first where the kernel tells. Shared "
        "memory (tmpfs, memfd, MAP_SHARED) is left out. With --stats-only the file has no contents, only each page's compressed sizes and times.",
    )
    parser.add_argument("--pid", type=common.count, metavar="N", help="the process")
    parser.add_argument("--cgroup", metavar="PATH", help="every process in a cgroup and below it")
    parser.add_argument("--system", action="store_true", help="a sample of all processes: 65536 pages unless --limit")
    parser.add_argument("--seed", type=common.natural, metavar="N", help="of the sample (default 0)")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="a command to start, after --")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; .zst compresses")
    parser.add_argument("--after", type=seconds, metavar="S", help="capture the command after S seconds")
    parser.add_argument("--limit", type=common.count, metavar="N", help="at most N pages")
    parser.add_argument("--stats-only", action="store_true", help="keep no contents: FILE.stats.npz, for estimate")
    common.add_compressors(parser, "of stats; default lz4,lzo-rle,zstd:1,zstd:3")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Capture, save, say what is in the file; 3 when the process exited half-way."""
    from kcompressd.errors import CaptureError

    given = (arguments.pid is not None, bool(arguments.command), arguments.cgroup is not None, arguments.system)
    if sum(given) != 1:
        what = "takes one source at a time" if any(given) else "needs a process"
        raise CaptureError("capture", what, "give either --pid N, --cgroup PATH, --system or -- COMMAND")
    if not (arguments.cgroup is not None or arguments.system) and arguments.seed is not None:
        raise CaptureError(
            "--seed", "is for a sample of several processes", "leave it out, or give --cgroup or --system"
        )
    if not arguments.command and arguments.after is not None:
        raise CaptureError("--after", "is for a command, others are captured at once", "leave it out")
    if arguments.compressors is not None and not arguments.stats_only:
        raise CaptureError("-c", "is for stats, a capture of contents compresses nothing", "add --stats-only")
    _refuse_name(arguments)
    common.refuse_output(arguments.output)
    if arguments.stats_only:
        return _stats_only(arguments)
    pages = _capture(arguments)
    pages.save(arguments.output)
    return _say(pages, pages.index, arguments.output)


def _refuse_name(arguments: argparse.Namespace) -> None:
    """Files are told apart by their names, so none may have another kind's."""
    from kcompressd.errors import OutputError
    from kcompressd.images import PACKED
    from kcompressd.page_stats import SUFFIX

    if arguments.stats_only != arguments.output.endswith(SUFFIX):
        kind = "stats must end in" if arguments.stats_only else "pages may not end in"
        raise OutputError(arguments.output, f"the name of a file of {kind} {SUFFIX}", "give another name")
    for suffix in (*common.OTHER_KINDS, *PACKED):
        if arguments.output.endswith(suffix):
            fix = "give another name" + (": .zst compresses" if suffix in PACKED else "")
            raise OutputError(arguments.output, f"the name of a file of pages may not end in {suffix}", fix)


def _stats_only(arguments: argparse.Namespace) -> int:
    from kcompressd.errors import RunInterrupted
    from kcompressd.page_stats import DEFAULT_COMPRESSORS, PageStats, measure, parse_codecs

    codecs = [codec.text for codec in parse_codecs(arguments.compressors or DEFAULT_COMPRESSORS)]
    try:
        stats = measure(_capture(arguments), codecs, progress=sys.stderr.isatty())
    except RunInterrupted as interrupted:
        if isinstance(interrupted.result, PageStats) and len(interrupted.result):
            interrupted.result.save(arguments.output)
            _say(interrupted.result, interrupted.result.index, arguments.output)
        return common.INTERRUPTED
    stats.save(arguments.output)
    return _say(stats, stats.index, arguments.output)


def _capture(arguments: argparse.Namespace) -> Pages:
    bar = sys.stderr.isatty()
    if arguments.cgroup is not None or arguments.system:
        from kcompressd import capture_many as many

        seed = arguments.seed or 0
        if arguments.cgroup is not None:
            return many.capture_cgroup(arguments.cgroup, limit=arguments.limit, seed=seed, progress=bar)
        limit = many.DEFAULT_LIMIT if arguments.limit is None else arguments.limit
        return many.capture_system(limit=limit, seed=seed, progress=bar)
    if arguments.pid is not None:
        from kcompressd.capture import capture

        return capture(arguments.pid, limit=arguments.limit, progress=bar)
    from kcompressd.spawn import capture_command

    return capture_command(arguments.command, after=arguments.after, limit=arguments.limit, progress=bar)


def _say(pages: Pages | PageStats, index: PageIndex, path: str) -> int:
    from kcompressd.sizes import pages_text

    kinds = ", ".join(f"{kind} {count}" for kind, count in index.kinds.items())
    print(
        f"{path}: {pages_text(len(pages), pages.page_size)} of {index.command or ('a process' if index.pid else 'several processes')}{kinds and f': {kinds}'}"
    )
    for note in index.notes:
        print(f"note: {note}")
    if not index.complete:
        print(f"kcompressd: partial: {index.reason}", file=sys.stderr)
        return common.PARTIAL
    print(f"next: kcompressd estimate {path}")
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
