"""Trace files: what is written, what is read back, what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import walks

from kcompressd import Lab, Pages
from kcompressd.timeline import timeline
from kcompressd.trace import RECORD, Trace, TraceError, sidecar_path
from kcompressd.trace_words import aux_text
from kcompressd.trace_writer import TraceWriter

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden/walk.npy"
SCHEMA = json.loads((ROOT / "docs/schema/trace-sidecar.schema.json").read_text())


def _saved(path: Path) -> Path:
    walks.complete(3, 5, 40).save(path / "t.npy")
    return path / "t.npy"


def test_the_golden_trace_loads_and_is_good() -> None:
    result = Trace.load(GOLDEN).validate()
    assert result.ok, result.explain()
    assert (result.exit_code, result.events) == (0, len(np.load(GOLDEN)))


def test_today_s_writer_writes_the_golden_bytes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN.with_name("make.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(tmp_path)
    for name in ("walk.npy", "walk.npy.json"):
        assert (tmp_path / name).read_bytes() == GOLDEN.with_name(name).read_bytes(), name


def test_the_sidecar_obeys_its_schema(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    meta = json.loads(sidecar_path(GOLDEN).read_text())
    validator.validate(meta)
    for key in SCHEMA["required"]:
        assert not validator.is_valid(
            {k: v for k, v in meta.items() if k != key},
        ), key


def test_a_record_is_32_bytes_in_the_documented_order() -> None:
    assert RECORD.itemsize == 32
    offsets = [RECORD.fields[n][1] for n in RECORD.names]
    assert offsets == [0, 8, 16, 20, 24, 26, 28, 29, 30, 31]
    bytes_ = np.array([(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)], RECORD).tobytes()
    assert bytes_.hex() == "010000000000000002000000000000000300000004000000050006000708090a"


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    trace = Trace.load(_saved(tmp_path))
    again = walks.complete(3, 5, 40)
    assert np.array_equal(trace.records, again.records)
    assert trace.meta is not None and trace.meta["pages"] == 5
    assert not isinstance(trace.records.base, np.ndarray) or isinstance(trace.records, np.memmap)


def test_a_seal_is_kept_when_an_altered_trace_is_saved_again(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    trace = Trace.load(path)
    records = np.array(trace.records)
    records["t_ns"][3] += 1
    Trace(records, trace.meta).save(tmp_path / "again.npy")
    assert Trace.load(tmp_path / "again.npy").validate().exit_code == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: p.write_bytes(b"not an array"), "not a trace"),
        (
            lambda p: p.write_bytes(p.read_bytes()[:-1]),
            "not a trace: damaged or cut short .*; fetch or record it again",
        ),
        (
            lambda p: p.write_bytes(p.read_bytes()[:40]),
            "not a trace: damaged or cut short .*; fetch or record it again",
        ),
        (lambda p: p.write_bytes(p.read_bytes().replace(b"),", b",,", 1)), "not a trace: damaged or cut short"),
        (lambda p: np.save(p, np.zeros(4)), "not a 1-d array of trace records"),
        (lambda p: sidecar_path(p).write_text("{"), "not JSON"),
        (lambda p: sidecar_path(p).write_text("[" * 100_000), "not JSON"),
        (lambda p: sidecar_path(p).write_text("[]"), "not the sidecar of a trace"),
        (lambda p: _edit(p, version=2), "version 2; this kcompressd reads 1"),
        (lambda p: _edit(p, sha256=None), "'sha256' is missing or of the wrong type"),
        (lambda p: _edit(p, final_states="?"), "t.npy.json"),
        (lambda p: _edit(p, queues={"depths": ["x"], "in_hand": 0}), "t.npy.json"),
        (lambda p: _edit(p, memcgs={"parents": [0], "writeback": [1], "of_page": [1] * 5}), "does not fit"),
        (lambda p: _edit(p, memcgs={"parents": [], "writeback": [], "of_page": []}), "t.npy.json"),
        (lambda p: _edit(p, memcgs={"parents": [0], "writeback": [1], "of_page": [-1] * 5}), "does not fit"),
        (lambda p: _edit(p, ordering="sorted"), "neither 'total' nor 'per-folio'"),
        (lambda p: _edit(p, config=[1]), "'config' is of the wrong type"),
        (lambda p: _edit(p, queues=5), "'queues' is of the wrong type"),
        (lambda p: _edit(p, memcgs=7), "'memcgs' is of the wrong type"),
        (lambda p: _edit(p, queues={"in_hand": 0}), "damaged sidecar: 'depths'"),
        (lambda p: _edit(p, locator=[1]), "damaged sidecar: "),
        (lambda p: _edit(p, config={"folio_order": 10}), "'config' has a folio_order of 10"),
        (
            lambda p: _edit(p, queues={"depths": [2**32], "in_hand": 0}),
            "'queues' has a number that is not from 0 to 4294967295",
        ),
        (
            lambda p: _edit(p, queues={"depths": [4], "in_hand": -1}),
            "'queues' has a number that is not from 0 to 4294967295",
        ),
        (lambda p: _edit(p, pages=2**32 - 1, memcgs=None), "'pages' is not from 0 to 4294967294"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, spoil: object, says: str) -> None:
    path = _saved(tmp_path)
    spoil(path)  # type: ignore[operator]
    with pytest.raises(TraceError, match=says) as error:
        Trace.load(path)
    assert str(tmp_path) in str(error.value)


ODD = [None, True, -1, 2**32, 2**70, 1e300, "x", "-", "0" * 64, [], [1], [[1]], {}, {"a": 1}]


def _places(tree: object, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield (*way, key)
        yield from _places(value, (*way, key))


def test_a_sidecar_with_any_odd_value_is_refused_in_words_or_judged(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    result = Lab(trace=True).run(Pages.sample()[:2])
    result.trace.save(path)
    good = json.loads(sidecar_path(path).read_text())
    refused = 0
    for *way, last in _places(good):
        for odd in ODD:
            edited = json.loads(json.dumps(good))
            place: Any = reduce(getitem, way, edited)
            place[last] = odd
            sidecar_path(path).write_text(json.dumps(edited))
            try:
                Trace.load(path).validate()
            except TraceError:
                refused += 1
    assert refused > 100


def _edit(path: Path, **changes: object) -> None:
    beside = sidecar_path(path)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | changes))


def test_a_page_s_life_reads_as_a_timeline() -> None:
    rows = [
        (100, 0, 7, 0, 0x0100, 0x300 | 0x008, 0, 0, 1, 0),
        (250, 3, 7, 1, 0x0100, 0x115, 2, 1, 2, 0),
        (250, 1 << 48 | 9, 7, 2, 0x0100, 0x115, 5, 2, 3, 0),
        (900, 1 << 48 | 9, 7, 3, 0x0201, 0x115, 6, 3, 4, 0),
        (950, 1 << 32 | 1234, 7, 4, 0x0201, 0x110, 7, 4, 5, 0),
    ]
    assert timeline(Trace(np.array(rows, RECORD)), 7).replace("\N{MINUS SIGN}", "-").splitlines() == [
        "page 7: 5 records, 850 ns from the first to the last",
        "  100 ns    +0  kswapd0      isolate   resident → isolated       -lru  · isolate_lru_folios()",
        "  250 ns  +150  kswapd0      pageout   isolated → unmapped       "
        "+locked +reclaim +swapcache -dirty -mapped  slot 3"
        "  · add_to_swap(), try_to_unmap(), folio_clear_dirty_for_io()",
        "  250 ns    +0  kswapd0      queue     unmapped → queued         "
        "queue 0, ticket 9  · handed to a kcompressd thread",
        "  900 ns  +650  kcompressd1  compress  queued → compressing      queue 0, ticket 9"
        "  · zswap_compress() or zram_write_page() begins",
        "  950 ns   +50  kcompressd1  store     compressing → compressed  -locked -reclaim  1234 bytes in zram"
        "  · zswap_store() or zram_write_page() succeeded",
        "it ends compressed (in the pool; its frame is still held)",
    ]


def test_an_activation_says_why() -> None:
    why = ["no swap slot", "no memory for the swap cache", "referenced at two looks", "aux 0x4"]
    assert [aux_text("activate", aux) for aux in range(5)] == ["", *why]


def test_a_page_without_records_is_named() -> None:
    with pytest.raises(LookupError, match="no record of page 99; the trace has pages 0 to 11"):
        timeline(Trace.load(GOLDEN), 99)


def test_a_full_disk_is_named_and_leaves_no_half_of_a_streamed_trace(tmp_path: Path) -> None:
    """The close writes what is buffered, and fails as well."""
    path = tmp_path / "t.npy"
    said = f"{path}: cannot be written: No space left on device"
    with pytest.raises(TraceError, match=f"^{said}$"), TraceWriter(path, 1) as writer, open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), writer._file.fileno())
        for _ in range(3):  # a run goes on without its trace
            writer.write(np.zeros(1000, RECORD).tobytes())
        writer.finish({})
    assert list(tmp_path.iterdir()) == []
