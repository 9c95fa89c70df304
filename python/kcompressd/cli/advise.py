"""`kcompressd advise`: one setting for these pages, and why."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.advise import Advice
    from kcompressd.pages import Pages

LEAST_RAM = 1 << 20
GOALS = ("balance", "memory", "latency", "cpu")
"""As `advise.GOALS`; written out so that help needs no NumPy."""


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "advise",
        help="recommend a setting for pages, with the evidence",
        description="Times every compressor on the pages, runs each behind zswap and zram in virtual time under memory "
        "pressure on the machine asked for, shows which options no other beats, and names one with its runner-up and the lines "
        "that set it.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", metavar="FILE", help=common.FILES)
    source.add_argument("--pid", type=common.count, metavar="N", help="the pages of a live process, not saved")
    source.add_argument("--sample", action="store_true", help="the pages that come with the package")
    common.add_compressors(parser, "default lz4,lzo-rle,zstd:1,zstd:3")
    common.add_selection(parser)
    add_argument = parser.add_argument
    add_argument("--goal", choices=GOALS, default="balance", help="what matters most (default balance)")
    add_argument("--cpus", type=common.count, metavar="N", help="processors of the machine (default: two)")
    add_argument("--ram", metavar="SIZE", help="memory of the machine, 8G (default: this one's)")
    add_argument("--swap-device", choices=("yes", "no"), help="whether it swaps to a disk too (default: as this one)")
    common.add_outputs(parser, "everything")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Advise; that nothing helps is an answer, too."""
    from kcompressd.advise import Advice, advise
    from kcompressd.errors import InputError
    from kcompressd.page_stats import DEFAULT_COMPRESSORS
    from kcompressd.sizes import parse_limit

    common.refuse_outputs(arguments)
    pages = _pages(arguments)
    ram = None if arguments.ram is None else parse_limit(arguments.ram, None, "--ram")
    if ram is not None and ram < LEAST_RAM:
        raise InputError("--ram", f"{arguments.ram} is {ram} bytes: no machine runs in so little", "give a unit: 8G")
    device = None if arguments.swap_device is None else arguments.swap_device == "yes"

    def make() -> Advice:
        with common.progress("advise") as progress:
            return advise(
                pages,
                goal=arguments.goal,
                cpus=arguments.cpus,
                ram_bytes=ram,
                swap_device=device,
                compressors=arguments.compressors or DEFAULT_COMPRESSORS,
                progress=progress,
            )

    return common.shown(make, Advice, lambda found: common.show(found, arguments), common.how_much("advice"))


def _pages(arguments: argparse.Namespace) -> Pages:
    if arguments.pid is None:
        return common.pages(arguments)
    from kcompressd.capture import capture

    live = capture(arguments.pid, limit=arguments.limit, progress=sys.stderr.isatty())
    return live.resized(arguments.page_size or live.page_size)
