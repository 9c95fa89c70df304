"""The report of advice: what is recommended and why, the front, what a design would change, the lines to paste."""

from __future__ import annotations

from collections.abc import Iterator

from kcompressd import advice_report
from kcompressd.advise import Advice, Option, name
from kcompressd.html import page, scale
from kcompressd.html.bars import Bar, bars
from kcompressd.html.elements import Child, Markup, tag
from kcompressd.html.over_time import colors
from kcompressd.html.scatter import Point, scatter
from kcompressd.html.table import Cell, table

_CHOSEN, _FRONT, _BEATEN = 2, 1, 0
"""Colours of points."""


def document(advice: Advice) -> str:
    """Return the report as a file's text."""
    heading = advice.evidence[0].partition(":")[0].capitalize() if advice.best is None else f"Use {name(advice.best)}"
    return page.document(heading, parts(advice), subtitle=f"kcompressd advise, goal {advice.goal}")


def fragment(advice: Advice) -> str:
    """Return recommendation, options, their pictures and the evidence alone, for notebooks."""
    heading = advice.evidence[0] if advice.best is None else f"recommended: {name(advice.best)}"
    drawn = [_options(advice), page.figures(_pictures(advice))] if advice.options else []
    return page.embedded(tag("p", tag("b", heading)), *drawn, page.bullets(advice.evidence))


def parts(advice: Advice) -> Iterator[Child]:
    """Yield the report's parts."""
    if advice.best is not None:
        yield page.tiles(_headline(advice.best))
    yield page.bullets(advice.evidence)
    if advice.options:
        note = "Orange: recommended. Blue: on the Pareto front, no other is better in all three. Grey: beaten by one that is."
        pictures = page.figures(_pictures(advice))
        yield page.section("The options", _options(advice), pictures, tag("p", note, class_="note"))
    if advice.designs:
        yield page.section(
            "What a design would change",
            tag("p", advice_report.ABOUT_DESIGNS.removesuffix(":") + "."),
            _designs(advice),
            page.figures([_tails(advice)]),
        )
    if advice.settings:
        texts = (Markup(tag("h3", where) + tag("pre", text.rstrip())) for where, text in advice.settings.items())
        yield page.section("Settings", *texts)


def _headline(best: Option) -> list[tuple[str, str]]:
    return [
        (scale.percent(1 - best.used), "of the memory saved"),
        (scale.time(best.touch_ns), "or more, one touch in a thousand"),
        (scale.time(best.cpu_ns), "of CPU a touch"),
    ]


def _options(advice: Advice) -> Markup:
    rows = []
    for option in advice.options:
        used, touch, cpu = advice_report.figures(option)
        timed = (option.touch_ns, option.cpu_ns) if option.holds else (None, None)
        rows.append(
            [
                Cell(name(option), name(option), swatch=_color(advice, option)),
                Cell(used, option.used),
                Cell(touch, timed[0]),
                Cell(cpu, timed[1]),
            ]
        )
    return table(["option", *advice_report.OPTIONS[2:]], rows)


def _color(advice: Advice, option: Option) -> int:
    return _CHOSEN if option == advice.best else _FRONT if option.front and option.holds else _BEATEN


def _pictures(advice: Advice) -> Iterator[Markup]:
    held = [option for option in advice.options if option.holds]
    for title, at in (("touch p99.9", "touch_ns"), ("CPU time a touch", "cpu_ns")):
        points = [Point(name(one), getattr(one, at), one.used, _color(advice, one)) for one in held]
        yield scatter(f"Memory used, over {title}", points, x=scale.time, y=scale.percent)


def _designs(advice: Advice) -> Markup:
    shown = colors([run.design for run in advice.designs])
    rows = []
    for run, texts in zip(advice.designs, advice_report.designs(advice), strict=True):
        values = (run.touch_p99_ns, run.touch_p999_ns, run.cpu_ns, run.kswapd_ns, run.kcompressd_ns, run.scans)
        cells = [Cell(text, value if run.holds else None) for text, value in zip(texts[1:], values, strict=True)]
        rows.append([Cell(run.design, run.design, swatch=shown[run.design]), *cells])
    return table(advice_report.DESIGNS, rows)


def _tails(advice: Advice) -> Markup:
    shown = colors([run.design for run in advice.designs])
    rows = [Bar(run.design, ((run.touch_p999_ns, shown[run.design]),)) for run in advice.designs if run.holds]
    return bars("Touch p99.9", rows, form=scale.time)
