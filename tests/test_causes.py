"""The mechanisms in a comparison's sentences: each is named where the counters show it, and told again where another stood between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kcompressd import Job, Lab, Pages, Result, causes, taken
from kcompressd._core import presets
from kcompressd.comparison import Comparison, Entry
from kcompressd.measures import MEASURES
from kcompressd.remarks import remarkable, sentences

GOLDEN = json.loads((Path(__file__).parent / "golden/split-zswap.result.json").read_text())
BY_NAME = {measure.name: measure for measure in MEASURES}
SHORT = {
    "pages": "sample",
    "store": "zram",
    "machine": {"speeds": [100] * 4},
    "node": {"managed": 8000, "file": 400},
    "workload": {"kind": "zipf", "pages": 10_400, "touches": 40_000, "exponent": 0.9, "write_share": 0.3},
}


@cache
def short(design: str, store: str = "zram", cpus: int = 4) -> Result:
    """A run whose memory is short, in virtual time."""
    return Job.from_dict(SHORT | {"design": design, "store": store, "machine": {"speeds": [100] * cpus}}).sim()


def altered(design: dict[str, Any] | None = None, threads: dict[str, int] | None = None, **vmstat: int) -> Result:
    """A run whose memory was short, with these counters and pages done by each thread, and no others."""
    data = json.loads(short("sync").to_json())
    data["config"]["design"] |= design or {}
    data["vmstat"] = dict.fromkeys(data["vmstat"], 0) | vmstat
    spent = {"reclaim_cpu_ns": 10**9, "fault_cpu_ns": 0}
    data["threads"] = [{"actor": who, "pages_done": pages, **spent} for who, pages in (threads or {}).items()]
    data["zram"]["io_stat"]["failed_writes"] = 0
    data["series"] = {name: [0] for name in data["series"]}
    data["census"]["reclaim"] = dict.fromkeys(data["census"]["reclaim"], 0)
    return Result.from_dict(data)


OWN = {"allocstall_normal": 90, "exit_kept": 5000, "exit_queued": 800}
WRITEBACK = {"hold": "writeback"}
NEW, HEAD = {"on_full": "sync_new"}, {"on_full": "sync_head"}


@pytest.mark.parametrize(
    ("cause", "run", "says"),
    [
        (causes.queued, altered(kcompressd_queued=900, exit_queued=900), "a queued page keeps its frame"),
        (causes.queued, altered(kcompressd_queued=900, **OWN), "GFP_NOIO"),
        (causes.queued, altered(kcompressd_queued=900, exit_kept=5000), "a queued page"),  # not its worker's looks
        (causes.queued, altered(), ""),
        (causes.full, altered(**OWN), "a worker compresses that reclaims for itself"),
        (causes.full, altered(), "kswapd scans faster than the threads compress"),
        (causes.stalls, altered(allocstall_normal=60, allocstall_movable=50), "most are rounds of its worker's own"),
        (causes.stalls, altered(allocstall_normal=40, allocstall_movable=50), ""),
        (causes.activated, altered(pgactivate=100, exit_add_to_swap=60), "no memory for the swap cache"),
        (causes.activated, altered(pgactivate=100, exit_referenced_activated=60), ""),
        (causes.activated, altered(WRITEBACK, pgactivate=100, exit_writeback=100), "still under writeback"),
        (causes.activated, altered(WRITEBACK, pgactivate=100, exit_writeback=100, kcompressd_queued=80), ""),
        (causes.activated, altered(WRITEBACK, pgactivate=100), ""),  # pages of files
        (causes.activated, altered(), ""),
        (
            causes.inversions,
            altered(NEW, {"kswapd0": 900}, kcompressd_full=200, pswpout=1000),
            "the full queue does not",
        ),
        (causes.inversions, altered(HEAD, {"kswapd0": 900}, kcompressd_full=200, pswpout=1000), "direct reclaim"),
        (causes.inversions, altered({"threads": 4} | HEAD, {"kswapd0": 900}, pswpout=900), "threads finish"),
        (causes.reclaim_cpu, altered(threads={"kswapd0": 900, "kcompressd0": 900}, pswpout=1800), "in all"),
        (causes.reclaim_cpu, altered(threads={"kswapd0": 900, "kcompressd0": 900}, pswpout=1000), "direct reclaim"),
        (causes.reclaim_cpu, altered(threads={"kswapd0": 1, "kcompressd0": 1}, pswpout=1000, **OWN), "own reclaim"),
        (causes.written, altered(pswpout=1000, pgsteal_anon=800), "taken back"),
    ],
)
def test_a_mechanism_is_named_where_the_counters_show_it(cause: causes.Cause, run: Result, says: str) -> None:
    base = altered(threads={"kswapd0": 1000}, pswpout=1000)
    found = cause(run, base)
    assert says in found and bool(found) == bool(says)


def test_one_cpu_is_why_its_queue_is_full() -> None:
    assert "on one CPU" in causes.full(short("split", cpus=1), short("sync", cpus=1))
    assert "scans faster" in causes.full(short("split"), short("sync"))


def test_a_run_s_own_counters_decide() -> None:
    """The April design's worker reclaims for itself, the unofficial one's does not and runs out of memory."""
    assert "GFP_NOIO" in causes.queued(short("april"), short("sync"))
    assert "keeps its frame" in causes.queued(short("unofficial"), short("sync"))
    failed = taken.failed_writes(short("unofficial"))
    assert failed and "no memory for the pool" in causes.failed(short("unofficial"), short("sync"))


@pytest.mark.parametrize("design", presets())
def test_no_more_is_freed_held_or_failed_than_was_stored(design: str) -> None:
    """On zram, where no page comes back clean to be freed a second time."""
    run = short(design)
    accounted = run.vmstat.pgsteal_anon + taken.held_at_end(run) + (taken.failed_writes(run) or 0)
    assert taken.stored(run) >= accounted and taken.compressed(run) <= taken.stored(run)
    assert taken.alloc_fails(run) is None and taken.alloc_fails(short(design, "zswap")) is not None


@pytest.mark.parametrize("design", presets())
def test_the_cpu_time_of_all_has_what_direct_reclaim_spends(design: str) -> None:
    """What kswapd and kcompressd leave to direct reclaim moves from the one sum into the other."""
    run, idle = short(design), short(design, cpus=1)
    for result in (run, idle):
        threads = sum(thread.reclaim_cpu_ns + thread.fault_cpu_ns for thread in result.threads)
        assert BY_NAME["cpu_ns"].of(result) == threads > (BY_NAME["reclaim_cpu_ns"].of(result) or 0)
    assert run.vmstat.pgsteal_direct and run.vmstat.allocstall_movable
    assert (
        BY_NAME["cpu_ns"].of(Lab(design=design).run(Pages.sample()[:64])) is None
    )  # no direct reclaim: both together are all


def test_a_failed_write_is_no_double_write() -> None:
    run = short("unofficial")
    assert taken.failed_writes(run) and taken.stored(run) - run.vmstat.pgsteal_anon > (taken.double_writes(run) or 0)


def entries(held: Sequence[Sequence[int]]) -> list[Entry]:
    """Rows that held so many frames twice at most, in each repeat."""
    made: list[Entry] = []
    for number, peaks in enumerate(held):
        runs = []
        for peak in peaks:
            data = json.loads(json.dumps(GOLDEN))
            data["series"] |= {"frames_held_twice": [peak] * len(data["series"]["t_ns"])}
            runs.append(Result.from_dict(data))
        results = tuple(runs)
        made.append(Entry(f"d{number}" if number else "sync", results, made[0].results if made else results))
    return made


@pytest.mark.parametrize(
    ("base", "ours", "size"),
    [([0, 1, 0], [900, 800, 700], 10.0), ([900, 800, 0], [0, 0, 0], -10.0), ([0, 2000, 0], [900, 800, 700], None)],
)
def test_a_baseline_that_has_none_in_some_repeats_hides_no_remark(
    base: list[int], ours: list[int], size: float | None
) -> None:
    sync, other = entries([base, ours])
    found = remarkable(other, sync, BY_NAME["held_twice_bytes"])
    assert (found.size if found is not None else None) == size


def test_a_mechanism_is_told_again_where_another_stood_between() -> None:
    base = altered(threads={"kswapd0": 1000}, pswpout=1000)
    own, other = OWN | {"kcompressd_queued": 800}, {"kcompressd_queued": 800, "exit_queued": 800}
    rows = {"sync": base, "a": altered(pgscan_anon=9000, pgsteal_anon=1000, **other)}
    rows |= {"b": altered(pgscan_anon=8000, pgsteal_anon=1000, **own)}
    rows |= {name: altered(pgscan_anon=n, pgsteal_anon=1000, **other) for name, n in (("c", 7000), ("d", 6000))}
    made = [Entry(name, (run,), (base,)) for name, run in rows.items()]
    told = [said for said in sentences(Comparison(tuple(made))) if " scans " in said]
    assert [said[0] for said in told if "keeps its frame" in said] == ["a", "c"]
    assert [said[0] for said in told if "GFP_NOIO" in said] == ["b"]
