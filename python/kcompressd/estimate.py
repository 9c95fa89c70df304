"""`estimate`: what zram and zswap would make of pages, for each compressor and level.

Sizes come from the kernel's encoders' equals, accounting from the same zram and zsmalloc code that a run
uses: `mm_stat` is what a fresh device shows after the pages were written to it in order by one writer
(docs/fidelity.md). Speeds are this machine's, of one core.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd import _core
from kcompressd.errors import EstimateError, RunInterrupted
from kcompressd.names import Names, freeze, thaw
from kcompressd.page_index import KINDS, PageIndex
from kcompressd.page_stats import (
    DEFAULT_COMPRESSORS,
    UNKNOWN_KIND,
    Codec,
    PageStats,
    measure,
    parse_codecs,
)
from kcompressd.pages import Pages
from kcompressd.progress import Count
from kcompressd.sizes import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from kcompressd.columns import Columns
    from kcompressd.settings import Choice

VERSION: Final = 1
"""Of the stored form."""
CHAIN_SIZE: Final = 8
"""The kernel's default CONFIG_ZSMALLOC_CHAIN_SIZE."""
CHAIN_SIZES: Final = (0, *range(4, 17))
"""What a kernel can have; 0 stands for the rule of kernels before 6.3, which had no such setting."""
BINS: Final = 16
"""Of the histogram of sizes: each is this part of a page."""


@dataclass(frozen=True, eq=False, repr=False)
class CompressorEstimate:
    """One compressor's figures.

    - `mm_stat`: zram's, with the kernel's names and in its order; `zswap`: `stored_pages`,
      `pool_total_size`, `stored_incompressible_pages`, `zero_pages`, if nothing is refused or written back;
    - `charged`: uint32, shape (n,): bytes that each page adds to `compr_data_size` (0 same-filled, a page's
      size when huge); `histogram`: pages that are not same-filled by that, in steps of 1/16 page;
    - `incompressible_pages`: those that the compressor made no smaller, a part of `huge_pages`;
    - `compress`, `decompress`: `bytes_per_s` of one core, and `page_ns` percentiles; pages that zram would
      not compress, or not decompress, are not counted;
    - `kinds`: by kind of mapping `pages`, `compr_data_size`, `same_pages`, `huge_pages`.
    """

    codec: Codec
    mm_stat: Names[int]
    zswap: Names[int]
    charged: npt.NDArray[np.uint32]
    histogram: tuple[int, ...]
    incompressible_pages: int
    compress: Names[Any]
    decompress: Names[Any]
    kinds: Names[Names[int]]

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self.codec.name

    @property
    def level(self) -> int | None:
        """The level, None for a compressor without levels."""
        return self.codec.level

    @property
    def ratio(self) -> float | None:
        """Memory of the pages over memory that zram uses for them; None when it uses none."""
        used = self.mm_stat.mem_used_total
        return float(self.mm_stat.orig_data_size / used) if used else None

    @property
    def page_ns(self) -> float:
        """Mean time of a page there and back on one core, nanoseconds; 0 when none was timed."""
        rates: list[float] = [rate.bytes_per_s for rate in (self.compress, self.decompress)]
        page_size = float(self.mm_stat.orig_data_size) / max(1, len(self.charged))
        return sum(page_size * 1e9 / rate for rate in rates if rate)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, without the per-page array."""
        return {
            "name": self.name,
            "level": self.level,
            **self.mm_stat,
            "incompressible_pages": self.incompressible_pages,
            "ratio": self.ratio,
            "compress": thaw(self.compress),
            "decompress": thaw(self.decompress),
            "histogram": list(self.histogram),
            "zswap": thaw(self.zswap),
            "kinds": thaw(self.kinds),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """What `estimate` found; prints as a table with sentences that say how to read it, and settings to paste.

    `index` has source and notes of the capture; `complete` is False when Ctrl-C or the process's exit left
    pages out.
    """

    pages: int
    page_size: int
    chain_size: int
    compressors: tuple[CompressorEstimate, ...]
    index: PageIndex
    timing: Names[int]
    environment: Names[Any]

    def __getitem__(self, name: str) -> CompressorEstimate:
        """Return one compressor's figures, by "zstd" or "zstd:1"; raises `KeyError` naming what there is."""
        (wanted,) = parse_codecs(name)
        for compressor in self.compressors:
            if compressor.codec == wanted:
                return compressor
        raise KeyError(f"{name}: not one of {', '.join(found.codec.text for found in self.compressors)}")

    @property
    def complete(self) -> bool:
        """Whether every page of the source was estimated."""
        return self.index.complete

    @property
    def exit_code(self) -> int:
        """What a command that shows this exits with: 0, or 3 for a partial estimate."""
        return 0 if self.complete else 3

    @cached_property
    def choice(self) -> Choice:
        """The compressor that suits these pages, why, and the settings for it."""
        from kcompressd.settings import choose

        return choose(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the stored form as plain data (docs/formats.md)."""
        return {
            "version": VERSION,
            "kind": "estimate",
            "pages": self.pages,
            "page_size": self.page_size,
            "chain_size": self.chain_size,
            "complete": self.complete,
            "reason": self.index.reason,
            "compressors": [compressor.to_dict() for compressor in self.compressors],
            "choice": self.choice.to_dict(),
            "timing": thaw(self.timing),
            "environment": thaw(self.environment),
            "notes": list(self.index.notes),
        }

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Return a line per compressor under a line of names, comma-separated."""
        out = io.StringIO()
        rows = self._rows()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    def to_markdown(self) -> str:
        """Return the table and its sentences as Markdown."""
        from kcompressd import estimate_report

        return estimate_report.markdown(self)

    def __repr__(self) -> str:
        """Say what was estimated."""
        return f"<Estimate of {counted(self.pages, 'page')}: {', '.join(c.codec.text for c in self.compressors)}>"

    def __str__(self) -> str:
        """Return table, sentences and settings as plain text."""
        from kcompressd import estimate_report

        return estimate_report.text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table for rich."""
        from kcompressd import estimate_report

        yield from estimate_report.parts(self)

    def columns(self) -> Columns:
        """Return a table with a row for each compressor, names joined by dots."""
        from kcompressd.columns import Columns

        return Columns.of_rows(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        """The figures of each compressor but those by size and by kind."""
        from kcompressd.columns import flat

        left_out = ("histogram", "kinds")
        figures = (compressor.to_dict() for compressor in self.compressors)
        return [flat({name: value for name, value in of_it.items() if name not in left_out}) for of_it in figures]

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as an Arrow stream."""
        return self.columns().__arrow_c_stream__(requested_schema)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML file's text."""
        from kcompressd.html import of_estimate

        return of_estimate.document(self)

    def _repr_html_(self) -> str:
        from kcompressd.html import of_estimate

        return of_estimate.fragment(self)


def estimate(
    pages: Pages | PageStats | npt.NDArray[np.uint8],
    compressors: str | Sequence[str] | None = None,
    *,
    threads: int | None = None,
    chain_size: int = CHAIN_SIZE,
    progress: Count | bool = False,
) -> Estimate:
    """Estimate what zram and zswap would make of `pages` (a `Pages`, uint8 of shape (n, page_size), or the
    stats of an earlier capture) with each of `compressors`: "lz4,zstd:1" or a sequence; default
    `DEFAULT_COMPRESSORS`, or all that the stats have.

    `threads` (default: every CPU that this process may use) measure; `chain_size` is the kernel's
    CONFIG_ZSMALLOC_CHAIN_SIZE, 4 to 16, or 0 for kernels before 6.3; `progress` a callback, or True for a bar on standard error. Ctrl-C
    raises `RunInterrupted`, whose `result` is the estimate of the pages that were done. Raises `CodecError`
    for compressors and levels that do not exist, and `EstimateError`.
    """
    if chain_size not in CHAIN_SIZES:
        raise EstimateError("chain size", f"{chain_size} is neither from 4 to 16 pages nor 0 (kernels before 6.3)")
    if isinstance(pages, PageStats):
        return of_stats(pages, compressors, chain_size=chain_size)
    given = pages if isinstance(pages, Pages) else Pages.from_array(pages, copy=False)
    asked = DEFAULT_COMPRESSORS if compressors is None else compressors
    try:
        stats = measure(given, asked, threads=threads, progress=progress)
    except RunInterrupted as interrupted:
        assert isinstance(interrupted.result, PageStats)
        raise RunInterrupted(of_stats(interrupted.result, chain_size=chain_size)) from None
    return of_stats(stats, chain_size=chain_size)


def of_stats(
    stats: PageStats, compressors: str | Sequence[str] | None = None, *, chain_size: int = CHAIN_SIZE
) -> Estimate:
    """Return the estimate of what was measured; raises `EstimateError` for a compressor that was not."""
    codecs = stats.codecs if compressors is None else parse_codecs(compressors)
    return Estimate(
        pages=len(stats),
        page_size=stats.page_size,
        chain_size=int(chain_size),
        compressors=tuple(_compressor(stats, codec, chain_size) for codec in codecs),
        index=stats.index,
        timing=freeze(stats.timing),
        environment=freeze(stats.environment),
    )


def _compressor(stats: PageStats, codec: Codec, chain_size: int) -> CompressorEstimate:
    row, same = stats.position(codec), stats.same
    size = stats.size[row]
    found = _core.account(stats.page_size, chain_size, same, size, stats.compress_ns[row], stats.decompress_ns[row])
    charged = np.frombuffer(found["charged"], dtype="<u4")
    step = stats.page_size // BINS
    bins = (charged[same == 0].astype(np.int64) + step - 1) // step - 1
    return CompressorEstimate(
        codec=codec,
        mm_stat=freeze(found["mm_stat"]),
        zswap=freeze(found["zswap"]),
        charged=charged,
        histogram=tuple(np.bincount(bins, minlength=BINS).tolist()),
        incompressible_pages=int(np.count_nonzero((size >= stats.page_size) & (same == 0))),
        compress=freeze(found["compress"]),
        decompress=freeze(found["decompress"]),
        kinds=freeze(_by_kind(stats, charged)),
    )


def _by_kind(stats: PageStats, charged: npt.NDArray[np.uint32]) -> dict[str, dict[str, int]]:
    kinds = {}
    for number, kind in (*enumerate(KINDS), (UNKNOWN_KIND, "unknown")):
        of = stats.kind == number
        if not of.any() or (kind == "unknown" and of.all()):
            continue
        kinds[kind] = {
            "pages": int(np.count_nonzero(of)),
            "compr_data_size": int(charged[of].sum()),
            "same_pages": int(np.count_nonzero(stats.same[of])),
            "huge_pages": int(np.count_nonzero(charged[of] == stats.page_size)),
        }
    return kinds
