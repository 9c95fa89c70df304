"""Child processes with known pages, for the tests of capture."""

from __future__ import annotations

import contextlib
import mmap
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from kcompressd import capture as capturing
from kcompressd import procfs
from kcompressd.pages import Pages

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
