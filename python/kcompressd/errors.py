"""Errors about what the user handed in: files, processes, settings.

One family, rooted at `InputError` (a `ValueError`). Each error names the *subject* (a path, a pid, a
command), the *reason*, and where there is one the *fix*: what to do, as a command when possible. The command
line maps the whole family to exit code 2 (bad input).
"""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Final, cast


class InputError(ValueError):
    """Something handed in cannot be used.

    Attributes: `subject` (path, pid or command), `reason` (one sentence), `fix` (what to do about it, or "").
    """

    def __init__(self, subject: object, reason: str, fix: str = "") -> None:
        """Keep the three parts; they are also `args`, so that the error survives pickling."""
        super().__init__(str(subject), reason, fix)
        self.subject = str(subject)
        self.reason = reason
        self.fix = fix

    def __str__(self) -> str:
        """One line: subject, reason, and the fix after a semicolon."""
        text = f"{self.subject}: {self.reason}"
        return f"{text}; {self.fix}" if self.fix else text


class PageFileError(InputError):
    """A page file is missing, unreadable, empty, damaged, or cannot be written."""


class NotWholePagesError(PageFileError):
    """The contents are not a whole number of pages."""


class IndexFileError(PageFileError):
    """`FILE.index.json` is malformed or disagrees with the pages that it describes."""


class CaptureError(InputError):
    """A process cannot be captured."""


class NoSuchProcessError(CaptureError):
    """No process has this pid, or it is gone before a page was read."""


class NotCapturableError(CaptureError):
    """The process exists but has no memory of its own to capture: kernel thread, zombie, nothing present."""


class CaptureDeniedError(CaptureError):
    """The kernel refuses access to the process; `fix` says how to get it."""


class LabError(InputError):
    """A lab cannot be set up as asked: a limit, a size, a swap file that would be overwritten."""


class EstimateError(InputError):
    """An estimate cannot be made as asked: no pages, a compressor that was not measured."""


class KernelError(InputError):
    """The running kernel does not offer, or refuses, what is needed of it."""


class ExperimentError(InputError):
    """An experiment's file is missing, malformed, or speaks of rows and measures that there are not."""


class MissingExtraError(InputError, ImportError):
    """Something asked for needs a package that is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        """Name the package, and the extra that brings it."""
        super().__init__(module.partition(".")[0], "is not installed", f"pip install 'kcompressd[{extra}]'")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Keep it picklable: its arguments are not the three parts."""
        return type(self), (self.subject, self.fix.partition("[")[2].rstrip("]'"))


class JobError(InputError):
    """A job file is missing, not TOML, or has a key or a value that no job has."""


class ResultFileError(InputError):
    """A stored Result is missing, unreadable or malformed."""


class OutputError(InputError):
    """What a command is to write cannot be written there."""


NOT_PARSED: Final = (ValueError, RecursionError)
"""What parsers of JSON and TOML raise; the second about what is nested too deep."""


def refuse_type(
    subject: str, value: object, kinds: type | tuple[type, ...], what: str, error: type[InputError] = LabError
) -> None:
    """Raise `error` about an argument from Python that is not of `kinds`, which `what` says in words ("a whole number")."""
    if not isinstance(value, kinds):
        raise error(subject, f"{_brief(value)} is not {what}")


def refuse_number(
    subject: str,
    value: object,
    least: int | None = None,
    most: int | None = None,
    *,
    fix: str = "",
    error: type[InputError] = LabError,
) -> None:
    """Raise `error` about what is no whole number, less than `least`, or with a `least` more than `most`."""
    refuse_type(subject, value, Integral, "a whole number", error)
    number = cast("int", value)
    if least is None or (least <= number and (most is None or number <= most)):
        return
    raise error(
        subject, f"{number} is {f'less than {least}' if most is None else f'not between {least} and {most}'}", fix
    )


def refuse_compressor(name: object) -> None:
    """Raise `LabError` about what is no text; whether there is such a compressor the core knows."""
    refuse_type("compressor", name, str, "a compressor's name, like zstd:3")


def file_path(value: object, error: type[InputError] = InputError) -> Path:
    """Return the path that an argument from Python gives; raise `error` where it gives none."""
    refuse_type("path", value, (str, os.PathLike), "a path", error)
    text = os.fsdecode(cast("str | os.PathLike[str]", value))
    if not text:
        raise error("''", "names no file")
    if "\0" in text or not _is_encodable(text):
        raise error(ascii(text), "can be no file's name")
    return Path(text)


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 and " at 0x" not in text else f"a value of type {type(value).__name__}"


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a run: its threads are joined, and `result` holds what there was, all of it where the run had ended by itself."""

    def __init__(self, result: object) -> None:
        """Keep the partial result."""
        super().__init__("interrupted")
        self.result = result
