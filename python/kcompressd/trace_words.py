"""What the numbers of a trace mean: names of actors, states, events, flags and guards, and a record in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompressd import lifecycle

SYSTEM_EVENTS = ("writeback_knob", "zswap_max_knob", "resize", "io_error", "phase", "pool")
"""Names of the events from 0x80."""
_ACTIVATED = {1: "no swap slot", 2: "no memory for the swap cache", 3: "referenced at two looks"}
_STORES = ("zswap", "zram")
PHASES = ("reclaim", "fault", "exit")
_ACTORS = {1: "kswapd", 2: "kcompressd", 3: "app", 4: "swapdev", 5: "shrink_worker"}
_SCRIPT = 6


@dataclass(frozen=True)
class Step:
    """One record of a page, in words. ``index`` is its position in the trace, ``delta_ns`` the time since
    the page's last."""

    index: int
    seq: int
    t_ns: int
    delta_ns: int
    actor: str
    event: str
    source: str
    to: str
    guards: tuple[str, ...]
    flags: tuple[str, ...]
    changed: tuple[str, ...]
    aux: str


def names(actors: Iterable[int]) -> dict[str, Any]:
    """What the ids of a trace mean: lists in id order, and the actors that appear."""
    return {
        "states": [s.name for s in lifecycle.STATES],
        "events": list(lifecycle.EVENTS),
        "system_events": list(SYSTEM_EVENTS),
        "guards": list(lifecycle.GUARDS),
        "flags": list(lifecycle.FLAGS),
        "actors": {str(a): actor_name(a) for a in actors},
    }


def actor_name(actor: int) -> str:
    """The kernel thread, or what else an actor id stands for: ``kswapd0``, ``kcompressd1``, ``app3``."""
    kind, number = actor >> 8, actor & 0xFF
    if kind == _SCRIPT:
        return "script"
    return f"{_ACTORS[kind]}{number}" if kind in _ACTORS else f"actor{actor}"


def _bits(value: int, words: Mapping[str, str]) -> tuple[str, ...]:
    known = tuple(word for bit, word in enumerate(words) if value >> bit & 1)
    unknown = value >> len(words) << len(words)
    return (*known, f"{unknown:#x}") if unknown else known


def flag_names(value: int) -> tuple[str, ...]:
    """The flags that are set, unknown bits as a number."""
    return _bits(value, lifecycle.FLAGS)


def guard_names(value: int) -> tuple[str, ...]:
    """The guards that are set, unknown bits as a number."""
    return _bits(value, lifecycle.GUARDS)


def state_name(state: int) -> str:
    """A state's name, or ``state 200`` for an id that does not exist."""
    return lifecycle.STATES[state].name if state < len(lifecycle.STATES) else f"state {state}"


def event_name(event: int) -> str:
    """An event's name, a system event's included, or ``event 200`` for an id that does not exist."""
    if 0x80 <= event < 0x80 + len(SYSTEM_EVENTS):
        return SYSTEM_EVENTS[event - 0x80]
    every = list(lifecycle.EVENTS)
    return every[event] if event < len(every) else f"event {event}"


def aux_text(event: str, aux: int) -> str:
    """What ``aux`` says, by event; empty where it says nothing."""
    high, low = aux >> 32, aux & 0xFFFFFFFF
    match event:
        case "queue" | "compress" if aux >> 48:
            return f"queue {(aux >> 48) - 1}, ticket {aux & 0xFFFFFFFFFFFF}"
        case "store":
            return f"{low} bytes in {_STORES[high] if high < len(_STORES) else f'store {high}'}"
        case "writeback_knob":
            return f"memcg {high}: memory.zswap.writeback = {low & 1}"
        case "zswap_max_knob":
            limit = aux & 0xFFFFFFFFFFFF
            return f"memcg {aux >> 48}: memory.zswap.max = {'max' if limit == 0xFFFFFFFFFFFF else limit}"
        case "resize":
            return f"queue {high}: depth {low}"
        case "pageout" | "io_error":
            return f"slot {aux}"
        case "pool":
            return f"{aux} bytes in the store"
        case "activate" if aux in _ACTIVATED:
            return _ACTIVATED[aux]
        case "phase":
            return PHASES[aux] if aux < len(PHASES) else f"phase {aux}"
    return f"aux {aux:#x}" if aux else ""


_START = ("dirty", "lru", "frame", "mapped")


def step(record: np.void, index: int, last: Step | None) -> Step:
    """A record in words; ``last`` is the step before it in the same page's life."""
    event = event_name(int(record["event"]))
    flags = flag_names(int(record["flags"]))
    before = set(_START if last is None else last.flags)
    changed = [f"+{f}" for f in flags if f not in before]
    changed += [f"\N{MINUS SIGN}{f}" for f in lifecycle.FLAGS if f in before and f not in flags]
    t_ns = int(record["t_ns"])
    return Step(
        index=index,
        seq=int(record["seq"]),
        t_ns=t_ns,
        delta_ns=0 if last is None else t_ns - last.t_ns,
        actor=actor_name(int(record["actor"])),
        event=event,
        source=state_name(int(record["from"])),
        to=state_name(int(record["to"])),
        guards=guard_names(int(record["guards"])),
        flags=flags,
        changed=tuple(changed),
        aux=aux_text(event, int(record["aux"])),
    )
