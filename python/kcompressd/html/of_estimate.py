"""The report of an estimate: the compressors side by side, sizes as histograms, memory against time."""

from __future__ import annotations

from collections.abc import Iterator

from kcompressd import estimate_report
from kcompressd.estimate import CompressorEstimate, Estimate
from kcompressd.html import of_result, page, scale
from kcompressd.html.bars import Bar, bars, histogram
from kcompressd.html.elements import Child, Markup, tag
from kcompressd.html.scatter import Point, scatter
from kcompressd.html.table import Cell, Row, table


def document(estimate: Estimate) -> str:
    """Return the report as a file's text."""
    return page.document(
        estimate_report.title(estimate), parts(estimate), footer=of_result.footer(estimate.environment)
    )


def fragment(estimate: Estimate) -> str:
    """Return the table, the pictures and the choice alone, for notebooks."""
    drawn = page.figures([_memory(estimate), _tradeoff(estimate)])
    title = tag("p", estimate_report.title(estimate))
    return page.embedded(
        title, page.tiles(headline(estimate)), _table(estimate), drawn, tag("p", estimate.choice.reason)
    )


def parts(estimate: Estimate) -> Iterator[Child]:
    """Yield the report's parts."""
    yield page.tiles(headline(estimate))
    yield tag("p", estimate.choice.reason)
    yield page.section("Compressors", _table(estimate), page.bullets(estimate_report.sentences(estimate, bars=False)))
    drawn = [_memory(estimate), _tradeoff(estimate)]
    yield page.section("Memory and time", page.figures(drawn))
    yield page.section("Sizes of the pages", page.figures(_sizes(estimate)))
    if estimate.compressors[0].kinds:
        yield page.section("By kind of mapping", _kinds(estimate))
    pasted = (
        Markup(tag("h3", heading) + tag("pre", text.rstrip())) for heading, text in estimate_report.settings(estimate)
    )
    yield page.section(f"Settings for {estimate.choice.codec}", *pasted)


def headline(estimate: Estimate) -> list[tuple[str, str]]:
    """Return the figures that matter most."""
    best = estimate[estimate.choice.codec]
    stat = best.mm_stat
    found = [(best.codec.text, "chosen")]
    if best.ratio is not None:
        found.append((f"{best.ratio:.2f}", "memory of the pages over memory used"))
    found.append((scale.size(stat.orig_data_size - stat.mem_used_total), f"freed of {scale.size(stat.orig_data_size)}"))
    for rate, name in ((best.compress, "compressed"), (best.decompress, "decompressed")):
        if rate.page_ns.count:
            found.append((f"{scale.size(rate.bytes_per_s)}/s", f"{name} on one core"))
    return [*found, (str(stat.same_pages), "same-filled pages"), (str(stat.huge_pages), "huge pages")]


def _table(estimate: Estimate) -> Markup:
    columns = ["compressor", "ratio", "compressed", "memory used", "same", "huge", "incompressible"]
    columns += ["compress /s", "p50", "p99", "decompress /s", "p50", "p99"]
    return table(columns, [_row(of) for of in estimate.compressors])


def _row(of: CompressorEstimate) -> list[Cell]:
    stat = of.mm_stat
    row = [Cell(of.codec.text, of.codec.text), Cell("-" if of.ratio is None else f"{of.ratio:.2f}", of.ratio)]
    row += [Cell(scale.size(n), n) for n in (stat.compr_data_size, stat.mem_used_total)]
    row += [Cell(str(n), n) for n in (stat.same_pages, stat.huge_pages, of.incompressible_pages)]
    for rate in (of.compress, of.decompress):
        timed = bool(rate.page_ns.count)
        row.append(Cell(scale.size(rate.bytes_per_s) if timed else "-", rate.bytes_per_s if timed else None))
        row += [
            Cell(scale.time(rate.page_ns[at]) if timed else "-", rate.page_ns[at] if timed else None)
            for at in ("p50", "p99")
        ]
    return row


def _memory(estimate: Estimate) -> Markup:
    chosen = estimate.choice.codec
    rows = [
        Bar(of.codec.text, ((of.mm_stat.mem_used_total, 2 if of.codec.text == chosen else 1),))
        for of in estimate.compressors
    ]
    return bars(
        f"Memory used for {scale.size(estimate.pages * estimate.page_size)}",
        rows,
        form=scale.size,
        parts=(("chosen", 2),),
    )


def _tradeoff(estimate: Estimate) -> Markup:
    chosen = estimate.choice.codec
    points = [
        Point(of.codec.text, of.page_ns, of.mm_stat.mem_used_total, 2 if of.codec.text == chosen else 1)
        for of in estimate.compressors
    ]
    return scatter("Memory used, over time a page", points, x=scale.time, y=scale.size)


def _sizes(estimate: Estimate) -> Iterator[Markup]:
    edges = ("0", scale.size(estimate.page_size / 2), scale.size(estimate.page_size))
    for of in estimate.compressors:
        yield histogram(f"{of.codec.text}: pages by compressed size", of.histogram, edges, color=1)


def _kinds(estimate: Estimate) -> Markup:
    columns, rows = estimate_report.kinds(estimate)
    cells: list[Row] = [[row[0], *map(_number, row[1:])] for row in rows]
    return table(columns, cells, "Uncompressed over compressed size")


def _number(text: str) -> Cell:
    return Cell(text, float(text) if text != "-" else None)
