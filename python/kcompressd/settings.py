"""The choice of a compressor from an estimate, why, and the lines that set it.

The rule weighs memory against time: a compressor that takes twice as long a page, there and back, is worth
it when it leaves at most 90 % of the memory used. So the choice has the least
`mem_used_total * time ** log2(1 / 0.9)`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from kcompressd.sizes import duration, mib

if TYPE_CHECKING:
    from kcompressd.design import Store
    from kcompressd.estimate import CompressorEstimate, Estimate
    from kcompressd.page_stats import Codec

WORTH: Final = 0.10
"""The share of memory that twice the time must save."""
EXPONENT: Final = -math.log2(1 - WORTH)
"""Of the time in a cost: memory * time ** EXPONENT."""
_USELESS: Final = 1.1
"""Below this ratio of the sizes compression is not worth its time."""
_DEFAULT_LEVELS: Final = {"lz4": 1, "lz4hc": 9, "zstd": 3, "deflate": 6}


@dataclass(frozen=True, slots=True)
class Choice:
    """The compressor (`codec` as "-c" takes it), the reason in sentences, and settings as text to paste."""

    codec: str
    reason: str
    zram_sysfs: str
    zram_generator: str
    zswap_sysfs: str

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return asdict(self)


def choose(estimate: Estimate) -> Choice:
    """Return the choice among the compressors of `estimate`; ties go to the one named first."""
    best = min(estimate.compressors, key=_cost)
    disk = estimate.environment.memory_bytes // 2 // 2**20 * 2**20
    return Choice(
        codec=best.codec.text,
        reason=_reason(estimate, best),
        zram_sysfs=_zram(best, disk),
        zram_generator=_generator(best),
        zswap_sysfs=_zswap(best),
    )


def texts(best: CompressorEstimate, store: Store, ram_bytes: int) -> dict[str, str]:
    """Return the lines that set `best` behind `store` on a machine of this memory, by what takes them.

    Sources: Documentation/admin-guide/blockdev/zram.rst and mm/zswap.rst, zram-generator.conf(5), and Android's page on
    zRAM in fstab (`zramsize`).
    """
    if store == "zswap":
        words = f"zswap.enabled=1 zswap.compressor={best.name} zswap.max_pool_percent=20"
        return {"sysfs": _zswap(best), "kernel command line": f"{words}\n"}
    return {
        "sysfs": _zram(best, ram_bytes // 2 // 2**20 * 2**20),
        "/etc/systemd/zram-generator.conf": _generator(best),
        "kernel command line": "zswap.enabled=0 zram.num_devices=1\n",
        "Android fstab": _android(best),
    }


def _android(best: CompressorEstimate) -> str:
    lines = [
        "/dev/block/zram0 none swap defaults zramsize=50%",
        "# in init.rc, before swapon_all:",
        f"#   write /sys/block/zram0/comp_algorithm {best.name}",
    ]
    if has_own_level(best.codec):
        lines.append(f'#   write /sys/block/zram0/algorithm_params "algo={best.name} level={best.level}"')
    return "".join(f"{line}\n" for line in lines)


def is_useless(best: CompressorEstimate) -> bool:
    """Tell whether compressing these pages is hardly worth its time."""
    return bool(best.mm_stat.orig_data_size < _USELESS * best.mm_stat.compr_data_size)


def _cost(compressor: CompressorEstimate) -> float:
    return _memory(compressor) * math.pow(max(compressor.page_ns, 1.0), EXPONENT)


def _reason(estimate: Estimate, best: CompressorEstimate) -> str:
    if best.ratio is None:
        return f"{best.codec.text}: every page is one repeated word, any compressor does."
    text = f"{best.codec.text}: {mib(best.mm_stat.mem_used_total)} hold {mib(best.mm_stat.orig_data_size)}"
    others = [compressor for compressor in estimate.compressors if compressor is not best]
    fastest, smallest = min(others, key=lambda one: one.page_ns, default=best), min(others, key=_memory, default=best)
    if others and fastest.page_ns < best.page_ns:
        text += (
            f"; {fastest.codec.text} takes {duration(fastest.page_ns)} a page there and back instead of "
            f"{duration(best.page_ns)}, but {_memory(fastest) / _memory(best) - 1:.0%} more memory"
        )
    if others and round(100 * _memory(smallest) / _memory(best)) < 100:
        text += (
            f"; {smallest.codec.text} saves another {1 - _memory(smallest) / _memory(best):.0%}, "
            f"for {smallest.page_ns / max(1.0, best.page_ns):.1f} times the time"
        )
    text += f". Twice the time must save {WORTH:.0%} of the memory."
    if is_useless(best):
        text += " None makes these pages much smaller: compressing them is hardly worth its time."
    return text


def _memory(compressor: CompressorEstimate) -> int:
    return int(compressor.mm_stat.mem_used_total)


def has_own_level(codec: Codec) -> bool:
    """Tell whether the kernel must be told the level, because it is not its default."""
    return codec.level is not None and codec.level != _DEFAULT_LEVELS[codec.name]


def _zram(best: CompressorEstimate, disk_bytes: int) -> str:
    lines = [f"echo {best.name} > /sys/block/zram0/comp_algorithm"]
    if has_own_level(best.codec):
        lines.append(f'echo "algo={best.name} level={best.level}" > /sys/block/zram0/algorithm_params')
    lines += [
        f"echo {disk_bytes // 2**20}M > /sys/block/zram0/disksize",
        "mkswap /dev/zram0 && swapon --priority 100 /dev/zram0",
    ]
    return "".join(f"{line}\n" for line in lines)


def _generator(best: CompressorEstimate) -> str:
    level = f"(level={best.level})" if has_own_level(best.codec) else ""
    return f"[zram0]\nzram-size = ram / 2\ncompression-algorithm = {best.name}{level}\n"


def _zswap(best: CompressorEstimate) -> str:
    note = f"# zswap has no levels: this is {best.name} at its default\n" if has_own_level(best.codec) else ""
    return (
        f"{note}echo {best.name} > /sys/module/zswap/parameters/compressor\n"
        "echo Y > /sys/module/zswap/parameters/enabled\n"
    )
