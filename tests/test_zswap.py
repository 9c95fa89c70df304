"""`kcompressd.Zswap`: what a script sees of the store, and random sequences against a small model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kcompressd import CodecError, InputError, Lab, Memcg, Pages, Zswap, ZswapError

PAGE = 4096
SLOTS = 32


def noise(seed: int) -> bytes:
    """A page that no compressor makes smaller."""
    return np.random.default_rng(seed).bytes(PAGE)


def text(seed: int) -> bytes:
    """A page that compresses to an eighth or so."""
    words = np.random.default_rng(seed).integers(0, 256, (PAGE // 32, 4), dtype=np.uint8)
    return np.repeat(words, 8).tobytes()


def test_a_full_pool_refuses_until_it_has_drained() -> None:
    zswap = Zswap(ram=10 * PAGE, max_pool_percent=50, accept_threshold_percent=40, kernel=(6, 18))
    assert [zswap.store(slot, noise(slot)) for slot in range(6)] == ["pool"] * 5 + ["device"]
    assert zswap.debugfs["pool_limit_hit"] == 1
    zswap.invalidate(0, 2)
    assert zswap.store(8, noise(8)) == "device", "3 of 5 pages, above 2"
    zswap.invalidate(2)
    assert zswap.store(9, noise(9)) == "pool"


def test_a_worker_s_run_gives_second_chances_and_stops_at_the_threshold() -> None:
    zswap = Zswap(ram=10 * PAGE, max_pool_percent=50, accept_threshold_percent=40, kernel=(6, 18))
    assert not zswap.run_shrink_worker(), "nothing was refused"
    for slot in range(6):
        zswap.store(slot, noise(slot))
    assert zswap.run_shrink_worker()
    assert (zswap.lru("/"), zswap.on_device) == ([3, 4], [0, 1, 2, 5]), "5 chances, then the oldest 3; 5 was refused"
    assert (zswap.debugfs["written_back_pages"], zswap.vmstat["zswpwb"], zswap.vmstat["pswpout"]) == (3, 3, 4)
    back = [zswap.load(slot) for slot in range(6)]
    assert [page.tobytes() for page in back if page is not None] == [noise(slot) for slot in range(6)]


def test_a_compressor_is_changed_while_its_pool_drains() -> None:
    zswap = Zswap()
    zswap.store(0, text(0))
    zswap.compressor = "zstd"
    zswap.store(1, text(1))
    assert [(pool.compressor, pool.references, pool.current) for pool in zswap.pools] == [
        ("lz4", 1, False),
        ("zstd", 2, True),
    ]
    page = zswap.load(0)
    assert page is not None and page.tobytes() == text(0)
    assert [pool.compressor for pool in zswap.pools] == ["zstd"], "gone with its last entry"
    with pytest.raises(CodecError, match="unknown compressor"):
        zswap.compressor = "zip"


@pytest.mark.parametrize(
    ("kernel", "writeback", "stored", "counter"),
    [
        ((6, 12), True, "device", "reject_compress_fail"),
        ((6, 12), False, "activated", "reject_compress_fail"),
        ((6, 18), True, "pool", "stored_incompressible_pages"),
        ((6, 18), False, "activated", "reject_compress_fail"),
    ],
)
def test_incompressible_pages(kernel: tuple[int, int], writeback: bool, stored: str, counter: str) -> None:
    zswap = Zswap(kernel=kernel, memcgs=[Memcg("a", writeback=writeback), Memcg("b", parent="a")])
    assert zswap.store(0, noise(0), memcg="b") == stored
    assert zswap.debugfs[counter] == 1


def test_limits_and_charges_go_up_the_tree() -> None:
    zswap = Zswap(memcgs=[Memcg("a", zswap_max=2 * PAGE), Memcg("b", parent="a"), Memcg("off", zswap_max=0)])
    assert zswap.store(0, text(0), memcg="off") == "device"
    for slot in range(24):
        zswap.store(slot, text(slot), memcg="b")
    assert zswap.memcg("a").current == zswap.memcg("b").current >= 2 * PAGE > zswap.memcg("b").current - PAGE
    assert zswap.debugfs["written_back_pages"] > 0, "at the limit an entry of the group makes room"
    charged, entries = zswap.memcg("b").current, zswap.lru("b")
    zswap.remove_memcg("b")
    assert (zswap.memcg("a").current, zswap.lru("a")) == (charged, entries)


def test_a_large_folio_is_stored_whole_or_not_at_all() -> None:
    zswap = Zswap(slots=8, kernel=(6, 12))
    assert zswap.store(0, b"".join([text(0), text(1), noise(2), text(3)])) == "device"
    assert (zswap.debugfs["stored_pages"], zswap.on_device) == (0, [0, 1, 2, 3])
    assert zswap.store(0, np.frombuffer(text(0) + text(1), dtype=np.uint8).reshape(2, PAGE)) == "pool"
    assert (zswap.vmstat["zswpout"], zswap.on_device) == (2, [2, 3])
    assert zswap.store(4, Pages.sample()[:2]) in ("pool", "device")


def test_a_page_that_is_stored_again_does_not_make_room_for_itself() -> None:
    zswap = Zswap(memcgs=[Memcg("a")])
    assert zswap.store(0, text(0), memcg="a") == "pool"
    assert zswap.shrink_memcg("a") == "kept", "its second chance"
    zswap.set_zswap_max("a", 0)
    assert zswap.store(0, text(1), memcg="a") == "device", "its old copy is all that its group has"
    assert (zswap.on_device, zswap.vmstat["zswpwb"], zswap.lru("a")) == ([0], 0, [])


def test_the_dynamic_shrinker_protects_what_came_back_from_the_device() -> None:
    zswap = Zswap(memcgs=[Memcg("a")], kernel=(6, 18), shrinker_enabled=True)
    for slot in range(8):
        zswap.store(slot, noise(slot), memcg="a")
    assert zswap.shrinker_scan("a", 8) is None, "every entry had its second chance"
    assert zswap.shrinker_scan("a", 4) == 4
    zswap.load(0)
    assert (zswap.shrinker_count("a"), zswap.shrinker_count("a")) == (3, 4)
    zswap.set_in_swapcache(zswap.lru("a")[0], there=True)
    assert zswap.shrinker_scan("a", 4) is None
    zswap.shrinker_enabled = False
    assert zswap.shrinker_count("a") == 0


def test_what_cannot_be_is_named() -> None:
    zswap = Zswap(slots=4, memcgs=[Memcg("a"), Memcg("b", parent="a")])
    for wrong, message in [
        (lambda: zswap.store(3, text(0) * 2), "slots 3 to 4: there are 4"),
        (lambda: zswap.store(0, b"short"), "5 bytes are no page of 4096"),
        (lambda: zswap.store(0, b""), "0 bytes are no page of 4096"),
        (lambda: zswap.store(0, text(0), node=1), "node 1: there are 1"),
        (lambda: zswap.remove_memcg("a"), 'memcg "a" cannot be removed: it has children'),
        (lambda: zswap.set_zswap_max("/", 1), "the root has no memory.zswap.max"),
    ]:
        with pytest.raises(ZswapError, match=message):
            wrong()
    with pytest.raises(InputError, match="'c': is not one of /, a, b"):
        zswap.store(0, text(0), memcg="c")
    with pytest.raises(ValueError, match="max_pool_percent: 101"):
        zswap.max_pool_percent = 101
    with pytest.raises(InputError, match="ram: 'much' is no size"):
        Zswap(ram="much")
    with pytest.raises(ValueError, match=r"the root has no zswap_max"):
        Lab(memcgs=[Memcg("/", zswap_max=1)]).run(Pages.sample()[:1])


class Model(RuleBasedStateMachine):
    """Where every slot's contents are, and that they come back."""

    @initialize(kernel=st.sampled_from([(6, 12), (6, 18)]), ram=st.integers(4, 40))
    def make(self, kernel: tuple[int, int], ram: int) -> None:
        self.groups = {"/": "", "a": "/", "b": "a", "c": "/"}
        memcgs = [Memcg(name, parent) for name, parent in self.groups.items() if parent]
        self.zswap = Zswap(ram=ram * PAGE, max_pool_percent=50, slots=SLOTS, nodes=2, kernel=kernel, memcgs=memcgs)
        self.zswap.shrinker_enabled = True
        self.contents: dict[int, bytes] = {}

    @rule(data=st.data(), slot=st.integers(0, SLOTS - 4), node=st.integers(0, 1))
    def store(self, data: st.DataObject, slot: int, node: int) -> None:
        kinds = data.draw(st.lists(st.sampled_from([text, text, noise]), min_size=1, max_size=4))
        pages = [kind(data.draw(st.integers(0, 99))) for kind in kinds]
        group = data.draw(st.sampled_from(sorted(self.groups)))
        where = self.zswap.store(slot, b"".join(pages), memcg=group, node=node)
        slots = range(slot, slot + len(pages))
        for each, page in zip(slots, pages, strict=True):
            self.contents.pop(each, None)
            if where != "activated":
                self.contents[each] = page
        assert (where == "pool") == (not set(slots) & set(self.zswap.on_device) and slot in self.stored())

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.contents)))
        pooled = slot in self.stored()
        page = self.zswap.load(slot)
        assert page is not None
        assert page.tobytes() == self.contents[slot]
        if pooled:
            del self.contents[slot]

    @rule(slot=st.integers(0, SLOTS - 2), slots=st.integers(1, 2))
    def invalidate(self, slot: int, slots: int) -> None:
        self.zswap.invalidate(slot, slots)
        for each in range(slot, slot + slots):
            self.contents.pop(each, None)

    @rule(name=st.sampled_from(["lz4", "zstd", "lzo-rle", "deflate:1"]))
    def switch(self, name: str) -> None:
        self.zswap.compressor = name

    @rule()
    def worker(self) -> None:
        self.zswap.run_shrink_worker()

    @rule(data=st.data(), entries=st.integers(0, 9), node=st.integers(0, 1))
    def shrink(self, data: st.DataObject, entries: int, node: int) -> None:
        group = data.draw(st.sampled_from(sorted(self.groups)))
        self.zswap.shrink_memcg(group)
        self.zswap.shrinker_scan(group, min(entries, self.zswap.shrinker_count(group, node)), node)

    @rule(data=st.data(), limit=st.none() | st.integers(0, 5 * PAGE), writeback=st.booleans())
    def knobs(self, data: st.DataObject, limit: int | None, writeback: bool) -> None:
        group = data.draw(st.sampled_from(sorted(set(self.groups) - {"/"}) or ["/"]))
        if group != "/":
            self.zswap.set_zswap_max(group, limit)
        self.zswap.set_writeback(group, writeback)

    @rule(group=st.sampled_from(["b", "c"]))
    def remove(self, group: str) -> None:
        if group in self.groups:
            self.zswap.remove_memcg(group)
            del self.groups[group]

    def stored(self) -> set[int]:
        return {slot for group in self.groups for node in (0, 1) for slot in self.zswap.lru(group, node)}

    @invariant()
    def adds_up(self) -> None:
        debugfs, vmstat, device = self.zswap.debugfs, self.zswap.vmstat, set(self.zswap.on_device)
        assert self.stored() | device == set(self.contents)
        assert self.stored() & device == set()
        assert debugfs["stored_pages"] == len(self.stored())
        assert debugfs["written_back_pages"] == vmstat["zswpwb"]
        assert debugfs["pool_total_size"] == PAGE * sum(pool.pages for pool in self.zswap.pools)
        assert sum(pool.references for pool in self.zswap.pools) == debugfs["stored_pages"] + 1
        children = [self.zswap.memcg(group) for group, parent in self.groups.items() if parent == "/"]
        assert self.zswap.memcg("/").zswapped >= sum(child.zswapped for child in children)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_a_pool_without_memory_refuses() -> None:
    zswap = Zswap()
    zswap.set_free_pages(0)
    assert zswap.store(0, Pages.sample()[0]) == "device"
    assert (zswap.debugfs["reject_alloc_fail"], zswap.on_device) == (1, [0])
    zswap.set_free_pages(100)
    assert zswap.store(1, Pages.sample()[0]) == "pool"
