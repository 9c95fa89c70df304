"""Sweeps: which points there are, rows that survive, workers that die, and clusters."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompressd.calibration import Calibration
from kcompressd.cli import main
from kcompressd.comparison import Spread
from kcompressd.errors import InputError, RunInterrupted
from kcompressd.html import of_sweep
from kcompressd.job import Job
from kcompressd.sweep import Plan, sweep
from kcompressd.sweep.report import WIDE, Lines, cell, combinations, repeated
from kcompressd.sweep.table import Rows

JOB: dict[str, Any] = {"pages": "sample", "limit": 64, "design": "split", "store": "zram"}


def job(*axes: tuple[str, list[Any]], **more: Any) -> Job:
    table = {"axis": [{"key": key, "values": values} for key, values in axes], **more}
    return Job.from_dict({**JOB, "sweep": table})


def plan(**sweep_: Any) -> Plan:
    return Plan.of({"sweep": sweep_}, "job.toml")


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 3),
    st.sampled_from(["product", "zip"]),
)
def test_every_combination_is_one_point_with_an_id_of_its_own(lengths: list[int], seeds: int, mode: str) -> None:
    lengths = lengths if mode == "product" else [lengths[0]] * len(lengths)
    axes = [{"key": f"k{n}", "values": list(range(length))} for n, length in enumerate(lengths)]
    made = plan(axis=axes, mode=mode, **({"seeds": seeds} if seeds else {}))
    points = made.points({"store": "zram"}, "digest", "1")
    assert len(points) == made.size == len({point.id for point in points}) == len({point.settings for point in points})
    assert made.points({"store": "zswap"}, "digest", "1")[0].id != points[0].id
    assert made.points({"store": "zram", "sweep": {}}, "digest", "1") == points  # the sweep itself does not count


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"from": 1, "to": 4}, (1, 2, 3, 4)),
        ({"from": 0, "to": 1, "step": 0.25}, (0, 0.25, 0.5, 0.75, 1.0)),
        ({"from": 1, "to": 256, "count": 5, "scale": "log"}, (1, 4, 16, 64, 256)),
        ({"from": 1, "to": 3, "count": 9}, (1, 2, 3)),
    ],
)
def test_ranges_include_their_ends(axis: dict[str, Any], values: tuple[Any, ...]) -> None:
    assert plan(axis=[{"key": "depth", **axis}]).axes[0].values == pytest.approx(values)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "has no axis and no seeds"),
        ({"axes": []}, "sweep.axes is unknown"),
        ({"mode": "both"}, "sweep.mode is 'both'"),
        ({"axis": [{"key": "depth", "values": []}]}, r"sweep.axis\[0\] \(depth\): values is empty; give at least one"),
        ({"axis": [{"values": [1]}]}, r"sweep.axis\[0\] has no key"),
        ({"axis": [{"key": "depth"}]}, r"sweep.axis\[0\] \(depth\) has \[\]"),
        ({"axis": [{"key": "depth", "values": [1, 1]}]}, "a value comes twice"),
        ({"axis": [{"key": "depth", "values": [1, "x"]}]}, "not all numbers, all texts or all truths"),
        ({"axis": [{"key": "depth", "from": 3, "to": 1}]}, "not numbers in order"),
        ({"axis": [{"key": "depth", "from": 0, "to": 9, "count": 3, "scale": "log"}]}, 'give "linear", or "log"'),
        ({"axis": [{"key": "depth", "from": 1, "to": 9_999_999}]}, "at most 1000000"),
        ({"axis": [{"key": "a", "values": [1]}, {"key": "a", "values": [2]}]}, "a has two axes"),
        ({"mode": "zip", "axis": [{"key": "a", "values": [1]}, {"key": "b", "values": [1, 2]}]}, "a 1, b 2"),
        ({"seeds": 0}, "sweep.seeds is 0"),
    ],
)
def test_a_sweep_that_is_none_is_refused_by_name(table: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"job\.toml: .*{said}"):
        plan(**table)


def test_points_run_once_and_are_found_again(tmp_path: Path) -> None:
    first = sweep(job(("depth", [8, 16])), tmp_path / "t.parquet", backend="sequential")
    assert (first.points, first.ran, first.complete) == (2, 2, True)
    more = sweep(job(("depth", [8, 16, 32])), tmp_path / "t.parquet", backend="sequential")
    assert (more.points, more.ran, more.complete) == (3, 1, True)
    assert more.table is not None and sorted(more.table.column("depth").to_pylist()) == [8, 16, 32]
    assert set(more.table.column("vmstat.pgsteal_anon").to_pylist()) == {64}
    other = Job.from_dict({**job(("depth", [8])).tree, "limit": 32})
    fewer = sweep(other, tmp_path / "t.parquet", backend="sequential")  # other pages are another point
    assert (fewer.ran, fewer.others) == (1, 3)
    assert fewer.table is not None and fewer.table.column("vmstat.pgsteal_anon").to_pylist() == [32]
    assert "seconds" not in fewer.table.column_names and fewer.seconds_each > 0
    live = sweep(
        other, tmp_path / "t.parquet", backend="sequential", live=True
    )  # what virtual time said is no row of real threads
    assert live.table is not None and (live.ran, live.table.column("kind").to_pylist()) == (1, ["live"])


def test_a_refused_point_has_a_row_that_says_why(tmp_path: Path) -> None:
    found = sweep(job(("design", ["split", "none-such"])), tmp_path / "t.parquet", backend="sequential")
    assert found.refused == 1 and found.complete and found.table is not None
    errors = dict(zip(found.table.column("design").to_pylist(), found.table.column("error").to_pylist(), strict=True))
    assert errors["split"] is None and "none-such" in errors["none-such"]


def test_ctrl_c_keeps_the_rows_there_are(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as caught:
        sweep(job(("depth", [4, 8, 16, 32])), tmp_path / "t.parquet", backend="sequential", progress=interrupt)
    assert (caught.value.result.ran, caught.value.result.complete) == (2, False)
    rest = sweep(job(("depth", [4, 8, 16, 32])), tmp_path / "t.parquet", backend="sequential")
    assert (rest.ran, rest.complete) == (2, True) and not (tmp_path / "t.parquet.parts").exists()


def test_parts_of_a_sweep_that_died_are_read_once(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "t.parquet")
    rows.add({"id": "a", "x": 1})
    rows.close()
    again = Rows(tmp_path / "t.parquet")
    for row in ({"id": "a", "x": 1}, {"id": "b", "x": 2, "y": 0.5}):
        again.add(row)
    again.flush()  # and then it died, with "a" in both
    last = Rows(tmp_path / "t.parquet")
    assert last.done() == {"a", "b"}
    table = last.close()
    assert table is not None and table.to_pylist() == [{"id": "a", "x": 1, "y": None}, {"id": "b", "x": 2, "y": 0.5}]
    (tmp_path / "u.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"u\.parquet: is no Parquet table of a sweep"):
        Rows(tmp_path / "u.parquet").done()
    mixed = Rows(tmp_path / "v.parquet")
    for value in (1, "a"):
        mixed.add({"id": value})
        mixed.flush()
    with pytest.raises(InputError, match=r"v\.parquet: is no Parquet table of a sweep"):
        mixed.done()


def test_pages_without_a_calibration_are_calibrated_once(tmp_path: Path) -> None:
    from kcompressd import Pages

    Pages.sample()[:16].save(tmp_path / "p.pages")
    mine = Job.from_dict({"pages": "p.pages", "sweep": {"seeds": 2}}, folder=tmp_path)
    assert sweep(mine, tmp_path / "t.parquet", backend="sequential").ran == 2
    beside = Calibration.load(tmp_path / "t.parquet.calib.npz")
    assert len(beside) == 16
    assert sweep(mine, tmp_path / "t.parquet", backend="sequential").ran == 0  # the same times, so the same points


def test_a_worker_without_the_calibration_says_so(tmp_path: Path) -> None:
    from kcompressd.sweep.work import Task, work

    task = Task("1", JOB, ".", {}, str(tmp_path / "gone.calib.npz"), "digest", False)
    with pytest.raises(InputError, match=r"gone\.calib\.npz: on worker .*: no such file; copy it there"):
        work(task)
    with pytest.raises(InputError, match="is another calibration"):
        work(Task("1", JOB, ".", {}, "", "digest", False))


def killer(pids: Callable[[], list[int]], at: int) -> Callable[[int, int], None]:
    """A progress that kills one worker once, when `at` points are done."""
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done >= at and not killed:
            killed.append(pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    return kill


def loky_workers() -> list[int]:
    own = f"\nPPid:\t{os.getpid()}\n"
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if own in status.read_text() and b"loky" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
        except OSError:
            continue
    return [pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def many() -> Job:
    return job(("depth", list(range(4, 36))), ("node.cpus", [1, 2]))


def complete_without_repeats(found: Any) -> None:
    assert found.complete and found.points == 64 and found.table is not None
    assert len(found.table) == len(set(found.table.column("id").to_pylist())) == 64


def test_points_of_a_killed_worker_are_run_again(tmp_path: Path) -> None:
    complete_without_repeats(sweep(many(), tmp_path / "t.parquet", workers=2, progress=killer(loky_workers, 5)))


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask.distributed")
def test_a_dask_cluster_that_loses_a_worker_half_way(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        kill = killer(lambda: [worker.pid for worker in cluster.workers.values()], 32)
        complete_without_repeats(
            sweep(many(), tmp_path / "t.parquet", backend="dask", scheduler=address, progress=kill)
        )


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_ray_runs_the_same_points(tmp_path: Path) -> None:
    found = sweep(job(("depth", [8, 16, 32])), tmp_path / "t.parquet", backend="ray", workers=1)
    assert found.complete and found.ran == 3


def test_a_backend_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--scheduler: is for a cluster, not for loky"):
        sweep(job(("depth", [8])), tmp_path / "t.parquet", scheduler="tcp://127.0.0.1:1")


def test_medians_are_over_seeds() -> None:
    rows = [{"a": 1, "seed": seed, "m": value} for seed, value in enumerate([3, 1, 2])] + [
        {"a": 2, "seed": 0, "m": None}
    ]
    assert combinations(rows, ["a"], ["m"]) == [((1,), [Spread(2, 1, 3)]), ((2,), [None])]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=7))
def test_a_cell_says_its_spread_when_there_is_one(values: list[int]) -> None:
    spread = Spread.of([float(value) for value in values])
    said, around = cell(spread, "{:.0f}".format)
    assert said == f"{spread.median:.0f}" and cell(None, str) == ("-", "")
    if around.startswith("±"):
        assert 0.005 <= spread.relative <= WIDE and around == f"±{spread.relative:.0%}"
    elif around:
        assert spread.relative > WIDE or not spread.median
        assert around == (f"{spread.high / spread.low:.0f}x" if spread.low else f"to {max(values)}")
    else:
        assert spread.low == spread.high or spread.relative < 0.005


SHORT: dict[str, Any] = {
    "pages": "sample",
    "limit": 300,
    "store": "zram",
    "node": {"managed": 400},
    "workload": {"kind": "usemem", "pages": 300, "touches": 100},
}


def short(**more: Any) -> Job:
    axes = [{"key": "design", "values": ["sync", "split"]}]
    return Job.from_dict({**SHORT, "sweep": {"axis": axes, **more}})


def test_what_medians_are_over_is_said() -> None:
    one = Lines(("depth",), (), (((1,), []),))
    assert repeated(pa.table({"boot": [0]}), one) == ""
    assert " 2 boots, " in repeated(pa.table({"boot": [0, 1]}), one)
    assert "Nx: the most is N times the least" in repeated(pa.table({"boot": [0, 1]}), one)
    assert " 2 boots and 3 seeds, " in repeated(pa.table({"boot": [0, 1] * 3, "seed": [1, 1, 2, 2, 3, 3]}), one)


def test_where_memory_is_short_each_row_is_a_boot(tmp_path: Path) -> None:
    one = sweep(short(), tmp_path / "t.parquet", backend="sequential", repeats=1)
    assert (one.points, one.boots, one.ran) == (2, 1, 2)
    found = sweep(short(), tmp_path / "t.parquet", backend="sequential")
    assert (found.points, found.boots, found.ran, found.complete) == (10, 5, 8, True)  # the first boots have rows
    assert found.table is not None
    rows = found.table.to_pylist()
    assert {(row["design"], row["boot"]) for row in rows} == {(d, n) for d in ("sync", "split") for n in range(5)}
    for row in rows:  # each row is what that boot comes to by itself
        alone = short().replace({"design": row["design"]}).boot(row["boot"]).sim()
        assert row["timing.reclaim_ns"] == alone.timing.reclaim_ns and row["vmstat.pgfault"] == alone.vmstat.pgfault
    text = of_sweep.document(found.table, short())
    assert "2 points; medians over 5 boots" in text
    assert (again := sweep(short(), tmp_path / "t.parquet", backend="sequential")).ran == 0 and again.complete
    fewer = sweep(short(), tmp_path / "t.parquet", backend="sequential", repeats=2)
    assert (fewer.points, fewer.ran, fewer.others) == (4, 0, 6)


def test_a_killed_application_is_shown(tmp_path: Path) -> None:
    eater = {"node": {"managed": 1500}, "workload": {"kind": "eater", "pages": 2400}, "limit": 1536}
    short = Job.from_dict({**job(("node.swap", [100, 9000])).tree, **eater})
    rows = sweep(short, tmp_path / "t.parquet", backend="sequential", repeats=1).table
    found = Lines.of(rows, short)
    at = found.measures.index("vmstat.oom_kill")
    assert [spreads[at].median for _, spreads in found.lines] == [1, 0] and "oom_kill" in of_sweep.document(rows, short)
    assert "vmstat.oom_kill" not in Lines.of(rows.slice(1), short).measures


def test_how_many_boots_there_are(tmp_path: Path) -> None:
    def boots(mine: Job, repeats: int | None = None) -> int:
        return sweep(mine, tmp_path / "t.parquet", backend="sequential", repeats=repeats, only_one=True).boots

    assert boots(short()) == 5 and boots(short(seeds=2)) == 1 and boots(short(seeds=2), 3) == 3
    assert boots(job(("node.cpus", [1, 2]))) == 1 and boots(job(("node.cpus", [1, 2])), 2) == 2
    assert boots(job(("node.managed", [400, 500]))) == 5
    with pytest.raises(InputError, match="repeats: 0 is less than 1"):
        boots(short(), 0)


def test_pages_that_come_several_times_are_calibrated_as_such(tmp_path: Path) -> None:
    mine = Job.from_dict({**job(("depth", [8, 16])).tree, "repeat": 3})
    found = sweep(mine, tmp_path / "t.parquet", backend="sequential")
    assert found.table is not None and set(found.table.column("vmstat.pgsteal_anon").to_pylist()) == {192}


def test_an_axis_of_pages_has_each_point_s_own_calibration(tmp_path: Path) -> None:
    """A point of a sweep is the job with its keys, page for page."""
    axes = job(("limit", [32, 64, 96]), ("repeat", [1, 2]))
    for named in ("", "s.calib.npz"):
        if named:
            Calibration.sample().save(tmp_path / named)
        mine = Job.from_dict({**axes.tree, **({"calibration": named} if named else {})}, folder=tmp_path)
        found = sweep(mine, tmp_path / f"t{named}.parquet", backend="sequential")
        assert found.table is not None and found.refused == 0
        none = sweep(Job.from_dict(job(("limit", [0, -1])).tree), tmp_path / f"n{named}.parquet", backend="sequential")
        assert none.refused == 2
        rows = found.table.to_pylist()
        assert [row["vmstat.pgsteal_anon"] for row in rows] == [row["limit"] * row["repeat"] for row in rows]
        for row in rows:
            alone = mine.replace({"limit": row["limit"], "repeat": row["repeat"]}).sim()
            assert alone.timing.bytes_per_s == row["timing.bytes_per_s"]


@pytest.mark.parametrize(
    ("key", "values", "says"),
    [
        ("limit", [8, 16], "limit needs a calibration of all pages; make it with kcompressd calibrate"),
        ("repeat", [1, 2], "repeat needs a calibration of all pages"),
        (
            "pages",
            ["p.pages", "sample"],
            "pages means other pages, and a sweep has one calibration; sweep a job for each",
        ),
        ("page_size", [4096, 16384], "page_size means other pages"),
        ("calibration", ["a", "b"], "calibration means other pages"),
    ],
)
def test_an_axis_of_other_pages_is_refused_by_name(tmp_path: Path, key: str, values: list[Any], says: str) -> None:
    from kcompressd import Pages

    Pages.sample()[:16].save(tmp_path / "p.pages")
    tree = {"pages": "p.pages", "store": "zram", "sweep": {"axis": [{"key": key, "values": values}]}}
    with pytest.raises(InputError, match=says):
        sweep(Job.from_dict(tree, folder=tmp_path), tmp_path / "t.parquet", backend="sequential")
    assert not list(tmp_path.glob("t.parquet*"))


@pytest.mark.parametrize(
    ("tree", "axes"),
    [
        ({"design": {"preset": "split", "depth": 64}}, [("design", ["split", "sync"])]),
        ({}, [("design.depth", [64, 256]), ("design", ["split", "sync"])]),
    ],
)
def test_an_axis_of_designs_does_not_undo_what_else_is_set_of_the_design(
    tree: dict[str, Any], axes: list[tuple[str, list[Any]]], tmp_path: Path
) -> None:
    swept = {"axis": [{"key": key, "values": values} for key, values in axes]}
    bad = Job.from_dict(JOB | {"design": "split"} | tree | {"sweep": swept})
    with pytest.raises(
        InputError, match=r'design would replace the other keys of \[design\]; give it key = "design.preset"'
    ):
        sweep(bad, tmp_path / "t.parquet", backend="sequential")


def test_what_the_sweep_sets_cannot_be_set_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "j.toml").write_text(TOML)
    assert main(["sweep", str(tmp_path / "j.toml"), "--set", "design=april"]) == 2
    assert "--set design: is an axis of the sweep; change its values in the file" in capsys.readouterr().err
    assert not (tmp_path / "j.parquet").exists()


TOML = """
pages = "sample"
limit = 64
store = "zram"
[[sweep.axis]]
key = "design"
values = ["split", "sync"]
"""


def test_the_verb_counts_runs_resumes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "j.toml"
    path.write_text(TOML)
    assert main(["sweep", str(path), "--backend", "sequential", "--dry-run"]) == 0
    assert "2 points, 1 to run" in capsys.readouterr().out
    assert main(["sweep", str(path), "--backend", "sequential", "--live", "--dry-run"]) == 0
    assert " on 1 worker\n" in capsys.readouterr().out
    assert main(["sweep", str(path), "--backend", "sequential", "--csv", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 points, 1 run now; rows of other points kept: 1" in said and said.index("split") < said.index("sync")
    assert (tmp_path / "t.csv").read_text().count("\n") == 3
    path.write_text(TOML.replace('"sync"', '"none"'))
    assert main(["sweep", str(path), "--backend", "sequential"]) == 3
    refused = capsys.readouterr()
    assert "1 of 2 points refused, the first: " in refused.err and 'unknown design "none"' in refused.err
    assert "2 of 2 points, 1 run now; rows of other points kept: 2" in refused.out
    assert "sync" not in refused.out  # another sweep's row
    assert main(["sweep", str(path), "--backend", "sequential"]) == 3  # still refused when it is not run again
    assert "0 run now" in capsys.readouterr().out
    path.write_text(TOML.replace('key = "design"', 'key = "desing"'))
    assert main(["sweep", str(path)]) == 2
    assert "[[sweep.axis]] desing: no such key; did you mean design?" in capsys.readouterr().err
    path.write_bytes(b"\xff\xfe")
    assert main(["sweep", str(path)]) == 2
    assert 'is no job: jobs are TOML; a job on it has the line pages = "j.toml"' in capsys.readouterr().err
    path.write_text('pages = "sample"\n')
    assert main(["sweep", str(path)]) == 2
    assert "has no [sweep]" in capsys.readouterr().err
