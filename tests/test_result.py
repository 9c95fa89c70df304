"""Results: what is stored, what is read back, what is refused, and what must add up (docs/accounting.md)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Calibration, Job, Lab, Memcg, Pages, Result, Sim, _core, report
from kcompressd.accounting import EQUATIONS, PLACES
from kcompressd.comparison import Comparison, Entry
from kcompressd.errors import ResultFileError
from kcompressd.faults import IoFaults, Plant
from kcompressd.lifecycle import FLAGS, STATES
from kcompressd.lifecycle_enums import Event, State
from kcompressd.node import Node
from kcompressd.workload import Workload

ROOT = Path(__file__).parent.parent
GOLDEN = sorted((ROOT / "tests/golden").glob("*.result.json"))
SCHEMA = json.loads((ROOT / "docs/schema/result.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PAGES = Pages.sample()[::8]
GROUPS = {
    "memcgs": (Memcg("a", writeback=False), Memcg("b", zswap_max=0)),
    "memcg_of": [i % 3 for i in range(len(PAGES))],
}

ALIKE = ("vmstat", "zswap", "zram", "census", "lifecycle", "phases", "environment")
"""Objects whose values are all treated the same way."""

Path_ = tuple[str | int, ...]


def golden(store: str) -> dict[str, Any]:
    """A good Result's stored form."""
    found: dict[str, Any] = json.loads(next(p for p in GOLDEN if store in p.name).read_text())
    return found


def leaves(data: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of everything that is neither object nor array."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, (*path, key))
    else:
        yield path


def nodes(data: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of every key of every object."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*path, key)
            yield from nodes(value, (*path, key))


def shown(result: Result, path: Path_) -> bool:
    """Print it, unless what was changed is one counter of many, shown alike."""
    return path[0] in ALIKE or bool(str(result) and result._repr_html_())


def parent(data: Any, path: Path_) -> Any:
    for key in path[:-1]:
        data = data[key]
    return data


@pytest.mark.parametrize("more", [{}, {"threads": 2, "pool_limit": "10%"}, GROUPS], ids=["plain", "limit", "groups"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_every_preset_s_result_obeys_the_schema_and_adds_up(design: str, store: str, more: dict[str, Any]) -> None:
    result = Lab(design=design, store=store, **more).run(PAGES)
    VALIDATOR.validate(result.to_dict())
    assert (result.complete, result.check(), result.exit_code) == (True, [], 0)


@pytest.mark.parametrize("more", [{}, {"folio_order": 2, "kernel": (6, 18)}], ids=["single", "large"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_nr_written_and_pgpgout_are_what_the_trace_says(design: str, store: str, more: dict[str, Any]) -> None:
    faults = {"io_faults": IoFaults(writes=(0, 2))} if store == "zswap" else {}
    result = Lab(design=design, store=store, trace=True, pool_limit="20%", **faults, **more).run(PAGES)
    writeback, head = (1 << list(FLAGS).index(flag) for flag in ("writeback", "head"))
    order = more.get("folio_order", 0)
    assert result.trace is not None
    records = result.trace.records
    before: dict[int, int] = {}
    ended = begun = 0
    for folio, event, flags, source, to in records[["folio", "event", "flags", "from", "to"]].tolist():
        last, before[folio] = before.get(folio, head if order and folio % (1 << order) == 0 else 0), flags
        pages = 1 << order if last & head else 1
        ended += pages if last & writeback and not flags & writeback else 0
        to_device = State(to).name == "WRITING_BACK" and source != to
        begun += pages if to_device or (store == "zram" and event == Event.COMPRESS) else 0
    assert (result.vmstat.nr_written, result.vmstat.pgpgout) == (ended, 4 * begun)
    assert ended > 0 or (store == "zswap" and begun == 0)


@pytest.mark.parametrize(
    "more",
    [
        {"plant": Plant(after_pages=9)},
        {"plant": Plant(after_pages=9, panic_in="kcompressd0")},
        {"io_faults": IoFaults(writes=(0, 2), reads=(1,)), "compressor": "lz4", "pool_limit": "5%"},
        {"fault": "none", "kernel": (6, 18)},
    ],
    ids=["closed", "panic", "device", "no fault phase"],
)
def test_results_of_runs_that_went_wrong_obey_the_schema(more: dict[str, Any]) -> None:
    VALIDATOR.validate(Lab(**more).run(PAGES).to_dict())


def test_the_schema_describes_every_key_of_the_config() -> None:
    """A new setting is documented with the change that brings it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    node, workload = Node(managed=900, watermarks=(20, 25, 30)), Workload(pages=9)
    virtual = (
        Sim(lab=Lab(store="zswap", shrinker_enabled=True), node=node, workload=workload)
        .run(Calibration.sample()[:9])
        .config
    )
    assert set(SCHEMA["$defs"]["config"]["properties"]) == {*Lab().run(PAGES).config, *virtual}


def test_a_node_has_the_kernel_s_batch_for_its_size() -> None:
    managed = {4000: 1, 16_384: 3, 61_237: 15, 131_072: 31, 1 << 18: 63, 1 << 24: 63}
    assert {pages: Node(managed=pages).to_dict()["pcp_batch"] for pages in managed} == managed
    assert Node(managed=61_237, pcp_batch=7).batch == 7


def test_the_document_lists_the_schema_s_keys_in_order() -> None:
    text = (ROOT / "docs/formats.md").read_text().split("\n## Results\n")[1].split("\n##")[0]
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == SCHEMA["required"] == list(Lab().run(PAGES).to_dict())


@pytest.mark.parametrize(("errors", "more"), [(5, None), (8, "… and 3 more errors")])
def test_of_many_errors_the_first_five_are_shown(errors: int, more: str | None) -> None:
    said = report.text(Result.from_dict(golden("zswap") | {"errors": [f"number {n}" for n in range(errors)]}))
    assert said.count("error, no page lost: number ") == 5 and ("more errors" in said) == (more is not None)
    assert more is None or more in said


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.name)
def test_the_golden_results_load_add_up_and_are_written_again_byte_for_byte(path: Path, tmp_path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text()))
    result = Result.load(path)
    assert (result.check(), result.exit_code) == ([], 0)
    assert result.save(tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    result = Lab(threads=2, trace=True).run(PAGES)
    again = Result.load(result.save(tmp_path / "r.json"))
    assert again == result and hash(again) == hash(result)
    assert again.to_json() == result.to_json() and str(again) == str(result)
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_a_result_without_some_key_is_refused_by_its_name_or_needs_it_not(store: str) -> None:
    """Whatever is loaded can be printed and checked; whatever is refused is refused by the schema too."""
    good, refused = golden(store), 0
    for path in nodes(good):
        data = copy.deepcopy(good)
        del parent(data, path)[path[-1]]
        try:
            result = Result.from_dict(data, origin="some.json")
        except ResultFileError as error:
            refused += 1
            assert ".".join(map(str, path)) in str(error) and str(error).startswith("some.json: "), path
            assert "is missing" in str(error) or path == ("version",)
            assert not VALIDATOR.is_valid(data) or path[0] in ("vmstat", "zswap", "lifecycle", "census"), path
            continue
        assert {f.split(": ")[0] for f in result.check()} <= {"events add up", "pages in, fault"}, path
        assert shown(result, path)
    assert refused > 60


@pytest.mark.parametrize("value", ["x", True, -1, 1.5, [], {}], ids=repr)
def test_a_value_of_a_wrong_type_is_refused_by_its_name_or_harmless(value: Any) -> None:
    good = golden("zswap") | {"zram": golden("zram")["zram"]}
    for path in leaves(good):
        if path[0] in ALIKE and list(parent(good, path)).index(path[-1]) > 1:
            continue
        data = copy.deepcopy(good)
        if type(parent(data, path)[path[-1]]) is type(value) and value != -1:
            continue
        parent(data, path)[path[-1]] = value
        try:
            result = Result.from_dict(data, origin="some.json")
        except ResultFileError as error:
            assert str(path[0]) in str(error)
            assert not VALIDATOR.is_valid(data), path
        else:
            assert isinstance(result.check(), list) and shown(result, path), path


ODD: tuple[Any, ...] = (
    None,
    0,
    -1,
    10**20,
    2**70,
    10**400,
    0.5,
    nan,
    inf,
    "x",
    "",
    "\ud800",
    True,
    [],
    {},
    [1],
    [None],
    {"p50": 1},
)


@cache
def budgeted() -> str:
    """A run of two applications and their groups, one of which is written to."""
    groups = [{"name": "fg", "memory_max": "4M", "memory_reclaim": [{"at_ns": 0, "bytes": 4096}]}, {"name": "bg"}]
    apps = [
        {"kind": "zipf", "pages": 700, "touches": 3000, "memcg": "fg", "file_pages": 50},
        {"kind": "burst", "pages": 900, "memcg": "bg", "deadline_ns": 10**9},
    ]
    job = {"pages": "sample", "store": "zswap", "node": {"managed": 1500}, "memcg": groups, "workload": apps}
    return Job.from_dict(job).sim().to_json()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_result_is_refused_by_name_or_can_be_shown(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from([lambda: golden("zswap"), lambda: golden("zram"), lambda: json.loads(budgeted())])
    )()
    key = data.draw(st.sampled_from(["applications", "memcgs", "config", "threads", "timing", "error", *whole]))
    inner = [path for path in (*nodes(whole), *leaves(whole)) if path[0] == key]
    for path in data.draw(st.lists(st.sampled_from(inner), min_size=1, max_size=2)) if inner else [(key,)]:
        try:
            at = parent(whole, path)
            if data.draw(st.booleans()):
                at[path[-1]] = data.draw(st.sampled_from(ODD))
            else:
                del at[path[-1]]
        except (KeyError, IndexError, TypeError):  # the first has taken the second away
            continue
    try:
        result = Result.from_dict(whole, origin="some.json")
    except ResultFileError as error:
        assert str(error).startswith("some.json: ")
        return
    assert str(result).encode() and result.to_html().encode() and result._repr_html_() and result.to_json()
    assert str(Comparison((Entry("one", (result,), (result,)),))).encode()
    for what in ("measures", "series", "threads"):
        assert result.columns(what).to_arrow() is not None


@pytest.mark.parametrize("key", ["more", "lifecycle.more", "census.more"])
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    data = golden("zswap")
    parent(data, tuple(key.split(".")))["more"] = 1
    with pytest.raises(ResultFileError, match=re.escape(f"some.json: not a Result: unknown key {key}")):
        Result.from_dict(data, origin="some.json")
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "version None, not 1"),
        ('{"version": 2}', "version 2, not 1"),
        ('{"version": 1}', "kind is missing; config is missing"),
        ('{"version": 1, "kind": "advice"}', "is a stored advice, not a Result; print it: kcompressd show"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_files_that_are_no_results_are_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultFileError, match=re.escape(says)) as error:
        Result.load(path)
    assert str(path) in str(error.value)


def test_samples_without_their_times_are_no_series() -> None:
    data = golden("zswap")
    del data["series"]["t_ns"]
    with pytest.raises(ResultFileError, match=r"some\.json: not a Result: series\.t_ns is missing$"):
        Result.from_dict(data, origin="some.json")
    assert Result.from_dict({**data, "series": {"t_ns": [], "queue_len": []}}).to_html()


def test_a_write_to_memory_reclaim_may_not_have_ended_and_has_a_begin() -> None:
    data = json.loads(budgeted())
    write = data["memcgs"][1]["memory_reclaim"][0]
    write["end_ns"] = None
    result = Result.from_dict(data)
    assert "memory.reclaim took" not in str(Comparison((Entry("one", (result,), (result,)),)))
    del write["at_ns"]
    with pytest.raises(ResultFileError, match=r"memcgs\[1\]\.memory_reclaim\[0\]\.at_ns is missing"):
        Result.from_dict(data)


def test_what_is_nested_too_deeply_is_no_result() -> None:
    stored, nested = Lab().run(PAGES).to_dict(), {}
    for _ in range(900):  # as deep as json reads
        nested = {"a": nested}
    with pytest.raises(ResultFileError, match=r"r\.json: not a Result: maximum recursion depth"):
        Result.from_dict({**stored, "environment": nested}, origin="r.json")


def test_of_much_that_is_wrong_the_first_five_are_named() -> None:
    keys = [f"strange{number}" for number in range(7)]
    for count, end in ((5, r"strange4$"), (6, "; and 1 more$"), (7, "; and 2 more$")):
        with pytest.raises(ResultFileError, match=f"unknown key strange0; .*{end}"):
            Result.from_dict(Lab().run(PAGES).to_dict() | dict.fromkeys(keys[:count]))


def test_a_result_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    result = Result.load(GOLDEN[0])
    with pytest.raises(ResultFileError, match=f"{tmp_path}/none/r.json: cannot be written: No such file"):
        result.save(tmp_path / "none/r.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultFileError, match="folder: cannot be written: Is a directory"):
        result.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_name_as_long_as_names_may_be_is_one(tmp_path: Path) -> None:
    """Names have bytes: that of the temporary file was longer than the file's own, in letters of four."""
    path = tmp_path / ("\N{SNOWMAN WITHOUT SNOW}" * 2 + "\N{GRINNING FACE}" * 61)
    assert Result.load(Lab().run(PAGES).save(path)).pages == len(PAGES)


def covers(path: str, leaf: str) -> bool:
    return leaf == path or leaf.startswith(path + ".")


def pressed() -> dict[str, Any]:
    """A run with a memory budget, with every way out of the scan that the unofficial design has."""
    node = {"managed": 6100, "free": 5500, "file": 400, "watermarks": [49, 61, 73], "swap": 26_000}
    job = {"pages": "sample", "store": "zram", "design": "unofficial", "depth": 256, "machine": {"preset": "guest"}}
    found = Job.from_dict(job | {"node": node, "workload": {"kind": "usemem", "pages": 8000, "touches": 20_000}}).sim()
    assert found.check() == [] and found.vmstat.exit_add_to_swap * found.vmstat.pgscan_direct > 0
    whole = found.to_dict()
    fullest = int(np.argmax(whole["series"]["queue_len"]))
    # Of hundreds of samples, each of which would be changed and judged by itself.
    few = slice(max(0, fullest - 2), fullest + 3)
    return whole | {"series": {name: values[few] for name, values in whole["series"].items()}}


def with_a_file() -> dict[str, Any]:
    """A run whose application reads a file by a mapping, beside its own pages, and loses some of both."""
    apps = [
        {"kind": "zipf", "pages": 4000, "touches": 60_000, "file_pages": 3000, "file_access": "mapped"},
        {"kind": "eater", "pages": 4000, "start_ns": 60_000_000},
    ]
    job = {"pages": "sample", "store": "zram", "design": "april", "workload": apps}
    found = Job.from_dict(job | {"node": {"managed": 6000, "file": 300, "cpus": 2}}).sim()
    assert found.check() == [] and found.vmstat.workingset_restore_file > 0
    whole = found.to_dict()
    return whole | {"series": {name: values[-5:] for name, values in whole["series"].items()}}


@pytest.mark.parametrize("store", ["zswap", "zram", "zram, a memory budget", "zram, a file"])
def test_a_changed_counter_breaks_exactly_the_equations_that_name_it(store: str) -> None:
    store, _, budget = store.partition(", ")
    good = {"": lambda: golden(store), "a memory budget": pressed, "a file": with_a_file}[budget]()
    equations = [e for e in EQUATIONS if e.applies(Result.from_dict(good))]
    assert {e.store for e in equations} == {None, store}
    tested: set[str] = set()
    for path in leaves(good):
        value = parent(good, path)[path[-1]]
        if path[0] in ("version", "environment", "error") or not isinstance(value, int) or isinstance(value, bool):
            continue
        leaf = ".".join(map(str, path))
        naming = {e.name for e in equations if any(covers(p, leaf) for p in e.paths())}
        strict = {e.name for e in equations if e.name in naming and " ≤ " not in e.text}
        seen = set()
        for change in (10**9 + 7, 1 - value if value > 1 else -value):
            data = copy.deepcopy(good)
            parent(data, path)[path[-1]] = value + change
            failed = {failure.split(": ")[0] for failure in Result.from_dict(data).check()}
            assert failed <= naming, (leaf, change)
            assert not change or strict <= failed or leaf == "config.page_size", (leaf, change)
            seen |= failed
        assert leaf.startswith(("series", "config", "kcompressd")) or seen == naming or value == 0, (
            leaf,
            naming - seen,
        )
        tested |= seen
    assert {e.name for e in equations} - tested - {"contents"} == set()


def test_a_page_that_came_back_different_breaks_one_equation() -> None:
    data = golden("zswap") | {"mismatched": [3]}
    result = Result.from_dict(data)
    assert result.check() == ["contents: len(mismatched) = 0: 1 against 0"]
    assert result.exit_code == 1


def test_a_partial_result_is_held_against_what_holds_at_any_moment() -> None:
    data = golden("zswap") | {"complete": False, "error": {"kind": "cancelled", "message": "m", "actor": ""}}
    data["census"]["reclaim"]["queued"] += 1
    assert [f.split(": ")[0] for f in Result.from_dict(data).check()] == ["pages in, reclaim"]
    data["census"]["reclaim"]["compressed_freed"] -= 1
    assert Result.from_dict(data).check() == [] and Result.from_dict(data).exit_code == 3


def test_the_document_lists_exactly_the_equations_of_the_code() -> None:
    text = (ROOT / "docs/accounting.md").read_text()
    rows = re.findall(r"^\| ([^|`]+) \| `([^`]+)` \| ([^|]+) \|$", text, re.M)
    assert rows == [(e.name, e.text, e.when()) for e in EQUATIONS]
    words = re.findall(r"^\| `(\w+)` \| (`census.*) \|$", text, re.M)
    spelled = {w: tuple(re.findall(r"`census\.reclaim\.(\w+)`", sums)) for w, sums in words}
    assert spelled == PLACES
    assert len({e.name for e in EQUATIONS}) == len(EQUATIONS)


def test_every_state_has_one_place() -> None:
    places = [state for states in PLACES.values() for state in states]
    assert sorted([*places, "tail"]) == sorted(state.name for state in STATES)
