"""Which points a sweep has: `[sweep]` of a job file, axes expanded, one point a combination, seed and boot.

```toml
[sweep]
mode = "product"          # or "zip": axes of one length, taken together
seeds = [1, 2, 3]         # or a number of seeds from 0 on; default: the job's own

[[sweep.axis]]
key = "design.depth"      # any key of a job
values = [24, 64, 256]

[[sweep.axis]]
key = "node.cpus"
from = 1                  # to is included; step (default 1), or count with scale = "log"
to = 8
```
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kcompressd.errors import InputError

Value: TypeAlias = int | float | str | bool
MODES: Final = ("product", "zip")
MAX_POINTS: Final = 1_000_000
"""More points than this are refused: nobody reads them, and a mistyped range is likelier."""
SEED: Final = "seed"
BOOT: Final = "boot"
"""The column of a point's boot, 0 the job's own machine (`Job.boot`)."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One key of the job and the values it takes."""

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One combination on one `boot` of its machine: `settings` by key of the job, and the `id` by which its row is found again:
    SHA-256 of the job, the settings, the pages' digest, the code's version and the boot but 0, 16 hexadecimal digits.
    """

    settings: tuple[tuple[str, Value], ...]
    id: str
    boot: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The axes of a sweep, how they are combined, and the seeds of each combination."""

    axes: tuple[Axis, ...]
    mode: str = "product"
    seeds: tuple[int, ...] = ()

    @classmethod
    def of(cls, job: Mapping[str, Any], subject: object) -> Plan:
        """Read the `[sweep]` of a job; raises `InputError` naming the key that is wrong."""
        table = job.get("sweep")
        if not isinstance(table, Mapping):
            raise InputError(
                subject, "has no [sweep]", 'add [[sweep.axis]] with key = "design.depth", values = [24, 256]'
            )
        if unknown := sorted(table.keys() - {"axis", "mode", "seeds"}):
            raise InputError(subject, f"sweep.{unknown[0]} is unknown", "known: axis, mode, seeds")
        mode = table.get("mode", "product")
        if mode not in MODES:
            raise InputError(subject, f"sweep.mode is {mode!r}", f"give one of {', '.join(MODES)}")
        given = table.get("axis", [])
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise InputError(subject, "sweep.axis is not a list of tables", "write each as [[sweep.axis]]")
        axes = tuple(_axis(axis, f"sweep.axis[{n}]", subject) for n, axis in enumerate(given))
        plan = cls(axes, mode, _seeds(table.get("seeds"), subject))
        plan._check(subject)
        return plan

    @property
    def size(self) -> int:
        """How many combinations there are, a seed each."""
        lengths = [len(axis.values) for axis in self.axes]
        combinations = math.prod(lengths) if self.mode == "product" else min(lengths, default=1)
        return combinations * max(1, len(self.seeds))

    def points(
        self, job: Mapping[str, Any], digest: str, version: str, boots: int = 1, *, live: bool = False
    ) -> list[Point]:
        """Return every combination in order, each on `boots` boots: boot by boot, so that a part of a sweep has all of them.
        Those of real threads (`live`) have ids of their own.
        """
        more = ["live"] if live else []
        base = json.dumps({key: value for key, value in job.items() if key != "sweep"}, sort_keys=True, default=str)

        def point(settings: tuple[tuple[str, Value], ...], boot: int) -> Point:
            text = json.dumps([base, sorted(settings), digest, version, *([boot] if boot else []), *more])
            return Point(settings, hashlib.sha256(text.encode()).hexdigest()[:16], boot)

        return [point(settings, boot) for boot in range(boots) for settings in self._settings()]

    def _settings(self) -> Iterator[tuple[tuple[str, Value], ...]]:
        columns = [[(axis.key, value) for value in axis.values] for axis in self.axes]
        rows = itertools.product(*columns) if self.mode == "product" else zip(*columns, strict=True)
        for row in rows:
            for seed in self.seeds or (None,):
                yield row if seed is None else (*row, (SEED, seed))

    def _check(self, subject: object) -> None:
        keys = [axis.key for axis in self.axes] + [SEED] * bool(self.seeds)
        if not keys:
            raise InputError(subject, "[sweep] has no axis and no seeds", "add [[sweep.axis]] with key and values")
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise InputError(subject, f"{twice} has two axes", "merge their values")
        lengths = {axis.key: len(axis.values) for axis in self.axes}
        if self.mode == "zip" and len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise InputError(subject, f"zipped axes differ in length: {said}", 'make them equal, or mode = "product"')
        if self.size > MAX_POINTS:
            raise InputError(subject, f"{self.size} points: at most {MAX_POINTS}", "take fewer values")


def _seeds(given: object, subject: object) -> tuple[int, ...]:
    if given is None:
        return ()
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return tuple(range(given))
    if (
        isinstance(given, list)
        and given
        and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in given)
    ):
        return tuple(given)
    raise InputError(subject, f"sweep.seeds is {given!r}", "give a number of at least 1, or a list of whole numbers")


def _axis(given: object, where: str, subject: object) -> Axis:
    if not isinstance(given, Mapping) or not isinstance(given.get("key"), str):
        raise InputError(subject, f"{where} has no key", 'give it key = "design.depth", say')
    key, rest = given["key"], set(given) - {"key"}
    if rest == {"values"}:
        return Axis(key, _values(given["values"], f"{where} ({key})", subject))
    if {"from", "to"} <= rest <= {"from", "to", "step", "count", "scale"}:
        return Axis(key, _range(given, f"{where} ({key})", subject))
    raise InputError(subject, f"{where} ({key}) has {sorted(rest)}", "give values, or from and to with step or count")


def _values(given: object, where: str, subject: object) -> tuple[Value, ...]:
    if given == []:
        raise InputError(subject, f"{where}: values is empty", "give at least one")
    if not isinstance(given, list) or not all(isinstance(value, int | float | str) for value in given):
        raise InputError(subject, f"{where}: values is not a list of numbers or texts")
    if len({float if type(value) is int else type(value) for value in given}) > 1:
        raise InputError(subject, f"{where}: values are not all numbers, all texts or all truths")
    if len(set(map(repr, given))) < len(given):
        raise InputError(subject, f"{where}: a value comes twice")
    return tuple(given)


def _range(given: Mapping[str, Any], where: str, subject: object) -> tuple[Value, ...]:
    first, last, count, scale = given["from"], given["to"], given.get("count"), given.get("scale", "linear")
    numbers = [first, last, given.get("step", 1), count or 2]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers) or last < first:
        raise InputError(subject, f"{where}: from and to are not numbers in order")
    if scale not in ("linear", "log") or (scale == "log" and (count is None or first <= 0)):
        raise InputError(subject, f"{where}: scale is {scale!r}", 'give "linear", or "log" with count and from above 0')
    if count is None:
        step = given.get("step", 1)
        if step <= 0:
            raise InputError(subject, f"{where}: step is {step}", "give one above 0")
        steps = int((last - first) / step + 1e-9) + 1
        if steps > MAX_POINTS:
            raise InputError(subject, f"{where}: {steps} values: at most {MAX_POINTS}", "take fewer")
        return tuple(first + n * step for n in range(steps))
    if "step" in given or count < 2:
        raise InputError(subject, f"{where}: count is at least 2, and not beside step")
    shares = [n / (count - 1) for n in range(int(count))]
    exact = [first * (last / first) ** share if scale == "log" else first + (last - first) * share for share in shares]
    whole = isinstance(first, int) and isinstance(last, int)
    return tuple(dict.fromkeys(round(value) if whole else value for value in exact))
