"""Elements as text: what is not `Markup` already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final, TypeAlias


class Markup(str):
    """Text that is HTML or SVG already, and is not escaped again."""

    __slots__ = ()


Child: TypeAlias = str | None
"""What an element holds: text, `Markup`, or nothing."""

_VOID: Final = frozenset({"meta", "line", "rect", "path", "circle", "br"})
"""Elements that are written without an end."""


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return an element. `class_` is class, `_` in names is `-`; None and False leave an attribute out."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if name in _VOID and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return the children one after the other, escaped where they are plain text."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape(child, quote=False)


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(shown)}"'
