"""`kcompressd doctor`: what this host can do, and how to get what it cannot."""

from __future__ import annotations

import argparse
import json

from kcompressd.cli import common


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="say what this host can do",
        description="Looks at rights, kernel and packages; changes nothing. What is missing is said with its fix; "
        "nothing of it is needed for run, compare, estimate and sim on a page file.",
    )
    parser.add_argument("--json", metavar="FILE", help="save the findings; - for standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every check; what is missing is no error."""
    from rich.table import Table

    from kcompressd import doctor

    common.refuse_output(arguments.json, stream=True)
    checks = doctor.examine()
    if common.save_json(lambda: json.dumps(doctor.to_dict(checks), indent=1) + "\n", arguments.json):
        table = Table(box=None, pad_edge=False)
        for heading in ("", "what", "here", "for", "how to get it"):
            table.add_column(heading, overflow="fold")
        for check in checks:
            table.add_row("✓" if check.ok else "-", check.name, check.found, check.for_, "" if check.ok else check.fix)
        common.console().print(table)
    return 0
