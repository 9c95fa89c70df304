"""Line charts over time, as inline SVG that keeps its text legible at a phone's width.

A chart is 360 units wide and is shown at about that many pixels, alone on a phone and side by side on a desktop, so
text is never scaled down. Lines are thinned to the least and the most of each step, so that no peak is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kcompressd.html import scale
from kcompressd.html.elements import Markup, join, tag
from kcompressd.html.scale import Axis, Format
from kcompressd.html.table import swatch

Floats = npt.NDArray[np.float64]

WIDTH: Final = 360
HEIGHT: Final = 180
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 8, 24
PLOT_WIDTH: Final = WIDTH - LEFT - RIGHT
PLOT_HEIGHT: Final = HEIGHT - TOP - BOTTOM
FEW: Final = 16
"""A line of at most so many points shows them, where it is not dashed."""
BUCKETS: Final = 150
"""Steps of time of which a line keeps the least and the most."""


@dataclass(frozen=True)
class Line:
    """Values over times (float64, shape (n,) each, times rising), a colour's number, dashed or not."""

    name: str
    x: Floats
    y: Floats
    color: int = 0
    dashed: bool = False


def lines(
    title: str,
    series: Sequence[Line],
    *,
    y: Format = scale.number,
    x: Format = scale.time,
    note: str | None = None,
    legend: bool | None = None,
) -> Markup:
    """Return a figure: title, lines from a zero baseline, legend (default: when there are several), note."""
    across, up = _axes(series, y)
    chart = tag(
        "svg",
        drawing(series, x, y),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=_said(title, series, y),
        class_="chart",
        data_high=f"{across.high:.6g} {up.high:.6g}",
        data_format=f"{x.__name__} {y.__name__}",
    )
    shown = len(series) > 1 if legend is None else legend
    return tag(
        "figure",
        tag("figcaption", title),
        key((s.name, s.color) for s in series) if shown else None,
        chart,
        tag("output"),
        tag("p", note, class_="note") if note else None,
    )


def drawing(series: Sequence[Line], x: Format, y: Format) -> Markup:
    """Return what stands in a chart of `WIDTH` by `HEIGHT`: the grid and the lines, one alone with its area filled."""
    across, up = _axes(series, y)
    drawn = [_line(s, across, up, fill=len(series) == 1) for s in series if len(s.x)]
    return join([grid(across, up, x, y), *drawn])


def _axes(series: Sequence[Line], y: Format) -> tuple[Axis, Axis]:
    wide = max((float(s.x[-1]) for s in series if len(s.x)), default=1.0)
    high = max((float(s.y.max()) for s in series if len(s.y)), default=1.0)
    return Axis.exactly(wide, PLOT_WIDTH), Axis.upto(high, PLOT_HEIGHT, unit=scale.unit(y, high))


def key(colors: Iterable[tuple[str, int]]) -> Markup:
    """Return a legend: names with their colours' numbers."""
    return tag("p", *(tag("span", swatch(color), name) for name, color in colors), class_="key")


def thinned(x: Floats, y: Floats, buckets: int = BUCKETS) -> tuple[Floats, Floats]:
    """Return at most 2 * `buckets` + 2 of the points: the least and the most of each step of time, and both ends."""
    if len(x) <= 2 * buckets:
        return x, y
    step = np.minimum(((x - x[0]) / max(float(x[-1] - x[0]), 1e-300) * buckets).astype(np.int64), buckets - 1)
    order = np.lexsort((y, step))
    first = np.flatnonzero(np.diff(step[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    kept = np.unique(np.concatenate((order[first], order[last], [0, len(x) - 1])))
    return x[kept], y[kept]


def grid(across: Axis, up: Axis, x: Format, y: Format) -> Markup:
    """Return lines at the upward ticks, and labels at both axes."""
    out = levels(up, y)
    for mark in across.marks:
        at = LEFT + across.at(mark)
        anchor = "start" if not mark else "end" if at > WIDTH - RIGHT - 12 else "middle"
        out.append(tag("text", x(mark), x=at, y=HEIGHT - 8, text_anchor=anchor))
    return join(out)


def levels(up: Axis, form: Format) -> list[Markup]:
    """Return a line and a label at each upward tick."""
    out: list[Markup] = []
    for mark in up.marks:
        at = TOP + PLOT_HEIGHT - up.at(mark)
        out.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid" if mark else "axis"))
        out.append(tag("text", form(mark), x=LEFT - 6, y=at + 4, text_anchor="end"))
    return out


def _line(line: Line, across: Axis, up: Axis, *, fill: bool) -> Markup:
    x, y = thinned(line.x, line.y)
    floor = TOP + PLOT_HEIGHT
    points = [(f"{LEFT + across.at(a):.1f}", f"{floor - up.at(b):.1f}") for a, b in zip(x, y, strict=True)]
    path = "M" + "L".join(" ".join(point) for point in points)
    under = f"{path}L{points[-1][0]} {floor}L{points[0][0]} {floor}Z"
    drawn = tag("path", d=path, class_=f"line s{line.color}{' dashed' if line.dashed else ''}", data_name=line.name)
    shown = points if len(points) <= FEW and not line.dashed else []
    dots = [tag("circle", cx=left, cy=top, r=3.5, class_=f"c{line.color}") for left, top in shown]
    return join([tag("path", d=under, class_=f"under c{line.color}") if fill else None, drawn, *dots])


def _said(title: str, series: Sequence[Line], y: Format) -> str:
    """The chart in words, for those who cannot see it."""
    highs = ", ".join(f"{s.name} up to {y(float(s.y.max()))}" for s in series if len(s.y))
    return f"{title}: {highs}" if highs else f"{title}: no samples"
