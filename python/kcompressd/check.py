"""`check`: every order in which a small system's actors can step, on the core's own code.

A `Scenario` is a design, a store, a few folios, and what may happen to them: steps that fail, knobs that are
turned, an application that faults pages back in. `check` explores it and returns a `Check`: how many states
there are, whether all were seen, and the first thing that went wrong with a shortest way to it.

    >>> from kcompressd.check import Scenario, check
    >>> check(Scenario(design="april", folios=1, threads=1, toggles=("stop",))).why.split(";")[0]
    'nobody can go on: kcompressd0 sleeps in wait_event() on its empty queue 0 and misses kthread_stop(), which waits for it'

What always holds is checked in every state: no step breaks the lifecycle, nobody waits for ever, the lists are
what the page flags say, memory.zswap.writeback is respected. At an end nothing is lost and the accounts add up.
Eventually: from every state such an end can be reached. That is a property of the graph, not of LTL under
fairness. Sometimes: each state that is met is counted, so that nothing passes vacuously.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kcompressd import _core, lifecycle
from kcompressd.design import Design, Kernel, Store, sized
from kcompressd.errors import LabError, RunInterrupted, refuse_number, refuse_type
from kcompressd.names import plain
from kcompressd.policy import Policy
from kcompressd.sizes import counted, mib
from kcompressd.workload import refuse_order

INCOMPRESSIBLE = 0xFFFFFFFF
"""A page that the compressor gives up on, in `Scenario.lens`."""
MAX_PAGES = 16
"""A scenario has at most so many (the core's `MAX_FOLIOS`)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is explored: `design` is a preset's name, a `Design` or a `Policy`; `lens` gives what each page compresses to in
    bytes, and so the number of folios, where they are not all `bytes`; `touch` and `exit` are applications that fault
    every folio in and give every folio up, `swapoff` parts every page from its slot; `read_errors` numbers the device reads that
    fail, from 0. `folio_order` is log2 of the pages of each folio, of which there are 16 at most in all; a page of a large folio steps for
    itself wherever the core does so.
    """

    design: str | Design | Policy = "split"
    store: Store = "zswap"
    folios: int = 2
    threads: int | None = None
    depth: int | None = 2
    bytes: int = 1000
    lens: tuple[int, ...] = ()
    faults: int = 0
    toggles: tuple[str, ...] = ()
    touch: bool = False
    exit: bool = False
    swapoff: bool = False
    read_errors: tuple[int, ...] = ()
    writeback: bool = True
    pool_limit_pages: int | None = None
    kernel: Kernel = (6, 12)
    folio_order: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], policy: Policy | None = None) -> Scenario:
        """Make the scenario of a mapping as `config` returns it, with the `policy` that it was checked with; raises `LabError` for
        another one or none, :class:`KeyError` or :class:`TypeError` for what is no scenario.
        """
        fields = dict(config)
        name = fields.pop("policy", None)
        if name != (None if policy is None else policy.name):
            asked = "no policy" if name is None else f"the policy {name}"
            raise LabError("scenario", f"was checked with {asked}", "give the same as its design")
        design = Design.from_dict(config["design"])
        own = (
            {"design": design}
            if policy is None
            else {"design": policy, "threads": design.threads, "depth": design.depth}
        )
        for name in ("lens", "toggles", "kernel", "read_errors"):
            fields[name] = tuple(fields[name])
        folios = len(fields["lens"]) >> fields.get("folio_order", 0)
        return cls(**{**fields, "folios": folios, "depth": None, **own})

    def config(self) -> dict[str, Any]:
        """Return it as plain data; raises `DesignError` and `LabError` for what means nothing."""
        asked = self.design.design if isinstance(self.design, Policy) else self.design
        refuse_type("design", asked, (str, Design), "a preset's name, a Design or a Policy")
        design = Design.preset(asked, self.store) if isinstance(asked, str) else asked
        if not design.is_sync:
            design = sized(design, self.threads, self.depth)
        refuse_order(self.folio_order)
        refuse_number("folios", self.folios)
        if not self.lens and not 1 <= self.folios << self.folio_order <= MAX_PAGES:
            raise LabError("folios", f"{self.folios << self.folio_order} is not between 1 and {MAX_PAGES}, in pages")
        lens = self.lens or (self.bytes,) * (self.folios << self.folio_order)
        if design.is_sync and "stop" in self.toggles:
            raise LabError("toggle stop", "there is no kcompressd thread to stop", "choose another design")
        if self.store == "zram" and {"pool", "zswap_max"} & set(self.toggles):
            raise LabError("toggle", "zram has neither memory.zswap.max nor another pool", "use --store zswap")
        names = ("store", "faults", "touch", "exit", "swapoff", "writeback", "pool_limit_pages", "kernel")
        given = {name: getattr(self, name) for name in names}
        policy = {"policy": self.design.name} if isinstance(self.design, Policy) else {}
        order = {"folio_order": self.folio_order} if self.folio_order else {}
        lists = {"lens": list(lens), "toggles": list(self.toggles), "read_errors": list(self.read_errors)}
        return {**given, "design": design.to_dict(), **lists, **policy, **order}

    def for_core(self) -> dict[str, Any]:
        """Return it as the core takes it; raises as `config`."""
        config = self.config()
        large = [(0, len(config["lens"]), self.folio_order)] if self.folio_order else []
        return {**config, "large": large, "policy": self.design if isinstance(self.design, Policy) else None}


@dataclass(frozen=True, slots=True)
class Row:
    """One event of a schedule: which step it was, who did it to which page, and where that took the page."""

    step: int
    actor: str
    event: str
    folio: int | None
    source: str
    to: str

    def __str__(self) -> str:
        """Return the row in the kernel's words."""
        if self.folio is None:
            return f"step {self.step:3}  {self.actor:14} turns {self.event}"
        function = lifecycle.EVENTS.get(self.event, "").split(":")[0]
        moved = self.to if self.source == self.to else f"{self.source} → {self.to}"
        return f"step {self.step:3}  {self.actor:14} page {self.folio}: {self.event:13} {moved}  · {function}"


@dataclass(frozen=True, slots=True)
class Check:
    """What an exploration came to. `exit_code` is that of the verb: 0 all seen and good, 1 something is wrong,
    3 a bound ended it.
    """

    scenario: Scenario
    states: int
    transitions: int
    ends: int
    deepest: int
    seconds: float
    memory_bytes: int
    complete: bool
    stopped_by: str | None
    why: str | None
    schedule: tuple[str, ...]
    sometimes: dict[str, int]
    witnesses: dict[str, tuple[str, ...]]

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        if self.why is not None:
            return 1
        return 0 if self.complete else 3

    def timeline(self) -> list[Row]:
        """Return the events on the way to what went wrong; none when nothing did."""
        return replay(self.scenario, self.schedule).rows

    def to_json(self) -> str:
        """Return it as JSON, the scenario included."""
        found = {f.name: getattr(self, f.name) for f in fields(self)} | {"scenario": self.scenario.config()}
        return json.dumps(found, indent=1, default=plain) + "\n"

    def __str__(self) -> str:
        """Return it in words, with the timeline of what went wrong."""
        stopped = self.stopped_by if self.stopped_by == "interrupted" else f"stopped by {self.stopped_by}"
        seen = "every state seen" if self.complete else f"not all seen: {stopped}"
        if self.why is not None:
            seen = "stopped at what is wrong"
        lines = [
            f"{self.states:,} states, {self.transitions:,} transitions, {self.ends:,} end{'s' * (self.ends != 1)}, {counted(self.deepest, 'step')} deep: "
            f"{seen} ({self.seconds:.2f} s, {mib(self.memory_bytes)})"
        ]
        lines += [f"  met {times:9,} times: {name}" for name, times in self.sometimes.items() if times]
        if self.why is not None:
            lines += [f"wrong: {self.why}", f"the way there, {len(self.schedule)} steps:"]
            lines += [f"  {row}" for row in self.timeline()]
        return "\n".join(lines)


def check(
    scenario: Scenario,
    *,
    max_states: int = 0,
    max_depth: int = 0,
    max_memory_bytes: int = 0,
    symmetry: bool = True,
    reduction: bool = True,
    eventually: bool = True,
) -> Check:
    """Explore `scenario`; a bound of 0 is none. Bytes are those of the search's own tables.

    A policy may look at what another's step changes (`View.fill`), so that with one no two steps pass for independent.
    Raises on Ctrl-C `RunInterrupted` with the Check of the states seen so far.
    """
    refuse_type("scenario", scenario, Scenario, "a Scenario")
    reduction = reduction and not isinstance(scenario.design, Policy)
    options = {"symmetry": symmetry, "reduction": reduction, "eventually": eventually}
    bounds = {"max_states": max_states, "max_depth": max_depth, "max_memory_bytes": max_memory_bytes}
    found = _core.explore({**scenario.for_core(), **bounds, **options}, lifecycle.table().as_dict())
    sometimes = found.pop("sometimes")
    schedule = tuple(found.pop("schedule") or ())
    del found["actors"]
    result = Check(
        scenario=scenario,
        schedule=schedule,
        sometimes={name: times for name, times, _ in sometimes},
        witnesses={name: tuple(way) for name, times, way in sometimes if times},
        **found,
    )
    if result.stopped_by == "interrupted":
        raise RunInterrupted(result)
    return result


@dataclass(frozen=True, slots=True)
class Replayed:
    """A schedule run again: its events, and what is wrong at its end."""

    rows: list[Row]
    why: str | None


def replay(scenario: Scenario, schedule: Sequence[str]) -> Replayed:
    """Run `schedule` from the start of `scenario`; raises `LabError` where it does not fit."""
    refuse_type("scenario", scenario, Scenario, "a Scenario")
    refuse_type("schedule", schedule, (list, tuple), "a list of steps")
    for step in schedule:
        refuse_type("schedule", step, str, "a step")
    found = _core.replay_schedule(scenario.for_core(), lifecycle.table().as_dict(), list(schedule))
    if not found["valid"]:
        raise LabError("schedule", found["why"], "replay it with the scenario that it came from")
    return Replayed([Row(*row) for row in found["rows"]], found["why"])
