"""Mutants of the core, each tried against the tests that concern it: `make mutants`.

cargo-mutants lists the mutants (.cargo/mutants.toml: of which files). Of these a sample is drawn: the COUNT whose names, hashed
with the seed, come first, so that a change elsewhere does not draw another. Most of the sample goes into one build (`woven`),
the rest is built alone. Each is tried by the tests of NEAR, the likeliest first, then by those of REST, until one fails; only
one that all of them pass is missed.

What became of a mutant is kept (target/cargo-mutants/results.jsonl) under the text of its change and what surrounds it: a second
call goes on where the first was stopped, `--again` tries anew what
was missed for no listed reason. A test that spins is ended by a limit of CPU time,
which a busy machine does not move; one that sleeps for ever by a limit of wall time.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import core_mutants  # noqa: E402
from woven import Change, Woven, can_be_woven  # noqa: E402

PACKAGE = ["-p", "kcompressd-core"]
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.toml"
HOME = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "cargo-mutants"
RESULTS = HOME / "results.jsonl"
NEAR = {
    "queue": ("queue", "lib", "queue_threads explore"),
    "tagged": ("tagged", "lib", "queue judge"),
    "lifecycle": ("lib", "stepper judge steps"),
    "zsmalloc": ("zsmalloc_model zsmalloc_tables", "lib", "zsmalloc_threads zram steps"),
    "zswap": ("zswap_model", "lib", "product steps stepper"),
    "zram": ("zram", "lib", "product steps explore"),
    "design": ("lib", "scripted explore"),
}
"""Words of tests that are built together, by directory of the mutated file; the rest of REST follows."""
REST = (
    "lib queue queue_threads tagged wait judge zsmalloc_model zsmalloc_tables zsmalloc_threads zswap_model zram product "
    "steps scripted stepper explore virtual_time three_clocks memory groups live"
)
CPU_SECONDS, WALL_SECONDS = 15, 300
ADDRESS_SPACE = 12 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place: the file, what is done (as cargo-mutants names it) and the change as a diff of one hunk."""

    file: str
    name: str
    diff: str
    function: tuple[tuple[int, int], tuple[int, int]] | None

    @property
    def key(self) -> str:
        """The change and its surroundings, wherever in the file they are."""
        body = re.sub(r"^@@.*?@@$", "", self.diff, flags=re.MULTILINE)
        return hashlib.sha256(f"{self.file}\n{body}".encode()).hexdigest()[:20]

    @property
    def area(self) -> str:
        """The directory (or module) of the core that it is in."""
        return self.file.removeprefix("rust/core/src/").split("/")[0].removesuffix(".rs")

    def changed(self, before: str) -> str:
        """The text of its file with the change. Raises :class:`ValueError` if `before` is not what cargo-mutants saw."""
        head, *hunk = self.diff.split("\n")[2:]
        first = int(re.match(r"@@ -(\d+)", head)[1]) - 1  # type: ignore[index]
        old = [line[1:] for line in hunk if line[:1] in (" ", "-")]
        new = [line[1:] for line in hunk if line[:1] in (" ", "+")]
        lines = before.split("\n")
        if lines[first : first + len(old)] != old:
            raise ValueError(f"{self.name}: not the text that cargo-mutants saw")
        return "\n".join(lines[:first] + new + lines[first + len(old) :])

    def change(self, number: int) -> Change:
        """Its part of a woven tree."""
        start, end = self.function or (None, None)
        return Change(number, self.file, self.changed((ROOT / self.file).read_text()), start, end)


def mutants() -> list[Mutant]:
    """All that cargo-mutants makes of this tree, in its order; equal ones are told apart by how often they came."""
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--diff", *PACKAGE],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen: Counter[str] = Counter()
    found = []
    for entry in json.loads(listed.stdout):
        name = re.sub(r":\d+:\d+: ", ": ", entry["name"])
        seen[name] += 1
        span = entry["function"] and entry["function"]["span"]
        function = span and tuple((span[end]["line"], span[end]["column"]) for end in ("start", "end"))
        found.append(Mutant(entry["file"], name + f" #{seen[name]}" * (seen[name] > 1), entry["diff"], function))
    return found


def sample(seed: int, count: int) -> list[Mutant]:
    """The `count` mutants whose hash comes first, by file."""
    drawn = sorted(mutants(), key=lambda mutant: hashlib.sha256(f"{seed} {mutant.name}".encode()).digest())[:count]
    return sorted(drawn, key=lambda mutant: (mutant.file, mutant.name))


def stages(area: str) -> list[list[str]]:
    """The tests that are built together, in order."""
    near = [stage.split() for stage in NEAR[area]]
    done = {test for stage in near for test in stage}
    return [*near, [test for test in REST.split() if test not in done]]


@dataclasses.dataclass(slots=True)
class Built:
    """What a build left: the tests' programs, or where it does not compile (file and line, from 1)."""

    programs: dict[str, str] = dataclasses.field(default_factory=dict)
    errors: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    passed: bool = False


def build(tree: Path, tests: list[str]) -> Built:
    """Build these tests."""
    flags = [flag for test in tests for flag in (["--lib"] if test == "lib" else ["--test", test])]
    small = {"CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_TEST_OPT_LEVEL": "1", "CARGO_INCREMENTAL": "1"}
    done = subprocess.run(
        ["cargo", "test", "--quiet", "--no-run", "--message-format=json", *PACKAGE, *flags],
        cwd=tree, capture_output=True, text=True,
        env={**os.environ, **small, "CARGO_TARGET_DIR": f"{tree}.target", "RUSTFLAGS": "--cap-lints=allow"},
    )  # fmt: skip
    built = Built(passed=done.returncode == 0)
    for message in map(json.loads, done.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"]:
            lib = "lib" in message["target"]["kind"]
            built.programs["lib" if lib else message["target"]["name"]] = message["executable"]
        if message["reason"] == "compiler-message" and message["message"]["level"] == "error":
            spans = (span for span in message["message"]["spans"] if span["is_primary"])
            built.errors += [(span["file_name"], span["line_start"]) for span in spans]
    return built


def limit() -> None:
    """Bound a test's CPU time and memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fails(tree: Path, program: str, number: int = 0) -> str:
    """Run a test with the woven mutant of this number (0: none) until a first part of it fails; return how, or nothing."""
    chosen = {"MUTANT": str(number)} if number else {}
    quiet = {"PROPTEST_MAX_SHRINK_ITERS": "0", "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "1", "RUST_BACKTRACE": "0"}
    late = threading.Event()
    with subprocess.Popen(
        [program], cwd=tree / "rust/core", env={**os.environ, **quiet, **chosen}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, errors="replace", preexec_fn=limit,
    ) as test:  # fmt: skip
        clock = threading.Timer(WALL_SECONDS, lambda: (late.set(), test.kill()))
        clock.start()
        try:
            assert test.stdout is not None
            for line in test.stdout:
                if failed := re.match(r"test (\S+) .*FAILED$", line):
                    test.kill()
                    return failed[1]
            code = test.wait()
        finally:
            clock.cancel()
    if late.is_set():
        return f"sleeps for {WALL_SECONDS} s"
    spun = code in (-signal.SIGKILL, -signal.SIGXCPU)
    return f"spins for {CPU_SECONDS} s" if spun else f"ends with {code}" * (code != 0)


def alone(tree: Path, mutant: Mutant) -> dict[str, str]:
    """Try a mutant with builds of its own; the sources are put back (with a new time, so that cargo builds them again)."""
    path = tree / mutant.file
    before = path.read_text()
    path.write_text(mutant.changed(before))
    try:
        for tests in stages(mutant.area):
            built = build(tree, tests)
            if not built.passed:
                return {"outcome": "unviable"}
            for test in tests:
                if how := fails(tree, built.programs[test]):
                    return {"outcome": "caught", "by": test, "how": how}
    finally:
        path.write_text(before)
    return {"outcome": "missed"}


def together(tree: Path, programs: dict[str, str], mutant: Mutant, number: int, *, near: bool) -> dict[str, str]:
    """Try a mutant of a woven build, by the tests that are near alone or by all."""
    asked = stages(mutant.area)
    for test in (test for tests in (asked[:-1] if near else asked) for test in tests):
        if how := fails(tree, programs[test], number):
            return {"outcome": "caught", "by": test, "how": how}
    return {"outcome": "suspect" if near else "missed"}


def woven(tree: Path, drawn: list[Mutant]) -> tuple[dict[str, str], set[int]]:
    """Build those of `drawn` that can be woven; return the programs and their numbers, from 1."""
    numbers = {
        number for number, m in enumerate(drawn, 1) if can_be_woven(m.change(number), (ROOT / m.file).read_text())
    }
    lonely = HOME / "alone"
    known = set(lonely.read_text().split()) if lonely.exists() else set()
    while True:
        numbers = {number for number in numbers if drawn[number - 1].key not in known}
        sources = Woven(ROOT)
        sources.weave([drawn[number - 1].change(number) for number in sorted(numbers)])
        core_mutants.tree(tree, sources.texts)
        built = build(tree, REST.split())
        if built.passed:
            return built.programs, numbers
        out = {sources.at(file, line) for file, line in built.errors} - {None}
        if not out:
            raise SystemExit(f"the woven tree does not compile: {built.errors}")
        known |= {drawn[number - 1].key for number in out if number}
        lonely.write_text("\n".join(sorted(known)))


def kept() -> dict[str, dict[str, Any]]:
    """What became of the mutants tried so far, the last word on each."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def baseline(tree: Path, programs: dict[str, str]) -> None:
    """Raise :class:`SystemExit` unless every test passes without a mutant, within the limits; once for each text."""
    sources = sorted(path for path in tree.rglob("*") if path.is_file())
    text = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    passed = HOME / "baseline"
    if passed.exists() and passed.read_text() == text:
        return
    failed = {test: how for test in REST.split() if (how := fails(tree, programs[test]))}
    if failed:
        raise SystemExit(f"without any mutant: {failed}")
    passed.write_text(text)


def reasons() -> dict[str, str]:
    """Why each listed survivor survives, by name."""
    return {entry["name"]: entry["why"] for entry in tomllib.loads(SURVIVORS.read_text())["survivor"]}


def run(drawn: list[Mutant], *, again: bool, near: bool, seconds: float) -> None:
    """Try those that were not tried, for `seconds` at most: the woven ones, then those that are built alone."""
    outcomes = {key: entry["outcome"] for key, entry in kept().items()}
    known = reasons()
    open_still = {"missed": again, "suspect": again or not near}
    left = {
        number: mutant
        for number, mutant in enumerate(drawn, 1)
        if (outcome := outcomes.get(mutant.key)) is None
        or (open_still.get(outcome, False) and mutant.name not in known)
    }
    if not left:
        return
    tree = HOME / "woven"
    programs, numbers = woven(tree, drawn)
    baseline(tree, programs)
    bare = HOME / "tree"
    core_mutants.tree(bare)
    began = time.monotonic()
    order = sorted(left, key=lambda number: (number not in numbers, number))
    for count, number in enumerate(order, 1):
        if time.monotonic() - began > seconds:
            print(f"{len(order) - count + 1} are left for another call")
            return
        mutant, before = left[number], time.monotonic()
        found = together(tree, programs, mutant, number, near=near) if number in numbers else alone(bare, mutant)
        entry = {"key": mutant.key, "name": mutant.name, **found, "seconds": round(time.monotonic() - before, 1)}
        with RESULTS.open("a") as out:
            out.write(json.dumps(entry) + "\n")
        by = f" by {entry['by']}: {entry['how']}" if "by" in entry else ""
        print(f"{count}/{len(order)} {entry['seconds']} s {entry['outcome']}{by}: {mutant.name}", flush=True)


def report(drawn: list[Mutant]) -> int:
    """Print the figures and what was missed; return 1 when too many were, or one for which no reason is listed."""
    done = kept()
    known = reasons()
    outcomes = {mutant.name: done[mutant.key]["outcome"] for mutant in drawn if mutant.key in done}
    outcomes = {name: "missed" if outcome == "suspect" else outcome for name, outcome in outcomes.items()}
    count = Counter(outcomes.values())
    viable = count["caught"] + count["missed"]
    for name in (name for name, outcome in outcomes.items() if outcome == "missed"):
        print(f"missed: {name}: {known.get(name, 'NO REASON LISTED')}")
    percent = 100 * count["caught"] / max(viable, 1)
    print(f"{len(outcomes)} of {len(drawn)} tried: {count['unviable']} do not compile, {viable} do: {count['caught']} caught "
          f"({percent:.1f} %), {count['missed']} missed")  # fmt: skip
    unlisted = [name for name, outcome in outcomes.items() if outcome == "missed" and name not in known]
    return int(len(outcomes) < len(drawn) or percent < 95 or bool(unlisted))


def main() -> int:
    """Draw, try and report."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--count", type=int, default=320)
    words.add_argument("--seconds", type=float, default=float("inf"), help="stop after these; the next call goes on")
    words.add_argument("--again", action="store_true", help="try anew what was missed for no listed reason")
    words.add_argument("--near", action="store_true", help="the tests of NEAR alone: what they miss is a suspect")
    words.add_argument("--only", default="", metavar="REGEX", help="of the sample, those whose name it finds")
    args = words.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    drawn = [mutant for mutant in sample(args.seed, args.count) if re.search(args.only, mutant.name)]
    run(drawn, again=args.again, near=args.near, seconds=args.seconds)
    return report(drawn)


if __name__ == "__main__":
    sys.exit(main())
