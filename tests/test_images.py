"""Memory images of other tools: cores of a live process and built ones, LiME, CRIU; damaged ones are named."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcompressd import Pages
from kcompressd.capture import capture
from kcompressd.errors import InputError, PageFileError
from kcompressd.page_index import KINDS
from kcompressd.page_stats import kinds_of

PAGE = 4096
RNG = np.random.default_rng(5)


def contents(pages: int) -> bytes:
    return RNG.integers(1, 255, pages * PAGE, dtype=np.uint8).tobytes()


def note(kind: int, body: bytes) -> bytes:
    return struct.pack("<III", 5, len(body), kind) + b"CORE\0\0\0\0" + body + bytes(-len(body) % 4)


def prpsinfo(pid: int, comm: bytes) -> bytes:
    return note(3, bytes(24) + struct.pack("<i", pid) + bytes(12) + comm.ljust(16, b"\0") + bytes(80))


def nt_file(files: list[tuple[int, int, str]]) -> bytes:
    table = b"".join(struct.pack("<QQQ", start, end, 0) for start, end, _ in files)
    return note(0x46494C45, struct.pack("<QQ", len(files), 1) + table + b"".join(f"{n}\0".encode() for *_, n in files))


def core(loads: list[tuple[int, int, int, bytes]], notes: bytes, *, xnum: bool = False) -> bytes:
    """An ELF core: (flags, virtual address, physical address, contents) of each segment."""
    count = len(loads) + 1
    shoff = 64 + 56 * count
    at = -(-(shoff + 64) // PAGE) * PAGE
    heads, bodies = [struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), 0, 4)], [notes.ljust(PAGE, b"\0")]
    at += PAGE
    for flags, vaddr, paddr, body in loads:
        heads.append(struct.pack("<IIQQQQQQ", 1, flags, at, vaddr, paddr, len(body), len(body), PAGE))
        bodies.append(body)
        at += len(body)
    said = 0xFFFF if xnum else count
    ehdr = struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, shoff if xnum else 0, 0, 64, 56, said, 64, 1, 0)
    section = bytes(44) + struct.pack("<I", count) + bytes(16)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + ehdr + b"".join(heads) + section
    return head.ljust(-(-len(head) // PAGE) * PAGE, b"\0") + b"".join(bodies)


HEAP, DATA, TEXT = contents(3), contents(2), contents(1)
PROCESS = core(
    [(5, 0x400000, 0, TEXT), (6, 0x600000, 0, DATA), (6, 0x700000, 0, HEAP[:PAGE] + bytes(PAGE) + HEAP[PAGE:])],
    prpsinfo(41, b"sleeper") + nt_file([(0x400000, 0x401000, "/bin/x"), (0x600000, 0x602000, "/bin/x")]),
)


@pytest.mark.parametrize("name", ["core.41", "core.zst"])
def test_a_process_core_gives_its_private_pages(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".zst"):
        import zstandard

        path.write_bytes(zstandard.compress(PROCESS))
    else:
        path.write_bytes(PROCESS)
    pages = Pages.from_file(path)
    assert pages.array.tobytes() == DATA + HEAP
    assert (pages.index.pid, pages.index.command, pages.index.kinds) == (41, "sleeper", {"anon": 3, "file-private": 2})
    assert [(m.start, m.perms, m.name, m.first_page) for m in pages.index.mappings] == [
        (0x600000, "rw-p", "/bin/x", 0),
        (0x700000, "rw-p", "", 2),
    ]
    assert (pages.index.skipped.zero, pages.index.complete) == (1, True)
    assert any("1 pages of read-only file mappings" in text for text in pages.index.notes)


def test_every_file_of_a_core_names_its_mapping(tmp_path: Path) -> None:
    files = [(0x1000, 0x2000, "/first"), (0x3000, 0x4000, "/last")]
    loads = [(6, address, 0, contents(1)) for address in (0x1000, 0x2000, 0x3000, 0x4000)]
    (tmp_path / "core").write_bytes(core(loads, prpsinfo(1, b"x") + nt_file(files)))
    mappings = Pages.from_file(tmp_path / "core").index.mappings
    assert [(m.start, m.name) for m in mappings] == [(0x1000, "/first"), (0x2000, ""), (0x3000, "/last"), (0x4000, "")]


def test_more_segments_than_a_header_counts(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(
        core([(6, 0x1000 * n, 0, contents(1)) for n in range(1, 9)], prpsinfo(1, b"x"), xnum=True)
    )
    assert len(Pages.from_file(tmp_path / "core")) == 8


def test_a_dump_of_physical_memory_has_no_mappings(tmp_path: Path) -> None:
    low, high = contents(4), contents(4)
    (tmp_path / "guest.elf").write_bytes(
        core([(0, 0, 0, low), (0, 0, 1 << 32, high + bytes(PAGE))], note(1, bytes(336)))
    )
    pages = Pages.from_file(tmp_path / "guest.elf")
    assert pages.array.tobytes() == low + high and pages.index.mappings == () and pages.index.skipped.zero == 1
    assert "physical memory" in pages.index.notes[0]
    assert len(Pages.from_file(tmp_path / "guest.elf", page_size=16384)) == 2


def test_a_core_that_is_cut_off_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(PROCESS[: -2 * PAGE - 100])
    pages = Pages.from_file(tmp_path / "core")
    assert pages.array.tobytes() == DATA + HEAP[:PAGE]  # the page of zeros is still whole, the next one is not
    assert not pages.index.complete and "3 pages are beyond its end" in str(pages.index.reason)


@pytest.mark.skipif(shutil.which("gcore") is None, reason="needs gcore (gdb)")
def test_gcore_of_a_live_process_holds_what_capture_reads(tmp_path: Path) -> None:
    code = "import sys; x = bytes(range(1, 251)) * 40000; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)  # both see the same memory
        os.waitpid(process.pid, os.WUNTRACED)
        live = capture(process.pid)
        done = subprocess.run(["gcore", "-o", tmp_path / "core", str(process.pid)], capture_output=True, check=False)
        process.send_signal(signal.SIGCONT)
        process.communicate(b"")
    path = tmp_path / f"core.{process.pid}"
    if not path.is_file():
        pytest.skip(f"gcore made no core here: {done.stderr.decode(errors='replace')[-200:]}")
    found = Pages.from_file(path)
    assert found.index.pid == process.pid
    held = {page.tobytes() for page in found}
    kinds = kinds_of(live)
    lacking = {KINDS[kind] for page, kind in zip(live, kinds, strict=True) if page.any() and page.tobytes() not in held}
    assert lacking <= {"file-private"}, "gdb leaves some of those out"
    assert np.count_nonzero(kinds == KINDS.index("anon")) > 2000


def lime(*ranges: tuple[int, bytes]) -> bytes:
    heads = [struct.pack("<IIQQQ", 0x4C694D45, 1, at, at + len(body) - 1, 0) + body for at, body in ranges]
    return b"".join(heads)


def test_lime_ranges_are_cut_at_page_boundaries(tmp_path: Path) -> None:
    first, second = contents(3), contents(2)
    (tmp_path / "ram.lime").write_bytes(lime((0x800, first), (0x100000, second)))
    pages = Pages.from_file(tmp_path / "ram.lime")
    assert pages.array.tobytes() == first[0x800 : 0x800 + 2 * PAGE] + second
    (tmp_path / "bad.lime").write_bytes(lime((0x1000, first)) + bytes(64))
    with pytest.raises(PageFileError, match=f"at byte {32 + 3 * PAGE} there is no header of a LiME range"):
        Pages.from_file(tmp_path / "bad.lime")


# Encoded by CRIU's own `crit encode` (3.17) from JSON: three pages present at 0x400000 (two of them a file's, then the heap),
# two in the parent image, two present on a stack.
PAGEMAP = bytes.fromhex(
    "194356542540085602000000080109000000088080800210032004090000000880808003100220010c000000088080808080fe1f10022004"
)
MM = bytes.fromhex(
    "194356542028495769000000080010001800200028003000380040004800500058006001721608808080021080c080021800"
    "2001280330023841400172170880c08002108080c002180020002803302238a1044001721e088080808080fe1f1080808480"
    "80fe1f18002000280330a2023883044001"
)


@pytest.fixture
def criu_images(tmp_path: Path) -> Path:
    (tmp_path / "pagemap-77.img").write_bytes(PAGEMAP)
    (tmp_path / "mm-77.img").write_bytes(MM)
    (tmp_path / "pages-1.img").write_bytes(contents(5))
    return tmp_path


def test_criu_images_give_pages_with_their_mappings(criu_images: Path) -> None:
    pages = Pages.from_file(criu_images / "pages-1.img")
    assert Pages.from_file(criu_images) == pages and len(pages) == 5
    assert (pages.index.pid, pages.index.kinds) == (77, {"file-private": 2, "stack": 2, "heap": 1})
    assert not pages.index.complete and "2 pages are in a parent image" in str(pages.index.reason)
    (criu_images / "mm-77.img").unlink()
    assert Pages.from_file(criu_images).index.mappings == ()
    (criu_images / "pagemap-77.img").write_bytes(PAGEMAP[:-3])
    with pytest.raises(PageFileError, match=r"pagemap-77.img: is no image of CRIU, or damaged"):
        Pages.from_file(criu_images)


def test_a_directory_is_taken_as_one(tmp_path: Path) -> None:
    a, b = contents(2), contents(3)
    (tmp_path / "a.pages").write_bytes(a)
    Pages.from_bytes(b).save(tmp_path / "b.pages.zst")
    pages = Pages.from_file(tmp_path)
    assert pages.array.tobytes() == a + b
    Pages.from_bytes(contents(4), page_size=16384).save(tmp_path / "c.pages")
    with pytest.raises(InputError, match=r"c.pages: its pages have 16384 B, those before it 4096 B"):
        Pages.from_file(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("core.lz4", b"x", "is compressed .*lz4 -d core.lz4"),
        ("dump", b"KDUMP   " + bytes(100), "kdump-compressed.*without -z"),
        ("dump", b"\x7fELF\x01\x01" + bytes(10) + b"\x04\0" + bytes(50), "not 64-bit little-endian"),
        ("core", core([(6, 0x1000, 0, bytes(PAGE))], prpsinfo(1, b"x")), "holds no pages .1 of zeros"),
    ],
)
def test_what_cannot_be_read_says_why_and_how_to_mend_it(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PageFileError, match=said):
        Pages.from_file(tmp_path / name)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_image_is_refused_or_read_and_never_crashes(tmp_path: Path, data: st.DataObject) -> None:
    """Any byte of the headers altered, any cut: a `PageFileError`, or pages that the file holds."""
    image = bytearray(data.draw(st.sampled_from([PROCESS, lime((0, DATA), (0x10000, HEAP))])))
    for _ in range(data.draw(st.integers(0, 4))):
        image[data.draw(st.integers(0, min(len(image) - 1, 2 * PAGE)))] = data.draw(st.integers(0, 255))
    path = tmp_path / "image"
    path.write_bytes(image[: data.draw(st.integers(1, len(image)))])
    try:
        pages = Pages.from_file(path)
    except PageFileError as error:
        assert str(path) in str(error)
    else:
        assert 0 < pages.nbytes <= path.stat().st_size


def test_pages_can_be_seen_in_another_size(tmp_path: Path) -> None:
    pages = Pages.from_bytes(contents(9))
    joined = pages.resized(16384)
    assert (len(joined), joined.page_size) == (2, 16384) and joined.array.tobytes() == pages.array.tobytes()[
        : 2 * 16384
    ]
    assert joined.resized(4096).array.tobytes() == joined.array.tobytes()
    sample = Pages.sample().resized(65536)
    assert sum(sample.index.kinds.values()) == len(sample) and "seen as pages of 65536" in sample.index.notes[-1]
    Pages.sample().save(tmp_path / "s.pages")
    assert Pages.from_file(tmp_path / "s.pages", page_size=65536) == sample
    with pytest.raises(InputError, match="less than one page of 65536 bytes"):
        pages.resized(65536)
