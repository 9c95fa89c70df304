"""Memory cgroups of a run: what a user says of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kcompressd.errors import LabError, refuse_number, refuse_type

SIZES: Final = ("zswap_max", "memory_max", "memory_high", "memory_low", "memory_min")
"""What is in bytes of a `Memcg`; None: no limit, or no protection."""


@dataclass(frozen=True, slots=True)
class MemoryReclaim:
    """One write to a group's memory.reclaim: `bytes` are to be reclaimed from it, `at_ns` after the run's begin."""

    at_ns: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Memcg:
    """A memory cgroup: `parent` comes before it, `zswap_max` is memory.zswap.max in bytes (the root has none),
    `writeback` memory.zswap.writeback. For runs with a memory budget: `memory_max`, `memory_high`, `memory_low` and
    `memory_min` in bytes (the root has none), and `memory_reclaim`, what is written to memory.reclaim and when. The name "/"
    sets the root's.
    """

    name: str
    parent: str = "/"
    zswap_max: int | None = None
    writeback: bool = True
    memory_max: int | None = None
    memory_high: int | None = None
    memory_low: int | None = None
    memory_min: int | None = None
    memory_reclaim: tuple[MemoryReclaim, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a size that is no number of bytes; raises `LabError` naming group and key."""
        for key in SIZES:
            size = getattr(self, key)
            if size is not None:
                refuse_number(f"memcg {self.name!r}: {key}", size, 0, 2**63 - 1)


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Return the groups of these names with their numbers: the root's is 0, listed or not, the others' follow in order.

    Raises `LabError` for a name that comes twice, and for what is no text.
    """
    numbers = {"/": 0}
    given = set()
    for name in names:
        refuse_type("memcg", name, str, "a group's name")
        if name in given:
            raise LabError(f"memcg {name!r}", "comes twice", "give each group one entry")
        given.add(name)
        numbers.setdefault(name, len(numbers))
    return numbers


def number_of(groups: Mapping[str, int], name: str) -> int:
    """Return the number of a group of these; raises `LabError` naming them for what is none's name."""
    refuse_type("memcg", name, str, "a group's name")
    if name not in groups:
        raise LabError(f"memcg {name!r}", f"is not one of {', '.join(groups)}")
    return groups[name]
