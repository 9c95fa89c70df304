"""What several applications came to, one by one: in results, comparisons and their reports."""

from __future__ import annotations

import html
import io
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from kcompressd import Job, Result, applications, taken
from kcompressd.compare import compare_job
from kcompressd.comparison import Comparison

TREE: dict[str, Any] = {
    "pages": "sample",
    "store": "zram",
    "design": "split",
    "node": {"managed": 3000, "cpus": 2},
    "memcg": [{"name": "fg"}],
    "workload": [
        {"kind": "zipf", "name": "browser <1>", "memcg": "fg", "pages": 1500, "working_set": 400},
        {"kind": "burst", "name": "camera", "pages": 2200, "deadline_ns": 1_000_000},
    ],
}
BROWSER, CAMERA = "browser <1>", "camera"


@pytest.fixture(scope="module")
def result() -> Result:
    return Job.from_dict(TREE).sim()


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_job(Job.from_dict(TREE), ["sync", "split"], repeats=1)


def test_measures_are_the_applications_own(result: Result) -> None:
    browser, camera = result.applications
    found = {
        m.name: m.of(result) for name in applications.names([result]) for m in applications.measures(name, [result])
    }
    assert found[f"{BROWSER}.touch_p999_ns"] == browser.touch_ns.p999
    assert found[f"{BROWSER}.took_ns"] == browser.end_ns
    assert found[f"{CAMERA}.stall_ns"] == camera.stall_ns > 0
    assert found[f"{CAMERA}.late_ns"] == camera.late_ns > 0
    assert f"{BROWSER}.late_ns" not in found
    assert not any(name.endswith("oom_kill") for name in found)


def test_only_applications_that_do_the_same_are_slow_and_fast(result: Result) -> None:
    """A launch that is over sooner than what runs beside it is no unfairness."""
    assert taken.slowest(result) is None
    equal = [{**TREE["workload"][0], "name": name, "memcg": memcg} for name, memcg in (("a", "fg"), ("b", "/"))]
    found = Job.from_dict({**TREE, "workload": equal}).sim()
    a, b = (app.end_ns for app in found.applications)
    assert taken.slowest(found) == max(a, b) / min(a, b) > 1


def test_a_table_has_each_measure_in_words_and_a_dash_for_none(result: Result) -> None:
    headings, rows = applications.table(result)
    cells = dict(zip(headings[1:], zip(*(row for _, row in rows), strict=True), strict=True))
    late = applications.measures(CAMERA, [result])
    title, said = next((m.title, m.text(m.of(result) or 0)) for m in late if m.name == f"{CAMERA}.late_ns")
    assert cells[title] == (("-", None), (said, result.applications[1].late_ns))


def test_names_are_those_that_all_results_have(result: Result) -> None:
    other = Job.from_dict({**TREE, "workload": TREE["workload"][1:]}).sim()
    assert applications.names([result, other]) == [CAMERA]
    assert applications.names([]) == []
    assert applications.described(result, BROWSER) == f"{BROWSER} (zipf, fg)"


def test_a_run_prints_a_line_and_its_report_a_row_for_each(result: Result) -> None:
    lines = [line for line in str(result).splitlines() if line.startswith((BROWSER, CAMERA))]
    assert [line.split("  ")[0] for line in lines] == [f"{BROWSER} (zipf, fg)", f"{CAMERA} (burst)"]
    section = _section(result.to_html())
    assert html.escape(BROWSER, quote=False) in section
    assert "One touch in a thousand takes longer" in section
    assert "Stalled on memory" in section


def test_a_comparison_sets_each_beside_the_baseline(comparison: Comparison) -> None:
    out = io.StringIO()
    Console(file=out, width=140, color_system=None).print(comparison)
    (tail,) = (line for line in out.getvalue().splitlines() if line.startswith(f"{CAMERA}: touch p99.9"))
    sync, split = (entry.last.applications[1].touch_ns.p999 for entry in comparison.entries)
    assert f"{split / sync:.2f}x" in tail
    assert _section(comparison.to_html()).count("<caption>") == 2


def test_one_application_alone_is_said_once(comparison: Comparison) -> None:
    alone = compare_job(Job.from_dict({**TREE, "workload": TREE["workload"][1:]}), ["sync"])
    assert f"{CAMERA}: " in str(comparison)
    assert f"{CAMERA}: " not in str(alone)


def _section(report: str) -> str:
    """Return the report's section about applications, which is well-formed."""
    (found,) = re.findall(r'<section id="applications">.*?</section>', report, re.DOTALL)
    ElementTree.fromstring(found)
    return str(found)
