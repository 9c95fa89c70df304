"""Traces of real runs, altered in every way: one field, one record dropped, doubled or exchanged; with the sidecar nothing
passes, without it whatever breaks the law is explained. (tests/test_validate.py does the same to random lawful walks.)
"""

from __future__ import annotations

import functools
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_validate as law
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Lab, Memcg, Pages
from kcompressd.faults import IoFaults, Plant
from kcompressd.lifecycle_enums import Event
from kcompressd.trace import RECORD, SYSTEM, Trace, decode_states, encode_states, seal

PAGES = Pages.sample()[::24]
GROUP = Memcg("g", writeback=False, zswap_max=32 << 10)
LABS = {
    "split": Lab(design="split", threads=2, io_faults=IoFaults(writes=(1, 2), reads=(0,))),
    "split, group": Lab(design="split", memcgs=[GROUP], memcg_of=[1] * len(PAGES), fault="shuffled", app_threads=2),
    "april, limit": Lab(design="april", pool_limit="12%", threads=2, depth=8),
    "async-store, zram": Lab(design="async-store", store="zram", threads=2, depth=4),
    "rfc, zram": Lab(design="rfc", store="zram", pool_limit="20%"),
    "unofficial": Lab(design="unofficial", depth=3, kernel=(6, 18)),
    "sync": Lab(design="sync", compressor="zstd"),
    "split, folios of 4": Lab(design="split", folio_order=2, kernel=(6, 18), pool_limit="40%", threads=2),
    "cut short": Lab(design="split", plant=Plant(panic_in="kcompressd0", after_pages=9)),
}
BESIDE = ("digest", "count", "final states", "table")
UNLAWFUL = tuple(name for name in RECORD.names if name not in law.LAWFUL)

some_run = st.sampled_from(sorted(LABS)).map(lambda name: run(name))


@functools.cache
def run(name: str) -> Trace:
    """The sealed trace of a run, made once."""
    from dataclasses import replace

    trace = replace(LABS[name], trace=True).run(PAGES).trace
    return Trace(trace.records, seal(trace.records, trace.meta or {}))


def bare(trace: Trace) -> Trace:
    return Trace(trace.records)


@pytest.mark.parametrize("name", LABS)
def test_a_run_s_trace_is_lawful_with_and_without_its_sidecar(name: str) -> None:
    trace = run(name)
    assert trace.validate().ok, trace.validate().explain()
    assert trace.validate().exit_code == (3 if name == "cut short" else 0)
    assert bare(trace).validate().ok


def test_the_runs_take_most_events() -> None:
    """Else there would be little to alter."""
    events = {int(e) for name in LABS for e in np.unique(run(name).records["event"]) if e < 0x80}
    assert len(events) >= 18, sorted(events)


@settings(max_examples=300, deadline=None)
@given(some_run, st.data())
def test_a_changed_step_is_explained_by_the_law_with_the_sidecar_and_without(trace: Trace, data: st.DataObject) -> None:
    altered, index, name = law._altered(trace, data, law.LAWFUL, paged=True)
    sealed, alone = altered.validate(), bare(altered).validate()
    assert any(f.check == "digest" and f.record == index for f in sealed.findings), sealed.explain()
    if name == "folio" and law._could_be_the_other_s(trace, altered, index):
        return  # docs/formats.md: the one change that the law alone cannot see
    for result in (sealed, alone):
        assert result.exit_code == 1 and result.first is not None
        assert result.first.check not in BESIDE, result.explain()
        assert law._names(result, altered, trace, index), result.explain()


@settings(max_examples=200, deadline=None)
@given(some_run, st.data())
def test_an_altered_time_actor_size_or_flag_is_named_by_the_sidecar(trace: Trace, data: st.DataObject) -> None:
    altered, index, _ = law._altered(trace, data, UNLAWFUL, paged=False)
    result = altered.validate()
    assert result.exit_code == 1
    assert any(f.check == "digest" and f.record == index for f in result.findings), result.explain()
    alone = bare(altered).validate()
    assert alone.ok or (alone.first is not None and alone.first.check not in BESIDE)


@pytest.mark.parametrize("event", range(0x80, 0x87))
def test_an_i_o_error_turned_into_something_else_is_named_without_the_sidecar(event: int) -> None:
    trace = run("split")
    errors = np.flatnonzero(trace.records["event"] == 0x83)
    assert len(errors) == 2
    for index in errors:
        records = np.array(trace.records)
        records["event"][index] = event
        first = Trace(records).validate().first
        assert (first and first.record) == (None if event == 0x83 else index)


@pytest.mark.parametrize("name", LABS)
def test_what_became_an_i_o_error_and_what_is_missing_of_one_is_named_without_the_sidecar(name: str) -> None:
    trace = run(name)
    for index in np.flatnonzero(trace.records["folio"] == SYSTEM):
        records = np.array(trace.records)
        if records["event"][index] == 0x83:
            said, records = ("write", None), np.delete(records, index)
        else:
            said, records["event"][index] = ("system", index), 0x83
        first = Trace(records).validate().first
        assert first is not None and said in ((first.check, first.record), (first.check, None)), name


@pytest.mark.parametrize("name", LABS)
def test_a_run_s_phases_begin_in_order_and_the_store_is_asked_before_each(name: str) -> None:
    trace = run(name)
    phases = np.flatnonzero(trace.records["event"] == 0x84)
    assert trace.records["aux"][phases].tolist() == ([0] if name == "cut short" else [0, 1, 2])
    for later in phases[1:]:
        asked = np.flatnonzero((trace.records["event"] == 0x85) & (np.arange(len(trace)) < later))[-1]
        for index, field, value in (
            (later, "aux", 0),
            (later, "aux", 3),
            (asked, "event", 0x82),
            (asked, "event", 0x80),
        ):
            records = np.array(trace.records)
            records[field][index] = value
            first = Trace(records).validate().first
            assert first is not None and first.check == "system" and first.record in (index, later)


def test_the_last_folio_is_known_without_its_first_records() -> None:
    trace = run("split, folios of 4")
    records = trace.records
    last = int(records["folio"][records["folio"] != SYSTEM].max())
    for page in range(last - 3, last + 1):
        first = int(np.flatnonzero((records["folio"] == page) & (records["seq"] == 0))[0])
        found = Trace(np.delete(records, first)).validate().first
        assert found is not None and (found.check, found.page) == ("sequence", page)


@settings(max_examples=150, deadline=None)
@given(some_run, st.data())
def test_a_dropped_or_doubled_record_is_counted_by_the_sidecar_and_seen_in_the_sequence(
    trace: Trace, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(trace) - 1))
    page = int(trace.records["folio"][index])
    dropped = np.delete(trace.records, index)
    doubled = np.insert(trace.records, index, trace.records[index])
    for records, more in ((dropped, -1), (doubled, 1)):
        result = Trace(records, trace.meta).validate()
        said = f"count: the sidecar says {len(trace)} records, the file has {len(trace) + more}"
        assert result.exit_code == 1 and said in [f.text for f in result.findings]
    if page == SYSTEM:
        return
    alone = Trace(doubled).validate()
    assert alone.first is not None and (alone.first.check, alone.first.page) == ("sequence", page)
    if page in trace.records["folio"][index + 1 :]:
        alone = Trace(dropped).validate()
        said = {("sequence", page)}
        if trace.records["event"][index] == Event.REDIRTY:
            said.add(("system", None))  # the device's next I/O error comes before the page's next record
        assert alone.first is not None and (alone.first.check, alone.first.page) in said
    else:
        final = [f.page for f in Trace(dropped, trace.meta).validate().findings if f.check == "final states"]
        moved = trace.records["from"][index] != trace.records["to"][index]
        assert final == ([page] if moved else [])


@settings(max_examples=150, deadline=None)
@given(some_run, st.data())
def test_exchanged_records_are_caught_by_the_digest_and_those_of_one_page_by_the_law(
    trace: Trace, data: st.DataObject
) -> None:
    one = data.draw(st.integers(0, len(trace) - 1))
    page = int(trace.records["folio"][one])
    same_page = [i for i in trace.of_page(page).tolist() if i != one]
    anywhere = st.integers(0, len(trace) - 1).filter(lambda i: i != one)
    two = data.draw(anywhere | st.sampled_from(same_page) if same_page else anywhere)
    records = np.array(trace.records)
    records[[one, two]] = records[[two, one]]
    if np.array_equal(records, trace.records):
        return
    result = Trace(records, trace.meta).validate()
    assert result.exit_code == 1
    assert "digest" in {f.check for f in result.findings}, result.explain()
    if page != SYSTEM and two in same_page:
        alone = Trace(records).validate()
        assert alone.first is not None and (alone.first.check, alone.first.page) == ("sequence", page)


@pytest.mark.parametrize("name", LABS)
def test_an_altered_sidecar_is_held_against_the_records(name: str) -> None:
    trace = run(name)
    meta = dict(trace.meta or {})
    states = decode_states(meta["final_states"]).copy()
    states[3] ^= 1
    changes = {
        "count": {"records": len(trace) + 1},
        "digest": {"sha256": "0" * 64, "locator": ["0" * 16] * 2},
        "final states": {"final_states": encode_states(states)},
        "table": {"table": "0" * 64},
    }
    for check, change in changes.items():
        result = Trace(trace.records, meta | change).validate()
        assert result.exit_code == 1 and [f.check for f in result.findings] == [check], result.explain()


def test_a_cut_tail_is_counted_and_an_empty_trace_is_no_crash() -> None:
    trace = run("split")
    for end in (len(trace) // 2, 1, 0):
        result = Trace(trace.records[:end], trace.meta).validate()
        assert result.exit_code == 1 and "count" in {f.check for f in result.findings}
        assert Trace(trace.records[:end]).validate().exit_code in (0, 3)


@pytest.mark.parametrize("damaged", ["record", "sidecar"])
def test_a_damaged_number_takes_no_memory_for_all_the_pages_below_it(tmp_path: Path, damaged: str) -> None:
    """A store of the last page that there can be, and a sidecar of as many pages, judged in 3 GiB of addresses."""
    trace = run("split")
    records = np.array(trace.records)
    meta = {key: value for key, value in (trace.meta or {}).items() if key != "memcgs"}  # which number the pages too
    if damaged == "record":
        records["folio"][np.flatnonzero(records["event"] == Event.STORE)[0]] = SYSTEM - 2
        np.save(tmp_path / "t.npy", records)
    else:
        Trace(records, {**meta, "pages": SYSTEM - 1}).save(tmp_path / "t.npy")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    command = [sys.executable, "-m", "kcompressd", "validate", "t.npy"]
    ended = subprocess.run(command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, ""), ended.stderr
    said = {"record": f"page {SYSTEM - 2}", "sidecar": f"the sidecar has {len(PAGES)} for {SYSTEM - 1} pages"}
    assert said[damaged] in ended.stdout
