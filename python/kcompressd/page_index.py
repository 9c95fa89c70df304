"""`FILE.index.json`: where captured pages come from. The format is docs/formats.md, the schema docs/schema/.

A `PageIndex` holds what the pages themselves do not say: the source process, which mapping each run of pages
belonged to, whether the capture is complete, and what was left out. Page size, page count and digest belong
to `Pages`; they are written into the same JSON document and compared when it is read (`IndexDocument`).

Invariant (checked by `check_mappings`): mappings are in page order and do not overlap, each has at least one
page, and all lie within the page count. Pages that no mapping covers have an unknown origin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

INDEX_VERSION: Final = 1
PAGE_SIZES: Final = (4096, 16384, 65536)
"""Base page sizes that Linux architectures use, in bytes (`units::PAGE_SIZES` of the core)."""
KINDS: Final = ("heap", "stack", "anon", "file-private")
"""Kinds of mapping an anonymous page can belong to; `file-private` is a copied-on-write page of a private
file mapping.
"""

_T = TypeVar("_T")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PERMS = re.compile(r"[r-][w-][x-][ps]")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A run of neighbouring pages of the file, all from one mapping of the process.

    `start` and `end` are the mapping's virtual addresses in bytes; `first_page` and `pages` are in pages of
    the file. One mapping appears more than once when the file holds several separate runs of it.
    """

    start: int
    end: int
    perms: str
    name: str
    kind: str
    first_page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Source:
    """The process that the pages come from; None where it is unknown or withheld.

    `captured_at` is UTC in ISO 8601; `kernel` is the kernel release; `cmdline` is kept only when asked for.
    """

    pid: int | None = None
    comm: str | None = None
    cmdline: tuple[str, ...] | None = None
    kernel: str | None = None
    captured_at: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Pages of the process that the file does not hold, by reason; all counts are pages.

    `swapped`: on a swap device; `zero`: the kernel's shared zero page, which is nobody's memory;
    `unreadable`: present in a mapping without read permission; `vanished`: unmapped or swapped between the
    scan and the read; `over_limit`: beyond the limit asked for; `unread`: not reached before the process
    exited.
    """

    swapped: int = 0
    zero: int = 0
    unreadable: int = 0
    vanished: int = 0
    over_limit: int = 0
    unread: int = 0

    @classmethod
    def total(cls, parts: Iterable[Skipped]) -> Skipped:
        """Return the sum of several, reason by reason."""
        counts = [astuple(part) for part in parts]
        return cls(*map(sum, zip(*counts, strict=True)))


@dataclass(frozen=True, slots=True)
class PageIndex:
    """What is known about a set of pages besides the pages. `reason` says why `complete` is False."""

    source: Source = field(default_factory=Source)
    mappings: tuple[Mapping, ...] = ()
    complete: bool = True
    reason: str | None = None
    skipped: Skipped = field(default_factory=Skipped)
    notes: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """Pid of the source process, None when unknown."""
        return self.source.pid

    @property
    def command(self) -> str | None:
        """The source's command line when it was kept, else its `comm`, else None."""
        return " ".join(self.source.cmdline) if self.source.cmdline else self.source.comm

    @property
    def time(self) -> str | None:
        """When it was captured, UTC in ISO 8601, None when unknown."""
        return self.source.captured_at

    @property
    def kinds(self) -> dict[str, int]:
        """Pages by kind of mapping, largest first."""
        totals: dict[str, int] = {}
        for mapping in self.mappings:
            totals[mapping.kind] = totals.get(mapping.kind, 0) + mapping.pages
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def window(self, first: int, stop: int) -> PageIndex:
        """Return the index of pages `first` to `stop` (exclusive) as a set of its own."""
        kept = []
        for mapping in self.mappings:
            low, high = max(mapping.first_page, first), min(mapping.first_page + mapping.pages, stop)
            if low < high:
                kept.append(replace(mapping, first_page=low - first, pages=high - low))
        return replace(self, mappings=tuple(kept))

    @staticmethod
    def joined(parts: Sequence[tuple[PageIndex, int]]) -> PageIndex:
        """Return the index of several sets in a row, each given with its number of pages: the source's facts that
        all share, every mapping moved on, counts added, notes once each, the first reason.
        """
        first = parts[0][0]
        common = {
            name: getattr(first.source, name)
            for name in Source.__dataclass_fields__
            if all(getattr(index.source, name) == getattr(first.source, name) for index, _ in parts)
        }
        mappings: list[Mapping] = []
        before = 0
        for index, pages in parts:
            mappings += (replace(mapping, first_page=mapping.first_page + before) for mapping in index.mappings)
            before += pages
        return PageIndex(
            source=Source(**common),
            mappings=tuple(mappings),
            complete=all(index.complete for index, _ in parts),
            reason=next((index.reason for index, _ in parts if index.reason), None),
            skipped=Skipped.total(index.skipped for index, _ in parts),
            notes=tuple(dict.fromkeys(note for index, _ in parts for note in index.notes)),
        )

    def take(self, positions: npt.NDArray[np.int64], pages: int) -> PageIndex:
        """Return the index of the pages at `positions` (shape (k,), each in 0..pages), in that order."""
        owner = np.full(pages, -1, dtype=np.int64)
        for number, mapping in enumerate(self.mappings):
            owner[mapping.first_page : mapping.first_page + mapping.pages] = number
        return replace(self, mappings=mapping_runs(self.mappings, owner[positions]))


@dataclass(frozen=True, slots=True)
class IndexDocument:
    """The whole JSON document: the index, and the three facts that must agree with the page file."""

    page_size: int
    pages: int
    digest: str
    index: PageIndex

    def to_json(self) -> dict[str, Any]:
        """Return the document as docs/formats.md lays it out."""
        about = about_to_json(self.index)
        return {
            "version": INDEX_VERSION,
            "page_size": self.page_size,
            "pages": self.pages,
            "digest": self.digest,
            "source": about.pop("source"),
            "mappings": [asdict(mapping) for mapping in self.index.mappings],
            **about,
        }

    @classmethod
    def from_json(cls, document: object) -> IndexDocument:
        """Read a parsed JSON document; raises `ValueError` naming the key that is wrong."""
        root = _object(
            document,
            "the document",
            {"version", "page_size", "pages", "digest", "source", "mappings", "complete"},
            {"reason", "skipped", "notes"},
        )
        version = _integer(root["version"], "version")
        if version != INDEX_VERSION:
            raise ValueError(f"version {version} is not understood, only version {INDEX_VERSION}")
        page_size = _integer(root["page_size"], "page_size")
        if page_size not in PAGE_SIZES:
            raise ValueError(f"page_size {page_size} is not one of {PAGE_SIZES}")
        pages = _integer(root["pages"], "pages", least=1)
        mappings = tuple(
            _mapping(item, f"mappings[{i}]") for i, item in enumerate(_array(root["mappings"], "mappings"))
        )
        check_mappings(mappings, pages)
        index = replace(about_from_json(root), mappings=mappings)
        return cls(page_size, pages, _matching(root["digest"], _DIGEST, "digest"), index)


def about_to_json(index: PageIndex) -> dict[str, Any]:
    """Return all of an index but its mappings, as docs/formats.md lays it out."""
    source = asdict(index.source)
    words = source.pop("cmdline")
    if words:
        source["cmdline"] = list(words)
    return {
        "source": source,
        "complete": index.complete,
        "reason": index.reason,
        "skipped": asdict(index.skipped),
        "notes": list(index.notes),
    }


def about_from_json(root: AbcMapping[str, object]) -> PageIndex:
    """Read what `about_to_json` returns; raises `ValueError` naming the key that is wrong."""
    return PageIndex(
        source=_source(root["source"]),
        complete=_typed(root["complete"], bool, "complete"),
        reason=_optional(root.get("reason"), "reason", _string),
        skipped=_skipped(root.get("skipped", {})),
        notes=tuple(_string(note, "notes") for note in _array(root.get("notes", []), "notes")),
    )


def mapping_runs(mappings: Sequence[Mapping], owner: npt.NDArray[np.int64]) -> tuple[Mapping, ...]:
    """Return one `Mapping` per run of equal `owner`, shape (n,): a position in `mappings`, or -1 for none."""
    if owner.size == 0:
        return ()
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1))
    lengths = np.diff(np.append(firsts, owner.size))
    return tuple(
        replace(mappings[number], first_page=first, pages=length)
        for number, first, length in zip(owner[firsts].tolist(), firsts.tolist(), lengths.tolist(), strict=True)
        if number >= 0
    )


def check_mappings(mappings: Sequence[Mapping], pages: int) -> None:
    """Raise `ValueError` when mappings overlap, are out of order, or lie beyond `pages`."""
    reached = 0
    for number, mapping in enumerate(mappings):
        if mapping.first_page < reached:
            raise ValueError(
                f"mappings[{number}] begins at page {mapping.first_page}, inside or before the one before it"
            )
        reached = mapping.first_page + mapping.pages
        if reached > pages:
            raise ValueError(f"mappings[{number}] ends at page {reached}, beyond the {pages} pages")


def _typed(value: object, kind: type[_T], key: str) -> _T:
    if not isinstance(value, kind):
        raise ValueError(f"{key} is not a {kind.__name__}")
    return value


def _string(value: object, key: str) -> str:
    return _typed(value, str, key)


def _integer(value: object, key: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is not an integer")
    if value < least:
        raise ValueError(f"{key} is {value}, less than {least}")
    return value


def _array(value: object, key: str) -> list[object]:
    return list(_typed(value, list, key))


def _optional(value: object, key: str, read: Callable[[object, str], _T]) -> _T | None:
    return None if value is None else read(value, key)


def _matching(value: object, pattern: re.Pattern[str], key: str) -> str:
    text = _string(value, key)
    if not pattern.fullmatch(text):
        raise ValueError(f"{key} does not match {pattern.pattern}")
    return text


def _object(value: object, key: str, required: set[str], optional: set[str]) -> AbcMapping[str, object]:
    found: dict[str, object] = _typed(value, dict, key)
    if missing := sorted(required - found.keys()):
        raise ValueError(f"{key} lacks {', '.join(missing)}")
    if unknown := sorted(found.keys() - required - optional):
        raise ValueError(f"{key} has the unknown {', '.join(unknown)}")
    return found


def _mapping(value: object, key: str) -> Mapping:
    item = _object(value, key, {"start", "end", "perms", "name", "kind", "first_page", "pages"}, set())
    kind = _string(item["kind"], f"{key}.kind")
    if kind not in KINDS:
        raise ValueError(f"{key}.kind is {kind!r}, not one of {', '.join(KINDS)}")
    return Mapping(
        start=_integer(item["start"], f"{key}.start"),
        end=_integer(item["end"], f"{key}.end"),
        perms=_matching(item["perms"], _PERMS, f"{key}.perms"),
        name=_string(item["name"], f"{key}.name"),
        kind=kind,
        first_page=_integer(item["first_page"], f"{key}.first_page"),
        pages=_integer(item["pages"], f"{key}.pages", least=1),
    )


def _source(value: object) -> Source:
    item = _object(value, "source", {"pid", "comm", "kernel", "captured_at"}, {"cmdline"})
    words = _optional(item.get("cmdline"), "source.cmdline", _array)
    return Source(
        pid=_optional(item["pid"], "source.pid", _integer),
        comm=_optional(item["comm"], "source.comm", _string),
        cmdline=None if words is None else tuple(_string(word, "source.cmdline") for word in words),
        kernel=_optional(item["kernel"], "source.kernel", _string),
        captured_at=_optional(item["captured_at"], "source.captured_at", _string),
    )


def _skipped(value: object) -> Skipped:
    item = _object(value, "skipped", set(), set(Skipped.__dataclass_fields__))
    return Skipped(**{key: _integer(count, f"skipped.{key}") for key, count in item.items()})
