"""A directory of page files or memory images, taken together in the order of their names."""

from __future__ import annotations

from pathlib import Path

from kcompressd.errors import PageFileError
from kcompressd.images import criu

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
