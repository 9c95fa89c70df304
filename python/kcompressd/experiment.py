"""Experiments: a question of the thread, as a job that is run in several variants, with findings that are computed.

An experiment is one TOML file (docs/experiments.md): what is asked, the mechanism that is expected, a `[job]`, `[[row]]`s
that each set keys of it, `[[group]]`s that do the same for all rows, and `[[finding]]`s. A finding compares a measure of
one row with another's and says one of two sentences, whichever is true; nothing is written by hand but both sentences.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from statistics import median
from string import Formatter
from typing import Any, Final, TypeAlias

from kcompressd import applications, taken
from kcompressd.compare import Report, matrix
from kcompressd.comparison import Comparison
from kcompressd.errors import NOT_PARSED, ExperimentError
from kcompressd.files import read_text
from kcompressd.measures import BY_NAME, Measure
from kcompressd.result import Result

ANY: Final = "*"
"""As a finding's row or group: the one with the largest ratio, and of infinite ones (the other is 0) the largest value."""
MOST: Final = 0.8
"""What is so at a smaller share of boots is undecided."""
UNDECIDED: Final = (
    "With {row} *{measure}* is {ratio} times that of {against}; whether that is more than {above} times is open."
)
"""What is said then, of the median boot."""
COST: Final = 1.1
"""What is so many times as bad as the baseline is a cost."""
_Form: TypeAlias = Mapping[str, str]
"""The keys of a table, and what the value of each is, in words."""
_TEXT, _TEXTS, _TABLE, _TABLES = "a text", "a list of texts", "a table", "a list of tables"
_WHOLE, _NUMBER = "a whole number of at least 1", "a number"
_KEYS: Final[_Form] = {
    "answers": _TEXTS,
    "title": _TEXT,
    "question": _TEXT,
    "expected": _TEXT,
    "limits": _TEXTS,
    "unanswered": _TEXTS,
    "boots": _WHOLE,
    "measures": _TEXTS,
    "pictures": _TEXTS,
    "job": _TABLE,
    "row": _TABLES,
    "group": _TABLES,
    "kernel": _TABLES,
    "finding": _TABLES,
}
_OPTIONAL: Final = ("limits", "unanswered", "boots", "pictures", "group", "kernel", "finding")
_VARIANT: Final[_Form] = {"name": _TEXT, "set": _TABLE}
_KERNEL: Final[_Form] = {"row": _TEXT, "group": _TEXT, "figures": _TABLE}
_FINDING: Final[_Form] = {
    "measure": _TEXT,
    "row": _TEXT,
    "group": _TEXT,
    "against": _TEXT,
    "against_group": _TEXT,
    "above": _NUMBER,
    "yes": _TEXT,
    "no": _TEXT,
}
_CPU: Final = replace(BY_NAME["cpu_ns"], of=taken.all_cpu)
_FILLED: Final = ("ratio", "value", "other", "cpu", "row", "group")
"""What the sentences of a finding may name."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A row or a group: its name, and the keys of the job that it sets."""

    name: str
    set: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Is `measure` of `row` more than `above` times that of `against`, by the median of the boots' ratios, as in tables? `yes`
    and `no` are the sentences for the two answers, with `{ratio}`, `{value}`, `{other}`, `{cpu}` (the ratio of the CPU time of all
    threads), `{row}` and `{group}` to fill in.
    """

    measure: Measure
    row: str
    group: str
    against: str
    against_group: str | None
    above: float
    yes: str
    no: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a real kernel counted where it ran a row: by measure, the least and the most of its runs."""

    row: str
    group: str
    figures: Mapping[str, tuple[float, float]]

    @staticmethod
    def beyond(ours: float, least: float, most: float) -> float:
        """Return how far `ours` is outside of the kernel's spread, as a share of its nearer end (infinite: that is 0)."""
        end = most if ours > most else least
        return 0.0 if least <= ours <= most else ours / end - 1 if end else float("inf")


@dataclass(frozen=True)
class Experiment:
    """A question, how it is put to the model, and what would be found. Paths in `job` start at the folder of `path`."""

    path: Path
    answers: tuple[str, ...]
    title: str
    question: str
    expected: str
    limits: tuple[str, ...]
    unanswered: tuple[str, ...]
    boots: int | None
    measures: tuple[Measure, ...]
    pictures: tuple[str, ...]
    job: Mapping[str, Any]
    rows: tuple[Variant, ...]
    groups: tuple[Variant, ...]
    kernel: tuple[Kernel, ...]
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @classmethod
    def load(cls, path: Path) -> Experiment:
        """Read an experiment; raises `ExperimentError` naming the file, and the key that is missing, unknown or of a wrong type."""
        try:
            data = tomllib.loads(read_text(path))
        except OSError as error:
            raise ExperimentError(path, f"cannot be read: {error.strerror}") from error
        except NOT_PARSED as error:
            raise ExperimentError(path, f"not TOML: {error}") from error
        return _experiment(path, data)


@dataclass(frozen=True, slots=True)
class Said:
    """What a finding says of the median boot, at how many of the `boots` that is `so`, the boots' least and most ratio, and
    whether it is a `cost`: at least `COST` times as bad as the baseline, at enough boots.
    """

    sentence: str
    so: int
    boots: int
    ratios: tuple[float, float] | None = None
    cost: bool = False

    @property
    def decided(self) -> bool:
        """Whether enough boots say so."""
        return self.so >= MOST * self.boots

    @property
    def share(self) -> str:
        """Where it is not so at all boots: at how many it is."""
        return f", at {self.so} of {self.boots} boots" if self.so < self.boots else ""

    @property
    def spread(self) -> str:
        """The least and the most ratio of several boots; none where they are alike, or one has no number."""
        if self.ratios is None or self.boots < 2 or not isfinite(self.ratios[1]):
            return ""
        least, most = (f"{ratio:.2f}x" for ratio in self.ratios)
        return f" ({least} to {most})" if least != most else ""


@dataclass(frozen=True)
class Answer:
    """An experiment and what came of it."""

    experiment: Experiment
    comparison: Comparison

    def found(self) -> list[Said]:
        """Return what each finding says."""
        return [_said(finding, self.comparison, self.experiment) for finding in self.experiment.findings]

    @property
    def complete(self) -> bool:
        """Whether every run came to its end and kept its promises."""
        return self.comparison.exit_code == 0


def ask(
    experiment: Experiment,
    simulate: Callable[[Mapping[str, Any], int], Result],
    *,
    repeats: int = 1,
    progress: Report | None = None,
) -> Answer:
    """Run every cell of an experiment: `simulate` is given the keys that the cell sets, dotted, and which of `repeats` boots it is,
    and runs its job.

    `progress` is called before each with its name, how many are done, and how many there are.
    """
    rows = {row.name: row.set for row in experiment.rows}
    groups = {group.name: group.set for group in experiment.groups}
    return Answer(
        experiment, matrix(rows, groups, simulate, repeats=repeats, title=experiment.title, progress=progress)
    )


def _said(finding: Finding, comparison: Comparison, experiment: Experiment) -> Said:
    entries = {(entry.group, entry.name): entry for entry in comparison.entries}
    rows = [r.name for r in experiment.rows[1:]] if finding.row == ANY else [finding.row]
    groups = [g.name for g in experiment.groups] if finding.group == ANY else [finding.group]
    seen = []
    for group in groups:
        for row in rows:
            base = entries[finding.against_group or group, finding.against]
            pairs = entries[group, row].pairs(finding.measure, base.results)
            if pairs:
                value, other = (median(side) for side in zip(*pairs, strict=True))
                ratios = entries[group, row].ratios(finding.measure, base.results)
                cpu = median(entries[group, row].ratios(_CPU, base.results) or [nan])
                seen.append((median(ratios), value, other, ratios, cpu, row, group))
    if not seen:
        return Said(f"{finding.measure.title} was not measured.", 0, 0)
    ratio, value, other, ratios, cpu, row, group = max(seen, key=lambda one: one[:2])
    words = {"ratio": f"{ratio:.2f}", "cpu": f"{cpu:.2f}", "row": row, "group": group}
    words |= {"value": finding.measure.text(value), "other": finding.measure.text(other)}
    above = ratio > finding.above
    so = sum((one > finding.above) == above for one in ratios)
    sentence = finding.yes if above else finding.no
    if so < MOST * len(ratios):
        against = finding.against if finding.against_group is None else f"{finding.against} ({finding.against_group})"
        words |= {"measure": finding.measure.title, "against": against, "above": f"{finding.above:g}"}
        words |= {"row": f"{row} ({group})"} if group else {}
        sentence = UNDECIDED
    baseline = finding.against == experiment.rows[0].name and finding.against_group in (None, group)
    cost = baseline and sum(_worse(finding.measure, one) for one in ratios) >= MOST * len(ratios)
    return Said(sentence.format_map(words), so, len(ratios), (min(ratios), max(ratios)), cost)


def _worse(measure: Measure, ratio: float) -> bool:
    """Whether a ratio is a cost."""
    return ratio >= COST if measure.less == "better" else measure.less == "worse" and ratio * COST <= 1


def _experiment(path: Path, data: Mapping[str, Any]) -> Experiment:
    _refuse(path, "", data, _KEYS, _OPTIONAL)
    measures = {name: _measure(name) for name in data["measures"]}
    wrong = [f"measures: {_unknown(name)}" for name, measure in measures.items() if measure is None]
    if wrong:
        raise ExperimentError(path, "; ".join(wrong))
    rows = _variants(path, "row", data["row"])
    groups = _variants(path, "group", data.get("group", [{"name": "", "set": {}}]))
    known = {"row": {row.name for row in rows}, "group": {group.name for group in groups}}
    return Experiment(
        path=path,
        answers=tuple(data["answers"]),
        title=data["title"],
        question=data["question"],
        expected=data["expected"],
        limits=tuple(data.get("limits", ())),
        unanswered=tuple(data.get("unanswered", ())),
        boots=data.get("boots"),
        measures=tuple(filter(None, measures.values())),
        pictures=tuple(data.get("pictures", ())),
        job=data["job"],
        rows=rows,
        groups=groups,
        kernel=tuple(_kernel(path, n, given, known) for n, given in enumerate(data.get("kernel", ()), 1)),
        findings=tuple(_finding(path, n, given, rows, known) for n, given in enumerate(data.get("finding", ()), 1)),
    )


def _refuse(path: Path, where: str, given: Mapping[str, Any], form: _Form, optional: Sequence[str] = ()) -> None:
    """Raise `ExperimentError` for a key of a table that is missing, unknown, or has a value of a wrong type."""
    wrong = [f"{key} is missing" for key in form if key not in given and key not in optional]
    wrong += [f"unknown key {key}" for key in given if key not in form]
    wrong += [
        f"{key} = {value!r} is not {form[key]}"
        for key, value in given.items()
        if key in form and not _is(value, form[key])
    ]
    if wrong:
        raise ExperimentError(path, where + "; ".join(wrong))


def _is(value: object, form: str) -> bool:
    if form in (_TEXTS, _TABLES):
        return isinstance(value, list) and all(isinstance(one, str if form == _TEXTS else dict) for one in value)
    if form == _NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is int and value >= 1 if form == _WHOLE else isinstance(value, str if form == _TEXT else dict)


def _measure(name: str) -> Measure | None:
    return BY_NAME.get(name) or applications.measure(name)


def _unknown(name: str) -> str:
    return f"{name} is none of {', '.join(BY_NAME)}, nor a figure of an application (NAME.touch_max_ns)"


def _variants(path: Path, kind: str, given: Sequence[Mapping[str, Any]]) -> tuple[Variant, ...]:
    for number, one in enumerate(given, 1):
        _refuse(path, f"{kind} {number}: ", one, _VARIANT)
    names = [one["name"] for one in given]
    if not names or len(set(names)) < len(names):
        raise ExperimentError(path, f"{kind}: needs at least one, each with a name of its own")
    return tuple(Variant(one["name"], one["set"]) for one in given)


def _kernel(path: Path, number: int, given: Mapping[str, Any], known: Mapping[str, set[str]]) -> Kernel:
    _refuse(path, f"kernel {number}: ", given, _KERNEL, ("group",))
    filled = {"group": next(iter(known["group"])) if len(known["group"]) == 1 else None, **given}
    wrong = [
        f"{kind} {filled[kind]!r} is none of {', '.join(sorted(known[kind]))}"
        for kind in known
        if filled[kind] not in known[kind]
    ]
    figures: Mapping[str, Any] = filled["figures"]
    wrong += [f"figures: {name} is none of {', '.join(BY_NAME)}" for name in figures if name not in BY_NAME]
    wrong += [
        f"figures: {name} = {runs!r} is no list of numbers"
        for name, runs in figures.items()
        if not (isinstance(runs, list) and runs and all(_is(run, _NUMBER) for run in runs))
    ]
    if wrong or not figures:
        raise ExperimentError(path, f"kernel {number}: {'; '.join(wrong) or 'figures is empty'}")
    spreads = {name: (float(min(runs)), float(max(runs))) for name, runs in figures.items()}
    return Kernel(filled["row"], filled["group"], spreads)


def _finding(
    path: Path, number: int, given: Mapping[str, Any], rows: Sequence[Variant], known: Mapping[str, set[str]]
) -> Finding:
    _refuse(path, f"finding {number}: ", given, _FINDING, ("group", "against", "against_group"))
    measure = _measure(given["measure"])
    wrong = [] if measure is not None else [f"measure {_unknown(repr(given['measure']))}"]
    wrong += [f"{key} = {given[key]!r} {why}" for key in ("yes", "no") if (why := _unfillable(given[key]))]
    filled = {
        "group": next(iter(known["group"])) if len(known["group"]) == 1 else ANY,
        "against": rows[0].name,
        **given,
    }
    for key, kind in (("row", "row"), ("group", "group"), ("against", "row"), ("against_group", "group")):
        if filled.get(key) is not None and filled[key] not in {*known[kind], ANY}:
            wrong.append(f"{key} {filled[key]!r} is none of {', '.join(sorted(known[kind]))}")
    if wrong or measure is None:
        raise ExperimentError(path, f"finding {number}: {'; '.join(wrong)}")
    return Finding(
        measure=measure,
        row=given["row"],
        group=filled["group"],
        against=filled["against"],
        against_group=given.get("against_group"),
        above=float(given["above"]),
        yes=given["yes"],
        no=given["no"],
    )


def _unfillable(sentence: str) -> str:
    """Why a finding's sentence cannot be said, or nothing."""
    try:
        names = [name for _, name, _, _ in Formatter().parse(sentence) if name is not None]
    except ValueError as error:
        return f"is no sentence to fill in: {error}"
    strange = [name for name in names if name not in _FILLED]
    return f"names {{{strange[0]}}}, which is none of {', '.join(_FILLED)}" if strange else ""
