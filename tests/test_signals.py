"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing that it started is left, what there was is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kcompressd import __main__
from kcompressd.cli import main

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def started(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "kcompressd", *arguments]
    pipe = subprocess.PIPE
    # Under nohup the tests' own process ignores SIGHUP, and what it starts would too.
    return subprocess.Popen(argv, cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_hangup)


def _heed_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def until(come: Callable[[], bool]) -> None:
    while not come():
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_sweep_keeps_its_rows_and_leaves_no_worker(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "j.toml").write_text(
        'pages = "sample"\nstore = "zram"\n[node]\nmanaged = 4096\n[workload]\nkind = "usemem"\npages = 4000\ntouches = 20000\n'
        f'[[sweep.axis]]\nkey = "seed"\nvalues = {list(range(4000))}\n'
    )
    with started("sweep", "j.toml", "--workers", "2", "--repeats", "1", folder=tmp_path) as command:
        until(lambda: any(tmp_path.glob("j.parquet.parts/*.parquet")))
        left = children(command.pid)
        os.kill(command.pid, number)
        out, said = command.communicate()
    assert command.returncode == code and "the same command goes on from here" in said
    assert (
        " of 4000 points" in out and (tmp_path / "j.parquet").is_file() and not (tmp_path / "j.parquet.parts").exists()
    )
    until(lambda: not any(map(is_there, left)))


def test_the_signals_are_as_before_when_main_returns(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    assert main(["doctor", "--json", "-"]) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before
    assert capsys.readouterr().out


def test_ctrl_c_while_the_command_is_loaded_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loaded:
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "kcompressd.cli", Loaded())
    monkeypatch.setattr("kcompressd.cli", Loaded())
    assert __main__.main() == 130
    assert capsys.readouterr() == ("", "kcompressd: interrupted\n")
