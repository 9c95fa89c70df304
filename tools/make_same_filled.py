"""Make the inputs of experiments/same_filled.toml: `python tools/make_same_filled.py`.

`experiments/half_same.pages.zst`: 96 pages of the package's sample at even steps, each after a page of one machine word;
`experiments/all_same.pages.zst`: those pages of a word alone. The words are drawn by a fixed seed, none of them 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kcompressd.pages import Pages

PAGES = 96
SEED = 20261126
OUT = Path(__file__).parents[1] / "experiments"


def main() -> None:
    """Write both files."""
    sample = Pages.sample()
    words = np.random.default_rng(SEED).integers(1, 2**64, PAGES, dtype=np.uint64)
    same = np.repeat(words[:, np.newaxis], sample.page_size // 8, axis=1).view(np.uint8)
    real = sample.array[:: len(sample) // PAGES]
    for name, pages in (("half", np.stack([same, real], axis=1)), ("all", same)):
        Pages.from_array(pages.reshape(-1, sample.page_size)).save(
            OUT / f"{name}_same.pages.zst", index=False, level=19
        )


if __name__ == "__main__":
    main()
