"""LiME dumps of a machine's physical memory (format "lime", version 1; AVML writes the same uncompressed).

Each range of RAM is preceded by a header of 32 bytes: magic 0x4C694D45, version, first and last physical address,
8 bytes reserved. Source: doc/README.md of LiME, "Spec".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from kcompressd.errors import PageFileError
from kcompressd.images.spans import Image, Span, physical
from kcompressd.page_file import Bytes

_HEADER: Final = struct.Struct("<IIQQ8x")
_MAGIC: Final = 0x4C694D45


def is_lime(head: bytes) -> bool:
    """Tell whether the first bytes of a file are a LiME header."""
    return len(head) >= _HEADER.size and _HEADER.unpack_from(head)[0] == _MAGIC


def read(flat: Bytes, subject: Path, page_size: int) -> Image:
    """Read a LiME dump; raises `PageFileError` naming the offset where a header is wrong."""
    spans, at = [], 0
    while at + _HEADER.size <= flat.size:
        magic, version, first, last = _HEADER.unpack_from(flat.data, at)
        if magic != _MAGIC or version != 1 or last < first:
            raise PageFileError(
                subject,
                f"is damaged: at byte {at} there is no header of a LiME range (magic {magic:#x}, version {version})",
                "dump it again with format=lime",
            )
        at += _HEADER.size
        spans.append(Span(at, last - first + 1, first))
        at += last - first + 1
    return physical(flat, spans, page_size, subject)
