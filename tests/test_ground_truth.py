"""Reclaim in virtual time against a real kernel's counters: the table of `make fidelity`, with the bounds that hold.

Needs `py.pages.zst` of the shared corpora (KCOMPRESSD_SHARED, or `../shared` beside the repository).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

NOT_YET = {(24, "exit_referenced_activated"), (256, "exit_dirty")}
"""Bounds of the issue that are not met, by depth and row (docs/fidelity.md). At depth 24 a guest whose eater's own pages ours has is beyond the bound as well.
A failed write of the reclaimer's own at depth 256 is in a third of our boots, so that the median is none, and in each of the kernel's runs: there
kernel threads have some too, which ours has not."""


@cache
def fidelity() -> ModuleType:
    """Return `tools/fidelity.py`, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("fidelity_tool", Path(__file__).parents[1] / "tools/fidelity.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_ground_truth_s_bounds_hold() -> None:
    tool = fidelity()
    if not tool.CORPUS.is_file():
        pytest.skip(f"needs {tool.CORPUS.name} (KCOMPRESSD_SHARED)")
    ours = {depth: tool.ground_truth(depth) for depth in tool.KERNEL}
    print(tool.table(ours))
    far = {key for key, (away, bound) in tool.deviations(ours).items() if abs(away) > bound}
    assert far == NOT_YET, f"beyond a bound and new: {far - NOT_YET}; within it by now: {NOT_YET - far}"
    assert max(ours[0]["failed writes"]) == 0, "a synchronous kernel has no write errors"
    assert all(min(ours[depth]["failed writes"]) > 1000 for depth in (24, 256)), "the kernel has them with a queue"


def test_the_eater_uses_its_own_pages_at_every_page(tmp_path: Path) -> None:
    """Wherever it wakes they are young again before the next page; none of them takes time or is another's."""
    tool, file = fidelity(), tmp_path / "touches.npy"
    tool.save_touches(file, 7)
    touches = np.load(file)
    ends = np.flatnonzero(touches["page"] < tool.EATEN)
    assert (touches["page"][ends] == np.tile(np.arange(tool.EATEN), 2)).all()
    assert (np.diff(touches["t_ns"])[ends[:-1]] == 7).all() and touches["t_ns"][-1] == 7 * (2 * tool.EATEN - 1)
    assert touches["write"].sum() == len(touches) - tool.EATEN, "pages that are read back alone are not written"
    own = [{page - tool.EATEN for page in part["page"][:-1]} for part in np.split(touches, ends + 1)[:-1]]
    assert own[: tool.EATEN] == [{0, 1, 2, 3}] * tool.EATEN and own[tool.EATEN :] == [{3, 4}] * tool.EATEN


def test_a_row_of_another_design_is_predicted() -> None:
    tool = fidelity()
    if not tool.CORPUS.is_file():
        pytest.skip(f"needs {tool.CORPUS.name} (KCOMPRESSD_SHARED)")
    said = tool.prediction(["--design", "split", "--depth", "24", "--set", "node.swappiness=100"])
    assert said.startswith("split, depth 24, lz4: virtual") and all(f"  {name} " in said for name in tool.KERNEL[0])
