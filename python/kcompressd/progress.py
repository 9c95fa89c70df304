"""How a run is followed while it goes on: what its caller is told, a bar, what the caller changes meanwhile, Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from kcompressd import _core
from kcompressd.errors import LabError, refuse_other_than_whole

Progress: TypeAlias = Callable[[str, int, int], object]
"""Called about 20 times a second with the phase, the pages finished in it, and the pages in all."""
Watcher: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, int] | None]
"""Called as often with all that is known at the moment; what it returns is set: `{"depth": 8}`, every queue's depth in folios."""

POLL_S: Final = 0.05
"""How often a run is looked at, seconds: Ctrl-C is noticed within it."""


def follow(run: _core.Run, report: Progress, pages: int, watch: Watcher) -> bool:
    """Start the run and wait for its end; True when Ctrl-C ended it. All its threads are joined when its result is there."""
    try:
        run.start()
        while not run.wait(POLL_S):
            now = run.progress()
            _turn(run, watch(now))
            report(now["phase"], now["pages_done"], pages)
    except KeyboardInterrupt:
        run.cancel()
        return True
    except BaseException:  # the caller's: no thread runs on behind it
        run.cancel()
        with contextlib.suppress(RuntimeError):  # it could not be started
            run.result()
        raise
    report("ended", pages, pages)
    watch(run.progress())
    return False


def _turn(run: _core.Run, asked: Mapping[str, int] | None) -> None:
    """Set what a `Watcher` asked for; raises `LabError` for what is no such thing, `ValueError` above the capacity."""
    if asked is None:
        return
    if not isinstance(asked, Mapping) or list(asked) != ["depth"]:
        raise LabError("watch", f"returned {asked!r}", 'return {"depth": folios}, or None')
    refuse_other_than_whole("depth", asked["depth"])
    if asked["depth"] < 0:
        raise LabError("depth", f"{asked['depth']} is less than 0")
    run.set_depth(asked["depth"])


@contextlib.contextmanager
def reporter(progress: Progress | bool, pages: int) -> Iterator[Progress]:
    """The callback for progress; a bar on standard error when `progress` is True."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda phase, done, total: None
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("reclaim", total=pages)
            yield lambda phase, done, total: bar.update(task, description=phase, completed=min(done, total))
