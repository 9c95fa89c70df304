"""`kcompressd doctor` on this host and on made-up ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kcompressd import doctor
from kcompressd.cli import main


def host(root: Path, **files: str) -> dict[str, doctor.Check]:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dash_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {check.name: check for check in doctor.examine(root)}


def test_a_bare_host_says_how_to_get_each_thing(tmp_path: Path) -> None:
    checks = host(tmp_path)
    for name, fix in {"zram": "modprobe zram", "zswap": "CONFIG_ZSWAP", "PSI": "psi=1", "cgroup v2": "unified"}.items():
        assert not checks[name].ok and fix in checks[name].fix
    assert checks["kernel"].ok and checks["page size"].ok


def test_what_is_there_is_found(tmp_path: Path) -> None:
    checks = host(
        tmp_path,
        sys__class__zram_dash_control__hot_add="",
        sys__block__zram0__comp_algorithm="lzo [zstd] lz4\n",
        sys__module__zswap__parameters__enabled="Y\n",
        sys__module__zswap__parameters__compressor="zstd\n",
        proc__pressure__memory="some avg10=0.00\n",
        sys__fs__cgroup__cgroup_controllers="",
    )
    assert checks["zram"].found == "with lzo, zstd, lz4" and checks["zswap"].found == "enabled, zstd"
    assert checks["PSI"].ok and not checks["zswap debugfs"].ok


def test_processors_and_memory_are_those_that_results_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, ok in (1, False), (2, True):
        facts = {"cpus": cpus, "memory_bytes": 3 << 29, "machine": "m"}
        monkeypatch.setattr(doctor.environment, "gather", lambda facts=facts: facts)
        check = host(tmp_path)["processors"]
        assert (check.found, check.ok) == (f"{cpus} usable, 1.5 GiB", ok)


@pytest.mark.parametrize("user", [0, 1000])
def test_zram_is_for_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(doctor.os, "geteuid", lambda: user)
    assert host(tmp_path, sys__class__zram_dash_control__hot_add="")["zram"].ok is (user == 0)


@pytest.mark.parametrize(("scope", "ok", "said"), [("0", True, "your own"), ("1", False, "ptrace_scope=1")])
def test_what_yama_allows_without_the_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, ok: bool, said: str
) -> None:
    facts = doctor.access.AccessFacts(1, 1000, 1000, False, 0, False)
    monkeypatch.setattr(doctor.access, "gather", lambda pid: facts)
    check = host(tmp_path, proc__sys__kernel__yama__ptrace_scope=scope + "\n")["capture"]
    assert (check.ok, said in check.found, bool(check.fix)) == (ok, True, not ok)


def test_the_verb_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", str(tmp_path / "d.json")]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "d.json").read_text())
    assert all(check["name"] in said for check in found["checks"]) and found["environment"]["cpus"] >= 1
