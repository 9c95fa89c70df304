"""Bugs put into the core on purpose (`tests/mutants/core-*.patch`), and the check that must catch each: the head of a
patch names it. Run as a program it prints which are caught.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parent.parent
PATCHES = sorted((Path(__file__).parent / "mutants").glob("core-*.patch"))
TREE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "mutants"
SECONDS = 120
"""After which a check that hangs counts as failed."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch of one line: what is wrong then, and the check that notices (`test ARGUMENTS` or `loom MODEL TEST`)."""

    patch: Path
    bug: str
    check: str

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        """Read the head of `patch`."""
        head = dict(line.split(": ", 1) for line in patch.read_text().partition("\n\n")[0].splitlines())
        return cls(patch, head["Bug"], head["Check"])

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return the check's command and its environment."""
        kind, *words = self.check.split()
        small = {"CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_TEST_OPT_LEVEL": "1", "RUST_BACKTRACE": "0"}
        env = {**os.environ, **small, "PROPTEST_MAX_SHRINK_ITERS": "0", "CARGO_TARGET_DIR": str(TREE / kind)}
        cargo = ["cargo", "test", "--quiet", "-p", "kcompressd-core"]
        if kind == "loom":
            return [*cargo, "--test", *words], {
                **env,
                "RUSTFLAGS": "--cfg kcompressd_loom",
                "LOOM_MAX_PREEMPTIONS": "2",
            }
        return [*cargo, *words], env


def tree(copy: Path = TREE / "tree", instead: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Return a fresh copy of the sources, some with another text `instead`; files that are right already keep their times, so
    that little is built again.
    """
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed += ["Cargo.toml", "Cargo.lock", "rust", "benches"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, names):
        here, there = ROOT / name, copy / name
        if not here.is_file():
            continue
        wanted = instead[name].encode() if name in instead else here.read_bytes()
        if not (there.is_file() and there.read_bytes() == wanted):
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(wanted)
    return copy


def run(mutant: Mutant, *, apply: bool = True) -> str | None:
    """Run the mutant's check with its bug put in (or, for a comparison, without); return how it failed, or None if it
    did not. Raises :class:`RuntimeError` for a patch that does not apply or does not compile.
    """
    copy = tree()
    if apply:
        alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(TREE)}
        subprocess.run(["git", "apply", str(mutant.patch)], cwd=copy, env=alone, check=True)
    command, env = mutant.command()
    built = subprocess.run([*command, "--no-run"], cwd=copy, env=env, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"{mutant.patch.stem} does not compile: {built.stderr}")
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=copy, env=env, start_new_session=True, **pipe) as check:
        try:
            output, _ = check.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(check.pid, signal.SIGKILL)  # cargo, and the test that it started
            return "it does not come to an end"
        finally:
            tree()
    return failure(output) if check.returncode else None


def failure(output: str) -> str:
    """Return the first failed test of cargo's output, and what it said."""
    found = re.search(r"^thread '([^']+)'[^\n]*panicked at [^\n]*:\n([^\n]*)", output, re.MULTILINE)
    if found is None:
        return output.strip().splitlines()[-1]
    return f"{found[1]}: {found[2].strip()}"


def row(mutant: Mutant) -> str:
    """Return the mutant's row of the table in docs/proofs.md."""
    how = run(mutant)
    by = " ".join(word for word in mutant.check.split() if not word.startswith("--"))
    return f"| {mutant.patch.stem} | {mutant.bug} | {by if how else 'nothing'} | {(how or '').replace('|', '¦')} |"


if __name__ == "__main__":
    for path in PATCHES:
        if not sys.argv[1:] or any(word in path.stem for word in sys.argv[1:]):
            print(row(Mutant.read(path)), flush=True)
