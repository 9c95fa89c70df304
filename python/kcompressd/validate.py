"""Validating a trace: the core's judge replays it, and what it finds is said in the kernel's words.

With a sidecar nothing escapes: what breaks the law is explained by the law, and what keeps it (an altered
time, actor or size, two lawful records swapped) shows in the digest. Without one, only the law is left;
:attr:`Validation.unchecked` says what that cannot see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kcompressd import lifecycle
from kcompressd._core import Judge, Locator
from kcompressd.errors import refuse_type
from kcompressd.lifecycle import table as default_table
from kcompressd.lifecycle_enums import State
from kcompressd.sizes import counted
from kcompressd.table import Table
from kcompressd.timeline import lines
from kcompressd.trace import RECORD, SYSTEM, Trace, decode_states, judged
from kcompressd.trace_words import (
    SYSTEM_EVENTS,
    actor_name,
    aux_text,
    event_name,
    flag_names,
    guard_names,
    state_name,
    step,
)
from kcompressd.workload import MAX_FOLIO_ORDER

_LAW = ("edges", "sequence", "guards of the past", "flags", "owners", "activations", "writes")
_AROUND = 3
_MEANWHILE = 256

States = npt.NDArray[np.uint8]
"""State ids by page."""


@dataclass(frozen=True)
class Finding:
    """Something wrong: the check that failed, the record and page where known, and the explanation."""

    check: str
    record: int | None
    page: int | None
    text: str


@dataclass(frozen=True)
class Validation:
    """What :func:`validate` found.

    ``events`` counts records; ``by_event`` maps event names (system events included) to counts, without the
    refused records; ``violations`` counts broken laws and mismatches with the sidecar. ``findings`` are in
    order of use: the first breach of the law, then what the sidecar shows. ``complete`` is the sidecar's
    word, ``None`` without one; ``in_flight`` counts pages left half way. ``unchecked`` maps what could not
    be checked to the reason.
    """

    events: int
    violations: int
    by_event: dict[str, int]
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unchecked: dict[str, str] = field(default_factory=dict)
    complete: bool | None = None
    in_flight: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. A partial trace can be."""
        return not self.violations

    @property
    def partial(self) -> bool:
        """Whether the run did not come to its end, as far as one can tell."""
        return self.complete is False or (self.complete is None and self.in_flight > 0)

    @property
    def first(self) -> Finding | None:
        """The first finding: the law's before the sidecar's."""
        return self.findings[0] if self.findings else None

    @property
    def exit_code(self) -> int:
        """0 good, 1 violation or mismatch, 3 good but partial."""
        return 1 if not self.ok else 3 if self.partial else 0

    def explain(self) -> str:
        """The whole result as text."""
        word = "good" if self.ok else counted(self.violations, "violation")
        out = [f"{counted(self.events, 'record')}: {word}"]
        out += [f"\n{f.text}" for f in self.findings]
        if self.partial:
            out.append(f"partial: the run did not come to its end; {counted(self.in_flight, 'page')} half way")
        out.append(f"checked: {', '.join(self.checked)}")
        out += [f"not checked: {what}: {why}" for what, why in self.unchecked.items()]
        return "\n".join(out)


def validate(trace: Trace, law: Table | None = None) -> Validation:
    """Judges ``trace`` by ``law`` (default: today's), reading it once in blocks."""
    refuse_type("trace", trace, Trace, "a Trace (Trace.load reads a file)")
    law = law or default_table()
    meta = trace.meta or {}
    judge = Judge(law.rows, _permitted(law, _hold(meta)), **_given(trace))
    digest = hashlib.sha256()
    for block in trace.blocks():
        judge.feed(block)
        if "sha256" in meta:
            digest.update(block)
    events, by_event, by_system, violations, breach, in_flight = judge.finish()
    findings = [_explain(trace, law, *breach)] if breach else []
    beside = list(_against_sidecar(trace, law, digest.hexdigest(), judge)) if "sha256" in meta else []
    counts = zip((*law.events, *SYSTEM_EVENTS), (*by_event, *by_system), strict=True)
    checked, unchecked = _coverage(trace, pool=by_system[SYSTEM_EVENTS.index("pool")] > 0)
    return Validation(
        events=events,
        violations=violations + len(beside),
        by_event={name: count for name, count in counts if count},
        findings=(*findings, *beside),
        checked=checked,
        unchecked=unchecked,
        complete=meta.get("complete"),
        in_flight=in_flight,
    )


def _given(trace: Trace) -> dict[str, Any]:
    """What the judge is told of the run; without a sidecar the pages' first records say whether they were there, and in what folios."""
    if trace.meta:
        return {"pages": trace.meta.get("pages"), **judged(trace.meta)}
    first = next((r for block in trace.blocks() for r in np.frombuffer(block, RECORD) if r["folio"] != SYSTEM), None)
    if first is not None and event_name(int(first["event"])) == "populate":
        return {**judged({}), "absent": True}
    return {**judged({}), **_folios(trace)}


def _folios(trace: Trace) -> dict[str, Any]:
    """The order of folios that most pages' first records agree with. What is left after the last folio are single pages, so
    their number matters too, where the records can account for so many.
    """
    orders = range(MAX_FOLIO_ORDER + 1)
    wrong, pages = np.zeros(len(orders), np.int64), 0
    for block in trace.blocks():
        r = np.frombuffer(block, RECORD)
        r = r[r["folio"] != SYSTEM]
        pages = max(pages, int(r["folio"].max(initial=0)) + 1)
        first = r[r["seq"] == 0]
        tail = first["from"] == State.TAIL
        wrong += [np.count_nonzero((first["folio"] % (1 << order) != 0) != tail) for order in orders]
    order = int(wrong.argmin())
    return {"folio_order": order, "pages": pages if order and pages <= len(trace) else None}


def _hold(meta: dict[str, Any]) -> str | None:
    """What a design holds of a queued folio, where the sidecar tells: ``locked`` or ``writeback``."""
    design = (meta.get("config") or {}).get("design")
    return design.get("hold") if isinstance(design, dict) else None


def _permitted(law: Table, hold: str | None) -> list[list[tuple[int, int]]]:
    """What each state demands of the flags under a design: a queued folio is locked or under writeback, as it says."""
    flag = 1 << list(lifecycle.FLAGS).index(hold) if hold in ("locked", "writeback") else 0
    return [
        [(mask, value) for mask, value in alternatives if state != "queued" or value & flag == flag]
        for state, alternatives in zip(law.states, law.flags, strict=True)
    ]


def _coverage(trace: Trace, *, pool: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    meta = trace.meta or {}
    checked, unchecked = list(_LAW), {"guard exclusive": "the trace does not say whether a load drops its copy"}
    _sort(checked, unchecked, "pool bytes", pool, "the trace does not say what the store holds")
    _sort(checked, unchecked, "locked or writeback", _hold(meta) is not None, "the sidecar gives no design")
    if meta.get("ordering") == "total":
        checked += ["time", "tickets", "FIFO order"]
        _sort(checked, unchecked, "queue depth", "queues" in meta, "the sidecar gives no depths")
        _sort(checked, unchecked, "writeback_enabled", "memcgs" in meta, "the sidecar gives no memcgs")
    else:
        checked += ["time per actor", "tickets", "FIFO order per actor"]
        order = "the order is known per page only" if trace.meta else "no sidecar says how the records are ordered"
        unchecked |= dict.fromkeys(("time across actors", "FIFO order across actors", "queue depth"), order)
        unchecked["writeback_enabled"] = order
    _sort(
        checked,
        unchecked,
        "every page ends",
        bool(meta.get("complete")),
        "the run is not known to be complete",
    )
    for what in ("digest", "count", "final states", "table"):
        _sort(checked, unchecked, what, "sha256" in meta, "no sidecar")
    return tuple(checked), unchecked


def _sort(checked: list[str], unchecked: dict[str, str], what: str, can: bool, why: str) -> None:
    if can:
        checked.append(what)
    else:
        unchecked[what] = why


def _against_sidecar(trace: Trace, law: Table, digest: str, judge: Judge) -> Iterator[Finding]:
    meta = trace.meta or {}
    if len(trace) != meta["records"]:
        text = f"count: the sidecar says {meta['records']} records, the file has {len(trace)}"
        yield Finding("count", None, None, text)
    elif digest != meta["sha256"]:
        yield _altered(trace)
    if meta["table"] != law.digest:
        text = f"table: recorded under {meta['table'][:12]}…, judged by {law.digest[:12]}…: the law has changed"
        yield Finding("table", None, None, text)
    yield from _final_states(decode_states(meta["final_states"]), meta["pages"], judge)


def _altered(trace: Trace) -> Finding:
    """The digest does not match although the count does: one record altered (which one, the locator knows),
    or more."""
    locator = Locator()
    for block in trace.blocks():
        locator.feed(block)
    meta = trace.meta or {}
    sum_, weighted = (int(number, 16) for number in meta["locator"])
    at = locator.altered(sum_, weighted)
    if at is None:
        return Finding("digest", None, None, "digest: records were altered or exchanged since the trace was written")
    page = int(trace.records[at]["folio"])
    text = f"digest: one record was altered since the trace was written\n{_says(trace, at)}"
    return Finding("digest", at, None if page == SYSTEM else page, text)


def _final_states(said: States, pages: int, judge: Judge) -> Iterator[Finding]:
    if len(said) != pages:
        text = f"final states: the sidecar has {len(said)} for {pages} pages"
        yield Finding("final states", None, None, text)
        return
    found = np.frombuffer(judge.states(), np.uint8)
    for page in np.flatnonzero(said != found).tolist()[:8]:
        ended, left = state_name(said[page]), state_name(found[page])
        text = f"final states: page {page} ended {ended}, the trace leaves it {left}"
        yield Finding("final states", None, page, text)


def _explain(trace: Trace, law: Table, index: int, page: int, check: str, reason: str) -> Finding:
    """A breach as text: what the record says, what the law or the past says, the page's timeline around
    it."""
    out = [f"{check}: {reason}"]
    if index >= len(trace):
        where = "at the end of the trace"
        out.append(where if page == SYSTEM else f"{where}, page {page}")
    else:
        out += [_says(trace, index), *_law_says(trace, law, index, check)]
    if page != SYSTEM:
        out += _around(trace, index, page)
    out += _meanwhile(trace, index, page)
    return Finding(check, index if index < len(trace) else None, None if page == SYSTEM else page, "\n".join(out))


def _says(trace: Trace, index: int) -> str:
    r = trace.records[index]
    event, actor = event_name(int(r["event"])), actor_name(int(r["actor"]))
    aux = aux_text(event, int(r["aux"]))
    if int(r["folio"]) == SYSTEM:
        return f"  record {index} says: {r['t_ns']} {trace.unit}, {actor}, system event {event}" + (
            f" ({aux})" if aux else ""
        )
    guards = ", ".join(guard_names(int(r["guards"]))) or "none"
    flags = " ".join(flag_names(int(r["flags"]))) or "none"
    moved = f"{state_name(int(r['from']))} → {state_name(int(r['to']))}"
    says = f"  record {index} says: {r['t_ns']} {trace.unit}, {actor}, page {r['folio']} event number {r['seq']}"
    return f"{says}, {event}, {moved}, guards {guards}, flags {flags}" + (f", {aux}" if aux else "")


def _law_says(trace: Trace, law: Table, index: int, check: str) -> list[str]:
    r = trace.records[index]
    event, source, to = (int(r[name]) for name in ("event", "from", "to"))
    if check == "flags" and to < len(law.states):
        return [f"  the law: {law.states[to]} demands {' or '.join(lifecycle.STATES[to].flags)}"]
    if check == "sequence":
        return [_gap(trace, index)]
    if check not in ("edge", "to", "guards") or event >= len(law.events) or source >= len(law.states):
        return []
    cell = [row for row in law.rows if (row.event, row.source) == (event, source)]
    if not cell:
        others = sorted({law.events[row.event] for row in law.rows if row.source == source})
        only = ", ".join(others) or "its end"
        return [f"  the law: {law.states[source]} knows no {law.events[event]}, only {only}"]
    ends = [f"{law.states[row.to]} {_when(law, row.require_mask, row.require_value)}".strip() for row in cell]
    return [f"  the law: {law.events[event]} leads from {law.states[source]} to {', or to '.join(ends)}"]


def _when(law: Table, mask: int, value: int) -> str:
    read = [("" if value >> bit & 1 else "!") + g for bit, g in enumerate(law.guards) if mask >> bit & 1]
    return f"when {' and '.join(read)}" if read else ""


def _gap(trace: Trace, index: int) -> str:
    folio, seq = int(trace.records[index]["folio"]), int(trace.records[index]["seq"])
    before = trace.records[:index]
    seen = np.flatnonzero((before["folio"] == folio) & (before["seq"] == seq))
    if len(seen):
        return f"  the past: record {seen[-1]} was already event number {seq} of page {folio}"
    past = f"no record before it brings page {folio} to event number {seq}"
    return f"  the past: {past}: one is missing or altered"


def _around(trace: Trace, index: int, page: int) -> list[str]:
    steps = trace.timeline(page)
    at = next((i for i, s in enumerate(steps) if s.index >= index), len(steps))
    some = steps[max(0, at - _AROUND) : at + _AROUND]
    return [f"  page {page} around it:", *("  " + line for line in lines(some, index, trace.unit))] if some else []


def _meanwhile(trace: Trace, index: int, page: int) -> list[str]:
    """What each other actor did last before the record, with whichever page."""
    first = max(0, index - _MEANWHILE)
    before = trace.records[first:index]
    me = int(trace.records[index]["actor"]) if index < len(trace) else None
    last = {int(actor): first + at for at, actor in enumerate(before["actor"].tolist()) if actor != me}
    others = [at for at in sorted(last.values()) if int(trace.records[at]["folio"]) not in (SYSTEM, page)]
    if not others:
        return []
    pages = [int(trace.records[at]["folio"]) for at in others]
    steps = [replace(step(trace.records[at], at, None), changed=()) for at in others]
    return [
        "  the others before it:",
        *(f"    page {p}: {line.strip()}" for p, line in zip(pages, lines(steps, unit=trace.unit), strict=True)),
    ]
