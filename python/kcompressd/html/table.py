"""Tables: numbers to the right, sortable where scripts run, wider than a phone only inside their own frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kcompressd.html.elements import Markup, join, tag


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown, and by what it sorts; `mark` a class: "good", "bad" or "same"."""

    text: str
    value: float | str | None = None
    mark: str | None = None
    swatch: int | None = None
    """The number of a colour to show before the text."""

    @property
    def is_number(self) -> bool:
        """Tell whether it sorts by a number."""
        return isinstance(self.value, int | float)


Row = Sequence[Cell | str]


def table(columns: Row, rows: Sequence[Row], caption: str | None = None, *, is_sortable: bool = True) -> Markup:
    """Return a table; a column is set to the right when a cell of it has a number. One is not sortable whose columns hold values of
    different measures.
    """
    names, *cells = [[c if isinstance(c, Cell) else Cell(c, c) for c in row] for row in (columns, *rows)]
    right = [any(row[i].is_number for row in cells) for i in range(len(columns))]
    heads = [
        tag("th", tag("span", _shown(name)), scope="col", class_="n" if right[i] else None)
        for i, name in enumerate(names)
    ]
    head = tag("thead", tag("tr", *heads))
    body = tag("tbody", *(_row(row, right) for row in cells))
    shown = tag(
        "table", tag("caption", caption) if caption else None, head, body, class_="sortable" if is_sortable else None
    )
    return tag("div", shown, class_="scroll", tabindex=0, role="region", aria_label=caption or names[0].text or "table")


def pairs(rows: Sequence[tuple[str, str]], caption: str | None = None) -> Markup:
    """Return a table of names and values, without a head and not sortable."""
    body = tag("tbody", *(tag("tr", tag("th", n, scope="row"), tag("td", v, class_="n")) for n, v in rows))
    return tag("div", tag("table", tag("caption", caption) if caption else None, body), class_="pairs")


def swatch(color: int) -> Markup:
    """Return a small square of a series' colour."""
    return tag("span", class_=f"swatch c{color}", aria_hidden="true")


def _row(row: Sequence[Cell], right: Sequence[bool]) -> Markup:
    return tag("tr", *(_cell(cell, right[i], "td" if i else "th") for i, cell in enumerate(row)))


def _cell(cell: Cell, right: bool, name: str) -> Markup:
    classes = " ".join(c for c in ("n" if right else "", cell.mark or "") if c)
    value = None if cell.value is None or cell.value == cell.text else cell.value
    return tag(name, _shown(cell), class_=classes or None, data_v=value, scope="row" if name == "th" else None)


def _shown(cell: Cell) -> Markup:
    return join([swatch(cell.swatch) if cell.swatch is not None else None, cell.text])
