"""Make the package's sample: `python tools/make_sample.py [OUT]`, by default
python/kcompressd/data/sample.pages.zst.

Starts `kcompressd.demo_process`, captures the pages that were not there before it built its contents, takes
16 runs of neighbouring pages at even steps from the least to the most compressible, and refuses to write a
file with anything in it that is not ours: every long word must be of the process's own made-up vocabulary,
and nothing about this machine (home, directory, host, user, environment) may occur. Pid, kernel and
addresses' names are withheld from the index.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from kcompressd import demo_process, page_file
from kcompressd.capture import Scan, read, scan
from kcompressd.page_index import PageIndex, Skipped, Source
from kcompressd.pages import Pages

RUNS = 16
RUN_PAGES = 96
SEED = 20240607
MIB = 48
LEVEL = 19
MAX_BYTES = 3 << 19
OUT = Path(__file__).parents[1] / "python" / "kcompressd" / "data" / "sample.pages.zst"
FORBIDDEN = (
    "Python",
    "python",
    "docstring",
    "copyright",
    "Copyright",
    "Traceback",
    "__init__",
    "import ",
    "GNU",
    "glibc",
)


def capture_contents() -> Pages:
    """Return the anonymous pages that the process got while it built its contents, in address order."""
    command = [
        sys.executable,
        "-m",
        "kcompressd.demo_process",
        "--hold",
        "--seed",
        str(SEED),
        "--mib",
        str(MIB),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        expect(process.stdout.readline(), "loaded")
        before = scan(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        expect(process.stdout.readline(), "ready")
        return choose(only_memory(scan(process.pid).without(before)))
    finally:
        process.kill()
        process.wait()


def expect(line: str, word: str) -> None:
    """Stop when the process did not say what it should."""
    if line.strip() != word:
        raise SystemExit(f"the process said {line!r} instead of {word!r}")


def only_memory(found: Scan) -> Scan:
    """Drop what belongs to the stack or to libraries' data."""
    wanted = np.array([kind in ("heap", "anon") for kind in found.kinds()])
    return found.select(wanted[found.owners])


def choose(found: Scan) -> Pages:
    """Return the runs at even ranks of compressibility, in address order."""
    starts = run_starts(found)
    pages = read(found)
    if pages.index.skipped.vanished:
        raise SystemExit("pages vanished while reading: try again")
    sizes = [sum(len(zlib.compress(page, 1)) for page in pages.array[at : at + RUN_PAGES]) for at in starts]
    ranked = starts[np.argsort(sizes, kind="stable")]
    chosen = np.sort(ranked[np.linspace(0, len(ranked) - 1, RUNS).round().astype(int)])
    return pages[(chosen[:, None] + np.arange(RUN_PAGES)).reshape(-1)]


def run_starts(found: Scan) -> npt.NDArray[np.int64]:
    """Return where runs of RUN_PAGES neighbours of one mapping begin, without overlap."""
    joined = (np.diff(found.addresses) == found.page_size) & (np.diff(found.owners) == 0)
    edges = [0, *(np.flatnonzero(~joined) + 1).tolist(), len(found)]
    starts = [at for low, high in pairwise(edges) for at in range(low, high - RUN_PAGES + 1, RUN_PAGES)]
    return np.array(starts, dtype=np.int64)


def foreign_texts(pages: Pages) -> list[str]:
    """Return what the pages hold that is not ours; empty when all is well. Runs are looked at one by one."""
    runs = [pages.array[at : at + RUN_PAGES].tobytes() for at in range(0, len(pages), RUN_PAGES)]
    found = [text for text in (*FORBIDDEN, *machine_texts()) if any(text.encode() in run for run in runs)]
    ours = " ".join(demo_process.vocabulary(SEED))
    long_words = {match.decode().lower() for run in runs for match in re.findall(rb"[A-Za-z][a-z]{7,}", run)}
    return found + sorted(word for word in long_words if not is_ours(word, ours))


def is_ours(word: str, ours: str) -> bool:
    """Tell whether a run of letters is (a part of, at a run's edge) our word, with stray bytes around it."""
    return any(word[low:high] in ours for low in range(3) for high in range(len(word) - 2, len(word) + 1))


def machine_texts() -> list[str]:
    """Return texts that would give this machine away; short ones would occur by chance."""
    texts = [
        str(Path.home()),
        os.getcwd(),
        socket.gethostname(),
        getpass.getuser(),
        sys.prefix,
        sys.executable,
    ]
    texts += [value for value in os.environ.values() if "/" in value]
    return [text for text in texts if len(text) >= 4]


def main() -> int:
    """Make, check and write the sample."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    pages = capture_contents()
    if foreign := foreign_texts(pages):
        raise SystemExit(f"not ours, nothing written: {foreign[:20]}")
    mappings = tuple(replace(mapping, name="") for mapping in pages.index.mappings)
    source = Source(comm="demo_process", captured_at=pages.index.time)
    pages = pages.with_index(PageIndex(source, mappings, skipped=Skipped(), notes=(f"seed {SEED}, {MIB} MiB",)))
    size = len(zstandard.compress(pages.array.tobytes(), LEVEL))
    if size > MAX_BYTES:
        raise SystemExit(f"{size} bytes are more than {MAX_BYTES}, nothing written")
    for file in (pages.save(out, level=LEVEL), page_file.index_path(out)):
        file.chmod(0o644)
    print(f"{out.name}: {len(pages)} pages, {size} bytes, {pages.index.kinds}, sha256 {pages.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
