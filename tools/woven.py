"""Many mutants in one build: a function's body once as it is and once for each of its mutants, chosen by the environment.

A mutant costs a build otherwise, which is most of its time. `fn f() BODY` becomes

    fn f() { if crate::mutant_is(7) BODY7 else if crate::mutant_is(8) BODY8 else BODY }

and MUTANT=7 runs the seventh. A `const fn`, a body that returns an `impl Trait` (each body is a type of its own) and what lies
outside of functions cannot be woven, and a mutant that does not compile is taken out again: those are built alone.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

CHOICE = """
/// Whether the environment chose the mutant of this number.
#[doc(hidden)]
pub fn mutant_is(number: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").map_or(0, |number| number.parse().expect("a number"))) == number
}
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A mutant's part: its number, its file, that file's text with it, and where its function starts and ends (line and
    column from 1; None outside of functions).
    """

    number: int
    file: str
    text: str
    start: tuple[int, int] | None
    end: tuple[int, int] | None


def offset(text: str, place: tuple[int, int]) -> int:
    """The place's offset in `text`."""
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: place[0] - 1]) + place[1] - 1


def body_at(text: str, start: int) -> int:
    """Where the body of the function that starts at `start` opens: its first brace outside of parentheses."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([") - (text[at] in ")]")
        if text[at] == "{" and depth == 0:
            return at
    raise ValueError("a function without a body")


def can_be_woven(change: Change, text: str) -> bool:
    """Whether a choice may stand in its function."""
    if change.start is None:
        return False
    start = offset(text, change.start)
    head = text[start : body_at(text, start)]
    return "const fn" not in head and "-> impl" not in head


@dataclasses.dataclass(slots=True)
class Woven:
    """The texts of the files of `root` that have mutants in them now, and which of their lines are whose."""

    root: Path
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    lines: dict[str, list[tuple[int, int, int]]] = dataclasses.field(default_factory=lambda: defaultdict(list))

    def weave(self, changes: Sequence[Change]) -> None:
        """Put `changes`, all of which can be woven, into their files, and the choice into lib.rs."""
        lib = "rust/core/src/lib.rs"
        self.texts[lib] = (self.root / lib).read_text() + CHOICE
        files: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            files[change.file].append(change)
        for file, those in files.items():
            self._file(file, those)

    def _file(self, file: str, changes: Iterable[Change]) -> None:
        text = (self.root / file).read_text()
        functions: dict[tuple[int, int], list[Change]] = defaultdict(list)
        for change in changes:
            assert change.start is not None and change.end is not None
            functions[offset(text, change.start), offset(text, change.end)].append(change)
        parts, at = [], 0
        for (start, end), those in sorted(functions.items()):
            opens = body_at(text, start)
            parts.append(text[at:opens] + "{ ")
            for change in those:
                body = change.text[opens : end + len(change.text) - len(text)]
                parts.append(f"if crate::mutant_is({change.number}) ")
                first = "".join(parts).count("\n") + 1
                self.lines[file].append((first, first + body.count("\n"), change.number))
                parts.append(body + " else ")
            parts.append(text[opens:end] + " }")
            at = end
        self.texts[file] = "".join(parts) + text[at:]

    def at(self, file: str, line: int) -> int | None:
        """The number of the mutant whose body has this line."""
        return next((number for first, last, number in self.lines[file] if first <= line <= last), None)
