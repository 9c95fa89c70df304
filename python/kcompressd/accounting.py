"""The equations that a result must satisfy: as data, so that docs/accounting.md and the tests name the same
ones.

An equation is a claim about one `Result`. `both` gives its two sides; where it does not apply (another store,
a partial run) it is skipped. `failures` says in a sentence which side is what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from kcompressd.names import Names
from kcompressd.result import Result

Sides: TypeAlias = tuple[float, float]
"""The left and the right side."""

IN_FLIGHT: Final = ("isolated", "unmapped", "queued", "compressing", "writing_back", "faulting_in")
"""States that a page only passes through: none may be left at the end of a phase."""
STORED: Final = ("compressed", "compressed_freed")
ZERO: Final = ("zero_filled", "zero_filled_freed")
WRITTEN: Final = ("written_back", "written_back_freed")
KEPT: Final = ("resident", "activated", "redirtied", "resident_swapcache", "freed")
"""States of a page whose contents are in its frame (or whose owner is gone)."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation: `text` as documents write it, `relation` between its sides ("=" or "<="), where it
    applies.
    """

    name: str
    text: str
    both: Callable[[Result], Sides]
    relation: str = "="
    store: str | None = None
    partial: bool = False
    """Whether it holds at any moment, and so for a partial result."""
    fault: bool = False
    """Whether it speaks of the fault phase, which a run may do without."""

    def applies(self, result: Result) -> bool:
        """Tell whether the equation says anything about `result`."""
        in_store = self.store is None or result.config.store == self.store
        has_phase = not self.fault or result.config.fault != "none"
        return in_store and has_phase and (self.partial or result.complete)

    def failure(self, result: Result) -> str | None:
        """Return the sentence that says what does not hold, or None."""
        left, right = self.both(result)
        holds = left == right if self.relation == "=" else left <= right
        return None if holds else f"{self.name}: {self.text}: {left:g} against {right:g}"


def failures(result: Result) -> list[str]:
    """Return a sentence for every equation that applies and does not hold."""
    return list(_failures(result))


def _failures(result: Result) -> Iterator[str]:
    for equation in EQUATIONS:
        if equation.applies(result) and (failure := equation.failure(result)):
            yield failure


def _census(phase: str, *states: str) -> Callable[[Result], int]:
    def count(result: Result) -> int:
        found: Names[int] = result.census[phase]
        return sum(found.get(state, 0) for state in states)

    return count


def _event(result: Result, *names: str) -> int:
    return sum(result.lifecycle.by_event.get(name, 0) for name in names)


def _all(phase: str) -> Callable[[Result], Sides]:
    return lambda r: (sum(r.census[phase].values()), r.pages)


def _vm_event(counter: str, event: str) -> Equation:
    return Equation(
        f"{counter} counts {event}",
        f"vmstat.{counter} = lifecycle.by_event.{event}",
        lambda r: (r.vmstat[counter], _event(r, event)),
    )


def _pool(result: Result) -> Names[int]:
    return result.zswap if result.zswap is not None else Names({})


def _mm(result: Result) -> Names[int]:
    return result.zram.mm_stat if result.zram is not None else Names({})


EQUATIONS: Final[tuple[Equation, ...]] = (
    Equation("pages in, reclaim", "Σ census.reclaim = config.pages", _all("reclaim"), partial=True),
    Equation("pages in, fault", "Σ census.fault = config.pages", _all("fault"), fault=True),
    Equation(
        "every page has a place",
        "stored + zero + written + kept = config.pages, at the end of the reclaim phase",
        lambda r: (_census("reclaim", *STORED, *ZERO, *WRITTEN, *KEPT)(r), r.pages),
    ),
    Equation(
        "nothing half way, reclaim",
        "census.reclaim of isolated, unmapped, queued, compressing, writing_back, faulting_in = 0",
        lambda r: (_census("reclaim", *IN_FLIGHT)(r), 0),
    ),
    Equation(
        "nothing half way, fault",
        "census.fault of isolated, unmapped, queued, compressing, writing_back, faulting_in = 0",
        lambda r: (_census("fault", *IN_FLIGHT)(r), 0),
    ),
    Equation(
        "events add up",
        "Σ lifecycle.by_event = lifecycle.events",
        lambda r: (sum(r.lifecycle.by_event.values()), r.lifecycle.events),
        partial=True,
    ),
    Equation("the law", "lifecycle.violations = 0", lambda r: (r.lifecycle.violations, 0), partial=True),
    Equation("contents", "len(mismatched) = 0", lambda r: (len(r.mismatched), 0), partial=True),
    _vm_event("pgscan_kswapd", "isolate"),
    _vm_event("pgsteal_kswapd", "reclaim"),
    _vm_event("nr_vmscan_write", "pageout"),
    _vm_event("pgrotated", "rotate"),
    _vm_event("swpout_zero", "zero"),
    _vm_event("kcompressd_queued", "queue"),
    _vm_event("pgmajfault", "fault"),
    Equation(
        "anonymous only",
        "vmstat.pgscan_kswapd + vmstat.pgsteal_kswapd = vmstat.pgscan_anon + vmstat.pgsteal_anon",
        lambda r: (
            r.vmstat.pgscan_kswapd + r.vmstat.pgsteal_kswapd,
            r.vmstat.pgscan_anon + r.vmstat.pgsteal_anon,
        ),
    ),
    Equation(
        "no queued page is forgotten",
        "vmstat.kcompressd_done + vmstat.kcompressd_head = vmstat.kcompressd_queued",
        lambda r: (r.vmstat.kcompressd_done + r.vmstat.kcompressd_head, r.vmstat.kcompressd_queued),
    ),
    Equation(
        "frames given up",
        "vmstat.pgsteal_kswapd - lifecycle.by_event.shrink = census.reclaim of …_freed",
        lambda r: (
            r.vmstat.pgsteal_kswapd - _event(r, "shrink"),
            _census("reclaim", STORED[1], ZERO[1], WRITTEN[1])(r),
        ),
    ),
    Equation(
        "zero pages",
        "vmstat.swpout_zero = census.reclaim of zero_filled, zero_filled_freed",
        lambda r: (r.vmstat.swpout_zero, _census("reclaim", *ZERO)(r)),
    ),
    Equation(
        "reads",
        "vmstat.zswpin + vmstat.pswpin + vmstat.swpin_zero = vmstat.pgmajfault",
        lambda r: (r.vmstat.zswpin + r.vmstat.pswpin + r.vmstat.swpin_zero, r.vmstat.pgmajfault),
    ),
    Equation(
        "zswap stores",
        "vmstat.zswpout = lifecycle.by_event.store",
        lambda r: (r.vmstat.zswpout, _event(r, "store")),
        store="zswap",
    ),
    Equation(
        "zswap pages, by census",
        "zswap.stored_pages = census.reclaim of compressed, compressed_freed",
        lambda r: (_pool(r).stored_pages, _census("reclaim", *STORED)(r)),
        store="zswap",
    ),
    Equation(
        "zswap pages, by counters",
        "vmstat.zswpout - vmstat.zswpwb = zswap.stored_pages",
        lambda r: (r.vmstat.zswpout - r.vmstat.zswpwb, _pool(r).stored_pages),
        store="zswap",
    ),
    Equation(
        "zswap write-back",
        "zswap.written_back_pages = vmstat.zswpwb",
        lambda r: (_pool(r).written_back_pages, r.vmstat.zswpwb),
        store="zswap",
    ),
    Equation(
        "zswap pool is whole pages",
        "zswap.pool_total_size mod config.page_size = 0",
        lambda r: (_pool(r).pool_total_size % r.config.page_size, 0),
        store="zswap",
        partial=True,
    ),
    Equation(
        "device writes arrive",
        "lifecycle.by_event.end_writeback = census.reclaim of written_back, written_back_freed",
        lambda r: (_event(r, "end_writeback"), _census("reclaim", *WRITTEN)(r)),
        store="zswap",
    ),
    Equation(
        "device writes end",
        "vmstat.pswpout ≤ lifecycle.by_event.end_writeback + lifecycle.by_event.redirty",
        lambda r: (r.vmstat.pswpout, _event(r, "end_writeback", "redirty")),
        relation="<=",
        store="zswap",
    ),
    Equation(
        "device writes begin",
        "lifecycle.by_event.end_writeback ≤ vmstat.pswpout",
        lambda r: (_event(r, "end_writeback"), r.vmstat.pswpout),
        relation="<=",
        store="zswap",
    ),
    Equation(
        "zram writes",
        "vmstat.pswpout = lifecycle.by_event.compress",
        lambda r: (r.vmstat.pswpout, _event(r, "compress")),
        store="zram",
    ),
    Equation(
        "zram pages",
        "zram.mm_stat.orig_data_size = config.page_size * census.reclaim of compressed, compressed_freed",
        lambda r: (_mm(r).orig_data_size, r.config.page_size * _census("reclaim", *STORED)(r)),
        store="zram",
    ),
    Equation(
        "zram failed writes",
        "zram.io_stat.failed_writes = lifecycle.by_event.redirty",
        lambda r: (r.zram.io_stat.failed_writes if r.zram else 0, _event(r, "redirty")),
        store="zram",
    ),
    Equation(
        "zram pool is whole pages",
        "zram.mm_stat.mem_used_total mod config.page_size = 0",
        lambda r: (_mm(r).mem_used_total % r.config.page_size, 0),
        store="zram",
        partial=True,
    ),
    Equation(
        "zram blocks fit",
        "zram.mm_stat.compr_data_size ≤ zram.mm_stat.mem_used_total ≤ zram.mm_stat.mem_used_max",
        lambda r: (
            max(0, _mm(r).compr_data_size - _mm(r).mem_used_total)
            + max(0, _mm(r).mem_used_total - _mm(r).mem_used_max),
            0,
        ),
        store="zram",
    ),
    Equation(
        "zram special pages",
        "zram.mm_stat.same_pages + zram.mm_stat.huge_pages ≤ zram.mm_stat.orig_data_size / config.page_size",
        lambda r: (_mm(r).same_pages + _mm(r).huge_pages, _mm(r).orig_data_size / r.config.page_size),
        relation="<=",
        store="zram",
    ),
    Equation(
        "queues are bounded",
        "max series.queue_len ≤ config.design.threads * kcompressd.queue.capacity",
        lambda r: (_longest_queues(r), _room(r)),
        relation="<=",
        partial=True,
    ),
)
"""Every equation, in the order of docs/accounting.md."""


def _longest_queues(result: Result) -> int:
    return max((sum(lens) if isinstance(lens, tuple) else lens for lens in result.series.queue_len), default=0)


def _room(result: Result) -> int:
    return int(max(1, result.config.design.threads) * result.kcompressd.queue.capacity)
