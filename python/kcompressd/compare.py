"""`compare`: every design on the same pages, so that what differs is the design.

Repeats are interleaved and their order turns: a machine that becomes slower meanwhile slows all designs
alike. Each repeat of a design is set against the same repeat of the baseline.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kcompressd import policy
from kcompressd.comparison import Comparison, Entry
from kcompressd.design import Design
from kcompressd.errors import LabError, RunInterrupted, refuse_number, refuse_type
from kcompressd.lab import Lab
from kcompressd.pages import Pages
from kcompressd.progress import Progress, untold
from kcompressd.result import Result

if TYPE_CHECKING:
    from kcompressd.job import Job
    from kcompressd.validate import Validation

MIN_REPEATS: Final = 5
ENOUGH: Final = f"give {MIN_REPEATS}, to see what is chance"
BASELINE: Final = "sync"

Report: TypeAlias = Progress
"""Called before each run with the design's name, the runs done, and the runs in all."""


def compare(
    pages: Pages,
    designs: Sequence[str] | None = None,
    *,
    lab: Lab | None = None,
    repeats: int = MIN_REPEATS,
    validate: bool = False,
    on_trace: Callable[[str, Result], object] | None = None,
    progress: Report | None = None,
) -> Comparison:
    """Run `designs` (default: every preset) on the same pages, `repeats` times each in turn.

    `lab` gives everything but the design; all designs get the same number of nodes. With `validate` or
    `on_trace` (called with a name and a traced result) one more run of each is traced, and is not measured.
    Raises `LabError` for fewer than 5 repeats, what `Lab.run` raises, and on Ctrl-C `RunInterrupted` with a Comparison of the
    repeats that every design had.
    """
    refuse_number("repeats", repeats)
    refuse_type("designs", designs, (list, tuple, type(None)), "a list of presets' names")
    refuse_type("lab", lab, (Lab, type(None)), "a Lab")
    if repeats < MIN_REPEATS:
        why = f"{repeats} are too few to tell a difference from noise"
        raise LabError("repeats", why, f"give at least {MIN_REPEATS}")
    labs = _labs(designs or Design.presets(), lab or Lab())
    traced = validate or on_trace is not None
    tell, begun, total = progress or untold, itertools.count(), len(labs) * (repeats + traced)
    runs: dict[str, list[Result]] = {name: [] for name in labs}
    validations: dict[str, Validation] = {}
    try:
        for turn in range(repeats):
            for name in _turned(list(labs), turn):
                tell(name, next(begun), total)
                runs[name].append(labs[name].run(pages))
        for name in labs if traced else ():
            tell(name, next(begun), total)
            result = dataclasses.replace(labs[name], trace=True).run(pages)
            validations[name] = result.trace.validate()
            if on_trace is not None:
                on_trace(name, result)
    except KeyboardInterrupt:
        whole = min(map(len, runs.values()))
        left = f"{whole} of {repeats} repeats" + (f", {len(validations)} of {len(labs)} traces" if traced else "")
        raise _interrupted(_entries(runs, whole), left, validations) from None
    return Comparison(_entries(runs, repeats), validations)


def _entries(runs: Mapping[str, Sequence[Result]], repeats: int) -> tuple[Entry, ...]:
    done = {name: tuple(results[:repeats]) for name, results in runs.items()}
    return tuple(Entry(name, done[name], done[BASELINE]) for name in runs) if repeats else ()


def _interrupted(
    entries: Sequence[Entry], left: str, validations: Mapping[str, Validation] | None = None, title: str = ""
) -> KeyboardInterrupt:
    """The exception that carries what there is; a bare one when that is nothing."""
    found = Comparison(tuple(entries), validations or {}, title, left) if entries else None
    return KeyboardInterrupt() if found is None else RunInterrupted(found)


def matrix(
    rows: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Mapping[str, Any]],
    run: Callable[[Mapping[str, Any], int], Result],
    *,
    repeats: int = 1,
    title: str = "",
    progress: Report | None = None,
) -> Comparison:
    """Run every row in every group: `run` is given the keys that both set, and the repeat. The first row is each group's
    baseline.

    For virtual time, where only what `run` makes of the repeat's number differs (`Job.boot`). On Ctrl-C raises `RunInterrupted`
    with a Comparison of the rows that had all their repeats.
    """
    tell, begun, total = progress or untold, itertools.count(), len(rows) * len(groups) * repeats
    entries: list[Entry] = []
    try:
        for group, common in groups.items():
            base: tuple[Result, ...] = ()
            for name, keys in rows.items():
                done = []
                for repeat in range(repeats):
                    tell(f"{name} {group}".rstrip(), next(begun), total)
                    done.append(run({**common, **keys}, repeat))
                results = tuple(done)
                base = base or results
                entries.append(Entry(name, results, base, group))
    except KeyboardInterrupt:
        raise _interrupted(entries, f"{len(entries)} of {len(rows) * len(groups)} rows", title=title) from None
    return Comparison(tuple(entries), title=title)


def compare_job(
    job: Job,
    designs: Sequence[str] | None = None,
    cpus: Sequence[int] = (),
    *,
    repeats: int | None = None,
    progress: Report | None = None,
) -> Comparison:
    """Run a job in virtual time with each of `designs` (default: every preset), on each of so many `cpus`.

    A design is a preset's name, or "FILE.py:CLASS" for a policy of your own, which starts at the job's folder. A design of the
    job's own, that is no preset as published, is the last row. `repeats` boots of the machine (`Job.boot`; default `boots`). All
    designs get the same number of nodes.

    Raises what `Job.sim` raises, and `LabError` for no repeats.
    """
    from kcompressd.job import Job

    refuse_type("job", job, Job, "a Job")
    refuse_type("designs", designs, (list, tuple, type(None)), "a list of designs")
    refuse_type("cpus", cpus, (list, tuple), "a list of whole numbers")
    count = boots(job) if repeats is None else repeats
    refuse_number("repeats", count, 1, fix=ENOUGH)
    listed = {name.rpartition(":")[2]: {"design": name} for name in _baseline_first(designs or Design.presets())}
    named = {**listed, **_own(job)}
    nodes = max(job.replace(keys).lab.nodes() for keys in named.values())
    same = {"node.kswapd": nodes} if nodes > 1 else {}
    rows = {name: {**keys, **same} for name, keys in named.items()}
    groups = {f"{n} CPU{'s' if n > 1 else ''}": {"node.cpus": n} for n in cpus} or {"": {}}
    calibration = job.calibration  # once: a job without one measures

    def run(keys: Mapping[str, Any], boot: int) -> Result:
        return job.replace(keys).boot(boot).sim(calibration=calibration)

    return matrix(rows, groups, run, repeats=count, progress=progress)


def _own(job: Job) -> dict[str, dict[str, Any]]:
    """The row of a design that is the job's own: a table with more than a preset's name, or a policy."""
    given = job.tree.get("design", BASELINE)
    if isinstance(given, str):
        return {given.rpartition(":")[2]: {"design": given}} if policy.is_policy(given) else {}
    return {"the job's design": {}} if given.keys() - {"preset"} else {}


def boots(job: Job) -> int:
    """Return how many boots of a job tell a difference from chance: one where memory is not short, as all are alike."""
    return 1 if job.node is None else MIN_REPEATS


def _baseline_first(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([BASELINE, *names]))


def _labs(names: Sequence[str], base: Lab) -> dict[str, Lab]:
    """The labs by name, the baseline first, all with as many nodes as the design that needs most."""
    labs = {name: dataclasses.replace(base, design=name, trace=False) for name in _baseline_first(names)}
    nodes = base.kswapd if base.kswapd is not None else max(lab.nodes() for lab in labs.values())
    return {name: dataclasses.replace(lab, kswapd=nodes) for name, lab in labs.items()}


def _turned(names: list[str], turn: int) -> list[str]:
    at = turn % len(names)
    return names[at:] + names[:at]
