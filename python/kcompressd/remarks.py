"""Which cells of a comparison are remarkable, and a sentence for each.

A cell is remarkable when all of this holds:
- less of its measure is always better, or always worse;
- it differs from the baseline's by at least a quarter (`FACTOR`), or one of the two is 0;
- the difference is at least the measure's `least`: 3 pages instead of 1 are nothing;
- the ratio's range over the repeats lies wholly on one side of 1: noise is not a result.
The size of a remark, by which they are ordered, is the ratio's distance from 1 in doublings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kcompressd.comparison import Comparison, Entry
from kcompressd.measures import Measure

FACTOR: Final = 1.25
"""From which ratio on, up or down, a difference is remarkable."""
APPEARED: Final = 10.0
"""The size of a remark where the baseline's value is 0, or the design's, in doublings."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A remarkable cell; `size` is its ratio to the baseline in doublings, negative for less."""

    entry: Entry
    base: Entry
    measure: Measure
    size: float

    @property
    def is_good(self) -> bool:
        """Tell whether the difference is for the better."""
        return (self.size < 0) == (self.measure.less == "better")

    def sentence(self) -> str:
        """Return the cell in words, with the baseline's value and the mechanism of a rise."""
        ours, base = self.entry.value(self.measure), self.base.value(self.measure)
        assert ours is not None and base is not None
        value, other = self.measure.text(ours.median), self.measure.text(base.median)
        ratio = self.entry.ratio_of(self.measure)
        times = f"{self.base.name} {other}" + (f" ({ratio.median:.2f}x)" if ratio is not None else "")
        why = f": {self.measure.because}" if self.measure.because and self.size > 0 else ""
        return f"{_named(self.entry)} {self.measure.says.format(value=value)}, {times}{why}."


def remarkable(entry: Entry, base: Entry, measure: Measure) -> Remark | None:
    """Return the remark on a cell, None when it is not remarkable."""
    ours, other = entry.value(measure), base.value(measure)
    if ours is None or other is None or entry.is_baseline or measure.less == "other":
        return None
    if ours == other or abs(ours.median - other.median) < measure.least:
        return None
    if not other.high or not ours.high:
        return Remark(entry, base, measure, APPEARED if ours.high else -APPEARED)
    ratio = entry.ratio_of(measure)
    if ratio is None or ratio.holds_one or not ratio.median or 1 / FACTOR < ratio.median < FACTOR:
        return None
    return Remark(entry, base, measure, math.log2(ratio.median))


def remarks(comparison: Comparison) -> list[Remark]:
    """Return all remarks: by measure in its order, the largest first within one."""
    found = []
    for entries in comparison.groups.values():
        base = entries[0]
        for entry in entries[1:]:
            found += [r for m in comparison.measures if (r := remarkable(entry, base, m)) is not None]
    order = {measure.name: number for number, measure in enumerate(comparison.measures)}
    return sorted(found, key=lambda r: (order[r.measure.name], -abs(r.size)))


def sentences(comparison: Comparison) -> Iterator[str]:
    """Yield the designs that are like the baseline, a sentence for each remark, notes and troubles."""
    found = remarks(comparison)
    yield from _alike(comparison)
    yield from (remark.sentence() for remark in found)
    yield from notes(comparison)
    yield from troubles(comparison)


def notes(comparison: Comparison) -> Iterator[str]:
    """Yield what the runs say of themselves, once each, after the names of those that say it."""
    said: dict[str, list[str]] = {}
    for entry in comparison.entries:
        for note in entry.last.notes:
            said.setdefault(note, []).append(entry.name)
    yield from (f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in said.items())


def troubles(comparison: Comparison) -> Iterator[str]:
    """Yield what does not add up, ended early or broke the lifecycle; and that nothing did, where it was validated."""
    for entry in comparison.entries:
        for failure in dict.fromkeys(f for result in entry.results for f in result.check()):
            yield f"{_named(entry)} does not add up: {failure}"
        for error in dict.fromkeys(r.error.message for r in entry.results if r.error is not None):
            yield f"{_named(entry)}: a run ended early: {error}"
    if comparison.validations:
        bad = {name: v for name, v in comparison.validations.items() if not v.ok}
        events = sum(v.events for v in comparison.validations.values())
        yield from (f"{name}'s trace is wrong: {v.explain()}" for name, v in bad.items())
        if not bad:
            count = len(comparison.validations)
            yield f"Every trace obeys the lifecycle: {events} events of {count} designs, 0 violations."


def _alike(comparison: Comparison) -> Iterator[str]:
    """What differs in speed by no more than the repeats do, where there are repeats."""
    for group, entries in comparison.groups.items():
        alike = [e.name for e in entries[1:] if len(e.results) > 1 and e.is_like_baseline]
        where = f", {group}" if group else ""
        if alike:
            yield f"No difference in speed from {entries[0].name}{where} beyond the spread of the repeats: {', '.join(alike)}."


def _named(entry: Entry) -> str:
    return f"{entry.name}, {entry.group}," if entry.group else entry.name
