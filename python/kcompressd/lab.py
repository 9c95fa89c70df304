"""`Lab`: sends pages through a design and back, on real threads, and reports a `Result`.

A lab is a description; nothing happens before `run`, and it may be run as often as wanted. Every run copies
its pages, has its own pool, swap file and threads, and leaves nothing behind.

How a run ends: at its end, `result.complete` is True. When something ends it early (a worker's panic, a
violation, a device error, a closed queue), all threads are joined and `run` returns what there was:
`complete` is False, `error` says why. On Ctrl-C the same happens and `RunInterrupted`, a `KeyboardInterrupt`,
is raised with that result.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from kcompressd import _core, environment
from kcompressd.design import KERNEL, STORES, Design, Kernel, Store, sized
from kcompressd.errors import LabError, RunInterrupted, file_path, refuse_compressor, refuse_type
from kcompressd.faults import IoFaults, Plant
from kcompressd.files import is_replaceable
from kcompressd.lifecycle import table
from kcompressd.memcg import Memcg, numbered
from kcompressd.names import plain
from kcompressd.pages import Pages
from kcompressd.policy import Policy
from kcompressd.progress import Progress, Watcher, follow, reporter
from kcompressd.result import Result
from kcompressd.result_form import VERSION
from kcompressd.sizes import parse_limit
from kcompressd.trace import RECORD, Trace, sidecar
from kcompressd.workload import refuse_order

if TYPE_CHECKING:
    from kcompressd.budget import Budget
    from kcompressd.node import Node
    from kcompressd.step import Stepper
    from kcompressd.workload import Workload

Fault: TypeAlias = Literal["in-order", "shuffled", "none"]
NO_LARGE_IN_ZSWAP: Final = "zswap takes no large folios before Linux 6.13: they go to the swap device"


@dataclass(frozen=True, kw_only=True)
class Lab:
    """What is run, and how.

    - `design`: a preset's name, a `Design`, or for `step` a `Policy`; `threads` and `depth` replace its own. With placement by node,
      N threads mean N nodes, each with its kswapd; `kswapd` sets the number of nodes.
    - `store`, `compressor` ("lz4", "zstd:3"), `kernel` modelled.
    - `pool_limit`: bytes, or a text: "64M", "20%" of the input. zswap's pool limit or zram's mem_limit; None:
      no limit.
    - `swap_file`: what zswap writes to; None: a private temporary file. An existing file must be empty;
      another has no name any more when the run has opened it.
    - `fault`: the order in which pages are read back, shuffled by `seed`; `app_threads` read them. In virtual time `seed` says
      too when between two ticks a run begins: with 0 at one.
    - `shrinker_enabled`: zswap's dynamic shrinker, for runs with a memory budget and groups (the root has no charges it could go by).
    - `folio_order`: log2 of the pages of a folio, 0 (single pages) to 9; not for `step`.
    - `memcgs` and `memcg_of`: groups, and each page's group by number: 0 is the root, with or without an entry of its own ("/"), the other
      entries count from 1.
    - `pin` threads to CPUs; `trace` every event; `verify` contents.
    - `warm`: touch the pool's memory before the clock starts, half of the pages' bytes and no more than its limit. Without it
      each page of the pool costs a page fault, as none does in the kernel.
    """

    design: str | Design | Policy = "split"
    store: Store = "zswap"
    compressor: str = "lz4"
    threads: int | None = None
    depth: int | None = None
    kswapd: int | None = None
    pool_limit: int | str | None = None
    swap_file: str | os.PathLike[str] | None = None
    kernel: Kernel = KERNEL
    fault: Fault = "in-order"
    seed: int = 0
    app_threads: int = 1
    folio_order: int = 0
    pin: bool = False
    trace: bool = False
    verify: bool = True
    warm: bool = True
    chain_size: int = 8
    accept_threshold_percent: int = 90
    shrinker_enabled: bool = False
    memcgs: Sequence[Memcg] = ()
    memcg_of: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None
    io_faults: IoFaults = field(default_factory=IoFaults)
    plant: Plant | None = None

    def resolved(self) -> Design:
        """Return the design that runs: with `threads` and `depth`, validated; raises `DesignError`."""
        if self.store not in STORES:
            raise LabError(f"store {self.store!r}", f"is not one of {', '.join(STORES)}")
        asked = self.design.design if isinstance(self.design, Policy) else self.design
        if isinstance(asked, str):
            design = Design.preset(asked, self.store, depth=self.depth, threads=self.threads)
        elif not isinstance(asked, Design):
            raise LabError(
                "design", f"{asked!r} is none", "give a preset's name, a Design, or a Policy (made: Mine(), not Mine)"
            )
        else:
            design = sized(asked, self.threads, self.depth)
        design.validate(self.store, self.kernel)
        return design

    def nodes(self) -> int:
        """Return the number of nodes, each with its kswapd."""
        return self.kswapd if self.kswapd is not None else self.resolved().nodes

    def notes(self, *, large: bool = False) -> list[str]:
        """Return what does not apply, as sentences; the core adds what the design needs. `large`: applications have large folios."""
        notes = []
        if self.resolved().is_sync:
            asked = [name for name in ("threads", "depth") if getattr(self, name)]
            if asked:
                notes.append(f"there is no queue and no kcompressd thread: {' and '.join(asked)} not used")
        if self.store == "zram" and self.swap_file is not None:
            notes.append("zram is the swap device: the swap file is not used")
        if self.kernel < KERNEL:
            said, oldest = (".".join(map(str, version)) for version in (self.kernel, KERNEL))
            notes.append(f"no kernel before {oldest} is modelled: that of {said} is {oldest}'s")
        if (large or self.folio_order) and self.store == "zswap" and self.kernel < _core.LARGE_IN_ZSWAP:
            notes.append(NO_LARGE_IN_ZSWAP)
        return notes

    def run(
        self,
        pages: Pages | npt.NDArray[np.uint8],
        progress: Progress | bool = False,
        watch: Watcher | None = None,
        *,
        node: Node | None = None,
        workload: Workload | Sequence[Workload] | None = None,
    ) -> Result:
        """Send `pages` (a `Pages`, or uint8 of shape (n, page_size)) through the design and back.

        With a `node` there is a memory budget, and `workload` is what the application does in it, or several of them do,
        beside reclaim: `pages`, over and over, are what they fill their own with, and what is compared whenever one comes
        back. It is counted and not taken from the host: every page has its own frame there. `progress` is a callback, or
        True for a bar on standard error; `watch` (`kcompressd.watch.Watch`) is called as often, with all that is known at
        the moment, and may return `{"depth": folios}` to set every queue's depth, up to its capacity, while the run goes on.
        Returns the result, partial when something ended the run early; raises `RunInterrupted` on Ctrl-C.
        Raises `DesignError`, `CodecError`, `LabError`, `DeviceError` for a swap file that cannot be made or has no room, and
        `OSError` when no thread can be made; what `progress` or `watch` raises ends the run. A fork of this process has no part in it.
        """
        if isinstance(self.design, Policy):
            fix = "use Lab.step, or the virtual clock"
            raise LabError(self.design.name, "is a policy: real threads would wait for Python at every page", fix)
        from kcompressd.budget import Budget

        given, budget = self._given(pages), Budget.of(node, workload)
        Budget.check(budget, self)
        Budget.refuse_files(budget)
        count = len(given) if budget is None else budget.pages
        with self._swap() as swap_file:
            config = self.config(count, given.page_size, swap_file)
            config |= {} if budget is None else budget.for_core(self, len(os.sched_getaffinity(0)))
            run = _core.Run(given.array, config, table().as_dict())
        with reporter(progress, "starting", endless=budget is not None) as report:
            interrupted = follow(run, report, count, watch or (lambda now: None))
            result = self._result(run, config, count, budget)
        if interrupted:
            raise RunInterrupted(result)
        return result

    def step(self, pages: Pages | npt.NDArray[np.uint8]) -> Stepper:
        """Return a `Stepper` over `pages`: the same system with a script choosing who moves, folio by folio.

        What belongs to a run alone (`fault`, `seed`, `app_threads`, `pin`, `warm`, `plant`) is not used; every
        step is traced. Raises as `run` does before it starts.
        """
        from kcompressd.step import Stepper

        if self.folio_order:
            raise LabError("folio_order", "is not for step: a script drives single pages", "leave it out")
        given = self._given(pages)
        with self._swap() as swap_file:
            config = self.config(len(given), given.page_size, swap_file)
            said = self.said(config, len(given)) | {"clock": "explore"}
            meta = sidecar_of(config, said, len(given), ordering="total", complete=False)
            return Stepper(given.array, config, meta)

    def _refuse_types(self) -> None:
        """Refuse what the core could not name, or would take for something else; raises `LabError`."""
        refuse_compressor(self.compressor)
        if self.fault not in get_args(Fault):
            raise LabError(f"fault {self.fault!r}", f"is not one of {', '.join(get_args(Fault))}")
        refuse_type("shrinker_enabled", self.shrinker_enabled, bool, "True or False")
        refuse_type("memcgs", self.memcgs, (list, tuple), "a list of Memcg")
        for memcg in self.memcgs:
            refuse_type("memcgs", memcg, Memcg, "a Memcg")
        of_page = np.asarray([] if self.memcg_of is None else self.memcg_of)
        if of_page.ndim != 1 or (of_page.dtype.kind not in "iu" and len(of_page)):
            raise LabError("memcg_of", "is no list of groups' numbers", "give one whole number a page")
        refuse_type("io_faults", self.io_faults, IoFaults, "an IoFaults")
        refuse_type("plant", self.plant, (Plant, type(None)), "a Plant")

    @staticmethod
    def _given(pages: Pages | npt.NDArray[np.uint8]) -> Pages:
        refuse_type("pages", pages, (Pages, np.ndarray), "a Pages or a uint8 array (a file is read by Pages.from_file)")
        given = pages if isinstance(pages, Pages) else Pages.from_array(pages, copy=False)
        if len(given) == 0:
            raise LabError("pages", "there are none", "give at least one page")
        return given

    def config(self, pages: int, page_size: int, swap_file: Path | None = None) -> dict[str, Any]:
        """Return what the core takes for so many pages; raises as `run` does."""
        self._refuse_types()
        limit = (
            None if self.pool_limit is None else parse_limit(self.pool_limit, pages * page_size, page_size=page_size)
        )
        refuse_order(self.folio_order)
        numbered(memcg.name for memcg in self.memcgs)
        large = {"folio_order": self.folio_order, "large": [(0, pages, self.folio_order)]} if self.folio_order else {}
        return large | {
            "design": self.resolved().to_dict(),
            "policy": self.design if isinstance(self.design, Policy) else None,
            "store": self.store,
            "compressor": _core.check_codec(self.compressor),
            "kernel": self.kernel,
            "page_size": page_size,
            "chain_size": self.chain_size,
            "pool_limit_pages": None if limit is None else limit // page_size,
            "accept_threshold_percent": self.accept_threshold_percent,
            "kswapd": self.nodes(),
            "swap_file": None if swap_file is None else os.fspath(swap_file),
            "pin": self.pin,
            "trace": self.trace,
            "fault": self.fault,
            "seed": self.seed,
            "verify": self.verify,
            "warm": self.warm,
            "app_threads": self.app_threads,
            "memcgs": [asdict(memcg) for memcg in self.memcgs],
            "memcg_of": None if self.memcg_of is None else [int(group) for group in self.memcg_of],
            "io_faults": {name: list(numbers) for name, numbers in asdict(self.io_faults).items()},
            "plant": None if self.plant is None else self.plant.to_dict(),
            **({"shrinker_enabled": True} if self.shrinker_enabled else {}),
        }

    def _result(self, run: _core.Run, config: dict[str, Any], pages: int, budget: Budget | None) -> Result:
        found = run.result()
        said = self.said(config, pages)
        if budget is not None:
            said["node"] = budget.node.to_dict()
            found["applications"] = budget.outcomes(found["applications"])
        notes = self.notes(large=budget is not None and any(app.folio_order for app in budget.applications))
        if budget is not None and any(app.nice is not None for app in budget.applications):
            notes.append("threads have the nice level of this process: workload.nice not used")
        if budget is None and self.seed and self.fault != "shuffled":
            notes.append("pages are not read back shuffled: seed not used")
        result = result_of("live", said, found, noted(notes, found, budget))
        return result.with_trace(_trace(run, result, config)) if self.trace else result

    def said(self, config: dict[str, Any], pages: int) -> dict[str, Any]:
        """Return what a result says of the request: no path, and of groups only their numbers of pages."""
        left_out = ("swap_file", "memcg_of", "policy", "programs", "large", "shmem", "files")
        said = {key: value for key, value in config.items() if key not in left_out}
        match self.design:
            case str() as name:
                preset: str | None = name
            case Policy() as policy:
                preset = policy.name
            case design:
                preset = design.name(self.store)
        counts = [pages] + [0] * (len(numbered(memcg.name for memcg in self.memcgs)) - 1)
        if config["memcg_of"] is not None:
            counts = np.bincount(config["memcg_of"], minlength=len(counts)).tolist()
        found: dict[str, Any] = plain({"preset": preset, **said, "pages": pages, "memcg_pages": counts})
        return found

    @contextlib.contextmanager
    def _swap(self) -> Iterator[Path | None]:
        """The swap file's path until it is open; None for zram. What is killed later leaves no file behind."""
        if self.store == "zram":
            yield None
        elif self.swap_file is None:
            with tempfile.TemporaryDirectory(prefix="kcompressd-") as private:
                yield Path(private) / "swap"
        else:
            path = file_path(self.swap_file, LabError)
            existed = path.exists()
            _refuse_overwriting(path)
            try:
                yield path
            finally:
                if not existed:
                    path.unlink(missing_ok=True)


def result_of(kind: str, said: Mapping[str, Any], found: Mapping[str, Any], notes: Sequence[str]) -> Result:
    """Return what the core `found` in a run of that kind as a Result; `said`: what was asked for."""
    left_out = ("pages", "page_size")
    stored = {key: value for key, value in found.items() if key not in left_out}
    stored |= {"version": VERSION, "kind": kind, "config": said, "environment": environment.gather(), "notes": notes}
    return Result.from_dict(stored, origin=f"{kind} run")


def noted(notes: Sequence[str], found: Mapping[str, Any], budget: Budget | None) -> list[str]:
    """Return these notes with what the core says, and what its counters say: of a zram that was full, of applications that were killed."""
    killed = [] if budget is None else budget.killed(found["applications"])
    return [*notes, *(note for note in found["notes"] if note not in notes), *_refused(found), *killed]


def _refused(found: Mapping[str, Any]) -> list[str]:
    zram = found.get("zram")
    if not zram or not zram["mm_stat"]["mem_limit"] or not zram["io_stat"]["failed_writes"]:
        return []
    limit, failed = zram["mm_stat"]["mem_limit"], zram["io_stat"]["failed_writes"]
    return [
        f"zram's mem_limit of {limit / 2**20:.1f} MiB was reached: {failed} writes failed, and their pages stayed in memory"
    ]


def _refuse_overwriting(path: Path) -> None:
    if not is_replaceable(path):
        raise LabError(path, "is not a file", "give the path of a file to be made")
    if path.is_file() and path.stat().st_size > 0:
        raise LabError(path, "is not empty and would be overwritten", "give a new path, or remove it")


def _trace(run: _core.Run, result: Result, config: dict[str, Any]) -> Trace:
    records = np.frombuffer(run.trace(), dtype=RECORD)
    said = result.to_dict()["config"]
    return Trace(records, sidecar_of(config, said, result.pages, ordering="per-folio", complete=result.complete))


def sidecar_of(
    config: dict[str, Any], said: dict[str, Any], pages: int, *, ordering: str, complete: bool
) -> dict[str, Any]:
    """What a trace's sidecar says of the request: its law, not its seal."""
    design = config["design"]
    # Whoever pushes may hold the head that it popped: each kswapd, and with a memory budget each application.
    heads = config["kswapd"] + len(config.get("workload", ())) if design["on_full"] == "sync_head" else 0
    # A worker without work helps those whose queue is longer.
    takers = design["threads"] if design["placement"] == "shortest" else 1
    return sidecar(
        pages=pages,
        ordering=ordering,
        complete=complete,
        design=said["preset"],
        config=said,
        depths=[design["depth"]] * design["threads"],
        in_hand=design["batch"] * takers + heads,
        memcgs=_memberships(config, pages),
    )


def _memberships(config: dict[str, Any], pages: int) -> dict[str, list[int]]:
    """The groups as a trace's sidecar names them: parents by position (the root is its own), knobs, pages."""
    numbers = numbered(memcg["name"] for memcg in config["memcgs"])
    parents, writeback = [0] * len(numbers), [1] * len(numbers)
    for memcg in config["memcgs"]:
        number = numbers[memcg["name"]]
        parents[number] = numbers[memcg["parent"]] if number else 0
        writeback[number] = int(memcg["writeback"])
    return {"parents": parents, "writeback": writeback, "of_page": config["memcg_of"] or [0] * pages}
