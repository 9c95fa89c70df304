"""`kcompressd.Zram`: what a script sees of the device, and random sequences against a small model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kcompressd import CodecError, InputError, Pages, Zram, ZramError

PAGE = 4096
SLOTS = 16


def noise(seed: int) -> bytes:
    """A page that no compressor makes smaller."""
    return np.random.default_rng(seed).bytes(PAGE)


def text(seed: int) -> bytes:
    """A page of words: lz4 makes it smaller, zstd smaller still."""
    words = np.random.default_rng(seed).choice(
        np.array([b"zsmalloc", b"compress", b"watermrk", b"kswapd0:"]), PAGE // 8
    )
    return bytes(words.tobytes())


def test_the_statistics_have_the_kernels_names_and_order() -> None:
    zram = Zram()
    assert list(zram.mm_stat)[:5] == [
        "orig_data_size",
        "compr_data_size",
        "mem_used_total",
        "mem_limit",
        "mem_used_max",
    ]
    assert list(zram.mm_stat)[5:] == ["same_pages", "pages_compacted", "huge_pages", "huge_pages_since"]
    assert list(zram.io_stat) == ["failed_reads", "failed_writes", "invalid_io", "notify_free"]
    assert list(zram.bd_stat) == ["bd_count", "bd_reads", "bd_writes"]


def test_every_kind_of_page_comes_back_and_is_counted() -> None:
    zram = Zram()
    pages = [noise(1), text(2), bytes(PAGE), (7).to_bytes(8, "little") * 512]
    charged = [zram.store(slot, page) for slot, page in enumerate(pages)]
    assert (charged[0], charged[2:]) == (PAGE, [0, 0])
    stat = zram.mm_stat
    assert (stat["orig_data_size"], stat["compr_data_size"]) == (4 * PAGE, sum(charged))
    assert (stat["same_pages"], stat["huge_pages"]) == (2, 1)
    assert [zram.load(slot).tobytes() for slot in range(5)] == [*pages, bytes(PAGE)], "an empty slot is zeros"
    for slot in range(4):
        zram.free(slot)
    assert (zram.mm_stat["mem_used_total"], zram.io_stat["notify_free"], zram.holds(0)) == (0, 4, False)
    assert zram.store(0, np.frombuffer(pages[1], np.uint8)) == charged[1]
    assert zram.store(1, Pages.sample()[:1]) > 0


def test_the_limit_refuses_and_can_be_lifted() -> None:
    zram = Zram(mem_limit=2 * PAGE - 1)
    assert zram.mem_limit == 2 * PAGE, "whole pages"
    zram.store(0, noise(0))
    zram.store(1, noise(1))
    with pytest.raises(ZramError, match="no memory for slot 2"):
        zram.store(2, noise(2))
    assert (zram.io_stat["failed_writes"], zram.holds(2)) == (1, False)
    assert zram.mm_stat["mem_used_max"] == 3 * PAGE, "a refused write counts, too"
    zram.mem_limit = 0
    zram.store(2, noise(2))
    zram.free(0)
    zram.reset_mem_used_max()
    assert zram.mm_stat["mem_used_max"] == 2 * PAGE


def test_recompression_makes_pages_smaller_once() -> None:
    zram = Zram(compressor="lz4", secondary=["lz4hc", "zstd", "deflate"])
    assert zram.compressors == ["lz4", "lz4hc", "zstd", "deflate"]
    for slot in range(8):
        zram.store(slot, text(slot) if slot < 6 else noise(slot))
    before = zram.mm_stat["compr_data_size"]
    assert zram.recompress(huge=True) == 0, "no compressor shrinks noise"
    assert zram.recompress(priority=2, max_pages=2) == 2
    assert zram.recompress(priority=2) == 4
    assert zram.recompress(priority=2) == 0
    assert zram.mm_stat["compr_data_size"] < before
    assert [zram.load(slot).tobytes() for slot in range(8)] == [*map(text, range(6)), *map(noise, (6, 7))]
    for wrong, message in [
        ({"priority": 0}, "no secondary compressor of priority 0"),
        ({"threshold": PAGE}, "threshold 4096 is not below the huge class"),
    ]:
        with pytest.raises(ZramError, match=message):
            zram.recompress(**wrong)
    with pytest.raises(ZramError, match="no secondary compressor of priority 1"):
        Zram().recompress()


def test_idle_pages_go_to_the_backing_device_within_the_budget() -> None:
    zram = Zram(backing_pages=8)
    for slot in range(6):
        zram.store(slot, text(slot))
    zram.clock = 10
    zram.load(5)
    zram.mark_idle(age=5)
    zram.writeback_limit = 3
    with pytest.raises(ZramError, match=r"writeback_limit is reached \(3 pages were written back\)"):
        zram.writeback(idle=True)
    assert (zram.writeback_limit, zram.bd_stat) == (0, {"bd_count": 3, "bd_reads": 0, "bd_writes": 3})
    zram.writeback_limit = None
    assert zram.writeback(idle=True) == 2, "the one that was read stays"
    assert zram.mm_stat["orig_data_size"] == 6 * PAGE
    assert [zram.load(slot).tobytes() for slot in range(6)] == [text(slot) for slot in range(6)]
    assert zram.bd_stat["bd_reads"] == 5
    zram.free(0)
    assert zram.bd_stat["bd_count"] == 4


def test_huge_and_incompressible_pages_are_chosen_by_name() -> None:
    zram = Zram(secondary=["zstd"], backing_pages=3)
    for slot in range(4):
        zram.store(slot, noise(slot) if slot % 2 else text(slot))
    assert zram.writeback(incompressible=True) == 0, "nobody has tried yet"
    zram.recompress(huge=True)
    zram.mark_idle()
    assert zram.writeback(idle=True, incompressible=True) == 2
    with pytest.raises(ZramError, match=r"the backing device is full \(0 pages were written back\)"):
        zram.writeback(idle=True)
    with pytest.raises(ZramError, match="there is no backing device"):
        Zram().writeback(huge=True)


def test_compaction_frees_pages() -> None:
    zram = Zram()
    for slot in range(400):
        zram.store(slot, text(slot))
    for slot in range(0, 400, 3):
        zram.free(slot)
    freed = zram.compact()
    assert freed == zram.mm_stat["pages_compacted"] > 0
    assert all(zram.load(slot).tobytes() == text(slot) for slot in range(1, 400, 3))


def test_what_cannot_be_is_named() -> None:
    zram = Zram(slots=4)
    for wrong, message in [
        (lambda: zram.store(4, text(0)), "slot 4: there are 4"),
        (lambda: zram.load(9), "slot 9: there are 4"),
        (lambda: zram.store(0, b"short"), "5 bytes are no page of 4096"),
    ]:
        with pytest.raises(ZramError, match=message):
            wrong()
    with pytest.raises(CodecError, match="unknown compressor"):
        Zram(secondary=["zip"])
    with pytest.raises(ValueError, match="secondary: 5 compressors in all, 1 to 4 fit"):
        Zram(secondary=["zstd"] * 4)
    with pytest.raises(InputError, match="mem_limit: 'much' is no size"):
        Zram(mem_limit="much")
    assert "lz4" in repr(zram)


class Model(RuleBasedStateMachine):
    """What every slot holds, wherever it is, and what the counters must say of it."""

    slots = st.integers(0, SLOTS - 1)

    @initialize()
    def start(self) -> None:
        self.zram = Zram(compressor="lz4", secondary=["zstd"], backing_pages=5, slots=SLOTS)
        self.held: dict[int, bytes] = {}

    @rule(slot=slots, seed=st.integers(0, 9), kind=st.sampled_from([noise, text, lambda seed: bytes([seed]) * PAGE]))
    def store(self, slot: int, seed: int, kind: Any) -> None:
        self.held[slot] = kind(seed)
        self.zram.store(slot, self.held[slot])

    @rule(slot=slots)
    def load(self, slot: int) -> None:
        assert self.zram.load(slot).tobytes() == self.held.get(slot, bytes(PAGE))

    @rule(slot=slots)
    def free(self, slot: int) -> None:
        self.zram.free(slot)
        self.held.pop(slot, None)

    @rule(idle=st.booleans(), huge=st.booleans())
    def recompress(self, idle: bool, huge: bool) -> None:
        before = self.zram.mm_stat["compr_data_size"]
        smaller = self.zram.recompress(idle=idle, huge=huge)
        assert (self.zram.mm_stat["compr_data_size"] < before) == (smaller > 0)

    @rule(idle=st.booleans(), huge=st.booleans(), incompressible=st.booleans())
    def writeback(self, idle: bool, huge: bool, incompressible: bool) -> None:
        before = self.zram.bd_stat["bd_count"]
        try:
            written = self.zram.writeback(idle=idle, huge=huge, incompressible=incompressible)
        except ZramError as full:
            assert "the backing device is full" in str(full)
            assert self.zram.bd_stat["bd_count"] == 4, "all blocks but the first"
        else:
            assert self.zram.bd_stat["bd_count"] == before + written

    @rule()
    def mark_idle(self) -> None:
        self.zram.mark_idle()

    @rule()
    def compact(self) -> None:
        self.zram.compact()

    @invariant()
    def counted(self) -> None:
        stat = self.zram.mm_stat
        assert stat["orig_data_size"] == len(self.held) * PAGE
        assert stat["same_pages"] == sum(page == page[:8] * 512 for page in self.held.values())
        assert [slot for slot in range(SLOTS) if self.zram.holds(slot)] == sorted(self.held)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
