"""Points with names: one thing against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kcompressd.html import scale
from kcompressd.html.elements import Markup, join, tag
from kcompressd.html.lines import HEIGHT, LEFT, PLOT_HEIGHT, PLOT_WIDTH, RIGHT, TOP, WIDTH, grid
from kcompressd.html.scale import Axis, Format

_LETTER: Final = 6.2
"""Width of a letter, units."""
_SIDES: Final = ((0.0, "middle"), (4.0, "end"), (-4.0, "start"))
_PLACES: Final = (
    (9.0, 4.0, "start"),
    (-9.0, 4.0, "end"),
    *((side, down, anchor) for down in (-10.0, 18.0, -23.0, 31.0) for side, anchor in _SIDES),
)
"""Where a name may stand: right and left of its point, above, below, further off."""


@dataclass(frozen=True, slots=True)
class Point:
    """A named point, with a colour's number."""

    name: str
    x: float
    y: float
    color: int = 1


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)

    @property
    def is_inside(self) -> bool:
        return self.left >= LEFT and self.right <= WIDTH - RIGHT and self.top >= 0 and self.bottom <= TOP + PLOT_HEIGHT


def scatter(title: str, points: Sequence[Point], *, x: Format = scale.number, y: Format = scale.number) -> Markup:
    """Return a figure of points, both axes from zero; names stand beside their points, clear of each other: one
    for which there is no room is left to the point's title.
    """
    tall = max((p.y for p in points), default=1.0)
    across = Axis.upto(max((p.x for p in points), default=1.0), PLOT_WIDTH)
    up = Axis.upto(tall, PLOT_HEIGHT, unit=scale.unit(y, tall))
    said = f"{title}: {', '.join(f'{p.name} {x(p.x)} {y(p.y)}' for p in points)}"
    placed = [(p, LEFT + across.at(p.x), TOP + PLOT_HEIGHT - up.at(p.y)) for p in points]
    dots = [
        tag("circle", tag("title", f"{p.name}: {x(p.x)}, {y(p.y)}"), cx=left, cy=top, r=5, class_=f"c{p.color}")
        for p, left, top in placed
    ]
    chart = tag(
        "svg",
        grid(across, up, x, y),
        *dots,
        _names(placed),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=said,
        class_="chart",
    )
    return tag("figure", tag("figcaption", title), chart)


def _names(placed: Sequence[tuple[Point, float, float]]) -> Markup:
    taken = [_Box(left - 5, top - 5, left + 5, top + 5) for _, left, top in placed]
    out: list[Markup] = []
    for point, left, top in placed:
        options = [
            (_box(point.name, left + right, top + down, anchor), right, down, anchor) for right, down, anchor in _PLACES
        ]
        clear = (o for o in options if o[0].is_inside and not any(o[0].meets(other) for other in taken))
        found = next(clear, None)
        if found is None:
            continue
        box, right, down, anchor = found
        taken.append(box)
        out.append(tag("text", point.name, x=left + right, y=top + down, text_anchor=anchor, class_="value"))
    return join(out)


def _box(name: str, x: float, y: float, anchor: str) -> _Box:
    width = _LETTER * len(name)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return _Box(left, y - 10, left + width, y + 2)
