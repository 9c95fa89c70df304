"""A trace as Chrome's trace events, for Perfetto (ui.perfetto.dev) and chrome://tracing.

Actors are threads. What takes time is a slice: on its actor's track where one actor begins and ends it (compress, fault),
else on a track of its own (waiting in a queue, writeback). A flow arrow leads from `queue` on kswapd's track to `compress`
on kcompressd's. Every other record is an instant. Counters: each queue's depth, and frames held although compressed; of
the run's `Result`, what it was sampled for beside: free pages against the watermarks, the pool, stalls.

Each record of the trace (of its window) is in exactly one event's `args` (`seq`, or `end` of a slice), so nothing is left
out. Format: "Trace Event Format" (Google, 2016); times are the trace's, in microseconds.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd import files, lifecycle, series
from kcompressd.errors import OutputError, ResultFileError, file_path, refuse_type
from kcompressd.result import Result
from kcompressd.trace import RECORD, SYSTEM, Records, Trace
from kcompressd.trace_words import actor_name, aux_text, event_name, state_name

Event: TypeAlias = dict[str, Any]
"""One trace event."""
Window: TypeAlias = tuple[float, float]
"""From and to, nanoseconds of the trace's clock; what happens at the end is left out."""

ALL: Final[Window] = (0.0, float("inf"))
PID: Final = 1
_ENDS: Final = {
    "compress": {"store", "reject", "redirty", "write"},
    "fault": {"load", "load_error"},
}
"""Slices of one actor: by the event that begins them, the events that end them."""
_STATES: Final = {"queued": "in queue", "writing_back": "writeback"}
"""States that are slices of their own: nobody's track, one page's."""
_NAMES: Final = tuple(lifecycle.EVENTS)
_COUNTED: Final = ("queue_len", "frames_held_twice")
"""What the trace itself says exactly."""


def save(trace: Trace, path: str | os.PathLike[str], *, window: Window = ALL, result: Result | None = None) -> int:
    """Write `path` (compressed when it ends in .gz) and return the number of events.

    Raises `OutputError`, and `ResultFileError` for the `result` of another run.
    """
    refuse_type("trace", trace, Trace, "a Trace", OutputError)
    refuse_type("result", result, (Result, type(None)), "a Result", OutputError)
    where, count = file_path(path, OutputError), 0

    def write(out: BinaryIO | gzip.GzipFile) -> None:
        nonlocal count
        out.write(f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(_about(trace))},\n"traceEvents": ['.encode())
        for event in events(trace, window=window, result=result):
            out.write((",\n" if count else "\n").encode() + json.dumps(event, separators=(",", ":")).encode())
            count += 1
        out.write(b"\n]}\n")

    def packed(out: BinaryIO) -> None:
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=5, mtime=0) as stream:
            write(stream)

    try:
        files.replace(where, packed if where.suffix == ".gz" else write)
    except OSError as error:
        raise OutputError(where, f"cannot be written: {error.strerror or error}") from error
    return count


def events(trace: Trace, *, window: Window = ALL, result: Result | None = None) -> Iterator[Event]:
    """Yield all events: names of the tracks, samples, then everything, slices of actors when they end.

    What began before the window begins with it, and counters begin at what they had come to. Raises as `save`.
    """
    yield from _tracks(trace)
    if result is not None:
        yield from _samples(trace, result, window)
    yield from _Episode(trace, window)


def _samples(trace: Trace, result: Result, window: Window) -> Iterator[Event]:
    """Counters of what the run was sampled for, and lines for the watermarks."""
    pages = (trace.meta or {}).get("pages", result.pages)
    if pages != result.pages:
        raise ResultFileError(
            "result", f"is of {result.pages} pages, the trace of {pages}", "give that of the same run"
        )
    times = np.asarray(result.series.get("t_ns", ()), dtype=np.float64)
    inside = np.flatnonzero((times >= window[0]) & (times < window[1])).tolist()
    tracks = [
        (series.track(name).title, column)
        for name, column in result.series.items()
        if name not in ("t_ns", *_COUNTED) and any(column)
    ]
    marks = (result.config.get("node") or {}).get("watermarks") or ()
    for at in inside:
        yield from (_counter(title, times[at], column[at]) for title, column in tracks)
    for at in inside[:1] + inside[-1:]:
        for mark, level in zip(("min", "low", "high"), marks, strict=False):
            yield _counter(f"{mark} watermark", times[at], level)


def _counter(name: str, t_ns: float, value: float) -> Event:
    return {"ph": "C", "name": name, "pid": PID, "tid": 0, "ts": t_ns / 1e3, "args": {"value": value}}


def _about(trace: Trace) -> Event:
    meta = trace.meta or {}
    known = {key: meta[key] for key in ("design", "pages", "ordering", "complete") if key in meta}
    return known | {"records": len(trace), "unit": trace.unit}


def _tracks(trace: Trace) -> Iterator[Event]:
    design = (trace.meta or {}).get("design") or "a design of its own"
    yield {"ph": "M", "name": "process_name", "pid": PID, "tid": 0, "args": {"name": f"kcompressd: {design}"}}
    for actor in np.unique(trace.records["actor"]).tolist():
        yield {"ph": "M", "name": "thread_name", "pid": PID, "tid": actor, "args": {"name": actor_name(actor)}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": PID, "tid": actor, "args": {"sort_index": actor}}


def _in_order(records: Records) -> tuple[Records, npt.NDArray[np.int64]]:
    """Return the records and their times, rising, each page's and each actor's in their own order.

    In a live trace an actor reads the clock once a batch, so one page's times may cross between actors: a time is never
    shown before that of the same page's or the same actor's event before it. Records stand in an order that both obey.
    """
    times = records["t_ns"].astype(np.int64)
    of_page: dict[int, int] = {}
    of_actor: dict[int, int] = {}
    risen = times.tolist()
    for at, (page, actor) in enumerate(zip(records["folio"].tolist(), records["actor"].tolist(), strict=True)):
        now = max(risen[at], of_actor.get(actor, 0), 0 if page == SYSTEM else of_page.get(page, 0))
        risen[at] = of_page[page] = of_actor[actor] = now
    times = np.array(risen, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    return records[order], times[order]


class _Episode:
    """Turns records into events, one after the other, keeping what is open."""

    def __init__(self, trace: Trace, window: Window) -> None:
        self.records, self.times = _in_order(trace.records)
        self.window = window
        self.now_ns = 0.0
        self.depths: dict[int, int] = {}
        self.queue_of: dict[int, int] = {}
        self.held = 0
        self.open: dict[int, Event] = {}
        """Slices of actors, by page."""
        self.waiting: dict[int, Event] = {}
        """Slices of nobody, by page."""

    def __iter__(self) -> Iterator[Event]:
        begin, end = self.window
        has_begun = False
        for record, now_ns in zip(self.records, self.times.tolist(), strict=True):
            if now_ns >= end:
                self.now_ns = end
                break
            if now_ns >= begin and not has_begun:
                has_begun, self.now_ns = True, begin
                yield from self._at_begin()
            self.now_ns = now_ns
            plain = dict(zip(RECORD.names or (), record.tolist(), strict=True))
            found = self._system(plain) if plain["folio"] == SYSTEM else self._page(plain)
            yield from (event for event in found if has_begun)
        for slice_ in self.open.values() if has_begun else ():
            slice_["dur"] = self._us() - slice_["ts"]
            slice_["args"]["unfinished"] = True
            yield slice_

    def _at_begin(self) -> Iterator[Event]:
        """What has begun before the window begins with it."""
        for slice_ in (*self.open.values(), *self.waiting.values()):
            slice_["ts"] = self._us()
        yield from self.waiting.values()
        nobody = {"actor": 0}
        for queue in self.depths:
            yield self._depth(queue, 0, nobody)
        if self.held:
            yield self._held(0, nobody)

    def _us(self) -> float:
        return self.now_ns / 1e3

    def _event(self, ph: str, name: str, record: dict[str, int], **more: Any) -> Event:
        return {"ph": ph, "name": name, "pid": PID, "tid": record["actor"], "ts": self._us(), **more}

    def _system(self, record: dict[str, int]) -> Iterator[Event]:
        name = event_name(record["event"])
        yield self._event("i", name, record, s="g", args={"says": aux_text(name, record["aux"])})

    def _page(self, record: dict[str, int]) -> Iterator[Event]:
        name = _NAMES[record["event"]]
        before, after = state_name(record["from"]), state_name(record["to"])
        args = {"page": record["folio"], "seq": record["seq"], "from": before, "to": after}
        if says := aux_text(name, record["aux"]):
            args["says"] = says
        if before in _STATES and before != after:
            self.waiting.pop(record["folio"], None)
            yield self._event("e", _STATES[before], record, cat=before, id=record["folio"])
        if after in _STATES and before != after:
            begun = self._event("b", _STATES[after], record, cat=after, id=record["folio"])
            self.waiting[record["folio"]] = begun
            yield begun
        yield from self._slice_or_instant(name, record, args)
        yield from self._flow(name, before, record)
        yield from self._counters(before, after, record)

    def _slice_or_instant(self, name: str, record: dict[str, int], args: Event) -> Iterator[Event]:
        page = record["folio"]
        begun = self.open.get(page)
        if begun is not None and name in _ENDS[begun["name"]] and begun["tid"] == record["actor"]:
            begun["dur"] = round(self._us() - begun["ts"], 3)
            begun["args"]["end"] = {"event": name} | {key: args[key] for key in args if key != "page"}
            yield self.open.pop(page)
        elif name in _ENDS and page not in self.open:
            self.open[page] = self._event("X", name, record, args=args)
        elif name == "queue":  # an arrow needs a slice to begin in
            yield self._event("X", name, record, dur=0.0, args=args)
        else:
            yield self._event("i", name, record, s="t", args=args)

    def _flow(self, name: str, before: str, record: dict[str, int]) -> Iterator[Event]:
        """An arrow for each stay in the queue, named by page and ticket."""
        if name == "queue":
            yield self._event("s", "hand over", record, cat="flow", id=f"{record['folio']}.{record['aux']}")
        elif name == "compress" and before == "queued":
            yield self._event("f", "hand over", record, cat="flow", id=f"{record['folio']}.{record['aux']}", bp="e")

    def _counters(self, before: str, after: str, record: dict[str, int]) -> Iterator[Event]:
        page = record["folio"]
        if after == "queued" and before != "queued":
            self.queue_of[page] = (record["aux"] >> 48) - 1
            yield self._depth(self.queue_of[page], 1, record)
        if before == "queued" and after != "queued" and page in self.queue_of:
            yield self._depth(self.queue_of.pop(page), -1, record)
        change = (after == "compressed") - (before == "compressed")
        if change:
            yield self._held(change, record)

    def _held(self, change: int, record: dict[str, int]) -> Event:
        self.held += change
        return self._event("C", "frames held although compressed", record, args={"pages": self.held})

    def _depth(self, queue: int, change: int, record: dict[str, int]) -> Event:
        self.depths[queue] = self.depths.get(queue, 0) + change
        return self._event("C", f"queue {queue}", record, args={"folios": self.depths[queue]})
