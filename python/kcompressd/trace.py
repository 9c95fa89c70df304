"""Traces: one 32-byte record an event, in a NumPy file with a JSON sidecar (docs/formats.md).

``t.npy`` holds the records, ``t.npy.json`` what they cannot say themselves: the law they obey, names,
design, config, and a seal (count, SHA-256, locator, final states) by which any later change shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kcompressd import lifecycle_enums
from kcompressd._core import Locator
from kcompressd.arrays import DAMAGED_ARRAY
from kcompressd.errors import NOT_PARSED, InputError, file_path, refuse_type
from kcompressd.files import read_text, temporary, write_text
from kcompressd.lifecycle import table
from kcompressd.names import plain
from kcompressd.trace_words import Step, names, step
from kcompressd.workload import MAX_FOLIO_ORDER

if TYPE_CHECKING:
    from kcompressd.result import Result
    from kcompressd.validate import Validation

Records = npt.NDArray[np.void]
"""A one-dimensional array of dtype :data:`RECORD`."""

RECORD = np.dtype(
    [
        ("t_ns", "<u8"),
        ("aux", "<u8"),
        ("folio", "<u4"),
        ("seq", "<u4"),
        ("actor", "<u2"),
        ("flags", "<u2"),
        ("event", "u1"),
        ("from", "u1"),
        ("to", "u1"),
        ("guards", "u1"),
    ]
)
"""One record, 32 bytes, little-endian."""

FORMAT = "kcompressd-trace"
VERSION = 1
SYSTEM = 0xFFFFFFFF
"""The folio number of a system event."""
_BLOCK = 1 << 18


class TraceError(ValueError):
    """A file that is not a trace, or cannot be written; the message names the file and what is wrong with it."""

    result: Result | None = None
    """What the run came to whose trace could not be written."""


class Trace:
    """Records and what is known of them.

    ``records`` has dtype :data:`RECORD`; ``meta`` is the sidecar as a dict, or ``None`` where there is
    none. A writer gives the keys that only it knows (see :func:`sidecar`); :meth:`save` seals what has no
    seal yet.
    """

    def __init__(self, records: Records, meta: Mapping[str, Any] | None = None) -> None:
        """Raises :class:`TraceError` for an array of another dtype or shape, and for what is none."""
        refuse_type("records", records, np.ndarray, "an array of trace records", InputError)
        refuse_type("meta", meta, (Mapping, type(None)), "a sidecar's dict", InputError)
        if records.dtype != RECORD or records.ndim != 1:
            raise TraceError(f"{records.dtype} of shape {records.shape} is not a 1-d array of trace records")
        self.records = records
        self.meta = None if meta is None else dict(meta)

    def __repr__(self) -> str:
        """Say how many records there are, and of what."""
        meta = self.meta or {}
        design = (meta.get("config") or {}).get("preset", "")
        return f"<Trace {len(self)} records{f' of {design}' if design else ''}{', partial' if meta.get('complete') is False else ''}>"

    def __len__(self) -> int:
        """Records, system events included."""
        return len(self.records)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Maps ``path`` and reads its sidecar, which may be missing.

        Raises :class:`TraceError` for a file that is no trace, is shorter than it says, or has a broken
        sidecar, and :class:`OSError` for one that cannot be read.
        """
        file = file_path(path)
        try:
            trace = cls(_map(file))
        except ValueError as error:
            raise TraceError(f"{file}: not a trace: {error}") from error
        except OSError as error:
            error.filename = error.filename or os.fspath(file)
            raise
        beside = sidecar_path(file)
        if beside.exists():
            trace.meta = _read_sidecar(beside)
        return trace

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes ``path`` and its sidecar, the sidecar last; a seal that the meta already has is kept as it
        is. Raises :class:`TraceError`, naming the path, when it cannot be written."""
        file = file_path(path)
        meta = self.meta if self.meta is not None and "sha256" in self.meta else seal(self.records, self.meta or {})
        text = sidecar_text(meta)
        try:
            with temporary(file, self._write) as records:
                sidecar_path(file).unlink(missing_ok=True)
                os.replace(records, file)
            write_text(sidecar_path(file), text)
        except OSError as error:
            raise TraceError(f"{file}: cannot be written: {error.strerror or error}") from error

    def _write(self, out: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(self.records))
        for block in self.blocks():  # not tofile: its errors have no errno
            out.write(block)

    @property
    def unit(self) -> str:
        """What ``t_ns`` counts: steps in a trace of the explore driver, else nanoseconds."""
        config = (self.meta or {}).get("config") or {}
        return "steps" if config.get("clock") == "explore" else "ns"

    def validate(self) -> Validation:
        """Judges the trace by today's law; see :func:`kcompressd.validate.validate`."""
        from kcompressd.validate import validate

        return validate(self)

    def of_page(self, folio: int) -> npt.NDArray[np.intp]:
        """Positions of a page's records, in order."""
        return np.flatnonzero(self.records["folio"] == folio)

    def timeline(self, folio: int) -> list[Step]:
        """A page's life, one step a record."""
        steps: list[Step] = []
        for index in self.of_page(folio).tolist():
            steps.append(step(self.records[index], index, steps[-1] if steps else None))
        return steps

    def blocks(self) -> Iterator[bytes]:
        """The raw records, 256 KiB at a time: a copy that stays in the cache until it has been read."""
        raw = np.ascontiguousarray(self.records).view(np.uint8)
        for first in range(0, len(raw), _BLOCK):
            yield raw[first : first + _BLOCK].tobytes()


def _map(file: Path) -> Records:
    with file.open("rb") as opened:
        if opened.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("no NumPy file; kcompressd run --trace T.npy makes one")
    try:
        records: Records = np.load(file, mmap_mode="r", allow_pickle=False)
    except DAMAGED_ARRAY as error:
        raise ValueError(f"damaged or cut short ({error}); fetch or record it again") from error
    return records


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the sidecar of the trace at ``path`` is."""
    return Path(f"{os.fspath(path)}.json")


def sidecar_text(meta: Mapping[str, Any]) -> str:
    """Return a sidecar as its file has it; numbers may be NumPy's."""
    return json.dumps(meta, indent=1, sort_keys=True, default=plain) + "\n"


def sidecar(
    *,
    pages: int,
    ordering: str,
    complete: bool,
    design: str | None = None,
    config: Mapping[str, Any] | None = None,
    depths: list[int] | None = None,
    in_hand: int = 32,
    memcgs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The part of a sidecar that only the writer of a trace knows.

    ``ordering`` is ``"total"`` or ``"per-folio"``. ``depths`` are the queues' depths in folios at the
    start, ``in_hand`` how many folios of one queue consumers may have taken but not begun. ``memcgs`` has
    ``parents`` (a root is its own), ``writeback`` (0 or 1 each) and ``of_page``; with it the guard
    ``writeback_enabled`` is checked.
    """
    law: dict[str, Any] = {"pages": pages, "ordering": ordering, "complete": complete}
    law |= {"design": design, "config": dict(config or {})}
    if depths is not None:
        law["queues"] = {"depths": depths, "in_hand": in_hand}
    if memcgs is not None:
        law["memcgs"] = dict(memcgs)
    return law


def seal(records: Records, meta: Mapping[str, Any]) -> dict[str, Any]:
    """``meta`` with format, names, table digest, count, SHA-256, locator and final states of ``records``.

    Keys that ``meta`` has are kept: a writer that knows the pages' final states itself says so in
    ``final_states`` (see :func:`encode_states`), and the validator holds the records against it.
    """
    digest, locator = hashlib.sha256(), Locator()
    for block in Trace(records).blocks():
        digest.update(block)
        locator.feed(block)
    folios = records["folio"][records["folio"] != SYSTEM]
    pages = int(meta.get("pages") or (int(folios.max()) + 1 if len(folios) else 0))
    states = _last_states(records, pages, meta.get("config") or {})
    found = sealed(len(records), np.unique(records["actor"]).tolist(), digest.hexdigest(), locator, states)
    return sidecar(pages=pages, ordering="per-folio", complete=False) | found | dict(meta)


def sealed(
    records: int, actors: Iterable[int], digest: str, locator: Locator, states: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """The part of a sidecar that follows from the records: their count, who acted, SHA-256, locator, the pages' final states."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "table": table().digest,
        "names": names(actors),
        "records": records,
        "sha256": digest,
        "locator": [f"{number:016x}" for number in locator.sums()],
        "final_states": encode_states(states),
    }


def encode_states(states: npt.NDArray[np.uint8]) -> str:
    """State ids, one byte a page, in base64."""
    return base64.b64encode(states.tobytes()).decode()


def decode_states(text: str) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`encode_states`; raises :class:`ValueError` for what is not base64."""
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8)


def first_states(pages: int, *, absent: bool, folio_order: int = 0) -> npt.NDArray[np.uint8]:
    """State ids before a run: in one with a memory budget (`absent`) no page is there before its first touch; else all are, in
    folios of ``2**folio_order`` pages as far as they go.
    """
    states = np.full(pages, lifecycle_enums.State.FREED if absent else lifecycle_enums.State.RESIDENT, np.uint8)
    if folio_order and not absent:
        whole = pages >> folio_order << folio_order
        states[:whole].reshape(-1, 1 << folio_order)[:, 1:] = lifecycle_enums.State.TAIL
    return states


def _last_states(records: Records, pages: int, config: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    states = first_states(pages, absent="node" in config, folio_order=int(config.get("folio_order", 0)))
    inside = records["folio"] < pages
    states[records["folio"][inside]] = records["to"][inside]  # the last assignment to a page stays
    return states


_KEYS: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "table": str,
    "pages": int,
    "records": int,
    "sha256": str,
    "locator": list,
    "final_states": str,
    "ordering": str,
    "complete": bool,
}


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(read_text(path))
    except NOT_PARSED as error:
        raise TraceError(f"{path}: not JSON: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise TraceError(f"{path}: not the sidecar of a trace: format is not {FORMAT!r}")
    for key, kind in _KEYS.items():
        if not isinstance(meta.get(key), kind):
            raise TraceError(f"{path}: {key!r} is missing or of the wrong type")
    if meta["version"] != VERSION:
        raise TraceError(f"{path}: version {meta['version']}; this kcompressd reads {VERSION}")
    if meta["ordering"] not in ("total", "per-folio"):
        raise TraceError(f"{path}: ordering {meta['ordering']!r} is neither 'total' nor 'per-folio'")
    _check_numbers(path, meta)
    return meta


def _check_numbers(path: Path, meta: dict[str, Any]) -> None:
    for key in ("config", "queues", "memcgs"):
        if not isinstance(meta.get(key) or {}, dict):
            raise TraceError(f"{path}: {key!r} is of the wrong type")
    try:
        decode_states(meta["final_states"])
        locator = [int(text, 16) for text in meta["locator"]]
        given = judged(meta)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise TraceError(f"{path}: damaged sidecar: {error}") from error
    if "memcgs" in given:
        parents, writeback, of_page = given["memcgs"]
        count, fits = len(parents), len(parents) == len(writeback) and len(of_page) == meta["pages"]
        if not fits or not _all_within([*parents, *of_page], count):
            raise TraceError(f"{path}: 'memcgs' does not fit: {count} memcgs, {meta['pages']} pages")
    if not _all_within([*given.get("depths", ()), given.get("in_hand", 0)], 1 << 32):
        raise TraceError(f"{path}: 'queues' has a number that is not from 0 to {(1 << 32) - 1}")
    if len(locator) != 2 or not _all_within(locator, 1 << 64):
        raise TraceError(f"{path}: 'locator' is not two numbers of at most 16 hexadecimal digits")
    if not 0 <= meta["pages"] < SYSTEM:
        raise TraceError(f"{path}: 'pages' is not from 0 to {SYSTEM - 1}")
    if not 0 <= given["folio_order"] <= MAX_FOLIO_ORDER:
        raise TraceError(f"{path}: 'config' has a folio_order of {given['folio_order']}")


def _all_within(numbers: Iterable[int], end: int) -> bool:
    return all(0 <= number < end for number in numbers)


def judged(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of :class:`kcompressd._core.Judge` that a sidecar implies."""
    arguments: dict[str, Any] = {
        "total": meta.get("ordering") == "total",
        "complete": bool(meta.get("complete")),
        "absent": "node" in (meta.get("config") or {}),
        "folio_order": int((meta.get("config") or {}).get("folio_order", 0)),
    }
    if queues := meta.get("queues"):
        arguments["depths"] = [int(d) for d in queues["depths"]]
        arguments["in_hand"] = int(queues["in_hand"])
    if memcgs := meta.get("memcgs"):
        parents = [int(m) for m in memcgs["parents"]]
        writeback = [bool(on) for on in memcgs["writeback"]]
        arguments["memcgs"] = (parents, writeback, [int(m) for m in memcgs["of_page"]])
    return arguments
