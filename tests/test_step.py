"""Step by step from Python: the calls and what they refuse (tests/test_stateful.py walks the core beside the model)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import DeviceError, Lab, NotAtHead, Pages, ProtocolViolation, StepError, Stepper, _core, lifecycle
from kcompressd.errors import LabError
from kcompressd.faults import IoFaults
from kcompressd.memcg import Memcg
from kcompressd.trace_words import SYSTEM_EVENTS, aux_text

README = Path(__file__).parent.parent / "README.md"
PAGE, ZERO, NOISE = 4096, 4, 5


def _pages() -> Pages:
    """Four pages that compress, one of zeros, one of noise."""
    ramp = np.arange(PAGE) // 16
    pages = np.stack([ramp * (number + 3) % 256 for number in range(6)]).astype(np.uint8)
    pages[ZERO] = 0
    pages[NOISE] = np.random.default_rng(1).integers(0, 256, PAGE, np.uint8)
    return Pages.from_array(pages)


PAGES = _pages()
LAW = lifecycle.machine()


def _lawful(stepper: Stepper) -> None:
    validation = stepper.trace.validate()
    assert validation.ok, validation.explain()
    counted = {name: count for name, count in stepper.counters.lifecycle.by_event.items() if count}
    assert {name: n for name, n in validation.by_event.items() if name not in SYSTEM_EVENTS} == counted


@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_a_page_goes_out_and_every_byte_comes_back(design: str, store: Any) -> None:
    stepper = Lab(design=design, store=store).step(PAGES)
    for folio in stepper:
        state = folio.queue()
        asynchronous = design != "sync" and (design, store) != ("rfc", "zswap")
        assert (state == "queued") == (asynchronous and folio.page != ZERO)
        if state == "queued":
            state = folio.compress()
        if state == "writing_back":
            state = folio.write_back()
        if not state.endswith("_freed"):
            state = folio.reclaim()
        assert state == folio.state and state.endswith("_freed")
        assert folio.fault() is True
        assert "mapped" in folio.flags
    _lawful(stepper)
    assert stepper.trace.meta is not None and stepper.trace.meta["complete"]
    assert [folio.free() for folio in stepper] == ["freed"] * len(PAGES)
    assert stepper.counters.census.freed == len(PAGES)
    _lawful(stepper)


def test_a_page_behind_others_is_refused_with_their_names() -> None:
    stepper = Lab(design="april").step(PAGES)
    for page in (2, 0, 3):
        stepper[page].queue()
    assert [folio.page for folio in stepper.queues[0]] == [2, 0, 3]
    with pytest.raises(NotAtHead, match=r"page 3: not at the head of kcompressd0's line: pages 2, 0 ahead") as refused:
        stepper[3].compress()
    assert (refused.value.page, refused.value.state, refused.value.ahead) == (3, "queued", [2, 0])
    assert isinstance(refused.value, StepError)
    assert [stepper[page].compress() for page in (2, 0, 3)] == ["compressed"] * 3


def test_an_illegal_event_names_page_state_event_and_actor() -> None:
    stepper = Lab().step(PAGES)
    folio = stepper[3]
    folio.queue()
    before = (folio.state, folio.flags, len(stepper.trace))
    with pytest.raises(ProtocolViolation) as refused:
        folio.fire("store")
    error = refused.value
    assert (error.page, error.state, error.event, error.actor) == (3, "queued", "store", "script")
    assert str(error).startswith("page 3: store in state queued by script: ") and error.reason in str(error)
    assert (folio.state, folio.flags, len(stepper.trace)) == before
    assert stepper.counters.lifecycle.violations == 1
    with pytest.raises(ValueError, match=r"unknown event \"swap\"; known: isolate, putback"):
        folio.fire("swap")


def test_a_page_in_the_wrong_place_is_refused_with_its_state() -> None:
    stepper = Lab().step(PAGES)
    folio = stepper[0]
    folio.queue()
    for call, needs in ((folio.queue, "resident or redirtied"), (folio.free, "at rest")):
        with pytest.raises(StepError, match=needs) as refused:
            call()
        assert (refused.value.page, refused.value.state) == (0, "queued")
    with pytest.raises(StepError, match="app0 waits for the lock of page 1"):
        april = Lab(design="april").step(PAGES)
        april[1].queue()
        april[1].fault()
    with pytest.raises(IndexError):
        stepper[len(PAGES)]


GROUPS = [["/", "a", "b"], ["a", "/", "b"], ["a", "b", "/"], ["a", "b"]]


@pytest.mark.parametrize("names", GROUPS, ids=" ".join)
def test_a_group_s_number_is_the_same_wherever_the_root_is_listed(names: list[str]) -> None:
    stepper = Lab(design="sync", memcgs=[Memcg(name) for name in names], memcg_of=[0, 1, 2, 0, 1, 2]).step(PAGES)
    for name in ("a", "b"):
        stepper.set_zswap_max(0, name)
    stepper.set_writeback(False, "a")
    assert [stepper[page].queue() for page in (0, 1, 2)] == ["compressed_freed", "activated", "writing_back"]
    _lawful(stepper)


def test_knobs_limits_and_faults() -> None:
    lab = Lab(memcgs=[Memcg("child")], memcg_of=[1] * len(PAGES), io_faults=IoFaults(writes=(0,), reads=(0,)))
    stepper = lab.step(PAGES)
    noise = stepper[NOISE]
    noise.queue()
    stepper.set_writeback(False)
    assert noise.compress() == "activated", "denied at the root, for the child too"
    assert noise.fault() and noise.state == "resident"
    stepper.set_writeback(True)
    stepper.set_writeback(True, "child")
    assert [noise.queue(), noise.compress(), noise.write_back()] == ["queued", "writing_back", "redirtied"]
    assert len(stepper.errors) == 1
    assert [noise.queue(), noise.compress()] == ["queued", "writing_back"]
    assert [folio.page for folio in stepper.device] == [NOISE]
    assert [noise.write_back(), noise.reclaim()] == ["written_back", "written_back_freed"]
    with pytest.raises(DeviceError, match="read of slot"):
        noise.fault()
    assert noise.fault()
    stepper.set_depth(0)
    assert stepper[0].queue() == "compressed_freed"
    with pytest.raises(ValueError, match="above the capacity"):
        stepper.set_depth(1000)
    with pytest.raises(ValueError, match="no queue 7: there are 1"):
        stepper.set_depth(1, queue=7)
    with pytest.raises(LabError, match="child"):
        stepper.set_writeback(True, "nobody")
    for percent in (0, 100):
        stepper.set_pool_limits(percent, percent)
    for limits in (-1, 90), (101, 90), (90, -1), (90, 101):
        with pytest.raises(ValueError, match="is not between 0 and 100"):
            stepper.set_pool_limits(*limits)
    _lawful(stepper)


def test_a_full_pool_sends_pages_to_the_device() -> None:
    stepper = Lab(pool_limit=PAGE).step(PAGES)
    assert [stepper[0].queue(), stepper[0].compress()] == ["queued", "compressed"]
    assert stepper[1].queue() == "writing_back"
    assert stepper.counters.zswap.pool_limit_hit == 1
    _lawful(stepper)


def test_how_they_show_themselves() -> None:
    stepper = Lab().step(PAGES)
    folio = stepper[1]
    folio.queue()
    assert repr(folio) == "<Folio 1 queued: writeback reclaim swapcache lru frame>"
    assert repr(stepper) == "<Stepper 6 pages: 5 resident, 1 queued>"
    assert [step.event for step in folio.history] == ["isolate", "pageout", "queue", "putback"]
    assert "steps" in str(folio) and " ns" not in str(folio)
    assert stepper[1:3] == stepper.folios[1:3]


def test_a_saved_trace_of_steps_is_valid(tmp_path: Path) -> None:
    stepper = Lab(compressor="zstd").step(PAGES)
    stepper[0].queue()
    stepper[0].compress()
    stepper.trace.save(tmp_path / "t.npy")
    from kcompressd.trace import Trace

    validation = Trace.load(tmp_path / "t.npy").validate()
    assert validation.ok and validation.complete, validation.explain()


def test_the_readme_s_example_runs_as_it_says() -> None:
    section = README.read_text().split("## Step by step")[1].split("\n## ")[0]
    code, printed = re.findall(r"```(?:python)?\n(.*?)```", section, re.S)[:2]
    shown: list[str] = []
    exec(code, {"print": lambda *words: shown.append(" ".join(map(str, words)))})
    assert "\n".join(shown).split("\n") == printed.strip().split("\n")


def test_a_law_changed_in_python_changes_what_the_core_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pages, design and core; only an edge of the definition is gone, or one is new."""
    from kcompressd import lifecycle, step

    def queue_under(edges: list[lifecycle.Edge]) -> str:
        law = lifecycle.table(edges)
        monkeypatch.setattr(step, "table", lambda: law)
        return Lab(design="april").step(PAGES)[0].queue()

    edges = list(lifecycle.EDGES)
    assert queue_under(edges) == "queued"
    without = [edge for edge in edges if (edge.event, edge.source) != ("queue", "unmapped")]
    assert len(without) < len(edges)
    with pytest.raises(ProtocolViolation, match="page 0: queue in state unmapped by kswapd0") as refused:
        queue_under(without)
    assert (refused.value.event, refused.value.state) == ("queue", "unmapped")
    (moved,) = [edge for edge in edges if (edge.event, edge.source) == ("queue", "unmapped")]
    assert queue_under([*without, dataclasses.replace(moved, to="compressing")]) == "compressing"


def test_a_limit_is_in_the_trace_as_it_was_set() -> None:
    stepper = Lab(memcgs=[Memcg("a")]).step(PAGES)
    for limit in (8192, 1 << 50, None, 0):
        stepper.set_zswap_max(limit, "a")
    said = [aux_text("zswap_max_knob", int(record["aux"])) for record in stepper.trace.records]
    assert said == [f"memcg 1: memory.zswap.max = {limit}" for limit in ("8192", "max", "max", "0")]
    _lawful(stepper)


def test_a_pool_of_no_percent_takes_nothing() -> None:
    stepper = Lab(pool_limit=64 * PAGE).step(PAGES)
    stepper.set_pool_limits(0)
    assert (stepper[0].queue(), stepper.counters.zswap.pool_limit_hit) == ("writing_back", 1)
    stepper.set_pool_limits(100, 100)
    assert [stepper[1].queue(), stepper[1].compress()] == ["queued", "compressed"]
    _lawful(stepper)
