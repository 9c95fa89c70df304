"""The ground truth's machine and workload in virtual time, our rows beside the kernel's: `make fidelity`.

The kernel is Linux 6.12.117 with design F (firelzrd 0.5), 2 emulated CPUs, 256 MiB, zram-lz4; three runs a depth. Needs
`py.pages.zst` of the shared corpora (KCOMPRESSD_SHARED, or `../shared` beside the repository). The emulated guest's costs
are fitted on the depth-0 rows only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kcompressd import Job, Result

CORPUS = Path(os.environ.get("KCOMPRESSD_SHARED") or Path(__file__).parents[2] / "shared") / "corpora/py.pages.zst"
JOB = {
    "pages": str(CORPUS),
    "store": "zram",
    "node": {
        "cpus": 2,
        "managed": 61_237,
        "free": 55_400,
        "file": 4096,
        "watermarks": [490, 612, 734],
        "swap": 262_144,
    },
    "machine": {"preset": "guest"},
    "workload": {"kind": "eater", "pages": 98_304},
    "costs": {
        "scan_ns": 2_000,
        "unmap_ns": 5_000,
        "fault_ns": 8_000,
        "zero_page_ns": 3_000,
        "touch_ns": 12_000,
        "commit_ns": 150,
        "zero_test_ps_per_byte": 100,
        "compress_ns": 10_400,
        "decompress_ns": 5_000,
    },
}
KERNEL: dict[int, dict[str, tuple[float, float, float]]] = {
    0: {
        "pgscan_anon": (371_882, 355_202, 352_103),
        "pgsteal_anon": (174_452, 174_268, 174_216),
        "pswpout": (168_044, 167_849, 167_795),
        "allocstall": (453, 581, 644),
        "pgactivate": (171, 33, 35),
        "exit_referenced": (197_195, 180_778, 177_801),
        "exit_queued": (0, 0, 0),
        "exit_add_to_swap": (0, 0, 0),
        "kswapd ticks": (762, 784, 1016),
        "kcompressd ticks": (0, 0, 0),
        "longest touch, ms": (191, 153, 232),
    },
    24: {
        "pgscan_anon": (576_293, 560_520, 612_030),
        "pgsteal_anon": (177_827, 178_130, 171_354),
        "pswpout": (194_759, 182_622, 214_154),
        "allocstall": (906, 1048, 605),
        "pgactivate": (41_488, 44_327, 58_549),
        "exit_referenced": (192_319, 186_803, 191_569),
        "exit_queued": (164_651, 151_088, 190_539),
        "exit_add_to_swap": (41_465, 44_291, 58_535),
        "kswapd ticks": (492, 659, 828),
        "kcompressd ticks": (323, 400, 568),
        "longest touch, ms": (682, 945, 1048),
    },
    256: {
        "pgscan_anon": (615_517, 646_395, 581_356),
        "pgsteal_anon": (174_473, 177_250, 174_788),
        "pswpout": (214_355, 233_440, 182_826),
        "allocstall": (753, 774, 715),
        "pgactivate": (58_399, 67_265, 51_961),
        "exit_referenced": (192_671, 193_704, 193_808),
        "exit_queued": (189_955, 208_026, 160_682),
        "exit_add_to_swap": (58_355, 67_211, 51_918),
        "kswapd ticks": (564, 630, 572),
        "kcompressd ticks": (473, 573, 498),
        "longest touch, ms": (1087, 1018, 832),
    },
}
"""What the kernel counted: three runs a depth; a tick is 4 ms."""


def found(result: Result) -> dict[str, float]:
    """Our row."""
    ticks = {kind: 0.0 for kind in ("kswapd", "kcompressd")}
    for thread in result.threads:
        kind = str(thread.actor).rstrip("0123456789")
        if kind in ticks:
            ticks[kind] += thread.reclaim_cpu_ns / 4e6
    row = {name: float(count) for name, count in result.vmstat.items()}
    row["allocstall"] = row["allocstall_movable"] + row["allocstall_normal"]
    row |= {f"{kind} ticks": spent for kind, spent in ticks.items()}
    row["longest touch, ms"] = result.timing.touch_ns.max / 1e6
    return row


def main() -> int:
    """Print a table a depth."""
    if not CORPUS.is_file():
        print(f"make fidelity needs {CORPUS.name} (KCOMPRESSD_SHARED)", file=sys.stderr)
        return 2
    for depth, rows in KERNEL.items():
        design = {"design": "sync"} if depth == 0 else {"design": "unofficial", "depth": depth}
        result = Job.from_dict({**JOB, **design}).sim()
        ours = found(result)
        failed = result.zram.io_stat.failed_writes if result.zram is not None else 0
        print(f"depth {depth}: {result.timing.reclaim_ns / 1e9:.2f} s virtual, {failed} failed writes")
        print(f"  {'':20} {'kernel, least':>14} {'most':>10} {'virtual':>10}  beyond the spread")
        for name, kernel in rows.items():
            least, most, mine = min(kernel), max(kernel), ours[name]
            beyond = mine / most - 1 if mine > most > 0 else mine / least - 1 if mine < least else 0.0
            print(f"  {name:20} {least:14.0f} {most:10.0f} {mine:10.0f}  {beyond:+.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
