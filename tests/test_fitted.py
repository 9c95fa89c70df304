"""A terminal that is too narrow for a table is shown all of it, in parts: no figure is cut."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from kcompressd import Job, Pages
from kcompressd.compare import compare_job
from kcompressd.estimate import estimate
from kcompressd.fitted import Fitted

JOB = {"pages": "sample", "store": "zram", "node": {"managed": 1500}, "workload": {"kind": "eater", "pages": 2000}}


def shown(what: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(what)
    return out.getvalue()


@pytest.mark.parametrize("width", [48, 80, 100])
def test_a_comparison_loses_nothing_in_a_narrow_terminal(width: int) -> None:
    found = compare_job(Job.from_dict(JOB), repeats=1)
    narrow, wide = shown(found, width), shown(found, 400)
    assert "…" not in narrow and max(map(len, narrow.splitlines())) <= width
    assert sorted(re.findall(r"\d+\.\d\dx", narrow)) == sorted(re.findall(r"\d+\.\d\dx", wide))
    for design in ("sync", "rfc", "april", "async-store", "split", "unofficial"):
        assert re.search(rf"^ .*\b{design}\b", narrow, re.MULTILINE), design


def test_an_estimate_loses_nothing_either() -> None:
    found = estimate(Pages.sample()[:64], "lz4,zstd")
    narrow = shown(found, 40)
    assert "…" not in narrow and narrow.count("\nlz4 ") >= 4


def test_a_result_loses_nothing_either() -> None:
    found = Job.from_dict(JOB).sim()
    narrow, wide = shown(found, 40), shown(found, 400)
    assert "…" not in narrow and max(map(len, narrow.splitlines())) <= 40
    assert sorted(re.findall(r"[\d.]+", narrow)) == sorted(re.findall(r"[\d.]+", wide))


def test_each_part_has_the_first_columns_and_the_last_the_caption() -> None:
    table = Table(box=None, pad_edge=False, caption="said")
    for heading in ("design", "cpus", "first figure", "second figure"):
        table.add_column(heading)
    table.add_row("split", "2", "1 MiB/s", "2 MiB/s")
    lines = [line.split() for line in shown(Fitted(table, keep=2), 30).splitlines()]
    assert lines == [
        ["design", "cpus", "first", "figure"],
        ["split", "2", "1", "MiB/s"],
        [],
        ["design", "cpus", "second", "figure"],
        ["split", "2", "2", "MiB/s"],
        ["said"],
    ]
    assert shown(Fitted(table, keep=2), 80).count("design") == 1
