"""Our figures against kernels' own: the sample's, committed beside it; the shared oracle's; the running kernel's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompressd import Pages, _core, fidelity, zram_device
from kcompressd.cli import main
from kcompressd.errors import KernelError
from kcompressd.estimate import CHAIN_SIZES, estimate
from kcompressd.fidelity import ALL, LIMITS, Fidelity, KernelFigures, against, figures_of, find_chain_size, of_kernel
from kcompressd.page_stats import Codec, parse_codecs
from kcompressd.zram_device import MmStat, ZramDevice

SHARED = Path(os.environ.get("KCOMPRESSD_SHARED") or Path(__file__).parents[2] / "shared")
KERNELS = sorted(
    entry.name
    for entry in (resources.files("kcompressd") / "data").iterdir()
    if entry.name.startswith("sample.kernel-")
)
CONTROL = Path("/sys/class/zram-control")
can_add = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(CONTROL / "hot_remove", os.W_OK),
    reason="needs root and a kernel with zram (hot_add)",
)


@pytest.mark.parametrize("name", KERNELS)
def test_the_sample_s_figures_are_a_kernel_s(name: str) -> None:
    kernel, sample = stored(name), Pages.sample()
    assert kernel["digest"] == sample.digest and kernel["compressors"], "make the figures again: see docs/fidelity.md"
    found = against(sample, figures_of(kernel), kernel=kernel["kernel"], chain_size=kernel["chain_size"])
    print(found.to_markdown())
    assert found.exit_code == 0
    for one in found.differences:
        assert one.limit or not (any(one.fields.values()) or one.pages.size), one.codec.text


def test_the_sample_s_zswap_is_a_kernel_s() -> None:
    kernel, sample = stored("sample.zswap-6.18.json"), Pages.sample()
    assert kernel["digest"] == sample.digest and set(kernel["compressors"]) == {"lzo", "lzo-rle", "deflate"}
    for name, figures in kernel["compressors"].items():
        ours, theirs = estimate(sample, [name])[name].zswap, figures["kernel"]
        counted = {counter: ours[counter] - theirs[counter] for counter in ours if counter != "zero_pages"}
        assert not any(counted.values()) and theirs["swpout_zero"] == ours.zero_pages, (name, counted)


def test_there_are_figures_of_a_kernel_for_all_compressors_but_842() -> None:
    """No kernel that could be asked has 842; the shared oracle's has."""
    of_zram = {one["name"] for name in KERNELS for one in stored(name)["compressors"]}
    assert of_zram | set(stored("sample.zswap-6.18.json")["compressors"]) == set(ALL) - {"842"}


def stored(name: str) -> dict[str, Any]:
    """Figures that come with the package."""
    found: dict[str, Any] = json.loads((resources.files("kcompressd") / "data" / name).read_text())
    return found


@pytest.mark.skipif(not SHARED.is_dir(), reason="no kernel figures in ../shared or $KCOMPRESSD_SHARED")
@pytest.mark.parametrize("corpus", ["py", "node"])
def test_the_corpora_s_figures_are_the_oracle_s(corpus: str) -> None:
    stored = json.loads((SHARED / "oracle/zram_mm_stat.json").read_text())["corpora"][corpus]
    sizes = np.load(SHARED / "oracle/zram_page_sizes.npz")
    figures = [KernelFigures(codec, stored[codec.name], sizes[f"{corpus}.{codec.name}"]) for codec in parse_codecs(ALL)]
    found = against(Pages.from_file(SHARED / f"corpora/{corpus}.pages.zst"), figures, kernel="of the oracle")
    print(found.to_markdown())
    assert found.exit_code == 0
    exact = [one for one in found.differences if one.codec.name not in LIMITS]
    assert len(exact) == 5 and not any(one.pages.size or any(one.fields.values()) for one in exact)


@can_add
def test_the_running_kernel_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", "--sample", "--limit", "400", "--json", str(tmp_path / "k.json")]) == 0
    found = json.loads((tmp_path / "k.json").read_text())
    assert found["compressors"] and all(one["within"] for one in found["compressors"])
    out = capsys.readouterr().out
    assert "Linux" in out and all(name in out for name in found["lacking"])


@can_add
@pytest.mark.parametrize("how", ["exit", "error", "kill"])
def test_the_device_is_removed_whatever_happens(how: str) -> None:
    ways = {"exit": "pass", "error": "raise SystemExit(3)", "kill": "time.sleep(60)"}
    script = (
        "import time\n"
        "from kcompressd import Pages\n"
        "from kcompressd.page_stats import parse_codecs\n"
        "from kcompressd.zram_device import ZramDevice\n"
        "with ZramDevice() as device:\n"
        "    device.setup(parse_codecs(device.algorithms()[0])[0], 1 << 20)\n"
        "    for stat in device.write(Pages.sample()[:9], lambda done: None):\n"
        "        print(device.name, flush=True)\n"
        f"        {ways[how]}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert name.startswith("zram")
    if how == "kill":
        assert Path("/sys/block", name, "initstate").read_text().strip() == "1"
        process.send_signal(signal.SIGKILL)
    assert process.wait() == {"exit": 0, "error": 3, "kill": -signal.SIGKILL}[how]
    process.stdout.close()
    until = time.monotonic() + 10
    while Path("/sys/block", name).exists():
        assert time.monotonic() < until, f"{name} is still there"
        time.sleep(0.05)


@can_add
def test_a_compressor_that_the_kernel_lacks_is_named() -> None:
    with ZramDevice() as device:
        offered = device.algorithms()
    missing = [name for name in ALL if name not in offered]
    if not missing:
        pytest.skip("this kernel's zram has every compressor")
    with pytest.raises(KernelError, match=f"{missing[0]}: this kernel's zram offers"):
        of_kernel(Pages.sample()[:1], missing[0])
    assert of_kernel(Pages.sample()[:1], [offered[0], missing[0]]).lacking == (missing[0],)


def planted(change: Callable[[MmStat, Any], None], name: str = "lzo") -> Fidelity:
    """A comparison with a kernel that is ours, changed."""
    sample = Pages.sample()[:50]
    ours = estimate(sample, [name])[name]
    stat, sizes = dict(ours.mm_stat), ours.charged.copy()
    change(stat, sizes)
    return against(sample, [KernelFigures(ours.codec, stat, sizes)], kernel="planted")


def test_a_difference_of_one_byte_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    def one_byte(stat: MmStat, sizes: Any) -> None:
        stat["compr_data_size"] += 1
        sizes[7] += 1

    found = planted(one_byte)
    (document,) = found.to_dict()["compressors"]
    assert (found.exit_code, document["difference"]["compr_data_size"]) == (1, -1)
    assert [page for page, *_ in document["differing_pages"]] == [7]
    assert "please report it" in found.to_markdown() and "lzo differs" in found.to_markdown()


@pytest.mark.parametrize("field", zram_device.FIELDS)
def test_every_field_counts(field: str) -> None:
    def more(stat: MmStat, sizes: Any) -> None:
        stat[field] += 1

    assert planted(more).exit_code == 1


@pytest.mark.parametrize(("release", "limit"), [("6.1.0-48-amd64", 3e-3), ("6.2.0", 2e-4), ("of the oracle", 2e-4)])
def test_zstd_s_limit_is_that_of_the_kernel(release: str, limit: float) -> None:
    from dataclasses import replace

    (difference,) = planted(lambda stat, sizes: None, "zstd").differences
    assert replace(difference, release=release).limit == limit


def test_what_is_known_to_differ_is_within_its_limit_only() -> None:
    for share, code in ((0.5, 0), (2.0, 1)):

        def shift(stat: MmStat, sizes: Any, share: float = share) -> None:
            stat["compr_data_size"] += int(share * LIMITS["zstd"] * stat["compr_data_size"])

        assert planted(shift, "zstd").exit_code == code


class ChainKernel:
    """A device of a kernel with another CONFIG_ZSMALLOC_CHAIN_SIZE, as far as `find_chain_size` looks."""

    def __init__(self, chain_size: int) -> None:
        self.chain_size = chain_size

    def setup(self, codec: Codec, disk_bytes: int) -> None:
        self.codec = codec

    def write(self, pages: Pages, each: object, *, sector: int) -> Iterator[MmStat]:
        for one in estimate(pages, [self.codec.text], chain_size=self.chain_size)[self.codec.text].charged:
            size, none = np.array([one], dtype=np.uint32), np.zeros(1, dtype=np.uint32)
            yield _core.account(4096, self.chain_size, np.zeros(1, np.uint8), size, none, none)["mm_stat"]


@pytest.mark.parametrize("chain_size", CHAIN_SIZES)
def test_the_chain_size_shows_in_the_behaviour(chain_size: int) -> None:
    device: Any = ChainKernel(chain_size)
    assert find_chain_size(device, parse_codecs("lzo-rle")[0]) == (chain_size, "")


def test_a_kernel_of_unknown_zspages_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device: Any = ChainKernel(8)
    monkeypatch.setattr(fidelity, "zspage_bytes", lambda *arguments: 1)
    assert find_chain_size(device, parse_codecs("lz4")[0]) == (
        8,
        "no chain size explains this kernel's zspages; the default of 8 is taken",
    )


@pytest.mark.parametrize(
    ("uid", "folder", "said"),
    [
        (1000, "", "zram: adding a device needs root; sudo kcompressd kernel …"),
        (0, "none", "zram: this kernel has no zram, or its module is not loaded; modprobe zram num_devices=0"),
        (0, "", "is not writable here; run it on the host, not in a container"),
    ],
)
def test_where_it_cannot_run_it_says_why(
    uid: int, folder: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(KernelError) as raised:
        ZramDevice(tmp_path / folder, tmp_path)
    assert str(raised.value).endswith(said)


def test_pages_of_another_size_are_refused() -> None:
    with pytest.raises(KernelError, match="are of 65536 bytes, this kernel's of"):
        of_kernel(Pages.from_bytes(bytes(65536), page_size=65536))
