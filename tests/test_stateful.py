"""The core against the reference model, page by page: every design on both stores, with limits, groups, failing devices,
pool switches and resizes; which edges of the law the scripts take is measured, and must be all of them.

A script is a `Machine` of Hypothesis; whatever the core fires, the `transitions` machine takes too, from the same state to
the same state, and what the model has no trigger for the core refuses. `KCOMPRESSD_STATEFUL=500` runs that many scripts.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mutants import BUDGETS, budget_job

from kcompressd import CodecError, DeviceError, Lab, Pages, ProtocolViolation, StepError, Stepper, _core, lifecycle
from kcompressd.faults import IoFaults
from kcompressd.memcg import Memcg
from kcompressd.trace import SYSTEM
from kcompressd.trace_words import SYSTEM_EVENTS, guard_names

PAGE = 4096
LAW = lifecycle.machine()
TABLE = lifecycle.table()
SCRIPTS = int(os.environ.get("KCOMPRESSD_STATEFUL", "60"))
GROUPS = (Memcg("outer"), Memcg("inner", parent="outer"))
ONWARDS = {
    "resident": ("queue", "queue", "queue", "free"),
    "redirtied": ("queue", "queue", "fault", "free"),
    "queued": ("compress", "compress", "reclaim", "fault"),
    "compressing": ("compress", "reclaim", "fault"),
    "writing_back": ("write_back", "write_back", "reclaim", "fault"),
    "compressed_freed": ("write_back", "fault", "free"),
    "resident_swapcache": ("reclaim", "reclaim", "free"),
}
"""What a page does next, by state; the rest is reclaimed, faulted or freed."""
covered: set[tuple[int, int, int, int]] = set()
"""Rows of the table taken by any script: event, source, guards, target."""


def _pages() -> Pages:
    """Three pages that compress, one of zeros, one of noise."""
    pages = np.stack([np.arange(PAGE) // 16 * (number + 3) % 256 for number in range(5)]).astype(np.uint8)
    pages[3] = 0
    pages[4] = np.random.default_rng(1).integers(0, 256, PAGE, np.uint8)
    return Pages.from_array(pages)


PAGES = _pages()
page = st.integers(0, len(PAGES) - 1)


class Machine(RuleBasedStateMachine):
    """One stepper and a model a page."""

    stepper: Stepper
    seen = 0

    @initialize(
        design=st.sampled_from(_core.presets()),
        store=st.sampled_from(["zswap", "zswap", "zram"]),
        kernel=st.sampled_from([(6, 12), (6, 18)]),
        threads=st.integers(1, 2),
        depth=st.integers(1, 3),
        limit=st.sampled_from([None, None, PAGE, 2 * PAGE]),
        writes=st.lists(st.integers(0, 3), max_size=2),
        reads=st.lists(st.integers(0, 3), max_size=2),
        grouped=st.booleans(),
    )
    def start(self, design: str, store: Any, kernel: Any, threads: int, depth: int, limit: Any, **faults: Any) -> None:
        grouped = faults.pop("grouped")
        groups = {"memcgs": GROUPS, "memcg_of": [number % 3 for number in range(len(PAGES))]} if grouped else {}
        io_faults = IoFaults(writes=tuple(faults["writes"]), reads=tuple(faults["reads"]))
        more: dict[str, Any] = {"kernel": kernel, "pool_limit": limit, "io_faults": io_faults, **groups}
        self.begin(Lab(design=design, store=store, threads=threads, depth=depth, **more))

    def begin(self, lab: Lab) -> None:
        self.lab, self.stepper = lab, lab.step(PAGES)
        self.models = [lifecycle.Page(LAW) for _ in PAGES]

    @rule(number=page, pick=st.integers(0, 3))
    def go_on(self, number: int, pick: int) -> None:
        """The page's likely next call."""
        state = self.stepper[number].state
        calls = ONWARDS.get(state, ("reclaim", "fault", "free") if not state.endswith("_freed") else ("fault", "free"))
        self.call(number, calls[pick % len(calls)])

    def call(self, number: int, call: str) -> None:
        folio = self.stepper[number]
        try:
            assert getattr(folio, call)() in (True, folio.state)
        except (DeviceError, CodecError) as failed:
            assert f"page {number} is {folio.state}" in str(failed) and call in ("fault", "write_back")
        except StepError as refused:
            assert refused.page == number and refused.state in (None, folio.state)

    @rule(number=page, pick=st.integers(0, 30))
    def lawful_event(self, number: int, pick: int) -> None:
        """One event that the law has here: whose business it is goes on until it has fired it, and is left half way."""
        lawful = sorted(LAW.get_triggers(self.models[number].state))
        if lawful:
            self.fire(number, lawful[pick % len(lawful)])

    @rule(number=page, event=st.sampled_from(list(lifecycle.EVENTS)))
    def any_event(self, number: int, event: str) -> None:
        self.fire(number, event)

    def fire(self, number: int, event: str) -> None:
        before = self.models[number].state
        lawful = event in LAW.get_triggers(before)
        try:
            self.stepper[number].fire(event)
        except ProtocolViolation as refused:
            assert (refused.page, refused.state, refused.event) == (number, before, event)
            assert not lawful and self.stepper[number].state == before
        except (StepError, DeviceError, CodecError):
            assert lawful
        else:
            assert lawful

    @rule()
    def settle_a_little(self) -> None:
        """Whoever is half way goes on: the device, the workers, whoever has a page in hand."""
        for folio in self.stepper:
            if folio.state in ("queued", "compressing"):
                self.call(folio.page, "compress")
            elif folio.state == "writing_back":
                self.call(folio.page, "write_back")
            elif folio.state == "isolated":
                self.fire(folio.page, "pageout")

    @precondition(lambda self: self.lab.store == "zswap")
    @rule(number=page)
    def spoil(self, number: int) -> None:
        """A memory error in the pool."""
        try:
            self.stepper[number].spoil()
        except StepError as refused:
            assert "compressed in zswap" in str(refused)

    @rule(enabled=st.sampled_from([False, False, True]), group=st.integers(0, 2))
    def turn_writeback(self, enabled: bool, group: int) -> None:
        self.stepper.set_writeback(enabled, self.group(group))

    @rule(pages=st.sampled_from([0, 0, 1, 1 << 20]), group=st.integers(1, 2))
    def turn_zswap_max(self, pages: int, group: int) -> None:
        if self.lab.memcgs:
            self.stepper.set_zswap_max(pages * PAGE, self.group(group))

    def group(self, number: int) -> str:
        return ("/", "outer", "inner")[number] if self.lab.memcgs else "/"

    @precondition(lambda self: self.lab.store == "zswap")
    @rule(percent=st.sampled_from([0, 50, 100]), accept=st.sampled_from([0, 100]))
    def turn_pool_limits(self, percent: int, accept: int) -> None:
        self.stepper.set_pool_limits(percent, accept)

    @precondition(lambda self: self.lab.store == "zswap")
    @rule(compressor=st.sampled_from(["lz4", "lzo", "zstd"]))
    def switch_pool(self, compressor: str) -> None:
        self.stepper.set_compressor(compressor)

    @precondition(lambda self: self.stepper.queues)
    @rule(depth=st.integers(0, 1), queue=st.integers(0, 1))
    def resize(self, depth: int, queue: int) -> None:
        self.stepper.set_depth(depth, queue % len(self.stepper.queues))

    @invariant()
    def walk_together(self) -> None:
        if not hasattr(self, "stepper"):
            return
        records = self.stepper.trace.records
        for record in records[self.seen :]:
            if record["folio"] != SYSTEM:
                self.follow(record)
        self.seen = len(records)
        assert [model.state for model in self.models] == [folio.state for folio in self.stepper]

    def follow(self, record: np.void) -> None:
        model, event = self.models[record["folio"]], list(lifecycle.EVENTS)[record["event"]]
        assert model.state == lifecycle.STATES[record["from"]].name
        guards = dict.fromkeys(guard_names(int(record["guards"])), True)
        assert model.fire(event, **guards) == lifecycle.STATES[record["to"]].name
        covered.add(tuple(int(record[field]) for field in ("event", "from", "guards", "to")))

    def teardown(self) -> None:
        if hasattr(self, "stepper"):
            self.judged()
            LAW.remove_model(self.models)

    def judged(self) -> None:
        validation = self.stepper.trace.validate()
        assert validation.ok, validation.explain()
        counted = {name: count for name, count in self.stepper.counters.lifecycle.by_event.items() if count}
        assert {name: n for name, n in validation.by_event.items() if name not in SYSTEM_EVENTS} == counted


DICE = int(os.environ.get("KCOMPRESSD_DICE", "250"))
_BUDGET = "only a node with a memory budget ages or allocates so, and a stepper's has none"
_LARGE = "a script drives single pages"
ELSEWHERE: dict[tuple[str, str, str], str] = {
    ("putback", "isolated", "resident"): "nothing keeps a stepper's isolated page from its pageout",
    ("activate", "isolated", "activated"): "a lab has as many slots as pages",
    ("free_swap", "resident_swapcache", "resident"): "no actor of a stepper gives a mapped page's slot back by itself",
    ("activate", "resident_swapcache", "resident_swapcache"): _BUDGET,
    ("populate", "freed", "resident"): _BUDGET,
    **{("deactivate", "activated", end): _BUDGET for end in ("resident", "redirtied")},
    **{("deactivate", at, at): _BUDGET for at in ("queued", "compressing", "writing_back")},
    **{("split", at, "isolated"): _LARGE for at in ("isolated", "tail")},
    **{(event, "tail", "tail"): _LARGE for event in ("store", "free_swap")},
    **{("reclaim", "tail", end): _LARGE for end in ("compressed_freed", "written_back_freed")},
    ("join", "freed", "tail"): _LARGE,
    ("zero", "tail", "zero_filled_freed"): _LARGE,
    ("free", "tail", "freed"): _LARGE,
}
"""Edges that no script of a stepper takes: event, source, target, and why. Runs with a memory budget take all of them."""


def test_the_core_and_the_model_walk_together() -> None:
    unhurried = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    short = settings(max_examples=SCRIPTS, stateful_step_count=50, deadline=None, suppress_health_check=unhurried)
    run_state_machine_as_test(Machine, settings=short)


class Dice:
    """The same rules, chosen by a seed: a thousand times as many steps a second as Hypothesis, whose strength is to make a
    failure small.
    """

    def __init__(self, seed: int) -> None:
        """A machine on a random lab."""
        self.random = random.Random(seed)
        self.machine = Machine()
        one_of = self.random.choice
        self.machine.start(
            design=one_of(_core.presets()),
            store=one_of(["zswap", "zswap", "zram"]),
            kernel=one_of([(6, 12), (6, 18)]),
            threads=one_of([1, 2]),
            depth=one_of([1, 2, 3]),
            limit=one_of([None, None, PAGE, 2 * PAGE]),
            writes=self.random.sample(range(8), one_of([0, 2, 4])),
            reads=self.random.sample(range(8), one_of([0, 2, 4])),
            grouped=one_of([False, True]),
        )

    def run(self, steps: int) -> None:
        """So many rules, the calls more often than the knobs; then the trace is judged."""
        for _ in range(steps):
            self.step()
            self.machine.walk_together()
        self.machine.teardown()

    def step(self) -> None:
        machine, below = self.machine, self.random.randrange
        number = below(len(PAGES))
        match below(22):
            case 0 | 1 | 2 | 3 | 4 | 5:
                machine.go_on(number, below(4))
            case 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13:
                machine.lawful_event(number, below(31))
            case 14:
                machine.any_event(number, self.random.choice(list(lifecycle.EVENTS)))
            case 15 | 16:
                machine.settle_a_little()
            case 17:
                machine.turn_writeback(self.random.random() < 0.5, below(3))
            case 18:
                self.turn()
            case 19 | 20:
                self.rare()
            case _ if machine.stepper.queues:
                machine.resize(below(2), below(2))

    def rare(self) -> None:
        """Meetings that chance seldom brings: a scan and a worker, an aged page, a fault on what is on its way."""
        for folio in self.machine.stepper:
            if "active" in folio.flags and folio.state not in ("queued", "activated"):
                self.machine.fire(folio.page, "deactivate")
            elif folio.state in ("unmapped", "zero_filled"):
                self.machine.fire(folio.page, "zero" if folio.state == "unmapped" else "swapcache_hit")
            elif folio.state in ("queued", "compressing", "writing_back"):
                self.machine.fire(folio.page, self.random.choice(["isolate", "activate", "swapcache_hit", "compress"]))
            elif folio.state in ("compressed", "written_back"):
                self.machine.fire(folio.page, self.random.choice(["isolate", "putback", "swapcache_hit", "unmap"]))

    def turn(self) -> None:
        machine, one_of = self.machine, self.random.choice
        machine.turn_zswap_max(one_of([0, 1, 1 << 20]), one_of([1, 2]))
        if machine.lab.store == "zswap":
            machine.turn_pool_limits(one_of([0, 50, 100]), one_of([0, 100]))
            machine.switch_pool(one_of(["lz4", "lzo", "zstd"]))
            machine.spoil(self.random.randrange(len(PAGES)))


def test_scripts_by_the_dice_take_every_edge_of_the_law() -> None:
    """All but those listed, each of which really is out of reach: an edge that nothing takes does not go unnoticed."""
    for seed in range(DICE):
        Dice(seed).run(120)
    names = [(TABLE.events[r.event], TABLE.states[r.source], TABLE.states[r.to]) for r in TABLE.rows]
    taken = {n for n, r in zip(names, TABLE.rows, strict=True) if (r.event, r.source, r.require_value, r.to) in covered}
    assert set(names) - taken == set(ELSEWHERE)


def test_runs_with_a_memory_budget_take_the_edges_that_scripts_cannot(tmp_path: Path) -> None:
    """So the edges taken by a test are the whole law."""
    left = set(ELSEWHERE)
    for name in BUDGETS:
        budget_job(name, tmp_path).sim(trace=tmp_path / "t.npy")
        records = np.load(tmp_path / "t.npy", mmap_mode="r")
        edges = np.unique(records[["event", "from", "to"]][records["folio"] != SYSTEM])
        left -= {(TABLE.events[event], TABLE.states[source], TABLE.states[to]) for event, source, to in edges.tolist()}
    assert left == set()
