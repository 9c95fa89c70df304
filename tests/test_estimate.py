"""`estimate`: the lab's counters, and what becomes of bad and broken input (a kernel's own: test_fidelity.py)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Lab, PageStats
from kcompressd._core import CodecError
from kcompressd.errors import EstimateError, PageFileError, RunInterrupted
from kcompressd.estimate import Estimate, estimate
from kcompressd.page_stats import measure
from kcompressd.pages import Pages

COMPRESSORS = ("lz4", "lz4hc", "lzo", "lzo-rle", "zstd", "deflate", "842")


def some_pages(kinds: list[int], seed: int) -> Pages:
    """Pages of zeroes, of a word, and of ever more random bytes."""
    random = np.random.default_rng(seed)
    array = np.zeros((len(kinds), 4096), dtype=np.uint8)
    for page, kind in zip(array, kinds, strict=True):
        if kind == 1:
            page[:] = 7
        elif kind > 1:
            page[: kind * 512] = random.integers(0, 256 if kind % 2 else 16, kind * 512, dtype=np.uint8)
    return Pages.from_array(array)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=60),
    st.integers(0, 99),
    st.sampled_from(["lz4", "lzo-rle", "zstd:1"]),
    st.sampled_from([4, 8, 16]),
)
def test_a_run_of_the_lab_has_the_same_counters(kinds: list[int], seed: int, name: str, chain: int) -> None:
    pages = some_pages([*kinds, 5], seed)
    ran = Lab(design="sync", store="zram", compressor=name, chain_size=chain, fault="none").run(pages)
    assert ran.zram is not None
    got = estimate(pages, [name], threads=1, chain_size=chain)[name]
    zero = sum(kind == 0 for kind in kinds)  # the lab's swap path keeps pages of zeroes from its zram
    expected = dict(ran.zram.mm_stat)
    expected["orig_data_size"] += zero * 4096
    expected["same_pages"] += zero
    assert dict(got.mm_stat) == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 99))
def test_what_is_counted_adds_up(kinds: list[int], seed: int) -> None:
    found = estimate(some_pages(kinds, seed), "lz4,zstd", threads=2)
    for one in found.compressors:
        stat, zswap = one.mm_stat, one.zswap
        assert stat.orig_data_size == 4096 * len(kinds)
        assert stat.compr_data_size == one.charged.sum() <= stat.mem_used_total
        assert stat.same_pages == sum(kind < 2 for kind in kinds) == np.count_nonzero(one.charged == 0)
        assert sum(one.histogram) == len(kinds) - stat.same_pages == one.compress.page_ns.count
        assert one.compress.page_ns.count - one.decompress.page_ns.count == stat.huge_pages >= one.incompressible_pages
        assert zswap.stored_pages + zswap.zero_pages == len(kinds)
        assert zswap.stored_incompressible_pages == one.incompressible_pages


def test_a_capture_s_kinds_are_told_apart() -> None:
    sample = Pages.sample()
    found = estimate(sample, "lz4")
    kinds = found["lz4"].kinds
    assert {kind: of.pages for kind, of in kinds.items()} == sample.index.kinds
    for key in ("compr_data_size", "same_pages", "huge_pages"):
        assert sum(of[key] for of in kinds.values()) == found["lz4"].mm_stat[key]


def without_times(found: Estimate) -> list[dict[str, object]]:
    return [
        {key: value for key, value in one.to_dict().items() if key not in ("compress", "decompress")}
        for one in found.compressors
    ]


def test_stats_feed_an_estimate_to_equal_figures(tmp_path: Path) -> None:
    sample = Pages.sample()
    path = measure(sample, "lz4,zstd:1").save(tmp_path / "s.stats.npz")
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = PageStats.load(path)
    assert without_times(estimate(loaded)) == without_times(estimate(sample, "lz4,zstd:1"))
    assert estimate(loaded).to_dict() == estimate(PageStats.load(path)).to_dict()
    assert loaded.index == PageStats.load(path).index
    content = path.read_bytes()
    assert not any(page.tobytes()[:64] in content for page in sample if page[:64].any())


def test_stats_lack_what_was_not_measured(tmp_path: Path) -> None:
    loaded = PageStats.load(measure(Pages.sample()[:8], "lz4,zstd:1").save(tmp_path / "s.stats.npz"))
    with pytest.raises(EstimateError, match="zstd: was not measured; these stats have lz4, zstd:1"):
        estimate(loaded, "zstd")


def test_broken_stats_are_refused_by_name(tmp_path: Path) -> None:
    good = measure(Pages.sample()[:8], "lz4").save(tmp_path / "good.stats.npz")
    arrays = dict(np.load(good))
    bad = tmp_path / "bad.stats.npz"
    for name, value in [
        ("size", arrays["size"][:, 1:]),
        ("same", arrays["same"].astype(np.int64)),
        ("meta", np.frombuffer(b'{"format": "other", "version": 1}', np.uint8)),
        ("meta", np.frombuffer(b"[1]", np.uint8)),
        ("kind", np.array([None] * 8)),
    ]:
        with bad.open("wb") as file:
            np.savez(file, **{**arrays, name: value}, allow_pickle=True)
        with pytest.raises(PageFileError, match=r"bad\.stats\.npz: is no file of stats"):
            PageStats.load(bad)
    bad.write_bytes(b"X" + good.read_bytes()[1:])
    with pytest.raises(PageFileError, match="it is no archive of arrays"):
        PageStats.load(bad)
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(PageFileError, match="is no file of stats"):
        PageStats.load(bad)


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return measure(Pages.sample()[:8], "lz4").save(tmp_path_factory.mktemp("stats") / "s.stats.npz").read_bytes()


def test_an_archive_of_what_is_no_array_is_refused(stats: bytes, tmp_path: Path) -> None:
    bad = tmp_path / "bad.stats.npz"
    with zipfile.ZipFile(io.BytesIO(stats)) as good, zipfile.ZipFile(bad, "w") as written:
        for name in good.namelist():
            written.writestr(name, good.read(name)[1:])
    with pytest.raises(PageFileError, match="is damaged"):
        PageStats.load(bad)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_archive_is_refused_without_what_its_reader_says(stats: bytes, data: st.DataObject) -> None:
    """Its bytes are changed anywhere: in the archive's tables, in compressed data, in an array's head."""
    damaged = bytearray(stats)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(stats) - 1), st.integers(0, 255)), max_size=4)):
        damaged[at] = byte
    with tempfile.NamedTemporaryFile(suffix=".stats.npz") as file:
        file.write(damaged[: data.draw(st.just(len(stats)) | st.integers(0, len(stats)))])
        file.flush()
        try:
            PageStats.load(file.name)
        except PageFileError as error:
            assert "pickle" not in str(error)


def test_an_archive_that_says_it_is_encrypted_is_refused(stats: bytes, tmp_path: Path) -> None:
    flags = stats.index(b"PK\x01\x02") + 8
    path = tmp_path / "a.stats.npz"
    path.write_bytes(stats[:flags] + b"\x01" + stats[flags + 1 :])
    with pytest.raises(PageFileError, match="is no file of stats: it is damaged"):
        PageStats.load(path)


def test_ctrl_c_keeps_the_pages_that_were_done() -> None:
    sample = Pages.sample()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as raised:
        estimate(sample, "zstd:9", threads=1, progress=interrupt)
    found = raised.value.result
    assert isinstance(found, Estimate)
    assert not found.complete and found.exit_code == 3 and found.pages < len(sample)
    assert f"interrupted after {found.pages} of 1536 pages" in str(found)
    if found.pages:
        assert found["zstd:9"].mm_stat == estimate(sample[: found.pages], "zstd:9")["zstd:9"].mm_stat


def test_an_error_of_the_callback_comes_back() -> None:
    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        estimate(Pages.sample(), "lz4", progress=fail)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lz5", 'unknown compressor "lz5"; known: lz4, lz4hc, lzo, lzo-rle, zstd, deflate, 842'),
        ("zstd:99", 'level "99" of zstd is not a whole number from -131072 to 22'),
        ("lzo:2", 'compressor lzo has no levels, "2" was given'),
        ("lz4,,zstd", "a compressor's name is missing"),
    ],
)
def test_compressors_that_do_not_exist_are_named(given: str, said: str) -> None:
    with pytest.raises(CodecError, match=said.replace("(", r"\(")):
        estimate(Pages.sample()[:1], given)


def test_senseless_requests_are_refused() -> None:
    with pytest.raises(EstimateError, match="chain size: 3"):
        estimate(Pages.sample()[:1], chain_size=3)
    with pytest.raises(EstimateError, match="on 0 threads"):
        estimate(Pages.sample()[:1], threads=0)


def test_pages_of_one_word_need_no_memory() -> None:
    found = estimate(some_pages([0, 1, 0], 0), "zstd,lz4")
    assert found["zstd"].ratio is None and found["zstd"].zswap.zero_pages == 2
    assert "every page is one repeated word" in str(found)


@pytest.mark.parametrize("page_size", [16384, 65536])
def test_other_page_sizes_work(page_size: int) -> None:
    text = np.frombuffer((b"kcompressd " * 20000)[: 2 * page_size], dtype=np.uint8)
    found = estimate(Pages.from_array(text.reshape(2, page_size)), COMPRESSORS)
    assert all(one.mm_stat.compr_data_size < page_size for one in found.compressors)


def test_a_compressor_that_saves_nothing_worth_a_per_cent_is_not_held_out() -> None:
    """ "Saves another 0%, for 1.2 times the time" is no choice."""
    from types import SimpleNamespace

    from kcompressd.settings import _reason

    def made(text: str, used: int, page_ns: float) -> Any:
        stat = SimpleNamespace(mem_used_total=used, orig_data_size=4_000_000, compr_data_size=used)
        return SimpleNamespace(codec=SimpleNamespace(text=text), mm_stat=stat, page_ns=page_ns, ratio=4e6 / used)

    best = made("zstd:1", 1_000_000, 15_000.0)
    for used, is_said in ((996_000, False), (980_000, True)):
        found = SimpleNamespace(compressors=[best, made("zstd", used, 18_000.0)])
        assert ("zstd saves another 2%, for 1.2 times the time" in _reason(found, best)) is is_said  # type: ignore[arg-type]
        assert is_said or "saves" not in _reason(found, best)  # type: ignore[arg-type]
