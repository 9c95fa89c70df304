"""`Zswap`: the kernel's zswap by itself, for scripts: store, load, shrink, switch the compressor, read the
counters.

    >>> from kcompressd import Memcg, Pages, Zswap
    >>> zswap = Zswap(compressor="zstd", memcgs=[Memcg("web", zswap_max=1 << 20)])
    >>> zswap.store(0, Pages.sample()[0], memcg="web")
    'pool'
    >>> zswap.debugfs["stored_pages"]
    1

Nothing runs by itself: the shrink worker runs when `run_shrink_worker` is called, the dynamic shrinker when
`shrinker_scan` is. Behind the store is a swap device that never fails, so that a page is always in the pool,
on the device, or (refused, and its group denies writeback) still its owner's. All-zero pages are the swap
zeromap's business and are stored like any other here.

Source of the rules: Documentation/admin-guide/mm/zswap.rst and cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd import _core
from kcompressd.design import KERNEL, Kernel
from kcompressd.errors import LabError, refuse_compressor, refuse_number, refuse_type
from kcompressd.memcg import Memcg, number_of
from kcompressd.pages import Pages, contents, refuse_page_size
from kcompressd.sizes import counted, parse_limit, refuse_slots

Stored: TypeAlias = Literal["pool", "device", "activated"]
"""Where a store ended: in the pool; refused and written to the device; refused, and the group denies that."""

Shrunk: TypeAlias = Literal["shrunk", "kept", "nothing"]
"""What `shrink_memcg` came to: an entry was written back; all had a second chance or failed; none to look at."""


@dataclass(frozen=True, slots=True)
class MemcgState:
    """A group now: `current` (memory.zswap.current, bytes) and `zswapped` (pages), descendants included;
    `zswap_max` in bytes, None for no limit; its own `writeback`.
    """

    current: int
    zswapped: int
    zswap_max: int | None
    writeback: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool that lives: its compressor, its pages, its references (entries, stores under way, one for being
    current).
    """

    compressor: str
    pages: int
    references: int
    current: bool


class Zswap:
    """The store. Slots are numbered from 0; groups are named, "/" is the root; nodes are numbered from 0."""

    def __init__(
        self,
        *,
        compressor: str = "lz4",
        ram: int | str = "1G",
        max_pool_percent: int = 20,
        accept_threshold_percent: int = 90,
        shrinker_enabled: bool = False,
        kernel: Kernel = KERNEL,
        memcgs: Sequence[Memcg] = (),
        nodes: int = 1,
        slots: int = 1 << 16,
        page_size: int = 4096,
        chain_size: int = 8,
    ) -> None:
        """Make an empty store.

        `ram` (bytes, or a text such as "4G") is what `max_pool_percent` is a share of. `kernel` from (6, 18)
        keeps incompressible pages as they are. Raises `CodecError`, `LabError`, and ValueError for a number
        out of range.
        """
        refuse_page_size(page_size, "zswap")
        config = {
            "compressor": compressor,
            "total_ram_pages": parse_limit(ram, None, "ram", page_size=page_size) // page_size,
            "max_pool_percent": max_pool_percent,
            "accept_threshold_percent": accept_threshold_percent,
            "shrinker_enabled": shrinker_enabled,
            "kernel": kernel,
            "nodes": nodes,
            "slots": slots,
            "page_size": page_size,
            "chain_size": chain_size,
        }
        refuse_slots(slots)
        refuse_number("nodes", nodes, 1)
        self._core = _core.Zswap(config)
        self._groups = {"/": 0}
        for memcg in memcgs:
            self.add_memcg(memcg)

    def __repr__(self) -> str:
        """One line: the compressor, and what is stored."""
        size = self.debugfs
        return f"<Zswap {self.compressor}: {counted(size['stored_pages'], 'page')} in {size['pool_total_size']} bytes>"

    def store(
        self, slot: int, pages: Pages | npt.NDArray[np.uint8] | bytes, *, memcg: str = "/", node: int = 0
    ) -> Stored:
        """Swap a folio out to the slots from `slot` on: uint8 of shape (page_size,) or (n, page_size), or bytes.

        A folio of several pages goes into the pool as a whole or not at all. Raises `ZswapError` for slots,
        nodes or sizes that there are not, `LabError` for an unknown group and for contents of another type.
        """
        return self._core.store(slot, contents("pages", pages), self._group(memcg), node)

    def load(self, slot: int) -> npt.NDArray[np.uint8] | None:
        """Read a slot back, uint8 of shape (page_size,); None where there is nothing.

        Out of the pool it is gone from there (the folio is dirty in the swap cache); on the device it stays,
        and one more entry of its group is protected from the dynamic shrinker.
        """
        loaded = self._core.load(slot)
        return None if loaded is None else np.frombuffer(loaded[1], dtype=np.uint8)

    def invalidate(self, slot: int, slots: int = 1) -> None:
        """Free `slots` slots from `slot` on."""
        self._core.invalidate(slot, slots)

    def set_in_swapcache(self, slot: int, there: bool) -> None:
        """Say whether a slot's folio is in the swap cache: such an entry is not written back."""
        self._core.set_in_swapcache(slot, there)

    def run_shrink_worker(self) -> bool:
        """Run the shrink worker if a refused store has queued it; True if one had.

        It writes entries back, group after group from where it stopped last, until the pools are at the accept
        threshold or 16 attempts failed; an entry's second chance counts as a failure.
        """
        return self._core.run_shrink_worker()

    def shrink_memcg(self, memcg: str) -> Shrunk:
        """Write the oldest entry of a group back on each node, as a store over `zswap_max` does."""
        return self._core.shrink_memcg(self._group(memcg))

    def shrinker_count(self, memcg: str, node: int = 0) -> int:
        """Return how many entries the dynamic shrinker finds worth writing back; this uses protection up."""
        return self._core.shrinker_count(self._group(memcg), node)

    def shrinker_scan(self, memcg: str, entries: int, node: int = 0) -> int | None:
        """Have the dynamic shrinker look at up to `entries`; the entries written back, None for SHRINK_STOP."""
        return self._core.shrinker_scan(self._group(memcg), node, entries)

    def add_memcg(self, memcg: Memcg) -> None:
        """Add a group under its parent, or set the knobs of "/". Raises `LabError` for an unknown parent."""
        refuse_type("memcg", memcg, Memcg, "a Memcg")
        if memcg.name != "/":
            if memcg.name in self._groups:
                raise LabError(f"memcg {memcg.name!r}", "exists already")
            self._groups[memcg.name] = self._core.add_memcg(memcg.name, self._group(memcg.parent))
        if memcg.zswap_max is not None:
            self.set_zswap_max(memcg.name, memcg.zswap_max)
        self.set_writeback(memcg.name, memcg.writeback)

    def remove_memcg(self, memcg: str) -> None:
        """Remove a group: its entries and charges are its parent's. Raises `ZswapError` if it has children."""
        self._core.remove_memcg(self._group(memcg))
        del self._groups[memcg]

    def set_zswap_max(self, memcg: str, limit: int | None) -> None:
        """Set memory.zswap.max, bytes; None for no limit. It counts in whole pages. The root has none."""
        self._core.set_zswap_max(self._group(memcg), limit)

    def set_writeback(self, memcg: str, enabled: bool) -> None:
        """Set memory.zswap.writeback; off in any ancestor is off."""
        self._core.set_writeback(self._group(memcg), enabled)

    def memcg(self, memcg: str) -> MemcgState:
        """Return a group's charges and knobs."""
        return MemcgState(*self._core.memcg(self._group(memcg)))

    def lru(self, memcg: str, node: int = 0) -> list[int]:
        """Return the slots of a group's own entries on a node, oldest first."""
        return self._core.lru(self._group(memcg), node)

    def set_free_pages(self, pages: int) -> None:
        """Leave the pools this many pages to take: then stores fail for want of memory."""
        self._core.set_free_pages(pages)

    @property
    def debugfs(self) -> dict[str, int]:
        """/sys/kernel/debug/zswap, by name; `pool_total_size` in bytes."""
        return self._core.debugfs()

    @property
    def vmstat(self) -> dict[str, int]:
        """zswpin, zswpout, zswpwb, pswpin, pswpout: pages."""
        return self._core.vmstat()

    @property
    def pools(self) -> list[Pool]:
        """The pools that live: the current one, and those that drain."""
        return [Pool(*pool) for pool in self._core.pools()]

    @property
    def on_device(self) -> list[int]:
        """The slots whose pages are on the device, in order."""
        return self._core.on_device()

    @property
    def compressor(self) -> str:
        """The compressor of new stores; set it, and the old pool drains. Raises `CodecError`, `ZswapError`."""
        return self._core.compressor()

    @compressor.setter
    def compressor(self, name: str) -> None:
        refuse_compressor(name)
        self._core.set_compressor(name)

    @property
    def enabled(self) -> bool:
        """Whether anything is stored; what is stored can be loaded either way."""
        return bool(self._core.param("enabled"))

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._core.set_param("enabled", int(value))

    @property
    def shrinker_enabled(self) -> bool:
        """Whether the dynamic shrinker does anything."""
        return bool(self._core.param("shrinker_enabled"))

    @shrinker_enabled.setter
    def shrinker_enabled(self, value: bool) -> None:
        self._core.set_param("shrinker_enabled", int(value))

    @property
    def max_pool_percent(self) -> int:
        """The pools' limit, percent of RAM."""
        return self._core.param("max_pool_percent")

    @max_pool_percent.setter
    def max_pool_percent(self, value: int) -> None:
        self._core.set_param("max_pool_percent", value)

    @property
    def accept_threshold_percent(self) -> int:
        """A pool that was full accepts again at this percentage of its limit."""
        return self._core.param("accept_threshold_percent")

    @accept_threshold_percent.setter
    def accept_threshold_percent(self, value: int) -> None:
        self._core.set_param("accept_threshold_percent", value)

    def _group(self, name: str) -> int:
        return number_of(self._groups, name)
