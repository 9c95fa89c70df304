"""Captures of several processes: a cgroup's folder and its children, the sample, what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kcompressd import access, capture_many
from kcompressd.capture import Scan
from kcompressd.errors import CaptureError, InputError, NotCapturableError
from kcompressd.page_index import Skipped

MINE = 64
CODE = (
    "import mmap, sys; m = mmap.mmap(-1, {pages} * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
    "m[:] = b''.join(bytes([{tag}, i]) * 2048 for i in range({pages}))\n"
    "print('ready', flush=True); sys.stdin.read()"
)


@pytest.fixture
def processes() -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """Two processes by the byte that starts each of their 64 pages."""
    with ExitStack() as stack:
        running = {}
        for tag in (7, 9):
            code = CODE.format(pages=MINE, tag=tag)
            process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(process.communicate, b"")
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            while not is_asleep(process.pid):
                time.sleep(0.001)  # On its way to read() it touches pages.
            running[tag] = process
        yield running


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")


def tagged(pages: np.ndarray, tag: int) -> int:
    """How many different pages of a process's own 64 there are."""
    own = [
        page.tobytes()
        for page in pages
        if page[0] == tag and (page[2::2] == tag).all() and (page[1::2] == page[1]).all()
    ]
    return len(set(own))


@pytest.mark.parametrize(("has_ptrace", "more"), [(True, ""), (False, "; root reads those of other users too")])
def test_a_cgroup_is_all_its_processes_and_those_below(
    tmp_path: Path,
    processes: dict[int, subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    has_ptrace: bool,
    more: str,
) -> None:
    facts = replace(access.gather(1), has_ptrace=has_ptrace)
    monkeypatch.setattr(access, "gather", lambda pid: facts)
    (tmp_path / "child").mkdir()
    (tmp_path / "cgroup.procs").write_text(f"{processes[7].pid}\n")
    (tmp_path / "child/cgroup.procs").write_text(f"{processes[9].pid}\n4194305\n")
    pages = capture_many.capture_cgroup(tmp_path)
    assert (tagged(pages.array, 7), tagged(pages.array, 9)) == (MINE, MINE)
    assert pages.index.notes[0].startswith("pages of 2 processes: python") and pages.index.pid is None
    assert f"processes that were gone or refused: 1{more}" in pages.index.notes


def test_a_sample_has_the_size_asked_for_and_repeats(
    tmp_path: Path, processes: dict[int, subprocess.Popen[bytes]]
) -> None:
    pids = [process.pid for process in processes.values()]
    one, again, other = (capture_many.capture_processes(pids, "two", limit=500, seed=seed) for seed in (1, 1, 2))
    assert len(one) == 500 and one.index.skipped.over_limit > 0
    assert [m.start for m in one.index.mappings] == [m.start for m in again.index.mappings]
    assert one != other


def scan_of(pid: int, pages: int) -> Scan:
    return Scan(pid, 4096, (), np.arange(pages, dtype=np.uint64) * 4096, np.zeros(pages, dtype=np.int64), Skipped())


def test_candidates_of_reclaim_come_first_and_shared_frames_once() -> None:
    frames = np.arange(1, 101, dtype=np.uint64)
    inactive = np.arange(100) % 2 == 0
    parent = capture_many._Found(scan_of(1, 100), "parent", frames, inactive)
    child = capture_many._Found(scan_of(2, 50), "child", frames[50:], inactive[50:])
    kept = capture_many._once([parent, child])
    assert [len(one.scan) for one in kept] == [100, 0]
    (sampled, nothing) = capture_many._sample(kept, 60, np.random.default_rng(3))
    chosen = set((sampled.scan.addresses // 4096).tolist())
    assert len(chosen) == 60 and set(range(0, 100, 2)) <= chosen and len(nothing.scan) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="frame numbers need root")
def test_root_sees_which_pages_are_inactive(processes: dict[int, subprocess.Popen[bytes]]) -> None:
    pages = capture_many.capture_processes([processes[7].pid], "one", limit=None)
    assert any("were inactive" in note for note in pages.index.notes)


def test_the_system_is_captured_down_to_the_limit() -> None:
    pages = capture_many.capture_system(limit=200)
    assert 0 < len(pages) <= 200 and pages.index.notes[0].startswith("pages of ")


def test_what_cannot_be_captured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/such: is no cgroup"):
        capture_many.capture_cgroup("no/such")
    (tmp_path / "cgroup.procs").write_text("4194305\n")
    with pytest.raises(NotCapturableError, match="no page was read; 1 processes refused"):
        capture_many.capture_cgroup(tmp_path)
    with pytest.raises(CaptureError, match="limit: 0 is less than 1"):
        capture_many.capture_system(limit=0)
