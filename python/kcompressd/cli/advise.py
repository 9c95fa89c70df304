"""`kcompressd advise`: one setting for these pages, and why."""

from __future__ import annotations

import argparse

from kcompressd.cli import common

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
    common.add_source(parser, common.FILES, live=True)
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
    pages = common.pages(arguments)
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
