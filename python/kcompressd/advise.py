"""`advise`: one setting for these pages, its runner-up, and why.

Every compressor is timed page by page (`calibrate`), accounted for as the kernel would (`estimate`), and run in virtual
time behind zswap and zram on a machine of the processors asked for. That gives each option three figures, the less the
better: memory still used, the 99th percentile of a fault, and CPU time a page there and back. The Pareto front are the
options that no other beats in all three. Of it the goal chooses:

- `memory`: the least memory used;
- `latency` and `cpu`: the quickest fault, or the least CPU time, among those that save at least half of what the best saves;
- `balance`: as `estimate`, twice the CPU time must save a tenth of the memory.

zswap needs a swap device behind it, so it is recommended only where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from kcompressd import settings
from kcompressd.calibration import Calibration, calibrate
from kcompressd.design import STORES, Store
from kcompressd.errors import EstimateError
from kcompressd.estimate import CompressorEstimate, Estimate, estimate
from kcompressd.lab import Lab
from kcompressd.machine import Machine
from kcompressd.page_stats import DEFAULT_COMPRESSORS
from kcompressd.pages import Pages
from kcompressd.result import Result
from kcompressd.sim import Sim
from kcompressd.sizes import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

FEW_PAGES: Final = 4096
"""Of fewer pages the zspages that are not full yet are most of the memory used, so compressed bytes are compared."""
Goal: TypeAlias = Literal["balance", "memory", "latency", "cpu"]
GOALS: Final = ("balance", "memory", "latency", "cpu")
Progress: TypeAlias = Callable[[str, int, int], object]
"""Called with what is done (calibrate, estimate, simulate), the part done, and all of it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One store with one compressor: `used` is the share of the memory that stays in use, `fault_ns` the 99th percentile of
    a fault, `cpu_ns` the CPU time of a page there and back; `front`: no other option beats it in all three.
    """

    store: Store
    compressor: str
    used: float
    fault_ns: int
    cpu_ns: int
    front: bool = False

    def beats(self, other: Option) -> bool:
        """Tell whether it is as good in all three figures and better in one."""
        mine, its = (self.used, self.fault_ns, self.cpu_ns), (other.used, other.fault_ns, other.cpu_ns)
        return mine != its and all(a <= b for a, b in zip(mine, its, strict=True))


@dataclass(frozen=True, slots=True)
class Advice:
    """The options in the order of the table, the recommended one and its runner-up (None when nothing helps), the evidence
    in sentences, and `settings`: texts to paste by what takes them.
    """

    goal: Goal
    options: tuple[Option, ...]
    best: Option | None
    runner_up: Option | None
    evidence: tuple[str, ...]
    settings: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain data."""
        return asdict(self)

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
    """Recommend a store and a compressor for `pages`; `cpus`, `ram_bytes` and `swap_device` (a disk or file to swap to)
    describe the machine, this one's where they are None. Raises `EstimateError` and `CodecError`.
    """
    if goal not in GOALS:
        raise EstimateError("goal", f"{goal!r} is none of {', '.join(GOALS)}")
    say = progress or (lambda what, done, total: None)
    calibration = calibrate(pages, compressors, progress=lambda done, total: say("calibrate", done, total))
    found = estimate(pages, compressors, progress=lambda done, total: say("estimate", done, total))
    machine = Machine() if cpus is None else Machine().with_cpus(cpus)
    runs = [(store, compressor) for compressor in found.compressors for store in STORES]
    options = []
    for number, (store, compressor) in enumerate(runs):
        options.append(_option(store, compressor, calibration, machine))
        say("simulate", number + 1, len(runs))
    device = has_swap_device() if swap_device is None else swap_device
    return _decide(_marked(options), found, goal, device, ram_bytes)


def has_swap_device(swaps: Path = Path("/proc/swaps")) -> bool:
    """Tell whether this machine swaps to something that is not zram."""
    try:
        lines = swaps.read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return False
    return any(not line.startswith("/dev/zram") for line in lines if line.strip())


def _option(store: Store, compressor: CompressorEstimate, calibration: Calibration, machine: Machine) -> Option:
    text = compressor.codec.text
    result = Sim(lab=Lab(design="sync", store=store, compressor=text), machine=machine).run(calibration)
    held = compressor.mm_stat.mem_used_total if store == "zram" else compressor.zswap.pool_total_size
    if len(calibration) < FEW_PAGES:
        held = compressor.mm_stat.compr_data_size
    return Option(store, text, held / compressor.mm_stat.orig_data_size, _fault_ns(result), _cpu_ns(result))


def _fault_ns(result: Result) -> int:
    return int(result.timing.fault_page_ns.p99)


def _cpu_ns(result: Result) -> int:
    spent = sum(thread.reclaim_cpu_ns + thread.fault_cpu_ns for thread in result.threads)
    return int(spent / result.pages)


def _marked(options: Sequence[Option]) -> list[Option]:
    """The options with those of the Pareto front marked."""
    return [replace(option, front=not any(other.beats(option) for other in options)) for option in options]


def _decide(options: list[Option], found: Estimate, goal: Goal, device: bool, ram_bytes: int | None) -> Advice:
    able = [option for option in options if device or option.store == "zram"]
    ranked = _ranked([option for option in able if not any(other.beats(option) for other in able)], goal)
    by_text = {compressor.codec.text: compressor for compressor in found.compressors}
    if settings.is_useless(by_text[min(options, key=lambda option: option.used).compressor]):
        said = f"none of this helps here: the best leaves {min(option.used for option in options):.0%} of the memory in use"
        return Advice(goal, tuple(options), None, None, (said, _WHY_USELESS), {})
    best = ranked[0]
    runner_up = ranked[1] if len(ranked) > 1 else None
    memory = found.environment.memory_bytes if ram_bytes is None else ram_bytes
    texts = settings.texts(by_text[best.compressor], best.store, memory)
    evidence = _evidence(best, runner_up, goal, device)
    if len(found.compressors[0].charged) < FEW_PAGES:
        evidence.append(f"fewer than {FEW_PAGES} pages: compressed bytes are compared, zsmalloc's rounding is left out")
    return Advice(goal, tuple(options), best, runner_up, tuple(evidence), texts)


_WHY_USELESS: Final = "the pages are compressed or encrypted already, or random: give the memory to something else"


def _ranked(front: list[Option], goal: Goal) -> list[Option]:
    """The options of a front, the one that suits the goal first."""
    half = (1 - min(option.used for option in front)) / 2
    match goal:
        case "memory":
            return sorted(front, key=lambda option: (option.used, option.fault_ns))
        case "latency":
            return sorted(front, key=lambda option: (1 - option.used < half, option.fault_ns))
        case "cpu":
            return sorted(front, key=lambda option: (1 - option.used < half, option.cpu_ns))
        case "balance":
            return sorted(front, key=lambda option: option.used * math.pow(max(1, option.cpu_ns), settings.EXPONENT))


def _evidence(best: Option, runner_up: Option | None, goal: Goal, device: bool) -> list[str]:
    figures = f"{1 - best.used:.0%} of the memory saved, p99 of a fault {duration(best.fault_ns)}"
    said = [f"{name(best)}: {figures}, {duration(best.cpu_ns)} of CPU a page there and back"]
    if runner_up is not None:
        used, fault, cpu = (
            runner_up.used / best.used - 1,
            runner_up.fault_ns / max(1, best.fault_ns) - 1,
            runner_up.cpu_ns / max(1, best.cpu_ns) - 1,
        )
        said.append(
            f"runner-up {name(runner_up)}: {used:+.0%} memory used, {fault:+.0%} fault time, {cpu:+.0%} CPU time"
        )
    if not device:
        said.append("zswap is left out of the choice: this machine has no swap device behind it")
    rule = {
        "memory": "the least memory used",
        "latency": "the quickest fault that saves at least half of what the best saves",
        "cpu": "the least CPU time that saves at least half of what the best saves",
        "balance": f"twice the CPU time must save {settings.WORTH:.0%} of the memory",
    }
    return [*said, f"chosen from the Pareto front by {goal}: {rule[goal]}"]


def name(option: Option) -> str:
    """What an option is called: "zram with zstd:1"."""
    return f"{option.store} with {option.compressor}"
