"""What changed over time: a Result's samples, or every change where there is a trace.

Levels are what is there at a moment (folios queued); totals only rise (pages freed) and are looked at as rates. Names
that this module does not know are levels. Of a trace, every value is exact: each record adds what its transition adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from kcompressd.lifecycle_enums import Event, State
from kcompressd.result import Result
from kcompressd.trace import SYSTEM, Records, Trace

Floats = npt.NDArray[np.float64]

FEW: Final = 8
"""Fewer samples than this make no picture."""
BINS: Final = 60
"""Steps of time over which a total becomes a rate."""


@dataclass(frozen=True, slots=True)
class Track:
    """What a name in `series` stands for: a title, whether it is a level or a total, and of what."""

    title: str
    kind: Literal["level", "total"]
    unit: Literal["folios", "pages", "events", "ns"]


TRACKS: Final[dict[str, Track]] = {
    "pgsteal": Track("Freed", "total", "pages"),
    "pages_done": Track("Finished", "total", "pages"),
    "queue_len": Track("Queue depth", "level", "folios"),
    "frames_held_twice": Track("Frames held although compressed", "level", "pages"),
    "pool_pages": Track("Pool", "level", "pages"),
    "in_flight": Track("In flight", "level", "folios"),
    "free_pages": Track("Free", "level", "pages"),
    "allocstall": Track("Allocation stalls", "total", "events"),
    "stall_ns": Track("Time stalled in direct reclaim", "total", "ns"),
    "pgscan": Track("Scanned", "total", "pages"),
    "stores": Track("Stored", "total", "pages"),
    "pswpout": Track("Written to the swap device", "total", "pages"),
}
"""The names of docs/formats.md, in the order in which they are drawn."""


@dataclass(frozen=True)
class Series:
    """Values over `t_ns`, all float64 of one shape (n,)."""

    t_ns: Floats
    values: Mapping[str, Floats]

    @property
    def names(self) -> list[str]:
        """The names that there are, known ones first and in order."""
        known = [name for name in TRACKS if name in self.values]
        return known + [name for name in self.values if name not in TRACKS]

    def without(self, *names: str) -> Series:
        """Return the series without some names."""
        return Series(self.t_ns, {name: y for name, y in self.values.items() if name not in names})

    def drawn(self, name: str, *, rates: bool = True) -> tuple[Floats, Floats]:
        """Return times and values as a chart shows them: a level as it is, a total as its rate per second if `rates`."""
        if track(name).kind == "level" or not rates:
            return self.t_ns, self.values[name]
        return rate(self.t_ns, self.values[name])


def track(name: str) -> Track:
    """Return what `name` stands for."""
    return TRACKS.get(name) or Track(name.replace("_", " "), "level", "pages")


def of_result(result: Result) -> Series:
    """Return what is known of a result over time, from its trace where it has one."""
    if result.has_trace and len(result.trace):
        return of_trace(result.trace)
    return sampled(result)


def sampled(result: Result) -> Series:
    """Return a result's samples, from time 0 on."""
    t = np.asarray(result.series.get("t_ns", ()), dtype=np.float64)
    values = {name: np.asarray(of_it, dtype=np.float64) for name, of_it in result.series.items() if name != "t_ns"}
    return Series(t - t[0] if len(t) else t, values)


def beside(result: Result, exact: Series) -> Series:
    """Return the samples of what a trace does not tell: free memory, the pool, stalls; nothing where there are few or no trace."""
    samples = sampled(result)
    is_wanted = result.has_trace and len(samples.t_ns) >= FEW
    return samples.without(*exact.values, "pages_done") if is_wanted else samples.without(*samples.values)


def of_trace(trace: Trace) -> Series:
    """Return levels and totals after each record up to the last page freed."""
    records = _reclaim_phase(trace)
    t = records["t_ns"].astype(np.float64)
    before, after = records["from"], records["to"]
    values = {
        "pgsteal": _summed(records["event"] == Event.RECLAIM),
        "queue_len": _level(after == State.QUEUED, before == State.QUEUED),
        "frames_held_twice": _level(after == State.COMPRESSED, before == State.COMPRESSED),
        "pgscan": _summed(records["event"] == Event.ISOLATE),
    }
    return Series(t - t[0] if len(t) else t, values)


def rate(t: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Return the middles of `BINS` equal steps of time, and how much `total` rose in each, per second."""
    if len(t) < 2 or t[-1] <= t[0]:
        return t[:0], total[:0]
    edges = np.linspace(t[0], t[-1], min(BINS, max(1, len(t) - 1)) + 1)
    risen = np.diff(np.interp(edges, t, total))
    return (edges[:-1] + edges[1:]) / 2, risen * 1e9 / np.diff(edges)


def _reclaim_phase(trace: Trace) -> Records:
    """The records of pages in order of time, up to the last page freed: what follows only reads pages back."""
    records: Records = trace.records[trace.records["folio"] != SYSTEM]
    records = records[np.argsort(records["t_ns"], kind="stable")]
    freed = np.flatnonzero(records["event"] == Event.RECLAIM)
    return records[: freed[-1] + 1] if len(freed) else records


def _summed(change: npt.NDArray[np.generic]) -> Floats:
    return np.cumsum(change, dtype=np.float64)


def _level(came: npt.NDArray[np.bool_], went: npt.NDArray[np.bool_]) -> Floats:
    """How many are there; a thread reads the clock once a batch, so that a page may seem to go before it came."""
    return np.maximum(_summed(came.astype(np.int8) - went.astype(np.int8)), 0.0)
