"""The report of a sweep: every combination in a table, and each measure over the axis that has the most numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from kcompressd.comparison import Spread
from kcompressd.html import page, scale
from kcompressd.html.bars import Bar, bars
from kcompressd.html.elements import Child, Markup, join, tag
from kcompressd.html.lines import Line, key, lines
from kcompressd.html.over_time import colors
from kcompressd.html.scale import Format
from kcompressd.html.table import Cell, table
from kcompressd.sweep.report import MEASURES, Lines, cell, repeated

if TYPE_CHECKING:
    import pyarrow as pa

    from kcompressd.job import Job

MOST_SERIES: Final = 8
"""Lines in a chart: of more, the first are drawn and the rest stand in the table."""
MOST_BARS: Final = 24


def document(rows: pa.Table, job: Job) -> str:
    """Return the report of `job`'s sweep as a file's text; `rows` is its table."""
    found = Lines.of(rows, job)
    title = job.about.get("title") or f"A sweep over {', '.join(found.axes)}"
    over = repeated(rows, found)
    said = f"{len(found.lines)} points; {over}" if over else f"{len(rows)} points"
    return page.document(title, _parts(found), subtitle=said)


def _parts(found: Lines) -> Iterator[Child]:
    drawn = list(_pictures(found))
    if drawn:
        yield page.section(
            "Pictures",
            *_legend(found),
            page.figures(drawn),
            tag("p", "A measure that is the same in every combination has no picture.", class_="note"),
        )
    yield page.section("Every combination", _table(found))


def _table(found: Lines) -> Markup:
    rows = []
    for values, spreads in found.lines:
        cells = [Cell(str(value), value if isinstance(value, int | float) else str(value)) for value in values]
        for name, spread in zip(found.measures, spreads, strict=True):
            said, around = cell(spread, _form(name))
            shown = join([said, " ", tag("small", around)]) if around else said
            cells.append(Cell(shown, None if spread is None else spread.median))
        rows.append(cells)
    return table([*found.axes, *map(_heading, found.measures)], rows)


def _heading(measure: str) -> str:
    return "input a second" if measure == "timing.bytes_per_s" else MEASURES[measure][0]


def _form(measure: str) -> Format:
    return scale.size if measure.endswith("bytes_per_s") else scale.time if "_ns." in measure else scale.number


def _across(found: Lines) -> int | None:
    """The axis that lines are drawn over: of those with numbers only the one with the most; None without two."""
    numbers: dict[int, int] = {}
    for at in range(len(found.axes)):
        values = {line[0][at] for line in found.lines}
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            numbers[at] = len(values)
    best = max(numbers, key=lambda at: numbers[at], default=None)
    return best if best is not None and numbers[best] > 1 else None


def _pictures(found: Lines) -> Iterator[Markup]:
    across = _across(found)
    for number, name in enumerate(found.measures):
        if len({spreads[number] for _, spreads in found.lines}) == 1:
            continue
        heading = _heading(name)
        title = heading if name.startswith("vmstat.") else heading[:1].upper() + heading[1:]  # a counter keeps its name
        if across is None:
            yield _bars(title, found, number)
        else:
            series = _series(found, across, number)
            yield lines(f"{title}, over {found.axes[across]}", series, y=_form(name), x=scale.number, legend=False)


def _series(found: Lines, across: int, measure: int) -> list[Line]:
    """A line for each combination of the other axes' values."""
    points: dict[str, list[tuple[float, float]]] = {}
    for values, spreads in found.lines:
        spread = spreads[measure]
        if spread is not None:
            points.setdefault(_name(found, values, across), []).append((float(values[across]), spread.median))
    shades = colors(_names(found, across))
    drawn = []
    for name in _names(found, across)[:MOST_SERIES]:
        x, y = np.array(sorted(points.get(name, ())), dtype=np.float64).reshape(-1, 2).T
        drawn.append(Line(name, x, y, shades[name]))
    return drawn


def _names(found: Lines, across: int) -> list[str]:
    return list(dict.fromkeys(_name(found, values, across) for values, _ in found.lines))


def _name(found: Lines, values: tuple[object, ...], across: int | None) -> str:
    """The values of the axes but one; of a single other axis its value alone."""
    others = [(axis, value) for at, (axis, value) in enumerate(zip(found.axes, values, strict=True)) if at != across]
    if len(others) == 1 and isinstance(others[0][1], str):
        return others[0][1]
    return ", ".join(f"{axis.rpartition('.')[2]} {value}" for axis, value in others)


def _legend(found: Lines) -> Iterator[Markup]:
    across = _across(found)
    names = [] if across is None else _names(found, across)
    if len(names) > 1:
        yield key(list(colors(names).items())[:MOST_SERIES])
    if len(names) > MOST_SERIES:
        yield tag("p", f"{len(names) - MOST_SERIES} more stand in the table only.", class_="note")


def _bars(title: str, found: Lines, measure: int) -> Markup:
    rows = []
    for values, spreads in found.lines[:MOST_BARS]:
        spread = spreads[measure] or Spread(0.0, 0.0, 0.0)
        span = (spread.low, spread.high) if spread.low < spread.high else None
        rows.append(Bar(_name(found, values, None), ((spread.median, 1),), span))
    return bars(title, rows, form=_form(found.measures[measure]))
