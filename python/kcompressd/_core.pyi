from collections.abc import Sequence
from typing import final

VERSION: str

@final
class Judge:
    """Replays the records of a trace against a compiled table (``kcompressd_core::judge``)."""

    def __new__(
        cls,
        rows: Sequence[tuple[int, int, int, int, int]],
        flags: Sequence[Sequence[tuple[int, int]]],
        pages: int | None = None,
        *,
        total: bool = False,
        complete: bool = False,
        depths: Sequence[int] | None = None,
        in_hand: int = 0,
        memcgs: tuple[Sequence[int], Sequence[bool], Sequence[int]] | None = None,
    ) -> Judge: ...
    def feed(self, records: bytes) -> tuple[int, int, str, str] | None: ...
    def finish(
        self,
    ) -> tuple[int, list[int], list[int], int, tuple[int, int, str, str] | None, int]: ...
    def states(self) -> bytes: ...

@final
class Locator:
    """Two sums over the records of a trace that name the one altered record."""

    def __new__(cls) -> Locator: ...
    def feed(self, records: bytes) -> None: ...
    def sums(self) -> tuple[int, int]: ...
    def altered(self, sum: int, weighted: int) -> int | None: ...
