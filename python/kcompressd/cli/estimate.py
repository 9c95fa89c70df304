"""`kcompressd estimate`: what zram and zswap would make of pages, compressor by compressor."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.estimate import Estimate
    from kcompressd.page_stats import PageStats
    from kcompressd.pages import Pages

FORMATS = ("json", "csv", "markdown")
"""Options that name an output; of those that are `-` only one is possible."""


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "estimate",
        help="what zram and zswap would make of pages, with each compressor",
        usage="kcompressd estimate (FILE | --pid N | --sample) [-c LIST] [--limit N]\n"
        "       [--page-size BYTES] [--threads N] [--chain-size N]\n"
        "       [--json FILE] [--csv [FILE]] [--markdown [FILE]] [--html FILE]",
        description="Compresses and decompresses every page with each compressor, on all cores, and accounts for them "
        "as the kernel's zram and zswap do: memory used, speed of a core, and settings for the compressor that "
        "suits these pages best.",
    )
    common.add_source(parser, f"{common.FILES}, or .stats.npz", live=True)
    common.add_compressors(parser, "default lz4,lzo-rle,zstd:1,zstd:3")
    add = parser.add_argument
    common.add_selection(parser)
    add("--threads", type=common.count, metavar="N", help="threads that measure (default: one a CPU)")
    add(
        "--chain-size",
        type=common.natural,
        default=8,
        metavar="N",
        help="CONFIG_ZSMALLOC_CHAIN_SIZE, 8 by default; 0: before 6.3",
    )
    add("--json", metavar="FILE", help="save everything; - for standard output")
    add("--csv", nargs="?", const="-", metavar="FILE", help="a line a compressor (default: to standard output)")
    add("--markdown", nargs="?", const="-", metavar="FILE", help="tables and settings (default: to standard output)")
    common.add_html(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Estimate, save what was asked for, print the rest; an interrupted estimate is shown too."""
    from kcompressd.errors import RunInterrupted
    from kcompressd.estimate import Estimate, estimate

    _refuse_outputs(arguments)
    try:
        found = estimate(
            _source(arguments),
            arguments.compressors,
            threads=arguments.threads,
            chain_size=arguments.chain_size,
            progress=sys.stderr.isatty(),
        )
    except RunInterrupted as interrupted:
        if isinstance(interrupted.result, Estimate) and interrupted.result.pages:
            _show(interrupted.result, arguments)
        print("kcompressd: interrupted: the estimate is partial", file=sys.stderr)
        return common.INTERRUPTED
    if not found.complete:
        print(f"kcompressd: partial: {found.index.reason}", file=sys.stderr)
    return _show(found, arguments)


def _refuse_outputs(arguments: argparse.Namespace) -> None:
    from kcompressd.errors import OutputError

    paths = [path for name in FORMATS if (path := getattr(arguments, name)) is not None]
    for path in paths:
        common.refuse_output(path, stream=True)
    common.refuse_output(arguments.html)
    if paths.count("-") > 1:
        raise OutputError("standard output", "can take only one of --json -, --csv and --markdown", "name files")


def _source(arguments: argparse.Namespace) -> Pages | PageStats:
    from kcompressd.page_stats import SUFFIX, PageStats

    if arguments.file is None or not arguments.file.endswith(SUFFIX):
        return common.pages(arguments)
    from kcompressd.errors import EstimateError

    if any(value is not None for value in (arguments.limit, arguments.threads, arguments.page_size)):
        raise EstimateError(
            arguments.file, "is measured already: --limit, --page-size and --threads are for pages", "leave them out"
        )
    return PageStats.load(arguments.file)


def _show(found: Estimate, arguments: argparse.Namespace) -> int:
    texts = {"json": found.to_json, "csv": found.to_csv, "markdown": found.to_markdown}
    asked = {name: path for name in FORMATS if (path := getattr(arguments, name)) is not None}
    for name, path in asked.items():
        common.write_text(texts[name](), path)
    common.write_html(found.to_html, arguments.html)
    if "-" not in asked.values():
        common.console().print(found)
    return found.exit_code
