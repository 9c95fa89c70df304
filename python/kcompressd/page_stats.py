"""`PageStats`: what an estimate needs to know of pages, without their contents.

Per page the kind of its mapping and whether one word fills it; per page and compressor the compressed length
and two times. `measure` makes one of pages; `FILE.stats.npz` (docs/formats.md) keeps one. Lengths say
something about contents, so the file is its owner's alone, as a page file is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd import _core, arrays, environment
from kcompressd.errors import (
    EstimateError,
    PageFileError,
    RunInterrupted,
    file_path,
    refuse_number,
    refuse_type,
)
from kcompressd.page_index import KINDS, PAGE_SIZES, PageIndex, about_from_json, about_to_json
from kcompressd.pages import Pages
from kcompressd.progress import Count, counter
from kcompressd.sizes import counted

FORMAT: Final = "kcompressd-stats"
VERSION: Final = 1
SUFFIX: Final = ".stats.npz"
UNKNOWN_KIND: Final = 255
DEFAULT_COMPRESSORS: Final = ("lz4", "lzo-rle", "zstd:1", "zstd:3")

_ARRAYS: Final = {"kind": "u1", "same": "u1", "size": "<u4", "compress_ns": "<u4", "decompress_ns": "<u4"}


@dataclass(frozen=True, slots=True)
class Codec:
    """A compressor as measured: the kernel's `name`, and its `level` (None: it has none)."""

    text: str
    name: str
    level: int | None


def parse_codecs(compressors: str | Sequence[str]) -> tuple[Codec, ...]:
    """Parse "lz4,zstd:1" or a sequence of such, each compressor once; raises `CodecError` naming what there
    is.
    """
    names = [compressors] if isinstance(compressors, str) else compressors
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise EstimateError("compressors", f"{compressors!r} is neither a text like lz4,zstd:3 nor a list of such")
    text = ",".join(names)
    return tuple(dict.fromkeys(Codec(*found) for found in _core.parse_codecs(text)))


def stored_codec(stored: Mapping[str, Any]) -> Codec:
    """Return the compressor of what was stored with its `name` and `level`."""
    name, level = stored["name"], stored["level"]
    return parse_codecs(name if level is None else f"{name}:{level}")[0]


@dataclass(frozen=True, eq=False, repr=False)
class PageStats:
    """Figures of n pages and k compressors.

    `kind`: uint8, shape (n,), position in `page_index.KINDS` or 255; `same`: uint8, shape (n,): 0 no, 1 a
    repeated word, 2 zeroes; `size` (bytes), `compress_ns`, `decompress_ns`: uint32, shape (k, n), in the
    order of `codecs`. `index` has source, notes and completeness but no mappings; `timing` has `threads`,
    and in ns `wall_ns`, `threads_ns` (their lives, summed) and `cpu_ns` (of it, on a CPU).
    """

    page_size: int
    codecs: tuple[Codec, ...]
    kind: npt.NDArray[np.uint8]
    same: npt.NDArray[np.uint8]
    size: npt.NDArray[np.uint32]
    compress_ns: npt.NDArray[np.uint32]
    decompress_ns: npt.NDArray[np.uint32]
    index: PageIndex
    timing: dict[str, int]
    environment: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self.same)

    def __repr__(self) -> str:
        """Say how many pages, and which compressors."""
        return f"<PageStats of {counted(len(self), 'page')}: {', '.join(codec.text for codec in self.codecs)}>"

    def position(self, codec: Codec) -> int:
        """Return the row of a compressor; raises `EstimateError` naming those that were measured."""
        if codec not in self.codecs:
            known = ", ".join(known.text for known in self.codecs)
            fix = "measure the pages themselves, or capture again with -c"
            raise EstimateError(codec.text, f"was not measured; these stats have {known}", fix)
        return self.codecs.index(codec)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `FILE.stats.npz`, its owner's alone, replaced by rename; raises `PageFileError`."""
        figures = {name: getattr(self, name) for name in _ARRAYS}
        return arrays.save(file_path(path, PageFileError), SUFFIX, "stats", self._meta(), figures)

    def _meta(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "page_size": self.page_size,
            "pages": len(self),
            "kinds": list(KINDS),
            "codecs": [{"name": codec.name, "level": codec.level} for codec in self.codecs],
            "timing": self.timing,
            "environment": self.environment,
            **about_to_json(self.index),
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PageStats:
        """Read `FILE.stats.npz`; raises `PageFileError` naming what is wrong with it."""
        where = file_path(path, PageFileError)
        with arrays.explained(where, "file of stats", "kcompressd capture --stats-only"):
            meta, figures = arrays.load(where, _ARRAYS, FORMAT, VERSION)
            _check_meta(meta)
            codecs = tuple(map(stored_codec, meta["codecs"]))
            arrays.check(figures, _ARRAYS, meta["pages"], len(codecs))
            return cls(
                page_size=meta["page_size"],
                codecs=codecs,
                index=about_from_json(meta),
                timing=meta["timing"],
                environment=meta["environment"],
                **figures,
            )


def _check_meta(meta: dict[str, Any]) -> None:
    if meta["page_size"] not in PAGE_SIZES or meta["kinds"] != list(KINDS) or not meta["codecs"]:
        raise ValueError("its page size, kinds of mapping or compressors are not this version's")
    for name in ("threads", "wall_ns", "threads_ns", "cpu_ns"):
        if not isinstance(meta["timing"][name], int):
            raise ValueError(f"timing.{name} is not an integer")
    dict(**meta["environment"])


def measure(
    pages: Pages,
    compressors: str | Sequence[str] = DEFAULT_COMPRESSORS,
    *,
    threads: int | None = None,
    progress: Count | bool = False,
) -> PageStats:
    """Compress and decompress every page once with every compressor, on `threads` threads (default: every
    CPU that this process may use).

    `progress` is a callback, or True for a bar on standard error. Ctrl-C raises `RunInterrupted` with the
    stats of the pages that were done. Raises `CodecError`, and `EstimateError` for no pages or no threads;
    `RuntimeError` when a page does not come back from a compressor, which is a bug.
    """
    refuse_type("pages", pages, Pages, "a Pages", EstimateError)
    codecs = parse_codecs(compressors)
    count = len(os.sched_getaffinity(0)) if threads is None else threads
    refuse_number("threads", count, error=EstimateError)
    if len(pages) == 0 or count < 1:
        raise EstimateError("estimate", f"{len(pages)} pages on {count} threads measures nothing")
    with counter(progress, "measuring") as report:
        flat = pages.array.reshape(-1)
        found = _core.measure(
            flat,
            pages.page_size,
            [codec.text for codec in codecs],
            min(count, len(pages)),
            lambda done: report(done, len(pages)),
        )
    same = np.frombuffer(found["same"], dtype=np.uint8)
    rows = {
        name: np.array([np.frombuffer(codec[name], dtype="<u4") for codec in found["codecs"]], dtype="<u4")
        for name in ("size", "compress_ns", "decompress_ns")
    }
    stats = PageStats(
        page_size=pages.page_size,
        codecs=codecs,
        kind=kinds_of(pages)[: len(same)],
        same=same,
        index=_about(pages, len(same)),
        timing={"threads": int(count), **{name: found[name] for name in ("wall_ns", "threads_ns", "cpu_ns")}},
        environment=environment.gather(),
        **rows,
    )
    if found["interrupted"]:
        raise RunInterrupted(stats)
    return stats


def _about(pages: Pages, done: int) -> PageIndex:
    index = replace(pages.index, mappings=())
    if done == len(pages):
        return index
    return replace(index, complete=False, reason=f"interrupted after {done} of {len(pages)} pages")


def kinds_of(pages: Pages) -> npt.NDArray[np.uint8]:
    """Return each page's kind of mapping, uint8 of shape (n,) as `PageStats.kind`."""
    kinds = np.full(len(pages), UNKNOWN_KIND, dtype=np.uint8)
    for mapping in pages.index.mappings:
        kinds[mapping.first_page : mapping.first_page + mapping.pages] = KINDS.index(mapping.kind)
    return kinds
