"""Ask another kernel's zram in a virtual machine: `python tools/kernel_vm.py KERNEL.deb [FILE] [--json OUT]`.

Boots the kernel of a Debian package (unpacked, nothing is installed) in qemu with an initramfs made here:
busybox, the modules that zram needs, the pages (default: the sample) and a script that writes them page by
page to a zram device for each compressor and prints `mm_stat` after each. Then it compares as `kcompressd
kernel` does. Needs qemu-system-x86_64, a static busybox and dpkg-deb.
"""

from __future__ import annotations

import argparse
import itertools
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kcompressd.fidelity import ALL, Fidelity, KernelFigures, against, chain_size_of, noise_pages
from kcompressd.files import write_text
from kcompressd.page_stats import parse_codecs
from kcompressd.pages import Pages
from kcompressd.zram_device import MmStat, charged, parse_mm_stat

MODULES = ("lz4", "lz4hc", "lzo", "lzo_rle", "zstd", "deflate", "842", "zram")
"""Wanted with all that they depend on; what is built in or not there is passed over."""
TIMEOUT_S = 1800
PROBE = "probe"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
for module in $(cat /modules); do insmod /lib/$module || echo "kcompressd-note $module does not load"; done
echo "kcompressd-kernel $(uname -r) $(uname -m)"
echo "kcompressd-offers $(cat /sys/block/zram0/comp_algorithm)"
zram=/sys/block/zram0
write() { # name compressor file pages sector-of-each
    echo 1 >$zram/reset
    echo $2 >$zram/comp_algorithm || return
    echo $(($4 * 4096)) >$zram/disksize || return
    page=0
    while [ $page -lt $4 ]; do
        dd if=$3 of=/dev/zram0 bs=4096 count=1 skip=$page seek=$((page * $5)) oflag=direct conv=notrunc 2>/dev/null || return
        read -r line <$zram/mm_stat
        echo "kcompressd-stat $1 $line"
        page=$((page + 1))
    done
}
write probe lzo-rle /probes $(cat /probes.count) 0
for compressor in $(tr -d '[]' <$zram/comp_algorithm); do write $compressor $compressor /pages $(cat /pages.count) 1; done
echo kcompressd-end
poweroff -f
"""


def main() -> int:
    """Boot, compare, print; 1 when something differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deb", type=Path, metavar="KERNEL.deb", help="linux-image-… (apt-get download)")
    parser.add_argument("file", nargs="?", metavar="FILE", help="a page file (default: the sample)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="save the comparison")
    arguments = parser.parse_args()
    pages = Pages.sample() if arguments.file is None else Pages.from_file(arguments.file)
    with tempfile.TemporaryDirectory() as folder:
        console = boot(*unpack(arguments.deb, Path(folder)), pages, Path(folder))
    found = compared(pages, console)
    print(found.to_markdown(), end="")
    if arguments.json is not None:
        write_text(arguments.json, found.to_json())
    return found.exit_code


def unpack(deb: Path, folder: Path) -> tuple[Path, Path]:
    """Return the kernel and the folder of its modules."""
    subprocess.run(["dpkg-deb", "-x", deb, folder / "deb"], check=True)
    (kernel,) = (folder / "deb/boot").glob("vmlinuz-*")
    (modules,) = [path for path in (folder / "deb").glob("**/lib/modules/*") if path.is_dir()]
    return kernel, modules


def boot(kernel: Path, modules: Path, pages: Pages, folder: Path) -> str:
    """Run the virtual machine until it powers itself off; return what it printed."""
    busybox = shutil.which("busybox")
    if busybox is None or shutil.which("qemu-system-x86_64") is None:
        raise SystemExit("needs qemu-system-x86_64 and a static busybox (Debian: qemu-system-x86, busybox-static)")
    initramfs = folder / "initramfs"
    initramfs.write_bytes(b"".join(archive(contents(Path(busybox), modules, pages))))
    memory = 512 + 4 * (initramfs.stat().st_size >> 20)
    machine = ["-machine", "accel=tcg", "-cpu", "max", "-m", f"{memory}M", "-nographic", "-no-reboot"]
    append = "console=ttyS0 quiet panic=-1"
    command = ["qemu-system-x86_64", *machine, "-kernel", kernel, "-initrd", initramfs, "-append", append]
    return printed(command)


def printed(command: Sequence[str | Path]) -> str:
    """Return what a virtual machine printed that powered itself off; raises `SystemExit` where it did not come to that."""
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    text = ended.stdout.decode(errors="replace")
    if "kcompressd-end" not in text:
        raise SystemExit(f"the kernel did not come to its end:\n{text[-2000:]}{ended.stderr.decode()[-1000:]}")
    return text


def contents(busybox: Path, modules: Path, pages: Pages) -> Mapping[str, bytes]:
    """Return the files of the initramfs."""
    loaded = load_order(modules)
    probes = noise_pages(pages.page_size)
    return {
        "init": INIT.encode(),
        "bin/busybox": busybox.read_bytes(),
        "modules": " ".join(path.name for path in loaded).encode(),
        **{f"lib/{path.name}": path.read_bytes() for path in loaded},
        "pages": pages.array.tobytes(),
        "pages.count": str(len(pages)).encode(),
        "probes": probes.array.tobytes(),
        "probes.count": str(len(probes)).encode(),
    }


def load_order(modules: Path, wanted: Iterable[str] = MODULES) -> list[Path]:
    """Return the `wanted` modules and what they depend on, each after its dependencies."""
    there = {path.name.split(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    order: dict[str, Path] = {}

    def need(name: str) -> None:
        if name not in there or name in order:
            return
        module = uncompressed(there[name])
        said = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
        for other in said[1].decode().split(",") if said and said[1] else []:
            need(other.replace("-", "_"))
        order[name] = module

    for name in wanted:
        need(name)
    if "zram" not in order:
        raise SystemExit(f"{modules}: neither zram.ko nor zram.ko.xz in it")
    return list(order.values())


def uncompressed(module: Path) -> Path:
    """Return the module, or where it is xz-compressed what came of it, beside it."""
    if module.suffix != ".xz":
        return module
    plain = module.with_suffix("")
    plain.write_bytes(lzma.decompress(module.read_bytes()))
    return plain


def archive(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield a cpio archive, format newc (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    folders = dict.fromkeys(["bin", "lib", "dev", "proc", "sys"])
    numbers = itertools.count(1)
    for name in folders:
        yield entry(next(numbers), name, 0o040755, b"")
    for name, data in files.items():
        yield entry(next(numbers), name, 0o100755, data)
    yield entry(0, "TRAILER!!!", 0, b"")


def entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    """Return one file of the archive."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
    return padded(head) + padded(data)


def padded(data: bytes) -> bytes:
    """Return the bytes, with zeroes up to a multiple of four."""
    return data + bytes(-len(data) % 4)


def compared(pages: Pages, console: str) -> Fidelity:
    """Return the comparison of what the machine printed."""
    kernel, offers, notes = said(console, "kernel"), said(console, "offers"), said(console, "note")
    stats: dict[str, list[MmStat]] = {}
    for line in said(console, "stat"):
        name, _, values = line.partition(" ")
        stats.setdefault(name, []).append(parse_mm_stat(values.encode()))
    offered = offers[0].replace("[", "").replace("]", "").split()
    chain_size, note = chain_size_of(stats.pop(PROBE), pages.page_size)
    failed = [f"{name} stopped after {len(of)} pages" for name, of in stats.items() if len(of) < len(pages)]
    whole = {name: of for name, of in stats.items() if len(of) == len(pages) and name in ALL}
    figures = [KernelFigures(parse_codecs(name)[0], of[-1], charged(of)) for name, of in whole.items()]
    return against(
        pages,
        figures,
        kernel=kernel[0],
        chain_size=chain_size,
        lacking=tuple(name for name in ALL if name not in offered),
        notes=(*([note] if note else []), *notes, *failed),
    )


def said(console: str, what: str) -> list[str]:
    """Return the lines of a kind that the machine's script printed."""
    return re.findall(rf"kcompressd-{what} (.*?)\r?$", console, re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
