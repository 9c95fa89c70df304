"""`Names`: an immutable mapping whose keys are attributes too, for counters that keep the kernel's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import numpy as np

T_co = TypeVar("T_co", covariant=True)


class Names(Mapping[str, T_co], Generic[T_co]):
    """A mapping that is read as `names["zswpout"]` or `names.zswpout`; equal to any mapping with the same
    items.
    """

    __slots__ = ("_items",)
    _items: dict[str, T_co]

    def __init__(self, items: Mapping[str, Any]) -> None:
        """Take a copy of `items`; mappings in it become `Names`, lists become tuples."""
        object.__setattr__(self, "_items", {str(key): freeze(value) for key, value in items.items()})

    def __getitem__(self, key: str) -> T_co:
        """Return the value of a name."""
        return self._items[key]

    def __getattr__(self, key: str) -> T_co:
        """Return the value of a name; the error names those that there are."""
        if key.startswith("__"):
            raise AttributeError(key)
        try:
            return self._items[key]
        except KeyError:
            raise AttributeError(f"{key}: not one of {', '.join(self._items)}") from None

    def __setattr__(self, key: str, value: object) -> None:
        """Refuse: a result does not change."""
        raise AttributeError(f"{key}: cannot be set, results do not change")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in order."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def __dir__(self) -> list[str]:
        """Return the names, for completion."""
        return [*super().__dir__(), *self._items]

    def __repr__(self) -> str:
        """Show the items."""
        return f"Names({self._items!r})"

    def __reduce__(self) -> tuple[type[Names[T_co]], tuple[dict[str, T_co]]]:
        """Pickle the items."""
        return type(self), (self._items,)


_FROZEN: Final = frozenset({int, float, str, bool, type(None), Names})


def freeze(value: Any) -> Any:
    """Return JSON-like data with mappings as `Names`, lists as tuples, and Python's own numbers for NumPy's."""
    if type(value) in _FROZEN:  # Most of it: asking whether something is a Mapping takes ten times as long.
        return value
    if isinstance(value, np.generic | np.ndarray):
        return freeze(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(map(freeze, value))
    return Names(value) if isinstance(value, Mapping) else value


def thaw(value: Any) -> Any:
    """Return what `freeze` gave as plain data."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    return [thaw(item) for item in value] if isinstance(value, tuple | list) else value


def plain(value: Any) -> Any:
    """Return JSON-like data as dictionaries, lists and Python's own numbers, a copy."""
    return thaw(freeze(value))
