"""Capture: the present anonymous pages of a live process, as `Pages`.

Three steps, each usable alone: `scan` finds the pages (maps and pagemap), `read` copies them
(process_vm_readv, in batches into one array sized from the scan), `capture` does both. The process keeps
running meanwhile, so its pages are from slightly different moments, and pages that it gives back between scan
and read are skipped and counted.

What is taken: pages that are present and not a file's (pagemap bits 63 and 61) in private mappings, that is
what reclaim would compress. What is not: shared memory, the shared zero page (known from Linux 6.7 on;
before, it counts as a page of zeros), hugetlb pages, device mappings, [vvar], [vdso] and [vsyscall]. Mappings
without read permission are counted as unreadable when they hold pages; guard mappings hold none. Accounting:
pages of the file + every count of `Skipped` = what the scan saw. Swapped pages are counted and said: they are
not memory any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from numbers import Integral
from typing import Final

import numpy as np
import numpy.typing as npt

from kcompressd import access, procfs
from kcompressd.errors import CaptureError, NoSuchProcessError, NotCapturableError, refuse_number, refuse_type
from kcompressd.page_index import Mapping, PageIndex, Skipped, Source, mapping_runs
from kcompressd.pages import Pages
from kcompressd.procfs import Addresses, Area, Pagemap, ProcessMemory
from kcompressd.progress import Count, counter

BATCH_PAGES: Final = 4096
"""Pages that one batch reads at most: 16 MiB of 4 KiB pages."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The pages a process had at one moment.

    `addresses`: uint64, shape (n,), ascending; `owners`: int64, shape (n,), each a position in `areas`.
    `skipped` counts what the scan left out.
    """

    pid: int
    page_size: int
    areas: tuple[Area, ...]
    addresses: Addresses
    owners: npt.NDArray[np.int64]
    skipped: Skipped

    def __len__(self) -> int:
        """Return the number of pages."""
        return int(self.addresses.size)

    def select(self, keep: npt.NDArray[np.bool_]) -> Scan:
        """Return the scan of the pages where `keep`, shape (n,), is true."""
        return replace(self, addresses=self.addresses[keep], owners=self.owners[keep])

    def without(self, earlier: Scan) -> Scan:
        """Return the scan of the pages that `earlier` did not have."""
        return self.select(~np.isin(self.addresses, earlier.addresses, assume_unique=True))

    def limited(self, pages: int) -> Scan:
        """Return the scan of the first `pages` pages by address; the rest counts as over the limit."""
        kept = self.select(np.arange(len(self)) < pages)
        return replace(kept, skipped=replace(self.skipped, over_limit=len(self) - len(kept)))

    def kinds(self) -> list[str]:
        """Return the kind of each area."""
        return [kind_of(area) for area in self.areas]


def capture(
    pid: int,
    *,
    limit: int | None = None,
    progress: Count | bool = False,
    keep_cmdline: bool = False,
) -> Pages:
    """Capture the present anonymous pages of process `pid`, at most `limit` pages in address order.

    `progress` is a callback, or True for a bar on standard error. A process that exits half-way gives what
    was read, with `index.complete` False and `index.reason`. `keep_cmdline` records the arguments, which may
    hold secrets.

    Raises `NoSuchProcessError`, `NotCapturableError` (kernel thread, zombie, no page), `CaptureDeniedError`
    (with the fix) or `CaptureError` (more pages than this machine has memory for).
    """
    refuse_type("pid", pid, Integral, "a process's number", CaptureError)
    if limit is not None:
        refuse_number("limit", limit, 1, error=CaptureError)
    found = scan(pid)
    return read(found if limit is None else found.limited(limit), progress=progress, keep_cmdline=keep_cmdline)


def scan(pid: int) -> Scan:
    """Find the present anonymous pages of process `pid`; raises as `capture` does."""
    page_size = os.sysconf("SC_PAGE_SIZE")
    with _explained(pid):
        _refuse_without_memory(pid)
        huge = procfs.hugetlb_devices(pid)
        areas = tuple(area for area in procfs.read_maps(pid) if _holds_anonymous(area, huge))
        with Pagemap(pid, page_size) as pagemap:
            found = [_scan_area(pagemap, area, page_size) for area in areas]
    counts = [addresses.size for addresses, _ in found]
    owners = np.repeat(np.arange(len(areas), dtype=np.int64), counts)
    addresses = np.concatenate([np.empty(0, dtype=np.uint64), *(addresses for addresses, _ in found)])
    return Scan(int(pid), page_size, areas, addresses, owners, Skipped.total(skipped for _, skipped in found))


def kind_of(area: Area) -> str:
    """Return the kind of a private mapping, one of `page_index.KINDS`."""
    if area.name == "[heap]":
        return "heap"
    if area.name.startswith("[stack"):
        return "stack"
    return "file-private" if area.name.startswith("/") else "anon"


def _refuse_without_memory(pid: int) -> None:
    state = procfs.status(pid).get("State", "")
    if state.startswith(("Z", "X")):
        raise NotCapturableError(f"pid {pid}", "has exited (zombie)", "capture it while it runs")
    if procfs.is_kernel_thread(pid):
        raise NotCapturableError(f"pid {pid}", "is a kernel thread, which has no memory of its own")


def _holds_anonymous(area: Area, huge: set[str]) -> bool:
    """Private mappings that reclaim could compress; device memory and special mappings look anonymous but are
    not.
    """
    if area.perms[3] != "p" or area.device in huge or area.name.startswith("/anon_hugepage"):
        return False
    if area.name.startswith("["):
        return area.name.startswith(("[heap]", "[stack", "[anon"))
    if area.name.startswith(("/dev/zero", "/dev/shm/")):
        return True
    return not area.name.startswith(("/dev/", "anon_inode:"))


def _scan_area(pagemap: Pagemap, area: Area, page_size: int) -> tuple[Addresses, Skipped]:
    swapped, present = 0, [np.empty(0, dtype=np.uint64)]
    for address, entries in pagemap.chunks(area.start, area.end):
        anonymous = (entries & (procfs.PM_PRESENT | procfs.PM_FILE)) == procfs.PM_PRESENT
        swapped += int(np.count_nonzero((entries & (procfs.PM_SWAP | procfs.PM_GUARD)) == procfs.PM_SWAP))
        offsets = np.flatnonzero(anonymous).astype(np.uint64) * np.uint64(page_size)
        present.append(offsets + np.uint64(address))
    addresses = np.concatenate(present)
    if area.perms[0] != "r":
        return addresses[:0], Skipped(swapped=swapped, unreadable=addresses.size)
    zero = pagemap.zero_pages(area.start, area.end)
    kept = np.setdiff1d(addresses, zero, assume_unique=True) if zero.size else addresses
    return kept, Skipped(swapped=swapped, zero=addresses.size - kept.size)


def read(
    found: Scan,
    *,
    progress: Count | bool = False,
    keep_cmdline: bool = False,
) -> Pages:
    """Read the pages of a scan; arguments, result and errors are those of `capture`."""
    subject = f"pid {found.pid}"
    if len(found) == 0:
        raise NotCapturableError(subject, f"has no anonymous page present ({_counts(found.skipped)})")
    _refuse_too_many(found, subject)
    with _explained(found.pid):
        source = _source(found.pid, keep_cmdline)
        out = np.empty((len(found), found.page_size), dtype=np.uint8)
        with counter(progress, f"capturing {subject}") as report:
            kept, stopped = _read_all(found, out, report)
    pages = int(np.count_nonzero(kept))
    if pages == 0:
        raise NoSuchProcessError(subject, stopped or "gave back every page before one was read")
    return Pages(out[:pages], _index(found, kept, stopped, source), subject)


def _read_all(found: Scan, out: npt.NDArray[np.uint8], report: Count) -> tuple[npt.NDArray[np.bool_], str | None]:
    """Fill `out` from its start; return which pages of the scan were read or tried, and why it stopped early.

    The mask has one entry per page tried. After a refused batch one page is tried alone, so that only that
    page is lost.
    """
    memory = ProcessMemory(found.pid, found.page_size)
    total, done, filled, step = len(found), 0, 0, BATCH_PAGES
    kept = np.zeros(total, dtype=np.bool_)
    while done < total:
        try:
            got = memory.read(out[filled : filled + step], found.addresses[done : done + step])
        except OSError as error:
            if error.errno == errno.ESRCH:
                return kept[:done], f"the process exited after {filled} of {total} pages"
            if error.errno not in (errno.EFAULT, errno.EIO):
                if filled == 0:
                    raise
                return kept[:done], f"reading stopped after {filled} of {total} pages: {error.strerror}"
            done, step = (done + 1, BATCH_PAGES) if step == 1 else (done, 1)
            continue
        kept[done : done + got] = True
        done, filled, step = done + got, filled + got, BATCH_PAGES
        report(done, total)
    return kept, None


def _refuse_too_many(found: Scan, subject: str) -> None:
    needed, available = len(found) * found.page_size, procfs.available_bytes()
    if needed > available:
        raise CaptureError(
            subject,
            f"its {len(found)} pages need {needed >> 20} MiB, {available >> 20} MiB are available here",
            f"capture a part: a limit of {available // found.page_size // 2} pages fits",
        )


def _index(found: Scan, kept: npt.NDArray[np.bool_], stopped: str | None, source: Source) -> PageIndex:
    templates = [
        Mapping(area.start, area.end, area.perms, area.name, kind, 0, 0)
        for area, kind in zip(found.areas, found.kinds(), strict=True)
    ]
    skipped = replace(found.skipped, vanished=int(np.count_nonzero(~kept)), unread=len(found) - kept.size)
    return PageIndex(
        source=source,
        mappings=mapping_runs(templates, found.owners[: kept.size][kept]),
        complete=stopped is None,
        reason=stopped,
        skipped=skipped,
        notes=_notes(skipped),
    )


def _notes(skipped: Skipped) -> tuple[str, ...]:
    said = (
        (skipped.swapped, "on a swap device and not in the file"),
        (skipped.vanished, "given back or swapped out between the scan and the read"),
        (skipped.over_limit, "beyond the limit"),
        (skipped.unreadable, "in mappings without read permission"),
    )
    return tuple(f"{count} pages were {text}" for count, text in said if count)


def _counts(skipped: Skipped) -> str:
    said = [f"{count} {name.replace('_', ' ')}" for name, count in asdict(skipped).items() if count]
    return ", ".join(said) or "none at all"


def _source(pid: int, keep_cmdline: bool) -> Source:
    return Source(
        pid=pid,
        comm=procfs.status(pid).get("Name"),
        cmdline=procfs.command_line(pid) if keep_cmdline else None,
        kernel=platform.release(),
        captured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@contextlib.contextmanager
def _explained(pid: int) -> Iterator[None]:
    """Turn the OSErrors of looking at a process into errors that say what to do."""
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise NoSuchProcessError(f"pid {pid}", "no such process", "`ps -e` lists the pids") from None
    except PermissionError as error:
        raise access.explain(access.gather(pid)) from error
