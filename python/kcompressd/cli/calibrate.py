"""`kcompressd calibrate`: what each page costs on this machine, for runs in virtual time."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kcompressd.cli import common

if TYPE_CHECKING:
    from kcompressd.calibration import Calibration


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "calibrate",
        help="measure what each page costs on this machine, for sim",
        description="Times every page several times with every compressor on one thread, and keeps the medians.",
    )
    common.add_input(parser)
    common.add_compressors(parser, "default: lz4, lzo-rle, zstd:1, zstd:3")
    parser.add_argument("--passes", type=common.count, default=5, metavar="N", help="times a page at least (default 5)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.calib.npz", help="where to keep it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, save, and print medians."""
    from kcompressd.calibration import Calibration, calibrate
    from kcompressd.page_stats import DEFAULT_COMPRESSORS

    common.refuse_output(arguments.output)
    pages = common.pages(arguments)
    wanted = arguments.compressors or DEFAULT_COMPRESSORS
    return common.shown(
        lambda: calibrate(pages, wanted, passes=arguments.passes, progress=sys.stderr.isatty()),
        Calibration,
        lambda found: _keep(found, arguments.output),
        lambda found: f"the calibration has {', '.join(codec.text for codec in found.codecs)} only",
    )


def _keep(found: Calibration, output: str) -> int:
    """Save it and print medians."""
    from kcompressd.sizes import counted, duration

    found.save(output)
    print(
        f"{counted(len(found), 'page')}, each timed {counted(found.passes, 'time')}; medians of a page there and back:"
    )
    timed = found.same != 2
    for codec, there, back in zip(found.codecs, found.compress_ns, found.decompress_ns, strict=True):
        medians = [
            duration(float(sorted(times[timed])[timed.sum() // 2])) if timed.any() else "-" for times in (there, back)
        ]
        print(f"  {codec.text:10} {medians[0]:>10} {medians[1]:>10}")
    print(f"digest {found.digest}")
    return 0
