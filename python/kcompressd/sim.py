"""`Sim`: sends pages through a design and back in virtual time, on a machine that need not exist.

What is run is a `Lab`, as on real threads; of the pages only sizes and times are known (a `Calibration`). Equal inputs give
equal Results outside `environment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any

from kcompressd import _core
from kcompressd.budget import Budget
from kcompressd.calibration import Calibration
from kcompressd.errors import LabError, RunInterrupted, refuse_type
from kcompressd.lab import Lab, noted, result_of, sidecar_of
from kcompressd.lifecycle import table
from kcompressd.machine import Costs, Machine
from kcompressd.node import Node
from kcompressd.progress import Progress, reporter
from kcompressd.result import Result
from kcompressd.trace import TraceError
from kcompressd.trace_writer import TraceWriter
from kcompressd.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Sim:
    """What is run (`lab`), where (`machine`), and what everything but the codec costs there (`costs`).

    With a `node` there is a memory budget, and `workload` is what the application does in it, or several of them do, beside
    reclaim, each with pages of its own; without, every page is wanted gone and then read back. Of the lab,
    `swap_file`, `pin`, `verify` and `warm` do not apply: there are no bytes. `plant` is refused.
    """

    lab: Lab = field(default_factory=Lab)
    machine: Machine = field(default_factory=Machine)
    costs: Costs = field(default_factory=Costs)
    node: Node | None = None
    workload: Workload | Sequence[Workload] | None = None

    def __post_init__(self) -> None:
        """Refuse a memory budget without a workload, and the other way round; raises `LabError`."""
        if self.budget is not None:
            object.__setattr__(self, "workload", self.budget.applications)

    def run(
        self,
        calibration: Calibration,
        *,
        trace: str | PathLike[str] | None = None,
        progress: Progress | bool = False,
    ) -> Result:
        """Run the calibrated pages; `trace` names the file that every event is streamed to.

        Returns the result, partial when something ended the run early; raises `RunInterrupted` on Ctrl-C. Raises
        `DesignError`, `CodecError`, `LabError`, `EstimateError` for a compressor that was not calibrated, and
        `TraceError` for a trace that cannot be written; once the run has begun it has the `result`.
        """
        if self.lab.plant is not None:
            raise LabError("plant", "is for real threads", "run it with kcompressd run")
        config = self._config(calibration)
        said = self._said(config, calibration)
        sizes = calibration.sizes(self.lab.compressor)
        pages = self._pages(calibration)
        touches = pages if self.budget is None else sum(app.asked for app in self.applications)
        with reporter(progress, "starting") as report, _writer(trace, pages, self.node, self.lab.folio_order) as writer:

            def watch(phase: str, done: int, now_ns: int) -> None:
                report(phase, done, touches if phase == "reclaim" else pages)

            found = _core.simulate(config, sizes, table().as_dict(), watch, None if writer is None else writer.write)
            result = self._result(found, said)
            if writer is not None:
                law = sidecar_of(config, result.to_dict()["config"], pages, ordering="total", complete=result.complete)
                try:
                    writer.finish(law)
                except TraceError as lost:
                    lost.result = result
                    raise
        if result.error is not None and result.error.kind == "cancelled":
            raise RunInterrupted(result)
        return result

    def _config(self, calibration: Calibration) -> dict[str, Any]:
        parts = {"lab": Lab, "machine": Machine, "costs": Costs}
        for name, kind in parts.items():
            refuse_type(name, getattr(self, name), kind, f"a {kind.__name__}")
        refuse_type("calibration", calibration, Calibration, "a Calibration")
        Budget.check(self.budget, self.lab)
        self._refuse_absent()
        config = self.lab.config(self._pages(calibration), calibration.page_size)
        config |= {"machine": self._machine().for_core(), "costs": self.costs.to_dict()}
        return config if self.budget is None else config | self.budget.for_core(self.lab, self.machine.cpus)

    @cached_property
    def budget(self) -> Budget | None:
        """The memory budget and its applications; None: pageout."""
        return Budget.of(self.node, self.workload)

    @property
    def applications(self) -> Sequence[Workload]:
        """The applications of a run with a memory budget."""
        return () if self.budget is None else self.budget.applications

    def _refuse_absent(self) -> None:
        """Refuse a nice level or CPUs of a thread that there is not; raises `LabError`. Of a design without workers all workers' names
        pass: designs are compared on one machine.
        """
        workers = self.lab.resolved().threads
        apps = self.lab.app_threads if self.budget is None else len(self.applications)
        threads = {"kswapd": self.lab.nodes(), "kcompressd": workers, "app": apps, "swapdev": 1, "shrink_worker": 1}
        for key in ("nice", "affinity"):
            for name in getattr(self.machine, key):
                kind = name.rstrip("0123456789")
                known = name == kind or name in (f"{kind}{number}" for number in range(threads[kind]))
                if not known and not (kind == "kcompressd" and workers == 0):
                    raise LabError(f"machine.{key}.{name}", "there is no such thread", f"there are {_ranges(threads)}")

    def _machine(self) -> Machine:
        """The machine with the applications' nice levels."""
        nice = {f"app{number}": app.nice for number, app in enumerate(self.applications) if app.nice is not None}
        return replace(self.machine, nice={**self.machine.nice, **nice})

    def _pages(self, calibration: Calibration) -> int:
        return len(calibration) if self.budget is None else self.budget.pages

    def _said(self, config: dict[str, Any], calibration: Calibration) -> dict[str, Any]:
        said = self.lab.said(config, self._pages(calibration))
        if self.node is not None:
            said["node"] = self.node.to_dict()
        said = {key: value for key, value in said.items() if key not in ("pin", "verify", "warm", "plant", "programs")}
        return {
            **said,
            "machine": self._machine().to_dict(),
            "calibration": {"digest": calibration.digest, "pages_digest": calibration.pages_digest},
        }

    def _result(self, found: dict[str, Any], said: dict[str, Any]) -> Result:
        found["device"] = {"kind": "modelled", "direct": False}
        if self.budget is not None:
            found["applications"] = self.budget.outcomes(found["applications"])
        notes = self.lab.notes(large=any(app.folio_order for app in self.applications))
        return result_of("virtual", said, found, noted(notes, found, self.budget))


def _ranges(threads: Mapping[str, int]) -> str:
    """The threads of each kind: "kswapd0, kcompressd0 to kcompressd3"."""
    ranges = ((kind, f" to {kind}{count - 1}" if count > 1 else "") for kind, count in threads.items() if count)
    return ", ".join(f"{kind}0{rest}" for kind, rest in ranges)


@contextmanager
def _writer(
    path: str | PathLike[str] | None, pages: int, node: Node | None, folio_order: int
) -> Iterator[TraceWriter | None]:
    if path is None:
        yield None
    else:
        with TraceWriter(path, pages, absent=node is not None, folio_order=folio_order) as writer:
            yield writer
