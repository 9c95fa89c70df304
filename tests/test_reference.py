"""docs/cli.md and the man page name every verb and every option that the command has."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import kcompressd
from kcompressd.cli import parser

ROOT = Path(__file__).parent.parent


def options(whole: argparse.ArgumentParser) -> set[str]:
    """Every verb and every long option of the command."""
    found: set[str] = set()
    for action in whole._actions:
        found.update(option for option in action.option_strings if option.startswith("--") and option != "--help")
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                found |= {name} | options(verb)
    return found


@pytest.mark.parametrize("page", ["docs/cli.md", "kcompressd.data/data/share/man/man1/kcompressd.1"])
def test_the_reference_has_every_verb_and_option(page: str) -> None:
    text = re.sub(r"\\(f.|[,/&])", "", (ROOT / page).read_text()).replace("\\-", "-")
    wanted = options(parser())
    assert len(wanted) > 30 and [word for word in sorted(wanted) if word not in text] == [], "run: make generate"


def test_a_name_with_a_module_of_its_own_is_said_to_have_one() -> None:
    for name in ("compare", "advise", "sweep", "Trace", "validate"):
        with pytest.raises(AttributeError, match=f"from kcompressd.{name.lower()} import {name}$"):
            kcompressd.__getattr__(name)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        kcompressd.__getattr__("nothing")
