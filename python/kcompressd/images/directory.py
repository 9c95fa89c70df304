"""A directory of page files or memory images, taken together in the order of their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kcompressd.errors import PageFileError
from kcompressd.images import criu

if TYPE_CHECKING:
    from kcompressd.pages import Pages

_BESIDE = (".index.json", ".json", ".txt", ".md", ".sha256")


def files(folder: Path) -> list[Path]:
    """Return the page files and images in `folder`: of CRIU images those of every process's pages, else all
    regular files but hidden ones and those that go beside (indices, texts, digests). Raises `PageFileError` when
    there is none, or the folder cannot be read.
    """
    if criu.is_directory(folder):
        return criu.pages_images(folder)
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise PageFileError(folder, f"cannot be read: {error.strerror}") from error
    kept = [path for path in found if not path.name.startswith(".") and not path.name.endswith(_BESIDE)]
    if not kept:
        raise PageFileError(folder, "is a directory without page files", "give a page file, or one that holds some")
    return kept


def parts(folder: Path, read: Callable[[Path], Pages]) -> list[Pages]:
    """Return what `read` makes of each file. Raises `PageFileError` about the folder when some are no pages: how many, and why the
    first is none.
    """
    found: list[Pages] = []
    wrong: list[tuple[Path, PageFileError]] = []
    given = files(folder)
    for file in given:
        try:
            found.append(read(file))
        except PageFileError as error:
            wrong.append((file, error))
    if wrong:
        first, cause = wrong[0]
        fix = "name the page files, or give a directory that holds nothing else"
        why = f"{len(wrong)} of the {len(given)} files in it are no page files; {first.name}: {cause.reason}"
        raise type(cause)(folder, why, fix) from cause
    return found
