"""What the kernel tells about another process: /proc files, the pagemap, and its memory.

Facts are from Documentation/admin-guide/mm/pagemap.rst, proc_pid_maps(5), proc_pid_status(5) and
process_vm_readv(2). Everything of a process raises plain `OSError`; `capture` turns it into an error that says what
to do. Addresses and sizes are in bytes. Reading a process takes ptrace read access for `maps` and `pagemap`,
ptrace attach access for its memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Addresses = npt.NDArray[np.uint64]

PM_PRESENT: Final = np.uint64(1 << 63)
PM_SWAP: Final = np.uint64(1 << 62)
PM_FILE: Final = np.uint64(1 << 61)
"""The page is a file's or shared: present and not this is anonymous, also in a private file mapping."""
PM_GUARD: Final = np.uint64(1 << 58)
"""MADV_GUARD_INSTALL (6.13): shown with the swap bit, but nothing is swapped."""

IOV_MAX: Final = 1024
"""Runs that one process_vm_readv call takes (UIO_MAXIOV)."""

_PF_KTHREAD: Final = 0x00200000
_MAPS_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) \d+ *(.*)")


@dataclass(frozen=True, slots=True)
class Area:
    """One line of /proc/PID/maps; `device` is major:minor in hexadecimal."""

    start: int
    end: int
    perms: str
    device: str
    name: str


def text(path: Path) -> str:
    """Return what a small file says; empty where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_maps(pid: int) -> list[Area]:
    """Return the mappings of a process in address order; empty for kernel threads and zombies."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        areas = map(parse_maps_line, file.read().splitlines())
    return [area for area in areas if area is not None]


def parse_maps_line(line: str) -> Area | None:
    """Return the mapping that a line of /proc/PID/maps describes, None when it is no such line."""
    found = _MAPS_LINE.match(line)
    return found and Area(int(found[1], 16), int(found[2], 16), found[3], found[4], found[5])


def hugetlb_devices(pid: int) -> set[str]:
    """Return the devices (major:minor, hexadecimal) of the hugetlbfs mounts that the process sees."""
    devices = set()
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.startswith("hugetlbfs "):
                major, minor = left.split()[2].split(":")
                devices.add(f"{int(major):02x}:{int(minor):02x}")
    return devices


def status(pid: int) -> dict[str, str]:
    """Return /proc/PID/status as a map; empty values for keys without one."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {key: value.strip() for key, _, value in pairs}


def rss_anon_bytes(pid: int) -> int:
    """Return the resident anonymous memory of a process; 0 when it has none left (zombie)."""
    return int(status(pid).get("RssAnon", "0 kB").split()[0]) * 1024


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on; none where the kernel does not list them."""
    found: list[int] = []
    for one in _children(pid):
        found += [one, *descendants(one)]
    return found


def _children(pid: int) -> list[int]:
    words: list[str] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                words += file.read().split()
    return [int(word) for word in words]


def is_kernel_thread(pid: int) -> bool:
    """Tell whether the task is a kernel thread (PF_KTHREAD in field 9 of /proc/PID/stat)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return bool(int(fields[6]) & _PF_KTHREAD)


def command_line(pid: int) -> tuple[str, ...]:
    """Return the arguments of a process; empty when they are not readable."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return tuple(word.decode(errors="replace") for word in file.read().split(b"\0")[:-1])
    return ()


def available_bytes() -> int:
    """Return MemAvailable of this machine."""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", file.read(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 1 << 62


class Pagemap:
    """/proc/PID/pagemap, one u64 a page; with PAGEMAP_SCAN (6.7) to skip holes and to know the zero page."""

    _SCAN: Final = (3 << 30) | (96 << 16) | (ord("f") << 8) | 16
    _POPULATED: Final = 1 << 3 | 1 << 4
    _ZERO: Final = 1 << 5
    _REGIONS: Final = 4096
    _CHUNK_PAGES: Final = 1 << 19
    _GAP_BYTES: Final = 1 << 20

    def __init__(self, pid: int, page_size: int) -> None:
        """Open the pagemap; raises OSError without ptrace read access."""
        self._file = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._page_size = page_size
        self._scans = True

    def __enter__(self) -> Pagemap:
        """Return itself; the file is closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._file)

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Yield (address, entries) over the populated parts of a range, in address order, in big reads."""
        for low, high in self._populated(start, end):
            for at in range(low, high, self._CHUNK_PAGES * self._page_size):
                yield at, self._entries(at, min(high, at + self._CHUNK_PAGES * self._page_size))

    def zero_pages(self, start: int, end: int) -> Addresses:
        """Return the addresses that map the kernel's shared zero page; empty before Linux 6.7."""
        runs = [np.arange(a, b, self._page_size, dtype=np.uint64) for a, b in self._regions(start, end, self._ZERO)]
        return np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)

    def _entries(self, start: int, end: int) -> npt.NDArray[np.uint64]:
        wanted, first = (end - start) // self._page_size * 8, start // self._page_size * 8
        parts: list[bytes] = []
        while wanted > 0 and (part := os.pread(self._file, wanted, first)):
            parts.append(part)
            wanted, first = wanted - len(part), first + len(part)
        return np.frombuffer(b"".join(parts), dtype=np.uint64)

    def _populated(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range with pages, joined over small gaps; the whole range when the kernel cannot
        scan.
        """
        regions = self._regions(start, end, self._POPULATED)
        low, high = next(regions, (0, 0))
        if not self._scans:
            yield start, end
            return
        for first, stop in regions:
            if first - high > self._GAP_BYTES:
                yield low, high
                low = first
            high = stop
        if low < high:
            yield low, high

    def _regions(self, start: int, end: int, any_of: int) -> Iterator[tuple[int, int]]:
        """Yield the (start, end) of runs of pages in any of the categories, ascending; nothing when the kernel
        cannot scan.

        Where the walk ended may lie before runs that were told (seen on 6.18: where the last 2 MiB begin). Asked
        again from there, in memory that changes, the kernel may tell other runs: what is past is left out.
        """
        vector = np.empty((self._REGIONS, 3), dtype=np.uint64)
        told = start
        while self._scans and start < end:
            argument = bytearray(
                struct.pack("=12Q", 96, 0, start, end, 0, vector.ctypes.data, self._REGIONS, 0, 0, 0, any_of, any_of)
            )
            try:
                found = fcntl.ioctl(self._file, self._SCAN, argument)
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EINVAL):
                    raise
                self._scans = False
                return
            for first, stop, _ in vector[:found].tolist():
                if stop > told:
                    yield max(first, told), stop
                    told = stop
            start = max(told, struct.unpack_from("=Q", argument, 32)[0])


class ProcessMemory:
    """Reads pages of another process with process_vm_readv, many runs a call."""

    def __init__(self, pid: int, page_size: int) -> None:
        """Remember the process; nothing is opened, so a pid that is gone shows at the first read (ESRCH)."""
        self._readv = ctypes.CDLL(None, use_errno=True).process_vm_readv
        self._readv.restype = ctypes.c_ssize_t
        vector = (ctypes.c_void_p, ctypes.c_ulong)
        self._readv.argtypes = (ctypes.c_int, *vector, *vector, ctypes.c_ulong)
        self._pid = pid
        self._page_size = page_size

    def read(self, out: npt.NDArray[np.uint8], addresses: Addresses) -> int:
        """Read pages into `out`, shape (k, page_size), and return how many of the first pages were read, at
        least 1.

        `addresses` has shape (k,), ascending. Neighbours are read as one run; pages beyond IOV_MAX runs are
        left for the next call. Raises OSError when the first page cannot be read: EFAULT (unmapped), ESRCH
        (gone), EPERM.
        """
        breaks = np.flatnonzero(np.diff(addresses) != self._page_size) + 1
        pages = int(breaks[IOV_MAX - 1]) if breaks.size >= IOV_MAX else addresses.size
        firsts = np.concatenate(([0], breaks[: IOV_MAX - 1]))
        remote = np.empty((firsts.size, 2), dtype=np.uint64)
        remote[:, 0] = addresses[firsts]
        remote[:, 1] = np.diff(np.append(firsts, pages)) * self._page_size
        local = np.array([out.ctypes.data, pages * self._page_size], dtype=np.uint64)
        assert out.flags.c_contiguous and out.nbytes >= pages * self._page_size
        done: int = self._readv(self._pid, local.ctypes.data, 1, remote.ctypes.data, firsts.size, 0)
        if done < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        if done < self._page_size:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return done // self._page_size
