"""The live view, in a terminal that is a pseudo terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kcompressd import Lab, Pages
from kcompressd.cli import main
from kcompressd.sizes import bars
from kcompressd.watch import CpuShares, Watch


def in_terminal(*arguments: str, typed: tuple[bytes, bytes] | None = None) -> tuple[int, str]:
    """Run the command in the foreground of a pseudo terminal; return exit code and what it drew. Of `typed` the second is
    typed once the first was drawn.
    """
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    command = [sys.executable, "-m", "kcompressd", *arguments]
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    process = subprocess.Popen(command, **streams, env=env, start_new_session=True, preexec_fn=_take_terminal)
    drawn, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        ended = process.poll() is not None
        if select.select([leader], [], [], 0 if ended else 0.1)[0]:
            drawn += os.read(leader, 1 << 16)
        elif ended:
            break
        if typed is not None and typed[0] in drawn:
            os.write(leader, typed[1])
            typed = None
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    os.close(follower)
    return process.wait(10), drawn.decode()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Enough pages that a run is looked at several times."""
    path = tmp_path_factory.mktemp("pages") / "many.pages"
    sample = Pages.sample().array
    np.concatenate([sample] * 16).tofile(path)
    return str(path)


def test_it_draws_queues_pool_and_threads_and_then_the_result(many: str) -> None:
    code, drawn = in_terminal("run", many, "--design", "split", "--threads", "2", "-c", "zstd", "--watch")
    assert code == 0
    for words in ("reclaim: ", "queue 0", "queue 1", "of 256", "in flight", "pool", "kswapd0", "kcompressd1", "%"):
        assert words in drawn, words
    assert drawn.count("reclaim: ") > 2 and "ended: 24576 pages of 24576" in drawn
    assert drawn.index("ended: ") < drawn.index("lifecycle events")
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")  # the cursor is back


def test_ctrl_c_gives_the_terminal_back(many: str) -> None:
    code, drawn = in_terminal("run", many, "-c", "zstd:19", "--watch", typed=(b"kswapd0", b"\x03"))
    assert code == 130 and "interrupted: the result is partial" in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_keys_change_the_depth(many: str) -> None:
    code, drawn = in_terminal("run", many, "--design", "split", "-c", "zstd", "--watch", typed=(b"of 256", b"x-"))
    assert code == 0 and "of 128" in drawn[drawn.index("of 256") :]
    assert "x-" not in drawn, "what is typed is not shown"


def test_without_a_terminal_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--sample", "--watch"]) == 2
    assert "--watch: draws in a terminal, and standard error is none; leave it out" in capsys.readouterr().err


def test_what_it_is_told_is_what_it_draws() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=40)
    now: dict[str, Any] = {"pages_done": 3, "pages": 9, "queue_len": [4, 0], "pool_pages": 256, "in_flight": 5}
    with Watch("title", page_size=4096, depth=8, console=console) as watch:
        watch(now | {"phase": "reclaim", "allocstall": 7})
        watch(now | {"phase": "ended", "queue_len": []})
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue()).split("title")[-1]
    assert re.search(r"ended: 9 pages of 9", last) and re.search(r"^queue 0 +4 of 8 +▄", last, re.MULTILINE)
    assert re.search(r"pool +1\.0 MiB", last) and re.search(r"stalls +7 ", last)


def test_a_curve_shows_what_is_not_nothing() -> None:
    assert bars([0, 1, 50, 100], 100) == " ▁▄█" and bars([], 8) == "" and bars([0, 0], 0) == "  "


def test_cpu_time_is_that_of_the_run_s_threads(many: str) -> None:
    seen = CpuShares()
    result = Lab(threads=1, compressor="zstd").run(Pages.from_file(many), watch=lambda now: seen.sample())
    spent = {name: ns for name, ns, _ in seen.shares()}
    told = {str(t.actor): t.reclaim_cpu_ns + t.fault_cpu_ns for t in result.threads}
    assert {"kswapd0", "kcompressd0", "app0"} <= set(spent)
    assert 0.5 * told["kcompressd0"] <= spent["kcompressd0"] <= 1.1 * told["kcompressd0"]


def test_a_capture_s_bar_is_gone_when_it_is_done(tmp_path: Path) -> None:
    path = str(tmp_path / "f.pages")
    code, drawn = in_terminal("capture", "--after", "0.3", "-o", path, "--", "sleep", "60")
    assert code == 0 and "\x1b[2K" in drawn[drawn.rindex("capturing pid") : drawn.index("next: ")]


def test_the_command_itself_is_none_of_its_threads() -> None:
    name = Path("/proc/thread-self/comm")
    before = name.read_text()
    name.write_text("kcompressd")
    try:
        seen = CpuShares()
        seen.sample()
    finally:
        name.write_text(before)
    assert "kcompressd" not in {name for name, _, _ in seen.shares()}
