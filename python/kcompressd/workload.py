"""`Workload`: what an application does with its memory, as data: each kind is a few phases of touches.

| kind | touches |
|---|---|
| `eater` | fills its pages in order, then reads them all back |
| `usemem` | fills its pages, then writes to `touches` of them at random |
| `zipf` | fills its pages, then touches those of its `working_set` by a zipf law, a `write_share` of them writing |
| `replay` | the touches of an access trace (`kcompressd.access_trace`) |
| `burst` | fills its pages once, as an app launch does, and should have done so within `deadline_ns` |

`zipf`, `replay` and `burst` may have a file as well, `file_pages` pages of page cache that they read: a share of `zipf`'s touches, the pages
of `replay`'s trace beyond its own, and what a `burst` reads first, its code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kcompressd.errors import LabError, refuse_number, refuse_type
from kcompressd.node import MOST_PAGES
from kcompressd.sizes import duration

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "eater": (),
    "usemem": ("touches",),
    "zipf": ("touches", "working_set", "exponent", "write_share", "file_pages", "file_access", "file_share"),
    "replay": ("trace", "gaps_ns", "touches", "file_pages", "file_access"),
    "burst": ("deadline_ns", "file_pages", "file_access"),
}
"""Kinds of workloads, with the keys that only some of them have."""
WRITE: Final = 1 << 31
"""The bit of an entry of `Workload.trace` that says "written"; the others are the page."""
_WHOLE: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "pages": (None, None),
    "start_ns": (0, None),
    "think_ns": (0, None),
    "touches": (0, None),
    "deadline_ns": (1, None),
    "file_pages": (1, MOST_PAGES),
    "working_set": (None, None),
    "nice": (-20, 19),
}
"""Keys that are whole numbers, with the least and the most of each; `pages` of `replay` may follow from the trace, and bound the working set."""
_SHARES: Final = ("exponent", "write_share", "file_share")
_OWN: Final = {key for keys in KINDS.values() for key in keys}
FILE_ACCESS: Final = ("read", "mapped", "executable")
"""How the pages of a file are read: by read(2), by a mapping, by an executable one."""
MOST_APPLICATIONS: Final = 256
"""Their threads' numbers are a byte in traces."""
MAX_FOLIO_ORDER: Final = 9
"""log2 of the pages of the largest folio: a page table's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """What one application does: `kind` (`KINDS`) over `pages` pages of its own (of `replay` by default what the trace needs).

    - `name` in Results; `memcg` its group by name; `nice` its thread's; `start_ns` when it begins; `think_ns` what it computes
      after each touch;
    - `folio_order`: log2 of the pages of a folio (hugepages-<size>kB/enabled), 1 to 9; None or 0: single pages;
    - `shmem`: its pages are shared memory (tmpfs, memfd), which goes to the swap device as anonymous pages do and passes no gate `anon_only`;
    - `touches` (default: twice the pages; of `replay` the whole trace once); `working_set`: the pages that `zipf` touches after the fill
      (default: all); `exponent` of the zipf law, 0 (uniform) to below 1; `write_share`, 0 to 1;
    - `trace`: uint32 of shape (n,), pages from 0, those written with the bit `WRITE`; `gaps_ns`, of the same shape: what is computed after
      each, beside `think_ns`; `deadline_ns` after `start_ns`;
    - `file_pages` of a file of its own, clean page cache, by `file_access` ("read", "mapped", "executable"; default: read); `file_share` of
      the touches of `zipf` after the fill (default: a half), by the same law.
    """

    kind: str = "eater"
    pages: int = 0
    name: str = ""
    memcg: str = "/"
    nice: int | None = None
    start_ns: int = 0
    think_ns: int = 0
    folio_order: int | None = None
    shmem: bool = False
    touches: int | None = None
    working_set: int | None = None
    exponent: float | None = None
    write_share: float | None = None
    trace: npt.NDArray[np.uint32] | None = None
    gaps_ns: npt.NDArray[np.uint32] | None = None
    deadline_ns: int | None = None
    file_pages: int | None = None
    file_access: str | None = None
    file_share: float | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and refuse what is no workload; raises `LabError` naming the key."""
        self._refuse_given()
        if self.kind not in KINDS:
            raise LabError("workload.kind", f"{self.kind!r} is not pageout or one of {', '.join(KINDS)}")
        for name in _OWN.difference(KINDS[self.kind]):
            if getattr(self, name) is not None:
                raise LabError(f"workload.{name}", f"is not for the workload {self.kind!r}", f"leave {name} out")
        self._fill()
        self._refuse_numbers()
        self._refuse_file()

    def _refuse_given(self) -> None:
        """Refuse a wrong type or number; numbers of another width, order or shape would be other touches, or none."""
        for key in ("kind", "name", "memcg"):
            refuse_type(f"workload.{key}", getattr(self, key), str, "a text")
        refuse_type("workload.shmem", self.shmem, bool, "True or False")
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        for key, value in given.items():
            if key in _WHOLE:
                refuse_number(f"workload.{key}", value, *_WHOLE[key])
            elif key in _SHARES:
                refuse_type(f"workload.{key}", value, Real, "a number")
            elif key in ("trace", "gaps_ns"):
                refuse_type(f"workload.{key}", value, np.ndarray, "a uint32 array")
                if value.dtype != np.uint32 or value.ndim != 1:
                    why = f"is {value.dtype} of shape {value.shape}, not uint32 of shape (n,)"
                    raise LabError(f"workload.{key}", why)

    def _refuse_numbers(self) -> None:
        refuse_number("workload.pages", self.pages, 1, MOST_PAGES)
        refuse_order(self.folio_order or 0)
        if self.shmem and self.folio_order:
            raise LabError(
                "workload.folio_order", "is for anonymous pages: shared memory has single ones here", "leave it out"
            )
        if self.working_set is not None and not 1 <= self.working_set <= self.pages:
            raise LabError("workload.working_set", f"{self.working_set} is not between 1 and pages = {self.pages}")
        for key in _SHARES[1:]:
            if (share := getattr(self, key)) is not None and not 0 <= share <= 1:
                raise LabError(f"workload.{key}", f"{share} is not between 0 and 1")
        if self.exponent is not None and not 0 <= self.exponent < 1:
            raise LabError("workload.exponent", f"{self.exponent} is not from 0 to below 1")

    def _refuse_file(self) -> None:
        if self.file_access is not None and self.file_access not in FILE_ACCESS:
            raise LabError("workload.file_access", f"{self.file_access!r} is none of {', '.join(FILE_ACCESS)}")
        for key in ("file_access", "file_share"):
            if self.file_pages is None and getattr(self, key) is not None:
                raise LabError(f"workload.{key}", "is of a file, and there is none", "give file_pages")

    def _fill(self) -> None:
        """Set the defaults that depend on the kind."""
        found: dict[str, Any] = {"name": self.name or self.kind}
        if self.kind == "replay":
            found |= self._of_trace()
        if self.kind in ("usemem", "zipf") and self.touches is None:
            found["touches"] = 2 * self.pages
        if self.kind == "zipf":
            found |= {
                "working_set": self.pages if self.working_set is None else self.working_set,
                "exponent": 0.99 if self.exponent is None else self.exponent,
                "write_share": 0.0 if self.write_share is None else self.write_share,
            }
        if self.file_pages is not None:
            found["file_access"] = self.file_access or FILE_ACCESS[0]
            if self.kind == "zipf":
                found["file_share"] = 0.5 if self.file_share is None else self.file_share
        if self.kind == "burst" and self.deadline_ns is None:
            raise LabError("workload.deadline_ns", "is missing: a burst has a deadline", "deadline_ns = 500_000_000")
        for key, value in found.items():
            object.__setattr__(self, key, value)

    def _of_trace(self) -> dict[str, Any]:
        if self.trace is None or not len(self.trace):
            raise LabError(
                "workload.trace", "is missing or empty: replay needs an access trace", 'trace = "touches.csv"'
            )
        if self.gaps_ns is not None and self.gaps_ns.shape != self.trace.shape:
            raise LabError("workload.gaps_ns", f"has the shape {self.gaps_ns.shape}, trace {self.trace.shape}")
        touched = self.trace & np.uint32(WRITE - 1)
        needs = int(touched.max()) + 1
        if self.file_pages and not self.pages:
            raise LabError("workload.pages", "are missing: those of the file are numbered after them", "give pages")
        if self.pages and self.pages + (self.file_pages or 0) < needs:
            raise LabError("workload.pages", f"{self.pages} are too few: the trace touches page {needs - 1}")
        if self.file_pages and (self.trace[touched >= self.pages] & np.uint32(WRITE)).any():
            raise LabError("workload.trace", "writes to a page of the file", "pages of a file are only read")
        touches = len(self.trace) if self.touches is None else self.touches
        return {"pages": self.pages or needs, "touches": touches}

    def to_dict(self) -> dict[str, Any]:
        """Return the workload as plain data, as Results have it: what is set, and of a trace nothing but its touches."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("trace", "gaps_ns")}
        return {key: value for key, value in given.items() if value is not None and value is not False}

    def phases(self, first: int, first_file: int = 0) -> list[dict[str, Any]]:
        """Return what the core takes, for an application whose pages begin at `first`, and those of its file at `first_file`."""
        common = {"first": first, "pages": self.pages, "think_ns": self.think_ns}
        fill = {**common, "write_permille": 1000, "wait_ns": self.start_ns}
        match self.kind:
            case "eater":
                return [fill, common]
            case "usemem":
                return [fill, {**common, "pattern": "random", "write_permille": 1000, "touches": self.touches}]
            case "zipf":
                law = {"pattern": "zipf", "exponent": self.exponent, "pages": self.working_set}
                writes = round(1000 * (self.write_share or 0))
                file = self._file(first_file, round(1000 * (self.file_share or 0)), self.exponent)
                return [fill, {**common, **law, **file, "write_permille": writes, "touches": self.touches}]
            case "replay":
                trace = {"pattern": "trace", "trace": self.trace, "touches": self.touches}
                gaps = {} if self.gaps_ns is None else {"gaps_ns": self.gaps_ns}
                return [{**common, **trace, **gaps, **self._file(first_file), "wait_ns": self.start_ns}]
        if self.file_pages:
            code = {**common, "first": first_file, "pages": self.file_pages, "wait_ns": self.start_ns}
            return [code, {**fill, "wait_ns": 0}]
        return [fill]

    def _file(self, first: int, permille: int = 0, exponent: float | None = None) -> dict[str, Any]:
        return {"file": (first, self.file_pages, permille, exponent)} if self.file_pages else {}

    def outcome(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a Result says of the application, from what the core `found`: with its deadline, by how much it was late
        (less than 0: by so much it was early; None: it did not come to its end).
        """
        said = {"name": self.name, "kind": self.kind, "memcg": self.memcg, "start_ns": self.start_ns, **found}
        if self.deadline_ns is not None:
            end_ns = found["end_ns"]
            late_ns = None if end_ns is None or found["oom_kill"] else end_ns - self.start_ns - self.deadline_ns
            said |= {"deadline_ns": self.deadline_ns, "late_ns": late_ns}
        return said

    def killed(self, found: Mapping[str, Any]) -> str | None:
        """Return what to say of the application where the OOM killer ended it: when, and how much of its work was done then."""
        if not found["oom_kill"]:
            return None
        gone = (
            "" if found["end_ns"] is None else f", and gone {duration(found['end_ns'] - self.start_ns)} after it began"
        )
        return (
            f"{self.name} was ended by the OOM killer{gone}: {found['touches']} of its {self.asked} touches were done"
        )

    @property
    def asked(self) -> int:
        """How many touches are its work."""
        return sum(phase.get("touches", phase["pages"]) for phase in self.phases(0))


def refuse_order(order: int) -> None:
    """Raise `LabError` for what is no order of a folio."""
    refuse_number("workload.folio_order", order, 0, MAX_FOLIO_ORDER)


def named(workloads: Sequence[Workload]) -> tuple[Workload, ...]:
    """Return the applications with names of their own: a name that comes twice is numbered; raises `LabError` for none, and for more
    than there are threads' numbers.
    """
    if not workloads:
        raise LabError("workload", "there is none", "give at least one")
    if len(workloads) > MOST_APPLICATIONS:
        raise LabError("workload", f"has {len(workloads)} applications, more than {MOST_APPLICATIONS}")
    names = [workload.name for workload in workloads]
    numbered = [f"{name}{names[:at].count(name)}" if names.count(name) > 1 else name for at, name in enumerate(names)]
    return tuple(dataclasses.replace(workload, name=name) for workload, name in zip(workloads, numbered, strict=True))
