"""How deep should the queue be? A sweep of six points on all cores, into a data frame: `python sweep_depth.py [OUT]`."""

import sys
import tempfile
from pathlib import Path

from kcompressd import Job
from kcompressd.sweep.engine import sweep

job = Job.from_dict(
    {
        "pages": "sample",
        "design": "split",
        "machine": {"preset": "server"},
        "sweep": {
            "axis": [{"key": "design.depth", "values": [32, 64, 256]}, {"key": "design.threads", "values": [1, 4]}]
        },
    }
)
with tempfile.TemporaryDirectory() as folder:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else folder) / "sweep.parquet"
    outcome = sweep(job, out)
    assert outcome.complete and not outcome.refused and outcome.table is not None, outcome.reason
    frame = outcome.table.to_pandas()
frame["MiB/s"] = frame.pop("timing.bytes_per_s") / 2**20
print(
    frame[["design.depth", "design.threads", "MiB/s", "vmstat.pgrotated", "vmstat.kcompressd_full"]].to_string(
        index=False
    )
)
