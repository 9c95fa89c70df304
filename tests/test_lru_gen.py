"""The multi-gen LRU against a model of it, written from Documentation/mm/multigen_lru.rst and admin-guide/mm/multigen_lru.rst.

One application alone on one CPU touches pages, stops, and memory.reclaim takes some of them; and so on. Nothing else moves, so that the
counters of the group's memory.stat have to be the model's, each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcompressd import Calibration, Lab, Memcg, MemoryReclaim
from kcompressd.machine import Machine
from kcompressd.node import Node
from kcompressd.sim import Sim
from kcompressd.workload import WRITE, Workload

PAGES = 1536
PAGE = 4096
SECOND = 1_000_000_000
MIN_GENS, MAX_GENS, BATCH, TABLE, PRIORITY = 2, 4, 64, 512, 12


@dataclass
class Page:
    """A page: its generation, and what the hardware and earlier looks have noted."""

    resident: bool = False
    gen: int = 0
    young: bool = False
    referenced: bool = False
    shadow: int | None = None


@dataclass
class Generations:
    """Lists by sequence number, heads to the left; a promoted page stays on its list until eviction sorts it away."""

    pages: list[Page] = field(default_factory=lambda: [Page() for _ in range(PAGES)])
    lists: dict[int, deque[int]] = field(default_factory=lambda: {seq: deque() for seq in range(MAX_GENS)})
    min_seq: int = 0
    max_seq: int = MIN_GENS + 1
    walked: set[int] | None = None
    """Tables for the walk to come; None: all."""
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def touch(self, number: int) -> None:
        page = self.pages[number]
        page.young = True
        if page.resident:
            return
        self.count("pgfault")
        if page.shadow is not None:
            self.count("pgmajfault")
            self.count("workingset_refault_anon")
            for name in ("workingset_activate_anon", "workingset_restore_anon"):
                self.count(name, int(page.shadow == self.min_seq))
        page.resident = True
        self.add(number)

    def add(self, number: int) -> None:
        self.pages[number].gen = self.max_seq
        self.lists[self.max_seq].appendleft(number)

    def size(self, *seqs: int) -> int:
        return sum(page.resident and page.gen in seqs for page in self.pages)

    @property
    def gens(self) -> int:
        return self.max_seq - self.min_seq + 1

    def is_time_to_age(self) -> bool:
        """Ideally there are three generations of a third each; eviction stalls at two."""
        total = self.size(*range(self.min_seq, self.max_seq + 1))
        uneven = self.size(self.max_seq) * 2 > total or self.size(self.min_seq) * 4 < total
        return self.gens <= MIN_GENS or (self.gens == MIN_GENS + 1 and uneven)

    def make_young(self, numbers: range) -> int:
        found = [number for number in numbers if self.pages[number].resident and self.pages[number].young]
        isolated = self.isolated
        for number in found:
            page = self.pages[number]
            page.young = False
            if number in isolated:
                page.referenced = True
            else:
                page.gen = self.max_seq
        return len(found)

    isolated: set[int] = field(default_factory=set)

    def age(self) -> None:
        """Walk the page tables in the filter, fill the next filter, open a generation."""
        filled = set()
        for table in range(PAGES // TABLE):
            if self.walked is None or table in self.walked:
                young = self.make_young(range(table * TABLE, (table + 1) * TABLE))
                filled |= {table} if young * 8 >= TABLE else set()
        self.walked = filled
        if self.gens == MAX_GENS:
            for number in list(self.lists[self.min_seq]):
                page = self.pages[number]
                page.gen = max(page.gen, self.min_seq + 1)
                self.lists[page.gen].append(number)
            self.lists.pop(self.min_seq)
            self.min_seq += 1
        self.max_seq += 1
        self.lists[self.max_seq] = deque()

    def look_around(self, number: int) -> None:
        """The 64 entries around it, within its table."""
        table = number // TABLE * TABLE
        start = min(max(number - BATCH // 2, table), table + TABLE - BATCH)
        young = 1 + self.make_young(range(start, start + BATCH))
        if young * 8 >= BATCH and self.walked is not None:
            self.walked.add(number // TABLE)

    def isolate(self) -> tuple[list[int], int]:
        """Up to 64 of the oldest generation; what was promoted is sorted away. And how many it came by, as it counts: none where it took
        none of all that was left, or where nothing old is left after it (observed on 6.12)."""
        taken: list[int] = []
        examined = 0
        oldest = self.lists[self.min_seq]
        while self.gens > MIN_GENS and oldest and len(taken) < BATCH and examined < BATCH * BATCH:
            examined += 1
            number = oldest.pop()
            if self.pages[number].gen != self.min_seq:
                self.lists[self.pages[number].gen].appendleft(number)
                self.count("pgrefill")
            else:
                taken.append(number)
        before = self.min_seq
        while self.gens > MIN_GENS and not self.lists[self.min_seq]:
            self.lists.pop(self.min_seq)
            self.min_seq += 1
        counted = (examined if taken or examined == BATCH * BATCH else 0) + (self.min_seq > before)
        return taken, counted if self.gens > MIN_GENS else 0

    def evict(self) -> tuple[int, int]:
        """One batch: what came by, and what was freed. What is in use goes to the youngest generation."""
        taken, examined = self.isolate()
        self.isolated = set(taken)
        self.count("pgscan", len(taken))
        kept = []
        for number in taken:
            page = self.pages[number]
            if page.referenced or page.young:
                if not page.referenced:
                    page.young, page.referenced = False, True
                    self.look_around(number)
                kept.append(number)
            else:
                page.resident, page.shadow = False, self.min_seq
        self.isolated = set()
        for number in kept:
            self.pages[number].referenced = False
            self.add(number)
        self.count("pgsteal", len(taken) - len(kept))
        return examined, len(taken) - len(kept)

    def turn(self, priority: int) -> int:
        """What one pass frees."""
        scanned = freed = 0
        while True:
            if priority < PRIORITY and self.is_time_to_age():
                self.age()
                return freed
            total = self.size(*range(self.min_seq, self.max_seq + 1))
            wanted = 0 if self.gens <= MIN_GENS else total >> priority
            if wanted == 0:
                return freed
            examined, more = self.evict()
            scanned, freed = scanned + examined, freed + more
            if examined == 0 or scanned >= wanted:
                return freed

    def try_to_free(self, wanted: int) -> int:
        """Priorities 12 to 0 until there is enough; from the top once more when there was nothing."""
        freed = 0
        for _ in range(2):
            for priority in range(PRIORITY, -1, -1):
                freed += self.turn(priority)
                if freed >= wanted:
                    return freed
            if freed:
                return freed
        return freed

    def memory_reclaim(self, pages: int) -> int:
        """A quarter of what is left at a time; the 17th attempt in vain is the last."""
        freed = in_vain = 0
        while freed < pages and in_vain < 17:
            now = self.try_to_free(max((pages - freed) // 4, 32))
            freed, in_vain = freed + now, in_vain + (now == 0)
        return freed


@dataclass(frozen=True)
class Scripted(Workload):
    """An application that touches one list of pages each second."""

    script: tuple[tuple[int, ...], ...] = ()

    def phases(self, first: int, first_file: int = 0) -> list[dict[str, Any]]:
        traces = [np.array(pages, dtype=np.uint32) | np.uint32(WRITE) for pages in self.script]
        common = {"first": first, "pages": self.pages, "pattern": "trace", "wait_ns": SECOND}
        return [{**common, "trace": trace, "touches": len(trace)} for trace in traces]


def ran(script: Sequence[tuple[Sequence[int], int]]) -> Any:
    """The group of a run where touches and memory.reclaim alternate."""
    writes = tuple(MemoryReclaim(SECOND * 3 // 2 + at * SECOND, pages * PAGE) for at, (_, pages) in enumerate(script))
    app = Scripted(
        kind="burst", pages=PAGES, deadline_ns=1, memcg="a", script=tuple(tuple(pages) for pages, _ in script)
    )
    lab = Lab(design="sync", store="zram", memcgs=[Memcg("a", memory_reclaim=writes)])
    node = Node(managed=20_000, lru_gen=True)
    result = Sim(lab=lab, machine=Machine().with_cpus(1), node=node, workload=app).run(Calibration.sample())
    assert result.complete and result.vmstat.pgscan_kswapd == 0
    return result.memcgs[1]


def compared(script: Sequence[tuple[Sequence[int], int]]) -> Generations:
    """Run both and compare all that memory.stat says."""
    model, group = Generations(), ran(script)
    for at, (pages, wanted) in enumerate(script):
        for number in pages:
            model.touch(number)
        assert group.memory_reclaim[at].reclaimed_bytes == model.memory_reclaim(wanted) * PAGE, f"write {at}"
    stat = group.memory_stat
    assert {name: stat[name] for name in model.counts} == model.counts
    young = model.size(model.max_seq, model.max_seq - 1)
    assert (stat.active_anon, stat.anon) == (young * PAGE, sum(page.resident for page in model.pages) * PAGE)
    return model


def test_a_hot_set_survives_what_is_touched_once() -> None:
    """As long as no more is asked for than is old: what is more comes from pages that a walk has just seen young."""
    hot = tuple(range(100))
    script = [((*range(at, at + 300), *hot), 60) for at in (100, 400, 700, 1000)]
    model = compared(script)
    assert all(model.pages[number].resident for number in hot)
    assert model.counts["pgsteal"] >= 4 * 60


def test_pages_of_new_tables_are_met_young() -> None:
    """The first walk looks everywhere, later ones where something was young: 600 more pages each cost a look in vain."""
    model = compared([(range(600), 100), (range(600, 1200), 700), (range(1200, 1500), 600)])
    assert model.counts["pgscan"] > model.counts["pgsteal"] * 1.2


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[list[int], int]]:
    """A few seconds of runs, jumps and repetitions, and how much is reclaimed after each."""

    def touches() -> Iterator[int]:
        for _ in range(draw(st.integers(1, 5))):
            first, length = draw(st.integers(0, PAGES - 1)), draw(st.integers(1, 500))
            step = draw(st.sampled_from([1, 1, 7, 64]))
            yield from (number % PAGES for number in range(first, first + length * step, step))

    return [(list(touches()), draw(st.integers(1, 900))) for _ in range(draw(st.integers(1, 6)))]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=scripts())
def test_any_script_comes_to_the_model_s_counters(script: list[tuple[list[int], int]]) -> None:
    compared(script)
