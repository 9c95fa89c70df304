"""What the command refuses, and how it says so: one line that names what is wrong and what to do, and the exit code."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from kcompressd import Lab, Pages, _core, procfs
from kcompressd.cli import main
from kcompressd.compare import compare
from kcompressd.estimate import estimate

COMMAND = (sys.executable, "-m", "kcompressd")


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the line that a refused command says."""
    try:
        code: object = main(argv)
    except SystemExit as exited:
        code = exited.code
    said = capsys.readouterr()
    assert code == 2 and said.out == "" and said.err.startswith("kcompressd: error: ") and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("run --sample --treads 4", "there is no --treads; did you mean --threads? see kcompressd run --help"),
        ("sim job.toml --sett node.cpus=2", "there is no --sett; did you mean --set? see kcompressd sim --help"),
        ("run --sampel", "there is no --sampel; did you mean --sample?"),
        ("capture --frob=1 -- ls --all", "there is no --frob; "),
        ("run --sample --threads --all", "there is no --all; "),
        ("run --sample --thr x", "argument --threads: 'x' is not a whole number"),
        ("run --sample --set node.cpus=2", "--set: sets a key of a job, and none is run"),
    ],
)
def test_an_option_that_is_none_is_named(capsys: pytest.CaptureFixture[str], argv: str, message: str) -> None:
    """Not what argparse takes its value for; what belongs to a captured command is not looked at."""
    assert message in refused(capsys, *argv.split())


def test_the_exit_code_is_right_though_nobody_can_be_told() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*COMMAND, "run", "none.pages"], stdout=subprocess.PIPE, stderr=full)
    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.parametrize("folios", ["17", "99999999999"])
def test_more_folios_than_can_be_explored_are_refused(capsys: pytest.CaptureFixture[str], folios: str) -> None:
    assert f"folios: {folios} is not between 1 and 16, in pages" in refused(capsys, "check", "--folios", folios)


@pytest.mark.parametrize(
    "key", ["managed=-1", "managed=99999999999", "pcp_batch=0", "swap=-1", "boost_factor=-1", "file=4096"]
)
def test_a_node_that_is_none_is_named_by_its_key(capsys: pytest.CaptureFixture[str], tmp_path: Path, key: str) -> None:
    job = tmp_path / "job.toml"
    job.write_text('pages = "sample"\n[node]\nmanaged = 4096\n[workload]\nkind = "usemem"\npages = 6000\n')
    name, _, value = key.partition("=")
    assert f"node.{name} {value} is not between" in refused(capsys, "sim", str(job), "--set", f"node.{key}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("run my.pages --trace my.pages", "my.pages: is read by this command; give another name"),
        ("run my.pages --json ./my.pages.index.json", "it belongs to my.pages; give another name"),
        ("run my.pages --html ../{here}/my.pages", "is read by this command"),
        ("estimate my.pages --csv my.pages", "is read by this command"),
        ("calibrate my.pages -o my.pages", "is read by this command"),
        ("sim job.toml --json job.toml", "is read by this command"),
        ("sim job.toml --trace t.npy --json t.npy.json", "t.npy.json: is written twice by this command"),
        ("run my.pages --json x --html x", "x: is written twice by this command; give another name"),
        ("export t.npy -o t.npy", "is read by this command"),
        ("export t.npy -o t.npy.json", "it belongs to t.npy"),
        ("export t.npy --result out.json -o out.json", "is read by this command"),
        ("compare out.json two.json --html two.json", "is read by this command"),
        ("show out.json --folio 3", "out.json: is no trace: it has no page to show; give the T.npy of --trace"),
        ("export t.npy -o e.json --from 500s", "--from: no record is between it and --to; the trace has them from "),
        ("sim job.toml", "job.toml: gone.pages: no such file"),
        ("compare job.toml --threads 2", "--threads: is not for a job; --set threads=…"),
        ("compare job.toml --pin", "--pin: is not for a job; leave it out"),
        ("compare job.toml --validate", "--validate: is not for a job; leave it out"),
        ("compare job.toml --set design=april", "--set design: is what --design says of each row; --design april"),
        (
            "compare job.toml --cpus 2 --set node.cpus=8",
            "--set node.cpus: is what --cpus says of each table; leave it out",
        ),
        ("run job.toml --design april", "--design: is not for a job; --set design=…"),
        ("run job.toml --store zram", "--store: is not for a job; --set store=…"),
        (
            "compare out.json two.json --repeats 9",
            "--repeats: is not for stored Results, which are not run again; leave",
        ),
        ("compare out.json two.json -c zstd", "--compressor: is not for stored Results"),
        ("run t.npy", "t.npy: is a trace, not pages; look at it with: kcompressd validate t.npy"),
        ("check --replay my.pages", "my.pages: is no saved check; make one with: kcompressd check --json FILE"),
        ("check --replay out.json", "out.json: is no saved check; make one"),
        ("check --max-memory 20%", "max memory: '20%' is no size; give bytes, or 64M"),
        ("advise my.pages --ram 20%", "--ram: '20%' is no size; give bytes, or 64M"),
        ("run my.pages --pool-limit 20X", "pool limit: '20X' is no size; give bytes, 64M, or 20% (of the input)"),
    ],
)
def test_nothing_is_overwritten_or_left_unheeded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Pages.sample()[:8].save("my.pages")
    Path("job.toml").write_text('pages = "gone.pages"\n')
    run = Lab(trace=True).run(Pages.sample()[:8])
    run.trace.save("t.npy")
    run.save("out.json")
    run.save("two.json")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert message.format(folder=tmp_path) in refused(capsys, *argv.format(here=tmp_path.name).split())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("node.swap=4294967294", "node: it takes some 120 GiB, and"),
        ("workload.pages=4294967294", "node: it takes some 284 GiB, and"),
        ("workload.pages=9223372036854775808", "workload.pages 9223372036854775808 is not between 1 and 4294967294"),
        ("node.managed=1073741824", "node: it takes some 126 GiB, and"),
        ("repeat=9223372036854775808", "repeat = 9223372036854775808 is not between 1 and 4294967294"),
        ('machine.affinity={app0=["a"]}', "machine.affinity.app0 'a' is not a whole number"),
        ("machine.affinity={app0=[64]}", "machine.affinity.app0 [64] is no list of CPUs"),
        ("node.zzz=1", "node.zzz: no such key; known: cpus, kswapd, managed,"),
        ("node.swapiness=1", "node.swapiness: no such key; did you mean node.swappiness?"),
        ("cpus=1", "cpus: no such key; did you mean node.cpus?"),
        ("zzz=1", "zzz: no such key; known: pages, limit,"),
        ("pages=", "pages = '' names no file"),
        ('calibration=""', "calibration = '' names no file"),
    ],
)
def test_what_no_machine_holds_or_no_job_has_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, says: str
) -> None:
    """Not by the end of the process: the core cannot be refused memory."""
    monkeypatch.setattr(procfs, "available_bytes", lambda: 64 << 30)
    job = tmp_path / "job.toml"
    job.write_text('pages = "sample"\n[node]\nmanaged = 4096\n[workload]\nkind = "usemem"\npages = 6000\n')
    assert says in refused(capsys, "sim", str(job), "--set", setting)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("threads=99999999999999999999", "threads = 99999999999999999999: not from 0 to 65535"),
        ("seed=-1", "seed: -1 is not a whole number from 0 to 18446744073709551615"),
        (
            "costs.fault_ns=99999999999999999999",
            "fault_ns: 99999999999999999999 is not a whole number from 0 to 18446744073709551615",
        ),
        (
            "design.batch=99999999999999999999",
            'design key "batch": 99999999999999999999 is not a whole number from 0 to 65535',
        ),
        ("design=aprli", 'unknown design "aprli"; known: sync'),
        ("compressor=lz4:x", 'level "x" of lz4 is not a whole number from 1 to 65537'),
        ("calibration=gone.npz", "gone.npz: no such file"),
        ("calibration=/dev/zero", "/dev/zero: is no calibration: it is no archive of arrays"),
        ("repeat=4294967294", "memory is too small for it: Unable to allocate"),
        ("memcg=[{name='a',share=-1}]", "memcg.share: -1 is no whole number from 1 to 4096"),
        ("memcg=[{name='a',share=1000000000000}]", "memcg.share: 1000000000000 is no whole number"),
        ("memcg=[{name='a',share='x'}]", "memcg.share: 'x' is no whole number"),
        ("memcg=[{name='a',memory_max='1 quart'}]", "memcg.memory_max '1 quart' is no size; give bytes, or 64M"),
        ("memcg=[{name='a',memory_max=1.5}]", "memcg 'a': memory_max 1.5 is not a whole number"),
        ("memcg=[{name='a',zswap_max=-1}]", "memcg 'a': zswap_max -1 is not between 0 and 9223372036854775807"),
        (
            "machine.nice={kswapd9=3}",
            "machine.nice.kswapd9: there is no such thread; there are kswapd0, kcompressd0, app0, ",
        ),
        ("machine.affinity={kcompressd1=[0]}", "machine.affinity.kcompressd1: there is no such thread; there are"),
    ],
)
def test_what_the_core_refuses_is_told_with_the_job(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, setting: str, says: str
) -> None:
    job = tmp_path / "job.toml"
    job.write_text('pages = "sample"\n')
    assert f"{job}: " in (said := refused(capsys, "sim", str(job), "--set", setting)) and says in said


def test_a_key_of_one_of_several_applications_is_the_file_s(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text('pages = "sample"\n' + '[[workload]]\nkind = "eater"\npages = 9\n' * 2)
    said = refused(capsys, "sim", str(job), "--set", "workload.pages=8")
    assert "workload.pages: there are 2 [[workload]] tables; write pages into the file" in said and "eater" not in said


@pytest.mark.parametrize("command", ["run --sample --trace -", "run --sample --html -", "capture -o - -- true"])
def test_what_is_no_text_has_no_standard_output(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert "-: is standard output" in refused(capsys, *command.split())


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_a_closed_stream_takes_nothing(closed: str) -> None:
    command = f"{sys.executable} -m kcompressd estimate --sample --limit 8 -c lz4 {closed}"
    assert subprocess.run(command, shell=True, capture_output=True, timeout=60, check=False).returncode == 0


def test_what_an_encoding_has_not_is_a_question_mark() -> None:
    narrow = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "kcompressd", "doctor"]
    done = subprocess.run(command, capture_output=True, timeout=60, env=narrow, check=False)
    assert done.returncode == 0 and done.stdout.decode("latin-1").count("?") >= 5 and done.stderr == b""


def test_a_full_standard_output_is_named() -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run([*COMMAND, "check", "--folios", "1"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (2, "kcompressd: error: standard output: No space left on device\n")


def test_ctrl_c_ends_an_exploration_and_keeps_what_it_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on for minutes."""
    saved = tmp_path / "c.json"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    explore = _core.explore

    def started(*arguments: Any) -> Any:
        timer.start()
        return explore(*arguments)

    monkeypatch.setattr(_core, "explore", started)
    assert main(["check", "--folios", "4", "--kcompressd", "2", "--json", str(saved)]) == 130
    timer.join()
    said = capsys.readouterr()
    assert said.err == "kcompressd: interrupted: not every state was seen\n" and "not all seen: interrupted" in said.out
    found = json.loads(saved.read_text())
    assert (found["complete"], found["stopped_by"]) == (False, "interrupted") and found["states"] >= 1


@pytest.fixture(scope="module")
def shown() -> dict[str, dict[str, Any]]:
    """One of each kind of stored JSON that is no Result."""
    pages = Pages.sample()[:8]
    option = {"store": "zram", "compressor": "lz4", "used": 0.5, "touch_ns": 1, "cpu_ns": 1}
    advice = {"goal": "cpu", "options": [option], "best": None, "runner_up": None, "evidence": ["-"], "designs": []}
    kernel = (resources.files("kcompressd") / "data/sample.kernel-6.18.json").read_text()
    return {
        "estimate": estimate(pages, "lz4").to_dict(),
        "fidelity": json.loads(kernel),
        "comparison": compare(pages, ["sync"]).to_dict(),
        "advice": {"version": 1, "kind": "advice", **advice, "settings": {}, "complete": True},
    }


@pytest.mark.parametrize(
    ("kind", "place", "odd"),
    [
        ("estimate", ("choice", "zram_sysfs"), 5),
        ("estimate", ("compressors", 0, "compress", "bytes_per_s"), 10**400),
        ("fidelity", ("compressors", 0, "kernel"), None),
        ("comparison", ("designs",), []),
        ("comparison", ("title",), 7),
        ("comparison", ("designs", 0, "results", 0, "census"), {}),
        ("advice", ("settings",), 5),
        ("advice", ("options", 0, "used"), "half"),
        ("advice", ("options", 0, "store"), 1),
        ("advice", ("options", 0, "touch_ns"), None),
    ],
)
def test_what_was_stored_and_damaged_is_named(
    shown: dict[str, dict[str, Any]],
    kind: str,
    place: tuple[Any, ...],
    odd: object,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = copy.deepcopy(shown[kind])
    path = tmp_path / "stored.json"
    path.write_text(json.dumps(stored))
    assert main(["show", str(path)]) == 0 and capsys.readouterr().out
    inner: Any = stored
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = odd
    path.write_text(json.dumps(stored))
    assert f"{path}: a stored {kind} without what it must have: " in refused(capsys, "show", str(path))
