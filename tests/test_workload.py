"""What applications do, from job files: each kind, several at once, access traces, and how all of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from kcompressd import Job, Result, applications
from kcompressd.access_trace import load
from kcompressd.compare import compare_job
from kcompressd.errors import InputError, JobError
from kcompressd.workload import WRITE, Workload

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/schema/result.schema.json").read_text())
NODE = {"managed": 3000, "cpus": 2}


def job(*workloads: dict[str, Any], folder: Path = Path(), **keys: Any) -> Job:
    tree = {"pages": "sample", "store": "zram", "node": NODE, "workload": list(workloads), **keys}
    return Job.from_dict(tree, folder)


def ran(*workloads: dict[str, Any], folder: Path = Path(), **keys: Any) -> Result:
    result = job(*workloads, folder=folder, **keys).sim()
    jsonschema.Draft202012Validator(SCHEMA).validate(result.to_dict())
    assert (result.exit_code, result.check()) == (0, [])
    assert Result.from_dict(result.to_dict()) == result
    return result


EATER = {"kind": "eater", "pages": 3600}


@pytest.mark.parametrize(
    ("given", "touches"),
    [
        (EATER, 7200),
        ({"kind": "usemem", "pages": 3500}, 10500),
        ({"kind": "zipf", "pages": 3500, "working_set": 300, "write_share": 0.3, "touches": 2000}, 5500),
        ({"kind": "burst", "pages": 3500, "deadline_ns": 1}, 3500),
    ],
)
def test_each_kind_does_its_touches_and_adds_up(given: dict[str, Any], touches: int) -> None:
    (app,) = ran(given).applications
    assert (app.kind, app.touches, app.touch_ns.count, app.oom_kill) == (given["kind"], touches, touches, 0)


def test_a_steeper_zipf_law_over_fewer_pages_faults_less() -> None:
    def faults(**keys: Any) -> int:
        (app,) = ran({"kind": "zipf", "pages": 3600, "touches": 8000, **keys}).applications
        return int(app.pgmajfault)

    assert faults(exponent=0.9) < faults(exponent=0.0)
    assert faults(exponent=0.9, working_set=100) < faults(exponent=0.9) / 4


def test_phases_are_what_the_kinds_say() -> None:
    law = Workload(
        kind="zipf", pages=10, working_set=4, exponent=0.5, write_share=0.3, touches=7, start_ns=2, think_ns=1
    )
    fill = {"first": 5, "pages": 10, "think_ns": 1, "write_permille": 1000, "wait_ns": 2}
    touched = {"pattern": "zipf", "exponent": 0.5, "pages": 4, "write_permille": 300, "touches": 7}
    assert law.phases(5) == [fill, {"first": 5, "think_ns": 1, **touched}]


def test_a_burst_says_by_how_much_it_is_late_or_early() -> None:
    def late(**keys: Any) -> tuple[int, int]:
        (app,) = ran({"kind": "burst", "pages": 400, "start_ns": 1_000_000, **keys}).applications
        return app.late_ns, app.end_ns

    late_ns, end_ns = late(deadline_ns=1000)
    assert late_ns == end_ns - 1_000_000 - 1000 > 0
    assert late(deadline_ns=end_ns)[0] == -1_000_000


def test_a_trace_is_replayed_from_either_form(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "\ufefft_ns,page,write\n0,3,w\n5,1,0\n9,3,r\n", encoding="utf-8"
    )  # as a spreadsheet
    np.save(tmp_path / "t.npy", np.array([(3, 1), (1, 0), (3, 0)], dtype=[("page", "u4"), ("write", "?")]))
    np.save(tmp_path / "reads.npy", np.array([4, 0]))
    (timed, gaps), untimed = load(tmp_path / "t.csv"), load(tmp_path / "t.npy")
    assert timed.tolist() == untimed.trace.tolist() == [3 | WRITE, 1, 3]
    assert gaps is not None and (gaps.tolist(), untimed.gaps_ns) == ([5, 4, 0], None)
    assert load(tmp_path / "reads.npy").trace.tolist() == [4, 0]
    results = [ran({"kind": "replay", "trace": name}, folder=tmp_path) for name in ("t.csv", "t.npy")]
    assert [(r.config.pages, r.applications[0].touches, r.applications[0].pgfault) for r in results] == [(4, 3, 2)] * 2


def test_a_replay_takes_the_times_of_its_trace(tmp_path: Path) -> None:
    fields = [("page", "u4"), ("t_ns", "u8")]
    np.save(tmp_path / "t.npy", np.array([(0, 1_000), (1, 51_000), (0, 3_051_000)], dtype=fields))
    np.save(tmp_path / "at_once.npy", np.array([0, 1, 0]))
    (timed,), (at_once,) = (
        ran({"kind": "replay", "trace": name, "touches": 6}, folder=tmp_path).applications
        for name in ("t.npy", "at_once.npy")
    )
    assert timed.end_ns - at_once.end_ns == 2 * 3_050_000  # twice round; the application is alone
    assert timed.touch_ns.max == at_once.touch_ns.max  # what it computes is no part of a touch


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("page,t_ns\n1,x\n", "t.csv:2: t_ns = 'x' is no time in whole nanoseconds"),
        ("page,t_ns\n1,5\n1,4\n", "t.csv:3: t_ns is before the last touch; sort by time"),
        ("page,t_ns\n1,0\n1,5000000000\n", "t.csv:3: t_ns is 5000000000 ns after the last touch"),
        ("page\n1\ntwo\n", "t.csv:3: page = 'two' is no number of a page"),
        ("page,write\n1,x\n", "t.csv:2: write = 'x' is none of 0, 1, r, w"),
        ("a,b\n1,2\n", "t.csv:1: no column is headed page"),
        ("page\n", "t.csv: holds no touch"),
        ("page\n-1\n", "t.csv:2: page = '-1' is no number"),
        (f"page\n{'9' * 5000}\n", "t.csv:2: page = '999"),
        (f"page,t_ns\n1,{'9' * 5000}\n", "t.csv:2: t_ns = '999"),
        ("page,write\n1,0\n1\n", "t.csv:3: has fewer columns than the headings"),
        ("page,t_ns\n1\n", "t.csv:2: has fewer columns than the headings"),
        ("page,page\n1,2\n", "t.csv:1: two columns are headed page"),
        ("page,t_ns\n\n1,5\n\n1,4\n", "t.csv:5: t_ns is before the last touch"),
    ],
)
def test_a_bad_trace_is_refused_by_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(JobError) as error:
        job({"kind": "replay", "trace": "t.csv"}, folder=tmp_path).sim()
    assert said in str(error.value)


def test_a_bad_array_is_refused(tmp_path: Path) -> None:
    with_write = [("page", "u4"), ("write", "i1")]
    for array, said in [
        (np.array([0.5]), "no whole numbers"),
        (np.array([2, -1]), "touch 1: page = -1"),
        (np.array([(1, 1), (1, 9)], dtype=with_write), "touch 1: write = 9 is none of 0, 1"),
        (np.array([(1, "w")], dtype=[("page", "u4"), ("write", "U1")]), "write of <U1 is no 0 or 1"),
        (np.array([((1, 2),)], dtype=[("page", "u4", 2)]), "no whole numbers"),
    ]:
        np.save(tmp_path / "t.npy", array)
        with pytest.raises(JobError, match=said):
            load(tmp_path / "t.npy")
    damaged = (tmp_path / "t.npy").read_bytes().replace(b"(1,)", b"(1,,")  # NumPy's parser raises an error of its own
    for contents in (b"hello", damaged):
        (tmp_path / "t.npy").write_bytes(contents)
        with pytest.raises(JobError, match=r"is no NumPy array of numbers; make it with numpy.save, or give CSV"):
            load(tmp_path / "t.npy")


def test_several_applications_share_the_machine_each_with_its_own_group_and_nice_level() -> None:
    half = {"kind": "eater", "pages": 1700}
    late = {"kind": "burst", "name": "launch", "pages": 300, "start_ns": 2_000_000, "deadline_ns": 10**9, "nice": -10}
    result = ran(
        {**half, "memcg": "a"}, {**half, "memcg": "b"}, late, memcg=[{"name": "/"}, {"name": "a"}, {"name": "b"}]
    )
    assert [app.name for app in result.applications] == ["eater0", "eater1", "launch"]
    assert result.config.memcg_pages == (300, 1700, 1700)
    assert result.config.machine.nice == {"app2": -10}
    assert result.applications[2].end_ns > 2_000_000
    assert sum(app.touches for app in result.applications) == 2 * 3400 + 300


@pytest.mark.parametrize("limit", ["memory_max", "memory_high"])
def test_a_group_at_its_limit_reclaims_for_itself_while_memory_is_free(limit: str) -> None:
    small = {"kind": "eater", "pages": 1200, "memcg": "a"}
    free = ran(small, memcg=[{"name": "a"}])
    held = ran(small, memcg=[{"name": "a", limit: 400 * 4096}])
    assert free.vmstat.pgscan_anon == 0, "all of it fits"
    assert held.vmstat.pgsteal_anon >= 1200 - 400
    assert held.vmstat.pgscan_kswapd == 0, "kswapd has nothing to do"


def test_what_is_protected_is_not_reclaimed_and_low_says_when_it_was() -> None:
    two = [{"kind": "burst", "pages": 1700, "deadline_ns": 1, "memcg": name} for name in ("a", "b")]
    free = ran(*two, memcg=[{"name": "a"}, {"name": "b"}])
    kept = ran(*two, memcg=[{"name": "a", "memory_min": 1700 * 4096}, {"name": "b"}])
    given = ran(*two, memcg=[{"name": name, "memory_low": 1700 * 4096} for name in ("a", "b")])
    assert free.memcgs[1].memory_stat.pgsteal > 0 == kept.memcgs[1].memory_stat.pgsteal
    assert given.memcgs[1].memory_events.low > 0 == free.memcgs[1].memory_events.low


def test_each_group_says_what_became_of_it() -> None:
    groups = [{"name": "a"}, {"name": "b", "parent": "a"}, {"name": "c", "memory_max": 200 * 4096}]
    result = ran(
        {"kind": "usemem", "pages": 3300, "memcg": "b"},
        {"kind": "eater", "pages": 400, "memcg": "c"},
        store="zswap",
        memcg=groups,
    )
    root, a, b, c = result.memcgs
    assert [group.name for group in result.memcgs] == ["/", "a", "b", "c"]
    assert (root.memory_current, root.memory_events) == (None, {})
    assert a.memory_stat == b.memory_stat, "a has no pages of its own"
    assert a.memory_current == b.memory_current == b.memory_stat.anon + -(-b.memory_stat.zswap // 4096) * 4096
    assert c.memory_events.max > 0 == b.memory_events.max
    for name in ("pgfault", "pgmajfault", "zswpin", "zswpout", "pgactivate", "workingset_refault_anon"):
        assert b.memory_stat[name] + c.memory_stat[name] == result.vmstat[name], name
    assert root.memory_stat.pgsteal == result.vmstat.pgsteal_anon + result.vmstat.pgsteal_file
    for stat in (root.memory_stat, b.memory_stat, c.memory_stat):
        assert 0 <= stat.anon - stat.inactive_anon - stat.active_anon < 64 * 4096, "in somebody's hands"
    for name in ("inactive_anon", "active_anon"):
        both = b.memory_stat[name] + c.memory_stat[name]
        assert both == root.memory_stat[name] == result.vmstat[f"nr_{name}"] * 4096, name
    assert c.memory_stat.zswapped == (c.memory_stat.zswpout - c.memory_stat.zswpin) * 4096, (
        "an eater reads what it wrote"
    )
    assert "memcg c" in str(result) and "max (memory.events)" in str(result) and "memcg c" in result.to_html()


def test_memory_reclaim_takes_what_is_asked_for_and_says_how_much() -> None:
    app = {"kind": "burst", "pages": 1000, "deadline_ns": 1, "memcg": "a"}
    writes = [{"at_ns": 10**9, "bytes": 300 * 4096}, {"at_ns": 2 * 10**9, "bytes": 4000 * 4096}]
    result = ran(app, memcg=[{"name": "/"}, {"name": "a", "memory_reclaim": writes}])
    first, second = result.memcgs[1].memory_reclaim
    assert (first.bytes, second.at_ns) == (300 * 4096, 2 * 10**9)
    assert 300 <= first.reclaimed_bytes // 4096 < 300 + 64 and first.end_ns > 10**9
    assert first.reclaimed_bytes + second.reclaimed_bytes == 1000 * 4096, "then there is no more: EAGAIN"
    assert result.memcgs[1].memory_stat.pgsteal == 1000
    assert result.vmstat.pgscan_direct == 0, "/proc/vmstat counts the node's own reclaim"


@pytest.mark.parametrize("lru_gen", [False, True], ids=["lists", "generations"])
def test_memory_reclaim_is_counted_as_proactive_by_kernels_that_do(lru_gen: bool) -> None:
    app = {"kind": "burst", "pages": 1000, "deadline_ns": 1, "memcg": "a"}
    group = {"name": "a", "memory_reclaim": [{"at_ns": 10**9, "bytes": 4000 * 4096}]}
    node = {"managed": 3000, "cpus": 2, "lru_gen": lru_gen}
    for kernel, by in (("6.14", "direct"), ("6.15", "proactive")):
        result = ran(app, memcg=[group], kernel=kernel, node=node)
        stat = result.memcgs[1].memory_stat
        others = {"kswapd", "direct", "proactive"} - {by}
        assert stat[f"pgsteal_{by}"] == stat.pgsteal == 1000 <= stat[f"pgscan_{by}"] == stat.pgscan
        assert not any(stat[f"{what}_{other}"] for what in ("pgscan", "pgsteal") for other in others)
        assert result.vmstat.pgscan_proactive == result.vmstat.pgsteal_proactive == 0


@pytest.mark.parametrize("lru_gen", [False, True], ids=["lists", "generations"])
@pytest.mark.parametrize("design", ["april", "unofficial"])
def test_a_page_that_is_only_read_keeps_its_slot_unless_half_of_them_are_in_use(design: str, lru_gen: bool) -> None:
    """An eater writes to a page once: what frees a copy then is `vm_swap_full` alone, and a page without one is written again."""

    def swapped(managed: int, slots: int, run: Callable[..., Result] = ran) -> Result:
        node = {**NODE, "managed": managed, "lru_gen": lru_gen, "swap": slots}
        eater = {"kind": "eater", "pages": managed * 153 // 100}
        return run(eater, design=design, store="zswap", pool_limit="5%", node=node)

    def may_end_it(*workloads: dict[str, Any], **keys: Any) -> Result:
        return job(*workloads, **keys).sim()

    # With generations the eater is ended on some nodes, where kswapd has given up before the device is done: of such a one there is nothing to see.
    managed = next(size for size in range(4000, 6500, 250) if not swapped(size, 6 * size, may_end_it).killed)
    plenty, enough, few = (swapped(managed, slots * managed // 100) for slots in (500, 330, 187))
    assert plenty.vmstat == enough.vmstat and plenty.lifecycle.by_event["swapcache_hit"] > 0
    assert plenty.lifecycle.by_event["free_swap"] == 0 < few.lifecycle.by_event["free_swap"]
    assert few.vmstat.pswpout > plenty.vmstat.pswpout


@pytest.mark.parametrize("design", ["april", "unofficial"])
def test_direct_reclaim_waits_for_the_device_where_queued_folios_are_locked(design: str) -> None:
    """What is at the device is under writeback in these designs too: 17 rounds in vain take their ticks, and most eaters live."""
    sizes = range(3000, 7001, 500)
    eaters = [{"kind": "eater", "pages": size * 153 // 100} for size in sizes]
    nodes = [{**NODE, "managed": size, "lru_gen": True, "swap": 6 * size} for size in sizes]
    jobs = [
        job(eater, design=design, store="zswap", pool_limit="5%", node=node)
        for eater, node in zip(eaters, nodes, strict=True)
    ]
    assert sum(bool(job.sim().killed) for job in jobs) < len(jobs) / 2


def test_what_zsmalloc_s_shrinker_compacts_is_counted() -> None:
    roomy, tight = (ran({"kind": "usemem", "pages": pages}) for pages in (1000, 4600))
    assert tight.vmstat.slabs_scanned > roomy.vmstat.slabs_scanned == 0


def test_zswap_s_shrinker_is_off_unless_asked_for() -> None:
    apps = [{**EATER, "pages": 1800, "memcg": name} for name in ("a", "b")]
    groups = [{"name": "a"}, {"name": "b"}]
    off, on = (ran(*apps, store="zswap", memcg=groups, **keys) for keys in ({}, {"shrinker_enabled": True}))
    assert on.vmstat.slabs_scanned >= on.vmstat.zswpwb > off.vmstat.zswpwb and on.config.shrinker_enabled is True
    assert "shrinker_enabled" not in off.config
    with pytest.raises(InputError, match="shrinker_enabled: is zswap's, and reclaim's of a memory budget"):
        job(EATER, shrinker_enabled=True).sim()


def test_a_write_that_cannot_be_is_refused() -> None:
    for wrong in ([{"at_ns": 1}], [{"at_ns": 1, "bytes": -1}], [7], 7):
        with pytest.raises(JobError, match=r"memcg.memory_reclaim: .* is no write of bytes at a time"):
            job(EATER, memcg=[{"name": "a", "memory_reclaim": wrong}]).sim()
    pageout = {"pages": "sample", "memcg": [{"name": "a", "memory_reclaim": [{"at_ns": 0, "bytes": 4096}]}]}
    with pytest.raises(ValueError, match='"a": memory_reclaim needs a memory budget'):
        Job.from_dict(pageout).sim()
    with pytest.raises(JobError, match="memory_reclaim: 257 writes are more than 256"):
        job(EATER, memcg=[{"name": "a", "memory_reclaim": [{"at_ns": 0, "bytes": 4096}] * 257}]).sim()


def test_more_applications_than_a_trace_can_number_are_refused() -> None:
    """The 257th thread would be the swap device."""
    small = {"kind": "burst", "pages": 1, "deadline_ns": 1}
    assert [app.oom_kill for app in job(*[small] * 256).sim().applications] == [0] * 256
    with pytest.raises(JobError, match="workload has 257 applications, more than 256"):
        job(*[small] * 257).sim()


def test_limits_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="the root has no memory_max"):
        job(EATER, memcg=[{"name": "/", "memory_max": 4096}]).sim()
    pageout = Job.from_dict({"pages": "sample", "memcg": [{"name": "a", "memory_max": 4096}]})
    with pytest.raises(ValueError, match='"a": memory_max needs a memory budget'):
        pageout.sim()


def test_a_group_s_zswap_limit_holds_for_its_application_alone() -> None:
    groups = [{"name": "a", "zswap_max": 0}, {"name": "b"}]
    result = ran(
        {**EATER, "memcg": "a"},
        {"kind": "burst", "pages": 10, "deadline_ns": 10**9, "memcg": "b"},
        store="zswap",
        memcg=groups,
    )
    assert result.zswap is not None and result.zswap.stored_pages <= 10
    assert result.vmstat["pswpout"] > 0


def test_compare_runs_the_job_s_own_applications() -> None:
    found = compare_job(job(EATER), ["split"])
    assert all(entry.last.applications[0].touches == 7200 for entry in found.entries)


def test_a_figure_of_one_application_is_a_measure_of_its_own() -> None:
    first, second = {"kind": "usemem", "name": "v1.0", "pages": 1200}, {"kind": "eater", "name": "cold", "pages": 2400}
    result = ran(first, second)
    for app in result.applications:
        measure = applications.measure(f"{app.name}.touch_max_ns")
        assert measure is not None and measure.title == f"{app.name}: longest touch"
        assert measure.of(result) == app.touch_ns["max"]
    absent = applications.measure("hot.touch_max_ns")
    assert absent is not None and absent.of(result) is None
    assert [applications.measure(name) for name in ("cold.speed", "touch_max_ns", ".touch_max_ns")] == [None] * 3


def test_measures_of_a_pressed_run() -> None:
    sync, april = (ran(EATER, design=design).timing for design in ("sync", "april"))
    assert sync.inversions == 0 < april.inversions
    assert 0 <= april.below_min_ns <= april.below_low_ns <= april.below_high_ns <= april.reclaim_ns * 1.1
    assert april.below_high_ns > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[[workload]]\nkind='eater'\npages=9\n[[workload]]\nkind='zipf'\npagez=3\n",
            "job.toml:10: workload.pagez: no such key",
        ),
        ("[[workload]]\nkind='eater'\npages='9'\n", "job.toml:7: workload.pages = '9' is not a whole number"),
        ("[workload]\nkind='eater'\npages=9\nexponent=0.5\n", "workload.exponent is not for the workload 'eater'"),
        ("[workload]\nkind='zipf'\npages=9\nexponent=1.5\n", "workload.exponent 1.5 is not from 0 to below 1"),
        ("[workload]\nkind='zipf'\npages=9\nworking_set=10\n", "workload.working_set 10 is not between 1 and pages"),
        ("[workload]\nkind='burst'\npages=9\n", "workload.deadline_ns is missing"),
        ("[workload]\nkind='replay'\n", "workload.trace is missing"),
        ("[workload]\nkind='eater'\npages=0\n", "workload.pages 0 is not between 1 and"),
        ("[workload]\nkind='eater'\npages=9\nmemcg='x'\n", "workload.memcg: 'x' is none of /"),
        ("[workload]\nkind='eats'\npages=9\n", "workload.kind 'eats' is not pageout or one of"),
        ("[[workload]]\nkind='eater'\npages=9\n[[workload]]\n", "workload.kind: pageout is for all pages"),
        ("[workload]\nkind='eater'\npages=9\nnice=20\n", "workload.nice 20 is not between"),
    ],
)
def test_what_no_workload_is_is_refused_by_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text("pages='sample'\nstore='zram'\n[node]\nmanaged=1200\n" + text)
    with pytest.raises(InputError) as error:
        Job.load(path).sim()
    assert said in str(error.value)


def test_the_multi_gen_lru_looks_less() -> None:
    """Ages come from walks of the page tables, so that hardly a page isolated turns out to be referenced."""
    given = {"kind": "zipf", "pages": 3600, "touches": 8000, "working_set": 100, "exponent": 0.0}
    classic, generations = (ran(given, node={**NODE, "lru_gen": on}) for on in (False, True))
    assert generations.config.node.lru_gen is True
    assert generations.vmstat.exit_referenced < classic.vmstat.exit_referenced / 10
    assert generations.vmstat.pgscan_anon < classic.vmstat.pgscan_anon


def test_a_burst_that_was_killed_is_neither_late_nor_early() -> None:
    burst = Workload(kind="burst", pages=4, start_ns=100, deadline_ns=50)
    lates = [
        burst.outcome({"end_ns": end, "oom_kill": kill})["late_ns"] for end, kill in ((170, 0), (170, 1), (None, 0))
    ]
    assert lates == [20, None, None]
