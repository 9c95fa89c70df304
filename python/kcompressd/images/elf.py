"""ELF cores: of a process (kernel, systemd-coredump, gcore) or of physical memory (QEMU dump-guest-memory, kdump).

A process's core has an NT_PRPSINFO note; a dump of physical memory has none. Of a process these segments are taken:
writable ones, and those without a file that are not executable. Not taken: read-only parts of files, which are the
file's pages, and the vdso. What a core cannot tell: which pages of a mapping were present (absent ones read as zeros,
so pages of zeros are left out), and which pages of a writable private file mapping were copied.

Sources: elf(5), core(5); System V ABI (PT_LOAD, PT_NOTE, PN_XNUM); the layout of NT_FILE and NT_PRPSINFO on 64-bit
Linux as documented in core(5) and observed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kcompressd.errors import PageFileError
from kcompressd.images.spans import Image, Span, collect, perms, physical
from kcompressd.page_file import Bytes
from kcompressd.page_index import Mapping, PageIndex, Source

_EHDR: Final = struct.Struct("<16xHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_NHDR: Final = struct.Struct("<III")
_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
_PN_XNUM: Final = 0xFFFF
_PF_X, _PF_W, _PF_R = 1, 2, 4
_NT_PRPSINFO: Final = 3
_NT_FILE: Final = 0x46494C45


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int


@dataclass(frozen=True, slots=True)
class _Notes:
    source: Source | None = None
    files: tuple[tuple[int, int, str], ...] = ()

    def file_at(self, address: int) -> str | None:
        """The file mapped at an address."""
        at = bisect_right(self.files, (address, 1 << 64, "")) - 1
        return self.files[at][2] if at >= 0 and address < self.files[at][1] else None


def is_core(head: bytes) -> bool:
    """Tell whether the first bytes of a file are the header of an ELF core, of any class and byte order."""
    if len(head) < 18 or not head.startswith(b"\x7fELF"):
        return False
    return int.from_bytes(head[16:18], "big" if head[5] == 2 else "little") == _ET_CORE


def read(flat: Bytes, subject: Path, page_size: int) -> Image:
    """Read an ELF core; raises `PageFileError` for a damaged one, and for one that is not 64-bit little-endian."""
    if tuple(flat[4:6].tolist()) != (2, 1):
        raise PageFileError(subject, "is an ELF core that is not 64-bit little-endian", "such cores are not read")
    try:
        segments = list(_segments(flat))
        notes = _notes(flat, [segment for segment in segments if segment.kind == _PT_NOTE])
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise PageFileError(subject, f"is a damaged ELF core: {error}", "make it again") from error
    loads = [segment for segment in segments if segment.kind == _PT_LOAD and segment.filesz]
    if notes.source is None:
        return physical(flat, [Span(load.offset, load.filesz, load.paddr) for load in loads], page_size, subject)
    return _process(flat, loads, notes, notes.source, subject, page_size)


def _process(flat: Bytes, loads: list[_Segment], notes: _Notes, source: Source, subject: Path, page_size: int) -> Image:
    spans: list[Span] = []
    mappings: list[Mapping] = []
    left = 0
    for load in loads:
        name = notes.file_at(load.vaddr)
        if not (load.flags & _PF_W or (name is None and not load.flags & _PF_X)):
            left += load.filesz // page_size
            continue
        kind = "anon" if name is None else "file-private"
        spans.append(Span(load.offset, load.filesz, load.vaddr, len(mappings)))
        end = load.vaddr + load.memsz
        mappings.append(Mapping(load.vaddr, end, perms(load.flags, (_PF_R, _PF_W, _PF_X)), name or "", kind, 0, 0))
    said = ["a core does not say where heap and stack are: both count as anon"]
    if left:
        said.append(f"{left} pages of read-only file mappings and the vdso were left out")
    index = PageIndex(source=source, notes=tuple(said))
    return collect(flat, spans, mappings, index, page_size, subject, zeros_of="a core")


def _segments(flat: Bytes) -> Iterator[_Segment]:
    _, _, _, _, phoff, shoff, _, _, phentsize, phnum, _, _, _ = _EHDR.unpack_from(flat.data)
    if phnum == _PN_XNUM:  # The real number is the first section header's sh_info.
        (phnum,) = struct.unpack_from("<I", flat.data, shoff + 44)
    if phentsize != _PHDR.size:
        raise ValueError(f"program headers of {phentsize} bytes")
    for number in range(phnum):
        kind, flags, offset, vaddr, paddr, filesz, memsz, _ = _PHDR.unpack_from(flat.data, phoff + number * _PHDR.size)
        yield _Segment(kind, flags, offset, vaddr, paddr, filesz, memsz)


def _notes(flat: Bytes, segments: list[_Segment]) -> _Notes:
    source: Source | None = None
    files: list[tuple[int, int, str]] = []
    for segment in segments:
        for kind, body in _each_note(flat[segment.offset : segment.offset + segment.filesz].tobytes()):
            if kind == _NT_PRPSINFO and source is None:
                source = _prpsinfo(body)
            elif kind == _NT_FILE:
                files += _nt_file(body)
    return _Notes(source, tuple(sorted(files)))


def _each_note(notes: bytes) -> Iterator[tuple[int, bytes]]:
    """The (type, description) of every note called CORE."""
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, kind = _NHDR.unpack_from(notes, at)
        name = notes[at + _NHDR.size : at + _NHDR.size + name_size].rstrip(b"\0")
        at += _NHDR.size + (name_size + 3 & ~3)
        if name == b"CORE":
            yield kind, notes[at : at + size]
        at += size + 3 & ~3


def _prpsinfo(body: bytes) -> Source:
    (pid,) = struct.unpack_from("<i", body, 24)
    comm = body[40:56].split(b"\0")[0].decode(errors="replace")
    return Source(pid=pid if pid > 0 else None, comm=comm or None)


def _nt_file(body: bytes) -> Iterator[tuple[int, int, str]]:
    """The (start, end, path) of mapped files."""
    (count,) = struct.unpack_from("<Q", body)
    paths = body[16 + 24 * count :].split(b"\0")
    for number in range(count):
        start, end = struct.unpack_from("<QQ", body, 16 + 24 * number)
        yield start, end, paths[number].decode(errors="replace")
