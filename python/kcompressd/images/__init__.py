"""Memory images of other tools as pages: ELF cores, QEMU and kdump dumps, LiME dumps, CRIU images.

`recognise` tells by content what a file is; raw page files are whatever nothing else claims. Each format's module
finds *spans* (where in the file which memory is) and `spans.collect` cuts them into pages. What a format cannot tell
is said in the index's notes.
"""

from __future__ import annotations

from pathlib import Path

from kcompressd.errors import PageFileError
from kcompressd.images import criu, elf, lime
from kcompressd.images.spans import Image
from kcompressd.page_file import Bytes

_UNREAD = {
    b"KDUMP   ": ("is a kdump-compressed dump", "dump without compression: dump-guest-memory FILE, without -z"),
    b"makedumpfile": ("is a flattened makedumpfile dump", "rebuild it: makedumpfile -R FILE < DUMP"),
}
PACKED = {".lz4": "lz4 -d", ".xz": "xz -d", ".gz": "gzip -d", ".bz2": "bzip2 -d"}
"""How the names end of what others compressed, and what unpacks it."""


def recognise(flat: Bytes, path: Path, page_size: int) -> Image | None:
    """Return the memory image that the contents `flat` of the file `path` are, None when they are raw pages.

    `page_size` (bytes) is what spans are cut into. Raises `PageFileError` for an image that is damaged or of a kind
    that cannot be read, naming it and what to do.
    """
    if (how := PACKED.get(path.suffix)) is not None:
        raise PageFileError(path, f"is compressed ({path.suffix})", f"unpack it: {how} {path.name}")
    head = flat[:64].tobytes()
    for magic, (reason, fix) in _UNREAD.items():
        if head.startswith(magic):
            raise PageFileError(path, reason, fix)
    if elf.is_core(head):
        return elf.read(flat, path, page_size)
    if lime.is_lime(head):
        return lime.read(flat, path, page_size)
    if criu.is_pages_image(path):
        return criu.read(path, page_size)
    return None
