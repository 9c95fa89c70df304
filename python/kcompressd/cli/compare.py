"""`kcompressd compare`: every design on the same pages."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kcompressd.cli import common
from kcompressd.cli.common import DESIGNS

if TYPE_CHECKING:
    from kcompressd.compare import Report
    from kcompressd.comparison import Comparison
    from kcompressd.result import Result


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "compare",
        help="run every design on the same pages, or a job in virtual time; or set stored Results side by side",
        description="Interleaved repeats of every design; medians, spread, and the ratio to sync. A difference "
        "inside the spread is shown as ≈. A job (JOB.toml) runs in virtual time, where a repeat is another boot of the machine, "
        "with some fewer free pages and another seed: --cpus and --set are for it, and a design of its own is the last row. Of two or "
        "more stored Results "
        "(run --json, observe --json): one table, ratios to the first.",
    )
    common.add_input(parser)
    parser.add_argument("more", nargs="*", metavar="RESULT.json", help="stored Results, when FILE is one")
    parser.add_argument(
        "--design",
        "--designs",
        dest="designs",
        type=designs,
        default=DESIGNS,
        metavar="A,B",
        help="which (default: all); of a job also FILE.py:CLASS, a policy of your own",
    )
    parser.add_argument("--cpus", type=counts, default=(), metavar="2,4,8", help="of a job: on so many CPUs each")
    common.add_settings(parser)
    common.add_lab(parser)
    parser.add_argument(
        "--repeats",
        type=common.count,
        metavar="N",
        help="at least 5 (default); boots of a job: any number (default: 5, one where memory is not short)",
    )
    parser.add_argument("--validate", action="store_true", help="trace each design once more and validate it")
    parser.add_argument("--trace-dir", metavar="DIR", help="save those traces as DIR/DESIGN.npy")
    common.add_outputs(parser, "all results")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, save what was asked for, print the table and what to look at."""
    from kcompressd.compare import MIN_REPEATS, compare
    from kcompressd.errors import InputError
    from kcompressd.lab import Lab

    common.refuse_outputs(arguments)
    if arguments.more or (arguments.file is not None and arguments.file.endswith(".json")):
        return _stored(arguments)
    if arguments.file is not None and arguments.file.endswith(".toml"):
        return _job(arguments)
    if arguments.cpus or arguments.set:
        raise InputError("--cpus and --set", "are for jobs in virtual time", "give a JOB.toml")
    for name in arguments.designs:
        if name not in DESIGNS:
            raise InputError(name, "is a policy, for jobs in virtual time", "give a JOB.toml")
    pages, lab, saver = common.pages(arguments), Lab(**common.lab(arguments)), _saver(arguments.trace_dir)
    options = {
        "lab": lab,
        "repeats": arguments.repeats or MIN_REPEATS,
        "validate": arguments.validate,
        "on_trace": saver,
    }
    return _shown(arguments, lambda progress: compare(pages, arguments.designs, progress=progress, **options))


def _shown(arguments: argparse.Namespace, make: Callable[[Report | None], Comparison]) -> int:
    """Make the comparison and show it, or after Ctrl-C what there is of it; return the exit code."""
    from kcompressd.comparison import Comparison

    def reported() -> Comparison:
        with common.progress("compare") as tell:
            return make(
                None if tell is None else lambda name, done, all: tell(f"{name}, run {done + 1} of {all}", done, all)
            )

    def show(found: Comparison) -> int:
        return common.show(found, arguments)

    return common.shown(reported, Comparison, show, lambda found: found.interrupted)


def _job(arguments: argparse.Namespace) -> int:
    """Run a job in virtual time with every design."""
    from kcompressd.compare import compare_job
    from kcompressd.job import Job

    common.refuse_ignored(arguments, {"validate": False, "trace_dir": None}, "a job")
    _refuse_compared(arguments)
    job = Job.load(arguments.file, arguments.set)
    code = _shown(
        arguments,
        lambda progress: compare_job(
            job, arguments.designs, arguments.cpus, repeats=arguments.repeats, progress=progress
        ),
    )
    common.say_timed(job)
    return code


def _refuse_compared(arguments: argparse.Namespace) -> None:
    """Refuse to set a key that each row or group sets."""
    from kcompressd.errors import InputError
    from kcompressd.job_file import parse_setting

    for key, value in map(parse_setting, arguments.set):
        if key == "design" and value in DESIGNS:
            raise InputError("--set design", "is what --design says of each row", f"--design {value}")
        if key == "node.cpus" and arguments.cpus:
            raise InputError("--set node.cpus", "is what --cpus says of each table", "leave it out")


def _stored(arguments: argparse.Namespace) -> int:
    """Set stored Results side by side; what they are of is not judged again."""
    from kcompressd import stored
    from kcompressd.errors import InputError

    paths = [arguments.file, *arguments.more]
    for path in paths:
        if not path.endswith(".json"):
            raise InputError(path, "is no stored Result (.json)", "compare either one page file, or stored Results")
    others: dict[str, object] = {
        "designs": DESIGNS,
        "cpus": (),
        "set": [],
        "repeats": None,
        "validate": False,
        "trace_dir": None,
    }
    common.refuse_ignored(arguments, others, "stored Results, which are not run again")
    found = stored.load(paths)
    if common.save_json(found.to_json, arguments.json):
        for part in stored.parts(found):
            common.console().print(part)
    common.write_html(found.to_html, arguments.html)
    return found.exit_code


def designs(text: str) -> tuple[str, ...]:
    """Parse a list of presets and policies."""
    return tuple(common.design(name.strip()) for name in text.split(","))


def counts(text: str) -> tuple[int, ...]:
    """Parse a list of numbers of at least 1."""
    return tuple(common.count(part) for part in text.split(","))


def _saver(folder: str | None) -> Callable[[str, Result], object] | None:
    from kcompressd.errors import OutputError

    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(folder, "is no folder", "give the name of one, or of one to be made") from None
    return lambda name, result: result.trace.save(Path(folder) / f"{name}.npy")
