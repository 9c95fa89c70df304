"""Every bug that was put into the definition or the core on purpose is caught: three of the definition's here, all with
KCOMPRESSD_ALL_MUTANTS=1 (make check; those in the core build it once each).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import core_mutants
import pytest
from core_mutants import Mutant
from mutants import PATCHES, ROOT, caught, caught_by_a_run, caught_by_a_script, mutated, without

from kcompressd import lifecycle
from kcompressd.lifecycle import TableError

ALL = os.environ.get("KCOMPRESSD_ALL_MUTANTS") == "1"
QUICK = [patch for patch in PATCHES if patch.stem[:2] in ("03", "07", "25")]


@pytest.mark.parametrize("patch", [*PATCHES, *core_mutants.PATCHES], ids=lambda patch: patch.stem)
def test_no_patch_has_rotted(patch: Path) -> None:
    subprocess.run(["git", "apply", "--check", "--unidiff-zero", str(patch)], cwd=ROOT, check=True)


@pytest.mark.parametrize("patch", PATCHES if ALL else QUICK, ids=lambda patch: patch.stem)
def test_every_bug_is_caught(patch: Path, tmp_path: Path) -> None:
    try:
        table = mutated(patch, tmp_path)
    except TableError:
        return  # the law that means nothing is refused
    assert caught(table) is not None


@pytest.mark.skipif(not ALL, reason="a build each: KCOMPRESSD_ALL_MUTANTS=1")
@pytest.mark.parametrize("patch", core_mutants.PATCHES, ids=lambda patch: patch.stem)
def test_every_bug_of_the_core_is_caught(patch: Path) -> None:
    mutant = Mutant.read(patch)
    assert core_mutants.run(mutant, apply=False) is None, "the check fails without the bug"
    assert core_mutants.run(mutant) is not None


def test_at_least_twenty_bugs_of_one_line() -> None:
    for patch in (*PATCHES, *core_mutants.PATCHES):
        lines = patch.read_text().splitlines()
        changed = [sum(line.startswith(sign) and not line.startswith(sign * 3) for line in lines) for sign in "+-"]
        assert changed == [1, 1], patch
    assert len(PATCHES) >= 8 and len(core_mutants.PATCHES) >= 12


def test_the_law_as_it_is_is_not() -> None:
    assert caught(lifecycle.table().as_dict()) is None


@pytest.mark.parametrize("event", ["store", "queue", "reclaim"])
def test_a_removed_edge_is_a_violation(event: str) -> None:
    rows = lifecycle.table().as_dict()["rows"]
    events = list(lifecycle.EVENTS)
    first = next(at for at, row in enumerate(rows) if events[row[0]] == event)
    assert caught(without(first)) is not None


@pytest.mark.skipif(not ALL, reason="every edge, a minute or more: KCOMPRESSD_ALL_MUTANTS=1")
def test_every_removed_edge_is_a_violation(tmp_path: Path) -> None:
    law = lifecycle.table()
    names = [(law.events[row.event], law.states[row.source], law.states[row.to]) for row in law.rows]
    unnoticed = [
        name
        for row, name in enumerate(names)
        if caught(without(row)) is None
        and caught_by_a_script(without(row)) is None
        and caught_by_a_run(without(row), tmp_path) is None
    ]
    assert unnoticed == []
