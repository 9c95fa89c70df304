"""`kcompressd kernel`: the running kernel's own zram beside ours, on the same pages."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.fidelity import Fidelity


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "kernel",
        help="this kernel's own zram beside ours (root)",
        description="Adds a spare zram device, writes the pages to it in order, once a compressor that this kernel "
        "has, reads mm_stat after each page, and removes the device again, whatever happens; no other device is "
        "touched. Shows the kernel's counters and how far ours differ, in bytes.",
    )
    common.add_input(parser)
    common.add_compressors(parser, "default: all that this kernel has")
    parser.add_argument(
        "--json", metavar="FILE", help="save both sides and the pages that differ; - for standard output"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, save what was asked for, print the table; 1 when something differs that should not."""
    from kcompressd.fidelity import Fidelity, of_kernel

    common.refuse_output(arguments.json, stream=True)

    def make() -> Fidelity:
        with common.progress("kernel") as progress:
            return of_kernel(common.pages(arguments), arguments.compressors, progress=progress)

    return common.shown(make, Fidelity, lambda found: _show(found, arguments), common.how_much("comparison"))


def _show(found: Fidelity, arguments: argparse.Namespace) -> int:
    is_left = common.save_json(found.to_json, arguments.json)
    if arguments.markdown:
        print(found.to_markdown(), end="")
    elif is_left:
        common.console().print(found)
    return found.exit_code
