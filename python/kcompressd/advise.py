"""`advise`: one setting for these pages, its runner-up, and why.

Every page is timed with every compressor (`calibration.timed`). The same times are accounted for as the kernel would
(`estimate`), and run in virtual time under memory pressure on a machine of the processors and the memory asked for
(`pressure`). That gives each store and compressor three figures, the less the better: memory still used, the 99.9th percentile
of a page touch, and CPU time a touch. The Pareto front are the options that no other beats in all three. Of it the goal chooses:

- `memory`: the least memory used;
- `latency` and `cpu`: the shortest tail, or the least CPU time, among those that save at least half of what the best saves;
- `balance`: as `estimate`, twice the CPU time must save a tenth of the memory.

zswap needs a swap device behind it: without one it is left out; it has no levels, so only default ones are tried with it.
What the asynchronous designs would change is run for the recommended option, and shown beside it: no released kernel has
one, so nothing can be set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from kcompressd import calibration, settings
from kcompressd import estimate as estimates
from kcompressd.design import STORES, Design, Store
from kcompressd.errors import EstimateError, RunInterrupted, refuse_number, refuse_type
from kcompressd.estimate import CompressorEstimate, Estimate
from kcompressd.html.scale import size
from kcompressd.machine import Machine
from kcompressd.page_stats import DEFAULT_COMPRESSORS
from kcompressd.pages import Pages
from kcompressd.pressure import BOOTS, LEAST_PAGES, WORKING_SET, Pressed, Pressure, overlap
from kcompressd.progress import Progress, untold
from kcompressd.sizes import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

FEW_PAGES: Final = 4096
"""Of fewer pages the zspages that are not full yet are most of the memory used, so compressed bytes are compared."""
MOST_PAGES: Final = 16_384
"""Pages that are measured at most, evenly spread over those given."""
PASSES: Final = 3
"""How often each of them is timed at least."""
Goal: TypeAlias = Literal["balance", "memory", "latency", "cpu"]
VERSION: Final = 1
"""Of the stored form."""
GOALS: Final = get_args(Goal)


@dataclass(frozen=True, slots=True)
class Option:
    """One store with one compressor: `used` is the share of the memory that stays in use, `touch_ns` the 99.9th percentile of a
    page touch under pressure, from `touch_least_ns` to `touch_most_ns` by boot, `cpu_ns` the CPU time a touch; `holds`: the pressure
    did not exhaust the memory; `front`: no other option beats it in all three.
    """

    store: Store
    compressor: str
    used: float
    touch_ns: int
    cpu_ns: int
    holds: bool = True
    front: bool = False
    touch_least_ns: int = 0
    touch_most_ns: int = 0

    @property
    def tails(self) -> tuple[int, int]:
        """The least and the most `touch_ns` of the boots; 0 where they are not known."""
        return self.touch_least_ns, self.touch_most_ns

    def beats(self, other: Option) -> bool:
        """Tell whether it holds where the other does not, or is as good in all three figures and better in one."""
        if self.holds != other.holds:
            return self.holds
        mine, its = (self.used, self.touch_ns, self.cpu_ns), (other.used, other.touch_ns, other.cpu_ns)
        return mine != its and all(a <= b for a, b in zip(mine, its, strict=True))


@dataclass(frozen=True, slots=True)
class Advice:
    """The options in the order of the table, the recommended one and its runner-up (None when nothing helps), the evidence
    in sentences, `designs` under the same pressure with the recommended option, and `settings`: texts to paste by what takes them.
    `complete`: nobody ended it early.
    """

    goal: Goal
    options: tuple[Option, ...]
    best: Option | None
    runner_up: Option | None
    evidence: tuple[str, ...]
    designs: tuple[Pressed, ...]
    settings: dict[str, str]
    complete: bool = True

    @property
    def exit_code(self) -> int:
        """What a command that shows this exits with: 0, or 3 when it is partial."""
        return 0 if self.complete else 3

    def to_dict(self) -> dict[str, Any]:
        """Return the stored form as plain data (docs/formats.md)."""
        return {"version": VERSION, "kind": "advice", **asdict(self)}

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Advice:
        """Return the advice of its stored form; raises `KeyError` and `TypeError` for one that lacks or has something else."""
        given = {name: stored[name] for name in (field.name for field in fields(cls))}
        for name in ("best", "runner_up"):
            given[name] = None if stored[name] is None else Option(**stored[name])
        given["options"] = tuple(Option(**option) for option in stored["options"])
        given["designs"] = tuple(Pressed(**run) for run in stored["designs"])
        given["evidence"] = tuple(stored["evidence"])
        return cls(**given)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML file's text."""
        from kcompressd.html import of_advice

        return of_advice.document(self)

    def _repr_html_(self) -> str:
        from kcompressd.html import of_advice

        return of_advice.fragment(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the front, the recommendation, and the settings."""
        from kcompressd import advice_report

        return advice_report.parts(self)


def advise(
    pages: Pages,
    *,
    goal: Goal = "balance",
    cpus: int | None = None,
    ram_bytes: int | None = None,
    swap_device: bool | None = None,
    compressors: str | Sequence[str] = DEFAULT_COMPRESSORS,
    progress: Progress | None = None,
) -> Advice:
    """Recommend a store and a compressor for `pages`, of which `MOST_PAGES` are measured; `cpus` (default: two), `ram_bytes` and
    `swap_device` (a disk or file to swap to; default of both: as this machine) describe the machine. `progress` is called with what
    is done ("measuring", "simulating zram with lz4"), the part done, and all of it.

    Raises `EstimateError`, `CodecError`, `LabError` for processors that no machine has, and on Ctrl-C `RunInterrupted` with the
    Advice so far: options without a recommendation, or that with fewer designs.
    """
    refuse_type("pages", pages, Pages, "a Pages", EstimateError)
    refuse_number("ram_bytes", 1 if ram_bytes is None else ram_bytes, 1, error=EstimateError)
    if goal not in GOALS:
        raise EstimateError("goal", f"{goal!r} is none of {', '.join(GOALS)}")
    say = progress or untold
    machine = Machine() if cpus is None else Machine().with_cpus(cpus)
    some = pages[:: -(-len(pages) // MOST_PAGES) or 1]
    stats, passes = calibration.timed(
        some, compressors, passes=PASSES, progress=lambda done, total: say("measuring", done, total)
    )
    found = estimates.of_stats(stats)
    if settings.is_useless(min(found.compressors, key=lambda one: one.mm_stat.compr_data_size)):
        return _useless(goal, found)
    ram = found.environment.memory_bytes if ram_bytes is None else ram_bytes
    pressure = Pressure(calibration.of_stats(some, stats, passes), machine, ram)
    device = has_swap_device() if swap_device is None else swap_device
    stores = [store for store in STORES if device or store == "zram"]
    return _advised(goal, found, pressure, stores, [*_facts(pages, some, pressure, device)], say)


def has_swap_device(swaps: Path = Path("/proc/swaps")) -> bool:
    """Tell whether this machine swaps to something that is not zram."""
    try:
        lines = swaps.read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return False
    return any(not line.startswith("/dev/zram") for line in lines if line.strip())


def _advised(
    goal: Goal, found: Estimate, pressure: Pressure, stores: Sequence[Store], facts: Sequence[str], say: Progress
) -> Advice:
    todo = [
        (store, compressor)
        for compressor in found.compressors
        for store in stores
        if store == "zram" or not settings.has_own_level(compressor.codec)
    ]
    runs = len(todo) + len(Design.presets())
    options: list[Option] = []
    try:
        for number, (store, compressor) in enumerate(todo):
            say(f"simulating {store} with {compressor.codec.text}", number, runs)
            options.append(_option(compressor, store, pressure.run(store, compressor.codec.text)))
    except KeyboardInterrupt:
        said = f"interrupted: {len(options)} of {len(todo)} options were run, so none is recommended"
        partial = Advice(goal, tuple(_marked(options)), None, None, (said, *facts), (), {}, complete=False)
        raise RunInterrupted(partial) from None
    options = _marked(options)
    ranked = _ranked([option for option in options if option.front and option.holds], goal)
    if not ranked:
        return Advice(goal, tuple(options), None, None, (_NOTHING_HOLDS, *facts), (), {})
    best, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
    texts = settings.texts(found[best.compressor], best.store, pressure.ram_bytes)
    evidence = (*_evidence(best, runner_up, goal), *facts)
    return _with_designs(Advice(goal, tuple(options), best, runner_up, evidence, (), texts), best, pressure, say, runs)


def _with_designs(advice: Advice, best: Option, pressure: Pressure, say: Progress, runs: int) -> Advice:
    """The advice with every design under the same pressure: the last of so many runs."""
    designs = Design.presets()
    changed: list[Pressed] = []
    try:
        for design in designs:
            say(f"simulating {design}", runs - len(designs) + len(changed), runs)
            changed.append(pressure.run(best.store, best.compressor, design))
        say(f"simulating {designs[-1]}", runs, runs)
    except KeyboardInterrupt:
        said = f"interrupted: {len(changed)} of {len(designs)} designs were run with it"
        partial = replace(advice, designs=tuple(changed), evidence=(*advice.evidence, said))
        raise RunInterrupted(replace(partial, complete=len(changed) == len(designs))) from None
    return replace(advice, designs=tuple(changed))


def _option(compressor: CompressorEstimate, store: Store, run: Pressed) -> Option:
    held = compressor.mm_stat.mem_used_total if store == "zram" else compressor.zswap.pool_total_size
    if len(compressor.charged) < FEW_PAGES:
        held = compressor.mm_stat.compr_data_size
    used = held / compressor.mm_stat.orig_data_size
    return Option(
        store,
        compressor.codec.text,
        used,
        run.touch_p999_ns,
        run.cpu_ns,
        run.holds,
        touch_least_ns=run.touch_p999_least_ns,
        touch_most_ns=run.touch_p999_most_ns,
    )


def _marked(options: Sequence[Option]) -> list[Option]:
    """The options with those of the Pareto front marked."""
    return [replace(option, front=not any(other.beats(option) for other in options)) for option in options]


_NOTHING_HOLDS: Final = (
    f"none of this helps here: with every option {WORKING_SET - 1:.0%} more than the memory exhausts it; "
    "the pages do not become small enough"
)
_WHY_USELESS: Final = "the pages are compressed or encrypted already, or random: give the memory to something else"


def _useless(goal: Goal, found: Estimate) -> Advice:
    """The answer for pages that hardly become smaller; nothing is run for it."""
    best = min(one.mm_stat.compr_data_size / one.mm_stat.orig_data_size for one in found.compressors)
    said = f"none of this helps here: the best leaves {best:.0%} of the memory in use"
    return Advice(goal, (), None, None, (said, _WHY_USELESS), (), {})


def _ranked(front: Sequence[Option], goal: Goal) -> list[Option]:
    """The options of a front, the one that suits the goal first."""
    half = (1 - min((option.used for option in front), default=0)) / 2
    match goal:
        case "memory":
            return sorted(front, key=lambda option: (option.used, option.touch_ns))
        case "latency":
            return sorted(front, key=lambda option: (1 - option.used < half, option.touch_ns))
        case "cpu":
            return sorted(front, key=lambda option: (1 - option.used < half, option.cpu_ns))
        case "balance":
            return sorted(front, key=lambda option: option.used * math.pow(max(1, option.cpu_ns), settings.EXPONENT))


_RULES: Final = {
    "memory": "the least memory used",
    "latency": "the shortest tail that saves at least half of what the best saves",
    "cpu": "the least CPU time that saves at least half of what the best saves",
    "balance": f"twice the CPU time must save {settings.WORTH:.0%} of the memory",
}


def _beyond(share: float) -> str:
    text = f"{share:+.0%}"
    return "±0%" if text[1:] == "0%" else text


def _evidence(best: Option, runner_up: Option | None, goal: Goal) -> Iterator[str]:
    figures = (
        f"{1 - best.used:.0%} of the memory saved, one touch in a thousand takes {duration(best.touch_ns)} or more"
    )
    yield f"{name(best)}: {figures}, {duration(best.cpu_ns)} of CPU a touch"
    if runner_up is not None:
        pairs = zip(
            (runner_up.used, runner_up.touch_ns, runner_up.cpu_ns), (best.used, best.touch_ns, best.cpu_ns), strict=True
        )
        used, touch, cpu = (_beyond(its / max(mine, 1e-9) - 1) for its, mine in pairs)
        touch = "≈" if overlap(runner_up.tails, best.tails) else touch
        yield f"runner-up {name(runner_up)}: {used} memory used, {touch} tail, {cpu} CPU time"
    yield f"chosen from the Pareto front by {goal}: {_RULES[goal]}"


def _facts(pages: Pages, some: Pages, pressure: Pressure, device: bool) -> Iterator[str]:
    """What was measured and run."""
    managed, cpus = pressure.node.managed, pressure.machine.cpus
    part = f", run as {size(managed * some.page_size)} with its watermarks in proportion" if pressure.scaled > 1 else ""
    if pressure.ram_bytes < LEAST_PAGES * some.page_size:
        part = f", run as {size(managed * some.page_size)}, the least there is"
    yield (
        f"virtual time: {cpus} CPU{'s' if cpus > 1 else ''}, {size(pressure.ram_bytes)} of memory{part}; "
        f"random writes to {WORKING_SET} times as much, these pages over and over; medians of {BOOTS} boots, ≈ where theirs overlap"
    )
    if len(some) < len(pages):
        yield f"{len(some)} of {len(pages)} pages were measured, evenly spread"
    if len(some) < FEW_PAGES:
        yield f"fewer than {FEW_PAGES} pages: compressed bytes are compared, zsmalloc's rounding is left out"
    if not device:
        yield "zswap is left out: this machine has no swap device behind it"


def name(option: Option) -> str:
    """What an option is called: "zram with zstd:1"."""
    return f"{option.store} with {option.compressor}"
