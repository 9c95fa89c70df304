"""Shared memory: reclaimed as anonymous pages are, but for the gate `anon_only`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kcompressd import Job, Result
from kcompressd.errors import InputError
from kcompressd.lifecycle_enums import Event
from kcompressd.trace import Trace

EATER = {"kind": "eater", "pages": 4000}
SHMEM = {**EATER, "shmem": True}


def job(*workloads: dict[str, Any], design: dict[str, Any]) -> Job:
    node = {"managed": 3000, "file": 200, "cpus": 2}
    return Job.from_dict(
        {"pages": "sample", "store": "zram", "node": node, "workload": list(workloads), "design": design}
    )


def ran(*workloads: dict[str, Any], preset: str = "april", **axes: Any) -> Result:
    result = job(*workloads, design={"preset": preset, **axes}).sim()
    assert (result.exit_code, result.check()) == (0, [])
    return result


@pytest.mark.parametrize("preset", ["april", "unofficial", "split"])
def test_the_gate_lets_no_shared_page_queue(preset: str) -> None:
    gated, without = ran(SHMEM, preset=preset), ran(SHMEM, preset=preset, gates=["kswapd_only"])
    assert gated.vmstat.kcompressd_queued == 0 < without.vmstat.kcompressd_queued
    assert gated.vmstat.pswpout > 0


@pytest.mark.parametrize("preset", ["april", "split"])
def test_without_the_gate_shared_pages_fare_as_anonymous_ones(preset: str) -> None:
    shared, anonymous = (ran(app, preset=preset, gates=["kswapd_only"]) for app in (SHMEM, EATER))
    levels = {"nr_anon_pages": shared.vmstat.nr_shmem, "nr_shmem": 0}
    levels["nr_file_pages"] = shared.vmstat.nr_file_pages - shared.vmstat.nr_shmem
    assert {**shared.vmstat, **levels} == anonymous.vmstat and shared.kcompressd == anonymous.kcompressd
    assert shared.vmstat.nr_shmem > 0 == shared.vmstat.nr_anon_pages


def test_of_two_applications_the_one_with_anonymous_pages_is_queued(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    job(SHMEM, EATER, design={"preset": "april"}).sim(trace=path)
    records = Trace.load(path).records
    queued = records["folio"][records["event"] == Event.QUEUE]
    assert len(queued) and queued.min() >= SHMEM["pages"]
    reclaimed = records["folio"][records["event"] == Event.RECLAIM]
    assert reclaimed.min() < SHMEM["pages"]


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ({**SHMEM, "folio_order": 2}, "workload.folio_order is for anonymous pages"),
        ({**SHMEM, "shmem": 1}, "workload.shmem"),
    ],
)
def test_what_cannot_be_is_named(app: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        job(app, design={"preset": "april"}).sim()
