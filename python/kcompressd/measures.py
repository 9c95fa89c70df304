"""What runs are compared by: each measure's name, how it is taken from a `Result`, shown and judged.

A measure that a result does not have is None, and left out of tables when no result has it. When a difference counts
as remarkable is decided in `kcompressd.remarks`, by the `least` that is given here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from kcompressd.result import Result
from kcompressd.sizes import duration

Value = float | None
"""A measure's value, None where the result does not have it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    `of` takes it from a result; `less` is "better", "worse" or, where it depends, "other"; differences below `least`
    (in its own unit) are nothing; `says` completes a sentence that begins with a design's name, and holds `{value}`;
    `because` is the mechanism that the model has for a rise, or "".
    """

    name: str
    title: str
    unit: Literal["rate", "ns", "bytes", "count", "per page"]
    of: Callable[[Result], Value]
    less: Literal["better", "worse", "other"]
    least: float
    says: str
    because: str = ""

    def cell(self, value: float) -> str:
        """Return a value as a table shows it under `title`."""
        return f"{value / 2**20:.0f}" if self.unit == "rate" else self.text(value)

    def text(self, value: float) -> str:
        """Return a value as sentences say it, with its unit."""
        match self.unit:
            case "rate":
                return f"{value / 2**20:.0f} MiB/s"
            case "ns":
                return duration(value)
            case "bytes":
                return f"{value / 2**20:.1f} MiB"
            case "per page":
                return f"{value:.2f}"
        return f"{value:.0f}"


def cpu_ns(result: Result, kind: str) -> int:
    """Return the CPU time of the reclaim phase of all threads of a kind ("kswapd", "kcompressd"), nanoseconds."""
    of_kind = (t for t in result.threads if str(t.actor).rstrip("0123456789") == kind)
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


def _cpu(*kinds: str) -> Callable[[Result], Value]:
    def of(result: Result) -> Value:
        return float(sum(cpu_ns(result, kind) for kind in kinds)) if result.threads else None

    return of


def _vmstat(name: str) -> Callable[[Result], Value]:
    return lambda result: result.vmstat.get(name)


def _pressed(of: Callable[[Result], Value]) -> Callable[[Result], Value]:
    """Of runs with a memory budget only: elsewhere it is always 0."""
    return lambda result: of(result) if result.config.get("workload") is not None else None


def _stalls(result: Result) -> Value:
    """Return the allocation stalls of all zones; None where none can be: without a memory budget, on no real kernel."""
    if result.kind != "observed" and result.config.get("workload") is None:
        return None
    counts = [count for name, count in result.vmstat.items() if name.startswith("allocstall")]
    return float(sum(counts)) if counts else None


def _kswapd_share(result: Result) -> Value:
    """Return what kswapd frees of all that is freed, 0 to 1."""
    by_kswapd, direct = (result.vmstat.get(f"pgsteal_{who}", 0) for who in ("kswapd", "direct"))
    return float(by_kswapd / max(1, by_kswapd + direct))


def _failed_writes(result: Result) -> Value:
    return None if result.zram is None else float(result.zram.io_stat.failed_writes)


def _timing(name: str, at: str) -> Callable[[Result], Value]:
    def of(result: Result) -> Value:
        spread: Any = result.timing.get(name)
        return float(spread[at]) if spread is not None and spread.get("count") else None

    return of


def _plain(name: str) -> Callable[[Result], Value]:
    return lambda result: result.timing.get(name)


def _written(result: Result) -> Value:
    """Pages stored or written, for each page freed: more than 1 are double writes."""
    stored = result.vmstat.get("pswpout", 0) + result.vmstat.get("zswpout", 0) + result.vmstat.get("swpout_zero", 0)
    stored -= result.vmstat.get("zswpwb", 0)
    freed = result.vmstat.get("pgsteal_anon")
    return stored / freed if freed else None


def _double_writes(result: Result) -> Value:
    """Stores that freed nothing: the page was taken back before its frame was freed, and has to be stored again."""
    if result.config.get("workload") is None:
        return None
    vmstat, census = result.vmstat, result.census.reclaim
    stored = (
        vmstat.get("pswpout", 0) + vmstat.get("zswpout", 0) + vmstat.get("swpout_zero", 0) - vmstat.get("zswpwb", 0)
    )
    held = sum(census.get(state, 0) for state in ("compressed", "written_back", "zero_filled"))
    return float(max(0, stored - vmstat.get("pgsteal_anon", 0) - held))


def _deadline(result: Result) -> Value:
    """The latest of the bursts against its deadline, as a share of it: 1 is just in time; None without a burst."""
    bursts = [app for app in result.applications if app.get("deadline_ns") is not None]
    late = [app.late_ns / app.deadline_ns + 1 for app in bursts if app.late_ns is not None]
    return (max(late) if len(late) == len(bursts) else float("inf")) if bursts else None


def _slowest(result: Result) -> Value:
    """The longest run of several applications against the shortest, each from its start."""
    runs = [app.end_ns - app.start_ns for app in result.applications if app.end_ns is not None]
    return max(runs) / max(1, min(runs)) if len(runs) > 1 else None


def _steal_rate(result: Result) -> Value:
    ns = result.timing.get("reclaim_ns")
    return result.vmstat.get("pgsteal_anon", 0) * 1e9 / ns if ns else None


def _held_twice(result: Result) -> Value:
    samples = result.series.get("frames_held_twice")
    return float(max(samples)) * result.config.page_size if samples else None


_QUEUED: Final = "a queued page keeps its frame until a later scan comes round"

MEASURES: Final = (
    Measure("bytes_per_s", "MiB/s", "rate", lambda r: r.timing.bytes_per_s, "worse", 0, "reclaims {value}"),
    Measure("pgsteal_per_s", "pgsteal_anon/s", "count", _steal_rate, "other", 0, "frees {value} pages a second"),
    Measure("kswapd_cpu_ns", "kswapd CPU", "ns", _cpu("kswapd"), "better", 1e5, "has kswapd spend {value} of CPU time"),
    Measure(
        "kcompressd_cpu_ns",
        "kcompressd CPU",
        "ns",
        _cpu("kcompressd"),
        "other",
        1e5,
        "has kcompressd spend {value} of CPU time",
    ),
    Measure(
        "reclaim_cpu_ns",
        "both together",
        "ns",
        _cpu("kswapd", "kcompressd"),
        "better",
        1e5,
        "spends {value} of CPU time on reclaim in all",
        "what moved did not go away, and scanning twice costs extra",
    ),
    Measure(
        "scans_per_page",
        "scanned a page freed",
        "per page",
        scans_per_page,
        "better",
        0.1,
        "scans {value} pages for each that it frees",
        _QUEUED,
    ),
    Measure(
        "written_per_page",
        "written a page freed",
        "per page",
        _written,
        "better",
        0.05,
        "stores or writes {value} pages for each that it frees",
        "pages that were written and not freed are written again",
    ),
    Measure(
        "double_writes",
        "double writes",
        "count",
        _double_writes,
        "better",
        32,
        "stores {value} pages that are taken back before they are freed",
        "a page that keeps its frame can be taken back, and is stored again later",
    ),
    Measure(
        "inversions",
        "out of order",
        "count",
        _pressed(_plain("inversions")),
        "better",
        32,
        "compresses {value} pages after one that was unmapped later",
        "what is compressed at once overtakes what waits in the queue",
    ),
    Measure("queued", "queued", "count", _vmstat("kcompressd_queued"), "other", 32, "queues {value} pages"),
    Measure(
        "full",
        "queue was full",
        "count",
        _vmstat("kcompressd_full"),
        "better",
        32,
        "finds the queue full {value} times",
        "kswapd scans faster than the threads compress",
    ),
    Measure(
        "wakeups",
        "threads woken",
        "count",
        _vmstat("kcompressd_wakeups"),
        "better",
        256,
        "wakes a thread {value} times",
        "a thread that empties its queue sleeps, and the next page wakes it",
    ),
    Measure("pgrotated", "rotated", "count", _vmstat("pgrotated"), "other", 32, "rotates {value} pages"),
    Measure("pgactivate", "activated", "count", _vmstat("pgactivate"), "better", 64, "activates {value} pages"),
    Measure(
        "allocstall",
        "allocation stalls",
        "count",
        _stalls,
        "better",
        8,
        "stalls {value} allocations in direct reclaim",
    ),
    Measure(
        "allocstall_normal",
        "of these for kernel memory",
        "count",
        _pressed(_vmstat("allocstall_normal")),
        "better",
        8,
        "stalls {value} of the kernel's own allocations",
        "a store outside PF_MEMALLOC reclaims for the memory that it needs",
    ),
    Measure(
        "kswapd_share",
        "kswapd's share of the freed",
        "per page",
        _pressed(_kswapd_share),
        "other",
        0.02,
        "has kswapd free {value} of all",
    ),
    Measure(
        "add_to_swap_failed",
        "no memory for the swap cache",
        "count",
        _pressed(_vmstat("exit_add_to_swap")),
        "better",
        8,
        "cannot add {value} pages to the swap cache",
        "frames held beside their copies leave no memory for the swap cache",
    ),
    Measure(
        "failed_writes",
        "failed writes",
        "count",
        _pressed(_failed_writes),
        "better",
        8,
        "fails {value} writes for want of memory",
        "frames held beside their copies leave no memory for the pool",
    ),
    Measure("pswpout", "pswpout", "count", _pressed(_vmstat("pswpout")), "other", 32, "swaps {value} pages out"),
    Measure(
        "app_ns",
        "the application's run",
        "ns",
        _pressed(_plain("reclaim_ns")),
        "better",
        1e6,
        "has the application take {value}",
    ),
    *(
        Measure(
            f"below_{mark}_ns",
            f"below the {mark} watermark",
            "ns",
            _pressed(_plain(f"below_{mark}_ns")),
            "better",
            1e6,
            f"has no more free pages than the {mark} watermark for {{value}}",
        )
        for mark in ("min", "low", "high")
    ),
    Measure(
        "deadline",
        "a burst's time of its deadline",
        "per page",
        _deadline,
        "better",
        0.02,
        "has the burst take {value} of the time to its deadline",
    ),
    Measure(
        "slowest",
        "slowest application of the fastest",
        "per page",
        _slowest,
        "better",
        0.05,
        "has the slowest application take {value} times as long as the fastest",
    ),
    Measure(
        "memory_some_ns",
        "some task stalled",
        "ns",
        _plain("memory_some_ns"),
        "better",
        1e6,
        "has some task stalled on memory for {value}",
    ),
    Measure(
        "touch_p99_ns",
        "touch p99",
        "ns",
        _timing("touch_ns", "p99"),
        "better",
        1e4,
        "has a page touch take {value} at the 99th percentile",
    ),
    Measure(
        "touch_max_ns",
        "longest touch",
        "ns",
        _timing("touch_ns", "max"),
        "better",
        1e6,
        "has its longest page touch take {value}",
    ),
    Measure(
        "queue_wait_p99_ns",
        "queue wait p99",
        "ns",
        _timing("queue_wait_ns", "p99"),
        "better",
        1e4,
        "keeps a page in the queue for {value} at the 99th percentile",
    ),
    Measure(
        "fault_p99_ns",
        "fault p99",
        "ns",
        _timing("fault_page_ns", "p99"),
        "better",
        1e4,
        "has a fault take {value} at the 99th percentile",
    ),
    Measure(
        "fault_waits",
        "faults that waited",
        "count",
        _pressed(_vmstat("fault_waits")),
        "better",
        8,
        "has {value} faults wait for the lock of a queued page",
    ),
    Measure(
        "fault_wait_p99_ns",
        "fault behind queue p99",
        "ns",
        _timing("fault_wait_ns", "p99"),
        "better",
        1e4,
        "has a fault on a queued page wait {value} at the 99th percentile",
        "a locked page is waited for until the thread reaches it",
    ),
    Measure(
        "held_twice_bytes",
        "held twice, peak",
        "bytes",
        _held_twice,
        "better",
        2**18,
        "holds up to {value} in frames whose copy is in the pool already",
        _QUEUED,
    ),
    Measure("pool_bytes", "pool", "bytes", lambda r: float(pool_bytes(r)), "better", 2**18, "has a pool of {value}"),
)
"""All of them, in the order in which they are shown."""
