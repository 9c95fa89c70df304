"""A memory budget on real threads: a job gives the same kind of Result as in virtual time, and ends early as a pageout run does."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kcompressd import Job, Lab, Pages, Result, RunInterrupted, _core
from kcompressd.errors import LabError
from kcompressd.faults import Plant
from kcompressd.node import Node
from kcompressd.workload import Workload

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/schema/result.schema.json").read_text())
PAGES = Pages.sample()
NODE = Node(managed=3000)
EATER = {"kind": "eater", "pages": 3600}


def job(*workloads: dict[str, Any], **keys: Any) -> Job:
    node = {"managed": 3000, "cpus": 2}
    return Job.from_dict({"pages": "sample", "store": "zram", "node": node, "workload": list(workloads), **keys})


def ran(job: Job) -> Result:
    result = job.run(trace=True)
    jsonschema.Draft202012Validator(SCHEMA).validate(result.to_dict())
    assert (result.complete, result.exit_code, result.check(), result.mismatched) == (True, 0, [], ())
    assert result.trace.validate().ok, result.trace.validate().explain()
    return result


@pytest.mark.parametrize("store", ["zram", "zswap"])
@pytest.mark.parametrize("design", _core.presets())
def test_an_eater_comes_back_whole_and_says_what_virtual_time_says(design: str, store: str) -> None:
    given = job(EATER, design=design, store=store)
    live, virtual = ran(given).to_dict(), given.sim().to_dict()
    assert live["applications"][0]["touches"] == virtual["applications"][0]["touches"] == 7200
    for key in ("vmstat", "series", "phases"):
        assert live[key].keys() == virtual[key].keys(), key
    assert live["applications"][0].keys() == virtual["applications"][0].keys()
    missing = {"queue_wait_ns", "fault_wait_ns", "stall_ns"}  # there are some only where somebody waited
    assert live["timing"].keys() - missing == virtual["timing"].keys() - missing
    assert live["config"]["node"] == virtual["config"]["node"]


@pytest.mark.parametrize("design", ["sync", "april", "unofficial"])
def test_generations_on_real_threads_say_what_virtual_time_says(design: str) -> None:
    given = job(EATER, design=design, **{"node": {"managed": 3000, "cpus": 2, "lru_gen": True}})
    live, virtual = ran(given), given.sim()
    assert live.vmstat["pgsteal_anon"] > 600 and live.vmstat["pgfault"] > 0.9 * virtual.vmstat["pgfault"]


def test_what_generations_take_an_active_page_from_is_no_deactivation() -> None:
    """Pages that nobody takes are activated, and isolated again: `pgdeactivate` is of the active list alone."""
    node, denied = {"managed": 3000, "cpus": 2, "lru_gen": True}, [{"name": "/", "writeback": False}]
    given = job(EATER, design="split", store="zswap", node=node, memcg=denied)
    for result in (ran(given), given.sim()):
        assert result.vmstat["pgdeactivate"] == 0 < result.lifecycle.by_event["deactivate"]
        assert (result.exit_code, result.check()) == (0, [])


@pytest.mark.parametrize("design", ["sync", "split"])
def test_large_folios_from_generations_come_back_whole_on_real_threads(design: str) -> None:
    node = {"managed": 3000, "cpus": 2, "lru_gen": True}
    result = ran(job({**EATER, "folio_order": 2}, design=design, kernel="6.13", store="zswap", node=node))
    stats = result.mthp["hugepages-16kB"]
    assert stats["anon_fault_alloc"] > 100 and stats["zswpout"] > 0


def test_several_applications_in_groups_with_limits() -> None:
    groups = [
        {"name": "a", "memory_max": 1500 * 4096},
        {"name": "b", "memory_reclaim": [{"at_ns": 0, "bytes": 1 << 20}]},
    ]
    others = [{"kind": "usemem", "pages": 800, "memcg": "b"}, {"kind": "zipf", "pages": 500, "think_ns": 1000}]
    result = ran(job({"kind": "eater", "pages": 2000, "memcg": "a"}, *others, memcg=groups))
    assert [app.touches for app in result.applications] == [4000, 2400, 1500]
    assert [group.name for group in result.memcgs] == ["/", "a", "b"]
    assert result.memcgs[1].memory_events["max"] > 0
    assert result.memcgs[2].memory_reclaim[0].end_ns is not None


def test_out_of_memory_ends_the_application_and_not_the_run() -> None:
    result = job({**EATER, "pages": 12_000}).replace({"node.swap": 2000}).run()
    (app,) = result.applications
    assert (result.complete, result.errors, app.oom_kill, app.touches < 24_000) == (True, (), 1, True)
    assert [note.count("was ended by the OOM killer") for note in result.notes] == [1]


def test_a_panic_and_ctrl_c_keep_what_there_was() -> None:
    eater = Workload(kind="eater", pages=3600)
    plant = Plant(panic_in="app0", after_pages=500)
    result = Lab(store="zram", plant=plant).run(PAGES, node=NODE, workload=eater)
    assert (result.complete, result.error and result.error.kind, result.check()) == (False, "panic", [])
    assert result.vmstat["pgfault"] >= 500 and result.applications[0].end_ns is None

    def impatient(phase: str, done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    thinker = Workload(kind="eater", pages=3600, think_ns=1_000_000)  # seconds, if let go
    with pytest.raises(RunInterrupted) as interrupted:
        Lab(store="zram").run(PAGES, progress=impatient, node=NODE, workload=thinker)
    part = interrupted.value.result
    assert isinstance(part, Result)
    assert (part.complete, part.error and part.error.kind, part.check()) == (False, "cancelled", [])


def test_what_does_not_apply_is_refused_or_said() -> None:
    with pytest.raises(LabError, match="node: and workload belong together"):
        Lab().run(PAGES, node=NODE)
    eater = Workload(kind="eater", pages=100)
    with pytest.raises(LabError, match="threads: 2 of a design with a thread a node are 2 nodes"):
        Lab(design="april", threads=2).run(PAGES, node=NODE, workload=eater)
    with pytest.raises(LabError, match="kswapd: 3 of a run are 3 nodes"):
        Lab(design="split", kswapd=3).run(PAGES, node=NODE, workload=eater)
    result = Lab(store="zram").run(PAGES, node=NODE, workload=Workload(kind="eater", pages=100, nice=5))
    assert any("workload.nice not used" in note for note in result.notes)
