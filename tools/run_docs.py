"""Runs the commands of a document and puts their output under them, so that no document shows what no command printed.

A block that starts with ```console holds commands (`$ ` before each; a line that ends in `\\` or is inside a here-document
goes on) and what they printed. All blocks of a document run in one temporary folder, in order, in a shell with this environment's commands. `--check` runs
them too, but only compares their exit codes with what stands there (`[exit 3]` after the output, 0 without it) and that
each still prints something where something stands.

    python tools/run_docs.py docs/tutorial.md            (make tutorial)
    python tools/run_docs.py --check docs/tutorial.md    (ci/docs.sh)
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"^\[exit (\d+)\]$", re.MULTILINE)
MOST_LINES = 45
"""Lines of output that are kept; of more, the middle is left out and counted."""


@dataclass(frozen=True)
class Command:
    """A command as it stands in a document, and what stands under it."""

    text: str
    output: str

    @property
    def code(self) -> int:
        """The exit code that the document promises."""
        found = EXIT.search(self.output)
        return int(found[1]) if found else 0


def goes_on(text: str) -> bool:
    """Tell whether the next line still belongs to the command: after a backslash, or inside a here-document."""
    here = re.search(r"<<'(\w+)'", text)
    return text.endswith("\\") or (here is not None and text.rpartition("\n")[2] != here[1])


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a console block with their outputs."""
    text, output = "", []
    for line in block.splitlines():
        if goes_on(text) or line.startswith("$ "):
            if not goes_on(text) and text:
                yield Command(text, "\n".join(output))
                text, output = "", []
            text = f"{text}\n{line}" if text else line
        else:
            output.append(line)
    if text:
        yield Command(text, "\n".join(output))


def run(command: Command, folder: Path) -> tuple[str, int]:
    """Run one command; return what it printed (both streams) and its exit code."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "110"}
    script = command.text.removeprefix("$ ")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    release = platform.release()
    said = done.stdout.replace(os.fspath(folder), ".")
    # What a kernel's builder appended to its version is nobody's business.
    return said.replace(release, release.split("-")[0]).rstrip(), done.returncode


def shortened(output: str) -> str:
    """Return the output with its middle left out where it is long."""
    lines = [line.rstrip() for line in output.splitlines()]
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]
    return "\n".join(lines)


def rewritten(text: str, folder: Path) -> str:
    """Return the document with every output as it is now."""

    def block(found: re.Match[str]) -> str:
        parts = []
        for command in commands(found[1]):
            output, code = run(command, folder)
            ended = f"\n[exit {code}]" if code else ""
            parts.append(f"{command.text}\n{shortened(output)}{ended}".rstrip())
        return "```console\n" + "\n".join(parts) + "\n```"

    return BLOCK.sub(block, text)


def wrong(text: str, folder: Path) -> Iterator[str]:
    """Yield what of the document is not so any more."""
    for found in BLOCK.finditer(text):
        for command in commands(found[1]):
            output, code = run(command, folder)
            if code != command.code:
                yield f"{command.text}: exit code {code}, the document says {command.code}: {output[-300:]}"
            elif command.output and not output:
                yield f"{command.text}: prints nothing any more"


def main() -> int:
    """Rewrite or check the documents named; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="compare exit codes, write nothing")
    arguments = parser.parse_args()
    bad = 0
    for document in arguments.documents:
        with tempfile.TemporaryDirectory() as name:
            if arguments.check:
                for line in wrong(document.read_text(), Path(name)):
                    print(f"{document}: {line}", file=sys.stderr)
                    bad += 1
            else:
                document.write_text(rewritten(document.read_text(), Path(name)))
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
