"""`Pages`: an immutable set of memory pages, the input of everything here.

Contents are a C-contiguous, read-only uint8 array of shape (n, page_size), memory-mapped when they come from
a raw page file. Beside them go the page size and a `PageIndex` (source process, mappings, completeness).
Loading compares the index with the contents and refuses a disagreement. The file format is docs/formats.md.
"""

from __future__ import annotations

import hashlib
import html
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from kcompressd import page_file
from kcompressd.errors import IndexFileError, InputError, LabError, PageFileError, file_path, refuse_number, refuse_type
from kcompressd.page_file import Bytes
from kcompressd.page_index import PAGE_SIZES, IndexDocument, PageIndex, check_mappings

PAGE_SIZE = PAGE_SIZES[0]
"""The default page size in bytes."""

_LEVELS = -7, 22
"""Of zstd, for files: the least and the most."""

PathLike: TypeAlias = str | os.PathLike[str]
Positions: TypeAlias = slice | list[int] | list[bool] | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]


class Pages:
    """An immutable set of pages.

    `len` is the number of pages; `pages[3]` is one page, shape (page_size,); a slice, a list or array of integers, or
    one of booleans, n of them, gives another `Pages` whose index follows. Two sets are equal when page size
    and contents are.
    """

    __slots__ = ("_array", "_digest", "_index", "_origin")

    def __init__(self, array: Bytes, index: PageIndex | None = None, origin: str = "memory") -> None:
        """Wrap `array`, shape (n, page_size), without copying; use the `from_…` constructors unless you own
        it alone.
        """
        refuse_type(origin, array, np.ndarray, "an array; Pages has from_file, from_bytes and from_array", InputError)
        if array.ndim != 2 or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise InputError(
                origin, f"not a C-contiguous uint8 array of shape (n, page_size): {array.dtype}{array.shape}"
            )
        refuse_page_size(array.shape[1], origin)
        self._array = array.view(np.ndarray)
        self._array.flags.writeable = False
        self._index = index or PageIndex()
        self._origin = origin
        self._digest: str | None = None
        try:
            check_mappings(self._index.mappings, len(array))
        except ValueError as error:
            raise IndexFileError(origin, str(error)) from error

    @classmethod
    def from_file(cls, path: PathLike, *, page_size: int | None = None, verify: bool = True) -> Pages:
        """Open a page file: raw pages, or zstd when it is named `.zst`, with its `FILE.index.json` when there
        is one. Memory images (`kcompressd.images`: ELF cores, LiME, CRIU) are recognised by content, and all
        files of a directory are taken together.

        `page_size` (bytes) defaults to the index's, else 4096; where the index has another, the pages are
        `resized`. `verify=False` skips comparing the digest,
        which reads every page; the count is always compared. Raises `PageFileError` or a subclass
        naming the path.
        """
        where = file_path(path, PageFileError)
        if where.is_dir():
            from kcompressd.images import directory

            def read(file: Path) -> Pages:
                return cls.from_file(file, page_size=page_size, verify=verify)

            return cls.concatenate(directory.parts(where, read), where)
        flat = page_file.read_flat(where)
        document = page_file.read_index(where)
        if document is None:
            from kcompressd import images

            if (image := images.recognise(flat, where, page_size or PAGE_SIZE)) is not None:
                return cls(image.array, image.index, str(where))
        return _assemble(flat, document, where, page_size, verify)

    @classmethod
    def concatenate(cls, parts: Sequence[Pages], origin: PathLike = "several") -> Pages:
        """Join sets of one page size, in order; the index keeps every mapping, and of the sources what all have
        in common. Raises `InputError` naming the set whose page size differs, or when there is none.
        """
        refuse_type("concatenate", parts, Sequence, "a list of Pages", InputError)
        if not parts:
            raise InputError(origin, "there are no pages to join")
        for part in parts:
            refuse_type("concatenate", part, Pages, "a Pages", InputError)
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            if part.page_size != parts[0].page_size:
                sizes = f"{part.page_size} B, those before it {parts[0].page_size} B"
                raise InputError(part._origin, f"its pages have {sizes}", "join sets of one page size")
        joined = PageIndex.joined([(part.index, len(part)) for part in parts])
        return cls(np.concatenate([part.array for part in parts]), joined, os.fspath(origin))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, *, page_size: int = PAGE_SIZE) -> Pages:
        """Make a set of the bytes of `data`, whole pages; immutable bytes are shared, others copied."""
        refuse_type("bytes", data, (bytes, bytearray, memoryview), "bytes", InputError)
        flat = np.frombuffer(data, dtype=np.uint8)
        refuse_page_size(page_size, "bytes")
        return cls(page_file.whole_pages(flat.copy() if flat.flags.writeable else flat, page_size, "bytes"))

    @classmethod
    def from_array(cls, array: npt.NDArray[np.uint8], *, page_size: int | None = None, copy: bool = True) -> Pages:
        """Make a set of a uint8 array of shape (n, page_size) or flat (default page size: its second axis,
        else 4096).

        The array is copied, so that later writes to it are not seen. With `copy=False` a C-contiguous array
        is shared and the caller promises not to write to it.
        """
        refuse_type("array", array, np.ndarray, "a NumPy array", InputError)
        if array.dtype != np.uint8 or array.ndim not in (1, 2):
            raise InputError(
                "array", f"is {array.dtype} of shape {array.shape}, not uint8 of shape (n, page_size) or flat"
            )
        size = page_size or (array.shape[1] if array.ndim == 2 else PAGE_SIZE)
        refuse_page_size(size, "array")
        owned = np.array(array, order="C") if copy else np.ascontiguousarray(array)
        return cls(page_file.whole_pages(owned.reshape(-1), size, "array"))

    @classmethod
    def sample(cls) -> Pages:
        """Return the package's own sample: real pages of a process with contents of our own
        (tools/make_sample.py).
        """
        return _sample()

    @property
    def array(self) -> Bytes:
        """The contents: uint8, shape (n, page_size), C-contiguous, read-only."""
        return self._array

    @property
    def page_size(self) -> int:
        """Bytes of one page."""
        return int(self._array.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all pages together."""
        return int(self._array.nbytes)

    @property
    def index(self) -> PageIndex:
        """Where the pages come from; empty when unknown."""
        return self._index

    @property
    def digest(self) -> str:
        """SHA-256 of the contents, 64 hexadecimal digits; computed once, when first asked for."""
        if self._digest is None:
            self._digest = hashlib.sha256(self._array.reshape(-1).data).hexdigest()
        return self._digest

    def save(self, path: PathLike, *, index: bool = True, level: int = 3) -> Path:
        """Write the pages (zstd at `level` when named `.zst`) and `FILE.index.json`, owner-readable only;
        returns the path.

        Each file is replaced by rename. Without `index` an old index is removed; a page size other than 4096
        must then be given again to `from_file`. Raises `PageFileError` for an empty set, a name of another
        compression (`.gz`), or when writing fails.
        """
        from kcompressd.images import PACKED

        where = file_path(path, PageFileError)
        refuse_number("level", level, *_LEVELS, error=InputError)
        if where.suffix in PACKED:
            raise PageFileError(
                where, f"a file of pages is not written as {where.suffix}", "name it .zst to compress it"
            )
        document = IndexDocument(self.page_size, len(self), self.digest, self._index) if index else None
        page_file.whole_pages(self._array.reshape(-1), self.page_size, where)
        page_file.write_pages(where, self._array.reshape(-1), document, level)
        return where

    def resized(self, page_size: int) -> Pages:
        """Return the same contents as pages of `page_size` bytes: neighbours joined, or pages split. A last page
        that is not whole is left out. Joining does not know of holes between neighbours, and the index says so.
        Raises `InputError` for a size that is not known, or when nothing is left.
        """
        refuse_page_size(page_size, self._origin)
        if page_size == self.page_size:
            return self
        count = self.nbytes // page_size
        if count == 0:
            raise InputError(self._origin, f"{self.nbytes} bytes are less than one page of {page_size} bytes")
        flat = self._array.reshape(-1)[: count * page_size]
        index = self._index.take(np.arange(count, dtype=np.int64) * page_size // self.page_size, len(self))
        note = (
            f"pages of {self.page_size} bytes seen as pages of {page_size}: neighbours in the file, holes are not known"
        )
        index = replace(index, notes=(*index.notes, note))
        return Pages(flat.reshape(count, page_size), index, self._origin)

    def with_index(self, index: PageIndex) -> Pages:
        """Return the same contents with another index."""
        refuse_type("with_index", index, PageIndex, "a PageIndex", InputError)
        other = Pages(self._array, index, self._origin)
        other._digest = self._digest
        return other

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self._array)

    @overload
    def __getitem__(self, key: int) -> Bytes: ...
    @overload
    def __getitem__(self, key: Positions) -> Pages: ...
    def __getitem__(self, key: int | Positions) -> Bytes | Pages:
        """Return one page for an integer, a `Pages` for a slice or an array of positions."""
        if isinstance(key, slice):
            first, stop, step = key.indices(len(self))
            if step == 1:
                return Pages(self._array[first:stop], self._index.window(first, max(first, stop)), self._origin)
            key = np.arange(first, stop, step)
        if isinstance(key, np.ndarray) and key.ndim == 0:
            key = key.item()
        if isinstance(key, np.ndarray | list):
            asked = np.asarray(key, dtype=None if len(key) else np.int64)
            if asked.ndim != 1:
                raise IndexError(f"positions of shape {asked.shape} are not of shape (n,)")
            positions = np.arange(len(self))[asked]
            return Pages(self._array[positions], self._index.take(positions, len(self)), self._origin)
        page: Bytes = self._array[operator.index(key)]
        return page

    def __iter__(self) -> Iterator[Bytes]:
        """Iterate over the pages, each of shape (page_size,)."""
        return iter(self._array)

    def __eq__(self, other: object) -> bool:
        """Compare page size and contents; the index does not count."""
        if not isinstance(other, Pages):
            return NotImplemented
        return self._array.shape == other._array.shape and bool(np.array_equal(self._array, other._array))

    def __hash__(self) -> int:
        """Hash the contents' digest."""
        return hash((self.page_size, self.digest))

    def __reduce__(self) -> tuple[type[Pages], tuple[Bytes, PageIndex, str]]:
        """Pickle the contents; the copy is read-only too."""
        return Pages, (self._array, self._index, self._origin)

    def __repr__(self) -> str:
        """Say how many pages of what size from where."""
        return f"<Pages {', '.join(text for _, text in self._facts())}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{key}</th><td>{html.escape(text)}</td></tr>" for key, text in self._facts())
        return f"<table><caption>Pages</caption>{rows}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        index = self._index
        facts = [
            ("pages", f"{len(self)} of {self.page_size} B = {self.nbytes / 2**20:.1f} MiB"),
            ("from", self._origin),
        ]
        if index.command:
            facts.append(("process", index.command + (f" (pid {index.pid})" if index.pid else "")))
        if index.kinds:
            facts.append(("kinds", ", ".join(f"{kind} {pages}" for kind, pages in index.kinds.items())))
        if not index.complete:
            facts.append(("incomplete", index.reason or "no reason recorded"))
        return facts


def contents(subject: str, given: Pages | Bytes | bytes) -> Bytes | bytes:
    """Return what a `Pages`, a uint8 array or bytes hold, as the core takes it; raise `LabError` about what is none of them, a number
    wider than a byte among others: it would be cut to one.
    """
    if isinstance(given, Pages):
        return given.array
    refuse_type(subject, given, (np.ndarray, bytes, bytearray, memoryview), "a Pages, a uint8 array or bytes")
    if isinstance(given, np.ndarray) and given.dtype != np.uint8:
        raise LabError(subject, f"is {given.dtype} of shape {given.shape}, not uint8")
    view = memoryview(given)  # type: ignore[arg-type]  # arrays are buffers, whatever their stubs say
    if view.format not in ("B", "c") or view.ndim == 0:
        raise LabError(subject, f"is a buffer of format {view.format} and shape {view.shape}, not of bytes")
    return given


def refuse_page_size(page_size: object, subject: object) -> None:
    """Raise `InputError` about `subject` for what is no size of a page in bytes."""
    if page_size not in PAGE_SIZES:
        raise InputError(subject, f"page size {page_size} is not one of {', '.join(map(str, PAGE_SIZES))} bytes")


def _assemble(
    flat: Bytes, document: IndexDocument | None, subject: object, page_size: int | None, verify: bool
) -> Pages:
    wanted = page_size or (document.page_size if document else PAGE_SIZE)
    refuse_page_size(wanted, subject)
    size = document.page_size if document else wanted
    pages = Pages(page_file.whole_pages(flat, size, subject), origin=str(subject))
    if document is None:
        return pages
    _compare(pages, document, subject, verify)
    return pages.with_index(document.index).resized(wanted)


def _compare(pages: Pages, document: IndexDocument, subject: object, verify: bool) -> None:
    """Refuse an index that does not describe these pages."""
    facts: list[tuple[str, object, object]] = [
        ("pages", document.pages, len(pages)),
    ]
    if verify:
        facts.append(("digest", document.digest, pages.digest))
    for name, said, found in facts:
        if said != found:
            raise IndexFileError(
                subject,
                f"its index says {name} {said}, the contents have {found}",
                f"if the pages are right, remove {subject}.index.json",
            )


@cache
def _sample() -> Pages:
    data = resources.files("kcompressd") / "data"
    name = "sample.pages.zst"
    flat = page_file.unpack(BytesIO((data / name).read_bytes()), name)
    document = page_file.parse_index((data / f"{name}.index.json").read_bytes(), f"{name}.index.json")
    return _assemble(flat, document, "sample", None, True)
