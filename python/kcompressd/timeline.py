"""One page's life as text."""

from __future__ import annotations

from collections.abc import Sequence

from kcompressd import lifecycle
from kcompressd.trace import SYSTEM, Trace
from kcompressd.trace_words import Step


def timeline(trace: Trace, folio: int) -> str:
    """A page's life, one line a record: time, time since its last record, actor, event and what the kernel
    calls it, states, flags that changed, guards, and what ``aux`` says.

    Raises :class:`LookupError` for a page that the trace does not mention.
    """
    steps = trace.timeline(folio)
    if not steps:
        raise LookupError(f"no record of page {folio}; the trace has {_extent(trace)}")
    last = steps[-1]
    unit = trace.unit
    title = f"page {folio}: {len(steps)} records, {last.t_ns - steps[0].t_ns} {unit} from the first to the last"
    return "\n".join([title, *lines(steps, unit=unit), f"it ends {last.to} ({_meaning(last.to)})"])


def lines(steps: Sequence[Step], mark: int | None = None, unit: str = "ns") -> list[str]:
    """Steps as aligned lines; the record at position ``mark`` of the trace is pointed at, times are in ``unit``."""
    cells = [_cells(s, s.index == mark, unit) for s in steps]
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(5)]
    right = (True, True, False, False, False)
    return [
        "  ".join(
            [*(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=False)), row[5]]
        ).rstrip()
        for row in cells
    ]


def _cells(s: Step, marked: bool, unit: str) -> tuple[str, str, str, str, str, str]:
    moved = s.to if s.source == s.to else f"{s.source} → {s.to}"
    notes = [" ".join(s.changed), ", ".join(s.guards) and f"[{', '.join(s.guards)}]", s.aux]
    function = lifecycle.EVENTS.get(s.event, "").split(":")[0]
    notes.append(function and f"· {function}")
    head = f"{'►' if marked else ' '} {s.t_ns} {unit}"
    return head, f"{s.delta_ns:+d}", s.actor, s.event, moved, "  ".join(n for n in notes if n)


def _meaning(state: str) -> str:
    return next((s.meaning for s in lifecycle.STATES if s.name == state), "no such state")


def _extent(trace: Trace) -> str:
    folios = trace.records["folio"]
    folios = folios[folios != SYSTEM]
    return f"pages {folios.min()} to {folios.max()}" if len(folios) else "no pages"
