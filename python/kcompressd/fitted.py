"""What rich draws here: tables without lines, plain text, and `Fitted`, a table that goes on below where a terminal is too narrow
for it, so that no figure is cut.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table

_ENDLESS: Final = 10_000


def bare(headings: Iterable[str], rows: Iterable[Iterable[str]] = (), *, left: Collection[str]) -> Table:
    """Return a table without lines; the columns whose headings are in `left` are aligned to the left."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    for row in rows:
        table.add_row(*row)
    return table


def plain(parts: Iterable[RenderableType], width: int) -> str:
    """Return what rich prints of `parts` in so many columns, without colours."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, highlight=False)
    for part in parts:
        console.print(part)
    return out.getvalue().rstrip("\n")


@dataclasses.dataclass(frozen=True)
class Fitted:
    """`table`, whose first `keep` columns say what a line is of: they stand before each part."""

    table: Table
    keep: int = 1

    def __post_init__(self) -> None:
        """A line of a part stands beside that of the next: none may wrap."""
        for column in self.table.columns:
            column.no_wrap = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield as many parts as the width asks for; a caption comes after the last."""
        parts = list(self._parts(console, options))
        parts[-1].caption = self.table.caption
        for number, part in enumerate(parts):
            yield from ([""] if number else [])
            yield part

    def _parts(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """As many columns in each as there is room for, one at least."""
        first, left = self.table.columns[: self.keep], self.table.columns[self.keep :]
        while True:
            fits = [
                n
                for n in range(1, len(left) + 1)
                if self._width([*first, *left[:n]], console, options) <= options.max_width
            ]
            taken = max(fits, default=1)
            yield self._part([*first, *left[:taken]])
            left = left[taken:]
            if not left:
                return

    def _width(self, columns: Sequence[Column], console: Console, options: ConsoleOptions) -> int:
        return Measurement.get(console, options.update(max_width=_ENDLESS), self._part(columns)).maximum

    def _part(self, columns: Sequence[Column]) -> Table:
        whole = self.table
        part = Table(box=None, pad_edge=whole.pad_edge, padding=whole.padding, header_style=whole.header_style)
        part.columns = [dataclasses.replace(column, _index=place) for place, column in enumerate(columns)]
        part.rows = whole.rows
        return part
