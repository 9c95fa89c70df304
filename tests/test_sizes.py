"""Sizes and times as tables and sentences show them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompressd.errors import LabError
from kcompressd.sizes import duration, parse_limit

NS = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (0, "0 ns"),
        (7, "7 ns"),
        (999.4, "999 ns"),
        (999.6, "1.00 µs"),
        (2_111, "2.11 µs"),
        (9_996, "10.0 µs"),
        (2_114_000, "2.11 ms"),
        (99_960_000, "100 ms"),
        (999_600_000, "1.00 s"),
        (7.2e12, "7200 s"),
    ],
)
def test_a_time_has_three_digits(ns: float, said: str) -> None:
    assert duration(ns) == said


@given(st.floats(min_value=1e3, max_value=9e11))
def test_a_time_is_rounded_and_never_in_a_wrong_unit(ns: float) -> None:
    number, unit = duration(ns).split()
    assert float(number) * NS[unit] == pytest.approx(ns, rel=0.006)
    assert len(re.sub(r"\D", "", number)) == 3


def test_a_limit_may_be_a_whole_number_of_numpy() -> None:
    limit = parse_limit(np.int64(1 << 20), None)
    assert limit == 1 << 20 and type(limit) is int


@pytest.mark.parametrize("limit", [4096, "4096", "4K", "1%", "0.5 %"])
def test_a_limit_of_a_page_is_the_least(limit: int | str) -> None:
    assert parse_limit(limit, 100_000, page_size=4096) == 4096, "a percentage is a page at least"


@pytest.mark.parametrize("limit", [5, "5", "4095", "3K"])
def test_a_size_below_a_page_is_refused_with_the_units(limit: int | str) -> None:
    says = rf"pool limit: {limit} is less than a page of 4096 bytes; give bytes, 64M, or 20% \(of the input\)"
    with pytest.raises(LabError, match=says):
        parse_limit(limit, 1 << 30, page_size=4096)
