"""Our figures beside a kernel's own: `mm_stat` and the size of each page, for each compressor.

`of_kernel` asks the running kernel (root; a spare zram device); `against` compares with figures from elsewhere.
What may differ is known, and said in docs/fidelity.md: zstd and lz4hc have been developed further since the
kernel took them, all others are to be equal on every page.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd import _core, environment
from kcompressd.errors import KernelError, RunInterrupted
from kcompressd.estimate import CHAIN_SIZE, CHAIN_SIZES, CompressorEstimate, estimate
from kcompressd.page_stats import Codec, parse_codecs, stored_codec
from kcompressd.pages import Pages
from kcompressd.procfs import available_bytes
from kcompressd.progress import Progress, untold
from kcompressd.zram_device import FIELDS, MmStat, ZramDevice, charged

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

VERSION: Final = 1
"""Of the stored form."""
ALL: Final = ("lz4", "lz4hc", "lzo", "lzo-rle", "zstd", "deflate", "842")
"""The compressors that we have."""
LIMITS: Final[Mapping[str, float]] = {"lz4hc": 1e-3, "zstd": 2e-4}
"""How far the sum of sizes may be from the kernel's, as a share of it; the other compressors' are exact on every page."""
_OLD_ZSTD: Final = 3e-3
"""The same for zstd before Linux 6.2, whose encoder was of 2020."""


@dataclass(frozen=True, eq=False)
class KernelFigures:
    """What a kernel's zram made of pages with one compressor: `mm_stat` at the end, and what each page added to
    `compr_data_size` (uint32, shape (n,)).
    """

    codec: Codec
    mm_stat: MmStat
    charged: npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Difference:
    """One compressor, the kernel's figures and ours."""

    kernel: KernelFigures
    ours: CompressorEstimate
    release: str
    """Of the kernel, as it names itself."""

    @property
    def codec(self) -> Codec:
        """The compressor."""
        return self.kernel.codec

    @property
    def fields(self) -> dict[str, int]:
        """Ours minus the kernel's, by field of mm_stat."""
        return {name: self.ours.mm_stat[name] - self.kernel.mm_stat[name] for name in FIELDS}

    @property
    def pages(self) -> npt.NDArray[np.intp]:
        """The pages whose sizes differ."""
        return np.flatnonzero(self.ours.charged != self.kernel.charged)

    @property
    def limit(self) -> float:
        """The share by which the sum of sizes may differ: 0 where nothing may."""
        is_old = (0, 0) < environment.kernel_version(self.release) < (6, 2)
        return _OLD_ZSTD if is_old and self.codec.name == "zstd" else LIMITS.get(self.codec.name, 0.0)

    @property
    def within(self) -> bool:
        """Whether all is equal, or for zstd and lz4hc the sum of sizes within `limit`."""
        if not self.limit:
            return not (any(self.fields.values()) or self.pages.size)
        off = self.fields
        known = off["orig_data_size"] == off["same_pages"] == 0
        return known and abs(off["compr_data_size"]) <= self.limit * self.kernel.mm_stat["compr_data_size"]

    def to_dict(self) -> dict[str, Any]:
        """Return both sides as plain data."""
        sizes = zip(self.pages.tolist(), self.kernel.charged[self.pages], self.ours.charged[self.pages], strict=True)
        return {
            "name": self.codec.name,
            "level": self.codec.level,
            "kernel": dict(self.kernel.mm_stat),
            "kcompressd": dict(self.ours.mm_stat),
            "difference": self.fields,
            "within": self.within,
            "differing_pages": [[page, int(theirs), int(ours)] for page, theirs, ours in sizes],
            "kernel_sizes": sizes_text(self.kernel.charged),
        }


def sizes_text(sizes: npt.NDArray[np.uint32]) -> str:
    """Return the pages' sizes as stored: little-endian 32-bit words in base64."""
    return base64.b64encode(sizes.astype("<u4").tobytes()).decode()


def figures_of(stored: Mapping[str, Any]) -> list[KernelFigures]:
    """Return the kernel's side of a stored comparison (`Fidelity.to_dict`)."""
    return [
        KernelFigures(
            stored_codec(one),
            one["kernel"],
            np.frombuffer(base64.b64decode(one["kernel_sizes"]), dtype="<u4"),
        )
        for one in stored["compressors"]
    ]


@dataclass(frozen=True, eq=False, repr=False)
class Fidelity:
    """A kernel's figures beside ours; prints as a table.

    `kernel`: release and machine; `chain_size` as found from the kernel's behaviour, and how (`notes`);
    `lacking`: compressors of ours that the kernel's zram does not offer; `complete`: nobody ended it early.
    """

    pages: int
    page_size: int
    digest: str
    kernel: str
    chain_size: int
    differences: tuple[Difference, ...]
    lacking: tuple[str, ...]
    notes: tuple[str, ...]
    complete: bool = True

    @property
    def exit_code(self) -> int:
        """What a command that shows this exits with: 0, 1 when something differs that should not, else 3 when it is partial."""
        if not all(difference.within for difference in self.differences):
            return 1
        return 0 if self.complete else 3

    def to_dict(self) -> dict[str, Any]:
        """Return the stored form as plain data (docs/formats.md)."""
        return {
            "version": VERSION,
            "kind": "fidelity",
            "kernel": self.kernel,
            "chain_size": self.chain_size,
            "pages": self.pages,
            "page_size": self.page_size,
            "digest": self.digest,
            "compressors": [difference.to_dict() for difference in self.differences],
            "lacking": list(self.lacking),
            "notes": list(self.notes),
            "complete": self.complete,
        }

    def to_json(self) -> str:
        """Return `to_dict` as text, a line for each page that differs."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        return re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3]", text) + "\n"

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        from kcompressd import fidelity_report

        return fidelity_report.markdown(self)

    def __repr__(self) -> str:
        """Say what was compared."""
        return f"<Fidelity to Linux {self.kernel}: {', '.join(one.codec.text for one in self.differences)}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table for rich."""
        from kcompressd import fidelity_report

        yield from fidelity_report.parts(self)


def of_kernel(
    pages: Pages, compressors: str | Sequence[str] | None = None, *, progress: Progress | None = None
) -> Fidelity:
    """Write `pages` in order to a spare zram device of the running kernel, once a compressor (default: all that
    both have), and compare with our figures. `progress` is called with the compressor, the pages done and all.

    Raises `KernelError` when there is no root, no zram, none of the compressors, or too little memory, and on Ctrl-C
    `RunInterrupted` with the Fidelity of the compressors that were done, if one was.
    """
    asked = parse_codecs(ALL if compressors is None else compressors)
    _refuse_too_large(pages)
    with ZramDevice() as device:
        offered = device.algorithms()
        present = [codec for codec in asked if codec.name in offered]
        if not present:
            names = ", ".join(codec.text for codec in asked)
            raise KernelError(names, f"this kernel's zram offers {' '.join(offered)} only", f"-c {offered[0]}")
        chain_size, note = find_chain_size(device, present[0])
        figures: list[KernelFigures] = []
        with contextlib.suppress(KeyboardInterrupt):
            for codec in present:
                figures.append(_figures(device, codec, pages, progress))
    if not figures:
        raise KeyboardInterrupt
    lacking = tuple(dict.fromkeys(codec.name for codec in asked if codec.name not in offered))
    notes = [note] if note else []
    complete = len(figures) == len(present)
    if not complete:
        notes.append(f"interrupted: {len(figures)} of {len(present)} compressors were compared")
    found = against(pages, figures, kernel=_release(), chain_size=chain_size, lacking=lacking, notes=tuple(notes))
    if not complete:
        raise RunInterrupted(dataclasses.replace(found, complete=False))
    return found


def against(
    pages: Pages,
    figures: Sequence[KernelFigures],
    *,
    kernel: str,
    chain_size: int = CHAIN_SIZE,
    lacking: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Fidelity:
    """Compare figures of a kernel with ours of the same pages."""
    ours = estimate(pages, [one.codec.text for one in figures], chain_size=chain_size)
    return Fidelity(
        pages=len(pages),
        page_size=pages.page_size,
        digest=pages.digest,
        kernel=kernel,
        chain_size=chain_size,
        differences=tuple(Difference(theirs, ours[theirs.codec.text], kernel) for theirs in figures),
        lacking=lacking,
        notes=notes,
    )


def _figures(device: ZramDevice, codec: Codec, pages: Pages, progress: Progress | None) -> KernelFigures:
    report = progress or untold
    device.setup(codec, pages.nbytes)
    stats = list(device.write(pages, lambda done: report(codec.text, done, len(pages))))
    return KernelFigures(codec, stats[-1], charged(stats))


def find_chain_size(device: ZramDevice, codec: Codec) -> tuple[int, str]:
    """Return CONFIG_ZSMALLOC_CHAIN_SIZE as the kernel behaves, and a note when that is not certain."""
    probes = noise_pages(os.sysconf("SC_PAGE_SIZE"))
    device.setup(codec, probes.page_size)
    return chain_size_of(device.write(probes, lambda done: None, sector=0), probes.page_size)


def chain_size_of(stats: Iterable[MmStat], page_size: int) -> tuple[int, str]:
    """Return the chain size that explains `mm_stat` of devices that hold one of `noise_pages` each, and a note.

    `mem_used_total` is then one zspage of the page's size class, and which classes have how many pages
    depends on the chain size.
    """
    seen = {stat["compr_data_size"]: stat["mem_used_total"] for stat in stats}
    sizes = sorted(size for size in seen if 0 < size < page_size)
    fits = [chain for chain in CHAIN_SIZES if all(zspage_bytes(page_size, chain, size) == seen[size] for size in sizes)]
    if len(fits) == 1:
        return fits[0], ""
    if fits:
        return fits[0], f"chain sizes {fits} behave alike on every probe; {fits[0]} is taken"
    return CHAIN_SIZE, "no chain size explains this kernel's zspages; the default of 8 is taken"


def noise_pages(page_size: int) -> Pages:
    """Return a page for each length of noise at its start, zeroes after it: compressed sizes of every class."""
    noise = np.random.default_rng(1).integers(0, 256, page_size, dtype=np.uint8)
    lengths = np.arange(8, page_size, page_size // 512)
    kept = np.arange(page_size)[None, :] < lengths[:, None]
    return Pages.from_array(np.where(kept, noise, 0).astype(np.uint8), copy=False)


def zspage_bytes(page_size: int, chain_size: int, size: int) -> int:
    """Return the bytes of a zspage of the class that an object of `size` bytes (without its handle) is in."""
    zero = np.zeros(1, dtype=np.uint32)
    found = _core.account(page_size, chain_size, np.zeros(1, dtype=np.uint8), zero + np.uint32(size), zero, zero)
    return int(found["mm_stat"]["mem_used_total"])


def _refuse_too_large(pages: Pages) -> None:
    page_size = os.sysconf("SC_PAGE_SIZE")
    if pages.page_size != page_size:
        raise KernelError(
            "pages", f"are of {pages.page_size} bytes, this kernel's of {page_size}", f"add --page-size {page_size}"
        )
    if pages.nbytes > available_bytes() // 2:
        fix = f"--limit {available_bytes() // 2 // page_size}"
        raise KernelError("pages", f"{pages.nbytes >> 20} MiB may need most of the memory that is available", fix)


def _release() -> str:
    return f"{platform.release()} {platform.machine()}"
