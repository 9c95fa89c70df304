"""Charts of what changed over time, for one result or several side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kcompressd import series
from kcompressd.html import scale
from kcompressd.html.elements import Markup
from kcompressd.html.lines import Line, lines
from kcompressd.series import Series

COLORS: Final = {"sync": 0, "rfc": 1, "april": 2, "async-store": 3, "split": 4, "unofficial": 5}
"""A design keeps its colour in every chart; the baseline is grey."""
_FIRST: Final = ("pgsteal", "pages_done", "allocstall", "stall_ns", "queue_len", "frames_held_twice")
_REDUNDANT: Final = {"pages_done": "pgsteal", "stall_ns": "allocstall"}
"""What is left out where the other is there and says more."""


def color(name: str, number: int = 0) -> int:
    """Return a colour's number: a preset's own, else the ones that no preset has."""
    return COLORS.get(name, 6 + number % 3)


def charts(found: Mapping[str, Series], *, page_size: int) -> list[Markup]:
    """Return a chart for each measure that any of the named series has and that is ever above zero; every chart has
    all names, with their colours.
    """
    names = list(dict.fromkeys(name for one in found.values() for name in one.names))
    shown = [n for n in names if _REDUNDANT.get(n) not in names]
    ordered = [n for n in _FIRST if n in shown] + [n for n in shown if n not in _FIRST]
    drawn = (_chart(name, found, page_size) for name in ordered)
    return [chart for chart in drawn if chart is not None]


def _chart(name: str, found: Mapping[str, Series], page_size: int) -> Markup | None:
    track = series.track(name)
    drawn = []
    for number, (label, one) in enumerate(found.items()):
        if name not in one.values:
            continue
        x, y = one.drawn(name)
        y = y * page_size if track.unit == "pages" else y / 1e9 if track.unit == "ns" else y
        drawn.append(
            Line(label, x, y, color(label, number) if len(found) > 1 else 1, dashed=label == "sync" and len(found) > 1)
        )
    if not any(line.y.any() for line in drawn):
        return None
    per = ", per second" if track.kind == "total" else ""
    of = {"pages": "", "folios": ", folios", "events": "", "ns": ", seconds"}[track.unit]
    return lines(f"{track.title}{of}{per}", drawn, y=scale.size if track.unit == "pages" else scale.number)
