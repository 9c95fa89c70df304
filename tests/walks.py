"""Lawful traces by walking the compiled table: every edge, guard and ticket that a run might log."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompressd import lifecycle
from kcompressd.definition import Effect, bits
from kcompressd.table import Row, Table
from kcompressd.trace import RECORD, SYSTEM, Trace, sidecar

LAW = lifecycle.table()
STATE = {s.name: i for i, s in enumerate(lifecycle.STATES)}
EVENT = {name: i for i, name in enumerate(lifecycle.EVENTS)}
FLAG = {name: 1 << i for i, name in enumerate(lifecycle.FLAGS)}
GUARD = {name: 1 << i for i, name in enumerate(lifecycle.GUARDS)}
MOVING = {STATE[s.name] for s in lifecycle.STATES if not s.rests}
KSWAPD, KCOMPRESSD, APP, DEVICE = 0x0100, 0x0200, 0x0300, 0x0400
START = bits(lifecycle.INITIAL_FLAGS, lifecycle.FLAGS)[1]
COPY = {s.name: s.copy for s in lifecycle.STATES}


def flag_bits(text: str) -> tuple[int, int]:
    return bits(text, lifecycle.FLAGS)


@dataclass
class PageAt:
    """Where the walk has a page."""

    state: int = STATE["resident"]
    flags: int = START
    seq: int = 0
    copy: int = 0
    ticket: int = 0
    owner: int = 0
    bytes: int = 0


class Walk:
    """Pages walking at random; every queue is a FIFO of ``depth``, its consumer takes the head."""

    def __init__(self, seed: int, pages: int, depth: int = 4, law: Table = LAW) -> None:
        """Pages at their beginning, ``depth`` folios in queue 0."""
        self.random = random.Random(seed)
        self.pages = [PageAt() for _ in range(pages)]
        self.queue: deque[int] = deque()
        self.depth = depth
        self.law = law
        self.given = 0
        self.knob = 1
        self.t_ns = 0
        self.records: list[tuple[int, ...]] = []

    def run(self, steps: int) -> None:
        """``steps`` records, or fewer when every page is at a dead end."""
        for _ in range(steps):
            if self.random.random() < 0.02:
                self.turn_knob()
                self.log(aux=sum(page.bytes for page in self.pages), folio=SYSTEM, event=0x85)
            choices = list(range(len(self.pages)))
            self.random.shuffle(choices)
            if not any(self.step(folio) for folio in choices):
                return

    def settle(self) -> None:
        """Walks on until no page is half way."""
        for _ in range(10_000):
            moving = [f for f, p in enumerate(self.pages) if p.state in MOVING]
            if not moving:
                return
            self.random.shuffle(moving)
            assert any(self.step(f, onwards=True) for f in moving), [self.pages[f] for f in moving]
        raise AssertionError("the walk does not settle")

    def turn_knob(self) -> None:
        """A system event: memcg 0's writeback knob."""
        self.knob ^= 1
        self.log(aux=self.knob, folio=SYSTEM, event=0x80)

    def step(self, folio: int, *, onwards: bool = False) -> bool:
        """One lawful event of a page, chosen at random; ``False`` where there is none."""
        page = self.pages[folio]
        rows = [r for r in self.law.rows if r.source == page.state and (not onwards or r.to != r.source)]
        self.random.shuffle(rows)
        if self.random.random() < 0.85:  # else a page would not live long
            rows.sort(key=lambda r: self.law.events[r.event] == "free")
        return any(self.take(folio, page, row) for row in rows)

    def take(self, folio: int, page: PageAt, row: Row) -> bool:
        """The row, if the page's past, the queue and the flags allow it."""
        event, to = self.law.events[row.event], self.law.states[row.to]
        known = {"writeback_enabled": self.knob, "mapped": page.flags & FLAG["mapped"]}
        known |= {"in_pool": page.copy & GUARD["in_pool"], "zero": page.copy & GUARD["zero"]}
        for guard, value in known.items():
            if row.require_mask & GUARD[guard] and bool(row.require_value & GUARD[guard]) != bool(value):
                return False
        if event == "queue" and len(self.queue) >= self.depth:
            return False
        dequeues = event == "compress" and page.state == STATE["queued"]
        if dequeues and self.queue[0] != folio:
            return False
        flags = self.new_flags(page.flags, event, row.to)
        if flags is None:
            return False
        aux = self.ticket(folio, page, event, dequeues)
        actor = KCOMPRESSD if dequeues else KSWAPD + self.random.randrange(2)
        if row.source != row.to:
            actor = page.owner if lifecycle.STATES[row.source].held else actor
            page.owner = actor
        if event == "redirty" and page.state == STATE["writing_back"]:
            self.log(aux=self.random.randrange(64), folio=SYSTEM, actor=DEVICE, event=0x83)
        self.log(aux, folio, page.seq, actor, flags, row.event, row.source, row.to, row.require_value)
        page.state, page.flags, page.seq = row.to, flags, page.seq + 1
        copy = lifecycle.EFFECTS.get(event, Effect()).copy or COPY[to]
        page.copy = page.copy if copy == "kept" else GUARD.get(copy, 0)
        page.bytes = (aux if event == "store" else page.bytes) if page.copy & GUARD["in_pool"] else 0
        return True

    def ticket(self, folio: int, page: PageAt, event: str, dequeues: bool) -> int:
        """What ``aux`` says of the queue, or a size."""
        if event == "queue":
            self.queue.append(folio)
            page.ticket = 1 << 48 | self.given
            self.given += 1
            return page.ticket
        if dequeues:
            self.queue.popleft()
            return page.ticket
        if event == "activate" and page.state == STATE["isolated"]:
            return self.random.randrange(1, 3)
        return self.random.randrange(1, 4096) if event == "store" else 0

    def new_flags(self, flags: int, event: str, to: int) -> int | None:
        """Flags after ``event`` that its effect and the new state allow, changing as few as they can."""
        effect = lifecycle.EFFECTS.get(event, Effect())
        before, after, same = map(flag_bits, (effect.before, effect.after, effect.same))
        if flags & before[0] != before[1]:
            return None
        changed = flags & ~after[0] | after[1]
        alternatives = list(self.law.flags[to])
        self.random.shuffle(alternatives)
        for mask, value in alternatives:
            new = changed & ~mask | value
            if self.law.states[to] == "resident" and event in ("load", "free_swap"):
                new |= START
            if new & after[0] == after[1] and (new ^ flags) & same[0] == 0 and new & mask == value:
                return new
        return None

    def log(
        self, aux: int, folio: int, seq: int = 0, actor: int = APP, flags: int = 0, event: int = 0, *rest: int
    ) -> None:
        """One record, up to 5 ns after the last."""
        self.t_ns += self.random.randrange(6)
        self.records.append((self.t_ns, aux, folio, seq, actor, flags, event, *(rest or (0, 0, 0))))

    def trace(self, **meta: Any) -> Trace:
        """The records with what only their writer knows."""
        known: dict[str, Any] = {"pages": len(self.pages), "ordering": "total", "complete": True}
        known |= {"design": "split", "depths": [self.depth], "in_hand": 0}
        known["memcgs"] = {"parents": [0], "writeback": [1], "of_page": [0] * len(self.pages)}
        return Trace(np.array(self.records, RECORD), sidecar(**(known | meta)))


def complete(seed: int, pages: int, steps: int) -> Trace:
    """A walk that ends with every page at rest."""
    walk = Walk(seed, pages)
    walk.run(steps)
    walk.settle()
    return walk.trace()
