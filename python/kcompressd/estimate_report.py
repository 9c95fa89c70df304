"""How an `Estimate` shows itself: a table, sentences that say how to read it, and settings to paste."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from rich.console import RenderableType
from rich.markup import escape

from kcompressd.estimate import CompressorEstimate, Estimate
from kcompressd.fitted import Fitted, bare, plain
from kcompressd.sizes import bars, chain_text, mib, pages_text

WIDTH: Final = 120
_BUSY: Final = 0.9
"""Threads that had a CPU for less than this share of their time measured too long times."""

_FILLED: Final = 1.25
"""More memory used than this times the compressed bytes is due to zspages that are not full."""

Row: TypeAlias = tuple[str, ...]
Table: TypeAlias = tuple[Row, list[Row]]
"""Column names, and rows."""


def title(estimate: Estimate) -> str:
    """Return what was estimated, in one line."""
    command = f" of {estimate.index.command}" if estimate.index.command else ""
    partial = f", partial: {estimate.index.reason}" if not estimate.complete else ""
    return (
        f"{pages_text(estimate.pages, estimate.page_size)}{command} in zram, {chain_text(estimate.chain_size)}{partial}"
    )


def tables(estimate: Estimate) -> Iterator[tuple[str, Table]]:
    """Yield headings (none: the table speaks for itself) and tables."""
    yield "", _sizes(estimate.compressors)
    yield "One core's speed, and the time of a page in µs", _speeds(estimate.compressors)
    if estimate.compressors[0].kinds:
        yield "Uncompressed over compressed size by kind of mapping", kinds(estimate)


def _sizes(compressors: Sequence[CompressorEstimate]) -> Table:
    columns = ("compressor", "ratio", "compr", "mem_used", "same", "huge", "incompr", "sizes")
    rows: list[Row] = [
        (
            of.codec.text,
            "-" if of.ratio is None else f"{of.ratio:.2f}",
            mib(of.mm_stat.compr_data_size),
            mib(of.mm_stat.mem_used_total),
            str(of.mm_stat.same_pages),
            str(of.mm_stat.huge_pages),
            str(of.incompressible_pages),
            bars(of.histogram),
        )
        for of in compressors
    ]
    return columns, rows


def _speeds(compressors: Sequence[CompressorEstimate]) -> Table:
    quantiles = ("p50", "p90", "p99")
    columns = ("compressor", "compress MiB/s", *quantiles, "decompress MiB/s", *quantiles)
    rows = []
    for of in compressors:
        row = [of.codec.text]
        for rate in (of.compress, of.decompress):
            row.append(f"{rate.bytes_per_s / 2**20:.0f}" if rate.page_ns.count else "-")
            row += [f"{rate.page_ns[at] / 1e3:.1f}" if rate.page_ns.count else "-" for at in quantiles]
        rows.append(tuple(row))
    return columns, rows


def kinds(estimate: Estimate) -> Table:
    """Return how much smaller pages of each kind of mapping become."""
    columns = ("kind", "pages", "same", *(of.codec.text for of in estimate.compressors))
    rows = []
    for kind, figures in estimate.compressors[0].kinds.items():
        sizes = [of.kinds[kind].compr_data_size for of in estimate.compressors]
        ratios = [f"{figures.pages * estimate.page_size / size:.2f}" if size else "-" for size in sizes]
        rows.append((kind, str(figures.pages), str(figures.same_pages), *ratios))
    return columns, rows


def sentences(estimate: Estimate, *, bars: bool = True) -> Iterator[str]:
    """Yield how to read the table, and what to know of this one; `bars`: it has the sizes as bars of characters."""
    huge = "stored as they are, a whole page each"
    step = estimate.page_size // len(estimate.compressors[0].histogram)
    ends = f"from {step} bytes on the left to {estimate.page_size} on the right"
    drawn = f" The bars under sizes show how many pages shrink to how much, {ends}."
    yield (
        "How to read it: ratio is the memory of the pages over all memory that zram holds for them (mem_used_total), "
        f"so at 2.0 swapping out 2 GiB frees 1 GiB. Same-filled pages cost nothing; huge ones are {huge}, incompr of "
        f"them no smaller after compression.{drawn if bars else ''}"
    )
    yield from _partly_filled(estimate.compressors)
    busy = estimate.timing.cpu_ns / max(1, estimate.timing.threads_ns)
    if busy < _BUSY:
        yield (f"The machine was busy: the measuring threads had a CPU {busy:.0%} of the time; speeds may be too low.")
    yield from (f"Note of the capture: {note}." for note in estimate.index.notes)
    if not estimate.complete:
        yield f"Partial: {estimate.index.reason}."


def _partly_filled(compressors: Sequence[CompressorEstimate]) -> Iterator[str]:
    """Say it when the ratio is that of a small device rather than of these pages."""
    best = max(compressors, key=lambda of: of.mm_stat.mem_used_total / max(1, of.mm_stat.compr_data_size))
    stat = best.mm_stat
    if stat.compr_data_size and stat.mem_used_total > _FILLED * stat.compr_data_size:
        yield (
            f"With so few pages many zspages are only partly filled: {best.codec.text} holds "
            f"{mib(stat.compr_data_size)} in {mib(stat.mem_used_total)}. More pages like these fill them, and the "
            f"ratio rises, to {stat.orig_data_size / stat.compr_data_size:.2f} at most."
        )


def settings(estimate: Estimate) -> Iterator[tuple[str, str]]:
    """Yield headings with text to paste."""
    choice = estimate.choice
    yield "zram by hand (root; a fresh zram0, disk of half the memory here):", choice.zram_sysfs
    yield "zram by systemd, /etc/systemd/zram-generator.conf:", choice.zram_generator
    yield "or zswap (root):", choice.zswap_sysfs


def parts(estimate: Estimate) -> Iterator[RenderableType]:
    """Yield what rich prints."""
    yield f"[bold]{escape(title(estimate))}[/bold]"
    for heading, table in tables(estimate):
        if heading:
            yield f"\n{escape(heading)}:"
        columns, rows = table
        yield Fitted(bare((name.replace(" ", "\n") for name in columns), rows, left=(columns[0], "sizes")))
    for sentence in sentences(estimate):
        yield "\n" + escape(sentence)
    yield f"\n[bold]Choice[/bold]  {escape(estimate.choice.reason)}"
    for heading, text in settings(estimate):
        yield f"\n{escape(heading)}"
        yield escape("".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))


def text(estimate: Estimate) -> str:
    """Return everything as plain text."""
    return plain(parts(estimate), WIDTH)


def markdown(estimate: Estimate) -> str:
    """Return everything as Markdown."""
    lines = [f"**{title(estimate)}**", ""]
    for heading, table in tables(estimate):
        lines += [f"{heading}:", ""] if heading else []
        lines += [*pipes(*table), ""]
    lines.pop()
    for sentence in sentences(estimate):
        lines += ["", sentence]
    lines += ["", f"**Choice**: {estimate.choice.reason}"]
    for heading, pasted in settings(estimate):
        lines += ["", heading, "", "```", pasted.rstrip("\n"), "```"]
    return "\n".join(lines) + "\n"


def pipes(columns: Row, rows: Iterable[Row]) -> list[str]:
    """Return the lines of a table as Markdown has it, the first column to the left."""
    rule = [":--", *["--:"] * (len(columns) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]
