"""What capture refuses, and the fix that it names."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from children import child

from kcompressd import access, procfs
from kcompressd.access import AccessFacts
from kcompressd.capture import capture, read, scan
from kcompressd.errors import CaptureDeniedError, NoSuchProcessError, NotCapturableError


def test_pids_without_memory_are_refused() -> None:
    """No such process, a zombie, a kernel thread."""
    with child("say()") as running:
        os.kill(running.pid, signal.SIGKILL)
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NotCapturableError, match=r"zombie"):
            capture(running.pid)
    with pytest.raises(NoSuchProcessError, match=f"pid {running.pid}: no such process"):
        capture(running.pid)
    kernel_threads = [pid for pid in (2,) if os.path.exists(f"/proc/{pid}") and procfs.is_kernel_thread(pid)]
    for pid in kernel_threads:
        with pytest.raises(NotCapturableError, match="is a kernel thread"):
            capture(pid)


def test_a_process_of_another_user_is_refused_with_the_fix() -> None:
    """A real refusal by the kernel, seen as the user nobody (or, when not root, of process 1)."""
    if os.geteuid() != 0:
        with pytest.raises(CaptureDeniedError):
            capture(1)
        return
    error = as_nobody(lambda: capture(os.getppid()))
    assert isinstance(error, CaptureDeniedError), error
    assert "sudo kcompressd capture --pid" in error.fix or "--cap-add=SYS_PTRACE" in error.fix


def as_nobody(act: Callable[[], object]) -> BaseException | None:
    """Run `act` in a fork as an unprivileged user and return what it raised."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        raised: BaseException | None = None
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            act()
        except BaseException as error:
            raised = error
        os.write(send, pickle.dumps(raised))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    raised = pickle.loads(answer)
    assert raised is None or isinstance(raised, BaseException)
    return raised


SAME = AccessFacts(pid=5, uid=1000, target_uid=1000, has_ptrace=False, yama_scope=0, in_container=False)


@pytest.mark.parametrize(
    ("changes", "reason", "fix"),
    [
        ({"target_uid": 0}, "it belongs to uid 0, this is uid 1000", "sudo kcompressd capture --pid 5"),
        ({"target_uid": 0}, "uid 0", "setcap cap_sys_ptrace+ep"),
        ({"target_uid": None}, "another user", "sudo"),
        ({"yama_scope": 1}, "ptrace_scope=1 lets only its parents", "sudo sysctl kernel.yama.ptrace_scope=0"),
        ({"yama_scope": 1}, "ptrace_scope=1", "kcompressd capture -o FILE -- COMMAND"),
        ({"yama_scope": 2}, "ptrace_scope=2 lets only root", "sudo kcompressd capture"),
        ({"yama_scope": 3}, "until the next boot", "boot without it"),
        ({}, "protected", "sudo"),
        ({"in_container": True}, "protected", "--cap-add=SYS_PTRACE"),
        ({"in_container": True, "target_uid": 7}, "it belongs to uid 7, this is uid 1000", "as root: sudo"),
        ({"in_container": True, "target_uid": 7}, "uid 7", "--cap-add=SYS_PTRACE"),
        ({"in_container": True, "yama_scope": 1}, "ptrace_scope=1", "ptrace_scope=0, on the host; or let"),
        ({"uid": 0}, "root without CAP_SYS_PTRACE", "--cap-add=SYS_PTRACE"),
        ({"has_ptrace": True}, "despite CAP_SYS_PTRACE", "on the host"),
    ],
)
def test_each_refusal_is_explained(changes: dict[str, Any], reason: str, fix: str) -> None:
    """Every reason that the kernel can have, with the command that helps."""
    facts = replace(SAME, **changes)
    error = access.explain(facts)
    assert error.subject == "pid 5" and reason in error.reason and fix in error.fix


def test_a_refused_read_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yama lets `maps` be read and refuses the memory: that too ends in the explanation."""

    def refuse(self: procfs.ProcessMemory, out: np.ndarray, addresses: np.ndarray) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(procfs.ProcessMemory, "read", refuse)
    with child("say()") as running, pytest.raises(CaptureDeniedError, match=f"pid {running.pid}"):
        capture(running.pid)


def test_a_read_that_is_refused_half_way_keeps_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that becomes another user's (it executes a set-user-id program) is like one that exits."""
    honest = procfs.ProcessMemory.read

    def refuse_later(self: procfs.ProcessMemory, out: np.ndarray, addresses: np.ndarray) -> int:
        if addresses[0] != found.addresses[0]:
            raise PermissionError(1, "Operation not permitted")
        return honest(self, out, addresses)

    monkeypatch.setattr(procfs.ProcessMemory, "read", refuse_later)
    monkeypatch.setattr("kcompressd.capture.BATCH_PAGES", 50)
    with child("say()") as running:
        found = scan(running.pid)
        part = read(found)
    assert len(part) == 50 and not part.index.complete
    assert part.index.reason == f"reading stopped after 50 of {len(found)} pages: Operation not permitted"
