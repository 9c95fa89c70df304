"""Judging the event log of any compiled machine: ``kcompressd.lifecycle.compile(machine).validate(log)``.

A log is a NumPy structured array, one record for each event that *happened* (a trigger that was refused, or whose
conditions all failed, is none), with these fields:

- ``model``, an unsigned integer: which of the machine's models, counted from 0, with at most :data:`SPARE` that it says nothing of;
- ``event``, an id in :attr:`Table.events`;
- ``guards``, optional: the conditions as they were, one bit each in the order of :attr:`Table.guards` (absent: all false);
- ``to``, optional: the id of the state that it led to, :data:`UNSAID` where the log does not say.

:data:`LOG` has all of them. Arrays may be mapped files of any size: they are read in blocks, and kept is one byte a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kcompressd._core import Replay
from kcompressd.table import Table, TableError

LOG = np.dtype([("model", "<u4"), ("event", "u1"), ("guards", "u1"), ("to", "<u2")])
"""A record, 8 bytes."""
UNSAID = 0xFFFF
"""``to`` of a record that does not say where its event led."""
Log: TypeAlias = npt.NDArray[np.void]
"""A one-dimensional structured array as the module describes."""

SPARE = 1 << 20
"""A model's number is less than this and the log's records together: memory is taken for every number up to the highest."""

_BLOCK = 1 << 16


@dataclass(frozen=True)
class LogVerdict:
    """What :func:`validate` found: ``records`` read, ``violations`` among them, and the first as a sentence.

    ``record`` and ``model`` say where it is. ``states`` holds each model's state at the end, an id a model (uint8).
    """

    records: int
    violations: int
    first: str | None
    record: int | None
    model: int | None
    states: npt.NDArray[np.uint8]

    @property
    def ok(self) -> bool:
        """Whether every record is a transition of the machine."""
        return not self.violations


def validate(table: Table, log: Log, initial: str | None = None) -> LogVerdict:
    """Replays ``log`` against ``table``, every model beginning in ``initial`` (default: the machine's initial state).

    After a violation a model is believed to be where the record says, else where it was. Raises :class:`TableError` for a
    log without the fields, for numbers out of range, and for an initial state that there is not.
    """
    if not isinstance(log, np.ndarray):
        raise TableError(f"a log is an array of kcompressd.lifecycle.LOG, not {type(log).__name__}")
    start = initial if initial is not None else table.initial
    if not isinstance(start, str) or start not in table.states:
        raise TableError(f"initial state {start!r} is not one of {', '.join(table.states)}")
    sizes = len(table.states), len(table.events), len(table.guards)
    replay = Replay(table.rows, *sizes, table.states.index(start), log.size + SPARE)
    for block in _blocks(log):
        replay.feed(block.tobytes())
    records, violations, first = replay.verdict()
    states = np.frombuffer(replay.states(), np.uint8)
    if first is None:
        return LogVerdict(records, violations, None, None, None, states)
    return LogVerdict(records, violations, _sentence(table, *first), first[0], first[1], states)


def _blocks(log: Log) -> Iterator[Log]:
    fields = set(log.dtype.names or ())
    if log.ndim != 1 or not {"model", "event"} <= fields:
        raise TableError(f"a log is a 1-d structured array with fields model and event, not {log.dtype} {log.shape}")
    for first in range(0, len(log), _BLOCK):
        part = log[first : first + _BLOCK]
        block = np.zeros(len(part), LOG)
        block["to"] = UNSAID
        for name, most in (("model", 0xFFFFFFFF), ("event", 255), ("guards", 255), ("to", UNSAID)):
            if name not in fields:
                continue
            wrong = np.flatnonzero((part[name] < 0) | (part[name] > most))
            if len(wrong):
                raise TableError(f"record {first + wrong[0]}: {name} {part[name][wrong[0]]} is not in 0 to {most}")
            block[name] = part[name]
        yield block


def _sentence(
    table: Table, record: int, model: int, state: int, event: int, held: int, wrong: str, to: int | None
) -> str:
    if wrong == "model":
        return f"record {record}: there is no model {model} in a log of so few records"
    where = f"record {record}: model {model} in {table.states[state]}"
    if wrong == "event":
        return f"{where}: the machine has no event {event}"
    name = table.events[event]
    if to is not None:
        return f"{where}: {name} leads to {table.states[to]}, not where the log says"
    cell = [row for row in table.rows if (row.event, row.source) == (event, state)]
    if cell:
        guards = ", ".join(g for bit, g in enumerate(table.guards) if held >> bit & 1) or "none"
        return f"{where}: {name} has no transition under the guards that hold ({guards})"
    others = ", ".join(sorted({table.events[row.event] for row in table.rows if row.source == state})) or "nothing"
    return f"{where}: no {name} from here, only {others}"
