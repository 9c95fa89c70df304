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
import statistics
from collections.abc import Iterator, Sequence
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

    @property
    def mechanism(self) -> str:
        """Why there is more, as most of the repeats show it; "" of a measure that does not say and of less."""
        because = self.measure.because
        if because is None or self.size < 0:
            return ""
        pairs = zip(self.entry.results, self.entry.baseline, strict=True)
        return statistics.mode(because(run, base) for run, base in pairs)

    def sentence(self, others: Sequence[Remark] = (), mechanism: str | None = None) -> str:
        """Return the cell in words, with the baseline's value and its own `mechanism` or another text; `others` are remarks on
        the same design and measure in other groups, which get their ratios only.
        """
        ours, base = self.entry.value(self.measure), self.base.value(self.measure)
        assert ours is not None and base is not None
        value, other = self.measure.text(ours.median), self.measure.text(base.median)
        ratio = self.entry.times(self.measure)
        times = f" ({ratio})" if ratio else ""
        elsewhere = "".join(f", {r.entry.group} {r.entry.times(r.measure) or r.value}" for r in others)
        because = self.mechanism if mechanism is None else mechanism
        why = f": {because}" if because else ""
        says = self.measure.says.format(value=value)
        return f"{_named(self.entry)} {says}, {self.base.name} {other}{times}{elsewhere}{why}."

    @property
    def value(self) -> str:
        """The design's own value."""
        ours = self.entry.value(self.measure)
        return self.measure.text(ours.median) if ours is not None else ""


def remarkable(entry: Entry, base: Entry, measure: Measure) -> Remark | None:
    """Return the remark on a cell, None when it is not remarkable."""
    ours, other = entry.value(measure), base.value(measure)
    if ours is None or other is None or entry.is_baseline or measure.less == "other":
        return None
    if ours == other or abs(ours.median - other.median) < measure.least:
        return None
    ratio = entry.ratio_of(measure)
    if ratio is None or not ours.high:
        return _appeared(entry, base, measure)
    if ratio.holds_one or not ratio.median or 1 / FACTOR < ratio.median < FACTOR:
        return None
    return Remark(entry, base, measure, math.log2(ratio.median))


def _appeared(entry: Entry, base: Entry, measure: Measure) -> Remark | None:
    """The remark on a cell without a ratio, where all repeats that differ from the baseline's do so in one direction."""
    sides = {ours > other for ours, other in entry.pairs(measure, entry.baseline) if ours != other}
    return Remark(entry, base, measure, APPEARED if sides == {True} else -APPEARED) if len(sides) == 1 else None


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
    """Yield what is alike, a sentence for each remark, notes and troubles."""
    found = remarks(comparison)
    yield from _alike(comparison)
    yield from same(comparison)
    yield from (said for _, said in spoken(found))
    yield from notes(comparison)
    yield from troubles(comparison)


def spoken(found: Sequence[Remark]) -> Iterator[tuple[Remark, str]]:
    """Yield a sentence for each design and measure with the remark that it begins with: the largest; the other groups' follow. A
    mechanism is told once in a row of remarks that have it.
    """
    same: dict[tuple[str, str], list[Remark]] = {}
    for remark in found:
        same.setdefault((remark.measure.name, remark.entry.name), []).append(remark)
    told = ("", "")
    for first, *rest in same.values():
        reason = (first.measure.name, first.mechanism)
        yield first, first.sentence(rest, "" if reason == told else None)
        told = reason if first.mechanism else told


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
        for error in dict.fromkeys(e for result in entry.results for e in result.errors):
            yield f"{_named(entry)}: {error}"
    if comparison.validations:
        bad = {name: v for name, v in comparison.validations.items() if not v.ok}
        events = sum(v.events for v in comparison.validations.values())
        yield from (f"{name}'s trace is wrong: {v.explain()}" for name, v in bad.items())
        if not bad:
            count = len(comparison.validations)
            yield f"Every trace obeys the lifecycle: {events} events of {count} designs, 0 violations."


def same(comparison: Comparison) -> Iterator[str]:
    """Yield one sentence with the measures that do not tell the entries apart."""
    first = comparison.entries[0]
    known = [(m, first.value(m)) for m in comparison.alike]
    said = [f"{m.title} {m.text(value.median)}" for m, value in known if value is not None]
    if said and len(comparison.entries) > 1:
        yield f"The same for all: {', '.join(said)}."


def _alike(comparison: Comparison) -> Iterator[str]:
    """What differs in speed by no more than the repeats do, where there are repeats."""
    for group, entries in comparison.groups.items():
        alike = [e.name for e in entries[1:] if len(e.results) > 1 and e.is_like_baseline]
        where = f", {group}," if group else ""
        if alike:
            yield f"No difference in speed from {entries[0].name}{where} beyond the spread of the repeats: {', '.join(alike)}."


def _named(entry: Entry) -> str:
    return f"{entry.name}, {entry.group}," if entry.group else entry.name
