"""`kcompressd observe`: the running kernel's counters over some seconds, as a Result."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kcompressd.cli import common
from kcompressd.cli.capture import seconds

if TYPE_CHECKING:
    from kcompressd.result import Result


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "observe",
        help="what this kernel swaps and compresses meanwhile",
        description="Reads /proc/vmstat, zswap, zram and PSI for some seconds and shows what grew; the kernel is only "
        "read. The saved Result stands beside others in: kcompressd compare host.json sim.json",
    )
    parser.add_argument("--seconds", type=seconds, required=True, metavar="N", help="how long")
    parser.add_argument("--cgroup", metavar="PATH", help="one cgroup v2: a folder, or its name below /sys/fs/cgroup")
    common.add_outputs(parser, "the Result")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Observe, save what was asked for, print the table; what was seen before Ctrl-C is shown too."""
    from kcompressd.observe import observe

    common.refuse_outputs(arguments)

    def observed() -> Result:
        with common.progress("observing") as tell:
            tick = None if tell is None else lambda done, total: tell("observing", done, total)
            return observe(arguments.seconds, cgroup=arguments.cgroup, progress=tick)

    return common.shown_result(observed, lambda result: common.show_result(result, arguments))
