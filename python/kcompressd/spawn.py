"""`capture_command`: start a command, wait until its memory is steady, capture it, end it.

Only the process started here is captured and ended (SIGTERM, then SIGKILL); a command that starts others (a shell
script, a compiler driver) should `exec` the one that matters, and a note says which one is larger. Its standard
streams are the caller's, nothing is swallowed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Final

from kcompressd import capture as capturing
from kcompressd import procfs
from kcompressd.errors import CaptureError, NoSuchProcessError, NotCapturableError, refuse_type
from kcompressd.pages import Pages
from kcompressd.progress import Count
from kcompressd.sizes import mib

STEADY_S: Final = 0.5
"""Memory is steady when RssAnon stays within the tolerance for this long."""
MAX_WAIT_S: Final = 30.0
"""Longest wait for steady memory; the capture then says that it was still moving."""

_POLL_S: Final = 0.05
_TOLERANCE_BYTES: Final = 256 << 10
_GRACE_S: Final = 3.0


def capture_command(
    argv: Sequence[str],
    *,
    after: float | None = None,
    max_wait: float = MAX_WAIT_S,
    limit: int | None = None,
    progress: Count | bool = False,
    keep_cmdline: bool = False,
) -> Pages:
    """Start `argv`, capture it, end it; the arguments after `max_wait` are those of `capture`.

    It is captured `after` seconds, or by default once its resident anonymous memory has been steady (within 1
    % or 256 KiB) for half a second, at the latest after `max_wait` seconds, which `index.notes` then says.
    Raises `CaptureError` when it cannot be started or exits before the capture, and what `capture` raises.
    """
    refuse_type("command", argv, (list, tuple), "a list of words", CaptureError)
    for word in argv:
        refuse_type("command", word, (str, bytes, os.PathLike), "a word", CaptureError)
    for name, seconds in (("after", 0.0 if after is None else after), ("max_wait", max_wait)):
        refuse_type(name, seconds, Real, "a number of seconds", CaptureError)
        if not 0 <= seconds < threading.TIMEOUT_MAX:
            raise CaptureError(name, f"{seconds} seconds are no time to wait")
    with _started(argv) as child:
        notes: tuple[str, ...] = ()
        if after is not None:
            _wait_or_exit(child, argv, after)
        elif not _wait_steady(child, argv, max_wait):
            notes = (f"its memory was still changing after {max_wait:g} s; captured as it was",)
        try:
            notes += _larger_children(child.pid, argv[0])
            pages = capturing.capture(child.pid, limit=limit, progress=progress, keep_cmdline=keep_cmdline)
        except (NoSuchProcessError, NotCapturableError):
            if child.poll() is not None:
                raise _exited(child, argv) from None
            raise
    return pages.with_index(replace(pages.index, notes=notes + pages.index.notes))


@contextlib.contextmanager
def _started(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    if not argv:
        raise CaptureError("command", "is empty", "give one after `--`")
    child = None
    try:
        with _signals_held():
            try:
                child = subprocess.Popen(list(argv))
            except OSError as error:
                raise CaptureError(argv[0], f"cannot be started: {os.strerror(error.errno or 0)}") from error
        yield child
    finally:
        if child is not None:
            _end(child)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let the signals that a handler answers wait: a `Popen` that raises has started a process which nobody knows."""
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held in came:
            signal.raise_signal(held)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also where a second Ctrl-C does not wait so long
        child.kill()
        child.wait()


def _wait_or_exit(child: subprocess.Popen[bytes], argv: Sequence[str], seconds: float) -> None:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise _exited(child, argv)


def _wait_steady(child: subprocess.Popen[bytes], argv: Sequence[str], max_wait: float) -> bool:
    """Wait until the memory is steady; False when it was not within `max_wait` seconds."""
    deadline = time.monotonic() + max_wait
    window: deque[int] = deque(maxlen=round(STEADY_S / _POLL_S) + 1)
    while time.monotonic() < deadline:
        _wait_or_exit(child, argv, _POLL_S)
        with contextlib.suppress(OSError):  # it exits right now: the next wait says so
            window.append(procfs.rss_anon_bytes(child.pid))
        if len(window) == window.maxlen and _is_steady(window):
            return True
    return False


def _is_steady(window: Sequence[int]) -> bool:
    """Tell whether the samples (bytes) differ by at most 1 % or 256 KiB, and there is memory at all."""
    return min(window) > 0 and max(window) - min(window) <= max(_TOLERANCE_BYTES, max(window) // 100)


def _larger_children(pid: int, command: str) -> tuple[str, ...]:
    """Say which of its children has the most memory, where that is more than its own."""
    try:
        own = procfs.rss_anon_bytes(pid)
        size, name = max(
            ((procfs.rss_anon_bytes(one), procfs.status(one)["Name"]) for one in procfs.descendants(pid)),
            default=(0, ""),
        )
    except (OSError, KeyError):  # one exits right now
        return ()
    if size <= own:
        return ()
    said = f"its child process {name} has {mib(size)} of anonymous memory, {command} itself {mib(own)}"
    return (f"{said}: start that one, or capture it while it runs (--pid)",)


def _exited(child: subprocess.Popen[bytes], argv: Sequence[str]) -> CaptureError:
    code = child.returncode
    how = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
    fix = "capture it earlier (--after), or make it wait when it is fullest"
    return CaptureError(argv[0], f"{how} before it was captured", fix)
