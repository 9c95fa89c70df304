"""`kcompressd completion SHELL`: a script that completes verbs, options and files."""

from __future__ import annotations

import argparse

from kcompressd.cli import common

SHELLS = ("bash", "zsh", "tcsh")


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "completion",
        help="print a shell's completion script",
        description="Bash: kcompressd completion bash > ~/.local/share/bash-completion/completions/kcompressd. Zsh: the same "
        "into a file _kcompressd in a folder of $fpath. tcsh: into a file that ~/.tcshrc sources.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from kcompressd.cli import parser

    whole = parser()
    for option in _options(whole):
        if option.metavar is not None and any(word in str(option.metavar) for word in ("FILE", "PATH", "DIR", ".npy")):
            option.complete = shtab.DIRECTORY if "DIR" in str(option.metavar) else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, shell=arguments.shell), end="")
    return 0


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Every action of a parser and of its verbs."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                found += _options(verb)
    return found
