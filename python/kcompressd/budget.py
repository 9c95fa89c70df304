"""`Budget`: a memory budget and the applications in it, as both clocks take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kcompressd.errors import LabError
from kcompressd.lab import Lab
from kcompressd.memcg import numbered
from kcompressd.node import Node
from kcompressd.sizes import refuse_too_large
from kcompressd.workload import Workload, named

_BYTES: Final = {"page": 71, "file_page": 32, "managed": 6, "slot": 30}
"""What a run takes for each (`ru_maxrss` of a burst in virtual time with a million more of one of them, zram and zswap)."""


@dataclass(frozen=True)
class Budget:
    """A `node`, and what the `applications` do in it beside reclaim, each with pages of its own and a name of its own; their
    threads are app0, app1, ...
    """

    node: Node
    applications: tuple[Workload, ...]

    @classmethod
    def of(cls, node: Node | None, workload: Workload | Sequence[Workload] | None) -> Budget | None:
        """Return the budget; None without both. Raises `LabError` for one without the other."""
        if (node is None) != (workload is None):
            raise LabError("node", "and workload belong together", "give both, or neither for a pageout run")
        if node is None or workload is None:
            return None
        return cls(node, named((workload,) if isinstance(workload, Workload) else workload))

    @staticmethod
    def check(budget: Budget | None, lab: Lab) -> None:
        """Raise `LabError` for zswap's shrinker where nothing would call it, and for a node that this machine cannot hold."""
        if budget is not None:
            budget._refuse_too_large()
        if lab.shrinker_enabled and (budget is None or lab.store != "zswap"):
            fix = "leave it out, or set store and [node]"
            raise LabError("shrinker_enabled", "is zswap's, and reclaim's of a memory budget", fix)

    def _refuse_too_large(self) -> None:
        files = sum(app.file_pages or 0 for app in self.applications)
        counts = {"page": self.pages, "file_page": files, "managed": self.node.managed, "slot": self.node.slots}
        needed = sum(_BYTES[name] * count for name, count in counts.items())
        refuse_too_large("node", needed, "give it fewer pages, or less swap")

    @staticmethod
    def refuse_files(budget: Budget | None) -> None:
        """Raise `LabError` for page cache on real threads, where no read would take a device's time."""
        if budget is not None and any(app.file_pages for app in budget.applications):
            why = "files are read in virtual time alone: here a page would come from memory, and take no device's time"
            raise LabError("workload.file_pages", why, "run it with kcompressd sim, or leave file_pages out")

    @property
    def pages(self) -> int:
        """How many pages the applications have: more than the input has are those again, from the first on."""
        return sum(app.pages for app in self.applications)

    def for_core(self, lab: Lab, cpus: int) -> dict[str, Any]:
        """Return what the core takes beside the lab's own; raises `LabError` for a group that there is not."""
        if lab.folio_order:
            raise LabError("folio_order", "of a lab is for a pageout run", "give it to each workload")
        if (nodes := lab.nodes()) > 1:
            key, why = ("threads", "of a design with a thread a node") if lab.kswapd is None else ("kswapd", "of a run")
            raise LabError(key, f"{nodes} {why} are {nodes} nodes, and a memory budget is one node's", "give 1")
        firsts = np.cumsum([0, *(app.pages for app in self.applications)]).tolist()
        files = (self.pages + np.cumsum([0, *(app.file_pages or 0 for app in self.applications)])).tolist()
        given = list(zip(self.applications, firsts, strict=False))
        return {
            "node": self.node.for_core(self.pages, cpus),
            "programs": [app.phases(first, file) for (app, first), file in zip(given, files, strict=False)],
            "files": self._files(lab),
            "large": [(first, app.pages, app.folio_order) for app, first in given if app.folio_order],
            "shmem": [(first, app.pages) for app, first in given if app.shmem],
            "fault": "none",
            "memcg_of": self._groups(lab),
            "workload": [app.to_dict() for app in self.applications],
        }

    def _files(self, lab: Lab) -> list[tuple[int, int, str]]:
        """The files that the applications read: pages, group, access."""
        if self.node.lru_gen and any(app.file_access == "read" for app in self.applications):
            why = "is for active and inactive lists: what protects such pages from the multi-gen LRU, its tiers, is left out"
            raise LabError("workload.file_access", why, 'leave node.lru_gen out, or set file_access = "mapped"')
        numbers = numbered(group.name for group in lab.memcgs)
        files = [app for app in self.applications if app.file_pages]
        return [(app.file_pages or 0, numbers.get(app.memcg, 0), app.file_access or "read") for app in files]

    def _groups(self, lab: Lab) -> list[int] | None:
        """The group of each page: its application's."""
        if all(app.memcg == "/" for app in self.applications):
            return None
        numbers = numbered(group.name for group in lab.memcgs)
        for app in self.applications:
            if app.memcg not in numbers:
                raise LabError(
                    "workload.memcg", f"{app.memcg!r} is none of {', '.join(numbers)}", "name it in [[memcg]]"
                )
        return [numbers[app.memcg] for app in self.applications for _ in range(app.pages)]

    def killed(self, found: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a sentence for each application that the OOM killer ended."""
        said = (app.killed(of_it) for app, of_it in zip(self.applications, found, strict=True))
        return [sentence for sentence in said if sentence is not None]

    def outcomes(self, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what a Result says of the applications, from what the core found."""
        return [app.outcome(of_it) for app, of_it in zip(self.applications, found, strict=True)]
