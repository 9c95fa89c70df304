"""Experiments: what a file says, what is found, and what counts as drift; the answers in the tree against their files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from kcompressd import Pages, Result
from kcompressd.answers import UNANSWERED, drift, load, main, pictures, section, text, unanswered
from kcompressd.errors import ExperimentError
from kcompressd.experiment import Answer, Experiment, Finding, Kernel, Said, ask

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "experiments"
GOLDEN = json.loads((ROOT / "tests/golden/split-zswap.result.json").read_text())
IN_TREE = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the repository's experiments")
FILE = """
answers = ["Q1", "O2"]
title = "Does it scan more?"
question = "Somebody asked."
expected = "It should."
limits = ["Only a test."]
pictures = ["queue_len"]
measures = ["bytes_per_s", "scans_per_page"]
job = { pages = "sample" }
row = [{ name = "sync", set = { design = "sync" } }, { name = "april", set = { design = "april" } }]
group = [{ name = "2 CPUs", set = { cpus = 2 } }, { name = "8 CPUs", set = { cpus = 8 } }]

[[finding]]
measure = "scans_per_page"
row = "april"
group = "*"
above = 1.5
yes = "{row} scans {ratio} times as often, {value} against {other}, on {group}."
no = "It does not: {ratio}."

[[finding]]
measure = "bytes_per_s"
row = "april"
group = "2 CPUs"
against = "april"
against_group = "8 CPUs"
above = 1
yes = "More with 2."
no = "Not more with 2 ({ratio}), for {cpu} times the CPU time."
"""


def simulate(changes: Mapping[str, Any], boot: int = 0, **series: list[int]) -> Result:
    """April scans 1.5 times as often on 2 CPUs and thrice on 8, less by the tenth at each boot; speed is the number of CPUs.
    With 2 CPUs each thread spends twice the CPU time that it does with 8."""
    data = json.loads(json.dumps(GOLDEN))
    scans = {2: 1.5, 8: 3.0}[changes["cpus"]] * (1 - boot / 10) if changes["design"] == "april" else 1.0
    data["vmstat"] |= {"pgscan_anon": round(1000 * scans), "pgsteal_anon": 1000}
    data["series"] |= series
    for thread in data["threads"] if changes["cpus"] == 2 else ():
        thread |= {key: 2 * spent for key, spent in thread.items() if key.endswith("_cpu_ns")}
    data["timing"]["bytes_per_s"] = 2.0**20 * changes["cpus"]
    return Result.from_dict(data)


@pytest.fixture
def asked(tmp_path: Path) -> Experiment:
    (tmp_path / "scans.toml").write_text(FILE)
    return Experiment.load(tmp_path / "scans.toml")


def test_every_cell_is_run_with_what_group_and_row_set(asked: Experiment) -> None:
    seen: list[Mapping[str, Any]] = []
    told: list[str] = []
    answer = ask(
        asked,
        lambda c, boot: seen.append(c) or simulate(c),
        progress=lambda n, done, total: told.append(f"{n} {done}/{total}"),
    )
    assert seen == [{"cpus": n, "design": d} for n in (2, 8) for d in ("sync", "april")]
    assert told[0] == "sync 2 CPUs 0/4" and told[-1] == "april 8 CPUs 3/4"
    assert [(e.group, e.name, e.is_baseline) for e in answer.comparison.entries] == [
        ("2 CPUs", "sync", True),
        ("2 CPUs", "april", False),
        ("8 CPUs", "sync", True),
        ("8 CPUs", "april", False),
    ]


def test_pictures_have_a_line_for_each_row(asked: Experiment) -> None:
    def queued(depth: int) -> list[tuple[str, str]]:
        depths = [depth] * len(GOLDEN["series"]["t_ns"])
        return list(pictures(ask(asked, lambda changes, boot: simulate(changes, queue_len=depths))))

    ((path, drawn),) = queued(3)
    assert path == "pictures/scans.queue_len.svg" and all(name in drawn for name in ("sync", "april", "Queue depth"))
    assert queued(0) == []  # nothing ever queued


def test_a_finding_says_the_true_sentence_with_its_numbers(asked: Experiment) -> None:
    assert ask(asked, simulate).found() == [
        Said("april scans 3.00 times as often, 3.00 against 1.00, on 8 CPUs.", 1, 1, (3.0, 3.0), cost=True),
        Said("Not more with 2 (0.25), for 2.00 times the CPU time.", 1, 1, (0.25, 0.25)),
    ]


def test_of_what_is_infinitely_more_the_largest_is_said(tmp_path: Path) -> None:
    """Where the baseline has none, every ratio is infinite: the row or group with the most is said, not the first one."""

    def queues(changes: Mapping[str, Any], boot: int) -> Result:
        data = simulate(changes, boot).to_dict()
        data["vmstat"]["kcompressd_queued"] = changes["cpus"] if changes["design"] == "april" else 0
        return Result.from_dict(data)

    finding = '[[finding]]\nmeasure = "queued"\nrow = "*"\ngroup = "*"\nabove = 1\nyes = "{value} on {group}."\nno = "None."\n'
    (tmp_path / "queues.toml").write_text(FILE + finding)
    assert ask(Experiment.load(tmp_path / "queues.toml"), queues).found()[-1] == Said("8 on 8 CPUs.", 1, 1, (inf, inf))


def test_a_finding_that_is_not_so_at_all_boots_says_at_how_many(asked: Experiment) -> None:
    answer = ask(asked, simulate, repeats=7)  # 3.0, 2.7, 2.4, 2.1, 1.8, 1.5, 1.2: above 1.5 at five
    sentence = "With april (8 CPUs) *scanned a page freed* is 2.10 times that of sync; whether that is more than 1.5 times is open."
    assert answer.found()[0] == Said(sentence, 5, 7, (1.2, 3.0), cost=True)
    good = document(answer)
    assert f"*Undecided*, at 5 of 7 boots (1.20x to 3.00x): {sentence}" in good
    assert "*Found*: Not more with 2 (0.25), for 2.00 times the CPU time." in good  # 0.25 at every boot
    short = in_short(good)
    assert "april" not in short and "Not more with 2 (0.25), for 2.00 times the CPU time." in short
    assert "- Q1, O2: *[Does it scan more?](#q1-o2-does-it-scan-more)* " in short
    assert drift(good, [asked], {}) == []
    assert "| april | 2 ≈ | 1.05 ≈ |" in good and "| april | 8 ≈ | 2.10 |" in good


SCANS = 'measure = "scans_per_page"\nrow = "april"'


@pytest.mark.parametrize(
    ("asks", "boots", "short"),
    [
        (f'{SCANS}\ngroup = "8 CPUs"', 1, True),
        (f'{SCANS}\ngroup = "8 CPUs"\nagainst_group = "8 CPUs"', 1, True),
        (f'{SCANS}\ngroup = "8 CPUs"\nagainst_group = "2 CPUs"', 1, False),  # another machine
        ('measure = "scans_per_page"\nrow = "sync"\ngroup = "8 CPUs"\nagainst = "april"', 1, False),  # a gain
        (f'{SCANS}\ngroup = "8 CPUs"', 4, True),  # 3.0, 2.7, 2.4, 2.1
        (f'{SCANS}\ngroup = "2 CPUs"', 4, False),  # 1.5, 1.35, 1.2, 1.05
        ('measure = "bytes_per_s"\nrow = "april"\ngroup = "8 CPUs"', 1, False),  # as fast
        ('measure = "queued"\nrow = "april"\ngroup = "8 CPUs"', 1, False),  # neither better nor worse
    ],
)
def test_a_cost_is_never_left_out_in_short(asks: str, boots: int, short: bool, tmp_path: Path) -> None:
    """Of a third finding, whatever it says: what is a tenth worse than the baseline stands in short."""
    third = f'[[finding]]\n{asks}\nabove = 9\nyes = "Third."\nno = "Third."\n'
    lead = third.replace("Third", "First").replace('row = "april"', 'row = "sync"')
    (tmp_path / "costs.toml").write_text(FILE.partition("[[finding]]")[0] + lead * 2 + third)
    good = document(ask(Experiment.load(tmp_path / "costs.toml"), simulate, repeats=boots))
    assert in_short(good).count("First.") == 2 and ("Third." in in_short(good)) == short


def test_a_loss_of_speed_against_the_baseline_is_a_cost(asked: Experiment) -> None:
    def cost(finding: Finding, april: float) -> bool:
        def run(changes: Mapping[str, Any], boot: int) -> Result:
            data = simulate(changes, boot).to_dict()
            data["timing"]["bytes_per_s"] *= april if changes["design"] == "april" else 1
            return Result.from_dict(data)

        return ask(replace(asked, findings=(finding,)), run).found()[0].cost

    speed = replace(asked.findings[1], against="sync", against_group=None)
    assert cost(speed, 1 / 1.1) and not cost(speed, 1)
    assert not cost(replace(speed, row="sync", against="april"), 1.1)


@pytest.mark.parametrize(
    ("ratios", "boots", "says"),
    [
        ((0.5, 0.756), 5, " (0.50x to 0.76x)"),
        ((0.501, 0.504), 5, ""),  # alike as far as is printed
        ((0.5, 0.75), 1, ""),
        ((0.5, inf), 5, ""),
        (None, 0, ""),
    ],
)
def test_a_spread_is_said_where_boots_differ(ratios: tuple[float, float] | None, boots: int, says: str) -> None:
    assert Said("So.", boots, boots, ratios).spread == says


@IN_TREE
def test_the_guests_costs_are_those_that_fidelity_fits() -> None:
    fitted = tomllib.loads((ROOT / "tools/ground_truth_costs.toml").read_text())
    guests = {e.name: e.job["costs"] for e in load(FOLDER) if e.job.get("machine") == {"preset": "guest"}}
    assert len(guests) == 7 and guests == dict.fromkeys(guests, fitted)


@IN_TREE
def test_a_file_says_how_many_boots_decide(tmp_path: Path) -> None:
    """The file's own number goes before the default."""
    assert Experiment.load(FOLDER / "depth.toml").boots == 15
    (tmp_path / "few.toml").write_text(FILE.replace("measures = [", "boots = 0\nmeasures = ["))
    with pytest.raises(ExperimentError, match="boots = 0 is not a whole number of at least 1"):
        Experiment.load(tmp_path / "few.toml")


KERNEL = """
[[kernel]]
row = "april"
group = "8 CPUs"
figures = { scans_per_page = [2.5, 2.0, 2.25], queued = [4_000_000], fault_waits = [7] }
"""


def test_a_real_kernels_figures_stand_beside_ours_with_the_deviation(tmp_path: Path) -> None:
    (tmp_path / "scans.toml").write_text(FILE + KERNEL)
    asked = Experiment.load(tmp_path / "scans.toml")
    good = text([ask(asked, simulate)], {})
    assert "| april | scanned a page freed | 2.00 | 2.50 | 3.00 | +20% |" in good
    assert f"| april | queued | 4000000 | 4000000 | {GOLDEN['vmstat']['kcompressd_queued']} | -100% |" in good
    assert "| april | faults that waited | 7 | 7 | - | - |" in good
    assert drift(good, [asked], {}) == [] and drift(good.replace("3.00 | +20%", "2.10 | within"), [asked], {}) == []
    (wrong,) = drift(good.replace("| april | queued |", "| april | rotated |"), [asked], {})
    assert "the kernel's table has the rows" in wrong


@pytest.mark.parametrize(("ours", "beyond"), [(3.0, 0.2), (2.5, 0.0), (2.0, 0.0), (1.5, -0.25)])
def test_beyond_is_measured_from_the_nearer_end(ours: float, beyond: float) -> None:
    assert Kernel.beyond(ours, 2.0, 2.5) == pytest.approx(beyond)
    assert Kernel.beyond(ours, 0.0, 0.0) == float("inf")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('row = "april"', 'row = "june"', "kernel 1: row 'june' is none of april, sync"),
        ('group = "8 CPUs"\n', "", "kernel 1: group None is none of 2 CPUs, 8 CPUs"),
        ("queued =", "cued =", "kernel 1: figures: cued is none of"),
        ("[4_000_000]", "[]", "kernel 1: figures: queued = [] is no list of numbers"),
        ("[4_000_000]", '"many"', "kernel 1: figures: queued = 'many' is no list of numbers"),
        ("figures = {", "figure = {", "kernel 1: figures is missing; unknown key figure"),
    ],
)
def test_a_wrong_kernel_is_refused_by_name(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in KERNEL
    (tmp_path / "bad.toml").write_text(FILE + KERNEL.replace(old, new))
    with pytest.raises(ExperimentError, match=re.escape(says)):
        Experiment.load(tmp_path / "bad.toml")


def test_an_experiments_pages_lie_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = FILE.replace('{ pages = "sample" }', '{ pages = "few.pages" }').replace("{ cpus =", '{ "node.cpus" =')
    (tmp_path / "few.toml").write_text(job)
    assert main([str(tmp_path / "few.toml")]) == 2
    assert f"{tmp_path / 'few.pages'}: no such file" in capsys.readouterr().err
    Pages.sample()[:64].save(tmp_path / "few.pages")
    assert main([str(tmp_path / "few.toml")]) == 0
    assert "| april |" in capsys.readouterr().out


def document(answer: Answer) -> str:
    return text([answer], {"O1": ("What?", "Why not.")})


def in_short(text: str) -> str:
    return text.partition("## In short")[2].partition("\n## ")[0]


def test_a_section_has_question_table_finding_and_limits(asked: Experiment) -> None:
    lines = list(section(ask(asked, simulate)))
    assert lines[0] == "## Q1, O2: Does it scan more?" and "Somebody asked. (`experiments/scans.toml`)" in lines
    assert "| april | 8 1.00x | 3.00 |" in lines and "8 CPUs:" in lines
    assert lines[-1] == "*Limits*: Only a test."


def test_digits_may_drift_and_nothing_else(asked: Experiment) -> None:
    left = {"O1": ("What?", "Why not.")}
    good = document(ask(asked, simulate))
    assert drift(good, [asked], left) == []
    assert drift(good.replace("3.00", "2.71").replace("| 8 |", "| 9 |"), [asked], left) == []
    for old, new, says in (
        ("## Q1, O2", "## Q1", "no section"),
        ("Somebody asked.", "Nobody asked.", "lacks the line"),
        ("| april | 8", "| may | 8", "the tables have the rows"),
        ("| scanned a page freed |", "| looked at |", "other columns"),
        ("*Found*: Not more", "*Found*: Far more", "cannot find"),
        ("*Found*: Not more", "Not more", "1 findings, not 2"),
        ("![queue_len]", "!queue_len", "lacks the picture queue_len"),
        ("- O1: ", "- O9: ", "O1 is not listed"),
        ("## Not answered", "## More\n\n## Not answered", "a section of no experiment: 'More'"),
    ):
        assert old in good
        assert any(says in what for what in drift(good.replace(old, new), [asked], left)), old


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Does', 'titel = "Does', "title is missing; unknown key titel"),
        ('measures = ["bytes_per_s"', 'measures = ["speed"', "measures: speed is none of bytes_per_s,"),
        ('name = "april"', 'name = "sync"', "row: needs at least one, each with a name of its own"),
        ("set = { cpus = 2 }", "put = { cpus = 2 }", "group 1: set is missing; unknown key put"),
        ('row = "april"\ngroup = "*"', 'row = "june"\ngroup = "*"', "finding 1: row 'june' is none of april, sync"),
        ('measure = "scans_per_page"', 'measure = "scans"', "finding 1: measure 'scans' is none of"),
        ("above = 1.5\n", "", "finding 1: above is missing"),
        ("above = 1.5\n", 'above = "x"\n', "finding 1: above = 'x' is not a number"),
        ("above = 1.5\n", "above = 1.5\nagainst = [1]\n", "finding 1: against = [1] is not a text"),
        ('title = "Does', 'title = 3  # "Does', "title = 3 is not a text"),
        ('measures = ["bytes_per_s"', 'measures = [["bytes_per_s"]', "measures = [['bytes_per_s'], "),
        ('name = "april"', "name = 4", "row 2: name = 4 is not a text"),
        ("set = { cpus = 2 }", 'set = "cpus"', "group 1: set = 'cpus' is not a table"),
        ('yes = "', 'yes = "{speed} ', "names {speed}, which is none of ratio, value, other, cpu, row, group"),
        ('yes = "', 'yes = "{ ', "is no sentence to fill in: "),
        ('against = "april"', 'than = "april"', "finding 2: unknown key than"),
        ("limits = [", "limits = ", "not TOML"),
        ("limits = [", "limits = " + "[" * 5000, "not TOML: "),
    ],
)
def test_a_wrong_file_is_refused_by_name(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in FILE
    (tmp_path / "bad.toml").write_text(FILE.replace(old, new))
    with pytest.raises(ExperimentError, match=re.escape(says)) as caught:
        Experiment.load(tmp_path / "bad.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.toml'}: ")


NUMBERS = [f"Q{n}" for n in range(1, 10)] + [f"O{n}" for n in range(1, 26)] + ["O8b"] + [f"N{n}" for n in range(1, 8)]


def test_a_mistake_of_ours_is_not_said_to_be_the_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(name: str) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("kcompressd.experiment._measure", mistaken)
    (tmp_path / "good.toml").write_text(FILE)
    with pytest.raises(TypeError, match="ours"):
        Experiment.load(tmp_path / "good.toml")


@IN_TREE
def test_every_question_is_asked_or_said_to_be_none_of_ours() -> None:
    asked = {number for experiment in load(FOLDER) for number in experiment.answers}
    left = set(unanswered(FOLDER))
    assert sorted(asked | left) == sorted(NUMBERS) and asked & left == set()


@IN_TREE
def test_the_answers_have_the_shape_of_the_experiments() -> None:
    assert main([str(FOLDER), "-o", str(ROOT / "docs/answers.md"), "--check"]) == 0
    assert (FOLDER / UNANSWERED).is_file()
