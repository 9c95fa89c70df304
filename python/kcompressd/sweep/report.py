"""The rows of a sweep as a table to read: one line a combination, medians over boots and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kcompressd.comparison import Spread
from kcompressd.sizes import duration
from kcompressd.sweep.plan import BOOT, SEED, Plan

if TYPE_CHECKING:
    import pyarrow as pa

    from kcompressd.fitted import Fitted
    from kcompressd.job import Job

OOM_KILL: Final = "oom_kill"
"""Shown where it is not always 0: what an application was to do is not done, and its speed is of the whole input."""
MEASURES: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "timing.bytes_per_s": ("MiB/s", lambda value: f"{value / 2**20:.0f}"),
    "vmstat.pgscan_anon": ("pgscan_anon", lambda value: f"{value:.0f}"),
    "vmstat.pgsteal_anon": ("pgsteal_anon", lambda value: f"{value:.0f}"),
    "vmstat.pswpout": ("pswpout", lambda value: f"{value:.0f}"),
    "vmstat.allocstall_movable": ("allocstall", lambda value: f"{value:.0f}"),
    "vmstat.oom_kill": (OOM_KILL, lambda value: f"{value:.0f}"),
    "timing.touch_ns.p99": ("touch p99", duration),
    "timing.touch_ns.max": ("longest touch", duration),
}
"""Columns of a sweep that are shown, with their headings and how they are written."""
Line: TypeAlias = tuple[tuple[Any, ...], list[Spread | None]]
"""The values of the axes, and the measures over boots and seeds; None of one that no row has."""
MOST_ROWS: Final = 40
WIDE: Final = 0.5
"""A spread above this share of the median is told as the most over the least: it lies on one side mostly."""


@dataclass(frozen=True)
class Lines:
    """A sweep's combinations: the keys of its axes, the measures that its rows have, and each combination's values with the
    measures over boots and seeds, in the order of the axes.
    """

    axes: tuple[str, ...]
    measures: tuple[str, ...]
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, rows: pa.Table, job: Job) -> Lines:
        """Take them from the rows of `job`'s sweep; a key that no row has is left out."""
        given = [axis for axis in Plan.of(job.tree, job.origin).axes if axis.key in rows.column_names]
        axes = tuple(axis.key for axis in given)
        measures = tuple(name for name in MEASURES if name in rows.column_names and _is_said(rows, name))
        lines = combinations(rows.to_pylist(), axes, measures)
        place = [{value: at for at, value in enumerate(axis.values)} for axis in given]
        lines.sort(key=lambda line: [at.get(value, len(at)) for at, value in zip(place, line[0], strict=True)])
        return cls(axes, measures, tuple(lines))


def _is_said(rows: pa.Table, name: str) -> bool:
    return MEASURES[name][0] != OOM_KILL or any(rows.column(name).to_pylist())


def table(rows: pa.Table, job: Job) -> Fitted:
    """Return the table: a line for each combination of the axes."""
    from kcompressd.fitted import Fitted, bare

    found = Lines.of(rows, job)
    shown = bare((*found.axes, *(MEASURES[name][0] for name in found.measures)), left=())
    for values, spreads in found.lines[:MOST_ROWS]:
        pairs = (cell(spread, MEASURES[name][1]) for name, spread in zip(found.measures, spreads, strict=True))
        shown.add_row(
            *map(str, values), *(f"{value} [dim]{around}[/dim]" if around else value for value, around in pairs)
        )
    said = [repeated(rows, found)]
    if len(found.lines) > MOST_ROWS:
        said.append(f"{len(found.lines) - MOST_ROWS} more lines are in the table")
    shown.caption = "; ".join(filter(None, said)) or None
    return Fitted(shown, keep=len(found.axes))


def cell(spread: Spread | None, form: Callable[[float], str]) -> tuple[str, str]:
    """Return a median and its spread as texts: half the range, or where that is more than `WIDE` of the median the most over
    the least; "-" for no value, "" for a spread below 0.5 %.
    """
    if spread is None:
        return "-", ""
    if spread.relative <= WIDE and spread.median:
        return form(spread.median), f"±{spread.relative:.0%}" if spread.relative >= 0.005 else ""
    around = f"{spread.high / spread.low:.0f}x" if spread.low else f"to {form(spread.high)}"
    return form(spread.median), around if spread.high else ""


def repeated(rows: pa.Table, found: Lines) -> str:
    """Return what the medians are over, "" where each combination has one row."""
    if len(rows) == len(found.lines):
        return ""
    over = [f"{count} {name}s" for name in (BOOT, SEED) if (count := _values(rows, name)) > 1]
    return f"medians over {' and '.join(over)}, ± half the range, or Nx: the most is N times the least"


def _values(rows: pa.Table, name: str) -> int:
    return len(set(rows.column(name).to_pylist())) if name in rows.column_names else 0


def combinations(rows: Sequence[dict[str, Any]], axes: Sequence[str], measures: Sequence[str]) -> list[Line]:
    """Return each combination of the axes' values with the measures' spreads, refused points without any."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    found = []
    for values, group in groups.items():
        numbers = [[row[name] for row in group if row.get(name) is not None] for name in measures]
        found.append((values, [Spread.of(some) if some else None for some in numbers]))
    return found
