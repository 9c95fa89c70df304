"""`Calibration`: what compressing and decompressing each page costs on this host, an input of runs in virtual time.

Every page is timed several times per compressor, in file order, over a set larger than the second-level cache, and the
median counts: a page repeated back to back would look a third too cheap. A block is decompressed right after it was made,
so its bytes are warm. `FILE.calib.npz` keeps one (docs/formats.md); its digest names it in a Result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd import arrays
from kcompressd.errors import (
    EstimateError,
    PageFileError,
    RunInterrupted,
    file_path,
    refuse_number,
    refuse_type,
)
from kcompressd.page_index import PAGE_SIZES
from kcompressd.page_stats import DEFAULT_COMPRESSORS, Codec, PageStats, kinds_of, measure, parse_codecs
from kcompressd.pages import Pages
from kcompressd.progress import Count, counter, part_of
from kcompressd.sizes import counted

FORMAT: Final = "kcompressd-calibration"
VERSION: Final = 1
SUFFIX: Final = ".calib.npz"
PASSES: Final = 5
"""How often a page is timed at least, per compressor."""
SET_BYTES: Final = 64 << 20
"""Bytes that are gone through before a page comes again: several times any second-level cache of today."""

_ARRAYS: Final = {"same": "u1", "size": "<u4", "compress_ns": "<u4", "decompress_ns": "<u4"}


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Figures of n pages and k compressors.

    `same`: uint8, shape (n,): 0 no, 1 a repeated word, 2 zeroes; `size` (bytes), `compress_ns`, `decompress_ns`: uint32,
    shape (k, n), in the order of `codecs`. `pages_digest`: SHA-256 of the pages' contents; `passes`: times each page was
    timed; `environment`: where.
    """

    page_size: int
    codecs: tuple[Codec, ...]
    same: npt.NDArray[np.uint8]
    size: npt.NDArray[np.uint32]
    compress_ns: npt.NDArray[np.uint32]
    decompress_ns: npt.NDArray[np.uint32]
    pages_digest: str
    passes: int
    environment: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self.same)

    def __repr__(self) -> str:
        """Say how many pages, and which compressors."""
        return f"<Calibration of {counted(len(self), 'page')}: {', '.join(codec.text for codec in self.codecs)}>"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything but `environment`: what a Result names its calibration by."""
        digest = hashlib.sha256(json.dumps(self._about(), sort_keys=True).encode())
        for name, dtype in _ARRAYS.items():
            digest.update(np.ascontiguousarray(getattr(self, name), dtype=dtype).tobytes())
        return digest.hexdigest()

    def sizes(self, compressor: str) -> dict[str, npt.NDArray[Any]]:
        """Return the four arrays of shape (n,) that a run in virtual time takes: `len`, `same`, and the two times.

        Raises `CodecError` for an unknown compressor, `EstimateError` for one that was not calibrated.
        """
        (codec,) = parse_codecs(compressor)
        if codec not in self.codecs:
            known = ", ".join(known.text for known in self.codecs)
            raise EstimateError(codec.text, f"is not in this calibration; it has {known}", "calibrate again with -c")
        row = self.codecs.index(codec)
        return {
            "len": np.where(self.same == 2, 0, self.size[row]).astype(np.uint32),
            "same": (self.same != 0).astype(np.uint8),
            "compress_ns": self.compress_ns[row],
            "decompress_ns": self.decompress_ns[row],
        }

    def __getitem__(self, wanted: slice) -> Calibration:
        """Return the calibration of a run of its pages: a slice."""
        refuse_type("calibration", wanted, slice, "a slice", EstimateError)
        parts = {name: getattr(self, name)[..., wanted] for name in _ARRAYS}
        return dataclasses.replace(self, **parts)

    def repeated(self, times: int) -> Calibration:
        """Return the calibration of the pages `times` over, one set after the other; raises `LabError` for none."""
        refuse_number("times", times, 1)
        parts: dict[str, Any] = {name: np.tile(getattr(self, name), times) for name in _ARRAYS}
        return dataclasses.replace(self, **parts)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `FILE.calib.npz`, its owner's alone, replaced by rename; raises `PageFileError`."""
        meta = {**self._about(), "environment": self.environment, "digest": self.digest}
        figures = {name: getattr(self, name) for name in _ARRAYS}
        return arrays.save(file_path(path, PageFileError), SUFFIX, "a calibration", meta, figures)

    def _about(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "page_size": self.page_size,
            "pages": len(self),
            "codecs": [codec.text for codec in self.codecs],
            "pages_digest": self.pages_digest,
            "passes": self.passes,
        }

    @classmethod
    def sample(cls) -> Calibration:
        """Return the calibration of `Pages.sample()` that comes with the package: of one machine, to have equal inputs."""
        return cls.load(Path(__file__).parent / "data" / "sample.calib.npz")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read `FILE.calib.npz`; raises `PageFileError` naming what is wrong with it."""
        where = file_path(path, PageFileError)
        with arrays.explained(where, "calibration", "kcompressd calibrate FILE"):
            return cls._of(*arrays.load(where, _ARRAYS, FORMAT, VERSION))

    @classmethod
    def _of(cls, meta: dict[str, Any], figures: arrays.Arrays) -> Calibration:
        if meta["page_size"] not in PAGE_SIZES or not meta["codecs"]:
            raise ValueError("its page size or compressors are not this version's")
        arrays.check(figures, _ARRAYS, meta["pages"], len(meta["codecs"]))
        said = {name: meta[name] for name in ("page_size", "pages_digest", "passes", "environment")}
        found = cls(codecs=parse_codecs(meta["codecs"]), **said, **dict[str, Any](figures))
        if found.digest != meta["digest"]:
            raise ValueError("its digest is another: it was changed")
        return found


def calibrate(
    pages: Pages,
    compressors: str | Sequence[str] = DEFAULT_COMPRESSORS,
    *,
    passes: int = PASSES,
    progress: Count | bool = False,
) -> Calibration:
    """Time every page with every compressor on one thread, at least `passes` times each, and take medians.

    Raises `CodecError`, `EstimateError` for no pages or no passes, and on Ctrl-C `RunInterrupted` with the Calibration of the
    compressors that were done. The machine should be idle.
    """
    done: list[tuple[PageStats, int]] = []
    try:
        for one in _each_timed(pages, compressors, passes, progress):
            done.append(one)
    except KeyboardInterrupt:
        if not done:
            raise
        raise RunInterrupted(of_stats(pages, *_side_by_side(done))) from None
    return of_stats(pages, *_side_by_side(done))


def timed(
    pages: Pages, compressors: str | Sequence[str], *, passes: int = PASSES, progress: Count | bool = False
) -> tuple[PageStats, int]:
    """Return what `calibrate` measures as stats, for estimates of the same times; and how often each page was timed.

    Raises `CodecError`, and `EstimateError` for no pages or no passes.
    """
    return _side_by_side(list(_each_timed(pages, compressors, passes, progress)))


def _each_timed(
    pages: Pages, compressors: str | Sequence[str], passes: int, progress: Count | bool
) -> Iterator[tuple[PageStats, int]]:
    """The stats of one compressor after the other, each with how often every page was timed."""
    refuse_type("pages", pages, Pages, "a Pages", EstimateError)
    refuse_number("passes", passes, error=EstimateError)
    codecs = parse_codecs(compressors)
    if len(pages) == 0 or passes < 1:
        raise EstimateError("calibrate", f"{len(pages)} pages in {passes} passes measures nothing")
    tiles = max(1, -(-SET_BYTES // pages.nbytes))
    rounds = -(-int(passes) // tiles)
    tiled = pages if tiles == 1 else Pages.from_array(np.tile(pages.array, (tiles, 1)), copy=False)
    with counter(progress, "measuring") as report:
        total = len(tiled) * rounds * len(codecs)
        for first, codec in zip(range(0, total, len(tiled) * rounds), codecs, strict=True):
            parts = [part_of(report, first + len(tiled) * number, total) for number in range(rounds)]
            try:
                times = [measure(tiled, codec.text, threads=1, progress=part) for part in parts]
            except KeyboardInterrupt:
                raise KeyboardInterrupt from None  # What it has of some pages is no calibration.
            yield _medians(pages, times), tiles * rounds


def _medians(pages: Pages, times: Sequence[PageStats]) -> PageStats:
    """The figures of one compressor that timed `pages` once or more in each of `times`."""
    n = len(pages)
    medians = {}
    for name in ("compress_ns", "decompress_ns"):
        every = np.concatenate([getattr(stats, name).reshape(-1, n) for stats in times])
        medians[name] = np.median(every, axis=0).astype(np.uint32)[np.newaxis]
    spent = {name: sum(stats.timing[name] for stats in times) for name in ("wall_ns", "threads_ns", "cpu_ns")}
    return PageStats(
        page_size=pages.page_size,
        codecs=times[0].codecs,
        kind=kinds_of(pages),
        same=times[0].same[:n],
        size=times[0].size[:, :n].astype(np.uint32),
        index=dataclasses.replace(pages.index, mappings=()),
        timing={"threads": 1, **spent},
        environment=times[0].environment,
        **medians,
    )


def _side_by_side(done: Sequence[tuple[PageStats, int]]) -> tuple[PageStats, int]:
    """The stats of several compressors, each of the same pages timed as often, as one."""
    parts = [stats for stats, _ in done]
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(stats, name) for stats in parts])
        for name in ("size", "compress_ns", "decompress_ns")
    }
    codecs = tuple(codec for stats in parts for codec in stats.codecs)
    timing = {name: sum(stats.timing[name] for stats in parts) for name in parts[0].timing} | {"threads": 1}
    return dataclasses.replace(parts[0], codecs=codecs, timing=timing, **rows), done[0][1]


def of_stats(pages: Pages, stats: PageStats, passes: int) -> Calibration:
    """Return the calibration of `pages`, which were `timed`."""
    taken = {name: getattr(stats, name) for name in ("page_size", "codecs", "environment", *_ARRAYS)}
    return Calibration(pages_digest=hashlib.sha256(pages.array.data).hexdigest(), passes=passes, **taken)
