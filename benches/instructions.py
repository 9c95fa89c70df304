"""Instructions a page of the store path, counted by callgrind: `python benches/instructions.py [--write]`.

Needs valgrind and cargo. Every page of the package's sample goes through the path on one thread (the `store_path`
bench with `--once`), so that the figures are the same on every run of one build and compare between builds of one
compiler and CPU family. callgrind counts a `rep` string instruction once a round: clearing the codec's table counts as
thousands. `--write` keeps the table in `benches/instructions.txt`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "python/kcompressd/data/sample.pages.zst"
TABLE = ROOT / "benches/instructions.txt"
DESIGNS = ("sync", "split")
TOP = 10
# The codec clears its table with memset; nothing else on the path does.
CODEC = re.compile(r"codec::lz4|Compressor>::compress|memset")
LINE = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+[^:]*:(.+?)(?: \[.*\])?$")


def build() -> Path:
    """Build the bench and return its executable."""
    command = ["cargo", "bench", "-p", "kcompressd-benches", "--bench", "store_path", "--no-run"]
    built = subprocess.run([*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = [json.loads(line).get("executable") for line in built.stdout.splitlines() if line.startswith("{")]
    return Path(next(path for path in found if path and "store_path" in path))


def count(program: Path, design: str) -> Counter[str]:
    """Run the path once under callgrind; return instructions by function, without their callees'."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        flags = ["--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=store_path::store_path"]
        command = ["valgrind", *flags, str(program), "--once", design, str(SAMPLE)]
        subprocess.run(command, check=True, capture_output=True)
        flags = ["--threshold=100", "--show-percs=yes", "--auto=no", "--tree=none"]
        text = subprocess.run(
            ["callgrind_annotate", *flags, str(out)], check=True, capture_output=True, text=True
        ).stdout
    counts: Counter[str] = Counter()
    for match in filter(None, map(LINE.match, text.splitlines())):
        counts[match[2]] += int(match[1].replace(",", ""))
    return counts


def table(program: Path) -> str:
    """Return the table of all designs."""
    pages = json.loads((SAMPLE.with_name(SAMPLE.name + ".index.json")).read_text())["pages"]
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    lines = [f"instructions a page of the store path, zswap, lz4, {pages} pages of the sample; rustc {rustc}"]
    for design in DESIGNS:
        own = count(program, design)
        total = sum(own.values())
        codec = sum(n for name, n in own.items() if CODEC.search(name))
        lines += [
            "",
            f"{design}: {total / pages:.0f} in all, codec {codec / pages:.0f}, path {(total - codec) / pages:.0f}",
        ]
        rest = [(n, name) for name, n in own.items() if not CODEC.search(name)]
        lines += [f"{n / pages:>8.0f}  {name}" for n, name in sorted(rest, reverse=True)[:TOP]]
    return "\n".join(lines) + "\n"


def main(args: list[str]) -> None:
    """Print the table, and keep it if asked to."""
    if missing := [tool for tool in ("valgrind", "cargo") if shutil.which(tool) is None]:
        sys.exit(f"instructions: {missing[0]} was not found: it is optional, and this count needs it")
    text = table(build())
    print(text, end="")
    if "--write" in args:
        TABLE.write_text(f"$ python benches/instructions.py --write\n{text}")


if __name__ == "__main__":
    main(sys.argv[1:])
