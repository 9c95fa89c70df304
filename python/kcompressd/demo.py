"""``make demo``: a real process, captured; every design on its pages; every step of every design validated; and the same designs
in virtual time on 8 CPUs, with a report."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kcompressd import cli

JOB = Path(__file__).parent / "data" / "demo.toml"
REPORT = "kcompressd-demo.html"
"""Written where the demo is run."""
MIB = "24"
"""Contents of the process that is captured, MiB."""


def main() -> int:
    """Run the commands that a user would, echo each, stop at the first that fails; return its exit code."""
    with tempfile.TemporaryDirectory(prefix="kcompressd-demo-") as folder:
        pages, trace = str(Path(folder) / "demo.pages"), str(Path(folder) / "split.npy")
        process = [sys.executable, "-m", "kcompressd.demo_process", "--mib", MIB, "--hold"]
        commands = [
            ["capture", "-o", pages, "--", *process],
            ["compare", pages, "--store", "zswap", "--threads", "1", "--validate"],
            ["run", pages, "--design", "split", "--trace", trace],
            ["validate", trace],
            ["show", trace, "--folio", "100"],
            ["compare", str(JOB), "--cpus", "8", "--html", REPORT],
        ]
        for command in commands:
            print(f"\n$ kcompressd {' '.join(command)}", flush=True)
            status = cli.main(command)
            if status:
                return status
    print("\nLook at: pgscan per pgsteal (a queued page is scanned twice), CPU moved from kswapd0 to kcompressd0,")
    print("and the life of page 100 above, each line an edge of docs/lifecycle.md. Next: kcompressd capture --pid N.")
    print(f"Open {REPORT}: the designs on 8 CPUs, over time. What that says to the discussion: docs/answers.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
