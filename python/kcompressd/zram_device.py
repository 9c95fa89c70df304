"""A spare zram device of the running kernel: added for this process alone, and removed whatever becomes of it.

Reading /sys/class/zram-control/hot_add makes a device and says its number
(Documentation/admin-guide/blockdev/zram.rst). A small shell process, the keeper, does both the adding and the
removing: it removes the device when its standard input ends, which it does when this process closes it and
also when this process is killed. Devices that were there before are never opened or written to.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd.errors import KernelError
from kcompressd.page_stats import Codec
from kcompressd.pages import Pages
from kcompressd.settings import has_own_level

MmStat: TypeAlias = dict[str, int]

FIELDS: Final = (
    "orig_data_size",
    "compr_data_size",
    "mem_used_total",
    "mem_limit",
    "mem_used_max",
    "same_pages",
    "pages_compacted",
    "huge_pages",
    "huge_pages_since",
)
"""Of mm_stat, in its order; later kernels may append more."""

_CONTROL: Final = Path("/sys/class/zram-control")
_BLOCK: Final = Path("/sys/block")
_BUSY_S: Final = 5.0
"""How long udev may hold the device open after it changed."""

_KEEPER: Final = """
id=$(cat "$1/hot_add") || exit 1
echo "$id"
cat >/dev/null
tries=0
until echo 1 >"$2/zram$id/reset" && echo "$id" >"$1/hot_remove"; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || exit 2
    sleep 0.05
done 2>/dev/null
"""


class ZramDevice:
    """A fresh zram device; a context manager. Raises `KernelError` where the kernel offers none."""

    def __init__(self, control: Path = _CONTROL, block: Path = _BLOCK) -> None:
        """Add the device; `control` and `block` are the kernel's folders."""
        _refuse_without(control)
        before = {entry.name for entry in block.iterdir()}
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", control, block],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self.name = self._added(before)
            self._sys = block / self.name
            self._node = self._find_node()
        except BaseException:
            self.remove()
            raise

    def _added(self, before: set[str]) -> str:
        assert self._keeper.stdout is not None and self._keeper.stderr is not None
        number = self._keeper.stdout.readline().strip()
        if not number.isdecimal():
            raise KernelError("zram", f"the kernel adds no device: {self._keeper.stderr.read().strip()}")
        if f"zram{number}" in before:
            raise KernelError("zram", f"the kernel gave zram{number}, which was there before")
        return f"zram{number}"

    def _find_node(self) -> Path:
        major, minor = (int(part) for part in (self._sys / "dev").read_text().split(":"))
        node, until = Path("/dev") / self.name, time.monotonic() + _BUSY_S
        while not node.exists():
            if time.monotonic() > until:
                raise KernelError(node, "did not appear", "run it where /dev is the host's devtmpfs")
            time.sleep(0.02)
        found = node.stat()
        if not stat.S_ISBLK(found.st_mode) or found.st_rdev != os.makedev(major, minor):
            raise KernelError(node, "is not the device that was added")
        return node

    def remove(self) -> None:
        """Take the device away; raises `KernelError` with what is left to do when the kernel refuses."""
        if self._keeper.stdin is None or self._keeper.stdin.closed:
            return
        self._keeper.stdin.close()
        code = self._keeper.wait()
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            assert pipe is not None
            pipe.close()
        if code == 2:
            fix = f"when nobody uses it: echo {self.name.removeprefix('zram')} > {_CONTROL}/hot_remove"
            raise KernelError(self.name, "somebody holds it open, it is still there", fix)

    def __enter__(self) -> ZramDevice:
        """Return itself; the device is removed on exit."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the device."""
        self.remove()

    def algorithms(self) -> tuple[str, ...]:
        """Return the compressors that this kernel offers, in its order."""
        return tuple((self._sys / "comp_algorithm").read_text().replace("[", "").replace("]", "").split())

    def setup(self, codec: Codec, disk_bytes: int) -> None:
        """Make it a fresh device of `disk_bytes` with a compressor; raises `KernelError` when it cannot be had."""
        self._reset()
        self._write("comp_algorithm", codec.name, f"{codec.name} cannot be loaded")
        if has_own_level(codec):
            self._write(
                "algorithm_params", f"algo={codec.name} level={codec.level}", f"{codec.name} takes no level here"
            )
        self._write("disksize", str(disk_bytes), f"{codec.text} cannot be set up")

    def _reset(self) -> None:
        until = time.monotonic() + _BUSY_S
        while True:
            try:
                (self._sys / "reset").write_text("1")
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > until:
                    raise KernelError(self.name, f"cannot be reset: {error.strerror}") from error
            time.sleep(0.02)

    def _write(self, name: str, text: str, refused: str) -> None:
        try:
            (self._sys / name).write_text(text)
        except OSError as error:
            raise KernelError(self.name, f"{refused}: {error.strerror}") from error

    def mm_stat(self) -> MmStat:
        """Return the kernel's counters."""
        return parse_mm_stat((self._sys / "mm_stat").read_bytes())

    def write(self, pages: Pages, each: Callable[[int], object], *, sector: int | None = None) -> Iterator[MmStat]:
        """Write pages in order, past the page cache, and yield `mm_stat` after each; `sector`: all to this page
        of the device. `each` is called with the pages written.
        """
        device = os.open(self._node, os.O_WRONLY | os.O_DIRECT | os.O_EXCL | os.O_CLOEXEC)
        stat_file = os.open(self._sys / "mm_stat", os.O_RDONLY | os.O_CLOEXEC)
        size = pages.page_size
        try:
            with mmap.mmap(-1, size) as aligned:
                for number, page in enumerate(pages):
                    aligned[:] = page.tobytes()
                    at = size * (number if sector is None else sector)
                    if os.pwrite(device, aligned, at) != size:
                        raise KernelError(self.name, f"took only a part of page {number}")
                    yield parse_mm_stat(os.pread(stat_file, 512, 0))
                    each(number + 1)
        finally:
            os.close(stat_file)
            os.close(device)


def charged(stats: list[MmStat]) -> npt.NDArray[np.uint32]:
    """Return what each page added to `compr_data_size`: uint32, shape (n,), of `mm_stat` after each page."""
    sums = np.array([0, *(stat["compr_data_size"] for stat in stats)], dtype=np.int64)
    return np.diff(sums).astype(np.uint32)


def parse_mm_stat(text: bytes) -> MmStat:
    """Parse the kernel's line; raises `KernelError` when it lacks fields."""
    values = [int(word) for word in text.split()]
    if len(values) < len(FIELDS):
        raise KernelError("mm_stat", f"has {len(values)} fields, not {len(FIELDS)}: a kernel before 4.18")
    return dict(zip(FIELDS, values, strict=False))


def _refuse_without(control: Path) -> None:
    if os.geteuid() != 0:
        raise KernelError("zram", "adding a device needs root", "sudo kcompressd kernel …")
    if not control.is_dir():
        raise KernelError("zram", "this kernel has no zram, or its module is not loaded", "modprobe zram num_devices=0")
    # A read-only /sys would let a device be added, by reading, and never be removed.
    if not (os.access(control / "hot_add", os.R_OK) and os.access(control / "hot_remove", os.W_OK)):
        raise KernelError("zram", f"{control} is not writable here", "run it on the host, not in a container")
