"""Throughput of real threads against virtual time on this machine: `make live-virtual`.

What steps cost in this program is measured here (`_core.profile`), what pages cost is calibrated here, and every preset runs
on real threads and in virtual time: medians with spread. Counters are held together by tests/test_live_virtual.py. The
machine must be idle and have two CPUs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from kcompressd import Costs, Lab, Machine, Pages, Sim, _core, calibrate
from kcompressd.lifecycle import table

RUNS = 7
COSTS = {"scan": "scan_ns", "unmap": "unmap_ns", "fault": "fault_ns", "touch": "touch_ns", "commit": "commit_ns"}


def costs_here(pages: Pages, store: str) -> Costs:
    """What steps cost in this program, measured on one thread without a queue."""
    with tempfile.TemporaryDirectory() as folder:
        swap_file = Path(folder) / "swap" if store == "zswap" else None
        config = Lab(design="sync", store=store).config(len(pages), pages.page_size, swap_file)
        found = _core.profile(pages.array, config, table().as_dict())
    means = {kind: round(ns / steps) for kind, (steps, ns) in found.items() if steps}
    named = {name: means[kind] for kind, name in COSTS.items() if kind in means}
    device = {f"{kind}_ns": means[kind] for kind in ("device_write", "device_read") if kind in means}
    zero_test = means["zero_test"] * 1000 // pages.page_size
    return Costs(**named, **device, zero_test_ps_per_byte=zero_test)


def main() -> int:
    """Print a line a preset and store; return 1 when one is more than a tenth away."""
    pages = Pages.from_file(sys.argv[1]) if len(sys.argv) > 1 else Pages.sample()
    calibration = calibrate(pages, "lz4")
    far = 0
    print(f"{len(pages)} pages, lz4, 2 CPUs; MB/s of the reclaim phase: median of {RUNS} (least to most)")
    for store in ("zram", "zswap"):
        costs = costs_here(pages, store)
        print(f"{store}: {costs.to_dict()}")
        for design in _core.presets():
            lab = Lab(design=design, store=store, warm=True)
            live = sorted(lab.run(pages).timing.bytes_per_s / 1e6 for _ in range(RUNS))
            sim = (
                Sim(lab=lab, machine=Machine(speeds=(100, 100)), costs=costs).run(calibration).timing.bytes_per_s / 1e6
            )
            median = statistics.median(live)
            far += abs(sim / median - 1) > 0.1
            print(
                f"  {design:12} live {median:6.0f} ({live[0]:.0f} to {live[-1]:.0f})  virtual {sim:6.0f}  {sim / median:.2f}"
            )
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main())
