"""Reports: one file, well-formed, nothing fetched, everything escaped, every number readable without scripts."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Job, Lab, Pages, Result, lifecycle, report, series
from kcompressd.cli import main
from kcompressd.compare import compare, compare_job
from kcompressd.comparison import Comparison, Entry
from kcompressd.estimate import estimate
from kcompressd.html import of_sweep, scale
from kcompressd.html.bars import Bar, bars, histogram
from kcompressd.html.elements import Markup, join, tag
from kcompressd.html.lines import HEIGHT, WIDTH, Line, lines, thinned
from kcompressd.html.over_time import COLORS, colors
from kcompressd.html.page import bullets
from kcompressd.html.scatter import Point, _box, scatter
from kcompressd.html.standalone import picture
from kcompressd.html.table import Cell, table
from kcompressd.names import freeze
from kcompressd.sweep import sweep
from kcompressd.trace import SYSTEM, Trace

PAGES = Pages.sample()[::8]
VOID = {"meta", "line", "rect", "path", "circle", "br"}
GOLDEN = Path(__file__).parent / "golden"


class Reader(HTMLParser):
    """Checks that elements nest, and keeps what a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.ids += [value or "" for key, value in attributes if key == "id"]
        self.links += [value or "" for key, value in attributes if key in ("href", "src", "data", "action", "srcset")]
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert name in VOID or self.open.pop() == name

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(name, attributes)

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.seen)


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    """A report of each kind."""
    return {
        "traced run": Lab(threads=2, trace=True, pool_limit="15%").run(PAGES).to_html(),
        "run": Lab(design="april", store="zram").run(PAGES).to_html(),
        "comparison": compare(PAGES, ["rfc", "split"], lab=Lab(store="zram")).to_html(),
        "estimate": estimate(PAGES, "lz4,zstd:1,lzo-rle").to_html(),
    }


def test_a_report_is_one_well_formed_file_that_fetches_nothing(documents: dict[str, str]) -> None:
    for text in documents.values():
        read = Reader(text)
        assert text.startswith("<!DOCTYPE html>") and {"html", "head", "body", "main", "svg", "table"} <= set(read.tags)
        assert read.links == [] and len(set(read.ids)) == len(read.ids)
        assert not re.search(r"url\(|@import|fetch\(|XMLHttp|https?://(?!www\.w3\.org/2000/svg)", text)
        assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_nothing_is_drawn_outside_its_chart(documents: dict[str, str]) -> None:
    lines = {kind: re.findall(r'<path d="([^"]*)" class="line', text) for kind, text in documents.items()}
    assert sum(map(bool, lines.values())) > 1, "reports with lines"
    for kind, text in documents.items():
        for path in lines[kind]:
            points = [tuple(map(float, point.split())) for point in path[1:].split("L")]
            assert points and all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        for x, width in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text):
            assert float(x) + float(width) <= WIDTH
        assert "nan" not in " ".join(re.findall(r'(?:d|x|y|width|height)="([^"]*)"', text))


def test_a_level_is_never_below_zero_when_threads_clocks_cross() -> None:
    trace = Lab(threads=2, trace=True).run(PAGES).trace
    assert trace is not None
    early = trace.records.copy()
    first_ns = early["t_ns"][early["folio"] != SYSTEM].min()
    early["t_ns"][early["event"] == list(lifecycle.EVENTS).index("compress")] = first_ns
    levels = series.of_trace(Trace(early, trace.meta)).values
    assert levels["queue_len"].min() == 0.0 < levels["queue_len"].max()


def test_a_run_s_report_says_every_counter() -> None:
    result = Lab(threads=2, trace=True).run(PAGES)
    said = Reader(result.to_html()).text
    assert result.zswap is not None
    for counters in (result.vmstat, result.zswap, result.lifecycle.by_event):
        assert [name for name, n in counters.items() if n and not re.search(rf"\b{name}\b.*\b{n}\b", said)] == []
    assert "no violation" in said and "Pages by compressed size" in said and "Queue depth" in said


def test_a_comparison_under_pressure_draws_stalls_over_time_and_cpu_by_thread() -> None:
    """Each thread has a part of its own in its design's bar, and stalls are there as a count and as time."""
    eater = {"kind": "eater", "pages": 2400}
    job = Job.from_dict({"pages": "sample", "threads": 2, "node": {"managed": 1500, "cpus": 4}, "workload": eater})
    said = compare_job(job, ["split"], repeats=2).to_html()
    drawn = Reader(said)
    for title in (
        "Allocation stalls, in all",
        "Time stalled in direct reclaim, in all",
        "Queue depth, folios",
        "Of the last of 2 boots; tables and bars have medians of all.",
    ):
        assert title in drawn.seen
    assert "Fault p99" not in drawn.seen, "there is no fault phase"
    chart = said[said.index("<figcaption>Allocation stalls<") :]
    assert chart[: chart.index("</svg>")].count("v8M") == 2, "both designs' spread of two boots"
    for thread in ("sync kswapd0", "split kswapd0", "split kcompressd0", "split kcompressd1", "split app0"):
        assert re.search(rf"<rect[^>]*><title>{thread} \S+ \S+</title>", said), thread


def test_a_run_under_pressure_says_how_long_and_whose_time_is_whose() -> None:
    eater = {"kind": "eater", "pages": 2400}
    result = Job.from_dict({"pages": "sample", "node": {"managed": 1500}, "workload": eater}).sim()
    drawn = Reader(result.to_html())
    rows = report.shortages(result)
    assert [name for name, _ in rows if name.startswith("stalled on memory")]
    for name, value in rows:
        assert drawn.seen.count(name) == 1 and value in drawn.seen
    assert "applications, their faults and direct reclaim" in drawn.seen
    assert "of the input" in drawn.seen and "reclaimed" not in drawn.seen
    assert "touch, a page" in drawn.seen and "fault, a page" not in drawn.seen, "a pace is no latency"


@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_what_the_pool_holds_is_what_is_stored(store: str) -> None:
    """Some pages are resident alone when such a run ends."""
    job = {"pages": "sample", "store": store, "node": {"managed": 1500}, "workload": {"kind": "eater", "pages": 2400}}
    result = Job.from_dict(job).sim()
    stored = result.zswap.stored_pages * 4096 if result.zswap is not None else result.zram.mm_stat.orig_data_size
    assert 0 < stored < 2400 * 4096
    assert f"hold {scale.size(stored)}" in Reader(result.to_html()).seen


def test_free_memory_is_drawn_against_the_watermarks() -> None:
    """The lines are where the axis says, and rise from min to high; what is far above them is cut where some is near."""
    eater = {"kind": "eater", "pages": 2400}
    near = Job.from_dict({"pages": "sample", "node": {"managed": 1500}, "workload": eater}).sim()
    never = Job.from_dict({"pages": "sample", "node": {"managed": 15000}, "workload": eater}).sim()
    for result, cut in ((near, True), (never, False)):
        text = result.to_html()
        assert text.count(">Free</figcaption>") == 0
        figure = text[text.index("<figcaption>Free, and the watermarks") :].partition("</figure>")[0]
        high = float(re.search(r'data-high="\S+ (\S+)"', figure)[1])
        level = re.findall(r'd="M54.0 (\S+)L\S+ \1" class="line s\d dashed" data-name="(?:min|low|high)"', figure)
        drawn = [(HEIGHT - 24 - float(y)) / (HEIGHT - 32) * high for y in level]
        marks = [mark * 4096 for mark in result.config.node.watermarks]
        assert drawn == pytest.approx(marks, abs=high / 1000) and ("cut at 4 times" in figure) == cut
        assert all(
            f"{name} {scale.size(mark)}" in figure for name, mark in zip(("min", "low", "high"), marks, strict=True)
        )
        assert (high < 6 * marks[2]) == cut


def test_a_traced_run_draws_what_is_only_sampled_as_well(tmp_path: Path) -> None:
    """Free memory is in no trace: `run --html` records one, and drew none."""
    eater = {"kind": "eater", "pages": 2400}
    job = Job.from_dict({"pages": "sample", "node": {"managed": 1500}, "workload": eater})
    plain = job.sim(trace=tmp_path / "t.npy")
    result = plain.with_trace(Trace.load(tmp_path / "t.npy"))
    assert not plain.has_trace and result.has_trace
    seen = Reader(result.to_html()).seen
    for title in (
        "Free, and the watermarks",
        "Pool",
        "Allocation stalls, per second",
        "Freed, per second",
        "Queue depth, folios",
    ):
        assert seen.count(title) == 1, title
    assert any(f"is from {len(result.series.t_ns)} samples" in text for text in seen)
    few = dataclasses.replace(result, series=freeze({name: values[:3] for name, values in result.series.items()}))
    assert "Free, and the watermarks" not in Reader(few.to_html()).seen
    assert not any("samples" in text for text in Reader(few.to_html()).seen)


def test_a_partial_and_a_bad_run_say_so() -> None:
    data = json.loads((GOLDEN / "split-zswap.result.json").read_text())
    stopped = {"kind": "cancelled", "message": "cancelled before its end", "actor": ""}
    partial = Result.from_dict(data | {"complete": False, "error": stopped})
    assert "Partial: the run ended before its end." in Reader(partial.to_html()).text
    wrong = Result.from_dict(data | {"mismatched": [3]})
    assert "1 page came back different" in Reader(wrong.to_html()).text


def test_everything_that_comes_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&"
    data: dict[str, Any] = json.loads((GOLDEN / "split-zswap.result.json").read_text())
    data["notes"], data["errors"] = [evil], [evil]
    data["environment"]["cpu"] = data["config"]["preset"] = data["config"]["compressor"] = evil
    data["threads"][0]["actor"] = evil
    data["vmstat"][evil] = 7
    data["series"]["<i>"] = [1] * len(data["series"]["t_ns"])
    result = Result.from_dict(data)
    runs = (result,)
    for text in (result.to_html(), Comparison((Entry(evil, runs, runs, evil),), {}, evil).to_html()):
        assert Reader(text).tags.count("script") == 1 and "alert(1)" in Reader(text).text
        assert "<i>" not in text


def test_elements_escape_what_is_not_markup() -> None:
    assert tag("p", "a<b", None, tag("b", "&"), title='"x"', hidden=True, lang=None) == (
        '<p title="&quot;x&quot;" hidden>a&lt;b<b>&amp;</b></p>'
    )
    assert tag("path", d="M0 0", class_="line") == '<path d="M0 0" class="line"/>'
    assert join(["<", Markup("<")]) == "&lt;<"


@settings(deadline=None)
@given(st.floats(1e-9, 1e18), st.integers(2, 8))
def test_ticks_are_round_and_reach_the_top(high: float, about: int) -> None:
    found = scale.ticks(high, about)
    step = found[1]
    assert found[0] == 0 and found[-1] >= high * (1 - 1e-6) and found[-2] < high
    assert np.allclose(np.diff(found), step) and len(found) <= about + 1
    assert f"{step:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")


@pytest.mark.parametrize("high", [0.0, -1.0, float("nan"), float("inf")])
def test_an_axis_without_values_is_still_one(high: float) -> None:
    assert scale.ticks(high) == [0.0, 1.0]


def test_numbers_are_short() -> None:
    assert [scale.number(v) for v in (0, 7, 999, 999.6, 12345, 1e6)] == ["0", "7", "999", "1k", "12.3k", "1M"]
    assert [scale.number(v) for v in scale.ticks(0.013)] == ["0", "0.005", "0.01", "0.015"]
    assert [scale.size(v) for v in (0, 512, 2**20, 1536 * 2**20)] == ["0", "512 B", "1 MiB", "1.5 GiB"]
    assert [scale.time(v) for v in (0, 12, 3.3e3, 5e7, 2e9)] == ["0", "12 ns", "3.3 µs", "50 ms", "2 s"]
    assert scale.percent(0.123) == "12.3 %"


@pytest.mark.parametrize(
    ("high", "labels"),
    [
        (1016 * 2**10, "0, 256 KiB, 512 KiB, 768 KiB, 1 MiB"),
        (600 * 2**20, "0, 256 MiB, 512 MiB, 768 MiB"),
        (1000, "0, 256 B, 512 B, 768 B, 1 KiB"),
        (400, "0, 100 B, 200 B, 300 B, 400 B"),
        (5 * 2**20, "0, 2 MiB, 4 MiB, 6 MiB"),
    ],
)
def test_sizes_on_an_axis_are_round_in_their_unit(high: float, labels: str) -> None:
    axis = scale.Axis.upto(high, 100.0, unit=scale.unit(scale.size, high))
    assert ", ".join(map(scale.size, axis.marks)) == labels


def test_a_line_of_few_points_shows_where_they_are() -> None:
    """So that what was measured is told from what was drawn between."""
    assert [
        Reader(lines("t", [Line("a", np.arange(n) + 1.0, np.ones(n))])).tags.count("circle") for n in (3, 16, 17)
    ] == [3, 16, 0]
    assert "circle" not in Reader(lines("t", [Line("mark", np.ones(2), np.ones(2), dashed=True)])).tags


@settings(deadline=None)
@given(st.lists(st.integers(-5, 1000), min_size=1, max_size=2000), st.integers(2, 60))
def test_a_thinned_line_keeps_ends_and_peaks(values: list[int], buckets: int) -> None:
    x, y = np.arange(len(values), dtype=np.float64), np.array(values, dtype=np.float64)
    few_x, few_y = thinned(x, y, buckets)
    assert len(few_x) <= max(len(x) if len(x) <= 2 * buckets else 0, 2 * buckets + 2)
    assert (few_y.min(), few_y.max()) == (y.min(), y.max())
    assert (few_x[0], few_x[-1]) == (x[0], x[-1]) and (np.diff(few_x) > 0).all()
    assert np.array_equal(y[few_x.astype(int)], few_y)


def test_charts_of_nothing_and_of_one_point_are_drawn() -> None:
    none, one = np.zeros(0), np.ones(1)
    for drawn in (
        lines("t", []),
        lines("t", [Line("a", none, none), Line("b", one, one)]),
        bars("t", []),
        bars("t", [Bar("a", ((0.0, 1),), (0.0, 0.0))]),
        histogram("t", [], ("0", "1", "2")),
        histogram("t", [0, 0], ("0", "1", "2")),
        scatter("t", []),
        scatter("t", [Point("a", 0.0, 0.0), Point("a", 0.0, 0.0)]),
    ):
        assert "svg" in Reader(drawn).tags and "nan" not in drawn


def test_a_label_s_box_is_where_its_anchor_is() -> None:
    at = {anchor: _box("label", 100.0, 50.0, anchor) for anchor in ("start", "middle", "end")}
    assert at["start"].left == 100 == at["end"].right and at["middle"].left + at["middle"].right == 200
    assert len({box.right - box.left for box in at.values()}) == 1


def test_no_sentences_are_no_list() -> None:
    assert bullets([]) is None and bullets(["a", "b"]) == "<ul><li>a</li><li>b</li></ul>"


def test_a_table_knows_its_numbers() -> None:
    assert 'aria-label="name"' in table(["name"], [["a"]]) and 'aria-label="all"' in table(["name"], [["a"]], "all")
    read = table(["name", "bytes"], [["a", Cell("1 KiB", 1024)], ["b", Cell("-", None)]])
    assert '<td class="n" data-v="1024">1 KiB</td>' in read and '<th scope="row">a</th>' in read
    assert '<th scope="col" class="n"><span>bytes</span></th>' in read
    assert "sortable" in read and "sortable" not in table(
        ["", Cell("sync", "sync", swatch=0)], [["MiB/s", "1"]], is_sortable=False
    )


def test_the_verbs_write_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = str(tmp_path / "r.html")
    for verb in ("run --design april", "compare --designs split", "estimate -c lz4"):
        assert main([*verb.split(), "--sample", "--limit", "60", "--html", at]) == 0
        assert f"report: {at}" in capsys.readouterr().err
        Reader(Path(at).read_text())
        assert main([*verb.split(), "--sample", "--html", str(tmp_path / "none" / "r.html")]) == 2


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_runs_the_script_without_an_error(documents: dict[str, str], tmp_path: Path) -> None:
    check = "<script>for (const b of document.querySelectorAll('thead button')) b.click();"
    check += "document.title = document.querySelectorAll('[aria-sort]').length + ' sorted';</script>"
    for name, text in documents.items():
        page = tmp_path / "page.html"
        page.write_text(text.replace("</body>", f"{check}</body>"))
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        tables = len(re.findall(r'<table class="sortable', text))
        assert f"<title>{tables} sorted</title>" in shown, name


def test_the_script_s_margins_are_the_charts() -> None:
    from kcompressd.html import lines as charts
    from kcompressd.html.page import asset

    margins = [charts.LEFT, charts.RIGHT, charts.TOP, charts.BOTTOM]
    assert f"[LEFT, RIGHT, TOP, BOTTOM] = {margins};" in asset("script.js")


def test_a_picture_is_a_file_of_its_own(tmp_path: Path) -> None:
    x = np.arange(5.0) * 1e6
    text = picture("A <title>", [Line("one & only", x, x), Line("two", x, x / 2, 1)], y=scale.size)
    read = Reader(text)
    assert "A <title>" in read.text and "one & only" in read.text and read.tags[0] == "svg"
    assert 'xmlns="http://www.w3.org/2000/svg"' in text and "prefers-color-scheme" in text and read.links == []
    ElementTree.fromstring(text)


def test_colours_are_a_presets_own_and_nobody_elses_while_there_are_any() -> None:
    """A name that is no preset gets a colour that no other name of the figure has."""
    names = ["sync", "april", "april + rotate", "split", "deep", "deeper", "deepest", "other"]
    found = colors(names)
    assert found["april"] == COLORS["april"] and found["sync"] == COLORS["sync"]
    assert len(set(found.values())) == len(names)
    assert len(colors(map(str, range(12)))) == 12


def test_a_sweep_has_a_report(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(
        'pages = "sample"\nlimit = 64\nstore = "zram"\n[[sweep.axis]]\nkey = "design"\nvalues = ["april", "split"]\n'
        '[[sweep.axis]]\nkey = "depth"\nvalues = [24, 96, 256]\n'
    )
    report = tmp_path / "sweep.html"
    assert main(["sweep", str(file), "--backend", "sequential", "--html", str(report)]) == 0
    text = report.read_text()
    assert "over depth" in text and text.count('data-name="april"') == text.count("<figure>") >= 2
    assert text.count("<tr>") == 1 + 6
    axis = {"key": "design", "values": ["april", "split"]}
    other = Job.from_dict(
        {"pages": "sample", "limit": 64, "design": "split", "store": "zram", "sweep": {"axis": [axis]}}
    )
    found = sweep(other, tmp_path / "names.parquet", backend="sequential")
    assert found.table is not None
    assert 'class="chart bars"' in of_sweep.document(found.table, other)  # no axis of numbers: bars
