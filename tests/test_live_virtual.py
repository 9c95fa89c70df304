"""Real threads against virtual time: the same schedule counts the same, and free-running threads do the same work.

With a memory budget what an application needs is the same whoever runs when: its touches and faults, and the pages that it has
read back. How much reclaim does for it hangs on who came first (a page met too early is written twice, one that was
touched meanwhile was written in vain): two live runs differ as much as a live and a virtual one, and medians of few by chance.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kcompressd import Calibration, Costs, Lab, Machine, Pages, Result, Sim, _core
from kcompressd.budget import Budget
from kcompressd.lifecycle import table
from kcompressd.node import Node
from kcompressd.workload import Workload

PAGES = Pages.sample()
CALIBRATION = Calibration.sample()
NEVER = 1 << 62
ONE_AT_A_TIME = Machine(speeds=(100,), slice_ns=NEVER, wakeup_granularity_ns=NEVER)
"""One CPU, on which an actor runs until it waits."""

WORK = (
    "pgsteal_kswapd",
    "pgsteal_anon",
    "nr_vmscan_write",
    "pgfault",
    "pgmajfault",
    "pswpin",
    "pswpout",
    "zswpin",
    "zswpout",
    "swpin_zero",
    "swpout_zero",
)
"""Counters of work done; the others count how the threads happened to meet."""


def in_turns(lab: Lab, folder: Path) -> dict[str, Any]:
    """What real threads find that run one at a time, each until it waits."""
    config = lab.config(len(PAGES), PAGES.page_size, folder / "swap" if lab.store == "zswap" else None)
    run = _core.Run(PAGES.array, config | {"turns": True}, table().as_dict())
    run.start()
    while not run.wait(1.0):
        pass
    return run.result()


@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_the_same_schedule_counts_the_same(design: str, store: str, tmp_path: Path) -> None:
    """Every counter, exactly; but kswapd's passes while it looks whether the device has written."""
    lab = Lab(design=design, store=store)
    live = in_turns(lab, tmp_path)
    virtual = Sim(lab=lab, machine=ONE_AT_A_TIME, costs=Costs(device_write_ns=0)).run(CALIBRATION).to_dict()
    for of in (live, virtual):
        if store == "zswap":
            del of["vmstat"]["pageoutrun"]
    for key in ("vmstat", "zswap", "zram", "census", "lifecycle"):
        assert live[key] == virtual[key], key
    mine, theirs = live["timing"], virtual["timing"]
    assert mine["inversions"] == theirs["inversions"]
    for name in ("touch_ns", "queue_wait_ns"):
        assert mine.get(name, {}).get("count") == theirs.get(name, {}).get("count"), name
    waits = mine.get("queue_wait_ns", {"count": 0})
    assert waits["count"] == live["vmstat"]["kcompressd_queued"]


@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_free_running_threads_do_the_same_work_within_5_percent(design: str, store: str) -> None:
    lab = Lab(design=design, store=store)
    live, virtual = lab.run(PAGES), Sim(lab=lab).run(CALIBRATION)
    assert within(live, virtual, 0.05) == []


def within(live: Result, virtual: Result, part: float) -> list[str]:
    pairs = {name: (live.vmstat[name], virtual.vmstat[name]) for name in WORK}
    if live.zram is not None and virtual.zram is not None:
        mine, theirs = live.zram.mm_stat, virtual.zram.mm_stat
        pairs |= {name: (mine[name], theirs[name]) for name in ("orig_data_size", "compr_data_size", "mem_used_total")}
    if live.zswap is not None and virtual.zswap is not None:
        names = ("stored_pages", "pool_total_size", "written_back_pages")
        pairs |= {name: (live.zswap[name], virtual.zswap[name]) for name in names}
    return [f"{name}: {a} and {b}" for name, (a, b) in pairs.items() if abs(a - b) > part * max(a, b)]


EATER = Workload(kind="eater", pages=5400)
NODE = Node(managed=4100)
TICK_NS = 4_000_000
RUNS = 5
"""Live runs at a time; virtual ones are as many as the tool's."""
BATCHES = 8
"""How often more runs are taken while a counter's medians are apart: those of few runs are by chance."""
WHO = {"pgsteal_kswapd", "pgsteal_direct", "allocstall", "kcompressd_queued", "kcompressd_full"}
"""Who reclaims, and who finds the queue full: that hangs on the CPU that each thread has. The tool holds them too, with 15 runs of twice the pages."""
DONE = {"stored", "pswpout"}
"""What reclaim does for an eater: held while no other program takes the CPUs. Beside two that compute, `april` on zswap has a third more written
back in virtual time, which knows nothing of them."""
BESIDE = 0.1
"""What an application needs may be so far apart then: `rfc` on zram reads back 2 to 7 % less in virtual time."""


@cache
def tool() -> ModuleType:
    """Return `tools/live_virtual.py`, which is no part of the package: its rule holds here too."""
    spec = importlib.util.spec_from_file_location(
        "live_virtual_tool", Path(__file__).parents[1] / "tools/live_virtual.py"
    )
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("workload", ["pageout", "eater"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_counters_are_within_5_percent(design: str, store: str, workload: str) -> None:
    """Under `april`, and seldom `unofficial`, runs end by the OOM killer where the CPUs have other work (one in some 40; where builds run beside it, one
    in nine): the worker that holds the last pages has no CPU."""
    assert counters_apart(design, store, workload) == {}


def counters_apart(design: str, store: str, workload: str) -> dict[str, float]:
    """Counters that are apart at every look, each with virtual over live."""
    budget = Budget.of(NODE, EATER) if workload == "eater" else None
    case = tool().Case(PAGES, CALIBRATION, store, budget)
    live: list[Result] = []
    virtual: list[Result] = []
    apart = dict.fromkeys(tool().COUNTERS.keys() - WHO, 0.0)
    begin, others_s = time.monotonic(), tool().others_s()
    for _ in range(BATCHES):
        real, ours = tool().measured_runs(case, design, TICK_NS, RUNS)
        assert all(run.mismatched == () for run in real)
        whole = [run for run in real if run.vmstat.oom_kill == 0]
        assert len(real) - len(whole) <= (2 if design in ("april", "unofficial") else 0)
        for run in (*whole, *ours) if budget is not None else ():
            assert run.applications[0].touches == 2 * EATER.pages
        live += whole
        virtual += ours
        taken = (tool().others_s() - others_s) / (time.monotonic() - begin)
        beside = budget is not None and taken > tool().MOST_TAKEN
        held = apart.keys() - DONE if beside else apart.keys()
        found = tool().apart(live, virtual).items()
        apart = {name: ratio for name, ratio in found if name in held and abs(ratio - 1) > BESIDE * beside}
        if not apart:
            break
    return apart


@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_a_profile_counts_the_steps_of_a_live_run(store: str, tmp_path: Path) -> None:
    """All but the few in which somebody was woken: two touches a page, and each page that is compressed was tested for zero."""
    lab = Lab(design="split", store=store)
    config = lab.config(EATER.pages, PAGES.page_size, tmp_path / "swap" if store == "zswap" else None)
    config |= Budget.of(NODE, EATER).for_core(lab, 2)
    found = _core.profile(PAGES.array, config, table().as_dict())
    assert 1.9 * EATER.pages < found["touch"][0] <= 2 * EATER.pages
    assert 0 < found["compress"][0] < found["zero_test"][0]
    for kind in ("zero_page", "compress", "decompress"):
        steps, cpu_ns = found[kind]
        assert 50 * steps < cpu_ns < 1_000_000 * steps, kind


def test_a_request_to_a_memory_device_is_cpu_time() -> None:
    """The device thread's own, a write after the other; beside it a write costs what it costs without."""
    lab, given = Lab(design="sync", store="zswap"), {"node": NODE, "workload": EATER}
    machine = Machine(speeds=(100,), switch_ns=0)

    def cpu_ns(device_cpu_ns: int) -> tuple[float, int]:
        """What the device's thread used a write beside what the request takes, and the writes."""
        costs = Costs(device_cpu_ns=device_cpu_ns, device_write_ns=0, device_read_ns=0)
        found = Sim(lab=lab, machine=machine, costs=costs, **given).run(CALIBRATION)
        (of_device,) = [thread["reclaim_cpu_ns"] for thread in found.threads if thread["actor"] == "swapdev0"]
        writes = found.vmstat["pswpout"]
        return of_device / writes - device_cpu_ns, writes

    (free, few), (taken, many) = cpu_ns(0), cpu_ns(10_000)
    assert min(few, many) > 100
    assert taken == pytest.approx(free, rel=0.1)
