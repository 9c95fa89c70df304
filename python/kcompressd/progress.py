"""How a run is followed while it goes on: what its caller is told, a bar, what the caller changes meanwhile, Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from kcompressd import _core
from kcompressd.errors import LabError, refuse_number

Progress: TypeAlias = Callable[[str, int, int], object]
"""Called about 20 times a second with the phase, the pages finished in it, and the pages in all; of a run with a memory budget in
virtual time with the touches of its applications, those done and all.
"""
Count: TypeAlias = Callable[[int, int], object]
"""Called as often with how much is done, and how much there is."""
Watcher: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, int] | None]
"""Called as often with all that is known at the moment; what it returns is set: `{"depth": 8}`, every queue's depth in folios."""

POLL_S: Final = 0.05
"""How often a run is looked at, seconds: Ctrl-C is noticed within it."""


def untold(name: str, done: int, total: int) -> None:
    """A `Progress` that nobody is told of."""


def part_of(report: Count, before: int, total: int) -> Count:
    """Return what a part calls, of a work of `total` of which `before` was done when it began."""
    return lambda done, _: report(before + done, total)


def follow(run: _core.Run, report: Progress, pages: int, watch: Watcher) -> bool:
    """Start the run and wait for its end; True when Ctrl-C came meanwhile, which is raised when no run was started.

    All its threads are joined when its result is there.
    """
    try:
        run.start()
        while not run.wait(POLL_S):
            now = run.progress()
            _turn(run, watch(now))
            report(now["phase"], min(now["pages_done"], pages), pages)
        report("ended", pages, pages)
        watch(run.progress())
    except KeyboardInterrupt:
        if not run.cancel():
            raise
        return True
    except BaseException:  # the caller's: no thread runs on behind it
        if run.cancel():
            run.result()
        raise
    return False


def _turn(run: _core.Run, asked: Mapping[str, int] | None) -> None:
    """Set what a `Watcher` asked for; raises `LabError` for what is no such thing, `ValueError` above the capacity."""
    if asked is None:
        return
    if not isinstance(asked, Mapping) or list(asked) != ["depth"]:
        raise LabError("watch", f"returned {asked!r}", 'return {"depth": folios}, or None')
    refuse_number("depth", asked["depth"], 0)
    run.set_depth(asked["depth"])


@contextlib.contextmanager
def reporter(progress: Progress | bool, what: str, *, endless: bool = False) -> Iterator[Progress]:
    """The callback for progress; a `bar` when `progress` is True, `endless` when nobody knows how much there is to do."""
    if callable(progress):
        yield progress
    elif not progress:
        yield untold
    else:
        with bar(what) as tell:
            yield lambda name, done, total: tell(name, done, 0 if endless else total)


@contextlib.contextmanager
def counter(progress: Count | bool, what: str) -> Iterator[Count]:
    """The same for what has one name, `what`."""
    if callable(progress):
        yield progress
    else:
        with reporter(progress, what) as tell:
            yield lambda done, total: tell(what, done, total)


@contextlib.contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Draw a bar on standard error, and beside it what is being done: `what`, until it is told; gone when it is left, but where that
    is no terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = Console(stderr=True)
    said = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = (BarColumn(24), TaskProgressColumn(), TimeRemainingColumn(), said)
    with Bar(*columns, console=console, transient=console.is_terminal) as drawn:
        task = drawn.add_task(what, total=None)
        before = (0, 0)

        def tell(name: str, done: int, total: int) -> None:
            nonlocal before
            if total != before[1] or done < before[0]:  # something new begins
                drawn.reset(task, total=total or None)
            before = done, total
            drawn.update(task, description=name, completed=done)

        yield tell
