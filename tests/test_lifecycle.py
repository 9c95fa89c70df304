"""The definition, its compiler, and what is generated from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transitions import Machine, MachineError

from kcompressd import lifecycle, lifecycle_code, lifecycle_docs, table

ROOT = Path(__file__).parent.parent
LAW = lifecycle.table()


def test_the_core_s_constants_are_the_definition_s() -> None:
    """rustfmt moves white space and trailing commas; nothing else may differ."""
    generated = (ROOT / "rust/core/src/lifecycle/generated.rs").read_text()

    def bare(text: str) -> str:
        return re.sub(r",(?=[\]})])", "", re.sub(r"\s+", "", text))

    assert bare(generated) == bare(lifecycle_code.rust_source())


def test_the_enums_are_the_definition_s() -> None:
    assert (ROOT / "python/kcompressd/lifecycle_enums.py").read_text() == lifecycle_code.enums_source()
    assert [s.name.lower() for s in lifecycle.State] == [s.name for s in lifecycle.STATES]
    assert lifecycle.bits("frame lru", lifecycle.FLAGS)[1] == lifecycle.Flag.FRAME | lifecycle.Flag.LRU


def test_the_document_is_the_definition_s() -> None:
    assert (ROOT / "docs/lifecycle.md").read_text() == lifecycle_docs.document()


def test_the_document_shows_a_changed_law() -> None:
    """The check above can fail: one edge fewer is another document."""
    assert lifecycle_docs.document(lifecycle.EDGES[1:]) != lifecycle_docs.document()


def _machine(*transitions: dict[str, object]) -> Machine:
    return Machine(
        model=None,
        states=["a", "b", "c"],
        transitions=[{"trigger": "go", "source": "a", "dest": "b", **t} for t in transitions],
        initial="a",
        auto_transitions=False,
    )


@pytest.mark.parametrize(
    ("transitions", "guards", "says"),
    [
        ([{}, {"dest": "c"}], None, "go in a: the rows to b and c can both hold"),
        ([{"conditions": "x"}, {"dest": "c", "conditions": "y"}], None, "can both hold"),
        ([{"conditions": "x"}, {"unless": "x"}], None, "two rows to b; write one"),
        ([{"conditions": "x"}], ["y"], "unknown guard 'x'; known: y"),
        ([{"conditions": "x", "unless": "x"}], None, "required both true and false"),
        ([{"conditions": [f"g{i}" for i in range(9)]}], None, "9 guards: at most 256, 256 and 8"),
        ([{"conditions": lambda: True}], None, "is a callable; a table needs a name"),
    ],
)
def test_compile_refuses_by_name(transitions: list[dict[str, object]], guards: list[str] | None, says: str) -> None:
    with pytest.raises(table.TableError, match=re.escape(says)):
        table.compile(_machine(*transitions), guards, disjoint=True)


def test_compile_takes_eight_guards_and_disjoint_rows() -> None:
    names = [f"g{i}" for i in range(8)]
    rows = table.compile(_machine({"conditions": names}, {"dest": "c", "unless": "g0"})).rows
    assert [(r.require_mask, r.require_value, r.to) for r in rows] == [(1, 0, 2), (255, 255, 1)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(LAW.events) - 1), st.integers(0, 31)), max_size=60))
def test_the_reference_model_agrees_with_the_table(walk: list[tuple[int, int]]) -> None:
    """`transitions` and the compiled rows lead every event under every guard alike, refusals included."""
    page = lifecycle.Page(REFERENCE)
    for event, guards in walk:
        source = LAW.states.index(page.state)
        row = _row(event, source, guards)
        held = {name: bool(guards >> bit & 1) for bit, name in enumerate(LAW.guards)}
        cell = any(r.event == event and r.source == source for r in LAW.rows)
        if row is not None:
            assert page.fire(LAW.events[event], **held) == LAW.states[row.to]
        else:
            with pytest.raises(LookupError if cell else MachineError):
                page.fire(LAW.events[event], **held)
    REFERENCE.remove_model(page)


REFERENCE = lifecycle.machine()


def test_the_reference_model_refuses_names_that_there_are_not() -> None:
    page = lifecycle.Page()
    with pytest.raises(TypeError, match="maped: no guard of writeback_enabled, mapped"):
        page.fire("isolate", maped=True)
    with pytest.raises(AttributeError, match="isolat"):
        page.fire("isolat")
    assert page.state == "resident"


def _row(event: int, source: int, guards: int) -> table.Row | None:
    hits = [
        r for r in LAW.rows if (r.event, r.source) == (event, source) and guards & r.require_mask == r.require_value
    ]
    assert len(hits) <= 1
    return hits[0] if hits else None


def _closure(start: str, edges: list[tuple[str, str]]) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        at = todo.pop()
        new = {b for a, b in edges if a == at} - seen
        seen |= new
        todo += new
    return seen


def test_every_state_is_reached_from_resident_and_reaches_freed() -> None:
    edges = [(e.source, e.to) for e in lifecycle.EDGES]
    every = {s.name for s in lifecycle.STATES}
    assert _closure("resident", edges) == every
    assert _closure("freed", [(b, a) for a, b in edges]) == every


def test_every_name_is_used() -> None:
    assert {e.event for e in lifecycle.EDGES} == set(lifecycle.EVENTS)
    assert {g.lstrip("!") for e in lifecycle.EDGES for g in e.when.split()} == set(lifecycle.GUARDS)
    assert all(any(mask & 1 << bit for s in LAW.flags for mask, _ in s) for bit in (0, 1, 3, 4, 6, 7, 8, 9))


def test_a_changed_edge_is_another_digest() -> None:
    assert lifecycle.table(lifecycle.EDGES[1:]).digest != LAW.digest
