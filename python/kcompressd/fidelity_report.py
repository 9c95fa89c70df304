"""How a `Fidelity` shows itself: a table of differences in bytes, and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.markup import escape

from kcompressd.estimate_report import pipes
from kcompressd.fidelity import Difference, Fidelity
from kcompressd.fitted import Fitted, bare
from kcompressd.sizes import chain_text, counted, pages_text
from kcompressd.zram_device import FIELDS

COLUMNS: Final = (
    "compressor",
    "compr_data_size",
    "ours",
    "mem_used_total",
    "ours",
    "same_pages",
    "huge_pages",
    "pages that differ",
)


def title(found: Fidelity) -> str:
    """Return what was compared, in one line."""
    return f"zram of Linux {found.kernel} ({chain_text(found.chain_size)}) and ours: {pages_text(found.pages, found.page_size)}"


def rows(found: Fidelity) -> Iterator[tuple[str, ...]]:
    """Yield a row for each compressor: the kernel's counter, and ours minus the kernel's."""
    for one in found.differences:
        theirs, off = one.kernel.mm_stat, one.fields
        yield (
            one.codec.text,
            str(theirs["compr_data_size"]),
            _signed(off["compr_data_size"]),
            str(theirs["mem_used_total"]),
            _signed(off["mem_used_total"]),
            _beside(one, "same_pages"),
            _beside(one, "huge_pages"),
            str(one.pages.size),
        )


def _signed(difference: int) -> str:
    return f"{difference:+d}" if difference else "equal"


def _beside(one: Difference, name: str) -> str:
    off = one.fields[name]
    return f"{one.kernel.mm_stat[name]} {off:+d}" if off else str(one.kernel.mm_stat[name])


def sentences(found: Fidelity) -> Iterator[str]:
    """Yield the verdict, what the kernel lacks, and notes."""
    equal = [one.codec.text for one in found.differences if not (any(one.fields.values()) or one.pages.size)]
    if equal:
        yield f"Equal in all of {', '.join(FIELDS[:3])} … {FIELDS[-1]} and on every page: {', '.join(equal)}."
    for one in found.differences:
        if one.codec.text not in equal:
            yield _verdict(one)
    if found.lacking:
        yield f"This kernel's zram lacks {', '.join(found.lacking)}."
    yield from (f"Note: {note}." for note in found.notes)


def _verdict(one: Difference) -> str:
    share = one.fields["compr_data_size"] / max(1, one.kernel.mm_stat["compr_data_size"])
    known = f"at most {one.limit:.2%} is known" if one.limit else "nothing may differ: please report it"
    return f"{one.codec.text} differs by {share:+.4%} in sum, on {counted(one.pages.size, 'page')}; {known} (docs/fidelity.md)."


def parts(found: Fidelity) -> Iterator[RenderableType]:
    """Yield what rich prints."""
    yield f"[bold]{escape(title(found))}[/bold]"
    yield Fitted(bare((column.replace(" ", "\n", 1) for column in COLUMNS), rows(found), left=COLUMNS[:1]))
    yield from ("\n" + escape(sentence) for sentence in sentences(found))


def markdown(found: Fidelity) -> str:
    """Return everything as Markdown."""
    said = [line for sentence in sentences(found) for line in ("", sentence)]
    return "\n".join([f"**{title(found)}**", "", *pipes(COLUMNS, rows(found)), *said]) + "\n"
