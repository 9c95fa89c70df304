"""What a stored `Result` must look like: its keys, their types, and the counters that the equations name.

docs/schema/result.schema.json says the same in more detail. What is accepted here can be checked, printed and
compared without another look at its form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kcompressd.errors import ResultFileError

VERSION: Final = 1
"""Of the stored form."""

LARGEST: Final = (1 << 63) - 1
"""The largest number that a Result may have: what arrays hold."""

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
    "zswap": ("pool_total_size", "stored_pages"),
    "zram": ("mm_stat", "io_stat"),
    "error": ("kind", "message", "actor"),
}
"""Keys that every reader may count on beside those that an equation names."""

_APPLICATION: Final = {
    "name": "text",
    "kind": "text",
    "memcg": "text",
    "start_ns": "count",
    "end_ns": "count or null",
    "touches": "count",
    "touch_ns": "spread",
    "stall_ns": "count",
    "allocstall": "count",
    "pgfault": "count",
    "pgmajfault": "count",
    "oom_kill": "count",
    "pgpgin": "count",
    "workingset_refault_file": "count",
    "deadline_ns": "positive count",
    "late_ns": "whole number or null",
}
_MEMCG: Final = {
    "name": "text",
    "memory_current": "count or null",
    "memory_stat": "counters",
    "memory_events": "counters",
    "memory_reclaim": "list of objects",
}
_WRITE: Final = {"at_ns": "count", "end_ns": "count or null", "bytes": "count", "reclaimed_bytes": "count"}
_THREAD: Final = {"actor": "text"}
_SPREAD: Final = {"p50": "count", "p99": "count", "p999": "count", "max": "count", "count": "count"}
_CONFIG: Final = {
    "design": "object",
    "store": "text",
    "compressor": "text",
    "pages": "count",
    "page_size": "positive count",
    "preset": "text or null",
    "kernel": "list of counts",
    "kswapd": "count",
    "seconds": "number",
    "memcgs": "list of objects",
    "node": "object",
    "workload": "list of objects",
    "machine": "object",
}
_ERROR: Final = {"kind": "text", "message": "text", "actor": "text"}
_LATER: Final = ("pgpgin", "workingset_refault_file", "deadline_ns", "late_ns")
_NEEDLESS: Final = ("preset", "kernel", "kswapd", "seconds", "memcgs", "node", "workload", "machine")
"""Keys of the forms above that not every object has."""
_SPREADS: Final = ("reclaim_page_ns", "fault_page_ns", "touch_ns", "queue_wait_ns", "fault_wait_ns", "stall_ns")
"""What of `timing` is no number."""

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


OTHERS: Final = ("estimate", "fidelity", "comparison", "advice")
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
    checks: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (_outer, _inner, _values, _named, _unwritable)
    wrong: list[str] = next((found for check in checks if (found := list(check(data)))), [])
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ResultFileError(origin, f"not a Result: {'; '.join(wrong[:SHOWN])}{more}")


def _outer(data: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key} is missing" for key in KEYS if key not in data and key not in OPTIONAL)
    yield from (f"unknown key {key}" for key in data if key not in (*KEYS, "version"))
    for key, types in _TYPES.items():
        if key in data and not isinstance(data[key], types):
            yield f"{key} is {_kind(data[key])}"


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
            yield f"{path} is {_kind(counters)}"
    yield from _measures("timing", data["timing"])
    yield from (f"timing.{name} is no spread" for name in _SPREADS if not _is_spread(data["timing"].get(name, {})))
    yield from _samples(data["series"])
    for i, thread in enumerate(data["threads"]):
        yield from _object(f"threads[{i}]", thread, _THREAD) or _measures(f"threads[{i}]", thread)
    yield from _config(data["config"])
    for i, app in enumerate(data.get("applications", ())):
        yield from _object(f"applications[{i}]", app, _APPLICATION, _LATER)
    for i, group in enumerate(data.get("memcgs", ())):
        wrong = _object(f"memcgs[{i}]", group, _MEMCG)
        writes = [] if wrong else enumerate(group["memory_reclaim"])
        yield from wrong
        yield from (one for at, write in writes for one in _object(f"memcgs[{i}].memory_reclaim[{at}]", write, _WRITE))
    for name, sizes in data.get("mthp", {}).items():
        yield from [] if _is("counters", sizes) else [f"mthp.{name} is no counters"]
    yield from [] if data["error"] is None else _object("error", data["error"], _ERROR)
    for key in ("notes", "errors"):
        yield from (f"{key}[{i}] is no text" for i, text in enumerate(data[key]) if not isinstance(text, str))


def _config(config: Mapping[str, Any]) -> Iterator[str]:
    wrong = _object("config", config, _CONFIG, _NEEDLESS)
    yield from wrong
    if not wrong and not _is("count", config["design"].get("threads", 0)):
        yield "config.design.threads is no count"
    marks = config["node"].get("watermarks") if not wrong and "node" in config else None
    if marks is not None and not (_is("list of counts", marks) and len(marks) == 3):
        yield "config.node.watermarks is no list of three counts"


def _samples(series: Mapping[str, Any]) -> Iterator[str]:
    if series and "t_ns" not in series:
        yield "series.t_ns is missing"
    for name, values in series.items():
        if not isinstance(values, list | tuple):
            yield f"series.{name} is no list"
        elif not all(_is("number", value) for value in values):
            yield f"series.{name} has a sample that is no number"
    lengths = {len(values) for values in series.values() if isinstance(values, list | tuple)}
    if len(lengths) > 1:
        yield "series has lists of several lengths"


def _measures(path: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Numbers by name, spreads of them, and in a thread its actor."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _object(f"{path}.{name}", value, _SPREAD)
            yield from (f"{path}.{name}.{at} is no count" for at, one in value.items() if not _is_count(one))
        elif name != "actor" and not (_is("number", value) and value >= 0):
            yield f"{path}.{name} is no number"


def _object(path: str, found: Any, form: Mapping[str, str], needless: Sequence[str] = ()) -> list[str]:
    """What is wrong with an object that has the keys of `form`, or may have the `needless` ones, and others."""
    if not isinstance(found, Mapping):
        return [f"{path} is {_kind(found)}"]
    wrong = [f"{path}.{name} is missing" for name in form if name not in found and name not in needless]
    return wrong + [
        f"{path}.{name} is no {form[name]}" for name in form if name in found and not _is(form[name], found[name])
    ]


def _is(form: str, value: Any) -> bool:
    """Whether a value is what `form` says."""
    match form:
        case "count" | "positive count":
            return _is_count(value) and (form == "count" or value > 0)
        case "number" | "whole number":
            kind = int if form == "whole number" else int | float
            return isinstance(value, kind) and not isinstance(value, bool) and abs(value) <= LARGEST
        case "text":
            return isinstance(value, str)
        case "object":
            return isinstance(value, Mapping)
        case "counters":
            return isinstance(value, Mapping) and all(map(_is_count, value.values()))
        case "spread":
            return _is_spread(value)
        case "list of counts" | "list of objects":
            return isinstance(value, list | tuple) and all(_is(form[8:-1], one) for one in value)
        case _:
            return value is None or _is(form.removesuffix(" or null"), value)


def _is_spread(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and not (value and _object("", value, _SPREAD))
        and all(map(_is_count, value.values()))
    )


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


def _unwritable(data: Mapping[str, Any]) -> Iterator[str]:
    """Numbers beyond 64 bits, NaN, and texts that are no UTF-8."""
    for key, value in data.items():
        if key != "series":  # which is looked at, and the most of it
            yield from _extremes(key, value)


def _extremes(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _extremes(path, name)
            yield from _extremes(f"{path}.{name}", inner)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _extremes(f"{path}[{i}]", inner)
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            yield f"{path} has a text that is no UTF-8"
    elif isinstance(value, int | float) and not abs(value) < 1 << 64:
        yield f"{path} is a number beyond 64 bits"


def _kind(value: object) -> str:
    """JSON's word for what a value is."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (Mapping, "an object"),
        ((list, tuple), "a list"),
        (str, "a text"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (type(None), "null"),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), f"of type {type(value).__name__}")


def _at(data: Mapping[str, Any], path: str) -> Any:
    found: Any = data
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
