"""What a stored `Result` must look like: its keys, their types, and the counters that the equations name.

docs/schema/result.schema.json says the same in more detail. What is accepted here can be checked, printed and
compared without another look at its form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kcompressd.errors import ResultFileError

VERSION: Final = 1
"""Of the stored form."""

KINDS: Final = ("live", "virtual", "explore", "observed")

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "kind": (str,),
    "config": (Mapping,),
    "environment": (Mapping,),
    "vmstat": (Mapping,),
    "mthp": (Mapping,),
    "zswap": (Mapping, type(None)),
    "zram": (Mapping, type(None)),
    "kcompressd": (Mapping,),
    "timing": (Mapping,),
    "lifecycle": (Mapping,),
    "series": (Mapping,),
    "census": (Mapping,),
    "phases": (Mapping,),
    "threads": (list, tuple),
    "device": (Mapping,),
    "mismatched": (list, tuple),
    "applications": (list, tuple),
    "memcgs": (list, tuple),
    "notes": (list, tuple),
    "errors": (list, tuple),
    "error": (Mapping, type(None)),
    "complete": (bool,),
}
KEYS: Final = tuple(_TYPES)
"""The keys of a Result but `version`, in the order of docs/formats.md."""

OPTIONAL: Final[Mapping[str, Any]] = {"applications": [], "memcgs": [], "mthp": {}}
"""What files written by earlier builds lack, and what it was: nothing."""

_INNER: Final[dict[str, tuple[str, ...]]] = {
    "config": ("design", "store", "compressor", "pages", "page_size", "fault"),
    "lifecycle": ("events", "violations", "by_event"),
    "timing": ("bytes_per_s",),
    "census": ("reclaim", "fault"),
    "zram": ("mm_stat", "io_stat"),
    "error": ("kind", "message", "actor"),
}
"""Keys that every reader may count on beside those that an equation names."""

_MEMCG: Final = ("name", "memory_current", "memory_stat", "memory_events", "memory_reclaim")
"""Keys of each of `memcgs` that the table shows."""

_CLOSED: Final = ("lifecycle", "census", "error")
"""Objects of which `_INNER` has every key."""

_COUNTERS: Final = (
    "vmstat",
    "zswap",
    "zram.mm_stat",
    "zram.io_stat",
    "lifecycle.by_event",
    "census.reclaim",
    "census.fault",
    "phases",
)
"""Objects of which every value is a count."""

_LISTS: Final = ("mismatched", "series.queue_len")
"""Arrays of counts that an equation names."""


OTHERS: Final = ("estimate", "fidelity", "comparison")
"""Kinds of stored JSON that are no Result."""
SHOWN: Final = 5
"""Of what is wrong with a file, so much is said."""


def refuse_malformed(data: Any, origin: object) -> None:
    """Raise `ResultFileError`, naming `origin` and every key that is missing, unknown or of a wrong type."""
    if not isinstance(data, Mapping):
        raise ResultFileError(origin, "not a Result: not a JSON object")
    if data.get("kind") in OTHERS:
        raise ResultFileError(
            origin, f"is a stored {data['kind']}, not a Result", f"print it: kcompressd show {origin}"
        )
    version = data.get("version")
    if version != VERSION:
        raise ResultFileError(origin, f"not a Result that this kcompressd reads: version {version!r}, not {VERSION}")
    wrong = list(_outer(data)) or list(_inner(data)) or list(_values(data)) or list(_named(data))
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ResultFileError(origin, f"not a Result: {'; '.join(wrong[:SHOWN])}{more}")


def _outer(data: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key} is missing" for key in KEYS if key not in data and key not in OPTIONAL)
    yield from (f"unknown key {key}" for key in data if key not in (*KEYS, "version"))
    for key, types in _TYPES.items():
        if key in data and not isinstance(data[key], types):
            yield f"{key} is of type {type(data[key]).__name__}"


def _inner(data: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in _INNER.items():
        found = data[key] or {}
        if data[key] is not None:
            yield from (f"{key}.{name} is missing" for name in inner if name not in found)
        if key in _CLOSED:
            yield from (f"unknown key {key}.{name}" for name in found if name not in inner)
    if data["kind"] not in KINDS:
        yield f"kind {data['kind']!r} is none of {', '.join(KINDS)}"


def _values(data: Mapping[str, Any]) -> Iterator[str]:
    for path in _COUNTERS:
        counters = _at(data, path)
        if isinstance(counters, Mapping):
            yield from (f"{path}.{name} is no count" for name, value in counters.items() if not _is_count(value))
        elif counters is not None:
            yield f"{path} is of type {type(counters).__name__}"
    yield from _measures("timing", data["timing"])
    yield from _samples(data["series"])
    for i, thread in enumerate(data["threads"]):
        yield from _measures(f"threads[{i}]", thread)
    if not _is_count(data["config"]["page_size"]) or not data["config"]["page_size"]:
        yield "config.page_size is no size"
    for i, group in enumerate(data.get("memcgs", ())):
        yield from (f"memcgs[{i}].{name} is missing" for name in _MEMCG if name not in group)
    for key in ("notes", "errors"):
        yield from (f"{key}[{i}] is no text" for i, text in enumerate(data[key]) if not isinstance(text, str))


def _samples(series: Mapping[str, Any]) -> Iterator[str]:
    for name, values in series.items():
        if not isinstance(values, list | tuple):
            yield f"series.{name} is no list"
        elif any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            yield f"series.{name} has a sample that is no number"


def _measures(path: str, found: Any) -> Iterator[str]:
    """Numbers by name, spreads of them, and in a thread its actor."""
    if not isinstance(found, Mapping):
        yield f"{path} is of type {type(found).__name__}"
        return
    if path != "timing" and not isinstance(found.get("actor"), str):
        yield f"{path}.actor is missing"
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _spread(f"{path}.{name}", value)
        elif name != "actor" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            yield f"{path}.{name} is no number"


def _spread(path: str, spread: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{path}.{name} is missing" for name in ("p50", "p99", "max", "count") if name not in spread)
    yield from (f"{path}.{name} is no count" for name, value in spread.items() if not _is_count(value))


def _named(data: Mapping[str, Any]) -> Iterator[str]:
    """What an equation will ask for, and is not there or no number."""
    from kcompressd.accounting import EQUATIONS, kinds, reads_files

    if data["kind"] == "observed":
        return
    store = data["config"]["store"]
    of, files = kinds(data["config"]), reads_files(data["config"])
    asking = (e for e in EQUATIONS if e.store in (None, store) and e.of in of and e.files in (None, files))
    for path in sorted({path for e in asking for path in e.paths()}):
        found = _at(data, path)
        counts = found if path in _LISTS and isinstance(found, list | tuple) else [found]
        if found is None:
            yield f"{path} is missing"
        elif path not in _COUNTERS and not all(map(_is_count, counts)):
            yield f"{path} is no count"


def _at(data: Mapping[str, Any], path: str) -> Any:
    found: Any = data
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
