"""The explorer from Python and the command line: exact numbers of states, the known hazards, replays, bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kcompressd import Design
from kcompressd.check import INCOMPRESSIBLE, Scenario, check, replay
from kcompressd.cli import main
from kcompressd.errors import LabError

EXACT = [
    (Scenario("split", folios=2, threads=1), 6934, 20865),
    (Scenario("split", folios=2, faults=1), 31464, 100458),
    # A worker without work helps the other where more than a batch waits.
    (Scenario(replace(Design.preset("split"), batch=1), folios=3, threads=2), 954004, 3664366),
    (Scenario("split", folios=1, touch=True), 17114, 62155),
    (Scenario("split", folios=2, toggles=("stop",)), 35028, 126886),
    (Scenario("split", folios=1, threads=1, swapoff=True), 44504, 156462),
    (Scenario("april", folios=1, bytes=INCOMPRESSIBLE, swapoff=True), 58074, 208655),
    (Scenario("split", folios=1, threads=1, folio_order=1, swapoff=True), 168286, 620795),
    (Scenario("rfc", "zram", folios=2, threads=1, faults=1), 5037, 9479),
    (Scenario("unofficial", folios=2, depth=1), 13504, 40996),
    (Scenario("sync", folios=1, folio_order=1, kernel=(6, 13)), 136, 286),
    (Scenario("split", folios=1, threads=1, depth=1, folio_order=1, faults=1, kernel=(6, 13)), 5462, 16909),
    (Scenario("split", folios=1, threads=1, depth=1, folio_order=2, kernel=(6, 13)), 3076, 9164),
    (Scenario("april", "zram", folios=2, threads=1, depth=1, folio_order=1), 2669, 4828),
]


@pytest.mark.parametrize(("scenario", "states", "transitions"), EXACT)
def test_exactly_these_states_and_nothing_wrong(scenario: Scenario, states: int, transitions: int) -> None:
    found = check(scenario)
    assert (found.why, found.complete, found.exit_code) == (None, True, 0)
    assert (found.states, found.transitions) == (states, transitions)


@pytest.mark.parametrize("design", ["april", "unofficial"])
def test_a_sleeping_worker_misses_the_stop(design: str) -> None:
    found = check(Scenario(design, folios=1, toggles=("stop",)))
    assert found.why is not None
    assert "misses kthread_stop(), which waits for it" in found.why
    assert replay(found.scenario, found.schedule).why == found.why


def test_a_worker_that_looks_at_the_stop_does_not_miss_it() -> None:
    assert check(Scenario("split", folios=1, threads=1, toggles=("stop",))).exit_code == 0


def test_april_does_not_check_the_knob_again() -> None:
    found = check(Scenario("april", folios=1, bytes=INCOMPRESSIBLE, toggles=("writeback",)))
    assert found.why is not None
    assert "sends page 0 to the swap device though memory.zswap.writeback is 0 by now" in found.why
    assert [row.event for row in found.timeline()][-2:] == ["writeback_knob", "write"]


def test_an_activation_meets_the_page_on_the_list_and_off_it() -> None:
    found = check(Scenario("split", folios=1, bytes=INCOMPRESSIBLE, writeback=False))
    assert found.exit_code == 1 or found.complete
    races = {name: found.witnesses[name] for name in found.sometimes if name.startswith("activated by a worker")}
    assert len(races) == 2
    for way in races.values():
        assert replay(found.scenario, way).rows[-1].to == "activated"


def test_an_application_may_be_killed_while_its_pages_are_in_flight() -> None:
    found = check(Scenario("split", folios=1, threads=1, exit=True))
    assert (found.states, found.why, found.complete) == (10282, None, True)
    assert found.sometimes["freed"] > 0 and found.sometimes["compressing"] > 0


def test_swapoff_of_a_page_that_cannot_be_read_fails_and_leaves_it_where_it_is() -> None:
    scenario = Scenario("sync", folios=1, bytes=INCOMPRESSIBLE, swapoff=True)
    good, failed = check(scenario), check(replace(scenario, read_errors=(0,)))
    assert (good.why, failed.why, failed.complete) == (None, None, True)
    assert failed.sometimes["written_back_freed"] > 0 and failed.states != good.states


def test_a_schedule_of_something_else_is_refused() -> None:
    with pytest.raises(LabError, match="seat 9 cannot step here"):
        replay(Scenario(), ["9"])
    with pytest.raises(ValueError, match="is no seat's number"):
        replay(Scenario(), ["x"])


@pytest.mark.parametrize(
    ("scenario", "what"),
    [
        (Scenario("sync", toggles=("stop",)), "no kcompressd thread"),
        (Scenario(store="zram", toggles=("pool",)), "zram has neither"),
        (Scenario(folios=17), "17 is not between 1 and 16"),
        (Scenario(folios=3, folio_order=3), "24 is not between 1 and 16, in pages"),
        (Scenario(folio_order=10), "10 is not between 0 and 9"),
        (Scenario(toggles=("gravity",)), "known are writeback"),
    ],
)
def test_what_means_nothing_is_named(scenario: Scenario, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        check(scenario)


def test_one_end_is_one() -> None:
    assert ", 1 end, " in str(check(Scenario("sync", folios=1))) and " 4 ends, " in str(
        check(Scenario("april", "zram"))
    )


def test_a_bound_ends_it_with_a_partial_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--folios", "3", "--max-states", "500"]) == 3
    assert "not all seen: stopped by max_states" in capsys.readouterr().out
    assert main(["check", "--folios", "3", "--max-memory", "1K"]) == 3


def test_a_failure_is_saved_and_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "found.json")
    assert main(["check", "--design", "april", "--folios", "1", "--toggle", "stop", "--json", saved]) == 1
    first = capsys.readouterr().out
    assert main(["show", saved]) == 2
    assert f"is a saved check; run its schedule again: kcompressd check --replay {saved}" in capsys.readouterr().err
    assert main(["check", "--replay", saved]) == 1
    again = capsys.readouterr().out.splitlines()
    assert all(line in first for line in again[:-1])
    assert json.loads(Path(saved).read_text())["why"] in again[-1]
    (tmp_path / "no.json").write_text("{}")
    assert main(["check", "--replay", str(tmp_path / "no.json")]) == 2
