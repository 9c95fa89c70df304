"""The sample of pages that the package brings."""

from __future__ import annotations

import re
from importlib import resources

import numpy as np
import zstandard

from kcompressd import demo_process
from kcompressd.pages import Pages


def test_the_sample_is_small_whole_and_mixed() -> None:
    """It agrees with its index, fits the wheel, and spans pages of zeros to pages that do not compress."""
    sample = Pages.sample()
    assert sample is Pages.sample() and 1024 <= len(sample) <= 2048 and sample.page_size == 4096
    assert sum(sample.index.kinds.values()) == len(sample) and set(sample.index.kinds) <= {"anon", "heap"}
    sizes = np.array([len(zstandard.compress(page.tobytes(), 1)) for page in sample])
    assert (sizes < 100).sum() >= 96 and (sizes > 3700).sum() >= 96
    assert ((sizes > 400) & (sizes < 3000)).sum() > len(sample) // 2
    packed = resources.files("kcompressd") / "data" / "sample.pages.zst"
    assert len(packed.read_bytes()) <= 3 << 19


def test_the_sample_holds_nothing_but_our_own_words() -> None:
    """No text of the interpreter or of the machine that made it; the index withholds the rest."""
    sample = Pages.sample()
    source = sample.index.source
    assert source.pid is None and source.kernel is None and source.cmdline is None
    assert {mapping.name for mapping in sample.index.mappings} == {""}
    ours = " ".join(demo_process.vocabulary(20240607))
    contents = sample.array.tobytes()
    for text in (
        b"Python",
        b"python",
        b"docstring",
        b"opyright",
        b"Traceback",
        b"/home",
        b"/usr",
        b"HOME=",
        b"PATH=",
    ):
        assert text not in contents
    texts = re.findall(rb"\d{10} ([a-z]+)\[\d+\]: ([A-Z][a-z]+(?: [a-z]+)*)\. ", contents)
    words = {word for start, sentence in texts for word in (start + b" " + sentence.lower()).decode().split()}
    assert len(texts) > 100 and words <= set(ours.split())
