"""Sync, April's and split on eight virtual CPUs: `python compare_designs.py [FILE] [REPORT.html]`."""

import sys
from pathlib import Path

from kcompressd import Job
from kcompressd.compare import compare_job

pages = sys.argv[1] if len(sys.argv) > 1 else "sample"
job = Job.from_dict({"pages": pages, "store": "zswap", "compressor": "lz4", "threads": 2})
found = compare_job(job, ["sync", "april", "split"], cpus=[1, 8])

for entry in found.entries:
    pgrotated = entry.last.vmstat["pgrotated"]
    print(f"{entry.group:>7}  {entry.name:>6}  {entry.speed.median / 2**20:6.0f} MiB/s  pgrotated {pgrotated}")
for sentence in found.sentences():
    print("-", sentence)

report = Path(sys.argv[2] if len(sys.argv) > 2 else "report.html")
report.write_text(found.to_html(), encoding="utf-8")
print(f"{report}: open it in a browser")
