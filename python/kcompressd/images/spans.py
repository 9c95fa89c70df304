"""Spans: runs of memory inside an image file, and how they become pages with an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from kcompressd.errors import PageFileError
from kcompressd.page_file import Bytes
from kcompressd.page_index import Mapping, PageIndex, mapping_runs

ZERO_NOTE: Final = "{count} pages of zeros were left out: {what} does not tell memory that was never touched from pages that hold zeros"


@dataclass(frozen=True, slots=True)
class Span:
    """`size` bytes at `offset` of the file that were memory at `address`; `mapping` is a position in the image's
    mappings, -1 where no mapping is known.
    """

    offset: int
    size: int
    address: int
    mapping: int = -1


@dataclass(frozen=True, slots=True)
class Image:
    """Pages, shape (n, page_size), and what is known about them."""

    array: Bytes
    index: PageIndex = field(default_factory=PageIndex)


def collect(
    flat: Bytes,
    spans: Sequence[Span],
    mappings: Sequence[Mapping],
    index: PageIndex,
    page_size: int,
    subject: object,
    *,
    zeros_of: str | None = None,
) -> Image:
    """Cut `spans` of `flat`, shape (bytes,), into pages aligned to `page_size` in their address space.

    With `zeros_of` (the kind of image, for the note) pages of zeros are left out and counted as `skipped.zero`. A span
    that reaches beyond the file is cut there and the index is incomplete. Raises `PageFileError` when no page is left.
    """
    parts, owners, zeros, missing = [], [], 0, 0
    for span in spans:
        aligned = _aligned(span, page_size)
        held = max(0, min(aligned.size, (flat.size - aligned.offset) // page_size * page_size))
        missing += (aligned.size - held) // page_size
        pages = flat[aligned.offset : aligned.offset + held].reshape(-1, page_size)
        if zeros_of is not None:
            kept = _nonzero(pages)
            zeros += len(pages) - int(np.count_nonzero(kept))
            pages = pages[kept]
        parts.append(pages)
        owners.append(np.full(len(pages), span.mapping, dtype=np.int64))
    if not sum(map(len, parts)):
        raise PageFileError(subject, f"holds no pages ({zeros} of zeros, {missing} beyond the end of the file)")
    array = np.ascontiguousarray(np.concatenate(parts))
    notes = index.notes
    if zeros and zeros_of:
        notes += (ZERO_NOTE.format(count=zeros, what=zeros_of),)
    if missing:
        index = replace(index, complete=False, reason=f"the file is cut off: {missing} pages are beyond its end")
    skipped = replace(index.skipped, zero=index.skipped.zero + zeros, unread=index.skipped.unread + missing)
    runs = mapping_runs(mappings, np.concatenate(owners))
    return Image(array, replace(index, mappings=runs, notes=notes, skipped=skipped))


def physical(flat: Bytes, spans: Sequence[Span], page_size: int, subject: object) -> Image:
    """The same of a dump of a machine's RAM: spans are at physical addresses."""
    note = "physical memory of a whole machine: kernel and page cache included, no mapping is known"
    return collect(flat, spans, (), PageIndex(notes=(note,)), page_size, subject, zeros_of="a dump of RAM")


def perms(flags: int, bits: Sequence[int]) -> str:
    """Return the permissions of a private mapping as /proc/PID/maps has them; `bits` say readable, writable, executable."""
    return "".join(letter if flags & bit else "-" for bit, letter in zip(bits, "rwx", strict=True)) + "p"


def _aligned(span: Span, page_size: int) -> Span:
    """The whole pages inside a span."""
    ahead = -span.address % page_size
    size = max(0, span.size - ahead) // page_size * page_size
    return replace(span, offset=span.offset + ahead, address=span.address + ahead, size=size)


def _nonzero(pages: Bytes) -> npt.NDArray[np.bool_]:
    """Which pages, shape (n, page_size), have a byte that is not zero; in parts, so that no copy is large."""
    kept = np.empty(len(pages), dtype=np.bool_)
    for at in range(0, len(pages), 4096):
        part = pages[at : at + 4096]
        kept[at : at + 4096] = part.any(axis=1)
    return kept
