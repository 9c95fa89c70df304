"""Access traces: which page an application touches next, whether it writes, and when; what `replay` runs.

- CSV, in UTF-8: a line of headings with `page`, and if it likes `write` and `t_ns`; then a line a touch: the page's number from 0, 0
  or 1 (or r, w), and the time in ns from any zero. Further columns are ignored.
- NumPy (`.npy`): a structured array with these fields, or a plain array of pages, all of them read.

The time between two touches is computed by the application after the first: one that stalls delays all later ones. Without times
a touch follows the last at once.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from kcompressd.arrays import DAMAGED_ARRAY
from kcompressd.errors import JobError, file_path
from kcompressd.workload import WRITE

_FIELDS: Final = ("page", "write", "t_ns")
_WRITES: Final = {"0": 0, "1": WRITE, "r": 0, "w": WRITE, "": 0}
_MOST: Final = WRITE - 1
_LONGEST_NS: Final = 2**32 - 1
_LONGEST_LINE: Final = 1 << 20


class AccessTrace(NamedTuple):
    """A trace as `Workload` takes it: uint32 of shape (touches,) each; `gaps_ns` is None without times."""

    trace: npt.NDArray[np.uint32]
    gaps_ns: npt.NDArray[np.uint32] | None


def load(path: str | os.PathLike[str]) -> AccessTrace:
    """Read a trace; raises `JobError` naming the file, and the line or touch that is wrong."""
    where = file_path(path, JobError)
    try:
        found = _numpy(where) if where.suffix == ".npy" else _csv(where)
    except OSError as error:
        raise JobError(where, f"cannot be read: {error.strerror}") from error
    if not len(found.trace):
        raise JobError(where, "holds no touch", "give at least one line after the headings")
    return found


def _csv(path: Path) -> AccessTrace:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(_lines(file), restkey="", skipinitialspace=True)
            heads = list(rows.fieldnames or ())
            if "page" not in heads:
                raise JobError(f"{path}:1", "no column is headed page", "begin the file with a line: page,write")
            twice = next((name for name in _FIELDS if heads.count(name) > 1), None)
            if twice is not None:
                raise JobError(f"{path}:1", f"two columns are headed {twice}")
            timed = "t_ns" in heads
            touches, times, lines = [], [], []
            for row in rows:
                lines.append(rows.line_num)
                touches.append(_entry(f"{path}:{rows.line_num}", row))
                times.append(_time(f"{path}:{rows.line_num}", row) if timed else 0)
            gaps = _gaps(np.array(times, dtype=np.uint64), lambda touch: f"{path}:{lines[touch]}") if timed else None
            return AccessTrace(np.array(touches, dtype=np.uint32), gaps)
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(path, f"is no CSV: {error}") from error


def _lines(file: TextIO) -> Iterator[str]:
    """The lines, each with a bound: a device without end may have none."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise csv.Error(f"a line has {_LONGEST_LINE} characters and more")
        yield line


def _entry(place: str, row: dict[str, Any]) -> int:
    if None in row.values():
        raise JobError(place, "has fewer columns than the headings")
    page, write = row["page"].strip(), row.get("write", "").strip().lower()
    if not _is_below(page, _MOST):
        raise JobError(place, f"page = {page!r} is no number of a page from 0 on")
    if write not in _WRITES:
        raise JobError(place, f"write = {write!r} is none of 0, 1, r, w")
    return int(page) | _WRITES[write]


def _time(place: str, row: dict[str, Any]) -> int:
    text = (row["t_ns"] or "").strip()
    if not _is_below(text, 2**63):
        raise JobError(place, f"t_ns = {text!r} is no time in whole nanoseconds")
    return int(text)


def _is_below(text: str, end: int) -> bool:
    """Tell whether it is a whole number from 0 on; a longer one than any here is not parsed."""
    return text.isdecimal() and len(text) < 100 and int(text) < end


def _gaps(times: npt.NDArray[np.uint64], place: Callable[[int], str]) -> npt.NDArray[np.uint32]:
    """What passes after each touch; nothing after the last."""
    gaps = np.append(np.diff(times.astype(np.int64)), 0)[: len(times)]
    wrong = np.flatnonzero((gaps < 0) | (gaps > _LONGEST_NS))
    if len(wrong):
        gap = int(gaps[wrong[0]])
        said = "before the last touch" if gap < 0 else f"{gap} ns after the last touch, the most is {_LONGEST_NS}"
        raise JobError(place(int(wrong[0]) + 1), f"t_ns is {said}", "sort by time, or leave out the pause")
    return gaps.astype(np.uint32)


def _numpy(path: Path) -> AccessTrace:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except DAMAGED_ARRAY as error:
        raise JobError(path, "is no NumPy array of numbers", "make it with numpy.save, or give CSV") from error
    except MemoryError as error:
        raise JobError(path, "has more touches than there is memory for") from error
    names = array.dtype.names or ()
    if array.ndim != 1 or (names and "page" not in names):
        raise JobError(
            path, f"an array of {array.dtype} of shape {array.shape} has no pages", "give fields page and write"
        )
    pages = array["page"] if names else array
    if pages.dtype.kind not in "ui" or pages.ndim != 1:
        raise JobError(path, f"pages of {pages.dtype} are no whole numbers")
    wrong = np.flatnonzero((pages < 0) | (pages >= _MOST))
    if len(wrong):
        raise JobError(path, f"touch {wrong[0]}: page = {pages[wrong[0]]} is no number of a page from 0 on")
    writes = _writes(path, array["write"]) if "write" in names else np.zeros(len(pages), dtype=bool)
    trace = pages.astype(np.uint32) | np.where(writes, np.uint32(WRITE), np.uint32(0))
    return AccessTrace(
        trace, _gaps(_times(path, array), lambda touch: f"{path}: touch {touch}") if "t_ns" in names else None
    )


def _writes(path: Path, writes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if writes.dtype.kind not in "bui" or writes.ndim != 1:
        raise JobError(path, f"write of {writes.dtype} is no 0 or 1")
    wrong = np.flatnonzero((writes != 0) & (writes != 1))
    if len(wrong):
        raise JobError(path, f"touch {wrong[0]}: write = {writes[wrong[0]]} is none of 0, 1")
    return writes.astype(np.bool_)


def _times(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    times = array["t_ns"]
    if times.dtype.kind not in "ui" or times.ndim != 1 or (times < 0).any() or (times >= 2**63).any():
        raise JobError(path, f"t_ns of {times.dtype} are no times in whole nanoseconds from 0 on")
    return times.astype(np.uint64)
