"""Writes docs/cli.md and the man page from the command's own parser (make generate)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["COLUMNS"] = "100"

from kcompressd.cli import parser  # after COLUMNS, which argparse reads

DOCS = Path(__file__).parent.parent / "docs"
MAN = DOCS.parent / "kcompressd.data/data/share/man/man1/kcompressd.1"
HEAD = """\
# Commands

Written by `make generate` from the command's own help. Exit codes of every verb: 0 good, 1 violation or mismatch, 2 bad input,
3 partial result, 130 interrupted.
"""


def verbs(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb by name."""
    choices = (action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(choices))


def markdown(top: argparse.ArgumentParser) -> str:
    """Return docs/cli.md: the help of each verb."""
    parts = [HEAD, f"```\n{top.format_help()}```\n"]
    parts += (f"## {name}\n\n```\n{verb.format_help()}```\n" for name, verb in verbs(top).items())
    return "\n".join(parts)


def man(top: argparse.ArgumentParser) -> str:
    """Return the man page, without a date: the same parser gives the same page."""
    from argparse_manpage.manpage import Manpage

    page = Manpage(top)
    page.date, page.source, page.manual, page.section = "", "kcompressd", "User Commands", "1"
    page.description = "compress, compare and check the pages of your processes as Linux would"
    return str(page)


if __name__ == "__main__":
    whole = parser()
    (DOCS / "cli.md").write_text(markdown(whole))
    MAN.parent.mkdir(parents=True, exist_ok=True)
    MAN.write_text(man(whole))
