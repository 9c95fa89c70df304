"""What a sweep of 10 000 points costs: measured with 1 and 2 workers on fewer points, modelled beyond.

The time is `start + points * (serial + parallel / workers)`: `start` and the time a point with one worker come from a small and a
large sweep with one worker, what runs in parallel from the large one with two. A point is one run of the package's sample in virtual time,
without a memory budget; where memory is short a point is five boots, each such a run, and costs five times as much.

    python tools/sweep_cost.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

SMALL: Final = 40
LARGE: Final = 400
ASKED: Final = 10_000
REPEATS: Final = 3
JOB: Final = """\
pages = "sample"
store = "zram"
[sweep]
seeds = {seeds}
[[sweep.axis]]
key = "design"
values = ["rfc", "april", "async-store", "split", "unofficial"]
[[sweep.axis]]
key = "node.cpus"
values = [1, 2, 4, 8]
"""
RUNS: Final = ((SMALL, 1), (LARGE, 1), (LARGE, 2))


def seconds(points: int, workers: int) -> float:
    """Return how long the command takes, from nothing to the table on disk."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.toml"
        job.write_text(JOB.format(seeds=points // 20), encoding="utf-8")
        started = time.monotonic()
        words = [sys.executable, "-m", "kcompressd", "sweep", str(job), "--workers", str(workers)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - started


def main() -> None:
    """Measure in turn, print the medians and what they say about more workers."""
    taken: dict[tuple[int, int], list[float]] = {run: [] for run in RUNS}
    for _ in range(REPEATS):
        for run in RUNS:
            taken[run].append(seconds(*run))
    small, one, two = (statistics.median(taken[run]) for run in RUNS)
    each = (one - small) / (LARGE - SMALL)
    start = small - SMALL * each
    parallel = min(each, 2 * (one - two) / LARGE)
    print("  points  workers  seconds")
    for points, workers in RUNS:
        print(f"{points:8}  {workers:7}  {statistics.median(taken[points, workers]):7.1f}  measured")
    for workers in (1, 2, 4, 8, 16, 32, 64):
        modelled = start + ASKED * (each - parallel + parallel / workers)
        print(f"{ASKED:8}  {workers:7}  {modelled:7.0f}  modelled")
    print(f"start {start:.1f} s; a point {each * 1e3:.1f} ms, of it {parallel * 1e3:.1f} ms in parallel")


if __name__ == "__main__":
    main()
