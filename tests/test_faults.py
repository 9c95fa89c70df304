"""What goes wrong on purpose: devices, limits, queues, panics, Ctrl-C. Nothing hangs, no thread stays, what there was
is kept and said.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import Design, Lab, Memcg, Pages, Result, RunInterrupted, _core, chrome_trace
from kcompressd.faults import IoFaults, Plant

PAGES = Pages.sample()[::4]
QUEUEING = [name for name in _core.presets() if name != "sync"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = len(os.listdir("/proc/self/task"))
    yield
    deadline = time.monotonic() + 5  # a joined thread may still be listed for a moment
    while len(os.listdir("/proc/self/task")) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) <= before


@pytest.mark.parametrize("design", _core.presets())
def test_a_failed_write_leaves_the_page_dirty_and_loses_nothing(design: str) -> None:
    """A page that compresses badly goes to the device; where that fails it is written again later."""
    faults = IoFaults(writes=(0, 3), short_writes=(2,))
    result = Lab(design=design, io_faults=faults, trace=True).run(PAGES)
    assert (result.complete, result.check(), list(result.mismatched)) == (True, [], [])
    assert [e.split(" of slot ")[0] for e in result.errors] == ["device: write"] * 3
    assert result.lifecycle.by_event.redirty == 3 and result.exit_code == 0
    assert result.trace.validate().by_event["io_error"] == 3
    assert result.trace.validate().ok


@pytest.mark.parametrize("design", _core.presets())
def test_a_device_that_fails_every_write_ends_the_run_not_the_pages(design: str) -> None:
    result = Lab(design=design, io_faults=IoFaults(writes=tuple(range(20_000)))).run(PAGES)
    assert (result.complete, result.check(), list(result.mismatched)) == (True, [], [])
    stuck = result.census.reclaim.redirtied
    assert stuck > 0 and result.lifecycle.by_event.redirty == len(result.errors) >= stuck
    assert result.vmstat.pgsteal_kswapd == len(PAGES) - stuck


def test_a_failed_read_names_the_page_that_is_lost() -> None:
    result = Lab(design="split", io_faults=IoFaults(reads=(1, 4))).run(PAGES)
    assert result.complete and result.lifecycle.by_event.load_error == 2
    assert len(result.mismatched) == 2 and result.exit_code == 1
    assert [f.split(":")[0] for f in result.check()] == ["contents"]
    assert all("read of slot" in error for error in result.errors)


@pytest.mark.parametrize("design", _core.presets())
@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_a_store_at_its_limit_goes_on_and_comes_to_an_end(design: str, store: str) -> None:
    """zswap sends the rest to the device; zram has nowhere to go, so kswapd gives up on what does not fit.

    The queues are short: a design that checks limits before it queues goes beyond them by what is queued.
    """
    result = Lab(design=design, store=store, pool_limit="15%", threads=2, depth=4).run(PAGES)
    assert (result.complete, result.check(), list(result.mismatched)) == (True, [], [])
    limit = result.config.pool_limit_pages * result.config.page_size
    if result.zram is not None:
        assert result.zram.mm_stat.mem_used_total <= limit == result.zram.mm_stat.mem_limit
        assert (failed := result.zram.io_stat.failed_writes) > 0 and result.census.reclaim.redirtied > 0
        assert any(
            f"mem_limit of {limit / 2**20:.1f} MiB was reached: {failed} writes" in note for note in result.notes
        )
    else:
        assert result.zswap is not None and result.zswap.pool_limit_hit > 0
        assert result.census.reclaim.written_back_freed > 0


def test_a_memcg_without_writeback_activates_what_does_not_fit() -> None:
    group = Memcg("g", writeback=False, zswap_max=64 << 10)
    result = Lab(memcgs=[group], memcg_of=[1] * len(PAGES), threads=2).run(PAGES)
    assert (result.check(), list(result.mismatched), result.vmstat.pswpout) == ([], [], 0)
    assert result.census.reclaim.activated > 0


@pytest.mark.parametrize("design", QUEUEING)
def test_a_queue_that_closes_ends_the_run_and_says_so(design: str) -> None:
    result = Lab(design=design, plant=Plant(after_pages=20), store="zram", threads=2).run(PAGES)
    assert not result.complete and result.exit_code == 3
    assert (result.error.kind, result.error.message) == ("closed", "the queues were closed in the middle of the run")
    assert result.check() == [], "what holds at any moment holds"


@pytest.mark.parametrize("actor", ["kcompressd0", "kcompressd1", "kswapd0", "app0"])
def test_a_panic_names_its_thread_and_keeps_the_partial_result(actor: str) -> None:
    design = Design.preset("split", threads=2).replace(placement="round_robin")  # so that each has pages to do
    result = Lab(design=design, plant=Plant(panic_in=actor, after_pages=5), trace=True).run(PAGES)
    assert not result.complete and result.exit_code == 3
    assert (result.error.kind, result.error.actor) == ("panic", actor)
    assert result.error.message == f"{actor} panicked: planted failure after 5 pages"
    assert result.vmstat.pgscan_kswapd > 0 and result.check() == []
    validation = result.trace.validate()
    assert validation.ok and validation.partial, validation.explain()


def test_a_plant_in_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match='no actor is named "nobody"'):
        Lab(plant=Plant(panic_in="nobody", after_pages=1)).run(PAGES)


class Impatient:
    """A progress callback that presses Ctrl-C as soon as a page is done."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase == "reclaim":
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_ctrl_c_in_python_raises_with_the_partial_result(store: str) -> None:
    many = Pages.from_array(np.tile(Pages.sample().array, (6, 1)), copy=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    with pytest.raises(RunInterrupted) as interrupted:
        Lab(store=store, compressor="zstd:15", trace=True).run(many, progress=Impatient())  # seconds, if let go
    result = interrupted.value.result
    assert isinstance(result, Result) and isinstance(interrupted.value, KeyboardInterrupt)
    assert (result.complete, result.error.kind, result.exit_code) == (False, "cancelled", 3)
    assert result.check() == [] and result.trace.validate().ok


def starting(process: subprocess.Popen[bytes], thread: str) -> None:
    """Wait until `process` has a thread of that name."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        names = []
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            try:
                names.append((task / "comm").read_text().strip())
            except OSError:  # it has just ended
                continue
        if thread in names:
            return
        time.sleep(0.01)
    raise AssertionError(f"no thread {thread} within a minute, or it ended: {process.poll()}")


def test_ctrl_c_on_the_command_line_keeps_json_and_trace(tmp_path: Path) -> None:
    pages = tmp_path / "long.pages"
    pages.write_bytes(np.tile(Pages.sample().array, (20, 1)).tobytes())
    out, trace = tmp_path / "out.json", tmp_path / "t.npy"
    command = ["-m", "kcompressd", "run", str(pages), "-c", "zstd:19", "--json", str(out), "--trace", str(trace)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    starting(process, "kcompressd0")
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.decode() == "kcompressd: interrupted: the result is partial\n"
    assert b"partial" in printed
    result = Result.load(out)
    assert (result.complete, result.error.kind, result.check()) == (False, "cancelled", [])
    from kcompressd.trace import Trace

    assert Trace.load(trace).validate().exit_code == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.pages", "out.json", "t.npy", "t.npy.json"]


def run_limited(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where no file may grow beyond 64 KiB: a full disk, for whoever writes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

    command = [sys.executable, "-m", "kcompressd", *arguments]
    return subprocess.run(command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, timeout=120)


def test_a_swap_file_without_room_is_named_with_its_size(tmp_path: Path) -> None:
    ended = run_limited(tmp_path, "run", "--sample", "--limit", "100", "--swap-file", "swap")
    assert ended.returncode == 2
    assert "swap file swap: no room for 409600 bytes" in ended.stderr and "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_trace_without_room_is_named_and_the_result_is_kept(tmp_path: Path) -> None:
    ended = run_limited(
        tmp_path, "run", "--sample", "--limit", "300", "--store", "zram", "--trace", "t.npy", "--json", "r.json"
    )
    assert (ended.returncode, ended.stderr) == (2, "kcompressd: error: t.npy: cannot be written: File too large\n")
    assert Result.load(tmp_path / "r.json").complete and "300 pages" in ended.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    """Root could: a named pipe stands for /dev/null here."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    result = Lab(trace=True).run(PAGES[:40])
    with pytest.raises(ValueError, match="pipe: cannot be written: it is not a regular file"):
        result.trace.save(pipe)
    with pytest.raises(ValueError, match="pipe: cannot be written: it is not a regular file"):
        PAGES.save(pipe)
    with pytest.raises(ValueError, match="pipe: cannot be written: it is not a regular file"):
        chrome_trace.save(result.trace, pipe)
    with pytest.raises(ValueError, match="pipe: is not a file"):
        Lab(swap_file=pipe).run(PAGES)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    result.save(pipe)
    assert os.read(reader, 1 << 16).decode() == result.to_json()
    os.close(reader)
    assert pipe.is_fifo()


def test_a_run_that_is_killed_leaves_no_swap_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no name to it while the run lasts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left: list[int] = []
    for swap_file in (None, tmp_path / "swap"):
        result = Lab(swap_file=swap_file).run(PAGES, progress=lambda *now: left.append(len(list(tmp_path.iterdir()))))
        assert result.complete and not any(left)
    assert left


def test_a_swap_file_in_a_full_or_missing_place_is_an_error_of_the_device(tmp_path: Path) -> None:
    with pytest.raises(_core.DeviceError, match="none/swap: No such file or directory"):
        Lab(swap_file=tmp_path / "none/swap").run(PAGES)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(ValueError, match="taken: is not empty and would be overwritten"):
        Lab(swap_file=taken).run(PAGES)
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"threads": 257}, "threads = 257: at most 256"),
        ({"threads": 70_000}, "threads = 70000: not from 0 to 65535"),
        ({"threads": -1}, "threads = -1: not from 0 to 65535"),
        ({"depth": 1 << 40}, f"depth = {1 << 40}: not from 0 to {2**32 - 1}"),
        ({"kernel": (1 << 40, 1)}, "kernel = .*: not from 0 to 65535"),
        ({"app_threads": 0}, "app_threads: 0 is not between 1 and 256"),
        ({"app_threads": 257}, "app_threads: 257 is not between 1 and 256"),
        ({"app_threads": 70_000}, "app_threads: 70000 is not between 1 and 256"),
        ({"kswapd": 0}, "kswapd: 0 is not between 1 and 255"),
        ({"kswapd": 300}, "kswapd: 300 is not between 1 and 255"),
        ({"seed": -1}, "seed: -1 is not a whole number from 0 to 18446744073709551615"),
        ({"chain_size": 3}, "chain"),
        ({"fault": "sometimes"}, "fault 'sometimes': is not one of in-order, shuffled, none"),
        ({"store": "swap"}, "store 'swap': is not one of zswap, zram"),
        ({"compressor": "brotli"}, 'unknown compressor "brotli"'),
        ({"pool_limit": "lots"}, "pool limit: 'lots' is no size"),
        ({"memcg_of": [0]}, "memcg_of: 1 entries for 384 pages"),
        ({"memcg_of": [7] * 384}, "memcg_of: group 7 of 1"),
        ({"memcgs": [Memcg("a", parent="b")]}, 'memcg "a": no parent "b" before it'),
        ({"accept_threshold_percent": 101}, "accept_threshold_percent: 101 is not between 0 and 100"),
        ({"accept_threshold_percent": 2.5}, "accept_threshold_percent: 2.5 is not a whole number$"),
        ({"app_threads": "x"}, "app_threads: 'x' is not a whole number$"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_settings_that_mean_nothing_are_refused_by_name(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Lab(**more).run(PAGES)


def test_file_too_large_is_what_the_limit_says() -> None:
    """What `run_limited` relies on."""
    assert os.strerror(errno.EFBIG) == "File too large"
