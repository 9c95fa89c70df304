"""Compiling a ``transitions`` machine to the table that the Rust core obeys and the validator judges by.

A cell (state, event) holds rows ``(require_mask, require_value, to)`` over at most 8 guard bits. :func:`compile` proves
the rows of each cell disjoint, and two rows of one cell may not lead to the same state: so every guard bit in a record
is either read by its row or zero, and any altered bit shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transitions import Machine


class TableError(ValueError):
    """A machine that cannot be compiled; the message names the state, event and rows."""


@dataclass(frozen=True, order=True)
class Row:
    """One row of a cell; ids index :class:`Table`'s name lists, masks have one bit per guard."""

    event: int
    source: int
    require_mask: int
    require_value: int
    to: int


@dataclass(frozen=True)
class Table:
    """A compiled machine: names in id order, the rows, and what each state demands of the flags.

    ``flags[state]`` lists alternatives ``(mask, value)`` over flag bits; empty: nothing is demanded.
    """

    states: tuple[str, ...]
    events: tuple[str, ...]
    guards: tuple[str, ...]
    rows: tuple[Row, ...]
    flags: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of the whole table."""
        text = json.dumps(self.as_dict(), separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The table as plain lists, ready for JSON."""
        return {
            "states": list(self.states),
            "events": list(self.events),
            "guards": list(self.guards),
            "rows": [[r.event, r.source, r.require_mask, r.require_value, r.to] for r in self.rows],
            "flags": [[list(a) for a in state] for state in self.flags],
        }


def compile(machine: Machine, guards: Sequence[str] | None = None) -> Table:
    """Compiles a flat ``transitions`` machine.

    ``guards`` gives condition names their bits; by default they are numbered as they appear. Conditions must be names,
    not callables. Raises :class:`TableError` naming the cell when rows overlap or end alike, for more than 8 guards or
    256 states or events, and for nested states.
    """
    states = tuple(machine.states)
    events = tuple(machine.events)
    names = list(guards if guards is not None else ())
    rows: list[Row] = []
    for event_id, event in enumerate(events):
        for source, transitions in machine.events[event].transitions.items():
            for transition in transitions:
                mask, value = _guard_bits(transition, names, open_ended=guards is None)
                dest = source if transition.dest is None else transition.dest
                rows.append(Row(event_id, states.index(source), mask, value, states.index(dest)))
    if max(len(states), len(events)) > 256 or len(names) > 8:
        raise TableError(f"{len(states)} states, {len(events)} events, {len(names)} guards: at most 256, 256 and 8")
    rows.sort()
    _check_cells(rows, states, events)
    return Table(states, events, tuple(names), tuple(rows), tuple(() for _ in states))


def _guard_bits(transition: Any, names: list[str], *, open_ended: bool) -> tuple[int, int]:
    mask = value = 0
    for condition in transition.conditions:
        name = condition.func
        if not isinstance(name, str):
            raise TableError(f"{transition.source}: condition {name!r} is a callable; a table needs a name")
        if name not in names:
            if not open_ended:
                raise TableError(f"{transition.source}: unknown guard {name!r}; known: {', '.join(names)}")
            names.append(name)
        bit = 1 << names.index(name)
        if mask & bit and bool(value & bit) != condition.target:
            raise TableError(f"{transition.source}: guard {name!r} is required both true and false")
        mask |= bit
        value |= bit if condition.target else 0
    return mask, value


def _check_cells(rows: Sequence[Row], states: Sequence[str], events: Sequence[str]) -> None:
    for i, a in enumerate(rows):
        for b in rows[i + 1 :]:
            if (a.event, a.source) != (b.event, b.source):
                break
            cell = f"{events[a.event]} in {states[a.source]}"
            shared = a.require_mask & b.require_mask
            if a.require_value & shared == b.require_value & shared:
                raise TableError(f"{cell}: the rows to {states[a.to]} and {states[b.to]} can both hold")
            if a.to == b.to:
                raise TableError(f"{cell}: two rows to {states[a.to]}; write one")
