"""The equations that a result must satisfy, as texts: what docs/accounting.md prints is what is evaluated here.

An equation is a claim about one `Result`: two sides of sums, differences and products of its counters, with `=` or
`≤` between them. Where it does not apply (another store, a partial run) it is skipped. A failure is one
sentence with both values.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kcompressd import lifecycle
from kcompressd.result import Result

PLACES: Final[dict[str, tuple[str, ...]]] = {
    "stored": ("compressed", "compressed_freed"),
    "zero": ("zero_filled_freed",),
    "written": ("written_back", "written_back_freed"),
    "activated": ("activated",),
    "kept": ("resident", "redirtied", "resident_swapcache", "freed"),
    "half_way": tuple(state.name for state in lifecycle.STATES if not state.rests),
}
"""Words of the equations: where a page is at the end of the reclaim phase, each the sum of these states of
`census.reclaim`. Every state is in exactly one but `tail`, whose pages are counted where their folio's first page is.
"""

_OF: Final = {
    "all": "",
    "pageout": "pageout",
    "workload": "with a memory budget",
    "unlimited": "with a memory budget, without memory.max, memory.high and memory.reclaim",
    "classic": "active and inactive lists",
    "lists": "with a memory budget, active and inactive lists",
    "generations": "with a memory budget, the multi-gen LRU",
}


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation: its name, its text, and when it applies."""

    name: str
    text: str
    store: str | None = None
    """Only with this store."""
    hold: str | None = None
    """Only with designs that hold a queued folio so (`Design.hold`)."""
    partial: bool = False
    """Holds at any moment, and so for a partial result too."""
    fault: bool = False
    """Speaks of the fault phase, which a run may do without."""
    single: bool = False
    """Holds events or looks against pages: not for large folios, of which one is for many pages."""
    files: bool | None = None
    """Only of runs whose applications read files, or only of those where none does."""
    of: Literal["all", "pageout", "classic", "workload", "unlimited", "lists", "generations"] = "all"
    """Only of runs where everything goes out and then comes back; where an application runs beside reclaim; or of the
    latter without memory.max, memory.high and memory.reclaim, whose reclaim the kernel does not count by who
    did it; or only on one kind of lists."""

    def applies(self, result: Result) -> bool:
        """Tell whether the equation says anything about `result`; a kernel's own counters prove no lifecycle."""
        if result.kind == "observed":
            return False
        in_store = self.store is None or result.config.store == self.store
        held_so = self.hold is None or result.config.design.get("hold") == self.hold
        has_phase = not self.fault or result.config.fault != "none"
        of_it = self.of in kinds(result.config) and not (self.single and _large(result))
        of_it = of_it and self.files in (None, reads_files(result.config))
        return in_store and held_so and has_phase and of_it and (self.partial or result.complete)

    def sides(self, result: Result) -> tuple[int, int]:
        """Return the values of the left and the right side."""
        left, _, right = _parsed(self.text)
        return _value(left, result), _value(right, result)

    def failure(self, result: Result) -> str | None:
        """Return the sentence that says what does not hold, or None."""
        left, right = self.sides(result)
        holds = _parsed(self.text)[1](left, right)
        return None if holds else f"{self.name}: {self.text}: {left} against {right}"

    def paths(self) -> frozenset[str]:
        """Return what the equation names in a result, words spelled out: `vmstat.zswpout`, `census.reclaim`."""
        return _named(self.text)

    def when(self) -> str:
        """Return when it applies, in words."""
        of = _OF[self.of]
        words = [
            self.store or "",
            f"hold = {self.hold}" if self.hold else "",
            of,
            "with a fault phase" if self.fault else "",
            "of single pages" if self.single else "",
            "" if self.files is None else ("where an application has a file" if self.files else "without files"),
            "at any moment" if self.partial else "",
        ]
        return ", ".join(filter(None, words)) or "at the end"


def kinds(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which of the kinds of runs that equations speak of a result's `config` asks for."""
    if config.get("workload") is None:
        return "all", "pageout", "classic"
    lists = ("generations",) if (config.get("node") or {}).get("lru_gen") else ("lists", "classic")
    return "all", "workload", *lists, *(() if _limited(config) else ("unlimited",))


def _limited(config: Mapping[str, Any]) -> bool:
    groups = config.get("memcgs") or ()
    limited = any(group.get(key) is not None for group in groups for key in ("memory_max", "memory_high"))
    return limited or any(group.get("memory_reclaim") for group in groups)


def _large(result: Result) -> bool:
    return bool(result.mthp) or bool(result.config.get("folio_order"))


def reads_files(config: Mapping[str, Any]) -> bool:
    """Tell whether an application of a result's `config` has a file."""
    apps = config.get("workload")
    return isinstance(apps, list | tuple) and any(isinstance(a, Mapping) and a.get("file_pages") for a in apps)


def failures(result: Result) -> list[str]:
    """Return a sentence for every equation that applies and does not hold."""
    found = (equation.failure(result) for equation in EQUATIONS if equation.applies(result))
    return [failure for failure in found if failure is not None]


def _counts(
    counter: str,
    event: str,
    of: Literal["all", "pageout", "workload"] = "all",
    *,
    single: bool = True,
    files: bool | None = None,
) -> Equation:
    text = f"vmstat.{counter} = lifecycle.by_event.{event}"
    return Equation(f"{counter} counts {event}", text, of=of, single=single, files=files)


EQUATIONS: Final[tuple[Equation, ...]] = (
    Equation("pages in, reclaim", "sum(census.reclaim) = config.pages", partial=True),
    Equation("pages in, fault", "sum(census.fault) = config.pages", fault=True),
    Equation("every page has a place", "stored + zero + written + activated + kept = config.pages"),
    Equation("nothing half way, reclaim", "half_way = 0"),
    Equation(
        "nothing half way, fault",
        "census.fault.isolated + census.fault.unmapped + census.fault.queued + census.fault.compressing"
        " + census.fault.writing_back + census.fault.faulting_in = 0",
    ),
    Equation("events add up", "sum(lifecycle.by_event) = lifecycle.events", partial=True),
    Equation("the law", "lifecycle.violations = 0", partial=True),
    Equation("contents", "len(mismatched) = 0", partial=True),
    _counts("pgscan_kswapd", "isolate", "pageout"),
    _counts("pgsteal_kswapd", "reclaim", "pageout"),
    Equation("nr_vmscan_write counts pageout", "vmstat.nr_vmscan_write ≤ lifecycle.by_event.pageout", single=True),
    Equation(
        "what is paged out is written or activated",
        "vmstat.nr_vmscan_write + vmstat.exit_activated = lifecycle.by_event.pageout",
        of="workload",
        single=True,
    ),
    _counts("pgrotated", "rotate"),
    _counts("swpout_zero", "zero"),
    _counts("kcompressd_queued", "queue", single=False),
    _counts("pgmajfault", "fault", single=False, files=False),
    Equation("pgmajfault counts fault, and files' beside", "lifecycle.by_event.fault ≤ vmstat.pgmajfault", files=True),
    Equation("only anonymous pages are scanned", "vmstat.pgscan_anon = vmstat.pgscan_kswapd", of="pageout"),
    Equation("only anonymous pages are freed", "vmstat.pgsteal_anon = vmstat.pgsteal_kswapd", of="pageout"),
    Equation(
        "looks end",
        "vmstat.pgsteal_kswapd + vmstat.exit_queued + vmstat.exit_locked + vmstat.exit_writeback + vmstat.exit_kept"
        " ≤ vmstat.pgscan_kswapd",
        of="pageout",
    ),
    _counts("pgscan_anon", "isolate", "workload"),
    _counts("pgsteal_anon", "reclaim", "workload"),
    Equation(
        "scanned, by kind and by whom",
        "vmstat.pgscan_anon + vmstat.pgscan_file = vmstat.pgscan_kswapd + vmstat.pgscan_direct",
        of="unlimited",
    ),
    Equation(
        "freed, by kind and by whom",
        "vmstat.pgsteal_anon + vmstat.pgsteal_file = vmstat.pgsteal_kswapd + vmstat.pgsteal_direct",
        of="unlimited",
    ),
    Equation(
        "every look has one end",
        "vmstat.pgsteal_anon + vmstat.exit_queued + vmstat.exit_locked + vmstat.exit_writeback + vmstat.exit_referenced"
        " + vmstat.exit_referenced_activated + vmstat.exit_add_to_swap + vmstat.exit_activated + vmstat.exit_dirty"
        " + vmstat.exit_refs + vmstat.exit_kept = vmstat.pgscan_anon",
        of="lists",
        single=True,
    ),
    Equation(
        "every look has an end, and who became clean meanwhile two",
        "vmstat.pgscan_anon ≤ vmstat.pgsteal_anon + vmstat.exit_queued + vmstat.exit_locked + vmstat.exit_writeback"
        " + vmstat.exit_referenced + vmstat.exit_referenced_activated + vmstat.exit_add_to_swap + vmstat.exit_activated"
        " + vmstat.exit_dirty + vmstat.exit_refs + vmstat.exit_kept",
        of="generations",
        single=True,
    ),
    Equation(
        "what is written was paged out",
        "vmstat.pswpout + vmstat.swpout_zero ≤ vmstat.nr_vmscan_write",
        store="zram",
        of="workload",
    ),
    Equation("pages that are queued are kept locked", "vmstat.exit_queued = vmstat.kcompressd_queued", hold="locked"),
    Equation(
        "pages that are queued are kept under writeback",
        "vmstat.kcompressd_queued ≤ vmstat.exit_writeback",
        hold="writeback",
    ),
    Equation(
        "pages from the active list",
        "vmstat.pgdeactivate = lifecycle.by_event.deactivate",
        of="classic",
        single=True,
        files=False,
    ),
    Equation(
        "pages from the active lists",
        "lifecycle.by_event.deactivate ≤ vmstat.pgdeactivate",
        of="classic",
        single=True,
        files=True,
    ),
    Equation(
        "what was page cache or was read is there or was freed",
        "config.page_size * config.node.file + 1024 * vmstat.pgpgin"
        " = config.page_size * (vmstat.nr_file_pages - vmstat.nr_swapcached - vmstat.nr_shmem + vmstat.pgsteal_file"
        " + vmstat.pswpin)",
        files=True,
    ),
    Equation(
        "page cache is on lists, or on its way there",
        "vmstat.nr_inactive_file + vmstat.nr_active_file + vmstat.nr_swapcached + vmstat.nr_shmem"
        " ≤ vmstat.nr_file_pages",
        files=True,
    ),
    Equation("page cache is looked at before it goes", "vmstat.pgsteal_file ≤ vmstat.pgscan_file", files=True),
    Equation(
        "refaults of page cache, activated",
        "vmstat.workingset_activate_file ≤ vmstat.workingset_refault_file",
        files=True,
    ),
    Equation(
        "activated refaults of page cache, restored",
        "vmstat.workingset_restore_file ≤ vmstat.workingset_activate_file",
        files=True,
    ),
    Equation("generations have no active list", "vmstat.pgdeactivate = 0", of="generations"),
    Equation("pages looked at on the active list", "vmstat.pgdeactivate ≤ vmstat.pgrefill"),
    Equation(
        "no queued page is forgotten",
        "vmstat.kcompressd_done + vmstat.kcompressd_head = vmstat.kcompressd_queued",
    ),
    Equation(
        "frames given up",
        "vmstat.pgsteal_kswapd - lifecycle.by_event.shrink = census.reclaim.compressed_freed"
        " + census.reclaim.zero_filled_freed + census.reclaim.written_back_freed",
        of="pageout",
    ),
    Equation("zero pages", "vmstat.swpout_zero = zero", of="pageout"),
    Equation("reads", "vmstat.zswpin + vmstat.pswpin + vmstat.swpin_zero = lifecycle.by_event.fault"),
    Equation("faults", "vmstat.pgfault = lifecycle.by_event.fault + lifecycle.by_event.swapcache_hit", of="pageout"),
    Equation(
        "faults end",
        "lifecycle.by_event.fault = lifecycle.by_event.load + lifecycle.by_event.load_error",
    ),
    Equation("KiB read", "1024 * vmstat.pgpgin = config.page_size * vmstat.pswpin", partial=True, files=False),
    Equation("KiB written", "1024 * vmstat.pgpgout = config.page_size * vmstat.pswpout", partial=True),
    Equation(
        "nothing is isolated or under writeback",
        "vmstat.nr_isolated_anon + vmstat.nr_isolated_file + vmstat.nr_writeback = 0",
    ),
    Equation(
        "pages in the swap cache",
        "census.reclaim.compressed + census.reclaim.written_back + census.reclaim.redirtied"
        " + census.reclaim.resident_swapcache ≤ vmstat.nr_swapcached",
    ),
    Equation("zswap stores", "vmstat.zswpout = lifecycle.by_event.store", store="zswap", of="pageout", single=True),
    Equation("zswap pages, by census", "zswap.stored_pages = stored", store="zswap", of="pageout"),
    Equation(
        "zswap pages, by counters", "vmstat.zswpout - vmstat.zswpwb = zswap.stored_pages", store="zswap", of="pageout"
    ),
    Equation("zswap write-back", "zswap.written_back_pages = vmstat.zswpwb", store="zswap", of="pageout"),
    Equation("zswap pool", "zswap.pool_total_size = config.page_size * vmstat.nr_zspages", store="zswap"),
    Equation(
        "device writes arrive", "lifecycle.by_event.end_writeback = written", store="zswap", of="pageout", single=True
    ),
    Equation(
        "device writes end",
        "vmstat.pswpout ≤ lifecycle.by_event.end_writeback + lifecycle.by_event.redirty",
        store="zswap",
        of="pageout",
        single=True,
    ),
    Equation("device writes begin", "lifecycle.by_event.end_writeback ≤ vmstat.pswpout", store="zswap", of="pageout"),
    Equation("writes end", "vmstat.nr_written = vmstat.pswpout", store="zswap", hold="locked"),
    Equation("writes end, and what is held so", "vmstat.pswpout ≤ vmstat.nr_written", store="zswap", hold="writeback"),
    Equation("zram writes end", "vmstat.nr_written = vmstat.pswpout", store="zram"),
    Equation("zram writes", "vmstat.pswpout = lifecycle.by_event.compress", store="zram", single=True),
    Equation("zram pages", "zram.mm_stat.orig_data_size = config.page_size * stored", store="zram", of="pageout"),
    Equation("zram failed writes", "zram.io_stat.failed_writes = lifecycle.by_event.redirty", store="zram"),
    Equation("zram pool", "zram.mm_stat.mem_used_total = config.page_size * vmstat.nr_zspages", store="zram"),
    Equation("zram blocks fit", "zram.mm_stat.compr_data_size ≤ zram.mm_stat.mem_used_total", store="zram"),
    Equation("zram peak", "zram.mm_stat.mem_used_total ≤ zram.mm_stat.mem_used_max", store="zram"),
    Equation(
        "zram special pages",
        "config.page_size * (zram.mm_stat.same_pages + zram.mm_stat.huge_pages) ≤ zram.mm_stat.orig_data_size",
        store="zram",
    ),
    Equation(
        "queues are bounded",
        "max(series.queue_len) ≤ config.design.threads * kcompressd.queue.capacity",
        partial=True,
    ),
)
"""Every equation, in the order of docs/accounting.md."""

_Sides = tuple[ast.expr, Callable[[int, int], bool], ast.expr]
_OPERATORS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
}


@functools.cache
def _parsed(text: str) -> _Sides:
    """The left side, the relation, the right side."""
    left, relation, right = text.partition(" ≤ ") if " ≤ " in text else text.partition(" = ")
    holds = operator.le if relation == " ≤ " else operator.eq
    return ast.parse(left, mode="eval").body, holds, ast.parse(right, mode="eval").body


@functools.cache
def _named(text: str) -> frozenset[str]:
    left, _, right = _parsed(text)
    return frozenset(_paths(left)) | frozenset(_paths(right))


def _value(node: ast.expr, result: Result) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, result), _value(right, result))
        case ast.Call(func=ast.Name(id="sum"), args=[counters]):
            return sum(_at(counters, result).values())
        case ast.Call(func=ast.Name(id="len"), args=[items]):
            return len(_at(items, result))
        case ast.Call(func=ast.Name(id="max"), args=[samples]):
            return max(_at(samples, result), default=0)
        case ast.Name(id=word) if word in PLACES:
            return sum(result.census.reclaim[state] for state in PLACES[word])
    return int(_at(node, result))


def _at(node: ast.expr, result: Result) -> Any:
    found: Any = result
    for name in ast.unparse(node).split("."):
        found = found[name] if isinstance(found, Mapping) else getattr(found, name)
    return found


def _paths(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.BinOp(left=left, right=right):
            yield from _paths(left)
            yield from _paths(right)
        case ast.Call(args=args):
            yield from (path for arg in args for path in _paths(arg))
        case ast.Name(id=word) if word in PLACES:
            yield from (f"census.reclaim.{state}" for state in PLACES[word])
        case ast.Attribute() | ast.Name():
            yield ast.unparse(node)
