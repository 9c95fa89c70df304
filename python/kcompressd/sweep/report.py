"""The rows of a sweep as a table to read: the axes, the measures that differ, one line a combination."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kcompressd.sizes import duration
from kcompressd.sweep.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from kcompressd.job import Job

MEASURES: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "timing.bytes_per_s": ("MiB/s", lambda value: f"{value / 2**20:.0f}"),
    "vmstat.pgscan_anon": ("pgscan_anon", lambda value: f"{value:.0f}"),
    "vmstat.pgsteal_anon": ("pgsteal_anon", lambda value: f"{value:.0f}"),
    "vmstat.pswpout": ("pswpout", lambda value: f"{value:.0f}"),
    "vmstat.allocstall_movable": ("allocstall", lambda value: f"{value:.0f}"),
    "timing.touch_ns.p99": ("touch p99", duration),
    "timing.touch_ns.max": ("longest touch", duration),
}
"""Columns of a sweep that are shown, with their headings and how they are written."""
Line: TypeAlias = tuple[tuple[Any, ...], list[float | None]]
"""The values of the axes, and the medians of the measures; None of one that no row has."""
MOST_ROWS: Final = 40


@dataclass(frozen=True)
class Lines:
    """A sweep's combinations: the keys of its axes, the measures that its rows have, and each combination's values with the
    medians of the measures over seeds, in the order of the axes.
    """

    axes: tuple[str, ...]
    measures: tuple[str, ...]
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, rows: pa.Table, job: Job) -> Lines:
        """Take them from the rows of `job`'s sweep; a key that no row has is left out."""
        given = [axis for axis in Plan.of(job.tree, job.origin).axes if axis.key in rows.column_names]
        axes = tuple(axis.key for axis in given)
        measures = tuple(name for name in MEASURES if name in rows.column_names)
        lines = combinations(rows.to_pylist(), axes, measures)
        place = [{value: at for at, value in enumerate(axis.values)} for axis in given]
        lines.sort(key=lambda line: [at.get(value, len(at)) for at, value in zip(place, line[0], strict=True)])
        return cls(axes, measures, tuple(lines))


def table(rows: pa.Table, job: Job) -> Table:
    """Return the table: a line for each combination of the axes."""
    from rich.table import Table

    found = Lines.of(rows, job)
    shown = Table(box=None, pad_edge=False)
    for heading in (*found.axes, *(MEASURES[name][0] for name in found.measures)):
        shown.add_column(heading, justify="right")
    for values, medians in found.lines[:MOST_ROWS]:
        written = ("-" if m is None else MEASURES[name][1](m) for name, m in zip(found.measures, medians, strict=True))
        shown.add_row(*map(str, values), *written)
    if len(found.lines) > MOST_ROWS:
        shown.caption = f"{len(found.lines) - MOST_ROWS} more lines are in the table"
    return shown


def combinations(rows: Sequence[dict[str, Any]], axes: Sequence[str], measures: Sequence[str]) -> list[Line]:
    """Return each combination of the axes' values with the medians of the measures, refused points without any."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    found = []
    for values, group in groups.items():
        numbers = [[row[name] for row in group if row.get(name) is not None] for name in measures]
        found.append((values, [statistics.median(some) if some else None for some in numbers]))
    return found
