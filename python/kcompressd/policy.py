"""`Policy`: a design of your own, in Python: a published design and the decisions that you take in its place.

    >>> class RotateOnCompletion(Policy):
    ...     "B2 + rotate on completion: a compressed folio goes to the inactive tail, to be freed next."
    ...     design = "april"
    ...     def complete(self, view):
    ...         return "rotate"

Each method is a pure function of its arguments: it may look at nothing else. The core asks twice about a view that it
has not seen and keeps the answer; two different answers end the run. `None` leaves the decision to the design. Policies
run under the virtual clock (`Sim`, and as "FILE.py:CLASS" in jobs and `compare`) and the explore clock (`check`, `Lab.step`);
real threads would wait for Python at every page.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from kcompressd._core import DesignError
from kcompressd.design import Design, EnqueueAt, OnComplete, OnFull, Placement, Store

Admission: TypeAlias = Literal["queue", "sync"]
"""It may be queued, or whoever reclaims goes on itself."""
Refused: TypeAlias = Literal["device", "activate", "redirty"]
"""What becomes of a folio that the store refused: written to the device, activated, or dirty again for a later scan."""


@dataclass(frozen=True, slots=True)
class View:
    """What a decision may look at.

    `is_kswapd`: kswapd reclaims (or a worker with PF_KSWAPD); `writeback_enabled`: memory.zswap.writeback of its group;
    `sync_device`: the swap device completes writes in the caller (zram); `order`: log2 of the folio's base pages;
    `fill`: folios in all queues in eighths of their depth, rounded up, 0 to 8; `watermark`: which of min, low and high the free
    pages are above, 0 (none) to 3 (all); 3 where there is no memory budget, and so in every exploration.
    """

    store: Store
    is_kswapd: bool
    anon: bool
    writeback_enabled: bool
    sync_device: bool
    node: int
    order: int
    fill: int
    watermark: int = 3


_DECISIONS: Final = ("admit", "placement", "full", "refused", "complete")


class Policy:
    """A design with decisions of your own; override what differs. `design` is a preset's name or a `Design`."""

    design: ClassVar[str | Design] = "split"

    def __init_subclass__(cls, **given: Any) -> None:
        """Refuse a public method whose name is nearly that of a decision: nothing would ask it."""
        super().__init_subclass__(**given)
        for name in (name for name, of_it in vars(cls).items() if callable(of_it) and name not in _DECISIONS):
            if not name.startswith("_") and (near := get_close_matches(name, _DECISIONS, 1, 0.8)):
                raise DesignError(f"{cls.__name__}.{name}: nothing asks it; did you mean {near[0]}? (or _{name})")

    def admit(self, point: EnqueueAt, view: View) -> Admission | None:
        """Decide whether a folio at `point`, where the design has its queue, is queued. A full queue is `full`'s."""
        return None

    def placement(self, view: View) -> Placement | None:
        """Choose how the queue to try first is found."""
        return None

    def full(self, view: View) -> OnFull | None:
        """Decide what happens when every queue that the folio may use is full."""
        return None

    def refused(self, queued: bool, view: View) -> Refused | None:
        """Decide what becomes of a folio that the store refused; `queued`: a kcompressd thread asks."""
        return None

    def complete(self, view: View) -> OnComplete | None:
        """Decide, when it is queued, what the folio's completion does on the LRU."""
        return None

    @property
    def name(self) -> str:
        """The class's name: what results call the design."""
        return type(self).__name__

    def __call__(self, ask: str, detail: Any, view: Mapping[str, Any]) -> str | None:
        """Answer the core: the decision's name, what belongs to it (point, queued), and the view's fields."""
        seen = View(**view)
        match ask:
            case "admit":
                return self.admit(detail, seen)
            case "refused":
                return self.refused(detail, seen)
            case "placement":
                return self.placement(seen)
            case "full":
                return self.full(seen)
            case "complete":
                return self.complete(seen)
        raise ValueError(f"the core asked for {ask!r}, which no policy knows")


def is_policy(text: str) -> bool:
    """Tell whether a design's text is a policy's place, "FILE.py:CLASS", and no preset's name."""
    return ".py:" in text


def load(text: str, folder: str | os.PathLike[str] = ".") -> Policy:
    """Run FILE.py of "FILE.py:CLASS", which starts at `folder`, and return the policy; raises `DesignError` naming what is wrong.

    The file is run as any script: give only files that you trust.
    """
    file, _, name = text.rpartition(":")
    path = Path(folder) / file
    if not path.is_file():
        raise DesignError(f"{text}: there is no file {file}; give FILE.py:CLASS")
    try:
        found = runpy.run_path(os.fspath(path), run_name=path.stem).get(name)
        made = found() if isinstance(found, type) and issubclass(found, Policy) else None
    except Exception as error:
        raise DesignError(f"{text}: {file} cannot be run: {type(error).__name__}: {error}") from error
    if made is None:
        raise DesignError(f"{text}: {file} has no Policy called {name!r}")
    return made
