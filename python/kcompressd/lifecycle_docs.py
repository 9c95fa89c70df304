"""Writes the definition down for readers: ``python -m kcompressd.lifecycle_docs docs/lifecycle.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kcompressd import lifecycle

_INTRO = """# The life of a page

Generated from `python/kcompressd/lifecycle.py` by `make generate`; a test fails when it drifts.

A page is an identity kept for life. Its *state* says where its contents are; whether its frame is still
allocated is the flag `frame`, because a page can be compressed and hold its frame until a later scan. A
transition belongs to the contents; a state demands something of the flags, and a step chooses the rest.
From the same definition come the table that the core obeys, the reference model of the tests and the table
by which `kcompressd validate` judges a trace.

A guard chooses between the transitions of one event from one state; `!` means that it must not hold. A
record in a trace holds exactly the guards that its transition reads."""

_STATES = """## States

The flags must satisfy one of the alternatives whenever a page is in the state. `copy` is the guard that then holds of the
copy in swap; `kept`: as before. A run that is over leaves pages only where they rest. Of a held
page only the actor that brought it there takes it on."""

_EFFECTS = """## Effects

What an event demands of the flags before and after it, which flags it leaves the same, and where the copy is afterwards if
the new state does not say it."""


def document(edges: Sequence[lifecycle.Edge] = lifecycle.EDGES) -> str:
    """The whole document for a law."""
    digest = lifecycle.table(edges).digest
    parts = [
        _INTRO,
        f"{len(lifecycle.STATES)} states, {len(lifecycle.EVENTS)} events, {len(edges)} transitions; "
        f"table digest `{digest[:16]}…`.",
        "## Diagram\n\nTransitions that leave the state as it is are in the table only.",
        "```mermaid\n" + "\n".join(_diagram(edges)) + "\n```",
        _STATES,
        _table(("id", "state", "in the kernel", "meaning", "flags", "copy", "rests", "held"), _states()),
        "## Events",
        _named(("id", "event", "in the kernel"), lifecycle.EVENTS),
        "## Guards",
        _named(("bit", "guard", "meaning"), lifecycle.GUARDS),
        "## Flags",
        _named(("bit", "flag", "in the kernel"), lifecycle.FLAGS),
        _EFFECTS,
        _table(("event", "before", "after", "the same", "copy"), _effects()),
        "## Transitions",
        _table(("from", "event", "guards", "to", "why"), _edges(edges)),
    ]
    return "\n\n".join(parts) + "\n"


def _named(head: tuple[str, ...], meanings: Mapping[str, str]) -> str:
    """A table of names in the order of their numbers."""
    return _table(head, [(str(i), _code(name), meaning) for i, (name, meaning) in enumerate(meanings.items())])


def _diagram(edges: Sequence[lifecycle.Edge]) -> list[str]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        if edge.source != edge.to:
            label = f"{edge.event} [{edge.when}]" if edge.when else edge.event
            arrows.setdefault((edge.source, edge.to), []).append(label)
    out = ["stateDiagram-v2", "    [*] --> resident"]
    out += [f"    {source} --> {to}: {' / '.join(labels)}" for (source, to), labels in arrows.items()]
    return [*out, "    freed --> [*]"]


def _states() -> list[tuple[str, ...]]:
    rows = enumerate(lifecycle.STATES)
    return [
        (
            str(i),
            f"`{s.name}`",
            s.kernel,
            s.meaning,
            " or ".join(map(_code, s.flags)),
            _code(s.copy),
            "yes" if s.rests else "",
            "yes" if s.held else "",
        )
        for i, s in rows
    ]


def _effects() -> list[tuple[str, ...]]:
    effects = lifecycle.EFFECTS.items()
    return [tuple(map(_code, (event, e.before, e.after, e.same, e.copy))) for event, e in effects]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _edges(edges: Sequence[lifecycle.Edge]) -> list[tuple[str, ...]]:
    order = [s.name for s in lifecycle.STATES]
    ordered = sorted(edges, key=lambda e: order.index(e.source))
    return [(*map(_code, (e.source, e.event, e.when, e.to)), e.why) for e in ordered]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
