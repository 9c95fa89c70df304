"""Results as tables for other tools: Arrow, pandas, Polars. None of them is needed for anything else.

`Columns` is a mapping of names to NumPy arrays of one length, so that any of the three takes it without a copy where it
can. What exports Arrow (`__arrow_c_stream__`, the PyCapsule protocol) is read by DuckDB, Polars, pandas and others directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd.errors import MissingExtraError

Column: TypeAlias = npt.NDArray[Any]
"""One column, shape (rows,): numbers, or objects that are texts or None."""


class Columns(Mapping[str, Column]):
    """A table: a column by name, all of one length."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Keep the columns; raises `ValueError` when their lengths differ."""
        self._columns = dict(columns)
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Return the table of rows; a name that a row lacks is NaN in numbers and None in texts."""
        names = dict.fromkeys(name for row in rows for name in row)
        return cls({name: _column([row.get(name) for row in rows]) for name in names})

    def __getitem__(self, name: str) -> Column:
        """Return a column."""
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self._columns)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self._columns.values()), ()))

    def __repr__(self) -> str:
        """Say how large it is and what it has."""
        return f"<Columns: {self.rows} rows of {', '.join(self)}>"

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`."""
        import pyarrow as pa

        return pa.table(dict(self._columns))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export as an Arrow stream (PyCapsule)."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`; raises `MissingExtraError` without pandas."""
        return optional("pandas", "pandas").DataFrame(dict(self._columns))

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame`; raises `MissingExtraError` without Polars."""
        polars = optional("polars", "polars")
        return polars.DataFrame({n: c.tolist() if c.dtype == object else c for n, c in self._columns.items()})


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested names joined by dots with their numbers, texts and None; lists of texts and numbers become one text."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, str | int | float) or value is None:
            found[f"{prefix}{key}"] = value
        elif all(isinstance(item, str | int | float) for item in value):
            found[f"{prefix}{key}"] = ",".join(map(str, value))
    return found


def measures(result: Any) -> dict[str, Any]:
    """Return one row: every number and text of a `Result` but its samples, names joined by dots."""
    data = result.to_dict()
    names = ("kind", "complete", "config", "environment", "vmstat", "zswap", "zram", "timing", "lifecycle", "census")
    return flat({name: data[name] for name in names if data[name] is not None})


def _column(values: list[Any]) -> Column:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    if known and all(isinstance(value, int | float) for value in known):
        whole = len(known) == len(values) and all(isinstance(value, int) for value in known)
        filled = [np.nan if value is None else value for value in values]
        return np.array(filled, dtype=_whole(known) if whole else np.float64)
    return np.array([None if value is None else str(value) for value in values], dtype=object)


def _whole(values: list[Any]) -> type[np.generic]:
    """The type of whole numbers: signed ones unless a seed or a limit needs all 64 bits."""
    if max(values) < 2**63:
        return np.int64
    return np.uint64 if min(values) >= 0 else np.float64


def optional(module: str, extra: str) -> Any:
    """Return a module that an extra brings; raises `MissingExtraError`, naming the extra."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(module, extra) from None
