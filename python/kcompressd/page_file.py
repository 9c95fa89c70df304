"""Reading and writing the bytes of page files: raw pages (memory-mapped) or zstd (`.zst`), and the index
beside them.

Nothing here knows what a page set is; `pages.Pages` does. Files are replaced as `files` says. Raw files are mapped
read-only, so a file that another program shortens in place while it is mapped kills the reader (SIGBUS), as with any
mmap; files written by this package are only ever replaced.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from kcompressd.errors import NOT_PARSED, IndexFileError, NotWholePagesError, PageFileError
from kcompressd.files import read_bytes, replace, temporary
from kcompressd.page_index import IndexDocument

if TYPE_CHECKING:
    import zstandard

Bytes = npt.NDArray[np.uint8]

_CHUNK_BYTES: Final = 1 << 20
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_NO_CONTENTS: Final = (".stats.npz", ".calib.npz")


def index_path(path: Path) -> Path:
    """Return where the index of the page file `path` is kept."""
    return path.with_name(path.name + ".index.json")


def read_flat(path: Path) -> Bytes:
    """Return the contents of a page file, shape (bytes,), read-only: mapped when raw, decompressed when
    `.zst`.
    """
    try:
        status = path.stat()
        _refuse_odd_files(path, status)
        with path.open("rb") as file:
            if path.suffix == ".zst":
                return unpack(file, path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise PageFileError(path, "no such file") from None
    except OSError as error:
        raise PageFileError(path, f"cannot be read: {error.strerror}") from error
    return np.frombuffer(mapped, dtype=np.uint8)


def _refuse_odd_files(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PageFileError(path, "is a directory", "give a page file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise PageFileError(path, "is not a regular file", "copy its contents to a file first")
    if status.st_size == 0:
        raise PageFileError(path, "is empty (0 bytes), not a page file")
    if path.name.endswith(_NO_CONTENTS):
        raise PageFileError(
            path, "has sizes and times of pages and no contents", "give the pages; estimate reads .stats.npz"
        )


def unpack(file: BinaryIO, subject: object) -> Bytes:
    """Decompress every zstd frame of `file` into a read-only array, shape (bytes,); `subject` is named in
    errors.
    """
    import zstandard

    flat = bytearray()
    decoder = _new_decoder()
    inside = False
    try:
        while chunk := file.read(_CHUNK_BYTES):
            while chunk:
                flat += decoder.decompress(chunk)
                inside, chunk = not decoder.eof, decoder.unused_data
                if decoder.eof:
                    decoder = _new_decoder()
    except zstandard.ZstdError as error:
        raise PageFileError(
            subject, f"is not valid zstd ({_plain(error)})", "raw pages must not be named .zst"
        ) from error
    except MemoryError:
        raise PageFileError(subject, "has more contents than there is memory for") from None
    if inside:
        raise PageFileError(
            subject,
            f"is truncated: its zstd data stops after {len(flat)} bytes of contents",
            "fetch it again",
        )
    return np.frombuffer(memoryview(flat).toreadonly(), dtype=np.uint8)


def _new_decoder() -> zstandard.ZstdDecompressionObj:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _plain(error: Exception) -> str:
    return str(error).removeprefix("zstd decompress error: ").removeprefix("zstd decompressor error: ")


def whole_pages(flat: Bytes, page_size: int, subject: object) -> Bytes:
    """Return `flat` as shape (n, page_size); refuse a size that is not a whole number of pages, saying what
    to do.
    """
    pages, over = divmod(flat.size, page_size)
    if flat.size == 0:
        raise PageFileError(subject, "holds no pages (0 bytes of contents)")
    if over:
        raise NotWholePagesError(
            subject,
            f"{flat.size} bytes are not a whole number of {page_size}-byte pages ({pages} pages and {over} bytes over)",
            _how_to_fit(flat, page_size, subject),
        )
    return flat.reshape(pages, page_size)


def _how_to_fit(flat: Bytes, page_size: int, subject: object) -> str:
    if flat[:4].tobytes() == _ZSTD_MAGIC:
        return f"it looks like zstd: rename it to {subject}.zst"
    padded = -(-flat.size // page_size) * page_size
    return f"pad it with zeros (truncate -s {padded} FILE), or give the page size it was captured with"


def read_index(path: Path) -> IndexDocument | None:
    """Return the index of the page file `path`, or None when it has none; of a symbolic link that of its file."""
    beside = index_path(path)
    if not beside.exists() and path.is_symlink():
        beside = index_path(Path(os.path.realpath(path)))
    try:
        text = read_bytes(beside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexFileError(beside, f"cannot be read: {error.strerror}") from error
    return parse_index(text, beside)


def parse_index(text: bytes, subject: object) -> IndexDocument:
    """Parse an index document; `subject` is named in errors."""
    try:
        return IndexDocument.from_json(json.loads(text))
    except NOT_PARSED as error:  # json and unicode errors are ValueErrors
        fix = "correct it, or remove it: the index is optional"
        raise IndexFileError(subject, f"is not a valid index: {error}", fix) from error


def write_pages(path: Path, flat: Bytes, document: IndexDocument | None, level: int) -> None:
    """Write a page file (zstd when named `.zst`) and its index; without a document an old index is removed.

    The old index goes first and the new one comes last: a crash in between leaves pages without an index,
    which is valid.
    """
    try:
        with temporary(path, lambda file: _write_contents(file, flat, path.suffix == ".zst", level)) as pages:
            index_path(path).unlink(missing_ok=True)
            os.replace(pages, path)
        if document is not None:
            text = json.dumps(document.to_json(), indent=1, ensure_ascii=True) + "\n"
            replace(index_path(path), lambda file: file.write(text.encode()))
    except OSError as error:
        raise PageFileError(path, f"cannot be written: {error.strerror}") from error


def _write_contents(file: BinaryIO, flat: Bytes, packed: bool, level: int) -> None:
    view = flat.data
    if not packed:
        file.write(view)
        return
    import zstandard

    packer = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    # No `with`: that would end the frame after a write that failed, and hide its error.
    writer = packer.stream_writer(file, size=flat.size, closefd=False)
    for at in range(0, flat.size, _CHUNK_BYTES):
        writer.write(view[at : at + _CHUNK_BYTES])
    writer.flush(zstandard.FLUSH_FRAME)
