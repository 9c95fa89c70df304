"""Ask another kernel's reclaim in a virtual machine: `python tools/kernel_eater.py KERNEL FILE [--lru-gen] [--compressor C]`.

Boots the kernel of a Debian package, or an image that has all it needs built in, in an emulated machine of 2 CPUs and 256 MiB, and there runs
the eater of the ground truth (`kernel_eater.c`, which is the only process) on a page file of 4096 pages, swapping to zram. Prints what
/proc/vmstat counted and the call of `tools/fidelity.py` that predicts it; a minute or some. Needs qemu-system-x86_64, dpkg-deb and a C compiler with
a static libc.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import kernel_vm

from kcompressd.pages import Pages

MODULES = ("lz4", "lzo_rle", "zstd", "virtio_pci", "virtio_blk", "zram")
SHOWN = re.compile(
    r"pg(scan|steal|activate|refill|rotated)|allocstall|psw|workingset_(refault|activate)_anon|pageoutrun|failed_writes"
)
FILE = 4096
"""Pages of the page cache that reading the disk leaves behind."""


def main() -> int:
    """Boot, eat, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", type=Path, metavar="KERNEL", help="linux-image-….deb (apt-get download), or an image")
    parser.add_argument("file", type=Path, metavar="FILE", help="a page file of 4096 pages")
    parser.add_argument("--lru-gen", action="store_true", help="the multi-gen LRU instead of active and inactive lists")
    parser.add_argument("--compressor", default="lz4", metavar="C", help="zram's compressor")
    parser.add_argument("--free", metavar="PAGES", help="pages that are free when the eater begins; others are locked")
    parser.add_argument("--min-free", metavar="KIB", help="vm.min_free_kbytes")
    parser.add_argument("--append", default="", metavar="OPTIONS", help="more for the kernel's command line")
    wanted = parser.parse_args()
    options = {"lru_gen": 7 if wanted.lru_gen else 0, "codec": wanted.compressor}
    options |= {"free": wanted.free} if wanted.free else {}
    options |= {"min_free": wanted.min_free} if wanted.min_free else {}
    append = " ".join([*(f"{name}={value}" for name, value in options.items()), wanted.append])
    with tempfile.TemporaryDirectory() as folder:
        console = boot(wanted.kernel, Pages.from_file(wanted.file), append, Path(folder))
    counted = figures(console, "vmstat")
    for failed in re.findall(r"kcompressd-failed (.*?)\r?$", console, re.MULTILINE):
        print(f"failed: {failed}")
    for name, value in counted.items():
        if SHOWN.match(name) and value:
            print(f"{name:28} {value:>8}")
    print(f"{'pgscan_anon / pgsteal_anon':28} {counted['pgscan_anon'] / counted['pgsteal_anon']:>8.2f}")
    zone = figures(console, "zone")
    marks = ",".join(str(zone[mark]) for mark in ("min", "low", "high"))
    print(f"ours: --free {zone['free'] + FILE} --set node.managed={zone['managed']} --set node.watermarks=[{marks}]")
    return 0


def figures(console: str, kind: str) -> dict[str, int]:
    """Return the numbers of one kind that the machine printed."""
    return {name: int(value) for name, value in re.findall(rf"kcompressd-{kind} (\w+) +(-?\d+)", console)}


def boot(kernel: Path, pages: Pages, options: str, folder: Path) -> str:
    """Run the virtual machine until it powers itself off; return what it printed."""
    loaded: list[Path] = []
    if kernel.suffix == ".deb":
        kernel, modules = kernel_vm.unpack(kernel, folder)
        loaded = kernel_vm.load_order(modules, MODULES)
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O2", "-static", "-o", folder / "init", source], check=True)
    files = {
        "init": (folder / "init").read_bytes(),
        "modules": " ".join(path.name for path in loaded).encode(),
        **{f"lib/{path.name}": path.read_bytes() for path in loaded},
    }
    (folder / "initramfs").write_bytes(b"".join(kernel_vm.archive(files)))
    (folder / "disk").write_bytes(pages.array.tobytes())
    machine = ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "256M"]
    disk = ["-drive", f"file={folder / 'disk'},if=virtio,format=raw,readonly=on", "-nographic", "-no-reboot"]
    append = f"console=ttyS0 quiet panic=-1 transparent_hugepage=never preempt=none {options}"
    linux = ["-kernel", kernel, "-initrd", folder / "initramfs", "-append", append]
    command = ["qemu-system-x86_64", *machine, *disk, *linux]
    return kernel_vm.printed(command)


if __name__ == "__main__":
    raise SystemExit(main())
