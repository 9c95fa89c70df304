"""Bars: one a row, of stacked parts, with a range where there is one; and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from kcompressd.html import scale
from kcompressd.html.elements import Markup, join, tag
from kcompressd.html.lines import BOTTOM, HEIGHT, LEFT, PLOT_HEIGHT, PLOT_WIDTH, RIGHT, TOP, WIDTH, key, levels
from kcompressd.html.scale import Axis, Format
from kcompressd.sizes import counted

NAMES: Final = 104
"""Width of the names' column, units."""
VALUES: Final = 64
ROW: Final = 24
BAR: Final = 14


@dataclass(frozen=True)
class Bar:
    """A row: its parts, each a value and a colour's number, the range of their sum, and what each part is called if not
    as the legend calls its colour.
    """

    name: str
    parts: Sequence[tuple[float, int]]
    span: tuple[float, float] | None = None
    labels: Sequence[str] = ()

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return sum(value for value, _ in self.parts)


def bars(
    title: str,
    rows: Sequence[Bar],
    *,
    form: Format = scale.number,
    parts: Sequence[tuple[str, int]] = (),
    note: str | None = None,
) -> Markup:
    """Return a figure of horizontal bars from zero; `parts` names the colours of stacked ones."""
    high = max((max(row.total, row.span[1] if row.span else 0.0) for row in rows), default=0.0)
    axis = Axis(high or 1.0, WIDTH - NAMES - VALUES, ())
    drawn = [_bar(row, number * ROW, axis, form, parts) for number, row in enumerate(rows)]
    said = f"{title}: {', '.join(f'{row.name} {form(row.total)}' for row in rows)}"
    height = max(1, len(rows)) * ROW
    chart = tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=said, class_="chart bars")
    legend = key(parts) if parts else None
    return tag("figure", tag("figcaption", title), legend, chart, tag("p", note, class_="note") if note else None)


def _bar(row: Bar, top: int, axis: Axis, form: Format, parts: Sequence[tuple[str, int]]) -> Markup:
    names = {color: name for name, color in parts}
    middle = top + ROW / 2
    out = [tag("text", tag("title", row.name), _short(row.name), x=NAMES - 8, y=middle + 4, text_anchor="end")]
    at = float(NAMES)
    for (value, color), called in zip_longest(row.parts, row.labels):
        width = axis.at(value)
        label = " ".join(word for word in (row.name, called or names.get(color, ""), form(value)) if word)
        # two units of ground between stacked parts, as long as the part is wider than that
        seen = max(0.0, width - 2) if width > 4 and len(row.parts) > 1 else width
        place = {"x": at, "y": middle - BAR / 2, "width": seen, "height": BAR, "rx": 2}
        out.append(tag("rect", tag("title", label), class_=f"c{color}", **place))
        at += width
    if row.span is not None:
        low, high = (NAMES + axis.at(value) for value in row.span)
        out.append(
            tag(
                "path",
                d=f"M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 4}v8",
                class_="span",
            )
        )
        at = max(at, high)
    out.append(tag("text", form(row.total), x=min(at + 6, WIDTH - VALUES + 6), y=middle + 4, class_="value"))
    return join(out)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def histogram(title: str, counts: Sequence[int], edges: tuple[str, str, str], *, color: int = 0) -> Markup:
    """Return a figure of upright bars over equal steps; `edges` label the left, the middle and the right end."""
    up = Axis.upto(float(max(counts, default=0)), PLOT_HEIGHT, 3)
    step = PLOT_WIDTH / max(1, len(counts))
    out = levels(up, scale.number)
    for number, count in enumerate(counts):
        tall = max(up.at(count), 1.0) if count else 0.0
        place = {"x": LEFT + number * step + 1, "y": TOP + PLOT_HEIGHT - tall, "width": step - 2, "height": tall}
        out.append(tag("rect", tag("title", counted(count, "page")), class_=f"c{color}", **place))
    for label, at, anchor in zip(
        edges, (LEFT, LEFT + PLOT_WIDTH / 2, WIDTH - RIGHT), ("start", "middle", "end"), strict=True
    ):
        out.append(tag("text", label, x=at, y=TOP + PLOT_HEIGHT + BOTTOM - 8, text_anchor=anchor))
    said = f"{title}: {sum(counts)} in {len(counts)} steps"
    chart = tag("svg", *out, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=said, class_="chart")
    return tag("figure", tag("figcaption", title), chart)
