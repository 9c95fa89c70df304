"""The life of a page under asynchronous memory compression: the one definition that everything obeys.

States, events, guards and flags stand here once, each with the kernel function or page flag it stands for
(mm/vmscan.c, mm/page_io.c, mm/zswap.c, mm/swap.c and mm/memory.c of Linux 6.12; names only). From this module come the
table that the Rust core obeys, the constant that the core's own tests use, the diagram and tables of ``docs/lifecycle.md``,
the reference model of the stateful tests and the validator's table.

Three things are kept apart: the *page* (an identity kept for life), where its *contents* are (the state), and whether
its *frame* is still allocated (the flag ``frame``). A transition belongs to the contents; the flags that change with it
are chosen by the step and must satisfy what the new state demands of them (:attr:`StateDef.flags`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transitions import Machine

FLAGS: dict[str, str] = {
    "locked": "PG_locked",
    "writeback": "PG_writeback",
    "reclaim": "PG_reclaim",
    "dirty": "PG_dirty, or a dirty PTE",
    "swapcache": "PG_swapcache",
    "referenced": "PG_referenced",
    "active": "PG_active",
    "lru": "PG_lru: on a list, not isolated",
    "frame": "the page frame is allocated",
    "mapped": "a PTE maps the frame",
    "young": "the PTE's accessed bit",
}
"""Flags of the state word, in bit order, with what they are in the kernel."""

GUARDS: dict[str, str] = {
    "writeback_enabled": "mem_cgroup_zswap_writeback_enabled(): no ancestor has memory.zswap.writeback = 0",
    "mapped": "a fault mapped the page again while it was queued or written (folio_mapped())",
    "exclusive": "the load drops the copy: zswap's exclusive load, zram's SWP_SYNCHRONOUS_IO fault with one user",
    "in_pool": "the copy is in the zswap pool or in zram, not on a device",
    "zero": "the copy is a bit of the zeromap",
}
"""Conditions that choose between the rows of one cell, in bit order. A record holds only those its cell reads."""


@dataclass(frozen=True)
class StateDef:
    """One state: where the contents of a page are.

    ``flags`` lists alternatives; each is a string of flag names, a leading ``!`` for a flag that must be clear.
    The state word must satisfy at least one alternative whenever the page is in the state.
    """

    name: str
    meaning: str
    flags: tuple[str, ...]


STATES: tuple[StateDef, ...] = (
    StateDef("resident", "in its frame only, on an LRU list", ("frame dirty !writeback !locked",)),
    StateDef("isolated", "in its frame only, taken off the list by a scan", ("frame !lru !writeback !locked",)),
    StateDef(
        "unmapped",
        "in the swap cache, unmapped, dirty bit cleared; swap_writeout() decides what follows",
        ("frame locked reclaim swapcache !dirty !lru !writeback !mapped",),
    ),
    StateDef(
        "queued",
        "waits for a kcompressd thread",
        ("frame swapcache !dirty locked !writeback !mapped", "frame swapcache !dirty !locked writeback"),
    ),
    StateDef(
        "compressing",
        "an actor compresses it",
        ("frame swapcache !dirty locked !writeback !mapped", "frame swapcache !dirty !locked writeback"),
    ),
    StateDef(
        "compressed",
        "in the pool; its frame is still held",
        ("frame swapcache !dirty !locked !writeback !mapped",),
    ),
    StateDef(
        "compressed_freed",
        "in the pool; its frame was reclaimed",
        ("!frame !lru !locked !writeback !mapped",),
    ),
    StateDef("writing_back", "on its way to the swap device", ("frame swapcache !dirty !locked writeback",)),
    StateDef(
        "written_back",
        "on the device; its frame is still held",
        ("frame swapcache !dirty !locked !writeback !mapped",),
    ),
    StateDef(
        "written_back_freed",
        "on the device; its frame was reclaimed",
        ("!frame !lru !locked !writeback !mapped",),
    ),
    StateDef(
        "zero_filled",
        "a zeromap bit; its frame is still held",
        ("frame swapcache !dirty !locked !writeback !mapped",),
    ),
    StateDef(
        "zero_filled_freed",
        "a zeromap bit; its frame was reclaimed",
        ("!frame !lru !locked !writeback !mapped",),
    ),
    StateDef("activated", "could not go: sent to the active list", ("frame active dirty !locked !writeback",)),
    StateDef(
        "redirtied",
        "its write failed: dirty again, still in the swap cache",
        ("frame dirty swapcache !locked !writeback !mapped",),
    ),
    StateDef("faulting_in", "a fault reads it back", ("frame locked !lru !writeback !mapped",)),
    StateDef(
        "resident_swapcache",
        "mapped again; a valid copy is still in swap",
        ("frame swapcache mapped !dirty !locked !writeback",),
    ),
    StateDef("freed", "its owner is gone", ("!frame !lru !locked !writeback !mapped",)),
)

EVENTS: dict[str, str] = {
    "isolate": "isolate_lru_folios(): taken off its list",
    "putback": "move_folios_to_lru(): put back on a list",
    "pageout": "add_to_swap(), try_to_unmap(), folio_clear_dirty_for_io(): locked and ready for swap_writeout()",
    "unmap": "try_to_unmap() of a clean swap-cache folio: nothing to write",
    "zero": "swap_zeromap_folio_set(): all zero, nothing stored",
    "queue": "handed to a kcompressd thread",
    "compress": "zswap_compress() or zram_write_page() begins",
    "store": "zswap_store() or zram_write_page() succeeded",
    "reject": "zswap_store() refused: to the device, or activated where writeback is denied",
    "write": "__swap_writepage() to the device without asking a store or the knob",
    "redirty": "the write could not be done: folio_redirty_for_writepage()",
    "end_writeback": "folio_end_writeback() after a device write",
    "rotate": "folio_rotate_reclaimable(): to the inactive tail",
    "activate": "shrink_folio_list() activates it: add_to_swap() failed, or it is under writeback",
    "deactivate": "shrink_active_list(): to the inactive head",
    "reclaim": "__remove_mapping() and the frame is free: pgsteal",
    "fault": "do_swap_page(): a frame is allocated for it",
    "load": "zswap_load(), zram or device read succeeded",
    "load_error": "the read failed: the copy stays where it is",
    "swapcache_hit": "do_swap_page() finds its folio in the swap cache",
    "free_swap": "folio_free_swap(): the copy is dropped, the page dirty",
    "shrink": "zswap_writeback_entry(): a locked swap-cache folio is allocated for the entry",
    "free": "the owner exits or unmaps: zap_pte_range(), free_swap_and_cache()",
}
"""Events in id order, each with the kernel function it stands for."""

_ON_A_LIST = ("queued", "compressing", "compressed", "writing_back", "written_back", "zero_filled")
_AT_REST = (
    "resident",
    "compressed",
    "compressed_freed",
    "written_back",
    "written_back_freed",
    "zero_filled",
    "zero_filled_freed",
    "activated",
    "redirtied",
    "resident_swapcache",
)


@dataclass(frozen=True)
class Edge:
    """One guarded transition: ``event`` takes a page from ``source`` to ``to`` when every guard in ``when`` holds.

    ``when`` names guards, a leading ``!`` for one that must not hold; ``why`` is the reason the edge exists.
    """

    event: str
    source: str
    to: str
    when: str
    why: str


def _same(event: str, sources: Sequence[str], why: str) -> tuple[Edge, ...]:
    return tuple(Edge(event, state, state, "", why) for state in sources)


EDGES: tuple[Edge, ...] = (
    Edge("isolate", "resident", "isolated", "", "a scan takes 32 from the inactive tail"),
    *_same("isolate", (*_ON_A_LIST, "redirtied", "resident_swapcache"), "a later scan meets it where it is"),
    Edge("putback", "isolated", "resident", "", "kept: it goes back unharmed"),
    *_same("putback", ("resident",), "folio_add_lru() after a fault"),
    *_same("putback", (*_ON_A_LIST, "activated", "redirtied", "resident_swapcache"), "the scan is done with it"),
    Edge("pageout", "isolated", "unmapped", "", "the first look: slot, swap cache, unmap"),
    Edge("pageout", "redirtied", "unmapped", "", "a failed write is tried again"),
    Edge("unmap", "resident_swapcache", "compressed", "in_pool !zero", "clean, and the pool has it"),
    Edge("unmap", "resident_swapcache", "written_back", "!in_pool !zero", "clean, and the device has it"),
    Edge("unmap", "resident_swapcache", "zero_filled", "!in_pool zero", "clean, and the zeromap has it"),
    Edge("zero", "unmapped", "zero_filled", "", "all zero: found before any queue"),
    Edge("queue", "unmapped", "queued", "", "kswapd hands it over"),
    Edge("compress", "queued", "compressing", "", "a worker, or kswapd on overflow, took it from the queue"),
    Edge("compress", "unmapped", "compressing", "", "synchronously, in the reclaimer"),
    Edge("store", "compressing", "compressed", "!mapped", "the copy is in the pool"),
    Edge(
        "store",
        "compressing",
        "resident_swapcache",
        "mapped",
        "the copy is in the pool, but a fault was faster",
    ),
    Edge(
        "reject",
        "unmapped",
        "writing_back",
        "writeback_enabled",
        "limit or memcg refused it; the device takes it",
    ),
    Edge("reject", "unmapped", "activated", "!writeback_enabled", "AOP_WRITEPAGE_ACTIVATE"),
    Edge(
        "reject",
        "compressing",
        "writing_back",
        "writeback_enabled",
        "incompressible, or no memory in the pool",
    ),
    Edge("reject", "compressing", "activated", "!writeback_enabled", "may not go to the device: activation"),
    Edge(
        "write",
        "unmapped",
        "writing_back",
        "",
        "from zswap's shrinker, or the queue is full and the design sends it on",
    ),
    Edge(
        "write",
        "compressing",
        "writing_back",
        "",
        "refused while queued, and the design does not re-check a knob that flipped meanwhile",
    ),
    Edge(
        "redirty",
        "compressing",
        "redirtied",
        "!mapped",
        "zram found no memory, or the knob flipped while queued",
    ),
    Edge("redirty", "compressing", "resident", "mapped", "the same, but a fault had mapped it"),
    Edge("redirty", "writing_back", "redirtied", "!mapped", "the device failed: dirty again, never lost"),
    Edge("redirty", "writing_back", "resident", "mapped", "the same, but a fault had mapped it"),
    Edge("end_writeback", "writing_back", "written_back", "!mapped", "the device has it"),
    Edge(
        "end_writeback",
        "writing_back",
        "resident_swapcache",
        "mapped",
        "the device has it, but a fault was faster",
    ),
    *_same("rotate", ("compressed", "written_back", "resident_swapcache"), "PG_reclaim was kept: reclaim it next"),
    Edge("activate", "isolated", "activated", "", "no swap slot or no memory for the swap cache"),
    *_same("activate", ("queued", "compressing", "writing_back"), "a scan met it under writeback"),
    *_same(
        "deactivate",
        ("resident", "compressed", "written_back", "redirtied", "resident_swapcache"),
        "aged: it was activated under writeback, or faulted back while active",
    ),
    Edge("reclaim", "compressed", "compressed_freed", "", "the frame is free"),
    Edge("reclaim", "written_back", "written_back_freed", "", "the frame is free"),
    Edge("reclaim", "zero_filled", "zero_filled_freed", "", "the frame is free"),
    Edge("fault", "compressed_freed", "faulting_in", "", "major fault"),
    Edge("fault", "written_back_freed", "faulting_in", "", "major fault"),
    Edge("fault", "zero_filled_freed", "faulting_in", "", "major fault"),
    Edge("load", "faulting_in", "resident", "exclusive", "the copy is dropped, the page dirty"),
    Edge("load", "faulting_in", "resident_swapcache", "!exclusive", "the copy stays"),
    Edge("load_error", "faulting_in", "compressed_freed", "in_pool", "SIGBUS; the copy stays in the pool"),
    Edge("load_error", "faulting_in", "written_back_freed", "!in_pool", "SIGBUS; the copy stays on the device"),
    Edge("swapcache_hit", "compressed", "resident_swapcache", "", "minor fault: the frame was still held"),
    Edge("swapcache_hit", "written_back", "resident_swapcache", "", "minor fault: the frame was still held"),
    Edge("swapcache_hit", "zero_filled", "resident_swapcache", "", "minor fault: the frame was still held"),
    Edge("swapcache_hit", "redirtied", "resident", "", "mapped again, dirty; its slot is freed"),
    Edge("swapcache_hit", "activated", "resident", "", "mapped again, dirty; its slot is freed"),
    *_same("swapcache_hit", ("queued", "compressing", "writing_back"), "PG_writeback does not stop a fault"),
    Edge("free_swap", "resident_swapcache", "resident", "", "written to, or swap is half full"),
    Edge(
        "shrink",
        "compressed_freed",
        "unmapped",
        "",
        "the pool is over its limit: back to a frame, then written",
    ),
    Edge("load_error", "unmapped", "compressed_freed", "in_pool", "its block does not decompress"),
    *(Edge("free", state, "freed", "", "process exit") for state in _AT_REST),
)
"""Every transition that any design or store may take."""


def machine(edges: Sequence[Edge] = EDGES) -> Machine:
    """The definition as a ``transitions`` machine: states, and triggers with ``conditions`` and ``unless``.

    ``transitions`` finds conditions by name on the model; see :class:`Page` for a model that answers them.
    """
    return Machine(
        model=None,
        states=[s.name for s in STATES],
        transitions=[_transition(e) for e in edges],
        initial="resident",
        auto_transitions=False,
    )


def _transition(edge: Edge) -> dict[str, Any]:
    guards = edge.when.split()
    return {
        "trigger": edge.event,
        "source": edge.source,
        "dest": edge.to,
        "conditions": [g for g in guards if not g.startswith("!")],
        "unless": [g[1:] for g in guards if g.startswith("!")],
    }


class Page:
    """A model of one page for :func:`machine`: guards are attributes, triggers are methods.

    The reference that tests and explanations use; it runs about 10^5 events a second and the core does not use it.
    """

    state: str

    def __init__(self, law: Machine | None = None) -> None:
        """A resident page under ``law`` (default: :func:`machine`), all guards false."""
        for guard in GUARDS:
            setattr(self, guard, False)
        (law or machine()).add_model(self)

    def fire(self, event: str, **guards: bool) -> str:
        """Sets ``guards``, fires ``event``, returns the new state.

        Raises ``transitions.MachineError`` for an event that the state lacks and :class:`LookupError` when no guarded
        row of the cell holds.
        """
        for guard in GUARDS:
            setattr(self, guard, guards.get(guard, False))
        if not self.trigger(event):  # type: ignore[attr-defined]  # added by transitions
            held = ", ".join(g for g, on in guards.items() if on) or "none"
            raise LookupError(f"{event} in {self.state}: no row for guards {held}")
        return self.state
