"""Policies where they are tried: in virtual time, in jobs and comparisons, and under every order of steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kcompressd import Calibration, Design, Job, Lab, Policy, Result, Sim, View
from kcompressd.check import Scenario, check, replay
from kcompressd.cli import main
from kcompressd.compare import compare_job
from kcompressd.design import EnqueueAt, OnComplete
from kcompressd.errors import JobError, LabError
from kcompressd.node import Node
from kcompressd.policy import Admission
from kcompressd.workload import Workload

MINE = """\
from kcompressd import Policy

class Rotate(Policy):
    design = "april"

    def complete(self, view):
        return "rotate"

class Broken(Policy):
    def complete(self, view):
        return "sideways"

class Toggle(Policy):
    turn = 0

    def admit(self, point, view):
        Toggle.turn += 1
        return ("queue", "sync")[Toggle.turn % 2]
"""
NODE = {"managed": 3000, "cpus": 2}
EATER = {"kind": "eater", "pages": 3600}
JOB = {"pages": "sample", "store": "zram", "node": NODE, "workload": EATER}


class Rotate(Policy):
    """B2 + rotate on completion."""

    design = "april"

    def complete(self, view: View) -> OnComplete:
        return "rotate"


class Never(Policy):
    """Nothing is ever queued."""

    def admit(self, point: EnqueueAt, view: View) -> Admission:
        return "sync"


class Headroom(Policy):
    """Below the min watermark whoever reclaims compresses itself."""

    design = "split"

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def admit(self, point: EnqueueAt, view: View) -> Admission | None:
        self.seen.add(view.watermark)
        return "sync" if view.watermark == 0 else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def counted(result: Result) -> tuple[object, ...]:
    return result.vmstat, result.timing, result.lifecycle, result.series


def run(design: str | Design | Policy) -> Result:
    workload = Workload(kind="eater", pages=3600)
    result = Sim(lab=Lab(design=design, store="zram"), node=Node(managed=3000), workload=workload).run(
        Calibration.sample()
    )
    assert (result.complete, result.check()) == (True, [])
    return result


def test_a_policy_is_the_axis_of_that_name_in_virtual_time() -> None:
    by_policy = run(Rotate())
    assert by_policy.config.preset == "Rotate"
    assert counted(by_policy) == counted(run(Design.preset("april", "zram").replace(on_complete="rotate")))
    assert counted(by_policy) != counted(run("april"))


def test_a_silent_policy_is_its_design_in_virtual_time() -> None:
    assert counted(run(Policy())) == counted(run("split"))


def test_a_policy_that_never_queues_leaves_the_threads_idle() -> None:
    result = run(Never())
    assert result.vmstat["kcompressd_queued"] == 0 and sum(t.pages_done for t in result.kcompressd.threads) == 0


def test_a_policy_may_look_at_the_watermarks() -> None:
    policy = Headroom()
    assert counted(run(policy)) != counted(run("split"))
    assert policy.seen == {0, 1, 2, 3}


def test_a_job_names_a_policy_by_its_file(folder: Path) -> None:
    job = Job.from_dict(JOB | {"design": "mine.py:Rotate"}, folder)
    assert counted(job.sim()) == counted(run(Rotate()))


def test_a_comparison_has_policies_beside_presets(folder: Path) -> None:
    found = compare_job(Job.from_dict(JOB, folder), ["split", "mine.py:Rotate"])
    assert [entry.name for entry in found.entries] == ["sync", "split", "Rotate"]
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ("gone.py:Rotate", "there is no file gone.py"),
        ("mine.py:Gone", "mine.py has no Policy called 'Gone'"),
        ("mine.py:MINE", "mine.py has no Policy called 'MINE'"),
        ("bad.py:Rotate", "bad.py cannot be run: ZeroDivisionError"),
    ],
)
def test_what_is_no_policy_is_refused_by_name(design: str, said: str, folder: Path) -> None:
    (folder / "bad.py").write_text("1 / 0")
    with pytest.raises(JobError, match=said):
        Job.from_dict(JOB | {"design": design}, folder).sim()


@pytest.mark.parametrize(
    ("name", "said"), [("Broken", '"sideways" is no answer'), ("Toggle", "two answers to one view")]
)
def test_a_bad_answer_ends_the_run_by_name(name: str, said: str, folder: Path) -> None:
    result = Job.from_dict(JOB | {"design": f"mine.py:{name}"}, folder).sim()
    assert not result.complete and result.exit_code == 3
    assert result.error is not None and result.error.kind == "policy" and said in result.error.message


def test_exploring_a_policy_finds_the_axis_s_states() -> None:
    def states(design: Design | Policy) -> tuple[int, int, int, str | None]:
        found = check(Scenario(design=design, threads=1), reduction=False)
        return found.states, found.transitions, found.ends, found.why

    assert states(Rotate()) == states(Design.preset("april").replace(on_complete="rotate"))


@pytest.mark.parametrize("make", [Rotate, Never, Headroom])
def test_these_policies_lose_nothing_in_any_order(make: Callable[[], Policy]) -> None:
    found = check(Scenario(design=make(), threads=1))
    assert found.complete and found.why is None


def test_a_policy_that_is_wrong_in_some_order_is_caught_and_can_be_replayed() -> None:
    class Fickle(Policy):
        """Bad only where the queue is full, which takes some steps."""

        design = "april"

        def full(self, view: View) -> None:
            raise ValueError("I have no idea")

    scenario = Scenario(design=Fickle(), threads=1, depth=1)
    found = check(scenario)
    assert found.exit_code == 1 and found.why is not None and "I have no idea" in found.why
    assert replay(scenario, found.schedule).why == found.why
    config = scenario.config()
    assert Scenario.from_config(config, Fickle()).config() == config
    with pytest.raises(LabError, match="was checked with the policy Fickle"):
        Scenario.from_config(config)


def test_the_verbs_take_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = f"{folder / 'mine.py'}:Rotate"
    assert main(["check", "--design", mine, "--folios", "1", "--kcompressd", "1"]) == 0
    assert "every state seen" in capsys.readouterr().out
    assert main(["compare", "--sample", "--design", mine]) == 2
    assert "is a policy, for jobs in virtual time" in capsys.readouterr().err
