"""`advise`: the front, the goals, the settings it prints, and that nothing helps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompressd import Pages
from kcompressd.advice_report import designs
from kcompressd.advise import GOALS, Advice, Option, _beyond, _evidence, _marked, _ranked, advise, has_swap_device
from kcompressd.calibration import Calibration, of_stats, timed
from kcompressd.cli import main
from kcompressd.design import Design
from kcompressd.errors import EstimateError
from kcompressd.machine import Machine
from kcompressd.pressure import MOST_PAGES, Pressed, Pressure

PAGES = Pages.sample()[::12]
options = st.builds(
    Option,
    store=st.sampled_from(["zram", "zswap"]),
    compressor=st.sampled_from(["lz4", "zstd"]),
    used=st.floats(0.05, 1.0),
    touch_ns=st.integers(100, 10**6),
    cpu_ns=st.integers(100, 10**6),
)


@given(st.lists(options, min_size=1, max_size=8))
def test_the_front_is_what_no_other_beats(given_options: list[Option]) -> None:
    marked = _marked(given_options)
    assert any(option.front for option in marked)
    for option in marked:
        beaten = any(
            other.used <= option.used
            and other.touch_ns <= option.touch_ns
            and other.cpu_ns <= option.cpu_ns
            and (other.used, other.touch_ns, other.cpu_ns) != (option.used, option.touch_ns, option.cpu_ns)
            for other in marked
        )
        assert option.front != beaten


def test_each_goal_takes_what_it_says() -> None:
    small = Option("zram", "zstd", used=0.3, touch_ns=9000, cpu_ns=20_000)
    quick = Option("zram", "lz4", used=0.5, touch_ns=3000, cpu_ns=8000)
    useless = Option("zram", "lzo", used=0.9, touch_ns=1000, cpu_ns=1000)
    front = [small, quick, useless]
    best = {goal: _ranked(front, goal)[0] for goal in GOALS}
    assert (best["memory"], best["latency"]) == (small, quick)  # lzo is quicker, and saves too little
    assert (best["cpu"], best["balance"]) == (quick, small)


@pytest.fixture(scope="module")
def advice() -> Advice:
    return advise(PAGES, swap_device=False, cpus=4, ram_bytes=8 << 30, compressors="lz4,zstd:1")


def test_the_recommendation_is_on_the_front_and_says_why(advice: Advice) -> None:
    assert advice.best is not None and advice.best.store == "zram" and len(advice.options) == 2
    assert all(
        0 < option.used < 1 and option.touch_ns > 0 and option.holds and option.cpu_ns > 0 for option in advice.options
    )
    assert "of the memory saved" in advice.evidence[0] and any("runner-up" in text for text in advice.evidence)
    assert any("no swap device" in text for text in advice.evidence)


def test_a_tail_within_the_boots_spread_is_no_difference() -> None:
    best = Option("zram", "zstd", 0.3, 9000, 20_000, touch_least_ns=8000, touch_most_ns=9500)
    for least, most, said in (
        (9500, 9900, "≈ tail"),
        (7000, 8000, "≈ tail"),
        (9501, 9900, "+8% tail"),
        (7000, 7999, "+8% tail"),
    ):
        runner_up = Option("zram", "lz4", 0.5, 9700, 8000, touch_least_ns=least, touch_most_ns=most)
        assert said in list(_evidence(best, runner_up, "balance"))[1]


def test_designs_whose_tails_overlap_are_said_to() -> None:
    def run(design: str, tail: int, least: int, most: int) -> Pressed:
        return Pressed(design, 5, tail, 5, 5, 5, 3.0, touch_p999_least_ns=least, touch_p999_most_ns=most)

    runs = (run("sync", 90, 80, 95), run("april", 99, 95, 99), run("split", 70, 60, 79), run("rfc", 85, 82, 86))
    shown = designs(Advice("balance", (), None, None, (), runs, {}))
    assert [row[2] for row in shown] == ["90 ns", "≈ 99 ns", "70 ns", "≈ 85 ns"]


def test_next_to_nothing_has_no_sign() -> None:
    assert [_beyond(share) for share in (-0.004, 0.002, -0.08, 0.21)] == ["±0%", "±0%", "-8%", "+21%"]


def test_settings_are_those_of_the_choice(advice: Advice) -> None:
    assert advice.best is not None
    name, _, level = advice.best.compressor.partition(":")
    assert advice.settings["sysfs"].startswith(f"echo {name} > /sys/block/zram0/comp_algorithm\n")
    assert "echo 4096M > /sys/block/zram0/disksize" in advice.settings["sysfs"]  # half of 8 GiB
    assert f"compression-algorithm = {name}{f'(level={level})' if level else ''}" in str(advice.settings)
    assert set(advice.settings) == {
        "sysfs",
        "/etc/systemd/zram-generator.conf",
        "kernel command line",
        "Android fstab",
    }


def test_every_design_is_run_for_the_choice(advice: Advice) -> None:
    assert [run.design for run in advice.designs] == list(Design.presets())
    held = {run.design: run for run in advice.designs if run.holds}
    assert {"sync", "split", "async-store"} <= set(held)
    assert all((run.kcompressd_ns > 0) == (design != "sync") for design, run in held.items())


def test_processors_and_memory_change_the_run() -> None:
    def run(cpus: int, ram_bytes: int) -> Pressed:
        return Pressure(Calibration.sample(), Machine().with_cpus(cpus), ram_bytes).run("zram", "zstd")

    small, wide, large = run(1, 64 << 20), run(4, 64 << 20), run(1, 8 << 30)
    assert small.touch_p999_ns > wide.touch_p999_ns  # kswapd has a CPU of its own
    assert small.cpu_ns != large.cpu_ns  # a small machine's watermarks are more of its memory


def test_figures_are_medians_of_the_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    boots = ([3, 10, 5, 7, 9, 2.0], [1, 30, 6, 7, 8, 4.0], [2, 20, 4, 1, 1, 3.0])
    monkeypatch.setattr(Pressure, "_boot", lambda self, s, c, design, boot: Pressed(design, *boots[boot]))  # type: ignore[arg-type]
    run = Pressure(Calibration.sample(), Machine(), 64 << 20).run("zram", "lz4", "split")
    assert run == Pressed("split", 2, 20, 5, 7, 8, 3.0, touch_p999_least_ns=10, touch_p999_most_ns=30)


@pytest.mark.parametrize(("pages", "times"), [(1000, 1), (MOST_PAGES, 1), (3 * MOST_PAGES, 3)])
def test_a_larger_machine_is_run_as_a_part_of_it(pages: int, times: int) -> None:
    calibration = Calibration.sample()
    assert Pressure(calibration, Machine(), pages * calibration.page_size).scaled == times


def test_a_design_that_exhausts_the_memory_is_said_to() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 4096), dtype=np.uint8)
    noise[:, :400] = 7  # zsmalloc gives each a whole page
    stats, passes = timed(pages := Pages.from_array(noise), "lz4", passes=1)
    run = Pressure(of_stats(pages, stats, passes), Machine(), 32 << 20).run("zram", "lz4")
    assert not run.holds and run.touch_p999_ns == 0


def test_one_set_of_times_serves_both(advice: Advice) -> None:
    stats, passes = timed(PAGES, "lz4", passes=1)
    calibration = of_stats(PAGES, stats, passes)
    assert calibration.compress_ns is stats.compress_ns and len(calibration) == len(PAGES)


def test_what_is_stored_is_the_advice_and_show_prints_it(
    advice: Advice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads(json.dumps(advice.to_dict()))
    assert Advice.from_dict(stored) == advice
    file = tmp_path / "advice.json"
    file.write_text(json.dumps(stored))
    assert main(["show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert advice.best is not None and all(text in shown for text in (advice.best.compressor, "zram0/comp_algorithm"))
    file.write_text(json.dumps({name: value for name, value in stored.items() if name != "options"}))
    assert main(["show", str(file)]) == 2
    assert "a stored advice without what it must have: 'options'" in capsys.readouterr().err


def test_the_report_holds_the_front_and_the_lines(advice: Advice) -> None:
    found = advice.to_html()
    assert found.count("<svg") == 3 and "zram-generator.conf" in found and "recommended" in found
    assert "http" not in found.replace("http://www.w3.org/2000/svg", "")


def test_with_a_swap_device_zswap_may_be_chosen() -> None:
    found = advise(PAGES, swap_device=True, compressors="lz4", ram_bytes=64 << 20, goal="memory")
    assert {option.store for option in found.options} == {"zram", "zswap"}
    level = advise(PAGES[:64], swap_device=True, compressors="lz4,zstd:1", ram_bytes=16 << 20)
    assert ("zswap", "zstd:1") not in {
        (option.store, option.compressor) for option in level.options
    }  # it has no levels
    assert not any("no swap device" in text for text in found.evidence)


def test_nothing_helps_random_pages() -> None:
    noise = Pages.from_array(np.random.default_rng(1).integers(0, 256, (64, 4096), dtype=np.uint8))
    found = advise(noise, compressors="lz4,zstd")
    assert found.best is None and found.settings == {} and "none of this helps here" in found.evidence[0]


def test_an_unknown_goal_is_refused() -> None:
    with pytest.raises(EstimateError, match="goal: 'speed' is none of balance, memory"):
        advise(PAGES, goal="speed")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "there"),
    [([], False), (["/dev/zram0 partition 1 0 100"], False), (["/dev/zram0 x", "/dev/sda2 partition 1 0 -2"], True)],
)
def test_swap_on_zram_is_no_swap_device(tmp_path: Path, lines: list[str], there: bool) -> None:
    swaps = tmp_path / "swaps"
    swaps.write_text("\n".join(["Filename Type Size Used Priority", *lines]) + "\n")
    assert has_swap_device(swaps) == there and not has_swap_device(tmp_path / "none")


def test_the_verb_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.json"
    words = [
        "advise",
        "--sample",
        "--limit",
        "96",
        "-c",
        "lz4",
        "--swap-device",
        "no",
        "--ram",
        "4G",
        "--json",
        str(out),
    ]
    assert main(words) == 0
    said, saved = capsys.readouterr().out, json.loads(out.read_text())
    assert "recommended: zram with lz4" in said and "Pareto front" in said and "zram-generator.conf" in said
    assert saved["best"]["compressor"] == "lz4" and saved["goal"] == "balance"
