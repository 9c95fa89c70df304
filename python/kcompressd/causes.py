"""Why a measure rises: the mechanism that a run's own counters show, beside the run that it is compared with.

A mechanism is named only where it accounts for at least half of the rise, or where the model has no other; else it is "". A function
is given a run and the baseline's in the same repeat. "Own reclaim" is that of a worker outside PF_MEMALLOC, which asks for memory as
everybody does and then reclaims under GFP_NOIO (`allocstall_normal`; its looks that may not write end in `exit_kept`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kcompressd import taken
from kcompressd.result import Result

Cause = Callable[[Result, Result], str]
"""A mechanism of a rise from the second run to the first, "" when it is not known."""

_QUEUED: Final = "a queued page keeps its frame until a later scan comes round"
_HALF_KEPT: Final = ("exit_queued", "exit_locked", "exit_writeback")


def always(text: str) -> Cause:
    """Of a measure that has one mechanism."""
    return lambda run, base: text


def _more(name: str, run: Result, base: Result) -> int:
    return int(run.vmstat.get(name, 0)) - int(base.vmstat.get(name, 0))


def _reclaims_itself(run: Result) -> bool:
    """Tell whether most looks that freed nothing were at pages that the looker may not write: a worker's own reclaim."""
    kept = sum(run.vmstat.get(name, 0) for name in _HALF_KEPT)
    return run.vmstat.get("allocstall_normal", 0) > 0 and run.vmstat.get("exit_kept", 0) > kept


def queued(run: Result, base: Result) -> str:
    """Of looks: a queued page's second one, or those of a worker's own reclaim."""
    if _reclaims_itself(run):
        return "its worker, outside PF_MEMALLOC, reclaims under GFP_NOIO for what it needs, and looks at pages that it may not write"
    return held(run, base)


def page_cache(run: Result, base: Result) -> str:
    """Of pages of files that are read again: looks at queued pages, which free nothing and count against anonymous pages."""
    if run.vmstat.get("kcompressd_queued"):
        return "a look frees a page of a file at once and a queued one not, and what is in vain counts against anonymous pages"
    return ""


def held(run: Result, base: Result) -> str:
    """Of frames held beside their copies."""
    return _QUEUED if run.vmstat.get("kcompressd_queued") else ""


def reclaim_cpu(run: Result, base: Result) -> str:
    """Of kswapd's and kcompressd's CPU time: more pages for them, a worker's own reclaim, attempts in vain, or second looks."""
    done, before = taken.compressed(run), taken.compressed(base)
    spent, spent_before = (taken.cpu("kswapd", "kcompressd")(r) or 0 for r in (run, base))
    if before and spent_before and (done / before) ** 2 >= spent / spent_before:
        again = taken.stored(run) / max(1, taken.stored(base))
        if again**2 >= done / before:
            return "more pages are compressed in all"
        return "they compress what direct reclaim compresses otherwise"
    if _reclaims_itself(run):
        return "its worker's own reclaim, outside PF_MEMALLOC, is in it"
    if _more("exit_add_to_swap", run, base) > taken.stored(run) / 8:
        return "requests for memory in vain cost time, and their pages are looked at again"
    return "what moved did not go away, and scanning twice costs extra" if run.vmstat.get("kcompressd_queued") else ""


def written(run: Result, base: Result) -> str:
    """Of pages stored for each that is freed: failed writes, frames that are held at the end, or double writes."""
    more = taken.stored(run) - run.vmstat.get("pgsteal_anon", 0)
    if 2 * (taken.failed_writes(run) or 0) >= more:
        return "a page whose write failed is written again"
    if 2 * taken.held_at_end(run) >= more:
        return "frames of pages that are stored are still held at the end"
    return "a page that keeps its frame can be taken back, and is stored again later"


def inversions(run: Result, base: Result) -> str:
    """Of pages compressed after a younger one: kswapd's overflow, direct reclaim, or several threads."""
    full = run.vmstat.get("kcompressd_full", 0) if run.config.design["on_full"] == "sync_new" else 0
    direct = taken.stored(run) - taken.compressed(run)
    if full > direct:
        return "kswapd compresses at once what the full queue does not take, and overtakes what waits there"
    if direct > 0:
        return "direct reclaim compresses at once, and overtakes what waits in the queue"
    return "threads finish in another order than they were given pages" if run.config.design["threads"] > 1 else ""


def full(run: Result, base: Result) -> str:
    """Of queues found full: one CPU for all, a worker that reclaims, or a kswapd that is faster."""
    machine = run.config.get("machine")
    if machine is not None and len(machine.speeds) == 1:
        return "on one CPU the thread does not run while kswapd does"
    if _reclaims_itself(run):
        return "kswapd scans faster than a worker compresses that reclaims for itself meanwhile"
    return "kswapd scans faster than the threads compress"


def activated(run: Result, base: Result) -> str:
    """Of activations: no memory for the swap cache, or pages met under writeback; of pages that were touched, those of files too, there is
    no more to say.
    """
    rise = _more("pgactivate", run, base)
    if rise <= 0:
        return ""
    if 2 * _more("exit_add_to_swap", run, base) >= rise:
        return "a page that gets no memory for the swap cache is activated"
    touched = _more("exit_referenced_activated", run, base) + _more("exit_add_to_swap", run, base)
    if run.config.design["hold"] == "writeback" and 2 * min(rise - touched, _met_under_writeback(run, base)) >= rise:
        return "a scan that meets a page still under writeback activates it"
    return ""


def _met_under_writeback(run: Result, base: Result) -> int:
    """Return how many more pages a look met under writeback: `exit_writeback` has also those that it queued and left so."""
    folios = _more("exit_writeback", run, base) - _more("kcompressd_queued", run, base)
    return folios << int(run.config.get("folio_order", 0))


def stalls(run: Result, base: Result) -> str:
    """Of allocation stalls: rounds of a worker's own reclaim, or frames that are not free yet."""
    rise = (taken.stalls(run) or 0) - (taken.stalls(base) or 0)
    if 2 * _more("allocstall_normal", run, base) >= rise:
        return "most are rounds of its worker's own reclaim, outside PF_MEMALLOC"
    return short(run, base)


def short(run: Result, base: Result) -> str:
    """Of time without free pages: what is held in frames, where that is more than the watermarks are apart."""
    marks = (run.config.get("node") or {}).get("watermarks")
    frames = max(run.series.get("frames_held_twice") or [0]) + max(run.series.get("queue_len") or [0])
    much = marks is not None and frames >= marks[2] - marks[0]
    return "what kswapd queues is not free when it has passed, and allocations come meanwhile" if much else ""


def failed(run: Result, base: Result) -> str:
    """Of writes that zram failed: its limit, or no memory."""
    if run.zram is not None and run.zram.mm_stat.mem_limit:
        return "its mem_limit is reached"
    return "frames held beside their copies leave no memory for the pool" if taken.held_twice(run) else ""


locked: Final = always("a locked page is waited for until the thread reaches it")
"""Of what a fault on a queued page waits for."""


def longest_fault(run: Result, base: Result) -> str:
    """Of the longest wait of a fault for a page's lock: the queue, or, where that is shorter, a CPU."""
    fault, queue = (taken.timing(name, "max")(run) for name in ("fault_wait_ns", "queue_wait_ns"))
    if fault is not None and queue is not None and fault > 2 * queue:
        return "its page is done by then, and what it waits for is a CPU"
    return locked(run, base)
