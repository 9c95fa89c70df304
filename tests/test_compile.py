"""`lifecycle.compile` on machines that are not ours: those that the documentation of `transitions` explains itself with,
written in our words, and random ones; every verdict against what `transitions` does."""

from __future__ import annotations

import enum
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transitions import Machine, MachineError
from transitions.extensions import HierarchicalMachine

from kcompressd import lifecycle
from kcompressd.event_log import LOG, UNSAID, validate
from kcompressd.lifecycle import Table, TableError


class Matter(enum.Enum):
    SOLID = 1
    LIQUID = 2
    GAS = 3
    PLASMA = 4


def machine(states: Any, transitions: list[Any], initial: Any, **more: Any) -> Machine:
    return Machine(None, states, initial, transitions=transitions, auto_transitions=False, **more)


PHASES = ["solid", "liquid", "gas", "plasma"]
MACHINES = {
    "phases of matter": machine(
        PHASES,
        [
            ["melt", "solid", "liquid"],
            ["evaporate", "liquid", "gas"],
            ["sublimate", "solid", "gas"],
            ["ionize", "gas", "plasma"],
        ],
        "solid",
    ),
    "phases as an enum, and from anywhere": machine(
        Matter, [["melt", Matter.SOLID, Matter.LIQUID], ["to_plasma", "*", Matter.PLASMA]], Matter.SOLID
    ),
    "heat: the first condition that holds": machine(
        PHASES,
        [
            {"trigger": "heat", "source": "solid", "dest": "gas", "conditions": "is_flammable"},
            {"trigger": "heat", "source": "solid", "dest": "liquid", "conditions": ["is_hot"]},
            {"trigger": "heat", "source": "liquid", "dest": "gas", "unless": ["is_sealed", "is_wet"]},
            {"trigger": "heat", "source": "liquid", "dest": "="},
        ],
        "solid",
    ),
    "a superhero who needs his sleep": machine(
        ["asleep", "hanging out", "hungry", "sweaty", "saving the world"],
        [
            ["wake_up", "asleep", "hanging out"],
            ["work_out", "hanging out", "hungry"],
            ["eat", "hungry", "hanging out"],
            ["distress_call", "*", "saving the world"],
            {"trigger": "complete_mission", "source": "saving the world", "dest": "sweaty", "conditions": "is_hard"},
            {"trigger": "complete_mission", "source": "saving the world", "dest": "hanging out"},
            {"trigger": "clean_up", "source": "sweaty", "dest": "asleep", "conditions": ["is_exhausted"]},
            ["clean_up", "sweaty", "hanging out"],
            ["nap", "*", "asleep"],
        ],
        "asleep",
    ),
    "reflexive and internal": machine(
        ["A", "B", "C"], [["touch", ["A", "B"], "="], ["look", "*", None], ["on", "A", "B"], ["on", "B", "C"]], "A"
    ),
    "auto transitions": Machine(None, ["A", "B"], "A"),
}


def ordered() -> Machine:
    law = machine(["first", "second", "third"], [], "first")
    law.add_ordered_transitions()
    return law


MACHINES["ordered"] = ordered()


class Model:
    """Answers conditions from a dictionary."""

    state: Any
    held: dict[str, bool]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["held"][name]
        except KeyError:
            raise AttributeError(name) from None


def attempt(model: Model, event: str, held: dict[str, bool]) -> str | None:
    """The new state, or None where `transitions` refuses."""
    model.held = held
    try:
        done = model.trigger(event)
    except MachineError:
        return None
    return (model.state.name if isinstance(model.state, enum.Enum) else model.state) if done else None


def walk(
    law: Machine, table: Table, seed: int, steps: int = 300, models: int = 5
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """A log of what `transitions` let happen, and where the models are at the end; every refusal is checked on the way."""
    dice = random.Random(seed)
    actors = [Model() for _ in range(models)]
    for actor in actors:
        law.add_model(actor)
    log: list[tuple[Any, ...]] = []
    for _ in range(steps):
        at, event, guards = (
            dice.randrange(models),
            dice.randrange(len(table.events)),
            dice.randrange(1 << len(table.guards)),
        )
        held = {name: bool(guards >> bit & 1) for bit, name in enumerate(table.guards)}
        to = attempt(actors[at], table.events[event], held)
        said = UNSAID if to is None or dice.random() < 0.5 else table.states.index(to)
        one = (at, event, guards, said)
        verdict = table.validate(np.array([*log, one], LOG))
        if to is None:
            assert (verdict.violations, verdict.record, verdict.model) == (1, len(log), at), verdict.first
        else:
            assert verdict.ok, verdict.first
            log.append(one)
    ends = [str(getattr(actor.state, "name", actor.state)) for actor in actors]
    for actor in actors:
        law.remove_model(actor)
    return log, ends


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_of_the_documentation_is_judged_as_it_behaves(name: str) -> None:
    law = MACHINES[name]
    table = lifecycle.compile(law)
    log, ends = walk(law, table, seed=7)
    verdict = table.validate(np.array(log, LOG))
    assert verdict.ok and verdict.records == len(log) and len(log) > 2
    assert [table.states[s] for s in verdict.states] == ends[: len(verdict.states)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_random_machine_is_judged_as_it_behaves(seed: int) -> None:
    """Overlapping conditions in any order: the first that holds is taken."""
    dice = random.Random(seed)
    states = [f"s{i}" for i in range(dice.randint(1, 6))]
    conditions = [f"g{i}" for i in range(dice.randint(0, 8))]

    def some() -> list[str]:
        return dice.sample(conditions, dice.randint(0, min(3, len(conditions))))

    transitions = []
    for _ in range(dice.randint(1, 20)):
        when = some()
        unless = [g for g in some() if g not in when]
        transition = {"trigger": f"e{dice.randrange(4)}", "source": dice.choice([*states, "*"]), "conditions": when}
        transitions.append(transition | {"unless": unless, "dest": dice.choice([*states, "=", None])})
    law = machine(states, transitions, states[0])
    walk(law, lifecycle.compile(law), seed, steps=60, models=3)


def melted(**changes: int) -> np.ndarray:
    log = np.array([(0, 0, 0, UNSAID), (1, 2, 0, UNSAID), (0, 1, 0, 2)], LOG)
    for field, value in changes.items():
        log[field][2] = value
    return log


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"event": 0}, "record 2: model 0 in liquid: no melt from here, only evaporate"),
        ({"event": 9}, "record 2: model 0 in liquid: the machine has no event 9"),
        ({"to": 3}, "record 2: model 0 in liquid: evaporate leads to gas, not where the log says"),
        ({"model": 1}, "record 2: model 1 in gas: no evaporate from here, only ionize"),
        ({"model": 0xFFFFFFFF}, "record 2: there is no model 4294967295 in a log of so few records"),
    ],
)
def test_the_first_violation_is_a_sentence(changes: dict[str, int], says: str) -> None:
    table = lifecycle.compile(MACHINES["phases of matter"])
    assert table.validate(melted()).ok
    verdict = table.validate(melted(**changes))
    assert (verdict.violations, verdict.first, verdict.record) == (1, says, 2)


def test_a_guard_that_does_not_hold_is_named() -> None:
    table = lifecycle.compile(MACHINES["heat: the first condition that holds"])
    first = table.validate(np.array([(0, 0, 0b1000, UNSAID)], LOG)).first
    assert first == "record 0: model 0 in solid: heat has no transition under the guards that hold (is_wet)"


def test_a_long_log_is_read_in_blocks_and_may_lack_fields(tmp_path: Any) -> None:
    table = lifecycle.compile(MACHINES["reflexive and internal"])
    path = tmp_path / "log.npy"
    log = np.zeros(300_000, [("event", "i8"), ("model", "i2"), ("t", "f8")])
    log["model"] = np.arange(len(log)) % 1000
    np.save(path, log)
    mapped = np.load(path, mmap_mode="r")
    assert table.validate(mapped).ok
    mapped = log.copy()
    mapped["event"][200_000] = 300
    with pytest.raises(TableError, match="record 200000: event 300 is not in 0 to 255"):
        table.validate(mapped)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (lambda: HierarchicalMachine(None, ["a", {"name": "b", "children": ["c"]}], "a"), "nested states"),
        (
            lambda: machine(["a"], [{"trigger": "go", "source": "a", "dest": "a", "conditions": bool}], "a"),
            "is a callable",
        ),
        (
            lambda: machine(
                ["a"], [{"trigger": "go", "source": "a", "dest": "a", "conditions": list("abcdefghi")}], "a"
            ),
            "9 guards",
        ),
        (lambda: machine([f"s{i}" for i in range(257)], [], "s0"), "257 states"),
    ],
)
def test_what_is_not_flat_is_refused_by_name(law: Any, says: str) -> None:
    with pytest.raises(TableError, match=says):
        lifecycle.compile(law())


def test_a_log_of_another_kind_is_refused() -> None:
    table = lifecycle.compile(MACHINES["ordered"])
    with pytest.raises(TableError, match="with fields model and event"):
        table.validate(np.zeros(3, np.uint8))
    with pytest.raises(TableError, match=r"a log is an array of kcompressd.lifecycle.LOG, not list"):
        table.validate([(0, 0, 0, 1)])  # type: ignore[arg-type]
    with pytest.raises(TableError, match="initial state 'fourth' is not one of first, second, third"):
        validate(table, np.zeros(0, LOG), "fourth")


def test_our_own_law_compiles_alike_either_way() -> None:
    """Its rows are disjoint as written, so that order does not matter."""
    law = lifecycle.table()
    free = lifecycle.compile(lifecycle.machine(), law.guards)
    assert sorted((free.events[r.event], r.source, r.require_mask, r.require_value, r.to) for r in free.rows) == sorted(
        (law.events[r.event], r.source, r.require_mask, r.require_value, r.to) for r in law.rows
    )
