"""The `kcompressd` command: one module a verb, loaded in full only when the verb runs.

A verb's module has `add(verbs)`, which declares its arguments, and `run(arguments)`, which returns the exit
code: 0 good, 1 violation or mismatch, 2 bad input, 3 partial result, 130 interrupted (by SIGTERM 143, by SIGHUP 129). Errors about the input
are one line on standard error, with the fix; a traceback is shown only when KCOMPRESSD_TRACEBACK is set.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from kcompressd.cli import (
    advise,
    calibrate,
    capture,
    check,
    common,
    compare,
    completion,
    doctor,
    estimate,
    export,
    kernel,
    observe,
    run,
    show,
    sim,
    sweep,
    validate,
)

VERBS = (
    doctor,
    capture,
    estimate,
    kernel,
    observe,
    calibrate,
    run,
    sim,
    compare,
    sweep,
    advise,
    validate,
    check,
    show,
    export,
    completion,
)

NEXT = """\
kcompressd: a user-space laboratory of Linux's asynchronous memory compression.

Try it on the pages that come with it:
  kcompressd compare --sample                  every published design on the same pages
  kcompressd estimate --sample                 what zram and zswap would make of them
  kcompressd run --sample --trace t.npy        one design in detail, every event recorded
  kcompressd show t.npy --folio 7              the life of one page
  kcompressd check --folios 2                  every interleaving of two pages

Then on a process of yours:
  kcompressd doctor                            what this machine can do
  kcompressd capture --pid PID -o my.pages.zst
  kcompressd estimate my.pages.zst             what zram and zswap would make of it
  kcompressd advise my.pages.zst               one setting, and why

kcompressd --help lists everything.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keep what is given: an option that nobody knows may be why its value is taken for something else. A verb refuses itself
        what it does not know, and so names itself.
        """
        self.given = tuple(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(args, namespace)
        if rest and self.prog != "kcompressd":
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Exit with 2 after one line that ends with where to look."""
        unknown = self._unknown_option()
        said, hint = (message, _suggestion(message)) if unknown is None else unknown
        self.exit(2, f"kcompressd: error: {said}; {hint}see {self.prog} --help\n")

    def _unknown_option(self) -> tuple[str, str] | None:
        """Say which option it does not know, and name the nearest; None where it knows them all."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        names = [word.partition("=")[0] for word in takewhile(lambda word: word != "--", self.given)]
        wrong = (name for name in names if name[:2] == "--" and not any(known.startswith(name) for known in options))
        name = next(wrong, None)
        if name is None or not options or self.prog == "kcompressd":
            return None
        return f"there is no {name}", _nearest(name, options)


def _suggestion(message: str) -> str:
    """Name the choice that was probably meant, where argparse says which there are."""
    found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if found is None:
        return ""
    return _nearest(found[1], re.findall(r"[\w-]+", found[2]))


def _nearest(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]}? " if near else ""


class _Version(argparse.Action):
    """Prints the version, which the core knows; loaded only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from kcompressd import _core

        print(f"kcompressd {_core.VERSION}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = Parser(prog="kcompressd", description="A user-space laboratory of Linux's asynchronous memory compression.")
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb in VERBS:
        verb.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (default: the process's own); return the exit code."""
    _prepare_streams()
    arguments = parser().parse_args(argv)
    if arguments.verb is None:
        print(NEXT, end="")
        return 0
    with _as_interrupts() as ended:
        code = _run(arguments)
    return 128 + ended[0] if ended and code == common.INTERRUPTED else code


@contextlib.contextmanager
def _as_interrupts() -> Iterator[list[int]]:
    """Take SIGTERM and SIGHUP as a Ctrl-C, so that what was begun ends in order: processes that were started, files half
    written. Yields the one that came; it is not listened to twice.
    """
    came: list[int] = []

    def end(number: int, _: object) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    wanted = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if is_main and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in wanted:
        signal.signal(number, end)
    try:
        yield came
    finally:
        for number in wanted:
            signal.signal(number, signal.SIG_DFL)


def _run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    try:
        common.refuse_overwriting(arguments)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("interrupted", common.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush into
        return 0
    except Exception as error:
        if "KCOMPRESSD_TRACEBACK" in os.environ:
            raise
        return _say(*_explained(error))


def _prepare_streams() -> None:
    """Have streams to write to: one that is closed takes nothing, one of another encoding gets `?` for what it has not."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")


def _explained(error: Exception) -> tuple[str, int]:
    """Return one line, and the exit code: errors of ours and of the system are about the input, others are
    bugs.
    """
    if isinstance(error, OSError | ValueError | LookupError | MemoryError | OverflowError):
        text = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{os.fsdecode(error.filename)}: {error.strerror}"
        elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
            text = f"standard output: {error.strerror}"  # files are written under their names
        return " ".join(text.split()), 2
    return f"bug: {type(error).__name__}: {error}; KCOMPRESSD_TRACEBACK=1 shows where, please report it", 1


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"kcompressd: error: {text}" if code != 130 else f"kcompressd: {text}", file=sys.stderr, flush=True)
    return code
