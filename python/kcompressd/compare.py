"""`compare`: every design on the same pages, so that what differs is the design.

Repeats are interleaved and their order turns: a machine that becomes slower meanwhile slows all designs
alike. Each repeat of a design is set against the same repeat of the baseline. The machine's noise is not a
result: a ratio whose range over all repeats contains 1 is shown as ≈ (with 5 repeats that happens by chance
in 1 of 16 comparisons).
"""

from __future__ import annotations

import dataclasses
import io
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kcompressd import report
from kcompressd.design import Design
from kcompressd.errors import LabError
from kcompressd.lab import Lab
from kcompressd.pages import Pages
from kcompressd.result import Result
from kcompressd.sizes import duration, mib

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from kcompressd.validate import Validation

MIN_REPEATS: Final = 5
BASELINE: Final = "sync"

Report: TypeAlias = Callable[[str, int, int], object]
"""Called before each run with the design's name, the runs done, and the runs in all."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A measure over repeats: the median, and the range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    @property
    def relative(self) -> float:
        """Half the range, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True)
class Entry:
    """One design's runs, in the order of the repeats, and the baseline's runs beside them."""

    name: str
    results: tuple[Result, ...]
    baseline: tuple[Result, ...]

    @property
    def last(self) -> Result:
        """The last repeat, for counters that every repeat has alike or nearly so."""
        return self.results[-1]

    @property
    def speed(self) -> Spread:
        """Bytes per second of the reclaim phase."""
        return Spread.of([float(r.timing.bytes_per_s) for r in self.results])

    @property
    def ratio(self) -> Spread:
        """Speed against the baseline's in the same repeat."""
        pairs = zip(self.results, self.baseline, strict=True)
        return Spread.of([r.timing.bytes_per_s / max(b.timing.bytes_per_s, 1e-9) for r, b in pairs])

    @property
    def is_like_baseline(self) -> bool:
        """Tell whether the ratio's range contains 1: no difference is shown then."""
        return self.ratio.low <= 1 <= self.ratio.high

    def median(self, measure: Callable[[Result], float]) -> float:
        """Return the median of a measure over the repeats."""
        return statistics.median(measure(r) for r in self.results)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; prints as a table with sentences that say what to look at."""

    entries: tuple[Entry, ...]
    validations: dict[str, Validation]

    def __getitem__(self, name: str) -> Entry:
        """Return a design's entry."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"{name}: not one of {', '.join(e.name for e in self.entries)}")

    @property
    def exit_code(self) -> int:
        """0 good, 1 violation or mismatch in any run or trace, 3 when a run is partial."""
        codes = {result.exit_code for entry in self.entries for result in entry.results}
        codes |= {validation.exit_code for validation in self.validations.values()}
        return next((code for code in (1, 3) if code in codes), 0)

    def sentences(self) -> list[str]:
        """Return what to look at."""
        return list(_sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """Return medians and ranges, and every run's stored form."""
        return {"version": 1, "kind": "comparison", "designs": [_entry_dict(e) for e in self.entries]}

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def __str__(self) -> str:
        """Return table and sentences as plain text."""
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=report.WIDTH + 20, color_system=None, highlight=False).print(self)
        return out.getvalue().rstrip("\n")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table for rich."""
        yield from _rendered(self)


def compare(
    pages: Pages,
    designs: Sequence[str] | None = None,
    *,
    lab: Lab | None = None,
    repeats: int = MIN_REPEATS,
    validate: bool = False,
    on_trace: Callable[[str, Result], object] | None = None,
    progress: Report | None = None,
) -> Comparison:
    """Run `designs` (default: every preset) on the same pages, `repeats` times each in turn.

    `lab` gives everything but the design; all designs get the same number of nodes. With `validate` or
    `on_trace` (called with a name and a traced result) one more run of each is traced, and is not measured.
    Raises `LabError` for fewer than 5 repeats, and what `Lab.run` raises.
    """
    if repeats < MIN_REPEATS:
        raise LabError(
            "repeats",
            f"{repeats} are too few to tell a difference from noise",
            f"give at least {MIN_REPEATS}",
        )
    labs = _labs(designs or Design.presets(), lab or Lab())
    traced = validate or on_trace is not None
    count = _Counter(progress or (lambda name, done, total: None), len(labs) * (repeats + traced))
    runs: dict[str, list[Result]] = {name: [] for name in labs}
    for turn in range(repeats):
        for name in _turned(list(labs), turn):
            count.next(name)
            runs[name].append(labs[name].run(pages))
    entries = tuple(Entry(name, tuple(runs[name]), tuple(runs[BASELINE])) for name in labs)
    validations = {}
    for name in labs if traced else ():
        count.next(name)
        result = dataclasses.replace(labs[name], trace=True).run(pages)
        validations[name] = result.trace.validate()
        if on_trace is not None:
            on_trace(name, result)
    return Comparison(entries, validations)


class _Counter:
    """Counts runs for the progress report."""

    def __init__(self, tell: Report, total: int) -> None:
        self.tell, self.total, self.done = tell, total, 0

    def next(self, name: str) -> None:
        self.tell(name, self.done, self.total)
        self.done += 1


def _labs(names: Sequence[str], base: Lab) -> dict[str, Lab]:
    """The labs by name, the baseline first, all with as many nodes as the design that needs most."""
    ordered = [BASELINE, *(name for name in dict.fromkeys(names) if name != BASELINE)]
    labs = {name: dataclasses.replace(base, design=name, trace=False) for name in ordered}
    nodes = base.kswapd if base.kswapd is not None else max(lab.nodes() for lab in labs.values())
    return {name: dataclasses.replace(lab, kswapd=nodes) for name, lab in labs.items()}


def _turned(names: list[str], turn: int) -> list[str]:
    at = turn % len(names)
    return names[at:] + names[:at]


def cpu_ns(result: Result, kind: str) -> int:
    """Return the CPU time of the reclaim phase of all threads of a kind ("kswapd", "kcompressd"),
    nanoseconds.
    """
    of_kind = (t for t in result.threads if str(t.actor).rstrip("0123456789") == kind)
    return sum(int(t.reclaim_cpu_ns) for t in of_kind)


def scans_per_page(result: Result) -> float:
    """Return pages scanned per page freed."""
    return float(result.vmstat.pgscan_anon / max(1, result.vmstat.pgsteal_anon))


def pool_bytes(result: Result) -> int:
    """Return the memory that the store holds after the reclaim phase, bytes."""
    if result.zswap is not None:
        return result.zswap.pool_total_size
    return result.zram.mm_stat.mem_used_total if result.zram is not None else 0


def _entry_dict(entry: Entry) -> dict[str, Any]:
    return {
        "design": entry.name,
        "bytes_per_s": dataclasses.asdict(entry.speed),
        "ratio": dataclasses.asdict(entry.ratio),
        "like_baseline": entry.is_like_baseline,
        "results": [result.to_dict() for result in entry.results],
    }


_COLUMNS: Final = (
    "design",
    "MiB/s",
    "±",
    f"vs {BASELINE}",
    "kswapd CPU",
    "kcompressd CPU",
    "queued",
    "full",
    "scan/steal",
    "fault p99",
    "pool",
)


def _rendered(comparison: Comparison) -> Iterator[RenderableType]:
    first = comparison.entries[0].last
    config = first.config
    yield (
        f"[bold]{first.pages} pages ({mib(first.pages * config.page_size)}) on {config.store}, "
        f"{config.compressor}: {len(comparison.entries[0].results)} interleaved repeats, medians[/bold]"
    )
    yield _table(comparison)
    for sentence in comparison.sentences():
        yield sentence.replace("[", r"\[")


def _table(comparison: Comparison) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for entry in comparison.entries:
        table.add_row(*_cells(entry))
    return table


def _cells(entry: Entry) -> tuple[str, ...]:
    last = entry.last
    fault = last.timing.get("fault_page_ns")
    return (
        entry.name,
        f"{entry.speed.median / 2**20:.0f}",
        f"{entry.speed.relative:.0%}",
        _ratio(entry),
        duration(entry.median(lambda r: cpu_ns(r, "kswapd"))),
        duration(entry.median(lambda r: cpu_ns(r, "kcompressd"))) if last.config.design.threads else "-",
        f"{entry.median(lambda r: r.vmstat.kcompressd_queued):.0f}",
        f"{entry.median(lambda r: r.vmstat.kcompressd_full):.0f}",
        f"{entry.median(scans_per_page):.2f}",
        duration(fault.p99) if fault and fault.get("count") else "-",
        mib(entry.median(pool_bytes)),
    )


def _ratio(entry: Entry) -> str:
    if entry.name == BASELINE:
        return "1"
    return "≈ 1" if entry.is_like_baseline else f"{entry.ratio.median:.2f}x"


def _sentences(comparison: Comparison) -> Iterator[str]:
    baseline, others = comparison.entries[0], comparison.entries[1:]
    yield from _speed_sentences(others)
    yield from _cpu_sentence(baseline, others)
    yield from _scan_sentence(baseline, others)
    for entry in comparison.entries:
        yield from (f"{entry.name}: {note}" for note in entry.last.notes)
    yield from _trouble(comparison)


def _speed_sentences(others: Sequence[Entry]) -> Iterator[str]:
    if alike := [entry.name for entry in others if entry.is_like_baseline]:
        yield f"No difference from {BASELINE} beyond the spread of the repeats: {', '.join(alike)}."
    apart = sorted((e for e in others if not e.is_like_baseline), key=lambda e: -e.ratio.median)
    for entry in apart[:1] + apart[1:][-1:]:
        word = "faster" if entry.ratio.median > 1 else "slower"
        yield (
            f"{entry.name} reclaims {abs(entry.ratio.median - 1):.0%} {word} than {BASELINE} "
            f"({entry.ratio.low:.2f} to {entry.ratio.high:.2f} times its speed over the repeats)."
        )


def _cpu_sentence(baseline: Entry, others: Sequence[Entry]) -> Iterator[str]:
    """What the best hand-over cost: kswapd's CPU time that moved, and what all threads spent together."""
    queueing = [e for e in others if e.median(lambda r: r.vmstat.kcompressd_queued)]
    before = baseline.median(lambda r: cpu_ns(r, "kswapd"))
    if not queueing or not before:
        return
    entry = min(queueing, key=lambda e: e.median(lambda r: cpu_ns(r, "kswapd")))
    kswapd = entry.median(lambda r: cpu_ns(r, "kswapd"))
    total = entry.median(lambda r: cpu_ns(r, "kswapd") + cpu_ns(r, "kcompressd"))
    yield (
        f"{entry.name} takes most off kswapd: {1 - kswapd / before:.0%} of its CPU time; "
        f"kswapd and kcompressd together spend {total / before:.2f} times what {BASELINE} spends."
    )


def _scan_sentence(baseline: Entry, others: Sequence[Entry]) -> Iterator[str]:
    entry = max(others, key=lambda e: e.median(scans_per_page), default=baseline)
    most, least = entry.median(scans_per_page), baseline.median(scans_per_page)
    if most > least * 1.05:
        yield (
            f"{entry.name} scans {most:.2f} pages for each that it frees, {BASELINE} {least:.2f}: a queued page "
            "keeps its frame until a later scan comes round."
        )


def _trouble(comparison: Comparison) -> Iterator[str]:
    for entry in comparison.entries:
        for failure in dict.fromkeys(f for result in entry.results for f in result.check()):
            yield f"{entry.name} does not add up: {failure}"
        for error in dict.fromkeys(r.error.message for r in entry.results if r.error is not None):
            yield f"{entry.name}: a run ended early: {error}"
    if comparison.validations:
        bad = {name: v for name, v in comparison.validations.items() if not v.ok}
        events = sum(v.events for v in comparison.validations.values())
        yield from (f"{name}'s trace is wrong: {v.explain()}" for name, v in bad.items())
        if not bad:
            count = len(comparison.validations)
            yield f"Every trace obeys the lifecycle: {events} events of {count} designs, 0 violations."
