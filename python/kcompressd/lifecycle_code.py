"""Writes what other code needs of the definition: ``python -m kcompressd.lifecycle_code generated.rs lifecycle_enums.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kcompressd import lifecycle
from kcompressd.definition import Effect, bits
from kcompressd.table import Row


def rust_source() -> str:
    """``rust/core/src/lifecycle/generated.rs``: enums in id order and the default table as constants."""
    t = lifecycle.table()
    out = [
        "//! Generated from python/kcompressd/lifecycle.py by `make generate`; a test fails when it drifts.",
        "",
        "use super::effect::{Effect, KEPT};",
        "use super::table::Row;",
    ]
    out += _enum("State", "Where the contents of a page are.", [(s.name, s.meaning) for s in lifecycle.STATES])
    out += _enum("Event", "What happens to a page.", list(lifecycle.EVENTS.items()))
    out += _bits("flag", "u16", "Bits of the state word's flags.", lifecycle.FLAGS)
    out += _bits("guard", "u8", "Bits of a record's guards.", lifecycle.GUARDS)
    out += _array("ROWS", "Row", "The rows of the default table.", map(_row, t.rows))
    out += _states(t.flags)
    effects = [f"(Event::{_camel(event)}, {_effect(effect)})" for event, effect in lifecycle.EFFECTS.items()]
    out += _array("EFFECTS", "(Event, Effect)", "What events do to the flags and the copy.", effects)
    start = bits(lifecycle.INITIAL_FLAGS, lifecycle.FLAGS)[1]
    initial = f"pub const INITIAL: (State, u16) = (State::{_camel(lifecycle.INITIAL)}, {start:#x});"
    return "\n".join([*out, "", "/// Where every page begins.", initial, ""])


def enums_source() -> str:
    """``python/kcompressd/lifecycle_enums.py``: the same names for typed Python."""
    out = [
        '"""Generated from kcompressd/lifecycle.py by ``make generate``; a test fails when it drifts."""',
        "",
        "from enum import IntEnum, IntFlag",
    ]
    kinds: list[tuple[str, str, str, Mapping[str, str]]] = [
        ("State", "IntEnum", "Where the contents of a page are.", {s.name: s.meaning for s in lifecycle.STATES}),
        ("Event", "IntEnum", "What happens to a page.", lifecycle.EVENTS),
        ("Guard", "IntFlag", "Bits of a record's guards.", lifecycle.GUARDS),
        ("Flag", "IntFlag", "Bits of the state word's flags.", lifecycle.FLAGS),
    ]
    for name, base, doc, entries in kinds:
        out += ["", "", f"class {name}({base}):", f'    """{doc}"""', ""]
        for number, (entry, meaning) in enumerate(entries.items()):
            out += [
                f"    {entry.upper()} = {number if base == 'IntEnum' else f'1 << {number}'}",
                f'    """{_sentence(meaning)}"""',
            ]
    return "\n".join([*out, ""])


def _row(row: Row) -> str:
    return (
        f"Row {{ event: {row.event}, from: {row.source}, require_mask: {row.require_mask}, "
        f"require_value: {row.require_value}, to: {row.to} }}"
    )


def _states(flags: Iterable[Iterable[tuple[int, int]]]) -> list[str]:
    """What holds of each state, in id order; `flags`: alternatives of (mask, value) by state."""
    states = lifecycle.STATES
    pairs = [", ".join(f"({mask:#x}, {value:#x})" for mask, value in alternatives) for alternatives in flags]
    tables: list[tuple[str, str, str, Iterable[str]]] = [
        (
            "STATE_FLAGS",
            "&[(u16, u16)]",
            "What each state demands of the flags: alternatives `(mask, value)`.",
            (f"&[{pair}]" for pair in pairs),
        ),
        (
            "STATE_COPIES",
            "u8",
            "The guard that holds of the copy in each state; 0: neither.",
            (_copy(state.copy) for state in states),
        ),
        (
            "STATE_RESTS",
            "bool",
            "Whether a run that is over may leave a page in the state.",
            (str(state.rests).lower() for state in states),
        ),
        (
            "STATE_HELD",
            "bool",
            "Whether one actor has a page in the state: the one that brought it there.",
            (str(state.held).lower() for state in states),
        ),
    ]
    return [line for table in tables for line in _array(*table)]


def _array(name: str, kind: str, doc: str, items: Iterable[str]) -> list[str]:
    entries = [f"    {item}," for item in items]
    return ["", f"/// {doc}", f"pub const {name}: [{kind}; {len(entries)}] = [", *entries, "];"]


def _effect(effect: Effect) -> str:
    (before, before_set), (after, after_set) = (bits(text, lifecycle.FLAGS) for text in (effect.before, effect.after))
    same = bits(effect.same, lifecycle.FLAGS)[0]
    copy = f"Some({_copy(effect.copy)})" if effect.copy else "None"
    return (
        f"Effect {{ before_set: {before_set:#x}, before_clear: {before & ~before_set:#x}, after_set: {after_set:#x}, "
        f"after_clear: {after & ~after_set:#x}, same: {same:#x}, copy: {copy} }}"
    )


def _copy(copy: str) -> str:
    return "KEPT" if copy == "kept" else f"guard::{copy.upper()}" if copy else "0"


def _enum(name: str, doc: str, entries: Sequence[tuple[str, str]]) -> list[str]:
    out = [
        "",
        f"/// {doc}",
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]",
        "#[repr(u8)]",
    ]
    out.append(f"pub enum {name} {{")
    for number, (entry, meaning) in enumerate(entries):
        out += [f"    /// {_sentence(meaning)}", f"    {_camel(entry)} = {number},"]
    out += ["}", "", f"impl {name} {{", "    /// All of them, in id order."]
    out += [f"    pub const ALL: [Self; {len(entries)}] = ["]
    out += [f"        Self::{_camel(entry)}," for entry, _ in entries]
    out += [
        "    ];",
        "",
        "    /// The one with this number.",
        "    ///",
        "    /// # Panics",
        "    /// If there is none.",
    ]
    out += ["    #[inline]", "    pub const fn from_id(id: u8) -> Self {", "        match id {"]
    out += [f"            {number} => Self::{_camel(entry)}," for number, (entry, _) in enumerate(entries)]
    out += [f'            _ => panic!("no {name.lower()} has this number"),', "        }", "    }"]
    out += ["", "    /// Its name in the definition, in traces and in messages."]
    out += ["    pub const fn name(self) -> &'static str {", "        match self {"]
    out += [f'            Self::{_camel(entry)} => "{entry}",' for entry, _ in entries]
    return [*out, "        }", "    }", "}"]


def _bits(module: str, kind: str, doc: str, entries: Mapping[str, str]) -> list[str]:
    out = ["", f"/// {doc}", f"pub mod {module} {{"]
    for number, (entry, meaning) in enumerate(entries.items()):
        out += [
            f"    /// {_sentence(meaning)}",
            f"    pub const {entry.upper()}: {kind} = 1 << {number};",
        ]
    out.append("    /// Names in bit order.")
    out.append(f"    pub const NAMES: [&str; {len(entries)}] = [" + ", ".join(f'"{e}"' for e in entries) + "];")
    return [*out, "}"]


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    core, enums = (Path(name) for name in sys.argv[1:])
    core.write_text(rust_source(), encoding="utf-8")
    enums.write_text(enums_source(), encoding="utf-8")
