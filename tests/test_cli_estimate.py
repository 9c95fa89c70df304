"""`kcompressd estimate` and `capture --stats-only`: what they print, write and exit with."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from kcompressd import Pages, PageStats, RunInterrupted
from kcompressd.cli import main
from kcompressd.estimate import estimate

SCHEMA = Path(__file__).parent.parent / "docs/schema/estimate.schema.json"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_that_is_promised_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--sample", "-c", "lz4,zstd:1,lzo-rle", "--json", "e.json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(Path("e.json").read_text())
    assert err == "" and [one["name"] for one in found["compressors"]] == ["lz4", "zstd", "lzo-rle"]
    lines = {line.split()[0]: line for line in out.splitlines()[2:5]}
    for one, text in zip(found["compressors"], ("lz4", "zstd:1", "lzo-rle"), strict=True):
        words = lines[text].split()
        assert words[1] == f"{one['ratio']:.2f}" and float(words[4]) == round(one["mem_used_total"] / 2**20, 1)
        assert (words[6:9]) == [str(one[key]) for key in ("same_pages", "huge_pages", "incompressible_pages")]
        assert any(bar in lines[text] for bar in "▁▂▃▄▅▆▇█")
    for said in ("p50", "p99", "by kind of mapping", "heap", "How to read it", "zram-generator.conf", "comp_algorithm"):
        assert said in out, said
    assert f"compression-algorithm = {found['choice']['codec']}".split(":")[0] in out


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the repository's documents")
def test_the_stored_form_is_the_schema_s() -> None:
    schema = json.loads(SCHEMA.read_text())
    for argv in (["--sample", "-c", "lz4,lzo"], ["--sample", "--limit", "2", "-c", "zstd:9"]):
        assert main(["estimate", *argv, "--json", "e.json"]) == 0
        jsonschema.validate(json.loads(Path("e.json").read_text()), schema)


def test_one_format_has_standard_output_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--sample", "-c", "lz4,lzo", "--csv", "--markdown", "e.md"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == ["lz4", "lzo"]
    assert int(rows[0]["mem_used_total"]) == estimate(Pages.sample(), "lz4")["lz4"].mm_stat.mem_used_total
    assert Path("e.md").read_text().startswith("**1536 pages")
    assert main(["estimate", "--sample", "-c", "lz4", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["compressors"][0]["huge_pages"] == 172


def test_a_process_is_estimated_live_and_from_its_stats(capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kcompressd.demo_process", "--mib", "1", "--hold"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        pid = str(process.pid)
        assert main(["estimate", "--pid", pid, "-c", "lz4", "--json", "live.json"]) == 0
        assert main(["capture", "--pid", pid, "--stats-only", "-c", "lz4,zstd", "-o", "s.stats.npz"]) == 0
    finally:
        process.kill()
        process.communicate()
    said = capsys.readouterr().out
    assert "heap" in said and said.splitlines()[-1] == "next: kcompressd estimate s.stats.npz"
    assert main(["estimate", "s.stats.npz", "--json", "s.json", "-c", "lz4"]) == 0
    live, kept = (json.loads(Path(name).read_text()) for name in ("live.json", "s.json"))
    assert abs(live["pages"] - kept["pages"]) < 50 and set(live["compressors"][0]["kinds"]) >= {"heap", "anon", "stack"}
    assert live["compressors"][0]["kinds"].keys() == kept["compressors"][0]["kinds"].keys()
    assert os.stat("s.stats.npz").st_mode & 0o777 == 0o600


def test_ctrl_c_shows_and_saves_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = estimate(Pages.sample()[:40], "lz4")
    object.__setattr__(part.index, "complete", False)
    object.__setattr__(part.index, "reason", "interrupted after 40 of 1536 pages")

    def interrupted(*arguments: object, **named: object) -> object:
        raise RunInterrupted(part)

    monkeypatch.setattr("kcompressd.estimate.estimate", interrupted)
    assert main(["estimate", "--sample", "--json", "e.json"]) == 130
    out, err = capsys.readouterr()
    assert "Partial: interrupted after 40" in out and err == "kcompressd: interrupted: the estimate is partial\n"
    assert json.loads(Path("e.json").read_text())["complete"] is False


def test_a_partial_capture_s_estimate_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    sample = Pages.sample()[:20]
    sample.with_index(replace(sample.index, complete=False, reason="the process exited")).save("half.pages")
    assert main(["estimate", "half.pages", "-c", "lz4"]) == 3
    assert capsys.readouterr().err == "kcompressd: partial: the process exited\n"
    PageStats.save(_stats("half.pages"), "half.stats.npz")
    assert main(["estimate", "half.stats.npz"]) == 3


def _stats(path: str) -> PageStats:
    from kcompressd.page_stats import measure

    return measure(Pages.from_file(path), "lz4")


def test_show_prints_a_stored_estimate_and_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.json"
    assert main(["estimate", "--sample", "--limit", "64", "-c", "lz4,zstd:1", "--json", str(out)]) == 0
    capsys.readouterr()
    assert main(["show", str(out)]) == 0
    said = capsys.readouterr().out
    assert "64 pages" in said and "zstd:1" in said and "/sys/block/zram0/comp_algorithm" in said
    stored = json.loads(out.read_text())
    assert all(f"{one['ratio']:.2f}" in said for one in stored["compressors"])
    out.write_text(json.dumps({**stored, "complete": False, "reason": "interrupted"}))
    assert main(["show", str(out)]) == 3 and "note: interrupted" in capsys.readouterr().out
    del stored["choice"]
    out.write_text(json.dumps(stored))
    assert main(["show", str(out)]) == 2 and "stored estimate without" in capsys.readouterr().err
    mm_stat = {"orig_data_size": 4096, "compr_data_size": 100}
    one = {"name": "zstd", "level": None, "kernel": mm_stat, "kcompressd": {**mm_stat, "compr_data_size": 90}}
    one |= {"difference": {"compr_data_size": -10}, "within": False, "differing_pages": [[0, 100, 90]]}
    kernel = {"kind": "fidelity", "kernel": "6.1", "chain_size": 8, "pages": 1, "page_size": 4096, "notes": []}
    out.write_text(json.dumps({**kernel, "compressors": [one]}))
    assert main(["show", str(out)]) == 1 and "-10" in capsys.readouterr().out
