"""How an `Advice` shows itself: the options, the recommendation with its evidence, the designs, the settings to paste."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from kcompressd.advise import Advice, Option, name
from kcompressd.fitted import Fitted, bare
from kcompressd.pressure import overlap
from kcompressd.sizes import duration

OPTIONS = ("store", "compressor", "memory used", "touch p99.9", "CPU a touch")
"""Columns of the options."""
DESIGNS = ("design", "touch p99", "touch p99.9", "CPU a touch", "kswapd", "kcompressd", "scanned a page freed")
"""Columns of the designs; `kswapd` and `kcompressd` are parts of the CPU time."""
ABOUT_DESIGNS = "What a kcompressd design would change; no released kernel has one, so there is nothing to set:"


def parts(advice: Advice) -> Iterator[RenderableType]:
    """Yield what is printed."""
    if advice.options:
        rows = ((mark(advice, option), option.store, option.compressor, *figures(option)) for option in advice.options)
        yield Fitted(bare(("", *OPTIONS), rows, left=("", *OPTIONS[:2])), keep=3)
        yield Text("→ recommended, · on the Pareto front: no other is better in all three", style="dim")
    if advice.best is None:
        yield Text(advice.evidence[0], style="bold")
    else:
        yield Text(f"\nrecommended: {name(advice.best)}", style="bold")
    for sentence in advice.evidence[advice.best is None :]:
        yield Text(f"  {sentence}")
    if advice.designs:
        yield Text(f"\n{ABOUT_DESIGNS}", style="bold")
        yield Fitted(bare(DESIGNS, designs(advice), left=DESIGNS[:1]))
    for where, text in advice.settings.items():
        yield Text(f"\n{where}", style="bold")
        yield escape(text.rstrip())


def mark(advice: Advice, option: Option) -> str:
    """Return the sign before an option."""
    return "→" if option == advice.best else "·" if option.front and option.holds else ""


def figures(option: Option) -> tuple[str, str, str]:
    """Return the three figures as text; those of an option that exhausted the memory are not shown."""
    boots = f" ({duration(option.touch_least_ns)} to {duration(option.touch_most_ns)})" if option.touch_most_ns else ""
    timed = (duration(option.touch_ns) + boots, duration(option.cpu_ns)) if option.holds else ("exhausts memory", "-")
    return f"{option.used:.1%}", *timed


def designs(advice: Advice) -> list[tuple[str, ...]]:
    """Return the designs' figures as text, in the order of `DESIGNS`; ≈ before a tail that may be the first one's."""
    rows = []
    for run in advice.designs:
        near = "≈ " if run is not advice.designs[0] and overlap(run.tails, advice.designs[0].tails) else ""
        p99, p999, *spent = map(
            duration, (run.touch_p99_ns, run.touch_p999_ns, run.cpu_ns, run.kswapd_ns, run.kcompressd_ns)
        )
        shown = (p99, near + p999, *spent, f"{run.scans:.2f}") if run.holds else ("exhausts memory", *["-"] * 5)
        rows.append((run.design, *shown))
    return rows
