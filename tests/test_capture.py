"""Capture of live processes: every page accounted for, faults while it runs, which mappings count."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from children import PAGE, child, pages_at, pattern, total

from kcompressd import capture as capturing
from kcompressd import procfs
from kcompressd.capture import capture, read, scan
from kcompressd.errors import CaptureError, NoSuchProcessError
from kcompressd.pages import Pages

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


def test_many_separate_runs_in_one_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """More runs than one call takes (1024), at batch sizes around that limit."""
    with child("a = anon(6000); fill(a, range(0, 6000, 2), 1); say(address(a))") as running:
        found = scan(running.pid)
        for batch in (1, 1023, 1024, 1025, 100_000):
            monkeypatch.setattr(capturing, "BATCH_PAGES", batch)
            got = pages_at(read(found), found, running.said[0], 6000)
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


def test_a_part_that_the_kernel_tells_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """PAGEMAP_SCAN may say that it ended before what it told: the same pages, ascending, once each."""
    told_twice = 0

    def back(file: int, request: int, argument: bytearray) -> int:
        """Say that the walk ended before the last three runs."""
        nonlocal told_twice
        found = fcntl.ioctl(file, request, argument)
        vector, room = struct.unpack_from("=2Q", argument, 40)
        runs = np.ctypeslib.as_array((ctypes.c_uint64 * (3 * room)).from_address(vector)).reshape(room, 3)
        if found > 3:
            struct.pack_into("=Q", argument, 32, int(runs[found - 3, 0]))
            told_twice += 1
        return found

    with child("a = anon(5000); fill(a, range(0, 5000, 7), 2); sum(a[:900 * PAGE:PAGE]); say()") as running:
        once = scan(running.pid)
        monkeypatch.setattr(procfs.Pagemap, "_GAP_BYTES", 0)
        monkeypatch.setattr(procfs, "fcntl", SimpleNamespace(ioctl=back))
        again = scan(running.pid)
    assert told_twice > 0
    assert np.array_equal(again.addresses, once.addresses) and again.skipped == once.skipped


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


def test_a_process_that_exits_half_way_keeps_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is right and stays, `complete` is False with the reason, the counts add up."""
    with child("a = anon(2000); fill(a, range(2000), 9); say(address(a))") as running:
        found = scan(running.pid)
        whole = read(found)
        monkeypatch.setattr(capturing, "BATCH_PAGES", 100)
        part = read(found, progress=after_batches(5, running.kill))
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
def test_pages_given_back_meanwhile_are_skipped_and_counted(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
        monkeypatch.setattr(capturing, "BATCH_PAGES", batch)
        pages = read(found)
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
        with pytest.raises(CaptureError, match="limit: 0 is less than 1"):
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
        area is not None and line.startswith(f"{area.start:08x}-{area.end:08x} {area.perms}")
        for area, line in zip(parsed, lines, strict=True)
    )
