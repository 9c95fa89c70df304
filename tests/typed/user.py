"""What a user writes, for pyright in strict mode (ci/lint-python.sh); it is checked, never run."""

from pathlib import Path

import numpy as np

from kcompressd import (
    Calibration,
    Design,
    Job,
    Lab,
    Machine,
    Node,
    Pages,
    Policy,
    Result,
    Sim,
    View,
    Workload,
    Zram,
    Zswap,
)
from kcompressd.advise import Advice, advise
from kcompressd.capture import capture
from kcompressd.compare import compare
from kcompressd.estimate import Estimate, estimate
from kcompressd.sweep import sweep


class Rotate(Policy):
    design = "april"

    def complete(self, view: View):
        return "rotate"


pages: Pages = Pages.sample()
found: Estimate = estimate(pages, "lz4,zstd")
print(found["zstd"].ratio, found.choice.codec, found.compressors[0].mm_stat.mem_used_total)
result: Result = Lab(design="split", store="zram", threads=2, trace=True).run(pages)
print(result.vmstat["pgscan_anon"], result.timing.bytes_per_s, result.trace.validate().ok)
for step in result.trace.timeline(5):
    print(step.actor, step.event)
stepper = Lab(design=Rotate()).step(pages[:3])
print([folio.queue() for folio in stepper.folios], stepper[0].compress())
comparison = compare(pages, ["sync", "split"], lab=Lab(store="zram"))
print(comparison.to_html()[:10], comparison.exit_code)
advice: Advice = advise(pages, goal="latency", cpus=2)
print(advice.best.compressor if advice.best else None, advice.settings.get("sysfs"))
sim = Sim(
    lab=Lab(design=Design.preset("april", "zram")),
    machine=Machine().with_cpus(4),
    node=Node(managed=8192),
    workload=Workload(pages=9000),
)
print(sim.run(Calibration.sample()).complete)
job = Job.from_dict({"pages": "sample", "sweep": {"axis": [{"key": "node.cpus", "values": [1, 2]}]}})
outcome = sweep(job, Path("t.parquet"))
print(outcome.points)
zram = Zram(compressor="lz4", secondary=["zstd"])
zram.store(0, pages[0])
zswap = Zswap()
print(zram.mm_stat["mem_used_total"], zswap)
array = np.zeros((2, 4096), dtype=np.uint8)
print(Pages.from_array(array), capture(1, limit=5))
