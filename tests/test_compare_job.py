"""Comparisons in virtual time: every design on every number of CPUs, equal every time; and keys of jobs that they use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kcompressd import _core
from kcompressd.cli import main
from kcompressd.compare import compare_job
from kcompressd.errors import JobError, LabError
from kcompressd.job import Job

SMALL = {"pages": "sample", "limit": 200, "store": "zram"}


def test_every_design_on_every_number_of_cpus_against_the_same_group_s_sync() -> None:
    told: list[str] = []
    found = compare_job(Job.from_dict(SMALL), ["april", "split"], [1, 4], progress=lambda n, done, of: told.append(n))
    assert [(e.group, e.name) for e in found.entries] == [
        (group, name) for group in ("1 CPU", "4 CPUs") for name in ("sync", "april", "split")
    ]
    assert told == [f"{e.name} {e.group}" for e in found.entries]
    assert [len(e.last.config.machine.speeds) for e in found.entries] == [1] * 3 + [4] * 3
    assert all(e.baseline == (found.entries[3 * (e.group == "4 CPUs")].last,) for e in found.entries)
    assert found.exit_code == 0 and all(e.last.kind == "virtual" for e in found.entries)
    assert found["split"].ratio.median < 1 < [e for e in found.entries if e.name == "split"][1].ratio.median


def test_all_designs_get_as_many_nodes_as_one_of_them_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """April's threads are one a node: two are two kswapds, and so sync has two as well, in both clocks; and it is said."""
    said = "200 pages (0.8 MiB) on zram, lz4, 2 nodes with a kswapd each"
    found = compare_job(Job.from_dict(SMALL | {"threads": 2}), ["april", "split"])
    assert [e.last.config.kswapd for e in found.entries] == [2, 2, 2] and said in str(found)
    one = compare_job(Job.from_dict(SMALL | {"threads": 2}), ["split"])
    assert [e.last.config.kswapd for e in one.entries] == [1, 1] and "nodes" not in str(one)
    asked = compare_job(Job.from_dict(SMALL | {"node": {"kswapd": 1}}), ["april", "split"])
    assert [e.last.config.kswapd for e in asked.entries] == [1, 1, 1]
    live = ["compare", "--sample", "--limit", "200", "--store", "zram", "--threads", "2", "--design", "april"]
    assert main(live) == 0
    assert said in capsys.readouterr().out


def test_a_design_of_the_job_s_own_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the published ones, which stay as published; a preset's bare name, or one that --set gives, is no design of its own."""
    job = Job.from_dict(SMALL | {"design": {"preset": "april", "on_complete": "rotate", "depth": 24}})
    found = compare_job(job, ["april"])
    assert [e.name for e in found.entries] == ["sync", "april", "the job's design"]
    assert [e.last.config.design.depth for e in found.entries] == [0, 256, 24]
    assert found["the job's design"].last.vmstat == job.sim().vmstat != found["april"].last.vmstat
    assert "the job's design gets through" in "\n".join(found.sentences())
    for design in ("april", {"preset": "april"}):
        assert [e.name for e in compare_job(Job.from_dict(SMALL | {"design": design}), ["split"]).entries] == [
            "sync",
            "split",
        ]
    (tmp_path / "mine.py").write_text("from kcompressd import Policy\nclass Mine(Policy):\n    design = 'april'\n")
    mine = Job.from_dict(SMALL | {"design": "mine.py:Mine"}, folder=tmp_path)
    assert [e.name for e in compare_job(mine, ["split"]).entries] == ["sync", "split", "Mine"]
    two = compare_job(
        Job.from_dict(SMALL | {"threads": 2, "design": {"preset": "april", "on_complete": "rotate"}}), ["split"]
    )
    assert [e.last.config.kswapd for e in two.entries] == [2, 2, 2]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"hold": "lock"}, "hold: 'lock' is none of locked, writeback"),
        ({"gates": ["anon"]}, "gates: 'anon' is none of kswapd_only, anon_only, writeback_enabled, sync_device"),
        ({"on_complet": "rotate"}, "on_complet is no field of a design, did you mean on_complete?"),
        ({"zzz": 1}, "zzz is no field of a design$"),
    ],
)
def test_a_design_s_mistake_is_answered_with_what_there_is(fields: dict[str, object], says: str) -> None:
    with pytest.raises(JobError, match=says.replace("?", r"\?")):
        Job.from_dict(SMALL | {"design": {"preset": "april", **fields}}).sim()


def test_it_is_the_same_every_time() -> None:
    first, second = (compare_job(Job.from_dict(SMALL), ["split"], [2]) for _ in range(2))
    assert [e.last for e in first.entries] == [e.last for e in second.entries]
    assert first.sentences() == second.sentences()


SHORT = SMALL | {
    "node": {"managed": 300, "free": 280, "watermarks": [8, 12, 16]},
    "workload": {"kind": "usemem", "pages": 500, "touches": 1000},
}


def test_where_memory_is_short_every_design_runs_at_five_boots() -> None:
    job = Job.from_dict(SHORT)
    found = compare_job(job, ["split"])
    assert [[r.config.node["free"] for r in e.results] for e in found.entries] == [[280, 279, 278, 277, 276]] * 2
    assert [r.config.seed for r in found["split"].results] == [0, 1, 2, 3, 4]
    assert "5 boots, medians" in str(found) and "interleaved" not in str(found)
    assert found["split"].results[0].vmstat == job.replace({"design": "split"}).sim().vmstat
    assert len({r.vmstat["pgscan_anon"] for r in found["split"].results}) > 1
    assert [len(e.results) for e in compare_job(job, ["split"], repeats=2).entries] == [2, 2]
    assert [len(e.results) for e in compare_job(Job.from_dict(SMALL), ["split"]).entries] == [1, 1]
    with pytest.raises(LabError, match="repeats: 0 is less than 1; give 5"):
        compare_job(job, repeats=0)


def test_a_boot_has_eight_pages_fewer_unless_the_node_is_small() -> None:
    job = Job.from_dict(SHORT | {"node": {"managed": 60_000}})
    assert [job.boot(n).node.free_pages for n in (0, 1, 3)] == [60_000, 59_992, 59_976]  # type: ignore[union-attr]
    assert job.boot(0) is job and Job.from_dict(SMALL | {"seed": 5}).boot(2).tree["seed"] == 7


def test_the_verb_takes_a_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, html, out = tmp_path / "job.toml", tmp_path / "r.html", tmp_path / "c.json"
    job.write_text('pages = "sample"\nlimit = 200\nstore = "zram"\n')
    argv = ["compare", str(job), "--design", "sync,april", "--cpus", "2,8", "--set", "depth=8"]
    assert main([*argv, "--html", str(html), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 CPUs" in said and "8 CPUs" in said and "april, 2 CPUs," in said
    assert "Over time, 8 CPUs" in html.read_text()
    stored = json.loads(out.read_text())["designs"]
    assert [(d["design"], d["group"]) for d in stored] == [
        (n, g) for g in ("2 CPUs", "8 CPUs") for n in ("sync", "april")
    ]
    assert stored[1]["results"][0]["config"]["design"]["depth"] == 8
    assert main(["compare", str(job)]) == 0
    assert all(name in capsys.readouterr().out for name in [_core.presets()[-1]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("compare --sample --cpus 2", "--cpus and --set: are for jobs in virtual time; give a JOB.toml"),
        ("compare --sample --set depth=2", "--cpus and --set: are for jobs in virtual time; give a JOB.toml"),
        ("compare none.toml", "none.toml: cannot be read"),
        ("compare job.toml --cpus 0", "argument --cpus"),
        ("compare job.toml --set deepth=2", "deepth: no such key"),
        ("compare job.toml --set repeat=0", "repeat = 0 is not between 1 and"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    arguments: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.toml").write_text('pages = "sample"\nlimit = 20\n')
    try:
        code = main(arguments.split())
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2 and says in capsys.readouterr().err


def test_pages_come_again_and_again() -> None:
    job = Job.from_dict(SMALL | {"repeat": 3})
    once, thrice = Job.from_dict(SMALL).sim(), job.sim()
    assert (thrice.pages, len(job.pages), len(job.calibration)) == (600, 600, 600)
    assert once.zram is not None and thrice.zram is not None
    for name in ("orig_data_size", "compr_data_size", "same_pages", "huge_pages"):
        assert thrice.zram.mm_stat[name] == 3 * once.zram.mm_stat[name]
    assert job.run().zram == thrice.zram


def test_pages_are_dealt_out_to_groups_in_turn() -> None:
    groups = [{"name": "a", "share": 3, "zswap_max": 0}, {"name": "b", "writeback": False}]
    job = Job.from_dict(SMALL | {"store": "zswap", "memcg": groups})
    assert job.lab.memcg_of == [1, 1, 1, 2] * 50
    result = job.sim()
    assert result.config.memcg_pages == (0, 150, 50) and result.check() == []
    assert result.zswap is not None and result.zswap.stored_pages <= 50
    root = Job.from_dict(SMALL | {"store": "zswap", "memcg": [{"name": "/", "writeback": False}]})
    assert root.lab.memcg_of == [0] * 200
    with pytest.raises(
        JobError,
        match=r"memcg: .* has other keys than memory_high, memory_low, memory_max, memory_min, memory_reclaim, name, ",
    ):
        Job.from_dict(SMALL | {"memcg": [{"nam": "a"}]}).sim()
