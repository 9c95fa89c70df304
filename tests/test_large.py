"""Large folios from a job or a lab to the Result, its trace and the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kcompressd import Job, Lab, Pages, Result
from kcompressd.errors import LabError
from kcompressd.trace import Trace
from kcompressd.validate import validate

NODE = {"managed": 3000, "free": 2800, "file": 200}


def job(**keys: Any) -> Job:
    """An eater of 6000 pages in folios of 64 KiB on a node of 3000."""
    workload = {"kind": "eater", "pages": 6000, "folio_order": 4}
    return Job.from_dict(
        {"pages": "sample", "store": "zram", "design": "april", "node": NODE, "workload": workload} | keys
    )


@pytest.mark.parametrize("design", ["sync", "april", "split", "unofficial"])
def test_a_job_with_large_folios_is_lawful_and_says_so(design: str, tmp_path: Path) -> None:
    result = job(design=design).sim(trace=tmp_path / "t.npy")
    assert result.complete and result.check() == []
    stats = result.mthp["hugepages-64kB"]
    assert stats["anon_fault_alloc"] > 100 and stats["swpout"] > 0
    assert result.lifecycle.by_event["join"] == 15 * stats["anon_fault_alloc"]
    verdict = validate(Trace.load(tmp_path / "t.npy"))
    assert verdict.violations == 0, verdict
    saved = Result.load(result.save(tmp_path / "r.json"))
    assert saved == result and saved.mthp == result.mthp


def test_generations_hold_large_folios_by_the_law(tmp_path: Path) -> None:
    run = job(design="split", node={"managed": 4600, "file": 200, "lru_gen": True})
    result = run.sim(trace=tmp_path / "t.npy")
    assert result.complete and result.check() == []
    assert result.mthp["hugepages-64kB"]["swpout"] > 0
    assert validate(Trace.load(tmp_path / "t.npy")).violations == 0
    again, first = run.sim().to_dict(), run.sim().to_dict()
    assert {**again, "environment": {}} == {**first, "environment": {}}


def test_single_pages_leave_no_trace_of_large_ones() -> None:
    result = job(workload={"kind": "eater", "pages": 6000}).sim()
    assert not result.mthp and "mthp" not in result.to_dict()
    assert "join" not in result.lifecycle.by_event and "folio_order" not in result.config


@pytest.mark.parametrize("store", ["zram", "zswap"])
@pytest.mark.parametrize("order", [1, 4, 9])
def test_real_threads_bring_every_byte_of_a_large_folio_back(store: Any, order: int) -> None:
    lab = Lab(store=store, kernel=(6, 13), folio_order=order, trace=True, fault="shuffled")
    result = lab.run(Pages.sample()[:1100])
    assert result.complete and not result.mismatched and result.check() == []
    stats = result.mthp[f"hugepages-{4 << order}kB"]
    assert stats["zswpout"] + stats["swpout"] > 0 and (stats["zswpout"] == 0 or store == "zswap")
    assert validate(result.trace).violations == 0


@pytest.mark.parametrize("design", ["sync", "april", "split", "unofficial"])
@pytest.mark.parametrize("store", ["zram", "zswap"])
def test_an_eater_of_large_folios_on_real_threads_is_lawful_and_gets_its_bytes_back(design: str, store: str) -> None:
    """It may be ended by the OOM killer. A queue of 256 such folios could hold all of the node, and april's worker, which has no
    PF_MEMALLOC, would wait for ever for a page to compress them into (`livelock`); one of 64 cannot."""
    result = job(design=design, store=store, kernel="6.13", depth=64).run(trace=True)
    assert result.complete and not result.mismatched and result.check() == []
    stats = result.mthp["hugepages-64kB"]
    assert stats["anon_fault_alloc"] > 50 and stats["swpout"] + stats["zswpout"] > 0
    assert validate(result.trace).violations == 0


def test_what_cannot_have_large_folios_is_refused_by_name() -> None:
    with pytest.raises(LabError, match="10 is not between 0 and 9"):
        Lab(folio_order=10).run(Pages.sample()[:8])
    with pytest.raises(LabError, match="a script drives single pages"):
        Lab(folio_order=1).step(Pages.sample()[:8])
    notes = Lab(folio_order=2).run(Pages.sample()[:64]).notes
    assert any("6.13" in note for note in notes), notes
