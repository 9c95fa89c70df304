"""The export for Perfetto: complete, well-formed, and as the counters say."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kcompressd import Lab, Memcg, Pages
from kcompressd.chrome_trace import events
from kcompressd.cli import main
from kcompressd.faults import Plant
from kcompressd.trace import SYSTEM, Trace

PAGES = Pages.sample()[::12]
EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["ph", "name", "pid", "tid"],
    "properties": {
        "ph": {"enum": ["X", "i", "b", "e", "s", "f", "C", "M"]},
        "name": {"type": "string", "minLength": 1},
        "ts": {"type": "number", "minimum": 0},
        "dur": {"type": "number", "minimum": 0},
    },
    "allOf": [
        {"if": {"properties": {"ph": {"not": {"const": "M"}}}}, "then": {"required": ["ts"]}},
        {"if": {"properties": {"ph": {"const": "X"}}}, "then": {"required": ["dur", "args"]}},
        {"if": {"properties": {"ph": {"enum": ["b", "e", "s", "f"]}}}, "then": {"required": ["id", "cat"]}},
        {"if": {"properties": {"ph": {"const": "C"}}}, "then": {"required": ["args"]}},
        {"if": {"properties": {"ph": {"const": "i"}}}, "then": {"required": ["s"]}},
    ],
}
VALIDATOR = jsonschema.Draft202012Validator(EVENT)
RUNS: dict[str, dict[str, Any]] = {
    "sync": {"design": "sync"},
    "april": {"design": "april", "threads": 2, "depth": 8},
    "split, pool limit": {"design": "split", "threads": 2, "pool_limit": "10%"},
    "head": {"design": "unofficial", "threads": 1, "depth": 4, "store": "zram"},
    "groups": {
        "design": "split",
        "memcgs": (Memcg("a", writeback=False),),
        "memcg_of": [i % 2 for i in range(len(PAGES))],
    },
    "cut short": {"design": "split", "threads": 1, "plant": Plant(after_pages=9)},
}


@pytest.fixture(scope="module", params=RUNS)
def trace(request: pytest.FixtureRequest) -> Trace:
    return Lab(trace=True, **RUNS[request.param]).run(PAGES).trace


def of_pages(trace: Trace) -> set[tuple[int, int]]:
    return {(int(r["folio"]), int(r["seq"])) for r in trace.records if r["folio"] != SYSTEM}


def test_every_record_is_in_exactly_one_event(trace: Trace) -> None:
    held: Counter[tuple[int, int]] = Counter()
    for event in events(trace):
        args = event.get("args", {})
        if "seq" in args:
            held[args["page"], args["seq"]] += 1
        if "end" in args:
            held[args["page"], args["end"]["seq"]] += 1
    assert set(held) == of_pages(trace) and set(held.values()) <= {1}


def test_events_have_the_format_s_fields(trace: Trace) -> None:
    found = list(events(trace))
    assert [e for e in found if not VALIDATOR.is_valid(e)] == []
    named = {e["tid"] for e in found if e["name"] == "thread_name"}
    assert {e["tid"] for e in found if e["ph"] == "X"} <= named
    assert json.loads(json.dumps(found)) == found


def test_what_begins_ends_and_never_before(trace: Trace) -> None:
    open_: dict[tuple[Any, ...], float] = {}
    for event in events(trace):
        key = (event.get("cat"), event.get("id"))
        if event["ph"] in "bs":
            assert key not in open_
            open_[key] = event["ts"]
        elif event["ph"] in "ef":
            assert open_.pop(key) <= event["ts"]
    assert open_ == {} or not (trace.meta or {})["complete"]


def test_slices_of_one_thread_do_not_cut_across_each_other(trace: Trace) -> None:
    by_thread: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for event in events(trace):
        if event["ph"] == "X":
            by_thread[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in by_thread.values():
        ends: list[float] = []
        for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while ends and ends[-1] <= begin + 1e-6:
                ends.pop()
            assert not ends or end <= ends[-1] + 1e-6
            ends.append(end)


def test_counters_count_the_queues(trace: Trace) -> None:
    found = list(events(trace))
    depths: dict[str, list[int]] = defaultdict(list)
    for event in found:
        if event["name"].startswith("queue ") and event["ph"] == "C":
            depths[event["name"]].append(event["args"]["folios"])
    queued = sum(e["ph"] == "s" for e in found)
    assert sum(values.count(1) > 0 for values in depths.values()) == len(depths)
    for values in depths.values():
        assert min(values) >= 0 and all(abs(a - b) == 1 for a, b in itertools.pairwise(values))
        assert values[-1] == 0 or not (trace.meta or {})["complete"]
    assert sum(len(values) for values in depths.values()) <= 2 * queued
    assert bool(queued) == ((trace.meta or {})["config"]["design"]["enqueue_at"] != "never")


def test_the_verb_writes_the_same_plain_and_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = Lab(design="split", trace=True).run(PAGES).trace
    trace.save(tmp_path / "t.npy")
    for name in ("t.json", "t.json.gz"):
        assert main(["export", str(tmp_path / "t.npy"), "-o", str(tmp_path / name)]) == 0
    assert f"events of {len(trace)} records" in capsys.readouterr().out
    plain = (tmp_path / "t.json").read_bytes()
    assert gzip.decompress((tmp_path / "t.json.gz").read_bytes()) == plain
    data = json.loads(plain)
    assert data["traceEvents"] == list(events(trace)) and data["otherData"]["records"] == len(trace)
    assert data["otherData"]["design"] == "split"
    assert main(["export", str(tmp_path / "t.npy"), "-o", str(tmp_path / "none/t.json")]) == 2
    assert main(["export", str(tmp_path / "none.npy"), "-o", str(tmp_path / "t.json")]) == 2


def test_an_empty_trace_is_exported_too(tmp_path: Path) -> None:
    trace = Lab(trace=True).run(PAGES[:1]).trace
    none = Trace(trace.records[:0], trace.meta)
    assert {e["ph"] for e in events(none)} == {"M"}
