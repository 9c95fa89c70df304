"""The command, end to end: what each verb prints, writes and exits with. A few runs of the installed script, many of
`main()` in this process.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kcompressd import Pages, Result, _core
from kcompressd.cli import main
from kcompressd.trace import Trace, sidecar_path

ROOT = Path(__file__).parent.parent
SCRIPT = Path(sys.executable).with_name("kcompressd")
SMALL = ["--sample", "--limit", "60"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test has a folder of its own, and leaves no half-written file in it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert [p.name for p in tmp_path.rglob("*") if p.name.startswith(".") or p.suffix in (".tmp", ".part")] == []


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What standard error says when `argv` is bad input: exit code 2, one line, nothing else printed."""
    try:
        code = main(argv)
    except SystemExit as exit_:  # argparse's way
        assert isinstance(exit_.code, int)
        code = exit_.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), (argv, out, err)
    assert err.startswith("kcompressd: error: ") and err.count("\n") == 1, err
    return err.removeprefix("kcompressd: error: ").rstrip()


def test_the_installed_script_runs_a_whole_session(tmp_path: Path) -> None:
    """capture, run, validate, show, compare: as a user would type them."""

    def kcompressd(*arguments: str) -> str:
        ended = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=120)
        assert (ended.returncode, ended.stderr) == (0, ""), (arguments, ended)
        return ended.stdout

    assert kcompressd("--version") == f"kcompressd {_core.VERSION}\n"
    assert "kcompressd compare --sample" in kcompressd()
    process = [sys.executable, "-m", "kcompressd.demo_process", "--mib", "1", "--hold"]
    said = kcompressd("capture", "--limit", "200", "-o", "p.pages.zst", "--", *process)
    assert "\np.pages.zst: 200 pages (0.8 MiB) of python" in said and "next: kcompressd estimate" in said
    assert "200 pages" in kcompressd("run", "p.pages.zst", "--trace", "t.npy", "--json", "r.json", "--threads", "2")
    assert kcompressd("validate", "t.npy").splitlines()[0].endswith("records: good")
    assert kcompressd("show", "t.npy", "--folio", "3").startswith("page 3: ")
    assert kcompressd("show", "r.json") == kcompressd("show", "r.json")
    assert "5 interleaved repeats" in kcompressd("compare", "p.pages.zst", "--limit", "60", "--designs", "split")
    wrong = subprocess.run([SCRIPT, "run", "none.pages"], capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "kcompressd: error: none.pages: no such file\n")


@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_run_prints_saves_and_exits_with_0(capsys: pytest.CaptureFixture[str], design: str, store: str) -> None:
    argv = ["run", *SMALL, "--design", design, "--store", store, "--trace", "t.npy", "--json", "r.json", "-c", "zstd:5"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert (err, out.splitlines()[0].split(",")[0]) == ("", f"{design} on {store}")
    result, trace = Result.load("r.json"), Trace.load("t.npy")
    assert (result.config.preset, result.config.compressor, result.pages) == (design, "zstd:5", 60)
    assert trace.meta is not None and trace.meta["config"]["compressor"] == "zstd:5"
    assert trace.validate().ok and len(trace) >= result.lifecycle.events
    assert main(["show", "r.json"]) == 0
    assert capsys.readouterr().out == out, "a stored Result shows as it was printed"


def test_every_option_of_run_reaches_the_result() -> None:
    options = "--design april --threads 3 --depth 9 --kswapd 2 --pool-limit 25% --swap-file s --kernel 6.18 --pin"
    assert main(["run", *SMALL, *options.split(), "--fault", "shuffled", "--seed", "5", "--json", "r.json"]) == 0
    config = Result.load("r.json").config
    assert (config.design.threads, config.design.depth, config.kswapd, config.pool_limit_pages) == (3, 9, 2, 15)
    assert (config.kernel, config.pin, config.fault, config.seed) == ((6, 18), True, "shuffled", 5)
    assert os.listdir() == ["r.json"], "the swap file is gone after the run"


def test_json_to_standard_output_is_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "--json", "-"]) == 0
    assert Result.from_dict(json.loads(capsys.readouterr().out)).pages == 60
    assert main(["compare", *SMALL, "--designs", "split", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [d["design"] for d in found["designs"]] == ["sync", "split"]
    assert all(len(d["results"]) == 5 and Result.from_dict(d["results"][0]).complete for d in found["designs"])


def test_compare_prints_each_design_saves_traces_and_validates(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "compare",
        *SMALL,
        "--store",
        "zram",
        "--threads",
        "1",
        "--validate",
        "--trace-dir",
        "traces",
        "--json",
        "c",
    ]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^ +{' +'.join(_core.presets())}$", out, re.M)
    assert re.search(r"^MiB/s +\d+ ", out, re.M)
    for design in _core.presets():
        assert Trace.load(f"traces/{design}.npy").validate().exit_code == 0
    assert "Every trace obeys the lifecycle" in out and json.loads(Path("c").read_text())["kind"] == "comparison"


def test_a_run_that_is_cut_short_exits_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No option plants a failure, so the lab is told to."""
    from kcompressd import lab

    plant = lab.Plant(panic_in="kcompressd0", after_pages=3)
    monkeypatch.setattr(lab.Lab, "config", _with(lab.Lab.config, plant=plant.to_dict()))
    assert main(["run", *SMALL, "--json", "r.json", "--trace", "t.npy"]) == 3
    out, err = capsys.readouterr()
    assert "60 pages (0.2 MiB), partial" in out and "the run ended early: kcompressd0 panicked" in out
    assert err == "kcompressd: partial: kcompressd0 panicked: planted failure after 3 pages\n"
    assert main(["show", "r.json"]) == 3
    assert main(["validate", "t.npy"]) == 3
    assert "partial: the run did not come to its end" in capsys.readouterr().out
    assert main(["compare", *SMALL, "--designs", "split"]) == 3


def test_a_run_that_loses_a_page_exits_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kcompressd import lab

    faults = {"writes": [], "reads": [0]}
    monkeypatch.setattr(lab.Lab, "config", _with(lab.Lab.config, io_faults=faults))
    argv = ["run", "--sample", "--json", "r.json"]
    assert main(argv) == 1
    assert "does not add up: contents" in capsys.readouterr().out
    assert main(["show", "r.json"]) == 1


def _with(config: object, **changes: object) -> object:
    return lambda *arguments: config(*arguments) | changes  # type: ignore[operator]


def test_validate_exits_with_1_for_a_broken_trace_and_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "--trace", "t.npy"]) == 0
    capsys.readouterr()
    records = np.array(Trace.load("t.npy").records)
    at = int(np.flatnonzero(records["folio"] == 7)[2])
    records["to"][at] = 0
    np.save("t.npy", records)
    assert main(["validate", "t.npy"]) == 1
    out = capsys.readouterr().out
    assert f"record {at} says" in out and "page 7 around it" in out and "digest" in out
    sidecar_path("t.npy").unlink()
    assert main(["validate", "t.npy"]) == 1
    assert main(["show", "t.npy", "--folio", "7"]) == 0, "what is broken can still be looked at"


def test_a_capture_that_is_cut_short_exits_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from kcompressd.cli import capture

    half = Pages.sample()[:9]
    half = half.with_index(replace(half.index, complete=False, reason="the process exited"))
    monkeypatch.setattr(capture, "_capture", lambda arguments: half)
    assert main(["capture", "--pid", "1", "-o", "half.pages"]) == 3
    assert capsys.readouterr().err == "kcompressd: partial: the process exited\n"
    assert Pages.from_file("half.pages").index.complete is False


@pytest.mark.parametrize(
    "verb",
    [
        "run --sample",
        "compare --sample",
        "estimate --sample",
        "kernel --sample",
        "show r.json",
        "validate t.npy",
        "capture --pid 1 -o f",
    ],
)
def test_ctrl_c_anywhere_exits_with_130(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*arguments: object, **named: object) -> object:
        raise KeyboardInterrupt

    for name in (
        "kcompressd.lab.Lab.run",
        "kcompressd.capture.capture",
        "kcompressd.estimate.estimate",
        "kcompressd.fidelity.of_kernel",
    ):
        monkeypatch.setattr(name, ctrl_c)
    monkeypatch.setattr(Result, "load", ctrl_c)
    monkeypatch.setattr(Trace, "load", ctrl_c)
    assert main(verb.split()) == 130
    assert capsys.readouterr() == ("", "kcompressd: interrupted\n")


BAD: dict[str, str] = {
    "": "",
    "frob": "invalid choice: 'frob'",
    "run": "one of the arguments FILE --sample is required",
    "run --sample x.pages": "not allowed with argument",
    "run none.pages": "none.pages: no such file",
    "run odd.pages": "odd.pages: 5000 bytes are not a whole number of 4096-byte pages",
    "run empty.pages": "empty.pages: is empty (0 bytes), not a page file",
    "run torn.pages.zst": "torn.pages.zst: is not valid zstd",
    "run loop": "loop: cannot be read: Too many levels of symbolic links",
    "run folder": "folder: is a directory without page files",
    "run r.json": "r.json: is a stored Result; print it with: kcompressd show r.json",
    "run job.toml": "job.toml: cannot be read: No such file or directory",
    "estimate job.toml": "job.toml: is a job file, not pages",
    "run --sample --limit 0": "argument --limit: '0' is not a whole number of at least 1",
    "run --sample --design best": "argument --design: invalid choice: 'best'",
    "run --sample --store swap": "argument --store: invalid choice: 'swap'",
    "run --sample -c brotli": 'unknown compressor "brotli"; known: lz4,',
    "run --sample -c zstd:99": 'level "99" of zstd is not a whole number from',
    "run --sample --threads none": "argument --threads: 'none' is not a whole number of at least 1",
    "run --sample --threads 300": "threads = 300: at most 256",
    "run --sample --threads 70000": "threads = 70000: not from 0 to 65535",
    "run --sample --depth 99999": "depth = 99999: at most 65536 folios",
    "run --sample --kswapd 300": "kswapd: 300 is not between 1 and 255",
    "run --sample --pool-limit lots": "pool limit: 'lots' is no size",
    "run --sample --pool-limit 0": "pool limit: 0 leaves no room at all",
    "run --sample --pool-limit 5": "pool limit: 5 is less than a page of 4096 bytes; give bytes, 64M, or 20% (of the input)",
    "run --sample --kernel six": "argument --kernel: 'six' is not a kernel version like 6.12",
    "run --sample --kernel 99999999.1": "kernel = (99999999, 1): not from 0 to 65535",
    "run --sample --fault never": "argument --fault: invalid choice: 'never'",
    "run --sample --seed -1": "argument --seed: '-1' is not a whole number of at least 0",
    "run --sample --swap-file taken": "taken: is not empty and would be overwritten",
    "run --sample --swap-file none/swap": "swap file none/swap: No such file or directory",
    "run --sample --trace none/t.npy": "none/t.npy: its folder does not exist; mkdir -p none",
    "run --sample --trace folder": "folder: is a folder",
    "run --sample --trace r.json": "r.json: its name must end in .npy; give another name",
    "run --sample --trace /dev/null": "/dev/null: is not a regular file",
    "run --sample --json none/r.json": "none/r.json: its folder does not exist",
    "run --sample --json /dev/null/r.json": "/dev/null/r.json: /dev/null is no folder; give another name",
    "compare --sample --repeats 2": "repeats: 2 are too few to tell a difference from noise; give at least 5",
    "compare --sample --designs sync,best": "argument --design/--designs: 'best' is none of sync, rfc,",
    "compare none.pages": "none.pages: no such file",
    "compare --sample --json none/c.json": "none/c.json: its folder does not exist",
    "compare --sample --trace-dir taken": "taken: is no folder; give the name of one, or of one to be made",
    "validate": "the following arguments are required: T.npy",
    "validate none.npy": "none.npy: No such file or directory",
    "validate taken": "taken: not a trace",
    "validate folder": "folder: Is a directory",
    "show": "the following arguments are required: T.npy|RESULT.json",
    "show none.json": "none.json: cannot be read: No such file or directory",
    "show bad.json": "bad.json: not JSON",
    "show r.json --folio x": "argument --folio: 'x' is not a whole number of at least 0",
    "show t.npy": "t.npy: is a trace of many pages; choose one: --folio 0",
    "show t.npy --folio 60": "no record of page 60; the trace has pages 0 to 59",
    "show odd.pages --folio 1": "odd.pages: not a trace: no NumPy file; kcompressd run --trace",
    "show none.npy": "none.npy: No such file or directory",
    "run --sample --store zsawp": "did you mean zswap? see kcompressd run --help",
    "advise --sample --ram 5": "--ram: 5 is 5 bytes: no machine runs in so little; give a unit: 8G",
    "capture": "the following arguments are required: -o/--output",
    "capture -o f": "capture: needs a process; give either --pid N, --cgroup PATH, --system or -- COMMAND",
    "capture --pid 1 -o f -- true": "capture: takes one source at a time; give either",
    "capture --pid 1 --seed 3 -o f": "--seed: is for a sample of several processes; leave it out",
    "capture --pid 0 -o f": "argument --pid: '0' is not a whole number of at least 1",
    "capture --pid 4194305 -o f": "pid 4194305: no such process",
    "capture --pid 4194305 -o none/f": "none/f: its folder does not exist",
    "capture --pid 4194305 -o /dev/null": "/dev/null: is not a regular file",
    "capture --pid 4194305 --after 1 -o f": "--after: is for a command",
    "capture --after soon -o f -- true": "argument --after: 'soon' is not a number of seconds",
    "capture -o f -- ./none": "./none: cannot be started: No such file or directory",
    "capture --pid 1 -c lz4 -o f": "-c: is for stats, a capture of contents compresses nothing; add --stats-only",
    "capture --pid 1 --stats-only -o f": "f: the name of a file of stats must end in .stats.npz",
    "capture --pid 1 -o f.stats.npz": "f.stats.npz: the name of a file of pages may not end in .stats.npz",
    "capture --pid 1 -o f.gz": "f.gz: the name of a file of pages may not end in .gz; give another name: .zst compresses",
    "capture --pid 1 -o f.json": "f.json: the name of a file of pages may not end in .json; give another name",
    "capture --pid 1 --stats-only -c lz5 -o f.stats.npz": 'unknown compressor "lz5"',
    "estimate": "one of the arguments FILE --pid --sample is required",
    "estimate --csv taken": "one of the arguments FILE --pid --sample is required",
    "estimate --sample --pid 1": "not allowed with argument",
    "estimate none.pages": "none.pages: no such file",
    "estimate none.stats.npz": "none.stats.npz: no such file",
    "estimate odd.stats.npz": "odd.stats.npz: is no file of stats",
    "estimate odd.stats.npz --limit 3": "odd.stats.npz: is measured already: --limit, --page-size and --threads are for pages",
    "estimate --pid 4194305": "pid 4194305: no such process",
    "estimate --sample -c brotli": 'unknown compressor "brotli"; known: lz4,',
    "estimate --sample --chain-size 3": "chain size: 3 is neither from 4 to 16 pages nor 0",
    "estimate --sample --threads 0": "argument --threads: '0' is not a whole number of at least 1",
    "estimate --sample --json none/e.json": "none/e.json: its folder does not exist",
    "estimate --sample --csv --json -": "standard output: can take only one of --json -, --csv and --markdown",
    "kernel": "one of the arguments FILE --sample is required",
    "kernel none.pages": "none.pages: no such file",
    "kernel --sample -c brotli": 'unknown compressor "brotli"; known: lz4,',
    "kernel --sample --json none/k.json": "none/k.json: its folder does not exist",
    "observe": "the following arguments are required: --seconds",
    "observe --seconds 0": "observe: 0.0 seconds are not between 0.1 and 2592000",
    "observe --seconds long": "argument --seconds: 'long' is not a number of seconds",
    "observe --seconds 1 --cgroup none/there": "none/there: no such cgroup",
    "observe --seconds 1 --json none/o.json": "none/o.json: its folder does not exist",
    "compare r.json": "r.json: is one Result; name at least two, or show it: kcompressd show",
    "compare r.json none.json": "none.json: cannot be read: No such file or directory",
    "compare r.json odd.pages": "odd.pages: is no stored Result (.json)",
    "compare odd.pages r.json": "odd.pages: is no stored Result (.json)",
    "capture -o f -- true": "true: exited with status 0 before it was captured",
}


def test_bad_input_exits_with_2_and_says_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.pages").write_bytes(b"\1" * 5000)
    Path("odd.stats.npz").write_bytes(b"PK")
    Path("empty.pages").touch()
    Path("torn.pages.zst").write_bytes(b"not zstd at all")
    Path("bad.json").write_text("{")
    Path("taken").write_text("mine")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    assert main(["run", *SMALL, "--trace", "t.npy", "--json", "r.json"]) == 0
    before = sorted(os.listdir())
    capsys.readouterr()
    for line, says in BAD.items():
        if line:
            assert says in refused(capsys, *line.split()), line
    assert sorted(os.listdir()) == before and Path("taken").read_text() == "mine"


def test_a_bug_is_called_a_bug_and_traced_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trace, "load", lambda path: 1 / 0)
    assert main(["validate", "t.npy"]) == 1
    assert "bug: ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setenv("KCOMPRESSD_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["validate", "t.npy"])


@pytest.mark.parametrize("piped", ["run --sample --limit 60 | head -1", "doctor | true"])
def test_a_reader_that_leaves_early_is_no_error(piped: str) -> None:
    command = f"{shlex.quote(str(SCRIPT))} {piped}"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, ""), ended


def readme(*languages: str) -> list[str]:
    """The README's blocks of these languages."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return [text for language, text in blocks if language in languages]


def shell_commands() -> list[str]:
    """The `kcompressd` lines of the README's shell blocks."""
    blocks = readme("", "sh", "console", "bash")
    lines = [line.split("  #")[0].removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("kcompressd ")]


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="needs the repository's README")
def test_the_readme_s_commands_run(somewhere: Path) -> None:
    """In one folder, in their order; FILE, --pid N and --folio N are filled in."""
    commands = shell_commands()
    Path("job.toml").write_text("".join(readme("toml")))
    assert {c.split()[1] for c in commands} >= {
        "capture",
        "estimate",
        "run",
        "compare",
        "advise",
        "sweep",
        "validate",
        "show",
    }
    shutil.copy(ROOT / "python/kcompressd/data/sample.pages.zst", "my.pages.zst")
    with subprocess.Popen([sys.executable, "-m", "kcompressd.demo_process", "--mib", "1", "--hold"]) as process:
        try:
            for command in commands:
                filled = command.replace("--pid PID", f"--pid {process.pid}").replace("--folio N", "--folio 5")
                argv = shlex.split(filled)[1:]
                if argv[0] == "sweep":
                    argv += ["--backend", "sequential"]
                if argv[0] in ("run", "compare") and not argv[1].endswith(".json"):
                    argv += ["--limit", "60"]
                assert main(argv) == 0, command
        finally:
            process.terminate()
