"""CRIU images: `pages-N.img`, raw pages, and the `pagemap-PID.img` and `mm-PID.img` that say where they belong.

Every image but the pages starts with two 32-bit magic numbers; then come entries, each a 32-bit size and a protobuf
message. Pages that a pagemap leaves to a parent image are not in the files and are counted. Shared memory
(`pagemap-shmem-N.img`) is not anonymous and left out. Pages have the size of the machine that dumped them. Source: CRIU's `images/*.proto` and its wiki page "Images".
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from kcompressd.errors import PageFileError
from kcompressd.files import read_bytes
from kcompressd.images.spans import Image, Span, collect, perms
from kcompressd.page_file import read_flat
from kcompressd.page_index import Mapping, PageIndex, Source

_COMMON: Final = 0x54564319
_PAGEMAP: Final = 0x56084025
_MM: Final = 0x57492820
_PAGES_NAME = re.compile(r"pages-(\d+)\.img")
_PAGEMAP_NAME = re.compile(r"pagemap-(\d+)\.img")

_PE_PARENT: Final = 1 << 0
_PE_PRESENT: Final = 1 << 2
_VMA_STACK: Final = 1 << 1
_VMA_HEAP: Final = 1 << 5
_VMA_FILE_PRIVATE: Final = 1 << 6

_Message = dict[int, list[int | bytes]]


@dataclass(frozen=True, slots=True)
class _Run:
    address: int
    pages: int
    present: bool


def is_pages_image(path: Path) -> bool:
    """Tell whether a path is CRIU's pages with the pagemap beside them."""
    return _numbered(path, _PAGES_NAME) is not None and bool(_pagemaps(path.parent))


def is_directory(path: Path) -> bool:
    """Tell whether a folder holds CRIU images."""
    return bool(_pagemaps(path))


def pages_images(folder: Path) -> list[Path]:
    """Return the `pages-N.img` of every process in a folder of images, by pid."""
    return [folder / f"pages-{_head(pagemap)}.img" for pagemap in _pagemaps(folder).values()]


def read(path: Path, page_size: int) -> Image:
    """Read the process whose pages are `path`; raises `PageFileError` naming the image that is damaged or missing."""
    number = _numbered(path, _PAGES_NAME)
    pagemaps = _pagemaps(path.parent)
    pid = next((pid for pid, pagemap in pagemaps.items() if _head(pagemap) == number), None)
    if pid is None:
        raise PageFileError(path, f"no pagemap-PID.img beside it has the pages of number {number}", "copy all images")
    areas = _areas(path.with_name(f"mm-{pid}.img"))
    spans: list[Span] = []
    offset = absent = 0
    for run in _runs(pagemaps[pid]):
        if run.present:
            spans += _by_area(areas, offset, run, page_size)
            offset += run.pages * page_size
        else:
            absent += run.pages
    index = PageIndex(source=Source(pid=pid))
    if absent:
        reason = f"{absent} pages are in a parent image or were to be sent later"
        index = replace(index, complete=False, reason=reason, skipped=replace(index.skipped, unread=absent))
    return collect(read_flat(path), spans, areas, index, page_size, path)


def _by_area(areas: list[Mapping], offset: int, run: _Run, page_size: int) -> Iterator[Span]:
    """The parts of a run by the mapping that they lie in, -1 where none is known."""
    address, end = run.address, run.address + run.pages * page_size
    starts = np.array([area.start for area in areas], dtype=np.uint64)
    while address < end:
        at = int(np.searchsorted(starts, np.uint64(address), "right")) - 1
        inside = at >= 0 and address < areas[at].end
        following = areas[at + 1].start if at + 1 < len(areas) else end
        stop = min(end, areas[at].end if inside else following)
        yield Span(offset + address - run.address, stop - address, address, at if inside else -1)
        address = stop


def _pagemaps(folder: Path) -> dict[int, Path]:
    """The pagemaps of the processes in a folder, by pid."""
    found = {pid: path for path in folder.glob("*.img") if (pid := _numbered(path, _PAGEMAP_NAME)) is not None}
    return dict(sorted(found.items()))


def _numbered(path: Path, name: re.Pattern[str]) -> int | None:
    found = name.fullmatch(path.name)
    return int(found[1]) if found else None


def _head(pagemap: Path) -> int:
    with _explained(pagemap):
        return _number(_entries(pagemap, _PAGEMAP)[0], 1, 0)


def _runs(pagemap: Path) -> list[_Run]:
    with _explained(pagemap):
        return [_run(entry) for entry in _entries(pagemap, _PAGEMAP)[1:]]


def _run(entry: _Message) -> _Run:
    flags = _number(entry, 4, 0 if _number(entry, 3, 0) else _PE_PRESENT)  # old images have no flags
    present = bool(flags & _PE_PRESENT) and not flags & _PE_PARENT
    return _Run(_number(entry, 1, 0), _number(entry, 2, 0), present)


def _areas(mm: Path) -> list[Mapping]:
    """The mappings that `mm-PID.img` lists, by address; none when the image is not there."""
    if not mm.is_file():
        return []
    with _explained(mm):
        bodies = _entries(mm, _MM)[0].get(14, [])
        areas = [_area(_message(body)) for body in bodies if isinstance(body, bytes)]
    return sorted(areas, key=lambda area: area.start)


def _area(vma: _Message) -> Mapping:
    status, prot = _number(vma, 7, 0), _number(vma, 5, 0)
    kind = "anon"
    for bit, name in ((_VMA_HEAP, "heap"), (_VMA_STACK, "stack"), (_VMA_FILE_PRIVATE, "file-private")):
        kind = name if status & bit else kind
    return Mapping(_number(vma, 1, 0), _number(vma, 2, 0), perms(prot, (1, 2, 4)), "", kind, 0, 0)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what reading an image raises into an error that names it."""
    try:
        yield
    except OSError as error:
        raise PageFileError(path, f"cannot be read: {error.strerror}") from error
    except (struct.error, ValueError) as error:
        raise PageFileError(path, f"is no image of CRIU, or damaged: {error}", "dump it again") from error


def _entries(path: Path, magic: int) -> list[_Message]:
    data = read_bytes(path)
    if struct.unpack_from("<II", data) != (_COMMON, magic):
        raise ValueError("the magic numbers are others")
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        if at + 4 + size > len(data):
            raise ValueError(f"an entry at byte {at} reaches beyond the end")
        found.append(_message(data[at + 4 : at + 4 + size]))
        at += 4 + size
    if not found:
        raise ValueError("it has no entries")
    return found


def _number(message: _Message, field: int, default: int) -> int:
    value = message.get(field, [default])[0]
    if not isinstance(value, int):
        raise ValueError(f"field {field} is not a number")
    return value


def _message(data: bytes) -> _Message:
    """The fields of a protobuf message by number (varints, 64- and 32-bit words, byte strings)."""
    fields: _Message = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _varint(data, at)
            case 1 | 5 as wire:
                size = 8 if wire == 1 else 4
                value, at = int.from_bytes(data[at : at + size], "little"), at + size
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case wire:
                raise ValueError(f"unknown wire type {wire}")
        if at > len(data):
            raise ValueError("a field reaches beyond its message")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number is cut off, or has more than 64 bits")
