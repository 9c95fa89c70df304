"""Stored Results side by side: runs, simulations, and kernels that were observed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kcompressd.comparison import Comparison, Entry
from kcompressd.errors import ResultFileError
from kcompressd.result import Result

if TYPE_CHECKING:
    from rich.console import RenderableType

SECTIONS = ("vmstat", "zswap", "zram mm_stat", "zram io_stat", "pressure")


def load(paths: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Load stored Results, at least two; the first is the baseline. Raises `ResultFileError`."""
    if len(paths) < 2:
        raise ResultFileError(paths[0], "is one Result", "name at least two, or show it: kcompressd show")
    results = [Result.load(path) for path in paths]
    names = _names([Path(path) for path in paths])
    first = (results[0],)
    entries = [Entry(name, first if at == 0 else (results[at],), first) for at, name in enumerate(names)]
    return Comparison(tuple(entries), title="stored Results")


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without suffix; whole paths where those are not all different."""
    short = [path.name.removesuffix(".json") for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def parts(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield what rich prints: what each Result is of, the comparison, then every counter that any of them has."""
    from rich.markup import escape

    from kcompressd import report
    from kcompressd.fitted import Fitted, bare

    yield from (escape(f"{entry.name}: {report.title(entry.last)}") for entry in comparison.entries)
    yield comparison
    columns = [counters(entry.last) for entry in comparison.entries]
    table = bare(("counter", *(escape(entry.name) for entry in comparison.entries)), left=("counter",))
    table.columns[0].style = "cyan"
    for section in SECTIONS:
        names = dict.fromkeys(name for column in columns for name, value in column[section].items() if value)
        if names:
            table.add_row(f"[bold]{section}[/bold]")
        for name in names:
            table.add_row(f"  {name}", *(str(column[section].get(name, "-")) for column in columns))
    yield ""
    yield Fitted(table)


def counters(result: Result) -> dict[str, dict[str, int]]:
    """Return a result's counters by section, in the kernel's names."""
    zram = result.zram
    return {
        "vmstat": dict(result.vmstat),
        "zswap": dict(result.zswap or {}),
        "zram mm_stat": dict(zram.mm_stat) if zram is not None else {},
        "zram io_stat": dict(zram.io_stat) if zram is not None else {},
        "pressure": {name: ns for name, ns in result.timing.items() if name.startswith("psi_")},
    }
