"""Run every command of docs/benchmarks.md: `python benches/record.py [--write] [WORD …]`.

A command is the first line of a `console` block, after `$ `; the lines below are what it printed. `--write` puts what
it prints now in their place. With words, only commands that have one of them are run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/benchmarks.md"
BLOCK = re.compile(r"^```console\n\$ (?P<command>.*)\n(?P<output>(?:(?!```).*\n)*)```$", re.MULTILINE)


def run(command: str) -> str:
    """Run one command in the repository's root; prints what it prints and returns it."""
    print(f"$ {command}", flush=True)
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=here)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        sys.exit(f"record: {command!r} ended with {done.returncode}")
    return done.stdout.strip("\n") + "\n"


def main(args: list[str]) -> None:
    """Run the commands, and keep what they print if asked to."""
    words = [arg for arg in args if not arg.startswith("--")]

    def again(block: re.Match[str]) -> str:
        if words and not any(word in block["command"] for word in words):
            return block[0]
        return f"```console\n$ {block['command']}\n{run(block['command'])}```"

    page = BLOCK.sub(again, PAGE.read_text())
    if "--write" in args:
        PAGE.write_text(page)


if __name__ == "__main__":
    main(sys.argv[1:])
