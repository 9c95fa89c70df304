"""Whole runs from Python: every preset, both stores, two codecs, one and two threads; and runs that end early."""

from __future__ import annotations

import os
from pathlib import Path

import lz4.block
import pytest

from kcompressd import Lab, Pages, _core
from kcompressd.errors import LabError
from kcompressd.faults import Plant
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
