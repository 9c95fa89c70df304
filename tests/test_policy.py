"""Policies of your own: answers are followed, bad ones named, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompressd import Design, DesignError, Lab, Pages, Policy, StepError, View
from kcompressd.design import EnqueueAt, OnComplete, OnFull
from kcompressd.errors import LabError
from kcompressd.policy import Admission

PAGES = Pages.sample()[200:206]


class RotateOnCompletion(Policy):
    """B2 + rotate on completion."""

    design = "april"

    def complete(self, view: View) -> OnComplete:
        return "rotate"


class HalfFull(Policy):
    """Nothing is queued any more once the queues are half full."""

    design = "april"

    def __init__(self) -> None:
        self.views: list[View] = []

    def admit(self, point: EnqueueAt, view: View) -> Admission | None:
        assert point == "swap_writeout"
        self.views.append(view)
        return "sync" if view.fill > 4 else None


def test_a_policy_is_the_axis_of_that_name() -> None:
    def rotated(design: Any) -> tuple[int, list[str]]:
        stepper = Lab(design=design).step(PAGES)
        for folio in stepper.folios:
            folio.queue()
        for folio in stepper.folios:
            folio.compress()
        return stepper.counters.vmstat["pgrotated"], [step.event for step in stepper.trace.timeline(0)]

    by_policy = rotated(RotateOnCompletion())
    assert by_policy == rotated(Design.preset("april").replace(on_complete="rotate"))
    assert by_policy[0] == len(PAGES) and rotated("april")[0] == 0


def test_a_policy_that_asks_its_stepper_is_refused_and_does_not_hang() -> None:
    class Asks(Policy):
        design = "april"

        def admit(self, point: EnqueueAt, view: View) -> Admission | None:
            return "sync" if stepper.queues else None

    stepper = Lab(design=Asks()).step(PAGES)
    with pytest.raises(StepError, match="RuntimeError: the stepper is in the middle of a call"):
        stepper[0].queue()
    assert stepper.queues == ((),), "afterwards it can be asked"


def test_views_are_what_the_design_may_look_at_and_answers_are_kept() -> None:
    policy = HalfFull()
    stepper = Lab(design=policy, depth=4).step(PAGES)
    assert [folio.queue() for folio in stepper.folios] == ["queued"] * 3 + ["compressed_freed"] * 3
    fills = [view.fill for view in policy.views]
    assert fills == [0, 0, 2, 2, 4, 4, 6, 6]  # each view twice, then never again
    assert policy.views[0] == View("zswap", True, True, True, False, 0, 0, 0)
    assert stepper.trace.validate().ok


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda self, view: "sometimes", 'policy: complete of View .*"sometimes" is no answer; known: stay, rotate'),
        (lambda self, view: next(self.fickle), "two answers to one view"),
        (lambda self, view: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda self, view: 7, "'int' object"),
    ],
)
def test_bad_answers_are_errors_that_say_what_was_asked(answer: Any, said: str) -> None:
    class Bad(Policy):
        fickle = iter(["stay", "rotate"])
        complete = answer

    with pytest.raises(StepError, match=said):
        Lab(design=Bad()).step(PAGES)[0].queue()


def test_what_no_store_can_do_is_refused() -> None:
    class ToDevice(Policy):
        design = "april"

        def full(self, view: View) -> OnFull:
            return "to_device"

    stepper = Lab(design=ToDevice(), store="zram", depth=1).step(PAGES)
    stepper[0].queue()
    with pytest.raises(StepError, match="the device is zram"):
        stepper[1].queue()


def test_real_threads_refuse_a_policy() -> None:
    with pytest.raises(LabError, match="RotateOnCompletion: is a policy: real threads would wait"):
        Lab(design=RotateOnCompletion()).run(PAGES)


def test_a_result_names_the_policy() -> None:
    stepper = Lab(design=RotateOnCompletion()).step(PAGES)
    assert stepper.trace.meta["design"] == "RotateOnCompletion"


def test_a_silent_policy_is_its_design() -> None:
    lives = []
    for design in (Policy(), "split"):
        stepper = Lab(design=design).step(PAGES)
        for folio in stepper.folios:
            folio.queue()
            folio.compress()
            folio.reclaim()
        lives.append(stepper.trace.records)
    assert np.array_equal(lives[0], lives[1])


@pytest.mark.parametrize(("name", "meant"), [("complet", "complete"), ("admits", "admit"), ("refuse", "refused")])
def test_a_method_that_is_nearly_a_decision_is_refused(name: str, meant: str) -> None:
    """Nothing would ask it, and the design would be what it was."""
    with pytest.raises(DesignError, match=rf"Mine\.{name}: nothing asks it; did you mean {meant}\? \(or _{name}\)"):
        type("Mine", (Policy,), {name: lambda self, view: "rotate"})
    type(
        "Mine",
        (Policy,),
        {f"_{name}": lambda self: 1, "helper": lambda self: 2, "fullness": 3, meant: lambda self, view: None},
    )


def test_a_class_in_place_of_a_policy_is_refused_with_what_to_write() -> None:
    with pytest.raises(LabError, match=r"or a Policy \(made: Mine\(\), not Mine\)"):
        Lab(design=RotateOnCompletion).step(PAGES)  # type: ignore[arg-type]
