"""How measures are taken from a `Result`: a function for each kind, which gives None where the result does not have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kcompressd.result import Result

Value = float | None
"""A measure's value, None where the result does not have it."""
LEAST: Final = {"p99": 100, "p999": 1000}
"""How many times make a percentile; that of fewer is their longest."""


def kind_of(actor: str) -> str:
    """Return a thread's kind: its name without the number ("kswapd0" is a "kswapd")."""
    return actor.rstrip("0123456789")


def cpu_ns(result: Result, kind: str) -> int:
    """Return the CPU time of the reclaim phase of all threads of a kind ("kswapd", "kcompressd"), nanoseconds."""
    of_kind = (t for t in result.threads if kind_of(str(t.actor)) == kind)
    return sum(int(t.get("reclaim_cpu_ns", 0)) for t in of_kind)


def scans_per_page(result: Result) -> Value:
    """Return anonymous pages scanned per page freed; None of a kernel that scanned none, or does not say."""
    scanned = result.vmstat.get("pgscan_anon")
    if scanned is None or (result.kind == "observed" and not scanned):
        return None
    return float(scanned / max(1, result.vmstat.get("pgsteal_anon", 0)))


def pool_bytes(result: Result) -> int:
    """Return the memory that the store holds after the reclaim phase, bytes."""
    if result.zswap is not None:
        return int(result.zswap.pool_total_size)
    return int(result.zram.mm_stat.mem_used_total) if result.zram is not None else 0


def stored_bytes(result: Result) -> int:
    """Return how much that memory stands for: the pages of which the store has a copy, bytes."""
    if result.zswap is not None:
        return int(result.zswap.stored_pages) * int(result.config.page_size)
    return int(result.zram.mm_stat.orig_data_size) if result.zram is not None else 0


def cpu(*kinds: str) -> Callable[[Result], Value]:
    """Of a sum of CPU times by kinds of threads."""

    def of(result: Result) -> Value:
        return float(sum(cpu_ns(result, kind) for kind in kinds)) if result.threads else None

    return of


def all_cpu(result: Result) -> Value:
    """Return the CPU time of all threads: that of direct reclaim is in the applications', beside their own touches and faults."""
    spent = (int(t.get(f"{phase}_cpu_ns", 0)) for t in result.threads for phase in ("reclaim", "fault"))
    return float(sum(spent)) if result.threads else None


def vmstat(name: str) -> Callable[[Result], Value]:
    """Of a counter by its /proc/vmstat name."""
    return lambda result: result.vmstat.get(name)


def pressed(of: Callable[[Result], Value]) -> Callable[[Result], Value]:
    """Of runs with a memory budget only: in others no application waits for what comes late."""
    return lambda result: of(result) if result.has_budget else None


def stalls(result: Result) -> Value:
    """Return the allocation stalls of all zones; None where none can be: without a memory budget, on no real kernel."""
    if result.kind != "observed" and not result.has_budget:
        return None
    counts = [count for name, count in result.vmstat.items() if name.startswith("allocstall")]
    return float(sum(counts)) if counts else None


def kswapd_share(result: Result) -> Value:
    """Return what kswapd frees of all that is freed, 0 to 1."""
    by_kswapd, direct = (result.vmstat.get(f"pgsteal_{who}", 0) for who in ("kswapd", "direct"))
    return float(by_kswapd / max(1, by_kswapd + direct))


def failed_writes(result: Result) -> Value:
    """Return the writes that zram failed; None of zswap."""
    return None if result.zram is None else float(result.zram.io_stat.failed_writes)


def alloc_fails(result: Result) -> Value:
    """Return the pages that zswap refused because its pool found no memory; None of zram."""
    return None if result.zswap is None else float(result.zswap.get("reject_alloc_fail", 0))


def timing(name: str, at: str) -> Callable[[Result], Value]:
    """Of a percentile ("p99") of a spread of times; of one that is measured often enough to have it."""
    least = LEAST.get(at, 1)

    def of(result: Result) -> Value:
        spread: Any = result.timing.get(name)
        return float(spread[at]) if spread is not None and spread.get("count", 0) >= least else None

    return of


def memory_reclaim_ns(result: Result) -> Value:
    """Return how long the writes to the groups' memory.reclaim took in all; None where there were none, or one did not end."""
    writes = [write for group in result.memcgs for write in group.memory_reclaim]
    ended = writes and all(write.end_ns is not None for write in writes)
    return float(sum(write.end_ns - write.at_ns for write in writes)) if ended else None


def plain(name: str) -> Callable[[Result], Value]:
    """Of a number in `timing`."""
    return lambda result: result.timing.get(name)


def stalled(result: Result) -> Value:
    """Return how long some task was stalled on memory, of a kernel by its PSI."""
    return result.timing.get("psi_memory_some_ns" if result.kind == "observed" else "memory_some_ns")


def stored(result: Result) -> int:
    """Return the pages stored or written by reclaim, failed writes too; what zswap wrote back was stored before."""
    counts = (result.vmstat.get(name, 0) for name in ("pswpout", "zswpout", "swpout_zero"))
    return sum(counts) - int(result.vmstat.get("zswpwb", 0))


def compressed(result: Result) -> int:
    """Return the pages that kswapd and kcompressd stored: the rest is direct reclaim's."""
    kinds = ((kind_of(str(t.actor)), int(t.get("pages_done", 0))) for t in result.threads)
    return sum(pages for kind, pages in kinds if kind in ("kswapd", "kcompressd"))


def held_at_end(result: Result) -> int:
    """Return the pages whose frames are still held beside their copies at the end of the reclaim phase."""
    return sum(result.census.reclaim.get(state, 0) for state in ("compressed", "written_back", "zero_filled"))


def written(result: Result) -> Value:
    """Pages stored or written, for each page freed: more than 1 are double writes."""
    freed = result.vmstat.get("pgsteal_anon")
    return stored(result) / freed if freed else None


def double_writes(result: Result) -> Value:
    """Stores that freed nothing: the page was taken back before its frame was freed, and has to be stored again. No failed writes are
    among them; with a swap device at least so many, as a page read back from there may be freed without another write.
    """
    if not result.has_budget:
        return None
    gone = result.vmstat.get("pgsteal_anon", 0) + held_at_end(result) + (failed_writes(result) or 0)
    return float(max(0, stored(result) - gone))


def deadline(result: Result) -> Value:
    """The latest of the bursts against its deadline, as a share of it: 1 is just in time; None without a burst."""
    bursts = [app for app in result.applications if app.get("deadline_ns") is not None]
    late = [app.late_ns / app.deadline_ns + 1 for app in bursts if app.get("late_ns") is not None]
    return (max(late) if len(late) == len(bursts) else float("inf")) if bursts else None


def slowest(result: Result) -> Value:
    """The longest run of several applications that do the same against the shortest, each from its start; of others it says nothing."""
    work = [{**app, "name": "", "memcg": "", "start_ns": 0} for app in result.config.get("workload") or ()]
    runs = [app.end_ns - app.start_ns for app in result.applications if app.end_ns is not None and not app.oom_kill]
    return max(runs) / max(1, min(runs)) if len(runs) > 1 and all(one == work[0] for one in work) else None


def held_twice(result: Result) -> Value:
    """Return the most memory that was held in a frame and in the pool at once, bytes."""
    samples = result.series.get("frames_held_twice")
    return float(max(samples)) * result.config.page_size if samples else None
