"""Writes the golden Results: ``python tests/golden/results.py [DIRECTORY]`` (default: beside this file).

Real runs, so that other figures come out each time; what names the machine is withheld.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from kcompressd import Lab, Pages
from kcompressd.names import Names

HERE = Path(__file__).parent
LABS = {
    "split-zswap": Lab(design="split", threads=2, pool_limit="12%"),
    "rfc-zram": Lab(design="rfc", threads=2, store="zram", compressor="lz4", fault="shuffled", seed=7),
}


def make(directory: Path) -> None:
    """One run of each lab on 96 pages of the sample."""
    for name, lab in LABS.items():
        result = lab.run(Pages.sample()[::16])
        environment = Names({**result.environment, "cpu": None, "kernel": "6.18.0"})
        dataclasses.replace(result, environment=environment).save(directory / f"{name}.result.json")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
