"""A line chart as an SVG file of its own, for documents: title and legend are in it, light and dark are too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kcompressd.html import page, scale
from kcompressd.html.elements import Markup, join, tag
from kcompressd.html.lines import HEIGHT, WIDTH, Line, drawing
from kcompressd.html.scale import Format

_HEAD: Final = 26
_ROW: Final = 16
_LETTER: Final = 6.6
"""Width of a letter of the legend, units."""


def picture(title: str, series: Sequence[Line], *, y: Format = scale.number) -> str:
    """Return the text of an SVG file, over time."""
    legend, rows = _legend(series)
    top = _HEAD + rows * _ROW
    style = re.sub(r"\s+", " ", page.asset("style.css"))
    heading = tag("text", title, x=8, y=17, class_="title")
    chart = tag("g", drawing(series, scale.time, y), transform=f"translate(0 {top})")
    own = ".chart .title { font-weight: 600; font-size: 13px; fill: var(--ink); } svg { background: var(--raised); }"
    whole = tag(
        "svg",
        tag("style", Markup(f"{style} {own}")),
        heading,
        legend,
        chart,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT + top}",
        width=WIDTH * 2,
        class_="chart",
    )
    return f"{whole}\n"


def _legend(series: Sequence[Line]) -> tuple[Markup, int]:
    """The names with their colours, wrapped to the width; and how many rows that makes."""
    out: list[Markup] = []
    left, row = 8.0, 0
    for line in series:
        wide = 20 + _LETTER * len(line.name)
        if left + wide > WIDTH and left > 8:
            left, row = 8.0, row + 1
        top = _HEAD + row * _ROW
        out.append(tag("rect", x=left, y=top - 1, width=9, height=9, rx=2, class_=f"c{line.color}"))
        out.append(tag("text", line.name, x=left + 13, y=top + 7))
        left += wide
    return join(out), row + 1
