"""The running kernel's own zswap beside ours: `make oracle-zswap` (root), or `python tools/oracle_zswap.py [FILE]`.

Makes a swap file, switches zswap on with each compressor that the kernel has, lets a child map the pages and give
them up with MADV_PAGEOUT, and reads zswap's debugfs and /proc/vmstat before and after. The child then reads
every page back and compares. Everything is put back afterwards, also on Ctrl-C and SIGTERM: zswap's parameters, the
swap file, and the private mount of debugfs. Other processes' pages are left alone; when other swap is in use
already it is refused, because their pages would be counted too.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import mmap
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kcompressd.errors import KernelError
from kcompressd.estimate import CHAIN_SIZE, Estimate, estimate
from kcompressd.fidelity import ALL, LIMITS
from kcompressd.files import write_text
from kcompressd.pages import Pages

PARAMETERS = Path("/sys/module/zswap/parameters")
SETTINGS = {"max_pool_percent": "50", "shrinker_enabled": "N", "enabled": "Y"}
MADV_PAGEOUT = 21
"""madvise(2), Linux 5.4; Python has no name for it."""
ROUNDS = 20
"""Of MADV_PAGEOUT: pages on a CPU's list of new ones are passed over at first."""
ZSWAP = ("stored_pages", "pool_total_size", "stored_incompressible_pages")
VMSTAT = ("zswpout", "swpout_zero", "pswpout", "zswpin", "zswpwb")


def main() -> int:
    """Run with every compressor, print the table; 1 when something differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", metavar="FILE", help="a page file (default: the sample)")
    parser.add_argument("--swap-dir", type=Path, default=Path("/var/tmp"), help="where the swap file is made")
    parser.add_argument("--json", type=Path, metavar="OUT", help="save what was found")
    arguments = parser.parse_args()
    pages = Pages.sample() if arguments.file is None else Pages.from_file(arguments.file)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        refuse()
        found = {name: counters for name in ALL if (counters := ask(name, pages, arguments.swap_dir)) is not None}
    except KernelError as error:
        print(f"oracle-zswap: {error}", file=sys.stderr)
        return 2
    return report(pages, found, arguments.json)


def refuse() -> None:
    """Raise `KernelError` where it cannot run."""
    if os.geteuid() != 0:
        raise KernelError("zswap", "needs root", "sudo make oracle-zswap")
    if not PARAMETERS.is_dir():
        raise KernelError("zswap", "this kernel has none (CONFIG_ZSWAP)")
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        raise KernelError("swap", "is in use already: others' pages would be counted", "swapoff, or another machine")


def ask(name: str, pages: Pages, folder: Path) -> dict[str, int] | None:
    """Return by how much the kernel's counters grew over the pages, None for a compressor that it lacks."""
    with debugfs() as zswap, parameters() as write:
        if not write("compressor", name):
            return None
        with swap_file(folder, 2 * pages.nbytes):
            for parameter, value in SETTINGS.items():
                if not write(parameter, value):
                    raise KernelError(parameter, f"cannot be set to {value}")
            before = counters(zswap)
            with swapped_out(pages):
                after = counters(zswap)
    return {name: after[name] - before[name] for name in after}


@contextlib.contextmanager
def debugfs() -> Iterator[Path]:
    """zswap's folder in debugfs: the system's, or one mounted for the time."""
    there = Path("/sys/kernel/debug/zswap")
    if there.is_dir():
        yield there
        return
    with tempfile.TemporaryDirectory() as folder:
        run("mount", "-t", "debugfs", "none", folder)
        try:
            yield Path(folder) / "zswap"
        finally:
            run("umount", folder)


@contextlib.contextmanager
def parameters() -> Iterator[object]:
    """A function that sets a parameter and tells whether the kernel took it; all are as before afterwards."""
    before = {path.name: path.read_text().strip() for path in PARAMETERS.iterdir()}

    def write(name: str, value: str) -> bool:
        if name not in before:
            return True  # of another version: nothing to switch
        with contextlib.suppress(OSError):
            (PARAMETERS / name).write_text(value)
        return (PARAMETERS / name).read_text().strip() == value

    try:
        yield write
    finally:
        # A parameter that cannot be put back must not keep the others from it.
        kept = [name for name, value in before.items() if not write(name, value)]
        if kept:
            raise KernelError(", ".join(kept), f"could not be put back to {[before[name] for name in kept]}")


@contextlib.contextmanager
def swap_file(folder: Path, size: int) -> Iterator[None]:
    """A swap file in use, of the highest priority."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="oracle-zswap.") as file:
        for _ in range(-(-max(size, 1 << 20) >> 20)):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        run("mkswap", file.name)
        run("swapon", "--priority", "32767", file.name)
        try:
            yield
        finally:
            run("swapoff", file.name)


@contextlib.contextmanager
def swapped_out(pages: Pages) -> Iterator[None]:
    """A child that has given up all of the pages, and afterwards reads them back and compares."""
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 3
        try:  # nothing of what the parent has to put back may be done by the child
            os.close(from_parent)
            code = child(pages, to_child, from_child)
        finally:
            os._exit(code)
    os.close(from_child)
    os.close(to_child)
    try:
        if os.read(to_parent, 1) != b"o":
            raise KernelError("MADV_PAGEOUT", "left pages in memory", "does this kernel let the swap file be used?")
        yield
    finally:
        os.close(from_parent)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(to_parent)
    if status != 0:
        raise KernelError("zswap", "pages came back different")


def child(pages: Pages, to_child: int, from_child: int) -> int:
    """Map, give up, say so, wait, compare; the exit code."""
    memory = mmap.mmap(-1, pages.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[:] = pages.array.tobytes()
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for _ in range(ROUNDS):
        memory.madvise(MADV_PAGEOUT)
        if not present(address, len(pages), pages.page_size):
            break
    else:
        return 2
    os.write(from_child, b"o")
    os.read(to_child, 1)
    return 0 if memory[:] == pages.array.tobytes() else 1


def present(address: int, count: int, page_size: int) -> int:
    """Return how many of the pages have a frame (pagemap bit 63)."""
    with open("/proc/self/pagemap", "rb") as file:
        file.seek(address // page_size * 8)
        entries = memoryview(file.read(8 * count)).cast("Q")
    return sum(entry >> 63 for entry in entries)


def counters(zswap: Path) -> dict[str, int]:
    """Return zswap's debugfs and vmstat's counters of swapping."""
    files = {path.name: int(text) for path in zswap.iterdir() if (text := path.read_text().strip()).isdecimal()}
    vmstat = dict(re.findall(r"^(\w+) (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE))
    return files | {name: int(vmstat[name]) for name in VMSTAT if name in vmstat}


def run(*command: str) -> None:
    """Run a tool of the system; raises `KernelError` with what it said."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise KernelError(command[0], "is not there", "it is of util-linux") from error
    except subprocess.CalledProcessError as error:
        raise KernelError(" ".join(command), error.stderr.strip()) from error


def report(pages: Pages, found: dict[str, dict[str, int]], out: Path | None) -> int:
    """Print the kernel's counters with ours beside them, as Markdown; save them; return the exit code."""
    ours = estimate(pages, list(found), chain_size=CHAIN_SIZE)
    kernel = f"{platform.release()} {platform.machine()}"
    print(f"**zswap of Linux {kernel} and ours: {len(pages)} pages**\n")
    print("| compressor | counter | kernel | ours | difference |\n| :-- | :-- | --: | --: | --: |")
    wrong, document = 0, {}
    for name, theirs in found.items():
        mine = expected(ours, name)
        document[name] = {"kernel": theirs, "kcompressd": mine}
        for counter, value in mine.items():
            off = value - theirs.get(counter, 0)
            wrong += bool(off) and name not in LIMITS
            print(f"| {name} | {counter} | {theirs.get(counter, 0)} | {value} | {off:+d} |")
    lacking = [name for name in ALL if name not in found]
    print(f"\nEvery page came back as it was. This kernel's zswap lacks {', '.join(lacking) or 'none of ours'}.")
    if out is not None:
        stored = {"version": 1, "kind": "zswap", "kernel": kernel, "digest": pages.digest, "compressors": document}
        write_text(out, json.dumps(stored, indent=1) + "\n")
    return 1 if wrong else 0


def expected(ours: Estimate, name: str) -> dict[str, int]:
    """Return our counters by the kernel's names, and what vmstat should have grown by."""
    zswap = ours[name].zswap
    counted = {counter: zswap[counter] for counter in ZSWAP}
    return counted | {"zswpout": zswap.stored_pages, "swpout_zero": zswap.zero_pages, "pswpout": 0, "zswpwb": 0}


if __name__ == "__main__":
    sys.exit(main())
