"""Files are replaced, never half written: a reader sees the old contents or the new. What is read whole has a bound.

A file is written under a temporary name in its own directory, readable by its owner only, synced, and renamed. A
device or a pipe cannot be replaced (root would turn /dev/null into a file): it is refused, or written straight to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

Writer: TypeAlias = Callable[[BinaryIO], object]
"""Writes the contents to the file that it is given."""
MOST_BYTES: Final = 256 << 20
"""Of a file that is read whole: twice the sidecar of a trace of 64 GiB of pages."""


def is_replaceable(path: Path) -> bool:
    """Tell whether `path` is a regular file or nothing yet: no folder, device, pipe or socket."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file or a pipe; raises `OSError`, also for more than `MOST_BYTES`: a device may have no end."""
    with path.open("rb") as file:
        contents = file.read(MOST_BYTES + 1)
    if len(contents) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB", os.fspath(path))
    return contents


def read_text(path: Path) -> str:
    """Return the same as text; raises `ValueError` for what is not UTF-8."""
    return read_bytes(path).decode()


def beside(path: Path) -> tuple[int, str]:
    """Make an empty file of mode 0600 that may replace `path` later; return its descriptor and name. Raises `OSError`, also where
    `path` cannot be replaced.
    """
    if not is_replaceable(path):
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")  # a letter is 4 bytes at most


@contextlib.contextmanager
def temporary(path: Path, write: Writer) -> Iterator[str]:
    """A synced file `beside` `path`, to be renamed by the caller; removed when it was not. Raises `OSError` as that."""
    descriptor, name = beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def replace(path: Path, write: Writer) -> None:
    """Have `write` fill a file of mode 0600 that then replaces `path`; raises `OSError`."""
    with temporary(path, write) as name:
        os.replace(name, path)


def write_text(path: Path, text: str) -> None:
    """Write or replace `path`; a device or a pipe is written straight to. Raises `OSError`."""
    if not is_replaceable(path):
        path.write_text(text, encoding="utf-8")
    else:
        replace(path, lambda file: file.write(text.encode()))
