"""The report of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompressd import applications, report, series
from kcompressd.html import over_time, page, scale
from kcompressd.html.bars import Bar, bars, histogram
from kcompressd.html.elements import Child, Markup, tag
from kcompressd.html.table import Cell, Row, pairs, table
from kcompressd.lifecycle_enums import Event
from kcompressd.names import Names, thaw
from kcompressd.result import Result
from kcompressd.sizes import counted
from kcompressd.taken import cpu_ns, pool_bytes, scans_per_page, stored_bytes
from kcompressd.trace import SYSTEM

_KINDS = {
    "live": "real threads on this machine",
    "virtual": "virtual time",
    "explore": "step by step",
    "observed": "a kernel's own counters",
}
_SPREADS = {
    "reclaim_page_ns": "reclaim, a page",
    "fault_page_ns": "fault, a page",
    "touch_ns": "touch, a page",
    "queue_wait_ns": "wait in the queue",
    "fault_wait_ns": "a fault's wait for a queued folio",
    "stall_ns": "a stall on memory",
}


def document(result: Result) -> str:
    """Return the report as a file's text."""
    return page.document(
        report.title(result),
        parts(result),
        subtitle=_subtitle(result),
        footer=footer(result.environment),
    )


def _subtitle(result: Result) -> str:
    kernel = ".".join(map(str, result.config.get("kernel", ())))
    return _KINDS[result.kind] + ("" if result.kind == "observed" else f"; kernel {kernel} modelled")


def fragment(result: Result) -> str:
    """Return the figures that matter most, the pictures and the counters alone, for notebooks."""
    work = [cpu(result)] if result.threads else []
    figures = page.figures([*work, *sizes(result), *over_time.of_result(result)])
    folded = page.folded("Counters", page.many(counters(result)))
    return page.embedded(tag("p", report.title(result)), page.tiles(headline(result)), verdict(result), figures, folded)


def parts(result: Result) -> Iterator[Child]:
    """Yield the report's parts; what there is nothing to say of is left out."""
    yield page.tiles(headline(result))
    yield verdict(result)
    yield page.bullets(report.sentences(result))
    drawn = over_time.of_result(result)
    yield page.section("Over time", page.figures(drawn), sampling(result)) if drawn else None
    if result.threads:
        yield page.section("Who did the work", page.figures([cpu(result), *sizes(result)]))
    if spreads := percentiles(result):
        yield page.section("Waiting", spreads, page.many(short(result)))
    if result.applications:
        yield page.section("Applications", outcomes(result), page.figures(tails(result)))
    yield page.section("Counters", page.many(counters(result)))
    yield page.section("Asked for", asked(result))


def headline(result: Result) -> list[tuple[str, str]]:
    """Return the figures that matter most."""
    speed = result.timing.bytes_per_s
    of = "swapped out" if result.kind == "observed" else "of the input"
    found = [(f"{scale.size(speed)}/s", of)] if speed else []
    if result.vmstat.get("pgsteal_anon"):
        found.append((f"{scans_per_page(result):.2f}", "pages scanned for each freed"))
    for kind in ("kswapd", "kcompressd"):
        if spent := cpu_ns(result, kind):
            found.append((scale.time(spent / max(1, result.pages)), f"{kind}'s CPU time a page"))
    if pool := pool_bytes(result):
        found.append((scale.size(pool), f"hold {scale.size(stored_bytes(result))}"))
    if stalls := result.vmstat.get("allocstall"):
        found.append((str(stalls), "allocation stalls"))
    what = "touch" if result.has_budget else "fault"
    spread = result.timing.get("fault_page_ns" if what == "fault" else "touch_ns")
    if spread and spread.get("count"):
        found.append((scale.time(spread.p99), f"{what}, 99th percentile"))
    return found


def verdict(result: Result) -> Markup:
    """Return one line: whether the run kept its promises."""
    life, wrong = result.lifecycle, len(result.mismatched)
    if result.is_wrong:
        said = f"Something is wrong: {counted(life.violations, 'violation')}, {counted(wrong, 'page')} came back different."
        return tag("p", said, class_="bad")
    if not result.complete:
        return tag("p", "Partial: the run ended before its end.", class_="bad")
    if result.kind == "observed":
        return tag("p", "Counters of a kernel: there is no lifecycle to check.", class_="same")
    return tag("p", f"✓ {life.events} lifecycle events, no violation; every page accounted for.", class_="good")


def sampling(result: Result) -> Markup:
    """Return where the charts come from."""
    samples = f"{len(result.series.t_ns)} samples"
    exact = (
        "From the trace of the reclaim phase: every change is in it. A folio is queued until its compression begins: "
        "what a worker has taken at once counts until then, beyond the depth."
    )
    if not result.has_trace:
        return tag("p", f"From {samples}.", class_="note")
    beside = series.beside(result, series.of_result(result)).names
    rest = f" What a trace does not tell (the pool, free memory, stalls) is from {samples}." if beside else ""
    return tag("p", exact + rest, class_="note")


def cpu(result: Result) -> Markup:
    """Return CPU time by thread, of the reclaim and the fault phase; with a memory budget there is one, with what applications do."""
    theirs = "applications, their faults and direct reclaim" if result.has_budget else "fault"
    rows = [
        Bar(str(t.actor), ((t.get("reclaim_cpu_ns", t.get("cpu_ns", 0)), 1), (t.get("fault_cpu_ns", 0), 2)))
        for t in result.threads
    ]
    return bars("CPU time by thread", rows, form=scale.time, parts=(("reclaim", 1), (theirs, 2)))


def sizes(result: Result) -> Iterator[Markup]:
    """Yield how many pages were stored in how many bytes, where a trace says so."""
    if not result.has_trace:
        return
    records = result.trace.records
    stored = records[(records["event"] == Event.STORE) & (records["folio"] != SYSTEM)]
    if len(stored):
        size = result.config.page_size
        bins = np.minimum(stored["aux"].astype(np.int64) & 0xFFFFFFFF, size) * 16 // (size + 1)
        counts = np.bincount(bins, minlength=16).tolist()
        yield histogram("Pages by compressed size", counts, ("0", scale.size(size / 2), scale.size(size)), color=1)


def percentiles(result: Result) -> Markup | None:
    """Return a table of the spreads that were measured; with a memory budget no paces of threads, which sleep meanwhile."""
    columns = ("what", "count", "mean", "p50", "p90", "p99", "p99.9", "max")
    rows: list[Row] = []
    paces = ("reclaim_page_ns", "fault_page_ns") if result.has_budget else ()
    for name, spread in result.timing.items():
        if name in paces or not hasattr(spread, "items") or not spread.get("count"):
            continue
        times = [spread.get(at) for at in ("mean", "p50", "p90", "p99", "p999", "max")]
        cells = [Cell("-" if t is None else scale.time(t), t) for t in times]
        rows.append([_SPREADS.get(name, name), Cell(str(spread["count"]), spread["count"]), *cells])
    return table(columns, rows) if rows else None


def short(result: Result) -> Iterator[Markup]:
    """Yield how long memory was short, and what else an application's run has that is no spread."""
    if result.applications and (rows := report.shortages(result)):
        yield pairs(rows, "in all")


def outcomes(result: Result) -> Markup:
    """Return a table of what each application came to."""
    headings, rows = applications.table(result)
    return table(headings, [[name, *(Cell(text, value) for text, value in cells)] for name, cells in rows])


def tails(result: Result) -> Iterator[Markup]:
    """Yield bars of what the applications waited for: the touch that one in a thousand exceeds, and the stalls."""
    names = applications.names([result])
    for key, title in (("touch_p999_ns", "One touch in a thousand takes longer"), ("stall_ns", "Stalled on memory")):
        found = ((name, applications.measure(f"{name}.{key}")) for name in names)
        rows = [Bar(name, ((value, 1),)) for name, of_it in found if of_it and (value := of_it.of(result))]
        if len(rows) > 1:
            yield bars(title, rows, form=scale.time)


def counters(result: Result) -> Iterator[Markup]:
    """Yield every group of counters that are not zero."""
    for heading, rows in report.sections(result):
        if rows and heading not in ("speed", "waits", "CPU time", "checks"):
            yield pairs(rows, heading)
    if events := [(name, str(n)) for name, n in result.lifecycle.by_event.items() if n]:
        yield pairs(events, "lifecycle events")


def asked(result: Result) -> Markup:
    """Return the configuration, whole, and the equations that were checked."""
    text = json.dumps(thaw(result.config), indent=1, ensure_ascii=False)
    return page.folded("Configuration", tag("pre", text))


def footer(env: Names[Any]) -> str:
    """Return an environment in one line: where it was measured, no name of a machine or a person."""
    known = [
        f"kcompressd {env.get('kcompressd', '')}".strip(),
        env.get("created_at"),
        f"Linux {env.kernel}" if env.get("kernel") else None,
        env.get("cpu"),
        f"{env.cpus} CPUs" if env.get("cpus") else None,
    ]
    return ", ".join(str(part) for part in known if part)
