"""Charts of what changed over time, for one result or several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Final

import numpy as np

from kcompressd import series
from kcompressd.html import scale
from kcompressd.html.elements import Markup
from kcompressd.html.lines import Line, lines
from kcompressd.html.scale import Format
from kcompressd.result import Result
from kcompressd.series import Series

COLORS: Final = {"sync": 0, "rfc": 1, "april": 2, "async-store": 3, "split": 4, "unofficial": 5}
"""A design keeps its colour in every chart; the baseline is grey."""
_PREFERRED: Final = (6, 7, 8, 1, 5, 3, 2, 4, 0)
"""The colours for what is no preset, those first that no preset has."""
_FIRST: Final = ("pgsteal", "pages_done", "allocstall", "stall_ns", "queue_len", "frames_held_twice")
_REDUNDANT: Final = {"pages_done": "pgsteal"}
"""What is left out where the other is there and says more."""
_MARKS: Final = {"min": 8, "low": 6, "high": 7}
"""The watermarks, rising, and their colours."""
_ABOVE: Final = 4
"""Free memory is cut at so many times the high watermark, where it ever is below that: the watermarks lie close together."""


def colors(names: Iterable[str]) -> dict[str, int]:
    """Return each name's colour: a preset's own; else one that nobody here has, as long as there is one."""
    names = list(dict.fromkeys(names))
    free = [color for color in _PREFERRED if color not in {COLORS.get(name) for name in names}] or list(_PREFERRED)
    others = [name for name in names if name not in COLORS]
    return {name: COLORS[name] for name in names if name in COLORS} | dict(zip(others, cycle(free), strict=False))


def charts(found: Mapping[str, Series], *, page_size: int) -> list[Markup]:
    """Return a chart for each measure that any of the named series has and that is ever above zero; every chart has
    all names, in their colours and without a legend. Of one series rates are shown, of several what was reached so far:
    the steeper the faster.
    """
    names = list(dict.fromkeys(name for one in found.values() for name in one.names))
    shown = [n for n in names if _REDUNDANT.get(n) not in names]
    ordered = [n for n in _FIRST if n in shown] + [n for n in shown if n not in _FIRST]
    known = (drawn(name, found, page_size) for name in ordered)
    return [lines(title, curves, y=form, legend=False) for title, curves, form in filter(None, known)]


def of_result(result: Result) -> list[Markup]:
    """Return the charts of one result, of a traced one with those of what is sampled alone; that of free memory comes last, with the
    watermarks where it was held against some.
    """
    found, page_size = series.of_result(result), result.config.page_size
    sampled = series.beside(result, found)
    marks = (result.config.get("node") or {}).get("watermarks")
    known = found if "free_pages" in found.values else sampled
    free = None if marks is None else drawn("free_pages", {"": known}, page_size)
    hidden = () if free is None else ("free_pages",)
    drawings = [chart for one in (found, sampled) for chart in charts({"": one.without(*hidden)}, page_size=page_size)]
    if free is not None and marks is not None:
        (curve,) = free[1]
        drawings.append(against_watermarks(curve, [mark * page_size for mark in marks]))
    return drawings


def against_watermarks(free: Line, marks: Sequence[int]) -> Markup:
    """Return the chart of free memory, with a line for each of `marks`: min, low and high, in bytes as the curve is."""
    cut = _ABOVE * marks[-1]
    is_cut = free.y.min() < cut < free.y.max()
    curves = [replace(free, name="free", y=np.minimum(free.y, cut) if is_cut else free.y)]
    said = []
    for (name, color), mark in zip(_MARKS.items(), marks, strict=True):
        curves.append(Line(name, free.x[[0, -1]], np.full(2, float(mark)), color, dashed=True))
        said.append(f"{name} {scale.size(mark)}")
    said += [f"cut at {_ABOVE} times the high watermark"] if is_cut else []
    return lines("Free, and the watermarks", curves, y=scale.size, note=f"{', '.join(said)}.")


def drawn(name: str, found: Mapping[str, Series], page_size: int) -> tuple[str, list[Line], Format] | None:
    """Return title, lines and format of one measure's chart; None when it is never above zero."""
    track = series.track(name)
    alone = len(found) == 1
    shades = colors(found)
    curves = []
    for label, one in found.items():
        if name not in one.values:
            continue
        x, y = one.drawn(name, rates=alone)
        y = y * page_size if track.unit == "pages" else y / 1e9 if track.unit == "ns" and alone else y
        curves.append(Line(label, x, y, 1 if alone else shades[label], dashed=label == "sync" and not alone))
    if not any(line.y.any() for line in curves):
        return None
    per = "" if track.kind == "level" else ", per second" if alone else ", in all"
    of = {"folios": ", folios", "ns": ", seconds" if alone else ""}.get(track.unit, "")
    forms = {"pages": scale.size, "ns": scale.number if alone else scale.time}
    return f"{track.title}{of}{per}", curves, forms.get(track.unit, scale.number)
