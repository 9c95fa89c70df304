"""Sweeps: one job at many points, on all cores of this machine or on a cluster, resumable.

`plan` says which points there are (`[sweep]` of a job file), `table` keeps their rows in Parquet as they finish,
`engine` runs what is missing through joblib (loky here, Dask or Ray elsewhere), `work` is what a worker does for a row, and
`report` shows them.
"""

from kcompressd.sweep.engine import Outcome, sweep
from kcompressd.sweep.plan import Plan, Point

__all__ = ["Outcome", "Plan", "Point", "sweep"]
