"""The whole matrix on a large corpus of a real process: every preset, store, compressor and number of threads.

Needs `py.pages.zst` of the shared corpora (KCOMPRESSD_SHARED, or `../shared` beside the repository).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from kcompressd import Lab, Pages, _core

SHARED = Path(os.environ.get("KCOMPRESSD_SHARED") or Path(__file__).parents[2] / "shared")
CORPUS = SHARED / "corpora/py.pages.zst"
pytestmark = pytest.mark.skipif(not CORPUS.is_file(), reason=f"needs {CORPUS.name} (KCOMPRESSD_SHARED)")


@cache
def pages() -> Pages:
    return Pages.from_file(CORPUS)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compressor", ["lz4", "zstd"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_every_page_comes_back_and_the_counters_add_up(design: str, store: str, compressor: str, threads: int) -> None:
    result = Lab(design=design, store=store, compressor=compressor, threads=threads).run(pages())
    assert result.complete, result.error
    assert (list(result.mismatched), result.lifecycle.violations, result.check()) == ([], 0, [])
