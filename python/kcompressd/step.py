"""`Stepper`: a lab's system driven page by page, the script choosing who moves; `Folio`: one page of it.

The explore driver's clock counts steps. Between two calls nobody moves: a call hands one page to one actor
(kswapd, a kcompressd thread, the application, zswap's shrink worker, the swap device) and runs that actor
alone until what was asked for has happened, or the actor has nothing left to do. The actors are those of a
run; the lifecycle decides what each event may do, and the trace of any script can be validated.

    >>> from kcompressd import Lab, Pages
    >>> stepper = Lab(design="split").step(Pages.sample()[:4])
    >>> folio = stepper[0]
    >>> folio.queue(), folio.compress(), folio.reclaim(), folio.fault()
    ('queued', 'compressed', 'compressed_freed', True)

What cannot be done now raises `StepError` naming page and state; `NotAtHead` says which pages are ahead in
the queue. An event that the law lacks raises `ProtocolViolation` with page, state, event and actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from kcompressd import _core
from kcompressd.accounting import PLACES
from kcompressd.errors import LabError, refuse_compressor, refuse_number, refuse_type
from kcompressd.lifecycle import table
from kcompressd.memcg import number_of, numbered
from kcompressd.names import Names
from kcompressd.sizes import counted
from kcompressd.timeline import lines
from kcompressd.trace import RECORD, Records, Trace
from kcompressd.trace_words import Step


class Folio:
    """One page of a stepper. Each call returns the page's state afterwards, by name; `fault` returns whether
    its contents are what they were.

    A page that is not where a call needs it raises `StepError`, and nothing happens.
    """

    __slots__ = ("_core", "_stepper", "page")

    page: int
    """The page's number: its position in the stepper's pages."""

    def __init__(self, stepper: Stepper, core: _core.Stepper, page: int) -> None:
        """Stand for `page`; a stepper makes its own."""
        self._stepper, self._core, self.page = stepper, core, page

    @property
    def state(self) -> str:
        """Where the page's contents are: a state of `kcompressd.lifecycle`."""
        return self._core.state(self.page)

    @property
    def flags(self) -> tuple[str, ...]:
        """The page's flags that are set, in bit order: names of `kcompressd.lifecycle.FLAGS`."""
        return tuple(self._core.flags(self.page))

    @property
    def history(self) -> list[Step]:
        """Every event of the page so far, in words; `print(folio)` shows them."""
        return self._stepper.trace.timeline(self.page)

    def queue(self) -> str:
        """kswapd isolates, unmaps and writes the page out until it is queued, or has ended otherwise.

        The page must be resident or redirtied. A full queue does what the design says; where that is to wait,
        kswapd keeps the page, `StepError` says so, and the call repeated goes on.
        """
        return self._core.queue(self.page)

    def compress(self) -> str:
        """The page's kcompressd takes it from the head of the queue and finishes it: stored, or refused.

        Raises `NotAtHead` with the pages `ahead`: queued before it, or taken in the same batch.
        """
        return self._core.compress(self.page)

    def reclaim(self) -> str:
        """A later pass of kswapd looks at the page: one that is stored, written or zero gives its frame up, one
        under writeback is activated, a locked one is left alone.
        """
        return self._core.reclaim(self.page)

    def write_back(self) -> str:
        """Write the page to the device, a call a half: zswap's shrink worker sends the stored entry on its way
        (`writing_back`); then the device ends the write (`written_back`; `redirtied` if it failed).

        The device writes in order: `NotAtHead` names the pages that come first.
        """
        return self._core.write_back(self.page)

    def fault(self) -> bool:
        """The application touches the page, which is read back if it is out; True when every byte is as it was.

        Raises `DeviceError` or `CodecError` when the copy cannot be read (it stays where it is), and `StepError`
        while the page is locked.
        """
        return self._core.fault(self.page)

    def free(self) -> str:
        """The owner exits: page and copy are given up. The page must be at rest."""
        return self._core.free(self.page)

    def spoil(self) -> None:
        """Let a memory error hit the page's block in zswap's pool: it no longer decodes, and stays where it is.

        The page must be compressed there.
        """
        self._core.spoil(self.page)

    def fire(self, event: str) -> str:
        """Fire one event of `kcompressd.lifecycle.EVENTS`.

        Where the law has no such edge the state word refuses it: `ProtocolViolation`, actor "script", and
        nothing changes. A lawful event is the business of an actor, which goes on until it has fired it;
        `StepError` when that does something else instead (its message says what), or is busy. Raises
        `ValueError` for a name that is no event.
        """
        refuse_type("event", event, str, "an event's name")
        return self._core.fire(self.page, event)

    def __repr__(self) -> str:
        """Say which page it is, its state and its flags."""
        return f"<Folio {self.page} {self.state}: {' '.join(self.flags) or 'no flags'}>"

    def __str__(self) -> str:
        """Return the page's life so far, an event a line, times in steps."""
        return "\n".join([f"page {self.page}: {self.state}", *lines(self.history, unit="steps")])


class Stepper(Sequence[Folio]):
    """A system and its actors, standing still between calls; a sequence of its folios by page number.

    Made by `Lab.step`. Pages are copied; nothing runs in the background, and nothing is left behind.
    """

    def __init__(self, pages: np.typing.NDArray[np.uint8], config: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Build the system that `config` (the core's keys) describes over `pages`, uint8 of shape (n, page_size);
        `meta` is what the sidecar of its trace says but for `complete`.
        """
        self._core = _core.Stepper(pages, config, table().as_dict())
        self._groups = numbered(group["name"] for group in config["memcgs"])
        self._meta = dict(meta)
        self.folios = tuple(Folio(self, self._core, page) for page in range(len(pages)))
        """The folios, by page number."""

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self.folios)

    @overload
    def __getitem__(self, key: int) -> Folio: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Folio, ...]: ...
    def __getitem__(self, key: int | slice) -> Folio | tuple[Folio, ...]:
        """Return one folio, or a tuple of them for a slice."""
        return self.folios[key]

    def __iter__(self) -> Iterator[Folio]:
        """Iterate over the folios by page number."""
        return iter(self.folios)

    @property
    def queues(self) -> tuple[tuple[Folio, ...], ...]:
        """Who waits for each kcompressd thread, the head first: what it has taken, then what is queued."""
        return tuple(self._named(line) for line in self._core.queues())

    @property
    def device(self) -> tuple[Folio, ...]:
        """Folios whose writes the swap device has still to end, the next first."""
        return self._named(self._core.device())

    def _named(self, line: Sequence[int]) -> tuple[Folio, ...]:
        return tuple(self.folios[page] for page in line)

    def set_writeback(self, enabled: bool, memcg: str = "/") -> None:
        """Set memory.zswap.writeback of a memory cgroup, by name; raises `LabError` for one that there is not."""
        refuse_type("writeback", enabled, bool, "True or False")
        self._core.set_writeback(self._group(memcg), enabled)

    def set_zswap_max(self, max_bytes: int | None, memcg: str) -> None:
        """Set memory.zswap.max of a memory cgroup, bytes, None for no limit; raises `LabError` for one that there is not, and for the root,
        which has none.
        """
        number, most = self._group(memcg), (1 << 64) - 1
        if number == 0:
            raise LabError("memcg '/'", "the root has no memory.zswap.max")
        limit = most if max_bytes is None else max_bytes
        refuse_number("max_bytes", limit, 0, most)
        self._core.set_zswap_max(number, limit)

    def set_compressor(self, compressor: str) -> None:
        """Set zswap's compressor: new stores go to a pool of its own, the old one drains. Raises `ValueError` for a name
        that is none, for zram, and while as many pools live as there can be.
        """
        refuse_compressor(compressor)
        self._core.set_compressor(compressor)

    def set_pool_limits(self, max_pool_percent: int = 100, accept_threshold_percent: int = 90) -> None:
        """Set zswap's two parameters, percent of the stepper's `pool_limit`; raises `ValueError` outside 0 to 100, and for
        zram.
        """
        refuse_number("max_pool_percent", max_pool_percent, 0, 100)
        refuse_number("accept_threshold_percent", accept_threshold_percent, 0, 100)
        self._core.set_pool_limits(max_pool_percent, accept_threshold_percent)

    def _group(self, memcg: str) -> int:
        return number_of(self._groups, memcg)

    def set_depth(self, depth: int, queue: int = 0) -> None:
        """Set the depth of a queue, folios, from 0 (everything is synchronous) to its capacity; raises
        `ValueError` above that, and for a queue that there is not.
        """
        refuse_number("depth", depth, 0)
        refuse_number("queue", queue, 0)
        self._core.set_depth(queue, depth)

    @property
    def counters(self) -> Names[Any]:
        """What has been counted so far, as in a `Result`: `vmstat`, `zswap` or `zram`, `lifecycle` (`events`,
        `violations`, `by_event`), and `census`, pages by state.
        """
        return Names(self._core.counters())

    @property
    def errors(self) -> tuple[str, ...]:
        """Failures of the device or a decoder so far; each is accounted for by an event."""
        return tuple(self._core.errors())

    @property
    def trace(self) -> Trace:
        """Every event so far, totally ordered; it is complete when no page is half-way."""
        records: Records = np.frombuffer(self._core.trace(), dtype=RECORD)
        census = self.counters.census
        return Trace(records, self._meta | {"complete": not any(census[state] for state in PLACES["half_way"])})

    def __repr__(self) -> str:
        """Say how many pages are in which state."""
        census = {state: count for state, count in self.counters.census.items() if count}
        where = ", ".join(f"{count} {state}" for state, count in census.items())
        return f"<Stepper {counted(len(self), 'page')}: {where}>"
