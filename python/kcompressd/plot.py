"""Pictures with matplotlib (extra `plot`): the same charts as in the report, as a figure to change and to print."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kcompressd import report, series
from kcompressd.columns import optional
from kcompressd.result import Result
from kcompressd.series import Series
from kcompressd.taken import cpu_ns

if TYPE_CHECKING:
    from kcompressd.comparison import Comparison

WIDE: Final = 4.2
"""Width of one chart, inches."""
_MIB: Final = 2.0**20


def of_result(result: Result) -> Any:
    """Return a `matplotlib.figure.Figure` of what changed over time, and CPU time by thread."""
    figure = _drawn({"": series.of_result(result)}, result.config.page_size)
    axes = figure.axes[-1]
    names = [str(thread.actor) for thread in result.threads]
    spent = [(t.get("reclaim_cpu_ns", 0) + t.get("fault_cpu_ns", 0)) / 1e6 for t in result.threads]
    axes.barh(names[::-1], spent[::-1])
    axes.set(title="CPU time by thread", xlabel="ms")
    figure.suptitle(report.title(result))
    return figure


def of_comparison(comparison: Comparison) -> Any:
    """Return a `matplotlib.figure.Figure` of every entry over time, one line each, and their CPU times."""
    from kcompressd.compare_report import title

    entries = comparison.entries
    names = [f"{e.name}, {e.group}" if e.group else e.name for e in entries]
    found = {name: series.of_result(entry.last) for name, entry in zip(names, entries, strict=True)}
    figure = _drawn(found, entries[0].last.config.page_size)
    axes = figure.axes[-1]
    left = [0.0] * len(entries)
    for kind in ("kswapd", "kcompressd"):
        spent = [entry.median(partial(_cpu_ms, kind)) for entry in entries]
        axes.barh(names, spent, left=left, label=kind)
        left = [a + b for a, b in zip(left, spent, strict=True)]
    axes.invert_yaxis()
    axes.legend()
    axes.set(title="CPU time of reclaim", xlabel="ms")
    figure.suptitle(title(comparison))
    return figure


def _cpu_ms(kind: str, result: Result) -> float:
    return cpu_ns(result, kind) / 1e6


def _drawn(found: Mapping[str, Series], page_size: int) -> Any:
    """A figure with an axes for each measure that is there, and one more at the end."""
    figure_class = optional("matplotlib.figure", "plot").Figure
    names = list(dict.fromkeys(name for one in found.values() for name in one.names))
    rows = -(-(len(names) + 1) // 3)
    figure = figure_class(figsize=(3 * WIDE, 3 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False).flatten()
    for spare in grid[len(names) + 1 :]:
        spare.remove()
    for axes, name in zip(grid, names, strict=False):
        _draw(axes, name, found, page_size)
    return figure


def _draw(axes: Any, name: str, found: Mapping[str, Series], page_size: int) -> None:
    track = series.track(name)
    scale = page_size / _MIB if track.unit == "pages" else 1.0
    for label, one in found.items():
        if name in one.values:
            x, y = one.drawn(name)
            axes.plot(x / 1e6, y * scale, label=label, linewidth=1.2)
    unit = "MiB" if track.unit == "pages" else track.unit
    axes.set(title=track.title, xlabel="ms", ylabel=f"{unit}/s" if track.kind == "total" else unit)
    axes.set_ylim(bottom=0)
    if len(found) > 1:
        axes.legend(fontsize="x-small")
