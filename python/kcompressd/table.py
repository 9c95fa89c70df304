"""Compiling a ``transitions`` machine to the table that the Rust core obeys and the validator judges by.

A cell (state, event) holds disjoint rows ``(require_mask, require_value, to)`` over at most 8 guard bits. Of our own law
(``disjoint=True``) they must be so as written, and two rows of one cell may not lead to the same state: so every guard bit
in a record is either read by its row or zero, and any altered bit shows. Any other flat machine compiles as well, and
:meth:`Table.validate` judges event logs by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from transitions import Machine

if TYPE_CHECKING:
    from kcompressd.event_log import Log, LogVerdict


class TableError(ValueError):
    """A machine that cannot be compiled; the message names the state, event and rows."""


class Row(NamedTuple):
    """One row of a cell; ids index :class:`Table`'s name lists, masks have one bit per guard."""

    event: int
    source: int
    require_mask: int
    require_value: int
    to: int


@dataclass(frozen=True)
class Table:
    """A compiled machine: names in id order, the rows, and what each state demands of the flags.

    ``flags[state]`` lists alternatives ``(mask, value)`` over flag bits; empty: nothing is demanded. ``initial`` is the
    state that the machine's models begin in, if it says so.
    """

    states: tuple[str, ...]
    events: tuple[str, ...]
    guards: tuple[str, ...]
    rows: tuple[Row, ...]
    flags: tuple[tuple[tuple[int, int], ...], ...]
    initial: str | None = None

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
            "rows": [list(row) for row in self.rows],
            "flags": [[list(a) for a in state] for state in self.flags],
        }

    def validate(self, log: Log, initial: str | None = None) -> LogVerdict:
        """Judges an event log by the table; see :func:`kcompressd.event_log.validate`."""
        from kcompressd.event_log import validate

        return validate(self, log, initial)


def compile(machine: Machine, guards: Sequence[str] | None = None, *, disjoint: bool = False) -> Table:
    """Compiles a flat ``transitions`` machine to a table.

    ``guards`` gives condition names their bits; by default they are numbered as they appear, ``conditions`` and ``unless``
    alike. Among the transitions of one event from one state the first whose conditions hold is taken, as ``transitions``
    does; with ``disjoint`` a cell where that order matters is refused instead, and so are two rows that end alike. Events
    made by ``auto_transitions``, reflexive and internal transitions are edges like others; callbacks are not looked at.

    What does not make a table raises :class:`TableError`, naming it: nested or parallel states, a condition that is a
    callable (a table needs a name), more than 8 guards, 256 states or 256 events.

        >>> from transitions import Machine
        >>> states, melt = ["solid", "liquid"], ["melt", "solid", "liquid"]
        >>> compile(Machine(states=states, transitions=[melt], initial="solid", auto_transitions=False)).rows
        (Row(event=0, source=0, require_mask=0, require_value=0, to=1),)
    """
    if hasattr(machine.state_cls, "separator"):  # a HierarchicalMachine, whose import would bring asyncio along
        raise TableError("a hierarchical machine has nested states; a table is flat: give each leaf a name of its own")
    states, events = tuple(machine.states), tuple(machine.events)
    names = list(guards if guards is not None else ())
    cells: dict[tuple[int, int], list[Row]] = {}
    for event_id, event in enumerate(events):
        for source, transitions in machine.events[event].transitions.items():
            cell = cells.setdefault((event_id, states.index(source)), [])
            for transition in transitions:
                mask, value = _guard_bits(transition, names, open_ended=guards is None)
                dest = source if transition.dest is None else transition.dest
                cell.append(Row(event_id, states.index(source), mask, value, states.index(dest)))
    if max(len(states), len(events)) > 256 or len(names) > 8:
        raise TableError(f"{len(states)} states, {len(events)} events, {len(names)} guards: at most 256, 256 and 8")
    if disjoint:
        _check_cells(sorted(row for cell in cells.values() for row in cell), states, events)
    rows = sorted(row for cell in cells.values() for row in _first_wins(cell))
    initial = machine.initial if machine.initial in states else None
    return Table(states, events, tuple(names), tuple(rows), tuple(() for _ in states), initial)


def _first_wins(cell: Sequence[Row]) -> list[Row]:
    """The rows of one cell made disjoint: each without what the rows before it take."""
    out: list[Row] = []
    for row in cell:
        parts = [row]
        for before in tuple(out):
            parts = [piece for part in parts for piece in _without(part, before)]
        out += parts
    return out


def _without(row: Row, other: Row) -> list[Row]:
    """``row`` where ``other`` does not hold, in disjoint pieces."""
    shared = row.require_mask & other.require_mask
    if (row.require_value ^ other.require_value) & shared:
        return [row]
    pieces, mask, value = [], row.require_mask, row.require_value
    for bit in (1 << n for n in range(8) if other.require_mask & ~row.require_mask & 1 << n):
        pieces.append(row._replace(require_mask=mask | bit, require_value=value | (~other.require_value & bit)))
        mask, value = mask | bit, value | (other.require_value & bit)
    return pieces


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
