"""The rows of a sweep on disk: Parquet parts written as points finish, joined into one file at the end.

`NAME.parquet` is the whole table; while a sweep runs, new rows stand in `NAME.parquet.parts/`, each part written under a
temporary name and renamed. So an interrupted sweep loses at most what was not yet flushed, and a later one finds what
is done by its `id`. Every row has all columns of its own measures; parts are joined by name, what a row lacks is null.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kcompressd.errors import OutputError
from kcompressd.files import replace

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
FLUSH_ROWS: Final = 64
FLUSH_S: Final = 5.0
ID: Final = "id"


class Rows:
    """The table of one sweep, open for more rows; raises `OutputError` when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        """Open the table at `path`, which may not exist yet."""
        if not path.parent.is_dir():
            raise OutputError(path, "its folder does not exist", f"mkdir -p {path.parent}")
        self.path = path
        self._folder = path.with_name(path.name + ".parts")
        self._waiting: list[Row] = []
        self._flushed_at = time.monotonic()

    def load(self) -> pa.Table | None:
        """Return all rows on disk, None when there is none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = [self.path] if self.path.is_file() else []
        parts += sorted(self._folder.glob("*.parquet")) if self._folder.is_dir() else []
        try:
            tables = [pq.read_table(part) for part in parts]
            joined = pa.concat_tables(tables, promote_options="permissive") if tables else None
        except FileNotFoundError as error:
            raise OutputError(self.path, "is written by another sweep", "run again when it has ended") from error
        except (OSError, pa.ArrowException) as error:
            said = "" if isinstance(error, pa.ArrowInvalid) else f": {error}"
            raise OutputError(self.path, f"is no Parquet table of a sweep{said}", "give another name") from error
        if joined is None:
            return None
        if ID not in joined.column_names:
            raise OutputError(self.path, f"has no column {ID!r}: it is no table of a sweep", "give another name")
        first = {point: at for at, point in reversed(list(enumerate(joined.column(ID).to_pylist())))}
        # A sweep that died while it joined its parts has rows in both.
        return joined if len(first) == len(joined) else joined.take(sorted(first.values()))

    def done(self) -> set[str]:
        """Return the ids of the points that have a row."""
        table = self.load()
        return set() if table is None else set(table.column(ID).to_pylist())

    def add(self, row: Row) -> None:
        """Add a row; rows reach the disk 64 at a time, or after 5 seconds."""
        self._waiting.append(row)
        if len(self._waiting) >= FLUSH_ROWS or time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait as a part of their own."""
        import pyarrow as pa

        self._flushed_at = time.monotonic()
        if self._waiting:
            self._folder.mkdir(exist_ok=True)
            name = f"{time.time_ns():020d}-{os.getpid()}.parquet"
            columns = dict.fromkeys(key for row in self._waiting for key in row)
            table = pa.table({column: [row.get(column) for row in self._waiting] for column in columns})
            self._write(table, self._folder / name)
            self._waiting.clear()

    def close(self) -> pa.Table | None:
        """Join all parts into the one file, in the order in which points finished; return the table."""
        self.flush()
        table = self.load()
        if table is not None:
            self._write(table, self.path)
        if self._folder.is_dir():
            for part in self._folder.glob("*.parquet"):
                part.unlink()
            self._folder.rmdir()
        return table

    @staticmethod
    def _write(table: pa.Table, path: Path) -> None:
        import pyarrow.parquet as pq

        try:
            replace(path, lambda file: pq.write_table(table, file))
        except OSError as error:
            raise OutputError(path, f"cannot be written: {error.strerror}") from error
