"""`Comparison`: runs that differ in one thing, set beside a baseline; what it prints, stores and draws.

Two kinds of noise: a live run's repeats differ of themselves; a virtual run is the same every time, and its repeats are other
boots of the machine (`Job.boot`). Either way a ratio whose range over the repeats contains 1 is shown as ≈ (with 5 repeats of
what does not differ the range misses 1 by chance in 1 of 16 comparisons).
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kcompressd.measures import MEASURES, Measure
from kcompressd.result import Result

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from kcompressd.columns import Columns
    from kcompressd.validate import Validation


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

    @property
    def holds_one(self) -> bool:
        """Tell whether 1 lies within the range."""
        return self.low <= 1 <= self.high


@dataclass(frozen=True)
class Entry:
    """One row: its runs in the order of the repeats, and beside them the baseline's runs of the same `group`
    (what else was varied, "8 CPUs", or "").
    """

    name: str
    results: tuple[Result, ...]
    baseline: tuple[Result, ...]
    group: str = ""

    @property
    def last(self) -> Result:
        """The last repeat, for counters that every repeat has alike or nearly so."""
        return self.results[-1]

    @property
    def is_baseline(self) -> bool:
        """Tell whether it is what the others of its group are set against."""
        return self.results is self.baseline

    @property
    def speed(self) -> Spread:
        """Bytes per second of the reclaim phase."""
        return Spread.of([float(r.timing.bytes_per_s) for r in self.results])

    @property
    def ratio(self) -> Spread:
        """Speed against the baseline's in the same repeat."""
        return self.ratio_of(MEASURES[0]) or Spread(0.0, 0.0, 0.0)

    @property
    def is_like_baseline(self) -> bool:
        """Tell whether the ratio's range contains 1: no difference is shown then."""
        return self.ratio.holds_one

    def median(self, measure: Callable[[Result], float]) -> float:
        """Return the median of a measure over the repeats."""
        return statistics.median(measure(r) for r in self.results)

    def value(self, measure: Measure) -> Spread | None:
        """Return a measure over the repeats, None when any of them does not have it."""
        values = [measure.of(r) for r in self.results]
        known = [float(v) for v in values if v is not None]
        return Spread.of(known) if len(known) == len(values) else None

    def times(self, measure: Measure) -> str:
        """Return the ratio to the baseline as text, "" where the baseline has next to nothing of it."""
        ratio = self.ratio_of(measure)
        tiny = statistics.median(measure.of(run) or 0.0 for run in self.baseline) < measure.least
        return "" if ratio is None or tiny else f"{ratio.median:.2f}x"

    def ratio_of(self, measure: Measure) -> Spread | None:
        """Return a measure against the baseline's in the same repeat, None where that is 0 or not known."""
        pairs = self.pairs(measure, self.baseline)
        known = len(pairs) == len(self.results) and all(base for _, base in pairs)
        return Spread.of(self.ratios(measure, self.baseline)) if known else None

    def ratios(self, measure: Measure, others: Sequence[Result]) -> list[float]:
        """Return a measure against that of `others` in each repeat in which both have it; where that is 0, 1 for 0 and infinite
        for more.
        """
        pairs = self.pairs(measure, others)
        return [ours / base if base else 1.0 if not ours else float("inf") for ours, base in pairs]

    def pairs(self, measure: Measure, others: Sequence[Result]) -> list[tuple[float, float]]:
        """Return a measure beside that of `others` in the same repeat, of the repeats in which both have it."""
        both = [(measure.of(run), measure.of(other)) for run, other in zip(self.results, others, strict=True)]
        return [(run, other) for run, other in both if run is not None and other is not None]


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; prints as a table with sentences that say what to look at.

    `title` says what all entries have in common; the first entry of each group is its baseline; `interrupted` what Ctrl-C
    left out, "" when nothing.
    """

    entries: tuple[Entry, ...]
    validations: Mapping[str, Validation] = field(default_factory=dict)
    title: str = ""
    interrupted: str = ""

    def __repr__(self) -> str:
        """Say what is compared; `print` shows the table."""
        names = dict.fromkeys(entry.name for entry in self.entries)
        return f"<Comparison of {', '.join(names)}: {len(self.entries)} rows>"

    def __getitem__(self, name: str) -> Entry:
        """Return an entry, the first of that name."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"{name}: not one of {', '.join(e.name for e in self.entries)}")

    @property
    def groups(self) -> dict[str, list[Entry]]:
        """The entries by group, in order, each group's baseline first."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.group, []).append(entry)
        return found

    @property
    def measures(self) -> list[Measure]:
        """The measures that tell entries apart: some entry has it, not 0, and not all have the same."""
        return [m for m in MEASURES if m is MEASURES[0] or len({e.value(m) for e in self.entries}) > 1]

    @property
    def alike(self) -> list[Measure]:
        """The measures that are the same for all entries, and not 0."""
        same = (m for m in MEASURES if m not in self.measures)
        return [m for m in same if (v := self.entries[0].value(m)) is not None and v.high]

    @property
    def exit_code(self) -> int:
        """0 good, 1 violation or mismatch in any run or trace, 3 when something ended a run early or it is missing. That the OOM
        killer ended an application is what is compared.
        """
        results = [result for entry in self.entries for result in entry.results]
        codes = {1 if result.is_wrong else 0 if result.complete else 3 for result in results}
        codes |= {validation.exit_code for validation in self.validations.values()}
        codes |= {3} if self.interrupted else set()
        return next((code for code in (1, 3) if code in codes), 0)

    def sentences(self) -> list[str]:
        """Return what to look at: a sentence for each remarkable cell, then notes and troubles."""
        from kcompressd import remarks

        return list(remarks.sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """Return medians and ranges, and every run's stored form."""
        entries = [_entry_dict(e) for e in self.entries]
        complete = not self.interrupted
        return {"version": 1, "kind": "comparison", "title": self.title, "complete": complete, "designs": entries}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Return what `to_dict` stored, without the traces' validations; raises `KeyError` and `ResultFileError`."""
        bases: dict[str, tuple[Result, ...]] = {}
        entries = []
        for one in data["designs"]:
            results = tuple(Result.from_dict(result) for result in one["results"])
            entries.append(Entry(one["design"], results, bases.setdefault(one["group"], results), one["group"]))
        return cls(tuple(entries), title=data["title"], interrupted="" if data["complete"] else "some runs are missing")

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def columns(self) -> Columns:
        """Return a table with a row for each run: `design`, `group`, `repeat`, and every measure."""
        from kcompressd.columns import Columns, measures

        runs = ((entry, repeat, run) for entry in self.entries for repeat, run in enumerate(entry.results))
        rows = [{"design": e.name, "group": e.group, "repeat": repeat} | measures(run) for e, repeat, run in runs]
        return Columns.of_rows(rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as an Arrow stream."""
        return self.columns().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """Return `columns()` as a `pandas.DataFrame`; needs the extra `pandas`."""
        return self.columns().to_pandas()

    def to_polars(self) -> Any:
        """Return `columns()` as a `polars.DataFrame`; needs the extra `polars`."""
        return self.columns().to_polars()

    def plot(self) -> Any:
        """Return a `matplotlib.figure.Figure` of all entries; needs the extra `plot`."""
        from kcompressd import plot

        return plot.of_comparison(self)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML file's text."""
        from kcompressd.html import of_comparison

        return of_comparison.document(self)

    def _repr_html_(self) -> str:
        from kcompressd.html import of_comparison

        return of_comparison.fragment(self)

    def __str__(self) -> str:
        """Return table and sentences as plain text."""
        from kcompressd.compare_report import WIDTH
        from kcompressd.fitted import plain

        return plain([self], WIDTH)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table for rich."""
        from kcompressd import compare_report

        yield from compare_report.parts(self)


def _entry_dict(entry: Entry) -> dict[str, Any]:
    return {
        "design": entry.name,
        "group": entry.group,
        "bytes_per_s": dataclasses.asdict(entry.speed),
        "ratio": dataclasses.asdict(entry.ratio),
        "like_baseline": entry.is_like_baseline,
        "results": [result.to_dict() for result in entry.results],
    }
