"""`TraceWriter`: a trace that goes to disk while the run goes on, however long it is; the seal is made on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from kcompressd._core import Locator
from kcompressd.errors import file_path
from kcompressd.files import beside, write_text
from kcompressd.trace import RECORD, SYSTEM, TraceError, first_states, sealed, sidecar_path, sidecar_text


class TraceWriter:
    """Writes a trace of `pages` pages (`absent` and `folio_order` as for `first_states`) under a temporary name; `finish` gives
    it its own and writes the sidecar.

    A context manager: what was not finished is removed. Raises `TraceError`, naming the path, when it cannot be written; after a
    block that could not be, `finish` does, and what comes in between is lost.
    """

    def __init__(self, path: str | os.PathLike[str], pages: int, *, absent: bool = False, folio_order: int = 0) -> None:
        """Make the temporary file beside `path`."""
        self.path = file_path(path)
        self.records = 0
        self._states = first_states(pages, absent=absent, folio_order=folio_order)
        self._actors: set[int] = set()
        self._digest, self._locator = hashlib.sha256(), Locator()
        self._lost: TraceError | None = None
        with self._errors():
            handle, self._name = beside(self.path)
            self._file: BinaryIO = os.fdopen(handle, "wb")
            self._header()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove what was not finished."""
        with contextlib.suppress(OSError):  # of a full disk, where it writes what is buffered: said when it was met
            self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name)

    def write(self, block: bytes) -> None:
        """Append whole records."""
        if self._lost is not None:
            return
        records = np.frombuffer(block, dtype=RECORD)
        self.records += len(records)
        self._digest.update(block)
        self._locator.feed(block)
        self._actors.update(np.unique(records["actor"]).tolist())
        pages = records[records["folio"] != SYSTEM]
        self._states[pages["folio"]] = pages["to"]
        try:
            with self._errors():
                self._file.write(block)
        except TraceError as lost:
            self._lost = lost

    def finish(self, law: Mapping[str, Any]) -> None:
        """Seal the trace; `law` is what only the writer of a trace knows (`trace.sidecar`)."""
        if self._lost is not None:
            raise self._lost
        found = sealed(self.records, sorted(self._actors), self._digest.hexdigest(), self._locator, self._states)
        text = sidecar_text(found | dict(law))
        with self._errors():
            self._file.seek(0)
            self._header()
            self._file.flush()
            os.fsync(self._file.fileno())
            sidecar_path(self.path).unlink(missing_ok=True)
            os.replace(self._name, self.path)
            write_text(sidecar_path(self.path), text)

    def _header(self) -> None:
        """NumPy pads the header, so that it keeps its length as the array grows (NEP 1, format 1.0)."""
        described = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (self.records,)}
        np.lib.format.write_array_header_1_0(self._file, described)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be written: {error.strerror or error}") from error
