"""The ground truth's machine and workload in virtual time, our rows beside the kernel's: `make fidelity`.

The kernel is Linux 6.12.117 with design F (firelzrd 0.5), 2 emulated CPUs, 256 MiB, zram-lz4; three runs a depth. Needs
`py.pages.zst` of the shared corpora (KCOMPRESSD_SHARED, or `../shared` beside the repository). The emulated guest's costs
are fitted on the depth-0 rows only.

With options it predicts a row of the same guest that has another design, depth, codec, input or any other key of a job:
`tools/fidelity.py --design april --depth 256 --compressor zstd:3 --pages node.pages.zst --set node.swappiness=100`; with
`--costs tools/guest_costs.toml` on the machine of the guest of docs/fidelity.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from kcompressd import Job, Result, calibrate
from kcompressd.errors import InputError
from kcompressd.job_file import parse_setting
from kcompressd.taken import kind_of

CORPUS = Path(os.environ.get("KCOMPRESSD_SHARED") or Path(__file__).parents[2] / "shared") / "corpora/py.pages.zst"
COSTS = Path(__file__).with_name("ground_truth_costs.toml")
JOB = {
    "pages": str(CORPUS),
    "store": "zram",
    "node": {
        "cpus": 2,
        "managed": 61_237,
        "file": 4096,
        "watermarks": [490, 612, 734],
        "swap": 262_144,
    },
    "machine": {"preset": "guest"},
    "costs": tomllib.loads(COSTS.read_text()),
}
FREE = 51_304
"""Free pages when the eater has locked its source: 55,400 without those 4096."""
EATEN = 98_304
"""Pages that the eater fills in order and then reads in order."""
OWN_FILL, OWN_READ = 4, 2
"""Pages of its own that the eater uses at every page, as counted in the guest of docs/fidelity.md: two of text, the stack and one of data while it
fills; one of text and that of the sum while it reads."""
TEXT = 36
"""Pages of text that a run maps anew, all of them young, and leaves alone, where a queue's storms in the run before have deactivated them: activated
at their first look, since two processes have them or they were active once. After a run without a queue they are active still. Counted in the guest
of docs/fidelity.md, which also tells by such counts that the depths of the ground truth were run in turn."""
EMULATED = {
    ("py.pages.zst", "lz4"): (38.6, 11.8),
    ("py.pages.zst", "lz4hc"): (279.5, 8.5),
    ("py.pages.zst", "lzo-rle"): (35.8, 18.0),
    ("py.pages.zst", "zstd"): (139.2, 56.6),
    ("node.pages.zst", "lz4"): (25.2, 10.1),
    ("node.pages.zst", "zstd"): (102.7, 36.4),
}
"""Microseconds that a page of an input took in the emulated guest of docs/fidelity.md to be written to zram and to be read back, beyond look, unmapping
and fault: MADV_PAGEOUT of 4096 pages, and reading them."""
BOOTS = 9
"""Our runs of a row, each after another boot (`Job.boot`): 8 free pages fewer, which is enough to take another course."""
KERNEL: dict[int, dict[str, tuple[float, ...]]] = {
    0: {
        "pgscan_anon": (371_882, 355_202, 352_103),
        "pgsteal_anon": (174_452, 174_268, 174_216),
        "pswpout": (168_044, 167_849, 167_795),
        "allocstall": (453, 581, 644),
        "pageoutrun": (35, 49, 44),
        "pgactivate": (171, 33, 35),
        "exit_referenced": (197_195, 180_778, 177_801),
        "exit_referenced_activated": (141, 32, 34),
        "exit_dirty": (0, 0, 0),
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
        "pageoutrun": (505, 685, 424),
        "pgactivate": (41_488, 44_327, 58_549),
        "exit_referenced": (192_319, 186_803, 191_569),
        "exit_referenced_activated": (19, 13, 13),
        "exit_dirty": (0, 2, 3),
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
        "pageoutrun": (313, 491, 890),
        "pgactivate": (58_399, 67_265, 51_961),
        "exit_referenced": (192_671, 193_704, 193_808),
        "exit_referenced_activated": (43, 53, 42),
        "exit_dirty": (11, 139, 105),
        "exit_queued": (189_955, 208_026, 160_682),
        "exit_add_to_swap": (58_355, 67_211, 51_918),
        "kswapd ticks": (564, 630, 572),
        "kcompressd ticks": (473, 573, 498),
        "longest touch, ms": (1087, 1018, 832),
    },
}
"""What the kernel counted: three runs a depth; a tick is 4 ms, of which its emulated CPUs lose more than half."""

ALSO = (
    "exit_writeback",
    "exit_locked",
    "exit_refs",
    "exit_kept",
    "pgrotated",
    "pgdeactivate",
    "pswpin",
    "pgscan_direct_throttle",
)
"""What a prediction shows beside the rows above: exits and counters that only some designs have."""
BOUNDS = {
    "pgscan/pgsteal": 0.10,
    "pswpout": 0.10,
    "allocstall": 0.30,
    "pgactivate": 0.25,
    "exit_referenced": 0.25,
    "exit_referenced_activated": 0.25,
    "exit_dirty": 0.25,
    "exit_queued": 0.25,
    "exit_add_to_swap": 0.25,
    "longest touch, ms": 0.70,
}
"""How far beyond the spread of the kernel's own runs a median may be; the others are printed without a bound."""
CPU_BOUND = 0.20
"""The same for the ratios between depths of the threads' CPU time, median to median."""
for _rows in KERNEL.values():
    _rows["pgscan/pgsteal"] = tuple(a / b for a, b in zip(_rows["pgscan_anon"], _rows["pgsteal_anon"], strict=True))


def found(result: Result) -> dict[str, float]:
    """Our row."""
    ticks = {kind: 0.0 for kind in ("kswapd", "kcompressd")}
    for thread in result.threads:
        kind = kind_of(str(thread.actor))
        if kind in ticks:
            ticks[kind] += thread.reclaim_cpu_ns / 4e6
    row = {name: float(count) for name, count in result.vmstat.items()}
    row["allocstall"] = row["allocstall_movable"] + row["allocstall_normal"]
    row["pgscan/pgsteal"] = row["pgscan_anon"] / row["pgsteal_anon"]
    row |= {f"{kind} ticks": spent for kind, spent in ticks.items()}
    row["longest touch, ms"] = result.timing.touch_ns.max / 1e6
    row["failed writes"] = float(result.zram.io_stat.failed_writes) if result.zram is not None else 0.0
    return row


def save_touches(path: Path, touch_ns: int) -> None:
    """Write the eater's touches as an access trace: at each page its own first, and after the page what a touch takes it."""
    eaten = np.arange(EATEN)
    own = [range(EATEN, EATEN + OWN_FILL), range(EATEN + OWN_FILL - 1, EATEN + OWN_FILL - 1 + OWN_READ)]
    fill, read = (np.column_stack([*(np.full(EATEN, page) for page in used), eaten]).ravel() for used in own)
    pages = np.concatenate([fill, read])
    touches = np.zeros(len(pages), dtype=[("page", "u4"), ("write", "?"), ("t_ns", "u8")])
    touches["page"], touches["write"] = pages, pages >= EATEN
    touches["write"][: len(fill)] = True
    touches["t_ns"][1:] = touch_ns * np.cumsum(pages < EATEN)[:-1]
    np.save(path, touches)


def runs(
    depth: int,
    design: str = "unofficial",
    changes: Mapping[str, Any] | None = None,
    free: int = FREE,
    boots: int = BOOTS,
) -> dict[str, tuple[float, ...]]:
    """Our runs of one depth (0: synchronous) of a design that queues, with these keys of the job changed."""
    of = {"design": "sync"} if depth == 0 else {"design": design, "depth": depth}
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "touches.npy"
        workload = {"workload": {"kind": "replay", "trace": str(trace)}}
        job = Job.from_dict({**JOB, **workload, **of}).replace(changes or {})
        save_touches(trace, job.costs.touch_ns)
        job = job.replace({"node.free": free, "costs.touch_ns": 0})
        rows = [found(job.boot(boot).sim()) for boot in range(boots)]
    return {name: tuple(row[name] for row in rows) for name in rows[0]}


def ground_truth(depth: int) -> dict[str, tuple[float, ...]]:
    """Our runs of one depth as the kernel's were made, the depths in turn. Our boots have no run before them: its text is added to what they count."""
    rows, turn = runs(depth), tuple(KERNEL)
    text = TEXT if turn[turn.index(depth) - 1] > 0 else 0
    for name in ("pgactivate", "exit_referenced_activated"):
        rows[name] = tuple(count + text for count in rows[name])
    return rows


def codec_costs(pages: str, compressor: str, fitted: Mapping[str, int]) -> dict[str, Any]:
    """The guest's costs of a page of another input or codec: the fitted ones, times what these take longer in an emulated guest, or
    where nobody has looked on this host."""
    names = ("compress_ns", "decompress_ns")
    mine, lz4 = EMULATED.get((Path(pages).name, compressor)), EMULATED[CORPUS.name, "lz4"]
    if mine is None:
        both = calibrate(Job.from_dict({"pages": pages}).pages, ["lz4", compressor])
        sums = [[float(both.sizes(codec)[name].sum()) for name in names] for codec in (compressor, "lz4")]
        mine, lz4 = (sums[0][0], sums[0][1]), (sums[1][0], sums[1][1])
    scaled = {f"costs.{name}": round(fitted[name] * a / b) for name, a, b in zip(names, mine, lz4, strict=True)}
    return {"compressor": compressor, **scaled}


def prediction(argv: Sequence[str]) -> str:
    """One row of ours, as `argv` wants it; raises `InputError`, and what reading the file of costs does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--design", default="unofficial")
    parser.add_argument("--depth", type=int, default=256)
    parser.add_argument("--pages", default=str(CORPUS))
    parser.add_argument("--compressor", default="lz4")
    parser.add_argument(
        "--free", type=int, default=FREE, metavar="PAGES", help="free or page cache when the eater begins"
    )
    parser.add_argument("--boots", type=int, default=BOOTS, metavar="N", help="how many runs")
    parser.add_argument("--costs", type=Path, default=COSTS, metavar="FILE", help="another machine's six costs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    wanted = parser.parse_args(argv)
    changes = {"pages": os.path.abspath(wanted.pages), **dict(map(parse_setting, wanted.set))}
    costs = tomllib.loads(wanted.costs.read_text())
    fitted = {f"costs.{name}": cost for name, cost in costs.items()}
    changes = {**fitted, **codec_costs(changes["pages"], wanted.compressor, costs), **changes}
    depth = 0 if wanted.design == "sync" else wanted.depth
    boots = max(wanted.boots, 1)
    rows = runs(depth, wanted.design, changes, wanted.free, boots)
    lines = [f"{wanted.design}, depth {depth}, {wanted.compressor}: virtual, least / median / most of {boots} boots"]
    for name in (*KERNEL[0], *ALSO, "failed writes"):
        figures = (min(rows[name]), median(rows[name]), max(rows[name]))
        lines.append(
            f"  {name:26} " + " / ".join(f"{figure:.2f}" if "/" in name else f"{figure:.0f}" for figure in figures)
        )
    lines.append("  exit_dirty by boot         " + " ".join(f"{count:.0f}" for count in sorted(rows["exit_dirty"])))
    return "\n".join(lines)


def beyond(mine: float, kernel: tuple[float, ...]) -> float:
    """How far a figure is beyond the spread of the kernel's, as a part of the nearer end; 0 where the kernel has none."""
    least, most = min(kernel), max(kernel)
    return mine / most - 1 if mine > most > 0 else mine / least - 1 if mine < least else 0.0


def deviations(ours: dict[int, dict[str, tuple[float, ...]]]) -> dict[tuple[int, str], tuple[float, float]]:
    """By depth and row: how far we are from the kernel, and the bound."""
    far = {
        (depth, name): (beyond(median(ours[depth][name]), KERNEL[depth][name]), bound)
        for depth in KERNEL
        for name, bound in BOUNDS.items()
    }
    for row, base, depth in (("kswapd ticks", 0, 24), ("kswapd ticks", 0, 256), ("kcompressd ticks", 24, 256)):
        ratios = [median(rows[depth][row]) / median(rows[base][row]) for rows in (ours, KERNEL)]
        far[depth, f"{row}, to depth {base}"] = (ratios[0] / ratios[1] - 1, CPU_BOUND)
    return far


def table(ours: dict[int, dict[str, tuple[float, ...]]]) -> str:
    """Ours at each boot beside the kernel's three runs, and what is beyond a bound."""
    lines = []
    for depth, rows in KERNEL.items():
        failed = " / ".join(f"{count:.0f}" for count in sorted(ours[depth]["failed writes"]))
        lines.append(f"depth {depth}: failed writes {failed}")
        lines.append(f"  {'':26} {'kernel, least':>14} {'most':>10} {'virtual, least':>16} {'median':>10} {'most':>10}")
        for name, kernel in rows.items():
            mine = ours[depth][name]
            figures = (min(kernel), max(kernel), min(mine), median(mine), max(mine))
            cells = [f"{figure:.2f}" if "/" in name else f"{figure:.0f}" for figure in figures]
            away = f"{beyond(median(mine), kernel):+.0%} beyond the spread"
            lines.append(
                f"  {name:26} {cells[0]:>14} {cells[1]:>10} {cells[2]:>16} {cells[3]:>10} {cells[4]:>10}  {away}"
            )
    for (depth, name), (away, bound) in deviations(ours).items():
        if abs(away) > bound or ", to" in name:
            verdict = "NOT MET" if abs(away) > bound else "met"
            lines.append(f"depth {depth}, {name}: {away:+.0%}, bound {bound:.0%}: {verdict}")
    return "\n".join(lines)


def main() -> int:
    """Print a table a depth, or what the options ask for."""
    if len(sys.argv) > 1:
        try:
            print(prediction(sys.argv[1:]))
        except (InputError, OSError, tomllib.TOMLDecodeError) as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    if not CORPUS.is_file():
        print(f"make fidelity needs {CORPUS.name} (KCOMPRESSD_SHARED)", file=sys.stderr)
        return 2
    print(table({depth: ground_truth(depth) for depth in KERNEL}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
