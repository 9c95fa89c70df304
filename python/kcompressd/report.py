"""How a `Result` shows itself: one line, and a table with sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from kcompressd import applications
from kcompressd.fitted import Fitted, bare, plain
from kcompressd.names import Names
from kcompressd.result import Result
from kcompressd.sizes import duration, pages_text

Rows: TypeAlias = list[tuple[str, str]]
"""Names with values, as shown."""

WIDTH = 100
"""Columns of a table as text."""


def title(result: Result) -> str:
    """Return what was run and how it ended, in one line."""
    config = result.config
    if result.kind == "observed":
        return _observed(result)
    design = config.get("preset") or "a design of its own"
    how = "" if result.complete else ", partial"
    where = f"{design} on {config.store}, {config.compressor}, {actors(result)}"
    return f"{where}: {pages_text(result.pages, config.page_size)}{how}"


def _observed(result: Result) -> str:
    config = result.config
    whose = "a cgroup" if config.get("cgroup") else "the whole system"
    how = "" if result.complete else ", interrupted"
    seconds = f"{config.get('seconds', 0):.1f} s"
    by = "nothing is compressed" if config.compressor == "none" else f"{config.store}, {config.compressor}"
    return f"Linux {result.environment.get('kernel')} observed for {seconds}, {whose}: {by}{how}"


def actors(result: Result) -> str:
    """Return how many threads of which kind reclaimed: "1 kswapd + 2 kcompressd"."""
    threads = result.config.design.threads
    kswapd = f"{result.config.get('kswapd', 1)} kswapd"
    return f"{kswapd} + {threads} kcompressd" if threads else kswapd


def sections(result: Result) -> Iterator[tuple[str, Rows]]:
    """Yield the table's sections: a heading and its rows; counters that are zero are left out."""
    yield "speed", _rates(result) if result.kind == "observed" else _speed(result)
    if result.applications:
        yield "waits", _waits(result)
    yield "where the pages are after reclaim", _numbers(result.census.reclaim)
    if result.zswap is not None:
        yield "zswap", _numbers(result.zswap)
    if result.zram is not None:
        yield "zram mm_stat", _numbers(result.zram.mm_stat)
        yield "zram io_stat", _numbers(result.zram.io_stat)
    yield "vmstat", _numbers(result.vmstat)
    for group in result.memcgs:
        yield f"memcg {group.name}", _memcg(group)
    yield "CPU time", _cpu(result)
    if result.kind != "observed":
        yield "checks", _checks(result)


def parts(result: Result) -> Iterator[RenderableType]:
    """Yield what rich prints: the title, the sections side by side as one table, then sentences."""
    yield f"[bold]{escape(title(result))}[/bold]"
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(justify="right", overflow="fold")
    for heading, rows in sections(result):
        if rows:
            table.add_row(f"[bold]{heading}[/bold]", "")
        for name, value in rows:
            table.add_row(f"  {escape(name)}", escape(value))
    yield table
    yield from _applications(result)
    for sentence in sentences(result):
        yield escape(sentence)


def _applications(result: Result) -> Iterator[RenderableType]:
    headings, rows = applications.table(result, brief=True)
    if not rows:
        return
    shown = bare(headings, ((escape(name), *(text for text, _ in cells)) for name, cells in rows), left=headings[:1])
    shown.columns[0].style = "cyan"
    yield Fitted(shown)


def sentences(result: Result) -> Iterator[str]:
    """Yield notes, errors and what does not add up."""
    yield from (f"note: {note}" for note in result.notes)
    shown = 5
    yield from (f"error, no page lost: {error}" for error in result.errors[:shown])
    if len(result.errors) > shown:
        yield f"… and {len(result.errors) - shown} more errors"
    if result.error is not None:
        yield f"the run ended early: {result.error.message} ({result.error.kind})"
    yield from (f"does not add up: {failure}" for failure in result.check())


def text(result: Result) -> str:
    """Return the table as plain text."""
    return plain(parts(result), WIDTH)


def _speed(result: Result) -> Rows:
    timing = result.timing
    speed, lasted = f"{timing.bytes_per_s / 2**20:.0f} MiB/s", duration(timing.get("reclaim_ns", 0))
    if result.has_budget:
        return [("pages of the input", speed), ("the applications' run", lasted)]
    rows = [("reclaim", speed), ("reclaim phase", lasted), ("fault phase", duration(timing.get("fault_ns", 0)))]
    return [*rows, *_spreads(timing, "reclaim_page_ns", "fault_page_ns")]


def _spreads(timing: Names[Any], *names: str) -> Rows:
    spreads = [(name, timing.get(name)) for name in names]
    return [
        (f"{name} p50 / p99 / max", " / ".join(duration(spread[at]) for at in ("p50", "p99", "max")))
        for name, spread in spreads
        if spread and spread.get("count")
    ]


def _waits(result: Result) -> Rows:
    """What applications and queued pages waited for, and how long memory was short (docs/formats.md)."""
    return _spreads(result.timing, "touch_ns", "queue_wait_ns", "fault_wait_ns", "stall_ns") + shortages(result)


def shortages(result: Result) -> Rows:
    """Return how long tasks were stalled and memory was short, with the share of the run, and pages compressed out of order."""
    timing = result.timing
    lasted = max(1, timing.get("reclaim_ns", 0))
    stalled = [(f"stalled on memory, {who}", timing.get(f"memory_{who}_ns", 0)) for who in ("some", "full")]
    below = [(f"not above the {mark} watermark", timing.get(f"below_{mark}_ns", 0)) for mark in ("min", "low", "high")]
    return [
        *((name, f"{duration(ns)}, {ns / lasted:.2%}") for name, ns in (*stalled, *below) if ns),
        *_numbers({"compressed out of order": timing.get("inversions", 0)}),
    ]


def _rates(result: Result) -> Rows:
    """What a kernel did, as bytes a second, and the share of the time that tasks were stalled (PSI)."""
    timing = result.timing
    rows = [
        ("swapped out", f"{timing.bytes_per_s / 2**20:.1f} MiB/s"),
        ("swapped in", f"{timing.get('fault_bytes_per_s', 0) / 2**20:.1f} MiB/s"),
    ]
    for name, ns in timing.items():
        if name.startswith("psi_"):
            what = name.removeprefix("psi_").removesuffix("_ns").replace("_", ", ")
            rows.append((f"stalled on {what}", f"{ns / max(1, timing.get('reclaim_ns', 0)):.2%}"))
    return rows


def _cpu(result: Result) -> Rows:
    rows = []
    for thread in result.threads:
        spent = thread.get("reclaim_cpu_ns", 0) + thread.get("fault_cpu_ns", 0)
        rows.append((str(thread.actor), f"{duration(spent)}, {thread.get('pages_done', 0)} pages"))
    return rows


def _checks(result: Result) -> Rows:
    life = result.lifecycle
    return [
        ("lifecycle events", str(life.events)),
        ("violations", str(life.violations)),
        ("pages that came back different", str(len(result.mismatched))),
    ]


def _memcg(group: Names[Any]) -> Rows:
    """memory.current, memory.stat, memory.events and what was written to memory.reclaim."""
    current = [] if group.memory_current is None else [("memory.current", str(group.memory_current))]
    events = [(f"{name} (memory.events)", count) for name, count in _numbers(group.memory_events)]
    writes = [
        ("memory.reclaim, bytes reclaimed / asked for", f"{write.reclaimed_bytes} / {write.bytes}")
        for write in group.memory_reclaim
    ]
    return [*current, *_numbers(group.memory_stat), *events, *writes]


def _numbers(counters: Mapping[str, int]) -> Rows:
    return [(name, str(count)) for name, count in counters.items() if count]
