"""Access traces: which page an application touches next, and whether it writes; what `replay` runs.

- CSV, in UTF-8: a line of headings with `page`, and if it likes `write`; then a line a touch: the page's number from 0, and 0 or
  1 (or r, w). Further columns are ignored; touches happen in the order of the lines, whatever times they have.
- NumPy (`.npy`): a structured array with the fields `page` and if it likes `write`, or a plain array of pages, all of them read.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd.errors import JobError
from kcompressd.workload import WRITE

_WRITES: Final = {"0": 0, "1": WRITE, "r": 0, "w": WRITE, "": 0}
_MOST: Final = WRITE - 1


def load(path: str | os.PathLike[str]) -> npt.NDArray[np.uint32]:
    """Return a trace as `Workload.trace`: uint32 of shape (touches,); raises `JobError` naming the file, and the line or touch."""
    where = Path(path)
    try:
        found = _numpy(where) if where.suffix == ".npy" else _csv(where)
    except OSError as error:
        raise JobError(where, f"cannot be read: {error.strerror}") from error
    if not len(found):
        raise JobError(where, "holds no touch", "give at least one line after the headings")
    return found


def _csv(path: Path) -> npt.NDArray[np.uint32]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, restkey="", skipinitialspace=True)
            if "page" not in (rows.fieldnames or ()):
                raise JobError(f"{path}:1", "no column is headed page", "begin the file with a line: page,write")
            return np.array([_entry(f"{path}:{rows.line_num}", row) for row in rows], dtype=np.uint32)
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(path, f"is no CSV: {error}") from error


def _entry(place: str, row: dict[str, Any]) -> int:
    page, write = (row["page"] or "").strip(), (row.get("write") or "").strip().lower()
    if not page.isdecimal() or int(page) >= _MOST:
        raise JobError(place, f"page = {page!r} is no number of a page from 0 on")
    if write not in _WRITES:
        raise JobError(place, f"write = {write!r} is none of 0, 1, r, w")
    return int(page) | _WRITES[write]


def _numpy(path: Path) -> npt.NDArray[np.uint32]:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise JobError(path, f"is no NumPy array: {error}") from error
    names = array.dtype.names or ()
    if array.ndim != 1 or (names and "page" not in names):
        raise JobError(
            path, f"an array of {array.dtype} of shape {array.shape} has no pages", "give fields page and write"
        )
    pages = array["page"] if names else array
    if pages.dtype.kind not in "ui":
        raise JobError(path, f"pages of {pages.dtype} are no whole numbers")
    wrong = np.flatnonzero((pages < 0) | (pages >= _MOST))
    if len(wrong):
        raise JobError(path, f"touch {wrong[0]}: page = {pages[wrong[0]]} is no number of a page from 0 on")
    writes = array["write"].astype(bool) if "write" in names else np.zeros(len(pages), dtype=bool)
    return pages.astype(np.uint32) | np.where(writes, np.uint32(WRITE), np.uint32(0))
