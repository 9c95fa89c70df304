"""The report of a comparison: what is remarkable, the table, pictures, and every run's counters."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from kcompressd import applications, compare_report, remarks, report, series
from kcompressd.comparison import Comparison, Entry
from kcompressd.html import of_result, page, scale
from kcompressd.html.bars import Bar, bars
from kcompressd.html.elements import Child, Markup, join, tag
from kcompressd.html.lines import key
from kcompressd.html.over_time import charts, colors
from kcompressd.html.table import Cell, table
from kcompressd.measures import BY_NAME, Measure
from kcompressd.result import Result
from kcompressd.taken import kind_of

_PICTURES = ("scans_per_page", "allocstall", "touch_p99_ns", "touch_max_ns", "held_twice_bytes")
"""Measures that get bars of their own, beside speed and CPU time."""
_KINDS = {"kswapd": 1, "kcompressd": 2, "app": 3}
_OTHERS = 0
"""The colour of the device's and the shrinker's threads."""


def document(comparison: Comparison) -> str:
    """Return the report as a file's text."""
    first = comparison.entries[0]
    names = ", ".join(dict.fromkeys(entry.name for entry in comparison.entries))
    return page.document(
        compare_report.title(comparison),
        parts(comparison),
        subtitle=f"{names}; ratios are to {first.name}",
        footer=of_result.footer(first.last.environment),
    )


def fragment(comparison: Comparison) -> str:
    """Return tables, pictures and sentences alone, for notebooks."""
    drawn = [page.figures(_pictures(comparison, entries)) for entries in comparison.groups.values()]
    said = page.bullets(comparison.sentences())
    return page.embedded(tag("p", compare_report.title(comparison)), *_tables(comparison), *drawn, said)


def parts(comparison: Comparison) -> Iterator[Child]:
    """Yield the report's parts."""
    if trouble := list(remarks.troubles(comparison)):
        yield tag("div", page.bullets(trouble), class_="good" if comparison.exit_code == 0 else "bad")
    found = remarks.remarks(comparison)
    yield page.section("What is remarkable", _remarks(found, _shades(comparison.entries)))
    yield page.section("Side by side", *_tables(comparison), tag("p", _HOW, class_="note"))
    if outcomes := list(_applications(comparison)):
        yield page.section("Applications", *outcomes)
    for group, entries in comparison.groups.items():
        where = f", {group}" if group else ""
        yield page.section(f"Pictures{where}", page.figures(_pictures(comparison, entries)))
        if drawn := _over_time(entries):
            yield page.section(f"Over time{where}", _legend(entries), page.figures(drawn), _which(entries))
    said = [*remarks.same(comparison), *remarks.notes(comparison)]
    if said:
        yield page.section("Notes", page.bullets(said))
    yield page.section("Every counter", *(_details(entry) for entry in comparison.entries))


_HOW = (
    "Green and red: better and worse than the baseline by at least a quarter, beyond the spread of the repeats. "
    "≈: the ratio's range over the repeats holds 1."
)


def _shades(entries: Sequence[Entry]) -> dict[str, int]:
    return colors(entry.name for entry in entries)


def _remarks(found: Sequence[remarks.Remark], shades: dict[str, int]) -> Markup | None:
    """The remarks by measure, each with its design's colour."""
    if not found:
        return tag("p", "No cell differs from the baseline by a quarter beyond the spread of the repeats.")
    items = [
        tag("li", tag("span", class_=f"swatch c{shades[remark.entry.name]}"), said)
        for remark, said in remarks.spoken(found)
    ]
    shown, rest = items[:12], items[12:]
    more = page.folded(f"{len(rest)} more", tag("ul", *rest, class_="plain")) if rest else None
    return join([tag("ul", *shown, class_="plain"), more])


def _tables(comparison: Comparison) -> Iterator[Markup]:
    measures = comparison.measures
    marks = {(r.entry.group, r.entry.name, r.measure.name): r.is_good for r in remarks.remarks(comparison)}
    for group, entries in comparison.groups.items():
        shades = _shades(entries)
        columns = [_row(entry, shades[entry.name], measures, marks) for entry in entries]
        heads, *rows = zip([Cell("", ""), *(Cell(m.title, m.title) for m in measures)], *columns, strict=True)
        yield table(heads, rows, group or None, is_sortable=False)


def _applications(comparison: Comparison) -> Iterator[Markup]:
    """Yield a table of each application's measures, a row a design."""
    for group, entries in comparison.groups.items():
        shades, runs = _shades(entries), [run for entry in entries for run in entry.results]
        for name in applications.names(runs):
            measures = list(applications.measures(name, runs))
            rows = [_row(entry, shades[entry.name], measures, {}) for entry in entries]
            caption = applications.described(entries[0].last, name) + (f", {group}" if group else "")
            yield table(["design", *(m.title for m in measures)], rows, caption)


def _row(entry: Entry, shade: int, measures: Sequence[Measure], marks: dict[tuple[str, str, str], bool]) -> list[Cell]:
    cells = [Cell(entry.name, entry.name, swatch=shade)]
    for measure in measures:
        value, ratio = compare_report.cell(entry, measure)
        good = marks.get((entry.group, entry.name, measure.name))
        mark = ("same" if ratio == "≈" else None) if good is None else "good" if good else "bad"
        spread = entry.value(measure)
        cells.append(
            Cell(join([value, " ", tag("small", ratio)]) if ratio else value, spread.median if spread else None, mark)
        )
    return cells


def _pictures(comparison: Comparison, entries: Sequence[Entry]) -> Iterator[Markup]:
    shades = _shades(entries)
    speed = [Bar(e.name, ((e.speed.median, shades[e.name]),), _span(e)) for e in entries]
    yield bars(
        "Input a second",
        speed,
        form=scale.size,
        note="Thin lines: the range of the repeats." if _span(entries[0]) else None,
    )
    yield _cpu(entries)
    present = {measure.name for measure in comparison.measures}
    for name in _PICTURES:
        if name in present:
            yield _measured(BY_NAME[name], entries)


def _span(entry: Entry) -> tuple[float, float] | None:
    return (entry.speed.low, entry.speed.high) if len(entry.results) > 1 else None


def _cpu(entries: Sequence[Entry]) -> Markup:
    """CPU time of each thread, stacked by design and coloured by kind."""
    rows = [_threads(entry) for entry in entries]
    named = {color: kind for kind, color in _KINDS.items()} | {_OTHERS: "others"}
    there = sorted({color for row in rows for _, color in row.parts}, key=lambda color: (color == _OTHERS, color))
    parts = [(named[color], color) for color in there]
    return bars("CPU time by thread, a page of input", rows, form=scale.time, parts=parts)


def _threads(entry: Entry) -> Bar:
    names = list(dict.fromkeys(str(thread.actor) for result in entry.results for thread in result.threads))
    spent = {name: entry.median(functools.partial(_cpu_per_page, name)) for name in names}
    kinds = {name: _KINDS.get(kind_of(name), _OTHERS) for name in names}
    order = sorted((name for name in names if spent[name]), key=lambda name: (kinds[name] == _OTHERS, kinds[name]))
    return Bar(entry.name, [(spent[name], kinds[name]) for name in order], labels=order)


def _cpu_per_page(name: str, result: Result) -> float:
    """Of the reclaim phase; with a memory budget there is but one."""
    phases = ("reclaim_cpu_ns", "fault_cpu_ns") if result.has_budget else ("reclaim_cpu_ns",)
    of_it = [thread for thread in result.threads if str(thread.actor) == name]
    return float(sum(thread.get(phase, 0) for thread in of_it for phase in phases)) / max(1, result.pages)


def _measured(measure: Measure, entries: Sequence[Entry]) -> Markup:
    form = {"ns": scale.time, "bytes": scale.size}.get(measure.unit, scale.number)
    shades = _shades(entries)
    values = [(e, v) for e in entries if (v := e.value(measure)) is not None]
    rows = [
        Bar(e.name, ((v.median, shades[e.name]),), (v.low, v.high) if len(e.results) > 1 else None) for e, v in values
    ]
    return bars(measure.title[:1].upper() + measure.title[1:], rows, form=form)


def _over_time(entries: Sequence[Entry]) -> list[Markup]:
    found = {entry.name: series.of_result(entry.last) for entry in entries}
    if max(len(one.t_ns) for one in found.values()) < series.FEW:
        return []
    return charts(found, page_size=entries[0].last.config.page_size)


def _which(entries: Sequence[Entry]) -> Markup | None:
    """Whose course the charts show, where tables and bars have medians of several."""
    runs = len(entries[0].results)
    said = f"Of the last of {runs} {compare_report.repeats(entries[0])}; tables and bars have medians of all."
    return tag("p", said, class_="note") if runs > 1 else None


def _legend(entries: Sequence[Entry]) -> Markup:
    return key(_shades(entries).items())


def _details(entry: Entry) -> Markup:
    name = f"{entry.name}, {entry.group}" if entry.group else entry.name
    return page.folded(
        f"{name}: {report.title(entry.last)}", page.many(of_result.counters(entry.last)), of_result.asked(entry.last)
    )
