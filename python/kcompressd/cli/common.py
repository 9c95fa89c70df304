"""What verbs share: the input, the arguments of a lab, output."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from kcompressd.job import Job
    from kcompressd.pages import Pages
    from kcompressd.result import Result

T = TypeVar("T")

Verbs: TypeAlias = "argparse._SubParsersAction[Any]"
"""What `add` of a verb's module is given."""

PAGE_SIZES = (4096, 16384, 65536)
"""As `page_index.PAGE_SIZES`; written out so that help needs no NumPy."""

FILES = "raw pages or .zst, an ELF core, LiME or CRIU images, a folder of them"
"""What `Pages.from_file` takes, for help."""

DESIGNS = ("sync", "rfc", "april", "async-store", "split", "unofficial")
"""As `Design.presets()` has them; written out so that help needs no extension module."""

INTERRUPTED, PARTIAL = 130, 3
"""Exit codes: Ctrl-C ended it, what there was is kept; it is a part for another reason."""
PIPED_WIDTH = 120
"""Columns when standard output is no terminal."""


def console() -> Console:
    """Return the console for results: standard output, wide enough for a table when it is a pipe."""
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            """Leave it to `main`: rich would exit with 1, which says that something is wrong with the run."""
            raise BrokenPipeError

    return Results(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def design(text: str) -> str:
    """Parse a preset's name, or FILE.py:CLASS, whose file is found from anywhere then."""
    file, colon, name = text.rpartition(":")
    if text in DESIGNS:
        return text
    if colon and file.endswith(".py"):
        return f"{os.path.realpath(file)}:{name}"
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DESIGNS)} and no FILE.py:CLASS")


def add_input(parser: argparse.ArgumentParser) -> None:
    """Declare the pages to work on: FILE or --sample."""
    add_source(parser, f"{FILES} (kcompressd capture makes them)")
    add_selection(parser)


def add_source(parser: argparse.ArgumentParser, files: str, *, live: bool = False) -> None:
    """Declare where pages come from: `files`, as help says it, --sample, or --pid where they may be `live`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", metavar="FILE", help=files)
    if live:
        source.add_argument("--pid", type=count, metavar="N", help="the pages of a live process, not saved")
    source.add_argument("--sample", action="store_true", help="the pages that come with the package")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which pages of the input are used, and as what."""
    parser.add_argument("--limit", type=count, metavar="N", help="use only the first N pages")
    parser.add_argument(
        "--page-size", type=int, choices=PAGE_SIZES, metavar="BYTES", help="4096, 16384 or 65536 (default: the file's)"
    )


def pages(arguments: argparse.Namespace) -> Pages:
    """Return the pages asked for."""
    from kcompressd.errors import PageFileError
    from kcompressd.pages import Pages

    if getattr(arguments, "pid", None) is not None:
        from kcompressd.capture import capture

        live = capture(arguments.pid, limit=arguments.limit, progress=sys.stderr.isatty())
        return live.resized(arguments.page_size or live.page_size)
    name = arguments.file
    for suffix, what in OTHER_KINDS.items():
        if name is not None and name.endswith(suffix):
            raise PageFileError(name, f"is {what.format(name=name)}")
    if arguments.sample:
        found = Pages.sample().resized(arguments.page_size or Pages.sample().page_size)
    else:
        found = Pages.from_file(name, page_size=arguments.page_size)
    return found if arguments.limit is None else found[: arguments.limit]


OTHER_KINDS = {
    ".json": "a stored Result; print it with: kcompressd show {name}",
    ".toml": "a job file, not pages",
    ".npy": "a trace, not pages; look at it with: kcompressd validate {name}",
}
"""How no page file's name ends, and what one that ends so is."""


def add_lab(parser: argparse.ArgumentParser) -> None:
    """Declare what `Lab` takes, but for the design."""
    add = parser.add_argument
    add("--store", choices=("zswap", "zram"), default="zswap", help="what compresses (default zswap)")
    add("-c", "--compressor", default="lz4", metavar="NAME[:LEVEL]", help="lz4 (default), zstd, zstd:3 …")
    add(
        "--threads",
        type=count,
        metavar="N",
        help="kcompressd threads (default: the design's); april, async-store and unofficial have one a node: N are N nodes, "
        "each with its kswapd, and compare gives all designs as many",
    )
    add("--depth", type=natural, metavar="N", help="queue depth in folios; 0: synchronous (default: the design's)")
    add(
        "--kswapd",
        type=count,
        metavar="N",
        help="nodes, each with its kswapd (default: one, or one a thread for designs with a queue per node)",
    )
    add("--pool-limit", metavar="SIZE", help="zswap's pool limit or zram's mem_limit: 64M, or 20%% (of the input)")
    add("--swap-file", metavar="FILE", help="what zswap writes to (default: a private temporary file)")
    add("--kernel", type=kernel, default=(6, 12), metavar="X.Y", help="kernel modelled (default 6.12)")
    add(
        "--fault",
        choices=("in-order", "shuffled", "none"),
        default="in-order",
        help="how pages are read back",
    )
    add("--seed", type=natural, default=0, metavar="N", help="of the shuffle (default 0)")
    add("--pin", action="store_true", help="pin threads to CPUs")


def lab(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments for `Lab` that `add_lab` declared."""
    names = ("store", "compressor", "threads", "depth", "kswapd", "pool_limit", "swap_file", "kernel")
    return {name: getattr(arguments, name) for name in (*names, "fault", "seed", "pin")}


def refuse_ignored(arguments: argparse.Namespace, others: Mapping[str, object], of_what: str) -> None:
    """Refuse an option of `add_selection` and `add_lab`, or of `others` (each with its default), which `of_what` ("a job") does not heed."""
    from kcompressd.errors import InputError

    scratch = argparse.ArgumentParser()
    add_selection(scratch)
    add_lab(scratch)
    for name, default in {**vars(scratch.parse_args([])), **others}.items():
        given = getattr(arguments, name)
        if given != default:
            fix = f"--set {name}=…" if of_what == "a job" and name in _JOB_KEYS else "leave it out"
            raise InputError(f"--{name.replace('_', '-')}", f"is not for {of_what}", fix)


_JOB_KEYS = ("design", "store", "compressor", "threads", "depth", "pool_limit", "kernel", "seed", "limit", "page_size")


def add_compressors(parser: argparse.ArgumentParser, default: str) -> None:
    """Declare -c with a list, as lzbench has it; `default` says in words what is taken without."""
    parser.add_argument(
        "-c",
        "--compressors",
        metavar="LIST",
        help=f"such as lz4,zstd:1 ({default}); known: lz4 lz4hc lzo lzo-rle zstd deflate 842",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare --set KEY=VALUE for a job file."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a key of the job, such as node.cpus=8"
    )


def say_timed(job: Job) -> None:
    """Say on stderr how to have the same figures again, where a job's pages were timed for this run."""
    if job.is_timed_anew and "pages" in job.tree:
        print(
            f"kcompressd: {job.origin}: its pages were timed for this run, another differs; for equal ones: "
            f'kcompressd calibrate {job.tree["pages"]} -o my.calib.npz, and calibration = "my.calib.npz" in the job',
            file=sys.stderr,
        )


def show(found: Reported, arguments: argparse.Namespace) -> int:
    """Save what was found as `add_outputs` had it asked for, print it; return its exit code."""
    if save_json(found.to_json, arguments.json):
        console().print(found)
    write_html(found.to_html, arguments.html)
    return found.exit_code


def show_result(result: Result, arguments: argparse.Namespace) -> int:
    """The same of a Result, and what ended it early."""
    show(result, arguments)
    if result.error is not None and result.error.kind != "cancelled":
        print(f"kcompressd: partial: {result.error.message}", file=sys.stderr)
    elif result.killed:
        print(f"kcompressd: partial: the OOM killer ended {', '.join(result.killed)}", file=sys.stderr)
    return result.exit_code


def shown(make: Callable[[], T], kind: type[T], show: Callable[[T], int], partial: Callable[[T], str]) -> int:
    """Show what `make` returns, or after Ctrl-C what there is of it and `partial` of that; return the exit code."""
    from kcompressd.errors import RunInterrupted

    try:
        found = make()
    except RunInterrupted as interrupted:
        if not isinstance(interrupted.result, kind):
            raise
        show(interrupted.result)
        print(f"kcompressd: interrupted: {partial(interrupted.result)}", file=sys.stderr)
        return INTERRUPTED
    return show(found)


def shown_result(make: Callable[[], Result], show: Callable[[Result], int]) -> int:
    """The same of a Result."""
    from kcompressd.result import Result

    return shown(make, Result, show, how_much("result"))


def how_much(what: str) -> Callable[[Any], str]:
    """Return what to say after Ctrl-C of a `what` that knows whether it is complete."""
    return lambda found: f"the {what} is {'whole' if found.complete else 'partial'}"


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[str, int, int], object] | None]:
    """A bar on standard error, called `what` until it is told what is done; None when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from kcompressd.progress import bar

    with bar(what) as tell:
        yield tell


def write_text(text: str, path: str) -> None:
    """Write `text` to `path`, or to standard output for `-`; raises `ResultFileError` when that fails."""
    from kcompressd import files
    from kcompressd.errors import ResultFileError

    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.write_text(Path(path), text)
    except OSError as error:
        raise ResultFileError(path, f"cannot be written: {error.strerror}") from error


class Reported(Protocol):
    """What rich prints, and has a report: a Result, a Comparison, an Estimate, an Advice."""

    @property
    def exit_code(self) -> int:
        """What the command exits with."""

    def to_json(self) -> str:
        """Return the stored form as text."""

    def to_html(self) -> str:
        """Return the report as one self-contained HTML file's text."""


def add_outputs(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --json, which saves `what`, and --html."""
    parser.add_argument("--json", metavar="FILE", help=f"save {what}; - for standard output")
    add_html(parser)


def refuse_outputs(arguments: argparse.Namespace) -> None:
    """Refuse those that cannot be written."""
    refuse_output(arguments.json, stream=True)
    refuse_output(arguments.html)


def add_html(parser: argparse.ArgumentParser) -> None:
    """Declare --html."""
    parser.add_argument("--html", metavar="FILE", help="write a report: one file, opened by any browser, offline")


def save_json(stored: Callable[[], str], path: str | None) -> bool:
    """Save what `stored` returns where a `path` is given; tell whether standard output is left for the table."""
    if path is not None:
        write_text(stored(), path)
    return path != "-"


def write_html(document: Callable[[], str], path: str | None) -> None:
    """Write the report that `document` returns, and say where it is; nothing where `path` is None."""
    if path is not None:
        write_text(document(), path)
        sys.stdout.flush()  # the table comes first where both go to one file
        print(f"kcompressd: report: {path}", file=sys.stderr)


def refuse_output(path: str | None, *, stream: bool = False, end: str = "") -> None:
    """Refuse an output that cannot be written, before the work is done and lost; `stream`: `-`, a pipe or a
    device will do; `end`: of its name, by which it is told from others.
    """
    from kcompressd import files
    from kcompressd.errors import OutputError

    if path is None or (stream and path == "-"):
        return
    if path == "-":
        raise OutputError(path, "is standard output, which has no place for it", "give the name of a file")
    where = Path(path).absolute()
    if where.parent.exists() and not where.parent.is_dir():
        raise OutputError(path, f"{Path(path).parent} is no folder", "give another name")
    if not where.parent.is_dir():
        raise OutputError(path, "its folder does not exist", f"mkdir -p {Path(path).parent}")
    if where.is_dir():
        raise OutputError(path, "is a folder", "give the name of a file in it")
    if not (stream or files.is_replaceable(where)):
        raise OutputError(path, "is not a regular file", "give the name of a file to be made")
    if files.is_replaceable(where) and not os.access(where.parent, os.W_OK | os.X_OK):
        raise OutputError(path, "its folder cannot be written to", "choose another, or ask its owner")
    if not path.endswith(end):
        raise OutputError(path, f"its name must end in {end}", "give another name")


READS, WRITES = ("file", "more", "job", "result", "replay"), ("output", "trace", "json", "html", "csv", "markdown")
"""Arguments of all verbs that name files; those of which `trace` is what they read have no other to write a trace to."""


def refuse_overwriting(arguments: argparse.Namespace) -> None:
    """Refuse an output that is an input too, or the file of another output: the files beside pages and traces count as well."""
    from kcompressd.errors import OutputError

    reads: tuple[str, ...] = READS if arguments.verb in ("run", "sim") else (*READS, "trace")
    taken = {
        os.path.realpath(name + end): f"is read by this command{end and f': it belongs to {name}'}"
        for name, end in _named(arguments, reads)
    }
    for name, end in _named(arguments, [option for option in WRITES if option not in reads]):
        if name == "-":
            continue
        path = os.path.realpath(name + end)
        why = taken.get(path)
        if why is not None:
            raise OutputError(name + end, why, "give another name")
        taken[path] = "is written twice by this command"


def _named(arguments: argparse.Namespace, options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files that options name, each with "" and with what is added for the file beside it."""
    for option in options:
        given = getattr(arguments, option, None)
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str):
                yield name, ""
                if option in ("file", "trace", "output"):
                    yield name, ".json" if option == "trace" or name.endswith(".npy") else ".index.json"


def count(text: str) -> int:
    """Parse a number of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Parse a number of at least 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return value


def kernel(text: str) -> tuple[int, int]:
    """Parse a kernel version, X.Y."""
    major, dot, minor = text.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a kernel version like 6.12")
    return int(major), int(minor)
