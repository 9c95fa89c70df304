"""Page files and `Pages`: round trips, refusals by name, and the index against its schema."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import resource
import stat
import subprocess
import sys
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd.errors import IndexFileError, InputError, NotWholePagesError, PageFileError
from kcompressd.page_index import KINDS, PAGE_SIZES, IndexDocument, Mapping, PageIndex, Skipped, Source
from kcompressd.pages import Pages

SCHEMA = Path(__file__).parents[1] / "docs" / "schema" / "pages-index.schema.json"


def some_pages(count: int, page_size: int = 4096, seed: int = 1) -> Pages:
    """Return `count` pages that differ from each other, with an index of up to three mappings."""
    array = np.random.default_rng(seed).integers(0, 256, (count, page_size), dtype=np.uint8)
    cuts = sorted({0, count // 3, count // 2, count})
    mappings = tuple(
        Mapping(0x1000 * a, 0x1000 * b, "rw-p", "[anon: ü]", KINDS[i], a, b - a)
        for i, (a, b) in enumerate(pairwise(cuts))
    )
    source = Source(7, "cömm", ("a", "b c"), "6.18", "2026-01-02T03:04:05+00:00")
    return Pages(array, PageIndex(source, mappings, False, "because", Skipped(swapped=3), ("note",)))


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


# Round trips


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    page_size=st.sampled_from(PAGE_SIZES),
    suffix=st.sampled_from([".pages", ".pages.zst", ".zst", ""]),
    seed=st.integers(0, 2**32 - 1),
)
def test_save_and_load_return_the_same_pages(
    tmp_path_factory: pytest.TempPathFactory, count: int, page_size: int, suffix: str, seed: int
) -> None:
    """Contents, index and digest survive, whatever the page size and packing; both files are the owner's
    alone.
    """
    pages = some_pages(count, page_size, seed)
    path = pages.save(tmp_path_factory.mktemp("p") / f"file{suffix}")
    back = Pages.from_file(path)
    assert back == pages and back.index == pages.index and back.digest == pages.digest
    assert back.digest == hashlib.sha256(pages.array.tobytes()).hexdigest()
    assert mode(path) == mode(path.with_name(path.name + ".index.json")) == 0o600
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".index.json"]


def test_raw_file_is_the_bytes_and_is_mapped(tmp_path: Path) -> None:
    """A raw page file holds the pages and nothing else, and is not copied into memory when opened."""
    pages = some_pages(5)
    path = pages.save(tmp_path / "raw")
    assert path.read_bytes() == pages.array.tobytes()
    array: Any = Pages.from_file(path).array
    while isinstance(array.base, np.ndarray):
        array = array.base
    assert type(getattr(array.base, "obj", array.base)).__name__ == "mmap"


def test_zst_is_read_by_others_and_from_others(tmp_path: Path) -> None:
    """Our frames decode elsewhere; several frames, skippable frames and frames without a size decode here."""
    pages = some_pages(300)
    raw = pages.array.tobytes()
    saved = pages.save(tmp_path / "a.zst")
    assert zstandard.ZstdDecompressor().decompress(saved.read_bytes()) == raw
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    foreign = tmp_path / "b.zst"
    foreign.write_bytes(unsized.compress(raw[:5000]) + skippable + zstandard.compress(raw[5000:], 1))
    assert Pages.from_file(foreign) == pages


def test_saving_over_its_own_mapped_file_keeps_both(tmp_path: Path) -> None:
    """A mapped set stays intact when its file is replaced, and the replacement is complete."""
    path = some_pages(9).save(tmp_path / "f")
    mapped = Pages.from_file(path)
    mapped[::-1].save(path)
    assert mapped == some_pages(9) and Pages.from_file(path) == some_pages(9)[::-1]


def test_a_stale_index_goes_when_saving_without_one(tmp_path: Path) -> None:
    """Otherwise the old index would disagree with the new pages."""
    path = some_pages(4).save(tmp_path / "f.zst")
    some_pages(6).save(path, index=False)
    assert os.listdir(tmp_path) == ["f.zst"]
    assert len(Pages.from_file(path)) == 6 and Pages.from_file(path).index == PageIndex()


def test_a_link_to_a_page_file_has_its_index(tmp_path: Path) -> None:
    index = PageIndex(source=Source(pid=7, comm="linked"))
    Pages(np.ones((3, 4096), dtype=np.uint8), index).save(tmp_path / "real.pages")
    (tmp_path / "link.pages").symlink_to("real.pages")
    assert Pages.from_file(tmp_path / "link.pages").index.command == "linked"


@pytest.mark.parametrize("name", ["f", "f.zst"])
def test_a_full_disk_is_called_one(tmp_path: Path, name: str) -> None:
    """A zstd frame that cannot be written to its end has no error of its own."""
    noise = np.random.default_rng(1).integers(0, 256, (1024, 4096), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
    try:
        with pytest.raises(PageFileError, match=rf"{name}: cannot be written: File too large"):
            Pages.from_array(noise).save(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write error names the path, leaves the old contents and no temporary file."""
    path = some_pages(4).save(tmp_path / "f")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PageFileError, match=r"f: cannot be written: No space left"):
        some_pages(8).save(path)
    monkeypatch.undo()
    assert Pages.from_file(path) == some_pages(4) and len(os.listdir(tmp_path)) == 2


# Refusals


@pytest.mark.parametrize("over", [1, 4095])
@pytest.mark.parametrize("name", ["odd.bin", "odd.zst"])
def test_partial_page_is_refused_by_name_and_size(tmp_path: Path, name: str, over: int) -> None:
    """The message has the file, its size, the rest, and the command that pads it."""
    path, size = tmp_path / name, 2 * 4096 + over
    raw = bytes(size)
    path.write_bytes(zstandard.compress(raw) if name.endswith("zst") else raw)
    with pytest.raises(NotWholePagesError) as caught:
        Pages.from_file(path)
    text = str(caught.value)
    assert all(part in text for part in (str(path), f"{size} bytes", f"2 pages and {over} bytes", "truncate -s 12288"))


def test_files_that_are_no_page_files_are_refused(tmp_path: Path) -> None:
    """Each refusal names the path and its own reason."""
    fifo, empty, junk, packed = (tmp_path / name for name in ("fifo", "empty", "junk.zst", "packed"))
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(fifo)
    empty.touch()
    junk.write_bytes(b"this is not zstd at all" * 400)
    packed.write_bytes(zstandard.compress(some_pages(3).array.tobytes()))
    (tmp_path / "f.stats.npz").write_bytes(b"PK" + bytes(4094))
    cases = {
        tmp_path / "missing": "no such file",
        folder: "is a directory without page files",
        fifo: "not a regular file",
        empty: r"is empty \(0 bytes\)",
        junk: "is not valid zstd",
        packed: "it looks like zstd: rename it to",
        tmp_path / "f.stats.npz": "sizes and times of pages and no contents",
        empty / "below": "cannot be read: Not a directory",
    }
    for path, reason in cases.items():
        with pytest.raises(PageFileError, match=reason) as caught:
            Pages.from_file(path)
        assert caught.value.subject == str(path)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("lost", [1, 4, 5, 1000, -3])
def test_truncated_zst_is_refused(tmp_path: Path, lost: int) -> None:
    """Whatever is missing, checksum, a block or all but the first bytes, nothing is returned as if it were
    whole.
    """
    path = some_pages(2).save(tmp_path / "t.zst", index=False)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(PageFileError, match="is truncated"):
        Pages.from_file(path)


def test_damaged_zst_is_refused(tmp_path: Path) -> None:
    """The frame's checksum catches a flipped bit in the contents."""
    path = some_pages(2).save(tmp_path / "t.zst", index=False)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(PageFileError, match="is not valid zstd"):
        Pages.from_file(path)


def test_empty_zst_and_empty_sets_are_refused(tmp_path: Path) -> None:
    """No pages is not a page file, in either direction."""
    (tmp_path / "e.zst").write_bytes(zstandard.compress(b""))
    with pytest.raises(PageFileError, match="holds no pages"):
        Pages.from_file(tmp_path / "e.zst")
    with pytest.raises(PageFileError, match="holds no pages"):
        some_pages(3)[:0].save(tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_index_that_disagrees_is_refused(tmp_path: Path) -> None:
    """Other contents, another count, also under another page size: each is named; `verify=False` trusts the digest."""
    path = some_pages(8).save(tmp_path / "f")
    index = tmp_path / "f.index.json"
    path.write_bytes(bytes(8 * 4096))
    with pytest.raises(IndexFileError, match="says digest"):
        Pages.from_file(path)
    assert len(Pages.from_file(path, verify=False)) == 8
    path.write_bytes(bytes(7 * 4096))
    with pytest.raises(IndexFileError, match="says pages 8, the contents have 7"):
        Pages.from_file(path, verify=False)
    path.write_bytes(bytes(8 * 4096))
    with pytest.raises(IndexFileError, match="says digest"):
        Pages.from_file(path, page_size=16384)
    for text in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        index.write_bytes(text)
        with pytest.raises(IndexFileError, match=r"f\.index\.json: is not a valid index"):
            Pages.from_file(path)


def test_arrays_of_the_wrong_shape_are_refused() -> None:
    """Page sizes, element types and partial pages, before anything is wrapped."""
    for array in (
        np.zeros((2, 4096), np.int8),
        np.zeros((2, 2, 4096), np.uint8),
        np.zeros((2, 100), np.uint8),
    ):
        with pytest.raises(InputError):
            Pages.from_array(array)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="page size 512"):
        Pages.from_bytes(bytes(512), page_size=512)
    with pytest.raises(NotWholePagesError):
        Pages.from_bytes(bytes(4097))


# Immutability and slicing


def test_pages_cannot_be_written_and_do_not_follow_the_caller() -> None:
    """The array refuses writes; the caller's later writes are not seen."""
    array = np.zeros((3, 4096), np.uint8)
    buffer = bytearray(4096)
    sets = [Pages.from_array(array), Pages.from_array(array.reshape(-1)), Pages.from_bytes(buffer)]
    array[:], buffer[:] = 1, bytes([1]) * 4096
    for pages in sets:
        assert not pages.array.any() and pages.array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            pages.array[0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            pages[0][0] = 1
    assert not pickle.loads(pickle.dumps(sets[0])).array.flags.writeable
    shared = Pages.from_array(array, copy=False)
    assert np.shares_memory(shared.array, array) and not shared.array.flags.writeable and array.flags.writeable


@settings(deadline=None)
@given(data=st.data(), count=st.integers(1, 30))
def test_slices_carry_their_part_of_the_index(data: st.DataObject, count: int) -> None:
    """For any slice or positions, each page keeps the kind that it had, and the index still fits the
    contents.
    """
    pages = some_pages(count)
    kinds = kind_by_page(pages)
    key = data.draw(
        st.slices(count)
        | st.lists(st.integers(-count, count - 1), max_size=40).map(lambda x: np.array(x, dtype=np.int64))
        | st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    )
    part = pages[key]
    assert np.array_equal(part.array, pages.array[key])
    assert kind_by_page(part) == [kinds[i] for i in np.arange(count)[key].tolist()]
    assert part.index.source == pages.index.source and part.index.complete is False


def kind_by_page(pages: Pages) -> list[str | None]:
    """Return each page's kind, from the mappings."""
    kinds: list[str | None] = [None] * len(pages)
    for mapping in pages.index.mappings:
        for page in range(mapping.first_page, mapping.first_page + mapping.pages):
            assert kinds[page] is None
            kinds[page] = mapping.kind
    return kinds


def test_equality_hash_and_texts() -> None:
    """Sets compare by contents; the texts name what matters and escape it."""
    one, other = some_pages(4), some_pages(4, seed=2)
    assert one == some_pages(4).with_index(PageIndex()) and one != other and one != "pages"
    assert hash(one) == hash(some_pages(4)) and len({one, some_pages(4), other}) == 2
    assert repr(one) == ("<Pages 4 of 4096 B = 0.0 MiB, memory, a b c (pid 7), anon 2, heap 1, stack 1, because>")
    named = one.with_index(PageIndex(Source(comm="<script>")))
    assert "&lt;script&gt;" in named._repr_html_() and "<script>" not in named._repr_html_()


# The index format


@cache
def validator() -> Any:
    """The published schema as a validator."""
    jsonschema = pytest.importorskip("jsonschema")

    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_written_index_matches_the_schema() -> None:
    """What we write, with everything in it and with nothing in it, and what the package brings."""
    sample = resources.files("kcompressd") / "data" / "sample.pages.zst.index.json"
    validator().validate(json.loads(sample.read_text()))
    for index in (some_pages(9).index, PageIndex()):
        document = IndexDocument(4096, 9, "0" * 64, index).to_json()
        validator().validate(document)
        assert IndexDocument.from_json(json.loads(json.dumps(document))).index == index


JUNK = st.sampled_from([None, True, -1, 0, 1, 2**70, 1.5, "", "anon", "rw-p", [], {}, [1], {"a": 1}])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_reader_and_schema_agree(data: st.DataObject) -> None:
    """Damage one place of a valid document: our reader refuses exactly what the schema refuses."""
    document = IndexDocument(4096, 9, "0" * 64, some_pages(9).index).to_json()
    damaged = damage(data, document)
    try:
        IndexDocument.from_json(damaged)
        ours = True
    except ValueError as error:
        ours = "mappings[" in str(error) and ("begins at page" in str(error) or "ends at page" in str(error))
    assert ours == validator().is_valid(damaged)


def damage(data: st.DataObject, document: dict[str, Any]) -> dict[str, Any]:
    """Replace, remove or add one value somewhere in the document."""
    root = copy.deepcopy(document)
    at: Any = root
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            at[key] = data.draw(JUNK)
        elif action == "remove":
            del at[key]
        elif isinstance(at, dict):
            at["surprise"] = data.draw(JUNK)
        return root


def test_overlapping_mappings_are_refused() -> None:
    """What a schema cannot say: order and bounds."""
    a, b = Mapping(0, 1, "rw-p", "", "anon", 0, 2), Mapping(0, 1, "rw-p", "", "anon", 1, 2)
    for mappings, reason in (((a, b), "begins at page 1"), ((b,), "ends at page 3")):
        with pytest.raises(IndexFileError, match=reason):
            Pages(np.zeros((2, 4096), np.uint8), PageIndex(mappings=mappings))


def test_importing_is_light() -> None:
    """Neither rich, zstandard nor the asyncio of machines that are not used here is loaded before it is needed."""
    code = "import kcompressd.job, kcompressd.spawn, sys; print({'asyncio', 'rich', 'zstandard'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 4096)), np.zeros(4096, np.uint8), np.zeros((4, 4096), np.uint8)[::2]],
    ids=["wider", "flat", "with gaps"],
)
def test_what_is_wrapped_is_bytes_one_after_the_other(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="memory: not a C-contiguous uint8 array of shape"):
        Pages(array)


def test_joined_sets_keep_what_all_sources_share() -> None:
    sources = [Source(pid=1, comm="a"), Source(pid=1, comm="b")]
    parts = [Pages.sample()[:1].with_index(PageIndex(source=source)) for source in sources]
    for order in (parts, parts[::-1]):
        assert Pages.concatenate(order).index.source == Source(pid=1)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".lz4", ".bz2"])
def test_no_file_is_written_that_its_name_makes_unreadable(tmp_path: Path, suffix: str) -> None:
    """`from_file` takes such a name for what another program compressed."""
    with pytest.raises(PageFileError, match=rf"not written as {suffix}; name it \.zst to compress it"):
        Pages.sample()[:2].save(tmp_path / f"p.pages{suffix}")
    assert list(tmp_path.iterdir()) == []
