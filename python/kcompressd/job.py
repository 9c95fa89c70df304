"""`Job`: a run as a file of TOML: pages, design, machine, workload and costs; any key can be set from outside.

A job runs in virtual time (`sim`) or on real threads (`run`), and gives the same kind of `Result` either way.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from kcompressd import access_trace, policy
from kcompressd.calibration import Calibration, calibrate
from kcompressd.design import Design
from kcompressd.errors import InputError, JobError, PageFileError, file_path, refuse_number, refuse_type
from kcompressd.job_file import Tree, parse, parse_setting, refuse_strangers, set_key
from kcompressd.lab import Lab
from kcompressd.machine import Costs, Machine
from kcompressd.memcg import SIZES, Memcg, MemoryReclaim, numbered
from kcompressd.names import plain
from kcompressd.node import MOST_PAGES, Node
from kcompressd.page_index import PAGE_SIZES
from kcompressd.pages import Pages
from kcompressd.policy import Policy
from kcompressd.progress import Progress, Watcher
from kcompressd.result import Result
from kcompressd.sim import Sim
from kcompressd.sizes import parse_limit
from kcompressd.trace import TraceError
from kcompressd.workload import Workload

SAMPLE: Final = "sample"
"""As `pages`: those that come with the package, with their calibration."""
_LAB: Final = (
    "store",
    "compressor",
    "threads",
    "depth",
    "pool_limit",
    "chain_size",
    "accept_threshold_percent",
    "shrinker_enabled",
    "seed",
)
_MOST_BYTES: Final = 1 << 24
"""A longer file is no job, and one without an end is not read to it."""
UNBUDGETED: Final = frozenset({"cpus", "kswapd"})
"""Keys of `[node]` that make no memory budget by themselves."""
_MOST_SHARE: Final = 1 << 12
_MEMCG: Final = {field.name for field in dataclasses.fields(Memcg)} | {"share"}

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False, repr=False)
class Job:
    """A job: its tables, and the folder that its paths start from. Nothing is read or run before it is asked for."""

    tree: Tree
    folder: Path = Path()
    origin: str = "job"

    def __repr__(self) -> str:
        """Say where it comes from."""
        return f"<Job {self.origin}>"

    @classmethod
    def load(cls, path: str | os.PathLike[str], settings: Iterable[str] = ()) -> Job:
        """Read a job file and set keys ("node.cpus=8"); raises `JobError` naming file, line and key."""
        where = file_path(path, JobError)
        origin, fix = os.fsdecode(path), f'a job on it has the line pages = "{where.name}"'
        try:
            with where.open("rb") as file:
                contents = file.read(_MOST_BYTES + 1)
            if len(contents) > _MOST_BYTES:
                raise JobError(where, "is larger than any job", fix)
            text = contents.decode("utf-8-sig")
        except OSError as error:
            raise JobError(where, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise JobError(where, "is no job: jobs are TOML", fix) from error
        return cls(parse(text, origin), where.parent, origin).replace(dict(map(parse_setting, settings)))

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], folder: str | os.PathLike[str] = ".") -> Job:
        """Make a job of tables; raises `JobError` naming a key that no job has or a value of a wrong type."""
        refuse_type("job", tree, Mapping, "a mapping of keys and tables, as a job file has them", JobError)
        given = plain(tree)
        refuse_strangers(given, lambda key: "job")
        return cls(given, Path(folder))

    def replace(self, changes: Mapping[str, Any]) -> Job:
        """Return the job with keys set by their whole names; raises `JobError` as `from_dict`."""
        refuse_type("job", changes, Mapping, "a mapping of whole keys to values", JobError)
        tree = copy.deepcopy(self.tree)
        for key, value in changes.items():
            set_key(tree, key, plain(value))

        def place(key: str) -> str:
            return "--set" if any(f"{given}.".startswith(f"{key}.") for given in changes) else self.origin

        refuse_strangers(tree, place)
        return dataclasses.replace(self, tree=tree)

    def boot(self, number: int) -> Job:
        """Return the job as after another boot of its machine, 0 the job itself: its node's, and the seed is the next, by which it
        begins at another time between two ticks. Without a memory budget only the seed differs.
        """
        refuse_number("boot", number, 0)
        free = {} if self.node is None else {"node.free": self.node.boot(number).free}
        return self.replace({"seed": self.lab.seed + number, **free}) if number else self

    @property
    def about(self) -> dict[str, str]:
        """What the file says of itself: free texts."""
        return dict(self.tree.get("about", {}))

    @cached_property
    def pages(self) -> Pages:
        """The pages; raises `PageFileError`, `JobError` where the job names none."""
        once = self._once
        return once if self.times == 1 else Pages.from_array(np.tile(once.array, (self.times, 1)), copy=False)

    @property
    def _once(self) -> Pages:
        return self._all_pages[: self.limit] if self.limit else self._all_pages

    @cached_property
    def _all_pages(self) -> Pages:
        name = self.tree.get("pages")
        if name is None:
            raise JobError(self.origin, "pages is missing", 'pages = "sample", or a file of pages')
        size = self.page_size
        found = Pages.from_file(self.folder / name, page_size=size) if name != SAMPLE else Pages.sample()
        return found if size is None else found.resized(size)

    @property
    def page_size(self) -> int | None:
        """The size of a page, bytes, as which the file is seen; None: its own."""
        size: int | None = self.tree.get("page_size")
        if size is not None and size not in PAGE_SIZES:
            raise JobError(self.origin, f"page_size = {size} is none of {', '.join(map(str, PAGE_SIZES))}")
        return size

    @property
    def has_sample_times(self) -> bool:
        """Whether the calibration that comes with the package is that of the pages."""
        return self.tree.get("pages") == SAMPLE and self.page_size in (None, Pages.sample().page_size)

    @property
    def times(self) -> int:
        """How often the pages come, one set after the other, as if the process were so much larger: `repeat`."""
        times: int = self.tree.get("repeat", 1)
        if not 1 <= times <= MOST_PAGES:
            raise JobError(self.origin, f"repeat = {times} is not between 1 and {MOST_PAGES}")
        return times

    @property
    def limit(self) -> int | None:
        """How many of the pages are used; None: all."""
        limit: int | None = self.tree.get("limit")
        if limit is not None and limit < 1:
            raise JobError(self.origin, f"limit = {limit} is less than 1")
        return limit

    @property
    def is_timed_anew(self) -> bool:
        """Whether there is no calibration of the pages, so that they are timed before each run and two runs differ."""
        return "calibration" not in self.tree and not self.has_sample_times

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration: the file that the job names, the sample's own, or one made now (`is_timed_anew`)."""
        if self.is_timed_anew:
            return calibrate(self.pages, self.lab.compressor)
        name = self.tree.get("calibration")
        found = Calibration.sample() if name is None else self._own_calibration(name)
        found = found[: self.limit] if self.limit else found
        return found if self.times == 1 else found.repeated(self.times)

    def _own_calibration(self, name: str) -> Calibration:
        """The file that the job names; one of other pages is refused, where the pages are there to tell."""
        found, pages = Calibration.load(self.folder / name), self.tree.get("pages")
        is_there = pages is not None and (pages == SAMPLE or (self.folder / pages).exists())
        if is_there and found.pages_digest not in (self._all_pages.digest, self._all_pages[: len(found)].digest):
            raise JobError(
                self.origin, f"calibration = {name!r} is of other pages", "kcompressd calibrate measures these"
            )
        return found

    @cached_property
    def machine(self) -> Machine:
        """The machine; raises `JobError` naming the key."""
        return self._part(self._machine)

    def _machine(self) -> Machine:
        keys = dict(self.tree.get("machine", {}))
        machine = Machine.preset(keys.pop("preset")) if "preset" in keys else Machine()
        cpus = self.tree.get("node", {}).get("cpus")
        if cpus is not None and "speeds" not in keys:
            machine = machine.with_cpus(cpus)
        elif cpus is not None and cpus != len(keys["speeds"]):
            raise JobError(self.origin, f"node.cpus = {cpus}, but machine.speeds has {len(keys['speeds'])} CPUs")
        return dataclasses.replace(machine, **keys)

    @cached_property
    def costs(self) -> Costs:
        """The costs; raises `JobError` naming the key."""
        return self._part(lambda: Costs(**self.tree.get("costs", {})))

    @cached_property
    def lab(self) -> Lab:
        """What is run; raises `JobError`."""
        return self._part(self._lab)

    def _lab(self) -> Lab:
        keys: dict[str, Any] = {name: self.tree[name] for name in _LAB if name in self.tree}
        workload: Mapping[str, Any] = {}
        if self._is_pageout:
            workload = {key: value for key, value in self._tables[0].items() if key != "kind"}
            self._refuse_keys(workload, "pageout", ("fault", "app_threads", "folio_order"))
        if "kernel" in self.tree:
            keys["kernel"] = self._kernel(self.tree["kernel"])
        if "kswapd" in self.tree.get("node", {}):
            keys["kswapd"] = self.tree["node"]["kswapd"]
        return Lab(design=self._design(), **self._memcgs(), **keys, **workload)

    def _memcgs(self) -> dict[str, Any]:
        """`[[memcg]]`: groups, to which the pages are dealt out in turn, `share` of them (default 1) in each round."""
        given = self.tree.get("memcg")
        if not given:
            return {}
        wrong = [group for group in given if not isinstance(group, dict) or not {"name"} <= set(group) <= _MEMCG]
        if wrong:
            raise JobError(self.origin, f"memcg: {wrong[0]!r} has other keys than {', '.join(sorted(_MEMCG))}")
        groups = [self._memcg({key: value for key, value in group.items() if key != "share"}) for group in given]
        numbers = numbered(group["name"] for group in given)
        below = [group for group in given if numbers[group["name"]]]
        turn = [numbers[group["name"]] for group in below for _ in range(self._share(group))] or [0]
        pages = len(self._once) * self.times if "pages" in self.tree else len(self.calibration)
        return {"memcgs": groups, "memcg_of": [turn[page % len(turn)] for page in range(pages)]}

    def _share(self, group: Mapping[str, Any]) -> int:
        share = group.get("share", 1)
        if not (type(share) is int and 1 <= share <= _MOST_SHARE):
            raise JobError(self.origin, f"memcg.share: {share!r} is no whole number from 1 to {_MOST_SHARE}")
        return share

    def _memcg(self, given: Mapping[str, Any]) -> Memcg:
        writes = given.get("memory_reclaim", [])
        keys, forms = {"at_ns", "bytes"}, "write memory_reclaim = [{ at_ns = 1000000, bytes = 4096 }]"
        for write in writes if isinstance(writes, list) else [writes]:
            numbers = isinstance(write, dict) and all(type(value) is int and value >= 0 for value in write.values())
            if not numbers or set(write) != keys:
                raise JobError(self.origin, f"memcg.memory_reclaim: {write!r} is no write of bytes at a time", forms)
        texts = {key: size for key, size in given.items() if key in SIZES and isinstance(size, str)}
        sizes = {key: parse_limit(size, None, f"memcg.{key}") for key, size in texts.items()}
        return Memcg(**{**given, **sizes, "memory_reclaim": tuple(MemoryReclaim(**write) for write in writes)})

    def _kernel(self, text: str) -> tuple[int, int]:
        major, _, minor = text.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            raise JobError(self.origin, f"kernel = {text!r} is not a version like 6.12")
        return int(major), int(minor)

    def _design(self) -> str | Design | Policy:
        given = self.tree.get("design", "split")
        if isinstance(given, str) and policy.is_policy(given):
            return policy.load(given, self.folder)
        if isinstance(given, str):
            return given
        fields = dict(given)
        preset = Design.preset(fields.pop("preset", "split"), self.tree.get("store", "zswap"))
        return Design.from_dict({**preset.to_dict(), **fields})

    @cached_property
    def node(self) -> Node | None:
        """The memory budget, if there is one; raises `JobError` naming the key."""
        keys = {name: value for name, value in self.tree.get("node", {}).items() if name not in UNBUDGETED}
        if keys and "managed" not in keys:
            raise JobError(self.origin, "node.managed is missing", "say how many pages of memory the node has")
        return self._part(lambda: Node(**keys)) if keys else None

    @property
    def _tables(self) -> list[Mapping[str, Any]]:
        """The tables of `[workload]` or `[[workload]]`; at least one."""
        given = self.tree.get("workload", {})
        return list(given) if isinstance(given, list) and given else [given or {}]

    @property
    def _is_pageout(self) -> bool:
        """Whether all pages are wanted gone and read back; raises `JobError` for that beside other applications."""
        kinds = [table.get("kind", "pageout") for table in self._tables]
        if "pageout" in kinds and len(kinds) > 1:
            raise JobError(self.origin, "workload.kind: pageout is for all pages, and no application beside others")
        return kinds == ["pageout"]

    @cached_property
    def workload(self) -> tuple[Workload, ...] | None:
        """What the applications do; None: pageout. Raises `JobError` naming the key, or the line of an access trace."""
        return None if self._is_pageout else tuple(self._application(table) for table in self._tables)

    def _application(self, table: Mapping[str, Any]) -> Workload:
        self._refuse_keys(table, table["kind"], tuple(field.name for field in dataclasses.fields(Workload)))
        trace = access_trace.load(self.folder / table["trace"])._asdict() if "trace" in table else {}
        return self._part(lambda: Workload(**{**table, **trace}))

    def _refuse_keys(self, keys: Mapping[str, Any], kind: str, known: tuple[str, ...]) -> None:
        for name in keys:
            if name not in known:
                raise JobError(self.origin, f"workload.{name} is not for the workload {kind!r}", f"leave {name} out")

    def _part(self, make: Callable[[], Part], colon: str = "") -> Part:
        """Return what `make` makes; what is refused is told with the file, and with a `colon` after what is no key of it."""
        try:
            return make()
        except (JobError, TraceError):
            raise
        except InputError as error:
            colon = ":" if isinstance(error, PageFileError) else colon
            raise JobError(self.origin, f"{error.subject}{colon} {error.reason}", error.fix) from error
        except MemoryError as error:
            raise JobError(self.origin, f"memory is too small for it: {error}", "give it fewer pages") from error
        except ValueError as error:  # the core's: a design that there is not, a number that it cannot take
            raise JobError(self.origin, str(error)) from error

    def sim(
        self,
        *,
        calibration: Calibration | None = None,
        trace: str | os.PathLike[str] | None = None,
        progress: Progress | bool = False,
    ) -> Result:
        """Run in virtual time, as `Sim.run`; with `calibration` in place of the job's own."""
        sim = self._part(
            lambda: Sim(lab=self.lab, machine=self.machine, costs=self.costs, node=self.node, workload=self.workload)
        )
        given, file = calibration, None if trace is None else file_path(trace)

        def run() -> Result:
            return sim.run(self.calibration if given is None else given, trace=file, progress=progress)

        return self._part(run, ":")

    def run(
        self,
        *,
        trace: bool = False,
        progress: Progress | bool = False,
        watch: Watcher | None = None,
    ) -> Result:
        """Run on real threads of this machine; as `Lab.run`. Machine and costs are this machine's own."""
        lab = dataclasses.replace(self.lab, trace=trace)
        node, workload = self.node, self.workload

        def run() -> Result:
            return lab.run(self.pages, progress=progress, watch=watch, node=node, workload=workload)

        return self._part(run, ":")
