"""Virtual time from Python: equal jobs give equal bytes, every preset adds up, traces stream to disk and are lawful, and a
job file's errors name key and line.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from kcompressd import (
    Calibration,
    Costs,
    Job,
    Lab,
    Machine,
    Pages,
    Result,
    RunInterrupted,
    Sim,
    calibrate,
    cli,
)
from kcompressd._core import presets
from kcompressd.errors import EstimateError, InputError, JobError, LabError, PageFileError
from kcompressd.machine import MACHINES, SOURCES
from kcompressd.sweep import sweep
from kcompressd.trace import SYSTEM, Trace, TraceError

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/schema/result.schema.json").read_text())
CALIBRATION = Calibration.sample()[:300]

JOB = """\
pages = "sample"
limit = 200
design = "april"
store = "zram"

[node]
cpus = 4

[machine.nice]
kcompressd = 5

[costs]
scan_ns = 200

[workload]
fault = "shuffled"
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    return path


def plain(result: Result) -> dict[str, Any]:
    data = result.to_dict()
    del data["environment"]
    return data


@pytest.mark.parametrize(
    "machine", [Machine(), Machine.preset("phone"), Machine.preset("guest")], ids=["two", "phone", "guest"]
)
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", presets())
def test_every_preset_adds_up_on_every_kind_of_machine(design: str, store: str, machine: Machine) -> None:
    result = Sim(lab=Lab(design=design, store=store, app_threads=2), machine=machine).run(CALIBRATION)
    jsonschema.Draft202012Validator(SCHEMA).validate(result.to_dict())
    assert (result.complete, result.check(), result.exit_code) == (True, [], 0)
    assert result.kind == "virtual" and result.timing.steps > len(CALIBRATION)
    assert str(result) and result.timing.touch_ns.count == len(CALIBRATION)


def test_zram_reads_a_page_of_one_word_and_zswap_compresses_it() -> None:
    words = Pages.from_array(np.repeat(np.arange(1, 65, dtype=np.uint64), 512).view(np.uint8).reshape(64, 4096))
    costs = Costs(zero_test_ps_per_byte=1000, compress_ns=1_000_000, decompress_ns=500_000, zero_page_ns=300)
    spent: dict[str, dict[str, int]] = {}
    for store in ("zram", "zswap"):
        result = Sim(lab=Lab(design="sync", store=store), costs=costs).run(calibrate(words, "lz4", passes=1))
        assert result.complete and result.exit_code == 0
        spent[store] = {thread.actor: thread.reclaim_cpu_ns + thread.fault_cpu_ns for thread in result.threads}
    for thread, each in (("kswapd0", 1_000_000 - 4096), ("app0", 500_000 - 300)):
        assert spent["zswap"][thread] - spent["zram"][thread] == pytest.approx(64 * each, rel=0.01)


def test_equal_jobs_give_equal_bytes_and_another_seed_another_order(job: Path) -> None:
    first, second = (Job.load(job).sim() for _ in range(2))
    assert json.dumps(plain(first)) == json.dumps(plain(second))
    assert first == second
    assert Job.load(job, ["seed=5"]).sim() != first


def test_a_trace_streams_to_disk_and_is_lawful(job: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    result = Job.load(job).sim(trace=path)
    trace = Trace.load(path)
    assert (trace.records["folio"] != SYSTEM).sum() == result.lifecycle.events
    validation = trace.validate()
    assert validation.ok, str(validation)
    assert trace.meta is not None and trace.meta["ordering"] == "total"
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["job.toml", "t.npy", "t.npy.json"]
    with pytest.raises(TraceError, match="not a regular file"):
        Job.load(job).sim(trace=tmp_path)


def test_the_result_of_a_run_whose_trace_finds_no_room_is_kept(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, hard))
    try:
        assert (
            cli.main(["sim", str(job), "--json", str(tmp_path / "out.json"), "--trace", str(tmp_path / "t.npy")]) == 2
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{tmp_path / 't.npy'}: cannot be written: File too large" in capsys.readouterr().err
    assert Result.load(tmp_path / "out.json").complete
    assert not list(tmp_path.glob("*t.npy*"))


def test_the_streamed_trace_is_what_a_trace_in_memory_would_be(job: Path, tmp_path: Path) -> None:
    Job.load(job).sim(trace=tmp_path / "t.npy")
    trace = Trace.load(tmp_path / "t.npy")
    kept = ("pages", "ordering", "complete", "design", "config", "queues", "memcgs")
    assert trace.meta is not None
    Trace(np.array(trace.records), {key: trace.meta[key] for key in kept}).save(tmp_path / "again.npy")
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "t.npy").read_bytes()
    assert (tmp_path / "again.npy.json").read_text() == (tmp_path / "t.npy.json").read_text()


def test_ctrl_c_ends_a_run_with_what_there_is() -> None:
    many = Calibration.sample()
    whole = Calibration(
        **{name: np.tile(getattr(many, name), 200) for name in ("same", "size", "compress_ns", "decompress_ns")},
        **{name: getattr(many, name) for name in ("page_size", "codecs", "pages_digest", "passes", "environment")},
    )

    def interrupt(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as interrupted:
        Sim(lab=Lab(design="april", store="zram")).run(whole, progress=interrupt)
    result = interrupted.value.result
    assert isinstance(result, Result) and not result.complete and result.vmstat.pgscan_anon > 0
    assert result.timing.reclaim_ns > 0, "it lasted until it was ended"

    def fail(phase: str, done: int, total: int) -> None:
        raise ZeroDivisionError("of the caller")

    with pytest.raises(ZeroDivisionError, match="of the caller"):
        Sim(lab=Lab(design="april", store="zram")).run(whole, progress=fail)


def test_one_set_of_keys_makes_another_machine_and_design(job: Path) -> None:
    changed = Job.load(
        job, ["node.cpus=2", "design.on_complete=rotate", "machine.preset=phone", "costs.compress_ns=900"]
    )
    assert changed.machine.speeds == (100, 85) and changed.costs.compress_ns == 900
    assert changed.lab.resolved().on_complete == "rotate" and changed.lab.resolved().hold == "locked"
    assert Job.load(job).machine.nice == {"kcompressd": 5}
    assert changed.sim().complete


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('pages = "sample"\n[node]\ncpu = 4\n', r"job.toml:3: node.cpu: no such key; did you mean node.cpus\?"),
        ('pages = "sample"\ndepth = "deep"\n', r"job.toml:2: depth = 'deep' is not a whole number"),
        ("pages = 7\n", r"job.toml:1: pages = 7 is not a text"),
        ('pages = "sample"\n[machine]\nspeeds = []\n', r"machine.speeds \[\] is not 1 to 64 numbers"),
        ('pages = "sample"\n[machine.nice]\nkswap = 3\n', r"machine.nice.kswap 'kswap' is no thread"),
        ('pages = "sample"\n[machine]\npreset = "toaster"\n', r"machine.preset 'toaster' is none of laptop"),
        ('pages = "sample"\n[node]\ncpus = 0\n', r"cpus 0 is not between 1 and 64"),
        ('pages = "sample"\n[costs]\nscan_ns = -1\n', r"costs.scan_ns -1 is less than 0"),
        ('pages = "sample"\n[workload]\nkind = "dance"\n', r"workload.kind 'dance' is not pageout or one of eater"),
        ('pages = "sample"\nkernel = "six"\n', r"kernel = 'six' is not a version"),
        ('pages = "sample"\nlimit = 0\n', r"limit = 0 is less than 1"),
        ("pages = [\n", r"not TOML"),
        ("seed = " + "1" * 5000, r"not TOML: Exceeds the limit"),
        ("seed = " + "[" * 5000, r"not TOML: "),
        ("pages = sample # mine\n", r"texts stand in quotes: pages = \"sample\""),
        ('design = "sync"\n', r"pages is missing"),
    ],
)
def test_a_wrong_job_file_is_refused_with_key_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(text)
    with pytest.raises(JobError, match=said) as error:
        job = Job.load(path)
        job.machine, job.costs, job.lab, job.workload, job.limit, job.pages  # noqa: B018
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_job(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(b'\xef\xbb\xbfpages = "sample"\r\nlimit = 8\r\n')
    assert Job.load(path).limit == 8


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("node.cpus", "--set node.cpus: is not KEY=VALUE"),
        ("=3", "--set =3: is not KEY=VALUE"),
        ("nod.cpus=3", "--set: nod: no such key"),
        ("node.cpus=many", "--set: node.cpus = 'many' is not a whole number"),
        ("limit.x=1", "limit.x: limit = 200 is no table"),
    ],
)
def test_a_wrong_setting_is_refused(job: Path, setting: str, said: str) -> None:
    with pytest.raises(JobError) as refused:
        Job.load(job, [setting])
    assert str(refused.value).startswith(said)


def test_sim_and_run_give_the_same_kind_of_result(job: Path, tmp_path: Path) -> None:
    assert cli.main(["sim", str(job), "--json", str(tmp_path / "sim.json"), "--set", "limit=64"]) == 0
    assert cli.main(["run", str(job), "--json", str(tmp_path / "run.json"), "--set", "limit=64"]) == 0
    sim, run = (Result.load(tmp_path / name) for name in ("sim.json", "run.json"))
    assert (sim.kind, run.kind) == ("virtual", "live")
    assert sim.zram is not None and run.zram is not None
    assert sim.zram.mm_stat.orig_data_size == run.zram.mm_stat.orig_data_size
    assert set(sim.series) == set(run.series) and set(sim.vmstat) == set(run.vmstat)
    assert cli.main(["sim", str(tmp_path / "none.toml")]) == 2


def test_a_calibration_is_measured_kept_and_refused_when_it_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "few.calib.npz"
    assert (
        cli.main(["calibrate", "--sample", "--limit", "20", "-c", "lz4,zstd:1", "--passes", "2", "-o", str(path)]) == 0
    )
    found = Calibration.load(path)
    assert (len(found), [codec.text for codec in found.codecs], found.page_size) == (20, ["lz4", "zstd:1"], 4096)
    timed = found.same != 2
    assert (found.compress_ns[:, timed] > 0).all() and not found.compress_ns[:, ~timed].any()
    assert found.digest == Calibration.load(path).digest != found[:10].digest
    assert Sim(lab=Lab(compressor="zstd:1")).run(found).config.calibration.digest == found.digest
    with pytest.raises(EstimateError, match="is not in this calibration; it has lz4, zstd:1"):
        Sim(lab=Lab(compressor="zstd:3")).run(found)
    arrays = dict(np.load(path))
    arrays["compress_ns"] = arrays["compress_ns"] + 1
    np.savez(path, **arrays)
    with pytest.raises(PageFileError, match="its digest is another"):
        Calibration.load(path)
    with pytest.raises(PageFileError, match=r"must end in \.calib\.npz"):
        found.save(tmp_path / "x.npz")
    with pytest.raises(EstimateError, match="0 passes"):
        calibrate(Pages.sample()[:2], passes=0)


def test_a_calibration_of_other_pages_is_refused_where_the_pages_are_there(tmp_path: Path) -> None:
    """It would say what comes of those, by the name of these. Without the pages their times are enough."""
    these, others = Pages.sample()[:40], Pages.sample()[40:80]
    calibrate(these, "lz4", passes=1).save(tmp_path / "these.calib.npz")
    calibrate(these[:30], "lz4", passes=1).save(tmp_path / "first.calib.npz")
    tree = {"pages": "p.pages", "calibration": "these.calib.npz"}
    assert Job.from_dict(tree, folder=tmp_path).sim().pages == 40
    these.save(tmp_path / "p.pages")
    for changes in ({}, {"limit": 20}, {"limit": 20, "calibration": "first.calib.npz"}, {"repeat": 2}):
        assert Job.from_dict(tree | changes, folder=tmp_path).sim().complete
    others.save(tmp_path / "p.pages")
    with pytest.raises(JobError, match=r"calibration = 'these\.calib\.npz' is of other pages; kcompressd calibrate"):
        Job.from_dict(tree, folder=tmp_path).sim()


def test_a_job_whose_pages_are_timed_anew_says_how_to_have_equal_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Pages.sample()[:40].save(tmp_path / "p.pages")
    calibrate(Pages.sample()[:40], "lz4", passes=1).save(tmp_path / "p.calib.npz")
    job = tmp_path / "job.toml"
    said = f"{job}: its pages were timed for this run, another differs; for equal ones: kcompressd calibrate p.pages "
    for verb in ("sim", "compare"):
        for settings, is_said in (
            (["pages='p.pages'"], True),
            (["pages='p.pages'", "calibration='p.calib.npz'"], False),
            ([], False),
        ):
            job.write_text("pages = 'sample'\nlimit = 30\n")
            assert cli.main([verb, str(job), *(word for one in settings for word in ("--set", one))]) == 0
            assert (said in capsys.readouterr().err) is is_said, (verb, settings)


def test_the_samples_calibration_is_of_the_sample() -> None:
    again = calibrate(Pages.sample()[:40], "lz4", passes=1)
    kept = Calibration.sample()[:40]
    row = [codec.text for codec in kept.codecs].index("lz4")
    assert (kept.size[row] == again.size[0]).all() and (kept.same == again.same).all()


def test_a_machine_refuses_what_none_is() -> None:
    wrong: list[dict[str, Any]] = [
        {"speeds": ()},
        {"speeds": (0,)},
        {"preempt": "some"},
        {"fair": "some"},
        {"slice_ns": -1},
        {"nice": {"kswapd": 40}},
        {"affinity": {"app": [7]}},
        {"affinity": {"app": []}},
    ]
    for keys in wrong:
        with pytest.raises(LabError, match=r"machine\."):
            Machine(**keys)
    with pytest.raises(InputError, match="real threads"):
        Sim(lab=Lab(plant=__import__("kcompressd").Plant(after_pages=1))).run(CALIBRATION)
    assert all(Machine.preset(name).with_cpus(1).cpus == 1 for name in MACHINES)
    assert set(SOURCES) | {"compress_ns", "decompress_ns"} == set(Costs().to_dict())


def test_a_job_s_pages_are_seen_as_of_another_size(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"pages": "sample", "limit": 60, "page_size": 16384, "store": "zram", "design": "split"}
    result = Job.from_dict(tree).sim()
    assert (result.config.page_size, result.pages, result.exit_code) == (16384, 60, 0)
    assert result.zram.mm_stat.orig_data_size % 16384 == 0
    swept = sweep(
        Job.from_dict(tree | {"sweep": {"axis": [{"key": "depth", "values": [4, 8]}]}}),
        tmp_path / "t.parquet",
        backend="sequential",
    )
    assert (swept.ran, swept.refused) == (2, 0)
    with pytest.raises(JobError, match="page_size = 5000 is none of 4096, 16384, 65536"):
        _ = Job.from_dict(tree | {"page_size": 5000}).pages


FOUR_THREADS = Lab(design="april", threads=4, kswapd=2, app_threads=2)


@pytest.mark.parametrize(
    "name", ["kswapd1", "kcompressd3", "app1", "swapdev0", "shrink_worker0", "kcompressd", "shrink_worker"]
)
def test_each_thread_of_a_run_may_have_a_nice_level_and_cpus_of_its_own(name: str) -> None:
    machine = Machine(nice={name: 5}, affinity={name: [1]})
    assert Sim(lab=FOUR_THREADS, machine=machine).run(CALIBRATION[:64]).complete


@pytest.mark.parametrize("name", ["kswapd2", "kcompressd4", "app2", "swapdev1", "shrink_worker1", "kswapd00"])
@pytest.mark.parametrize("table", ["nice", "affinity"])
def test_a_thread_that_there_is_not_is_refused_with_those_that_there_are(name: str, table: str) -> None:
    sim = Sim(lab=FOUR_THREADS, machine=Machine(**{table: {name: 5 if table == "nice" else [0]}}))  # type: ignore[arg-type]
    there = "kswapd0 to kswapd1, kcompressd0 to kcompressd3, app0 to app1, swapdev0, shrink_worker0"
    with pytest.raises(LabError, match=f"machine.{table}.{name}: there is no such thread; there are {there}"):
        sim.run(CALIBRATION[:64])


def test_a_machine_with_workers_names_runs_a_design_without_any_and_applications_by_number() -> None:
    assert Sim(lab=Lab(design="sync"), machine=Machine(nice={"kcompressd7": 5})).run(CALIBRATION[:64]).complete
    apps = [{"kind": "eater", "pages": 50, "name": name} for name in ("browser", "editor")]
    job = {"pages": "sample", "store": "zram", "workload": apps, "node": {"managed": 400}}
    assert Job.from_dict(job | {"machine": {"nice": {"app1": -5}}}).sim().complete
    with pytest.raises(JobError, match=r"nice\.app2: there is no such thread; there are .*app0 to app1, "):
        Job.from_dict(job | {"machine": {"nice": {"app2": -5}}}).sim()


def test_a_group_s_sizes_are_read_as_the_pool_s_limit_is() -> None:
    group = {"name": "fg", "memory_max": "2M", "memory_low": 4096, "zswap_max": "512K"}
    (memcg,) = Job.from_dict({"pages": "sample", "memcg": [group]}).lab.memcgs
    assert (memcg.memory_max, memcg.memory_low, memcg.zswap_max) == (2 << 20, 4096, 512 << 10)
