"""The live view of a run: queues, pool and CPU time by thread, drawn in the terminal about 20 times a second; the keys + and -
double and halve the queues' depth.

CPU time is the kernel's, of the run's threads in /proc/self/task (schedstat), by their names.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kcompressd.sizes import bars, duration, mib
from kcompressd.taken import kind_of

HISTORY: Final = 48
"""Samples that a small curve shows."""
REDRAWS: Final = 20
"""A second, at most."""
_KINDS: Final = ("kswapd", "kcompressd", "app", "swapdev", "shrink_worker")
_TASKS: Final = Path("/proc/self/task")


class Watch(AbstractContextManager["Watch"]):
    """Draws what it is called with (the core's progress: `phase`, `pages_done`, `pages`, `queue_len`, `pool_pages`,
    `in_flight`, and `allocstall` where the run counts it) until it is left; the last picture stays.
    """

    def __init__(self, title: str, *, page_size: int, depth: int, console: Console | None = None) -> None:
        """`depth` of the queues in folios, which the keys do not exceed; `console` standard error unless given."""
        self.title, self.page_size, self.depth, self.most = title, page_size, depth, depth
        self.keys = Keys()
        self.curves: dict[str, deque[float]] = {}
        self.cpu = CpuShares()
        self.drawn_at = 0.0
        self.live = Live(console=console or Console(stderr=True), auto_refresh=False)

    def __enter__(self) -> Watch:
        """Begin to draw."""
        self.keys.__enter__()
        self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing, and give the terminal back as it was."""
        self.live.__exit__(kind, error, trace)
        self.keys.__exit__(kind, error, trace)

    def __call__(self, now: Mapping[str, Any]) -> dict[str, int] | None:
        """Take a sample, and draw it unless the last was drawn just now; the sample of the end is always drawn. Return the depth that
        keys asked for, if any.
        """
        before = self.depth
        for key in self.keys.typed() if self.most else "":
            self.depth = {"+": min(2 * self.depth, self.most), "-": max(self.depth // 2, 1)}.get(key, self.depth)
        for name, value in self._levels(now).items():
            self.curves.setdefault(name, deque(maxlen=HISTORY)).append(value)
        self.cpu.sample()
        if now["phase"] == "ended" or time.monotonic() - self.drawn_at >= 1 / REDRAWS:
            self.drawn_at = time.monotonic()
            self.live.update(self._picture(now), refresh=True)
        return None if self.depth == before else {"depth": self.depth}

    def _levels(self, now: Mapping[str, Any]) -> dict[str, float]:
        found = {f"queue {number}": float(length) for number, length in enumerate(now["queue_len"])}
        found |= {"in flight": float(now["in_flight"]), "pool": float(now["pool_pages"])}
        if "allocstall" in now:
            found["stalls"] = float(now["allocstall"])
        return found if now["phase"] != "ended" else {}

    def _picture(self, now: Mapping[str, Any]) -> Group:
        done = now["pages_done"] if now["phase"] != "ended" else now["pages"]
        head = Text.assemble((self.title, "bold"), f"   {now['phase']}: {done} pages of {now['pages']}")
        bar = ProgressBar(total=max(1, now["pages"]), completed=min(done, now["pages"]), width=60)
        return Group(head, bar, Text(), self._curves(), self._threads())  # a bar does not end its line

    def _curves(self) -> Table:
        table = _grid()
        for name, values in self.curves.items():
            last = values[-1]
            of = f" of {self.depth}" if name.startswith("queue") else ""
            shown = mib(last * self.page_size) if name == "pool" else f"{last:.0f}{of}"
            table.add_row(name, shown, bars(values, self.depth if of else 0))
        return table

    def _threads(self) -> Table:
        table = _grid()
        for name, spent, share in self.cpu.shares():
            filled = round(min(1.0, share) * 20)
            table.add_row(name, f"{duration(spent)} {share:4.0%}", f"{'█' * filled}{'░' * (20 - filled)}")
        return table


class Keys(AbstractContextManager["Keys"]):
    """What is typed at a terminal in the foreground, key by key and not shown; Ctrl-C is a signal as ever."""

    def __init__(self) -> None:
        """Nothing is read before it is entered."""
        self.terminal: int | None = None
        self.before: list[Any] = []

    def __enter__(self) -> Keys:
        """Have the terminal give keys at once, where there is one that is ours."""
        if sys.stdin is not None and sys.stdin.isatty() and _in_foreground(sys.stdin.fileno()):
            self.terminal = sys.stdin.fileno()
            self.before = termios.tcgetattr(self.terminal)
            tty.setcbreak(self.terminal, termios.TCSANOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back as it was."""
        if self.terminal is not None:
            termios.tcsetattr(self.terminal, termios.TCSADRAIN, self.before)

    def typed(self) -> str:
        """Return what was typed since the last call."""
        found = b""
        while self.terminal is not None and select.select([self.terminal], [], [], 0)[0]:
            read = os.read(self.terminal, 64)
            if not read:
                break
            found += read
        return found.decode("ascii", "replace")


def _in_foreground(terminal: int) -> bool:
    """Tell whether it is this process's turn to read there: another would be stopped."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # of somebody else
        return False


class CpuShares:
    """CPU time of this process's threads that are actors, and their share of a CPU since the sample before."""

    def __init__(self) -> None:
        """Nothing is known before the first sample."""
        self.at, self.spent, self.share = time.monotonic(), dict[str, int](), dict[str, float]()

    def sample(self) -> None:
        """Read every thread's time; one that has ended keeps its last."""
        now = time.monotonic()
        passed, self.at = now - self.at, now
        found = dict(_threads())
        self.share = {
            name: max(0.0, ns - self.spent.get(name, 0)) / 1e9 / max(passed, 1e-6) for name, ns in found.items()
        }
        self.spent |= found

    def shares(self) -> list[tuple[str, int, float]]:
        """Return name, nanoseconds in all, and share of a CPU, kswapd first."""
        order = sorted(self.spent, key=lambda name: (_KINDS.index(kind_of(name)), name))
        return [(name, self.spent[name], self.share.get(name, 0.0)) for name in order]


def _threads() -> list[tuple[str, int]]:
    found = []
    for task in _TASKS.iterdir():
        try:
            name = (task / "comm").read_text().strip()
            if kind_of(name) in _KINDS and kind_of(name) != name:  # the command itself is called kcompressd too
                found.append((name, int((task / "schedstat").read_text().split()[0])))
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
    return found


def _grid() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(min_width=14, no_wrap=True, style="cyan")
    table.add_column(min_width=16, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    return table
