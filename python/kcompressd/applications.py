"""What each application of a run with a memory budget came to, as measures: its time, its latency, its stalls, its deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal

from kcompressd.measures import Measure
from kcompressd.names import Names
from kcompressd.result import Result
from kcompressd.taken import Value

App = Names[Any]
_Unit = Literal["ns", "count"]


def _took(app: App) -> Value:
    return None if app.end_ns is None or app.oom_kill else float(app.end_ns - app.start_ns)


def _touch(at: str, app: App) -> Value:
    return float(app.touch_ns[at]) if app.touch_ns.get("count") else None


def _plain(counter: str, app: App) -> Value:
    return float(app[counter])


def _late(app: App) -> Value:
    late: int | None = app.get("late_ns")
    return None if late is None else float(max(0, late))


_FIGURES: Final[tuple[tuple[str, str, _Unit, Callable[[App], Value]], ...]] = (
    ("took_ns", "took", "ns", _took),
    ("touch_p50_ns", "touch p50", "ns", partial(_touch, "p50")),
    ("touch_p99_ns", "touch p99", "ns", partial(_touch, "p99")),
    ("touch_p999_ns", "touch p99.9", "ns", partial(_touch, "p999")),
    ("touch_max_ns", "longest touch", "ns", partial(_touch, "max")),
    ("stall_ns", "stalled", "ns", partial(_plain, "stall_ns")),
    ("allocstall", "stalls", "count", partial(_plain, "allocstall")),
    ("pgmajfault", "pgmajfault", "count", partial(_plain, "pgmajfault")),
    ("refault_file", "read again", "count", lambda app: float(app.get("workingset_refault_file", 0))),
    ("late_ns", "late by", "ns", _late),
    ("oom_kill", "oom_kill", "count", partial(_plain, "oom_kill")),
)
_LONG: Final = ("touch_p50_ns", "pgmajfault", "refault_file")
BRIEF: Final = ("touch_p99_ns", "touch_p999_ns", "stall_ns", "late_ns")
"""The measures that a comparison in a terminal has room for."""


def names(results: Sequence[Result]) -> list[str]:
    """Return the applications' names, in order; of several results those that all have."""
    known = [{app.name for app in result.applications} for result in results]
    return [app.name for app in results[0].applications if all(app.name in one for one in known)] if results else []


def described(result: Result, name: str) -> str:
    """Return an application with its kind and, where it is in one, its group: `browser (zipf, fg)`."""
    app = next(app for app in result.applications if app.name == name)
    group = "" if app.memcg == "/" else f", {app.memcg}"
    kind = app.kind if app.kind != name else ""
    inside = f"{kind}{group}".removeprefix(", ")
    return f"{name} ({inside})" if inside else name


def measures(name: str, results: Sequence[Result]) -> Iterator[Measure]:
    """Yield the measures of one application that any of the results has, and not 0; names begin with the application's."""
    for key, title, unit, take in _FIGURES:
        measure = Measure(f"{name}.{key}", title, unit, partial(_measured, name, take), "better", 0, "")
        if any(measure.of(result) for result in results):
            yield measure


def measure(name: str) -> Measure | None:
    """Return a measure of one application by its whole name, `browser.touch_max_ns`, where there is such a figure. Nothing is measured
    in a run without that application.
    """
    app, _, wanted = name.rpartition(".")
    for key, title, unit, take in _FIGURES:
        if app and key == wanted:
            return Measure(name, f"{app}: {title}", unit, partial(_measured, app, take), "better", 0, "")
    return None


def table(result: Result, *, brief: bool = False) -> tuple[list[str], list[tuple[str, list[tuple[str, Value]]]]]:
    """Return headings, and for each application its description with a text and a value under each further heading; `brief`: what
    a terminal has room for.
    """
    known = {name: {m.title: m for m in measures(name, [result])} for name in names([result])}
    figures = [(key, title) for key, title, _, _ in _FIGURES if not (brief and key in _LONG)]
    titles = [title for _, title in figures if any(title in of_it for of_it in known.values())]
    rows = [
        (described(result, name), [_cell(of_it.get(title), result) for title in titles])
        for name, of_it in known.items()
    ]
    return ["application", *titles], rows


def _cell(measure: Measure | None, result: Result) -> tuple[str, Value]:
    value = None if measure is None else measure.of(result)
    return ("-", value) if measure is None or value is None else (measure.text(value), value)


def _measured(name: str, take: Callable[[App], Value], result: Result) -> Value:
    return next((take(app) for app in result.applications if app.name == name), None)
