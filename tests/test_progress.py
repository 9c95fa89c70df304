"""One bar for one work: what is told of it rises from nothing to all, and says what is being done."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
import rich.console
from children import child

from kcompressd import Job, Lab, Pages, Sim, calibrate
from kcompressd.advise import advise
from kcompressd.calibration import Calibration
from kcompressd.capture_many import capture_processes
from kcompressd.progress import bar

SAMPLE = Pages.sample()


def rises(told: list[tuple[int, int]]) -> bool:
    """It is told of one work of one size, and never less than before."""
    done = [n for n, _ in told]
    return len({total for _, total in told}) == 1 and done == sorted(done) and done[-1] <= told[0][1]


def test_calibrating_several_compressors_is_one_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kcompressd.calibration.SET_BYTES", 1)  # so that each pass is a round
    told: list[tuple[int, int]] = []
    calibrate(SAMPLE[:200], "lz4,zstd:1", passes=3, progress=lambda done, total: told.append((done, total)))
    assert rises(told) and told[-1] == (1200, 1200)


def test_capturing_several_processes_is_one_work() -> None:
    told: list[tuple[int, int]] = []
    code = "a = anon(40); fill(a, range(40), 6); say()"
    with child(code) as one, child(code) as other:
        found = capture_processes(
            [one.pid, other.pid], "both", limit=None, progress=lambda done, total: told.append((done, total))
        )
    assert rises(told) and told[-1] == (len(found), len(found)) and len(told) > 1


def test_advice_says_what_it_simulates() -> None:
    told: list[str] = []
    advise(
        SAMPLE[:512], compressors="lz4,zstd:1", cpus=2, swap_device=False, progress=lambda name, *_: told.append(name)
    )
    assert list(dict.fromkeys(told)) == [
        "measuring",
        "simulating zram with lz4",
        "simulating zram with zstd:1",
        *(f"simulating {design}" for design in ("sync", "rfc", "april", "async-store", "split", "unofficial")),
    ]


def test_applications_in_virtual_time_are_told_by_their_touches() -> None:
    app = {"kind": "usemem", "pages": 1200, "touches": 300_000}
    told: list[tuple[str, int, int]] = []
    job = Job.from_dict({"pages": "sample", "store": "zram", "node": {"managed": 1500}, "workload": app})
    job.sim(progress=lambda *now: told.append(now))
    of_apps = [(done, total) for phase, done, total in told if phase == "reclaim"]
    assert rises(of_apps) and {total for _, total in of_apps} == {301_200}
    assert any(0 < done < 301_200 for done, _ in of_apps), "it moves"


def test_each_phase_of_virtual_time_begins_at_nothing() -> None:
    pages = SAMPLE.array.repeat(40, axis=0)
    told: list[tuple[str, int, int]] = []
    Sim(lab=Lab(store="zram")).run(Calibration.sample().repeated(40), progress=lambda *now: told.append(now))
    assert {total for _, _, total in told} == {len(pages)}
    phases = list(dict.fromkeys(phase for phase, *_ in told))
    assert phases[:2] == ["reclaim", "fault"]
    for phase in phases:
        done = [n for name, n, _ in told if name == phase]
        assert done == sorted(done) and done[0] < len(pages) and done[-1] <= len(pages), phase


def test_each_phase_of_real_threads_is_told_within_its_pages() -> None:
    told: list[tuple[str, int, int]] = []
    seen: list[tuple[str, int]] = []
    while "fault" not in {phase for phase, _ in seen}:  # a loaded machine may look 20 times a second and miss it
        Lab(store="zram", compressor="zstd:9").run(
            SAMPLE.array.repeat(4, axis=0),
            progress=lambda *now: told.append(now),
            watch=lambda now: seen.append((now["phase"], now["pages_done"])),
        )
    assert all(0 <= done <= total == 4 * len(SAMPLE) for _, done, total in told)
    assert told[-1][0] == "ended"
    assert all(done <= 4 * len(SAMPLE) for _, done in seen), "each phase counts from nothing"


def drawn(monkeypatch: pytest.MonkeyPatch, tell: Callable[[Any], object], *, width: int) -> list[str]:
    """What a terminal of so many columns has been shown, a line each time that it was drawn."""
    out = io.StringIO()
    whole = rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: whole(file=out, force_terminal=True, width=width, color_system=None)
    )
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    with bar("starting") as told:
        tell(told)
    return [line for line in out.getvalue().split("\r\x1b[2K") if "━" in line]


@pytest.mark.parametrize("width", [30, 80])
def test_a_bar_is_one_line_in_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    def tell(told: Any) -> None:
        for done in range(5):
            told(f"a design with a long name, [run] {done} of 5", done, 5)

    lines = drawn(monkeypatch, tell, width=width)
    assert lines and not any("\n" in line for line in lines[:-1])


def test_a_bar_that_begins_again_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(told: Any) -> None:
        told("reclaim", 5, 5)
        told("fault", 1, 5)

    last = drawn(monkeypatch, tell, width=80)[-1]
    assert " 20% " in last and "fault" in last
