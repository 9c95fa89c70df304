"""`Design`: where the queue sits and what it means, as data; the core holds the presets and decides what is
valid.

The fields are those of the core (`kcompressd_core::design`), with the same values as strings. A published
design is a named value: `Design.preset("split")`. Anything else is a preset with fields replaced, and
`validate` says by name when a combination means nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from kcompressd import _core

Store: TypeAlias = Literal["zswap", "zram"]
EnqueueAt: TypeAlias = Literal["never", "swap_writeout", "zswap_store", "zram_bio"]
Tag: TypeAlias = Literal["none", "bit0", "entry_lookup"]
CheckBefore: TypeAlias = Literal["objcg", "limits", "pool"]
Gate: TypeAlias = Literal["kswapd_only", "anon_only", "writeback_enabled", "sync_device"]
OnFull: TypeAlias = Literal["sync_new", "sync_head", "to_device", "wait"]
Hold: TypeAlias = Literal["locked", "writeback"]
OnComplete: TypeAlias = Literal["stay", "rotate"]
OnReject: TypeAlias = Literal["device", "activate", "keep_raw"]
Placement: TypeAlias = Literal["per_node", "first_fit", "round_robin", "shortest"]
Start: TypeAlias = Literal["eager", "lazy"]
WorkerFlag: TypeAlias = Literal["memalloc", "kswapd"]
Kernel: TypeAlias = tuple[int, int]
"""The kernel version modelled: (major, minor)."""

STORES: Final[tuple[Store, ...]] = get_args(Store)
KERNEL: Final[Kernel] = (6, 12)
"""The kernel modelled by default."""


@dataclass(frozen=True, slots=True)
class Design:
    """One design. Sets are tuples in the core's order; `depth` and `batch` count folios."""

    enqueue_at: EnqueueAt
    tag: Tag
    check_before: tuple[CheckBefore, ...]
    gates: tuple[Gate, ...]
    recheck_writeback: bool
    on_full: OnFull
    hold: Hold
    extra_ref: bool
    on_complete: OnComplete
    on_reject: OnReject
    threads: int
    depth: int
    batch: int
    placement: Placement
    start: Start
    worker_flags: tuple[WorkerFlag, ...]
    stop_in_predicate: bool

    @classmethod
    def presets(cls) -> tuple[str, ...]:
        """Return the names of the published designs, the baseline first."""
        return tuple(_core.presets())

    @classmethod
    def preset(
        cls, name: str, store: Store = "zswap", *, depth: int | None = None, threads: int | None = None
    ) -> Design:
        """Return a published design as it is on `store`, with another depth or number of threads.

        The baseline has no queue: for it both are ignored. Raises `DesignError` for an unknown name.
        """
        _texts(design=name, store=store)
        design = cls.from_dict(_core.preset(name, store))
        return design if design.is_sync else sized(design, threads, depth)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Design:
        """Make a design of a mapping as `to_dict` returns it; raises `DesignError` naming a missing or
        unknown key.
        """
        if not isinstance(fields, Mapping):
            raise _core.DesignError(f"a design is a mapping of its fields by name, and {fields!r} is none")
        names = [field.name for field in dataclasses.fields(cls)]
        wrong = [f"{name} is missing" for name in names if name not in fields]
        for name in fields:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=1)
                wrong.append(f"{name} is no field of a design{f', did you mean {near[0]}?' if near else ''}")
        for name, choices in _CHOICES.items():
            given = fields.get(name)
            strangers = [one for one in (given if isinstance(given, list | tuple) else [given]) if isinstance(one, str)]
            wrong += [f"{name}: {one!r} is none of {', '.join(choices)}" for one in strangers if one not in choices]
        if wrong:
            raise _core.DesignError("; ".join(wrong))
        values: dict[str, Any] = {name: fields[name] for name in names}
        values |= {name: tuple(fields[name]) for name in _SETS if isinstance(fields[name], list)}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as the core, Results and job files write them: sets are lists."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def replace(self, **changes: Any) -> Design:
        """Return the design with fields changed; `validate` tells whether that means something."""
        return dataclasses.replace(self, **changes)

    def with_depth(self, depth: int) -> Design:
        """Return the design with another queue depth; the batch is cut to fit, and at 0 everything is
        synchronous.
        """
        with _numbers(0xFFFFFFFF, depth=depth):
            return self.from_dict(_core.with_depth(self.to_dict(), depth))

    def with_threads(self, threads: int) -> Design:
        """Return the design with another number of kcompressd threads; one queue needs no placement."""
        with _numbers(0xFFFF, threads=threads):
            return self.from_dict(_core.with_threads(self.to_dict(), threads))

    def validate(self, store: Store = "zswap", kernel: Kernel = KERNEL) -> None:
        """Raise `DesignError`, naming the fields, when the design means nothing on `store` under `kernel`."""
        _texts(store=store)
        if not (isinstance(kernel, tuple) and len(kernel) == 2 and all(isinstance(part, int) for part in kernel)):
            raise _core.DesignError(f"kernel = {kernel!r}: not a version as two whole numbers, (6, 12)")
        with _numbers(0xFFFF, kernel=kernel):
            _core.validate_design(self.to_dict(), store, kernel)

    def notes(self, store: Store = "zswap") -> list[str]:
        """Return what a kernel would need for the design and where it does not reach, as sentences."""
        _texts(store=store)
        return _core.design_notes(self.to_dict(), store)

    def name(self, store: Store = "zswap") -> str | None:
        """Return the name of the preset that this is, whatever its depth, batch and threads; None for another
        design.
        """
        for name in self.presets():
            if self._shape() == self.preset(name, store)._shape():
                return name
        return None

    def _shape(self) -> Design:
        return self.replace(threads=0, depth=0, batch=1, placement="per_node")

    @property
    def is_sync(self) -> bool:
        """Tell whether nothing is ever queued, whatever the depth: there are no kcompressd threads."""
        return self.enqueue_at == "never"

    @property
    def nodes(self) -> int:
        """Return the nodes that the design needs for all its queues to be used: one a thread when placed by
        node.
        """
        return max(1, self.threads) if self.placement == "per_node" else 1


def sized(design: Design, threads: int | None, depth: int | None) -> Design:
    """Return the design with another number of threads and another depth, where they are given."""
    design = design if threads is None else design.with_threads(threads)
    return design if depth is None else design.with_depth(depth)


_KINDS: Final = {name: kind for name, kind in get_type_hints(Design).items() if kind not in (bool, int)}
_SETS: Final = tuple(name for name, kind in _KINDS.items() if get_origin(kind) is tuple)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    name: get_args(get_args(kind)[0] if name in _SETS else kind) for name, kind in _KINDS.items()
}
"""The values of each field that has names."""


@contextlib.contextmanager
def _numbers(most: int, **given: object) -> Iterator[None]:
    """Name what is no whole number, or not one from 0 to `most`, for the core."""
    try:
        yield
    except TypeError:
        name, value = next(iter(given.items()))
        raise _core.DesignError(f"{name} = {value!r}: not a whole number") from None
    except OverflowError:
        name, value = next(iter(given.items()))
        raise _core.DesignError(f"{name} = {value}: not from 0 to {most}") from None


def _texts(**given: object) -> None:
    """Name what is no text."""
    for name, value in given.items():
        if not isinstance(value, str):
            raise _core.DesignError(f"{name} = {value!r}: not a text")
