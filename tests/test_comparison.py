"""Comparisons: what is remarkable, in words; and measures over time against a naive count."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Job, Lab, Pages, Result, series
from kcompressd.comparison import Comparison, Entry
from kcompressd.lifecycle import EVENTS, STATES
from kcompressd.measures import MEASURES, Measure
from kcompressd.remarks import FACTOR, remarkable, remarks, sentences
from kcompressd.trace import SYSTEM, Trace

GOLDEN = json.loads((Path(__file__).parent / "golden/split-zswap.result.json").read_text())
BY_NAME = {measure.name: measure for measure in MEASURES}
SCANS, SPEED, STALLS = BY_NAME["scans_per_page"], BY_NAME["bytes_per_s"], BY_NAME["allocstall"]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_cell_has_its_unit_unless_the_title_has_it(measure: Measure) -> None:
    said = measure.cell(3 << 20)
    assert said == ("3" if measure.title == "MiB/s" else measure.text(3 << 20)) and measure.text(3 << 20) != "3"


def results(measure: Measure, values: Sequence[float]) -> tuple[Result, ...]:
    """The golden result, once for each value of a measure."""
    made = []
    for value in values:
        data: dict[str, Any] = json.loads(json.dumps(GOLDEN))
        if measure is SPEED:
            data["timing"]["bytes_per_s"] = value
        elif measure is SCANS:
            data["vmstat"] |= {"pgscan_anon": round(value * 1e6), "pgsteal_anon": 10**6}
        elif measure is STALLS:  # of a run with a memory budget
            data["config"]["workload"] = [{"kind": "eater", "pages": 1536}]
            looks = ("activated", "add_to_swap", "dirty", "referenced", "referenced_activated", "refs")
            scans = ("pgscan_direct", "pgscan_file", "pgsteal_direct", "pgsteal_file")
            data["vmstat"] |= dict.fromkeys((*(f"exit_{look}" for look in looks), *scans), 0)
            data["vmstat"] |= {"allocstall_normal": 0, "allocstall_movable": round(value)}
        else:
            data["vmstat"][measure.name] = round(value)
        made.append(Result.from_dict(data))
    return tuple(made)


def pair(measure: Measure, base: Sequence[float], ours: Sequence[float]) -> tuple[Entry, Entry]:
    baseline = results(measure, base)
    return Entry("sync", baseline, baseline), Entry("april", results(measure, ours), baseline)


@pytest.mark.parametrize(
    ("measure", "base", "ours", "size"),
    [
        (SCANS, [1.0], [2.0], 1.0),
        (SCANS, [2.0], [1.0], -1.0),
        (SCANS, [1.0], [1.2], None),  # less than a quarter
        (SCANS, [0.2], [0.26], None),  # less than `least`
        (SPEED, [100.0] * 5, [90.0, 200, 200, 200, 200], None),  # noise: once slower
        (SPEED, [100.0] * 5, [140.0, 200, 200, 200, 200], 1.0),
        (STALLS, [0], [5], None),
        (STALLS, [0], [50], 10.0),
        (STALLS, [50], [0], -10.0),
        (STALLS, [0], [0], None),
        (BY_NAME["queued"], [0], [5000], None),  # neither good nor bad
    ],
)
def test_what_is_remarkable(measure: Measure, base: list[float], ours: list[float], size: float | None) -> None:
    sync, april = pair(measure, base, ours)
    found = remarkable(april, sync, measure)
    assert (None if found is None else found.size) == size
    if found is not None:
        assert found.is_good == ((size < 0) == (measure.less == "better"))  # type: ignore[operator]
    assert remarkable(sync, sync, measure) is None


@settings(deadline=None)
@given(st.floats(0.2, 5), st.floats(0.2, 5))
def test_a_ratio_is_remarkable_from_the_factor_on(base: float, ours: float) -> None:
    sync, april = pair(SCANS, [base], [ours])
    ratio = round(ours * 1e6) / round(base * 1e6)
    differs = abs(ours - base) >= SCANS.least + 1e-5 and (ratio >= FACTOR + 1e-5 or ratio <= 1 / FACTOR - 1e-5)
    found = remarkable(april, sync, SCANS)
    if differs:
        assert found is not None and (found.size > 0) == (ours > base)
    elif abs(ours - base) < SCANS.least - 1e-5 or 1 / FACTOR + 1e-5 < ratio < FACTOR - 1e-5:
        assert found is None


def test_a_sentence_has_both_values_the_ratio_and_the_mechanism() -> None:
    sync, april = pair(SCANS, [1.0], [2.5])
    (remark,) = remarks(Comparison((sync, april)))
    assert remark.sentence() == (
        "april scans 2.50 pages for each that it frees, sync 1.00 (2.50x): a queued page keeps its frame until a "
        "later scan comes round."
    )
    sync, april = pair(SCANS, [2.5], [1.0])
    assert remarks(Comparison((sync, april)))[0].sentence().endswith("sync 2.50 (0.40x).")


def test_sentences_come_by_measure_the_largest_first_and_notes_once() -> None:
    base = results(SCANS, [1.0])
    entries = [Entry("sync", base, base), *(Entry(f"d{n}", results(SCANS, [n]), base) for n in (2, 4, 3))]
    found = list(sentences(Comparison(tuple(entries))))
    assert [s.split()[0] for s in found if "scans" in s] == ["d4", "d3", "d2"]
    assert [s.split()[0] for s in found if "comes round" in s] == ["d4"]  # Why is told once.
    assert sum("activation after a failed compression" in s for s in found) == 1


def test_each_group_has_its_own_baseline() -> None:
    entries = []
    for group, (base, ours) in {"1 CPU": ([1.0], [2.0]), "8 CPUs": ([2.0], [2.0])}.items():
        sync, april = pair(SCANS, base, ours)
        entries += [Entry(e.name, e.results, e.baseline, group) for e in (sync, april)]
    found = Comparison(tuple(entries))
    assert [(r.entry.group, r.size) for r in remarks(found)] == [("1 CPU", 1.0)]
    assert "1 CPU" in str(found) and "april, 1 CPU, scans" in str(found)


def naive(trace: Trace, pages: int) -> dict[str, list[int]]:
    """Levels and totals by walking the trace, page by page in its state."""
    states, events = [s.name for s in STATES], list(EVENTS)
    at = ["resident"] * pages
    out: dict[str, list[int]] = {"queue_len": [], "frames_held_twice": [], "pgsteal": [], "pgscan": []}
    freed = scanned = 0
    for record in trace.records[trace.records["folio"] != SYSTEM]:
        at[record["folio"]] = states[record["to"]]
        freed += events[record["event"]] == "reclaim"
        scanned += events[record["event"]] == "isolate"
        levels = (at.count("queued"), at.count("compressed"), freed, scanned)
        for values, value in zip(out.values(), levels, strict=True):
            values.append(value)
    last = max(i for i, n in enumerate(out["pgsteal"]) if i == 0 or n > out["pgsteal"][i - 1])
    return {name: values[: last + 1] for name, values in out.items()}


def test_a_trace_s_series_are_what_a_walk_counts() -> None:
    """Of a trace in total order: a script that queues, compresses and reclaims in waves."""
    stepper = Lab(design="april").step(Pages.sample()[::64])
    folios = stepper.folios
    for wave in (folios[:9], folios[9:20]):
        for folio in wave:
            folio.queue()
        for folio in wave:
            if folio.state == "queued":
                folio.compress()
        for folio in wave[::2]:
            if folio.state == "compressed":
                folio.reclaim()
    found, walked = series.of_trace(stepper.trace), naive(stepper.trace, len(folios))
    assert {name: values.tolist() for name, values in found.values.items()} == walked
    assert max(walked["queue_len"]) > 5 and max(walked["frames_held_twice"]) > 5


@pytest.mark.parametrize("design", ["sync", "april", "split"])
def test_a_live_trace_s_series_end_where_the_counters_do(design: str) -> None:
    result = Lab(design=design, threads=1, trace=True).run(Pages.sample()[::16])
    found = series.of_result(result).values
    assert found["pgsteal"][-1] == result.vmstat.pgsteal_anon and found["pgscan"][-1] == result.vmstat.pgscan_anon
    assert found["queue_len"][-1] == found["frames_held_twice"][-1] == 0
    assert (found["queue_len"].max() == 0) == (design == "sync")


@pytest.mark.parametrize("design", ["sync", "unofficial", "split"])
def test_a_live_run_s_samples_end_where_the_counters_do(design: str) -> None:
    """The last is taken when all has been reclaimed, however late those before came."""
    result = Lab(design=design, store="zram").run(Pages.sample())
    found, vmstat = series.sampled(result).values, result.vmstat
    ends = {name: found[name][-1] for name in ("pgsteal", "pgscan", "stores")}
    assert ends == {"pgsteal": vmstat.pgsteal_anon, "pgscan": vmstat.pgscan_anon, "stores": vmstat.pswpout}
    assert found["queue_len"][-1] == found["in_flight"][-1] == found["frames_held_twice"][-1] == 0
    assert list(result.series.t_ns) == sorted(result.series.t_ns)


def test_a_virtual_run_is_sampled_evenly_also_where_nothing_happens() -> None:
    """A line between two samples does not fall slowly over a time in which nothing changed."""
    late = [{"kind": "burst", "pages": 300, "start_ns": start_ns, "deadline_ns": 10**9} for start_ns in (0, 20_000_000)]
    job = {"pages": "sample", "store": "zram", "design": "sync", "node": {"managed": 4000}, "workload": late}
    found = Job.from_dict(job).sim().series
    step = found.t_ns[1]
    assert list(found.t_ns[:-1]) == [step * n for n in range(len(found.t_ns) - 1)]
    assert 256 <= len(found.t_ns) <= 512 and 0 < found.t_ns[-1] - found.t_ns[-2] <= step
    levels = found.free_pages
    changed = [n for n in range(1, len(levels)) if levels[n] != levels[n - 1]]
    assert max(after - before for before, after in itertools.pairwise(changed)) * step > 10_000_000


def test_a_rate_s_sum_is_what_was_added() -> None:
    t, total = np.linspace(0, 5e9, 1001), np.cumsum(np.arange(1001.0) % 7)
    middles, per_s = series.rate(t, total)
    assert len(middles) == series.BINS and (per_s * 5 / series.BINS).sum() == pytest.approx(total[-1] - total[0])
    assert all(len(part) == 0 for part in series.rate(t[:1], total[:1]))


def test_samples_begin_at_zero_and_known_names_come_first() -> None:
    data = json.loads(json.dumps(GOLDEN))
    data["series"] = {"t_ns": [50, 60], "other": [1, 2], "queue_len": [3, 4]}
    found = series.sampled(Result.from_dict(data))
    assert found.t_ns.tolist() == [0, 10] and found.names == ["queue_len", "other"]


def test_a_rate_needs_two_times_that_differ() -> None:
    for times in ([], [1.0], [1.0, 1.0]):
        empty = series.rate(np.array(times), np.arange(len(times), dtype=float))
        assert [len(part) for part in empty] == [0, 0]
    middles, risen = series.rate(np.array([0.0, 2e9]), np.array([0.0, 6.0]))
    assert (middles.tolist(), risen.tolist()) == ([1e9], [3.0])


def test_writes_to_memory_reclaim_are_measured_together() -> None:
    data = json.loads(json.dumps(GOLDEN))
    group = {"name": "a", "memory_current": 0, "memory_stat": {}, "memory_events": {}}
    writes = [{"at_ns": at, "end_ns": end, "bytes": 4096, "reclaimed_bytes": 0} for at, end in ((5, 7), (10, 40))]
    took = BY_NAME["memory_reclaim_ns"].of
    assert took(Result.from_dict(data | {"memcgs": [group | {"memory_reclaim": writes}]})) == 32.0
    assert took(Result.from_dict(data | {"memcgs": [group | {"memory_reclaim": []}]})) is None
