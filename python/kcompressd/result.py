"""`Result`: what a run found, the same for every driver, with the kernel's names (docs/formats.md).

A result is immutable. Two are equal when everything but `environment` is. `Result.check` holds it against the
equations of docs/accounting.md; the trace, where one was recorded, is not part of the stored form.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kcompressd.errors import NOT_PARSED, LabError, ResultFileError, file_path
from kcompressd.files import read_text, write_text
from kcompressd.names import Names, freeze, thaw
from kcompressd.result_form import KEYS, OPTIONAL, VERSION, refuse_malformed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from kcompressd.columns import Columns
    from kcompressd.trace import Trace


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a run found.

    Attributes hold counts of pages unless their names say otherwise; `_ns` are nanoseconds, `_bytes` bytes.

    - `config`: everything that the run was asked for, `pages` and `page_size` among it;
    - `vmstat`: counters of the whole run by their /proc/vmstat names; `zswap` (debugfs names) and `zram`
      (`mm_stat`, `io_stat`): the store at the end of the reclaim phase, None for the store that was not used;
    - `mthp`: of a run with large folios, their counters by size (`hugepages-64kB`) and the kernel's names;
    - `census`: pages by lifecycle state at the end of each phase;
    - `lifecycle`: `events`, `violations`, and counts `by_event`; `mismatched`: pages whose contents did not
      come back;
    - `applications`: what each application of a run with a memory budget came to, and `memcgs`: each group;
    - `errors`: failures that cost no page; `error`: what ended the run early, with `complete` False.
    """

    kind: str
    config: Names[Any]
    environment: Names[Any]
    vmstat: Names[int]
    mthp: Names[Names[int]]
    zswap: Names[int] | None
    zram: Names[Names[int]] | None
    kcompressd: Names[Any]
    timing: Names[Any]
    lifecycle: Names[Any]
    series: Names[tuple[Any, ...]]
    census: Names[Names[int]]
    phases: Names[int]
    threads: tuple[Names[Any], ...]
    device: Names[Any]
    mismatched: tuple[int, ...]
    applications: tuple[Names[Any], ...]
    memcgs: tuple[Names[Any], ...]
    notes: tuple[str, ...]
    errors: tuple[str, ...]
    error: Names[str] | None
    complete: bool
    _trace: Trace | None = field(default=None, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, origin: object = "result") -> Result:
        """Make a result of the stored form; raises `ResultFileError` naming what is missing, unknown or of a
        wrong type.
        """
        try:
            found = freeze(data)
            refuse_malformed(found, origin)
        except RecursionError as error:
            raise ResultFileError(origin, f"not a Result: {error}") from error
        return cls(**{name: found[name] if name in found else freeze(OPTIONAL[name]) for name in KEYS})

    def to_dict(self) -> dict[str, Any]:
        """Return the stored form as plain data, keys in the order of docs/formats.md."""
        told = [name for name in KEYS if name != "mthp" or self.mthp]
        return {"version": VERSION, **{name: thaw(getattr(self, name)) for name in told}}

    def to_json(self) -> str:
        """Return the stored form as text; equal results of one environment give equal texts."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the stored form, replacing `path`; raises `ResultFileError` when it cannot be
        written.
        """
        where = file_path(path, ResultFileError)
        try:
            write_text(where, self.to_json())
        except OSError as error:
            raise ResultFileError(where, f"cannot be written: {error.strerror}") from error
        return where

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read a stored result; raises `ResultFileError` naming the path and what is wrong."""
        where = file_path(path, ResultFileError)
        try:
            data = json.loads(read_text(where))
        except OSError as error:
            raise ResultFileError(where, f"cannot be read: {error.strerror}") from error
        except NOT_PARSED as error:
            raise ResultFileError(where, f"not JSON: {error}") from error
        return cls.from_dict(data, origin=where)

    def check(self) -> list[str]:
        """Return what does not add up, a sentence each: empty for a run that kept its promises
        (docs/accounting.md).

        A partial result is held against the equations that hold at any moment.
        """
        from kcompressd.accounting import failures

        return failures(self)

    @property
    def exit_code(self) -> int:
        """What a command that shows this result exits with: 0 good, 1 violation or mismatch, 3 partial: something ended the run
        early, or the OOM killer an application.
        """
        return 1 if self.is_wrong else 3 if self.killed or not self.complete else 0

    @property
    def is_wrong(self) -> bool:
        """Tell whether it broke the lifecycle or does not add up, or a page came back different."""
        return bool(self.lifecycle.violations or self.mismatched or (self.complete and self.check()))

    @property
    def killed(self) -> list[str]:
        """The applications that the OOM killer ended before their work was done, by name."""
        return [app.name for app in self.applications if app.oom_kill]

    @property
    def pages(self) -> int:
        """Pages that went in."""
        return int(self.config.pages)

    @property
    def trace(self) -> Trace:
        """Every event of the run; raises `LabError` when the run was not traced, or is loaded from a file."""
        if self._trace is None:
            raise LabError("result", "has no trace", "run with trace=True, or load the trace's own file")
        return self._trace

    @property
    def has_trace(self) -> bool:
        """Tell whether the run was traced."""
        return self._trace is not None

    @property
    def has_budget(self) -> bool:
        """Tell whether it was a run of applications in a memory budget."""
        return self.config.get("workload") is not None

    def with_trace(self, trace: Trace | None) -> Result:
        """Return the result with the run's trace."""
        return dataclasses.replace(self, _trace=trace)

    def __eq__(self, other: object) -> bool:
        """Compare everything but `environment` and the trace."""
        if not isinstance(other, Result):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in KEYS if name != "environment")

    def __hash__(self) -> int:
        """Hash what is compared."""
        plain = self.to_dict()
        del plain["environment"]
        return hash(json.dumps(plain, sort_keys=True))

    def __repr__(self) -> str:
        """Say what was run, and how it ended."""
        from kcompressd import report

        return f"<Result {report.title(self)}>"

    def __str__(self) -> str:
        """Return the table as text."""
        from kcompressd import report

        return report.text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table for rich."""
        from kcompressd import report

        yield from report.parts(self)

    def columns(self, what: Literal["measures", "series", "threads"] = "measures") -> Columns:
        """Return a table: one row of every measure (names joined by dots), the samples, or a row a thread."""
        from kcompressd.columns import Columns, measures

        if what == "measures":
            return Columns.of_rows([measures(self)])
        if what == "threads":
            return Columns.of_rows([dict(thread) for thread in self.threads])
        if what != "series":
            raise LabError("columns", f"{what!r} is none of measures, series, threads")
        return Columns({name: np.asarray(values) for name, values in self.series.items()})

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as an Arrow stream."""
        return self.columns().__arrow_c_stream__(requested_schema)

    def to_pandas(self, what: Literal["measures", "series", "threads"] = "measures") -> Any:
        """Return `columns(what)` as a `pandas.DataFrame`; needs the extra `pandas`."""
        return self.columns(what).to_pandas()

    def to_polars(self, what: Literal["measures", "series", "threads"] = "measures") -> Any:
        """Return `columns(what)` as a `polars.DataFrame`; needs the extra `polars`."""
        return self.columns(what).to_polars()

    def plot(self) -> Any:
        """Return a `matplotlib.figure.Figure` of the run over time; needs the extra `plot`."""
        from kcompressd import plot

        return plot.of_result(self)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML file's text."""
        from kcompressd.html import of_result

        return of_result.document(self)

    def _repr_html_(self) -> str:
        from kcompressd.html import of_result

        return of_result.fragment(self)
