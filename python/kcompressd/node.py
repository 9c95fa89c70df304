"""`Node`: the memory that everything has to fit into."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

from kcompressd.errors import LabError, refuse_number, refuse_type

MOST_PAGES = 2**32 - 2
"""A page's number is 32 bits, one of which values is none's."""
BOOT_PAGES: Final = 8
"""By so many free pages one boot differs from the next, less on nodes of fewer than 8192 pages."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One zone; counts of pages.

    `managed` pages in all, of which `free` are free when the run begins (default: all) and `file` of these hold clean page
    cache; `watermarks` min, low, high (default: the kernel's for so many pages); `boost_factor` as vm.watermark_boost_factor,
    `pcp_batch` of the per-CPU lists (default: the kernel's for so many pages); `swap` slots (default: four times the managed pages).
    `lru_gen`: the multi-gen LRU instead of active and inactive lists.
    """

    managed: int
    free: int | None = None
    file: int = 0
    watermarks: tuple[int, int, int] | None = None
    swappiness: int = 60
    boost_factor: int = 15_000
    pcp_batch: int | None = None
    swap: int | None = None
    lru_gen: bool = False

    def __post_init__(self) -> None:
        """Refuse what no node is; raises `LabError` naming the key."""
        if self.watermarks is not None:
            refuse_type("node.watermarks", self.watermarks, (list, tuple), "a list of three numbers")
            object.__setattr__(self, "watermarks", tuple(self.watermarks))
        refuse_type("node.lru_gen", self.lru_gen, bool, "True or False")
        ranges = {
            "managed": (1, MOST_PAGES),
            "swappiness": (0, 200),
            "boost_factor": (0, 1_000_000),
            "pcp_batch": (1, 65_536),
            "swap": (0, MOST_PAGES),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if value is not None:
                refuse_number(f"node.{name}", value, least, most)
        free, marks = self.free_pages, self.marks
        for name, value in (("free", free), ("file", self.file), *(("watermarks", mark) for mark in marks)):
            refuse_number(f"node.{name}", value)
        if not 0 < free <= self.managed:
            raise LabError("node.free", f"{free} is not between 1 and node.managed = {self.managed}")
        if not 0 <= self.file < free:
            raise LabError(
                "node.file", f"{self.file} is not between 0 and {free - 1}: so many pages are free, less one"
            )
        if len(marks) != 3 or not 0 < marks[0] <= marks[1] <= marks[2] < free:
            raise LabError("node.watermarks", f"{list(marks)} are not three rising numbers below {free} free pages")

    @property
    def free_pages(self) -> int:
        """Pages that are free when the run begins."""
        return self.managed if self.free is None else self.free

    @property
    def slots(self) -> int:
        """Slots of the swap device: `swap`, or four for each page of memory."""
        return min(4 * self.managed, MOST_PAGES) if self.swap is None else self.swap

    def boot(self, number: int) -> Node:
        """Return the node as after another boot, 0 itself: for each, `BOOT_PAGES` fewer pages are free.

        What happens under pressure hangs on such small things: a run is one course of many.
        """
        refuse_number("boot", number, 0)
        fewer = number * min(BOOT_PAGES, max(1, self.managed // 1024))
        return dataclasses.replace(self, free=self.free_pages - fewer) if number else self

    @property
    def marks(self) -> tuple[int, int, int]:
        """The watermarks: those given, or from min_free_kbytes = 4 sqrt(lowmem_kbytes) (mm/page_alloc.c's rule)."""
        if self.watermarks is not None:
            return self.watermarks
        least = min(max(int(math.sqrt(self.managed * 4 * 16)), 128), 262_144) // 4
        gap = max(least // 4, self.managed // 1000)
        return least, least + gap, least + 2 * gap

    @property
    def batch(self) -> int:
        """Pages to and from a CPU's list at once: as given, or some 0.025 % of the zone, one less than a power of two (`zone_batchsize`)."""
        if self.pcp_batch is not None:
            return self.pcp_batch
        quarter = max(min(self.managed // 1024, 256) // 4, 1)
        return max(1 << ((quarter + quarter // 2).bit_length() - 1), 2) - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the node as plain data, as Results have it."""
        return dataclasses.asdict(self) | {"watermarks": list(self.marks), "pcp_batch": self.batch}

    def for_core(self, pages: int, cpus: int) -> dict[str, Any]:
        """Return what the core takes, for so many pages of applications."""
        return {
            "pages": pages,
            "managed_pages": self.managed,
            "free_pages": self.free_pages,
            "file_pages": self.file,
            "watermarks": list(self.marks),
            "boost_factor": self.boost_factor,
            "pcp_batch": self.batch,
            "cpus": cpus,
            "swappiness": self.swappiness,
            "lru_gen": self.lru_gen,
            "slots": self.slots,
        }
