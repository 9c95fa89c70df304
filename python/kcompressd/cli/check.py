"""`kcompressd check`: every order in which a small system's actors can step."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompressd.cli import common
from kcompressd.cli.common import DESIGNS

if TYPE_CHECKING:
    from kcompressd.check import Check, Scenario
    from kcompressd.policy import Policy

TOGGLES = ("writeback", "zswap_max", "depth", "pool", "stop")
"""As the core has them; written out so that help needs no extension module."""


def add(verbs: common.Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "check",
        help="explore every order of steps of a design on a few folios",
        description="Runs the core's own code in every order that its actors can step in, and looks for what is wrong.",
    )
    add = parser.add_argument
    add("--design", type=common.design, metavar="NAME", help=f"{', '.join(DESIGNS)} or FILE.py:CLASS (default split)")
    add("--store", choices=("zswap", "zram"), default="zswap", help="what compresses (default zswap)")
    add("--folios", type=common.count, default=2, metavar="N", help="folios, at most 16 (default 2)")
    add(
        "--folio-order", type=common.natural, default=0, metavar="N", help="of 2^N pages, at most 16 in all (default 0)"
    )
    add("--kcompressd", type=common.count, metavar="N", help="kcompressd threads (default: the design's)")
    add("--depth", type=common.natural, default=2, metavar="N", help="queue depth (default 2)")
    add("--incompressible", action="store_true", help="the compressor gives up on every folio")
    add("--writeback-denied", action="store_true", help="memory.zswap.writeback is 0 at the start")
    add("--pool-limit", type=common.count, metavar="PAGES", help="zswap's pool limit or zram's mem_limit, pages")
    add("--faults", type=common.natural, default=0, metavar="N", help="device writes, zs_malloc, compressors that fail")
    add("--toggle", action="append", choices=TOGGLES, default=[], help="turned once, at any time; may be repeated")
    add("--touch", action="store_true", help="an application touches every folio, at any time")
    add("--exit", action="store_true", help="an application gives every folio up, at any time")
    add("--swapoff", action="store_true", help="every page is brought in and parted from its slot, at any time")
    add("--kernel", type=common.kernel, default=(6, 12), metavar="X.Y", help="kernel modelled (default 6.12)")
    add("--max-states", type=common.natural, default=0, metavar="N", help="stop after N states")
    add("--max-depth", type=common.natural, default=0, metavar="N", help="look no further than N steps")
    add("--max-memory", metavar="SIZE", help="stop when the search's tables take SIZE: bytes, or 512M")
    add("--no-reduction", action="store_true", help="explore without symmetry and partial-order reduction")
    add("--json", metavar="FILE", help="save what was found; - for standard output")
    add("--replay", metavar="FILE", help="run the schedule of a saved check again, with its scenario, and print it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explore or replay; 1 when something is wrong, 3 when a bound ended it."""
    from kcompressd.check import Check, check
    from kcompressd.sizes import parse_limit

    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.design)
    common.refuse_output(arguments.json, stream=True)
    memory = 0 if arguments.max_memory is None else parse_limit(arguments.max_memory, None, "max memory")
    bounds = {"max_states": arguments.max_states, "max_depth": arguments.max_depth, "max_memory_bytes": memory}
    reduces = not arguments.no_reduction
    return common.shown(
        lambda: check(_scenario(arguments), symmetry=reduces, reduction=reduces, **bounds),
        Check,
        lambda found: _show(found, arguments),
        lambda _: "not every state was seen",
    )


def _show(found: Check, arguments: argparse.Namespace) -> int:
    if common.save_json(found.to_json, arguments.json):
        common.console().print(str(found), markup=False, soft_wrap=True)
    return found.exit_code


def _scenario(arguments: argparse.Namespace) -> Scenario:
    from kcompressd.check import INCOMPRESSIBLE, Scenario

    return Scenario(
        design=_design(arguments.design or "split"),
        store=arguments.store,
        folios=arguments.folios,
        folio_order=arguments.folio_order,
        threads=arguments.kcompressd,
        depth=arguments.depth,
        bytes=INCOMPRESSIBLE if arguments.incompressible else 1000,
        faults=arguments.faults,
        toggles=tuple(arguments.toggle),
        touch=arguments.touch,
        exit=arguments.exit,
        swapoff=arguments.swapoff,
        writeback=not arguments.writeback_denied,
        pool_limit_pages=arguments.pool_limit,
        kernel=arguments.kernel,
    )


def _design(text: str) -> str | Policy:
    from kcompressd import policy

    return policy.load(text) if policy.is_policy(text) else text


def _replay(path: str, design: str | None) -> int:
    from kcompressd.check import Scenario, replay
    from kcompressd.errors import NOT_PARSED, LabError, ResultFileError
    from kcompressd.files import read_text
    from kcompressd.policy import Policy

    try:
        saved: dict[str, Any] = json.loads(read_text(Path(path)))
        policy = None if design is None else _design(design)
        scenario = Scenario.from_config(saved["scenario"], policy if isinstance(policy, Policy) else None)
        schedule = list(saved["schedule"])
    except LabError:
        raise
    except (*NOT_PARSED, KeyError, TypeError) as error:
        raise ResultFileError(path, "is no saved check", "make one with: kcompressd check --json FILE") from error
    replayed = replay(scenario, schedule)
    lines = [str(row) for row in replayed.rows]
    lines.append(f"wrong: {replayed.why}" if replayed.why else "nothing is wrong at its end")
    common.console().print("\n".join(lines), markup=False, soft_wrap=True)
    return 1 if replayed.why else 0
