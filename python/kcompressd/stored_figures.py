"""What `estimate`, `compare`, `kernel` and `advise` wrote with --json, as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kcompressd.errors import NOT_PARSED, ResultFileError
from kcompressd.files import read_text
from kcompressd.sizes import bars, mib, pages_text

if TYPE_CHECKING:
    from rich.console import RenderableType

Stored = Mapping[str, Any]


def parts(path: str) -> tuple[list[RenderableType], int] | None:
    """Return what rich prints, and the exit code of the command that wrote `path`; None for a file that is neither.

    Raises `ResultFileError` for one that says it is one of them and lacks what it must have, and for what `check` wrote.
    """
    from rich.errors import ConsoleError

    from kcompressd.fitted import plain

    try:
        stored = json.loads(read_text(Path(path)))
    except (OSError, *NOT_PARSED):
        return None  # whoever reads Results says what is wrong with it
    if not isinstance(stored, dict):
        return None
    if {"scenario", "schedule"} <= stored.keys():
        raise ResultFileError(path, "is a saved check", f"run its schedule again: kcompressd check --replay {path}")
    kind = stored.get("kind")
    shown = _KINDS.get(kind) if isinstance(kind, str) else None
    if shown is None:
        return None
    try:
        found = list(shown(stored))
        plain(found, 100)  # what cannot be drawn is no figure
        return found, _exit_code(stored)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, ConsoleError) as error:
        raise ResultFileError(path, f"a stored {kind} without what it must have: {error}") from error


def _exit_code(stored: Stored) -> int:
    complete = stored.get("complete", True)  # kernels' figures of before lack it
    if stored["kind"] == "fidelity" and not all(one["within"] for one in stored["compressors"]):
        return 1
    return 0 if complete else 3


def _name(one: Stored) -> str:
    """The compressor as the command takes it: without a level that is its default."""
    from kcompressd.page_stats import stored_codec

    return stored_codec(one).text


def _estimate(stored: Stored) -> Iterator[RenderableType]:
    from rich.text import Text

    from kcompressd.fitted import Fitted, bare

    yield Text(
        f"estimate: {pages_text(stored['pages'], stored['page_size'])}, chain size {stored['chain_size']}", style="bold"
    )
    counters = ("ratio", "compr", "mem_used", "same", "huge", "incompr")
    table = bare(("compressor", *counters, "sizes", "compress /s", "decompress /s"), left=("compressor", "sizes"))
    for one in stored["compressors"]:
        ratio = "-" if one["ratio"] is None else f"{one['ratio']:.2f}"
        sizes = (mib(one[name]) for name in ("compr_data_size", "mem_used_total"))
        counts = (str(one[name]) for name in ("same_pages", "huge_pages", "incompressible_pages"))
        rates = (mib(one[name]["bytes_per_s"]) for name in ("compress", "decompress"))
        table.add_row(_name(one), ratio, *sizes, *counts, bars(one["histogram"]), *rates)
    yield Fitted(table)
    yield Text(f"\nChoice  {stored['choice']['reason']}")
    for note in (stored["reason"], *stored["notes"]):
        if note:
            yield Text(f"note: {note}")
    for name in ("zram_sysfs", "zram_generator", "zswap_sysfs"):
        yield Text(f"\n{name.replace('_', ', ')}:", style="bold")
        yield Text(stored["choice"][name].rstrip())


def _fidelity(stored: Stored) -> Iterator[RenderableType]:
    from rich.text import Text

    from kcompressd.fitted import Fitted, bare

    yield Text(
        f"{stored['kernel']}: {pages_text(stored['pages'], stored['page_size'])}, chain size {stored['chain_size']}",
        style="bold",
    )
    headings = ("compressor", "counter", "kernel", "kcompressd", "difference", "pages that differ")
    table = bare(headings, left=headings[:2])
    for one in stored["compressors"]:
        pages = str(len(one["differing_pages"]))
        for at, (name, theirs) in enumerate(one["kernel"].items()):
            first = (_name(one), pages) if at == 0 else ("", "")
            off = one["difference"].get(name, 0)
            table.add_row(
                first[0], name, str(theirs), str(one["kcompressd"][name]), f"{off:+d}" if off else "=", first[1]
            )
    yield Fitted(table, keep=2)
    for one in stored["compressors"]:
        yield Text(f"{_name(one)}: {'within what is known' if one['within'] else 'differs by more than is known'}")
    for note in stored["notes"]:
        yield Text(f"note: {note}")


def _comparison(stored: Stored) -> Iterator[RenderableType]:
    from kcompressd.comparison import Comparison

    yield Comparison.from_dict(stored)


def _advice(stored: Stored) -> Iterator[RenderableType]:
    from kcompressd.advise import Advice

    yield Advice.from_dict(stored)


_KINDS: Final[Mapping[str, Callable[[Stored], Iterator[RenderableType]]]] = {
    "estimate": _estimate,
    "fidelity": _fidelity,
    "comparison": _comparison,
    "advice": _advice,
}
