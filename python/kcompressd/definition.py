"""What a lifecycle is written in: states, edges and effects as data (:mod:`kcompressd.lifecycle` has the one that counts)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StateDef:
    """One state: where the contents of a page are.

    ``kernel`` is the function and the flags that make it so, ``meaning`` says it in words. ``flags`` lists alternatives;
    each is a string of flag names, a leading ``!`` for a flag that must be clear: the state word must satisfy at least
    one of them whenever the page is in the state. ``copy`` is the guard that holds of the copy in swap while the page is
    here (``in_pool``, ``zero``), ``kept`` where it stays what it was before, empty where there is none or the device has
    it. ``rests``: a run that is over may leave pages here. ``held``: one actor has the page, the one whose event brought it
    here, and only that one takes it on.
    """

    name: str
    kernel: str
    meaning: str
    flags: tuple[str, ...]
    copy: str = ""
    rests: bool = True
    held: bool = False


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

    def as_transition(self) -> dict[str, Any]:
        """The edge as ``transitions`` wants it."""
        guards = self.when.split()
        return {
            "trigger": self.event,
            "source": self.source,
            "dest": self.to,
            "conditions": [g for g in guards if not g.startswith("!")],
            "unless": [g[1:] for g in guards if g.startswith("!")],
        }


@dataclass(frozen=True)
class Effect:
    """What an event demands of the flags ``before`` and ``after`` it, and which stay the ``same``; names as in
    :attr:`StateDef.flags`. ``copy`` overrides where the new state says that the copy is.
    """

    before: str = ""
    after: str = ""
    same: str = ""
    copy: str = ""


def bits(text: str, names: Iterable[str]) -> tuple[int, int]:
    """``"frame !lru"`` as ``(mask, value)``, one bit a name in the order of ``names``; raises :class:`ValueError` for a
    word that is none of them.
    """
    order = list(names)
    mask = value = 0
    for word in text.split():
        bit = 1 << order.index(word.lstrip("!"))
        mask |= bit
        value |= 0 if word.startswith("!") else bit
    return mask, value
