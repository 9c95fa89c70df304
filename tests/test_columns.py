"""Tables for Arrow, pandas and Polars, and matplotlib's figures: the same values, and clear words without the packages."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import Lab, Pages, Result
from kcompressd.columns import Columns, flat
from kcompressd.compare import compare
from kcompressd.comparison import Comparison
from kcompressd.errors import MissingExtraError
from kcompressd.estimate import estimate

PAGES = Pages.sample()[::16]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def result() -> Result:
    return Lab(threads=2, trace=True).run(PAGES)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(PAGES, ["split"])


def test_measures_are_one_row_of_every_number(result: Result) -> None:
    row = {name: column[0] for name, column in result.columns().items()}
    assert result.columns().rows == 1
    for name, value in result.vmstat.items():
        assert row[f"vmstat.{name}"] == value
    assert row["timing.fault_page_ns.p99"] == result.timing.fault_page_ns.p99
    assert row["config.design.depth"] == 256 and row["config.design.gates"] == "kswapd_only,anon_only"
    assert row["complete"] is np.True_ and row["kind"] == "live"


def test_a_seed_may_have_all_64_bits() -> None:
    row = Lab(seed=2**64 - 1, fault="shuffled").run(PAGES).columns()
    assert row["config.seed"].dtype == np.uint64 and row["config.seed"][0] == 2**64 - 1
    rows = Columns.of_rows([{"n": 2**64 - 1}, {"n": 1}, {"n": None}])
    assert rows["n"].dtype == np.float64 and rows["n"][1] == 1
    assert Columns.of_rows([{"n": 2**63}, {"n": -1}])["n"].tolist() == [2.0**63, -1.0]


def test_series_and_threads(result: Result) -> None:
    assert result.columns("series").rows == len(result.series.t_ns)
    threads = result.columns("threads")
    assert threads["actor"].tolist() == [t.actor for t in result.threads] and threads["pages_done"].dtype == np.int64


def test_every_run_of_a_comparison_is_a_row(comparison: Comparison) -> None:
    found = comparison.columns()
    assert found["design"].tolist() == ["sync"] * 5 + ["split"] * 5 and found["repeat"].tolist() == [*range(5)] * 2
    speeds = [float(run.timing.bytes_per_s) for entry in comparison.entries for run in entry.results]
    assert found["timing.bytes_per_s"].tolist() == speeds


def test_rows_may_lack_names() -> None:
    found = Columns.of_rows([{"a": 1, "b": "x"}, {"a": None, "c": 2.5}, {"a": 3, "b": None, "d": True}])
    assert np.array_equal(found["a"], [1, np.nan, 3], equal_nan=True) and found["b"].tolist() == ["x", None, None]
    assert np.array_equal(found["c"], [np.nan, 2.5, np.nan], equal_nan=True) and found["d"].tolist()[2] == 1
    assert Columns.of_rows([]).rows == 0
    with pytest.raises(ValueError, match="different lengths"):
        Columns({"a": np.zeros(1), "b": np.zeros(2)})
    assert flat({"a": {"b": [1, 2], "c": [{}], "d": None}}) == {"a.b": "1,2", "a.d": None}


def test_arrow_is_read_by_others(result: Result, comparison: Comparison) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    for thing in (result, comparison, estimate(PAGES, "lz4,zstd:1"), result.columns("series")):
        read = pyarrow.table(thing)  # by __arrow_c_stream__
        columns: Columns = thing if isinstance(thing, Columns) else thing.columns()
        assert read.column_names == list(columns) and read.num_rows == columns.rows
        for name, column in columns.items():
            same = zip(read[name].to_pylist(), column.tolist(), strict=True)
            assert all(a == b or (a != a and b != b) for a, b in same), name


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_hold_the_columns(library: str, result: Result, comparison: Comparison) -> None:
    pytest.importorskip(library)
    for thing in (result.columns("threads"), comparison.columns(), result.columns("series")):
        frame = getattr(thing, f"to_{library}")()
        assert list(frame.columns) == list(thing) and len(frame) == thing.rows
    frame = getattr(result, f"to_{library}")("series")
    assert list(frame["t_ns"]) == list(result.series.t_ns)
    assert len(getattr(comparison, f"to_{library}")()) == 10


def test_a_missing_package_is_named_with_the_extra(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, call in {
        "pandas": result.to_pandas,
        "polars": result.to_polars,
        "matplotlib": result.plot,
    }.items():
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"{module}.figure", raising=False)
        with pytest.raises(
            MissingExtraError, match=rf"{module}: is not installed; pip install 'kcompressd\["
        ) as caught:
            call()
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (MissingExtraError, str(caught.value))


def test_figures_draw_the_series(result: Result, comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for thing, lines in ((result, 1), (comparison, 2), (golden(), 1)):
        figure = thing.plot()
        drawn = {axes.get_title(): axes for axes in figure.axes}
        assert len(drawn["Queue depth"].lines) == lines
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    queue = result.plot().axes[[a.get_title() for a in result.plot().axes].index("Queue depth")]
    assert max(queue.lines[0].get_ydata()) > 0


def golden() -> Any:
    return Result.from_dict(json.loads((GOLDEN / "split-zswap.result.json").read_text()))
