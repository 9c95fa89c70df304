"""One trace, two judges: the core's, and the `transitions` machine that defines the law, on one core.

    python benches/judge_speed.py [PAGES]

Prints a Markdown table: events a second of each (the median of 5 of ours, one run of the machine) and their ratio.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time

from kcompressd import Lab, Pages, lifecycle
from kcompressd._core import Judge
from kcompressd.trace import RECORD, SYSTEM
from kcompressd.trace_words import guard_names

logging.getLogger("transitions").setLevel(logging.ERROR)


def machine_s(records, pages: int) -> float:
    """Seconds that the machine takes to fire every event of the trace, its models made beforehand."""
    law, events = lifecycle.machine(), list(lifecycle.EVENTS)
    models = [lifecycle.Page(law) for _ in range(pages)]
    steps = [
        (int(r["folio"]), events[r["event"]], guard_names(int(r["guards"]))) for r in records if r["folio"] != SYSTEM
    ]
    start = time.perf_counter()
    for folio, event, guards in steps:
        models[folio].fire(event, **dict.fromkeys(guards, True))
    return time.perf_counter() - start


def judge_s(records, pages: int) -> float:
    """Seconds that the core's judge takes for the same records, every check on."""
    table = lifecycle.table()
    rows = [(r.event, r.source, r.require_mask, r.require_value, r.to) for r in table.rows]
    judge = Judge(rows, [list(f) for f in table.flags], pages, complete=True)
    raw = records.tobytes()
    start = time.perf_counter()
    assert judge.feed(raw) is None
    return time.perf_counter() - start


def main(pages: int) -> None:
    """Makes the trace of a live run, and times both."""
    sample = Pages.sample().array
    many = sample[[i % len(sample) for i in range(pages)]]
    result = Lab(design="split", threads=2, trace=True, fault="shuffled").run(many)
    records = result.trace.records.astype(RECORD)
    ours = len(records) / statistics.median(judge_s(records, pages) for _ in range(5))
    theirs = len(records) / machine_s(records, pages)
    print("| judge | events | events a second | times |\n|---|---|---|---|")
    print(f"| `transitions` | {len(records)} | {theirs:,.0f} | 1 |")
    print(f"| `validate`'s core, all checks | {len(records)} | {ours:,.0f} | {ours / theirs:,.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
