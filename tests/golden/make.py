"""Writes the golden traces: ``python tests/golden/make.py [DIRECTORY]`` (default: beside this file)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from walks import complete  # noqa: E402  # tests/ is not a package


def make(directory: Path) -> None:
    """Twelve pages at random for 160 records, then until all are at rest."""
    complete(seed=1, pages=12, steps=160).save(directory / "walk.npy")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
