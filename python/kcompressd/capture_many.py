"""Capture of many processes at once: a cgroup, or the whole system, sampled down to a limit.

Where the kernel shows frame numbers and page flags (root), a frame that several processes map after fork is taken
once, and what reclaim would take first comes first: inactive anonymous pages of the LRU lists (`/proc/kpageflags`:
LRU and ANON without ACTIVE and UNEVICTABLE). Source: Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd import access, capture, procfs
from kcompressd.capture import Scan
from kcompressd.errors import CaptureError, InputError, NotCapturableError, file_path, refuse_number
from kcompressd.page_index import PageIndex
from kcompressd.pages import Pages
from kcompressd.progress import Count, counter, part_of

DEFAULT_LIMIT: Final = 65536
"""Pages that a capture of the whole system keeps unless asked: 256 MiB of 4 KiB pages."""

_NAMED: Final = 10
CGROUPS: Final = Path("/sys/fs/cgroup")
_PFN_MASK: Final = np.uint64((1 << 55) - 1)
_LRU, _ACTIVE, _ANON, _UNEVICTABLE = (np.uint64(1 << bit) for bit in (5, 6, 12, 18))

Frames: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Found:
    """The scan of one process; frame numbers and whether each page is a candidate, None where not shown."""

    scan: Scan
    comm: str
    frames: Frames | None = None
    inactive: npt.NDArray[np.bool_] | None = None


def capture_system(*, limit: int = DEFAULT_LIMIT, seed: int = 0, progress: Count | bool = False) -> Pages:
    """Capture a sample of at most `limit` anonymous pages of all processes but this one; raises as
    `capture_processes` does.
    """
    own = os.getpid()
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != own)
    return capture_processes(pids, "system", limit=limit, seed=seed, progress=progress)


def capture_cgroup(
    path: str | os.PathLike[str], *, limit: int | None = None, seed: int = 0, progress: Count | bool = False
) -> Pages:
    """Capture the anonymous pages of every process in a cgroup and below it; `path` is a folder, or one under
    /sys/fs/cgroup. Raises `InputError` when it is no cgroup, else as `capture_processes`.
    """
    return capture_processes(sorted(pids_in(path)), f"cgroup {path}", limit=limit, seed=seed, progress=progress)


def pids_in(path: str | os.PathLike[str]) -> set[int]:
    """Return the processes of a cgroup and those below it."""
    given = file_path(path)
    folder = given if given.is_dir() else CGROUPS / os.fspath(given).lstrip("/")
    listed = list(folder.rglob("cgroup.procs")) if folder.is_dir() else []
    if not listed:
        raise InputError(path, "is no cgroup: there is no cgroup.procs in it", f"give a folder below {CGROUPS}")
    found: set[int] = set()
    for file in listed:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            found.update(int(line) for line in file.read_text(encoding="ascii").split())
    return found


def capture_processes(
    pids: Iterable[int], subject: str, *, limit: int | None, seed: int = 0, progress: Count | bool = False
) -> Pages:
    """Capture the present anonymous pages of `pids`, at most `limit` of them: candidates of reclaim first where the
    kernel tells them, else a uniform sample drawn with `seed`. Processes that are gone or refuse are counted in the
    notes. Raises `NotCapturableError` when no page was read.
    """
    if limit is not None:
        refuse_number("limit", limit, 1, error=CaptureError)
    refuse_number("seed", seed, 0, error=CaptureError)
    found, refused = _scan_all(pids)
    kept = _once([_with_flags(one) for one in found])
    chosen = _sample(kept, limit, np.random.default_rng(seed))
    parts: list[Pages] = []
    comms: Counter[str] = Counter()
    total, done = sum(len(one.scan) for one in chosen), 0
    with counter(progress, f"capturing {subject}") as report:
        for one in filter(lambda one: len(one.scan), chosen):
            before, done = done, done + len(one.scan)
            with contextlib.suppress(CaptureError):  # gone since the scan: its pages are missing from the count
                parts.append(capture.read(one.scan, progress=part_of(report, before, total)))
                comms[one.comm] += len(parts[-1])
    if not parts:
        raise NotCapturableError(subject, f"no page was read; {refused} processes refused", "run it as root")
    joined = Pages.concatenate(parts, subject)
    return joined.with_index(_described(joined, kept, comms, len(parts), refused))


def _scan_all(pids: Iterable[int]) -> tuple[list[_Found], int]:
    found, refused = [], 0
    for pid in pids:
        try:
            scan = capture.scan(pid)
            found.append(_Found(scan, procfs.status(pid).get("Name", "?")))
        except NotCapturableError:
            continue  # a kernel thread or a zombie
        except (CaptureError, OSError):
            refused += 1
    return found, refused


def _with_flags(found: _Found) -> _Found:
    """The same with frame numbers and flags, where this process may see them."""
    try:
        frames = _frames(found.scan)
        if not frames.any():
            return found
        flags = _flags(frames)
    except OSError:
        return found
    wanted = _LRU | _ANON
    inactive = (flags & (wanted | _ACTIVE | _UNEVICTABLE)) == wanted
    return replace(found, frames=frames, inactive=inactive)


def _frames(scan: Scan) -> Frames:
    """The frame number of each page of a scan, 0 where it is gone or not shown."""
    found = np.zeros(len(scan), dtype=np.uint64)
    with procfs.Pagemap(scan.pid, scan.page_size) as pagemap:
        for area in np.unique(scan.owners).tolist():
            at = np.flatnonzero(scan.owners == area)
            addresses = scan.addresses[at]
            for start, entries in pagemap.chunks(scan.areas[area].start, scan.areas[area].end):
                low, high = np.searchsorted(addresses, [start, start + entries.size * scan.page_size])
                offsets = (addresses[low:high] - np.uint64(start)) // np.uint64(scan.page_size)
                found[at[low:high]] = entries[offsets.astype(np.int64)] & _PFN_MASK
    return found


def _flags(frames: Frames) -> npt.NDArray[np.uint64]:
    """The flags of each frame (/proc/kpageflags), read in runs of neighbours."""
    order = np.argsort(frames, kind="stable")
    ascending = frames[order]
    flags = np.zeros(frames.size, dtype=np.uint64)
    breaks = np.flatnonzero(np.diff(ascending) > 64) + 1
    with open("/proc/kpageflags", "rb", buffering=0) as file:
        for at in np.split(np.arange(frames.size), breaks):
            if at.size:
                first, last = int(ascending[at[0]]), int(ascending[at[-1]])
                words = np.frombuffer(os.pread(file.fileno(), (last - first + 1) * 8, first * 8), dtype=np.uint64)
                within = (ascending[at] - np.uint64(first)).astype(np.int64)
                known = within < words.size
                flags[order[at[known]]] = words[within[known]]
    return flags


def _once(found: list[_Found]) -> list[_Found]:
    """Each frame once, with the first process that maps it; where frames are not shown, everything."""
    seen = np.empty(0, dtype=np.uint64)
    kept = []
    for one in found:
        if one.frames is None or one.inactive is None:
            kept.append(one)
            continue
        new = ~np.isin(one.frames, seen) | (one.frames == 0)
        seen = np.union1d(seen, one.frames)
        scan = one.scan.select(new)
        kept.append(replace(one, scan=scan, frames=one.frames[new], inactive=one.inactive[new]))
    return kept


def _sample(found: list[_Found], limit: int | None, rng: np.random.Generator) -> list[_Found]:
    """At most `limit` pages: by rank, candidates before others, in random order within a rank."""
    sizes = [len(one.scan) for one in found]
    total = sum(sizes)
    if limit is None or total <= limit:
        return found
    others = [np.zeros(size, dtype=np.bool_) for size in sizes]
    inactive = np.concatenate(
        [no if one.inactive is None else one.inactive for one, no in zip(found, others, strict=True)]
    )
    rank = rng.random(total) + np.where(inactive, 0.0, 1.0)
    keep = np.zeros(total, dtype=np.bool_)
    keep[np.argpartition(rank, limit)[:limit]] = True
    parts = np.split(keep, np.cumsum(sizes)[:-1])
    return [replace(one, scan=one.scan.select(part)) for one, part in zip(found, parts, strict=True)]


def _described(pages: Pages, found: list[_Found], comms: Counter[str], processes: int, refused: int) -> PageIndex:
    index, seen = pages.index, sum(len(one.scan) for one in found)
    inactive = [int(np.count_nonzero(one.inactive)) for one in found if one.inactive is not None]
    names = ", ".join(f"{comm} {count}" for comm, count in comms.most_common(_NAMED))
    notes = [f"pages of {processes} process{'es' * (processes != 1)}: {names}{', …' if len(comms) > _NAMED else ''}"]
    if inactive:
        notes.append(f"{sum(inactive)} of the {seen} pages found were inactive: these come first")
    if refused:
        others = "" if access.gather(os.getpid()).has_ptrace else "; root reads those of other users too"
        notes.append(f"processes that were gone or refused: {refused}{others}")
    over = max(0, seen - len(pages) - index.skipped.vanished - index.skipped.unread)
    notes += [note for note in index.notes if note not in notes]
    return replace(index, notes=tuple(notes), skipped=replace(index.skipped, over_limit=over))
