"""The judge: lawful traces pass, and any one alteration is named; with the sidecar and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import walks
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import lifecycle
from kcompressd.cli import main
from kcompressd.trace import RECORD, SYSTEM, Trace, decode_states, encode_states, seal, sidecar
from kcompressd.validate import Validation, validate

WIDTH = {name: RECORD[name].itemsize * 8 for name in RECORD.names}
LAWFUL = ("folio", "seq", "event", "from", "to", "guards")

seeds = st.integers(0, 2**32)
walked = st.builds(walks.complete, seeds, st.integers(1, 8), st.integers(1, 90))


def _sealed(trace: Trace) -> Trace:
    return Trace(trace.records, seal(trace.records, trace.meta or {}))


@settings(deadline=None)
@given(walked)
def test_a_lawful_trace_passes(trace: Trace) -> None:
    for meta in (seal(trace.records, trace.meta or {}), trace.meta, None):
        result = Trace(trace.records, meta).validate()
        assert result.ok and result.exit_code == 0, result.explain()
        assert sum(result.by_event.values()) == result.events == len(trace)


def test_walks_take_every_edge() -> None:
    """Else the property tests below would pass for want of trying."""
    taken = set()
    for seed in range(120):
        records = walks.complete(seed, 6, 600).records
        paged = records[records["folio"] != SYSTEM]
        taken |= set(zip(*(paged[n].tolist() for n in ("event", "from", "guards")), strict=True))
    every = {(r.event, r.source, r.require_value) for r in walks.LAW.rows}
    missing = {(walks.LAW.events[e], walks.LAW.states[s], g) for e, s, g in every - taken}
    assert not missing


def _altered(trace: Trace, data: st.DataObject, fields: tuple[str, ...], paged: bool) -> tuple[Trace, int, str]:
    candidates = range(len(trace))
    if paged:
        candidates = np.flatnonzero(trace.records["folio"] != SYSTEM).tolist()
    index = data.draw(st.sampled_from(candidates), "record")
    name = data.draw(st.sampled_from(fields), "field")
    old = int(trace.records[name][index])
    near = {
        "folio": len(set(trace.records["folio"].tolist())),
        "event": 23,
        "from": 17,
        "to": 17,
        "guards": 32,
    }
    plausible = st.integers(0, near.get(name, old + 2) - 1)
    anything = st.integers(0, 2 ** WIDTH[name] - 1)
    new = data.draw((plausible | anything).filter(lambda v: v != old and v < 2 ** WIDTH[name]), "value")
    records = trace.records.copy()
    records[name][index] = new
    return Trace(records, trace.meta), index, name


def _names(result: Validation, trace: Trace, before: Trace, index: int) -> bool:
    pages = {int(t.records["folio"][index]) for t in (trace, before)}
    return any(f.record == index or f.page in pages for f in result.findings)


@settings(max_examples=400, deadline=None)
@given(walked, st.data())
def test_any_altered_field_is_named_with_the_sidecar(trace: Trace, data: st.DataObject) -> None:
    sealed = _sealed(trace)
    altered, index, _ = _altered(sealed, data, RECORD.names, paged=False)
    result = altered.validate()
    assert not result.ok and result.exit_code == 1
    assert _names(result, altered, sealed, index), result.explain()
    assert any(f.check == "digest" and f.record == index for f in result.findings), result.explain()
    by_law = Trace(altered.records, trace.meta).validate().violations
    assert by_law <= 6, "the judge believes a refused record and goes on"


@settings(max_examples=400, deadline=None)
@given(walked, st.data())
def test_any_altered_step_is_explained_without_the_sidecar(trace: Trace, data: st.DataObject) -> None:
    """All but one corner: a page's last record given to another page that stands at the very same point."""
    bare = Trace(trace.records)
    altered, index, name = _altered(bare, data, LAWFUL, paged=True)
    if name == "folio" and _could_be_the_other_s(bare, altered, index):
        return
    result = altered.validate()
    assert not result.ok, (index, name, altered.records[index])
    assert _names(result, altered, bare, index), result.explain()
    assert result.first is not None and result.first.check not in ("digest", "count", "final states")


def _could_be_the_other_s(before: Trace, after: Trace, index: int) -> bool:
    """Nothing follows for either page, and the record continues the other page's past as well as its own."""
    old, new = (int(t.records["folio"][index]) for t in (before, after))
    later = set(before.records["folio"][index + 1 :].tolist())
    seq = int(before.records["seq"][index])
    return not later & {old, new} and int((before.records["folio"][:index] == new).sum()) == seq


@settings(deadline=None)
@given(walked, st.data())
def test_dropped_doubled_and_exchanged_records_are_caught_by_the_seal(trace: Trace, data: st.DataObject) -> None:
    sealed = _sealed(trace)
    index = data.draw(st.integers(0, len(trace) - 1))
    other = data.draw(st.integers(0, len(trace) - 1).filter(lambda i: i != index)) if len(trace) > 1 else 0
    exchanged = trace.records.copy()
    exchanged[[index, other]] = exchanged[[other, index]]
    doubled = np.insert(trace.records, index, trace.records[index])
    for records in (np.delete(trace.records, index), doubled, exchanged):
        if not np.array_equal(records, trace.records):
            assert Trace(records, sealed.meta).validate().exit_code == 1


@settings(deadline=None)
@given(walked, st.data())
def test_a_doubled_step_is_caught_by_the_law_alone(trace: Trace, data: st.DataObject) -> None:
    paged = np.flatnonzero(trace.records["folio"] != SYSTEM).tolist()
    index = data.draw(st.sampled_from(paged))
    result = Trace(np.insert(trace.records, index, trace.records[index])).validate()
    assert result.first is not None
    assert (result.first.check, result.first.record) == ("sequence", index + 1)


LIFE = [
    ("isolate", "isolated", "frame dirty mapped", 0x0100, 0),
    ("pageout", "unmapped", "frame locked reclaim swapcache", 0x0100, 0),
    ("queue", "queued", "frame locked reclaim swapcache", 0x0100, 1 << 48),
    ("compress", "compressing", "frame locked reclaim swapcache", 0x0200, 1 << 48),
    ("store", "compressed", "frame swapcache", 0x0200, 1000),
    ("reclaim", "compressed_freed", "", 0x0100, 0),
]


def _life(folio: int = 0, ticket: int = 0, start: int = 0) -> list[list[int]]:
    rows, state = [], "resident"
    for seq, (event, to, flags, actor, aux) in enumerate(LIFE):
        bits = sum(walks.FLAG[f] for f in flags.split())
        aux += ticket if aux >> 48 else 0
        ids = [walks.EVENT[event], walks.STATE[state], walks.STATE[to], 0]
        rows.append([start + 10 * seq, aux, folio, seq, actor, bits, *ids])
        state = to
    return rows


def _judge(rows: list[list[int]], **meta: Any) -> Validation:
    known: dict[str, Any] = {"pages": 4, "ordering": "total", "complete": True, "depths": [2], "in_hand": 0}
    return Trace(np.array([tuple(r) for r in rows], RECORD), sidecar(**(known | meta))).validate()


def _system(t_ns: int, event: int, aux: int) -> list[int]:
    return [t_ns, aux, SYSTEM, 0, 0x0300, 0, event, 0, 0, 0]


def _check(result: Validation) -> tuple[str, int | None, int | None] | None:
    return result.first and (result.first.check, result.first.record, result.first.page)


def test_one_life_is_lawful() -> None:
    assert _check(_judge(_life())) is None


@pytest.mark.parametrize(
    ("record", "column", "value", "check", "says"),
    [
        (2, 6, 200, "id", "an event, state or flag that does not exist"),
        (2, 3, 5, "sequence", "one is missing or altered"),
        (2, 3, 1, "sequence", "record 1 was already event number 1 of page 0"),
        (2, 7, 0, "from", "the page is unmapped"),
        (
            2,
            6,
            15,
            "edge",
            "unmapped knows no reclaim, only compress, load_error, queue, reject, write, zero",
        ),
        (2, 8, 4, "to", "queue leads from unmapped to queued"),
        (2, 9, 1, "guards", "guard bits 0x01 are not read by this transition"),
        (
            4,
            9,
            2,
            "to",
            "store leads from compressing to compressed when !mapped, or to resident_swapcache when mapped",
        ),
        (4, 5, 0x111, "flags", "compressed demands frame swapcache !dirty !locked !writeback !mapped"),
        (0, 5, 0x108, "effect", "the flags did not change as the event says"),
        (2, 0, 1, "time", "time runs backwards from 10 ns"),
        (2, 2, 9, "folio", "the trace has no such page"),
        (2, 1, 0, "ticket", "no ticket"),
        (2, 1, 2 << 48, "ticket", "no such queue"),
        (2, 1, 1 << 48 | 1, "ticket", "queue 0 gives position 0 next, not 1"),
        (3, 1, 1 << 48 | 1, "ticket", "position 1 of queue 0 does not hold this page"),
    ],
)
def test_each_check_explains(record: int, column: int, value: int, check: str, says: str) -> None:
    rows = _life()
    rows[record][column] = value
    result = _judge(rows)
    assert result.first is not None
    assert (result.first.check, result.first.record) == (check, record), result.explain()
    assert says in result.first.text, result.first.text
    assert "kswapd0" in result.first.text or "kcompressd0" in result.first.text


def test_the_explanation_shows_the_page_s_life_around_the_record() -> None:
    rows = _life()
    rows[4][8] = walks.STATE["written_back"]
    text = _judge(rows).findings[0].text.splitlines()
    assert text[0] == "to: the law leads to compressed"
    assert text[1].startswith(
        "  record 4 says: 40 ns, kcompressd0, page 0 event number 4, store, compressing → written_back"
    )
    assert [line.split()[:2] for line in text if "►" in line] == [["►", "40"]]
    assert sum("kswapd0" in line for line in text) == 3


def test_the_copy_s_place_decides_a_guard() -> None:
    """Compressed, mapped again, unmapped as if on the device: lawful by the table, not by the past."""
    mapped, bare = walks.flag_bits("frame swapcache mapped")[1], walks.flag_bits("frame swapcache")[1]
    hit = [60, 0, 0, 5, 0x0300, mapped, walks.EVENT["swapcache_hit"], 5, 15, 0]
    unmap = [70, 0, 0, 6, 0x0100, bare, walks.EVENT["unmap"], 15, 8, 0]
    assert _check(_judge([*_life()[:5], hit, unmap])) == ("guards", 6, 0)
    unmap[8:] = [5, walks.GUARD["in_pool"]]
    assert _check(_judge([*_life()[:5], hit, unmap])) is None


def test_the_knobs_decide_writeback_enabled() -> None:
    flags = walks.flag_bits("frame reclaim swapcache writeback")[1]
    reject = [25, 0, 0, 2, 0x0100, flags, walks.EVENT["reject"], 2, 7, 1]
    end = [60, 0, 0, 3, 0x0400, walks.flag_bits("frame swapcache")[1], walks.EVENT["end_writeback"], 7, 8, 0]
    memcgs = {"parents": [0, 0], "writeback": [1, 1], "of_page": [1, 1, 1, 1]}
    rows = [*_life()[:2], _system(20, 0x80, 0), reject, end]
    assert _check(_judge(rows, memcgs=memcgs)) == ("guards", 3, 0)
    rows[2] = _system(20, 0x80, 1)
    assert _check(_judge(rows, memcgs=memcgs)) is None
    rows[2] = _system(20, 0x80, 7 << 32 | 1)
    assert _check(_judge(rows, memcgs=memcgs)) == ("system", 2, None)


def _two(depth: int = 2, swap: bool = False, **meta: Any) -> Validation:
    """Two pages queued one after the other, then compressed, in order or not."""
    first, second = _life(0, 0), _life(1, 1)
    order = [first[:3], second[:3], *([second[3:], first[3:]] if swap else [first[3:], second[3:]])]
    rows = [r for part in order for r in part]
    for i, row in enumerate(rows):
        row[0] = i
    return _judge(rows, depths=[depth], **meta)


def test_a_queue_is_fifo_and_never_above_its_depth() -> None:
    assert _check(_two()) is None
    assert _check(_two(depth=1)) == ("depth", 5, 1)
    assert _check(_two(depth=1, in_hand=1)) is None
    assert _check(_two(swap=True)) == ("fifo", 6, 1)
    assert _check(_two(swap=True, in_hand=1)) == ("fifo", 9, 0), "one actor still takes them in order"


def test_a_resize_moves_the_limit() -> None:
    rows = [_system(0, 0x82, 0), *_life()]
    assert _check(_judge(rows)) == ("depth", 3, 0)
    assert _check(_judge([_system(0, 0x82, 1), *_life()])) is None


def test_a_complete_run_leaves_no_page_half_way() -> None:
    result = _judge(_life()[:4])
    assert _check(result) == ("unfinished", None, 0)
    assert "left compressing at the end" in result.explain()
    partial = _judge(_life()[:4], complete=False)
    assert partial.ok and partial.partial and partial.exit_code == 3


def test_a_live_trace_is_judged_by_what_its_order_can_tell() -> None:
    """Two actors' clocks may cross; one actor's may not, and it takes tickets in order."""
    rows = _life()
    rows[3][0] = rows[4][0] = 5
    live = {"ordering": "per-folio"}
    assert _check(_judge(rows, **live)) is None
    assert _check(_judge(rows)) == ("time", 3, 0)
    assert "queue depth" in _judge(rows, **live).unchecked
    rows[4][0] = 4
    assert _check(_judge(rows, **live)) == ("time", 4, 0)
    assert _check(_two(swap=True, ordering="per-folio")) == ("fifo", 9, 0)


def test_a_trace_of_another_law_says_so() -> None:
    law = lifecycle.table([e for e in lifecycle.EDGES if e.event != "reclaim"])
    sealed = _sealed(Trace(np.array([tuple(r) for r in _life()], RECORD), {"pages": 1}))
    result = validate(sealed, law)
    assert [f.check for f in result.findings] == ["edge", "table"]


def test_the_law_speaks_before_the_digest() -> None:
    sealed = _sealed(walks.complete(1, 4, 60))
    records = sealed.records.copy()
    records["to"][10] ^= 1
    checks = [f.check for f in Trace(records, sealed.meta).validate().findings]
    assert checks[0] not in ("digest", "final states") and "digest" in checks


def test_what_the_writer_says_of_the_final_states_is_compared() -> None:
    trace = walks.complete(2, 4, 60)
    meta = seal(trace.records, trace.meta or {})
    states = decode_states(meta["final_states"]).copy()
    states[2] ^= 1
    result = Trace(trace.records, meta | {"final_states": encode_states(states)}).validate()
    assert [(f.check, f.page) for f in result.findings] == [("final states", 2)]


def test_the_command_s_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, partial, bad = (tmp_path / n for n in ("good.npy", "partial.npy", "bad.npy"))
    walks.complete(1, 3, 30).save(good)
    half = np.array([tuple(r) for r in _life()[:3]], RECORD)
    Trace(half, sidecar(pages=1, ordering="total", complete=False)).save(partial)
    np.save(bad, np.zeros(3))
    codes = [main(["validate", str(p)]) for p in (good, partial, bad, tmp_path / "none.npy")]
    assert codes == [0, 3, 2, 2]
    data = bytearray(good.read_bytes())
    data[-1] ^= 0x80
    good.write_bytes(data)
    assert main(["validate", str(good)]) == 1
    said = capsys.readouterr().out
    assert "guards" in said and "partial" in said


def test_another_actor_s_page_is_not_taken_on() -> None:
    rows = _life()
    rows[4][4] = 0x0201  # stored by kcompressd1, begun by kcompressd0
    result = _judge(rows)
    assert result.first is not None
    assert (result.first.check, result.first.record) == ("owner", 4)
    assert "kcompressd0 has the page" in result.first.text


def test_an_activation_says_what_could_not_be_allocated() -> None:
    flags = walks.flag_bits("frame dirty mapped active")[1]
    activate = [20, 0, 0, 1, 0x0100, flags, walks.EVENT["activate"], 1, walks.STATE["activated"], 0]
    assert _check(_judge([_life()[0], activate])) == ("cause", 1, 0)
    activate[1] = 1
    assert _judge([_life()[0], activate]).ok


def test_the_store_holds_what_its_live_copies_have() -> None:
    assert _judge([*_life(), _system(100, 0x85, 1000)]).ok
    result = _judge([*_life(), _system(100, 0x85, 1001)])
    assert result.first is not None and result.first.check == "pool"
    assert "the store counts 1001 bytes, its live copies have 1000" in result.first.text


@pytest.mark.parametrize(("hold", "ok"), [("locked", True), ("writeback", False)])
def test_a_queued_folio_is_held_as_its_design_says(hold: str, ok: bool) -> None:
    meta = {"pages": 1, "config": {"design": {"hold": hold}}}
    result = Trace(np.array([tuple(r) for r in _life()], RECORD), meta).validate()
    assert result.ok is ok and "locked or writeback" in result.checked
    assert ok or (result.first is not None and result.first.check == "flags")


def test_the_others_are_shown_with_the_first_breach() -> None:
    rows = sorted([*_life(0), *_life(1, ticket=1, start=3)], key=lambda r: r[0])
    for r in rows:
        r[4] += r[2] if r[4] < 0x0200 else 0  # a kswapd each
    rows[-1][8] = walks.STATE["freed"]
    text = _judge(rows).explain()
    assert "the others before it:" in text and "kswapd0" in text
