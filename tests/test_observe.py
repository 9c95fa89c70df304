"""`observe`: a kernel's own counters as a Result, and stored Results side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from kcompressd import Lab, Pages, Result, RunInterrupted
from kcompressd.cli import main
from kcompressd.errors import KernelError
from kcompressd.kernel_counters import FIELDS, Host
from kcompressd.observe import observe

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "docs/schema/result.schema.json"
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A kernel under pressure, as files."""
    files = {
        "proc/vmstat": "nr_writeback 7\nnr_written 8\nnr_zspages 9\npgscan_kswapd 100\npgscan_anon 90\npgsteal_anon 30\nzswpout 20\n"
        "pswpout 5\nzswpwb 5\nzswpin 3\npgmajfault 4\nworkingset_nodes 8\nnr_vmscan_write 20\nallocstall_normal 1\n",
        "proc/meminfo": "MemTotal: 100 kB\nZswap: 40 kB\nZswapped: 80 kB\n",
        "proc/swaps": "Filename Type Size Used Priority\n/swap.img file 100 0 -2\n",
        "proc/pressure/memory": "some avg10=0 avg60=0 avg300=0 total=50\nfull avg10=0 avg60=0 avg300=0 total=20\n",
        "proc/41/comm": "kswapd0\n",
        "proc/41/schedstat": "1000 5 6\n",
        "proc/42/comm": "bash\n",
        "proc/43/comm": "kcompressd\n",
        "proc/43/cmdline": "python kcompressd observe",
        "proc/43/schedstat": "7 0 0\n",
        "proc/42/schedstat": "9000 5 6\n",
        "sys/module/zswap/parameters/enabled": "Y\n",
        "sys/module/zswap/parameters/compressor": "zstd\n",
        "sys/block/zram0/initstate": "0\n",
        "sys/block/zram1/initstate": "1\n",
        "sys/block/zram1/mm_stat": "4096 100 4096 0 8192 1 2 0 6 0 0\n",
        "sys/block/zram1/io_stat": "0 1 0 3\n",
        "sys/block/zram1/comp_algorithm": "lzo [lz4] zstd\n",
        "sys/fs/cgroup/app/cgroup.controllers": "memory\n",
        "sys/fs/cgroup/app/memory.stat": "anon 5\nzswap 3000\nzswapped 8192\npgscan 10\npgsteal 5\nzswpout 2\n",
        "sys/fs/cgroup/app/memory.pressure": "some avg10=0 avg60=0 avg300=0 total=1\n",
        "sys/fs/cgroup/bare/cgroup.controllers": "\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Host(tmp_path / "proc", tmp_path / "sys")


def grow(path: Path, old: str, new: str) -> Callable[[float, float], None]:
    def tick(done: float, total: float) -> None:
        path.write_text(path.read_text().replace(old, new))

    return tick


def test_what_grows_is_a_difference_and_what_is_there_a_level(host: Host) -> None:
    def later(done: float, total: float) -> None:
        for path, old, new in [
            (host.proc / "vmstat", "pgscan_kswapd 100", "pgscan_kswapd 160"),
            (host.proc / "vmstat", "zswpout 20", "zswpout 70"),
            (host.proc / "vmstat", "zswpin 3", "zswpin 23"),
            (host.proc / "vmstat", "pgmajfault 4", "pgmajfault 1"),
            (host.proc / "vmstat", "nr_written 8", "nr_written 11"),
            (host.proc / "meminfo", "Zswap: 40", "Zswap: 60"),
            (host.proc / "41/schedstat", "1000 5", "61234 5"),
            (host.proc / "pressure/memory", "total=50", "total=90"),
            (host.sys / "block/zram1/mm_stat", "4096 100 4096 0 8192 1 2 0 6", "8192 200 4096 0 8192 1 5 0 6"),
            (host.sys / "block/zram1/io_stat", "0 1 0 3", "0 1 0 8"),
        ]:
            path.write_text(path.read_text().replace(old, new))

    found = observe(0.25, host=host, progress=later)
    assert (found.vmstat.pgscan_kswapd, found.vmstat.zswpout, found.vmstat.nr_vmscan_write) == (60, 50, 0)
    assert found.vmstat.nr_written == 3
    assert not {"nr_writeback", "nr_zspages", "workingset_nodes", "pgmajfault"} & set(found.vmstat), (
        "levels are no events"
    )
    assert found.zswap == {"pool_total_size": 60 * 1024, "stored_pages": 80 * 1024 // PAGE}
    assert found.zram is not None and list(found.zram.mm_stat) == [name for name in FIELDS]
    assert (found.zram.mm_stat.orig_data_size, found.zram.mm_stat.pages_compacted) == (8192, 3)
    assert found.zram.io_stat == {"failed_reads": 0, "failed_writes": 0, "invalid_io": 0, "notify_free": 5}
    assert [(t.actor, t.reclaim_cpu_ns) for t in found.threads] == [("kswapd0", 60_234)]
    assert (found.timing.psi_memory_some_ns, found.timing.psi_memory_full_ns) == (40_000, 0)
    seconds = found.config.seconds
    assert 0.25 <= seconds < 5 and found.timing.bytes_per_s == pytest.approx(50 * PAGE / seconds)
    assert found.timing.fault_bytes_per_s == pytest.approx(20 * PAGE / seconds)
    assert (found.config.store, found.config.compressor, found.device.kind) == ("zswap", "zstd", "file")
    assert found.series.in_flight[0] == 7 and found.series.pool_pages[-1] == (60 * 1024 + 4096) // PAGE
    assert (found.complete, found.exit_code, found.check()) == (True, 0, [])


def test_a_cgroup_s_own_counters(host: Host) -> None:
    path = host.sys / "fs/cgroup/app/memory.stat"
    found = observe(0.25, host=host, cgroup="app", progress=grow(path, "pgscan 10", "pgscan 25"))
    assert dict(found.vmstat) == {"pgscan": 15, "pgsteal": 0, "zswpout": 0}
    assert found.zswap == {"pool_total_size": 3000, "stored_pages": 8192 // PAGE}
    assert found.config.cgroup is True and "a cgroup" in str(found)
    assert observe(0.1, host=host, cgroup=path.parent).vmstat.pgscan == 0, "a folder's whole path will do"


@pytest.mark.parametrize(
    ("cgroup", "seconds", "said"),
    [
        ("none", 0.1, "none: no such cgroup"),
        ("bare", 0.1, "is no cgroup v2 folder with the memory controller"),
        (None, 0.01, "observe: 0.01 seconds are not between 0.1 and 2592000"),
        (None, 1e99, "observe: 1e+99 seconds are not between 0.1 and 2592000"),
    ],
)
def test_what_cannot_be_observed_is_named(host: Host, cgroup: str | None, seconds: float, said: str) -> None:
    with pytest.raises(KernelError) as raised:
        observe(seconds, host=host, cgroup=cgroup)
    assert said in str(raised.value)


def test_a_kernel_without_schedstat_counts_ticks(host: Host) -> None:
    (host.proc / "41/schedstat").unlink()
    stat = host.proc / "41/stat"
    stat.write_text("41 (kswapd0) S 2 0 0 0 -1 2 0 0 0 0 5 6 0 0 20 0\n")
    found = observe(0.25, host=host, progress=grow(stat, " 5 6 ", " 7 9 "))
    assert [t.reclaim_cpu_ns for t in found.threads] == [5 * 10**9 // os.sysconf("SC_CLK_TCK")]


def test_a_kernel_that_does_nothing_says_so(host: Host) -> None:
    (host.proc / "swaps").write_text("Filename Type Size Used Priority\n")
    (host.proc / "pressure/memory").unlink()
    (host.sys / "module/zswap/parameters/enabled").write_text("N\n")
    found = observe(0.1, host=host)
    assert found.config.compressor == "none" and str(found).splitlines()[0].endswith("nothing is compressed")
    notes = found.notes
    assert any("nothing is swapped to" in note for note in notes)
    assert any("no pressure (PSI)" in note for note in notes) and any("no page was scanned" in note for note in notes)


def test_what_only_root_can_read_is_said(host: Host) -> None:
    assert any("zswap's debugfs cannot be read here" in note for note in observe(0.1, host=host).notes)


def test_this_kernel_s_result_is_one_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    assert main(["observe", "--seconds", "0.2", "--json", str(path)]) == 0
    found = Result.load(path)
    if SCHEMA.is_file():
        jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    assert found.kind == "observed" and found.vmstat and found._repr_html_() and "modelled" not in found.to_html()
    assert "CPU time by thread" not in found.to_html() or found.threads
    assert "lifecycle events" not in found.to_html(), "a kernel has none, and an empty frame says nothing"


def test_ctrl_c_keeps_what_was_seen(host: Host) -> None:
    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as raised:
        observe(60, host=host, progress=interrupt)
    result = raised.value.result
    assert isinstance(result, Result) and not result.complete and result.exit_code == 3
    assert "interrupted" in str(result).splitlines()[0]


def test_the_verb_keeps_it_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kcompressd", "observe", "--seconds", "60", "--json", "o.json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "observed for" in out and err.startswith("kcompressd: interrupted")
    assert Result.load(tmp_path / "o.json").complete is False


def test_stored_results_side_by_side(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def seen(done: float, total: float) -> None:
        grow(host.proc / "vmstat", "zswpout 20", "zswpout 120")(done, total)
        grow(host.proc / "pressure/memory", "total=50", "total=9050")(done, total)

    observe(0.25, host=host, progress=seen).save(tmp_path / "host.json")
    Lab(design="split").run(Pages.sample()[:64]).save(tmp_path / "sim.json")
    paths = [str(tmp_path / name) for name in ("host.json", "sim.json")]
    assert main(["compare", *paths, "--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("host: Linux ") and "\nsim: split on zswap, lz4" in said and "\nstored Results\n" in said
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert lines["zswpout"] == ["100", "64"] and lines["kcompressd_queued"] == ["-", "64"]
    assert lines["counter"] == ["host", "sim"] and lines["some"][:4] == ["task", "stalled", "9.00", "ms"]
    stored = json.loads((tmp_path / "c.json").read_text())["designs"]
    assert [Result.from_dict(one["results"][0]).kind for one in stored] == ["observed", "live"]
    report = (tmp_path / "c.html").read_text()
    assert "<h1>stored Results</h1>" in report and "host: Linux" in report and "sim: split on zswap" in report
