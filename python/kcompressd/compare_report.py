"""How a `Comparison` prints: a table a group, measures down, entries across, each with its ratio to the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.markup import escape

from kcompressd import applications
from kcompressd.comparison import Comparison, Entry
from kcompressd.fitted import Fitted, bare
from kcompressd.measures import Measure
from kcompressd.sizes import pages_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDTH: Final = 140
"""Columns of a table as text."""


def title(comparison: Comparison) -> str:
    """Return what was compared, in one line."""
    first = comparison.entries[0]
    config = first.last.config
    runs = len(first.results)
    of = f": {runs} {repeats(first)}, medians" if runs > 1 else ""
    said = (
        comparison.title
        or f"{pages_text(first.last.pages, config.page_size)} on {config.store}, {config.compressor}{_nodes(comparison)}{of}"
    )
    return f"{said}; interrupted: {comparison.interrupted}" if comparison.interrupted else said


def _nodes(comparison: Comparison) -> str:
    """How many nodes all of them had, where that is not one."""
    found = {entry.last.config.get("kswapd", 1) for entry in comparison.entries}
    return f", {found.pop()} nodes with a kswapd each" if len(found) == 1 and found != {1} else ""


def repeats(entry: Entry) -> str:
    """Return what an entry's several runs are."""
    return "boots" if entry.last.kind == "virtual" else "interleaved repeats"


def parts(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield what rich prints."""
    yield f"[bold]{escape(title(comparison))}[/bold]"
    for group, entries in comparison.groups.items():
        if group:
            yield f"\n[bold]{escape(group)}[/bold]"
        yield Fitted(_table([*comparison.measures, *_of_applications(entries)], entries))
    for sentence in comparison.sentences():
        yield escape(sentence)


def cell(entry: Entry, measure: Measure) -> tuple[str, str]:
    """Return a value and its ratio to the baseline as texts; "-" and "" where there is none."""
    value, ratio = entry.value(measure), entry.ratio_of(measure)
    if value is None or (measure.less == "other" and not value.high):
        return "-", ""
    if ratio is None or entry.is_baseline or measure.less == "other":
        return measure.cell(value.median), ""
    same = ratio.holds_one and len(entry.results) > 1
    return measure.cell(value.median), "≈" if same else entry.times(measure)


def _of_applications(entries: Sequence[Entry]) -> Iterator[Measure]:
    """Yield what each of several applications waited for; of one alone the other measures say it."""
    runs = [run for entry in entries for run in entry.results]
    names = applications.names(runs)
    for name in names if len(names) > 1 else ():
        for measure in applications.measures(name, runs):
            if measure.name.removeprefix(f"{name}.") in applications.BRIEF:
                yield replace(measure, title=f"{name}: {measure.title}")


def _table(measures: Sequence[Measure], entries: Sequence[Entry]) -> Table:
    table = bare(("", *(escape(entry.name) for entry in entries)), left=("",))
    for measure in measures:
        pairs = (cell(entry, measure) for entry in entries)
        table.add_row(measure.title, *(f"{value} [dim]{ratio}[/dim]" if ratio else value for value, ratio in pairs))
    if any(len(entry.results) > 1 for entry in entries):
        table.add_row("speed ± over repeats", *(f"{entry.speed.relative:.0%}" for entry in entries))
    return table
