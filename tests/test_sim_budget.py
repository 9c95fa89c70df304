"""Virtual time with a memory budget: who runs out of memory stalls, is throttled or killed by name, and all of it adds up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from kcompressd import Job, applications, report
from kcompressd.comparison import Comparison, Entry
from kcompressd.errors import JobError
from kcompressd.sizes import duration
from kcompressd.trace import Trace

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/schema/result.schema.json").read_text())

EATER = """\
pages = "sample"
design = "unofficial"
store = "zram"

[node]
cpus = 2
managed = 6600
free = 5600
watermarks = [49, 61, 73]

[workload]
kind = "eater"
pages = 9000
"""


@pytest.mark.parametrize("design", ["sync", "april", "unofficial"])
def test_an_eater_in_too_little_memory_reclaims_stalls_and_gives_everything_back(tmp_path: Path, design: str) -> None:
    path = tmp_path / "eater.toml"
    path.write_text(EATER)
    first, again = (Job.load(path, [f"design={design}"]).sim() for _ in range(2))
    jsonschema.Draft202012Validator(SCHEMA).validate(first.to_dict())
    assert first == again
    assert (first.complete, first.check(), first.exit_code) == (True, [], 0)
    assert first.config.pages == 9000 and first.vmstat.pgsteal_anon > 4000
    assert first.timing.touch_ns.count == 18_000
    # A sample is taken every few hundred pages: the lowest may be missed.
    assert min(first.series.free_pages) < 600 < max(first.series.free_pages)
    assert first.vmstat.allocstall_movable > 0 and first.timing.stall_ns.count > 0


@pytest.mark.parametrize("lru_gen", [False, True], ids=["lists", "generations"])
@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
@pytest.mark.parametrize("design", ["sync", "april", "split"])
def test_looks_that_end_with_a_page_that_nobody_takes_are_counted(design: str, kernel: str, lru_gen: bool) -> None:
    tree = {
        "pages": "sample",
        "design": design,
        "store": "zswap",
        "kernel": kernel,
        "node": {"managed": 3000, "cpus": 2, "lru_gen": lru_gen},
        "memcg": [{"name": "/", "writeback": False}],
        "workload": {"kind": "eater", "pages": 4000},
    }
    result = Job.from_dict(tree).sim()
    assert (result.check(), result.exit_code) == ([], 0)
    assert 0 < result.vmstat.exit_activated <= result.vmstat.pgactivate


def test_what_an_eater_waited_for_is_shown_and_a_pageout_run_has_no_such_section(tmp_path: Path) -> None:
    path = tmp_path / "eater.toml"
    path.write_text(EATER)
    result = Job.load(path).sim()
    shown = dict(dict(report.sections(result))["waits"])
    some = result.timing.memory_some_ns
    assert shown["stalled on memory, some"].endswith(f", {some / result.timing.reclaim_ns:.2%}") and some > 0
    assert shown["compressed out of order"] == str(result.timing.inversions)
    assert {"touch_ns p50 / p99 / max", "queue_wait_ns p50 / p99 / max", "not above the high watermark"} <= set(shown)
    assert "waits" not in dict(report.sections(Job.from_dict({"pages": "sample"}).sim()))


def test_a_node_and_a_workload_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "eater.toml"
    path.write_text(EATER)
    with pytest.raises(JobError, match="belong together"):
        Job.from_dict({"pages": "sample", "node": {"managed": 6000}}).sim()
    with pytest.raises(JobError, match=r"workload\.pages is not for the workload 'pageout'"):
        Job.load(path, ["workload.kind=pageout"]).sim()
    with pytest.raises(JobError, match=r"workload\.fault is not for the workload 'eater'"):
        Job.load(path, ["workload.fault=none"]).sim()
    with pytest.raises(JobError, match=r"node\.watermarks"):
        Job.load(path, ["node.watermarks=[9, 8, 7]"]).sim()


def test_a_run_without_enough_memory_and_swap_ends_in_a_kill_by_name(tmp_path: Path) -> None:
    path = tmp_path / "eater.toml"
    path.write_text(EATER)
    result = Job.load(path, ["node.managed=5000", "node.free=4500", "node.swap=3000"]).sim()
    assert (result.vmstat.oom_kill, result.check(), result.exit_code, result.complete) == (1, [], 3, True)
    assert result.errors == ()
    (app,) = result.applications
    assert result.killed == ["eater"] and 0 < app.touches == app.touch_ns.count < 9000
    said = f"eater was ended by the OOM killer, and gone {duration(app.end_ns)} after it began: {app.touches} of its 18000 touches were done"
    assert result.notes == (said,) and f"note: {said}" in " ".join(str(result).split())
    assert str(result).count("OOM killer") == 1 and "out of memory" not in str(result)
    assert "eater.took_ns" not in [measure.name for measure in applications.measures("eater", [result])]


def test_who_the_killer_ends_is_told_and_not_who_ran_out(tmp_path: Path) -> None:
    """The small one runs out of memory as well; a comparison of such runs is whole."""
    small = {"kind": "burst", "pages": 300, "deadline_ns": 1, "memcg": "b", "start_ns": 15_000_000}
    tree = {"pages": "sample", "store": "zram", "node": {"managed": 3000, "swap": 2000}}
    tree |= {
        "workload": [{"kind": "eater", "pages": 9000, "memcg": "a"}, small],
        "memcg": [{"name": "a"}, {"name": "b"}],
    }
    result = Job.from_dict(tree).sim()
    assert [app.oom_kill for app in result.applications] == [1, 0] and result.killed == ["eater"]
    assert [(group.name, group.memory_events.get("oom_kill")) for group in result.memcgs[1:]] == [("a", 1), ("b", 0)]
    assert result.applications[1].late_ns > 0
    assert (result.exit_code, Comparison((Entry("sync", (result,), (result,)),)).exit_code) == (3, 0)


def test_a_worker_without_reserves_stalls_close_to_exhaustion_and_gets_on(tmp_path: Path) -> None:
    """april's worker has no PF_MEMALLOC: it waits for memory that others must free."""
    path = tmp_path / "eater.toml"
    path.write_text(EATER)
    result = Job.load(path, ["design=april", "node.managed=6000", "node.free=5500"]).sim()
    assert (result.complete, result.check(), result.exit_code) == (True, [], 0)
    assert result.vmstat.allocstall_normal > 0 and result.zram is not None
    assert result.zram.io_stat.failed_writes == result.vmstat.exit_dirty, "only a reclaimer's own writes fail"
    assert result.vmstat.pgsteal_anon > 0


@pytest.mark.skipif(
    "KCOMPRESSD_STATEFUL" not in os.environ, reason="a minute of a worker in vain: KCOMPRESSD_STATEFUL=1"
)
def test_a_worker_without_reserves_can_hang_a_node() -> None:
    """All that could be freed is in its queue (docs/proofs.md); with PF_MEMALLOC the same job comes to its end."""
    result = Job.load(ROOT / "tests/golden/hang.toml").sim()
    assert not result.complete and result.error is not None and result.error["kind"] == "livelock"
    assert result.check() == [] and result.census["reclaim"]["queued"] > 50 > result.census["reclaim"]["resident"]
    assert result.timing.reclaim_ns > result.timing.memory_some_ns > 0, "what ends early lasted until then"
    assert Job.load(ROOT / "tests/golden/hang.toml", ['design.worker_flags=["memalloc"]']).sim().complete


@pytest.mark.parametrize("design", ["april", "unofficial"])
@pytest.mark.parametrize("store", ["zram", "zswap"])
def test_a_run_with_a_memory_budget_is_judged(tmp_path: Path, design: str, store: str) -> None:
    path, file = tmp_path / "usemem.toml", tmp_path / "trace.npy"
    path.write_text(EATER.replace("eater", "usemem"))
    result = Job.load(path, [f"design={design}", f"store={store}"]).sim(trace=file)
    validation = Trace.load(file).validate()
    assert result.complete and validation.exit_code == 0, validation.explain()
    assert validation.by_event["populate"] == 9000 and validation.by_event["pool"] > 0
    alone = Trace(Trace.load(file).records).validate()
    assert alone.ok, alone.explain()
