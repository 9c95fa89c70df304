"""`Zram`: the kernel's zram by itself, for scripts: store, load, recompress, write back, read the counters.

    >>> from kcompressd import Pages, Zram
    >>> zram = Zram(compressor="lz4", secondary=["zstd"])
    >>> stored = [zram.store(slot, page) for slot, page in enumerate(Pages.sample()[:64])]
    >>> zram.mark_idle()
    >>> zram.recompress(idle=True) > 0
    True

Nothing runs by itself, and the device reads no clock: `clock` is set by the script. Names and units are those of
/sys/block/zramN. Source of the rules: Documentation/admin-guide/blockdev/zram.rst.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kcompressd import _core
from kcompressd.errors import refuse_type
from kcompressd.pages import Pages, contents, refuse_page_size
from kcompressd.sizes import parse_limit, refuse_slots


class Zram:
    """The device. Slots are numbered from 0; a slot that holds nothing reads as zeros."""

    def __init__(
        self,
        *,
        compressor: str = "lz4",
        secondary: Sequence[str] = (),
        mem_limit: int | str = 0,
        backing_pages: int = 0,
        slots: int = 1 << 16,
        page_size: int = 4096,
        chain_size: int = 8,
    ) -> None:
        """Make an empty device.

        `secondary` are up to three compressors for `recompress`, of priority 1 and on. `mem_limit` (bytes, or a
        text such as "64M"; 0: none) is rounded up to whole pages. `backing_pages`: pages of a backing device in a
        private temporary file (0: none), of which all but the first are used. Raises `CodecError`, `DeviceError`,
        and ValueError for a number out of range.
        """
        refuse_type("secondary", secondary, (list, tuple), "a list of compressors")
        refuse_slots(slots)
        refuse_page_size(page_size, "zram")
        config = {
            "compressors": [compressor, *secondary],
            "mem_limit_pages": _pages(mem_limit, page_size),
            "slots": slots,
            "page_size": page_size,
            "chain_size": chain_size,
            "backing_pages": backing_pages,
        }
        self._page_size = page_size
        if backing_pages:
            with tempfile.TemporaryDirectory(prefix="kcompressd-") as folder:  # the open file outlives its name
                self._core = _core.Zram(config | {"backing_file": Path(folder) / "backing"})
        else:
            self._core = _core.Zram(config)
        self._clock = 0

    def __repr__(self) -> str:
        """One line: the compressors, and what is stored."""
        stat = self.mm_stat
        sizes = f"{stat['orig_data_size']} bytes in {stat['mem_used_total']}"
        return f"<Zram {', '.join(self.compressors)}: {sizes}>"

    def store(self, slot: int, page: npt.NDArray[np.uint8] | Pages | bytes) -> int:
        """Write one page, uint8 of shape (page_size,) or bytes; return the bytes charged to `compr_data_size`.

        What the slot held is gone. Raises `ZramError` for a slot or a size that there is not, or no memory under
        `mem_limit`: the slot is as it was then; `LabError` for contents of another type.
        """
        return self._core.store(slot, contents("page", page))

    def load(self, slot: int) -> npt.NDArray[np.uint8]:
        """Read a slot, uint8 of shape (page_size,): from memory or the backing device; it is not idle then.

        Raises `ZramError` for a slot that there is not, `DeviceError` if the backing device fails.
        """
        return np.frombuffer(self._core.load(slot), dtype=np.uint8)

    def free(self, slot: int) -> None:
        """Empty a slot, in memory or on the backing device."""
        self._core.free(slot)

    def holds(self, slot: int) -> bool:
        """Return whether a slot holds a page."""
        return self._core.holds(slot)

    def mark_idle(self, age: int | None = None) -> None:
        """Mark pages in memory idle: all, or those not touched for more than `age` seconds (then no others are)."""
        self._core.mark_idle(age)

    def recompress(
        self,
        *,
        idle: bool = False,
        huge: bool = False,
        threshold: int = 0,
        max_pages: int | None = None,
        priority: int | None = None,
    ) -> int:
        """Try pages with the secondary compressors; return how many became smaller.

        Only pages that are `idle`, `huge`, or both; of at least `threshold` bytes, and below it afterwards; at most
        `max_pages`; with the compressor of `priority` alone. What none of them shrinks is incompressible and not
        tried again. Raises `ZramError` for a priority or threshold that cannot be.
        """
        return self._core.recompress((idle, huge), threshold, max_pages, priority)

    def writeback(self, *, idle: bool = False, huge: bool = False, incompressible: bool = False) -> int:
        """Move pages to the backing device: those for which all that is asked holds; return how many.

        Raises `ZramError` without a device, when it is full or `writeback_limit` is spent, `DeviceError` when it
        failed; the message counts the pages that were written all the same.
        """
        return self._core.writeback((idle, huge, incompressible))

    def compact(self) -> int:
        """Compact the pool; return the pages freed."""
        return self._core.compact()

    def reset_mem_used_max(self) -> None:
        """Let `mem_used_max` start again from what is used now."""
        self._core.reset_mem_used_max()

    @property
    def compressors(self) -> list[str]:
        """The compressors by priority, the primary one first."""
        return self._core.compressors()

    @property
    def clock(self) -> int:
        """The device's clock, seconds: what the age of idle pages is measured by."""
        return self._clock

    @clock.setter
    def clock(self, seconds: int) -> None:
        self._core.set_clock(seconds)
        self._clock = seconds

    @property
    def mem_limit(self) -> int:
        """The limit, bytes in whole pages; 0 for none. Set it in bytes or as a text; what is stored stays."""
        return self.mm_stat["mem_limit"]

    @mem_limit.setter
    def mem_limit(self, limit: int | str) -> None:
        self._core.set_mem_limit(_pages(limit, self._page_size))

    @property
    def writeback_limit(self) -> int | None:
        """What may still be written back, in units of 4 KiB; None: any number."""
        return self._core.writeback_limit()

    @writeback_limit.setter
    def writeback_limit(self, units: int | None) -> None:
        self._core.set_writeback_limit(units)

    @property
    def mm_stat(self) -> dict[str, int]:
        """/sys/block/zramN/mm_stat, by name: bytes, and pages for the last four (`same_pages` to `huge_pages_since`)."""
        return self._core.mm_stat()

    @property
    def io_stat(self) -> dict[str, int]:
        """/sys/block/zramN/io_stat, by name."""
        return self._core.io_stat()

    @property
    def bd_stat(self) -> dict[str, int]:
        """/sys/block/zramN/bd_stat, by name, in units of 4 KiB."""
        return self._core.bd_stat()


def _pages(limit: int | str, page_size: int) -> int:
    """Return a limit as pages, rounded up as the kernel does; 0 stays 0."""
    return 0 if limit == 0 else -(-parse_limit(limit, None, "mem_limit") // page_size)
