"""Numbers on axes: round ticks, and values short enough for a label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

Format: TypeAlias = Callable[[float], str]
"""Turns a value into a label."""

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_DECIMAL: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_TIMES: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


def ticks(high: float, about: int = 4) -> list[float]:
    """Return round numbers from 0 to the first that is at least `high`, about `about` steps; [0, 1] when
    `high` is not positive.
    """
    if not high > 0 or math.isinf(high):
        return [0.0, 1.0]
    raw = high / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in _STEPS if power * s >= raw * (1 - 1e-9))
    return [step * i for i in range(math.ceil(high / step - 1e-6) + 1)]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from 0 to `high` on a length of `size` units, with its ticks."""

    high: float
    size: float
    marks: tuple[float, ...]

    @classmethod
    def upto(cls, high: float, size: float, about: int = 4, unit: float = 1.0) -> Axis:
        """Return an axis that ends at the tick at or above `high`; ticks are round in `unit`."""
        marks = [mark * unit for mark in ticks(high / unit, about)]
        return cls(marks[-1], size, tuple(marks))

    @classmethod
    def exactly(cls, high: float, size: float) -> Axis:
        """Return an axis that ends at `high` itself, for times."""
        end = high if high > 0 else 1.0
        return cls(end, size, tuple(mark for mark in ticks(end) if mark <= end * (1 + 1e-9)))

    def at(self, value: float) -> float:
        """Return where `value` lies."""
        return value / self.high * self.size


def unit(form: Format, high: float) -> float:
    """Return the unit in which values up to `high` are round when `form` writes them: sizes count by 1024, and the last half before a
    unit is told in quarters of that.
    """
    return next((by if high >= by else by / 4 for by, _ in _BINARY if form is size and high > by / 2), 1.0)


def number(value: float) -> str:
    """Return a count with at most three digits and a decimal prefix: 12.3k."""
    return _scaled(value, _DECIMAL, "", "")


def size(value: float) -> str:
    """Return bytes: 12.3 MiB."""
    return _scaled(value, _BINARY, "B", " ")


def time(value: float) -> str:
    """Return nanoseconds: 12.3 ms."""
    return _scaled(value, _TIMES, "ns", " ")


def percent(value: float) -> str:
    """Return a share of 1 in per cent."""
    return f"{value * 100:.3g} %"


def _scaled(value: float, units: tuple[tuple[float, str], ...], plain: str, space: str) -> str:
    if not value:
        return "0"
    for scale, unit in units:
        if abs(value) >= scale * 0.9995:
            return f"{_three(value / scale)}{space}{unit}"
    return f"{_three(value)}{space if plain else ''}{plain}"


def _three(value: float) -> str:
    """At most three digits, no exponent below 1e4, no zeros at the end."""
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    if abs(value) < 0.9995:
        return f"{value:.3g}"
    text = f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
