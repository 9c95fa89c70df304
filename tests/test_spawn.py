"""Commands that are started, captured when steady and ended; the demo's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from children import PRELUDE, child, pattern

from kcompressd import capture as capturing
from kcompressd import demo_process
from kcompressd.capture import capture, scan
from kcompressd.errors import CaptureError
from kcompressd.spawn import _is_steady, capture_command


def test_a_command_is_captured_when_steady_and_ended(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its memory is complete, its output arrives, the process is gone, and the pid is the index's."""
    wait = "print('from the child', flush=True); import time; time.sleep(600)"
    code = PRELUDE + "a = anon(4000); fill(a, range(4000), 8); " + wait
    (tmp_path / "script.py").write_text(code)
    pages = capture_command([sys.executable, str(tmp_path / "script.py")])
    assert {pattern(i, 8) for i in range(4000)} <= {page.tobytes() for page in pages}
    assert capfd.readouterr().out == "from the child\n" and pages.index.notes == ()
    assert pages.index.source.cmdline is None and pages.index.pid is not None
    assert not os.path.exists(f"/proc/{pages.index.pid}")


def test_a_command_that_ignores_sigterm_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL follows; arguments are kept when asked for."""
    monkeypatch.setattr("kcompressd.spawn._GRACE_S", 0.1)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    pages = capture_command([sys.executable, "-c", code], after=0.5, keep_cmdline=True)
    assert pages.index.source.cmdline == (sys.executable, "-c", code)
    assert not os.path.exists(f"/proc/{pages.index.pid}")


def test_a_command_that_never_settles_is_captured_and_it_is_said() -> None:
    """At the longest wait the capture happens anyway, with a note."""
    code = "import time\na = []\nwhile True: a.append(bytearray(2 << 20)); time.sleep(0.02); a = a[-200:]"
    pages = capture_command([sys.executable, "-c", code], max_wait=0.4)
    assert pages.index.notes[0] == "its memory was still changing after 0.4 s; captured as it was"


def test_a_child_with_more_memory_than_the_command_is_named() -> None:
    """A compiler driver or a shell script is small; what one wants is below it."""
    large = "import sys; kept = b'x' * (32 << 20); sys.stdin.read()"  # ends when its parent has
    code = f"import subprocess as s, sys; s.Popen([sys.executable, '-c', {large!r}], stdin=s.PIPE).wait()"
    pages = capture_command([sys.executable, "-c", code], after=2.0)
    (note,) = pages.index.notes
    assert note.startswith("its child process python") and f", {sys.executable} itself " in note and "--pid" in note


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_started_leaves_no_process(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """`Popen` itself is interrupted, when the process is there and nobody has its pid."""
    pids: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, argv: list[str]) -> None:
            super().__init__(argv)
            pids.append(self.pid)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            capture_command(["sleep", "600"])
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert len(pids) == 1 and not os.path.exists(f"/proc/{pids[0]}")


def test_a_second_signal_while_it_is_ended_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ignores SIGTERM, and whoever waits for it to end does not."""
    pids: list[int] = []

    def interrupted(pid: int) -> capturing.Scan:
        pids.append(pid)
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(capturing, "scan", interrupted)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        capture_command([sys.executable, "-c", code], after=0.5)
    assert len(pids) == 1 and not os.path.exists(f"/proc/{pids[0]}")


@pytest.mark.parametrize("after", [None, 30.0])
def test_a_command_that_exits_first_is_an_error(after: float | None) -> None:
    """With its status or its signal; so is one that cannot be started."""
    with pytest.raises(CaptureError, match=r"^sh: exited with status 3 before it was captured"):
        capture_command(["sh", "-c", "exit 3"], after=after)
    with pytest.raises(CaptureError, match=r"^sh: was killed by signal 9 before"):
        capture_command(["sh", "-c", "kill -9 $$"], after=after)
    with pytest.raises(CaptureError, match="cannot be started: No such file"):
        capture_command(["/no/such/command"], after=after)
    with pytest.raises(CaptureError, match="is empty"):
        capture_command([], after=after)


def test_a_command_that_exits_in_the_last_moment_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a zombie by then: said as its exit, not as a zombie."""
    honest = capturing.scan

    def late(pid: int) -> capturing.Scan:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return honest(pid)

    monkeypatch.setattr(capturing, "scan", late)
    with pytest.raises(CaptureError, match=r"^sleep: exited with status 0 before it was captured"):
        capture_command(["sleep", "0.3"], after=0.01)


def test_steadiness_is_relative_with_a_floor() -> None:
    """One per cent of large memory, 256 KiB of small, and never no memory."""
    assert _is_steady([100 << 20, 101 << 20]) and not _is_steady([100 << 20, 103 << 20])
    assert _is_steady([1 << 20, (1 << 20) + (256 << 10)]) and not _is_steady([1 << 20, (1 << 20) + (257 << 10)])
    assert not _is_steady([0, 0])


def test_the_bar_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output stays for data."""
    with child("a = anon(300); fill(a, range(300), 6); say()") as running:
        capture(running.pid, progress=True)
    captured = capfd.readouterr()
    assert captured.out == "" and f"capturing pid {running.pid}" in captured.err


def test_the_demo_process_is_captured_with_its_contents() -> None:
    """What `make demo` runs: the words of the seed are in its pages."""
    pages = capture_command([sys.executable, "-m", "kcompressd.demo_process", "--mib", "6", "--seed", "3"])
    words = demo_process.vocabulary(3)[:20]
    contents = pages.array.tobytes()
    assert all(f" {word} ".encode() in contents for word in words)
    assert len(pages) > 6 << 8


def test_the_demo_process_holds_until_told() -> None:
    """With --hold, the contents are not there before the line."""
    command = [sys.executable, "-m", "kcompressd.demo_process", "--mib", "16", "--hold"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "loaded\n"
            before = scan(process.pid)
            print(file=process.stdin, flush=True)
            assert process.stdout.readline() == "ready\n"
            new = scan(process.pid).without(before)
        finally:
            process.kill()
    # Of the memory that an interpreter has free when all is loaded, 3.14's is the most: 3 MiB.
    assert 12 << 8 <= len(new) <= 32 << 8 and not np.isin(new.addresses, before.addresses).any()


def test_the_demo_process_builds_the_same_values_for_a_seed() -> None:
    """Every builder, twice; another seed differs."""
    one, same, other = (demo_process.build(seed, 0.3) for seed in (1, 1, 2))
    assert repr(one) == repr(same) != repr(other)
    with pytest.raises(SystemExit):
        demo_process.main(["--mib", "0"])
