"""What would zram make of a live process? `python estimate_process.py COMMAND …` starts one and looks into it."""

import sys

from kcompressd import capture_command
from kcompressd.estimate import estimate

A_CATALOGUE = (
    "import time; rows = [{'id': i, 'name': f'item {i}', 'price': i * 0.25} for i in range(100_000)]; time.sleep(60)"
)

command = sys.argv[1:] or [sys.executable, "-c", A_CATALOGUE]
pages = capture_command(command)
print(pages)

found = estimate(pages, "lz4,zstd")
for one in found.compressors:
    ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
    memory = f"{one.mm_stat['mem_used_total'] / 2**20:.1f} MiB of memory"
    print(f"{one.name:>5}: {memory}, ratio {ratio}, {one.page_ns / 1e3:.1f} us a page there and back")
