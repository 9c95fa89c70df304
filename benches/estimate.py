"""What `kcompressd estimate` costs beside the codec alone: `python benches/estimate.py [MEGABYTES] [PAGES.zst …]`.

Repeats the pages (default: the sample) up to so many megabytes (512), estimates them with lz4, on one thread and on two, and prints the CPU
time of the whole call (measuring, zsmalloc's accounting, tables) beside the sum of the codec's own page times in it, and two passes of compression.
"""

import sys
import time

import numpy as np

from kcompressd import Pages
from kcompressd.estimate import estimate


def main() -> None:
    """Print a row a call."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    given = [Pages.from_file(path) for path in sys.argv[2:]] or [Pages.sample()]
    once = np.concatenate([np.asarray(pages.array) for pages in given])
    pages = np.resize(once, (megabytes * (1 << 20) // once.shape[1], once.shape[1]))
    print("threads  CPU s  the codec's own  ratio  two passes of compression")
    for threads in (1, 2, 1, 2):
        start = time.process_time()
        found = estimate(pages, "lz4", threads=threads)
        spent = time.process_time() - start
        lz4 = found.to_dict()["compressors"][0]
        compress, decompress = (
            lz4[way]["page_ns"]["mean"] * lz4[way]["page_ns"]["count"] / 1e9 for way in ("compress", "decompress")
        )
        own = compress + decompress
        print(f"{threads:7} {spent:6.2f} {own:16.2f} {own / spent:6.2f} {2 * compress:26.2f}")


if __name__ == "__main__":
    main()
