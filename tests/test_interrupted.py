"""Ctrl-C in what takes long: what there was is shown, saved and kept, and the exit code is 130."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kcompressd import Calibration, Job, Lab, Pages, Policy, Scenario, Sim, View, _core, calibration, fidelity
from kcompressd.advise import Advice, advise
from kcompressd.check import check
from kcompressd.cli import common, main
from kcompressd.compare import compare, compare_job
from kcompressd.comparison import Comparison
from kcompressd.design import OnComplete
from kcompressd.errors import RunInterrupted
from kcompressd.estimate import estimate
from kcompressd.fidelity import KernelFigures
from kcompressd.lifecycle import table
from kcompressd.page_stats import Codec
from kcompressd.progress import follow
from kcompressd.trace import Trace
from kcompressd.trace_writer import TraceWriter

PAGES = Pages.sample()[:64]
LAB = Lab(store="zram")


def after(calls: int, what: str = "") -> Callable[[str, int, int], None]:
    """Return a progress callback that is interrupted when it has been called so often (of what begins with `what`)."""
    seen = 0

    def progress(name: str, done: int, total: int) -> None:
        nonlocal seen
        seen += name.startswith(what)
        if seen > calls:
            raise KeyboardInterrupt

    return progress


def interrupted(run: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with pytest.raises(RunInterrupted) as caught:
        run(*args, **options)
    return caught.value.result


def test_ctrl_c_before_a_run_has_started_is_that_alone() -> None:
    run = _core.Run(PAGES.array, LAB.config(len(PAGES), PAGES.page_size), table().as_dict())

    class Interrupted:
        cancel = run.cancel

        def start(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(Interrupted(), lambda name, done, total: None, len(PAGES), lambda now: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("callback", ["progress", "watch"])
def test_ctrl_c_when_a_run_has_just_ended_keeps_all_of_it(callback: str) -> None:
    def told(now: Any, *_: int) -> None:
        if "ended" in (now, now["phase"] if callback == "watch" else ""):
            raise KeyboardInterrupt

    found = interrupted(LAB.run, PAGES, **{callback: told})
    assert (found.complete, found.error, found.check()) == (True, None, [])


def test_the_command_says_that_all_of_an_interrupted_run_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kcompressd.lab.reporter", lambda *_, **__: _Given(after(0, "ended")))
    assert main(["run", "--sample", "--limit", "64", "--store", "zram"]) == 130
    assert "kcompressd: interrupted: the result is whole" in capsys.readouterr().err


@pytest.mark.parametrize("call", [1, 2, 3])
def test_ctrl_c_while_a_trace_is_written_keeps_what_there_was(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = TraceWriter.write, 0

    def write(writer: TraceWriter, block: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        whole(writer, block)

    monkeypatch.setattr(TraceWriter, "write", write)
    many = Calibration.sample().repeated(20)
    found = interrupted(Sim(lab=LAB).run, many, trace=tmp_path / "t.npy")
    assert calls == call and (found.complete, found.error.kind) == (False, "cancelled")
    assert Trace.load(tmp_path / "t.npy").validate().ok


def test_a_comparison_tells_how_many_runs_there_are_of_all() -> None:
    told: list[tuple[int, int]] = []
    compare(PAGES, ["split"], lab=LAB, validate=True, progress=lambda name, done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(12)]  # five repeats and a traced run of both


def test_a_comparison_keeps_the_repeats_that_every_design_had() -> None:
    found = interrupted(compare, PAGES, ["split"], lab=LAB, progress=after(5))
    assert isinstance(found, Comparison)
    assert [len(entry.results) for entry in found.entries] == [2, 2]  # five runs: two repeats of both, one half
    assert (found.interrupted, found.exit_code) == ("2 of 5 repeats", 3)
    assert "2 interleaved repeats, medians; interrupted: 2 of 5 repeats" in str(found)
    assert "interrupted: 2 of 5 repeats" in found.to_html()


def test_a_comparison_without_a_whole_repeat_keeps_nothing() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        compare(PAGES, ["split"], lab=LAB, progress=after(1))
    assert not isinstance(caught.value, RunInterrupted)


def test_traces_that_were_judged_are_kept() -> None:
    found = interrupted(compare, PAGES, ["split"], lab=LAB, validate=True, progress=after(11))
    assert found.interrupted == "5 of 5 repeats, 1 of 2 traces"
    assert list(found.validations) == ["sync"]


def test_a_job_s_comparison_keeps_the_rows_there_are() -> None:
    job = Job.from_dict({"pages": "sample", "limit": 64, "store": "zram"})
    found = interrupted(compare_job, job, ["april", "split"], [1, 2], progress=after(4))
    assert [(entry.group, entry.name) for entry in found.entries] == [
        ("1 CPU", "sync"),
        ("1 CPU", "april"),
        ("1 CPU", "split"),
        ("2 CPUs", "sync"),
    ]
    assert found.interrupted == "4 of 6 rows"


def test_advice_without_every_option_recommends_none() -> None:
    found = interrupted(advise, Pages.sample(), compressors="lz4,zstd:1", cpus=2, progress=after(1, "simul"))
    assert isinstance(found, Advice)
    assert (len(found.options), found.best, found.settings, found.exit_code) == (1, None, {}, 3)
    assert "interrupted: 1 of 2 options were run" in found.evidence[0]
    assert "<h1>Interrupted</h1>" in found.to_html()


def test_advice_keeps_its_recommendation_when_the_designs_are_cut_short() -> None:
    found = interrupted(advise, Pages.sample(), compressors="lz4", cpus=2, progress=after(3, "simul"))
    assert found.best is not None and found.settings and len(found.designs) == 2 and not found.complete
    assert found.evidence[-1] == "interrupted: 2 of 6 designs were run with it"


def test_advice_keeps_all_of_it_when_the_last_report_is_interrupted() -> None:
    def last(what: str, done: int, total: int) -> None:
        if what.startswith("simul") and done == total:
            raise KeyboardInterrupt

    found = interrupted(advise, Pages.sample(), compressors="lz4", cpus=2, progress=last)
    assert found.best is not None and len(found.designs) == 6 and found.complete


def test_compare_saves_what_there_was_and_exits_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "progress", lambda what: _Given(after(13)))
    argv = ["compare", "--sample", "--limit", "64", "--store", "zram", "--json", "c.json", "--html", "c.html"]
    assert main(argv) == 130
    said = capsys.readouterr()
    assert "interrupted: 2 of 5 repeats" in said.err and "2 interleaved repeats" in said.out
    assert json.loads(Path("c.json").read_text())["complete"] is False
    assert Path("c.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["show", "c.json"]) == 3
    assert "interrupted: some runs are missing" in capsys.readouterr().out


def test_calibrate_keeps_the_compressors_that_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = calibration.measure
    monkeypatch.setattr(calibration, "SET_BYTES", 1)

    def measure(pages: Pages, codec: str, **options: Any) -> Any:
        if codec == "zstd:1":
            raise KeyboardInterrupt
        return whole(pages, codec, **options)

    monkeypatch.setattr(calibration, "measure", measure)
    file = tmp_path / "p.calib.npz"
    argv = ["calibrate", "--sample", "--limit", "64", "--passes", "2", "-o", str(file)]
    assert main([*argv, "-c", "zstd:1,lz4"]) == 130
    assert not file.exists() and "interrupted" in capsys.readouterr().err
    assert main([*argv, "-c", "lz4,lzo,zstd:1"]) == 130
    said = capsys.readouterr()
    assert "interrupted: the calibration has lz4, lzo only" in said.err and "64 pages, each timed 2 times" in said.out
    kept = Calibration.load(file)
    assert [codec.text for codec in kept.codecs] == ["lz4", "lzo"] and len(kept) == 64 and kept.compress_ns.min() > 0


def test_kernel_keeps_the_compressors_that_were_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = estimate(PAGES, ["lz4"])["lz4"]

    def figures(device: Any, codec: Codec, *_: Any) -> KernelFigures:
        if codec.name != "lz4":
            raise KeyboardInterrupt
        return KernelFigures(codec, dict(ours.mm_stat), ours.charged)

    device = SimpleNamespace(algorithms=lambda: ("lz4", "zstd"))
    monkeypatch.setattr(fidelity, "ZramDevice", lambda: nullcontext(device))
    monkeypatch.setattr(fidelity, "find_chain_size", lambda *_: (8, ""))
    monkeypatch.setattr(fidelity, "_figures", figures)
    argv = ["kernel", "--sample", "--limit", "64", "--json", str(tmp_path / "k.json")]
    assert main([*argv, "-c", "zstd"]) == 130
    assert not (tmp_path / "k.json").exists()
    capsys.readouterr()
    assert main([*argv, "-c", "lz4,zstd"]) == 130
    said = capsys.readouterr()
    assert "the comparison is partial" in said.err and "interrupted: 1 of 2 compressors were compared" in said.out
    assert main(["show", str(tmp_path / "k.json")]) == 3


class _Given:
    """A progress bar that is the callback given."""

    def __init__(self, progress: Callable[[str, int, int], None]) -> None:
        self.progress = progress

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self.progress

    def __exit__(self, *_: object) -> None:
        pass


class Slow(Policy):
    """Ctrl-C comes while it thinks: it hits whoever has the interpreter."""

    design = "april"

    def complete(self, view: View) -> OnComplete:
        signal.raise_signal(signal.SIGINT)
        return "stay"


def test_what_hits_a_policy_interrupts_its_run() -> None:
    found = interrupted(Sim(lab=Lab(design=Slow())).run, Calibration.sample()[:64])
    assert not found.complete and found.error.kind == "cancelled" and found.lifecycle.events > 0
    seen = interrupted(check, Scenario(design=Slow()))
    assert (seen.stopped_by, seen.why, seen.complete, seen.exit_code) == ("interrupted", None, False, 3)
    assert seen.states > 0 and "not all seen: interrupted" in str(seen)
    stepper = Lab(design=Slow()).step(PAGES)
    with pytest.raises(KeyboardInterrupt):
        stepper[0].queue()
