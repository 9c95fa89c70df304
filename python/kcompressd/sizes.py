"""Sizes as people write them: `64M`, `20%`, `4096`; and as tables show them."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Final

from kcompressd.errors import LabError, refuse_number, refuse_type

SLOT_BYTES: Final = 32
"""What a slot takes of a store by itself (`ru_maxrss` of a `Zram` and of a `Zswap` of 2**24 slots)."""
_BARS: Final = " ▁▂▃▄▅▆▇█"
_UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_limit(limit: int | str, of_bytes: int | None, what: str = "pool limit", *, page_size: int = 1) -> int:
    """Return `limit` in bytes: a number, a text with a unit (K, M, G, T: powers of 1024), or a percentage of
    `of_bytes`, where that is not None.

    Raises `LabError` about `what` for what is none of these, for a limit below 1 byte, and for a size below `page_size`; a percentage is a
    page at least.
    """
    refuse_type(what, limit, (Integral, str), "a number of bytes or a text like 64M")
    value = _parse(limit, of_bytes, what) if isinstance(limit, str) else int(limit)
    if value < 1:
        raise LabError(what, f"{limit} leaves no room at all", f"give {_forms(of_bytes)}")
    if value < page_size and not str(limit).strip().endswith("%"):
        raise LabError(what, f"{limit} is less than a page of {page_size} bytes", f"give {_forms(of_bytes)}")
    return max(value, page_size)


def _forms(of_bytes: int | None) -> str:
    return "bytes, or 64M" if of_bytes is None else "bytes, 64M, or 20% (of the input)"


def _parse(text: str, of_bytes: int | None, what: str) -> int:
    number, unit = text.strip(), 1.0
    if number.endswith("%") and of_bytes is not None:
        number, unit = number[:-1], of_bytes / 100
    else:
        letters = number.lstrip("0123456789.").strip().upper().removesuffix("IB")
        number = number[: len(number.rstrip("BKMGTIbkmgti "))]
        unit = _UNITS.get(letters, 0)
    try:
        value = float(number) * unit
    except ValueError:
        value = -1.0
    if not 0 <= value < 2**62 or unit == 0:
        raise LabError(what, f"{text!r} is no size", f"give {_forms(of_bytes)}")
    return int(value)


def refuse_too_large(subject: str, needed_bytes: int, fix: str) -> None:
    """Raise `LabError` for what takes more memory than this machine has left: the core cannot be refused it, the process would end."""
    from kcompressd import procfs

    available = procfs.available_bytes()
    if needed_bytes > available:
        why = f"it takes some {needed_bytes / 2**30:.0f} GiB, and {available / 2**30:.0f} GiB are available here"
        raise LabError(subject, why, fix)


def refuse_slots(slots: int) -> None:
    """Raise `LabError` for what is no number of a store's slots, and for more than this machine has memory for."""
    refuse_number("slots", slots)
    refuse_too_large("slots", SLOT_BYTES * slots, "give it fewer")


def counted(number: int, what: str) -> str:
    """Return a number of `what`, a noun in the singular: "1 page", "2 pages"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def mib(count: float) -> str:
    """Return bytes as MiB with one decimal."""
    return f"{count / 2**20:.1f} MiB"


def pages_text(pages: int, page_size: int) -> str:
    """Return a number of pages with their size: "1536 pages (6.0 MiB)"."""
    return f"{counted(pages, 'page')} ({mib(pages * page_size)})"


def bars(values: Iterable[float], top: float = 0) -> str:
    """Return values as one character each, full height for the largest or for `top`; what is not 0 shows."""
    given = list(values)
    highest = max([top, *given]) or 1
    return "".join(_BARS[-int(-value * (len(_BARS) - 1) // highest)] for value in given)


def duration(ns: float) -> str:
    """Return nanoseconds with three digits, in the unit that has one to three of them before the point."""
    if ns < 999.5:
        return f"{ns:.0f} ns"
    for limit, unit, scale in ((999.5e3, "µs", 1e3), (999.5e6, "ms", 1e6), (float("inf"), "s", 1e9)):
        if ns < limit:
            value = ns / scale
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    raise ValueError(f"{ns} ns is no time")


def chain_text(chain_size: int) -> str:
    """Return zsmalloc's chain size in words."""
    return f"chain size {chain_size}" if chain_size else "zspages as before Linux 6.3"
