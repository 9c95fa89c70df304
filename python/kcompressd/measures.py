"""What runs are compared by: each measure's name, how it is taken from a `Result`, shown and judged.

A measure that a result does not have is None, and left out of tables when no result has it. When a difference counts
as remarkable is decided in `kcompressd.remarks`, by the `least` that is given here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from kcompressd import causes, taken
from kcompressd.result import Result
from kcompressd.sizes import duration


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    `of` takes it from a result; `less` is "better", "worse" or, where it depends, "other"; differences below `least`
    (in its own unit) are nothing; `says` completes a sentence that begins with a design's name, and holds `{value}`;
    `because` is the mechanism of a rise (`kcompressd.causes`), None where the model has none to name.
    """

    name: str
    title: str
    unit: Literal["rate", "ns", "bytes", "count", "per page"]
    of: Callable[[Result], taken.Value]
    less: Literal["better", "worse", "other"]
    least: float
    says: str
    because: causes.Cause | None = None

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


MEASURES: Final = (
    Measure("bytes_per_s", "MiB/s", "rate", lambda r: r.timing.bytes_per_s, "worse", 0, "gets through {value}"),
    Measure(
        "pgsteal_per_s",
        "pgsteal_anon/s",
        "count",
        taken.plain("pgsteal_anon_per_s"),
        "other",
        0,
        "frees {value} pages a second",
    ),
    Measure(
        "kswapd_cpu_ns", "kswapd CPU", "ns", taken.cpu("kswapd"), "better", 1e5, "has kswapd spend {value} of CPU time"
    ),
    Measure(
        "kcompressd_cpu_ns",
        "kcompressd CPU",
        "ns",
        taken.cpu("kcompressd"),
        "other",
        1e5,
        "has kcompressd spend {value} of CPU time",
    ),
    Measure(
        "reclaim_cpu_ns",
        "both together",
        "ns",
        taken.cpu("kswapd", "kcompressd"),
        "better",
        1e5,
        "has kswapd and kcompressd spend {value} of CPU time together",
        causes.reclaim_cpu,
    ),
    Measure(
        "cpu_ns",
        "all threads' CPU",
        "ns",
        taken.pressed(taken.all_cpu),
        "better",
        1e5,
        "has all threads, the applications' too, spend {value} of CPU time",
    ),
    Measure(
        "scans_per_page",
        "scanned a page freed",
        "per page",
        taken.scans_per_page,
        "better",
        0.1,
        "scans {value} pages for each that it frees",
        causes.queued,
    ),
    Measure(
        "written_per_page",
        "written a page freed",
        "per page",
        taken.written,
        "better",
        0.05,
        "stores or writes {value} pages for each that it frees",
        causes.written,
    ),
    Measure(
        "double_writes",
        "double writes",
        "count",
        taken.double_writes,
        "better",
        32,
        "stores {value} pages that are taken back before they are freed",
        causes.always("a page that keeps its frame can be taken back, and is stored again later"),
    ),
    Measure(
        "inversions",
        "out of order",
        "count",
        taken.pressed(taken.plain("inversions")),
        "better",
        32,
        "compresses {value} pages after one that was unmapped later",
        causes.inversions,
    ),
    Measure("queued", "queued", "count", taken.vmstat("kcompressd_queued"), "other", 32, "queues {value} pages"),
    Measure(
        "full",
        "queue was full",
        "count",
        taken.vmstat("kcompressd_full"),
        "better",
        32,
        "finds the queue full {value} times",
        causes.full,
    ),
    Measure(
        "wakeups",
        "threads woken",
        "count",
        taken.vmstat("kcompressd_wakeups"),
        "better",
        256,
        "wakes a thread {value} times",
        causes.always("a thread that empties its queue sleeps, and what comes next wakes it"),
    ),
    Measure("pgrotated", "rotated", "count", taken.vmstat("pgrotated"), "other", 32, "rotates {value} pages"),
    Measure(
        "pgactivate",
        "activated",
        "count",
        taken.vmstat("pgactivate"),
        "better",
        64,
        "activates {value} pages",
        causes.activated,
    ),
    Measure(
        "allocstall",
        "allocation stalls",
        "count",
        taken.stalls,
        "better",
        8,
        "stalls {value} allocations in direct reclaim",
        causes.stalls,
    ),
    Measure(
        "allocstall_normal",
        "of these for kernel memory",
        "count",
        taken.pressed(taken.vmstat("allocstall_normal")),
        "better",
        8,
        "stalls {value} of the kernel's own allocations",
        causes.always("a store outside PF_MEMALLOC reclaims for the memory that it needs"),
    ),
    Measure(
        "kswapd_share",
        "kswapd's share of the freed",
        "per page",
        taken.pressed(taken.kswapd_share),
        "other",
        0.02,
        "has kswapd free {value} of all",
    ),
    Measure(
        "add_to_swap_failed",
        "no memory for the swap cache",
        "count",
        taken.pressed(taken.vmstat("exit_add_to_swap")),
        "better",
        8,
        "cannot add {value} pages to the swap cache",
        causes.always("frames held beside their copies leave no memory for the swap cache"),
    ),
    Measure(
        "failed_writes",
        "failed writes",
        "count",
        taken.pressed(taken.failed_writes),
        "better",
        8,
        "fails {value} writes for want of memory",
        causes.failed,
    ),
    Measure(
        "alloc_fails",
        "zswap had no memory",
        "count",
        taken.pressed(taken.alloc_fails),
        "better",
        8,
        "has zswap refuse {value} pages for want of memory",
        causes.failed,
    ),
    Measure(
        "oom_kill",
        "killed by the OOM killer",
        "count",
        taken.pressed(taken.vmstat("oom_kill")),
        "better",
        1,
        "loses {value} of its applications to the OOM killer",
    ),
    Measure(
        "pswpout", "pswpout", "count", taken.pressed(taken.vmstat("pswpout")), "other", 32, "swaps {value} pages out"
    ),
    Measure(
        "refault_file",
        "file pages read again",
        "count",
        taken.pressed(taken.vmstat("workingset_refault_file")),
        "better",
        32,
        "has {value} pages of files read again that were pushed out",
        causes.page_cache,
    ),
    Measure(
        "steal_file",
        "file pages freed",
        "count",
        taken.pressed(taken.vmstat("pgsteal_file")),
        "other",
        32,
        "frees {value} pages of files",
    ),
    Measure(
        "app_ns",
        "the application's run",
        "ns",
        taken.pressed(taken.plain("reclaim_ns")),
        "better",
        1e6,
        "takes {value} until the last touch",
    ),
    *(
        Measure(
            f"below_{mark}_ns",
            f"below the {mark} watermark",
            "ns",
            taken.pressed(taken.plain(f"below_{mark}_ns")),
            "better",
            1e6,
            f"has no more free pages than the {mark} watermark for {{value}}",
            causes.short,
        )
        for mark in ("min", "low", "high")
    ),
    Measure(
        "deadline",
        "a burst's time of its deadline",
        "per page",
        taken.deadline,
        "better",
        0.02,
        "has the burst take {value} of the time to its deadline",
    ),
    Measure(
        "slowest",
        "slowest application of the fastest",
        "per page",
        taken.slowest,
        "better",
        0.05,
        "has the slowest application take {value} times as long as the fastest",
    ),
    Measure(
        "memory_some_ns",
        "some task stalled",
        "ns",
        taken.stalled,
        "better",
        1e6,
        "has some task stalled on memory for {value}",
    ),
    Measure(
        "touch_p99_ns",
        "touch p99",
        "ns",
        taken.timing("touch_ns", "p99"),
        "better",
        1e4,
        "has a page touch take {value} at the 99th percentile",
    ),
    Measure(
        "touch_max_ns",
        "longest touch",
        "ns",
        taken.timing("touch_ns", "max"),
        "better",
        1e6,
        "has its longest page touch take {value}",
    ),
    *(
        Measure(f"queue_wait_{at}_ns", title, "ns", taken.timing("queue_wait_ns", at), "better", 1e4, says)
        for at, title, says in (
            ("p99", "queue wait p99", "keeps a page in the queue for {value} at the 99th percentile"),
            ("max", "queue wait, longest", "keeps a page in the queue for up to {value}"),
        )
    ),
    Measure(
        "memory_reclaim_ns",
        "memory.reclaim took",
        "ns",
        taken.memory_reclaim_ns,
        "better",
        1e5,
        "takes {value} for what was written to memory.reclaim",
    ),
    Measure(
        "fault_waits",
        "faults that waited",
        "count",
        taken.pressed(taken.vmstat("fault_waits")),
        "better",
        8,
        "has {value} faults wait for the lock of a queued page",
        causes.always("a page that is queued is locked"),
    ),
    Measure(
        "fault_wait_p99_ns",
        "fault behind queue p99",
        "ns",
        taken.timing("fault_wait_ns", "p99"),
        "better",
        1e4,
        "has a fault on a queued page wait {value} at the 99th percentile",
        causes.locked,
    ),
    Measure(
        "fault_wait_p50_ns",
        "fault behind queue, median",
        "ns",
        taken.timing("fault_wait_ns", "p50"),
        "better",
        1e4,
        "has a fault on a queued page wait {value} in the median",
        causes.locked,
    ),
    Measure(
        "fault_wait_max_ns",
        "fault behind queue, longest",
        "ns",
        taken.timing("fault_wait_ns", "max"),
        "better",
        1e4,
        "has a fault on a queued page wait up to {value}",
        causes.longest_fault,
    ),
    Measure(
        "held_twice_bytes",
        "held twice, peak",
        "bytes",
        taken.held_twice,
        "better",
        2**18,
        "holds up to {value} in frames whose copy is in the pool already",
        causes.held,
    ),
    Measure(
        "pool_bytes", "pool", "bytes", lambda r: float(taken.pool_bytes(r)), "better", 2**18, "has a pool of {value}"
    ),
)
"""All of them, in the order in which they are shown."""
BY_NAME: Final = {measure.name: measure for measure in MEASURES}
