"""Capture of live processes: every page accounted for, faults while it runs, refusals with their fixes."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import access, demo_process, procfs
from kcompressd import capture as capturing
from kcompressd.access import AccessFacts
from kcompressd.capture import capture, read, scan
from kcompressd.errors import CaptureDeniedError, CaptureError, NoSuchProcessError, NotCapturableError
from kcompressd.pages import Pages
from kcompressd.spawn import _is_steady, capture_command

PAGE = mmap.PAGESIZE
PRELUDE = """
import ctypes, mmap, os, sys
PAGE = mmap.PAGESIZE
def fill(area, pages, salt):
    for i in pages:
        area[i * PAGE:(i + 1) * PAGE] = (salt * 100000 + i).to_bytes(8, "little") * (PAGE // 8)
def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))
def say(*words):
    print(*words, flush=True); sys.stdin.readline()
def anon(pages):
    return mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
"""


class Child:
    """A Python process that runs `body` and answers one line of words at each `say`."""

    def __init__(self, body: str, *arguments: str) -> None:
        """Start it and wait for its first `say`."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(body), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        self.said = self.listen()

    def listen(self) -> list[int]:
        """Return the integers of the next line that it says, once it sleeps: until then it touches pages."""
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        while not procfs.status(self.pid)["State"].startswith(("S", "Z")):
            time.sleep(0.001)
        return [int(word) for word in words]

    def go_on(self) -> list[int]:
        """Let it run to its next `say`."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.listen()

    def kill(self) -> None:
        """End it and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def child(body: str, *arguments: str) -> Iterator[Child]:
    """A child that is gone afterwards."""
    running = Child(body, *arguments)
    try:
        yield running
    finally:
        running.kill()
        for stream in (running.process.stdin, running.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def pattern(page: int, salt: int) -> bytes:
    """Return the contents that `fill` gives a page."""
    return (salt * 100000 + page).to_bytes(8, "little") * (PAGE // 8)


def pages_at(pages: Pages, found: capturing.Scan, start: int, count: int) -> dict[int, bytes]:
    """Return the captured pages of a range, by page number in it; the scan must be of the same moment."""
    inside = (found.addresses >= start) & (found.addresses < start + count * PAGE)
    numbers = (found.addresses[inside] - np.uint64(start)) // np.uint64(PAGE)
    return {int(n): page.tobytes() for n, page in zip(numbers, pages.array[inside], strict=True)}


def total(pages: Pages) -> int:
    """Return the pages of the file and every page that was skipped."""
    counts: dict[str, int] = asdict(pages.index.skipped)
    return len(pages) + sum(counts.values())


# Every page is accounted for


def test_every_written_page_is_captured_byte_for_byte() -> None:
    """Written pages are there with their contents; never touched ones are not; the kernel's count agrees."""
    with child("a = anon(300); fill(a, range(0, 300, 3), 7); say(address(a))") as running:
        found = scan(running.pid)
        pages = read(found)
        rss_anon = procfs.rss_anon_bytes(running.pid)
        got = pages_at(pages, found, running.said[0], 300)
    assert got == {i: pattern(i, 7) for i in range(0, 300, 3)}
    assert pages.index.complete and pages.index.skipped.vanished == 0
    inexact = 64 * (os.cpu_count() or 1)  # the kernel's counter is kept per CPU
    assert abs(len(pages) - rss_anon // PAGE) <= inexact
    assert sum(mapping.pages for mapping in pages.index.mappings) == len(pages)
    assert {"heap", "stack", "anon", "file-private"} == set(pages.index.kinds)


def test_copied_page_of_a_private_file_mapping(tmp_path: Path) -> None:
    """Only the pages that were written are anonymous; their kind and name say which file they came from."""
    file = tmp_path / "mapped file"
    file.write_bytes(bytes(range(256)) * (8 * PAGE // 256))
    body = """
        f = os.open(sys.argv[1], os.O_RDWR)
        a = mmap.mmap(f, 8 * PAGE, flags=mmap.MAP_PRIVATE); sum(a[::PAGE]); fill(a, [2, 5], 3)
        b = mmap.mmap(f, 8 * PAGE, flags=mmap.MAP_SHARED); fill(b, [7], 4)
        say(address(a), address(b))
    """
    with child(body, str(file)) as running:
        found = scan(running.pid)
        pages = read(found)
        private, shared = (pages_at(pages, found, start, 8) for start in running.said)
    assert private == {2: pattern(2, 3), 5: pattern(5, 3)} and shared == {}
    mapped = [mapping for mapping in pages.index.mappings if mapping.name == str(file)]
    assert [(m.kind, m.perms, m.start, m.pages) for m in mapped] == [("file-private", "rw-p", running.said[0], 2)]
    assert pages[mapped[0].first_page].tobytes() == pattern(2, 3)


def test_many_separate_runs_in_one_capture() -> None:
    """More runs than one call takes (1024), at batch sizes around that limit."""
    with child("a = anon(6000); fill(a, range(0, 6000, 2), 1); say(address(a))") as running:
        found = scan(running.pid)
        for batch in (1, 1023, 1024, 1025, 100_000):
            got = pages_at(read(found, batch_pages=batch), found, running.said[0], 6000)
            assert got == {i: pattern(i, 1) for i in range(0, 6000, 2)}


def test_untouched_zero_and_guarded_pages_are_no_pages() -> None:
    """Read-only touched pages map the zero page, guards map nothing, unreadable pages are counted."""
    body = """
        libc = ctypes.CDLL(None)
        a = anon(32); fill(a, range(16), 2); sum(a[::PAGE])
        b = anon(8); fill(b, range(8), 2)
        libc.mprotect(ctypes.c_void_p(address(b)), 8 * PAGE, 0)
        c = anon(8); fill(c, [0, 7], 5)
        guarded = libc.madvise(ctypes.c_void_p(address(c) + PAGE), 4 * PAGE, 102)
        say(address(a), address(b), address(c), guarded)
    """
    with child(body) as running:
        found = scan(running.pid)
        pages = read(found)
        touched, unreadable, guarded = (pages_at(pages, found, start, 8) for start in running.said[:3])
        late = pages_at(pages, found, running.said[0] + 16 * PAGE, 16)
    assert len(touched) == 8 and unreadable == {} and set(guarded) == {0, 7}
    assert pages.index.skipped.unreadable == 8 and pages.index.skipped.swapped == 0
    assert "8 pages were in mappings without read permission" in pages.index.notes
    if pages.index.skipped.zero:  # Linux 6.7 and newer can tell
        assert late == {} and pages.index.skipped.zero >= 16
    else:
        assert set(late.values()) == {bytes(PAGE)}


def test_the_scan_is_the_same_without_pagemap_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 6.7 lack the ioctl: the same pages are found, the zero page counts as one of zeros."""
    with child("a = anon(5000); fill(a, range(0, 5000, 700), 2); sum(a[::PAGE]); say()") as running:
        modern = scan(running.pid)
        monkeypatch.setattr(procfs.Pagemap, "_SCAN", 0)
        old = scan(running.pid)
    assert old.skipped.zero == 0
    assert np.isin(modern.addresses, old.addresses).all()
    assert len(old) == len(modern) + modern.skipped.zero


def test_the_scan_is_the_same_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small answers of the kernel, small reads and every gap kept: the same pages."""
    with child("a = anon(5000); fill(a, range(0, 5000, 7), 2); sum(a[:900 * PAGE:PAGE]); say()") as running:
        whole = scan(running.pid)
        for name, value in (("_REGIONS", 3), ("_CHUNK_PAGES", 5), ("_GAP_BYTES", 0)):
            monkeypatch.setattr(procfs.Pagemap, name, value)
            steps = scan(running.pid)
            assert np.array_equal(steps.addresses, whole.addresses) and steps.skipped == whole.skipped


# Faults while it runs


def after_batches(count: int, act: Callable[[], object]) -> Callable[[int, int], None]:
    """Return a progress callback that acts once, after `count` batches."""
    seen = 0

    def report(done: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            act()

    return report


def test_a_process_that_exits_half_way_keeps_what_was_read(tmp_path: Path) -> None:
    """What was read before is right and stays, `complete` is False with the reason, the counts add up."""
    with child("a = anon(2000); fill(a, range(2000), 9); say(address(a))") as running:
        found = scan(running.pid)
        whole = read(found)
        part = read(found, batch_pages=100, progress=after_batches(5, running.kill))
    assert len(part) == 500 and part == whole[:500]
    assert not part.index.complete and part.index.skipped.unread == len(found) - 500
    assert part.index.reason == f"the process exited after 500 of {len(found)} pages"
    assert total(part) == len(found) + found.skipped.zero + found.skipped.unreadable
    assert sum(m.pages for m in part.index.mappings) == 500 and "the process exited" in repr(part)
    assert Pages.from_file(part.save(tmp_path / "p.zst")).index == part.index


def test_a_process_that_exits_before_the_first_page() -> None:
    """Nothing was read: an error instead of an empty file."""
    with child("say()") as running:
        found = scan(running.pid)
        running.kill()
        with pytest.raises(NoSuchProcessError):
            read(found)


@pytest.mark.parametrize("batch", [1, 7, 64, 5000])
def test_pages_given_back_meanwhile_are_skipped_and_counted(batch: int) -> None:
    """Unmapped between scan and read, at both ends and inside of runs: only those pages are missing."""
    body = """
        a = anon(600); fill(a, range(600), 4); say(address(a))
        libc = ctypes.CDLL(None)
        for first, count in ((0, 3), (100, 1), (201, 50), (599, 1)):
            libc.munmap(ctypes.c_void_p(address(a) + first * PAGE), count * PAGE)
        say()
    """
    gone = {*range(3), 100, *range(201, 251), 599}
    with child(body) as running:
        found = scan(running.pid)
        running.go_on()
        pages = read(found, batch_pages=batch)
        start = running.said[0]
    assert pages.index.skipped.vanished == len(gone) and len(pages) == len(found) - len(gone)
    assert pages.index.complete and total(pages) == len(found) + found.skipped.zero + found.skipped.unreadable
    mine = [m for m in pages.index.mappings if m.start <= start < m.end]
    contents = b"".join(pages[m.first_page : m.first_page + m.pages].array.tobytes() for m in mine)
    for i in range(600):
        assert (pattern(i, 4) in contents) == (i not in gone)


def test_a_short_read_inside_a_run_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may return fewer bytes than asked for: the rest is asked for again."""
    with child("a = anon(300); fill(a, range(300), 6); say(address(a))") as running:
        found = scan(running.pid)
        whole, honest = read(found), procfs.ProcessMemory.read

        def short(self: procfs.ProcessMemory, out: np.ndarray, addresses: np.ndarray) -> int:
            cut = max(1, len(addresses) // 3)
            return honest(self, out[:cut], addresses[:cut])

        monkeypatch.setattr(procfs.ProcessMemory, "read", short)
        assert read(found) == whole


def test_limit_takes_the_first_pages_and_says_so() -> None:
    """The rest is counted; a limit that takes nothing is refused."""
    with child("a = anon(300); fill(a, range(300), 6); say()") as running:
        whole, part = capture(running.pid), capture(running.pid, limit=123)
        with pytest.raises(CaptureError, match="a limit of 0 pages"):
            capture(running.pid, limit=0)
    assert part == whole[:123] and part.index.skipped.over_limit == len(whole) - 123 and part.index.complete


def test_more_pages_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read, with a limit that fits."""
    monkeypatch.setattr(procfs, "available_bytes", lambda: 1 << 20)
    with (
        child("say()") as running,
        pytest.raises(CaptureError, match=r"MiB are available.*limit of 128 pages"),
    ):
        capture(running.pid)


# Refusals


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
        ({"in_container": True}, "inside a container", "--cap-add=SYS_PTRACE"),
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
    with child("say()") as running:
        found = scan(running.pid)
        part = read(found, batch_pages=50)
    assert len(part) == 50 and not part.index.complete
    assert part.index.reason == f"reading stopped after 50 of {len(found)} pages: Operation not permitted"


# Which mappings count


@pytest.mark.parametrize(
    ("perms", "device", "name", "kind"),
    [
        ("rw-p", "00:00", "", "anon"),
        ("rw-p", "00:00", "[anon: a name]", "anon"),
        ("rw-p", "00:00", "[heap]", "heap"),
        ("rw-p", "00:00", "[stack]", "stack"),
        ("rw-p", "fe:00", "/usr/lib/x.so (deleted)", "file-private"),
        ("rw-p", "00:01", "/dev/zero (deleted)", "file-private"),
        ("rw-s", "00:01", "/dev/zero (deleted)", None),
        ("rw-s", "00:01", "[anon_shmem: x]", None),
        ("r--p", "00:00", "[vvar]", None),
        ("r-xp", "00:00", "[vdso]", None),
        ("--xp", "00:00", "[vsyscall]", None),
        ("rw-p", "00:0f", "/anon_hugepage (deleted)", None),
        ("rw-p", "00:2a", "/mnt/huge/file", None),
        ("rw-p", "00:06", "/dev/dri/card0", None),
        ("rw-p", "00:0e", "anon_inode:i915.gem", None),
    ],
)
def test_mappings_that_count_and_their_kinds(perms: str, device: str, name: str, kind: str | None) -> None:
    """Private memory that reclaim could compress, and what only looks like it."""
    area = procfs.Area(0, PAGE, perms, device, name)
    assert capturing._holds_anonymous(area, {"00:2a"}) == (kind is not None)
    assert kind is None or capturing.kind_of(area) == kind


def test_our_own_maps_are_all_parsed() -> None:
    """No line of a real file is dropped."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        lines = file.read().splitlines()
    parsed = [procfs.parse_maps_line(line) for line in lines]
    assert all(
        area is not None and f"{area.start:x}-{area.end:x} {area.perms}" in line
        for area, line in zip(parsed, lines, strict=True)
    )


# Commands


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
    command = [sys.executable, "-m", "kcompressd.demo_process", "--mib", "4", "--hold"]
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
    assert 3 << 8 <= len(new) <= 8 << 8 and not np.isin(new.addresses, before.addresses).any()


def test_the_demo_process_builds_the_same_values_for_a_seed() -> None:
    """Every builder, twice; another seed differs."""
    one, same, other = (demo_process.build(seed, 0.3) for seed in (1, 1, 2))
    assert repr(one) == repr(same) != repr(other)
    with pytest.raises(SystemExit):
        demo_process.main(["--mib", "0"])
