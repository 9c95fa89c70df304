"""What is made to fail in a run: requests of the swap device, threads, queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class IoFaults:
    """Writes and reads of the swap device that fail, by number from 0, and writes that stop half way; the run
    goes on and lists them in `errors`.
    """

    writes: tuple[int, ...] = ()
    short_writes: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plant:
    """A planted failure, for tests of how a run ends.

    `panic_in` names the thread that panics (kcompressd0) once it has finished `after_pages` pages; without it
    the queues are closed by then.
    """

    after_pages: int
    panic_in: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the plant as the core takes it."""
        if self.panic_in is None:
            return {"close_queues_after": self.after_pages}
        return {"panic_in": self.panic_in, "after_pages": self.after_pages}
