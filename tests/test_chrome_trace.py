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

from kcompressd import Job, Lab, Memcg, Pages
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
    assert by_thread
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


def test_windows_side_by_side_hold_what_the_whole_holds(trace: Trace) -> None:
    """Each record in one of them, nothing outside its window, and counters and waits begin as the whole has them there."""
    times = sorted({event["ts"] for event in events(trace) if event["ph"] in "iC"})
    edges = [0.0, *(1e3 * times[len(times) * part // 4] for part in (1, 2, 3)), float("inf")]
    held: Counter[tuple[int, int]] = Counter()
    for window in itertools.pairwise(edges):
        found = list(events(trace, window=window))
        assert [e for e in found if not VALIDATOR.is_valid(e)] == []
        shown = [e for e in found if e["ph"] != "M"]
        assert all(window[0] <= 1e3 * e["ts"] + 1e-6 and 1e3 * (e["ts"] + e.get("dur", 0)) <= window[1] for e in shown)
        for event in shown:
            args = event.get("args", {})
            held.update((args["page"], part["seq"]) for part in (args, args.get("end", {})) if "seq" in part)
        before = [e for e in events(trace) if e["ph"] in "Cbe" and 1e3 * e["ts"] < window[0]]
        levels = {e["name"]: e["args"] for e in before if e["ph"] == "C"}
        levels = {name: args for name, args in levels.items() if name.startswith("queue") or any(args.values())}
        first = {e["name"]: e["args"] for e in shown if e["ph"] == "C" and e["ts"] == window[0] / 1e3}
        assert levels.keys() <= first.keys()
        waits = Counter[tuple[str, int]]()
        for event in before:
            if event["ph"] in "be":
                waits[event["cat"], event["id"]] += 1 if event["ph"] == "b" else -1
        begun = {(e["cat"], e["id"]) for e in shown if e["ph"] == "b" and e["ts"] == window[0] / 1e3}
        assert {wait for wait, n in waits.items() if n} <= begun
    assert of_pages(trace) <= set(held)


def test_with_the_result_free_pages_stand_against_the_watermarks(tmp_path: Path) -> None:
    eater = {"kind": "eater", "pages": 1400}
    job = Job.from_dict({"pages": "sample", "node": {"managed": 900}, "workload": eater})
    result = job.sim(trace=tmp_path / "t.npy")
    result.save(tmp_path / "r.json")
    (tmp_path / "other.json").write_text(
        json.dumps(result.to_dict() | {"config": {**result.to_dict()["config"], "pages": 7}})
    )
    command = ["export", str(tmp_path / "t.npy"), "-o", str(tmp_path / "t.json"), "--from", "1ms", "--to", "4.5ms"]
    assert main([*command, "--result", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    free = [(event["ts"], event["args"]["value"]) for event in found if event["name"] == "Free"]
    sampled = zip(result.series.t_ns, result.series.free_pages, strict=True)
    assert free == [(t / 1e3, pages) for t, pages in sampled if 1e6 <= t < 4.5e6] and len(free) > 5
    marks = {event["name"]: event["args"]["value"] for event in found if event["name"].endswith("watermark")}
    assert marks == dict(
        zip(("min watermark", "low watermark", "high watermark"), result.config.node.watermarks, strict=True)
    )
    assert main([*command, "--result", str(tmp_path / "other.json")]) == 2


@pytest.mark.parametrize(
    ("window", "says"),
    [("--from 5ms --to 5ms", "is not before --to"), ("--from 3", "'3' is no time with its unit"), ("--to 1h", "'1h'")],
)
def test_a_window_that_is_none_is_refused(
    window: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["export", str(tmp_path / "t.npy"), "-o", str(tmp_path / "t.json"), *window.split()])
    except SystemExit as left:
        code = left.code
    assert code == 2 and says in capsys.readouterr().err


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
