"""Page cache that applications read, from job files: what adds up, what it costs, and how it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompressd import Job, Result
from kcompressd.errors import InputError

SCHEMA = json.loads((Path(__file__).parent.parent / "docs/schema/result.schema.json").read_text())
ZIPF = {"kind": "zipf", "pages": 500, "touches": 20_000, "file_pages": 2000}


def ran(*workloads: dict[str, Any], folder: Path = Path(), **keys: Any) -> Result:
    node = {"managed": 3000, "file": 200, "cpus": 2, **keys.pop("node", {})}
    tree = {"pages": "sample", "store": "zram", "node": node, "workload": list(workloads), **keys}
    result = Job.from_dict(tree, folder).sim()
    jsonschema.Draft202012Validator(SCHEMA).validate(result.to_dict())
    assert (result.exit_code, result.check()) == (0, [])
    return result


@pytest.mark.parametrize("access", ["read", "mapped", "executable"])
def test_a_file_that_fits_is_read_once(access: str) -> None:
    file = {"file_access": access, "file_share": 1.0, "exponent": 0.0, "touches": 40_000}
    found = ran({**ZIPF, **file})
    assert found.vmstat.pgpgin == 2000 * 4
    assert found.vmstat.nr_file_pages == 2000 + 200 and found.vmstat.pgscan_file == 0
    (app,) = found.applications
    faults = 500 + (0 if access == "read" else 2000)
    assert (app.pgfault, app.pgpgin, app.workingset_refault_file) == (faults, 8000, 0)


def test_a_share_of_none_and_of_half_of_the_touches_go_to_the_file() -> None:
    half, none = ({**ZIPF, "file_access": "mapped", "file_share": share, "touches": 4000} for share in (0.5, 0.0))
    assert ran(none).vmstat.pgpgin == 0
    assert 400 < ran(half).vmstat.pgmajfault < 2000


def test_a_burst_reads_its_code_first_and_is_later_for_it() -> None:
    burst = {"kind": "burst", "pages": 400, "deadline_ns": 1_000_000}
    without, cold = ran(burst), ran({**burst, "file_pages": 100, "file_access": "executable"})
    assert cold.applications[0].touches == 500
    late = cold.applications[0].late_ns - without.applications[0].late_ns
    assert late >= 100 * 80_000, "each page of its code is a read of the device"


def test_a_trace_goes_on_from_the_own_pages_to_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("page,write\n0,w\n9,w\n10,r\n12,r\n12,r\n")
    replay = {"kind": "replay", "trace": "t.csv", "pages": 10, "file_pages": 3}
    found = ran(replay, folder=tmp_path)
    assert (found.vmstat.pgfault, found.vmstat.pgpgin) == (2, 8)


def test_groups_are_charged_for_their_files_and_their_counters_add_up() -> None:
    apps = [{**ZIPF, "name": name, "memcg": name, "touches": 30_000} for name in ("a", "b")]
    found = ran(*apps, memcg=[{"name": "a", "memory_max": 1200 * 4096}, {"name": "b"}], node={"managed": 6000})
    root, a, b = (group.memory_stat for group in found.memcgs)
    for name in ("workingset_refault_file", "workingset_activate_file", "pgactivate", "pgdeactivate", "pgrefill"):
        assert root[name] == a[name] + b[name] == found.vmstat[name], name
    assert (a["workingset_refault_file"] > 1000, b["workingset_refault_file"]) == (True, 0), "a cannot keep its file"
    assert 0 < a["file"] <= 1200 * 4096 and root["file"] == 200 * 4096 + a["file"] + b["file"]
    assert found.memcgs[1].memory_current <= 1200 * 4096
    for stat in (root, a, b):
        assert stat["inactive_file"] + stat["active_file"] <= stat["file"]


@settings(max_examples=25, deadline=None)
@given(
    design=st.sampled_from(["sync", "rfc", "april", "unofficial", "split"]),
    store=st.sampled_from(["zram", "zswap"]),
    access=st.sampled_from(["read", "mapped", "executable"]),
    share=st.floats(0, 1),
    file_pages=st.integers(1, 4000),
    pages=st.integers(1, 3000),
    swappiness=st.integers(0, 200),
    lru_gen=st.booleans(),
)
def test_whatever_is_read_beside_whatever_is_swapped_adds_up(**of: Any) -> None:
    access = "mapped" if of["lru_gen"] and of["access"] == "read" else of["access"]
    file = {"file_pages": of["file_pages"], "file_access": access, "file_share": of["share"]}
    zipf = {"kind": "zipf", "pages": of["pages"], "touches": 6000, "write_share": 0.3, **file}
    eater = {"kind": "usemem", "pages": 1500, "touches": 3000}
    node = {
        "lru_gen": of["lru_gen"],
        "swappiness": of["swappiness"],
        "managed": 6500 if of["swappiness"] == 0 else 3000,  # With 0 the multi-gen LRU swaps nothing: all must fit.
    }
    ran(zipf, eater, design=of["design"], store=of["store"], node=node)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"file_pages": 0}, "workload.file_pages 0 is not between 1 and"),
        ({"file_access": "written"}, "workload.file_access 'written' is none of read, mapped, executable"),
        ({"file_share": 1.5}, "workload.file_share 1.5 is not between 0 and 1"),
        ({"file_pages": None, "file_access": "read"}, "workload.file_access is of a file, and there is none"),
        ({"kind": "eater"}, "workload.file_pages is not for the workload 'eater'"),
        ({"kind": "burst", "deadline_ns": 1, "file_share": 0.2}, "workload.file_share is not for the workload 'burst'"),
    ],
)
def test_what_is_no_file_is_refused_by_name(given_: dict[str, Any], said: str) -> None:
    kind = {"kind": "zipf", "pages": 10, "file_pages": 10, **given_}
    with pytest.raises(InputError, match=said):
        ran({key: value for key, value in kind.items() if value is not None})


def test_a_trace_that_writes_to_the_file_or_does_not_say_where_it_begins_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("page,write\n0,w\n10,w\n")
    replay = {"kind": "replay", "trace": "t.csv", "file_pages": 3}
    with pytest.raises(InputError, match=r"workload.trace writes to a page of the file"):
        ran({**replay, "pages": 10}, folder=tmp_path)
    with pytest.raises(InputError, match=r"workload.pages are missing"):
        ran(replay, folder=tmp_path)


def test_the_multi_gen_lru_takes_mapped_pages_alone() -> None:
    zipf = {**ZIPF, "touches": 30_000, "exponent": 0.5}
    with pytest.raises(InputError, match=r"workload.file_access: is for active and inactive lists"):
        ran(zipf, node={"lru_gen": True})
    eater = {"kind": "eater", "pages": 2500, "start_ns": 50_000_000}
    found = ran({**zipf, "file_access": "mapped"}, eater, node={"lru_gen": True})
    assert found.vmstat.workingset_refault_file > 100 and found.vmstat.pgdeactivate == 0


def test_real_threads_refuse_it() -> None:
    tree = {"pages": "sample", "store": "zram", "node": {"managed": 3000}, "workload": ZIPF}
    with pytest.raises(InputError, match=r"workload\.file_pages: files are read in virtual time alone"):
        Job.from_dict(tree).run()
