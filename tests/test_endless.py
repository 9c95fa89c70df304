"""Files without an end, or that say they are larger than the memory, are refused; pipes are read."""

from __future__ import annotations

import os
import resource
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kcompressd import Calibration, InputError, Job, Lab, Pages, Result, access_trace
from kcompressd.cli import main
from kcompressd.experiment import Experiment
from kcompressd.trace import Trace


def test_a_file_without_an_end_is_no_job() -> None:
    with pytest.raises(InputError, match="/dev/zero: is larger than any job"):
        Job.load("/dev/zero")


def test_a_job_is_not_cut_off(tmp_path: Path) -> None:
    """Of a longer file less than the bound was left, in letters of two bytes, and the rest was lost."""
    (tmp_path / "long.toml").write_text(f'pages = "sample"\n# {"é" * (1 << 23)}\ndepth = 1\n')
    with pytest.raises(InputError, match=r"long.toml: is larger than any job"):
        Job.load(tmp_path / "long.toml")


@pytest.fixture
def a_gibibyte_left() -> Iterator[None]:
    """Whoever reads until memory ends comes to its end here soon."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("a_gibibyte_left")
@pytest.mark.parametrize("call", ["Result", "index", "sidecar", "experiment", "touches", "stored", "check"])
def test_a_file_without_an_end_is_refused(call: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages, trace = tmp_path / "p.pages", tmp_path / "t.npy"
    Pages.sample()[:1].save(pages, index=False)
    Lab(store="zram", trace=True).run(Pages.sample()[:1]).trace.save(trace)
    for name in ("p.pages.index.json", "t.npy.json", "r.json"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to("/dev/zero")
    read: Mapping[str, Callable[[], object]] = {
        "Result": lambda: Result.load("/dev/zero"),
        "index": lambda: Pages.from_file(pages),
        "sidecar": lambda: Trace.load(trace),
        "experiment": lambda: Experiment.load(Path("/dev/zero")),
        "touches": lambda: access_trace.load("/dev/zero"),
        "stored": lambda: main(["show", str(tmp_path / "r.json")]),
        "check": lambda: main(["check", "--replay", "/dev/zero"]),
    }
    try:
        assert read[call]() == 2
        said = capsys.readouterr().err
    except (OSError, InputError) as error:
        said = str(error)
    assert "is larger than 256 MiB" in said or "is no CSV: a line has" in said


def test_what_comes_through_a_pipe_is_read(tmp_path: Path) -> None:
    result = Lab(store="zram").run(Pages.sample()[:4])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_text, result.to_json())
        assert Result.load(pipe) == result


@pytest.mark.parametrize("load", [Calibration.load, access_trace.load])
def test_an_array_that_says_it_is_larger_than_the_memory_is_refused(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, np.uint32))
    head = (tmp_path / "a.npy").read_bytes().replace(b"(3,), }" + b" " * 14, b"(999999999999999,), }")
    (tmp_path / "b.npy").write_bytes(head)
    with zipfile.ZipFile(tmp_path / "b.calib.npz", "w") as archive:
        archive.writestr("meta.npy", head)
    name = "b.npy" if load == access_trace.load else "b.calib.npz"
    with pytest.raises(InputError, match=f"{name}: .*more.* than there is memory for"):
        load(tmp_path / name)
