"""Files of arrays (`.stats.npz`, `.calib.npz`): arrays by name, and beside them what is known of all as JSON, `meta`.

Sizes and times say something about contents, so that such a file is its owner's alone, as a page file is.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd.errors import NOT_PARSED, PageFileError
from kcompressd.files import replace

Arrays = dict[str, npt.NDArray[Any]]

DAMAGED_ARRAY: Final = (ValueError, EOFError, SyntaxError, TokenError)
"""What `np.load` raises about a damaged array; the last two about the text of its head."""
_DAMAGED_ARCHIVE: Final = (*DAMAGED_ARRAY, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What reading a damaged archive raises; the last where it says that it is encrypted, or packed in an unknown way."""


def save(path: Path, suffix: str, what: str, meta: Mapping[str, Any], arrays: Arrays) -> Path:
    """Write or replace `path`, which must end in `suffix` as `what` ("stats") does, and return it; raises `PageFileError`."""
    if not path.name.endswith(suffix):
        raise PageFileError(path, f"is no name for {what}: it must end in {suffix}")
    every: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8), **arrays}
    try:
        replace(path, lambda file: np.savez_compressed(file, **every))
    except OSError as error:
        raise PageFileError(path, f"cannot be written: {error.strerror}") from error
    return path


def load(path: Path, names: Iterable[str], form: str, version: int) -> tuple[dict[str, Any], Arrays]:
    """Return `meta`, which must say this `format` and `version`, and the arrays of these names; raises `OSError`, and about a file of
    another form, without one of them, or damaged `ValueError`, `KeyError` or `TypeError`.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK" or not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as stored:
                found = {name: stored[name] for name in ("meta", *names)}
        except KeyError as error:
            raise ValueError(f"it lacks one of meta, {', '.join(names)}") from error
        except _DAMAGED_ARCHIVE as error:
            raise ValueError("it is damaged") from error
        except MemoryError as error:
            raise ValueError("it has more than there is memory for") from error
    if not all(isinstance(array, np.ndarray) for array in found.values()):  # bytes, where the head is not an array's
        raise ValueError("it is damaged")
    meta = json.loads(found.pop("meta").tobytes())
    if (meta["format"], meta["version"]) != (form, version):
        raise ValueError(f"{meta['format']} version {meta['version']} is not {form} version {version}")
    return meta, found


def check(arrays: Arrays, dtypes: Mapping[str, str], pages: int, codecs: int) -> None:
    """Raise `ValueError` about an array that is not of its dtype and of shape (codecs, pages), for bytes (pages,)."""
    for name, dtype in dtypes.items():
        shape = (pages,) if dtype == "u1" else (codecs, pages)
        if arrays[name].dtype != np.dtype(dtype) or arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].dtype.str}{arrays[name].shape}, not {dtype}{shape}")


@contextlib.contextmanager
def explained(path: Path, what: str, fix: str) -> Iterator[None]:
    """Turn what loading raises, and a look at what is not as it should be, into a `PageFileError`: `path` is no `what`."""
    try:
        yield
    except FileNotFoundError:
        raise PageFileError(path, "no such file") from None
    except OSError as error:
        raise PageFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (*NOT_PARSED, KeyError, TypeError, AttributeError) as error:
        raise PageFileError(path, f"is no {what}: {error}", fix) from error
