"""Whole runs from Python: every preset, both stores, two codecs, one and two threads; and runs that end early."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import pytest

from kcompressd import Design, Lab, Pages, _core
from kcompressd.errors import LabError
from kcompressd.faults import Plant
from kcompressd.lifecycle import table
from kcompressd.memcg import Memcg

PAGES = Pages.sample()[::3]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compressor", ["lz4", "zstd"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
@pytest.mark.parametrize("design", _core.presets())
def test_every_page_comes_back_and_the_counters_add_up(design: str, store: str, compressor: str, threads: int) -> None:
    result = Lab(design=design, store=store, compressor=compressor, threads=threads).run(PAGES)
    assert result.complete, result.error
    assert (list(result.mismatched), result.lifecycle.violations) == ([], 0)
    assert result.check() == []


@pytest.mark.parametrize("design", ["sync", "april", "split", "unofficial"])
@pytest.mark.parametrize("store", ["zswap", "zram"])
def test_traces_are_lawful(design: str, store: str, tmp_path: Path) -> None:
    result = Lab(design=design, store=store, threads=2, trace=True).run(PAGES)
    validation = result.trace.validate()
    assert validation.ok, validation.first


def test_a_panic_keeps_the_partial_result_and_leaves_no_thread() -> None:
    before = len(os.listdir("/proc/self/task"))
    result = Lab(design="split", plant=Plant(panic_in="kcompressd0", after_pages=3)).run(PAGES)
    assert not result.complete
    assert result.error.kind == "panic"
    assert result.vmstat.pgscan_kswapd > 0
    assert len(os.listdir("/proc/self/task")) == before


def test_the_depth_is_what_the_watcher_returns() -> None:
    """From its first look at a finished page on nothing is queued any more."""
    seen = []

    def off(now: Mapping[str, Any]) -> dict[str, int] | None:
        seen.append(now)
        return {"depth": 0} if now["pages_done"] else None

    result = Lab(design="split", compressor="zstd:9").run(Pages.from_array(np.tile(PAGES.array, (8, 1))), watch=off)
    assert result.check() == [] and result.complete
    assert 0 < result.vmstat.kcompressd_queued < result.pages / 2 < result.vmstat.kcompressd_full
    assert seen[0]["phase"] == "reclaim" and seen[-1]["phase"] == "ended"


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"depth": 1000}, "queue depth 1000 is above the capacity 256"),
        ({"depth": -1}, "depth: -1 is less than 0"),
        ({"depth": 0.5}, "depth: 0.5 is not a whole number"),
        ({"threads": 2}, r"watch: returned {'threads': 2}; return {\"depth\": folios}, or None"),
        (3, "watch: returned 3"),
    ],
)
def test_what_a_watcher_cannot_set_ends_the_run(asked: Any, refusal: str) -> None:
    before = len(os.listdir("/proc/self/task"))
    with pytest.raises(ValueError, match=refusal) as raised:
        Lab(compressor="zstd:19").run(PAGES, watch=lambda now: asked)
    assert len(os.listdir("/proc/self/task")) == before, raised


@pytest.mark.parametrize("on_full", ["wait", "sync_head"])
def test_a_watcher_switches_a_queue_off_whatever_the_design_does_when_it_is_full(on_full: str) -> None:
    design = dataclasses.replace(Design.preset("april", "zswap"), on_full=on_full)
    result = Lab(design=design, compressor="zstd:19").run(PAGES, watch=lambda now: {"depth": 0})
    assert result.complete and result.check() == []
    assert result.vmstat.kcompressd_queued < result.pages


def test_a_seed_that_shuffles_nothing_is_said() -> None:
    said = {fault: Lab(fault=fault, seed=3).run(PAGES[:9]).notes for fault in ("in-order", "shuffled")}
    assert any("seed not used" in note for note in said["in-order"])
    assert not any("seed" in note for note in said["shuffled"])


def test_an_older_kernel_than_those_modelled_is_said() -> None:
    for kernel, said in (((5, 4), 1), ((6, 12), 0), ((6, 18), 0)):
        assert sum("no kernel before 6.12" in note for note in Lab(kernel=kernel).run(PAGES[:9]).notes) == said


def test_blocks_and_the_lz4_package_read_each_other() -> None:
    for page in PAGES.array[::16]:
        block = _core.compress("lz4", page.tobytes())
        assert block is not None
        assert lz4.block.decompress(block, uncompressed_size=4096) == page.tobytes()
        theirs = lz4.block.compress(page.tobytes(), store_size=False)
        assert _core.decompress("lz4", theirs, 4096) == page.tobytes()


@pytest.mark.parametrize("names", [["/", "a", "b"], ["a", "/", "b"], ["a", "b", "/"]], ids=" ".join)
def test_a_trace_of_a_run_with_knobs_of_the_root_is_judged_by_them(names: list[str]) -> None:
    """Group a's pages are denied the device and outgrow its limit; the others' are not, wherever the root stands."""
    of = {"/": Memcg("/"), "a": Memcg("a", zswap_max=100_000, writeback=False), "b": Memcg("b", parent="a")}
    lab = Lab(memcgs=[of[name] for name in names], memcg_of=[page % 3 for page in range(len(PAGES))], trace=True)
    result = lab.run(PAGES)
    law = result.trace.meta["memcgs"]
    assert (law["parents"], law["writeback"]) == ([0, 0, 1], [1, 0, 1])
    assert result.config.memcg_pages == tuple(len(range(first, len(PAGES), 3)) for first in range(3))
    validation = result.trace.validate()
    assert validation.ok and result.exit_code == 0, validation.explain()
    assert result.vmstat.exit_activated + result.vmstat.pgactivate > 0


def test_a_group_that_comes_twice_is_refused() -> None:
    for name in ("/", "a"):
        with pytest.raises(LabError, match=f"memcg '{name}': comes twice"):
            Lab(memcgs=[Memcg(name), Memcg(name)]).run(PAGES)


def test_a_run_that_is_waited_for_can_be_asked_and_ended() -> None:
    """Who waits for the result holds nothing that another thread needs: not the run, not the interpreter."""
    many = np.tile(PAGES.array, (50, 1))
    lab = Lab(compressor="zstd:22", store="zram")
    run = _core.Run(many, lab.config(len(many), PAGES.page_size), table().as_dict())
    run.start()
    with ThreadPoolExecutor(1) as waiting:
        result = waiting.submit(run.result)
        phases = [run.progress()["phase"] for _ in range(3)]
        run.cancel()
        found = result.result()
    assert phases == ["reclaim"] * 3
    assert (found["complete"], found["error"]["kind"]) == (False, "cancelled")


NO_THREADS = """
import os, resource
from kcompressd import Lab, Pages

pages = Pages.sample()[:9]
Lab(store="zram").run(pages)  # loads what a run needs
if os.geteuid() == 0:  # who has no limit
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    Lab(store="zram").run(pages)
except OSError as error:
    print(error)
"""


def test_a_run_for_which_no_thread_can_be_made_is_refused() -> None:
    ran = subprocess.run([sys.executable, "-c", NO_THREADS], capture_output=True, text=True)
    assert (ran.stdout[:26], ran.stderr) == ("no thread could be made: R", "")
