"""The lab beside what a Python program would do itself: `python benches/lab.py [--quick] [PAGES[.zst] …]`.

Needs the `bench` extra (`pip install '.[bench]'`). Pages of one NumPy array, lz4, two threads each, in turn on the
same array; figures are medians, ratios medians of the pairs' ratios between their quartiles:

- the lab: `Lab(design="split", threads=2)`, pool accounting included. `reclaim` is the reclaim phase alone
  (`timing.bytes_per_s`), `whole call` all of `Lab.run`: copying the pages, the swap file, the threads, freeing all;
- `lz4.block` in a ThreadPoolExecutor, 512 pages a task, and one page a task; blocks are kept in a list;
- blosc2, the whole array in one call: lz4, clevel 9, no filter, typesize 1, blocks of 4 KiB.

Without files: the package's sample, and the corpora of KCOMPRESSD_SHARED or ../shared where they are.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blosc2
import lz4.block
import numpy as np
import numpy.typing as npt

from kcompressd import Lab, Pages

Array = npt.NDArray[np.uint8]
THREADS = 2
CHUNK_PAGES = 512
TARGETS = {"lz4.block, 512 pages a task": 1.5, "lz4.block, a page a task": 8.0, "blosc2": 1.0}


def compress_chunk(pages: Array) -> list[bytes]:
    """Compress each page of a chunk; returns the blocks."""
    return [lz4.block.compress(page, store_size=False) for page in pages]


def in_chunks(pages: Array, pool: ThreadPoolExecutor, chunk_pages: int) -> float:
    """Return the seconds that the pool took for all pages."""
    start = time.perf_counter()
    chunks = (pages[at : at + chunk_pages] for at in range(0, len(pages), chunk_pages))
    blocks = list(pool.map(compress_chunk, chunks))
    seconds = time.perf_counter() - start
    assert sum(map(len, blocks)) == len(pages)
    return seconds


def with_blosc2(pages: Array) -> float:
    """Return the seconds of one call of blosc2."""
    params = {"codec": blosc2.Codec.LZ4, "clevel": 9, "filters": [blosc2.Filter.NOFILTER], "typesize": 1}
    start = time.perf_counter()
    packed = blosc2.compress2(pages, **params, blocksize=pages.shape[1], nthreads=THREADS)
    seconds = time.perf_counter() - start
    assert len(packed) > 0
    return seconds


def in_the_lab(pages: Array) -> tuple[float, float]:
    """Return the seconds of the reclaim phase, and of the whole call."""
    lab = Lab(design="split", threads=THREADS, fault="none", verify=False, warm=True)
    start = time.perf_counter()
    result = lab.run(pages)
    seconds = time.perf_counter() - start
    assert result.complete and result.check() == []
    return pages.nbytes / result.timing.bytes_per_s, seconds


def quartiles(values: list[float]) -> str:
    """Return "median (first quartile to third)"."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def compare(name: str, pages: Array, rival: str, run: Callable[[], float], pairs: int) -> None:
    """Run both in turn and print a row."""
    times = []
    run(), in_the_lab(pages)
    for pair in range(pairs):
        first = run() if pair % 2 else None
        ours = in_the_lab(pages)
        times.append((*ours, run() if first is None else first))
    reclaim, whole, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    rates = " ".join(f"{pages.nbytes / seconds / 1e6:>10.0f}" for seconds in (reclaim, whole, theirs))
    ratios = [quartiles([row[2] / row[side] for row in times]) for side in (0, 1)]
    print(f"{name:>8} {rival:>28} {TARGETS[rival]:>6} {rates} {ratios[0]:>22} {ratios[1]:>22}", flush=True)


def corpora(files: list[str]) -> list[Path]:
    """Return the files given, or those that are known."""
    here = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("KCOMPRESSD_SHARED") or here.parent / "shared") / "corpora"
    known = [here / "python/kcompressd/data/sample.pages.zst", shared / "py.pages.zst", shared / "node.pages.zst"]
    return [Path(file) for file in files] or [path for path in known if path.is_file()]


def main(args: list[str]) -> None:
    """Print the table."""
    pairs = 3 if "--quick" in args else 25
    print(f"the lab against Python's ways, lz4, {THREADS} threads each; MB/s; medians of {pairs} pairs")
    heads = f"{'reclaim':>10} {'whole call':>10} {'rival':>10} {'reclaim / rival':>22} {'whole call / rival':>22}"
    print(f"{'pages':>8} {'rival':>28} {'target':>6} {heads}")
    for path in corpora([arg for arg in args if not arg.startswith("--")]):
        pages = np.ascontiguousarray(Pages.from_file(path).array)
        name = path.name.split(".")[0]
        with ThreadPoolExecutor(THREADS) as pool:
            rivals: dict[str, Callable[[], float]] = {
                "lz4.block, 512 pages a task": lambda pages=pages, pool=pool: in_chunks(pages, pool, CHUNK_PAGES),
                "lz4.block, a page a task": lambda pages=pages, pool=pool: in_chunks(pages, pool, 1),
                "blosc2": lambda pages=pages: with_blosc2(pages),
            }
            for rival, run in rivals.items():
                compare(name, pages, rival, run, pairs)


if __name__ == "__main__":
    main(sys.argv[1:])
