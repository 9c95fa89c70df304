"""Values of a wrong type from Python: each is refused by one line that names the argument and the value, or the value's type."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import (
    Calibration,
    Costs,
    Design,
    DesignError,
    InputError,
    Job,
    Lab,
    Machine,
    Memcg,
    Node,
    Pages,
    PageStats,
    Result,
    Scenario,
    Sim,
    Workload,
    Zram,
    ZramError,
    Zswap,
    ZswapError,
    _core,
    access_trace,
    calibrate,
    capture_command,
    chrome_trace,
    procfs,
)
from kcompressd.advise import advise
from kcompressd.capture import capture
from kcompressd.capture_many import capture_cgroup, capture_processes
from kcompressd.check import check
from kcompressd.check import replay as replay_schedule
from kcompressd.compare import compare, compare_job
from kcompressd.errors import PageFileError
from kcompressd.estimate import estimate
from kcompressd.job_file import parse_setting
from kcompressd.observe import observe
from kcompressd.page_stats import measure
from kcompressd.sweep import sweep
from kcompressd.trace import Trace, sidecar
from kcompressd.validate import validate

PAGES = Pages.sample()[:8]
RESULT = Lab(trace=True).run(PAGES)
SPLIT = Design.preset("split")
NAN = float("nan")
ODD = [None, -1, 2**70, NAN, 1.5, "x", "", b"x", [], {}, (1,), object(), "6.12", ("6", "12"), [1]]
CALLS: dict[str, Callable[[Any], object]] = {
    "Pages": Pages,
    "fault": lambda odd: Lab(fault=odd).run(PAGES),
    "preset": Design.preset,
    "preset's store": lambda odd: Design.preset("split", odd),
    "from_dict": Design.from_dict,
    "with_depth": SPLIT.with_depth,
    "with_threads": SPLIT.with_threads,
    "validate": SPLIT.validate,
    "validate's kernel": lambda odd: SPLIT.validate("zswap", odd),
    "notes": SPLIT.notes,
    "name": SPLIT.name,
    "run": Lab().run,
    "step": Lab().step,
    "from_array": lambda odd: Pages.from_array(odd),
    "concatenate": lambda odd: Pages.concatenate(odd),
    "with_index": lambda odd: PAGES.with_index(odd),
    "calibrate": calibrate,
    "calibrate's compressors": lambda odd: calibrate(PAGES, odd),
    "calibrate's passes": lambda odd: calibrate(PAGES, "lz4", passes=odd if odd != 2**70 else NAN),
    "compare": lambda odd: compare(odd, ["sync"]),
    "compare's designs": lambda odd: compare(PAGES, odd if odd else "x"),
    "compare's repeats": lambda odd: compare(PAGES, ["sync"], repeats=odd if odd != 2**70 else NAN),
    "a job's tree": lambda odd: Job.from_dict(odd if odd else "x"),
    "sim": Sim().run,
    "sim's machine": lambda odd: Sim(machine=odd).run(Calibration.sample()[:8]),
    "sim's costs": lambda odd: Sim(costs=odd).run(Calibration.sample()[:8]),
    "speeds": lambda odd: Machine(speeds=odd if odd not in ([1], (1,), b"x") else NAN),
    "nice": lambda odd: Machine(nice=odd if odd else "x"),
    "affinity": lambda odd: Machine(affinity=odd if odd else "x"),
    "node": lambda odd: Node(managed=odd if odd is not None else "x"),
    "workload": lambda odd: Workload(kind="eater", pages=odd if odd not in (None, 2**70) else "x"),
}


SWEPT = Job.from_dict({"pages": "sample", "limit": 8, "sweep": {"axis": [{"key": "depth", "values": [8]}]}})
TOUCHES = np.arange(4, dtype=np.uint32)


def replay(trace: Any, gaps_ns: Any = None) -> Workload:
    return Workload(kind="replay", trace=trace, gaps_ns=gaps_ns)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
def test_a_wrong_type_is_refused_in_words(name: str, odd: object) -> None:
    with pytest.raises((InputError, DesignError, ValueError)) as refused:
        CALLS[name](odd)
    said = str(refused.value)
    assert "\n" not in said and not re.search(r"NoneType' object|not supported between|object is not iterable", said)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Pages.from_bytes("abc"), "bytes: 'abc' is not bytes"),
        (lambda: PAGES.save("x.zst", level=23), "level: 23 is not between -7 and 22"),
        (lambda: PAGES.save("x.zst", level="a"), "level: 'a' is not a whole number"),
        (lambda: Trace(None), "records: None is not an array of trace records"),
        (lambda: Trace(RESULT.trace.records, "x"), "meta: 'x' is not a sidecar's dict"),
        (lambda: Lab().step(PAGES).set_depth(-1), "depth: -1 is less than 0"),
        (lambda: Lab().step(PAGES).set_depth("a"), "depth: 'a' is not a whole number"),
        (lambda: Lab().step(PAGES).set_writeback("x"), "writeback: 'x' is not True or False"),
        (lambda: Lab().step(PAGES)[0].fire(None), "event: None is not an event's name"),
        (lambda: Zswap(nodes=0), "nodes: 0 is less than 1"),
        (lambda: Zswap(memcgs=[1]), "memcg: 1 is not a Memcg"),
        (lambda: Zram(secondary="lz4"), "secondary: 'lz4' is not a list of compressors"),
        (lambda: Zram(slots="a"), "slots: 'a' is not a whole number"),
        (lambda: Lab().step(PAGES).set_pool_limits("a"), "max_pool_percent: 'a' is not a whole number"),
        (lambda: Lab(memcgs=[Memcg("a")]).step(PAGES).set_zswap_max(-1, "a"), "max_bytes: -1 is not between 0 and"),
        (lambda: Lab().step(PAGES).set_zswap_max(1, "/"), "memcg '/': the root has no memory.zswap.max"),
        (lambda: Lab(memcgs=[Memcg("a")], memcg_of=3).run(PAGES), "memcg_of: is no list of groups' numbers"),
        (lambda: Lab(memcgs=[Memcg("a")], memcg_of=np.ones((8, 1), int)).run(PAGES), "memcg_of: is no list"),
        (lambda: RESULT.columns("thread"), "columns: 'thread' is none of measures, series, threads"),
        (lambda: RESULT.to_pandas("sample"), "columns: 'sample' is none of"),
        (lambda: validate("t.npy"), "trace: 't.npy' is not a Trace (Trace.load reads a file)"),
        (lambda: Workload(kind="zipf", pages=9, exponent="a"), "workload.exponent: 'a' is not a number"),
        (lambda: Workload(kind="zipf", pages=9, write_share="a"), "workload.write_share: 'a' is not a number"),
        (lambda: Workload(kind=[]), "workload.kind: [] is not a text"),
        (lambda: Workload(kind="replay", pages="x", trace=TOUCHES), "workload.pages: 'x' is not a whole number"),
        (lambda: Workload(kind="eater", pages=9, name=5), "workload.name: 5 is not a text"),
        (lambda: Workload(kind="eater", pages=9, memcg=5), "workload.memcg: 5 is not a text"),
        (lambda: Workload(kind="eater", pages=9, shmem="no"), "workload.shmem: 'no' is not True or False"),
        (lambda: Workload(kind="eater", pages=9, nice=1.0), "workload.nice: 1.0 is not a whole number"),
        (lambda: Workload(kind="zipf", pages=9, working_set=1.5), "workload.working_set: 1.5 is not a whole number"),
        (lambda: sweep(SWEPT, "t.parquet", backend="Dask"), "backend: 'Dask' is none of loky, dask, ray, sequential"),
        (lambda: sweep(SWEPT, 5), "path: 5 is not a path"),
        (lambda: sweep(SWEPT, "no such/t.parquet"), "no such/t.parquet: its folder does not exist"),
        (lambda: observe(1, cgroup=5), "path: 5 is not a path"),
        (lambda: check(Scenario(design=3)), "design: 3 is not a preset's name, a Design or a Policy"),
        (lambda: estimate(PAGES, threads="a"), "threads: 'a' is not a whole number"),
        (lambda: Calibration.sample()[3], "calibration: 3 is not a slice"),
        (lambda: Calibration.sample()[:8].repeated(1.5), "times: 1.5 is not a whole number"),
        (lambda: Calibration.sample()[:8].repeated(-1), "times: -1 is less than 1"),
        (lambda: Lab().step(PAGES).set_compressor(None), "compressor: None is not a compressor's name"),
        (lambda: Lab().step(PAGES).set_writeback(True, []), "memcg: [] is not a group's name"),
        (lambda: Zswap().memcg([]), "memcg: [] is not a group's name"),
        (lambda: Zswap().add_memcg("a"), "memcg: 'a' is not a Memcg"),
        (lambda: setattr(Zswap(), "compressor", None), "compressor: None is not a compressor's name"),
        (lambda: Node(managed=1000).boot("1"), "boot: '1' is not a whole number"),
        (lambda: Machine.preset([]), "machine.preset: [] is not a machine's name"),
        (lambda: Job.from_dict({"pages": "sample"}).replace("seed=1"), "job: 'seed=1' is not a mapping"),
        (lambda: Result.from_dict({**RESULT.to_dict(), "threads": {}}), "threads is an object"),
        (lambda: Result.from_dict({**RESULT.to_dict(), "config": [1]}), "config is a list"),
        (lambda: Node(managed=1000, file=1.5), "node.file: 1.5 is not a whole number"),
        (lambda: Node(managed=1000, free="x"), "node.free: 'x' is not a whole number"),
        (lambda: Node(managed=1000, watermarks=3), "node.watermarks: 3 is not a list of three numbers"),
        (lambda: Node(managed=1000, watermarks=("a", 2, 3)), "node.watermarks: 'a' is not a whole number"),
        (lambda: Node(managed=1000, lru_gen="x"), "node.lru_gen: 'x' is not True or False"),
        (lambda: replay(TOUCHES.astype(">u4")), "workload.trace: is >u4 of shape (4,), not uint32 of shape (n,)"),
        (lambda: replay(TOUCHES.reshape(2, 2)), "workload.trace: is uint32 of shape (2, 2), not uint32"),
        (lambda: replay([0, 1]), "workload.trace: [0, 1] is not a uint32 array"),
        (lambda: replay(TOUCHES, TOUCHES / 2), "workload.gaps_ns: is float64 of shape (4,), not uint32"),
        (lambda: Machine(nice={1: 2}), "machine.nice.1: 1 is no thread"),
        (lambda: capture_command("sleep 1"), "command: 'sleep 1' is not a list of words"),
        (lambda: capture_command(["sleep", 1]), "command: 1 is not a word"),
        (lambda: capture_command(["sleep", "9"], after=NAN), "after: nan seconds are no time to wait"),
        (lambda: capture_command(["sleep", "9"], max_wait="1"), "max_wait: '1' is not a number of seconds"),
        (lambda: capture("1"), "pid: '1' is not a process's number"),
        (lambda: capture(1, limit=1.5), "limit: 1.5 is not a whole number"),
        (lambda: capture_processes([1], "x", limit="2"), "limit: '2' is not a whole number"),
        (lambda: capture_processes([1], "x", limit=2, seed=-1), "seed: -1 is less than 0"),
        (lambda: capture_cgroup(None), "path: None is not a path"),
        (lambda: observe(None), "observe: None is not a number of seconds"),
        (lambda: advise([1]), "pages: [1] is not a Pages"),
        (lambda: advise(PAGES, ram_bytes=0), "ram_bytes: 0 is less than 1"),
        (lambda: Node(managed=1000).boot(-1), "boot: -1 is less than 0"),
        (lambda: SWEPT.boot(-1), "boot: -1 is less than 0"),
        (lambda: SWEPT.boot("1"), "boot: '1' is not a whole number"),
        (lambda: Zswap(page_size=0), "zswap: page size 0 is not one of"),
        (lambda: Zswap(page_size="4096"), "zswap: page size 4096 is not one of"),
        (lambda: Zram(mem_limit="1M", page_size=0), "zram: page size 0 is not one of"),
        (lambda: advise(PAGES, ram_bytes="8G"), "ram_bytes: '8G' is not a whole number"),
        (lambda: measure([1]), "pages: [1] is not a Pages"),
        (lambda: check("split"), "scenario: 'split' is not a Scenario"),
        (lambda: replay_schedule(Scenario(), [1]), "schedule: 1 is not a step"),
        (lambda: Lab(memcgs=[Memcg([])]).run(PAGES), "memcg: [] is not a group's name"),
        (lambda: SWEPT.replace({"node.free": 9}).node, "job: node.managed is missing; say how many pages"),
        (lambda: SWEPT.replace({"memcg": [{"name": 5}]}).lab, "job: memcg 5 is not a group's name"),
        (lambda: replay_schedule(Scenario(), None), "schedule: None is not a list of steps"),
        (lambda: compare(PAGES, lab="split"), "lab: 'split' is not a Lab"),
        (lambda: compare_job("job.toml"), "job: 'job.toml' is not a Job"),
        (lambda: compare_job(Job.from_dict({"pages": "sample"}), repeats=NAN), "repeats: nan is not a whole number"),
        (lambda: compare_job(Job.from_dict({"pages": "sample"}), cpus=2), "cpus: 2 is not a list of whole numbers"),
        (lambda: chrome_trace.save(RESULT, "t.json"), "trace: "),
        (lambda: chrome_trace.save(RESULT.trace, "t.json", result=3), "result: 3 is not a Result"),
    ],
)
def test_each_argument_is_named(call: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        call()


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (lambda odd: Zram().mark_idle(odd), 2**32 - 1),
        (lambda odd: Zram().recompress(threshold=odd), 2**64 - 1),
        (lambda odd: Zram().recompress(max_pages=odd), 2**64 - 1),
        (lambda odd: Zram().recompress(priority=odd), 255),
        (lambda odd: setattr(Zram(), "clock", odd), 2**32 - 1),
        (lambda odd: setattr(Zram(), "writeback_limit", odd), 2**64 - 1),
        (lambda odd: setattr(Zswap(), "max_pool_percent", odd), 2**64 - 1),
        (lambda odd: Zswap(memcgs=[Memcg("a")]).set_zswap_max("a", odd), 2**64 - 1),
        (lambda odd: Zswap().set_free_pages(odd), 2**64 - 1),
        (lambda odd: Zswap().shrinker_scan("/", odd), 2**64 - 1),
    ],
)
def test_a_whole_number_that_cannot_be_says_from_where_to_where(call: Callable[[Any], object], most: int) -> None:
    for odd in (-1, 2**70, "x", 1.5):
        with pytest.raises(ValueError, match=re.escape(f"{odd!r} is not a whole number from 0 to {most}")):
            call(odd)


@pytest.mark.parametrize("store", [Zswap, Zram])
def test_a_store_takes_bytes_and_no_wider_numbers(store: Any) -> None:
    """300 is not 44, and 0.5 not 0."""
    page = PAGES[0]
    for odd in (page.astype(np.int64), page / 2, page > 9, page.astype(">u2"), page.tolist(), "x" * 4096, None):
        with pytest.raises(InputError, match=r"^pages?: .*(not uint8|is not a Pages, a uint8 array or bytes)$"):
            store().store(0, odd)
    for buffer in (memoryview(page.view(np.uint32)), memoryview(page.view(np.int8)), np.array(3, np.uint8)):
        with pytest.raises(InputError, match=r"^pages?: is a buffer of format .*, not of bytes$"):
            store().store(0, buffer)
    backwards = page[::-1]
    for given in (page, page.tobytes(), bytearray(page), memoryview(page.tobytes()), page[np.newaxis], backwards):
        filled = store()
        filled.store(3, given)
        assert np.array_equal(filled.load(3), backwards if given is backwards else page)


@pytest.mark.parametrize("store", [Zswap, Zram])
def test_a_slot_that_there_is_not_is_the_store_s_to_refuse(store: Any) -> None:
    error = {Zswap: ZswapError, Zram: ZramError}[store]
    for number in (-1, 1 << 16, 1 << 32, 1 << 70):
        calls: list[Callable[[], object]] = [
            lambda number=number: store().load(number),
            lambda number=number: store().store(number, PAGES[0]),
            lambda number=number: store().free(number) if store is Zram else store().invalidate(number),
        ]
        for call in calls:
            with pytest.raises(error, match=rf"^slots? {number}.*: there (is none|are 65536)"):
                call()
    with pytest.raises(TypeError):
        store().load("1")


def test_a_store_larger_than_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "available_bytes", lambda: 64 << 30)
    for store in (Zswap, Zram):
        with pytest.raises(InputError, match="slots: it takes some 128 GiB, and 64 GiB are available here"):
            store(slots=2**32 - 1)


def test_a_machine_keeps_what_it_was_made_of() -> None:
    nice, affinity = {"app": 5}, {"app": iter([0, 1])}
    machine = Machine(nice=nice, affinity=affinity)  # type: ignore[arg-type]
    nice["app"] = 7
    assert machine.to_dict()["nice"] == {"app": 5} and machine.to_dict()["affinity"] == {"app": [0, 1]}
    assert machine.for_core()["policies"] == [("app", 5, 0b11)]


def test_numbers_of_the_other_byte_order_are_not_taken_for_others() -> None:
    n = np.full(4, 100, np.uint32)
    good = _core.account(4096, 8, np.zeros(4, np.uint8), n, n, n)["mm_stat"]
    assert good["compr_data_size"] == 400
    with pytest.raises(BufferError, match="the other byte order"):
        _core.account(4096, 8, np.zeros(4, np.uint8), n.astype(n.dtype.newbyteorder()), n, n)


def test_pages_are_chosen_by_lists_too() -> None:
    assert np.array_equal(PAGES[np.array(3)], PAGES[3])  # type: ignore[call-overload]
    for few in ([1, 2], [page in (1, 2) for page in range(8)], np.array([1, 2])):
        assert PAGES[few] == PAGES[1:3]
    assert len(PAGES[[]]) == 0
    with pytest.raises(TypeError):
        PAGES["1"]  # type: ignore[call-overload]
    assert Pages(PAGES.array.view(np.matrix))[3].shape == (4096,)
    with pytest.raises(IndexError, match=r"positions of shape \(8, 4096\) are not of shape \(n,\)"):
        PAGES[PAGES.array]


def test_what_is_long_says_in_short_what_it_is() -> None:
    said = {repr(compare(PAGES, ["sync"])), repr(RESULT.trace), repr(Job.from_dict({"pages": "sample"}))}
    assert said == {"<Comparison of sync: 1 rows>", f"<Trace {len(RESULT.trace)} records of split>", "<Job job>"}


LAB = (
    "design",
    "compressor",
    "threads",
    "depth",
    "kernel",
    "folio_order",
    "io_faults",
    "plant",
    "memcgs",
    "pool_limit",
)


@pytest.mark.parametrize("name", LAB)
@pytest.mark.parametrize("odd", [NAN, 1.5, object(), {1: 2}, ("6", "12"), [3]], ids=lambda odd: repr(odd)[:12])
def test_a_lab_names_the_field(name: str, odd: Any) -> None:
    with pytest.raises((InputError, DesignError), match=name.replace("_", "[_ ]")):
        Lab(**{name: odd}).run(PAGES)


@pytest.mark.parametrize("kind", [Machine, Costs])
@pytest.mark.parametrize("odd", [NAN, 1.5, "x", [], object()], ids=lambda odd: repr(odd)[:12])
def test_times_and_costs_are_whole_numbers(kind: Any, odd: object) -> None:
    names = [field.name for field in fields(kind) if field.name.endswith("_ns")]
    assert len(names) > 7
    for name in names:
        with pytest.raises(InputError, match=rf"{name}: .*is not a whole number"):
            kind(**{name: odd})
        assert kind(**{name: np.int64(3)}) is not None


def test_what_the_errors_say() -> None:
    for call, says in [
        (lambda: SPLIT.validate("zswap", "6.12"), "kernel = '6.12': not a version as two whole numbers, (6, 12)"),
        (lambda: SPLIT.with_depth(1.5), "depth = 1.5: not a whole number"),  # type: ignore[arg-type]
        (lambda: SPLIT.replace(gates="anon_only").validate(), "gates"),
        (lambda: SPLIT.replace(gates=None).validate(), "gates"),
        (lambda: Lab().run("pages.bin"), "pages: 'pages.bin' is not a Pages or a uint8 array"),  # type: ignore[arg-type]
        (lambda: Lab(memcgs="ab").run(PAGES), "memcgs: 'ab' is not a list of Memcg"),  # type: ignore[arg-type]
        (lambda: Lab(memcgs=[Memcg("a")], memcg_of="x").run(PAGES), "memcg_of: is no list"),  # type: ignore[arg-type]
        (lambda: Lab(shrinker_enabled=[]).run(PAGES), "shrinker_enabled: [] is not True or False"),  # type: ignore[arg-type]
    ]:
        with pytest.raises((InputError, DesignError), match=re.escape(says)):
            call()  # type: ignore[no-untyped-call]


def test_a_directory_says_how_many_of_its_files_are_no_pages(tmp_path: Path) -> None:
    for name, size in (("a", 4096), ("b", 4097), ("c", 0), ("d", 8192)):
        (tmp_path / name).write_bytes(b"x" * size)
    with pytest.raises(PageFileError, match=r"2 of the 4 files in it are no page files; b: 4097 bytes") as refused:
        Pages.from_file(tmp_path)
    assert refused.value.subject == str(tmp_path) and refused.value.fix
    for name in "bc":
        (tmp_path / name).unlink()
    assert len(Pages.from_file(tmp_path)) == 3


FILES: dict[str, Callable[[Any], object]] = {
    "pages": Pages.from_file,
    "saved pages": PAGES.save,
    "job": Job.load,
    "result": Result.load,
    "saved result": RESULT.save,
    "trace": Trace.load,
    "saved trace": RESULT.trace.save,
    "written trace": lambda path: Job.from_dict({"pages": "sample", "limit": 8}).sim(
        trace=path if path is not None else 3
    ),
    "exported trace": lambda path: chrome_trace.save(RESULT.trace, path),
    "calibration": Calibration.load,
    "saved calibration": Calibration.sample().save,
    "statistics": PageStats.load,
    "touches": access_trace.load,
    "swap file": lambda path: Lab(swap_file=path if path is not None else 3).run(PAGES),
}


@pytest.mark.parametrize("call", FILES)
@pytest.mark.parametrize("odd", [3, None, b"x", [], 1.5], ids=repr)
def test_what_is_no_path_names_no_file(call: str, odd: object) -> None:
    with pytest.raises(InputError, match=r"^path: .* is not a path$"):
        FILES[call](odd)
    with pytest.raises(InputError, match="names no file"):
        FILES[call]("")
    for no_name in ("a\0b", "\ud800"):
        with pytest.raises(InputError, match="can be no file's name"):
            FILES[call](no_name)


def test_an_entry_of_a_directory_listed_as_bytes_is_a_path(tmp_path: Path) -> None:
    PAGES.save(tmp_path / "p.pages")
    (tmp_path / "j.toml").write_text("pages = 5\n")
    found = {entry.name: entry for entry in os.scandir(os.fsencode(tmp_path))}
    assert Pages.from_file(found[b"p.pages"]) == PAGES  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"^{tmp_path}/j.toml:1: pages = 5"):
        Job.load(found[b"j.toml"])  # type: ignore[arg-type]


def test_a_trace_that_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match="/proc/self/mem"):
        Trace.load("/proc/self/mem")


def test_a_text_that_looks_like_a_number_stays_one() -> None:
    assert parse_setting("kernel=6.10") == ("kernel", "6.10") and parse_setting("depth=8") == ("depth", 8)
    assert parse_setting('kernel="6.10"') == ("kernel", "6.10")
    assert Job.from_dict({"pages": "sample"}).replace(dict([parse_setting("kernel=6.10")])).lab.kernel == (6, 10)


TWO, MANY, RECORDS = np.int64(2), np.int64(1200), RESULT.trace.records
NUMPY: dict[str, Callable[[], Result]] = {
    "a lab": lambda: Lab(
        threads=TWO, depth=np.int32(64), kswapd=TWO, seed=np.uint8(3), fault="shuffled", pool_limit=MANY << 10
    ).run(PAGES),
    "a traced lab": lambda: Lab(seed=np.uint8(3), fault="shuffled", app_threads=TWO, trace=True).run(PAGES),
    "a node": lambda: Lab(store="zram").run(
        PAGES, node=Node(managed=MANY), workload=Workload(kind="usemem", pages=MANY, touches=TWO)
    ),
    "a job": lambda: (
        Job.from_dict({"pages": "sample", "limit": np.int64(64), "machine": {"speeds": np.array([100, 50])}})
        .replace({"node.cpus": TWO, "workload.fault": "none"})
        .sim()
    ),
}


@pytest.mark.parametrize("run", NUMPY.values(), ids=NUMPY)
def test_whole_numbers_of_numpy_are_whole_numbers_and_the_result_can_be_saved(
    run: Callable[[], Result], tmp_path: Path
) -> None:
    result = run()
    result.save(tmp_path / "r.json")
    assert Result.load(tmp_path / "r.json") == result
    if result.has_trace:
        result.trace.save(tmp_path / "t.npy")
        assert Trace.load(tmp_path / "t.npy").validate().ok


def test_how_often_and_by_how_many_may_be_numpy_s_as_well() -> None:
    assert calibrate(PAGES, "lz4", passes=TWO).digest
    assert estimate(PAGES, "lz4", threads=TWO).pages == len(PAGES)
    assert len(compare(PAGES, ["split"], repeats=np.int64(5))["split"].results) == 5


STORED: dict[str, Callable[[Path], object]] = {
    "an estimate": lambda path: estimate(PAGES, "lz4", chain_size=np.int64(8)).to_json(),
    "stats": lambda path: measure(PAGES, "lz4", threads=TWO).save(path / "s.stats.npz"),
    "a check": lambda path: check(Scenario(folios=np.int64(1), depth=np.int8(1), bytes=MANY)).to_json(),
    "the trace of a node": lambda path: (
        Lab(design="unofficial", kswapd=TWO, trace=True).run(PAGES).trace.save(path / "t.npy")
    ),
    "a trace of one's own": lambda path: Trace(
        RECORDS, sidecar(pages=RECORDS["folio"].min() + 8, ordering="per-folio", complete=True)
    ).save(path / "t.npy"),
    "a capture": lambda path: capture(np.int64(os.getpid()), limit=TWO).save(path / "c.pages"),
    "packed pages": lambda path: PAGES.save(path / "p.pages.zst", level=TWO),
}


@pytest.mark.parametrize("stored", STORED)
def test_what_is_stored_may_have_been_asked_for_in_whole_numbers_of_numpy(stored: str, tmp_path: Path) -> None:
    assert STORED[stored](tmp_path) or (tmp_path / "t.npy.json").read_text()


def test_a_simulation_s_sidecar_has_python_s_numbers(tmp_path: Path) -> None:
    sim = Sim(lab=Lab(seed=np.uint8(3)), machine=Machine(speeds=(np.int64(100), np.int64(50))))
    sim.run(Calibration.sample()[:64], trace=tmp_path / "t.npy")
    assert Trace.load(tmp_path / "t.npy").validate().ok


def test_more_threads_than_pages_are_no_use_and_no_error() -> None:
    assert len(measure(PAGES, "lz4", threads=2**70)) == len(PAGES)
