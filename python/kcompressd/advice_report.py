"""How an `Advice` shows itself: the options, the recommendation with its evidence, the settings to paste."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kcompressd.advise import Advice, name
from kcompressd.sizes import duration


def parts(advice: Advice) -> Iterator[RenderableType]:
    """Yield what is printed."""
    yield _options(advice)
    yield Text("→ recommended, · on the Pareto front: no other is better in all three", style="dim")
    if advice.best is None:
        yield Text(f"\n{advice.evidence[0]}", style="bold")
    else:
        yield Text(f"\nrecommended: {name(advice.best)}", style="bold")
    for sentence in advice.evidence[advice.best is None :]:
        yield Text(f"  {sentence}")
    for where, text in advice.settings.items():
        yield Text(f"\n{where}", style="bold")
        yield escape(text.rstrip())


def _options(advice: Advice) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "store", "compressor", "memory used", "fault p99", "CPU a page"):
        table.add_column(heading, justify="left" if heading in ("", "store", "compressor") else "right")
    for option in advice.options:
        mark = "→" if option == advice.best else "·" if option.front else ""
        figures = (f"{option.used:.1%}", duration(option.fault_ns), duration(option.cpu_ns))
        table.add_row(mark, option.store, option.compressor, *figures)
    return table
