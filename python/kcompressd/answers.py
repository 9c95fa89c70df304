"""`python -m kcompressd.answers experiments -o docs/answers.md`: ask every experiment, and write the answers down.

The text is made of the experiments' own words, of tables, and of the findings that turned out true. `--check` runs nothing:
it holds an existing file against the experiments in shape (headings, tables' rows and columns, each finding one of its two
sentences, or undecided) and not in digits.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kcompressd import compare_report, files, series
from kcompressd.errors import InputError
from kcompressd.experiment import UNDECIDED, Answer, Experiment, Said, ask
from kcompressd.html.over_time import drawn
from kcompressd.html.standalone import picture
from kcompressd.measures import BY_NAME
from kcompressd.result import Result

UNANSWERED: Final = "unanswered.toml"
"""Questions that no experiment can answer, each with its reason."""

KERNEL: Final = "Beside the figures of a real kernel (docs/experiments.md says which):"
KERNEL_COLUMNS: Final = ("", "measure", "kernel, least", "kernel, most", "here", "beyond its spread")
SHORT: Final = "In short"
LEAD: Final = 2
"""How many findings of an experiment stand in short at least."""
LEFT: Final = "Not answered here"

INTRODUCTION: Final = """\
# Answers

What the laboratory says to the claims (Q) and objections (O) of the 2025 discussion of kcompressd, and to questions that
nobody asked there (N). `make answers` writes this page: every table and every sentence under *Found* comes from runs in
virtual time of the file in `experiments/` that its section names. To doubt an answer, change the file and ask again
([experiments.md](experiments.md)).

**The designs**, by their names in the tables ([more](design.md#the-designs)):

| row | what it is | a queued folio is held | after compression | when the queue is full |
|:--|:--|:--|:--|:--|
| sync | no queue: kswapd compresses | - | freed in the same scan | - |
| rfc | RFC of March 2025: bios queued in zram, up to 4 threads with 4096 entries each | under writeback | rotated to the inactive tail | kswapd compresses the new page |
| april | patch of 30 April 2025: folios queued in swap_writeout(), per node one thread with 256 entries | locked | stays where it is | kswapd compresses the new folio |
| async-store | Johannes Weiner's proposal (text): the store itself queues | under writeback | rotated to the inactive tail | kswapd compresses the new folio |
| split | Nhat Pham's proposal (text): queued between the halves of zswap_store(); batches of 32 are ours | under writeback | rotated to the inactive tail | kswapd compresses the new folio |
| unofficial | firelzrd's kcompressd-unofficial 0.5, out of tree: as april, with 24 entries by default | locked | stays where it is | kswapd compresses the oldest folio |

**Words.** A page is *scanned* when reclaim takes it from its list for shrink_folio_list() (pgscan). It is *held twice* while
its frame is still allocated though its copy is in the pool. *Both together* is the CPU time of kswapd and kcompressd; what
applications spend in direct reclaim is only in *all threads' CPU*, with all else that they do. *Some task stalled* is the
time in which at least one task waits for memory, as in PSI.

**What is real and what is assumed.** The runs execute this repository's own stores, queue and designs. The machine is
assumed: costs per step that are numbers in the file, CPUs that differ only in speed, no caches, no memory bandwidth, no
interrupts but the swap device's, no heat. The page is for ratios between designs on one machine. Absolute times are those of the costs put in: lz4
takes about 5 µs a page, but 2.33 µs (from Q2 and Q3) on the *phone* of Q6 and N7 and where reclaim is alone (not in Q4 and
O13), and 42 µs on the *guest*, an emulated machine of 256 MiB. Whether your machine shows the same is another question.

**How to read the figures.** A virtual run repeats exactly. But where memory is short it is one course of many: with eight
free pages more or less, or begun at another time between two ticks, another one follows. So every such row is run at five
boots or more (the file says how many), which differ by both.

- Tables hold medians, and beside them the median of the boots' ratios to the first row, or ≈ where boots lie on both
  sides of 1. The median of ratios is not the ratio of medians.
- Sentences have the same medians and ratios. They say at how many boots they are true where that is not all, and in brackets
  the least and the most of the boots' ratios.
- What is true at fewer than four fifths of the boots is *Undecided* and does not stand in short.
- In short stand the first two findings of a section, and each further one by which something is a tenth worse than with sync,
  or more, so that no such cost is left out.
"""


def load(folder: Path) -> list[Experiment]:
    """Return all experiments of a folder in the order of their first question; raises `ExperimentError`."""
    found = [Experiment.load(path) for path in sorted(folder.glob("*.toml")) if path.name != UNANSWERED]
    return sorted(found, key=lambda e: (_order(e.answers[0]), e.name))


def unanswered(folder: Path) -> dict[str, tuple[str, str]]:
    """Return question and reason by number."""
    data: dict[str, Any] = tomllib.loads((folder / UNANSWERED).read_text(encoding="utf-8"))
    return {number: (entry["question"], entry["reason"]) for number, entry in data.items()}


def text(answers: Sequence[Answer], left: Mapping[str, tuple[str, str]]) -> str:
    """Return the whole document."""
    parts = [
        INTRODUCTION,
        "\n".join(_short(answers)) + "\n",
        *("\n".join(section(answer)) + "\n" for answer in answers),
        "\n".join(_left(left)) + "\n",
    ]
    return "\n".join(parts)


def _short(answers: Sequence[Answer]) -> Iterator[str]:
    """Of each experiment the first two findings that are decided, all further ones that are a cost, and what stays open."""
    yield f"## {SHORT}"
    yield ""
    for answer in answers:
        asked = answer.experiment
        decided = [said for said in answer.found() if said.decided]
        told = [_one(said) for n, said in enumerate(decided) if n < LEAD or said.cost] or ["Undecided."]
        link = f"[{asked.title}](#{_anchor(_name(asked))})"
        yield f"- {', '.join(asked.answers)}: *{link}* {' '.join([*told, *asked.unanswered])}"


def _one(said: Said) -> str:
    """A finding among others: where it is not so at all boots, that goes before the full stop."""
    return f"{said.sentence.removesuffix('.')}{said.share}." if said.share else said.sentence


def section(answer: Answer) -> Iterator[str]:
    """Yield the lines of one experiment."""
    asked = answer.experiment
    yield from heading(asked)
    for group, entries in answer.comparison.groups.items():
        if group:
            yield from ("", f"{group}:")
        yield ""
        yield _pipes(_columns(asked))
        yield "|".join(["", ":--", *["--:"] * len(asked.measures), ""])
        for entry in entries:
            cells = (compare_report.cell(entry, measure) for measure in asked.measures)
            yield _pipes(
                [
                    entry.name,
                    *(value if ratio == f"{value}x" else f"{value} {ratio}".rstrip() for value, ratio in cells),
                ]
            )
    yield from (f"\n![{name}]({picture_path(asked, name)})" for name in asked.pictures)
    yield from _kernel(answer)
    yield ""
    for said in answer.found():
        yield f"*{'Found' if said.decided else 'Undecided'}*{said.share}{said.spread}: {said.sentence}\n"
    if not answer.complete:
        yield "*Incomplete*: a run ended early or did not add up.\n"
    if asked.unanswered:
        yield f"*Not answered*: {' '.join(asked.unanswered)}\n"
    if asked.limits:
        yield f"*Limits*: {' '.join(asked.limits)}"


def _kernel(answer: Answer) -> Iterator[str]:
    """Yield the table of what a real kernel counted, if there is one, with how far the run is outside of it."""
    if not answer.experiment.kernel:
        return
    yield from ("", KERNEL, "", _pipes(KERNEL_COLUMNS), "|:--|:--|--:|--:|--:|--:|")
    entries = {(entry.group, entry.name): entry for entry in answer.comparison.entries}
    for given in answer.experiment.kernel:
        for name, (least, most) in given.figures.items():
            measure = BY_NAME[name]
            value = entries[given.group, given.row].value(measure)
            ours = ("-", "-")
            if value is not None:
                beyond = given.beyond(value.median, least, most)
                ours = (measure.text(value.median), f"{beyond:+.0%}" if beyond else "within")
            yield _pipes([given.row, measure.title, measure.text(least), measure.text(most), *ours])


def picture_path(asked: Experiment, name: str) -> str:
    """Return where a picture is, from the document's folder."""
    return f"pictures/{asked.name}.{name}.svg"


def pictures(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield paths and texts of an experiment's pictures: what `series` has of a name, one line for each row of the first
    group.
    """
    entries = next(iter(answer.comparison.groups.values()))
    found = {entry.name: series.sampled(entry.last) for entry in entries}
    for name in answer.experiment.pictures:
        chart = drawn(name, found, entries[0].last.config.page_size)
        if chart is not None:
            title, curves, form = chart
            yield picture_path(answer.experiment, name), picture(title, curves, y=form)


def _name(asked: Experiment) -> str:
    """The name of its section."""
    return f"{', '.join(asked.answers)}: {asked.title}"


def _anchor(name: str) -> str:
    """What a link to a section of that name ends in, as MkDocs and GitHub make it."""
    return re.sub(r"[^\w\s-]", "", name).lower().replace(" ", "-")


def heading(asked: Experiment) -> Iterator[str]:
    """Yield what is known before anything was run."""
    yield f"## {_name(asked)}"
    yield ""
    yield f"{asked.question} (`experiments/{asked.name}.toml`)"
    yield ""
    yield f"*Expected*: {asked.expected}"


def drift(document: str, experiments: Sequence[Experiment], left: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return what of a document no longer has the experiments' shape, a sentence each."""
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", document, flags=re.M)[1:]}
    wrong = []
    for asked in experiments:
        name = _name(asked)
        if name not in sections:
            wrong.append(f"{asked.name}: no section {name!r}")
        else:
            wrong += [f"{asked.name}: {what}" for what in _section_drift(f"## {sections.pop(name)}", asked)]
    wrong += [f"a section of no experiment: {name!r}" for name in sections if name not in (SHORT, LEFT)]
    wrong += [f"{number} is not listed as not answered" for number in left if f"\n- {number}: " not in document]
    return wrong


def _section_drift(part: str, asked: Experiment) -> Iterator[str]:
    yield from (f"lacks the line {line[:60]!r}" for line in heading(asked) if line not in part)
    rows, kernel = (_rows(text) for text in part.partition(KERNEL)[::2])
    names = [line.split("|")[1].strip() for line in rows]
    table = ["", *(row.name for row in asked.rows)]
    if names != table * len(asked.groups):
        yield f"the tables have the rows {names}"
    if any(line.count("|") != len(asked.measures) + 2 for line in rows) or _pipes(_columns(asked)) not in part:
        yield "the tables have other columns"
    cells = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in kernel]
    figures = [(given.row, BY_NAME[name].title) for given in asked.kernel for name in given.figures]
    if cells != ([KERNEL_COLUMNS[:2], *figures] if figures else []):
        yield f"the kernel's table has the rows {cells}"
    yield from (f"lacks the picture {p}" for p in asked.pictures if f"]({picture_path(asked, p)})" not in part)
    said = re.findall(
        r"^\*(?:Found|Undecided)\*(?:, at \d+ of \d+ boots)?(?: \([\d.]+x to [\d.]+x\))?: (.*)$", part, flags=re.M
    )
    if len(said) != len(asked.findings):
        yield f"{len(said)} findings, not {len(asked.findings)}"
    for line, finding in zip(said, asked.findings, strict=False):
        if not any(re.fullmatch(_pattern(sentence), line) for sentence in (finding.yes, finding.no, UNDECIDED)):
            yield f"found something that it cannot find: {line[:60]!r}"


def _rows(text: str) -> list[str]:
    """The lines of a text's tables, without those below their headings."""
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|:--")]


def _pattern(sentence: str) -> str:
    """A sentence with anything in its places."""
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(sentence))


def _left(left: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    yield f"## {LEFT}"
    yield ""
    yield "No run of this laboratory can answer these; why:"
    yield ""
    yield from (f"- {number}: {question} {reason}" for number, (question, reason) in left.items())


def _columns(asked: Experiment) -> list[str]:
    return ["", *(measure.title for measure in asked.measures)]


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _order(number: str) -> tuple[int, int, str]:
    """Q before O before N, then by number."""
    digits = re.sub(r"\D", "", number)
    return ("QON".index(number[0]), int(digits or 0), number)


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, or check; return 0, 1 for a drift or an incomplete answer, 2 for a file that is none."""
    parser = argparse.ArgumentParser(prog="python -m kcompressd.answers")
    parser.add_argument("folder", type=Path, help="of experiments, or one experiment")
    parser.add_argument("-o", "--output", type=Path, help="the document (default: standard output)")
    parser.add_argument("--check", action="store_true", help="run nothing: hold the document against the experiments")
    arguments = parser.parse_args(argv)
    try:
        return _check(arguments) if arguments.check else _write(arguments)
    except (InputError, OSError) as error:
        print(f"answers: error: {error}", file=sys.stderr)
        return 2


def _check(arguments: argparse.Namespace) -> int:
    wrong = drift(arguments.output.read_text(encoding="utf-8"), load(arguments.folder), unanswered(arguments.folder))
    for sentence in wrong:
        print(f"answers: {sentence}; make answers", file=sys.stderr)
    return 1 if wrong else 0


def _write(arguments: argparse.Namespace) -> int:
    one = arguments.folder.suffix == ".toml"
    experiments = [Experiment.load(arguments.folder)] if one else load(arguments.folder)
    answers = [answered(asked) for asked in experiments]
    whole = (
        "\n".join(line for a in answers for line in section(a)) if one else text(answers, unanswered(arguments.folder))
    )
    if arguments.output is None:
        print(whole)
    else:
        files.write_text(arguments.output, whole)
        for path, picture_text in (found for answer in answers for found in pictures(answer)):
            where = arguments.output.parent / path
            where.parent.mkdir(exist_ok=True)
            files.write_text(where, picture_text)
    return 0 if all(answer.complete for answer in answers) else 1


def answered(asked: Experiment) -> Answer:
    """Run an experiment's job in virtual time, each of its cells at as many boots as tell a difference from chance."""
    from kcompressd.compare import boots
    from kcompressd.job import Job

    job = Job.from_dict(asked.job, asked.path.parent)

    def tell(name: str, done: int, total: int) -> None:
        print(f"{asked.name}: {name} ({done + 1} of {total})", file=sys.stderr)

    def simulate(changes: Mapping[str, Any], boot: int) -> Result:
        return job.replace(changes).boot(boot).sim()

    return ask(asked, simulate, repeats=asked.boots or boots(job), progress=tell)


if __name__ == "__main__":
    sys.exit(main())
