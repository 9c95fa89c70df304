"""`kcompressd show`: one page's life out of a trace, or what `--json` stored."""

from __future__ import annotations

import argparse

from kcompressd.cli import common


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "show",
        help="show one page's life, or what --json saved",
        description="Of a trace: the life of one page, a line an event. Of a .json file: the stored Result, estimate, comparison, "
        "comparison with a kernel, or advice.",
    )
    parser.add_argument(
        "file",
        metavar="T.npy|RESULT.json",
        help="a trace, or what --json of another command saved",
    )
    parser.add_argument("--folio", type=common.natural, metavar="N", help="the page, by its position in the input")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; what is stored gives its own exit code."""
    from kcompressd.errors import InputError
    from kcompressd.timeline import timeline
    from kcompressd.trace import Trace

    if arguments.file.endswith(".json"):
        if arguments.folio is not None:
            raise InputError(arguments.file, "is no trace: it has no page to show", "give the T.npy of --trace")
        return _stored(arguments.file)
    trace = Trace.load(arguments.file)
    if arguments.folio is None:
        raise InputError(arguments.file, "is a trace of many pages", "choose one: --folio 0")
    common.console().print(timeline(trace, arguments.folio), markup=False, soft_wrap=True)
    return 0


def _stored(path: str) -> int:
    from kcompressd import stored_figures
    from kcompressd.result import Result

    figures = stored_figures.parts(path)
    if figures is not None:
        for part in figures[0]:
            common.console().print(part)
        return figures[1]
    result = Result.load(path)
    common.console().print(result)
    return result.exit_code
